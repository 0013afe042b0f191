//! What a therapist orders about a client's life (SPEC sections 5 and 8).

use chrono::{DateTime, Utc};
use serde_json::json;

use super::papers::Paper;
use super::{Changed, change_told, join, owed, withdraw, withdraw_words, words_ended};
use crate::app::AppError;
use crate::app::compose::{WaitingLetter, new_message_id};
use crate::app::enrol;
use crate::app::orders::reopen;
use crate::app::post::{Post, Recipe};
use crate::app::reply::{Answered, answered, end_turn, letter, refused, store};
use crate::app::therapist::{Mail, Step};
use crate::domain::commands::Command;
use crate::domain::lifecycle::{self, Actor, Event, next};
use crate::domain::rhythm;
use crate::letters::{Outcome, RefusalReason};
use crate::mime;
use crate::model::{ClientState, Kind, TurnRow};
use crate::store::{Client, Message, Tx};

/// Carries out a command of this file's; `None` when it is another's.
///
/// # Errors
/// [`AppError`]; refusals are values.
pub async fn carry_out(mail: &Mail<'_>, tx: &mut Tx, client: &Client, command: &Command) -> Step<Option<Vec<Outcome>>> {
    let outcomes = match command {
        Command::Accept => turn_to(mail, tx, client, command, Event::Accept).await?,
        Command::Pause => turn_to(mail, tx, client, command, Event::Pause).await?,
        Command::Resume => turn_to(mail, tx, client, command, resuming(client)).await?,
        Command::Decline => own_words(mail, tx, client, command, Event::Decline).await?,
        Command::Suspend => own_words(mail, tx, client, command, Event::Suspend).await?,
        Command::End => own_words(mail, tx, client, command, Event::End).await?,
        Command::Discharge { silent: true } => turn_to(mail, tx, client, command, Event::Discharge).await?,
        Command::Discharge { silent: false } if farewell_open(mail, client) => {
            farewell(mail, tx, client).await?.map(|outcome| vec![outcome])
        }
        Command::Discharge { silent: false } => own_words(mail, tx, client, command, Event::Discharge).await?,
        Command::Mute { on } => Ok(mute(mail, tx, client, *on).await?),
        Command::Discreet { on } => {
            tx.change_care(client.id, |care| care.discreet = *on).await?;
            tx.journal(mail.now, "discreet", Some(&client.code), json!({ "on": on })).await?;
            Ok(vec![Outcome::Discreet { on: *on }])
        }
        Command::SafetyQuiet { on } => {
            tx.change_care(client.id, |care| care.safety_quiet = *on).await?;
            tx.journal(mail.now, "safety-quiet", Some(&client.code), json!({ "on": on })).await?;
            Ok(vec![Outcome::SafetyQuiet { on: *on }])
        }
        Command::CheckIn => check_in(mail, tx, client).await?.map(|outcome| vec![outcome]),
        Command::Video { .. } => video(mail, tx, client, command).await?.map(|outcome| vec![outcome]),
        _ => return Ok(Ok(None)),
    };
    Ok(outcomes.map(Some))
}

/// Whether a letter of the therapist's may go to this client at all.
///
/// # Errors
/// The refusal, as a value.
pub fn may_write(client: &Client, kind: Kind) -> Result<(), RefusalReason> {
    if client.care.muted {
        return Err(RefusalReason::Muted);
    }
    if !lifecycle::may_leave(client.state, kind) {
        return Err(RefusalReason::ClientState { state: client.state });
    }
    Ok(())
}

/// Whether the one letter after the client's `STOP` may still be written. An answer that crossed the `STOP` isn't it.
pub fn farewell_open(mail: &Mail<'_>, client: &Client) -> bool {
    !mail.is_locum_of(client)
        && client.care.since.is_some_and(|since| mail.signed_at >= since)
        && lifecycle::farewell_open(client.state, client.care.stopped, client.care.since, mail.now)
}

fn not_in_state(client: &Client, command: &Command) -> RefusalReason {
    RefusalReason::NotInState { command: command.name().to_owned(), state: client.state }
}

