//! What a therapist is told of a mail that wasn't obeyed, under the hour's ceiling.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::AppError;
use super::context::{Context, Therapist};
use super::post;
use crate::domain::intake::Refusal;
use crate::letters::{self, Letter, RefusalReason};
use crate::model::Kind;
use crate::store::{Client, Tx};

/// As [`send_refusal`], for a mail that isn't surely the therapist's.
///
/// # Errors
/// [`AppError`].
pub async fn refuse(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &Therapist,
    why: Refusal,
    now: DateTime<Utc>,
) -> Result<bool, AppError> {
    let reason = match why {
        Refusal::Unsigned => RefusalReason::Unsigned,
        Refusal::UnknownSigner => RefusalReason::UnknownSigner,
        Refusal::WrongSigner => RefusalReason::WrongSigner,
        Refusal::Bad => RefusalReason::Bad,
        Refusal::Undecryptable => RefusalReason::Undecryptable,
        Refusal::Partial => RefusalReason::Partial,
    };
    send_refusal(ctx, tx, therapist, None, reason.into(), now).await
}

/// What a therapist is told of a mail that wasn't obeyed.
pub struct Unobeyed<'a> {
    pub reason: RefusalReason,
    /// The commands that were understood in it, none of them carried out.
    pub understood: Vec<&'static str>,
    pub in_reply_to: Option<&'a str>,
}

impl From<RefusalReason> for Unobeyed<'_> {
    fn from(reason: RefusalReason) -> Self {
        Self { reason, understood: Vec::new(), in_reply_to: None }
    }
}

/// Tells a therapist why nothing was done; `false` beyond the hour's ceiling.
///
/// # Errors
/// [`AppError`].
pub async fn send_refusal(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &Therapist,
    client: Option<&Client>,
    unobeyed: Unobeyed<'_>,
    now: DateTime<Utc>,
) -> Result<bool, AppError> {
    let Unobeyed { reason, understood, in_reply_to } = unobeyed;
    let word = serde_json::to_value(&reason).ok().and_then(|v| v.get("kind").cloned()).unwrap_or_default();
    let code = client.map(|client| &client.code);
    tx.journal(now, "refused", code, json!({ "therapist": therapist.id().0, "why": word })).await?;
    if therapist.certificate().is_none() {
        // Before the first day nothing can be sealed to them.
        return Ok(false);
    }
    let hour_ago = now - TimeDelta::hours(1);
    let sent = tx.count_for_therapist(Kind::Refusal, therapist.id(), hour_ago).await?;
    if sent >= u64::from(ctx.config.intake.limits.refusals_an_hour) {
        tx.count_up(&format!("refusals-beyond:{}", therapist.id())).await?;
        return Ok(false);
    }
    let facts = letters::Refusal {
        code: client.map(|client| client.code.clone()),
        label: client.and_then(|client| client.label.clone()),
        reason,
        understood,
    };
    let letter = Letter::Refusal(facts);
    post::to_therapist_sealed(ctx, tx, therapist, client, Kind::Refusal, &letter, now, in_reply_to).await?;
    Ok(true)
}
