//! The commit half of intake: everything a message brings about, in one transaction.
//!
//! The commit of that transaction is the moment a letter is *filed*; only afterwards is the original
//! touched (`app/watch`).

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::AppError;
use super::context::{Context, Therapist};
use super::crisis::{self, Place};
use super::enrol;
use super::health;
use super::keys::{self, own::Late};
use super::keywords;
use super::life;
use super::locum;
use super::notice;
use super::post::{Post, Problem, Recipe};
use super::prepare::{Arrived, Disposition, FromTherapist, Origin, Prepared, Sealed};
use super::refusal;
use super::reply;
use super::requests;
use super::sealed_letters;
use super::therapist;
use crate::domain::intake::{Action, Dropped};
use crate::domain::keywords::{Keyword, Keywords};
use crate::domain::rhythm::{OnLetter, Slot, next_digest, on_letter};
use crate::letters::RefusalReason;
use crate::model::{
    Address, Channel, ClientState, Direction, Filing, Forwarding, Kind, Mark, MessageState, Scanned, TurnRow, Verdict,
};
use crate::store::{Client, Disposal, Message, Original, StoreError, Tx};

/// What became of one message; the words of `run --once`'s counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Filed,
    Held,
    Obeyed,
    Refused,
    Requested,
    Dropped,
    SetAside,
    /// Left where it is, on purpose.
    Left,
    /// It can't be filed now; nobody is to blame, and no try is counted.
    Blocked,
}

/// Acknowledgements a client a day, whatever opens turns (THREATS 20).
const ACKNOWLEDGEMENTS_A_DAY: u64 = 3;
/// A stranger is asked and answered once in this time; requests are erased after it.
pub const REQUEST_DAYS: i64 = 90;
/// How often a sender of unsigned mail is told how to sign.
const ABOUT_KEYS_EVERY: TimeDelta = TimeDelta::days(30);

/// Applies one prepared message within `tx`.
///
/// # Errors
/// [`AppError`]: the transaction is to be dropped.
pub async fn apply(
    ctx: &Context,
    tx: &mut Tx,
    arrived: &Arrived,
    prepared: &Prepared,
    now: DateTime<Utc>,
) -> Result<Outcome, AppError> {
    let (prepared, revoked) = prepared.split();
    let (outcome, disposal) = match prepared {
        Prepared::Revoking { .. } => (Outcome::Left, None),
        Prepared::Sealed(sealed) => apply_sealed(ctx, tx, arrived, sealed, now).await?,
        Prepared::Obey(mail) => obey(ctx, tx, arrived, mail, now).await?,
        Prepared::Refuse { therapist, why, examined } => {
            if !tx.remember_bytes(&examined.bytes_hash, None, now).await? {
                (Outcome::Dropped, Some(Disposal::Remove))
            } else if refusal::refuse(ctx, tx, therapist, *why, now).await? {
                (Outcome::Refused, Some(Disposal::Attention))
            } else {
                (Outcome::SetAside, Some(Disposal::Attention))
            }
        }
        Prepared::TherapistKey { therapist, certificate, bytes_hash } => {
            let fresh = tx.remember_bytes(bytes_hash, None, now).await?;
            if !fresh {
                (Outcome::Dropped, Some(Disposal::Remove))
            } else if enrol::therapist::keep(tx, therapist, certificate, now).await? {
                (Outcome::Obeyed, Some(Disposal::Remove))
            } else {
                (Outcome::SetAside, Some(Disposal::Attention))
            }
        }
        Prepared::OverLimit { client, therapist, .. } => {
            over_limit(ctx, tx, client.as_deref(), therapist.as_deref(), now).await?;
            (Outcome::SetAside, Some(Disposal::Attention))
        }
        Prepared::Blocked(sealed) => {
            crisis::blocked(ctx, tx, sealed, now).await?;
            // Operator and therapist are told why nothing moves.
            health::alarm(ctx, tx, &health::why_not_sealed(ctx, now), now).await?;
            health::tell_therapist_of_key(ctx, tx, &sealed.therapist, now).await?;
            (Outcome::Blocked, None)
        }
        Prepared::Tampered { error } => {
            if let StoreError::Tampered { code } = error {
                health::alarm_record(ctx, tx, code, now).await?;
            }
            (Outcome::Blocked, None)
        }
        Prepared::Aside { decision, bytes_hash, stranger } => {
            let Some(disposal) = aside(ctx, tx, &decision.action, bytes_hash, stranger.as_ref(), now).await? else {
                return Ok(Outcome::Left);
            };
            let dropped = matches!(decision.action, Action::Drop(_));
            (if dropped { Outcome::Dropped } else { Outcome::SetAside }, Some(disposal))
        }
        Prepared::Notice(noticed) => notice::apply(ctx, tx, noticed, now).await?,
        Prepared::Left => {
            tx.count_up("junk").await?;
            (Outcome::Left, None)
        }
    };
    keys::arrived::revoke(ctx, tx, revoked, now).await?;
    if let Some(action) = disposal {
        dispose(ctx, tx, arrived, prepared, outcome, action, now).await?;
    }
    Ok(outcome)
}

