//! What the digest lists and in which order (PRACTICE.md, "Digest"; SPEC sections 2 to 4).
//!
//! Facts in, an arranged sheet out. It serializes to what `letters::Digest::of` takes; the words are the letter's.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use crate::model::{ClientCode, ClientState, CrisisClass, Kind, Mark, TurnState, Verdict};

/// Days without a letter after which a client stands under "silent".
pub const SILENT_DAYS: u32 = 7;
/// Requests shown; the rest is counted.
pub const REQUESTS_SHOWN: usize = 10;
/// Records at the end of their retention that are shown; the rest is counted.
pub const RECORDS_SHOWN: usize = 10;

/// What the scan for crisis words found in the letters of the open turn or of the last day. None: nothing was scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scan {
    Clear,
    Alert,
    NotAnalysed,
}

/// One client.
#[derive(Clone, Serialize)]
pub struct ClientLine {
    pub label: Option<String>,
    pub code: ClientCode,
    pub state: ClientState,
    pub turn: TurnState,
    /// The slot at which the open turn is due.
    pub due: Option<DateTime<Utc>>,
    /// Letters of the open turn, and their words and attachments.
    pub letters: u32,
    pub words: u32,
    pub attachments: u32,
    /// Arrival of the oldest letter of the open turn.
    pub oldest: Option<DateTime<Utc>>,
    /// The least good verdict of the open turn's letters.
    pub verdict: Option<Verdict>,
    pub marks: Vec<Mark>,
    pub scan: Option<Scan>,
    /// Whole days since the client's last letter; None: there was none.
    pub days_silent: Option<u32>,
    /// The slot and its grace passed without a reply, and still none was accepted.
    pub overdue: bool,
    /// Silent for so long that `/checkin` is proposed.
    pub propose_checkin: bool,
    /// The turns of the assessment are over: `/accept` or `/decline` is asked for.
    pub ask_assessment: bool,
    /// The version of the frame that was asked about and isn't agreed to yet.
    pub consent_pending: Option<u32>,
    /// A key came that nobody has compared: `/key accept` is asked for.
    pub key_waiting: bool,
    /// Letters are sealed with a passphrase; what the client writes isn't.
    pub sealed_letters: bool,
    /// A passphrase was made and waits to be told: `/told`.
    pub passphrase_waiting: bool,
}

/// Crisis words that no verified mail of the therapist's has followed yet.
#[derive(Clone, Serialize)]
pub struct AlertLine {
    /// None: a stranger's request.
    pub code: Option<ClientCode>,
    /// `H3` or `N-3F`, where the letter is held or a request.
    pub number: Option<String>,
    pub label: Option<String>,
    pub class: CrisisClass,
    /// When it was first told.
    pub first: DateTime<Utc>,
}

/// A held letter.
#[derive(Clone, Serialize)]
pub struct HeldLine {
    /// `H3`.
    pub number: String,
    pub code: Option<ClientCode>,
    pub label: Option<String>,
    pub verdict: Verdict,
    pub marks: Vec<Mark>,
    pub arrived: DateTime<Utc>,
    pub releasable: bool,
}

/// A stranger's request.
#[derive(Clone, Serialize)]
pub struct RequestLine {
    /// `N-3F`.
    pub number: String,
    pub arrived: DateTime<Utc>,
    pub words: u32,
    pub verdict: Verdict,
}

/// A reply that waits, or a letter of the therapist's own words about the treatment.
#[derive(Clone, Serialize)]
pub struct WaitingLine {
    pub code: ClientCode,
    pub label: Option<String>,
    pub kind: Kind,
    /// None: held, by the operator or by `rhythm.second = "hold"`.
    pub slot: Option<DateTime<Utc>>,
    /// `H4`, where it is held and can be released.
    pub number: Option<String>,
}