fn told(changed: Changed, letter: Option<Kind>, leaves: Option<DateTime<Utc>>) -> Vec<Outcome> {
    let mut outcomes = vec![Outcome::State { state: changed.state, letter, leaves }];
    outcomes.extend(changed.words.map(|letter| Outcome::LetterWithdrawn { letter }));
    if changed.withdrawn > 0 {
        outcomes.push(Outcome::Withdrawn { replies: changed.withdrawn });
    }
    if !changed.held.is_empty() {
        outcomes.push(Outcome::PutAside { numbers: changed.held });
    }
    outcomes
}

/// What `/resume` means: the rhythm runs again, or, after the end, the frame is asked again.
const fn resuming(client: &Client) -> Event {
    match client.state {
        ClientState::Discharged | ClientState::Archived | ClientState::Declined => Event::Return,
        _ => Event::Resume,
    }
}

/// A change without words of the therapist's.
async fn turn_to(mail: &Mail<'_>, tx: &mut Tx, client: &Client, command: &Command, event: Event) -> Step<Vec<Outcome>> {
    if event == Event::Return {
        if client.certificate.is_none() {
            // Somebody whose key was never known is invited again.
            return refused(client, not_in_state(client, command));
        }
        if client.care.muted {
            return refused(client, RefusalReason::Muted);
        }
        let missing = enrol::invite::gaps(mail.ctx, &mail.from.therapist);
        if !missing.is_empty() {
            return refused(client, RefusalReason::FrameIncomplete { missing });
        }
    }
    let changed = match change_told(mail.ctx, tx, client, event, Actor::Therapist, mail.now).await? {
        Ok(changed) => changed,
        Err(_) => return refused(client, not_in_state(client, command)),
    };
    if event == Event::Return {
        enrol::ask_frame(mail.ctx, tx, client, Kind::Frame, None, None, mail.now).await?;
    }
    // A silent discharge is one whose letter isn't written.
    let silent = event == Event::Discharge || client.care.muted;
    let letter = changed.letter.filter(|_| !silent);
    if event == Event::Discharge {
        // There is no letter that could be withdrawn.
        words_ended(tx, client.id).await?;
    }
    Ok(Ok(told(changed, letter, None)))
}

/// `/decline`, `/suspend`, `/end`, `/discharge`: the text is the letter. The state changes at once; the letter answers
/// an open turn and leaves at the client's next slot, outside the day's count, so that an order given in the wrong
/// thread can be taken back.
async fn own_words(
    mail: &Mail<'_>,
    tx: &mut Tx,
    client: &Client,
    command: &Command,
    event: Event,
) -> Step<Vec<Outcome>> {
    let Ok(transition) = next(client.state, event, Actor::Therapist) else {
        return refused(client, not_in_state(client, command));
    };
    let Some(kind) = transition.letter else {
        // Nothing sealed can reach somebody whose key isn't known.
        return turn_to(mail, tx, client, command, event).await;
    };
    if client.care.muted {
        return refused(client, RefusalReason::Muted);
    }
    let words = match letter(mail, tx, client).await? {
        Ok(words) => words,
        Err(refused) => return Ok(Err(refused)),
    };
    let answered = answered(mail, tx, client).await?;
    let changed = match change_told(mail.ctx, tx, client, event, Actor::Therapist, mail.now).await? {
        Ok(changed) => changed,
        Err(_) => return refused(client, not_in_state(client, command)),
    };
    let (message, leaves) = send_words(mail, tx, client, kind, &words, &answered).await?;
    if changed.state.in_treatment() {
        let schedule = mail.ctx.schedule(&mail.from.therapist, client);
        end_turn(mail, tx, client, &schedule, &message, &answered).await?;
    } else if let Some(turn) = &answered.turn
        && answered.uncovered.is_empty()
    {
        tx.answer_turn(turn.id, mail.now, false).await?;
        // A suspension has cleared it; it counts again if the order is taken back.
        tx.set_turn_due(turn.id, turn.due_at).await?;
    }
    Ok(Ok(told(changed, Some(kind), leaves)))
}

async fn send_words(
    mail: &Mail<'_>,
    tx: &mut Tx,
    client: &Client,
    kind: Kind,
    words: &WaitingLetter,
    answered: &Answered,
) -> Result<(Message, Option<DateTime<Utc>>), AppError> {
    let next = mail.ctx.schedule(&mail.from.therapist, client).next_slot(mail.now);
    let leaves = lifecycle::words_leave(next.map(|slot| slot.at), mail.now);
    let message = store(mail, tx, client, kind, words, |message| {
        message.slot = Some(leaves.unwrap_or(mail.now));
        message.turn = answered.turn.as_ref().map(|turn| turn.id);
        message.answers = answered.newest;
    })
    .await?;
    send(mail, tx, client, &message, Paper::OwnWords, leaves.unwrap_or(mail.now)).await?;
    Ok((message, leaves))
}

