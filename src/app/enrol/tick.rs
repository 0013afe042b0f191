//! What the clock brings about: the reminder, the end of waiting, a frame that has changed.

use chrono::{DateTime, TimeDelta, Utc};

use super::super::AppError;
use super::super::context::Context;
use super::super::health;
use super::super::life;
use super::super::post::{Post, Recipe};
use super::frame::{pending, wording};
use super::{Paper, answer, ask_frame, tell};
use crate::domain::enrolment::{Due, FORGET_AFTER, due};
use crate::domain::lifecycle::{Actor, Event};
use crate::letters::EnrolmentStep;
use crate::model::{Channel, ClientState, Kind, Language};
use crate::store::{Client, Enrolment, StoreError, Tx};

/// How long an enquiry that came to nothing is remembered; looked at once a day, and never kept for over 12 months.
const DECLINED_FOR: TimeDelta = TimeDelta::days(364);

/// Reminds and forgets, at every tick.
///
/// # Errors
/// [`AppError`]: it is tried again at the next tick.
pub async fn tick(ctx: &Context, now: DateTime<Utc>) -> Result<(), AppError> {
    let waiting = ctx.store.read().await?.enrolments().await?;
    for asked in waiting.into_iter().filter(|asked| !asked.rekey) {
        if due(asked.invited_at, asked.reminded_at.is_some(), None, now) == Due::Nothing {
            continue;
        }
        let mut tx = ctx.store.begin().await?;
        match tx.client(asked.client).await {
            Ok(Some(client)) => one(ctx, &mut tx, &client, &asked, now).await?,
            Ok(None) => {}
            Err(StoreError::Tampered { code }) => health::alarm_record(ctx, &mut tx, &code, now).await?,
            Err(error) => return Err(error.into()),
        }
        tx.commit().await?;
    }
    let untold = ctx.store.read().await?.untold_offers().await?;
    for id in untold {
        let mut tx = ctx.store.begin().await?;
        // A record that was changed is alarmed where the keys are looked at.
        match tx.client(id).await {
            Ok(Some(client)) => answer::tell_rest(ctx, &mut tx, &client, now).await?,
            Ok(None) | Err(StoreError::Tampered { .. }) => continue,
            Err(error) => return Err(error.into()),
        }
        tx.commit().await?;
    }
    Ok(())
}

async fn one(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    asked: &Enrolment,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    if client.state != ClientState::Invited {
        return Ok(tx.end_enrolment(client.id).await?);
    }
    let newest_key = tx.offers(client.id).await?.iter().map(|offer| offer.at).max();
    match due(asked.invited_at, asked.reminded_at.is_some(), newest_key, now) {
        Due::Nothing => Ok(()),
        Due::Remind => {
            tx.set_enrolment(&Enrolment { reminded_at: Some(now), ..*asked }).await?;
            let paper = Paper::InvitationReminder { until: asked.invited_at + FORGET_AFTER };
            let post = Post::to_client(Kind::InvitationReminder, client.id, now);
            post.enqueue(ctx, tx, &Recipe::Enrol(paper), now).await?;
            tell(ctx, tx, client, EnrolmentStep::Reminded, now).await
        }
        Due::Forget => {
            if life::change(ctx, tx, client, Event::Forget, Actor::Clock, now).await?.is_ok() {
                tx.forget_client(client.id, now).await?;
                tell(ctx, tx, client, EnrolmentStep::Forgotten, now).await?;
            }
            Ok(())
        }
    }
}

/// Once a day: forgets with whom it came to nothing a year ago. Somebody who had agreed to the frame was told how long
/// records are kept, and isn't forgotten here.
///
/// # Errors
/// [`AppError`].
pub async fn forget_declined(ctx: &Context, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), AppError> {
    for client in &tx.clients_in(ClientState::Declined).await?.sound {
        let since = client.care.since.unwrap_or(client.created_at);
        if now - since < DECLINED_FOR || client.consented_at.is_some() {
            continue;
        }
        if life::change(ctx, tx, client, Event::Forget, Actor::Clock, now).await?.is_ok() {
            tx.forget_client(client.id, now).await?;
        }
    }
    Ok(())
}

/// Once a day: counts each wording of the frame from its first day on, so that a change is one.
///
/// # Errors
/// [`AppError`].
pub async fn count_wordings(ctx: &Context, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), AppError> {
    for therapist in ctx.therapists().iter() {
        for &language in Language::ALL {
            for &channel in Channel::ALL {
                wording(ctx, tx, therapist, (language, channel), now).await?;
            }
        }
    }
    Ok(())
}

/// Once a day: asks somebody in treatment about a frame that has changed since they agreed, once for each wording.
///
/// # Errors
/// [`AppError`].
pub async fn renew(ctx: &Context, tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<(), AppError> {
    let kind = match client.state {
        ClientState::ConsentPending => Kind::Frame,
        state if state.in_treatment() => Kind::ConsentRenewal,
        _ => return Ok(()),
    };
    // Without a key or a passphrase there is nothing to seal with; asked once there is.
    let sealable = match client.channel {
        Channel::OpenPgp => client.certificate.is_some(),
        Channel::Pdf => tx.pdf_channel(client.id).await?.is_some_and(|channel| channel.told_at.is_some()),
    };
    if client.care.muted || !sealable {
        return Ok(());
    }
    let Some(wording) = pending(ctx, tx, client, now).await? else { return Ok(()) };
    if tx.frame_letters(client.id, &wording).await?.is_empty() {
        ask_frame(ctx, tx, client, kind, None, None, now).await?;
    }
    Ok(())
}
