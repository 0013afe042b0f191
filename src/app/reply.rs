//! The therapist's letter to a client: taken, placed, replaced, held (SPEC section 4).
//!
//! What waits is sealed to the practice's own key until it leaves.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::AppError;
use super::compose::{self, WaitingAttachment, WaitingLetter};
use super::context::Context;
use super::intake;
use super::life::orders as life;
use super::orders::withdraw_closing;
use super::post::{Post, Recipe};
use super::prepare::Origin;
use super::sealed_letters;
use super::therapist::{Mail, Refused, Step};
use crate::domain::rhythm::{
    AfterReply, Forwarded, IncomingReply, Placement, Schedule, Second, Slot, TakenDays, Taker, WaitingReply, covered,
    next_free, on_reply, place_reply, second_reply,
};
use crate::letters::{AttachmentReason, Outcome, RefusalReason, WaitReason};
use crate::mime;
use crate::model::{Channel, Direction, Kind, MessageRow, MessageState, TurnRow};
use crate::store::{Client, Message, Turn, Tx};

/// How far back the days that replies used are looked at.
const TAKEN_DAYS: i64 = 10;

/// Takes a therapist's letter to a client.
///
/// # Errors
/// [`AppError`]; refusals are values.
pub async fn accept(mail: &Mail<'_>, tx: &mut Tx, client: &Client) -> Step<Outcome> {
    if life::farewell_open(mail, client) {
        return life::farewell(mail, tx, client).await;
    }
    if let Err(reason) = life::may_write(client, Kind::Reply) {
        return refused(client, reason);
    }
    let letter = match letter(mail, tx, client).await? {
        Ok(letter) => letter,
        Err(refused) => return Ok(Err(refused)),
    };
    let schedule = mail.ctx.schedule(&mail.from.therapist, client);
    let answered = answered(mail, tx, client).await?;
    let waiting = tx.pending_replies(client.id).await?;
    // The one that answers the same letter, else the last: that is what the new one stands beside.
    let same = waiting.iter().find(|reply| reply.answers.is_some() && reply.answers == answered.newest);
    let first = same.or_else(|| waiting.iter().max_by_key(|reply| (reply.signed_at, reply.at)));
    let mut why = WaitReason::DayTaken;
    if let Some(first) = first {
        let incoming = IncomingReply { newest_answered: answered.newest, signed_at: mail.signed_at };
        let known = waiting_reply(&schedule, first);
        match second_reply(mail.ctx.config.rhythm.second, &known, &incoming) {
            Second::Replace => return replace(mail, tx, client, first, letter, &answered).await,
            Second::Hold => return hold(mail, tx, client, letter, &answered).await,
            Second::Refuse => {
                let leaves = first.slot.unwrap_or(mail.now);
                return refused(client, RefusalReason::SecondReply { leaves });
            }
            Second::IgnoreOlder => return refused(client, RefusalReason::OlderThanWaiting),
            Second::NextSlot if known.leaving => why = WaitReason::AlreadyLeaving,
            Second::NextSlot => why = WaitReason::AnswersLaterLetter,
        }
    }
    // What has left cannot be overtaken by something that was signed before it (THREATS 29).
    if let Some(last) = tx.last_sent_reply(client.id).await?
        && last.signed_at.is_some_and(|at| mail.signed_at < at)
    {
        return refused(client, RefusalReason::OlderThanWaiting);
    }
    let answered = withdraw_closing(mail, tx, client, answered).await?;
    place(mail, tx, client, &schedule, letter, &answered, first.is_some().then_some(why)).await
}

pub(super) fn refused<T>(client: &Client, reason: RefusalReason) -> Step<T> {
    Ok(Err(Refused::of(client, reason)))
}

/// Which letters a reply answers, and the turn they belong to.
pub(super) struct Answered {
    pub turn: Option<Turn>,
    pub covered: Vec<Message>,
    pub uncovered: Vec<Message>,
    pub newest: Option<MessageRow>,
}

