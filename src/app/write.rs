//! Writes each kind of outgoing mail from its recipe, at the moment when it leaves.

mod notices;
mod stored;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::AppError;
use super::compose::{self, Head, MailError, WaitingLetter};
use super::context::{Context, Therapist};
use super::crisis;
use super::digest;
use super::enrol;
use super::guard;
use super::keys;
use super::life::papers;
use super::locum;
use super::post::{Owner, Recipe};
use super::reply;
use super::sealed_letters::{AtHand, Closing, Enclosure};
use crate::domain::lifecycle;
use crate::letters::{self, HealthItem, KeyOwner, Letter, Reader, Rendered, ReplyFrame};
use crate::mime::{self, OutPart, Outgoing};
use crate::model::{Address, Channel, Kind};
use crate::pgp::{Certificate, Purpose};
use crate::store::{Client, Message, Outbox, StoreError, Tx};
pub use stored::{copy_for_therapist, stored_mail};

/// Longer words than this, in bytes, aren't kept in memory until they have left: they are opened once more for their copy.
const KEPT_TEXT: usize = 64 << 10;

/// A mail that is written and not yet sealed.
pub struct Written {
    mail: Outgoing,
    sealing: Sealing,
    /// The therapist's words in it, where they are short: for the copy that is made once it has left.
    letter: Option<WaitingLetter>,
}

enum Sealing {
    /// Sealed at filing or when it was made.
    Done(Vec<u8>),
    To(Vec<Certificate>),
    /// In clear, signed: only where the kind may be clear.
    Clear,
    /// There is nobody to seal it to: it must not leave.
    Impossible,
    /// As documents that a passphrase opens, in a neutral mail.
    Letter(Box<Enclosure>),
    /// The passphrase wasn't told yet: it must not leave.
    NoPassphrase,
    /// Under the signature of a key that the practice had before: what it says of the new one is to be believed.
    By(String, Box<Sealing>),
}

impl Written {
    fn new(mail: Outgoing, sealing: Sealing) -> Self {
        Self { mail, sealing, letter: None }
    }

    /// The therapist's words in it, where they were kept.
    pub fn take_letter(&mut self) -> Option<WaitingLetter> {
        self.letter.take()
    }

    /// The same, signed by the practice's earlier key with this fingerprint.
    pub(super) fn signed_by(self, fingerprint: String) -> Self {
        Self { sealing: Sealing::By(fingerprint, Box::new(self.sealing)), ..self }
    }

    /// The words that close it, where it is a sealed letter.
    pub fn closing(&self) -> Option<Closing> {
        match &self.sealing {
            Sealing::Letter(enclosure) => Some(enclosure.closing()),
            _ => None,
        }
    }

    /// Signs and seals. CPU-bound.
    ///
    /// # Errors
    /// [`MailError`]: it fails closed.
    pub fn seal(self, ctx: &Context, now: DateTime<Utc>) -> Result<Vec<u8>, MailError> {
        let (sealing, key) = match &self.sealing {
            Sealing::By(fingerprint, sealing) => {
                let earlier = ctx.retired.iter().find(|key| key.certificate().fingerprint() == *fingerprint);
                (&**sealing, earlier.unwrap_or(&ctx.key))
            }
            sealing => (sealing, &ctx.key),
        };
        Ok(match sealing {
            Sealing::Done(armored) => mime::encrypted(&self.mail, armored),
            Sealing::To(certificates) => {
                for certificate in certificates {
                    certificate.usable_for(Purpose::Encrypt, now).map_err(|_| MailError::NoCertificate)?;
                }
                let to: Vec<&Certificate> = certificates.iter().collect();
                mime::encrypted(&self.mail, &compose::seal_by(key, &self.mail, &to)?)
            }
            Sealing::Clear => compose::signed_in_clear(key, &self.mail)?,
            Sealing::Letter(enclosure) => compose::signed_in_clear(key, &enclosure.enclose(&self.mail)?)?,
            Sealing::NoPassphrase => return Err(MailError::NoPassphrase),
            Sealing::Impossible | Sealing::By(..) => return Err(MailError::NoCertificate),
        })
    }
}

