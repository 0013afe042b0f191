//! `/channel`, `/passphrase`, `/told`.

use serde_json::json;

use super::super::enrol::{self, frame, invite};
use super::super::life;
use super::super::reply;
use super::super::therapist::{Mail, Refused, Step};
use super::make;
use crate::domain::lifecycle::{Actor, Event};
use crate::letters::{Outcome, RefusalReason};
use crate::model::{Channel, ClientState, Kind};
use crate::pgp::Purpose;
use crate::store::{Client, Tx};

/// `/channel pdf`: a passphrase is made; the channel changes when it was told. `/channel openpgp`: back, where a key is
/// pinned.
pub async fn channel(mail: &Mail<'_>, tx: &mut Tx, client: &Client, channel: Channel) -> Step<Outcome> {
    let refused = |reason| Ok(Err(Refused::of(client, reason)));
    if !is_open(client.state) {
        return refused(RefusalReason::NotInState { command: "/channel".to_owned(), state: client.state });
    }
    match (channel, client.channel) {
        (Channel::Pdf, Channel::Pdf) => Ok(Ok(Outcome::Channel { channel })),
        (Channel::Pdf, Channel::OpenPgp) => {
            let phrase = make(tx, client, mail.now).await?;
            Ok(Ok(Outcome::Passphrase { passphrase: phrase.reveal().to_owned(), first: true }))
        }
        (Channel::OpenPgp, Channel::OpenPgp) => {
            // What was to be told needn't be any more.
            tx.drop_pdf_channel(client.id).await?;
            Ok(Ok(Outcome::Channel { channel }))
        }
        (Channel::OpenPgp, Channel::Pdf) => {
            let usable = mail.ctx.client_certificate(client).is_some_and(|certificate| {
                [Purpose::Encrypt, Purpose::Sign].iter().all(|what| certificate.usable_for(*what, mail.now).is_ok())
            });
            if !usable {
                return refused(RefusalReason::ChannelNeedsKey);
            }
            enrol::accept::to_openpgp(mail.ctx, tx, client, mail.now).await?;
            Ok(Ok(Outcome::Channel { channel }))
        }
    }
}

/// `/passphrase`: a new one. Nothing sealed leaves until it was told.
pub async fn passphrase(mail: &Mail<'_>, tx: &mut Tx, client: &Client) -> Step<Outcome> {
    let before = tx.pdf_channel(client.id).await?;
    if client.channel != Channel::Pdf && before.is_none() {
        let command = "/passphrase".to_owned();
        return Ok(Err(Refused::of(client, RefusalReason::NotSealedLetters { command })));
    }
    let phrase = make(tx, client, mail.now).await?;
    Ok(Ok(Outcome::Passphrase { passphrase: phrase.reveal().to_owned(), first: before.is_none() }))
}

/// `/told`: the passphrase was told by voice. Letters leave; somebody who was invited is asked about the frame.
pub async fn told(mail: &Mail<'_>, tx: &mut Tx, client: &Client) -> Step<Outcome> {
    let (ctx, now) = (mail.ctx, mail.now);
    let refused = |reason| Ok(Err(Refused::of(client, reason)));
    let Some(mut channel) = tx.pdf_channel(client.id).await?.filter(|channel| channel.told_at.is_none()) else {
        return refused(RefusalReason::NothingToTell);
    };
    let asks = matches!(client.state, ClientState::Invited | ClientState::ConsentPending);
    if asks && client.care.muted {
        return refused(RefusalReason::Muted);
    }
    let missing = invite::gaps(ctx, &mail.from.therapist);
    if asks && !missing.is_empty() {
        return refused(RefusalReason::FrameIncomplete { missing });
    }
    channel.told_at = Some(now);
    tx.set_pdf_channel(client.id, &channel).await?;
    tx.set_channel(client.id, Channel::Pdf).await?;
    tx.journal(now, "passphrase-told", Some(&client.code), json!({})).await?;
    let switched = client.channel != Channel::Pdf;
    let Some(client) = tx.client(client.id).await? else { return refused(RefusalReason::NothingToTell) };
    let mut asked = false;
    if client.state == ClientState::Invited {
        tx.end_enrolment(client.id).await?;
        let received = tx.last_letter_at(client.id).await?;
        asked = life::change(ctx, tx, &client, Event::Ask, Actor::Therapist, now).await?.is_ok();
        if asked {
            let received = received.map(|at| crate::letters::Received { at, signed: false, encrypted: false });
            enrol::ask_frame(ctx, tx, &client, Kind::Frame, received, None, now).await?;
        }
    } else if client.state == ClientState::ConsentPending {
        // A letter about the frame that waited for the passphrase leaves now.
        asked = switched || frame::awaited(tx, &client).await?.is_none();
        if asked {
            enrol::ask_frame(ctx, tx, &client, Kind::Frame, None, None, now).await?;
        }
    } else if switched && frame::pending(ctx, tx, &client, now).await?.is_some() {
        enrol::ask_frame(ctx, tx, &client, Kind::ConsentRenewal, None, None, now).await?;
        asked = true;
    }
    reply::wake(tx, &client, now).await?;
    tx.wake_outbox(client.id, now).await?;
    Ok(Ok(Outcome::Told { asked }))
}

/// Between the invitation and the end.
const fn is_open(state: ClientState) -> bool {
    state.in_treatment()
        || matches!(
            state,
            ClientState::Invited | ClientState::ConsentPending | ClientState::Paused | ClientState::Suspended
        )
}
