//! Enrolment by mail: invitation, key, frame, consent, card, transfer (SPEC section 5).
//!
//! What a mail brings (keys, an answer, a card) is found when it is prepared; what follows from it is decided and
//! carried out in the transaction that files it. A key is never pinned by a mail alone: two people compare it first.

pub mod accept;
pub mod answer;
pub mod consent;
pub mod findings;
pub mod frame;
pub mod invite;
pub mod orders;
pub mod papers;
pub mod therapist;
pub mod tick;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::AppError;
use super::context::{Context, Therapist};
use super::post::{Post, Recipe};
use super::prepare::Sealed;
use crate::letters::{EnrolmentStep, KeyProblem, Received};
use crate::model::{ClientState, Kind, TherapistId, Verdict};
use crate::pgp::Certificate;
use crate::store::{self, Client, Tx};

pub use findings::{Findings, find};
pub use frame::ask as ask_frame;

/// What a mail about an enrolment is made from when it leaves.
#[derive(Serialize, Deserialize)]
#[serde(tag = "paper", rename_all = "kebab-case")]
pub enum Paper {
    Invitation {
        until: DateTime<Utc>,
        rekey: bool,
    },
    InvitationReminder {
        until: DateTime<Utc>,
    },
    InvitationProblem {
        problem: KeyProblem,
        origin: Option<String>,
    },
    InvitationDeclined {
        origin: Option<String>,
    },
    /// Sealed to a key that waits to be compared.
    KeyArrived {
        offer: i64,
        origin: Option<String>,
    },
    /// Also the renewal, as the kind says.
    Frame {
        therapist: TherapistId,
        number: u32,
        received: Option<Received>,
        origin: Option<String>,
    },
    ConsentRecorded {
        version: u32,
        at: DateTime<Utc>,
        assessment: bool,
        /// Not a renewal.
        #[serde(default)]
        first: bool,
        locum: bool,
        origin: Option<String>,
    },
    /// The cover in absences alone was agreed to or refused.
    CoverRecorded {
        at: DateTime<Utc>,
        origin: Option<String>,
    },
    ConsentUnclear {
        origin: Option<String>,
    },
    CardRequest,
    TransferOffer {
        to: TherapistId,
    },
    /// To the therapist.
    Step {
        state: ClientState,
        step: EnrolmentStep,
    },
    CardCopy,
    TherapistWelcome,
    Specimens,
}

/// Whether its writer is proven: only such mail consents, steers or changes.
pub const fn proven(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Verified | Verdict::Vouched)
}

/// What follows from a filed or held mail of a client's. `true`: what was asked about has been answered.
///
/// # Errors
/// [`AppError`].
pub async fn arrived(ctx: &Context, tx: &mut Tx, sealed: &Sealed, now: DateTime<Utc>) -> Result<bool, AppError> {
    let (Some(client), Some(found)) = (&sealed.client, &sealed.found) else { return Ok(false) };
    // Read again: another letter of the same group may have changed the record.
    let Some(client) = tx.client(client.id).await? else { return Ok(false) };
    if proven(sealed.verdict) {
        // Answer words sign nothing: whether the key is theirs, the voice decides alone.
        let by_old = sealed.verdict == Verdict::Verified;
        answer::newer_key(ctx, tx, &client, sealed, found, by_old, now).await?;
        consent::arrived(ctx, tx, &client, sealed, found, now).await
    } else {
        answer::arrived(ctx, tx, &client, sealed, found, now).await
    }
}

/// Tells a client's therapist of a step.
///
/// # Errors
/// [`AppError::Store`].
pub async fn tell(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    step: EnrolmentStep,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    tell_therapist(ctx, tx, &client.therapist, client, step, now).await
}

/// Tells this therapist of a step.
///
/// # Errors
/// [`AppError::Store`].
pub async fn tell_therapist(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &TherapistId,
    client: &Client,
    step: EnrolmentStep,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let state = tx.client(client.id).await?.map_or(client.state, |client| client.state);
    Post::to_therapist(Kind::Enrolment, therapist, Some(client.id), now)
        .enqueue(ctx, tx, &Recipe::Enrol(Paper::Step { state, step }), now)
        .await?;
    Ok(())
}

/// A certificate as the store keeps it.
pub fn stored(certificate: &Certificate) -> store::Certificate {
    store::Certificate {
        bytes: certificate.to_bytes(),
        fingerprint: certificate.fingerprint(),
        handles: certificate.handles(),
    }
}

/// The fourth element of the frame.
pub(super) fn therapist_facts(therapist: &Therapist) -> crate::letters::TherapistFacts {
    let settings = &therapist.settings;
    crate::letters::TherapistFacts {
        name: settings.name.clone(),
        title: settings.title.clone(),
        register: settings.register.clone(),
        country: settings.country.clone(),
    }
}
