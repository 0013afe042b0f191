//! `[operator] heartbeat_url`: asked for while all is well, so that somebody else notices silence. Nothing is said in it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::context::Context;
use super::metrics;
use super::supervisor::Round;
use crate::net::http;

/// Not more often than this.
const EVERY: Duration = Duration::from_secs(60);

/// Asks after each good round, beside the work and never in its way.
pub(super) async fn beat(live: watch::Receiver<Arc<Context>>, mut rounds: watch::Receiver<Option<Round>>) {
    let mut last: Option<Instant> = None;
    let mut answered = true;
    while rounds.changed().await.is_ok() {
        let good = rounds.borrow_and_update().as_ref().is_some_and(|round| round.good);
        if !good || last.is_some_and(|at| at.elapsed() < EVERY) {
            continue;
        }
        let ctx = Arc::clone(&live.borrow());
        match once(&ctx).await {
            None => {}
            Some(heard) => {
                last = Some(Instant::now());
                if heard && !answered {
                    tracing::info!(event = "heartbeat", "`[operator] heartbeat_url` answers again");
                }
                answered = heard;
            }
        }
    }
}

/// Asks if all is well and there is an address: whether it was answered. A failure is a line in the log.
pub(super) async fn once(ctx: &Context) -> Option<bool> {
    let url = ctx.config.operator.heartbeat_url.as_ref()?;
    let well = metrics::of(ctx).await.is_ok_and(|state| state.faults().is_empty());
    if !well {
        return None;
    }
    Some(match http::get(url).await {
        Ok(status) if (200..300).contains(&status) => true,
        Ok(status) => {
            tracing::warn!(
                event = "heartbeat",
                status,
                "`[operator] heartbeat_url` answered with another status than 2xx"
            );
            false
        }
        Err(error) => {
            tracing::warn!(event = "heartbeat", %error, "`[operator] heartbeat_url` doesn't answer");
            false
        }
    })
}