/// The one address that a mail's recipient is registered with: what the guard holds the mail against.
pub fn registered(ctx: &Context, row: &Outbox, client: Option<&Client>) -> Option<Address> {
    match (&row.therapist, client, &row.recipient) {
        (Some(therapist), _, _) => ctx.therapist(therapist).map(|therapist| therapist.settings.address.clone()),
        (None, Some(client), _) => Some(client.address.clone()),
        (None, None, recipient) => recipient.clone(),
    }
}

/// What is at hand while one mail is written.
pub(super) struct Desk<'a> {
    pub(super) ctx: &'a Context,
    pub(super) row: &'a Outbox,
    message: Option<&'a Message>,
    pub(super) client: Option<&'a Client>,
    pub(super) now: DateTime<Utc>,
    /// How the client's letters are sealed with a passphrase.
    pdf: Option<AtHand>,
}

/// Writes a mail from its row; `None` when there is nothing to say any more.
///
/// # Errors
/// [`AppError`] of the database, or a letter that can't be rendered.
pub async fn write(
    ctx: &Context,
    tx: &mut Tx,
    row: &Outbox,
    message: Option<&Message>,
    client: Option<&Client>,
    now: DateTime<Utc>,
) -> Result<Option<Written>, AppError> {
    let Ok(recipe) = serde_json::from_value::<Recipe>(row.facts.clone()) else {
        return Err(StoreError::Corrupt { table: "outbox", row: row.id.0 }.into());
    };
    // The last gate: what was queued in one state and would leave in another isn't written.
    if row.therapist.is_none()
        && let Some(client) = client
        && (client.care.muted || !lifecycle::may_leave(client.state, row.kind))
    {
        return Ok(None);
    }
    let pdf = match client {
        Some(client) => AtHand::read(tx, client).await?,
        None => None,
    };
    let desk = Desk { ctx, row, message, client, now, pdf };
    match recipe {
        Recipe::Forward => desk.forward(tx).await,
        Recipe::Reply => desk.therapists_letter(tx).await,
        Recipe::Sealed { armored, at, in_reply_to, references } => {
            desk.sealed(armored.into_bytes(), at, in_reply_to, references)
        }
        Recipe::Digest { slot } => desk.digest(tx, slot).await,
        Recipe::Reminder { slot } => desk.reminder(tx, slot).await,
        Recipe::HeldNotice => desk.held_notice(tx).await,
        Recipe::DeliveryFailure { kind, sent, cause, due, card } => desk.delivery_failure(kind, sent, cause, due, card),
        Recipe::StaffKeyExpiry { owner, fingerprint, expires, days } => {
            desk.staff_key_expiry(owner, fingerprint, expires, days)
        }
        Recipe::HealthAlarm { problem, since } => desk.health_alarm(&problem, since),
        Recipe::Keys(paper) => keys::write(&desk, paper),
        Recipe::Crisis(paper) => crisis::papers::write(&desk, tx, paper).await,
        Recipe::RoundTrip => desk.round_trip(),
        Recipe::Enrol(paper) => enrol::papers::write(&desk, tx, paper).await,
        Recipe::Absence(paper) => desk.absence(tx, &paper).await,
        Recipe::Life(paper) => desk.life(tx, paper).await,
        recipe => desk.to_client(recipe),
    }
}