/// A key that expires soon or has expired.
#[derive(Clone, Serialize)]
pub struct KeyLine {
    /// None: `owner` is not a client.
    pub code: Option<ClientCode>,
    pub label: Option<String>,
    pub owner: KeyOwner,
    pub expires: DateTime<Utc>,
    /// Whole days left; below 1: expired.
    pub days: i64,
}

/// Whose key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyOwner {
    Client,
    Therapist,
    Practice,
    Archive,
}

/// A mail that did not arrive. Kind `forward`: one of ours to the therapist.
#[derive(Clone, Serialize)]
pub struct FailureLine {
    pub code: Option<ClientCode>,
    pub label: Option<String>,
    pub kind: Kind,
    pub at: DateTime<Utc>,
}

/// A mail to a client of which another server said that it is delayed, or something that nobody understands.
#[derive(Clone, Serialize)]
pub struct NoticeLine {
    pub code: ClientCode,
    pub label: Option<String>,
    pub kind: Kind,
    /// When it left.
    pub at: DateTime<Utc>,
    pub unclear: bool,
}

/// A record whose retention is over: to be erased, if a person says so.
#[derive(Clone, Serialize)]
pub struct RecordLine {
    pub code: ClientCode,
    pub label: Option<String>,
    /// When the treatment ended.
    pub since: DateTime<Utc>,
}

/// The coming or running absence, both days included.
#[derive(Clone, Serialize)]
pub struct Absence {
    pub from: NaiveDate,
    /// None: not known yet.
    pub to: Option<NaiveDate>,
    /// Name of who stands in for the clients who agreed.
    pub locum: Option<String>,
}

/// Count and head of the journal, for `journal verify --expect COUNT:HEAD`.
#[derive(Clone, Serialize)]
pub struct JournalHead {
    pub count: u64,
    pub head: String,
}

/// All that a digest is made of.
#[derive(Clone)]
pub struct Facts {
    pub at: DateTime<Utc>,
    /// The therapist's zone.
    pub zone: Tz,
    /// The next slot of the practice's rhythm after `at`; None: there is none within a year.
    pub next_slot: Option<DateTime<Utc>>,
    /// Alerts without an answer, in any order.
    pub alerts: Vec<AlertLine>,
    /// Every client of this therapist that is not archived, erased or declined, in any order.
    pub clients: Vec<ClientLine>,
    pub held: Vec<HeldLine>,
    /// Held beyond the ceiling of the day, counted only, originals in `Cadre/Attention`.
    pub held_beyond: u32,
    pub requests: Vec<RequestLine>,
    pub waiting: Vec<WaitingLine>,
    pub keys: Vec<KeyLine>,
    pub failures: Vec<FailureLine>,
    pub noticed: Vec<NoticeLine>,
    pub records: Vec<RecordLine>,
    pub absence: Option<Absence>,
    pub journal: JournalHead,
}

/// The sections about clients, in the sheet's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    Crisis,
    Overdue,
    NotAnalysed,
    /// Due at the headline's slot.
    Due,
    /// Open, due at a later slot.
    Later,
    /// Nothing is owed, but the assessment wants a word.
    Assessment,
    /// A key waits to be compared.
    Key,
    Silent,
    ConsentPending,
    /// Nothing to do.
    Quiet,
}

/// A section that has lines.
#[derive(Clone, Serialize)]
pub struct ClientSection {
    pub section: Section,
    pub lines: Vec<ClientLine>,
}

