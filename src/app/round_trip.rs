//! `check --round-trip`: a sealed mail to the practice's own mailbox, seen to come back.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::compose::{self, Head, MailError};
use super::context::Context;
use super::send::NULL_PATH_REFUSED;
use super::{AppError, guard, settings, write};
use crate::mime::{self, Envelope};
use crate::model::Kind;
use crate::net::{ImapSession, NetError, SendResult, SmtpConnection};
use crate::pgp::{self, SignatureCheck};
use crate::store::StoreError;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// A round trip that was seen to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trip {
    pub took: Duration,
    /// A running daemon had taken the mail first, and journalled it as the practice's own.
    pub taken_by_daemon: bool,
    pub in_junk: bool,
    /// The server refused `MAIL FROM:<>`.
    pub null_path_refused: bool,
}

impl fmt::Display for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f32();
        match self.taken_by_daemon {
            true => write!(f, "a sealed mail came back after {seconds:.1} s; the running daemon knew it as its own"),
            false => {
                write!(f, "a sealed mail came back after {seconds:.1} s, opened, and bore the practice's signature")
            }
        }
    }
}

/// Why the mail wasn't seen to come back.
#[derive(Debug, thiserror::Error)]
pub enum TripError {
    #[error("the mail could not be made or the database not be used")]
    App(#[from] AppError),
    #[error("the mail could not be handed over: {0}")]
    Smtp(NetError),
    #[error("the server refused the mail to the practice's own address ({code})")]
    NotSent { code: u16 },
    #[error("{0}")]
    Imap(NetError),
    #[error("the mail was handed over and did not arrive within {seconds} s")]
    NotSeen { seconds: u64 },
    #[error("the mail came back and the practice's key could not open it")]
    NotOpened,
    #[error("the mail came back without the practice's good signature")]
    NotOurs,
}

impl TripError {
    /// What a person can do.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::App(_) => "run `cadre check` without --round-trip and mend what it names",
            Self::Smtp(_) | Self::Imap(_) => "run `cadre check` again; if it stays, ask the provider",
            Self::NotSent { .. } => "the log-in may not be allowed to send as the practice's address; ask the provider",
            Self::NotSeen { .. } => {
                "see whether [practice] address is delivered to this mailbox, and look into the provider's queue or filters"
            }
            Self::NotOpened | Self::NotOurs => "something on the way changes mail; ask the provider about filters",
        }
    }
}

impl From<StoreError> for TripError {
    fn from(error: StoreError) -> Self {
        Self::App(error.into())
    }
}

impl From<MailError> for TripError {
    fn from(error: MailError) -> Self {
        Self::App(error.into())
    }
}

