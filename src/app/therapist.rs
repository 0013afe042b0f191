//! A therapist's mail: is it meant for us, whom is it about, what does it ask (SPEC sections 3 and 8).
//!
//! Only signed bytes choose the client. Nothing is guessed, and a conflict means refusal.

mod alive;
mod refusal;
mod whom;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::AppError;
use super::absence;
use super::context::Context;
use super::crisis;
use super::enrol;
use super::intake;
use super::life::orders as life;
use super::locum;
use super::orders;
use super::post;
use super::prepare::FromTherapist;
use super::refusal::{Unobeyed, send_refusal};
use super::reply;
use crate::domain::commands::{self, Command, Parsed, Target};
use crate::letters::{self, Letter, Outcome, RefusalReason};
use crate::mime::{self, ReplyText};
use crate::model::{Channel, Kind, MessageRow, MessageState};
use crate::pdf;
use crate::store::{Client, Message, Tx};

/// What became of a therapist's mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obeyed {
    Done,
    /// Nothing was done, and the therapist was told why.
    Refused,
    Replayed,
    /// Beyond the ceiling of refusals: counted only.
    TooMany,
}

/// Mail that was signed longer ago than this when it was first seen is asked about.
const ASK_AFTER: TimeDelta = TimeDelta::hours(24);

/// A refusal on its way, with the client where it is known.
pub struct Refused {
    pub reason: RefusalReason,
    pub client: Option<Box<Client>>,
}

impl Refused {
    pub fn new(reason: RefusalReason) -> Self {
        Self { reason, client: None }
    }

    pub fn of(client: &Client, reason: RefusalReason) -> Self {
        Self { reason, client: Some(Box::new(client.clone())) }
    }
}

/// What a step gives: a value, or the refusal that ends the mail.
pub type Step<T> = Result<Result<T, Refused>, AppError>;

/// One therapist's mail while it is obeyed.
pub struct Mail<'a> {
    pub ctx: &'a Context,
    pub from: &'a FromTherapist,
    pub signed_at: DateTime<Utc>,
    pub now: DateTime<Utc>,
    pub taken_apart: ReplyText,
    pub parsed: Parsed,
    /// The newest letter that its signed References or tokens name, and when that arrived.
    pub newest_named: Option<MessageRow>,
    pub newest_named_at: Option<DateTime<Utc>>,
}

/// Obeys one verified mail of a therapist within `tx`.
///
/// # Errors
/// [`AppError`]: nothing was done, it is tried again.
pub async fn obey(ctx: &Context, tx: &mut Tx, from: &FromTherapist, now: DateTime<Utc>) -> Result<Obeyed, AppError> {
    let Some(signature) = &from.examined.signature else { return Ok(Obeyed::Replayed) };
    if !tx.remember_signature(&signature.fingerprint, &signature.digest, None, now).await? {
        tx.journal(now, "dropped", None, json!({ "why": "replayed" })).await?;
        return Ok(Obeyed::Replayed);
    }
    let origin = from.examined.outer.message_id.as_deref();
    let before = tx.savepoint().await?;
    // A sign of life, whatever it asks: but not what was written to somebody else, nor what came days late.
    let alive = now - signature.signed_at <= ASK_AFTER && alive::is_to_us(ctx, tx, from, now).await?;
    match consider(ctx, tx, from, signature.signed_at, now).await? {
        Ok(()) => {
            tx.keep(before);
            if alive {
                crisis::answered(ctx, tx, &from.therapist, signature.signed_at, now).await?;
            }
            Ok(Obeyed::Done)
        }
        Err(refused) => {
            // A mail is refused whole: what its first commands did is undone.
            tx.undo(before).await?;
            if alive {
                crisis::answered(ctx, tx, &from.therapist, signature.signed_at, now).await?;
            }
            // Read again: a label that the mail had set is undone too.
            let client = match &refused.client {
                Some(client) => tx.client(client.id).await?,
                None => None,
            };
            // The label is the own therapist's words: who stands in doesn't read it.
            let client = client.map(|client| locum::as_seen_by(from.therapist.id(), client));
            if let (RefusalReason::WrongWords, Some(client)) = (&refused.reason, &client) {
                enrol::accept::count_wrong(tx, client, now).await?;
            }
            let unobeyed = Unobeyed { reason: refused.reason, understood: understood(from), in_reply_to: origin };
            let told = send_refusal(ctx, tx, &from.therapist, client.as_ref(), unobeyed, now).await?;
            Ok(if told { Obeyed::Refused } else { Obeyed::TooMany })
        }
    }
}

