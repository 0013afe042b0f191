//! How things are, for whoever looks after the machine: one reading for `status`, the health page, the metrics and the
//! heartbeat. No names, no addresses, no content.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Serialize, Serializer};

use super::absence::ranges;
use super::context::{self, Context};
use super::digest::KEY_WARNING;
use super::frozen;
use super::health::{self, Health};
use super::keys::arrived::with_stored;
use super::keys::own::CURRENT;
use super::life;
use super::reload::{self, Reloaded};
use super::supervisor::{SEEN_UNTIL, SENT_LAST};
use super::tick::days_left;
use crate::config::{Config, Junk};
use crate::domain::holidays::Calendar;
use crate::domain::rhythm::Schedule;
use crate::model::{TherapistId, Verdict};
use crate::pgp::Certificate;
use crate::store::{Client, Figures, GatewayLife, Store, StoreError, Tx};

/// What failed within this time is counted.
const FAILED_WITHIN: TimeDelta = TimeDelta::days(3);
/// Requests of strangers within this time are counted.
const REQUESTS_WITHIN: TimeDelta = TimeDelta::days(7);
/// A mailbox that wasn't read for so long needs a look.
const SILENT_FOR: TimeDelta = TimeDelta::minutes(35);
/// Of therapists and clients whose key ends soon, so many are named each.
const KEYS_NAMED: usize = 3;
/// An erasure waits a week for the last letter at most; one that is older can't be done.
const STUCK_ERASURE: TimeDelta = TimeDelta::days(8);

/// Something that a person has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Todo {
    /// What is wrong, on one line.
    pub what: String,
    /// What to do about it; empty where the first part says it.
    pub remedy: String,
    /// The gateway doesn't do its work: it is not merely waiting for a decision.
    pub fault: bool,
}

impl Todo {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into(), fault: false }
    }

    fn fault(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { fault: true, ..Self::new(what, remedy) }
    }
}

impl fmt::Display for Todo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, ": {}", self.remedy) }
    }
}

impl Serialize for Todo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whose key it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    Practice,
    Archive,
    Therapist(String),
    /// Only one that ends within 30 days, or has ended.
    Client(String),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Practice => f.write_str("the practice"),
            Self::Archive => f.write_str("the archive"),
            Self::Therapist(id) => write!(f, "therapist {id}"),
            Self::Client(code) => f.write_str(code),
        }
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A key, and when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyEnd {
    pub whose: Role,
    /// None: it has no end.
    pub expires: Option<DateTime<Utc>>,
    /// Begun days that are left, 0 or less once it has expired.
    pub days: Option<i64>,
}

/// A key that expires soon, or has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expiring {
    pub whose: String,
    pub expires: DateTime<Utc>,
}

/// How things are.
#[derive(Debug, Clone, Default, Serialize)]
pub struct State {
    pub at: DateTime<Utc>,
    /// Whether nobody has to do anything.
    pub well: bool,
    /// The one thing to do, first.
    pub todo: Vec<Todo>,
    pub running: bool,
    /// With PostgreSQL, who works: one of them reads the mailbox and keeps the clock, all send.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<GatewayLife>,
    pub mailbox_read: Option<DateTime<Utc>>,
    /// When a mail last left.
    pub sent_last: Option<DateTime<Utc>>,
    /// Connections and clock, by the names `imap`, `smtp`, `clock`.
    pub health: BTreeMap<&'static str, Health>,
    pub clients: u64,
    pub open_turns: u64,
    pub overdue_turns: u64,
    /// How many are due at each therapist's next slot.
    pub due_turns: BTreeMap<String, u64>,
    pub waiting_replies: u64,
    /// Alerts that no therapist has answered.
    pub open_alerts: u64,
    /// The earliest slot that a reply waits for.
    pub next_slot: Option<DateTime<Utc>>,
    /// The next slot of each therapist, whether a reply waits or not.
    pub slots: BTreeMap<String, Option<DateTime<Utc>>>,
    pub held: u64,
    pub requests: u64,
    pub queue_unfinished: u64,
    pub queue_held: u64,
    /// Since when the oldest outgoing mail may leave; None where none waits or none may leave yet.
    pub queue_oldest: Option<DateTime<Utc>>,
    pub failed_3_days: u64,
    /// Mail of nobody we know that was seen in the junk folder and left there.
    pub left_in_junk: u64,
    /// Automatic, list and strangers' mail that was put among the others.
    pub set_aside: u64,
    pub originals_pending: u64,
    /// Of the practice, the archive and the therapists; clients' only where they end soon.
    pub keys: Vec<KeyEnd>,
    pub keys_expiring: Vec<Expiring>,
    /// `revoked`: nothing leaves; `unannounced`: it was changed, and nobody was told.
    pub practice_key: Option<&'static str>,
    pub journal: String,
    /// Since when nothing leaves: an older database was put back.
    pub frozen: Option<DateTime<Utc>>,
    pub last_digest: BTreeMap<String, Option<DateTime<Utc>>>,
    /// Records whose retention is over: proposed for erasure.
    pub retention_over: u64,
    /// Records that nobody may erase.
    pub legal_holds: u64,
    /// Erasures under way.
    pub erasures: u64,
    /// When the oldest of them was ordered.
    pub erasure_oldest: Option<DateTime<Utc>>,
    /// What became of the last SIGHUP.
    pub reload: Option<Reloaded>,
    /// Bytes.
    pub database_size: Option<u64>,
    #[serde(skip)]
    pub journal_entries: u64,
    #[serde(skip)]
    pub figures: Figures,
    #[serde(skip)]
    pub letters: Vec<(Verdict, u64)>,
}

