//! What became of outgoing mail: recorded, its copy sealed to the therapist, people told of failures.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::AppError;
use super::compose::{self, WaitingLetter};
use super::crisis;
use super::life;
use super::post::Cause;
use super::send::{Claimed, Clerk, Ended, Sent, is_about_danger, is_theirs};
use super::unreached::{Unreached, unreached};
use crate::domain::delivery::{Failure, Next, Outcome, after_attempt};
use crate::failpoint::failpoint;
use crate::model::{Filing, Kind, MessageRow};
use crate::store::{Client, Finish, Message, Outbox, Tx};

/// A mail about danger is tried again after this time at the latest, whatever the server said.
const DANGER_WAIT: TimeDelta = TimeDelta::seconds(30);
/// Nobody could be asked: tried again after this time at the latest.
const UNREACHABLE_WAIT: TimeDelta = TimeDelta::minutes(2);

impl Clerk {
    /// Commits what came of attempts.
    pub(super) async fn record(&self, mut ended: Vec<Ended>, total: &mut Sent) -> Result<(), AppError> {
        if ended.is_empty() {
            return Ok(());
        }
        let copies = ended.iter_mut().map(|one| self.copy_of(one));
        let copies = futures::future::try_join_all(copies).await?;
        let owed: Vec<MessageRow> = ended
            .iter()
            .zip(&copies)
            .filter(|(_, copy)| copy.is_some())
            .filter_map(|(one, _)| one.claimed.row.message)
            .collect();
        let mut tx = self.ctx.store.begin().await?;
        // A client who was forgotten while the mail left has no body there any more, and gets none back.
        let kept = tx.body_sizes(&owed).await?;
        for (one, copy) in ended.into_iter().zip(copies) {
            let copy = copy.filter(|_| one.claimed.row.message.is_some_and(|row| kept.contains_key(&row)));
            self.record_one(&mut tx, one, copy, total).await?;
        }
        failpoint("recording");
        tx.commit().await?;
        failpoint("recorded");
        for row in kept.into_keys() {
            self.ctx.owes_copy(row);
        }
        Ok(())
    }

    async fn record_one(
        &self,
        tx: &mut Tx,
        ended: Ended,
        copy: Option<Vec<u8>>,
        total: &mut Sent,
    ) -> Result<(), AppError> {
        let Ended { claimed: Claimed { row, message, client, attempts, .. }, outcome, word, at: now } = ended;
        let next = after_attempt(now, attempts, outcome, rand::random());
        let code = match outcome {
            Outcome::Temporary { code } | Outcome::Permanent { code } => Some(code),
            Outcome::Delivered => Some(250),
            _ => None,
        };
        match next {
            Next::Sent => {
                tx.finish(row.id, Finish::Sent, code, None, now).await?;
                self.sent(tx, &row, message.as_ref(), client.as_ref(), copy, now, total).await?;
            }
            Next::Retry { at, .. } => {
                total.deferred += 1;
                let asked = outcome != Outcome::Unreachable;
                let at = match asked {
                    _ if is_about_danger(row.kind) => at.min(now + DANGER_WAIT),
                    true => at,
                    false => at.min(now + UNREACHABLE_WAIT),
                };
                if !attempts.passed_dot && !outcome.passed_dot() {
                    tx.end_attempt(row.id, asked).await?;
                }
                tx.reschedule(row.id, at, Some(&word)).await?;
            }
            Next::Failed { why, .. } => {
                total.failed += 1;
                if !attempts.passed_dot {
                    // No server can have it: a reply's day is free again.
                    tx.end_attempt(row.id, true).await?;
                }
                tx.finish(row.id, Finish::Failed, code, Some(&word), now).await?;
                self.failed(tx, &row, message.as_ref(), client.as_ref(), why, now).await?;
            }
        }
        Ok(())
    }

    /// The copy of what was sent, where it is the therapist's own words.
    async fn copy_of(&self, ended: &mut Ended) -> Result<Option<Vec<u8>>, AppError> {
        let Claimed { row, message, client, letter, .. } = &mut ended.claimed;
        match (message, client) {
            (Some(message), Some(client)) if ended.outcome == Outcome::Delivered && is_theirs(row.kind) => {
                self.copy(message, client, letter.take(), ended.at).await
            }
            _ => Ok(None),
        }
    }

