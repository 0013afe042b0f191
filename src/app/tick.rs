//! What the clock brings about: digests, reminders, missed slots, expiring keys, erasures.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::AppError;
use super::absence;
use super::context::{Context, Therapist};
use super::crisis;
use super::digest;
use super::enrol;
use super::health;
use super::intake::REQUEST_DAYS;
use super::life;
use super::post::{Owner, Post, Problem, Recipe};
use super::reply::taken_days;
use super::status::ENDING_KEYS;
use crate::domain::lifecycle;
use crate::domain::rhythm::{OpenTurn, Slot, digest_due, missed, reminder_due};
use crate::model::{Channel, Kind};
use crate::pgp::{Certificate, Purpose};
use crate::store::{StoreError, Turn, Tx};

/// Days before and after expiry at which owner and operator are told.
const KEY_NOTICES: [i64; 3] = [30, 14, 1];

/// How many misses running a client is told of: a promise that is broken a third time is none. Then the operator has
/// been alarmed, and the digest shows it.
const TOLD_MISSES: u32 = 2;

/// Does everything that is due at `now`, alerts first. `seen_until` is when the last completed look into the
/// mailbox began: a reply that may still lie there unread is no miss.
///
/// # Errors
/// The first [`AppError`]: a part that fails keeps no other from its work, and is tried again at the next tick.
pub async fn tick(ctx: &Context, seen_until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<(), AppError> {
    let mut outcomes = vec![crisis::tick(ctx, now).await, absence::tick(ctx, now).await];
    for therapist in ctx.therapists().iter() {
        outcomes.push(staff_tick(ctx, therapist, now).await);
        if let Some(Err(AppError::Store(StoreError::Db(_) | StoreError::Fenced))) = outcomes.last() {
            // The database itself is busy or full: each other part would wait as long for nothing.
            return outcomes.into_iter().collect();
        }
    }
    if let Some(seen_until) = seen_until {
        outcomes.push(missed_tick(ctx, seen_until, now).await);
    }
    outcomes.push(enrol::tick::tick(ctx, now).await);
    outcomes.push(health::watch_letters(ctx, now).await);
    outcomes.push(daily(ctx, now).await);
    outcomes.into_iter().collect()
}

async fn staff_tick(ctx: &Context, therapist: &Therapist, now: DateTime<Utc>) -> Result<(), AppError> {
    let mut tx = ctx.store.begin().await?;
    digest_tick(ctx, &mut tx, therapist, now).await?;
    reminder_tick(ctx, &mut tx, therapist, now).await?;
    Ok(tx.commit().await?)
}

async fn digest_tick(ctx: &Context, tx: &mut Tx, therapist: &Therapist, now: DateTime<Utc>) -> Result<(), AppError> {
    let key = format!("digest:{}", therapist.id());
    let last = tx.meta_time(&key).await?;
    if let Some(slot) = digest_due(&therapist.digest, now, last) {
        digest::enqueue(ctx, tx, therapist, slot.at, now).await?;
        tx.set_meta_time(&key, slot.at).await?;
        tx.journal(now, "digest", None, json!({ "therapist": therapist.id().0, "slot": slot.at })).await?;
    }
    Ok(())
}

async fn reminder_tick(ctx: &Context, tx: &mut Tx, therapist: &Therapist, now: DateTime<Utc>) -> Result<(), AppError> {
    let lead = ctx.config.rhythm.reminder;
    if lead <= TimeDelta::zero() {
        return Ok(());
    }
    let key = format!("reminder:{}", therapist.id());
    let last = tx.meta_time(&key).await?.map(|at| Slot { at, day: therapist.schedule.local_day(at) });
    let Some(slot) = reminder_due(&therapist.schedule, now, lead, last) else { return Ok(()) };
    if digest::due_lines(tx, therapist, slot.at).await?.is_empty() {
        return Ok(());
    }
    Post::to_therapist(Kind::Reminder, therapist.id(), None, now)
        .enqueue(ctx, tx, &Recipe::Reminder { slot: slot.at }, now)
        .await?;
    tx.set_meta_time(&key, slot.at).await?;
    Ok(())
}

async fn missed_tick(ctx: &Context, seen_until: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), AppError> {
    let overdue = ctx.store.read().await?.overdue_turns(now).await?;
    for turn in overdue {
        let mut tx = ctx.store.begin().await?;
        missed_turn(ctx, &mut tx, &turn, seen_until, now).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn missed_turn(
    ctx: &Context,
    tx: &mut Tx,
    turn: &Turn,
    seen_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let client = match tx.client(turn.client).await {
        Ok(Some(client)) => client,
        Ok(None) => return Ok(()),
        Err(StoreError::Tampered { code }) => return health::alarm_record(ctx, tx, &code, now).await,
        Err(error) => return Err(error.into()),
    };
    let Some(therapist) = ctx.therapist(&client.therapist) else { return Ok(()) };
    // Nothing leaves to a muted person, so nothing is missed either.
    if !client.state.in_treatment() || client.care.muted {
        return Ok(());
    }
    let schedule = ctx.schedule(&therapist, &client);
    let slot = |at: DateTime<Utc>| Slot { at, day: schedule.local_day(at) };
    let Some(due) = turn.due_at else { return Ok(()) };
    let facts = OpenTurn {
        due: slot(due),
        reply_waiting: !tx.pending_replies(client.id).await?.is_empty(),
        last_missed: turn.missed_slot.map(slot),
        misses_running: turn.misses,
    };
    let taken = taken_days(tx, &client, None, now).await?;
    let Some(miss) = missed(&schedule, now, seen_until, &facts, &taken) else { return Ok(()) };
    tx.miss_turn(turn.id, miss.slot.at).await?;
    if miss.running <= TOLD_MISSES {
        let recipe = Recipe::MissedDay { missed: miss.slot.at, next: miss.next.at };
        Post::to_client(Kind::MissedDay, client.id, now).enqueue(ctx, tx, &recipe, now).await?;
    }
    tx.journal(now, "missed", Some(&client.code), json!({ "slot": miss.slot.at, "running": miss.running })).await?;
    if miss.second_running {
        let problem = Problem { code: Some(client.code.to_string()), ..Problem::new("second-miss") };
        health::alarm(ctx, tx, &problem, now).await?;
    }
    Ok(())
}

/// Once a day: keys about to expire, requests that are old enough to be erased.
async fn daily(ctx: &Context, now: DateTime<Utc>) -> Result<(), AppError> {
    let mut tx = ctx.store.begin().await?;
    let last = tx.meta_time("daily").await?;
    if last.is_some_and(|last| now >= last && now - last < TimeDelta::hours(12)) {
        return Ok(());
    }
    tx.set_meta_time("daily", now).await?;
    key_notices(ctx, &mut tx, now).await?;
    life::tick(ctx, &mut tx, now).await?;
    enrol::tick::forget_declined(ctx, &mut tx, now).await?;
    enrol::tick::renewals(ctx, &mut tx, now).await?;
    let erased = tx.erase_requests(now - TimeDelta::days(REQUEST_DAYS)).await?;
    if erased > 0 {
        tx.journal(now, "requests-erased", None, json!({ "count": erased })).await?;
    }
    tx.commit().await?;
    health::watch_journal(ctx, now).await
}

async fn key_notices(ctx: &Context, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), AppError> {
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
    let (sound, changed) = health::sound_clients(tx).await?;
    for code in changed {
        health::alarm_record(ctx, tx, &code, now).await?;
    }
    let mut ending = Vec::new();
    for client in sound {
        // Also in a pause: it ends, and then they can't be written to.
        if !lifecycle::may_leave(client.state, Kind::KeyExpiry) || client.channel != Channel::OpenPgp {
            continue;
        }
        let Some(certificate) = ctx.client_certificate(&client) else { continue };
        let uses = [Purpose::Encrypt, Purpose::Sign];
        let Some((step, expires, days)) = step(&certificate, &uses, now) else { continue };
        ending.push(client.code.to_string());
        if tx.notice_once(&notice_key(client.code.as_str(), &certificate, expires, step), now).await? {
            let recipe = Recipe::KeyExpiry { expires, days };
            Post::to_client(Kind::KeyExpiry, client.id, now).enqueue(ctx, tx, &recipe, now).await?;
            let fingerprint = certificate.fingerprint();
            let recipe = Recipe::StaffKeyExpiry { owner: Owner::Client, fingerprint, expires, days };
            Post::to_therapist(Kind::StaffKeyExpiry, &client.therapist, Some(client.id), now)
                .enqueue(ctx, tx, &recipe, now)
                .await?;
            health::alarm(ctx, tx, &Problem::key(Owner::Client, Some(&client.code), days), now).await?;
        }
    }
    // So that `status` needn't open every client's certificate.
    Ok(tx.set_meta(ENDING_KEYS, &serde_json::to_string(&ending).unwrap_or_default()).await?)
}

/// Once for each step of each expiry: a key that was prolonged expires again.
fn notice_key(whose: &str, certificate: &Certificate, expires: DateTime<Utc>, step: &str) -> String {
    format!("key:{whose}:{}:{}:{step}", certificate.fingerprint(), expires.timestamp())
}

/// Days until a key expires, begun ones counted: 1 on the last day, 0 or less once it has expired.
pub fn days_left(expires: DateTime<Utc>, now: DateTime<Utc>) -> i64 {
    let left = expires - now;
    if left > TimeDelta::zero() { (left - TimeDelta::nanoseconds(1)).num_days() + 1 } else { left.num_days() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_its_end_a_key_is_not_said_to_be_of_no_use() {
        use crate::letters::{HealthProblem as H, KeyOwner};
        let letter = |owner, days| Problem::key(owner, None, days).letter();
        for owner in [Owner::Therapist, Owner::Practice, Owner::Archive] {
            assert!(matches!(letter(owner, 14), H::KeyExpires { days: 14, .. }));
        }
        assert!(matches!(letter(Owner::Therapist, 0), H::TherapistCertificate));
        assert!(matches!(letter(Owner::Practice, -2), H::PracticeKey));
        assert!(matches!(letter(Owner::Archive, -2), H::KeyExpires { owner: KeyOwner::Archive, days: 0 }));
        let code = crate::model::ClientCode::from_bits(7);
        let of_client = Problem::key(Owner::Client, Some(&code), 1).letter();
        assert!(
            matches!(of_client, H::KeyExpires { owner: KeyOwner::Client { code: named, .. }, days: 1 } if named == code)
        );
    }

    #[test]
    fn a_key_has_a_day_left_until_the_instant_it_expires() {
        let expires = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let left = |before: TimeDelta| days_left(expires, expires - before);
        assert_eq!(left(TimeDelta::seconds(1)), 1);
        assert_eq!(left(TimeDelta::days(1)), 1);
        assert_eq!(left(TimeDelta::days(1) + TimeDelta::seconds(1)), 2);
        assert_eq!(left(TimeDelta::zero()), 0);
        assert_eq!(left(TimeDelta::days(-3)), -3);
    }
}
