//! Erasing a client (SPEC section 10): the order, and the steps that `run` works off, in whichever process.
//!
//! The last letter leaves first. Then every row goes in one transaction, the client's own key with them; then the
//! write-ahead log is cut, and the folder in the mailbox deleted. What is left is a code, counts and a certificate. A
//! crash between two steps is resumed: each of them can be done twice.

mod certificate;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::AppError;
use super::context::Context;
use super::filing;
use super::life;
use super::post::{Post, Recipe};
use super::send::Sender;
use super::settings;
use crate::domain::lifecycle::{Actor, Event};
use crate::failpoint::failpoint;
use crate::model::{Channel, ClientCode, ClientState, Kind, OutboxState};
use crate::net::{ImapSession, SmtpSubmitter};
use crate::pgp::Purpose;
use crate::store::{Client, Erasure, StoreError, Tx};

/// The last letter, and what else is on its way, is waited for so long.
const LETTER_WITHIN: TimeDelta = TimeDelta::days(7);

/// Why a record isn't erased now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    #[error("the record is under legal hold: `client hold CODE --end` when it is over")]
    LegalHold,
    #[error("it is erased already, or being erased")]
    UnderWay,
    #[error("letters of the client's wait for an answer: the therapist answers or sends `/close`")]
    OpenTurn,
    #[error("{count} letter(s) of the therapist's wait to leave: they would not leave")]
    Waiting { count: usize },
    #[error("{count} letter(s) are held and not decided about: the therapist sends `/release` or `/discard`")]
    Held { count: usize },
    #[error("an alert about this client is not answered")]
    Alert,
}

impl Obstacle {
    /// Whether a person may say "all the same".
    pub fn yields(&self) -> bool {
        !matches!(self, Self::LegalHold | Self::UnderWay)
    }
}

/// What stands in the way of erasing a client.
///
/// # Errors
/// [`AppError`] of the database.
pub async fn obstacles(tx: &mut Tx, client: &Client) -> Result<Vec<Obstacle>, AppError> {
    let mut found = Vec::new();
    if client.state == ClientState::Erased {
        found.push(Obstacle::UnderWay);
    }
    if client.care.legal_hold.is_some() {
        found.push(Obstacle::LegalHold);
    }
    if let Some(turn) = tx.current_turn(client.id).await?
        && !tx.letters_in_turn(turn.id).await?.is_empty()
    {
        found.push(Obstacle::OpenTurn);
    }
    let waiting = tx.unsent(client.id).await?.len() + tx.held_replies(client.id).await?.len();
    if waiting > 0 {
        found.push(Obstacle::Waiting { count: waiting });
    }
    let held =
        tx.held().await?.iter().filter(|held| held.client == Some(client.id) && held.kind != Kind::Reply).count();
    if held > 0 {
        found.push(Obstacle::Held { count: held });
    }
    if tx.open_alerts().await?.iter().any(|alert| alert.what.client == Some(client.id)) {
        found.push(Obstacle::Alert);
    }
    Ok(found)
}

/// Whether a last letter can reach this client, sealed.
async fn is_reachable(ctx: &Context, tx: &mut Tx, client: &Client, now: DateTime<Utc>) -> Result<bool, AppError> {
    if client.care.muted {
        return Ok(false);
    }
    if client.channel == Channel::Pdf {
        return Ok(tx.pdf_channel(client.id).await?.is_some_and(|channel| channel.told_at.is_some()));
    }
    let certificate = ctx.client_certificate(client);
    Ok(certificate.is_some_and(|certificate| certificate.usable_for(Purpose::Encrypt, now).is_ok()))
}

