//! The frame as a letter, its wording's number, and the asking.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::super::AppError;
use super::super::compose;
use super::super::context::{Context, Therapist};
use super::super::locum;
use super::super::post::{Post, Recipe};
use super::{Paper, therapist_facts};
use crate::config::{Cadre, Texts};
use crate::letters::{Frame, Letter, Line, Lines, Reader, Received};
use crate::model::{Channel, Kind, Language, Mode};
use crate::store::{Client, Tx, Wording};

/// What is said of one client besides the elements.
pub struct Personal {
    pub received: Option<Received>,
    pub known: bool,
    pub mode: Option<Mode>,
    pub version: u32,
    pub locum: Option<String>,
    pub lines: Vec<Line>,
    pub channel: Channel,
}

/// Who runs the server, in words: as the configuration says, else the practice.
pub fn server(cadre: &Cadre, language: Language) -> &str {
    match (cadre.server.is_empty(), language) {
        (false, _) => cadre.server.get(language),
        (true, Language::Fr) => "le cabinet lui-même",
        (true, Language::En) => "the practice itself",
    }
}

/// How long records stay, in words: as the configuration says, else what is usual.
pub fn records(cadre: &Cadre, language: Language) -> &str {
    match (cadre.records.is_empty(), language) {
        (false, _) => cadre.records.get(language),
        (true, Language::Fr) => "cinq ans après la dernière lettre",
        (true, Language::En) => "five years after the last letter",
    }
}

/// The facts of the letter.
pub fn facts(ctx: &Context, therapist: &Therapist, language: Language, personal: Personal) -> Frame {
    let cadre = &therapist.settings.cadre;
    let text = |texts: &Texts| texts.get(language).to_owned();
    Frame {
        practice: ctx.config.practice.name.clone(),
        therapist: therapist_facts(therapist),
        received: personal.received,
        channel: text(&cadre.channel),
        price: text(&cadre.price),
        fallback: text(&cadre.fallback),
        colleague: (!cadre.colleague.is_empty()).then(|| text(&cadre.colleague)),
        server: server(cadre, language).to_owned(),
        records: records(cadre, language).to_owned(),
        locum: personal.locum,
        known: personal.known,
        mode: personal.mode,
        version: personal.version,
        lines: personal.lines,
        sealed_letters: personal.channel == Channel::Pdf,
    }
}

/// The present wording of a therapist's frame in a language: number and hash. The hash is over the elements and the
/// letter as it reads, without what differs from client to client or from month to month (what arrived, the lines,
/// who stands in).
///
/// # Errors
/// [`AppError`].
pub async fn wording(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &Therapist,
    (language, channel): (Language, Channel),
    now: DateTime<Utc>,
) -> Result<Wording, AppError> {
    let bare = Personal {
        received: None,
        known: false,
        mode: Some(Mode::Pure),
        version: 0,
        locum: None,
        lines: Lines::neutral(),
        channel,
    };
    let letter = Letter::Frame(facts(ctx, therapist, language, bare));
    let rendered =
        compose::render(ctx, &letter, Reader { language, by_words: false, zone: therapist.settings.timezone })?;
    let mut hash = Sha256::new();
    // Wordings that were counted before there were two channels keep their hash.
    let facts = serde_json::to_string(&letter).unwrap_or_default().replace(",\"sealed_letters\":false", "");
    for part in [&facts, &rendered.subject, &rendered.text] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let hash: [u8; 32] = hash.finalize().into();
    Ok(tx.wording(therapist.id(), language, channel, &hash, now).await?.0)
}

/// Whether a client has still to agree to the present wording, and which that is.
///
/// # Errors
/// [`AppError`].
pub async fn pending(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    now: DateTime<Utc>,
) -> Result<Option<Wording>, AppError> {
    let Some(therapist) = ctx.therapist(&client.therapist) else { return Ok(None) };
    let wording = wording(ctx, tx, &therapist, (client.language, client.channel), now).await?;
    if client.state == crate::model::ClientState::ConsentPending {
        return Ok(Some(wording));
    }
    Ok((!agreed(tx, client, &wording).await?).then_some(wording))
}

/// The number of the wording that a client was asked about and hasn't agreed to yet. Renders and counts nothing.
///
/// # Errors
/// [`AppError::Store`].
pub async fn awaited(tx: &mut Tx, client: &Client) -> Result<Option<u32>, AppError> {
    use crate::model::ClientState::{ConsentPending, Paused, Suspended};
    if !client.state.in_treatment() && !matches!(client.state, ConsentPending | Paused | Suspended) {
        return Ok(None);
    }
    let Some(wording) = tx.newest_wording(&client.therapist, client.language, client.channel).await? else {
        return Ok(None);
    };
    let open = client.state == ConsentPending || !agreed(tx, client, &wording).await?;
    let asked = open && !tx.frame_letters(client.id, &wording).await?.is_empty();
    Ok(asked.then_some(wording.number))
}

async fn agreed(tx: &mut Tx, client: &Client, wording: &Wording) -> Result<bool, AppError> {
    Ok(match tx.last_consent(client.id).await? {
        Some(consent) => {
            consent.wording.therapist == wording.therapist
                && consent.wording.language == wording.language
                && consent.wording.channel == wording.channel
                // The text itself: a number is only its name.
                && consent.wording.hash == wording.hash
        }
        // From before wordings were counted: the first is the one that was agreed to.
        None => client.consented_at.is_some() && wording.number == 1,
    })
}

/// Asks a client about the present wording: the frame of a first consent, or a renewal.
///
/// # Errors
/// [`AppError`].
pub async fn ask(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    kind: Kind,
    received: Option<Received>,
    origin: Option<String>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let Some(therapist) = ctx.therapist(&client.therapist) else {
        return Err(AppError::NoTherapist { therapist: client.therapist.clone() });
    };
    let wording = wording(ctx, tx, &therapist, (client.language, client.channel), now).await?;
    let paper = Paper::Frame { therapist: wording.therapist.clone(), number: wording.number, received, origin };
    let row = Post::to_client(kind, client.id, now).enqueue(ctx, tx, &Recipe::Enrol(paper), now).await?;
    tx.add_frame_letter(row, client.id, &wording, now).await?;
    Ok(())
}

/// Who stands in for a therapist: asked about in the frame.
pub fn locum(ctx: &Context, therapist: &Therapist, now: DateTime<Utc>) -> Option<String> {
    locum::stands_in(ctx, therapist.id(), now).map(|locum| locum.settings.name.clone())
}
