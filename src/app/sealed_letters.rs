//! Clients without OpenPGP: the passphrase, the sealed letter and the mail around it, the answer words (SPEC section 15).

pub mod orders;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::AppError;
use super::compose::{self, MailError};
use super::context::Context;
use super::post::{Post, Recipe};
use super::prepare::Sealed;
use crate::domain::answer_words::{TRIES, Words};
use crate::domain::keywords::Keywords;
use crate::domain::passphrase;
use crate::letters::{self, EnrolmentStep, Letter, Rendered};
use crate::mime::{Attachment, OutPart, Outgoing};
use crate::model::{Channel, Kind, Language, Mark, OutboxRow};
use crate::pdf;
use crate::secret::{Password, Plaintext};
use crate::store::{Client, LetterWords, PdfChannel, Tx};

/// A number below `n`, each as likely.
fn pick(n: usize) -> usize {
    use rand::RngExt;
    rand::rng().random_range(0..n)
}

/// Makes a passphrase for a client's letters; nothing sealed leaves until it was told.
///
/// # Errors
/// [`AppError::Store`].
pub async fn make(tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<Password, AppError> {
    let phrase = Password::new(passphrase::draw(client.language, pick));
    let before = tx.pdf_channel(client.id).await?;
    // Whoever has the one before can read what closed the letters.
    tx.drop_answer_words(client.id).await?;
    let channel = PdfChannel {
        phrase: phrase.clone(),
        made_at: now,
        told_at: None,
        subject: before.as_ref().and_then(|before| before.subject.clone()),
        wrong: before.as_ref().and_then(|before| before.wrong),
        blocked_at: before.and_then(|before| before.blocked_at),
    };
    tx.set_pdf_channel(client.id, &channel).await?;
    tx.journal(now, "passphrase-made", Some(&client.code), json!({})).await?;
    Ok(phrase)
}

/// Makes a passphrase and tells the therapist: the operator has entered somebody who wants sealed letters.
///
/// # Errors
/// [`AppError`].
pub async fn want(ctx: &Context, tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<(), AppError> {
    let phrase = make(tx, client, now).await?;
    let step = EnrolmentStep::SealedLettersWanted { passphrase: phrase.reveal().to_owned() };
    super::enrol::tell(ctx, tx, client, step, now).await
}

/// What a sealed letter is made from besides its words.
pub struct Enclosure {
    phrase: Password,
    made_at: DateTime<Utc>,
    /// They close the letter.
    words: Words,
    language: Language,
    heading: String,
    date: String,
    explanation: String,
    cover: Cover,
}

/// The words of a letter, and under which passphrase it was sealed.
#[derive(Clone, Copy)]
pub struct Closing {
    pub words: Words,
    made_at: DateTime<Utc>,
}

/// What is known of a client's sealed letters while a mail is written.
pub struct AtHand {
    pub channel: PdfChannel,
    /// Too many wrong words came: none count before the next letter.
    pub blocked: bool,
}

impl AtHand {
    /// None where their letters aren't sealed with a passphrase.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn read(tx: &mut Tx, client: &Client) -> Result<Option<Self>, crate::store::StoreError> {
        let Some(vouching) = vouching(tx, client).await? else { return Ok(None) };
        let Some(channel) = tx.pdf_channel(client.id).await? else { return Ok(None) };
        Ok(Some(Self { channel, blocked: vouching.blocked }))
    }
}

/// The neutral mail around it.
struct Cover {
    /// For one document, and for each number of more.
    rendered: Vec<Rendered>,
    from_display: String,
}

/// Most documents that one mail carries.
const DOCUMENTS: usize = 12;
/// Most that a therapist may attach.
pub const ATTACHED: usize = DOCUMENTS - 1;

impl Enclosure {
    /// For one letter that leaves now. None where the passphrase was not told yet.
    ///
    /// # Errors
    /// [`MailError::Letter`].
    pub fn new(
        ctx: &Context,
        client: &Client,
        channel: &PdfChannel,
        now: DateTime<Utc>,
    ) -> Result<Option<Self>, MailError> {
        if channel.told_at.is_none() {
            return Ok(None);
        }
        let reader = ctx.reader_for(client);
        let sheet = compose::render(ctx, &Letter::SealedSheet(letters::SealedSheet { at: now }), reader)?;
        let neutral_name = ctx.neutral_name(client.language);
        let cover = |documents| {
            let facts = letters::SealedLetter {
                neutral_name: neutral_name.clone(),
                subject: channel.subject.clone(),
                documents,
            };
            compose::render(ctx, &Letter::SealedLetter(facts), reader)
        };
        Ok(Some(Self {
            phrase: channel.phrase.clone(),
            made_at: channel.made_at,
            words: Words::draw(client.language, pick),
            language: client.language,
            heading: ctx.config.practice.name.clone(),
            date: sheet.subject,
            explanation: sheet.text.trim().to_owned(),
            cover: Cover {
                rendered: (1..=DOCUMENTS).map(cover).collect::<Result<_, _>>()?,
                from_display: neutral_name.clone(),
            },
        }))
    }

    /// What is to be kept of it.
    pub const fn closing(&self) -> Closing {
        Closing { words: self.words, made_at: self.made_at }
    }

    /// The mail as it leaves: its words and attachments as sealed documents, the rest neutral. CPU-bound.
    ///
    /// # Errors
    /// [`MailError::Pdf`] where something of it can't be sealed.
    pub fn enclose(&self, mail: &Outgoing) -> Result<Outgoing, MailError> {
        let mut documents = Vec::new();
        for part in &mail.parts {
            match part {
                OutPart::Text(text) | OutPart::Alternative { text, .. } => {
                    // The subject outside says nothing: the letter's own stands in it.
                    let body = Plaintext::new(format!("{}\n\n{}", mail.subject.trim(), text.trim()).into_bytes());
                    documents.push(self.letter(&body)?);
                }
                OutPart::File { media_type, bytes, .. } if media_type.starts_with("image/") => {
                    let alt = match self.language {
                        Language::Fr => "Image jointe à la lettre",
                        Language::En => "Picture that came with the letter",
                    };
                    documents.push(pdf::picture(bytes, alt, self.language, &self.phrase)?);
                }
                OutPart::File { media_type, bytes, .. } if media_type == "application/pdf" => {
                    documents.push(pdf::document(bytes, &self.phrase)?);
                }
                // The letter says when; a calendar would say it in clear.
                OutPart::File { media_type, .. } if media_type.starts_with("text/calendar") => {}
                OutPart::Html(_) | OutPart::File { .. } => return Err(MailError::Pdf(pdf::PdfError::Unreadable)),
            }
        }
        let cover = documents.len().checked_sub(1).and_then(|at| self.cover.rendered.get(at));
        let Some(cover) = cover else { return Err(MailError::Pdf(pdf::PdfError::TooLarge)) };
        let name = match self.language {
            Language::Fr => "lettre",
            Language::En => "letter",
        };
        let mut parts = vec![OutPart::Text(cover.text.clone())];
        parts.extend(documents.into_iter().enumerate().map(|(at, bytes)| OutPart::File {
            name: if at == 0 { format!("{name}.pdf") } else { format!("{name}-{}.pdf", at + 1) },
            media_type: "application/pdf".to_owned(),
            bytes: bytes.into(),
        }));
        Ok(Outgoing {
            from_display: self.cover.from_display.clone(),
            from: mail.from.clone(),
            to: mail.to.clone(),
            subject: cover.subject.clone(),
            outer_subject: Some(cover.subject.clone()),
            message_id: mail.message_id.clone(),
            in_reply_to: mail.in_reply_to.clone(),
            references: mail.references.clone(),
            date: mail.date,
            automatic: mail.automatic,
            autocrypt: mail.autocrypt.clone(),
            parts,
        })
    }

    fn letter(&self, body: &Plaintext) -> Result<Vec<u8>, MailError> {
        let words = self.words.shown();
        let sheet = pdf::Sheet {
            language: self.language,
            heading: &self.heading,
            date: &self.date,
            body,
            note: None,
            answer: Some(pdf::Answer { explanation: &self.explanation, words: &words }),
        };
        Ok(pdf::letter(&sheet, &self.phrase)?)
    }
}

/// Whether an attachment can become a sealed letter.
pub fn is_sealable(attachment: &Attachment) -> bool {
    matches!(
        attachment.media_type.as_str(),
        "image/jpeg" | "image/png" | "image/gif" | "image/webp" | "application/pdf"
    )
}

/// Keeps the words of a letter whose attempt is being committed. `false`: the passphrase or the channel has changed since
/// it was sealed, and it must be sealed anew.
///
/// # Errors
/// [`AppError::Store`].
pub async fn keep_words(
    tx: &mut Tx,
    client: &Client,
    letter: OutboxRow,
    closing: &Closing,
    now: DateTime<Utc>,
) -> Result<bool, AppError> {
    let current = tx.client(client.id).await?.is_some_and(|client| client.channel == Channel::Pdf);
    let channel = tx.pdf_channel(client.id).await?;
    if !(current && channel.is_some_and(|now| now.told_at.is_some() && now.made_at == closing.made_at)) {
        return Ok(false);
    }
    let words = Password::new(closing.words.stored());
    tx.add_answer_words(client.id, &LetterWords { letter, at: now, words }).await?;
    Ok(true)
}

/// Whether the passphrase was told since a mail that waits for it was looked at.
///
/// # Errors
/// [`AppError::Store`].
pub async fn told_meanwhile(tx: &mut Tx, client: &Client, error: &MailError) -> Result<bool, AppError> {
    let waits = matches!(error, MailError::NoPassphrase);
    Ok(waits && tx.pdf_channel(client.id).await?.is_some_and(|channel| channel.told_at.is_some()))
}

/// What proves, or would prove, a client's mail without a signature.
#[derive(Clone, Default)]
pub struct Vouching {
    /// Opens what was sent to them.
    pub phrase: Option<Password>,
    /// The words that count, with the letters that they closed; the newest first.
    pub valid: Vec<(OutboxRow, Words)>,
    /// Too many wrong ones came.
    pub blocked: bool,
}

/// What counts for a client now; None where their letters aren't sealed with a passphrase.
///
/// # Errors
/// [`crate::store::StoreError`].
pub async fn vouching(tx: &mut Tx, client: &Client) -> Result<Option<Vouching>, crate::store::StoreError> {
    if client.channel != Channel::Pdf {
        return Ok(None);
    }
    let Some(channel) = tx.pdf_channel(client.id).await? else { return Ok(Some(Vouching::default())) };
    let letters = tx.answer_words(client.id).await?;
    let counts = |letter: &LetterWords| channel.blocked_at.is_none_or(|at| letter.at > at);
    let blocked = channel.blocked_at.is_some() && letters.first().is_none_or(|newest| !counts(newest));
    let words = |letter: &LetterWords| Some((letter.letter, Words::parse(letter.words.reveal())?));
    let valid = letters.iter().filter(|letter| counts(letter)).filter_map(words).collect();
    Ok(Some(Vouching { phrase: Some(channel.phrase), valid, blocked }))
}

/// Counts wrong answer words; at a hundred a day none count until the next letter, and the therapist is told.
///
/// # Errors
/// [`AppError`].
pub async fn count_wrong(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    wrong: u32,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let Some(mut channel) = tx.pdf_channel(client.id).await?.filter(|_| wrong > 0) else { return Ok(()) };
    let today = now.date_naive();
    let before = channel.wrong.filter(|(day, _)| *day == today).map_or(0, |(_, wrong)| wrong);
    let tries = before.saturating_add(wrong);
    let blocks = tries >= TRIES;
    // The words of the next letter have tries of their own: who floods a mailbox locks nobody out for a day.
    channel.wrong = (!blocks).then_some((today, tries));
    if blocks {
        channel.blocked_at = Some(now);
    }
    tx.set_pdf_channel(client.id, &channel).await?;
    tx.journal(now, "wrong-answer-words", Some(&client.code), json!({ "tries": tries })).await?;
    if blocks && tx.notice_since(&format!("words-guessed:{}", client.code), now, now - TimeDelta::days(1)).await? {
        super::enrol::tell(ctx, tx, client, EnrolmentStep::WordsGuessed, now).await?;
    }
    Ok(())
}

/// The subject that a client chose, from now on.
///
/// # Errors
/// [`AppError::Store`].
pub async fn choose_subject(tx: &mut Tx, client: &Client, sealed: &Sealed, now: DateTime<Utc>) -> Result<(), AppError> {
    let chosen = sealed.keywords.as_ref().and_then(|words| words.subject.clone());
    let Some(mut channel) = tx.pdf_channel(client.id).await? else { return Ok(()) };
    if chosen.is_some() && super::enrol::proven(sealed.verdict) && client.channel == Channel::Pdf {
        channel.subject = chosen;
        tx.set_pdf_channel(client.id, &channel).await?;
        tx.journal(now, "subject-chosen", Some(&client.code), json!({})).await?;
    }
    Ok(())
}

/// What a client without OpenPGP is told about a mail that isn't proven: that what it asks for needs the answer words, or
/// that a passphrase is never mailed. One of a kind a day. `true`: it was told.
///
/// # Errors
/// [`AppError`].
pub async fn advise(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    sealed: &Sealed,
    now: DateTime<Utc>,
) -> Result<bool, AppError> {
    if sealed.automatic || client.care.muted {
        return Ok(false);
    }
    let origin = sealed.origin.message_id.clone();
    let mut told = false;
    if sealed.marks.contains(&Mark::AsksPassphrase) {
        let recipe = Recipe::AboutPassphrase { origin: origin.clone() };
        told = once_a_day(ctx, tx, client, Kind::AboutPassphrase, &recipe, now).await?;
        if told {
            super::enrol::tell(ctx, tx, client, EnrolmentStep::PassphraseAsked, now).await?;
        }
    }
    let asks = |words: &Keywords| !words.all().is_empty() || words.subject.is_some();
    let steers = sealed.keywords.as_ref().is_some_and(asks);
    if steers && !super::enrol::proven(sealed.verdict) {
        told |= once_a_day(ctx, tx, client, Kind::AboutWords, &Recipe::AboutWords { origin }, now).await?;
    }
    Ok(told)
}

async fn once_a_day(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    kind: Kind,
    recipe: &Recipe,
    now: DateTime<Utc>,
) -> Result<bool, AppError> {
    if tx.count_outbox(kind, Some(client.id), now - TimeDelta::days(1)).await? > 0 {
        return Ok(false);
    }
    Post::to_client(kind, client.id, now).enqueue(ctx, tx, recipe, now).await?;
    Ok(true)
}