/// Orders that a client be erased: from now on nothing leaves to them but the last letter.
///
/// # Errors
/// [`AppError`]; what stands in the way is a value, and then nothing is ordered.
pub async fn order(
    ctx: &Context,
    client: &Client,
    force: bool,
    now: DateTime<Utc>,
) -> Result<Result<Erasure, Vec<Obstacle>>, AppError> {
    let mut tx = ctx.store.begin().await?;
    let Some(client) = tx.client(client.id).await? else {
        return Err(StoreError::Missing { table: "client", row: client.id.0 }.into());
    };
    let mut found = obstacles(&mut tx, &client).await?;
    found.retain(|obstacle| !(force && obstacle.yields()));
    if !found.is_empty() {
        return Ok(Err(found));
    }
    if life::change(ctx, &mut tx, &client, Event::Erase, Actor::Operator, now).await?.is_err() {
        return Ok(Err(vec![Obstacle::UnderWay]));
    }
    let letter_row = match is_reachable(ctx, &mut tx, &client, now).await? {
        true => {
            let recipe = Recipe::Life(life::papers::Paper::Erasure);
            Some(Post::to_client(Kind::Erasure, client.id, now).enqueue(ctx, &mut tx, &recipe, now).await?)
        }
        false => None,
    };
    let letter = if letter_row.is_some() { OutboxState::Waiting.as_str() } else { "none" };
    let erasure = Erasure {
        code: client.code,
        client: client.id,
        asked_at: now,
        letter_row,
        letter: letter.to_owned(),
        counts: None,
        rows_at: None,
        folder_at: None,
        done_at: None,
        certificate: None,
    };
    tx.order_erasure(&erasure).await?;
    tx.commit().await?;
    Ok(Ok(erasure))
}

/// Orders again what a database had done whose place an older one takes: without a letter, which was sent then. Which
/// clients are there again.
///
/// # Errors
/// [`StoreError`].
pub async fn again(tx: &mut Tx, known: &[Erasure], now: DateTime<Utc>) -> Result<Vec<ClientCode>, StoreError> {
    let mut codes = Vec::new();
    for erasure in known {
        let Some(client) = tx.client_by_code(&erasure.code).await? else { continue };
        // Ended since, as far as the copy knows of one.
        if client.care.legal_hold.is_some() {
            tx.set_legal_hold(client.id, None).await?;
        }
        if client.state != ClientState::Erased {
            tx.set_client_state(client.id, ClientState::Erased).await?;
        }
        tx.order_erasure(&Erasure { client: client.id, asked_at: now, letter_row: None, ..erasure.clone() }).await?;
        tx.journal(now, "erasure-again", Some(&client.code), json!({})).await?;
        codes.push(client.code);
    }
    Ok(codes)
}

