//! What is done once a day: keys about to expire, records that somebody else changed, frames that have changed, what is
//! old enough to be archived or erased, the journal.
//!
//! All clients are looked at, page by page, so that nothing else waits for it however many they are.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::AppError;
use super::context::Context;
use super::enrol;
use super::health;
use super::intake::REQUEST_DAYS;
use super::life;
use super::post::{Owner, Post, Problem, Recipe};
use super::tick::days_left;
use crate::domain::lifecycle;
use crate::model::{Channel, Kind};
use crate::pgp::{Certificate, Purpose};
use crate::store::{Client, Page, StoreError, Tx};

/// Clients looked at together.
const PAGE: u32 = 100;

/// Days before and after expiry at which owner and operator are told.
const KEY_NOTICES: [i64; 3] = [30, 14, 1];
/// What a client's key is used for.
const USES: [Purpose; 2] = [Purpose::Encrypt, Purpose::Sign];

/// When all of it was done last.
const DONE: &str = "daily";

/// Does what is to be done once a day, where that wasn't done in the last twelve hours; reads new keys each time.
///
/// # Errors
/// The first [`AppError`]: all of it is tried again; what was said already is said once only.
pub async fn daily(ctx: &Context, now: DateTime<Utc>) -> Result<(), AppError> {
    new_keys(ctx, now).await?;
    let last = ctx.store.read().await?.meta_time(DONE).await?;
    if last.is_some_and(|last| now >= last && now - last < TimeDelta::hours(12)) {
        return Ok(());
    }
    let mut tx = ctx.store.begin().await?;
    staff_keys(ctx, &mut tx, now).await?;
    enrol::tick::count_wordings(ctx, &mut tx, now).await?;
    tx.commit().await?;
    let mut after = None;
    loop {
        let mut tx = ctx.store.begin().await?;
        let page = tx.clients_after(after, PAGE).await?;
        look_at(ctx, &mut tx, &page, now).await?;
        tx.commit().await?;
        let Some(last) = page.last else { break };
        after = Some(last);
    }
    let mut tx = ctx.store.begin().await?;
    life::tick(ctx, &mut tx, now).await?;
    enrol::tick::forget_declined(ctx, &mut tx, now).await?;
    let erased = tx.erase_requests(now - TimeDelta::days(REQUEST_DAYS)).await?;
    if erased > 0 {
        tx.journal(now, "requests-erased", None, json!({ "count": erased })).await?;
    }
    tx.set_meta_time(DONE, now).await?;
    tx.commit().await?;
    health::watch_journal(ctx, now).await
}

/// Looks at some clients: their records, their keys, and the frame that they agreed to.
async fn look_at(ctx: &Context, tx: &mut Tx, page: &Page, now: DateTime<Utc>) -> Result<(), AppError> {
    let noted = tx.keys_noted(&page.sound).await?;
    for code in &page.changed {
        health::alarm_record(ctx, tx, code, now).await?;
    }
    for client in &page.sound {
        let expires = match noted.get(&client.id) {
            Some(expires) => *expires,
            None => note_expiry(ctx, tx, client, now).await?,
        };
        if expires.is_some_and(|at| at - now <= TimeDelta::days(KEY_NOTICES[0])) {
            client_key(ctx, tx, client, now).await?;
        }
        enrol::tick::renew(ctx, tx, client, now).await?;
    }
    Ok(())
}

