//! The practice's own key after it was replaced or revoked: who is told, and what is sealed anew.
//!
//! The file of keys is changed first, by one rename. What follows from it is one transaction that begins wherever it
//! was interrupted: with the next `run`, or by the command given again.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::super::AppError;
use super::super::compose::WaitingLetter;
use super::super::context::Context;
use super::super::enrol::answer;
use super::super::health;
use super::super::post::{Owner, Post, Problem, Recipe};
use super::Paper;
use crate::domain::lifecycle;
use crate::model::{Channel, Kind, TherapistId};
use crate::store::{Client, StoreError, Tx};

/// Where the fingerprint of the key stands that everybody knows of.
pub const CURRENT: &str = "practice.key";
/// Since when.
const SINCE: &str = "practice.key.since";

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Everybody knows the key already.
    Known,
    /// A new key: so many clients and therapists are told.
    Announced { old: String, revoked: bool, clients: usize, therapists: usize },
    /// The file has another key, and the one that people know isn't in it: a person has to say so.
    Strange { old: String },
}

/// The fingerprint that people know, where it isn't that of the current key.
///
/// # Errors
/// [`AppError::Store`].
pub async fn unannounced(ctx: &Context, tx: &mut Tx) -> Result<Option<String>, AppError> {
    let known = tx.meta(CURRENT).await?;
    Ok(known.filter(|known| *known != ctx.key.certificate().fingerprint()))
}

/// Brings the database up to what the file of keys says, in the caller's transaction. `asked`: a person says that a key
/// which isn't in the file any more is lost.
///
/// # Errors
/// [`AppError`].
pub async fn settle(ctx: &Context, tx: &mut Tx, asked: bool, now: DateTime<Utc>) -> Result<Settled, AppError> {
    let fingerprint = ctx.key.certificate().fingerprint();
    let Some(old) = tx.meta(CURRENT).await? else {
        tx.set_meta(CURRENT, &fingerprint).await?;
        return frozen(ctx, tx, &fingerprint, now).await;
    };
    if old == fingerprint {
        return frozen(ctx, tx, &fingerprint, now).await;
    }
    let before = ctx.retired.iter().find(|key| key.certificate().fingerprint() == old);
    let revoked = match before {
        Some(key) => key.certificate().revocation().is_some(),
        None if asked => true,
        None => return Ok(Settled::Strange { old }),
    };
    reseal(ctx, tx, now).await?;
    let (sound, _) = health::sound_clients(tx).await?;
    let mut clients = 0;
    for client in sound {
        tx.untell_offers(client.id).await?;
        answer::tell_rest(ctx, tx, &client, now).await?;
        if is_told(&client) {
            let paper = Paper::Practice { old: old.clone(), revoked, origin: None };
            Post::to_client(Kind::PracticeKey, client.id, now).enqueue(ctx, tx, &Recipe::Keys(paper), now).await?;
            clients += 1;
        }
    }
    let mut therapists = 0;
    for therapist in ctx.therapists().iter().filter(|therapist| therapist.certificate().is_some()) {
        let paper = Paper::Practice { old: old.clone(), revoked, origin: None };
        Post::to_therapist(Kind::StaffPracticeKey, therapist.id(), None, now)
            .enqueue(ctx, tx, &Recipe::Keys(paper), now)
            .await?;
        therapists += 1;
    }
    tx.set_meta(CURRENT, &fingerprint).await?;
    tx.set_meta_time(SINCE, now).await?;
    let detail = json!({ "fingerprint": fingerprint, "old": old, "revoked": revoked });
    tx.journal(now, "practice-key", None, detail).await?;
    Ok(Settled::Announced { old, revoked, clients, therapists })
}

/// A key that is revoked and has no successor: nothing leaves, and the operator is told by the alarm command.
async fn frozen(ctx: &Context, tx: &mut Tx, fingerprint: &str, now: DateTime<Utc>) -> Result<Settled, AppError> {
    if let Some(revocation) = ctx.key.certificate().revocation()
        && tx.notice_once(&format!("practice-key-revoked:{fingerprint}"), now).await?
    {
        let detail = json!({ "fingerprint": fingerprint, "hard": revocation.hard });
        tx.journal(now, "practice-key-revoked", None, detail).await?;
        health::alarm(ctx, tx, &Problem::revoked(Owner::Practice, None), now).await?;
    }
    Ok(Settled::Known)
}

/// Whoever may write, and hasn't been silenced. Who was discharged is told when they write.
fn is_told(client: &Client) -> bool {
    use crate::model::ClientState::Discharged;
    // Who has no key needs none of ours.
    let uses_keys = client.channel == Channel::OpenPgp;
    uses_keys
        && lifecycle::may_leave(client.state, Kind::PracticeKey)
        && client.state != Discharged
        && !client.care.muted
}

/// What waits under an old key is sealed to the new one: whoever has stolen the old one opens it no more.
async fn reseal(ctx: &Context, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), AppError> {
    for row in tx.sealed_to_practice().await? {
        let sealed = match tx.blob(row).await {
            Ok(sealed) => sealed,
            // A row that was changed by something else is found when it is to leave.
            Err(StoreError::Corrupt { .. } | StoreError::Tampered { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let Some(letter) = sealed.and_then(|sealed| WaitingLetter::open(ctx, &sealed, now).ok()) else { continue };
        tx.delete_blob(row).await?;
        tx.put_blob(row, &letter.seal(ctx, now)?).await?;
    }
    Ok(())
}

/// A mail that was still encrypted to an old key is read, and its writer is told of the new one: once, and not where the
/// letter about it and this mail crossed.
///
/// # Errors
/// [`AppError::Store`].
pub async fn tell_late(
    ctx: &Context,
    tx: &mut Tx,
    to: Late<'_>,
    old: &str,
    written: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let since = tx.meta_time(SINCE).await?;
    if since.is_none_or(|since| written <= since) {
        return Ok(());
    }
    let whose = match &to {
        Late::Client(client, _) => client.code.to_string(),
        Late::Therapist(id) => id.0.clone(),
    };
    let current = ctx.key.certificate().fingerprint();
    if !tx.notice_once(&format!("old-key:{whose}:{current}"), now).await? {
        return Ok(());
    }
    let retired = ctx.retired.iter().find(|key| key.certificate().fingerprint() == old);
    let revoked = retired.is_some_and(|key| key.certificate().revocation().is_some());
    let paper = |origin| Recipe::Keys(Paper::Practice { old: old.to_owned(), revoked, origin });
    match to {
        Late::Client(client, origin) => {
            Post::to_client(Kind::PracticeKey, client.id, now).enqueue(ctx, tx, &paper(origin), now).await?;
        }
        Late::Therapist(id) => {
            Post::to_therapist(Kind::StaffPracticeKey, id, None, now).enqueue(ctx, tx, &paper(None), now).await?;
        }
    }
    Ok(())
}

/// Who wrote to an old key.
pub enum Late<'a> {
    /// With the Message-ID of the mail.
    Client(&'a Client, Option<String>),
    Therapist(&'a TherapistId),
}