/// Sends the mail and looks for it until it is there, is opened, verified and removed, or `limit` is over.
/// `progress` is told how long it has waited.
///
/// # Errors
/// [`TripError`]
pub async fn make(ctx: &Arc<Context>, limit: Duration, mut progress: impl FnMut(Duration)) -> Result<Trip, TripError> {
    let before = ctx.store.read().await?.journal_head().await?.count;
    let (id, null_path_refused) = send(ctx).await?;
    let began = Instant::now();
    let mut imap = ImapSession::connect(&settings::imap(&ctx.config).await?).await.map_err(TripError::Imap)?;
    let places = places(ctx, &mut imap).await?;
    loop {
        for (folder, junk) in &places {
            if let Some(raw) = take(&mut imap, folder, &id).await.map_err(TripError::Imap)? {
                imap.logout().await;
                verify(ctx, &raw)?;
                return Ok(Trip { took: began.elapsed(), taken_by_daemon: false, in_junk: *junk, null_path_refused });
            }
        }
        if dropped_as_own(ctx, before).await? {
            imap.logout().await;
            return Ok(Trip { took: began.elapsed(), taken_by_daemon: true, in_junk: false, null_path_refused });
        }
        if began.elapsed() >= limit {
            imap.logout().await;
            return Err(TripError::NotSeen { seconds: limit.as_secs() });
        }
        progress(began.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
}

/// The mail's Message-ID, and whether the empty return path was refused.
async fn send(ctx: &Arc<Context>) -> Result<(String, bool), TripError> {
    let now = ctx.clock.now();
    let id = compose::new_message_id(ctx);
    let head = Head { message_id: id.clone(), at: now, in_reply_to: None, references: Vec::new(), automatic: true };
    let draft = write::round_trip(ctx, head).seal(ctx, now)?;
    guard::check(Kind::RoundTrip, &draft, &ctx.config.practice.address).map_err(|_| TripError::App(AppError::Task))?;
    let settings = settings::smtp(&ctx.config).await?;
    let mut smtp = SmtpConnection::connect(&settings).await.map_err(TripError::Smtp)?;
    let to = std::slice::from_ref(&ctx.config.practice.address);
    let mut outcome = smtp.send(None, to, &draft).await;
    let refused = outcome.refused_null_path();
    if refused {
        let mut tx = ctx.store.begin().await?;
        tx.set_meta(NULL_PATH_REFUSED, "1").await?;
        tx.commit().await?;
        outcome = smtp.send(Some(&ctx.config.practice.address), to, &draft).await;
    }
    smtp.quit().await;
    match outcome.result {
        SendResult::Accepted { .. } => Ok((id, refused)),
        SendResult::Temporary { code, .. } | SendResult::Permanent { code, .. } => Err(TripError::NotSent { code }),
        SendResult::NotSent(error) | SendResult::MaybeDelivered(error) => Err(TripError::Smtp(error)),
    }
}

/// Where the mail may turn up, and whether that is the junk folder.
async fn places(ctx: &Context, imap: &mut ImapSession) -> Result<Vec<(String, bool)>, TripError> {
    let inbox = imap.written_name(&ctx.config.imap.inbox);
    let mut places = vec![(inbox, false), (imap.folder_name(&["Cadre", "Others"]), false)];
    if let Some(junk) = imap.junk_folder().await.map_err(TripError::Imap)? {
        places.push((junk, true));
    }
    Ok(places)
}

/// Fetches and removes the mail, if this folder has it.
async fn take(imap: &mut ImapSession, folder: &str, id: &str) -> Result<Option<Vec<u8>>, NetError> {
    if !imap.contains_message_id(folder, &format!("<{id}>")).await? {
        return Ok(None);
    }
    imap.select(folder).await?;
    // The id is our own: hexadecimal digits and the practice's domain.
    let uids = imap.uids(&format!("HEADER Message-ID \"{id}\"")).await?;
    let mut fetched = imap.fetch(&uids).await;
    if let Some(error) = fetched.ended {
        return Err(error);
    }
    // None: somebody took it meanwhile.
    let Some((uid, raw)) = fetched.mails.pop() else { return Ok(None) };
    imap.remove(&[uid]).await?;
    Ok(Some(raw))
}

fn verify(ctx: &Context, raw: &[u8]) -> Result<(), TripError> {
    let Ok(Envelope::Encrypted { ciphertext, .. }) = mime::envelope(raw, &ctx.limits) else {
        return Err(TripError::NotOpened);
    };
    let own = vec![ctx.key.certificate().clone()];
    let limits = pgp::Limits { plaintext: ctx.limits.decompressed, ..pgp::Limits::default() };
    let opened =
        pgp::open(&ciphertext, &ctx.keys(), &own, ctx.clock.now(), &limits).map_err(|_| TripError::NotOpened)?;
    match opened.signature {
        SignatureCheck::Good(by) if by.fingerprint == own[0].fingerprint() => Ok(()),
        _ => Err(TripError::NotOurs),
    }
}

/// Whether a daemon that runs meanwhile has taken the practice's own mail.
async fn dropped_as_own(ctx: &Context, before: u64) -> Result<bool, StoreError> {
    let entries = ctx.store.read().await?.journal_entries(before + 1, 500).await?;
    Ok(entries.iter().any(|entry| entry.kind == "dropped" && entry.detail["why"] == "own"))
}
