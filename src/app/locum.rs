//! Who stands in for an absent therapist: they get what clients who agreed have written and nobody has answered, and
//! what arrives in the absence; nothing before, nothing after, and nobody else's (SPEC section 5).
//!
//! Such a letter is sealed to the locum too when it is filed, since nobody here can open it later. The copy is
//! ciphertext, and destroyed when it was handed over, when the letter is answered, or when the absence ends.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::AppError;
use super::absence::{is_told, nearest, running, slot_after};
use super::context::{Context, Therapist};
use super::post::{self, Post, Recipe};
use super::prepare::Sealed;
use super::therapist::Mail;
use crate::domain::commands::Command;
use crate::letters::{self, EnrolmentStep, Letter, TherapistFacts};
use crate::mime;
use crate::model::{AbsenceRow, ClientState, Kind, MessageRow, TherapistId};
use crate::store::{Absence, Client, Tx};

/// The letters of an absence, made when they leave: what has changed meanwhile is said, or nothing.
#[derive(Serialize, Deserialize)]
#[serde(tag = "paper", rename_all = "kebab-case")]
pub enum Paper {
    Planned {
        absence: AbsenceRow,
    },
    Start {
        absence: AbsenceRow,
    },
    Unplanned {
        absence: AbsenceRow,
    },
    Return {
        absence: AbsenceRow,
    },
    Locum {
        absence: AbsenceRow,
    },
    /// To the locum: whom they stand in for.
    Cover {
        absence: AbsenceRow,
    },
    /// To the locum: one letter, as it was sealed to them.
    Copy,
}

/// Who stands in for a client's therapist now: in an absence, and where the client agreed.
///
/// # Errors
/// [`AppError::Store`].
pub async fn locum_now(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    now: DateTime<Utc>,
) -> Result<Option<Arc<Therapist>>, AppError> {
    let Some(locum) = present_locum(ctx, client, now) else { return Ok(None) };
    // What this transaction or another process has just ended counts for nobody.
    let absence = ctx.therapist(&client.therapist).and_then(|absent| running(ctx, &absent, now));
    let stands = match absence {
        Some(absence) => tx.absence(absence.id).await?.is_some_and(|known| known.is_live()),
        None => false,
    };
    Ok(stands.then_some(locum))
}

fn present_locum(ctx: &Context, client: &Client, now: DateTime<Utc>) -> Option<Arc<Therapist>> {
    client.care.locum_consent?;
    let absent = ctx.therapist(&client.therapist)?;
    let locum = ctx.therapist(running(ctx, &absent, now)?.locum.as_ref()?)?;
    // Two who are away at once stand in for nobody.
    running(ctx, &locum, now).is_none().then_some(locum)
}

/// Who would stand in for a client's therapist: in the absence that runs or comes next, else by the configuration.
/// Only where the client agreed.
///
/// # Errors
/// [`AppError::Store`].
pub async fn locum_for(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    now: DateTime<Utc>,
) -> Result<Option<Arc<Therapist>>, AppError> {
    // Read again: the client may have agreed in this very transaction.
    let Some(client) = tx.client(client.id).await? else { return Ok(None) };
    Ok(client.care.locum_consent.and_then(|_| stands_in(ctx, &client.therapist, now)))
}

/// Who would stand in for a therapist, whoever agreed: the absence that runs or comes next decides, else the
/// configuration. The letter about the frame names them.
pub fn stands_in(ctx: &Context, therapist: &TherapistId, now: DateTime<Utc>) -> Option<Arc<Therapist>> {
    let therapist = ctx.therapist(therapist)?;
    let id = match nearest(ctx, &therapist, now) {
        Some(absence) => absence.locum,
        None => therapist.settings.locum.clone(),
    };
    ctx.therapist(&id?).filter(|locum| locum.id() != therapist.id())
}

/// To whom a letter is sealed besides, while it is prepared.
pub(super) fn copy_reader(ctx: &Context, client: Option<&Client>, now: DateTime<Utc>) -> Option<Arc<Therapist>> {
    let client = client?;
    client.care.locum_consent.and_then(|_| stands_in(ctx, &client.therapist, now))
}

/// Whether a therapist may answer a client of somebody else's now.
///
/// # Errors
/// [`AppError::Store`].
pub async fn may_answer(
    ctx: &Context,
    tx: &mut Tx,
    locum: &TherapistId,
    client: &Client,
    now: DateTime<Utc>,
) -> Result<bool, AppError> {
    Ok(locum_now(ctx, tx, client, now).await?.is_some_and(|present| present.id() == locum))
}

