//! A therapist's mail: is it meant for us, whom is it about, what does it ask (SPEC sections 3 and 8).
//!
//! Only signed bytes choose the client. Nothing is guessed, and a conflict means refusal.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::AppError;
use super::context::Context;
use super::intake::{self, send_refusal};
use super::orders;
use super::post;
use super::prepare::FromTherapist;
use super::reply;
use crate::domain::commands::{self, Command, CommandError, Parsed, Target};
use crate::letters::{self, Letter, Outcome, RefusalReason};
use crate::mime::{self, ReplyText};
use crate::model::{ClientCode, ClientId, Direction, Kind, Mark, MessageRow, MessageState};
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
    match consider(ctx, tx, from, signature.signed_at, now).await? {
        Ok(()) => {
            tx.keep(before).await?;
            Ok(Obeyed::Done)
        }
        Err(refused) => {
            // A mail is refused whole: what its first commands did is undone.
            tx.undo(before).await?;
            // Read again: a label that the mail had set is undone too.
            let client = match &refused.client {
                Some(client) => tx.client(client.id).await?,
                None => None,
            };
            let told = send_refusal(ctx, tx, &from.therapist, client.as_ref(), refused.reason, origin, now).await?;
            Ok(if told { Obeyed::Refused } else { Obeyed::TooMany })
        }
    }
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
        Err(error) => return Ok(Err(Refused::new(command_refusal(error)))),
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
    if let Some(client) = &client
        && mail.decides()
    {
        // A mail that was kept back and comes behind a newer one is not obeyed (THREATS 29).
        let key = format!("obeyed:{}", client.code);
        if tx.meta_time(&key).await?.is_some_and(|newest| signed_at < newest) {
            return with(RefusalReason::OlderThanWaiting);
        }
        tx.set_meta_time(&key, signed_at).await?;
    }
    mail.execute(tx, client).await
}

fn command_refusal(error: CommandError) -> RefusalReason {
    let command = |command: &str| command.to_owned();
    match error {
        CommandError::Unknown { name, .. } => RefusalReason::UnknownCommand { name: name.into_string() },
        CommandError::Contradiction { a, b } => RefusalReason::Contradiction { a: a.to_owned(), b: b.to_owned() },
        CommandError::MissingArgument { command: c } => RefusalReason::MissingArgument { command: command(c) },
        CommandError::BadArgument { command: c } => RefusalReason::BadArgument { command: command(c) },
        CommandError::TextNotAllowed { command: c } => RefusalReason::TextNotAllowed { command: command(c) },
        CommandError::TextRequired { command: c } => RefusalReason::TextRequired { command: command(c) },
        CommandError::NowTooLong { words } => {
            RefusalReason::NowTooLong { words: u32::try_from(words).unwrap_or(u32::MAX) }
        }
    }
}