pub(super) async fn answered(mail: &Mail<'_>, tx: &mut Tx, client: &Client) -> Result<Answered, AppError> {
    let turn = tx.current_turn(client.id).await?;
    let letters = match &turn {
        Some(turn) => tx.letters_in_turn(turn.id).await?,
        None => Vec::new(),
    };
    let mut forwarded = Vec::with_capacity(letters.len());
    for letter in &letters {
        let passed_on = if mail.is_locum_of(client) {
            tx.handed_to_locum(letter.id, mail.from.therapist.id()).await?
        } else {
            letter.forwarded_at
        };
        // A letter that the therapist names has been read, in the folder if not yet in a forward.
        let named = mail.newest_named_at.is_some_and(|at| letter.at <= at);
        let (since, at) = match passed_on {
            // While the clock was ahead: read long ago, whatever was written on it.
            Some(at) if at > mail.now => (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH),
            Some(at) if letter.state == MessageState::Released => (at, at),
            Some(at) => (letter.at, at),
            None if named => (letter.at, letter.at),
            None => continue,
        };
        forwarded.push(Forwarded { row: letter.id, since, at });
    }
    let rows = covered(&forwarded, mail.newest_named, mail.signed_at);
    let (covered, uncovered): (Vec<_>, Vec<_>) = letters.into_iter().partition(|letter| rows.contains(&letter.id));
    let newest = match mail.newest_named.or_else(|| covered.last().map(|letter| letter.id)) {
        Some(row) => Some(row),
        None => tx.newest_forwarded(client.id, mail.signed_at).await?.map(|letter| letter.id),
    };
    Ok(Answered { turn, covered, uncovered, newest })
}

fn waiting_reply(schedule: &Schedule, reply: &Message) -> WaitingReply {
    let at = reply.slot.unwrap_or(reply.at);
    WaitingReply {
        newest_answered: reply.answers,
        signed_at: reply.signed_at.unwrap_or(reply.at),
        leaving: reply.state == MessageState::Leaving,
        slot: Slot { at, day: reply.leave_day.unwrap_or_else(|| schedule.local_day(at)) },
    }
}

/// The days that a client's replies hold, without `except`.
pub async fn taken_days(
    tx: &mut Tx,
    client: &Client,
    except: Option<MessageRow>,
    now: DateTime<Utc>,
) -> Result<TakenDays, AppError> {
    let since = (now - TimeDelta::days(TAKEN_DAYS)).date_naive();
    let days = tx.reply_days(client.id, since).await?;
    Ok(days
        .into_iter()
        .filter(|(row, _, _)| Some(*row) != except)
        .map(|(_, day, state)| match state {
            // One that was given up is among them where a server may have taken it all the same.
            MessageState::Sent | MessageState::Failed => (day, Taker::Sent),
            MessageState::Leaving => (day, Taker::Leaving),
            _ => (day, Taker::Waiting),
        })
        .collect())
}

/// The words and attachments that the client will get, cleaned; or why they may not pass.
pub(super) async fn letter(mail: &Mail<'_>, tx: &mut Tx, client: &Client) -> Step<WaitingLetter> {
    let text = mail.parsed.text.as_str();
    let own = &mail.from.therapist.settings.address;
    if mime::contains_address(text, own) {
        return refused(client, RefusalReason::OwnAddress);
    }
    let mut attachments = Vec::new();
    for attachment in mail.passing_attachments() {
        let reason = |why| RefusalReason::Attachment { why };
        if !attachment.class.passes_to_other_side() {
            return refused(client, reason(AttachmentReason::Executable));
        }
        match mime::strip_metadata(attachment) {
            // What can't become a sealed letter isn't sent in another way instead.
            Ok(_) if client.channel == Channel::Pdf && !sealed_letters::is_sealable(attachment) => {
                return refused(client, reason(AttachmentReason::NotSealable));
            }
            Ok(bytes) => attachments.push(WaitingAttachment::of(attachment, &bytes)),
            Err(mime::CannotClean::UnpacksTooLarge { .. }) => {
                return refused(client, reason(AttachmentReason::TooLarge));
            }
            Err(mime::CannotClean::Damaged) => return refused(client, reason(AttachmentReason::Unreadable)),
            Err(_) => return refused(client, reason(AttachmentReason::Metadata)),
        }
    }
    if client.channel == Channel::Pdf && attachments.len() > sealed_letters::ATTACHED {
        return refused(client, RefusalReason::Attachment { why: AttachmentReason::TooLarge });
    }
    if mail.parsed.words == 0 && attachments.is_empty() {
        return refused(client, RefusalReason::EmptyReply);
    }
    let subject = subject(mail, tx, client).await?;
    if mime::contains_address(&subject, own) {
        return refused(client, RefusalReason::OwnAddress);
    }
    Ok(Ok(WaitingLetter { subject, text: text.to_owned(), attachments }))
}