/// The commands of a mail that was refused, where all of them can be read.
fn understood(from: &FromTherapist) -> Vec<&'static str> {
    let parsed = commands::parse(&mime::reply_text(&from.content.text).text);
    parsed.map_or_else(|_| Vec::new(), |parsed| parsed.commands.iter().map(Command::name).collect())
}

async fn consider(
    ctx: &Context,
    tx: &mut Tx,
    from: &FromTherapist,
    signed_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Step<()> {
    let taken_apart = mime::reply_text(&from.content.text);
    let parsed = match commands::parse(&taken_apart.text) {
        Ok(parsed) => parsed,
        Err(error) => return Ok(Err(Refused::new(refusal::of_command(error)))),
    };
    let mut mail = Mail { ctx, from, signed_at, now, taken_apart, parsed, newest_named: None, newest_named_at: None };
    let client = match mail.find_client(tx).await? {
        Ok(client) => client,
        Err(refused) => return Ok(Err(refused)),
    };
    let with = |reason| Ok(Err(Refused { reason, client: client.clone().map(Box::new) }));
    if !mail.is_for_us(client.is_some()) {
        return with(RefusalReason::NotForUs);
    }
    if mail.has_other_recipients() {
        return with(RefusalReason::OtherRecipients);
    }
    if now - signed_at > ASK_AFTER {
        mail.ask(tx, client.as_ref()).await?;
        return Ok(Ok(()));
    }
    // A mail that was kept back and comes behind a newer one is not obeyed (THREATS 29).
    if let Some(key) = mail.order_key(client.as_ref()) {
        if tx.meta_time(&key).await?.is_some_and(|newest| signed_at < newest) {
            return with(RefusalReason::OlderThanWaiting);
        }
        tx.set_meta_time(&key, signed_at).await?;
    }
    mail.execute(tx, client).await
}

impl Mail<'_> {
    /// Under which name its place in the order of signatures is kept: a client's, or the therapist's own for an
    /// absence. None: what it asks is the same in any order.
    fn order_key(&self, client: Option<&Client>) -> Option<String> {
        if self.parsed.commands.iter().any(|command| matches!(command, Command::Absent { .. } | Command::Back)) {
            return Some(format!("obeyed-absence:{}", self.from.therapist.id()));
        }
        let has_letter = self.parsed.words > 0 || !self.passing_attachments().is_empty();
        let timeless = |command: &Command| {
            matches!(command, Command::To(_) | Command::Label(_) | Command::Note(_) | Command::Help | Command::Digest)
        };
        let decides = has_letter || !self.parsed.commands.iter().all(timeless);
        client.filter(|_| decides).map(|client| format!("obeyed:{}", client.code))
    }

    /// Signed long ago: it may have been withheld. Asked about, not obeyed (THREATS 29).
    async fn ask(&self, tx: &mut Tx, client: Option<&Client>) -> Result<(), AppError> {
        let facts = letters::Question {
            code: client.map(|client| client.code.clone()),
            label: client.and_then(|client| client.label.clone()),
            signed: self.signed_at,
            seen: self.now,
            first_line: first_line(self.parsed.text.as_str()),
        };
        let origin = self.from.examined.outer.message_id.as_deref();
        let letter = Letter::Question(facts);
        let therapist = &self.from.therapist;
        post::to_therapist_sealed(self.ctx, tx, therapist, client, Kind::Question, &letter, self.now, origin).await?;
        tx.journal(self.now, "asked", client.map(|client| &client.code), json!({ "why": "signed long ago" })).await?;
        Ok(())
    }

    /// Carries out the commands, then takes the letter. Anything refused undoes the whole mail.
    async fn execute(&self, tx: &mut Tx, client: Option<Client>) -> Step<()> {
        let mut outcomes = Vec::new();
        if self.parsed.commands.contains(&Command::Help) {
            let letter = Letter::Help(letters::Help {});
            let origin = self.from.examined.outer.message_id.as_deref();
            let therapist = &self.from.therapist;
            post::to_therapist_sealed(self.ctx, tx, therapist, None, Kind::Help, &letter, self.now, origin).await?;
        }
        let mut client = client;
        for command in &self.parsed.commands {
            if let Some(known) = client.as_ref().filter(|known| !self.allows(known, command)) {
                let command = command.name().to_owned();
                return Ok(Err(Refused::of(known, RefusalReason::NotForLocum { command })));
            }
            match self.carry_out(tx, command, client.as_ref()).await? {
                Ok(outcome) => outcomes.extend(outcome),
                Err(refused) => return Ok(Err(refused)),
            }
            // A label or a rhythm set above counts for what stands below.
            if let Some(known) = &client {
                client = tx.client(known.id).await?.map(|client| self.as_seen(client));
            }
        }
        // The text belongs to one of them, or none may stand below.
        let decides =
            |command: &Command| command.takes_text() || matches!(command, Command::Cancel | Command::Close { .. });
        let mut first = None;
        let has_letter = self.parsed.words > 0 || !self.passing_attachments().is_empty();
        if let Some(client) = &client
            && !self.parsed.commands.iter().any(decides)
        {
            if has_letter {
                first = first_line(self.parsed.text.as_str());
                match reply::accept(self, tx, client).await? {
                    Ok(outcome) => outcomes.push(outcome),
                    Err(refused) => return Ok(Err(refused)),
                }
            } else if self.parsed.commands.iter().all(|command| matches!(command, Command::To(_))) {
                return Ok(Err(Refused::of(client, RefusalReason::EmptyReply)));
            }
        } else if self.parsed.words > 0 {
            first = first_line(self.parsed.text.as_str());
        }
        outcomes.extend(self.missing_signs(client.as_ref(), &outcomes));
        if !outcomes.is_empty() {
            self.receipt(tx, client.as_ref(), outcomes, first).await?;
        }
        Ok(Ok(()))
    }

    /// Signs of a letter that will be sealed as a document, which no font there has.
    fn missing_signs(&self, client: Option<&Client>, outcomes: &[Outcome]) -> Option<Outcome> {
        client.filter(|client| client.channel == Channel::Pdf && self.parsed.words > 0 && !outcomes.is_empty())?;
        let signs: Vec<String> = pdf::missing_signs(self.parsed.text.as_str()).iter().map(char::to_string).collect();
        (!signs.is_empty()).then(|| Outcome::MissingSigns { signs: signs.join(" ") })
    }

    async fn carry_out(&self, tx: &mut Tx, command: &Command, client: Option<&Client>) -> Step<Vec<Outcome>> {
        if let Some(client) = client {
            match life::carry_out(self, tx, client, command).await? {
                Ok(Some(outcomes)) => return Ok(Ok(outcomes)),
                Ok(None) => {}
                Err(refused) => return Ok(Err(refused)),
            }
        }
        Ok(self.carry_out_one(tx, command, client).await?.map(|outcome| outcome.into_iter().collect()))
    }

    async fn carry_out_one(&self, tx: &mut Tx, command: &Command, client: Option<&Client>) -> Step<Option<Outcome>> {
        let needs = || Refused::new(RefusalReason::NoClient);
        match command {
            Command::To(_) | Command::Help => Ok(Ok(None)),
            Command::Digest => {
                super::digest::enqueue(self.ctx, tx, &self.from.therapist, self.now, self.now).await?;
                Ok(Ok(Some(Outcome::Digest)))
            }
            Command::Invite { whom, language, known } => {
                Ok(enrol::invite::by_mail(self, tx, whom, *language, *known).await?.map(Some))
            }
            Command::Absent { .. } | Command::Back => absence::ordered(self, tx, command).await,
            Command::Discard(Some(target @ Target::Request(_))) => self.discard_request(tx, target).await,
            Command::Release(target) => self.release(tx, client, target.as_ref()).await,
            Command::Discard(target) => self.discard(tx, client, target.as_ref()).await,
            _ => {
                let Some(client) = client else { return Ok(Err(needs())) };
                self.about_client(tx, command, client).await
            }
        }
    }

    async fn about_client(&self, tx: &mut Tx, command: &Command, client: &Client) -> Step<Option<Outcome>> {
        Ok(Ok(Some(match command {
            Command::Cancel => match orders::cancel(self, tx, client).await? {
                Ok(outcome) => outcome,
                Err(refused) => return Ok(Err(refused)),
            },
            Command::Urgent => match orders::urgent(self, tx, client).await? {
                Ok(outcome) => outcome,
                Err(refused) => return Ok(Err(refused)),
            },
            Command::Now => match orders::now(self, tx, client).await? {
                Ok(outcome) => outcome,
                Err(refused) => return Ok(Err(refused)),
            },
            Command::Close { silent, line } => {
                let line = line.as_ref().map(commands::Words::as_str);
                match orders::close(self, tx, client, *silent, line).await? {
                    Ok(outcome) => outcome,
                    Err(refused) => return Ok(Err(refused)),
                }
            }
            Command::Label(label) => {
                tx.set_label(client.id, Some(label.as_str())).await?;
                tx.journal(self.now, "label", Some(&client.code), json!({})).await?;
                Outcome::Label { label: label.as_str().to_owned() }
            }
            Command::Note(note) => {
                orders::note(self, tx, client, note.as_str()).await?;
                Outcome::Note
            }
            Command::Rhythm(days) => match orders::rhythm(self, tx, client, days).await? {
                Ok(outcome) => outcome,
                Err(refused) => return Ok(Err(refused)),
            },
            _ => return enrol::orders::carry_out(self, tx, command, client).await,
        })))
    }

    async fn release(&self, tx: &mut Tx, client: Option<&Client>, target: Option<&Target>) -> Step<Option<Outcome>> {
        let message = match self.held(tx, client, target).await? {
            Ok(message) => message,
            Err(refused) => return Ok(Err(refused)),
        };
        let number = number(&message);
        let Some(client) = client else { return Ok(Err(Refused::new(RefusalReason::UnknownNumber { number }))) };
        if message.kind == Kind::Reply {
            return Ok(reply::release_held(self, tx, client, &message).await?.map(Some));
        }
        // Sealed to who was the therapist then: another one couldn't open it.
        let sealed_to_other = message.therapist.as_ref().is_some_and(|sealed_to| *sealed_to != client.therapist);
        if sealed_to_other || !intake::releasable(&message) {
            return Ok(Err(Refused::of(client, RefusalReason::NotReleasable { number })));
        }
        tx.set_message_state(message.id, MessageState::Released).await?;
        tx.release_signature(message.id, self.now).await?;
        let schedule = self.ctx.schedule(&self.from.therapist, client);
        if client.state.in_treatment()
            // From now on, and not from its arrival: it could not be answered before.
            && let Some(due) = schedule.due(self.now, self.now)
        {
            let origin = super::prepare::Origin { message_id: message.origin_id.clone(), subject: String::new() };
            let turn = intake::join_turn(self.ctx, tx, client, message.at, Some(due), &origin, true, self.now).await?;
            tx.set_message_turn(message.id, turn).await?;
        }
        intake::forward_now(self.ctx, tx, &self.from.therapist, &message, self.now).await?;
        tx.journal(self.now, "released", Some(&client.code), json!({ "number": number })).await?;
        Ok(Ok(Some(Outcome::Released { number })))
    }

    async fn discard(&self, tx: &mut Tx, client: Option<&Client>, target: Option<&Target>) -> Step<Option<Outcome>> {
        let message = match self.held(tx, client, target).await? {
            Ok(message) => message,
            Err(refused) => return Ok(Err(refused)),
        };
        tx.set_message_state(message.id, MessageState::Discarded).await?;
        if message.kind == Kind::Reply {
            // Until now the practice's key could still open it.
            tx.delete_blob(message.id).await?;
        }
        let number = number(&message);
        let code = client.map(|client| &client.code);
        tx.journal(self.now, "discarded", code, json!({ "number": number })).await?;
        Ok(Ok(Some(Outcome::Discarded { number })))
    }

    async fn discard_request(&self, tx: &mut Tx, target: &Target) -> Step<Option<Outcome>> {
        let unknown = || Refused::new(RefusalReason::UnknownNumber { number: target.to_string() });
        let Some(message) = by_target(tx, target).await? else { return Ok(Err(unknown())) };
        let mine = message.therapist.as_ref() == Some(self.from.therapist.id());
        if !mine || message.state != MessageState::Filed {
            return Ok(Err(unknown()));
        }
        tx.set_message_state(message.id, MessageState::Discarded).await?;
        tx.delete_blob(message.id).await?;
        tx.journal(self.now, "discarded", None, json!({ "number": target.to_string() })).await?;
        Ok(Ok(Some(Outcome::Discarded { number: target.to_string() })))
    }

    /// The held message that is meant: by its number, or the only one of this conversation.
    async fn held(&self, tx: &mut Tx, client: Option<&Client>, target: Option<&Target>) -> Step<Message> {
        let unknown = |number: String| Refused::new(RefusalReason::UnknownNumber { number });
        let mine = |message: &Message| {
            message.state == MessageState::Held && message.client.is_some() && message.client == client.map(|c| c.id)
        };
        match target {
            Some(target) => match by_target(tx, target).await?.filter(mine) {
                Some(message) => Ok(Ok(message)),
                None => Ok(Err(unknown(target.to_string()))),
            },
            None => {
                let mut held: Vec<Message> = tx.held().await?.into_iter().filter(mine).collect();
                match (held.pop(), held.is_empty()) {
                    (Some(message), true) => Ok(Ok(message)),
                    _ => Ok(Err(unknown("H".to_owned()))),
                }
            }
        }
    }

    /// Attachments that may reach the client; keys, cards and signatures of the therapist's program never do.
    pub fn passing_attachments(&self) -> Vec<&mime::Attachment> {
        self.from.content.attachments.iter().filter(|attachment| !attachment.class.is_envelope()).collect()
    }

    async fn receipt(
        &self,
        tx: &mut Tx,
        client: Option<&Client>,
        outcomes: Vec<Outcome>,
        first_line: Option<String>,
    ) -> Result<(), AppError> {
        let facts = letters::Receipt {
            code: client.map(|client| client.code.clone()),
            label: client.and_then(|client| client.label.clone()),
            outcomes,
            first_line,
            travelled_in_clear: !self.from.examined.encrypted,
        };
        let origin = self.from.examined.outer.message_id.as_deref();
        let letter = Letter::Receipt(facts);
        let therapist = &self.from.therapist;
        post::to_therapist_sealed(self.ctx, tx, therapist, client, Kind::Receipt, &letter, self.now, origin).await
    }
}

fn number(message: &Message) -> String {
    message.held_no.map_or_else(String::new, |n| format!("H{n}"))
}

async fn by_target(tx: &mut Tx, target: &Target) -> Result<Option<Message>, AppError> {
    Ok(match target {
        Target::Held(number) => tx.message_by_held_no(u64::from(*number)).await?,
        Target::Request(code) => tx.message_by_request_code(code).await?,
    })
}

/// The first line with words, shortened: what a receipt quotes.
pub fn first_line(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('>'))?;
    let mut short: String = line.chars().take(72).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    Some(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_quotes_a_short_first_line() {
        assert_eq!(first_line("\n> cité\n  Bonjour Marie,\nsuite").as_deref(), Some("Bonjour Marie,"));
        assert_eq!(first_line(&"a".repeat(100)).map(|line| line.chars().count()), Some(73));
    }
}
