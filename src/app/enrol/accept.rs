//! `/key accept WORDS`: two people have compared a key, and it is pinned.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::super::AppError;
use super::super::context::Context;
use super::super::life;
use super::super::reply;
use super::super::therapist::{Mail, Refused, Step};
use super::answer::received;
use super::{frame, stored};
use crate::domain::code_words;
use crate::domain::enrolment::WRONG_TRIES;
use crate::domain::lifecycle::{Actor, Event};
use crate::letters::{Outcome, Received, RefusalReason};
use crate::model::{Channel, ClientState, Kind};
use crate::pgp::{Certificate, PracticeKey, Purpose};
use crate::store::{self, Client, KeyOffer, StoreError, Tx};

/// The counter of wrong tries, by the day.
fn tries_key(client: &Client, now: DateTime<Utc>) -> String {
    format!("key-tries:{}:{}", client.code, now.date_naive())
}

/// Counts a wrong try, outside of what a refused mail undoes.
///
/// # Errors
/// [`AppError::Store`].
pub async fn count_wrong(tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<(), AppError> {
    let tries = tx.count_up(&tries_key(client, now)).await?;
    tx.journal(now, "wrong-words", Some(&client.code), json!({ "tries": tries })).await?;
    Ok(())
}

/// Pins the offered key whose words these are.
pub async fn accept(mail: &Mail<'_>, tx: &mut Tx, client: &Client, words: &[String]) -> Step<Outcome> {
    let (ctx, now) = (mail.ctx, mail.now);
    let refused = |reason| Ok(Err(Refused::of(client, reason)));
    let asks = matches!(client.state, ClientState::Invited | ClientState::ConsentPending);
    if asks && client.care.muted {
        return refused(RefusalReason::Muted);
    }
    let missing = super::invite::gaps(ctx, &mail.from.therapist);
    if asks && !missing.is_empty() {
        return refused(RefusalReason::FrameIncomplete { missing });
    }
    let offers = tx.offers(client.id).await?;
    if offers.is_empty() {
        return refused(RefusalReason::NoOffer);
    }
    let practice = ctx.key.certificate().fingerprint();
    let tried_out = tx.counter(&tries_key(client, now)).await? >= WRONG_TRIES;
    // What was told before the practice's key was replaced is as good as ever, unless that key was revoked.
    let sound = ctx.retired.iter().map(PracticeKey::certificate).filter(|key| key.revocation().is_none());
    let practice: Vec<String> = std::iter::once(practice).chain(sound.map(Certificate::fingerprint)).collect();
    let agrees = |offer: &KeyOffer, own: &String| code_words::agree(words, &offer.fingerprint, own);
    let meant = offers.iter().find(|offer| practice.iter().any(|own| agrees(offer, own)));
    let Some(offer) = meant.filter(|_| !tried_out) else { return refused(RefusalReason::WrongWords) };
    let certificate = Certificate::from_bytes(&offer.certificate).ok();
    // It may have expired while it waited.
    let Some(certificate) = certificate.filter(|certificate| {
        [Purpose::Encrypt, Purpose::Sign].iter().all(|purpose| certificate.usable_for(*purpose, now).is_ok())
    }) else {
        return refused(RefusalReason::NoOffer);
    };
    let stored = stored(&certificate);
    match pin(ctx, tx, client, &stored, Some(received(offer)), Actor::Therapist, now).await? {
        Some(asked) => Ok(Ok(Outcome::KeyPinned { fingerprint: stored.fingerprint, asked })),
        // It is somebody else's here, or has become so meanwhile.
        None => refused(RefusalReason::NoOffer),
    }
}

/// Pins a key that was compared: the frame is asked, or waiting replies are woken. Whether it was asked; None where the
/// certificate, or a key in it, is another client's.
///
/// # Errors
/// [`AppError`].
pub async fn pin(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    certificate: &store::Certificate,
    received: Option<Received>,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<Option<bool>, AppError> {
    for handle in &certificate.handles {
        if tx.clients_by_handle(handle).await?.iter().any(|other| other.id != client.id) {
            return Ok(None);
        }
    }
    match tx.set_client_certificate(client.id, Some(certificate)).await {
        Ok(()) => {}
        Err(StoreError::CertificateTaken) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    tx.end_enrolment(client.id).await?;
    // No fingerprint: the journal outlives an erasure, and key servers know whose a key is.
    let detail = json!({ "by": actor.as_str() });
    tx.journal(now, "key-pinned", Some(&client.code), detail).await?;
    let asked = match client.state {
        ClientState::Invited => life::change(ctx, tx, client, Event::Ask, actor, now).await?.is_ok(),
        // The letter about the frame was sealed to a key that is gone.
        ClientState::ConsentPending => true,
        _ => false,
    };
    if asked {
        // The answer chose the channel.
        tx.set_channel(client.id, Channel::OpenPgp).await?;
        tx.drop_pdf_channel(client.id).await?;
        let Some(client) = &tx.client(client.id).await? else { return Ok(None) };
        super::ask_frame(ctx, tx, client, Kind::Frame, received, None, now).await?;
    } else if client.channel == Channel::Pdf {
        let Some(client) = tx.client(client.id).await? else { return Ok(Some(asked)) };
        return Ok(Some(to_openpgp(ctx, tx, &client, now).await?));
    } else {
        reply::wake(tx, client, now).await?;
    }
    Ok(Some(asked))
}

/// Confidential letters travel by OpenPGP from now on; what is said of their way is asked about again. `true`: it was.
///
/// # Errors
/// [`AppError`].
pub async fn to_openpgp(ctx: &Context, tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<bool, AppError> {
    tx.set_channel(client.id, Channel::OpenPgp).await?;
    tx.drop_pdf_channel(client.id).await?;
    tx.journal(now, "channel", Some(&client.code), json!({ "channel": Channel::OpenPgp })).await?;
    reply::wake(tx, client, now).await?;
    tx.wake_outbox(client.id, now).await?;
    let Some(client) = tx.client(client.id).await? else { return Ok(false) };
    let treated = client.state.in_treatment() || client.state == ClientState::Paused;
    let asks = treated && frame::pending(ctx, tx, &client, now).await?.is_some();
    if asks {
        super::ask_frame(ctx, tx, &client, Kind::ConsentRenewal, None, None, now).await?;
    }
    Ok(asks)
}
