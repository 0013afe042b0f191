//! `cadre run` and `cadre run --once`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::TryFutureExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use super::progress::Bar;
use super::{Done, FAILED, complain, fail, open, print_json};
use crate::app::context::Context;
use crate::app::supervisor::{self, Signals};
use crate::app::{AppError, gateway};
use crate::letters::Letters;
use crate::notify;
use crate::store::RunLock;

/// More messages than this are a backlog, whose progress is shown.
const BACKLOG: u64 = 100;
/// How long an orderly end may take.
const END_WITHIN: std::time::Duration = std::time::Duration::from_millis(3500);
/// How long the database may take to close: it may be waiting for somebody who holds it. What is committed is safe.
const CLOSE_WITHIN: std::time::Duration = std::time::Duration::from_millis(700);

/// Runs one pass or the daemon, of one practice or of several; a second daemon on a SQLite database ends at once.
pub async fn run(config: &Path, others: &[PathBuf], json: bool, once: bool) -> Done {
    let mut practices = Vec::with_capacity(1 + others.len());
    for config in std::iter::once(config).chain(others.iter().map(PathBuf::as_path)) {
        let ctx = Arc::new(open(config).await?);
        let lock = match ctx.store.is_shared() {
            true => None,
            false => Some(ctx.store.at_rest().await.map_err(|error| fail(&error))?),
        };
        for problem in ctx.letters_read().into_iter().flat_map(Letters::problems) {
            tracing::warn!(%problem, "an operator's letter isn't used");
        }
        practices.push((ctx, lock));
    }
    if !once {
        return daemon(practices).await;
    }
    let mut done = Ok(());
    for (ctx, _lock) in practices {
        done = done.and(pass(ctx, json).await);
    }
    done
}

async fn pass(ctx: Arc<Context>, json: bool) -> Done {
    let bar = Bar::new(json, "messages");
    // The first onlooker; there is no other.
    let _ = ctx.onlooker.set(Box::new(move |done, of| {
        if of > BACKLOG {
            bar.at(done, of);
        }
    }));
    let (counts, outcome) = match ctx.store.is_shared() {
        true => gateway::once(Arc::clone(&ctx)).await,
        false => Box::pin(supervisor::once(Arc::clone(&ctx))).await,
    };
    ctx.store.close().await;
    if json {
        print_json(&counts)?;
    } else {
        println!(
            "fetched {}  filed {}  held {}  dropped {}  failed {}  released {}  digests {}  sent {}  deferred {}",
            counts.fetched,
            counts.filed,
            counts.held,
            counts.dropped,
            counts.failed,
            counts.released,
            counts.digests,
            counts.sent,
            counts.deferred
        );
    }
    outcome.map_err(|error| fail(&error)).and(if counts.failed > 0 { Err(FAILED) } else { Ok(()) })
}

/// One practice: alone with its database, or a gateway among others.
async fn serve(ctx: Arc<Context>, lock: Option<&RunLock>, signals: Signals) -> Result<(), AppError> {
    match lock {
        Some(lock) => supervisor::run(ctx, lock, signals).await,
        None => {
            gateway::run(ctx, signals).await;
            Ok(())
        }
    }
}

async fn daemon(practices: Vec<(Arc<Context>, Option<RunLock>)>) -> Done {
    // Before the first letter comes.
    for (ctx, _) in &practices {
        ctx.lexicon();
        ctx.letters();
    }
    let (stop, stopped) = watch::channel(false);
    // Before systemd hears that all is ready: an early SIGHUP must not end the program.
    let mut hangup = signal(SignalKind::hangup()).map_err(|error| fail(&error))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| fail(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| fail(&error))?;
    let therapists: usize = practices.iter().map(|(ctx, _)| ctx.therapists().len()).sum();
    tracing::info!(event = "start", practices = practices.len(), therapists, "running");
    notify::ready();
    let reloads: Vec<_> = practices.iter().map(|_| Arc::new(Notify::new())).collect();
    let work = practices.iter().zip(&reloads).map(|((ctx, lock), reload)| {
        let signals = Signals { stop: stopped.clone(), reload: Arc::clone(reload) };
        serve(Arc::clone(ctx), lock.as_ref(), signals)
    });
    let mut work = std::pin::pin!(futures::future::try_join_all(work).map_ok(drop));
    let outcome = loop {
        tokio::select! {
            outcome = &mut work => break outcome,
            _ = terminate.recv() => break end(&stop, work).await,
            _ = interrupt.recv() => break end(&stop, work).await,
            _ = hangup.recv() => reloads.iter().for_each(|reload| reload.notify_one()),
        }
    };
    let close = futures::future::join_all(practices.iter().map(|(ctx, _)| close(ctx)));
    let _ = tokio::time::timeout(CLOSE_WITHIN, close).await;
    match outcome {
        Ok(()) => {
            tracing::info!(event = "end", "ended");
            Ok(())
        }
        Err(error) => {
            complain(&error);
            Err(FAILED)
        }
    }
}

/// Also where the work was dropped in the midst of something, its leases are given back.
async fn close(ctx: &Context) {
    if let Err(error) = ctx.store.leave(ctx.clock.now()).await {
        tracing::warn!(%error, "the gateway's lease couldn't be given back; it ends by itself after 15 s");
    }
    ctx.store.close().await;
}

/// Ends in order, or after a few seconds in any case: everything can be killed at any instant.
async fn end(
    stop: &watch::Sender<bool>,
    work: std::pin::Pin<&mut impl Future<Output = Result<(), AppError>>>,
) -> Result<(), AppError> {
    notify::stopping();
    let _ = stop.send(true);
    match tokio::time::timeout(END_WITHIN, work).await {
        Ok(outcome) => outcome,
        Err(_) => {
            tracing::info!("ended in the midst of something; it goes on at the next start");
            Ok(())
        }
    }
}
