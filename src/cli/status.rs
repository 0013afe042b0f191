//! `cadre status`: one screen that a tired person understands. No names, no addresses.

mod screen;
mod watch;

use std::path::Path;
use std::process::ExitCode;

use crate::app::context::StartError;
use crate::app::database;
use crate::app::status::{self, Staff, State};
use crate::clock::Clock;
use crate::config::{Config, Env};
use crate::store::{Store, StoreError};

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    Once,
    /// Again and again, until somebody says that it is enough.
    Again,
    /// Only why the gateway doesn't do its work.
    Faults,
}

/// Runs `cadre status`: 0, or 1 when the database can't be read (or the gateway isn't healthy, where that is asked), 2
/// when the configuration can't.
pub async fn status(config: &Path, json: bool, show: Show) -> ExitCode {
    let config = match Config::load(config, &Env::process()) {
        Ok((config, _)) => config,
        Err(findings) => {
            findings.iter().filter(|finding| finding.is_error()).for_each(|finding| eprintln!("{finding}"));
            return ExitCode::from(2);
        }
    };
    let store = match open(&config).await {
        Ok(Some(store)) => store,
        Ok(None) => return nothing_yet(json, show),
        Err(error) => return failed(&error),
    };
    let done = match show {
        Show::Once => read(&config, &store).await.map(|state| screen::print(&state, config.practice.timezone, json)),
        Show::Again if json => watch::lines(&config, &store).await,
        Show::Again => return watch::screen(&config, &store).await,
        Show::Faults => match read(&config, &store).await {
            Ok(state) => return faults(&state, json),
            Err(error) => Err(error),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    super::complain(error);
    ExitCode::FAILURE
}

fn nothing_yet(json: bool, show: Show) -> ExitCode {
    match json {
        true => println!("{}", serde_json::json!({ "well": false, "todo": ["start `cadre run`"] })),
        false => println!("Nothing has happened yet: there is no database. Start `cadre run`."),
    }
    if show == Show::Faults { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn faults(state: &State, json: bool) -> ExitCode {
    let faults = state.faults();
    if json {
        println!("{}", serde_json::json!({ "healthy": faults.is_empty(), "faults": faults }));
    } else {
        let page = if faults.is_empty() { vec!["ok"] } else { faults.clone() };
        page.iter().for_each(|line| println!("{line}"));
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn open(config: &Config) -> Result<Option<Store>, StartError> {
    if database::may_exist(config) { database::open(config).await.map(Some) } else { Ok(None) }
}

async fn read(config: &Config, store: &Store) -> Result<State, StoreError> {
    // Held for a moment only; `run` would have it for as long as it lives.
    let running = matches!(store.lock(), Err(StoreError::Locked { .. }));
    let staff = Staff::read(config, store).await?;
    status::read(config, store, &staff, running, Clock::System.now()).await
}
