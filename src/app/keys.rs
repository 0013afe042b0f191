//! The life of keys: what people's mail says of theirs, and the practice's own, which may be replaced or revoked.

pub mod arrived;
pub mod own;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::AppError;
use super::compose;
use super::context::Context;
use super::write::{Desk, Written};
use crate::letters::{self, KeyOwner, Letter};
use crate::pgp::Purpose;

/// What a mail about keys is made from when it leaves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "paper", rename_all = "kebab-case")]
pub enum Paper {
    /// The practice's key is another one; to a client, or to a therapist, as the row says.
    Practice {
        old: String,
        revoked: bool,
        /// The mail that was still encrypted to the old key.
        #[serde(default)]
        origin: Option<String>,
    },
    /// To whom it belonged.
    Revoked { fingerprint: String },
    /// A client's, to the therapist.
    ClientRevoked { fingerprint: String, at: DateTime<Utc>, hard: bool },
}

/// Writes one; None when there is nothing to say any more.
///
/// # Errors
/// A letter that can't be rendered.
pub(super) fn write(desk: &Desk<'_>, paper: Paper) -> Result<Option<Written>, AppError> {
    match paper {
        Paper::Practice { old, revoked, origin } => practice(desk, old, revoked, origin),
        Paper::Revoked { fingerprint } => self::revoked(desk, fingerprint),
        Paper::ClientRevoked { fingerprint, at, hard } => {
            let Some(client) = desk.client else { return Ok(None) };
            let owner = KeyOwner::Client { code: client.code.clone(), label: client.label.clone() };
            let facts = letters::StaffKeyRevoked { owner, fingerprint, revoked: at, hard };
            desk.staff_letter_with(&Letter::StaffKeyRevoked(facts), Vec::new())
        }
    }
}

/// The old key that can still sign what is said about the new one; None: the new one signs.
fn speaker(ctx: &Context, old: &str, now: DateTime<Utc>) -> Option<String> {
    let retired = ctx.retired.iter().find(|key| key.certificate().fingerprint() == old)?;
    retired.certificate().usable_for(Purpose::Sign, now).ok().map(|()| old.to_owned())
}

fn practice(
    desk: &Desk<'_>,
    old_fingerprint: String,
    revoked: bool,
    origin: Option<String>,
) -> Result<Option<Written>, AppError> {
    let ctx = desk.ctx;
    let fingerprint = ctx.key.certificate().fingerprint();
    if fingerprint == old_fingerprint {
        return Ok(None);
    }
    let by = speaker(ctx, &old_fingerprint, desk.now).filter(|_| !revoked);
    let signed_by_old = by.is_some();
    let written = if desk.row.therapist.is_some() {
        let facts = letters::StaffPracticeKey { fingerprint, old_fingerprint, revoked, signed_by_old };
        desk.staff_letter_with(&Letter::StaffPracticeKey(facts), vec![compose::key_part(ctx)])?
    } else if let Some(client) = desk.client {
        let sealed = desk.sealable(client);
        let practice = ctx.config.practice.name.clone();
        let letter = match (sealed, revoked) {
            (false, _) => Letter::PracticeKeyClear(letters::PracticeKeyClear {
                neutral_name: ctx.neutral_name(client.language),
                fingerprint,
                old_fingerprint,
                revoked,
            }),
            (true, true) => {
                Letter::PracticeKeyRevoked(letters::PracticeKeyRevoked { practice, fingerprint, old_fingerprint })
            }
            (true, false) => Letter::PracticeKeyRotated(letters::PracticeKeyRotated {
                practice,
                fingerprint,
                old_fingerprint,
                signed_by_old,
            }),
        };
        desk.cadres_letter(client, &letter, origin, sealed)?
    } else {
        None
    };
    Ok(match (written, by) {
        (Some(written), Some(old)) => Some(written.signed_by(old)),
        (written, _) => written,
    })
}

/// To whom the key belonged: there is none to seal it to, so it is neutral and in clear.
fn revoked(desk: &Desk<'_>, fingerprint: String) -> Result<Option<Written>, AppError> {
    let ctx = desk.ctx;
    let (reader, address, staff) = match (desk.row.therapist.is_some(), desk.client) {
        (true, _) => {
            let therapist = desk.therapist()?;
            (therapist.reader(), therapist.settings.address.clone(), true)
        }
        // A new key may have been pinned since.
        (false, Some(client)) if client.fingerprint.as_ref() == Some(&fingerprint) => {
            (ctx.reader_for(client), client.address.clone(), false)
        }
        _ => return Ok(None),
    };
    let neutral_name = ctx.neutral_name(reader.language);
    let letter = Letter::KeyRevoked(letters::KeyRevoked { neutral_name, fingerprint, staff });
    desk.clear_letter(&address, reader, None, &letter).map(Some)
}
