//! Strangers: a first letter becomes a request, and gets one neutral answer (SPEC section 3).

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::AppError;
use super::context::Context;
use super::crisis::{self, Place};
use super::enrol;
use super::intake::{Outcome, REQUEST_DAYS, keep, message};
use super::post::{Post, Recipe};
use super::prepare::{Arrived, Sealed};
use crate::domain::rhythm::next_digest;
use crate::model::{Address, ClientId, Kind, Mark, MessageState, Scanned, StrangersPolicy};
use crate::store::{Disposal, Message, Tx};

/// How many letters with words of danger a stranger can have passed on in a day, beyond the first.
const PRESSING_A_DAY: u64 = 10;

/// A stranger's first letter is a request; later ones are kept among the others, but for those that can't wait.
/// Such a one is a request of its own.
///
/// # Errors
/// [`AppError`].
pub(super) async fn request(
    ctx: &Context,
    tx: &mut Tx,
    arrived: &Arrived,
    sealed: &Sealed,
    now: DateTime<Utc>,
) -> Result<(Outcome, Option<Disposal>), AppError> {
    let Some(sender) = &sealed.sender else { return Ok((Outcome::SetAside, Some(Disposal::Others))) };
    let day_ago = now - TimeDelta::days(1);
    let danger = matches!(sealed.scan.word(), Some(Scanned::A | Scanned::V));
    let further = tx.count_from(sender, now - TimeDelta::days(REQUEST_DAYS)).await? > 0;
    if further && !(danger && tx.count_from(sender, day_ago).await? <= PRESSING_A_DAY) {
        tx.journal(now, "others", None, json!({ "why": "a stranger's further letter" })).await?;
        let number = tx.request_of(sender).await?;
        crisis::raise(ctx, tx, sealed, Place { number, ..Place::default() }, now).await?;
        return Ok((Outcome::SetAside, Some(Disposal::Others)));
    }
    let row = message(sealed, Kind::Request, MessageState::Filed);
    keep(tx, &row, sealed).await?;
    let passed_on = danger || tx.count_for_therapist(Kind::Request, sealed.therapist.id(), day_ago).await? < 10;
    let place = Place { number: sealed.request_code.clone(), passed_on, ..Place::default() };
    crisis::raise(ctx, tx, sealed, place, now).await?;
    if passed_on {
        request_forward(ctx, tx, sealed, &row, danger, now).await?;
    }
    // What the mailbox's own server calls forged is not answered: the address is somebody else's.
    if !further && !sealed.marks.contains(&Mark::DmarcFail) {
        answer_stranger(ctx, tx, sender, sealed.origin.message_id.clone(), &sealed.answers, now).await?;
    }
    let detail = json!({ "number": sealed.request_code, "verdict": sealed.verdict, "junk": arrived.junk });
    tx.journal(now, "requested", None, detail).await?;
    Ok((Outcome::Requested, Some(Disposal::Remove)))
}

/// With the digest that lists it, ten a day.
async fn request_forward(
    ctx: &Context,
    tx: &mut Tx,
    sealed: &Sealed,
    row: &Message,
    at_once: bool,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let digest = next_digest(&sealed.therapist.digest, now).filter(|_| !at_once);
    let slot = digest.map_or(now, |slot| slot.at + TimeDelta::milliseconds(2));
    let mut post = Post::to_therapist(Kind::Request, sealed.therapist.id(), None, slot);
    post.message = Some(row.id);
    post.mail_id = row.message_id.clone();
    post.enqueue(ctx, tx, &Recipe::Forward, now).await?;
    Ok(())
}

/// One neutral answer a day to a stranger, under a ceiling for all of them.
///
/// # Errors
/// [`AppError`].
pub(super) async fn answer_stranger(
    ctx: &Context,
    tx: &mut Tx,
    to: &Address,
    origin: Option<String>,
    answers: &[String],
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    if ctx.config.intake.strangers == StrangersPolicy::Silent {
        return Ok(());
    }
    let hour_ago = now - TimeDelta::hours(1);
    if tx.count_to_strangers(hour_ago).await? >= u64::from(ctx.config.intake.limits.strangers_an_hour) {
        return Ok(());
    }
    let hash = ctx.store.vault().address(to);
    let key = format!("stranger:{}", data_encoding::HEXLOWER.encode(&hash));
    if !tx.notice_since(&key, now, now - TimeDelta::days(1)).await? {
        return Ok(());
    }
    if enrol::answer::from_elsewhere(ctx, tx, to, answers, origin.clone(), now).await? {
        return Ok(());
    }
    let mut post = Post::to_client(Kind::Stranger, ClientId(0), now);
    post.client = None;
    post.recipient = Some(to.clone());
    post.enqueue(ctx, tx, &Recipe::Stranger { origin }, now).await?;
    Ok(())
}