impl State {
    /// Why the gateway doesn't do its work, a line each; empty while it does.
    pub fn faults(&self) -> Vec<&str> {
        self.todo.iter().filter(|todo| todo.fault).map(|todo| todo.what.as_str()).collect()
    }

    /// Draws the conclusions: what somebody has to do.
    pub fn judge(&mut self) {
        self.todo = todo(self);
        self.well = self.todo.is_empty();
    }
}

/// A therapist as far as `status` knows them.
struct Member {
    id: TherapistId,
    certificate: Option<Certificate>,
    schedule: Option<Schedule>,
}

/// The people of the configuration, with their keys and rhythms.
pub struct Staff {
    practice: Option<Certificate>,
    archive: Option<Certificate>,
    therapists: Vec<Member>,
}

impl Staff {
    /// As the daemon has them.
    pub fn of(ctx: &Context) -> Self {
        let member = |therapist: &Arc<context::Therapist>| Member {
            id: therapist.id().clone(),
            certificate: therapist.certificate().cloned(),
            schedule: Some(therapist.schedule.clone()),
        };
        Self {
            practice: Some(ctx.key.certificate().clone()),
            archive: ctx.archive.clone(),
            therapists: ctx.therapists().iter().map(member).collect(),
        }
    }

    /// Read from the files, without a daemon; what can't be read is left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read(config: &Config, store: &Store) -> Result<Self, StoreError> {
        let mut tx = store.read().await?;
        let (learnt, absences) = (tx.therapist_keys().await?, tx.absences().await?);
        drop(tx);
        let practice = &config.practice;
        let calendar = Calendar::for_country(&practice.country, practice.region.as_deref()).ok().map(Arc::new);
        let member = |settings: &crate::config::Therapist| {
            let file = context::read_certificate("`[[therapist]] certificate`", &settings.certificate).ok();
            let known = learnt.iter().find(|(id, _)| *id == settings.id).map(|(_, bytes)| bytes.as_slice());
            let expression = settings.release.source();
            let schedule = calendar.as_ref().and_then(|calendar| {
                context::schedule(config, settings, expression, calendar, ranges(&absences, &settings.id)).ok()
            });
            let certificate = file.map(|file| with_stored(&file, known));
            Member { id: settings.id.clone(), certificate, schedule }
        };
        Ok(Self {
            practice: context::load_practice_keys(config).ok().map(|(key, _)| key.certificate().clone()),
            archive: config
                .keys
                .archive
                .as_ref()
                .and_then(|path| context::read_certificate("`[keys] archive`", path).ok()),
            therapists: config.therapists.iter().map(member).collect(),
        })
    }
}

