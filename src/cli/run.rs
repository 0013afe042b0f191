//! `cadre run` and `cadre run --once`.

use std::path::Path;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::progress::Bar;
use super::{Done, FAILED, complain, fail, open, print_json};
use crate::app::supervisor;
use crate::letters::Letters;
use crate::notify;

/// More messages than this are a backlog, whose progress is shown.
const BACKLOG: u64 = 100;
/// How long an orderly end may take.
const END_WITHIN: std::time::Duration = std::time::Duration::from_millis(3500);
/// How long the database may take to close: it may be waiting for somebody who holds it. What is committed is safe.
const CLOSE_WITHIN: std::time::Duration = std::time::Duration::from_millis(700);

/// Runs one pass or the daemon; a second one on the same database ends at once.
pub async fn run(config: &Path, json: bool, once: bool) -> Done {
    let ctx = Arc::new(open(config).await?);
    let lock = ctx.store.lock().map_err(|error| fail(&error))?;
    for problem in ctx.letters_read().into_iter().flat_map(Letters::problems) {
        tracing::warn!(%problem, "an operator's letter isn't used");
    }
    if once {
        let bar = Bar::new(json, "messages");
        // The first onlooker; there is no other.
        let _ = ctx.onlooker.set(Box::new(move |done, of| {
            if of > BACKLOG {
                bar.at(done, of);
            }
        }));
        let (counts, outcome) = supervisor::once(Arc::clone(&ctx), &lock).await;
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
        return outcome.map_err(|error| fail(&error)).and(if counts.failed > 0 { Err(FAILED) } else { Ok(()) });
    }
    daemon(ctx, lock).await
}

async fn daemon(ctx: Arc<crate::app::context::Context>, lock: crate::store::RunLock) -> Done {
    // Before the first letter comes.
    ctx.lexicon();
    ctx.letters();
    let (stop, stopped) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| fail(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| fail(&error))?;
    tracing::info!(therapists = ctx.therapists().len(), "running");
    notify::ready();
    let work = supervisor::run(Arc::clone(&ctx), &lock, stopped);
    let mut work = std::pin::pin!(work);
    let outcome = tokio::select! {
        outcome = &mut work => outcome,
        _ = terminate.recv() => end(&stop, work).await,
        _ = interrupt.recv() => end(&stop, work).await,
    };
    let _ = tokio::time::timeout(CLOSE_WITHIN, ctx.store.close()).await;
    match outcome {
        Ok(()) => {
            tracing::info!("ended");
            Ok(())
        }
        Err(error) => {
            complain(&error);
            Err(FAILED)
        }
    }
}

/// Ends in order, or after a few seconds in any case: everything can be killed at any instant.
async fn end(
    stop: &watch::Sender<bool>,
    work: std::pin::Pin<&mut impl Future<Output = Result<(), crate::app::AppError>>>,
) -> Result<(), crate::app::AppError> {
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
