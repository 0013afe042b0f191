//! The clock was set back: it was wrong before, or is wrong now. What was timed by it is timed again.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::AppError;
use super::context::Context;
use super::health::{self, Health};
use super::post::Problem;
use super::reply::{move_reply, taken_days};
use super::supervisor::SEEN_UNTIL;
use crate::domain::rhythm::next_free;
use crate::model::MessageState;
use crate::store::{StoreError, Tx};

/// A clock may be set back by as much as this without a word.
const CLOCK_BACK: TimeDelta = TimeDelta::minutes(10);
/// So long `status` tells of it.
const TOLD_FOR: TimeDelta = TimeDelta::days(1);

/// Sees whether the clock stands behind what was seen before; then it is named, the operator is told, and what lies in
/// the future is set right.
///
/// # Errors
/// [`AppError::Store`].
pub async fn watch(ctx: &Context, now: DateTime<Utc>) -> Result<(), AppError> {
    let mut tx = ctx.store.read().await?;
    let (seen, told) = (tx.meta_time(SEEN_UNTIL).await?, health::read(&mut tx, "health:clock").await?);
    drop(tx);
    let Some(seen) = seen.filter(|seen| *seen - now > CLOCK_BACK) else {
        if told.is_some_and(|health| health.state != "ok" && now - health.since > TOLD_FOR) {
            health::well(ctx, "clock", now).await?;
        }
        return Ok(());
    };
    let mut tx = ctx.store.begin().await?;
    if tx.meta_time(SEEN_UNTIL).await? != Some(seen) {
        // Seen by another part of the program at the same moment.
        return Ok(());
    }
    let minutes = (seen - now).num_minutes();
    tracing::error!(event = "clock", minutes, "this machine's clock was set back; see that it is right");
    tx.clock_set_back(now).await?;
    replies(ctx, &mut tx, now).await?;
    turns(ctx, &mut tx, now).await?;
    let detail = format!("this machine's clock was set back by {minutes} minutes; see that it is right");
    let health = Health { state: "clock".to_owned(), since: now, detail: Some(detail) };
    tx.set_meta("health:clock", &serde_json::to_string(&health).unwrap_or_default()).await?;
    // Nobody has looked into the mailbox yet by this clock.
    tx.clear_meta(SEEN_UNTIL).await?;
    tx.journal(now, "health", None, json!({ "part": "clock", "state": "clock", "minutes": minutes })).await?;
    tx.clear_notice("alarm:clock").await?;
    health::alarm(ctx, &mut tx, &Problem::new("clock"), now).await?;
    Ok(tx.commit().await?)
}

/// A letter that arrived "in a week" has arrived by now: no turn is due later than that of a letter which arrives now.
async fn turns(ctx: &Context, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), AppError> {
    for turn in tx.open_turns().await? {
        let client = match tx.client(turn.client).await {
            Err(StoreError::Tampered { .. }) | Ok(None) => continue,
            client => client?,
        };
        let Some(client) = client else { continue };
        let Some(therapist) = ctx.therapist(&client.therapist) else { continue };
        let due = ctx.schedule(&therapist, &client).due(now, now).map(|slot| slot.at);
        if due.is_some() && turn.due_at > due {
            tx.set_turn_due(turn.id, due).await?;
        }
    }
    Ok(())
}

/// A reply that left "tomorrow" has left by today: today is its day. One that was accepted "tomorrow" waits for the
/// next slot from now on.
async fn replies(ctx: &Context, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), AppError> {
    for reply in tx.replies_ahead(now).await? {
        let client = match reply.client {
            Some(id) => match tx.client(id).await {
                Err(StoreError::Tampered { .. }) | Ok(None) => continue,
                client => client?,
            },
            None => None,
        };
        let Some(client) = client else { continue };
        let Some(therapist) = ctx.therapist(&client.therapist) else { continue };
        let schedule = ctx.schedule(&therapist, &client);
        let today = schedule.local_day(now);
        if reply.leave_day.is_none_or(|day| day <= today) {
            continue;
        }
        if reply.state == MessageState::Sent {
            match tx.set_slot(reply.id, reply.slot, Some(today)).await {
                Ok(()) | Err(StoreError::DayTaken) => {}
                Err(error) => return Err(error.into()),
            }
        } else if reply.at > now {
            let taken = taken_days(tx, &client, Some(reply.id), now).await?;
            if let Some(slot) = next_free(&schedule, now, &taken) {
                move_reply(tx, &reply, slot).await?;
            }
        }
    }
    Ok(())
}
