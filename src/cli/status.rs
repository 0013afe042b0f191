//! `cadre status`: one screen that a tired person understands. No names, no addresses.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use crate::app::context::{load_practice_keys, read_certificate};
use crate::app::database;
use crate::app::digest::KEY_WARNING;
use crate::app::frozen;
use crate::app::health::{self, Health};
use crate::app::keys::arrived::with_stored;
use crate::app::keys::own::CURRENT;
use crate::app::supervisor::SEEN_UNTIL;
use crate::config::{Config, Env};
use crate::model::{OutboxState, TherapistId};
use crate::pgp::Certificate;
use crate::store::{GatewayLife, OutboxFilter, Store, StoreError, Tx};

const REFRESH: Duration = Duration::from_secs(2);
/// What failed within this time is counted.
const FAILED_WITHIN: TimeDelta = TimeDelta::days(3);
/// A mailbox that wasn't read for so long needs a look.
const SILENT_FOR: TimeDelta = TimeDelta::minutes(35);

/// Everything on the screen.
#[derive(Debug, Default, Serialize)]
struct State {
    at: DateTime<Utc>,
    /// Whether nobody has to do anything.
    well: bool,
    /// The one thing to do, first.
    todo: Vec<String>,
    running: bool,
    /// With PostgreSQL, who works: one of them reads the mailbox and keeps the clock, all send.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gateways: Vec<GatewayLife>,
    mailbox_read: Option<DateTime<Utc>>,
    health: BTreeMap<&'static str, Health>,
    clients: usize,
    open_turns: usize,
    overdue_turns: usize,
    waiting_replies: usize,
    /// Alerts that no therapist has answered.
    open_alerts: usize,
    next_slot: Option<DateTime<Utc>>,
    held: usize,
    requests: usize,
    queue_unfinished: usize,
    queue_held: usize,
    failed_3_days: usize,
    /// Mail of nobody we know that was seen in the junk folder and left there.
    left_in_junk: u64,
    /// Automatic, list and strangers' mail that was put among the others.
    set_aside: u64,
    originals_pending: usize,
    keys_expiring: Vec<Expiring>,
    /// `revoked`: nothing leaves; `unannounced`: it was changed, and nobody was told.
    practice_key: Option<&'static str>,
    journal: String,
    /// Since when nothing leaves: an older database was put back.
    frozen: Option<DateTime<Utc>>,
    last_digest: BTreeMap<String, Option<DateTime<Utc>>>,
}

/// A key that expires soon, or has.
#[derive(Debug, Serialize)]
struct Expiring {
    whose: String,
    expires: DateTime<Utc>,
}

/// Runs `cadre status`: 0, or 1 when the database can't be read, 2 when the configuration can't.
pub async fn status(config: &Path, json: bool, watch: bool) -> ExitCode {
    let config = match Config::load(config, &Env::process()) {
        Ok((config, _)) => config,
        Err(findings) => {
            findings.iter().filter(|finding| finding.is_error()).for_each(|finding| eprintln!("{finding}"));
            return ExitCode::from(2);
        }
    };
    let store = match open(&config).await {
        Ok(Some(store)) => store,
        Ok(None) => {
            match json {
                true => println!("{}", serde_json::json!({ "well": false, "todo": ["start `cadre run`"] })),
                false => println!("Nothing has happened yet: there is no database. Start `cadre run`."),
            }
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("cadre status: {error}");
            return ExitCode::FAILURE;
        }
    };
    loop {
        let now = crate::clock::Clock::System.now();
        let state = match read(&config, &store, now).await {
            Ok(state) => state,
            Err(error) => {
                eprintln!("cadre status: {error}");
                return ExitCode::FAILURE;
            }
        };
        show(&state, config.practice.timezone, json, watch);
        if !watch {
            return ExitCode::SUCCESS;
        }
        tokio::select! {
            () = tokio::time::sleep(REFRESH) => {}
            _ = tokio::signal::ctrl_c() => return ExitCode::SUCCESS,
        }
    }
}

async fn open(config: &Config) -> Result<Option<Store>, String> {
    if !database::may_exist(config) {
        return Ok(None);
    }
    let store = database::open(config).await;
    store.map(Some).map_err(|error| format!("{:#}", anyhow::Error::from(error)))
}

fn show(state: &State, zone: Tz, json: bool, watch: bool) {
    if json {
        let text = if watch { serde_json::to_string(state) } else { serde_json::to_string_pretty(state) };
        println!("{}", text.unwrap_or_default());
    } else {
        if watch && std::io::stdout().is_terminal() {
            print!("\x1b[2J\x1b[H");
        }
        print!("{}", screen(state, zone));
    }
    let _ = std::io::stdout().flush();
}

