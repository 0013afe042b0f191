//! Answers to an invitation, and keys that come later. Nobody has proven to be their writer: what they bring is
//! offered, shown, compared by two people, and only then pinned.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::super::AppError;
use super::super::context::Context;
use super::super::life;
use super::super::post::{Post, Recipe};
use super::super::prepare::Sealed;
use super::super::sealed_letters;
use super::findings::{Findings, Offered};
use super::{Paper, tell};
use crate::domain::code_words;
use crate::domain::enrolment::{self, OFFERS, OFFERS_TOLD, PROBLEMS, Room, Waiting};
use crate::domain::lifecycle::{Actor, Event};
use crate::letters::{EnrolmentStep, KeyProblem, Received};
use crate::model::{Address, ClientId, ClientState, Kind};
use crate::pgp::OfferProblem;
use crate::store::{Client, Enrolment, KeyOffer, Tx};

/// As the letters say it.
const fn problem_of(problem: OfferProblem) -> KeyProblem {
    match problem {
        OfferProblem::NoKey => KeyProblem::NoKey,
        OfferProblem::SeveralKeys => KeyProblem::SeveralKeys,
        OfferProblem::Expired => KeyProblem::Expired,
        OfferProblem::Revoked => KeyProblem::Revoked,
        OfferProblem::TooWeak => KeyProblem::TooWeak,
        OfferProblem::NoEncryption => KeyProblem::NoEncryption,
        OfferProblem::NoSigning => KeyProblem::NoSigning,
        OfferProblem::Unreadable => KeyProblem::Unreadable,
    }
}

/// A mail from the registered address whose writer isn't proven.
pub async fn arrived(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    sealed: &Sealed,
    found: &Findings,
    now: DateTime<Utc>,
) -> Result<bool, AppError> {
    use ClientState::{Active, Assessment, ConsentPending, Ending, Invited, Paused, Suspended};
    if !matches!(client.state, Invited | ConsentPending | Assessment | Active | Ending | Paused | Suspended) {
        return Ok(false);
    }
    let asked = tx.enrolment(client.id).await?;
    match &found.key {
        Ok(key) if Some(&key.certificate.fingerprint) == client.fingerprint.as_ref() => Ok(false),
        Ok(key) => {
            offer(ctx, tx, client, sealed, found, key, false, now).await?;
            Ok(true)
        }
        Err(OfferProblem::NoKey) if client.state == Invited && found.refuses => {
            // Anybody can write under an address; the ids of our letters are known to who has them. A refusal that answers
            // none is passed on with its mark, and a person decides.
            let since = asked.map(|asked| asked.invited_at);
            if answers(tx, client.id, since, &found.answers, may_be_refused).await? {
                refuse(ctx, tx, client, sealed.origin.message_id.clone(), now).await?;
            }
            Ok(true)
        }
        Err(problem) => {
            // Of somebody in treatment only an answer to the asking is one.
            let Some(asked) = asked else { return Ok(false) };
            if client.state == Invited || answers(tx, client.id, None, &found.answers, is_invitation).await? {
                let problem = problem_of(*problem);
                self::problem(ctx, tx, client, &asked, problem, sealed.origin.message_id.clone(), now).await?;
                return Ok(true);
            }
            Ok(false)
        }
    }
}

/// Another key in a proven letter; `by_old`: it is signed by the pinned one.
pub async fn newer_key(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    sealed: &Sealed,
    found: &Findings,
    by_old: bool,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let ended = matches!(client.state, ClientState::Discharged | ClientState::Archived | ClientState::Declined);
    match &found.key {
        Ok(key) if !ended && Some(&key.certificate.fingerprint) != client.fingerprint.as_ref() => {
            offer(ctx, tx, client, sealed, found, key, by_old, now).await
        }
        _ => Ok(()),
    }
}

/// Whether a certificate, or any key in it, is a therapist's. Whether it is a client's is looked at when it is accepted:
/// an answer now would tell anybody who holds a key who is a client here.
fn is_staffs(ctx: &Context, key: &Offered) -> bool {
    let handles = &key.certificate.handles;
    let therapists = ctx.therapists();
    let mut staff = therapists.iter().filter_map(|therapist| therapist.certificate());
    staff.any(|own| own.handles().iter().any(|own| handles.contains(own)))
}