/// The therapist's subject without tag and label; else the client's own.
async fn subject(mail: &Mail<'_>, tx: &mut Tx, client: &Client) -> Result<String, AppError> {
    let newest = match mail.newest_named {
        Some(row) => tx.message(row).await?.and_then(|message| message.subject),
        None => None,
    };
    let own = newest.filter(|subject| !subject.trim().is_empty() && !mime::is_placeholder(subject));
    let written = mail.from.examined.protected.as_ref().map(|protected| protected.subject.as_str());
    let written = written.filter(|subject| !mime::is_placeholder(subject));
    let bare = written.map(|subject| without_tag(subject, client, own.as_deref())).unwrap_or_default();
    if !bare.is_empty() {
        return Ok(bare);
    }
    Ok(own.map_or_else(|| mail.ctx.neutral_name(client.language), |subject| answer_subject(&subject)))
}

fn answer_subject(subject: &str) -> String {
    format!("Re: {}", mime::strip_prefixes(subject).trim())
}

/// A subject as the client may see it: no tag, and nothing of a label, also of one that was changed since.
/// `known` is the subject of the letter that is answered.
fn without_tag(subject: &str, client: &Client, known: Option<&str>) -> String {
    let written = mime::strip_prefixes(subject);
    let tagged = written.contains(client.code.as_str());
    let bare = mime::strip_codes(&written);
    let mut bare = bare.trim();
    let known = known.map(mime::strip_prefixes).filter(|known| !known.trim().is_empty());
    if let Some(known) = known.as_deref().map(str::trim).filter(|known| bare.ends_with(known)) {
        return format!("Re: {known}");
    }
    if tagged {
        // `[C-7K2M] label : subject`: what stands before the first colon is the label.
        bare = bare.split_once(':').map_or("", |(_, rest)| rest);
    }
    let bare = bare.trim_matches([':', ' ', '\u{a0}', '\u{202f}']);
    let label = client.label.as_deref().map(|label| label.trim().to_lowercase()).filter(|label| !label.is_empty());
    let shows = label.is_some_and(|label| bare.to_lowercase().contains(&label));
    if bare.is_empty() || shows { String::new() } else { answer_subject(bare) }
}

/// A message of the therapist's that is to leave, with its sealed words.
pub(super) async fn store(
    mail: &Mail<'_>,
    tx: &mut Tx,
    client: &Client,
    kind: Kind,
    letter: &WaitingLetter,
    fill: impl FnOnce(&mut Message),
) -> Result<Message, AppError> {
    let sealed = letter.seal(mail.ctx, mail.now)?;
    let mut message = Message {
        client: Some(client.id),
        therapist: Some(client.therapist.clone()),
        message_id: Some(compose::new_message_id(mail.ctx)),
        signed_at: Some(mail.signed_at),
        bytes: sealed.len() as u64,
        words: mail.parsed.words as u64,
        attachments: u32::try_from(letter.attachments.len()).unwrap_or(u32::MAX),
        ..Message::new(MessageRow(mail.ctx.store.new_id()), Direction::Out, kind, MessageState::Waiting, mail.now)
    };
    fill(&mut message);
    tx.insert_message(&message).await?;
    tx.put_blob(message.id, &sealed).await?;
    Ok(message)
}

/// Puts a therapist's message into the outbox for a moment.
pub(super) async fn queue(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    message: &Message,
    at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let mut post = Post::to_client(message.kind, client.id, at);
    post.message = Some(message.id);
    post.mail_id = message.message_id.clone();
    post.enqueue(ctx, tx, &Recipe::Reply, now).await?;
    Ok(())
}

/// Why there is no slot at all.
fn no_slot(mail: &Mail<'_>) -> RefusalReason {
    if mail.from.therapist.schedule.is_absent(mail.from.therapist.schedule.local_day(mail.now)) {
        RefusalReason::AbsentWithoutEnd
    } else {
        RefusalReason::RhythmNeverFires
    }
}