async fn read(config: &Config, store: &Store, now: DateTime<Utc>) -> Result<State, StoreError> {
    // Held for a moment only; `run` would have it for as long as it lives.
    let gateways = store.gateways().await?;
    let running = !gateways.is_empty() || matches!(store.lock(), Err(StoreError::Locked { .. }));
    let mut tx = store.read().await?;
    let clients = tx.clients().await?;
    let queue = tx.queue(OutboxFilter::Unfinished).await?;
    let mut state = State {
        at: now,
        running,
        gateways,
        mailbox_read: tx.meta_time(SEEN_UNTIL).await?,
        health: health::all(&mut tx).await.unwrap_or_default().into_iter().collect(),
        clients: clients.len(),
        open_turns: tx.open_turns().await?.len(),
        overdue_turns: tx.overdue_turns(now).await?.len(),
        waiting_replies: tx.all_waiting().await?.len(),
        open_alerts: tx.open_alerts().await?.len(),
        next_slot: tx.next_slot().await?,
        held: tx.held().await?.len(),
        requests: tx.requests(now - TimeDelta::days(7)).await?.len(),
        queue_held: queue.iter().filter(|row| row.state == OutboxState::Held).count(),
        queue_unfinished: queue.len(),
        failed_3_days: tx.failed_since(now - FAILED_WITHIN).await?.len(),
        left_in_junk: tx.counter("junk").await?,
        set_aside: tx.counter("others").await?,
        originals_pending: originals(config, &mut tx).await?,
        journal: tx.journal_head().await?.to_string(),
        frozen: frozen::since(&mut tx).await?,
        ..State::default()
    };
    for therapist in &config.therapists {
        let last = tx.meta_time(&format!("digest:{}", therapist.id)).await?;
        state.last_digest.insert(therapist.id.to_string(), last);
    }
    let (known, learnt) = (tx.meta(CURRENT).await?, tx.therapist_keys().await?);
    drop(tx);
    for client in clients.iter().filter(|client| client.state.in_treatment()) {
        let certificate = client.certificate.as_ref().and_then(|bytes| Certificate::from_bytes(bytes).ok());
        expiry(&mut state, client.code.to_string(), certificate.as_ref());
    }
    staff_keys(config, &mut state, known, &learnt);
    state.todo = todo(&state);
    state.well = state.todo.is_empty();
    Ok(state)
}

async fn originals(config: &Config, tx: &mut Tx) -> Result<usize, StoreError> {
    let mut pending = tx.originals(&config.imap.inbox, false).await?.len();
    if let crate::config::Junk::Folder(junk) = &config.imap.junk {
        pending += tx.originals(junk, false).await?.len();
    }
    Ok(pending)
}

fn staff_keys(config: &Config, state: &mut State, known: Option<String>, learnt: &[(TherapistId, Vec<u8>)]) {
    if let Ok((key, _)) = load_practice_keys(config) {
        expiry(state, "the practice".to_owned(), Some(key.certificate()));
        let current = key.certificate().fingerprint();
        if key.certificate().revocation().is_some() {
            state.practice_key = Some("revoked");
        } else if known.is_some_and(|known| known != current) {
            state.practice_key = Some("unannounced");
        }
    }
    if let Some(path) = &config.keys.archive {
        expiry(state, "the archive".to_owned(), read_certificate("`[keys] archive`", path).ok().as_ref());
    }
    for therapist in &config.therapists {
        let file = read_certificate("`[[therapist]] certificate`", &therapist.certificate).ok();
        let learnt = learnt.iter().find(|(id, _)| *id == therapist.id).map(|(_, bytes)| bytes.as_slice());
        let certificate = file.map(|file| with_stored(&file, learnt));
        expiry(state, format!("therapist {}", therapist.id), certificate.as_ref());
    }
}

fn expiry(state: &mut State, whose: String, certificate: Option<&Certificate>) {
    let at = state.at;
    if let Some(expires) = certificate.and_then(|c| c.expires_at(at)).filter(|expires| *expires - at <= KEY_WARNING)
        && certificate.is_none_or(|c| c.revocation().is_none())
    {
        state.keys_expiring.push(Expiring { whose, expires });
    }
}