    /// The sent copy, sealed to the therapist: from now on the server can't read it.
    async fn copy(
        &self,
        message: &Message,
        client: &Client,
        kept: Option<WaitingLetter>,
        now: DateTime<Utc>,
    ) -> Result<Option<Vec<u8>>, AppError> {
        let Some(therapist) = self.ctx.therapist(&client.therapist) else { return Ok(None) };
        let words = match kept {
            Some(letter) => Ok(letter),
            None => match self.ctx.store.read().await?.blob(message.id).await? {
                None => return Ok(None),
                Some(sealed) => Err(sealed),
            },
        };
        let (ctx, message, client) = (Arc::clone(&self.ctx), message.clone(), client.clone());
        let copying = tokio::task::spawn_blocking(move || {
            let letter = words.or_else(|sealed| WaitingLetter::open(&ctx, &sealed, now.max(message.at)))?;
            let mail = super::write::copy_for_therapist(&ctx, &therapist, &client, &message, letter, now);
            compose::seal_to_therapist(&ctx, &therapist, &mail)
        });
        match copying.await? {
            Ok(sealed) => Ok(Some(sealed)),
            Err(error) => {
                tracing::error!(%error, "the copy of a sent letter can't be sealed to the therapist; it isn't kept");
                Ok(None)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "each is a fact of its own")]
    async fn sent(
        &self,
        tx: &mut Tx,
        row: &Outbox,
        message: Option<&Message>,
        client: Option<&Client>,
        copy: Option<Vec<u8>>,
        now: DateTime<Utc>,
        total: &mut Sent,
    ) -> Result<(), AppError> {
        total.sent += 1;
        match row.kind {
            Kind::Reply => total.released += 1,
            Kind::Digest => total.digests += 1,
            _ => {}
        }
        let code = client.map(|client| &client.code);
        tx.journal(now, "sent", code, json!({ "kind": row.kind, "attempts": row.attempts + 1 })).await?;
        if row.kind == Kind::Alert {
            crisis::told(tx, row, now).await?;
        }
        let Some(message) = message else { return Ok(()) };
        if let (Kind::LocumForward, Some(locum)) = (row.kind, &row.therapist) {
            return Ok(tx.hand_locum_copy(message.id, locum, now).await?);
        }
        if !is_theirs(row.kind) {
            tx.set_forwarded(message.id, now).await?;
        } else {
            tx.set_sent(message.id, now).await?;
            match copy {
                Some(copy) => {
                    tx.put_blob(message.id, &copy).await?;
                    if self.ctx.config.imap.filing == Filing::Folders {
                        tx.add_copy(message.id, now).await?;
                    }
                }
                // What the practice's key could still open doesn't stay.
                None => {
                    tx.delete_blob(message.id).await?;
                }
            }
        }
        if let (true, Some(client)) = (row.kind.is_own_words(), client) {
            life::words_ended(tx, client.id).await?;
        }
        Ok(())
    }

    /// It will never be sent: the day is free again, and the people concerned are told.
    async fn failed(
        &self,
        tx: &mut Tx,
        row: &Outbox,
        message: Option<&Message>,
        client: Option<&Client>,
        why: Failure,
        now: DateTime<Utc>,
    ) -> Result<(), AppError> {
        let code = client.map(|client| &client.code);
        tx.journal(now, "failed", code, json!({ "kind": row.kind })).await?;
        if is_theirs(row.kind)
            && let Some(message) = message
        {
            tx.delete_blob(message.id).await?;
        }
        if let (true, Some(client)) = (row.kind.is_own_words(), client) {
            life::words_ended(tx, client.id).await?;
        }
        let cause = match why {
            Failure::TooLong => Cause::GaveUp,
            _ => Cause::Refused,
        };
        unreached(&self.ctx, tx, &Unreached { row, message, client, cause, left: now }, now).await
    }
}
