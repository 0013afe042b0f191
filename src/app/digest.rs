//! Collects what the digest lists; `domain::digest` puts it in order.

use chrono::{DateTime, TimeDelta, Utc};

use super::AppError;
use super::context::{Context, Therapist};
use super::health;
use super::intake;
use super::post::{Post, Recipe};
use super::tick::days_left;
use crate::domain::digest::{
    self as rules, Absence, ClientLine, Digest, Facts, FailureLine, HeldLine, JournalHead, KeyLine, KeyOwner,
    RequestLine, WaitingLine,
};
use crate::letters::DueLine;
use crate::model::{ClientState, Kind, MessageState, TurnState, Verdict};
use crate::pgp::Certificate;
use crate::store::{Client, Message, StoreError, Tx};

/// Keys that expire within this time are listed.
pub const KEY_WARNING: TimeDelta = TimeDelta::days(30);

/// Puts a digest into the outbox, to be written when it leaves.
pub async fn enqueue(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &Therapist,
    slot: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let post = Post::to_therapist(Kind::Digest, therapist.id(), None, slot);
    post.enqueue(ctx, tx, &Recipe::Digest { slot }, now).await?;
    Ok(())
}

/// The digest of one therapist, arranged.
pub async fn sheet(ctx: &Context, tx: &mut Tx, therapist: &Therapist, at: DateTime<Utc>) -> Result<Digest, AppError> {
    let (sound, _) = health::sound_clients(tx).await?;
    let clients: Vec<Client> = sound
        .into_iter()
        .filter(|client| client.therapist == *therapist.id())
        .filter(|c| !matches!(c.state, ClientState::Archived | ClientState::Erased | ClientState::Declined))
        .collect();
    let now = ctx.clock.now();
    let mut lines = Vec::with_capacity(clients.len());
    let mut held_beyond = 0;
    for client in &clients {
        lines.push(client_line(ctx, tx, therapist, client, now).await?);
        for day in [now, now - TimeDelta::days(1)] {
            held_beyond += tx.counter(&intake::held_beyond_key(client, day)).await?;
        }
    }
    let find = |id| clients.iter().find(|client| Some(client.id) == id);
    let held_all: Vec<Message> =
        tx.held().await?.into_iter().filter(|m| m.therapist.as_ref() == Some(therapist.id())).collect();
    let (held_replies, held): (Vec<_>, Vec<_>) = held_all.into_iter().partition(|m| m.kind == Kind::Reply);
    let mut waiting = waiting_lines(tx, therapist, &find).await?;
    waiting.extend(held_replies.iter().filter_map(|reply| {
        let client = find(reply.client)?;
        Some(WaitingLine {
            code: client.code.clone(),
            label: client.label.clone(),
            slot: None,
            number: reply.held_no.map(|n| format!("H{n}")),
        })
    }));
    let head = tx.journal_head().await?;
    let facts = Facts {
        at,
        zone: therapist.settings.timezone,
        next_slot: therapist.schedule.next_slot(at).map(|slot| slot.at),
        clients: lines,
        held: held.iter().map(|message| held_line(message, find(message.client))).collect(),
        held_beyond: u32::try_from(held_beyond).unwrap_or(u32::MAX),
        requests: request_lines(tx, therapist, now).await?,
        requests_beyond: 0,
        waiting,
        keys: key_lines(ctx, therapist, &clients, now),
        failures: failure_lines(tx, therapist, &find, now).await?,
        absence: absence(ctx, therapist, now),
        journal: JournalHead { count: head.count, head: head.hex()[..16].to_owned() },
    };
    Ok(rules::arrange(facts))
}

async fn client_line(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &Therapist,
    client: &Client,
    now: DateTime<Utc>,
) -> Result<ClientLine, AppError> {
    let turn = tx.last_turn(client.id).await?;
    let open = turn.as_ref().filter(|turn| turn.state == TurnState::Open);
    let letters = match open {
        Some(turn) => tx.letters_in_turn(turn.id).await?,
        None => Vec::new(),
    };
    let last = tx.last_letter_at(client.id).await?;
    let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let mut marks: Vec<_> = letters.iter().flat_map(|letter| letter.marks.iter().copied()).collect();
    marks.sort_unstable();
    marks.dedup();
    let due = open.and_then(|turn| turn.due_at);
    let grace = ctx.schedule(therapist, client).grace();
    Ok(ClientLine {
        label: client.label.clone(),
        code: client.code.clone(),
        state: client.state,
        turn: turn.as_ref().map_or(TurnState::None, |turn| turn.state),
        due,
        letters: small(letters.len() as u64),
        words: small(letters.iter().map(|letter| letter.words).sum()),
        attachments: letters.iter().map(|letter| letter.attachments).sum(),
        oldest: letters.first().map(|letter| letter.at),
        verdict: letters.iter().filter_map(|letter| letter.verdict).max_by_key(|verdict| rank(*verdict)),
        marks,
        scan: None,
        days_silent: last.map(|at| small((now - at).num_days().max(0).unsigned_abs())),
        overdue: due.is_some_and(|due| due + grace < now),
    })
}

