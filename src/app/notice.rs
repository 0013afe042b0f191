//! A mail system's notice, carried out: what it says of a mail of ours is kept, and people are told.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::AppError;
use super::context::Context;
use super::intake::Outcome;
use super::post::{Cause, Why};
use super::unreached::{Unreached, unreached};
use crate::domain::notice::{Ignored, Meaning, Reported, judge};
use crate::failpoint::failpoint;
use crate::model::{Fate, OutboxRow};
use crate::store::{Disposal, Outbox, Tx};

/// What a notice says of a mail of ours.
pub struct Noticed {
    /// `None`: it names none of ours.
    pub row: Option<OutboxRow>,
    /// What became of it at its recipient's; `None`: that isn't said.
    pub fate: Option<Fate>,
    /// Enhanced status code.
    pub status: Option<String>,
}

/// Applies a notice within `tx`. The notice itself stays among the others for its days: the operator may want to read
/// what the other server wrote.
///
/// # Errors
/// [`AppError::Store`].
pub(super) async fn apply(
    ctx: &Context,
    tx: &mut Tx,
    noticed: &Noticed,
    now: DateTime<Utc>,
) -> Result<(Outcome, Option<Disposal>), AppError> {
    // Read again: another notice of the same group may have said it.
    let row = match noticed.row {
        Some(row) => tx.outbox(row).await?,
        None => None,
    };
    let reported = |row: &Outbox| Reported { state: row.state, handed_over: row.reached_dot, fate: noticed.fate };
    match (judge(row.as_ref().map(reported)), row) {
        (Meaning::NotYet, _) => return Ok((Outcome::Blocked, None)),
        (Meaning::Ignored(why), row) => ignored(tx, row.as_ref(), why, now).await?,
        (Meaning::NotReceived, Some(row)) => returned(ctx, tx, &row, noticed.status.as_deref(), now).await?,
        (Meaning::Delayed, Some(row)) => said(tx, &row, Some(Fate::Delayed), now).await?,
        (Meaning::Unclear, Some(row)) => said(tx, &row, Some(Fate::Unclear), now).await?,
        (Meaning::Received, Some(row)) => said(tx, &row, None, now).await?,
        (_, None) => ignored(tx, None, Ignored::UnknownMail, now).await?,
    }
    tx.count_up("others").await?;
    failpoint("noticed");
    Ok((Outcome::SetAside, Some(Disposal::Others)))
}

/// Anybody can have written it: a line in the journal, and nothing else.
async fn ignored(tx: &mut Tx, row: Option<&Outbox>, why: Ignored, now: DateTime<Utc>) -> Result<(), AppError> {
    let detail = json!({ "why": why.word(), "kind": row.map(|row| row.kind) });
    tx.journal(now, "notice-ignored", None, detail).await?;
    Ok(())
}

/// Delayed is not failed: it is remembered for the digest.
async fn said(tx: &mut Tx, row: &Outbox, fate: Option<Fate>, now: DateTime<Utc>) -> Result<(), AppError> {
    let code = code_of(tx, row).await?;
    let word = fate.unwrap_or(Fate::Relayed);
    tx.journal(now, "notice", code.as_ref(), json!({ "kind": row.kind, "said": word })).await?;
    // The digest counts from the first one on.
    if row.notice != fate {
        tx.note_notice(row.id, fate, now).await?;
    }
    Ok(())
}

async fn returned(
    ctx: &Context,
    tx: &mut Tx,
    row: &Outbox,
    status: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let word = status.map_or_else(|| "returned".to_owned(), |status| format!("returned {status}"));
    if !tx.return_mail(row.id, &word, now).await? {
        return Ok(());
    }
    let code = code_of(tx, row).await?;
    tx.journal(now, "returned", code.as_ref(), json!({ "kind": row.kind, "status": status })).await?;
    let client = match row.client {
        Some(client) => tx.client(client).await?,
        None => None,
    };
    let message = match row.message {
        Some(message) => tx.message(message).await?,
        None => None,
    };
    let cause = Cause::Returned { why: Why::of(status) };
    let left = row.finished_at.unwrap_or(row.created_at);
    let what = Unreached { row, message: message.as_ref(), client: client.as_ref(), cause, left };
    unreached(ctx, tx, &what, now).await
}

async fn code_of(tx: &mut Tx, row: &Outbox) -> Result<Option<crate::model::ClientCode>, AppError> {
    Ok(match row.client {
        Some(client) => tx.client(client).await?.map(|client| client.code),
        None => None,
    })
}