/// Takes every erasure that is under way as far as it goes now. A server that says no is asked again at the next look.
///
/// # Errors
/// [`AppError`] of the database, or of a session with the mail server that ended.
pub async fn advance(ctx: &Context, imap: &mut ImapSession, inbox: &str) -> Result<(), AppError> {
    let open = ctx.store.read().await?.open_erasures().await?;
    for erasure in open {
        match step(ctx, imap, inbox, erasure).await {
            Ok(()) => {}
            Err(AppError::Net(error)) if error.ends_session() => return Err(error.into()),
            Err(AppError::Net(error)) => {
                tracing::warn!(%error, "the folder of an erased client can't be deleted; it is tried again");
            }
            Err(AppError::Store(error @ (StoreError::Tampered { .. } | StoreError::Corrupt { .. }))) => {
                tracing::error!(%error, "a client can't be erased");
            }
            // The practice's key is revoked: the next one signs.
            Err(AppError::Mail(error)) => tracing::warn!(%error, "a certificate of erasure can't be signed yet"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn step(ctx: &Context, imap: &mut ImapSession, inbox: &str, mut erasure: Erasure) -> Result<(), AppError> {
    if erasure.rows_at.is_none() && !erase_rows(ctx, &mut erasure).await? {
        return Ok(());
    }
    if !ctx.store.forget_deleted(&erasure.code).await? {
        tracing::info!("somebody reads the database: what deleted rows leave on disk is taken away at the next look");
        return Ok(());
    }
    failpoint("erasure-log");
    if erasure.folder_at.is_none() {
        let folder = imap.folder_name(&["Cadre", erasure.code.as_str()]);
        let there = imap.delete_folder(&folder, inbox).await?;
        failpoint("erasure-folder");
        ctx.known_folders.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&folder);
        if let Some(counts) = &mut erasure.counts {
            counts.folder += there as u64;
        }
        erasure.folder_at = Some(ctx.clock.now());
    }
    end(ctx, erasure).await
}

/// What `client erase` does where no daemon runs, alone with the practice: the last letter leaves with what else is due,
/// then the record goes. Nothing is fetched, and the clock brings nothing about.
///
/// # Errors
/// The first error; what isn't done is done by the next `run`.
pub async fn now(ctx: Arc<Context>) -> Result<(), AppError> {
    let mut tx = ctx.store.begin().await?;
    tx.resume_attempts(ctx.clock.now()).await?;
    tx.commit().await?;
    let mut sender = Sender::new(Arc::clone(&ctx), SmtpSubmitter::new(settings::smtp(&ctx.config).await?));
    let sent = sender.pass().await;
    sender.quit().await;
    let sent = sent?;
    let mut imap = ImapSession::connect(&settings::imap(&ctx.config).await?).await?;
    let inbox = imap.written_name(&ctx.config.imap.inbox);
    filing::finish(&ctx, &mut imap, &inbox).await?;
    advance(&ctx, &mut imap, &inbox).await?;
    imap.logout().await;
    if sent.unreachable { Err(AppError::SmtpUnreachable) } else { Ok(()) }
}

/// Deletes the rows once nothing is on its way any more; whether they are gone.
async fn erase_rows(ctx: &Context, erasure: &mut Erasure) -> Result<bool, AppError> {
    let now = ctx.clock.now();
    let mut tx = ctx.store.begin().await?;
    if tx.client(erasure.client).await?.is_some_and(|client| client.care.legal_hold.is_some()) {
        tracing::warn!(code = %erasure.code, "an erasure waits: the record is under legal hold");
        return Ok(false);
    }
    if tx.is_under_way(erasure.client).await? && now - erasure.asked_at < LETTER_WITHIN {
        return Ok(false);
    }
    if let Some(row) = erasure.letter_row {
        let letter = tx.outbox(row).await?.map(|letter| letter.state);
        erasure.letter = letter.unwrap_or(OutboxState::Waiting).as_str().to_owned();
    }
    erasure.counts = Some(tx.count_client(erasure.client).await?);
    erasure.rows_at = Some(now);
    tx.erase_client(erasure.client).await?;
    tx.set_erasure(erasure).await?;
    tx.journal(now, "erased-rows", Some(&erasure.code), json!({ "letter": erasure.letter })).await?;
    failpoint("erasure-rows");
    tx.commit().await?;
    failpoint("erasure-rows-gone");
    ctx.forget_certificate(erasure.client);
    Ok(true)
}

/// Everything is gone: the certificate, and its hash in the journal.
async fn end(ctx: &Context, mut erasure: Erasure) -> Result<(), AppError> {
    let now = ctx.clock.now();
    erasure.done_at = Some(now);
    let lines = ctx.store.read().await?.journal_lines_of(&erasure.code).await?;
    // One more: the line below.
    let signed = certificate::write(ctx, &erasure, lines + 1, now)?;
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(signed.as_bytes()));
    erasure.certificate = Some(signed);
    let mut tx = ctx.store.begin().await?;
    tx.set_erasure(&erasure).await?;
    tx.journal(now, "erasure-done", Some(&erasure.code), json!({ "certificate": hash })).await?;
    tx.commit().await?;
    tracing::info!(code = %erasure.code, "a client's record is erased");
    Ok(())
}