/// From good to bad, so that the least good verdict of a turn is the one that is shown.
fn rank(verdict: Verdict) -> usize {
    let order = [
        Verdict::Verified,
        Verdict::Vouched,
        Verdict::Replayed,
        Verdict::Unsigned,
        Verdict::UnknownSigner,
        Verdict::Undecryptable,
        Verdict::Partial,
        Verdict::WrongSigner,
        Verdict::Bad,
    ];
    order.iter().position(|known| *known == verdict).unwrap_or(order.len())
}

async fn waiting_lines<'c>(
    tx: &mut Tx,
    therapist: &Therapist,
    find: &impl Fn(Option<crate::model::ClientId>) -> Option<&'c Client>,
) -> Result<Vec<WaitingLine>, AppError> {
    let waiting = tx.all_waiting().await?;
    Ok(waiting
        .iter()
        .filter(|message| message.kind == Kind::Reply && message.therapist.as_ref() == Some(therapist.id()))
        .filter_map(|message| {
            let client = find(message.client)?;
            Some(WaitingLine {
                code: client.code.clone(),
                label: client.label.clone(),
                slot: message.slot,
                number: None,
            })
        })
        .collect())
}

fn held_line(message: &Message, client: Option<&Client>) -> HeldLine {
    HeldLine {
        number: message.held_no.map_or_else(String::new, |n| format!("H{n}")),
        code: client.map(|client| client.code.clone()),
        label: client.and_then(|client| client.label.clone()),
        verdict: message.verdict.unwrap_or(Verdict::Bad),
        marks: message.marks.clone(),
        arrived: message.at,
        releasable: intake::releasable(message),
    }
}

async fn request_lines(tx: &mut Tx, therapist: &Therapist, now: DateTime<Utc>) -> Result<Vec<RequestLine>, AppError> {
    let since = now - TimeDelta::days(intake::REQUEST_DAYS);
    let requests = tx.requests(since).await?;
    Ok(requests
        .into_iter()
        .filter(|m| m.therapist.as_ref() == Some(therapist.id()) && m.state == MessageState::Filed)
        .map(|message| RequestLine {
            number: message.request_code.unwrap_or_default(),
            arrived: message.at,
            words: u32::try_from(message.words).unwrap_or(u32::MAX),
            verdict: message.verdict.unwrap_or(Verdict::Unsigned),
        })
        .collect())
}

fn key_lines(ctx: &Context, therapist: &Therapist, clients: &[Client], now: DateTime<Utc>) -> Vec<KeyLine> {
    let soon = |certificate: &Certificate| certificate.expires_at(now).filter(|at| *at - now <= KEY_WARNING);
    let mut lines = Vec::new();
    let mut staff = |owner, certificate: &Certificate| {
        if let Some(expires) = soon(certificate) {
            lines.push(KeyLine { code: None, label: None, owner, expires, days: days_left(expires, now) });
        }
    };
    staff(KeyOwner::Therapist, &therapist.certificate);
    staff(KeyOwner::Practice, ctx.key.certificate());
    if let Some(archive) = &ctx.archive {
        staff(KeyOwner::Archive, archive);
    }
    for client in clients {
        if let Some(expires) = ctx.client_certificate(client).as_ref().and_then(soon) {
            lines.push(KeyLine {
                code: Some(client.code.clone()),
                label: client.label.clone(),
                owner: KeyOwner::Client,
                expires,
                days: days_left(expires, now),
            });
        }
    }
    lines
}

async fn failure_lines<'c>(
    tx: &mut Tx,
    therapist: &Therapist,
    find: &impl Fn(Option<crate::model::ClientId>) -> Option<&'c Client>,
    now: DateTime<Utc>,
) -> Result<Vec<FailureLine>, AppError> {
    let failed = tx.failed_since(now - TimeDelta::days(3)).await?;
    Ok(failed
        .into_iter()
        .filter(|row| row.therapist.as_ref() == Some(therapist.id()) || find(row.client).is_some())
        .map(|row| {
            let client = find(row.client);
            FailureLine {
                code: client.map(|client| client.code.clone()),
                label: client.and_then(|client| client.label.clone()),
                kind: row.kind,
                at: row.finished_at.unwrap_or(row.created_at),
            }
        })
        .collect())
}

fn absence(ctx: &Context, therapist: &Therapist, now: DateTime<Utc>) -> Option<Absence> {
    let today = therapist.schedule.local_day(now);
    ctx.config
        .absences_of(therapist.id())
        .filter(|absence| absence.to >= today)
        .min_by_key(|absence| absence.from)
        .map(|absence| Absence { from: absence.from, to: absence.to })
}

/// What is due at a slot and not answered: for the reminder.
pub async fn due_lines(tx: &mut Tx, therapist: &Therapist, slot: DateTime<Utc>) -> Result<Vec<DueLine>, AppError> {
    let mut lines = Vec::new();
    for turn in tx.open_turns().await? {
        if turn.due_at.is_none_or(|due| due > slot) {
            continue;
        }
        let client = match tx.client(turn.client).await {
            Ok(Some(client)) => client,
            Ok(None) | Err(StoreError::Tampered { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        if client.therapist != *therapist.id() || !client.state.in_treatment() {
            continue;
        }
        let letters = tx.letters_in_turn(turn.id).await?;
        lines.push(DueLine {
            code: client.code,
            label: client.label,
            letters: u32::try_from(letters.len()).unwrap_or(u32::MAX),
            oldest: letters.first().map_or(turn.opened_at, |letter| letter.at),
        });
    }
    Ok(lines)
}