/// Reads how things are at `now`. `running`: whether a daemon works on this database's file; of gateways on a server the
/// database knows.
///
/// # Errors
/// [`StoreError`].
pub async fn read(
    config: &Config,
    store: &Store,
    staff: &Staff,
    running: bool,
    now: DateTime<Utc>,
) -> Result<State, StoreError> {
    let gateways = store.gateways().await?;
    let mut tx = store.read().await?;
    let figures = tx.figures(now, now - FAILED_WITHIN, now - REQUESTS_WITHIN).await?;
    let journal = tx.journal_head().await?;
    let mut state = State {
        at: now,
        running: running || !gateways.is_empty(),
        gateways,
        mailbox_read: tx.meta_time(SEEN_UNTIL).await?,
        sent_last: tx.meta_time(SENT_LAST).await?,
        health: health::all(&mut tx).await.unwrap_or_default().into_iter().collect(),
        clients: figures.all_clients(),
        open_turns: figures.open_turns,
        overdue_turns: figures.overdue_turns,
        waiting_replies: figures.waiting_replies,
        open_alerts: figures.open_alerts(),
        next_slot: tx.next_slot().await?,
        held: figures.held,
        requests: figures.requests,
        queue_held: figures.outbox_held,
        queue_unfinished: figures.outbox + figures.outbox_held,
        queue_oldest: figures.outbox_oldest.filter(|oldest| *oldest <= now),
        failed_3_days: figures.failed,
        left_in_junk: tx.counter("junk").await?,
        set_aside: tx.counter("others").await?,
        originals_pending: originals(config, &mut tx).await?,
        journal: journal.to_string(),
        journal_entries: journal.count,
        frozen: frozen::since(&mut tx).await?,
        reload: reload::last(&mut tx).await?,
        database_size: store.size(),
        letters: tx.letters_by_verdict().await?,
        retention_over: life::count_retention_over(config, &mut tx, now).await?,
        legal_holds: figures.legal_holds,
        erasures: figures.erasures,
        erasure_oldest: figures.erasure_oldest,
        figures,
        ..State::default()
    };
    for member in &staff.therapists {
        let last = tx.meta_time(&format!("digest:{}", member.id)).await?;
        state.last_digest.insert(member.id.to_string(), last);
        let slot = member.schedule.as_ref().and_then(|schedule| schedule.next_slot(now)).map(|slot| slot.at);
        state.slots.insert(member.id.to_string(), slot);
        if let Some(slot) = slot {
            state.due_turns.insert(member.id.to_string(), tx.turns_due(&member.id, now, slot).await?);
        }
    }
    let known = tx.meta(CURRENT).await?;
    let clients = ending_keys(&mut tx, now).await?;
    drop(tx);
    staff_keys(&mut state, staff, known);
    for client in clients {
        let certificate = client.certificate.as_ref().and_then(|bytes| Certificate::from_bytes(bytes).ok());
        if let Some(expires) = certificate.as_ref().and_then(|certificate| soon(certificate, now)) {
            state.keys.push(end(Role::Client(client.code.to_string()), Some(expires), now));
        }
    }
    let ending = state.keys.iter().filter_map(|key| Some((key.whose.to_string(), key.expires?)));
    state.keys_expiring = ending
        .filter(|(_, expires)| *expires - now <= KEY_WARNING)
        .map(|(whose, expires)| Expiring { whose, expires })
        .collect();
    state.judge();
    Ok(state)
}

async fn originals(config: &Config, tx: &mut Tx) -> Result<u64, StoreError> {
    let mut pending = tx.count_originals(&config.imap.inbox).await?;
    if let Junk::Folder(junk) = &config.imap.junk {
        pending += tx.count_originals(junk).await?;
    }
    Ok(pending)
}

/// So many certificates of which nobody has noted yet when they end are looked at here.
const UNREAD_KEYS: u32 = 100;