/// The sheet, arranged: what the letter prints from top to bottom.
#[derive(Clone, Serialize)]
pub struct Digest {
    pub at: DateTime<Utc>,
    /// The slot that "ce soir" means.
    pub slot: Option<DateTime<Utc>>,
    /// The headline's numbers.
    pub to_answer: u32,
    pub to_decide: u32,
    pub nothing: u32,
    /// Before everything else.
    pub alerts: Vec<AlertLine>,
    /// Our own mail to the therapist that failed for good: heads the sheet.
    pub forward_failures: Vec<FailureLine>,
    /// Before held and requests: crisis, overdue, not analysed, due, later.
    pub before: Vec<ClientSection>,
    pub held: Vec<HeldLine>,
    pub held_beyond: u32,
    pub requests: Vec<RequestLine>,
    /// Requests that are counted only.
    pub requests_beyond: u32,
    /// After them: assessment, key, silent, consent pending, quiet.
    pub after: Vec<ClientSection>,
    pub waiting: Vec<WaitingLine>,
    pub keys: Vec<KeyLine>,
    pub failures: Vec<FailureLine>,
    /// Mail that is still on its way, as far as anybody knows.
    pub noticed: Vec<NoticeLine>,
    /// Proposed for erasure, the oldest first; ten at most.
    pub records: Vec<RecordLine>,
    pub records_beyond: u32,
    pub absence: Option<Absence>,
    /// A client's line asks for a command.
    pub asks: bool,
    /// Somebody on it writes unsealed: said in one sentence.
    pub sealed_letters: bool,
    pub journal: JournalHead,
}

impl Digest {
    /// Takes the therapist's labels out: what an operator may see.
    pub fn without_labels(&mut self) {
        for section in self.before.iter_mut().chain(&mut self.after) {
            section.lines.iter_mut().for_each(|line| line.label = None);
        }
        self.alerts.iter_mut().for_each(|line| line.label = None);
        self.held.iter_mut().for_each(|line| line.label = None);
        self.waiting.iter_mut().for_each(|line| line.label = None);
        self.keys.iter_mut().for_each(|line| line.label = None);
        self.noticed.iter_mut().for_each(|line| line.label = None);
        self.records.iter_mut().for_each(|line| line.label = None);
        self.failures.iter_mut().chain(&mut self.forward_failures).for_each(|line| line.label = None);
    }
}

/// Arranges the facts. Whatever order they come in, the sheet is the same.
pub fn arrange(facts: Facts) -> Digest {
    let slot = facts.next_slot;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut clients: Vec<(Section, ClientLine)> =
        facts.clients.into_iter().map(|c| (section(&c, slot, facts.zone), c)).collect();
    clients.sort_by_cached_key(|(section, c)| (*section, order(c, *section)));
    let of = |wanted: &dyn Fn(Section) -> bool| clients.iter().filter(|(s, _)| wanted(*s)).count();
    let to_answer = count(of(&|s| s <= Section::Due));
    // Each client is counted once: who is answered today needs no second number.
    let rests = |c: &&(Section, ClientLine)| c.0 > Section::Due;
    let commands = |c: &ClientLine| c.ask_assessment || c.propose_checkin || c.key_waiting || c.passphrase_waiting;
    let asks = |c: &ClientLine| c.state == ClientState::ConsentPending || commands(c);
    let undecided = clients.iter().filter(rests).filter(|(_, c)| asks(c)).count();
    let nothing = count(clients.iter().filter(rests).count() - undecided);

    let sealed_letters = clients.iter().any(|(_, c)| c.sealed_letters);
    let asked = clients.iter().any(|(_, c)| commands(c));

    let mut alerts = facts.alerts;
    alerts.sort_by(|a, b| (a.first, &a.code, &a.number).cmp(&(b.first, &b.code, &b.number)));

    let mut held = facts.held;
    held.sort_by(|a, b| (a.arrived, &a.number).cmp(&(b.arrived, &b.number)));
    let mut requests = facts.requests;
    requests.sort_by(|a, b| (a.arrived, &a.number).cmp(&(b.arrived, &b.number)));
    let beyond = requests.len().saturating_sub(REQUESTS_SHOWN);
    let held_replies = facts.waiting.iter().filter(|w| w.slot.is_none() && w.number.is_some()).count();
    let to_decide = count(held.len() + requests.len() + held_replies + undecided).saturating_add(facts.held_beyond);
    requests.truncate(REQUESTS_SHOWN);

    let mut waiting = facts.waiting;
    waiting.sort_by(|a, b| {
        (a.slot.is_none(), a.slot, &a.label, &a.code).cmp(&(b.slot.is_none(), b.slot, &b.label, &b.code))
    });
    let mut keys = facts.keys;
    keys.sort_by_key(|k| (k.expires, k.code.clone()));
    let mut failures = facts.failures;
    failures.sort_by_key(|f| (f.at, f.code.clone()));
    let (forward_failures, failures) = failures.into_iter().partition(|f| f.kind == Kind::Forward);
    let mut noticed = facts.noticed;
    noticed.sort_by_key(|f| (f.at, f.code.clone()));
    let mut records = facts.records;
    records.sort_by_key(|r| (r.since, r.code.clone()));
    let records_beyond = count(records.len().saturating_sub(RECORDS_SHOWN));
    records.truncate(RECORDS_SHOWN);
    let (before, after) = sections(clients);
    Digest {
        at: facts.at,
        slot,
        to_answer,
        to_decide,
        nothing,
        alerts,
        forward_failures,
        before,
        held,
        held_beyond: facts.held_beyond,
        requests,
        requests_beyond: count(beyond),
        after,
        waiting,
        keys,
        failures,
        noticed,
        records,
        records_beyond,
        absence: facts.absence,
        asks: asked,
        sealed_letters,
        journal: facts.journal,
    }
}