/// A client as a therapist may see them: the label is the own therapist's words.
pub(super) fn as_seen_by(therapist: &TherapistId, client: Client) -> Client {
    let label = if client.therapist == *therapist { client.label } else { None };
    Client { label, ..client }
}

impl Mail<'_> {
    /// Their own clients, and in an absence those whom they stand in for.
    pub(super) async fn may_write_to(&self, tx: &mut Tx, client: &Client) -> Result<bool, AppError> {
        let own = self.from.therapist.id();
        Ok(client.therapist == *own || may_answer(self.ctx, tx, own, client, self.now).await?)
    }

    /// Whether they stand in for this client's therapist.
    pub(super) fn is_locum_of(&self, client: &Client) -> bool {
        client.therapist != *self.from.therapist.id()
    }

    /// A client as this therapist may see them: the label is the own therapist's words.
    pub(super) fn as_seen(&self, client: Client) -> Client {
        as_seen_by(self.from.therapist.id(), client)
    }

    /// What a locum may do about a client: answer, once or at once, or close. Nothing that decides about the treatment,
    /// and nothing with what the therapist has left waiting.
    pub(super) fn allows(&self, client: &Client, command: &Command) -> bool {
        let has_letter = self.parsed.words > 0 || !self.passing_attachments().is_empty();
        !self.is_locum_of(client)
            || match command {
                Command::To(_) | Command::Help | Command::Digest | Command::Now | Command::Close { .. } => true,
                Command::Urgent => has_letter,
                _ => false,
            }
    }
}

/// Keeps the copy of a letter that was just filed, and hands it over in an absence. `unanswered`: it is in a turn.
///
/// # Errors
/// [`AppError`].
pub(super) async fn file(
    ctx: &Context,
    tx: &mut Tx,
    sealed: &Sealed,
    unanswered: bool,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let (Some((locum, ciphertext)), Some(known)) = (&sealed.locum_copy, &sealed.client) else { return Ok(()) };
    // What was agreed, and who stands in, may have changed while it was being read.
    let Some(client) = &tx.client(known.id).await? else { return Ok(()) };
    let expected = locum_for(ctx, tx, client, now).await?.is_some_and(|expected| expected.id() == locum);
    let present = locum_now(ctx, tx, client, now).await?.is_some();
    if !expected || !(unanswered || present) {
        return Ok(());
    }
    tx.put_locum_copy(sealed.row, locum, ciphertext).await?;
    if present {
        hand_over(ctx, tx, client, sealed.row, locum, now).await?;
    }
    Ok(())
}

async fn hand_over(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    message: MessageRow,
    locum: &TherapistId,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let mut post = Post::to_therapist(Kind::LocumForward, locum, Some(client.id), now);
    post.message = Some(message);
    post.mail_id = Some(copy_id(ctx, message));
    post.enqueue(ctx, tx, &Recipe::Absence(Paper::Copy), now).await?;
    tx.journal(now, "handed-to-locum", Some(&client.code), json!({ "locum": locum.0 })).await?;
    Ok(())
}

/// The Message-ID of a locum's copy: another than that of the therapist's.
pub(super) fn copy_id(ctx: &Context, row: MessageRow) -> String {
    let hash = ctx.store.vault().message_id(&format!("locum's copy of {}", row.0));
    mime::new_message_id(hash, ctx.config.practice.address.domain())
}

/// The start of an absence: the locum is told whom they stand in for, and gets what is unanswered.
///
/// # Errors
/// [`AppError`].
pub(super) async fn begin(
    ctx: &Context,
    tx: &mut Tx,
    absence: &Absence,
    locum: &Therapist,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    tx.destroy_answered_copies().await?;
    Post::to_therapist(Kind::LocumCover, locum.id(), None, now)
        .enqueue(ctx, tx, &Recipe::Absence(Paper::Cover { absence: absence.id }), now)
        .await?;
    for client in covered(tx, &absence.therapist).await? {
        for message in tx.locum_copies(client.id, locum.id()).await? {
            let queued = tx.outbox_of_message(message).await?.iter().any(|row| row.kind == Kind::LocumForward);
            if !queued {
                hand_over(ctx, tx, &client, message, locum.id(), now).await?;
            }
        }
    }
    Ok(())
}