async fn obey(
    ctx: &Context,
    tx: &mut Tx,
    arrived: &Arrived,
    mail: &FromTherapist,
    now: DateTime<Utc>,
) -> Result<(Outcome, Option<Disposal>), AppError> {
    let done = match therapist::obey(ctx, tx, mail, now).await? {
        therapist::Obeyed::Done => (Outcome::Obeyed, Some(Disposal::Remove)),
        therapist::Obeyed::Refused => (Outcome::Refused, Some(Disposal::Remove)),
        therapist::Obeyed::Replayed => return Ok((Outcome::Dropped, Some(Disposal::Remove))),
        therapist::Obeyed::TooMany => (Outcome::SetAside, Some(Disposal::Attention)),
    };
    keys::arrived::renew_therapist(ctx, tx, mail.therapist.id(), &mail.examined.sent, now).await?;
    if let Some(old) = &mail.examined.to_retired {
        let written = mail.examined.signature.as_ref().map_or(arrived.first_seen, |signature| signature.signed_at);
        keys::own::tell_late(ctx, tx, Late::Therapist(mail.therapist.id()), old, written, now).await?;
    }
    Ok(done)
}

/// Notes what is to be done with the original after the commit.
async fn dispose(
    ctx: &Context,
    tx: &mut Tx,
    arrived: &Arrived,
    prepared: &Prepared,
    outcome: Outcome,
    mut action: Disposal,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let kept = ctx.config.imap.filing == Filing::Keep;
    if action == Disposal::Remove && kept {
        action = Disposal::Done;
    }
    let message = match (prepared, outcome) {
        (Prepared::Sealed(sealed), Outcome::Filed | Outcome::Held | Outcome::Requested) => Some(sealed.row),
        _ => None,
    };
    let copy_needed = outcome == Outcome::Filed && ctx.config.imap.filing == Filing::Folders;
    if copy_needed && let Some(row) = message {
        tx.add_copy(row, now).await?;
    }
    let original = Original {
        folder: arrived.folder.clone(),
        uidvalidity: arrived.uidvalidity,
        uid: arrived.uid,
        message,
        action,
        copy_needed,
        at: now,
    };
    tx.add_original(&original).await?;
    if arrived.tried {
        tx.clear_tries(&arrived.folder, arrived.uidvalidity, arrived.uid).await?;
    }
    Ok(())
}

