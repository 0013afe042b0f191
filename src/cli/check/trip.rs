//! `check --round-trip`.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use crate::app::check::{Group, Report};
use crate::app::context::Context;
use crate::app::round_trip::{self, TripError};
use crate::clock::Clock;
use crate::config::Config;

/// How long the mail may travel.
const LIMIT: Duration = Duration::from_secs(60);

/// Sends the mail and waits for it.
pub(super) async fn make(config: &Config, report: &mut Report, json: bool) {
    let ctx = match Context::open(config.clone(), Clock::System).await {
        Ok(ctx) => Arc::new(ctx),
        Err(error) => return report.error(Group::RoundTrip, config, "", &error.to_string(), ""),
    };
    let shows = !json && std::io::stderr().is_terminal();
    let progress = |waited: Duration| {
        if shows {
            eprint!("\rwaiting for the round trip's mail: {} s", waited.as_secs());
            let _ = std::io::stderr().flush();
        }
    };
    let outcome = round_trip::make(&ctx, LIMIT, progress).await;
    if shows {
        eprint!("\r\x1b[K");
    }
    match outcome {
        Ok(trip) => {
            report.good(Group::RoundTrip, trip.to_string());
            if trip.null_path_refused {
                let cause = "the server refuses an empty return path, so that automatic mail travels with the practice's \
                             address";
                report.warn(Group::Sending, config, "[smtp] host", cause, "nothing has to be done");
            }
            if trip.in_junk {
                let cause = "the mail came into the junk folder";
                let remedy =
                    "let the provider trust mail from the practice to itself; clients' programs may judge likewise";
                report.warn(Group::RoundTrip, config, "[imap] junk", cause, remedy);
            }
        }
        Err(error) => report.error(Group::RoundTrip, config, key_of(&error), &error.to_string(), error.remedy()),
    }
}

const fn key_of(error: &TripError) -> &'static str {
    match error {
        TripError::NotSent { .. } | TripError::Smtp(_) => "[smtp] host",
        TripError::Imap(_) | TripError::NotSeen { .. } => "[imap] host",
        TripError::NotOpened | TripError::NotOurs => "[keys] secret",
        TripError::App(_) => "",
    }
}