async fn send(
    mail: &Mail<'_>,
    tx: &mut Tx,
    client: &Client,
    message: &Message,
    paper: Paper,
    at: DateTime<Utc>,
) -> Result<(), AppError> {
    let mut post = Post::to_client(message.kind, client.id, at);
    post.message = Some(message.id);
    post.mail_id = message.message_id.clone();
    post.enqueue(mail.ctx, tx, &Recipe::Life(paper), mail.now).await?;
    Ok(())
}

/// The one letter after the client's own `STOP`.
pub async fn farewell(mail: &Mail<'_>, tx: &mut Tx, client: &Client) -> Step<Outcome> {
    if client.care.muted {
        return refused(client, RefusalReason::Muted);
    }
    let words = match letter(mail, tx, client).await? {
        Ok(words) => words,
        Err(refused) => return Ok(Err(refused)),
    };
    let answered = answered(mail, tx, client).await?;
    let (_, leaves) = send_words(mail, tx, client, Kind::Farewell, &words, &answered).await?;
    tx.change_care(client.id, |care| care.stopped = false).await?;
    tx.journal(mail.now, "farewell", Some(&client.code), json!({})).await?;
    Ok(Ok(Outcome::State { state: ClientState::Discharged, letter: Some(Kind::Farewell), leaves }))
}

/// `/cancel` of an order whose letter, just withdrawn, hadn't left: the state is what it was, and so is the turn,
/// without a second acknowledgement. Replies that the order had cancelled stay cancelled.
pub async fn take_back(mail: &Mail<'_>, tx: &mut Tx, client: &Client, message: &Message) -> Step<Outcome> {
    let letter = message.kind;
    let Some(before) = &client.care.undo else {
        // The farewell after the client's own STOP: it has changed no state, and may be written again.
        tx.change_care(client.id, |care| care.stopped = care.stopped_in.is_some()).await?;
        return Ok(Ok(Outcome::TakenBack { letter, state: client.state, due: None }));
    };
    let changed = match change_told(mail.ctx, tx, client, Event::Undo, Actor::Therapist, mail.now).await? {
        Ok(changed) => changed,
        Err(_) => return refused(client, not_in_state(client, &Command::Cancel)),
    };
    for turn in message.turn.into_iter().chain(before.turns.iter().copied().map(TurnRow)) {
        if changed.state.in_treatment() {
            reopen(mail, tx, client, Some(turn)).await?;
        } else {
            reopen_undated(tx, client, turn).await?;
        }
    }
    if changed.state.in_treatment() {
        resume_turn(mail, tx, client).await?;
    }
    let due = tx.current_turn(client.id).await?.and_then(|turn| turn.due_at);
    Ok(Ok(Outcome::TakenBack { letter, state: changed.state, due }))
}

/// In a pause a turn is due at no time.
async fn reopen_undated(tx: &mut Tx, client: &Client, turn: TurnRow) -> Result<(), AppError> {
    match tx.current_turn(client.id).await? {
        None => tx.reopen_turn(turn, None).await?,
        Some(open) => {
            for letter in tx.letters_in_turn(turn).await? {
                tx.set_message_turn(letter.id, Some(open.id)).await?;
            }
        }
    }
    Ok(())
}

/// What the order had put to rest is due when it was, and what was written since it was given joins it.
async fn resume_turn(mail: &Mail<'_>, tx: &mut Tx, ordered: &Client) -> Result<(), AppError> {
    let Some(client) = tx.client(ordered.id).await? else { return Ok(()) };
    let schedule = mail.ctx.schedule(&mail.from.therapist, &client);
    let due = |letter: &Message| schedule.due(letter.at, letter.seen_at).map(|slot| schedule.due_as_of(mail.now, slot));
    if let Some(turn) = tx.current_turn(client.id).await?.filter(|turn| turn.due_at.is_none()) {
        let letters = tx.letters_in_turn(turn.id).await?;
        tx.set_turn_due(turn.id, letters.first().and_then(due).map(|slot| slot.at)).await?;
    }
    let Some(since) = ordered.care.since else { return Ok(()) };
    for letter in tx.letters_without_turn(client.id, since).await? {
        let slot = due(&letter);
        join(mail.ctx, tx, &client, &letter, slot, true, mail.now).await?;
    }
    Ok(())
}