/// Keeps a key until it is compared, and tells both.
#[expect(clippy::too_many_arguments, reason = "each is a fact of its own")]
async fn offer(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    sealed: &Sealed,
    found: &Findings,
    key: &Offered,
    by_old: bool,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let origin = sealed.origin.message_id.clone();
    let asked = tx.enrolment(client.id).await?;
    if is_staffs(ctx, key) {
        if let Some(asked) = &asked {
            problem(ctx, tx, client, asked, KeyProblem::Taken, origin, now).await?;
        }
        return Ok(());
    }
    let waiting = tx.offers(client.id).await?;
    let known = waiting.iter().find(|known| known.fingerprint == key.certificate.fingerprint);
    if known.is_some_and(|known| (known.signed || !key.signed) && (known.by_old || !by_old)) {
        // The same key again, and nothing new is known of it.
        return Ok(());
    }
    let offer = KeyOffer {
        id: 0,
        client: client.id,
        at: sealed.arrived,
        certificate: key.certificate.bytes.clone(),
        fingerprint: key.certificate.fingerprint.clone(),
        signed: key.signed || by_old,
        encrypted: found.encrypted,
        by_old,
        told_at: None,
    };
    let fingerprint = &offer.fingerprint;
    let others: Vec<&KeyOffer> = waiting.iter().filter(|other| other.fingerprint != *fingerprint).collect();
    let standings: Vec<Waiting> = others.iter().map(|other| waits(other)).collect();
    let room = enrolment::room(waits(&offer), &standings, OFFERS);
    let detail = json!({ "by_old": by_old, "kept": room != Room::None });
    tx.journal(now, "key-offered", Some(&client.code), detail).await?;
    match room {
        Room::Free => {}
        Room::Instead(at) => tx.drop_offer(others[at].id).await?,
        Room::None => return Ok(()),
    }
    let offer = tx.add_offer(&offer).await?;
    tell_offer(ctx, tx, client, &offer, others.len(), origin, now).await
}

const fn waits(offer: &KeyOffer) -> Waiting {
    Waiting { signed: offer.signed, by_old: offer.by_old, told: offer.told_at.is_some() }
}