/// Where a client stands on the sheet.
fn section(client: &ClientLine, slot: Option<DateTime<Utc>>, zone: Tz) -> Section {
    let open = client.turn == TurnState::Open && client.letters > 0;
    match client.scan {
        Some(Scan::Alert) => return Section::Crisis,
        _ if client.overdue => return Section::Overdue,
        Some(Scan::NotAnalysed) => return Section::NotAnalysed,
        _ => {}
    }
    if open {
        let now = match (client.due, slot) {
            (Some(due), Some(slot)) => same_day_or_before(due, slot, zone),
            // An open turn in a client who isn't in treatment owes nothing by a date, but wants a look.
            (None, _) => false,
            (Some(_), None) => true,
        };
        return if now { Section::Due } else { Section::Later };
    }
    match client.state {
        _ if client.key_waiting => Section::Key,
        ClientState::ConsentPending => Section::ConsentPending,
        _ if client.ask_assessment => Section::Assessment,
        state if state.in_treatment() && client.days_silent.is_some_and(|d| d >= SILENT_DAYS) => Section::Silent,
        _ if client.consent_pending.is_some() => Section::ConsentPending,
        _ => Section::Quiet,
    }
}

/// Whether a due moment belongs to the headline's slot day or an earlier one.
fn same_day_or_before(due: DateTime<Utc>, slot: DateTime<Utc>, zone: Tz) -> bool {
    due <= slot + TimeDelta::minutes(1)
        || due.with_timezone(&zone).date_naive() <= slot.with_timezone(&zone).date_naive()
}

/// Inside a section: due soonest, oldest wait, longest silence (under "silent" only), then label and code.
fn order(client: &ClientLine, section: Section) -> impl Ord + use<> {
    let far = DateTime::<Utc>::MAX_UTC;
    (
        client.due.unwrap_or(far),
        client.oldest.unwrap_or(far),
        std::cmp::Reverse(client.days_silent.filter(|_| section == Section::Silent)),
        client.label.as_ref().map_or_else(|| (true, String::new()), |l| (false, l.to_lowercase())),
        client.code.clone(),
    )
}

/// Groups sorted clients, split around held letters and requests.
fn sections(clients: Vec<(Section, ClientLine)>) -> (Vec<ClientSection>, Vec<ClientSection>) {
    let mut all: Vec<ClientSection> = Vec::new();
    for (section, client) in clients {
        match all.last_mut() {
            Some(last) if last.section == section => last.lines.push(client),
            _ => all.push(ClientSection { section, lines: vec![client] }),
        }
    }
    all.into_iter().partition(|s| s.section < Section::Assessment)
}

#[cfg(test)]
mod tests;
