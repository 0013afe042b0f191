//! `cadre check`: everything is read and tried, and every fault is named at once, with its remedy.

mod mend;
mod page;
mod servers;
mod trip;

use std::path::Path;
use std::process::ExitCode;

use super::progress::Spinner;
use crate::app::check::{Group, Report, local};
use crate::clock::Clock;
use crate::config::{Config, Env};

/// Runs `cadre check`. Ends with 0 when there is no error (warnings included), 1 when there are some, 2 when the
/// configuration can't be read at all.
pub async fn check(config: &Path, json: bool, round_trip: bool) -> ExitCode {
    let env = Env::process();
    let mut report = Report::new(config);
    let loaded = match Config::load(config, &env) {
        Ok((config, warnings)) => {
            warnings.into_iter().for_each(|finding| report.add(Group::Configuration, finding));
            Some(config)
        }
        Err(findings) => {
            let unreadable = findings.iter().any(|finding| finding.is_error() && finding.key.is_empty());
            let mended = if unreadable { None } else { mend::mended(config, &findings, &env) };
            findings.into_iter().for_each(|finding| report.add(Group::Configuration, finding));
            if unreadable {
                page::print(&report, json);
                return ExitCode::from(2);
            }
            match mended {
                Some(mended) => {
                    report.mended(mended.keys, mended.lines);
                    Some(mended.config)
                }
                None => {
                    report.note("the rest can't be looked at before this is mended");
                    None
                }
            }
        }
    };
    if let Some(config) = loaded {
        look(&config, &mut report, json, round_trip).await;
    }
    page::print(&report, json);
    if report.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn look(config: &Config, report: &mut Report, json: bool, round_trip: bool) {
    let now = Clock::System.now();
    if !report.is_mended() {
        report.good(Group::Configuration, format!("{} is sound", config.file.display()));
    }
    local::look(config, report, &local::learnt(config).await, now);
    local::stored(config, report, now).await;
    let spinner = Spinner::new(json, "asking the mailbox and the submission server");
    servers::look(config, report).await;
    drop(spinner);
    if round_trip && report.has_errors() {
        report.note("the round trip is not made before the errors are mended");
    } else if round_trip {
        trip::make(config, report, json).await;
    }
}