async fn place(
    mail: &Mail<'_>,
    tx: &mut Tx,
    client: &Client,
    schedule: &Schedule,
    letter: WaitingLetter,
    answered: &Answered,
    second: Option<WaitReason>,
) -> Step<Outcome> {
    let taken = taken_days(tx, client, None, mail.now).await?;
    let due = answered.turn.as_ref().and_then(|turn| turn.due_at).filter(|due| *due <= mail.now);
    let due_now = due.map(|at| Slot { at, day: schedule.local_day(at) });
    let (slot, at_once) = match place_reply(schedule, mail.now, due_now, &taken, false) {
        Placement::AtOnce { day, .. } => (Slot { at: mail.now, day }, true),
        Placement::At(slot) => (slot, false),
        Placement::NoSlot | Placement::Outside => return refused(client, no_slot(mail)),
    };
    let next = schedule.next_slot(mail.now);
    let message = store(mail, tx, client, Kind::Reply, &letter, |message| {
        message.slot = Some(slot.at);
        message.leave_day = Some(slot.day);
        message.turn = answered.turn.as_ref().map(|turn| turn.id);
        message.answers = answered.newest;
    })
    .await?;
    queue(mail.ctx, tx, client, &message, slot.at, mail.now).await?;
    end_turn(mail, tx, client, schedule, &message, answered).await?;
    tx.journal(mail.now, "accepted", Some(&client.code), json!({ "slot": slot.at, "letters": answered.covered.len() }))
        .await?;
    let covers = answered.covered.iter().map(|letter| letter.at).collect();
    Ok(Ok(match (at_once, second) {
        (true, _) => Outcome::LeavesNow,
        (false, Some(why)) => Outcome::Waits { leaves: slot.at, why },
        (false, None) if next.is_some_and(|next| next.day < slot.day) => {
            Outcome::Waits { leaves: slot.at, why: WaitReason::DayTaken }
        }
        (false, None) => Outcome::Accepted { leaves: slot.at, covers },
    }))
}

/// Ends the turn that a reply answers; letters that it doesn't cover open the next one.
pub(super) async fn end_turn(
    mail: &Mail<'_>,
    tx: &mut Tx,
    client: &Client,
    schedule: &Schedule,
    reply: &Message,
    answered: &Answered,
) -> Result<(), AppError> {
    let oldest = answered.uncovered.first();
    let oldest_due = oldest
        .and_then(|letter| schedule.due(letter.at, letter.seen_at))
        .map(|slot| if slot.at > mail.now { slot } else { schedule.next_slot(mail.now).unwrap_or(slot) });
    let Some(turn) = &answered.turn else { return Ok(()) };
    match on_reply(true, answered.covered.len(), oldest_due) {
        AfterReply::Unprompted => {}
        AfterReply::StaysOpen => tx.set_message_turn(reply.id, None).await?,
        AfterReply::Ends => tx.answer_turn(turn.id, mail.now, false).await?,
        AfterReply::EndsAndOpens { due, .. } => {
            tx.answer_turn(turn.id, mail.now, false).await?;
            let Some(oldest) = oldest else { return Ok(()) };
            let origin = Origin { message_id: oldest.origin_id.clone(), subject: String::new() };
            let next = intake::join_turn(mail.ctx, tx, client, oldest.at, Some(due), &origin, true, mail.now).await?;
            for letter in &answered.uncovered {
                tx.set_message_turn(letter.id, next).await?;
            }
        }
    }
    Ok(())
}

/// The new answer takes the place, the slot and the day of the one that waited.
async fn replace(
    mail: &Mail<'_>,
    tx: &mut Tx,
    client: &Client,
    first: &Message,
    letter: WaitingLetter,
    answered: &Answered,
) -> Step<Outcome> {
    let slot = first.slot.unwrap_or(mail.now);
    end_waiting(tx, first, MessageState::Replaced, mail.now).await?;
    let mut end = false;
    let turn = match (first.turn, &answered.turn) {
        // It answers later letters too: they join the turn that the first one had ended.
        (Some(old), Some(open)) if !answered.covered.is_empty() => {
            for letter in &answered.covered {
                tx.set_message_turn(letter.id, Some(old)).await?;
            }
            if answered.uncovered.is_empty() {
                tx.answer_turn(open.id, mail.now, false).await?;
            }
            Some(old)
        }
        (None, Some(open)) if !answered.covered.is_empty() => {
            end = true;
            Some(open.id)
        }
        (old, _) => old,
    };
    let message = store(mail, tx, client, Kind::Reply, &letter, |message| {
        message.slot = Some(slot);
        message.leave_day = first.leave_day;
        message.turn = turn;
        message.answers = answered.newest.or(first.answers);
    })
    .await?;
    queue(mail.ctx, tx, client, &message, slot, mail.now).await?;
    if end {
        let schedule = mail.ctx.schedule(&mail.from.therapist, client);
        end_turn(mail, tx, client, &schedule, &message, answered).await?;
    }
    tx.journal(mail.now, "replaced", Some(&client.code), json!({ "slot": slot })).await?;
    Ok(Ok(Outcome::Replaced { leaves: slot }))
}

