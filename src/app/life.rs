//! Carries out what `domain::lifecycle` decides: state, memory, letters on their way, turns, journal, in one
//! transaction (SPEC section 5). No state of a client changes in another way.

pub mod calendar;
pub mod orders;
pub mod papers;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::AppError;
use super::context::Context;
use super::guard;
use super::intake;
use super::post::{Post, Recipe};
use super::prepare::Origin;
use super::reply::end_waiting;
use crate::config::Config;
use crate::domain::lifecycle::{self, Actor, Before, Event, Forbidden, Memory, Step, Transition};
use crate::domain::rhythm::Slot;
use crate::model::{Channel, ClientId, ClientState, Kind, MessageState};
use crate::store::{self, Care, Client, Message, StoreError, Tx};
use papers::Paper;

/// Answered turns after which the assessment asks for a word of the therapist's.
const ASSESSMENT_TURNS: u64 = 3;
/// Silence after which a check-in is proposed.
const CHECK_IN_AFTER: TimeDelta = TimeDelta::days(7);

/// What a change has brought about.
pub struct Changed {
    pub transition: &'static Transition,
    /// The state now.
    pub state: ClientState,
    /// Replies that waited and will not leave.
    pub withdrawn: u32,
    /// Numbers of the replies that were put aside (`H4`).
    pub held: Vec<String>,
    /// The letter of an earlier order, which hadn't left and will not.
    pub words: Option<Kind>,
    /// What Cadre tells the client, or the caller has to.
    pub letter: Option<Kind>,
}

/// The memory that a client's record keeps of earlier states.
pub fn memory(care: &Care) -> Memory {
    let undo = care.undo.as_ref().map(|before| Before {
        state: before.state,
        previous: before.previous,
        own_pause: before.own_pause,
    });
    Memory { previous: care.previous, stopped_in: care.stopped_in, own_pause: care.own_pause, undo }
}

/// Whether an event is possible for this client now. A record under legal hold neither goes by itself nor by order.
///
/// # Errors
/// [`Forbidden`].
pub fn possible(client: &Client, event: Event, actor: Actor) -> Result<Step, Forbidden> {
    if client.care.legal_hold.is_some() && matches!(event, Event::Erase | Event::Forget) {
        return Err(Forbidden::State { state: client.state, event });
    }
    lifecycle::step(client.state, event, actor, memory(&client.care))
}

/// Brings an event about. The letters of a pause, a return from it and a `STOP` are put into the outbox; every other
/// letter that the transition names is the caller's, who has its facts.
///
/// # Errors
/// [`AppError`]; what isn't possible in the state is a value.
pub async fn change(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    event: Event,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<Result<&'static Transition, Forbidden>, AppError> {
    Ok(change_told(ctx, tx, client, event, actor, now).await?.map(|changed| changed.transition))
}

