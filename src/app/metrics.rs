//! What a monitoring system may know: counts, times and states in Prometheus' text form (OpenMetrics 1.0), and a health
//! page. No names, no addresses, no content; of a client not even the code: what is scraped leaves the machine, and a
//! code with its times could be recognised.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::context::Context;
use super::settings;
use super::status::{self, Role, Staff, State};
use super::supervisor::Round;
use crate::net::http::{Listener, Page};
use crate::store::StoreError;

/// Who asks again within this time gets the same answer: a flood of questions is no load on the database.
const FRESH_FOR: Duration = Duration::from_millis(900);
/// A daemon that gave no sign of life for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(300);
/// A place that can't be opened is tried again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// Serves the pages where the configuration says, for as long as it is polled; another place is taken at a reload.
pub(super) async fn serve(mut live: watch::Receiver<Arc<Context>>, rounds: watch::Receiver<Option<Round>>) {
    let desk = Desk { live: live.clone(), rounds, last: Arc::default() };
    loop {
        let wanted = live.borrow_and_update().config.metrics.listen.clone();
        let elsewhere = live.wait_for(|ctx| ctx.config.metrics.listen != wanted);
        let Some(place) = &wanted else {
            match elsewhere.await {
                Ok(_) => continue,
                Err(_) => return,
            }
        };
        match Listener::bind(&settings::place(place)).await {
            Ok(listener) => {
                tracing::info!(event = "metrics", at = %place, "metrics and health are served");
                let desk = desk.clone();
                tokio::select! {
                    () = listener.serve(move |path| desk.clone().answer(path)) => {}
                    moved = elsewhere => if moved.is_err() { return },
                }
            }
            Err(error) => {
                let kind = error.kind();
                tracing::error!(event = "metrics", at = %place, %kind, "`[metrics] listen` can't be opened: choose another place; it is tried again");
                tokio::select! {
                    () = tokio::time::sleep(AGAIN_AFTER) => {}
                    moved = elsewhere => if moved.is_err() { return },
                }
            }
        }
    }
}

/// Answers requests.
#[derive(Clone)]
struct Desk {
    live: watch::Receiver<Arc<Context>>,
    rounds: watch::Receiver<Option<Round>>,
    last: Arc<Mutex<Option<Look>>>,
}

/// How things were, and when that was read.
type Look = (Instant, Arc<State>);

impl Desk {
    async fn answer(self, path: String) -> Page {
        match path.as_str() {
            "/metrics" => match self.state().await {
                Ok(state) => match exposition(&state) {
                    Ok(body) => Page { status: 200, content_type: CONTENT_TYPE, body },
                    Err(_) => Page::text(500, "the metrics couldn't be written\n"),
                },
                Err(_) => Page::text(503, "the database can't be read\n"),
            },
            "/healthz" => {
                let begun = self.rounds.borrow().is_some();
                let late = begun.then(|| self.live.borrow().pulse.silent_for() > STUCK_AFTER);
                health_page(late, self.state().await.as_deref().ok())
            }
            _ => Page::text(404, "/metrics and /healthz are here\n"),
        }
    }

    /// How things are, read at most once in a while however many ask.
    async fn state(&self) -> Result<Arc<State>, StoreError> {
        let mut last = self.last.lock().await;
        if let Some((at, state)) = &*last
            && at.elapsed() < FRESH_FOR
        {
            return Ok(Arc::clone(state));
        }
        let ctx = Arc::clone(&self.live.borrow());
        let state = Arc::new(of(&ctx).await?);
        *last = Some((Instant::now(), Arc::clone(&state)));
        Ok(state)
    }
}

/// How things are, as the daemon sees it.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn of(ctx: &Context) -> Result<State, StoreError> {
    status::read(&ctx.config, &ctx.store, &Staff::of(ctx), true, ctx.clock.now()).await
}

/// 200, or 503 with the causes, a line each. `late`: whether the last sign of life is too long ago; None before the first round.
fn health_page(late: Option<bool>, state: Option<&State>) -> Page {
    let mut causes = Vec::new();
    match late {
        None => causes.push("the first round isn't finished yet"),
        Some(true) => causes.push("nothing was done for five minutes"),
        Some(false) => {}
    }
    match state {
        None => causes.push("the database can't be read"),
        Some(state) => causes.extend(state.faults()),
    }
    if causes.is_empty() { Page::text(200, "ok\n") } else { Page::text(503, causes.join("\n") + "\n") }
}

/// A registry that is filled from one reading and thrown away.
struct Sheet(Registry);

impl Sheet {
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.0.register(name, help, gauge(value as f64));
    }

    fn measure(&mut self, name: &str, help: &str, unit: Unit, value: f64) {
        self.0.register_with_unit(name, help, unit, gauge(value));
    }

    fn gauges(&mut self, name: &str, help: &str, unit: Option<Unit>, values: impl IntoIterator<Item = (Labels, f64)>) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        match unit {
            Some(unit) => self.0.register_with_unit(name, help, unit, family),
            None => self.0.register(name, help, family),
        }
    }

    fn counters(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }
}

fn gauge(value: f64) -> Gauge<f64, AtomicU64> {
    let gauge = Gauge::<f64, AtomicU64>::default();
    gauge.set(value);
    gauge
}

fn one(name: &'static str, value: impl ToString) -> Labels {
    vec![(name, value.to_string())]
}

fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}

/// A reading in Prometheus' text form.
///
/// # Errors
/// Never in practice: it writes to memory.
pub fn exposition(state: &State) -> Result<String, std::fmt::Error> {
    let mut sheet = Sheet(Registry::with_prefix("cadre"));
    sheet.0.register("build", "The program that runs", Info::new(one("version", env!("CARGO_PKG_VERSION"))));
    correspondence(&mut sheet, state);
    outbox(&mut sheet, state);
    machine(&mut sheet, state);
    keys(&mut sheet, state);
    let mut text = String::new();
    encode(&mut text, &sheet.0)?;
    Ok(text)
}