/// What somebody has to do, the most urgent first.
fn todo(state: &State) -> Vec<String> {
    let mut todo = Vec::new();
    if !state.gateways.is_empty() && !state.gateways.iter().any(|gateway| gateway.mailbox) {
        todo.push("no gateway has the mailbox: look again in 30 s, then at their logs".to_owned());
    }
    if !state.running {
        todo.push("`cadre run` is not running: start it (or wait for cron's `run --once`)".to_owned());
    }
    match state.practice_key {
        Some("revoked") => {
            todo.push(
                "the practice's key is revoked, and nothing leaves: `cadre key rotate` makes a new one".to_owned(),
            );
        }
        Some(_) => {
            todo.push("the practice's key was changed, and nobody was told: `cadre key rotate` does it".to_owned());
        }
        None => {}
    }
    if state.frozen.is_some() {
        todo.push(
            "an older database was put back, and nothing leaves: look at `cadre queue list`, then \
             `cadre queue resume`"
                .to_owned(),
        );
    }
    if state.open_alerts > 0 {
        let n = state.open_alerts;
        todo.push(format!("{n} alert(s) unanswered: see that the therapist knows (`cadre journal show`)"));
    }
    for (part, health) in state.health.iter().filter(|(_, health)| health.state != "ok") {
        let detail = health.detail.clone().unwrap_or_else(|| health.state.clone());
        todo.push(format!("{}: {detail}", part.to_uppercase()));
    }
    let silent = state.mailbox_read.is_none_or(|read| state.at - read > SILENT_FOR);
    if state.running && silent && state.health.get("imap").is_none_or(|health| health.state == "ok") {
        todo.push("the mailbox was not read for a while: `cadre check`".to_owned());
    }
    if state.failed_3_days > 0 {
        todo.push(format!("{} mail(s) could not be sent: `cadre queue list --all`", state.failed_3_days));
    }
    if state.queue_held > 0 {
        todo.push(format!("{} mail(s) are held in the queue: `cadre queue list`", state.queue_held));
    }
    for key in &state.keys_expiring {
        let word = if key.expires <= state.at { "expired" } else { "expires" };
        todo.push(format!("the key of {} {word} on {}", key.whose, key.expires.format("%Y-%m-%d")));
    }
    todo
}

fn screen(state: &State, zone: Tz) -> String {
    let when = |at: DateTime<Utc>| at.with_timezone(&zone).format("%a %-d %b %H:%M").to_string();
    let or_never = |at: Option<DateTime<Utc>>| at.map_or_else(|| "never".to_owned(), when);
    let mut out = match state.todo.first() {
        None => "All is well.\n".to_owned(),
        Some(first) => format!("TO DO: {first}\n"),
    };
    for more in state.todo.iter().skip(1) {
        let _ = writeln!(out, "       {more}");
    }
    let mut row = |name: &str, text: String| {
        let _ = writeln!(out, "  {name:<10} {text}");
    };
    row("time", format!("{} ({zone})", when(state.at)));
    row("run", if state.running { "running".to_owned() } else { "not running".to_owned() });
    for gateway in &state.gateways {
        let part = if gateway.mailbox { "reads the mailbox, keeps the clock, sends" } else { "stands by, sends" };
        row("gateway", format!("{} {part}", gateway.id));
    }
    for (part, name) in [("imap", "mailbox"), ("smtp", "sending")] {
        let text = match state.health.get(part) {
            None => "not tried yet".to_owned(),
            Some(health) if health.state == "ok" => format!("well since {}", when(health.since)),
            Some(health) => format!("{} since {}", health.state, when(health.since)),
        };
        let read = if part == "imap" { format!("; last read {}", or_never(state.mailbox_read)) } else { String::new() };
        row(name, text + &read);
    }
    row(
        "clients",
        format!("{}; {} wait for a reply, {} overdue", state.clients, state.open_turns, state.overdue_turns),
    );
    let slot = state.next_slot.map_or(String::new(), |at| format!("; next leaves {}", when(at)));
    row("replies", format!("{} waiting{slot}", state.waiting_replies));
    row("alerts", format!("{} unanswered", state.open_alerts));
    row("held", format!("{} for the therapist to decide; {} request(s) in 7 days", state.held, state.requests));
    row("queue", format!("{} unfinished, {} failed in 3 days", state.queue_unfinished, state.failed_3_days));
    row("originals", format!("{} still to be removed from the mailbox", state.originals_pending));
    row("aside", format!("{} put among the others, {} left in the junk folder", state.set_aside, state.left_in_junk));
    for (therapist, last) in &state.last_digest {
        row("digest", format!("{therapist}: {}", or_never(*last)));
    }
    row("journal", state.journal.clone());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_that_all_is_well_or_the_one_thing_to_do() {
        let at = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let ok = Health { state: "ok".to_owned(), since: at, detail: None };
        let mut state = State { at, running: true, mailbox_read: Some(at), ..State::default() };
        state.health.insert("imap", ok);
        state.todo = todo(&state);
        assert_eq!(screen(&state, Tz::UTC).lines().next(), Some("All is well."));
        let bad =
            Health { state: "imap-login".to_owned(), since: at, detail: Some("the log-in was refused".to_owned()) };
        state.health.insert("imap", bad);
        state.todo = todo(&state);
        assert_eq!(screen(&state, Tz::UTC).lines().next(), Some("TO DO: IMAP: the log-in was refused"));
    }
}