/// Takes a waiting message out of the queue.
pub(super) async fn end_waiting(
    tx: &mut Tx,
    message: &Message,
    state: MessageState,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    for row in tx.outbox_of_message(message.id).await? {
        tx.cancel(row.id, now).await?;
    }
    tx.set_message_state(message.id, state).await?;
    tx.delete_blob(message.id).await?;
    Ok(())
}

async fn hold(
    mail: &Mail<'_>,
    tx: &mut Tx,
    client: &Client,
    letter: WaitingLetter,
    answered: &Answered,
) -> Step<Outcome> {
    let number = tx.next_held_no().await?;
    store(mail, tx, client, Kind::Reply, &letter, |message| {
        message.state = MessageState::Held;
        message.held_no = Some(number);
        message.turn = answered.turn.as_ref().map(|turn| turn.id);
        message.answers = answered.newest;
    })
    .await?;
    tx.journal(mail.now, "held", Some(&client.code), json!({ "number": format!("H{number}"), "kind": "reply" }))
        .await?;
    Ok(Ok(Outcome::HeldReply { number: format!("H{number}") }))
}

/// `/release H4` of a reply that was put aside beside another one: it waits for the next free slot.
pub async fn release_held(mail: &Mail<'_>, tx: &mut Tx, client: &Client, held: &Message) -> Step<Outcome> {
    if let Err(reason) = life::may_write(client, Kind::Reply) {
        return refused(client, reason);
    }
    let schedule = mail.ctx.schedule(&mail.from.therapist, client);
    let taken = taken_days(tx, client, Some(held.id), mail.now).await?;
    let Some(slot) = next_free(&schedule, mail.now, &taken) else {
        return refused(client, no_slot(mail));
    };
    tx.set_slot(held.id, Some(slot.at), Some(slot.day)).await?;
    tx.set_message_state(held.id, MessageState::Waiting).await?;
    queue(mail.ctx, tx, client, held, slot.at, mail.now).await?;
    let open = tx.current_turn(client.id).await?.filter(|turn| Some(turn.id) == held.turn);
    if let Some(turn) = open {
        // It answers what it answered when it was signed; later letters open the next turn.
        let until = match held.answers {
            Some(row) => tx.message(row).await?.map(|letter| letter.at),
            None => held.signed_at,
        };
        let letters = tx.letters_in_turn(turn.id).await?;
        let (covered, uncovered) =
            letters.into_iter().partition(|letter| until.is_some_and(|until| letter.at <= until));
        let answered = Answered { turn: Some(turn), covered, uncovered, newest: held.answers };
        end_turn(mail, tx, client, &schedule, held, &answered).await?;
    }
    tx.journal(mail.now, "accepted", Some(&client.code), json!({ "slot": slot.at })).await?;
    Ok(Ok(Outcome::Waits { leaves: slot.at, why: WaitReason::AnswersLaterLetter }))
}

/// Moves a waiting reply to another slot.
pub async fn move_reply(tx: &mut Tx, reply: &Message, slot: Slot) -> Result<(), AppError> {
    tx.set_slot(reply.id, Some(slot.at), Some(slot.day)).await?;
    for row in tx.outbox_of_message(reply.id).await? {
        tx.postpone(row.id, slot.at).await?;
    }
    Ok(())
}

/// What waited for its reader's key alone is tried at once: the key was renewed.
pub async fn wake(tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<(), AppError> {
    for reply in tx.pending_replies(client.id).await? {
        if reply.state == MessageState::Waiting && reply.slot.is_some_and(|slot| slot <= now) {
            for row in tx.outbox_of_message(reply.id).await? {
                tx.postpone(row.id, now).await?;
            }
        }
    }
    Ok(())
}

/// The letters that a therapist's message answers, for its last line.
pub async fn answered_letters(tx: &mut Tx, turn: Option<TurnRow>) -> Result<Vec<DateTime<Utc>>, AppError> {
    let Some(turn) = turn else { return Ok(Vec::new()) };
    Ok(tx.letters_in_turn(turn).await?.iter().map(|letter| letter.at).collect())
}