/// Those whose keys end soon; a record that was changed by something else is left to its own alarm.
async fn ending_keys(tx: &mut Tx, now: DateTime<Utc>) -> Result<Vec<Client>, StoreError> {
    let mut clients = Vec::new();
    let mut ending = tx.keys_expiring(now + KEY_WARNING).await?;
    // A practice that was just brought up to date has many: the daemon's next looks read them.
    ending.extend(tx.keys_unread(UNREAD_KEYS).await?);
    for id in ending {
        match tx.client(id).await {
            Ok(client) => clients.extend(client.filter(|client| client.state.in_treatment())),
            Err(StoreError::Tampered { .. } | StoreError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(clients)
}

/// When it ends, where that is within 30 days, or was.
fn soon(certificate: &Certificate, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    expiry(certificate, now).filter(|expires| *expires - now <= KEY_WARNING)
}

/// A key that was revoked doesn't expire any more: that was told.
fn expiry(certificate: &Certificate, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    certificate.expires_at(now).filter(|_| certificate.revocation().is_none())
}

fn end(whose: Role, expires: Option<DateTime<Utc>>, now: DateTime<Utc>) -> KeyEnd {
    KeyEnd { whose, expires, days: expires.map(|expires| days_left(expires, now)) }
}

fn staff_keys(state: &mut State, staff: &Staff, known: Option<String>) {
    let now = state.at;
    let therapists = staff.therapists.iter().map(|t| (Role::Therapist(t.id.to_string()), t.certificate.as_ref()));
    let keys = [(Role::Practice, staff.practice.as_ref()), (Role::Archive, staff.archive.as_ref())];
    for (whose, certificate) in keys.into_iter().chain(therapists) {
        state.keys.extend(certificate.map(|certificate| end(whose, expiry(certificate, now), now)));
    }
    if let Some(practice) = &staff.practice {
        if practice.revocation().is_some() {
            state.practice_key = Some("revoked");
        } else if known.is_some_and(|known| known != practice.fingerprint()) {
            state.practice_key = Some("unannounced");
        }
    }
}

/// What somebody has to do, the most urgent first.
fn todo(state: &State) -> Vec<Todo> {
    let mut todo = Vec::new();
    if !state.gateways.is_empty() && !state.gateways.iter().any(|gateway| gateway.mailbox) {
        todo.push(Todo::fault("no gateway has the mailbox", "look again in 30 s, then at their logs"));
    }
    if !state.running {
        todo.push(Todo::fault("`cadre run` is not running", "start it (or wait for cron's `run --once`)"));
    }
    match state.practice_key {
        Some("revoked") => todo.push(Todo::fault(
            "the practice's key is revoked, and nothing leaves",
            "`cadre key rotate` makes a new one",
        )),
        Some(_) => {
            todo.push(Todo::new("the practice's key was changed, and nobody was told", "`cadre key rotate` does it"));
        }
        None => {}
    }
    if state.frozen.is_some() {
        let remedy = "look at `cadre queue list`, then `cadre queue resume`";
        todo.push(Todo::fault("an older database was put back, and nothing leaves", remedy));
    }
    if state.open_alerts > 0 {
        let what = format!("{} alert(s) unanswered", state.open_alerts);
        todo.push(Todo::new(what, "see that the therapist knows (`cadre journal show`)"));
    }
    for (part, health) in state.health.iter().filter(|(_, health)| health.state != "ok") {
        let detail = health.detail.as_deref().unwrap_or(&health.state);
        let (cause, remedy) = detail.split_once("; ").unwrap_or((detail, "`cadre check` looks closer"));
        let fault = *part != "clock";
        todo.push(Todo { what: format!("{}: {cause}", part.to_uppercase()), remedy: remedy.to_owned(), fault });
    }
    let silent = state.mailbox_read.is_none_or(|read| state.at - read > SILENT_FOR);
    if state.running && silent && state.health.get("imap").is_none_or(|health| health.state == "ok") {
        todo.push(Todo::fault("the mailbox was not read for a while", "`cadre check`"));
    }
    todo.extend(state.reload.as_ref().and_then(reloaded));
    if state.failed_3_days > 0 {
        let what = format!("{} mail(s) could not be sent", state.failed_3_days);
        todo.push(Todo::new(what, "`cadre queue list --all`"));
    }
    if state.queue_held > 0 {
        let what = format!("{} mail(s) are held in the queue", state.queue_held);
        todo.push(Todo::new(what, "`cadre queue list`"));
    }
    if state.erasure_oldest.is_some_and(|oldest| state.at - oldest > STUCK_ERASURE) {
        let what = "an erasure that was ordered is not done";
        todo.push(Todo::new(what, "`cadre client erase CODE` again says what it waits for"));
    }
    keys_to_do(state, &mut todo);
    todo
}

/// Keys that end soon: the practice's and the archive's, and of the others' those that end first.
fn keys_to_do(state: &State, todo: &mut Vec<Todo>) {
    let ending = |key: &&KeyEnd| key.expires.is_some_and(|at| at - state.at <= KEY_WARNING);
    let mut ending: Vec<&KeyEnd> = state.keys.iter().filter(ending).collect();
    let ours = |key: &KeyEnd| matches!(key.whose, Role::Practice | Role::Archive);
    ending.sort_by_key(|key| (!ours(key), key.expires));
    let named = ending.iter().filter(|key| ours(key)).count() + KEYS_NAMED;
    for key in ending.iter().take(named) {
        let (Some(expires), Some(days)) = (key.expires, key.days) else { continue };
        let word = if expires <= state.at { "expired" } else { "expires" };
        let what = format!("the key of {} {word} on {}", key.whose, expires.format("%Y-%m-%d"));
        let remedy = match &key.whose {
            Role::Practice => "`cadre key rotate` makes a new one",
            Role::Archive => "have it prolonged, and put the certificate in its file",
            Role::Therapist(_) | Role::Client(_) => "its owner prolongs it, and has been told",
        };
        todo.push(Todo { fault: key.whose == Role::Practice && days <= 0, ..Todo::new(what, remedy) });
    }
    let more = ending.len().saturating_sub(named);
    if let Some(last) = ending.last().and_then(|key| key.expires).filter(|_| more > 0) {
        let what = format!("{more} more key(s) of therapists and clients expire by {}", last.format("%Y-%m-%d"));
        todo.push(Todo::new(what, "their owners prolong them, and have been told; `cadre status --json` has each"));
    }
}

/// What the last SIGHUP leaves to do.
fn reloaded(reload: &Reloaded) -> Option<Todo> {
    let of = reload.gateway.as_ref().map(|id| format!(" of gateway {id}")).unwrap_or_default();
    if !reload.taken {
        let what = format!(
            "the changed configuration{of} can't be used ({} error(s)), the one before goes on",
            reload.findings.len()
        );
        return Some(Todo::new(what, "`cadre check` names them; then reload again"));
    }
    if reload.restart.is_empty() {
        return None;
    }
    let what = format!("the changed {}{of} counts only after a restart", reload.restart.join(", "));
    Some(Todo::new(what, "restart `cadre run`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    fn good() -> State {
        let ok = |part| (part, Health { state: "ok".to_owned(), since: at(), detail: None });
        let health = ["imap", "smtp"].into_iter().map(ok).collect();
        State { at: at(), running: true, mailbox_read: Some(at()), health, ..State::default() }
    }

    fn judged(change: impl FnOnce(&mut State)) -> State {
        let mut state = good();
        change(&mut state);
        state.judge();
        state
    }

    fn unwell(state: &str, detail: &str) -> Health {
        Health { state: state.to_owned(), since: at(), detail: Some(detail.to_owned()) }
    }

    #[test]
    fn what_stops_the_gateway_is_a_fault_and_what_waits_for_a_decision_is_none() {
        assert!(judged(|_| {}).well);
        let stopped = judged(|state| state.running = false);
        assert_eq!(stopped.faults(), ["`cadre run` is not running"]);
        let refused = judged(|s| drop(s.health.insert("imap", unwell("imap-login", "refused; check the password"))));
        assert_eq!(refused.faults(), ["IMAP: refused"]);
        assert_eq!(refused.todo[0].to_string(), "IMAP: refused: check the password");
        let silent = judged(|s| s.mailbox_read = Some(at() - SILENT_FOR - TimeDelta::seconds(1)));
        assert_eq!(silent.faults(), ["the mailbox was not read for a while"]);
        for waits in [
            judged(|s| s.open_alerts = 1),
            judged(|s| s.queue_held = 2),
            judged(|s| s.failed_3_days = 1),
            judged(|s| drop(s.health.insert("clock", unwell("clock", "set back")))),
        ] {
            assert!(waits.faults().is_empty() && !waits.well && waits.todo.len() == 1, "{:?}", waits.todo);
        }
    }

    #[test]
    fn only_a_practice_key_that_has_ended_is_a_fault() {
        let ends = |whose, after| judged(|s| s.keys.push(end(whose, Some(at() + after), at())));
        assert!(ends(Role::Practice, TimeDelta::days(31)).well);
        assert!(ends(Role::Practice, TimeDelta::days(3)).faults().is_empty());
        assert_eq!(ends(Role::Practice, TimeDelta::days(3)).todo.len(), 1);
        assert_eq!(ends(Role::Practice, -TimeDelta::days(3)).faults().len(), 1);
        assert!(ends(Role::Therapist("exemple".to_owned()), -TimeDelta::days(3)).faults().is_empty());
    }
}
