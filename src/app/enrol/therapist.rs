//! A therapist's key on the first day: asked for in a neutral mail, compared by voice, written to its file.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::super::AppError;
use super::super::context::{Context, Therapist};
use super::super::examine::{self, Examined};
use super::super::post::{Post, Recipe};
use super::super::prepare::Arrived;
use super::Paper;
use crate::domain::code_words;
use crate::mime::{self, AttachmentClass, FromField};
use crate::model::{Kind, TherapistId};
use crate::pgp::{self, Certificate, Purpose};
use crate::store::Tx;

/// Why a therapist's key isn't taken over. No message has a name or an address.
#[derive(Debug, thiserror::Error)]
pub enum WelcomeError {
    #[error("the certificate's file is there already; a therapist's key is changed by changing the file")]
    Known,
    #[error(
        "no key has come yet: `cadre therapist welcome {id}` asks for it by mail, then `cadre run` fetches the answer"
    )]
    NoKey { id: TherapistId },
    #[error(
        "the key that came can't be used any more ({problem}); ask for another with `cadre therapist welcome {id}`"
    )]
    Unusable { id: TherapistId, problem: String },
    #[error("these are not the words of the key that came; nothing was written. Compare again by voice")]
    WrongWords,
    #[error("the file {path} can't be written ({kind})")]
    File { path: String, kind: std::io::ErrorKind },
}

/// Asks a therapist for their key.
///
/// # Errors
/// [`AppError`]; [`WelcomeError::Known`] is a value.
pub async fn welcome(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &Therapist,
    now: DateTime<Utc>,
) -> Result<Result<(), WelcomeError>, AppError> {
    if therapist.settings.certificate.exists() {
        return Ok(Err(WelcomeError::Known));
    }
    tx.welcome(therapist.id(), now).await?;
    Post::to_therapist(Kind::TherapistWelcome, therapist.id(), None, now)
        .enqueue(ctx, tx, &Recipe::Enrol(Paper::TherapistWelcome), now)
        .await?;
    tx.journal(now, "therapist-welcome", None, json!({ "therapist": therapist.id().0 })).await?;
    Ok(Ok(()))
}

/// The one usable key in an answer from a welcomed therapist's address, if the answer is signed by it.
pub fn answered(ctx: &Context, arrived: &Arrived, examined: &Examined, now: DateTime<Utc>) -> Option<Certificate> {
    let entity = examined.entity.as_ref()?.as_bytes();
    let content = mime::content(entity, &ctx.limits).ok()?;
    let mut sent: Vec<Vec<u8>> = content
        .attachments
        .into_iter()
        .filter(|attachment| attachment.class == AttachmentClass::Key)
        .map(|attachment| attachment.bytes.to_vec())
        .filter(|bytes| !pgp::certificates(bytes).is_empty())
        .collect();
    if let FromField::One { address, .. } = &examined.headers().from {
        for place in [entity, arrived.raw.as_bytes()] {
            sent.extend(mime::autocrypt(place, address, &ctx.limits).ok().flatten());
        }
    }
    let sent: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
    let certificate = pgp::offered(&sent, &ctx.own_fingerprints(), now).ok()?;
    let signed = examine::is_signed_by(arrived.raw.as_bytes(), arrived.first_seen, ctx, &certificate);
    signed.then_some(certificate)
}

/// Keeps the key of a welcomed therapist until it is compared; `false` where nobody asked for it, it is a
/// client's, or another one waits.
///
/// # Errors
/// [`AppError::Store`].
pub async fn keep(
    tx: &mut Tx,
    therapist: &Therapist,
    certificate: &Certificate,
    now: DateTime<Utc>,
) -> Result<bool, AppError> {
    for handle in certificate.handles() {
        if !tx.clients_by_handle(&handle).await?.is_empty() {
            return Ok(false);
        }
    }
    let kept = tx.set_therapist_offer(therapist.id(), &certificate.to_bytes(), now).await?;
    // Another key while one waits goes to a person too: who compares finds two, and `welcome` asks anew.
    let detail = json!({ "therapist": therapist.id().0, "fingerprint": certificate.fingerprint(), "kept": kept });
    tx.journal(now, "therapist-key-offered", None, detail).await?;
    Ok(kept)
}

/// The key that waits to be compared.
///
/// # Errors
/// [`AppError::Store`]; why there is none to confirm is a value.
pub async fn offered(
    tx: &mut Tx,
    therapist: &Therapist,
    now: DateTime<Utc>,
) -> Result<Result<Certificate, WelcomeError>, AppError> {
    let id = || therapist.id().clone();
    if therapist.settings.certificate.exists() {
        return Ok(Err(WelcomeError::Known));
    }
    let bytes = tx.therapist_offer(therapist.id()).await?.and_then(|(_, offer)| offer);
    let Some(certificate) = bytes.and_then(|bytes| Certificate::from_bytes(&bytes).ok()) else {
        return Ok(Err(WelcomeError::NoKey { id: id() }));
    };
    for purpose in [Purpose::Encrypt, Purpose::Sign] {
        if let Err(problem) = certificate.usable_for(purpose, now) {
            return Ok(Err(WelcomeError::Unusable { id: id(), problem: problem.to_string() }));
        }
    }
    Ok(Ok(certificate))
}

/// Writes a compared key to its file, and sends its owner every letter as it will leave.
///
/// # Errors
/// [`AppError`]; why it wasn't written is a value.
pub async fn confirm(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &Therapist,
    certificate: &Certificate,
    words: &[String],
    now: DateTime<Utc>,
) -> Result<Result<(), WelcomeError>, AppError> {
    if !code_words::agree(words, &certificate.fingerprint(), &ctx.key.certificate().fingerprint()) {
        return Ok(Err(WelcomeError::WrongWords));
    }
    if let Err(error) = write_new(&therapist.settings.certificate, certificate) {
        return Ok(Err(error));
    }
    tx.end_welcome(therapist.id()).await?;
    let detail = json!({ "therapist": therapist.id().0, "fingerprint": certificate.fingerprint(), "by": "operator" });
    tx.journal(now, "therapist-key-pinned", None, detail).await?;
    Post::to_therapist(Kind::Specimens, therapist.id(), None, now)
        .enqueue(ctx, tx, &Recipe::Enrol(Paper::Specimens), now)
        .await?;
    Ok(Ok(()))
}

/// Never over a file that is there.
fn write_new(path: &std::path::Path, certificate: &Certificate) -> Result<(), WelcomeError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => WelcomeError::Known,
        kind => WelcomeError::File { path: path.display().to_string(), kind },
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map_err(failed)?;
    file.write_all(certificate.to_armored().as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}