async fn apply_sealed(
    ctx: &Context,
    tx: &mut Tx,
    arrived: &Arrived,
    sealed: &Sealed,
    now: DateTime<Utc>,
) -> Result<(Outcome, Option<Disposal>), AppError> {
    let code = sealed.client.as_ref().map(|client| &client.code);
    let fresh = match (&sealed.signature, sealed.disposition) {
        (Some((signer, digest, _)), Disposition::File { .. }) => {
            tx.remember_signature(signer, digest, Some(sealed.row), now).await?
        }
        _ => tx.remember_bytes(&sealed.bytes_hash, Some(sealed.row), now).await?,
    };
    let fresh = match &sealed.said {
        Some(said) => tx.remember_bytes(said, Some(sealed.row), now).await? && fresh,
        None => fresh,
    };
    if !fresh {
        tx.journal(now, "dropped", code, json!({ "why": "replayed" })).await?;
        return Ok((Outcome::Dropped, Some(Disposal::Remove)));
    }
    if let (Some(old), Some(client), false) = (&sealed.to_retired, &sealed.client, sealed.automatic) {
        let written = sealed.signature.as_ref().map_or(sealed.arrived, |(_, _, at)| *at);
        let origin = sealed.origin.message_id.clone();
        keys::own::tell_late(ctx, tx, Late::Client(client, origin), old, written, now).await?;
    }
    if let Some(client) = &sealed.client {
        sealed_letters::count_wrong(ctx, tx, client, sealed.wrong_words, now).await?;
    }
    match sealed.disposition {
        Disposition::Request => requests::request(ctx, tx, arrived, sealed, now).await,
        Disposition::Hold => hold(ctx, tx, sealed, now).await,
        Disposition::File { opens_turn } => {
            file(ctx, tx, sealed, opens_turn, now).await?;
            Ok((Outcome::Filed, Some(Disposal::Remove)))
        }
    }
}

/// The row of what was sealed.
pub(super) fn message(sealed: &Sealed, kind: Kind, state: MessageState) -> Message {
    Message {
        client: sealed.client.as_ref().map(|client| client.id),
        therapist: Some(sealed.therapist.id().clone()),
        verdict: Some(sealed.verdict),
        marks: sealed.marks.clone(),
        seen_at: sealed.at,
        slot: sealed.due.map(|slot| slot.at),
        message_id: Some(sealed.message_id.clone()),
        origin_id: sealed.origin.message_id.clone(),
        sender: sealed.sender.clone(),
        subject: Some(sealed.origin.subject.clone()),
        request_code: sealed.request_code.clone(),
        signed_at: sealed.signature.as_ref().map(|(_, _, at)| *at),
        bytes: sealed.bytes as u64,
        words: sealed.words as u64,
        attachments: u32::try_from(sealed.attachments).unwrap_or(u32::MAX),
        scan: sealed.scan.word(),
        ..Message::new(sealed.row, Direction::In, kind, state, sealed.arrived)
    }
}

/// Stores what was sealed, and counts it by its verdict.
pub(super) async fn keep(tx: &mut Tx, row: &Message, sealed: &Sealed) -> Result<(), AppError> {
    tx.insert_message(row).await?;
    tx.put_blob(sealed.row, &sealed.ciphertext).await?;
    tx.count_letter(sealed.verdict);
    Ok(())
}

/// Whether the key that proved the writer when the letter was prepared is still the client's: meanwhile it may have been
/// given up as lost, or another one been accepted.
fn still_proven(client: &Client, sealed: &Sealed) -> bool {
    let signer = sealed.signature.as_ref().map(|(signer, _, _)| signer.as_str());
    let pinned = client.fingerprint.as_deref();
    !enrol::proven(sealed.verdict) || signer.is_none_or(|signer| pinned.is_some_and(|pinned| pinned == signer))
}