/// `/urgent` alone: the letter of an order that waits leaves now.
pub async fn hurry(mail: &Mail<'_>, tx: &mut Tx, client: &Client, message: &Message) -> Result<Outcome, AppError> {
    tx.set_slot(message.id, Some(mail.now), None).await?;
    for row in tx.outbox_of_message(message.id).await? {
        tx.postpone(row.id, mail.now).await?;
    }
    tx.journal(mail.now, "urgent", Some(&client.code), json!({ "waited": true })).await?;
    Ok(Outcome::State { state: client.state, letter: Some(message.kind), leaves: None })
}

/// `/mute`: nothing leaves to this person; what waited is withdrawn.
async fn mute(mail: &Mail<'_>, tx: &mut Tx, client: &Client, on: bool) -> Result<Vec<Outcome>, AppError> {
    tx.change_care(client.id, |care| care.muted = on).await?;
    let words = if on { withdraw_words(tx, client, mail.now).await? } else { None };
    if words.is_some() {
        words_ended(tx, client.id).await?;
    }
    let withdrawn = if on { withdraw(tx, client, mail.now).await? } else { 0 };
    tx.journal(mail.now, "mute", Some(&client.code), json!({ "on": on, "withdrawn": withdrawn })).await?;
    let mut outcomes = vec![Outcome::Mute { on }];
    outcomes.extend(words.map(|letter| Outcome::LetterWithdrawn { letter }));
    if withdrawn > 0 {
        outcomes.push(Outcome::Withdrawn { replies: withdrawn });
    }
    Ok(outcomes)
}

/// `/checkin`: asks how things are; never while a reply is owed.
async fn check_in(mail: &Mail<'_>, tx: &mut Tx, client: &Client) -> Step<Outcome> {
    if let Err(reason) = may_write(client, Kind::CheckIn) {
        return refused(client, reason);
    }
    if owed(tx, client).await? {
        return refused(client, RefusalReason::ReplyOwed);
    }
    Post::to_client(Kind::CheckIn, client.id, mail.now)
        .enqueue(mail.ctx, tx, &Recipe::Life(Paper::CheckIn), mail.now)
        .await?;
    tx.journal(mail.now, "check-in", Some(&client.code), json!({})).await?;
    Ok(Ok(Outcome::CheckIn))
}

/// `/video 2026-03-04 15:00 [URL]`: a proposal in the therapist's own time, with a neutral calendar entry. It is not
/// the day's reply.
async fn video(mail: &Mail<'_>, tx: &mut Tx, client: &Client, command: &Command) -> Step<Outcome> {
    let Command::Video { at, url } = command else { return refused(client, not_in_state(client, command)) };
    if let Err(reason) = may_write(client, Kind::Video) {
        return refused(client, reason);
    }
    let bad = || RefusalReason::BadArgument { command: command.name().to_owned() };
    let zone = mail.from.therapist.settings.timezone;
    let Some(at) = rhythm::place(zone, *at).filter(|at| *at > mail.now) else { return refused(client, bad()) };
    let url = url.as_ref().map(|url| url.as_str().to_owned());
    if url.as_ref().is_some_and(|url| mime::contains_address(url, &mail.from.therapist.settings.address)) {
        return refused(client, RefusalReason::OwnAddress);
    }
    let words = if mail.parsed.words > 0 || !mail.passing_attachments().is_empty() {
        match letter(mail, tx, client).await? {
            Ok(words) => words,
            Err(refused) => return Ok(Err(refused)),
        }
    } else {
        WaitingLetter { subject: String::new(), text: String::new(), attachments: Vec::new() }
    };
    let message = store(mail, tx, client, Kind::Video, &words, |message| message.answers = mail.newest_named).await?;
    let uid = new_message_id(mail.ctx).split('@').next().unwrap_or_default().to_owned();
    send(mail, tx, client, &message, Paper::Video { at, url, uid }, mail.now).await?;
    tx.journal(mail.now, "video", Some(&client.code), json!({})).await?;
    Ok(Ok(Outcome::Video { at }))
}
