//! Puts the mails together: who it is from, to whom, in which conversation, sealed to which keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::context::{Context, Therapist};
use crate::letters::{Letter, LettersError, Reader, Rendered};
use crate::mime::{self, Attachment, OutPart, Outgoing};
use crate::model::{Address, Kind};
use crate::pdf::PdfError;
use crate::pgp::{self, Certificate, PracticeKey, SealError};
use crate::store::Client;

/// Why a mail couldn't be put together. Nothing is sent then.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error("the letter couldn't be written")]
    Letter(#[from] LettersError),
    #[error("the mail couldn't be sealed")]
    Seal(#[from] SealError),
    #[error("what waits in the store can't be opened with the practice's key")]
    Unopenable,
    #[error("the recipient has no certificate that can be used")]
    NoCertificate,
    #[error("the passphrase of the client's sealed letters was not told yet")]
    NoPassphrase,
    #[error("a sealed letter couldn't be made")]
    Pdf(#[from] PdfError),
}

/// A therapist's words while they wait: sealed to the practice's own key, opened when they leave.
#[derive(Clone, Serialize, Deserialize)]
pub struct WaitingLetter {
    pub subject: String,
    pub text: String,
    pub attachments: Vec<WaitingAttachment>,
}

/// An attachment, already cleaned of metadata and named neutrally.
#[derive(Clone, Serialize, Deserialize)]
pub struct WaitingAttachment {
    pub name: String,
    pub media_type: String,
    /// Base64.
    pub data: String,
}

impl WaitingAttachment {
    pub fn of(attachment: &Attachment, bytes: &[u8]) -> Self {
        Self { name: attachment.name.clone(), media_type: attachment.media_type.clone(), data: BASE64.encode(bytes) }
    }

    /// As it leaves.
    pub fn part(self) -> OutPart {
        let bytes = BASE64.decode(self.data.as_bytes()).unwrap_or_default();
        OutPart::File { name: self.name, media_type: self.media_type, bytes: bytes.into() }
    }
}

impl Drop for WaitingLetter {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.subject.zeroize();
        self.text.zeroize();
        for attachment in &mut self.attachments {
            attachment.data.zeroize();
        }
    }
}

impl WaitingLetter {
    /// Seals it to the practice's own key.
    ///
    /// # Errors
    /// [`MailError::Seal`].
    pub fn seal(&self, ctx: &Context, at: DateTime<Utc>) -> Result<Vec<u8>, MailError> {
        let json = zeroize::Zeroizing::new(serde_json::to_vec(self).unwrap_or_default());
        Ok(pgp::seal(&json, &[ctx.key.certificate()], &ctx.key, at)?)
    }

    /// Opens what [`WaitingLetter::seal`] made.
    ///
    /// # Errors
    /// [`MailError::Unopenable`] when the key is another one or the bytes were changed.
    pub fn open(ctx: &Context, sealed: &[u8], at: DateTime<Utc>) -> Result<Self, MailError> {
        // Also under a key that was revoked since: the row's own MAC says that nobody else put it there.
        let own: Vec<Certificate> = ctx.keys().into_iter().map(PracticeKey::certificate_before_revocation).collect();
        let opened =
            pgp::open(sealed, &ctx.keys(), &own, at, &pgp::Limits::default()).map_err(|_| MailError::Unopenable)?;
        // Only the practice seals what waits: anything else was put there by somebody else.
        if !matches!(opened.signature, pgp::SignatureCheck::Good(_)) {
            return Err(MailError::Unopenable);
        }
        serde_json::from_slice(opened.plaintext.as_bytes()).map_err(|_| MailError::Unopenable)
    }
}

/// Everything about one outgoing mail but its parts.
pub struct Head {
    pub message_id: String,
    pub at: DateTime<Utc>,
    pub in_reply_to: Option<String>,
    pub references: Vec<String>,
    /// Cadre's own mail: `Auto-Submitted` (RFC 3834).
    pub automatic: bool,
}

/// A new Message-ID under the practice's domain that tells nothing.
pub fn new_message_id(ctx: &Context) -> String {
    use rand::Rng;
    let mut random = [0u8; 16];
    rand::rng().fill_bytes(&mut random);
    mime::new_message_id(random, ctx.config.practice.address.domain())
}

/// The random root that all mails of a client's conversation refer to.
pub fn thread_root(ctx: &Context, client: &Client) -> String {
    format!("{}@{}", client.thread_root, ctx.config.practice.address.domain())
}

fn autocrypt(ctx: &Context) -> Option<String> {
    let address = ctx.config.practice.address.as_typed();
    let now = ctx.clock.now();
    let mut kept = ctx.autocrypt.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Which of its keys are alive is looked at once a minute: it takes as long as sealing a letter.
    match &*kept {
        Some((at, value)) if *at == now.timestamp() / 60 => value.clone(),
        _ => {
            let keydata = ctx.key.certificate().minimal_for_autocrypt(address, now);
            let value = keydata.map(|keydata| BASE64.encode(keydata));
            *kept = Some((now.timestamp() / 60, value.clone()));
            value
        }
    }
}

/// A mail to a therapist: in the client's conversation where there is a client.
pub fn to_therapist(
    ctx: &Context,
    therapist: &Therapist,
    client: Option<&Client>,
    head: Head,
    subject: String,
    parts: Vec<OutPart>,
) -> Outgoing {
    let root = client.map(|client| thread_root(ctx, client));
    Outgoing {
        from_display: client.map_or_else(|| ctx.config.practice.name.clone(), |client| client.code.to_string()),
        from: ctx.config.practice.address.clone(),
        to: vec![therapist.settings.address.clone()],
        subject,
        outer_subject: None,
        message_id: head.message_id,
        in_reply_to: head.in_reply_to.or_else(|| root.clone()),
        references: if head.references.is_empty() { root.into_iter().collect() } else { head.references },
        date: head.at,
        automatic: head.automatic,
        autocrypt: autocrypt(ctx),
        parts,
    }
}

/// A confidential mail to a client, from the practice.
pub fn to_client(ctx: &Context, client: &Client, head: Head, subject: String, parts: Vec<OutPart>) -> Outgoing {
    Outgoing {
        from_display: ctx.config.practice.name.clone(),
        from: ctx.config.practice.address.clone(),
        to: vec![client.address.clone()],
        subject,
        outer_subject: None,
        message_id: head.message_id,
        in_reply_to: head.in_reply_to,
        references: head.references,
        date: head.at,
        automatic: head.automatic,
        autocrypt: autocrypt(ctx),
        parts,
    }
}

/// A mail in clear: the neutral name, nothing that shows a therapy.
pub fn in_clear(
    ctx: &Context,
    to: &Address,
    reader: Reader,
    head: Head,
    rendered: Rendered,
    with_key: bool,
) -> Outgoing {
    let mut parts = vec![OutPart::Text(rendered.text)];
    if with_key {
        parts.push(key_part(ctx));
    }
    Outgoing {
        from_display: ctx.neutral_name(reader.language),
        from: ctx.config.practice.address.clone(),
        to: vec![to.clone()],
        outer_subject: Some(rendered.subject.clone()),
        subject: rendered.subject,
        message_id: head.message_id,
        in_reply_to: head.in_reply_to,
        references: head.references,
        date: head.at,
        automatic: head.automatic,
        autocrypt: autocrypt(ctx),
        parts,
    }
}

/// The practice's certificate as an attachment.
pub fn key_part(ctx: &Context) -> OutPart {
    OutPart::File {
        name: "openpgp-key.asc".to_owned(),
        media_type: "application/pgp-keys".to_owned(),
        bytes: ctx.key.certificate().to_armored().into_bytes().into(),
    }
}

/// The parts of a letter that Cadre wrote.
pub fn letter_parts(rendered: &Rendered) -> Vec<OutPart> {
    vec![match &rendered.html {
        Some(html) => OutPart::Alternative { text: rendered.text.clone(), html: html.clone() },
        None => OutPart::Text(rendered.text.clone()),
    }]
}

/// Seals a mail to a therapist (and the practice's archive): the ciphertext only.
///
/// # Errors
/// [`MailError::Seal`] or [`MailError::NoCertificate`] when the therapist's certificate can't be used.
pub fn seal_to_therapist(ctx: &Context, therapist: &Therapist, mail: &Outgoing) -> Result<Vec<u8>, MailError> {
    seal(ctx, mail, &readers(ctx, therapist)?)
}

/// The certificates that a therapist's mail is sealed to: theirs and the archive's.
///
/// # Errors
/// [`MailError::NoCertificate`].
pub fn readers<'a>(ctx: &'a Context, therapist: &'a Therapist) -> Result<Vec<&'a Certificate>, MailError> {
    let mut to = vec![therapist.certificate().ok_or(MailError::NoCertificate)?];
    to.extend(ctx.archive.as_ref());
    Ok(to)
}

/// Signs and seals a mail to exactly these certificates: the ciphertext only.
///
/// # Errors
/// [`MailError::Seal`].
pub fn seal(ctx: &Context, mail: &Outgoing, to: &[&Certificate]) -> Result<Vec<u8>, MailError> {
    seal_by(&ctx.key, mail, to)
}

/// The same with this key's signature.
///
/// # Errors
/// [`MailError::Seal`].
pub fn seal_by(key: &PracticeKey, mail: &Outgoing, to: &[&Certificate]) -> Result<Vec<u8>, MailError> {
    let payload = zeroize::Zeroizing::new(mime::payload(mail));
    Ok(pgp::seal(payload, to, key, mail.date)?)
}

/// As [`seal`]; the mail is given away, so that no more of a large letter is in memory than must be.
///
/// # Errors
/// [`MailError::Seal`].
pub fn seal_whole(ctx: &Context, mail: Outgoing, to: &[&Certificate]) -> Result<Vec<u8>, MailError> {
    let (payload, date) = (zeroize::Zeroizing::new(mime::payload(&mail)), mail.date);
    drop(mail);
    Ok(pgp::seal(payload, to, &ctx.key, date)?)
}

/// A clear mail, signed by the practice.
///
/// # Errors
/// [`MailError::Seal`].
pub fn signed_in_clear(key: &PracticeKey, mail: &Outgoing) -> Result<Vec<u8>, MailError> {
    Ok(mime::signed(mail, |signed| pgp::sign_detached(signed, key, mail.date))?)
}

/// Renders a letter of Cadre's.
///
/// # Errors
/// [`MailError::Letter`].
pub fn render(ctx: &Context, letter: &Letter, reader: Reader) -> Result<Rendered, MailError> {
    Ok(ctx.letters().render(letter, reader)?)
}

/// The parts of a therapist's letter as the client gets it: the words, the line that says which letters
/// it answers, the attachments.
pub fn reply_parts(mut letter: WaitingLetter, frame: &str) -> Vec<OutPart> {
    let mut text = letter.text.trim_end().to_owned();
    if !frame.is_empty() {
        text.push_str("\n\n");
        text.push_str(frame.trim());
    }
    text.push('\n');
    let attachments = std::mem::take(&mut letter.attachments);
    std::iter::once(OutPart::Text(text)).chain(attachments.into_iter().map(WaitingAttachment::part)).collect()
}

/// Whether a kind leaves with the null return path (RFC 3834): everything that Cadre writes by itself, but for what
/// must be known to have arrived: an invitation and the frame, which answer nobody and wait for an answer, and what is
/// told to staff. No loop can come of those: a notice about them is never answered.
pub const fn has_null_path(kind: Kind) -> bool {
    is_automatic(kind)
        && !matches!(
            kind,
            Kind::Invitation
                | Kind::InvitationReminder
                | Kind::Frame
                | Kind::ConsentRenewal
                | Kind::TherapistWelcome
                | Kind::Alert
                | Kind::Digest
                | Kind::HealthAlarm
        )
}

/// Whether Cadre wrote this kind by itself: `Auto-Submitted` (RFC 3834).
pub const fn is_automatic(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Reply
            | Kind::Urgent
            | Kind::Now
            | Kind::Forward
            | Kind::Declined
            | Kind::Suspended
            | Kind::Ending
            | Kind::Farewell
            | Kind::Video
            | Kind::LocumForward
    )
}
