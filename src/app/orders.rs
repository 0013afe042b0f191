//! What a therapist orders about a client's letter: withdrawn, sent at once, closed, noted, narrowed
//! (SPEC sections 4 and 8).

use chrono::{DateTime, NaiveTime, TimeDelta, Utc, Weekday};
use serde_json::json;

use super::AppError;
use super::compose::{self, Head, WaitingLetter};
use super::life::orders::{hurry, may_write, take_back};
use super::reply::{Answered, answered, end_turn, end_waiting, letter, move_reply, queue, refused, store, taken_days};
use super::therapist::{Mail, Step, first_line};
use crate::domain::rhythm::{self, AfterCancel, Schedule, Slot, next_free, on_cancel};
use crate::letters::{Outcome, RefusalReason};
use crate::mime::{self, OutPart};
use crate::model::{ClientId, Direction, Filing, Kind, MessageRow, MessageState, TurnRow};
use crate::store::{Client, Message, Turn, Tx};

/// The newest reply, closing or letter of own words that can still be withdrawn, if it was accepted from a mail
/// that was signed before this one. What was ordered about the treatment is not for a locum.
async fn withdrawable(mail: &Mail<'_>, tx: &mut Tx, client: &Client) -> Result<Option<Message>, AppError> {
    let waiting = tx.withdrawable(client.id).await?;
    let locum = mail.is_locum_of(client);
    Ok(waiting.into_iter().rfind(|message| {
        message.signed_at.is_none_or(|at| at <= mail.signed_at) && !(locum && message.kind.is_own_words())
    }))
}

/// `/cancel`: the waiting reply is withdrawn and its turn is open again, without a second acknowledgement; with a
/// letter of own words its order is taken back.
pub async fn cancel(mail: &Mail<'_>, tx: &mut Tx, client: &Client) -> Step<Outcome> {
    let Some(message) = withdrawable(mail, tx, client).await? else { return Ok(Ok(Outcome::NothingToCancel)) };
    end_waiting(tx, &message, MessageState::Cancelled, mail.now).await?;
    if message.kind.is_own_words() {
        return take_back(mail, tx, client, &message).await;
    }
    let due = reopen(mail, tx, client, message.turn).await?;
    tx.journal(mail.now, "cancelled", Some(&client.code), json!({})).await?;
    Ok(Ok(Outcome::Cancelled { due }))
}

pub(super) async fn reopen(
    mail: &Mail<'_>,
    tx: &mut Tx,
    client: &Client,
    turn: Option<TurnRow>,
) -> Result<Option<DateTime<Utc>>, AppError> {
    let schedule = mail.ctx.schedule(&mail.from.therapist, client);
    reopen_turn(&schedule, tx, client.id, turn, mail.now).await
}

