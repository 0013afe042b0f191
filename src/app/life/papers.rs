//! The letters of a client's life, written when they leave.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::calendar;
use crate::app::AppError;
use crate::app::compose::{WaitingAttachment, WaitingLetter};
use crate::app::context::Context;
use crate::letters::{self, Letter};
use crate::mime::OutPart;
use crate::model::Kind;
use crate::store::{Client, Message, Tx};

/// What a letter is made from; no words of anybody's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "paper", rename_all = "kebab-case")]
pub enum Paper {
    /// The therapist's own words about the treatment; the message has them.
    OwnWords,
    /// A meeting; `uid` names the calendar's entry.
    Video {
        at: DateTime<Utc>,
        url: Option<String>,
        uid: String,
    },
    CheckIn,
    Paused {
        by_client: bool,
    },
    Resumed,
    Stopped,
    Erasure,
    StateNotice {
        origin: Option<String>,
    },
    AfterDischarge {
        origin: Option<String>,
    },
    Guide {
        origin: Option<String>,
    },
    InternetPolicy {
        origin: Option<String>,
    },
}

/// A letter with its facts and what goes with it.
pub struct Filled {
    pub letter: Letter,
    /// The client's own mail that it answers.
    pub origin: Option<String>,
    pub parts: Vec<OutPart>,
}

/// Fills the facts of a letter; `None` when there is nothing to say any more.
///
/// # Errors
/// [`AppError`] of the database, or of words that can't be opened.
pub async fn fill(
    ctx: &Context,
    tx: &mut Tx,
    paper: Paper,
    client: &Client,
    message: Option<&Message>,
    now: DateTime<Utc>,
) -> Result<Option<Filled>, AppError> {
    let practice = ctx.config.practice.name.clone();
    let lines = ctx.lines_for(client);
    let Some(therapist) = ctx.therapist(&client.therapist) else {
        return Err(AppError::NoTherapist { therapist: client.therapist.clone() });
    };
    let fallback = therapist.settings.cadre.fallback.get(client.language).to_owned();
    let plain = |letter, origin| Ok(Some(Filled { letter, origin, parts: Vec::new() }));
    match paper {
        Paper::OwnWords | Paper::Video { .. } => {
            let Some(message) = message else { return Ok(None) };
            let Some((mut words, origin)) = own_words(ctx, tx, message, now).await? else { return Ok(None) };
            let attachments = std::mem::take(&mut words.attachments);
            let mut parts: Vec<OutPart> = attachments.into_iter().map(WaitingAttachment::part).collect();
            let text = words.text.trim_end().to_owned();
            let letter = if let Paper::Video { at, url, uid } = paper {
                parts.insert(0, calendar::part(at, &uid, client.language, now));
                let text = Some(text).filter(|text| !text.is_empty());
                Letter::Video(letters::Video { practice, at, url, text })
            } else {
                let facts = letters::OwnWords { practice, text, fallback, lines };
                match message.kind {
                    Kind::Declined => Letter::Declined(facts),
                    Kind::Suspended => Letter::Suspended(facts),
                    Kind::Ending => Letter::Ending(facts),
                    _ => Letter::Farewell(facts),
                }
            };
            Ok(Some(Filled { letter, origin, parts }))
        }
        Paper::CheckIn => {
            let last = tx.last_letter_at(client.id).await?;
            plain(Letter::CheckIn(letters::CheckIn { practice, last, lines }), None)
        }
        Paper::Paused { by_client } => plain(Letter::Paused(letters::Paused { practice, by_client, lines }), None),
        Paper::Resumed => {
            let next = ctx.schedule(&therapist, client).due(now, now).map(|slot| slot.at);
            plain(Letter::Resumed(letters::Resumed { practice, next, lines }), None)
        }
        Paper::Stopped => plain(Letter::Stopped(letters::Stopped { practice, lines }), None),
        Paper::Erasure => plain(Letter::Erasure(letters::Erasure { practice, at: now }), None),
        Paper::StateNotice { origin } => {
            let facts = letters::StateNotice {
                practice,
                state: client.state,
                by_client: client.care.own_pause,
                fallback,
                lines,
            };
            plain(Letter::StateNotice(facts), origin)
        }
        Paper::AfterDischarge { origin } => {
            plain(Letter::AfterDischarge(letters::AfterDischarge { practice, fallback, lines }), origin)
        }
        Paper::Guide { origin } => {
            let guide = letters::guide(client.language, client.channel).to_owned();
            plain(Letter::Guide(letters::Guide { practice, guide }), origin)
        }
        Paper::InternetPolicy { origin } => {
            let therapist = therapist.settings.name.clone();
            plain(Letter::InternetPolicy(letters::InternetPolicy { practice, therapist }), origin)
        }
    }
}

/// The therapist's words, opened for this moment, and the letter that they answer.
async fn own_words(
    ctx: &Context,
    tx: &mut Tx,
    message: &Message,
    now: DateTime<Utc>,
) -> Result<Option<(WaitingLetter, Option<String>)>, AppError> {
    let Some(sealed) = tx.blob(message.id).await? else { return Ok(None) };
    let letter = WaitingLetter::open(ctx, &sealed, now)?;
    let answered = match message.answers {
        Some(row) => tx.message(row).await?,
        None => None,
    };
    Ok(Some((letter, answered.and_then(|answered| answered.origin_id))))
}