fn correspondence(sheet: &mut Sheet, state: &State) {
    let figures = &state.figures;
    let clients = figures.clients.iter().map(|(word, count)| (one("state", word), *count as f64));
    sheet.gauges("clients", "Clients by their state", None, clients);
    let letters = state.letters.iter().map(|(verdict, count)| (one("verdict", verdict), *count));
    sheet.counters("letters", "Letters that were filed, held or taken as a request, by verdict", letters);
    sheet.gauge("turns_open", "Clients who wait for a reply", figures.open_turns);
    let due = state.due_turns.iter().map(|(id, count)| (one("therapist", id), *count as f64));
    sheet.gauges("turns_due", "Clients whose reply is due at their therapist's next slot", None, due);
    sheet.gauge("turns_overdue", "Open turns whose slot has passed", figures.overdue_turns);
    sheet.gauge("replies_waiting", "Replies that wait for their slot or are leaving", figures.waiting_replies);
    sheet.gauge("held", "Letters that wait for the therapist's decision", figures.held);
    sheet.gauge("requests_recent", "Requests of strangers in 7 days", figures.requests);
    let alerts = figures.alerts.iter().map(|(class, count)| (one("class", class), *count as f64));
    sheet.gauges("alerts_open", "Crisis alerts that no therapist has answered, by class", None, alerts);
    let aside = [("others", state.set_aside), ("junk", state.left_in_junk)];
    let aside = aside.map(|(place, count)| (one("place", place), count));
    sheet.counters("set_aside", "Mail of nobody known, put among the others or left in the junk folder", aside);
    sheet.gauge("originals_pending", "Originals still to be removed from the mailbox", state.originals_pending);
    let by_therapist = |(id, at): (&String, &Option<DateTime<Utc>>)| Some((one("therapist", id), seconds((*at)?)));
    let digests = state.last_digest.iter().filter_map(by_therapist);
    sheet.gauges("digest_last_timestamp", "When the last digest was made", Some(Unit::Seconds), digests);
    let slots = state.slots.iter().filter_map(by_therapist);
    sheet.gauges("slot_next_timestamp", "When replies leave next", Some(Unit::Seconds), slots);
}

fn outbox(sheet: &mut Sheet, state: &State) {
    let figures = &state.figures;
    let rows = [("waiting", figures.outbox), ("held", figures.outbox_held)];
    let rows = rows.map(|(word, count)| (one("state", word), count as f64));
    sheet.gauges("outbox", "Outgoing mails that are unfinished", None, rows);
    let age = state.queue_oldest.map_or(0.0, |oldest| seconds(state.at) - seconds(oldest));
    let help = "For how long the oldest unfinished mail could have left";
    sheet.measure("outbox_age", help, Unit::Seconds, age);
    sheet.gauge("outbox_failed_recent", "Mails that failed or came back in 3 days", figures.failed);
}

fn machine(sheet: &mut Sheet, state: &State) {
    let up = |word: &str| f64::from(u8::from(word == "ok"));
    let connections = state.health.iter().filter(|(part, _)| **part != "clock");
    let connections = connections.map(|(part, health)| (one("service", part), up(&health.state)));
    sheet.gauges("connection_up", "Whether the last attempt succeeded; absent before the first", None, connections);
    let last = [("imap", state.mailbox_read), ("smtp", state.sent_last)];
    let last = last.into_iter().filter_map(|(service, at)| Some((one("service", service), seconds(at?))));
    let help = "When the mailbox was last read, and when a mail last left";
    sheet.gauges("connection_last_success_timestamp", help, Some(Unit::Seconds), last);
    let clock = state.health.get("clock").is_none_or(|health| health.state == "ok");
    sheet.gauge("clock_ok", "0 for a day after this machine's clock was set back", u64::from(clock));
    sheet.measure("clock_timestamp", "This machine's clock", Unit::Seconds, seconds(state.at));
    sheet.gauge(
        "frozen",
        "1 while nothing leaves, because an older database was put back",
        u64::from(state.frozen.is_some()),
    );
    sheet.gauge(
        "healthy",
        "1 while the gateway does its work, as /healthz says it",
        u64::from(state.faults().is_empty()),
    );
    sheet.gauge("todo", "Things that a person has to do, as `cadre status` lists them", state.todo.len() as u64);
    sheet.gauge("journal_entries", "Entries of the journal", state.journal_entries);
    if let Some(bytes) = state.database_size {
        sheet.measure("database_size", "The database on its disk", Unit::Bytes, bytes as f64);
    }
    let taken = state.reload.as_ref().is_none_or(|reload| reload.taken);
    sheet.gauge("config_ok", "0 while a changed configuration couldn't be taken", u64::from(taken));
}

fn keys(sheet: &mut Sheet, state: &State) {
    let staff = state.keys.iter().filter_map(|key| {
        let labels = match &key.whose {
            Role::Practice => one("role", "practice"),
            Role::Archive => one("role", "archive"),
            Role::Therapist(id) => vec![("role", "therapist".to_owned()), ("therapist", id.clone())],
            Role::Client(_) => return None,
        };
        Some((labels, key.days? as f64))
    });
    let help = "Begun days until a key ends, 0 or less once it has; absent for one without an end";
    sheet.gauges("key_expiry_days", help, None, staff);
    let clients = state.keys.iter().filter(|key| matches!(key.whose, Role::Client(_))).count();
    sheet.gauge("client_keys_ending", "Clients whose key ends within 30 days, or has", clients as u64);
}

#[cfg(test)]
mod tests;