impl Desk<'_> {
    pub(super) fn head(&self, in_reply_to: Option<String>) -> Head {
        Head {
            message_id: self.row.mail_id.clone().unwrap_or_else(|| compose::new_message_id(self.ctx)),
            at: self.now,
            references: in_reply_to.iter().cloned().collect(),
            in_reply_to,
            automatic: compose::is_automatic(self.row.kind),
        }
    }

    pub(super) fn therapist(&self) -> Result<Arc<Therapist>, AppError> {
        let id = self
            .row
            .therapist
            .as_ref()
            .or(self.client.map(|client| &client.therapist))
            .ok_or(StoreError::Corrupt { table: "outbox", row: self.row.id.0 })?;
        match self.ctx.therapist(id) {
            Some(therapist) => Ok(therapist),
            None => Err(AppError::NoTherapist { therapist: id.clone() }),
        }
    }

    /// The certificates of a mail to a therapist: theirs and the archive's.
    fn staff_keys(&self, therapist: &Therapist) -> Sealing {
        let Some(certificate) = therapist.certificate() else { return Sealing::Impossible };
        let archive = self.ctx.archive.iter().cloned();
        Sealing::To(std::iter::once(certificate.clone()).chain(archive).collect())
    }

    /// A filed message, exactly as it was sealed.
    async fn forward(&self, tx: &mut Tx) -> Result<Option<Written>, AppError> {
        let therapist = self.therapist()?;
        let Some(message) = self.message else { return Ok(None) };
        let Some(sealed) = tx.blob(message.id).await? else { return Ok(None) };
        let mail = stored_mail(self.ctx, &therapist, self.client, message);
        Ok(Some(Written::new(mail, Sealing::Done(sealed))))
    }

    fn sealed(
        &self,
        armored: Vec<u8>,
        at: DateTime<Utc>,
        in_reply_to: Option<String>,
        references: Vec<String>,
    ) -> Result<Option<Written>, AppError> {
        let therapist = self.therapist()?;
        let head = Head { at, references, ..self.head(in_reply_to) };
        let mail = compose::to_therapist(self.ctx, &therapist, self.client, head, String::new(), Vec::new());
        Ok(Some(Written::new(mail, Sealing::Done(armored))))
    }

    /// The therapist's words, opened for this moment and sealed to the client.
    async fn therapists_letter(&self, tx: &mut Tx) -> Result<Option<Written>, AppError> {
        let (Some(message), Some(client)) = (self.message, self.client) else { return Ok(None) };
        let Some(sealed) = tx.blob(message.id).await? else { return Ok(None) };
        // Sealed by a clock that was ahead, perhaps.
        let letter = WaitingLetter::open(self.ctx, &sealed, self.now.max(message.at))?;
        let kept = (letter.attachments.is_empty() && letter.text.len() <= KEPT_TEXT).then(|| letter.clone());
        let reader = self.ctx.reader_for(client);
        let newest = match message.answers {
            Some(row) => tx.message(row).await?,
            None => None,
        };
        let origin = newest.and_then(|newest| newest.origin_id);
        let (subject, parts) = if message.kind == Kind::Closed {
            let line = Some(letter.text.trim()).filter(|line| !line.is_empty()).map(str::to_owned);
            let practice = self.ctx.config.practice.name.clone();
            let facts = letters::Closed { practice, line, slot: message.slot.unwrap_or(self.now) };
            let rendered = compose::render(self.ctx, &Letter::Closed(facts), reader)?;
            (rendered.subject.clone(), compose::letter_parts(&rendered))
        } else {
            let letters = reply::answered_letters(tx, message.turn).await?;
            let frame = match message.kind {
                Kind::Reply | Kind::Urgent => {
                    compose::render(self.ctx, &Letter::ReplyFrame(ReplyFrame { letters }), reader)?.text
                }
                _ => String::new(),
            };
            (letter.subject.clone(), compose::reply_parts(letter, &frame))
        };
        let head = Head {
            message_id: message.message_id.clone().unwrap_or_else(|| compose::new_message_id(self.ctx)),
            ..self.head(origin)
        };
        let mail = compose::to_client(self.ctx, client, head, subject, parts);
        Ok(Some(Written { letter: kept, ..Written::new(mail, self.client_keys(client)?) }))
    }

    /// A letter of a client's life: always sealed.
    async fn life(&self, tx: &mut Tx, paper: papers::Paper) -> Result<Option<Written>, AppError> {
        let Some(client) = self.client else { return Ok(None) };
        let Some(filled) = papers::fill(self.ctx, tx, paper, client, self.message, self.now).await? else {
            return Ok(None);
        };
        let rendered = compose::render(self.ctx, &filled.letter, self.ctx.reader_for(client))?;
        let mut parts = compose::letter_parts(&rendered);
        parts.extend(filled.parts);
        let mail = compose::to_client(self.ctx, client, self.head(filled.origin), rendered.subject, parts);
        Ok(Some(Written::new(mail, self.client_keys(client)?)))
    }

    /// How what is confidential leaves to a client.
    fn client_keys(&self, client: &Client) -> Result<Sealing, MailError> {
        if client.channel == Channel::OpenPgp {
            let certificate = self.ctx.client_certificate(client);
            return Ok(certificate.map_or(Sealing::Impossible, |certificate| Sealing::To(vec![certificate])));
        }
        let enclosure = match &self.pdf {
            Some(at_hand) => Enclosure::new(self.ctx, client, &at_hand.channel, self.now)?,
            None => None,
        };
        Ok(enclosure.map_or(Sealing::NoPassphrase, |enclosure| Sealing::Letter(Box::new(enclosure))))
    }

    /// Whether what may be clear is sealed to the client's certificate all the same. What says nothing confidential
    /// needs no passphrase.
    pub(super) fn sealable(&self, client: &Client) -> bool {
        let certificate = self.ctx.client_certificate(client).filter(|_| client.channel == Channel::OpenPgp);
        certificate.is_some_and(|certificate| certificate.usable_for(Purpose::Encrypt, self.now).is_ok())
    }

    /// Cadre's own letters to clients and strangers.
    fn to_client(&self, recipe: Recipe) -> Result<Option<Written>, AppError> {
        let Some(client) = self.client else { return self.to_stranger(&recipe) };
        let sealed = self.sealable(client);
        let (letter, origin) = self.letter_for(client, recipe, sealed);
        let Some(letter) = letter else { return Ok(None) };
        self.cadres_letter(client, &letter, origin, sealed)
    }

    /// A letter of Cadre's own to a client, sealed wherever it can be.
    pub(super) fn cadres_letter(
        &self,
        client: &Client,
        letter: &Letter,
        origin: Option<String>,
        sealed: bool,
    ) -> Result<Option<Written>, AppError> {
        let reader = self.ctx.reader_for(client);
        let name = letter.name();
        let rendered = compose::render(self.ctx, letter, reader)?;
        let head = self.head(origin);
        let clear = guard::clear_letter(self.row.kind) == Some(name);
        // What may be clear is sealed all the same where it can be.
        if sealed || !clear {
            let mut parts = compose::letter_parts(&rendered);
            if client.channel == Channel::OpenPgp {
                parts = with_key(self.ctx, parts, name);
            }
            let mail = compose::to_client(self.ctx, client, head, rendered.subject, parts);
            let sealing = self.client_keys(client)?;
            return Ok(Some(Written::new(mail, sealing)));
        }
        Ok(Some(self.in_clear(&client.address, reader, head, rendered, name)))
    }

    /// A neutral letter to a client, sealed to a certificate that isn't pinned yet.
    pub(super) fn sealed_to(
        &self,
        client: &Client,
        certificate: Certificate,
        origin: Option<String>,
        rendered: Rendered,
    ) -> Written {
        let parts = compose::letter_parts(&rendered);
        let mut mail = compose::to_client(self.ctx, client, self.head(origin), rendered.subject, parts);
        mail.from_display = self.ctx.neutral_name(client.language);
        Written::new(mail, Sealing::To(vec![certificate]))
    }

    pub(super) fn in_clear(
        &self,
        to: &Address,
        reader: Reader,
        head: Head,
        rendered: Rendered,
        name: letters::Name,
    ) -> Written {
        let mail = compose::in_clear(self.ctx, to, reader, head, rendered, name.carries_key());
        Written::new(mail, Sealing::Clear)
    }

    fn letter_for(&self, client: &Client, recipe: Recipe, sealed: bool) -> (Option<Letter>, Option<String>) {
        let practice = self.ctx.config.practice.name.clone();
        let neutral_name = self.ctx.neutral_name(client.language);
        let fingerprint = self.ctx.key.certificate().fingerprint();
        let lines = || self.ctx.lines_for(client);
        match recipe {
            Recipe::Acknowledgement { arrived, expected, origin } => {
                let absent = locum::acknowledgement(self.ctx, client, arrived, expected, self.now);
                let letter = if let (true, Some(absent)) = (sealed, absent) {
                    absent
                } else if sealed {
                    // Without a slot there is an absence; where that is over, the next one is what is expected.
                    let expected = expected.or_else(|| locum::next_slot(self.ctx, client, self.now)).unwrap_or(arrived);
                    Letter::Acknowledgement(letters::Acknowledgement { practice, arrived, expected, lines: lines() })
                } else {
                    let expected = expected.or_else(|| locum::next_slot(self.ctx, client, self.now));
                    let facts = letters::AcknowledgementClear { neutral_name, arrived, expected };
                    Letter::AcknowledgementClear(facts)
                };
                (Some(letter), origin)
            }
            Recipe::MissedDay { missed, next } => {
                (Some(Letter::MissedDay(letters::MissedDay { practice, missed, next, lines: lines() })), None)
            }
            Recipe::AboutKeys { origin } if sealed => {
                (Some(Letter::AboutKeys(letters::AboutKeys { practice, fingerprint })), origin)
            }
            Recipe::AboutKeys { origin } => {
                (Some(Letter::AboutKeysClear(letters::AboutKeysClear { neutral_name, fingerprint })), origin)
            }
            Recipe::Undecryptable { origin } => {
                (Some(Letter::Undecryptable(letters::Undecryptable { neutral_name, fingerprint })), origin)
            }
            Recipe::TooLarge { origin } => {
                let limit = self.ctx.config.intake.max_message;
                (Some(Letter::TooLarge(letters::TooLarge { neutral_name, limit })), origin)
            }
            Recipe::KeyExpiry { expires, days } => {
                let fingerprint = client.fingerprint.clone().unwrap_or_default();
                (Some(Letter::KeyExpiry(letters::KeyExpiry { neutral_name, fingerprint, expires, days })), None)
            }
            Recipe::AboutWords { origin } => {
                let blocked = self.pdf.as_ref().is_some_and(|at_hand| at_hand.blocked);
                (Some(Letter::AboutWords(letters::AboutWords { neutral_name, blocked })), origin)
            }
            Recipe::AboutPassphrase { origin } => {
                (Some(Letter::AboutPassphrase(letters::AboutPassphrase { neutral_name })), origin)
            }
            _ => (None, None),
        }
    }

    /// One neutral answer in the practice's language.
    fn to_stranger(&self, recipe: &Recipe) -> Result<Option<Written>, AppError> {
        let (Recipe::Stranger { origin }, Some(to)) = (recipe, &self.row.recipient) else { return Ok(None) };
        let practice = &self.ctx.config.practice;
        let reader = Reader { language: practice.language, by_words: false, zone: practice.timezone };
        let facts = letters::Stranger { neutral_name: self.ctx.neutral_name(reader.language) };
        let letter = Letter::Stranger(facts);
        let name = letter.name();
        let rendered = compose::render(self.ctx, &letter, reader)?;
        Ok(Some(self.in_clear(to, reader, self.head(origin.clone()), rendered, name)))
    }

    /// The letters of a therapist's absence: to clients, and to who stands in.
    async fn absence(&self, tx: &mut Tx, paper: &locum::Paper) -> Result<Option<Written>, AppError> {
        match (paper, self.client) {
            (locum::Paper::Cover { absence }, _) => match locum::cover(self.ctx, tx, *absence).await? {
                Some(letter) => self.staff_letter(&letter),
                None => Ok(None),
            },
            (locum::Paper::Copy, Some(client)) => self.locum_copy(tx, client).await,
            (_, Some(client)) => match locum::letter_to_client(self.ctx, tx, client, paper, self.now).await? {
                Some(letter) => self.cadres_letter(client, &letter, None, self.sealable(client)),
                None => Ok(None),
            },
            (_, None) => Ok(None),
        }
    }

    /// A letter as it was sealed to the locum when it was filed; None once the absence is over or it was answered.
    async fn locum_copy(&self, tx: &mut Tx, client: &Client) -> Result<Option<Written>, AppError> {
        let (Some(message), locum) = (self.message, self.therapist()?) else { return Ok(None) };
        if !locum::may_answer(self.ctx, tx, locum.id(), client, self.now).await? {
            return Ok(None);
        }
        let Some(sealed) = tx.locum_copy(message.id, locum.id()).await? else { return Ok(None) };
        let copy = Message { message_id: Some(locum::copy_id(self.ctx, message.id)), ..message.clone() };
        let mail = stored_mail(self.ctx, &locum, Some(client), &copy);
        Ok(Some(Written::new(mail, Sealing::Done(sealed))))
    }

    /// A letter of Cadre's in clear.
    pub(super) fn clear_letter(
        &self,
        to: &Address,
        reader: Reader,
        origin: Option<String>,
        letter: &Letter,
    ) -> Result<Written, AppError> {
        let rendered = compose::render(self.ctx, letter, reader)?;
        Ok(self.in_clear(to, reader, self.head(origin), rendered, letter.name()))
    }

    /// A letter of Cadre's, sealed to the client.
    pub(super) fn sealed_letter(
        &self,
        client: &Client,
        origin: Option<String>,
        letter: &Letter,
    ) -> Result<Written, AppError> {
        let rendered = compose::render(self.ctx, letter, self.ctx.reader_for(client))?;
        let parts = compose::letter_parts(&rendered);
        let mail = compose::to_client(self.ctx, client, self.head(origin), rendered.subject, parts);
        Ok(Written::new(mail, self.client_keys(client)?))
    }

    fn staff_letter(&self, letter: &Letter) -> Result<Option<Written>, AppError> {
        self.staff_letter_with(letter, Vec::new())
    }

    /// A letter to the therapist, with what is attached.
    pub(super) fn staff_letter_with(
        &self,
        letter: &Letter,
        attached: Vec<OutPart>,
    ) -> Result<Option<Written>, AppError> {
        let therapist = self.therapist()?;
        let rendered = compose::render(self.ctx, letter, therapist.reader())?;
        let mut parts = compose::letter_parts(&rendered);
        parts.extend(attached);
        let mail = compose::to_therapist(self.ctx, &therapist, self.client, self.head(None), rendered.subject, parts);
        Ok(Some(Written::new(mail, self.staff_keys(&therapist))))
    }

    async fn digest(&self, tx: &mut Tx, slot: DateTime<Utc>) -> Result<Option<Written>, AppError> {
        let therapist = self.therapist()?;
        let sheet = digest::sheet(self.ctx, tx, &therapist, slot).await?;
        self.staff_letter(&Letter::Digest(letters::Digest::of(&sheet)))
    }

    async fn reminder(&self, tx: &mut Tx, slot: DateTime<Utc>) -> Result<Option<Written>, AppError> {
        let therapist = self.therapist()?;
        let due = digest::due_lines(tx, &therapist, slot).await?;
        if due.is_empty() {
            return Ok(None);
        }
        self.staff_letter(&Letter::Reminder(letters::Reminder { slot, due }))
    }

    fn staff_key_expiry(
        &self,
        owner: Owner,
        fingerprint: String,
        expires: DateTime<Utc>,
        days: i64,
    ) -> Result<Option<Written>, AppError> {
        let owner = match (owner, self.client) {
            (Owner::Practice, _) => KeyOwner::Practice,
            (Owner::Archive, _) => KeyOwner::Archive,
            (Owner::Client, Some(client)) => {
                KeyOwner::Client { code: client.code.clone(), label: client.label.clone() }
            }
            _ => KeyOwner::Therapist,
        };
        self.staff_letter(&Letter::StaffKeyExpiry(letters::StaffKeyExpiry { owner, fingerprint, expires, days }))
    }

    fn health_alarm(&self, problem: &super::post::Problem, since: DateTime<Utc>) -> Result<Option<Written>, AppError> {
        let Some(to) = &self.row.recipient else { return Ok(None) };
        let practice = &self.ctx.config.practice;
        let reader = Reader { language: practice.language, by_words: false, zone: practice.timezone };
        let letter =
            Letter::HealthAlarm(letters::HealthAlarm { items: vec![HealthItem { problem: problem.letter(), since }] });
        let name = letter.name();
        let rendered = compose::render(self.ctx, &letter, reader)?;
        Ok(Some(self.in_clear(to, reader, self.head(None), rendered, name)))
    }

    /// To the practice itself, for `check --round-trip`.
    fn round_trip(&self) -> Result<Option<Written>, AppError> {
        Ok(Some(round_trip(self.ctx, self.head(None))))
    }
}

/// The mail that `check --round-trip` sends to the practice's own address.
pub fn round_trip(ctx: &Context, head: Head) -> Written {
    let address = ctx.config.practice.address.clone();
    let mail = Outgoing {
        from_display: String::new(),
        from: address.clone(),
        to: vec![address.clone()],
        subject: "Cadre: round trip".to_owned(),
        outer_subject: None,
        message_id: head.message_id,
        in_reply_to: None,
        references: Vec::new(),
        date: head.at,
        automatic: true,
        autocrypt: None,
        parts: vec![OutPart::Text("This mail was sent by `cadre check --round-trip`.\n".to_owned())],
    };
    let sealing = Sealing::To(vec![ctx.key.certificate().clone()]);
    Written::new(mail, sealing)
}

fn with_key(ctx: &Context, mut parts: Vec<OutPart>, name: letters::Name) -> Vec<OutPart> {
    if name.carries_key() {
        parts.push(compose::key_part(ctx));
    }
    parts
}