/// As [`change`], and says what became of letters that waited.
///
/// # Errors
/// [`AppError`].
pub async fn change_told(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    event: Event,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<Result<Changed, Forbidden>, AppError> {
    // Read again: what the caller knows may be older than another letter of the same group.
    let Some(client) = tx.client(client.id).await? else {
        return Err(StoreError::Missing { table: "client", row: client.id.0 }.into());
    };
    let Step { transition, to, memory } = match possible(&client, event, actor) {
        Ok(step) => step,
        Err(forbidden) => return Ok(Err(forbidden)),
    };
    let turns = if memory.undo.is_some() { turns_of_replies(tx, &client, to).await? } else { Vec::new() };
    tx.set_client_state(client.id, to).await?;
    tx.change_care(client.id, |care| {
        care.previous = memory.previous;
        care.stopped_in = memory.stopped_in;
        care.own_pause = memory.own_pause;
        care.stopped = event == Event::Stop;
        if event == Event::Unstop {
            care.unstopped = Some(now);
        }
        let (since, told) = (care.since, care.told);
        (care.since, care.told) = match (event, &care.undo) {
            // An archive is the same to the client as the end that led to it.
            (Event::Archive, _) => (since, told),
            (Event::Undo, Some(before)) => (before.since, before.told),
            _ => (Some(now), None),
        };
        care.undo = memory.undo.map(|before| store::Before {
            state: before.state,
            previous: before.previous,
            own_pause: before.own_pause,
            since,
            told,
            turns,
        });
    })
    .await?;
    // What it announced isn't so any more.
    let words = withdraw_words(tx, &client, now).await?;
    let (withdrawn, held) = match to {
        ClientState::Discharged | ClientState::Declined | ClientState::Erased | ClientState::Archived => {
            let withdrawn = withdraw(tx, &client, now).await?;
            close_turn(tx, &client, now).await?;
            (withdrawn, Vec::new())
        }
        ClientState::Paused | ClientState::Suspended => {
            let held = put_aside(tx, &client, now).await?;
            if let Some(turn) = tx.current_turn(client.id).await? {
                tx.set_turn_due(turn.id, None).await?;
            }
            (0, held)
        }
        _ => (0, Vec::new()),
    };
    if matches!(event, Event::Resume | Event::Unstop) && to.in_treatment() {
        take_up(ctx, tx, &client, now).await?;
    }
    // Who was never told of the suspension isn't told of its end.
    let unheard = event == Event::Resume && words == Some(Kind::Suspended);
    let letter = transition.letter.filter(|_| !unheard);
    let detail = json!({
        "from": client.state, "to": to, "by": actor.as_str(), "withdrawn": withdrawn, "held": held.len(),
    });
    tx.journal(now, transition.journal, Some(&client.code), detail).await?;
    own_letter(ctx, tx, &client, letter, actor, to, now).await?;
    Ok(Ok(Changed { transition, state: to, withdrawn, held, words, letter }))
}

/// The letters that need no facts but the client's own.
async fn own_letter(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    letter: Option<Kind>,
    actor: Actor,
    to: ClientState,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let paper = match letter {
        Some(Kind::Paused) => Paper::Paused { by_client: actor == Actor::Client },
        Some(Kind::Resumed) => Paper::Resumed,
        Some(Kind::Stopped) => Paper::Stopped,
        _ => return Ok(()),
    };
    // Back from STOP in a suspension: that is told when they write.
    let Some(kind) = letter.filter(|kind| lifecycle::may_leave(to, *kind)) else { return Ok(()) };
    if !client.care.muted {
        Post::to_client(kind, client.id, now).enqueue(ctx, tx, &Recipe::Life(paper), now).await?;
    }
    Ok(())
}

/// Takes a message out of the queue; `false` when the server may have it already.
async fn recall(tx: &mut Tx, message: &Message, now: DateTime<Utc>) -> Result<bool, AppError> {
    let mut recalled = true;
    for row in tx.outbox_of_message(message.id).await? {
        if row.finished_at.is_none() {
            recalled &= tx.cancel(row.id, now).await?;
        }
    }
    Ok(recalled)
}

/// The turns that are answered by replies which a change to this state withdraws.
async fn turns_of_replies(tx: &mut Tx, client: &Client, to: ClientState) -> Result<Vec<i64>, AppError> {
    if !matches!(to, ClientState::Discharged | ClientState::Declined) {
        return Ok(Vec::new());
    }
    let mut replies = tx.pending_replies(client.id).await?;
    replies.retain(|reply| reply.state == MessageState::Waiting);
    replies.extend(tx.held_replies(client.id).await?);
    let mut turns: Vec<i64> = replies.iter().filter_map(|reply| reply.turn).map(|turn| turn.0).collect();
    turns.dedup();
    Ok(turns)
}

/// Whether a letter of the therapist's own words about the treatment hasn't left yet.
async fn words_wait(tx: &mut Tx, client: ClientId) -> Result<bool, AppError> {
    Ok(tx.unsent(client).await?.iter().any(|message| message.kind.is_own_words()))
}

/// Withdraws a letter of the therapist's own words that waits; which one it was.
async fn withdraw_words(tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<Option<Kind>, AppError> {
    let mut withdrawn = None;
    for message in tx.unsent(client.id).await?.iter().filter(|message| message.kind.is_own_words()) {
        if recall(tx, message, now).await? {
            end_waiting(tx, message, MessageState::Cancelled, now).await?;
            withdrawn = Some(message.kind);
        }
    }
    Ok(withdrawn)
}

/// A letter of the therapist's own words has left, or never will: its order can't be taken back any more.
///
/// # Errors
/// [`AppError`] of the database.
pub async fn words_ended(tx: &mut Tx, client: ClientId) -> Result<(), AppError> {
    if words_wait(tx, client).await? {
        return Ok(());
    }
    match tx.change_care(client, |care| care.undo = None).await {
        // A record that was changed alarms elsewhere; what has left is recorded all the same.
        Ok(()) | Err(StoreError::Tampered { .. } | StoreError::Corrupt { .. } | StoreError::Missing { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Withdraws everything of the therapist's that has not left; how many replies there were.
pub async fn withdraw(tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<u32, AppError> {
    let mut withdrawn = 0;
    for message in tx.unsent(client.id).await? {
        if recall(tx, &message, now).await? {
            end_waiting(tx, &message, MessageState::Cancelled, now).await?;
            withdrawn += u32::from(message.kind == Kind::Reply);
        }
    }
    for message in tx.held_replies(client.id).await? {
        end_waiting(tx, &message, MessageState::Cancelled, now).await?;
        withdrawn += 1;
    }
    Ok(withdrawn)
}

/// Puts waiting replies aside, each under a number; closings and practical words that wait are withdrawn.
async fn put_aside(tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<Vec<String>, AppError> {
    let mut held = Vec::new();
    for message in tx.unsent(client.id).await? {
        if !recall(tx, &message, now).await? {
            continue;
        }
        if message.kind != Kind::Reply {
            end_waiting(tx, &message, MessageState::Cancelled, now).await?;
            continue;
        }
        let number = tx.next_held_no().await?;
        tx.set_message_state(message.id, MessageState::Held).await?;
        tx.set_slot(message.id, None, None).await?;
        tx.set_held_no(message.id, number).await?;
        held.push(format!("H{number}"));
    }
    Ok(held)
}

async fn close_turn(tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<(), AppError> {
    if let Some(turn) = tx.current_turn(client.id).await? {
        tx.answer_turn(turn.id, now, true).await?;
    }
    Ok(())
}

/// The rhythm runs again: what was open, and what was written meanwhile, is due at the next slot.
async fn take_up(ctx: &Context, tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<(), AppError> {
    let Some(therapist) = ctx.therapist(&client.therapist) else { return Ok(()) };
    let due = ctx.schedule(&therapist, client).due(now, now);
    if let Some(turn) = tx.current_turn(client.id).await? {
        tx.set_turn_due(turn.id, due.map(|slot| slot.at)).await?;
    }
    let Some(since) = client.care.since else { return Ok(()) };
    for letter in tx.letters_without_turn(client.id, since).await? {
        // The letter that says that the correspondence goes on names the next slot.
        join(ctx, tx, client, &letter, due, false, now).await?;
    }
    Ok(())
}

/// Gives a letter that has no turn its place in the open one, or in a new one.
async fn join(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    letter: &Message,
    due: Option<Slot>,
    acknowledge: bool,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let origin = Origin { message_id: letter.origin_id.clone(), subject: String::new() };
    let turn = intake::join_turn(ctx, tx, client, letter.at, due, &origin, acknowledge, now).await?;
    Ok(tx.set_message_turn(letter.id, turn).await?)
}

/// Tells a client once what happens to mail in their present state.
///
/// # Errors
/// [`AppError`].
pub async fn notice(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    origin: Option<String>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let Some(kind) = lifecycle::notice(client.state) else { return Ok(()) };
    // It leaves sealed or not at all; where there is no key it would be tried for ever.
    let sealable = client.channel == Channel::Pdf || ctx.client_certificate(client).is_some();
    let unsealable = !guard::may_be_clear(kind) && !sealable;
    // The therapist's own letter comes first; it may still be taken back.
    if client.care.told.is_some() || client.care.muted || unsealable || words_wait(tx, client.id).await? {
        return Ok(());
    }
    let paper = match kind {
        Kind::AfterDischarge => Paper::AfterDischarge { origin },
        _ => Paper::StateNotice { origin },
    };
    tx.change_care(client.id, |care| care.told = Some(now)).await?;
    Post::to_client(kind, client.id, now).enqueue(ctx, tx, &Recipe::Life(paper), now).await?;
    Ok(())
}

/// Archives who was discharged long enough ago.
///
/// # Errors
/// [`AppError`].
pub async fn tick(ctx: &Context, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), AppError> {
    for client in &tx.clients_in(ClientState::Discharged).await?.sound {
        let since = client.care.since.unwrap_or(client.created_at);
        if now - since >= lifecycle::ARCHIVE_AFTER
            && let Err(forbidden) = change(ctx, tx, client, Event::Archive, Actor::Clock, now).await?
        {
            tracing::warn!(client = %client.code, %forbidden, "a client isn't archived");
        }
    }
    Ok(())
}

/// Whether a client's record is proposed for erasure: `[records] retention`.
pub fn retention_over(config: &Config, client: &Client, now: DateTime<Utc>) -> bool {
    let (since, held) = (client.care.since.unwrap_or(client.created_at), client.care.legal_hold.is_some());
    let consented = client.consented_at.is_some();
    config.retention.is_some_and(|years| lifecycle::retention_over(client.state, since, consented, held, years, now))
}

/// How many records are proposed for erasure.
///
/// # Errors
/// [`StoreError`].
pub async fn count_retention_over(config: &Config, tx: &mut Tx, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let Some(made) = config.retention.and_then(|years| now.checked_sub_months(lifecycle::months(years))) else {
        return Ok(0);
    };
    let kept = tx.clients_kept_since(lifecycle::ENDED, made).await?;
    Ok(kept.iter().filter(|client| retention_over(config, client, now)).count() as u64)
}

/// What the digest proposes about one client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Proposals {
    /// `/checkin`: a week without a letter since the last delivered reply, and none is owed.
    pub check_in: bool,
    /// `/accept` or `/decline`: the assessment's three turns are over.
    pub assessment: bool,
}

/// Looks at what a client's correspondence asks of the therapist.
///
/// # Errors
/// [`AppError`].
pub async fn proposals(tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<Proposals, AppError> {
    let mut proposals = Proposals::default();
    if client.state == ClientState::Assessment {
        let since = client.consented_at.unwrap_or(client.created_at);
        proposals.assessment = tx.answered_turns(client.id, since).await? >= ASSESSMENT_TURNS;
    }
    if client.state.in_treatment() && !client.care.muted && !owed(tx, client).await? {
        let delivered = tx.last_sent_reply(client.id).await?.and_then(|reply| reply.forwarded_at);
        let written = tx.last_letter_at(client.id).await?;
        proposals.check_in = match delivered {
            Some(at) => {
                // A later letter was closed without one: nothing is owed for it.
                let quiet = now - written.map_or(at, |letter| letter.max(at)) >= CHECK_IN_AFTER;
                // Asked already: it is proposed again after another week.
                quiet && tx.count_outbox(Kind::CheckIn, Some(client.id), now - CHECK_IN_AFTER).await? == 0
            }
            None => false,
        };
    }
    Ok(proposals)
}

/// Whether a reply is owed or waits.
pub async fn owed(tx: &mut Tx, client: &Client) -> Result<bool, AppError> {
    if !tx.pending_replies(client.id).await?.is_empty() {
        return Ok(true);
    }
    Ok(match tx.current_turn(client.id).await? {
        Some(turn) => !tx.letters_in_turn(turn.id).await?.is_empty(),
        None => false,
    })
}
