//! Collects what the digest lists; `domain::digest` puts it in order.

use chrono::{DateTime, TimeDelta, Utc};

use super::AppError;
use super::context::{Context, Therapist};
use super::enrol;
use super::intake;
use super::life;
use super::post::{Post, Recipe};
use super::tick::days_left;
use crate::domain::digest::{
    self as rules, Absence, AlertLine, ClientLine, Digest, Facts, FailureLine, HeldLine, JournalHead, KeyLine,
    KeyOwner, NoticeLine, RecordLine, RequestLine, Scan, WaitingLine,
};
use crate::domain::enrolment::FORGET_AFTER;
use crate::letters::DueLine;
use crate::model::{Channel, ClientId, ClientState, Fate, Kind, MessageState, Scanned, TurnState, Verdict};
use crate::pgp::Certificate;
use crate::store::{Alert, Client, Message, StoreError, Tx};

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
    let own = tx.clients_of(therapist.id()).await?.sound;
    // Whose alert nobody has answered, in whatever state they are.
    let open_alerts = tx.open_alerts().await?;
    let alerts: Vec<Option<ClientId>> = open_alerts.iter().map(|alert| alert.what.client).collect();
    let clients: Vec<Client> = own
        .iter()
        .filter(|c| {
            !matches!(c.state, ClientState::Archived | ClientState::Erased | ClientState::Declined)
                || alerts.contains(&Some(c.id))
        })
        .cloned()
        .collect();
    let now = ctx.clock.now();
    let mut lines = Vec::with_capacity(clients.len());
    let mut held_beyond = 0;
    for client in &clients {
        lines.push(client_line(ctx, tx, therapist, client, &alerts, now).await?);
        for day in [now, now - TimeDelta::days(1)] {
            held_beyond += tx.counter(&intake::held_beyond_key(client, day)).await?;
        }
    }
    // What is held or failed may be of somebody whose line isn't shown any more.
    let find = |id| own.iter().find(|client| Some(client.id) == id);
    let held_all: Vec<Message> = tx
        .held()
        .await?
        .into_iter()
        .filter(|m| match m.client {
            // Of a client who has another therapist by now it is theirs to discard.
            Some(_) => find(m.client).is_some(),
            None => m.therapist.as_ref() == Some(therapist.id()),
        })
        .collect();
    let (held_replies, held): (Vec<_>, Vec<_>) = held_all.into_iter().partition(|m| m.kind == Kind::Reply);
    // The letter to somebody who was declined may still wait.
    let mut waiting = waiting_lines(tx, therapist, &|id| own.iter().find(|client| Some(client.id) == id)).await?;
    waiting.extend(held_replies.iter().filter_map(|reply| {
        let client = find(reply.client)?;
        Some(WaitingLine {
            code: client.code.clone(),
            label: client.label.clone(),
            kind: reply.kind,
            slot: None,
            number: reply.held_no.map(|n| format!("H{n}")),
        })
    }));
    let head = tx.journal_head().await?;
    let facts = Facts {
        at,
        zone: therapist.settings.timezone,
        next_slot: therapist.schedule.next_slot(at).map(|slot| slot.at),
        alerts: alert_lines(&open_alerts, therapist, &find),
        clients: lines,
        held: held.iter().map(|message| held_line(message, find(message.client))).collect(),
        held_beyond: u32::try_from(held_beyond).unwrap_or(u32::MAX),
        requests: request_lines(tx, therapist, now).await?,
        waiting,
        keys: key_lines(ctx, therapist, &clients, now),
        failures: failure_lines(tx, therapist, &find, now).await?,
        noticed: notice_lines(tx, &find, now).await?,
        records: own.iter().filter(|client| life::retention_over(&ctx.config, client, now)).map(record_line).collect(),
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
    alerts: &[Option<ClientId>],
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
    let mut scans = tx.scans(client.id, now - TimeDelta::days(1)).await?;
    scans.extend(letters.iter().filter_map(|letter| letter.scan));
    let due = open.and_then(|turn| turn.due_at);
    let proposals = life::proposals(tx, client, now).await?;
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
        scan: worst(scans, alerts.contains(&Some(client.id))),
        days_silent: last.map(|at| small((now - at).num_days().max(0).unsigned_abs())),
        overdue: due.is_some_and(|due| due + grace < now),
        propose_checkin: proposals.check_in,
        ask_assessment: proposals.assessment,
        consent_pending: enrol::frame::awaited(tx, client).await?,
        sealed_letters: client.channel == Channel::Pdf,
        passphrase_waiting: tx.pdf_channel(client.id).await?.is_some_and(|channel| channel.told_at.is_none()),
        // One that nobody has confirmed in this time was hardly theirs.
        key_waiting: tx.offers(client.id).await?.iter().any(|offer| now - offer.at < FORGET_AFTER),
    })
}