async fn file(
    ctx: &Context,
    tx: &mut Tx,
    sealed: &Sealed,
    opens_turn: bool,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let Some(known) = &sealed.client else { return Ok(()) };
    // Read again: another letter of the same group may have changed the state.
    let Some(client) = &tx.client(known.id).await? else { return Ok(()) };
    if !still_proven(client, sealed) {
        return Err(AppError::KeyChanged);
    }
    let opens_turn = opens_turn && !only_agrees(tx, client, sealed).await?;
    let wished = sealed.keywords.as_ref().and_then(|words| keywords::wished(client, sealed.standing, words));
    let safety = crisis::safety(tx, sealed, now).await?;
    let turn = if opens_turn && client.state.in_treatment() {
        // A letter that stops or pauses is promised no reply.
        let acknowledge = !sealed.automatic && wished.is_none() && safety.is_none();
        join_turn(ctx, tx, client, sealed.arrived, sealed.due, &sealed.origin, acknowledge, now).await?
    } else {
        None
    };
    let kind = if sealed.automatic { Kind::Automatic } else { Kind::Letter };
    let row = Message { turn, ..message(sealed, kind, MessageState::Filed) };
    keep(tx, &row, sealed).await?;
    tracing::debug!(event = "letter", client = %client.code, verdict = %sealed.verdict, "filed");
    crisis::raise(ctx, tx, sealed, Place { turn, safety, passed_on: true, ..Place::default() }, now).await?;
    forward(ctx, tx, &sealed.therapist, &row, now).await?;
    locum::file(ctx, tx, sealed, turn.is_some(), now).await?;
    let mut advised = false;
    if client.channel == Channel::Pdf {
        sealed_letters::choose_subject(tx, client, sealed, now).await?;
        advised = sealed_letters::advise(ctx, tx, client, sealed, now).await?;
    } else if matches!(sealed.verdict, Verdict::Unsigned | Verdict::UnknownSigner) && !sealed.automatic {
        about_keys(ctx, tx, client, &sealed.origin, now).await?;
    }
    if let Some(certificate) = &sealed.renewed {
        tx.set_client_certificate(client.id, Some(certificate)).await?;
        reply::wake(tx, client, now).await?;
        // Without the fingerprint: key servers know whose it is, and the journal outlives an erasure.
        tx.journal(now, "key-renewed", Some(&client.code), json!({})).await?;
    }
    let detail = json!({ "verdict": sealed.verdict, "marks": sealed.marks, "bytes": sealed.bytes });
    tx.journal(now, "filed", Some(&client.code), detail).await?;
    let enrolled = enrol::arrived(ctx, tx, sealed, now).await?;
    let Some(client) = &tx.client(client.id).await? else { return Ok(()) };
    let changed = keywords::carry_out(ctx, tx, client, sealed, now).await?;
    // One letter an answer: a safety letter, or what was decided, comes before how things stand.
    let Some(client) = &tx.client(client.id).await? else { return Ok(()) };
    // Back from STOP in a suspension there is no letter of its own.
    let told = changed && client.state != ClientState::Suspended;
    if !(sealed.automatic || enrolled || told || advised || safety.is_some()) {
        life::notice(ctx, tx, client, sealed.origin.message_id.clone(), now).await?;
    }
    Ok(())
}

/// Nothing but `J'ACCEPTE`, where something was asked: it is confirmed by a letter of its own and waits for no reply.
async fn only_agrees(tx: &mut Tx, client: &Client, sealed: &Sealed) -> Result<bool, AppError> {
    let agrees = |words: &Keywords| words.only() && words.has(Keyword::Accept);
    if !sealed.keywords.as_ref().is_some_and(agrees) || !sealed.standing.is_to_us() {
        return Ok(false);
    }
    Ok(client.care.transfer_to.is_some() || enrol::frame::awaited(tx, client).await?.is_some())
}

/// The letter's place in the client's turn, with the turn's one acknowledgement. Without a slot (in an absence whose
/// end isn't known) the turn is due at no known time.
#[expect(clippy::too_many_arguments, reason = "each is a fact of its own")]
pub async fn join_turn(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    arrived: DateTime<Utc>,
    due: Option<Slot>,
    origin: &Origin,
    may_acknowledge: bool,
    now: DateTime<Utc>,
) -> Result<Option<TurnRow>, AppError> {
    let current = tx.current_turn(client.id).await?;
    match (on_letter(current.is_some(), due), current) {
        (OnLetter::Join, Some(turn)) => Ok(Some(turn.id)),
        (OnLetter::Open { due, acknowledge }, _) => {
            let turn = tx.open_turn(client.id, arrived, due.map(|due| due.at)).await?;
            if acknowledge && may_acknowledge {
                self::acknowledge(ctx, tx, client, turn, arrived, due, origin, now).await?;
            }
            Ok(Some(turn))
        }
        (OnLetter::Join, None) => Ok(None),
    }
}