/// The clients who agreed, and whose letters come to the therapist.
async fn covered(tx: &mut Tx, therapist: &TherapistId) -> Result<Vec<Client>, AppError> {
    let agreed = |client: &Client| client.care.locum_consent.is_some() && is_told(client);
    Ok(tx.clients_of(therapist).await?.sound.into_iter().filter(agreed).collect())
}

/// `J'ACCEPTE LE REMPLACEMENT` in verified mail: from now on this client's unanswered letters are sealed to a locum
/// too. Letters that were filed before can be opened by nobody here, and stay with the therapist alone. `true`: the
/// client is told at once who reads.
///
/// # Errors
/// [`AppError`].
pub async fn agree(ctx: &Context, tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<bool, AppError> {
    if client.care.locum_consent.is_some() {
        return Ok(false);
    }
    tx.change_care(client.id, |care| care.locum_consent = Some(now)).await?;
    tx.journal(now, "locum-agreed", Some(&client.code), json!({})).await?;
    let Some(therapist) = ctx.therapist(&client.therapist) else { return Ok(false) };
    let facts = letters::Enrolment {
        code: client.code.clone(),
        label: client.label.clone(),
        state: client.state,
        step: EnrolmentStep::LocumAgreed { agreed: true },
    };
    let letter = Letter::Enrolment(facts);
    post::to_therapist_sealed(ctx, tx, &therapist, Some(client), Kind::Enrolment, &letter, now, None).await?;
    // In an absence the client learns at once who reads.
    let agreed = tx.client(client.id).await?;
    if let (Some(agreed), Some(absence)) = (agreed, running(ctx, &therapist, now))
        && is_told(&agreed)
        && locum_now(ctx, tx, &agreed, now).await?.is_some()
    {
        Post::to_client(Kind::Locum, agreed.id, now)
            .enqueue(ctx, tx, &Recipe::Absence(Paper::Locum { absence: absence.id }), now)
            .await?;
        return Ok(true);
    }
    Ok(false)
}

/// `REMPLACEMENT NON` in verified mail: nobody but the therapist reads this client's letters any more. The therapist
/// is told.
///
/// # Errors
/// [`AppError`].
pub async fn withdraw(ctx: &Context, tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<(), AppError> {
    if client.care.locum_consent.is_none() {
        return Ok(());
    }
    tx.change_care(client.id, |care| care.locum_consent = None).await?;
    let copies = destroy_copies(tx, client, now).await?;
    tx.journal(now, "locum-withdrawn", Some(&client.code), json!({ "copies": copies })).await?;
    let Some(therapist) = ctx.therapist(&client.therapist) else { return Ok(()) };
    let facts = letters::Enrolment {
        code: client.code.clone(),
        label: client.label.clone(),
        state: client.state,
        step: EnrolmentStep::LocumAgreed { agreed: false },
    };
    let letter = Letter::Enrolment(facts);
    post::to_therapist_sealed(ctx, tx, &therapist, Some(client), Kind::Enrolment, &letter, now, None).await
}

/// Destroys the copies of a client's letters, and takes back those that wait to be handed over.
///
/// # Errors
/// [`AppError::Store`].
pub async fn destroy_copies(tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<usize, AppError> {
    let letters = tx.destroy_copies_from(client.id).await?;
    for letter in &letters {
        for row in tx.outbox_of_message(*letter).await? {
            if row.kind == Kind::LocumForward && row.finished_at.is_none() {
                tx.cancel(row.id, now).await?;
            }
        }
    }
    Ok(letters.len())
}

/// A letter of an absence to a client; None where there is nothing to say any more.
///
/// # Errors
/// [`AppError::Store`].
pub(super) async fn letter_to_client(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    paper: &Paper,
    now: DateTime<Utc>,
) -> Result<Option<Letter>, AppError> {
    let (Paper::Planned { absence }
    | Paper::Start { absence }
    | Paper::Unplanned { absence }
    | Paper::Return { absence }
    | Paper::Locum { absence }) = paper
    else {
        return Ok(None);
    };
    let Some(absence) = tx.absence(*absence).await? else { return Ok(None) };
    let Some(therapist) = ctx.therapist(&absence.therapist) else { return Ok(None) };
    let today = therapist.schedule.local_day(now);
    let is_return = matches!(paper, Paper::Return { .. });
    if absence.is_live() == is_return || client.therapist != absence.therapist || !is_told(client) {
        return Ok(None);
    }
    let over = absence.days().is_over(today);
    if over && !is_return {
        return Ok(None);
    }
    Ok(write(ctx, client, paper, &absence, &therapist, now))
}

fn write(
    ctx: &Context,
    client: &Client,
    paper: &Paper,
    absence: &Absence,
    therapist: &Therapist,
    now: DateTime<Utc>,
) -> Option<Letter> {
    let practice = ctx.config.practice.name.clone();
    let name = therapist.settings.name.clone();
    let lines = ctx.lines_for(client);
    let text = |text: &crate::config::Texts| text.get(client.language).to_owned();
    let cadre = &therapist.settings.cadre;
    let locum = absence.locum.as_ref().and_then(|locum| ctx.therapist(locum));
    let (from, until) = (absence.first_day, absence.last_day);
    // In a pause no reply is owed, and none is announced.
    let paused = client.state == ClientState::Paused;
    Some(match paper {
        Paper::Planned { .. } | Paper::Start { .. } => {
            let facts = letters::AbsencePlanned {
                practice,
                therapist: name,
                from,
                until: until?,
                next: slot_after(ctx, absence, client).filter(|_| !paused),
                locum: locum.map(|locum| locum.settings.name.clone()),
                locum_agreed: client.care.locum_consent.is_some(),
                fallback: text(&cadre.fallback),
                lines,
            };
            if matches!(paper, Paper::Start { .. }) {
                Letter::AbsenceStart(facts)
            } else {
                Letter::AbsencePlanned(facts)
            }
        }
        Paper::Unplanned { .. } => Letter::AbsenceUnplanned(letters::AbsenceUnplanned {
            practice,
            therapist: name,
            until,
            colleague: Some(text(&cadre.colleague)).filter(|colleague| !colleague.is_empty()),
            fallback: text(&cadre.fallback),
            lines,
        }),
        Paper::Return { .. } => Letter::AbsenceReturn(letters::AbsenceReturn {
            practice,
            therapist: name,
            cancelled: until.is_some_and(|last| last < from),
            next: ctx.schedule(therapist, client).next_slot(now).map(|slot| slot.at).filter(|_| !paused),
            paused,
            lines,
        }),
        Paper::Locum { .. } => {
            client.care.locum_consent?;
            let settings = &locum?.settings;
            let locum = TherapistFacts {
                name: settings.name.clone(),
                title: settings.title.clone(),
                register: settings.register.clone(),
                country: settings.country.clone(),
            };
            Letter::Locum(letters::Locum { practice, therapist: name, locum, from, until, lines })
        }
        Paper::Cover { .. } | Paper::Copy => return None,
    })
}

/// To the locum: whom they stand in for; None once the absence is over.
///
/// # Errors
/// [`AppError::Store`].
pub(super) async fn cover(ctx: &Context, tx: &mut Tx, absence: AbsenceRow) -> Result<Option<Letter>, AppError> {
    let Some(absence) = tx.absence(absence).await?.filter(Absence::is_live) else { return Ok(None) };
    let Some(therapist) = ctx.therapist(&absence.therapist) else { return Ok(None) };
    let clients = covered(tx, &absence.therapist).await?.into_iter().map(|client| client.code).collect();
    Ok(Some(Letter::LocumCover(letters::LocumCover {
        absent: therapist.settings.name.clone(),
        from: absence.first_day,
        until: absence.last_day,
        clients,
    })))
}

/// The acknowledgement of a letter that arrived in an absence; None where there was none.
pub(super) fn acknowledgement(
    ctx: &Context,
    client: &Client,
    arrived: DateTime<Utc>,
    expected: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<Letter> {
    let therapist = ctx.therapist(&client.therapist)?;
    let absence = running(ctx, &therapist, now)?;
    Some(Letter::AcknowledgementAbsence(letters::AcknowledgementAbsence {
        practice: ctx.config.practice.name.clone(),
        arrived,
        until: absence.last_day,
        expected,
        locum: present_locum(ctx, client, now).map(|locum| locum.settings.name.clone()),
        lines: ctx.lines_for(client),
    }))
}

/// The next slot of a client's own rhythm: what is expected where nothing else is known.
pub(super) fn next_slot(ctx: &Context, client: &Client, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let therapist = ctx.therapist(&client.therapist)?;
    ctx.schedule(&therapist, client).next_slot(now).map(|slot| slot.at)
}
