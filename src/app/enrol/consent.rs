//! `J'ACCEPTE`: the frame, its renewal, a transfer; the card that comes with it. Proven letters only.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::super::AppError;
use super::super::context::Context;
use super::super::intake;
use super::super::life;
use super::super::locum;
use super::super::post::{Post, Recipe};
use super::super::prepare::Sealed;
use super::findings::Findings;
use super::frame::pending;
use super::invite::gaps;
use super::{Paper, answer, tell, tell_therapist};
use crate::domain::enrolment::{self, ConsentFacts};
use crate::domain::keywords::{self, Keyword};
use crate::domain::lifecycle::{Actor, Event};
use crate::letters::EnrolmentStep;
use crate::model::{ClientState, Direction, Kind, MessageState, OutboxRow};
use crate::store::{Client, Consent, Tx, Wording};

/// How often a day a change of mind about the cover in absences is confirmed.
const COVERS_A_DAY: u64 = 3;

/// What a proven letter of a client's says to what was asked. `true`: it was an answer.
pub async fn arrived(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    sealed: &Sealed,
    found: &Findings,
    now: DateTime<Utc>,
) -> Result<bool, AppError> {
    // A word kept back from before the present state, or written to somebody else, decides nothing. A card is sealed
    // to who was the therapist when it was read.
    let steers = sealed.standing.steers(client.care.since);
    let theirs = sealed.therapist.id() == &client.therapist;
    let carded = steers && theirs && card(tx, client, found, now).await?;
    let Some(words) = &sealed.keywords else { return Ok(false) };
    let uncovers = words.has(Keyword::RefuseCover);
    // Yes and no to it: a person reads it.
    let (accepts, covers) = (words.has(Keyword::Accept), words.has(Keyword::AcceptCover) && !uncovers);
    if steers && uncovers && !words.has(Keyword::AcceptCover) {
        locum::withdraw(ctx, tx, client, now).await?;
        if words.only() && !accepts {
            cover_recorded(ctx, tx, client, sealed, now).await?;
        }
    }
    let refuses = words.has(Keyword::Refuse) || words.has(Keyword::Stop);
    if !accepts && !covers && !refuses {
        return Ok(false);
    }
    let asked = pending(ctx, tx, client, now).await?;
    let answered = match steers {
        true => Answered::read(ctx, tx, client, sealed, found, asked.as_ref()).await?,
        false => Answered::default(),
    };
    if refuses && !accepts {
        return refused(ctx, tx, client, sealed, &answered, steers && words.has(Keyword::Stop), now).await;
    }
    if refuses {
        // Yes and no: a person reads it.
        return Ok(false);
    }
    // The letter before an absence asks for it too, in any signed letter of somebody who has agreed to the frame.
    let agreed = client.state.in_treatment() || client.state == ClientState::Paused;
    if covers && steers && (answered.current || answered.frame || agreed) {
        let told = locum::agree(ctx, tx, client, now).await?;
        if words.only() && !accepts && !told {
            cover_recorded(ctx, tx, client, sealed, now).await?;
        }
    }
    let facts = ConsentFacts {
        answers_current: answered.current,
        answers_transfer: answered.transfer,
        signed_answer: found.answers_signed || sealed.vouched_by.is_some(),
        state: client.state,
        pending: asked.is_some(),
    };
    match (if accepts { enrolment::consent(facts) } else { enrolment::Consent::Text }, asked) {
        (enrolment::Consent::Given, Some(wording)) => {
            given(ctx, tx, client, sealed, wording, covers, carded, now).await?;
            Ok(true)
        }
        (enrolment::Consent::Transfer, _) => {
            transfer(ctx, tx, client, sealed, now).await?;
            Ok(true)
        }
        (enrolment::Consent::Unclear, Some(_)) => {
            unclear(ctx, tx, client, sealed, now).await?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Which of the practice's letters are answered.
#[derive(Default)]
struct Answered {
    /// One that asked about the present wording.
    current: bool,
    /// Any letter about a frame.
    frame: bool,
    /// The offer of a transfer that stands.
    transfer: bool,
}

impl Answered {
    async fn read(
        ctx: &Context,
        tx: &mut Tx,
        client: &Client,
        sealed: &Sealed,
        found: &Findings,
        asked: Option<&Wording>,
    ) -> Result<Self, AppError> {
        let mut answered = Self::default();
        let current = match asked {
            Some(wording) => tx.frame_letters(client.id, wording).await?,
            None => Vec::new(),
        };
        let signed_at = sealed.signature.as_ref().map(|(_, _, at)| *at);
        let mut ids = found.answers.clone();
        let mut replies_to = found.replies_to.clone();
        if let Some(letter) = sealed.vouched_by {
            // Whose words these are has that letter before them, whether their program says so or not.
            let own = tx.outbox(letter).await?.and_then(|mail| mail.mail_id);
            replies_to = replies_to.filter(|id| ids.contains(id)).or_else(|| own.clone());
            ids.extend(own);
        }
        for id in &ids {
            let Some(mail) = tx.outbox_by_mail_id(id).await?.filter(|mail| mail.client == Some(client.id)) else {
                continue;
            };
            // Unsigned references could be put on by who runs the mail server, to turn a consent that was kept back to
            // a later wording: then it has to be signed after the letter it answers.
            let sent = mail.finished_at.unwrap_or(mail.created_at);
            let believed = found.answers_signed
                || sealed.vouched_by.is_some()
                || signed_at.is_some_and(|at| at >= sent - keywords::CLOCKS);
            let is_current = |row: OutboxRow| current.iter().any(|(letter, _)| *letter == row);
            answered.current |= believed && is_current(mail.id);
            answered.frame |= believed && matches!(mail.kind, Kind::Frame | Kind::ConsentRenewal);
            let stands = client.care.transfer_to.as_ref().is_some_and(|to| ctx.therapist(to).is_some());
            // A letter further down the thread answers something else by now.
            if believed && stands && mail.kind == Kind::TransferOffer && replies_to.as_ref() == Some(id) {
                // An earlier offer may have named somebody else.
                let offers = tx.outbox_to_client(client.id).await?;
                let newest = offers.iter().rfind(|row| row.kind == Kind::TransferOffer);
                answered.transfer |= newest.is_some_and(|row| row.id == mail.id);
            }
        }
        Ok(answered)
    }
}

/// Keeps a card where one is asked for.
async fn card(tx: &mut Tx, client: &Client, found: &Findings, now: DateTime<Utc>) -> Result<bool, AppError> {
    let Some(card) = &found.card else { return Ok(false) };
    let mut wanted = matches!(client.state, ClientState::ConsentPending | ClientState::Assessment);
    for id in &found.answers {
        let mail = tx.outbox_by_mail_id(id).await?;
        wanted |= mail.is_some_and(|mail| {
            mail.client == Some(client.id)
                && matches!(mail.kind, Kind::CardRequest | Kind::Frame | Kind::ConsentRecorded | Kind::ConsentRenewal)
        });
    }
    if wanted {
        tx.set_card(client.id, card, now).await?;
        tx.journal(now, "card", Some(&client.code), json!({ "by": "client" })).await?;
    }
    Ok(wanted)
}

async fn refused(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    sealed: &Sealed,
    answered: &Answered,
    stop: bool,
    now: DateTime<Utc>,
) -> Result<bool, AppError> {
    if answered.transfer {
        tx.change_care(client.id, |care| care.transfer_to = None).await?;
        tx.journal(now, "transfer-refused", Some(&client.code), json!({})).await?;
        return Ok(false);
    }
    let asked = matches!(client.state, ClientState::ConsentPending | ClientState::Invited);
    if asked && (stop || answered.frame) {
        answer::refuse(ctx, tx, client, sealed.origin.message_id.clone(), now).await?;
        return Ok(true);
    }
    Ok(false)
}

/// Consent: recorded with the wording it is about, and confirmed to both.
#[expect(clippy::too_many_arguments, reason = "each is a fact of its own")]
async fn given(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    sealed: &Sealed,
    wording: Wording,
    locum: bool,
    card: bool,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let first = client.state == ClientState::ConsentPending;
    if first {
        // An element was emptied since the frame was asked: nobody is activated on half of it.
        if ctx.therapist(&client.therapist).is_none_or(|therapist| !gaps(ctx, &therapist).is_empty()) {
            tx.journal(now, "frame-incomplete", Some(&client.code), json!({})).await?;
            return Ok(());
        }
        let event = if client.care.known { Event::ConsentKnown } else { Event::Consent };
        if life::change(ctx, tx, client, event, Actor::Client, now).await?.is_err() {
            return Ok(());
        }
    }
    let version = wording.number;
    let detail = json!({
        "version": version, "hash": data_encoding::HEXLOWER.encode(&wording.hash), "verdict": sealed.verdict,
    });
    tx.add_consent(client.id, &Consent { wording, at: now, verdict: Some(sealed.verdict) }).await?;
    tx.set_consented_at(client.id, now).await?;
    tx.journal(now, "consent", Some(&client.code), detail).await?;
    // Read again: the same letter may have agreed to it or taken it back.
    let locum = locum || tx.client(client.id).await?.is_some_and(|client| client.care.locum_consent.is_some());
    let paper = Paper::ConsentRecorded {
        version,
        at: now,
        assessment: first && !client.care.known,
        first,
        locum,
        origin: sealed.origin.message_id.clone(),
    };
    Post::to_client(Kind::ConsentRecorded, client.id, now).enqueue(ctx, tx, &Recipe::Enrol(paper), now).await?;
    let card = card || tx.card(client.id).await?.is_some();
    tell(ctx, tx, client, EnrolmentStep::Consented { version, verdict: sealed.verdict, locum, card }, now).await
}

/// A word about the cover in absences came alone: it opens no turn, and what holds now is confirmed.
async fn cover_recorded(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    sealed: &Sealed,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    if tx.count_outbox(Kind::ConsentRecorded, Some(client.id), now - TimeDelta::days(1)).await? >= COVERS_A_DAY {
        return Ok(());
    }
    let paper = Paper::CoverRecorded { at: now, origin: sealed.origin.message_id.clone() };
    Post::to_client(Kind::ConsentRecorded, client.id, now).enqueue(ctx, tx, &Recipe::Enrol(paper), now).await?;
    Ok(())
}

/// `J'ACCEPTE` that answers no current letter: said so, and asked again, once a day.
async fn unclear(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    sealed: &Sealed,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    tx.journal(now, "consent-unclear", Some(&client.code), json!({})).await?;
    if tx.count_outbox(Kind::ConsentUnclear, Some(client.id), now - TimeDelta::days(1)).await? > 0 {
        return Ok(());
    }
    let paper = Paper::ConsentUnclear { origin: sealed.origin.message_id.clone() };
    Post::to_client(Kind::ConsentUnclear, client.id, now).enqueue(ctx, tx, &Recipe::Enrol(paper), now).await?;
    let kind = if client.state == ClientState::ConsentPending { Kind::Frame } else { Kind::ConsentRenewal };
    super::ask_frame(ctx, tx, client, kind, None, None, now).await?;
    tell(ctx, tx, client, EnrolmentStep::ConsentUnclear, now).await
}

/// Another therapist takes over: their frame is asked, both are told. What was written to the one before stays with
/// them: their words to the client are withdrawn, and the card, sealed to them, is asked for anew.
async fn transfer(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    sealed: &Sealed,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let Some(to) = client.care.transfer_to.as_ref().and_then(|id| ctx.therapist(id)) else { return Ok(()) };
    let from = client.therapist.clone();
    let name = |id: &crate::model::TherapistId| {
        ctx.therapist(id).map_or_else(String::new, |therapist| therapist.settings.name.clone())
    };
    let withdrawn = take_back(tx, client, now).await?;
    release_held(ctx, tx, client, now).await?;
    tx.set_client_therapist(client.id, to.id()).await?;
    // The label is the other one's words about them.
    tx.set_label(client.id, None).await?;
    tx.change_care(client.id, |care| {
        care.transfer_to = None;
        // Who stands in is another person too.
        care.locum_consent = None;
    })
    .await?;
    locum::destroy_copies(tx, client, now).await?;
    let had_card = tx.drop_card(client.id).await?;
    let alerts = tx.move_alerts(client.id, to.id(), now).await?;
    let detail = json!({
        "from": from.0, "to": to.id().0, "verdict": sealed.verdict, "withdrawn": withdrawn, "alerts": alerts,
    });
    tx.journal(now, "transferred", Some(&client.code), detail).await?;
    let Some(client) = tx.client(client.id).await? else { return Ok(()) };
    if let Some(turn) = tx.current_turn(client.id).await? {
        let due = ctx.schedule(&to, &client).due(now, now).map(|slot| slot.at);
        tx.set_turn_due(turn.id, due.filter(|_| client.state.in_treatment())).await?;
    }
    let step = EnrolmentStep::Transferred { to: to.settings.name.clone(), withdrawn };
    tell_therapist(ctx, tx, &from, &client, step, now).await?;
    tell(ctx, tx, &client, EnrolmentStep::TakenOver { from: name(&from) }, now).await?;
    if had_card {
        let post = Post::to_client(Kind::CardRequest, client.id, now);
        post.enqueue(ctx, tx, &Recipe::Enrol(Paper::CardRequest), now).await?;
    }
    super::ask_frame(ctx, tx, &client, Kind::ConsentRenewal, None, None, now).await
}

/// Held letters are sealed to the therapist before: passed on while they still can be; nobody else could open them.
async fn release_held(ctx: &Context, tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<(), AppError> {
    let Some(therapist) = ctx.therapist(&client.therapist) else { return Ok(()) };
    let held = tx.held().await?;
    let theirs = held.iter().filter(|message| message.client == Some(client.id) && message.direction == Direction::In);
    for message in theirs.filter(|message| intake::releasable(message)) {
        tx.set_message_state(message.id, MessageState::Released).await?;
        tx.release_signature(message.id, now).await?;
        intake::forward_now(ctx, tx, &therapist, message, now).await?;
        tx.journal(now, "released", Some(&client.code), json!({ "why": "transfer" })).await?;
    }
    Ok(())
}

/// Withdraws what the therapist has left waiting; the letters that it answered are unanswered again. How many replies
/// there were.
async fn take_back(tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<u32, AppError> {
    let waiting = tx.pending_replies(client.id).await?;
    let withdrawn = life::withdraw(tx, client, now).await?;
    for reply in waiting {
        let gone = tx.message(reply.id).await?.is_some_and(|reply| reply.state == MessageState::Cancelled);
        let Some(turn) = reply.turn.filter(|_| gone) else { continue };
        match tx.current_turn(client.id).await? {
            None => tx.reopen_turn(turn, None).await?,
            Some(open) => {
                for letter in tx.letters_in_turn(turn).await? {
                    tx.set_message_turn(letter.id, Some(open.id)).await?;
                }
            }
        }
    }
    Ok(withdrawn)
}