/// The turn's one acknowledgement, under the day's ceiling.
#[expect(clippy::too_many_arguments, reason = "each is a fact of its own")]
pub async fn acknowledge(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    turn: TurnRow,
    arrived: DateTime<Utc>,
    due: Option<Slot>,
    origin: &Origin,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let day_ago = now - TimeDelta::days(1);
    if tx.count_outbox(Kind::Acknowledgement, Some(client.id), day_ago).await? >= ACKNOWLEDGEMENTS_A_DAY {
        return Ok(());
    }
    let recipe =
        Recipe::Acknowledgement { arrived, expected: due.map(|due| due.at), origin: origin.message_id.clone() };
    Post::to_client(Kind::Acknowledgement, client.id, now).enqueue(ctx, tx, &recipe, now).await?;
    tx.acknowledge_turn(turn).await?;
    Ok(())
}

/// Passes a filed message on: at once, or with the next digest.
pub async fn forward(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &Therapist,
    message: &Message,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let not_before = match therapist.settings.forward {
        _ if matches!(message.scan, Some(Scanned::A | Scanned::V)) => now,
        Forwarding::Each => now,
        // Just behind the digest that announces it.
        Forwarding::Daily => {
            let digest = next_digest(&therapist.digest, now).map(|slot| slot.at);
            // A letter that is due before the next digest can't wait for it.
            match digest.filter(|at| message.slot.is_none_or(|due| *at < due)) {
                Some(at) => at + TimeDelta::milliseconds(1),
                None => now,
            }
        }
    };
    let mut post = Post::to_therapist(Kind::Forward, therapist.id(), message.client, not_before);
    post.message = Some(message.id);
    post.mail_id = message.message_id.clone();
    post.enqueue(ctx, tx, &Recipe::Forward, now).await?;
    Ok(())
}

/// Passes a released message on at once.
pub async fn forward_now(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &Therapist,
    message: &Message,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let mut post = Post::to_therapist(Kind::Forward, therapist.id(), message.client, now);
    post.message = Some(message.id);
    post.mail_id = message.message_id.clone();
    post.enqueue(ctx, tx, &Recipe::Forward, now).await?;
    if ctx.config.imap.filing == Filing::Folders {
        tx.add_copy(message.id, now).await?;
    }
    Ok(())
}

/// Once in 30 days, and only to somebody whose key is known.
async fn about_keys(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    origin: &Origin,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let told = client.about_keys_at.is_some_and(|at| now - at < ABOUT_KEYS_EVERY);
    if client.certificate.is_none() || told {
        return Ok(());
    }
    let recipe = Recipe::AboutKeys { origin: origin.message_id.clone() };
    Post::to_client(Kind::AboutKeys, client.id, now).enqueue(ctx, tx, &recipe, now).await?;
    tx.set_about_keys_at(client.id, Some(now)).await?;
    Ok(())
}

async fn hold(
    ctx: &Context,
    tx: &mut Tx,
    sealed: &Sealed,
    now: DateTime<Utc>,
) -> Result<(Outcome, Option<Disposal>), AppError> {
    let Some(client) = &sealed.client else { return Ok((Outcome::SetAside, Some(Disposal::Attention))) };
    if !enrol::proven(sealed.verdict) {
        // An answer to an invitation counts as one also where unsigned mail is held.
        enrol::arrived(ctx, tx, sealed, now).await?;
    }
    let day_ago = now - TimeDelta::days(1);
    let safety = crisis::safety(tx, sealed, now).await?;
    if tx.count_held(client.id, day_ago).await? >= u64::from(ctx.config.intake.limits.held_a_day) {
        tx.count_up(&held_beyond_key(client, now)).await?;
        tx.journal(now, "held-beyond-ceiling", Some(&client.code), json!({ "verdict": sealed.verdict })).await?;
        crisis::raise(ctx, tx, sealed, Place { safety, ..Place::default() }, now).await?;
        return Ok((Outcome::SetAside, Some(Disposal::Attention)));
    }
    let number = tx.next_held_no().await?;
    let row = Message { held_no: Some(number), ..message(sealed, Kind::Letter, MessageState::Held) };
    keep(tx, &row, sealed).await?;
    if let Some((signer, digest, _)) = &sealed.signature {
        tx.hold_signature(sealed.row, signer, digest).await?;
    }
    let passed_on = releasable(&row);
    let place = Place { number: Some(format!("H{number}")), safety, passed_on, ..Place::default() };
    crisis::raise(ctx, tx, sealed, place, now).await?;
    if tx.count_outbox(Kind::HeldNotice, Some(client.id), day_ago).await? == 0 {
        let mut post = Post::to_therapist(Kind::HeldNotice, sealed.therapist.id(), Some(client.id), now);
        post.message = Some(sealed.row);
        post.enqueue(ctx, tx, &Recipe::HeldNotice, now).await?;
    }
    // What the mailbox's own server calls forged is not answered: who reads the answer didn't write.
    let answered = !sealed.automatic && !sealed.marks.contains(&Mark::DmarcFail);
    if sealed.verdict == Verdict::Undecryptable
        && answered
        && tx.count_outbox(Kind::Undecryptable, Some(client.id), day_ago).await? == 0
    {
        let recipe = Recipe::Undecryptable { origin: sealed.origin.message_id.clone() };
        Post::to_client(Kind::Undecryptable, client.id, now).enqueue(ctx, tx, &recipe, now).await?;
    }
    if client.channel == Channel::Pdf {
        sealed_letters::advise(ctx, tx, client, sealed, now).await?;
    } else if matches!(sealed.verdict, Verdict::Unsigned | Verdict::UnknownSigner) && answered {
        about_keys(ctx, tx, client, &sealed.origin, now).await?;
    }
    let detail = json!({ "verdict": sealed.verdict, "marks": sealed.marks, "number": format!("H{number}") });
    tx.journal(now, "held", Some(&client.code), detail).await?;
    Ok((Outcome::Held, Some(Disposal::Remove)))
}

