//! `run --once`: one pass of all that the daemon does.

use std::sync::Arc;

use serde::Serialize;

use super::{SEEN_UNTIL, note_sent, put_all_down, recover};
use crate::app::AppError;
use crate::app::context::Context;
use crate::app::daily::daily;
use crate::app::erasure;
use crate::app::filing;
use crate::app::health;
use crate::app::heartbeat;
use crate::app::send::{Sender, Sent};
use crate::app::settings;
use crate::app::tick::tick;
use crate::app::watch::{self, Passed};
use crate::net::{ImapSession, SmtpSubmitter};

/// Counts of `run --once`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub fetched: u32,
    pub filed: u32,
    pub held: u32,
    pub dropped: u32,
    pub failed: u32,
    pub released: u32,
    pub digests: u32,
    pub sent: u32,
    pub deferred: u32,
}

impl Counts {
    fn of(passed: Passed, sent: Sent) -> Self {
        Self {
            fetched: passed.fetched,
            filed: passed.filed,
            held: passed.held,
            dropped: passed.dropped,
            failed: passed.failed + sent.failed,
            released: sent.released,
            digests: sent.digests,
            sent: sent.sent,
            deferred: sent.deferred,
        }
    }
}

/// One pass: fetch, release, digest, send; by who is alone with the database, or has its mailbox. Servers that fail are
/// named, and the other half is done all the same.
///
/// # Errors
/// The first error, with the counts of what was done.
pub async fn once(ctx: Arc<Context>) -> (Counts, Result<(), AppError>) {
    let mut passed = Passed::default();
    let now = ctx.clock.now();
    let fetched = match recover(&ctx, now).await {
        Ok(()) => fetch_once(&ctx, &mut passed).await,
        Err(error) => Err(error),
    };
    // The command doesn't wait for a mail server, nor the mails for the command.
    let ((sent, outgoing), called) = tokio::join!(send_once(&ctx), health::run_pending(&ctx));
    if let Err(error) = called {
        tracing::error!(%error, "the alarm command couldn't be run");
    }
    let fetched = match fetched {
        Ok(Some(mut imap)) => {
            // Sent letters have copies too.
            let inbox = imap.written_name(&ctx.config.imap.inbox);
            let finished = match filing::finish(&ctx, &mut imap, &inbox).await {
                Ok(()) => erasure::advance(&ctx, &mut imap, &inbox).await,
                Err(error) => Err(error),
            };
            imap.logout().await;
            finished
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = health::run_pending(&ctx).await {
        tracing::error!(%error, "the alarm command couldn't be run");
    }
    put_all_down(&ctx.store).await;
    let outcome = fetched.and(outgoing);
    if outcome.is_ok() {
        let _ = heartbeat::once(&ctx).await;
    }
    (Counts::of(passed, sent), outcome)
}

async fn fetch_once(ctx: &Arc<Context>, passed: &mut Passed) -> Result<Option<ImapSession>, AppError> {
    let began = ctx.clock.now();
    let outcome = async {
        let mut imap = ImapSession::connect(&settings::imap(&ctx.config).await?).await?;
        watch::pass(ctx, &mut imap, passed).await?;
        filing::clean_others(ctx, &mut imap, began).await?;
        Ok::<_, AppError>(imap)
    }
    .await;
    let now = ctx.clock.now();
    match outcome {
        Ok(imap) => {
            health::well(ctx, "imap", now).await?;
            let mut tx = ctx.store.begin().await?;
            tx.set_meta_time(SEEN_UNTIL, began).await?;
            tx.commit().await?;
            Ok(Some(imap))
        }
        Err(error) => {
            if let AppError::Net(net) = &error {
                health::unwell(ctx, "imap", net, now).await?;
            }
            Err(error)
        }
    }
}

async fn send_once(ctx: &Arc<Context>) -> (Sent, Result<(), AppError>) {
    let work = async {
        let now = ctx.clock.now();
        let seen = ctx.store.read().await?.meta_time(SEEN_UNTIL).await?;
        let ticked = tick(ctx, seen, now).await;
        let ticked = ticked.and(daily(ctx, now).await);
        let smtp = SmtpSubmitter::new(settings::smtp(&ctx.config).await?);
        let mut sender = Sender::new(Arc::clone(ctx), smtp);
        let sent = sender.pass().await?;
        sender.quit().await;
        note_sent(&ctx.store, sent, ctx.clock.now()).await?;
        Ok::<_, AppError>((sent, ticked))
    };
    match work.await {
        Ok((sent, _)) if sent.unreachable => (sent, Err(AppError::SmtpUnreachable)),
        Ok(done) => done,
        Err(error) => (Sent::default(), Err(error)),
    }
}