/// Reads when the keys that were pinned since the last look expire.
async fn new_keys(ctx: &Context, now: DateTime<Utc>) -> Result<(), AppError> {
    let unknown = ctx.store.read().await?.keys_unread(PAGE).await?;
    if unknown.is_empty() {
        return Ok(());
    }
    let mut tx = ctx.store.begin().await?;
    for id in unknown {
        match tx.client(id).await {
            Ok(Some(client)) => {
                note_expiry(ctx, &mut tx, &client, now).await?;
            }
            // Named where all records are looked at.
            Ok(None) | Err(StoreError::Tampered { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(tx.commit().await?)
}

/// Reads from a client's certificate when it expires.
async fn note_expiry(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, AppError> {
    let expires = ctx.client_certificate(client).and_then(|certificate| certificate.expires_for(&USES, now));
    tx.note_key_expiry(client, expires).await?;
    Ok(expires)
}

/// The staff's keys about to expire.
async fn staff_keys(ctx: &Context, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), AppError> {
    for therapist in ctx.therapists().iter() {
        // A key is announced for what it is used for: the archive signs nothing.
        let mut owners = vec![(Owner::Practice, ctx.key.certificate())];
        owners.extend(therapist.certificate().map(|certificate| (Owner::Therapist, certificate)));
        owners.extend(ctx.archive.as_ref().map(|archive| (Owner::Archive, archive)));
        for (owner, certificate) in owners {
            let uses: &[Purpose] =
                if matches!(owner, Owner::Archive) { &[Purpose::Encrypt] } else { &[Purpose::Encrypt, Purpose::Sign] };
            let Some((step, expires, days)) = step(certificate, uses, now) else { continue };
            let key = notice_key(&therapist.id().0, certificate, expires, step);
            if !tx.notice_once(&key, now).await? {
                continue;
            }
            let fingerprint = certificate.fingerprint();
            let recipe = Recipe::StaffKeyExpiry { owner, fingerprint, expires, days };
            Post::to_therapist(Kind::StaffKeyExpiry, therapist.id(), None, now).enqueue(ctx, tx, &recipe, now).await?;
            health::alarm(ctx, tx, &Problem::key(owner, None, days), now).await?;
        }
    }
    Ok(())
}

/// A client's key about to expire: they, their therapist and the operator are told.
async fn client_key(ctx: &Context, tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<(), AppError> {
    // Also in a pause: it ends, and then they can't be written to.
    if !lifecycle::may_leave(client.state, Kind::KeyExpiry) || client.channel != Channel::OpenPgp {
        return Ok(());
    }
    let Some(certificate) = ctx.client_certificate(client) else { return Ok(()) };
    let Some((step, expires, days)) = step(&certificate, &USES, now) else { return Ok(()) };
    if !tx.notice_once(&notice_key(client.code.as_str(), &certificate, expires, step), now).await? {
        return Ok(());
    }
    let recipe = Recipe::KeyExpiry { expires, days };
    Post::to_client(Kind::KeyExpiry, client.id, now).enqueue(ctx, tx, &recipe, now).await?;
    let fingerprint = certificate.fingerprint();
    let recipe = Recipe::StaffKeyExpiry { owner: Owner::Client, fingerprint, expires, days };
    Post::to_therapist(Kind::StaffKeyExpiry, &client.therapist, Some(client.id), now)
        .enqueue(ctx, tx, &recipe, now)
        .await?;
    health::alarm(ctx, tx, &Problem::key(Owner::Client, Some(&client.code), days), now).await
}

/// Once for each step of each expiry: a key that was prolonged expires again.
fn notice_key(whose: &str, certificate: &Certificate, expires: DateTime<Utc>, step: &str) -> String {
    format!("key:{whose}:{}:{}:{step}", certificate.fingerprint(), expires.timestamp())
}

/// Which notice is due: 30, 14 or 1 days before, or after. A key without expiry has none.
fn step(certificate: &Certificate, uses: &[Purpose], now: DateTime<Utc>) -> Option<(&'static str, DateTime<Utc>, i64)> {
    // A key that was revoked doesn't expire any more: that was told.
    let expires = certificate.expires_for(uses, now).filter(|_| certificate.revocation().is_none())?;
    let days = days_left(expires, now);
    let word = if days <= 0 {
        "expired"
    } else if days <= KEY_NOTICES[2] {
        "1"
    } else if days <= KEY_NOTICES[1] {
        "14"
    } else if days <= KEY_NOTICES[0] {
        "30"
    } else {
        return None;
    };
    Some((word, expires, days))
}