/// The counter of held mail beyond the ceiling, by the day.
pub fn held_beyond_key(client: &Client, now: DateTime<Utc>) -> String {
    format!("held-beyond:{}:{}", client.code, now.date_naive())
}

async fn aside(
    ctx: &Context,
    tx: &mut Tx,
    action: &Action,
    bytes_hash: &[u8; 32],
    stranger: Option<&Address>,
    now: DateTime<Utc>,
) -> Result<Option<Disposal>, AppError> {
    Ok(Some(match action {
        Action::Drop(why) => {
            let why = match why {
                Dropped::Replayed => "replayed",
                Dropped::SameBytes => "same-bytes",
                Dropped::Own => "own",
            };
            tx.journal(now, "dropped", None, json!({ "why": why })).await?;
            Disposal::Remove
        }
        Action::Attention => {
            tx.remember_bytes(bytes_hash, None, now).await?;
            tx.journal(now, "attention", None, json!({ "why": "nobody can be named" })).await?;
            health::alarm(ctx, tx, &Problem { count: Some(1), ..Problem::new("attention") }, now).await?;
            Disposal::Attention
        }
        _ => {
            if let Some(stranger) = stranger {
                requests::answer_stranger(ctx, tx, stranger, None, &[], now).await?;
            }
            tx.count_up("others").await?;
            tx.journal(now, "others", None, json!({})).await?;
            Disposal::Others
        }
    }))
}

async fn over_limit(
    ctx: &Context,
    tx: &mut Tx,
    client: Option<&Client>,
    therapist: Option<&Therapist>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    if let Some(therapist) = therapist {
        let limit = ctx.config.intake.max_message;
        refusal::send_refusal(ctx, tx, therapist, None, RefusalReason::TooLarge { limit }.into(), now).await?;
        return Ok(());
    }
    if let Some(client) = client {
        let day_ago = now - TimeDelta::days(1);
        if tx.count_outbox(Kind::TooLarge, Some(client.id), day_ago).await? == 0 {
            let recipe = Recipe::TooLarge { origin: None };
            Post::to_client(Kind::TooLarge, client.id, now).enqueue(ctx, tx, &recipe, now).await?;
        }
    }
    tx.journal(now, "over-limit", client.map(|client| &client.code), json!({})).await?;
    health::alarm(ctx, tx, &Problem { count: Some(1), ..Problem::new("attention") }, now).await
}

/// Whether held mail may be passed on at all.
pub fn releasable(message: &Message) -> bool {
    message.verdict != Some(Verdict::Undecryptable) && !message.marks.contains(&Mark::IntegrityFailed)
}
