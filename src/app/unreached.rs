//! A mail that its recipient didn't receive, refused at submission or returned later: who is told, and what is owed
//! again (SPEC section 9).
//!
//! A reply that wasn't received answers nothing: its day is free, and its turn is open again with the next slot, so
//! that the letters stand in the digest as what they are, unanswered. The therapist can write at once, or reach the
//! person by the other way and close the turn. Where another answer waits or has left, nothing is owed.

use chrono::{DateTime, TimeDelta, Utc};

use super::AppError;
use super::context::Context;
use super::enrol::Paper;
use super::health;
use super::orders::reopen_turn;
use super::post::{Cause, Post, Problem, Recipe};
use super::send::is_theirs;
use crate::domain::notice::{Tell, answers, tell};
use crate::model::{Kind, MessageState, TurnState};
use crate::store::{Client, Message, Outbox, Tx};

/// The card is sent along once in this time: one dead mailbox returns many letters.
const CARD_EVERY: TimeDelta = TimeDelta::days(7);

/// A mail that wasn't received.
pub(super) struct Unreached<'a> {
    pub row: &'a Outbox,
    pub message: Option<&'a Message>,
    pub client: Option<&'a Client>,
    pub cause: Cause,
    /// When it left, or should have.
    pub left: DateTime<Utc>,
}

/// Does what follows from it.
///
/// # Errors
/// [`AppError::Store`].
pub(super) async fn unreached(
    ctx: &Context,
    tx: &mut Tx,
    what: &Unreached<'_>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let kind = what.row.kind;
    if is_theirs(kind)
        && let Some(message) = what.message
    {
        tx.set_message_state(message.id, MessageState::Failed).await?;
    }
    let due = match (what.message, what.client) {
        (Some(message), Some(client)) if answers(kind) => reopen(ctx, tx, message, client, now).await?,
        _ => None,
    };
    match tell(kind, what.row.therapist.is_some()) {
        Tell::Therapist => tell_therapist(ctx, tx, what, due, now).await,
        Tell::TherapistAndOperator => {
            tell_therapist(ctx, tx, what, due, now).await?;
            let code = what.client.map(|client| client.code.to_string());
            health::alarm(ctx, tx, &Problem { code, ..Problem::new("safety-failed") }, now).await
        }
        Tell::Operator => {
            let code = what.client.map(|client| client.code.to_string());
            let therapist = what.row.therapist.as_ref().map(ToString::to_string);
            let problem = match kind {
                Kind::Forward | Kind::Request | Kind::LocumForward | Kind::Alert => {
                    Problem { code, ..Problem::new("forward-failed") }
                }
                _ => Problem { therapist, ..Problem::new("staff-mail") },
            };
            health::alarm(ctx, tx, &problem, now).await
        }
        Tell::Command => health::call(ctx, tx, "alarm:operator-mailbox", "operator-mailbox", None).await,
        Tell::Digest | Tell::Nobody => Ok(()),
    }
}

/// Opens the turn again that this letter had answered; the slot at which it is due.
async fn reopen(
    ctx: &Context,
    tx: &mut Tx,
    message: &Message,
    client: &Client,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, AppError> {
    let (Some(turn), Some(therapist)) = (message.turn, ctx.therapist(&client.therapist)) else { return Ok(None) };
    let another = tx.has_other_answer(turn, message.id).await? || !tx.pending_replies(client.id).await?.is_empty();
    let answered = tx.turn(turn).await?.is_some_and(|turn| turn.state == TurnState::Answered);
    if another || !answered || !client.state.in_treatment() {
        return Ok(None);
    }
    let schedule = ctx.schedule(&therapist, client);
    let due = reopen_turn(&schedule, tx, client.id, Some(turn), now).await?;
    if due.is_none_or(|due| due > now) {
        return Ok(due);
    }
    // The slot at which it left is over: what is written from now on leaves at the next one.
    let due = schedule.next_slot(now).map(|slot| slot.at);
    if let Some(open) = tx.current_turn(client.id).await? {
        tx.set_turn_due(open.id, due).await?;
    }
    Ok(due)
}

async fn tell_therapist(
    ctx: &Context,
    tx: &mut Tx,
    what: &Unreached<'_>,
    due: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let Some(client) = what.client else { return Ok(()) };
    let week_ago = now - CARD_EVERY;
    let card =
        tx.card(client.id).await?.is_some() && tx.count_outbox(Kind::CardCopy, Some(client.id), week_ago).await? == 0;
    let recipe = Recipe::DeliveryFailure { kind: what.row.kind, sent: what.left, cause: what.cause, due, card };
    Post::to_therapist(Kind::DeliveryFailure, &client.therapist, Some(client.id), now)
        .enqueue(ctx, tx, &recipe, now)
        .await?;
    if card {
        Post::to_therapist(Kind::CardCopy, &client.therapist, Some(client.id), now)
            .enqueue(ctx, tx, &Recipe::Enrol(Paper::CardCopy), now)
            .await?;
    }
    Ok(())
}