/// Opens a turn again whose answer came to nothing, or joins its letters to the one opened since.
pub(super) async fn reopen_turn(
    schedule: &Schedule,
    tx: &mut Tx,
    client: ClientId,
    turn: Option<TurnRow>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, AppError> {
    let slot = |at: DateTime<Utc>| Slot { at, day: schedule.local_day(at) };
    let ended = match turn {
        Some(turn) => tx.turn(turn).await?,
        None => None,
    };
    let next = tx.current_turn(client).await?;
    let ended_due = ended.as_ref().and_then(|turn| turn.due_at).map(slot);
    let next_due = next.as_ref().and_then(|turn| turn.due_at).map(slot);
    Ok(match (on_cancel(schedule, now, ended_due, next_due), ended) {
        (AfterCancel::Reopen { due }, Some(turn)) => {
            tx.reopen_turn(turn.id, Some(due.at)).await?;
            Some(due.at)
        }
        (AfterCancel::Merge { due }, Some(turn)) => {
            if let Some(next) = next {
                for letter in tx.letters_in_turn(turn.id).await? {
                    tx.set_message_turn(letter.id, Some(next.id)).await?;
                }
                tx.set_turn_due(next.id, Some(due.at)).await?;
            }
            Some(due.at)
        }
        _ => None,
    })
}

/// A letter takes the place of a closing that has not left yet, and answers what that had closed.
pub(super) async fn withdraw_closing(
    mail: &Mail<'_>,
    tx: &mut Tx,
    client: &Client,
    known: Answered,
) -> Result<Answered, AppError> {
    let waiting = tx.withdrawable(client.id).await?;
    let last = waiting
        .into_iter()
        .rfind(|message| message.signed_at.is_none_or(|at| at <= mail.signed_at) && !message.kind.is_own_words());
    let Some(closing) = last.filter(|message| message.kind == Kind::Closed) else { return Ok(known) };
    end_waiting(tx, &closing, MessageState::Replaced, mail.now).await?;
    if known.turn.is_some() {
        return Ok(known);
    }
    reopen(mail, tx, client, closing.turn).await?;
    answered(mail, tx, client).await
}

/// `/urgent`: the text, or the waiting reply where there is none, at once and outside the count.
pub async fn urgent(mail: &Mail<'_>, tx: &mut Tx, client: &Client) -> Step<Outcome> {
    let has_letter = mail.parsed.words > 0 || !mail.passing_attachments().is_empty();
    if !has_letter
        && let Some(words) = withdrawable(mail, tx, client).await?.filter(|message| message.kind.is_own_words())
    {
        return Ok(Ok(hurry(mail, tx, client, &words).await?));
    }
    if let Err(reason) = may_write(client, Kind::Urgent) {
        return refused(client, reason);
    }
    let letter = if has_letter {
        match letter(mail, tx, client).await? {
            Ok(letter) => letter,
            Err(refused) => return Ok(Err(refused)),
        }
    } else {
        let waiting = withdrawable(mail, tx, client).await?.filter(|message| message.kind == Kind::Reply);
        let Some(waiting) = waiting else { return refused(client, RefusalReason::NothingWaiting) };
        let sealed = tx.blob(waiting.id).await?.unwrap_or_default();
        let letter = WaitingLetter::open(mail.ctx, &sealed, mail.now)?;
        end_waiting(tx, &waiting, MessageState::Replaced, mail.now).await?;
        let message = store(mail, tx, client, Kind::Urgent, &letter, |message| {
            message.turn = waiting.turn;
            message.answers = waiting.answers;
            message.words = waiting.words;
        })
        .await?;
        queue(mail.ctx, tx, client, &message, mail.now, mail.now).await?;
        tx.journal(mail.now, "urgent", Some(&client.code), json!({ "waited": true })).await?;
        return Ok(Ok(Outcome::Urgent { line: first_line(&letter.text) }));
    };
    let known = answered(mail, tx, client).await?;
    let answered = withdraw_closing(mail, tx, client, known).await?;
    let schedule = mail.ctx.schedule(&mail.from.therapist, client);
    let message = store(mail, tx, client, Kind::Urgent, &letter, |message| {
        message.turn = answered.turn.as_ref().map(|turn| turn.id);
        message.answers = answered.newest;
    })
    .await?;
    queue(mail.ctx, tx, client, &message, mail.now, mail.now).await?;
    end_turn(mail, tx, client, &schedule, &message, &answered).await?;
    tx.journal(mail.now, "urgent", Some(&client.code), json!({ "waited": false })).await?;
    Ok(Ok(Outcome::Urgent { line: None }))
}

/// `/now`: a practical word, outside the count, one a local day.
pub async fn now(mail: &Mail<'_>, tx: &mut Tx, client: &Client) -> Step<Outcome> {
    if let Err(reason) = may_write(client, Kind::Now) {
        return refused(client, reason);
    }
    let schedule = mail.ctx.schedule(&mail.from.therapist, client);
    let today = schedule.local_day(mail.now);
    let midnight =
        rhythm::place(schedule.tz(), today.and_time(NaiveTime::MIN)).unwrap_or(mail.now - TimeDelta::days(1));
    if tx.count_kind(client.id, Kind::Now, midnight).await? > 0 {
        return refused(client, RefusalReason::NowAlreadySent);
    }
    let letter = match letter(mail, tx, client).await? {
        Ok(letter) => letter,
        Err(refused) => return Ok(Err(refused)),
    };
    let message = store(mail, tx, client, Kind::Now, &letter, |message| message.answers = mail.newest_named).await?;
    queue(mail.ctx, tx, client, &message, mail.now, mail.now).await?;
    tx.journal(mail.now, "now", Some(&client.code), json!({})).await?;
    Ok(Ok(Outcome::Now))
}

/// `/close`: the turn is answered without a letter; at the slot the client gets one line.
pub async fn close(mail: &Mail<'_>, tx: &mut Tx, client: &Client, silent: bool, line: Option<&str>) -> Step<Outcome> {
    let Some(turn) = tx.current_turn(client.id).await? else {
        return refused(client, RefusalReason::NothingToClose);
    };
    if let Err(reason) = may_write(client, Kind::Closed)
        && !silent
    {
        return refused(client, reason);
    }
    if silent && turn.acknowledged && !client.care.muted {
        return refused(client, RefusalReason::SilentButPromised);
    }
    if line.is_some_and(|line| mime::contains_address(line, &mail.from.therapist.settings.address)) {
        return refused(client, RefusalReason::OwnAddress);
    }
    let answered = answered(mail, tx, client).await?;
    if answered.covered.is_empty() && !answered.uncovered.is_empty() {
        // Nothing of it has been passed on: nobody can say that it was read.
        return refused(client, RefusalReason::NothingToClose);
    }
    let schedule = mail.ctx.schedule(&mail.from.therapist, client);
    tx.journal(mail.now, "closed", Some(&client.code), json!({ "silent": silent })).await?;
    let letter =
        WaitingLetter { subject: String::new(), text: line.unwrap_or_default().to_owned(), attachments: Vec::new() };
    let leaves = closing_slot(&schedule, mail.now, &turn);
    let message = store(mail, tx, client, Kind::Closed, &letter, |message| {
        message.slot = Some(leaves);
        message.turn = Some(turn.id);
        message.answers = answered.newest;
    })
    .await?;
    end_turn(mail, tx, client, &schedule, &message, &answered).await?;
    if silent {
        end_waiting(tx, &message, MessageState::Discarded, mail.now).await?;
        return Ok(Ok(Outcome::Closed { leaves: None, line: None }));
    }
    queue(mail.ctx, tx, client, &message, leaves, mail.now).await?;
    Ok(Ok(Outcome::Closed { leaves: Some(leaves), line: line.map(str::to_owned) }))
}

/// The slot at which a closing leaves: the next one, or now within the grace of the one it was due at.
fn closing_slot(schedule: &Schedule, now: DateTime<Utc>, turn: &Turn) -> DateTime<Utc> {
    let due = turn.due_at.map(|at| Slot { at, day: schedule.local_day(at) });
    if due.and_then(|due| schedule.within_grace(now, due)).is_some() {
        return now;
    }
    due.filter(|due| due.at > now).or_else(|| schedule.next_slot(now)).map_or(now, |slot| slot.at)
}

/// `/note`: kept with the thread, sealed to the therapist; it never leaves.
pub async fn note(mail: &Mail<'_>, tx: &mut Tx, client: &Client, text: &str) -> Result<(), AppError> {
    let therapist = &mail.from.therapist;
    let row = MessageRow(mail.ctx.store.new_id());
    let message_id = compose::new_message_id(mail.ctx);
    let head = Head {
        message_id: message_id.clone(),
        at: mail.now,
        in_reply_to: None,
        references: Vec::new(),
        automatic: false,
    };
    let subject = format!("[{}] /note", client.code);
    let parts = vec![OutPart::Text(format!("{text}\n"))];
    let outgoing = compose::to_therapist(mail.ctx, therapist, Some(client), head, subject, parts);
    let sealed = compose::seal_to_therapist(mail.ctx, therapist, &outgoing)?;
    let message = Message {
        client: Some(client.id),
        therapist: Some(client.therapist.clone()),
        message_id: Some(message_id),
        signed_at: Some(mail.signed_at),
        bytes: sealed.len() as u64,
        words: text.split_whitespace().count() as u64,
        ..Message::new(row, Direction::In, Kind::Note, MessageState::Filed, mail.now)
    };
    tx.insert_message(&message).await?;
    tx.put_blob(row, &sealed).await?;
    if mail.ctx.config.imap.filing == Filing::Folders {
        tx.add_copy(row, mail.now).await?;
    }
    tx.journal(mail.now, "note", Some(&client.code), json!({})).await?;
    Ok(())
}

/// `/rhythm Tue,Fri`: narrows the slots of one client; what waits moves with them.
pub async fn rhythm(mail: &Mail<'_>, tx: &mut Tx, client: &Client, days: &[Weekday]) -> Step<Outcome> {
    if !days.is_empty() && mail.from.therapist.schedule.narrowed(days).is_err() {
        return refused(client, RefusalReason::RhythmNeverFires);
    }
    tx.set_weekdays(client.id, (!days.is_empty()).then_some(days)).await?;
    let Some(client) = tx.client(client.id).await? else { return refused(client, RefusalReason::NoClient) };
    let schedule = mail.ctx.schedule(&mail.from.therapist, &client);
    for reply in tx.pending_replies(client.id).await? {
        let fits = reply.leave_day.and_then(|day| schedule.slot_of_day(day)).map(|slot| slot.day) == reply.leave_day;
        if reply.state == MessageState::Waiting && !fits {
            let taken = taken_days(tx, &client, Some(reply.id), mail.now).await?;
            if let Some(slot) = next_free(&schedule, mail.now, &taken) {
                move_reply(tx, &reply, slot).await?;
            }
        }
    }
    if let Some(turn) = tx.current_turn(client.id).await? {
        let due = turn.due_at.unwrap_or(mail.now);
        let moved = schedule.next_slot(due - TimeDelta::milliseconds(1)).map(|slot| slot.at);
        tx.set_turn_due(turn.id, moved.or(turn.due_at)).await?;
    }
    let word = days.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    tx.journal(mail.now, "rhythm", Some(&client.code), json!({ "days": word })).await?;
    let numbers = days.iter().map(|day| u8::try_from(day.num_days_from_monday()).unwrap_or(0)).collect();
    Ok(Ok(Outcome::Rhythm { days: numbers, next: schedule.next_slot(mail.now).map(|slot| slot.at) }))
}