impl Mail<'_> {
    /// The one client that signed bytes name: the protected subject's tag, protected References, `/to`,
    /// tokens of quoted banners, the number of a held letter.
    async fn find_client(&mut self, tx: &mut Tx) -> Step<Option<Client>> {
        let mut named: BTreeSet<ClientId> = BTreeSet::new();
        let mut rows: Vec<MessageRow> = Vec::new();
        for code in self.codes() {
            match tx.client_by_code(&code).await? {
                Some(client) if client.therapist == *self.from.therapist.id() => {
                    named.insert(client.id);
                }
                _ => return Ok(Err(Refused::new(RefusalReason::UnknownCode { code: code.to_string() }))),
            }
        }
        for token in &self.taken_apart.tokens_in_quotes {
            rows.extend(self.ctx.store.vault().read_token(token));
        }
        if let Some(protected) = &self.from.examined.protected {
            for id in protected.references.iter().chain(&protected.in_reply_to) {
                if let Some(message) = tx.message_by_own_id(id).await? {
                    rows.push(message.id);
                } else if let Some(mail) = tx.outbox_by_mail_id(id).await?
                    && let Some(client) = mail.client
                {
                    named.insert(client);
                }
            }
        }
        let mut newest: Option<Message> = None;
        for row in rows {
            let Some(message) = tx.message(row).await? else { continue };
            named.extend(message.client);
            let is_letter = message.direction == Direction::In && message.client.is_some();
            if is_letter && newest.as_ref().is_none_or(|known| known.at < message.at) {
                newest = Some(message);
            }
        }
        for command in &self.parsed.commands {
            if let Command::Release(Some(target)) | Command::Discard(Some(target)) = command
                && let Some(message) = by_target(tx, target).await?
            {
                named.extend(message.client);
            }
        }
        self.newest_named_at = newest.as_ref().map(|message| message.at);
        self.newest_named = newest.map(|message| message.id);
        self.only_one(tx, named).await
    }

    async fn only_one(&self, tx: &mut Tx, named: BTreeSet<ClientId>) -> Step<Option<Client>> {
        let mut clients = Vec::new();
        for id in named {
            clients.extend(tx.client(id).await?.filter(|client| client.therapist == *self.from.therapist.id()));
        }
        if clients.len() > 1 {
            let codes = clients.into_iter().map(|client| client.code).collect();
            return Ok(Err(Refused::new(RefusalReason::ClientConflict { codes })));
        }
        let client = clients.pop();
        if client.is_none() && !self.needs_no_client() {
            return Ok(Err(Refused::new(RefusalReason::NoClient)));
        }
        Ok(Ok(client))
    }

    /// Whether it says what becomes of the day's letter.
    fn decides(&self) -> bool {
        let has_letter = self.parsed.words > 0 || !self.passing_attachments().is_empty();
        has_letter
            || self.parsed.commands.iter().any(|command| {
                matches!(command, Command::Cancel | Command::Urgent | Command::Now | Command::Close { .. })
            })
    }

    /// Codes in the protected subject's tags and in `/to` lines.
    fn codes(&self) -> Vec<ClientCode> {
        let mut codes: Vec<ClientCode> = Vec::new();
        if let Some(protected) = &self.from.examined.protected {
            codes.extend(tags(&protected.subject));
        }
        codes.extend(self.parsed.commands.iter().filter_map(|command| match command {
            Command::To(code) => Some(code.clone()),
            _ => None,
        }));
        codes
    }

    /// Only commands that are about nobody, and no letter.
    fn needs_no_client(&self) -> bool {
        !self.parsed.commands.is_empty()
            && self.parsed.words == 0
            && self.parsed.commands.iter().all(|command| {
                matches!(
                    command,
                    Command::Digest | Command::Help | Command::Discard(Some(_)) | Command::Release(Some(_))
                )
            })
    }

    /// The signature must be meant for the practice: by its Intended Recipient, the protected To, or a
    /// sign that only mail to Cadre has.
    fn is_for_us(&self, names_client: bool) -> bool {
        let practice = &self.ctx.config.practice.address;
        let examined = &self.from.examined;
        if examined.decision.marks.contains(&Mark::NotForUs) {
            return false;
        }
        let intended = examined.signature.as_ref().is_some_and(|signature| !signature.intended.is_empty());
        let protected_to = examined.protected.as_ref().is_some_and(|mail| mail.recipients().any(|to| to == practice));
        let wrong_to = examined
            .protected
            .as_ref()
            .is_some_and(|mail| mail.recipients().next().is_some() && !mail.recipients().any(|to| to == practice));
        !wrong_to && (intended || protected_to || names_client || !self.parsed.commands.is_empty())
    }

    /// Copies to the therapist's own address are allowed; any other recipient means refusal.
    fn has_other_recipients(&self) -> bool {
        let practice = &self.ctx.config.practice.address;
        let own = &self.from.therapist.settings.address;
        let examined = &self.from.examined;
        let protected = examined.protected.iter().flat_map(mime::Mail::recipients);
        examined.outer.recipients().chain(protected).any(|to| to != practice && to != own)
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
            match self.carry_out(tx, command, client.as_ref()).await? {
                Ok(outcome) => outcomes.extend(outcome),
                Err(refused) => return Ok(Err(refused)),
            }
            // A label or a rhythm set above counts for what stands below.
            if let Some(known) = &client {
                client = tx.client(known.id).await?;
            }
        }
        let decides = |command: &Command| {
            matches!(command, Command::Cancel | Command::Urgent | Command::Now | Command::Close { .. })
        };
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
        if !outcomes.is_empty() {
            self.receipt(tx, client.as_ref(), outcomes, first).await?;
        }
        Ok(Ok(()))
    }

    async fn carry_out(&self, tx: &mut Tx, command: &Command, client: Option<&Client>) -> Step<Option<Outcome>> {
        let needs = || Refused::new(RefusalReason::NoClient);
        match command {
            Command::To(_) | Command::Help => Ok(Ok(None)),
            Command::Digest => {
                super::digest::enqueue(self.ctx, tx, &self.from.therapist, self.now, self.now).await?;
                Ok(Ok(Some(Outcome::Digest)))
            }
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
            _ => return Ok(Ok(None)),
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
        if !intake::releasable(&message) {
            return Ok(Err(Refused::of(client, RefusalReason::NotReleasable { number })));
        }
        tx.set_message_state(message.id, MessageState::Released).await?;
        let schedule = self.ctx.schedule(&self.from.therapist, client);
        if client.state.in_treatment()
            // From now on, and not from its arrival: it could not be answered before.
            && let Some(due) = schedule.due(self.now, self.now)
        {
            let origin = super::prepare::Origin { message_id: message.origin_id.clone(), subject: String::new() };
            let turn = intake::join_turn(self.ctx, tx, client, message.at, due, &origin, true, self.now).await?;
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

/// The codes in the tags `[C-7K2M]` of a subject.
fn tags(subject: &str) -> Vec<ClientCode> {
    subject
        .split('[')
        .skip(1)
        .filter_map(|rest| rest.split_once(']'))
        .filter(|(tag, _)| tag.trim().to_ascii_uppercase().starts_with("C-"))
        .filter_map(|(tag, _)| tag.trim().parse().ok())
        .collect()
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
    fn tags_are_read_from_subjects_in_any_place_and_case() {
        let codes = tags("Re: AW: [c-7k2m] Marie B. : [note] [C-ZZZZ]");
        let names: Vec<&str> = codes.iter().map(ClientCode::as_str).collect();
        assert_eq!(names, ["C-7K2M", "C-ZZZZ"]);
        assert!(tags("[7K2M] C-7K2M").is_empty());
    }

    #[test]
    fn a_receipt_quotes_a_short_first_line() {
        assert_eq!(first_line("\n> cité\n  Bonjour Marie,\nsuite").as_deref(), Some("Bonjour Marie,"));
        assert_eq!(first_line(&"a".repeat(100)).map(|line| line.chars().count()), Some(73));
    }
}