/// A therapist's alerts that nobody has answered, the same class of the same person once, with its first hour.
fn alert_lines<'c>(
    alerts: &[Alert],
    therapist: &Therapist,
    find: &impl Fn(Option<ClientId>) -> Option<&'c Client>,
) -> Vec<AlertLine> {
    let own = alerts.iter().filter(|alert| alert.what.therapist == *therapist.id());
    let mut seen = Vec::new();
    let mut lines = Vec::new();
    for alert in own {
        let about = (alert.what.client, alert.what.number.as_ref(), alert.what.class);
        if seen.contains(&about) {
            continue;
        }
        seen.push(about);
        let client = find(alert.what.client);
        lines.push(AlertLine {
            code: client.map(|client| client.code.clone()),
            number: alert.what.number.clone(),
            label: client.and_then(|client| client.label.clone()),
            class: alert.what.class,
            first: alert.first_at,
        });
    }
    lines
}

/// What the scans of a client's letters come to on the sheet.
fn worst(scans: Vec<Scanned>, alert: bool) -> Option<Scan> {
    let has = |wanted: &[Scanned]| scans.iter().any(|scan| wanted.contains(scan));
    if alert || has(&[Scanned::A, Scanned::V, Scanned::B]) {
        Some(Scan::Alert)
    } else if has(&[Scanned::NotAnalysed]) {
        Some(Scan::NotAnalysed)
    } else {
        (!scans.is_empty()).then_some(Scan::Clear)
    }
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
    let waiting = tx.waiting_of(therapist.id()).await?;
    Ok(waiting
        .iter()
        .filter(|message| message.kind == Kind::Reply || message.kind.is_own_words())
        .filter_map(|message| {
            let client = find(message.client)?;
            Some(WaitingLine {
                code: client.code.clone(),
                label: client.label.clone(),
                kind: message.kind,
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
    let soon = |certificate: &Certificate| {
        certificate.expires_at(now).filter(|at| *at - now <= KEY_WARNING && certificate.revocation().is_none())
    };
    let mut lines = Vec::new();
    let mut staff = |owner, certificate: &Certificate| {
        if let Some(expires) = soon(certificate) {
            lines.push(KeyLine { code: None, label: None, owner, expires, days: days_left(expires, now) });
        }
    };
    if let Some(certificate) = therapist.certificate() {
        staff(KeyOwner::Therapist, certificate);
    }
    staff(KeyOwner::Practice, ctx.key.certificate());
    if let Some(archive) = &ctx.archive {
        staff(KeyOwner::Archive, archive);
    }
    for client in clients {
        if client.channel == Channel::OpenPgp
            && let Some(expires) = ctx.client_certificate(client).as_ref().and_then(soon)
        {
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
        .filter_map(|row| {
            let client = find(row.client);
            let kind = match &row.therapist {
                None if client.is_some() => row.kind,
                // Of the practice's own mail only letters are missed: a digest or a receipt of yesterday isn't.
                Some(to) if to == therapist.id() && matches!(row.kind, Kind::Forward | Kind::LocumForward) => {
                    Kind::Forward
                }
                _ => return None,
            };
            Some(FailureLine {
                code: client.map(|client| client.code.clone()),
                label: client.and_then(|client| client.label.clone()),
                kind,
                at: row.finished_at.unwrap_or(row.created_at),
            })
        })
        .collect())
}

async fn notice_lines<'c>(
    tx: &mut Tx,
    find: &impl Fn(Option<crate::model::ClientId>) -> Option<&'c Client>,
    now: DateTime<Utc>,
) -> Result<Vec<NoticeLine>, AppError> {
    let noticed = tx.noticed_since(now - TimeDelta::days(3)).await?;
    let to_clients = noticed.into_iter().filter(|row| row.therapist.is_none());
    Ok(to_clients
        .filter_map(|row| {
            let client = find(row.client)?;
            Some(NoticeLine {
                code: client.code.clone(),
                label: client.label.clone(),
                kind: row.kind,
                at: row.finished_at.unwrap_or(row.created_at),
                unclear: row.notice == Some(Fate::Unclear),
            })
        })
        .collect())
}

fn record_line(client: &Client) -> RecordLine {
    RecordLine {
        code: client.code.clone(),
        label: client.label.clone(),
        since: client.care.since.unwrap_or(client.created_at),
    }
}

fn absence(ctx: &Context, therapist: &Therapist, now: DateTime<Utc>) -> Option<Absence> {
    let absence = super::absence::nearest(ctx, therapist, now)?;
    let locum = absence.locum.and_then(|id| ctx.therapist(&id)).map(|locum| locum.settings.name.clone());
    Some(Absence { from: absence.first_day, to: absence.last_day, locum })
}

/// What is due at a slot and not answered: for the reminder.
pub async fn due_lines(tx: &mut Tx, therapist: &Therapist, slot: DateTime<Utc>) -> Result<Vec<DueLine>, AppError> {
    let mut lines = Vec::new();
    for turn in tx.open_turns_of(therapist.id()).await? {
        if turn.due_at.is_none_or(|due| due > slot) {
            continue;
        }
        let client = match tx.client(turn.client).await {
            Ok(Some(client)) => client,
            Ok(None) | Err(StoreError::Tampered { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        if !client.state.in_treatment() || client.care.muted {
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