/// Tells of keys that came when no more could be told of that day.
///
/// # Errors
/// [`AppError`].
pub async fn tell_rest(ctx: &Context, tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<(), AppError> {
    let waiting = tx.offers(client.id).await?;
    for offer in waiting.iter().filter(|offer| offer.told_at.is_none()) {
        tell_offer(ctx, tx, client, offer, waiting.len() - 1, None, now).await?;
    }
    Ok(())
}

/// Tells both of a key that waits. Anybody can write under an address: many keys make no more than a few mails a day,
/// and the rest is told of later.
async fn tell_offer(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    offer: &KeyOffer,
    others: usize,
    origin: Option<String>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let most = if tx.enrolment(client.id).await?.is_some() { OFFERS_TOLD } else { 1 };
    if tx.count_outbox(Kind::KeyArrived, Some(client.id), now - TimeDelta::days(1)).await? >= most {
        return Ok(());
    }
    tx.offer_told(offer.id, now).await?;
    let paper = Paper::KeyArrived { offer: offer.id, origin };
    Post::to_client(Kind::KeyArrived, client.id, now).enqueue(ctx, tx, &Recipe::Enrol(paper), now).await?;
    let practice = ctx.key.certificate().fingerprint();
    let step = EnrolmentStep::Offered {
        received: received(offer),
        // The same words as the client reads: they are compared on the telephone.
        words: code_words::words(&offer.fingerprint, &practice, client.language),
        own_fingerprint: offer.fingerprint.clone(),
        fingerprint: practice,
        signed_by_old: offer.by_old,
        others: u32::try_from(others).unwrap_or(u32::MAX),
    };
    tell(ctx, tx, client, step, now).await
}

/// How the mail arrived that brought a key.
pub const fn received(offer: &KeyOffer) -> Received {
    Received { at: offer.at, signed: offer.signed, encrypted: offer.encrypted }
}

/// Tells the person what is wrong with an answer and how to answer, three times at most, and the therapist.
async fn problem(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    asked: &Enrolment,
    problem: KeyProblem,
    origin: Option<String>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    if tx.count_outbox(Kind::InvitationProblem, Some(client.id), asked.invited_at).await? >= PROBLEMS {
        return Ok(());
    }
    let paper = Paper::InvitationProblem { problem, origin };
    Post::to_client(Kind::InvitationProblem, client.id, now).enqueue(ctx, tx, &Recipe::Enrol(paper), now).await?;
    tx.journal(now, "key-problem", Some(&client.code), json!({ "problem": problem })).await?;
    if problem != KeyProblem::NoKey || asked.rekey {
        return tell(ctx, tx, client, EnrolmentStep::Problem { problem }, now).await;
    }
    // Sealed letters are offered: the therapist has what is to be told.
    let phrase = match tx.pdf_channel(client.id).await?.filter(|channel| channel.told_at.is_none()) {
        Some(channel) => channel.phrase,
        None => sealed_letters::make(tx, client, now).await?,
    };
    let step = EnrolmentStep::SealedLettersOffered { passphrase: phrase.reveal().to_owned() };
    tell(ctx, tx, client, step, now).await
}

/// The person declines the invitation or the frame.
pub async fn refuse(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    origin: Option<String>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    if life::change(ctx, tx, client, Event::Refuse, Actor::Client, now).await?.is_err() {
        return Ok(());
    }
    tx.end_enrolment(client.id).await?;
    let paper = Paper::InvitationDeclined { origin };
    Post::to_client(Kind::InvitationDeclined, client.id, now).enqueue(ctx, tx, &Recipe::Enrol(paper), now).await?;
    tell(ctx, tx, client, EnrolmentStep::Refused, now).await
}

/// Whether one of these ids is that of such a letter to this client, made since then.
async fn answers(
    tx: &mut Tx,
    client: ClientId,
    since: Option<DateTime<Utc>>,
    ids: &[String],
    such: impl Fn(Kind) -> bool,
) -> Result<bool, AppError> {
    for id in ids {
        let Some(mail) = tx.outbox_by_mail_id(id).await? else { continue };
        if mail.client == Some(client) && such(mail.kind) && since.is_none_or(|since| mail.created_at >= since) {
            return Ok(true);
        }
    }
    Ok(false)
}

const fn may_be_refused(kind: Kind) -> bool {
    is_invitation(kind) || matches!(kind, Kind::KeyArrived)
}

const fn is_invitation(kind: Kind) -> bool {
    matches!(kind, Kind::Invitation | Kind::InvitationReminder | Kind::InvitationProblem)
}

/// A stranger's mail that answers an invitation: it went to somebody else, who perhaps writes from another address.
/// `true` where it was one; the stranger is told to answer from the address that was written to.
pub async fn from_elsewhere(
    ctx: &Context,
    tx: &mut Tx,
    sender: &Address,
    ids: &[String],
    origin: Option<String>,
    now: DateTime<Utc>,
) -> Result<bool, AppError> {
    for id in ids {
        let Some(mail) = tx.outbox_by_mail_id(id).await?.filter(|mail| is_invitation(mail.kind)) else { continue };
        let Some(client) = mail.client else { continue };
        let Some(client) = tx.client(client).await?.filter(|client| client.state == ClientState::Invited) else {
            continue;
        };
        let problem = KeyProblem::OtherAddress;
        let since = tx.enrolment(client.id).await?.map_or(client.created_at, |asked| asked.invited_at);
        let mut post = Post::to_client(Kind::InvitationProblem, client.id, now);
        post.client = None;
        post.recipient = Some(sender.clone());
        post.enqueue(ctx, tx, &Recipe::Enrol(Paper::InvitationProblem { problem, origin }), now).await?;
        tx.journal(now, "key-problem", Some(&client.code), json!({ "problem": problem })).await?;
        // The therapist is told once: whoever has the invitation can write from a thousand addresses.
        if tx.notice_since(&format!("elsewhere:{}", client.code), now, since).await? {
            tell(ctx, tx, &client, EnrolmentStep::Problem { problem }, now).await?;
        }
        return Ok(true);
    }
    Ok(false)
}
