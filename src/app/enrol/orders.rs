//! The therapist's commands about enrolment, card, mode, channel and transfer.

use serde_json::json;

use super::super::post::{Post, Recipe};
use super::super::sealed_letters::orders as sealed_letters;
use super::super::therapist::{Mail, Refused, Step};
use super::findings::seal_card;
use super::{Paper, accept, invite};
use crate::domain::commands::Command;
use crate::letters::{Outcome, RefusalReason};
use crate::model::{Channel, ClientState, Kind, Mode, TherapistId};
use crate::store::{Client, Tx};

/// Carries out one command about a client; None where it isn't one of these.
pub async fn carry_out(mail: &Mail<'_>, tx: &mut Tx, command: &Command, client: &Client) -> Step<Option<Outcome>> {
    let refused = |reason| Ok(Err(Refused::of(client, reason)));
    let not_now = || {
        let state = client.state;
        refused(RefusalReason::NotInState { command: command.name().to_owned(), state })
    };
    Ok(match command {
        Command::KeyAccept(words) => match accept::accept(mail, tx, client, words).await? {
            Ok(outcome) => Ok(Some(outcome)),
            Err(refused) => Err(refused),
        },
        Command::Rekey if !is_open(client.state) => return not_now(),
        Command::Rekey if client.channel == Channel::Pdf => return refused(RefusalReason::ChannelNeedsKey),
        // What would be asked for couldn't leave.
        Command::Rekey | Command::Card { ask: true } if client.care.muted => return refused(RefusalReason::Muted),
        Command::Rekey => Ok(Some(invite::rekey(mail, tx, client).await?)),
        Command::Card { ask: true } if !is_open(client.state) => return not_now(),
        Command::Card { ask: true } => {
            let post = Post::to_client(Kind::CardRequest, client.id, mail.now);
            post.enqueue(mail.ctx, tx, &Recipe::Enrol(Paper::CardRequest), mail.now).await?;
            tx.journal(mail.now, "card-asked", Some(&client.code), json!({})).await?;
            Ok(Some(Outcome::CardAsked))
        }
        Command::Card { ask: false } => Ok(Some(card(mail, tx, client).await?)),
        Command::Channel(channel) => sealed_letters::channel(mail, tx, client, *channel).await?.map(Some),
        Command::Passphrase => sealed_letters::passphrase(mail, tx, client).await?.map(Some),
        Command::Told => sealed_letters::told(mail, tx, client).await?.map(Some),
        Command::Mode(mode) => Ok(Some(self::mode(mail, tx, client, *mode).await?)),
        Command::Transfer(_) if !is_begun(client.state) => return not_now(),
        Command::Transfer(to) => transfer(mail, tx, client, to).await?.map(Some),
        _ => Ok(None),
    })
}

/// Between the frame and the end.
const fn is_open(state: ClientState) -> bool {
    is_begun(state) || matches!(state, ClientState::ConsentPending)
}

const fn is_begun(state: ClientState) -> bool {
    state.in_treatment() || matches!(state, ClientState::Paused | ClientState::Suspended)
}

/// `/card`: the card is sent; with a text: that is the card now.
async fn card(mail: &Mail<'_>, tx: &mut Tx, client: &Client) -> Result<Outcome, super::AppError> {
    if mail.parsed.words == 0 {
        Post::to_therapist(Kind::CardCopy, mail.from.therapist.id(), Some(client.id), mail.now)
            .enqueue(mail.ctx, tx, &Recipe::Enrol(Paper::CardCopy), mail.now)
            .await?;
        return Ok(Outcome::CardFollows);
    }
    let text = format!("{}\n", mail.parsed.text.as_str().trim());
    let sealed = seal_card(mail.ctx, &mail.from.therapist, &text, mail.now)
        .ok_or(super::super::compose::MailError::NoCertificate)?;
    tx.set_card(client.id, &sealed, mail.now).await?;
    tx.journal(mail.now, "card", Some(&client.code), json!({ "by": "therapist" })).await?;
    Ok(Outcome::CardKept)
}

async fn mode(mail: &Mail<'_>, tx: &mut Tx, client: &Client, mode: Mode) -> Result<Outcome, super::AppError> {
    tx.change_care(client.id, |care| care.mode = Some(mode)).await?;
    tx.journal(mail.now, "mode", Some(&client.code), json!({ "mode": mode })).await?;
    // That no service is near is recorded once.
    if mode == Mode::Pure && tx.notice_once(&format!("pure:{}", client.code), mail.now).await? {
        tx.journal(mail.now, "no-service-near", Some(&client.code), json!({})).await?;
    }
    Ok(Outcome::Mode { mode })
}

/// `/transfer ID`: the client is asked; nothing changes until they agree.
async fn transfer(mail: &Mail<'_>, tx: &mut Tx, client: &Client, to: &TherapistId) -> Step<Outcome> {
    let refused = |reason| Ok(Err(Refused::of(client, reason)));
    let other = mail.ctx.therapist(to).filter(|other| other.id() != mail.from.therapist.id());
    // Somebody whose key isn't known could read nothing.
    let Some(other) = other.filter(|other| other.certificate().is_some()) else {
        return refused(RefusalReason::UnknownTherapist);
    };
    let missing = invite::gaps(mail.ctx, &other);
    if !missing.is_empty() {
        return refused(RefusalReason::FrameIncomplete { missing });
    }
    if client.care.muted {
        return refused(RefusalReason::Muted);
    }
    tx.change_care(client.id, |care| care.transfer_to = Some(to.clone())).await?;
    let paper = Paper::TransferOffer { to: to.clone() };
    let post = Post::to_client(Kind::TransferOffer, client.id, mail.now);
    post.enqueue(mail.ctx, tx, &Recipe::Enrol(paper), mail.now).await?;
    tx.journal(mail.now, "transfer-offered", Some(&client.code), json!({ "to": to.0 })).await?;
    Ok(Ok(Outcome::TransferOffered { to: other.settings.name.clone() }))
}
