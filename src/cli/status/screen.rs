//! The screen: what is to be done first, what is well in one line, then the figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::app::status::{KeyEnd, Role, State};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const SOON: Style = AnsiColor::Yellow.on_default().bold();
const FAINT: Style = Style::new().dimmed();
/// More keys than this are counted.
const KEYS_SHOWN: usize = 4;
/// More therapists with a time of their own than this are counted.
const THERAPISTS_SHOWN: usize = 3;

/// Prints it: in colours where there is a terminal that wants them (NO_COLOR).
pub(super) fn print(state: &State, zone: Tz, json: bool) {
    if json {
        println!("{}", serde_json::to_string_pretty(state).unwrap_or_default());
    } else {
        anstream::print!("{}", screen(state, zone));
    }
}

/// The whole screen, with ANSI colours.
pub(super) fn screen(state: &State, zone: Tz) -> String {
    let mut out = head(state);
    let clock = Clock { now: state.at, zone };
    let now = state.at.with_timezone(&zone).format("%A %-d %B %Y, %H:%M");
    let _ = writeln!(out, "\n  {FAINT}{now} ({zone}){FAINT:#}\n");
    let mut row = |name: &str, text: String| {
        let _ = writeln!(out, "  {FAINT}{name:<12}{FAINT:#} {text}");
    };
    let ready = match (state.waiting_replies, state.next_slot) {
        (0, _) => "no reply is waiting".to_owned(),
        (n, None) => format!("{} waiting", count(n, "reply", "replies")),
        (n, Some(at)) => format!("{} waiting, the first for {}", count(n, "reply", "replies"), clock.say(at)),
    };
    row("next slot", format!("{}; {ready}", clock.each(&state.slots, "none is coming")));
    row("last digest", clock.each(&state.last_digest, "never"));
    let overdue =
        if state.overdue_turns == 0 { "none overdue".to_owned() } else { format!("{} overdue", state.overdue_turns) };
    row("clients", format!("{}; {} for a reply, {overdue}", state.clients, wait(state.open_turns)));
    let requests = count(state.requests, "request", "requests");
    row("to decide", format!("{} held for the therapist, {requests} in 7 days", state.held));
    row("to leave", outbox(state));
    row("mailbox", connection(state, "imap", clock, state.mailbox_read.map(|at| format!("read {}", clock.say(at)))));
    row("sending", connection(state, "smtp", clock, state.sent_last.map(|at| format!("last mail {}", clock.say(at)))));
    for gateway in &state.gateways {
        let part = if gateway.mailbox { "reads the mailbox, keeps the clock, sends" } else { "stands by, sends" };
        row("gateway", format!("{} {part}", gateway.id));
    }
    row("keys", keys(&state.keys));
    if state.retention_over + state.legal_holds + state.erasures > 0 {
        row(
            "records",
            format!(
                "{} kept long enough (the therapist decides), {} under legal hold, {} being erased",
                state.retention_over, state.legal_holds, state.erasures
            ),
        );
    }
    row("aside", format!("{} among the others, {} left in the junk folder", state.set_aside, state.left_in_junk));
    if state.originals_pending > 0 {
        row("originals", format!("{} still to be removed from the mailbox", state.originals_pending));
    }
    let size = state.database_size.map(|bytes| format!("; the database has {}", megabytes(bytes)));
    row("journal", format!("{}{}", state.journal, size.unwrap_or_default()));
    out
}

/// What is to be done, and what is well.
fn head(state: &State) -> String {
    let mut out = String::new();
    let well = well(state).join(", ");
    if state.todo.is_empty() {
        let _ = writeln!(out, "{GOOD}All is well:{GOOD:#} {well}");
        return out;
    }
    let _ = writeln!(out, "{BAD}To do: {}{BAD:#}\n", count(state.todo.len() as u64, "thing", "things"));
    for todo in &state.todo {
        let style = if todo.fault { BAD } else { SOON };
        let _ = writeln!(out, "  {style}{}{style:#}", todo.what);
        if !todo.remedy.is_empty() {
            let _ = writeln!(out, "    → {}", todo.remedy);
        }
    }
    let _ = writeln!(out, "\n{GOOD}Well:{GOOD:#} {}", if well.is_empty() { "nothing that is known" } else { &well });
    out
}

fn well(state: &State) -> Vec<&'static str> {
    let ok = |part: &str| state.health.get(part).is_some_and(|health| health.state == "ok");
    let silent = state.faults().iter().any(|fault| fault.contains("mailbox"));
    let parts = [
        ("running", state.running),
        ("mailbox", ok("imap") && !silent),
        ("sending", ok("smtp") && state.frozen.is_none()),
        ("keys", state.keys_expiring.is_empty() && state.practice_key.is_none()),
        ("clock", state.health.get("clock").is_none_or(|health| health.state == "ok")),
        ("alerts answered", state.open_alerts == 0),
    ];
    parts.into_iter().filter_map(|(word, well)| well.then_some(word)).collect()
}

fn outbox(state: &State) -> String {
    let failed = match state.failed_3_days {
        0 => String::new(),
        n => format!("; {n} failed in 3 days"),
    };
    match (state.queue_unfinished, state.queue_oldest) {
        (0, _) => format!("nothing{failed}"),
        (n, None) => format!("{}{failed}", count(n, "mail", "mails")),
        (n, Some(oldest)) => {
            format!("{}, the oldest for {}{failed}", count(n, "mail", "mails"), lasting(state.at - oldest))
        }
    }
}

fn connection(state: &State, part: &str, clock: Clock, last: Option<String>) -> String {
    let text = match state.health.get(part) {
        None => "not tried yet".to_owned(),
        Some(health) if health.state == "ok" => format!("well since {}", clock.say(health.since)),
        Some(health) => format!("{BAD}{}{BAD:#} since {}", health.state, clock.say(health.since)),
    };
    last.map_or(text.clone(), |last| format!("{text}; {last}"))
}

fn keys(keys: &[KeyEnd]) -> String {
    let (clients, mut sorted): (Vec<&KeyEnd>, _) = keys.iter().partition(|key| matches!(key.whose, Role::Client(_)));
    // The soonest first; those without an end last, in the order of the configuration.
    sorted.sort_by_key(|key| key.expires.map_or(i64::MAX, |at| at.timestamp()));
    let say = |key: &&KeyEnd| match (key.expires, key.days) {
        (Some(at), Some(days)) if days <= 0 => format!("{BAD}{} ended on {}{BAD:#}", key.whose, day(at)),
        (Some(at), Some(days)) if days <= 30 => {
            format!("{SOON}{} until {} ({}){SOON:#}", key.whose, day(at), count(days.unsigned_abs(), "day", "days"))
        }
        (Some(at), _) => format!("{} until {}", key.whose, day(at)),
        (None, _) => format!("{} without an end", key.whose),
    };
    let mut said: Vec<String> = sorted.iter().take(KEYS_SHOWN).map(say).collect();
    if sorted.len() > KEYS_SHOWN {
        said.push(format!("{} more", sorted.len() - KEYS_SHOWN));
    }
    if !clients.is_empty() {
        said.push(format!("{SOON}{} in 30 days{SOON:#}", count(clients.len() as u64, "client's", "clients'")));
    }
    if said.is_empty() { "none can be read".to_owned() } else { said.join(", ") }
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%-d %b %Y").to_string()
}

fn count(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

fn wait(n: u64) -> String {
    if n == 1 { "1 waits".to_owned() } else { format!("{n} wait") }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// In the largest unit that fits.
fn lasting(time: TimeDelta) -> String {
    match (time.num_days(), time.num_hours(), time.num_minutes()) {
        (days @ 2.., _, _) => format!("{days} days"),
        (_, hours @ 2.., _) => format!("{hours} h"),
        (_, _, minutes @ 1..) => format!("{minutes} min"),
        _ => "a moment".to_owned(),
    }
}

/// Says times as people do.
#[derive(Clone, Copy)]
struct Clock {
    now: DateTime<Utc>,
    zone: Tz,
}

impl Clock {
    fn say(self, at: DateTime<Utc>) -> String {
        let (local, today) = (at.with_timezone(&self.zone), self.now.with_timezone(&self.zone).date_naive());
        let days = (local.date_naive() - today).num_days();
        let day = match days {
            -1 => "yesterday".to_owned(),
            0 => "today".to_owned(),
            1 => "tomorrow".to_owned(),
            _ if local.year() == today.year() => local.format("%a %-d %b").to_string(),
            _ => local.format("%a %-d %b %Y").to_string(),
        };
        format!("{day} {}", local.format("%H:%M"))
    }

    /// One time where it is everybody's; of a few therapists each one's, of many the usual one.
    fn each(self, times: &BTreeMap<String, Option<DateTime<Utc>>>, never: &str) -> String {
        let say = |at: &Option<DateTime<Utc>>| at.map_or_else(|| never.to_owned(), |at| self.say(at));
        let mut often: BTreeMap<String, usize> = BTreeMap::new();
        for at in times.values() {
            *often.entry(say(at)).or_default() += 1;
        }
        let Some((usual, _)) = often.iter().max_by_key(|(_, times)| **times) else { return never.to_owned() };
        if often.len() == 1 {
            return usual.clone();
        }
        if times.len() <= THERAPISTS_SHOWN {
            return times.iter().map(|(id, at)| format!("{id} {}", say(at))).collect::<Vec<_>>().join(", ");
        }
        format!("{usual} for most, {} differ (--json)", times.len() - often[usual])
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;
    use crate::app::health::Health;
    use crate::app::reload::Reloaded;
    use crate::app::status::Expiring;

    /// Monday, 2 March 2026, 08:12 in Paris.
    fn now() -> DateTime<Utc> {
        "2026-03-02T07:12:00Z".parse().unwrap()
    }

    fn good_day() -> State {
        let minutes = |n| now() - TimeDelta::minutes(n);
        let ok = |part| (part, Health { state: "ok".to_owned(), since: minutes(3000), detail: None });
        let mine = |at| [("exemple".to_owned(), Some(at))].into_iter().collect();
        let mut state = State {
            at: now(),
            running: true,
            mailbox_read: Some(minutes(1)),
            sent_last: Some(minutes(72)),
            health: ["imap", "smtp"].into_iter().map(ok).collect(),
            clients: 42,
            open_turns: 5,
            waiting_replies: 3,
            next_slot: Some(minutes(-588)),
            slots: mine(minutes(-588)),
            held: 2,
            requests: 1,
            set_aside: 7,
            left_in_junk: 1,
            keys: vec![
                KeyEnd { whose: Role::Practice, expires: None, days: None },
                KeyEnd {
                    whose: Role::Therapist("exemple".to_owned()),
                    expires: Some(now() + TimeDelta::days(400)),
                    days: Some(400),
                },
            ],
            journal: "1234:0123456789ABCDEF".to_owned(),
            last_digest: mine(minutes(72)),
            database_size: Some(12_345_678),
            ..State::default()
        };
        state.judge();
        state
    }

    fn bad_day() -> State {
        let mut state = good_day();
        let detail = "the IMAP server refused the log-in (AUTHENTICATIONFAILED); check `username` and the password";
        let since = now() - TimeDelta::hours(20);
        let refused = Health { state: "imap-login".to_owned(), since, detail: Some(detail.to_owned()) };
        state.health.insert("imap", refused);
        state.mailbox_read = Some(since);
        state.open_alerts = 1;
        state.overdue_turns = 2;
        state.queue_unfinished = 4;
        state.queue_oldest = Some(now() - TimeDelta::hours(3));
        state.failed_3_days = 1;
        let expires = now() + TimeDelta::days(9);
        state.keys[1] = KeyEnd { whose: Role::Therapist("exemple".to_owned()), expires: Some(expires), days: Some(9) };
        state.keys_expiring = vec![Expiring { whose: "therapist exemple".to_owned(), expires }];
        let findings = vec!["cadre.toml:12: …".to_owned()];
        state.reload = Some(Reloaded { at: now(), taken: false, findings, ..Reloaded::default() });
        state.judge();
        state
    }

    fn plain(state: &State) -> String {
        anstream::adapter::strip_str(&screen(state, chrono_tz::Europe::Paris)).to_string()
    }

    #[test]
    fn a_good_day_is_one_line_and_the_figures() {
        let golden = "\
All is well: running, mailbox, sending, keys, clock, alerts answered

  Monday 2 March 2026, 08:12 (Europe/Paris)

  next slot    today 18:00; 3 replies waiting, the first for today 18:00
  last digest  today 07:00
  clients      42; 5 wait for a reply, none overdue
  to decide    2 held for the therapist, 1 request in 7 days
  to leave     nothing
  mailbox      well since Sat 28 Feb 06:12; read today 08:11
  sending      well since Sat 28 Feb 06:12; last mail today 07:00
  keys         therapist exemple until 6 Apr 2027, the practice without an end
  aside        7 among the others, 1 left in the junk folder
  journal      1234:0123456789ABCDEF; the database has 12.3 MB
";
        assert_eq!(plain(&good_day()), golden);
    }

    #[test]
    fn a_bad_day_begins_with_what_to_do() {
        let golden = "\
To do: 5 things

  1 alert(s) unanswered
    → see that the therapist knows (`cadre journal show`)
  IMAP: the IMAP server refused the log-in (AUTHENTICATIONFAILED)
    → check `username` and the password
  the changed configuration can't be used (1 error(s)), the one before goes on
    → `cadre check` names them; then reload again
  1 mail(s) could not be sent
    → `cadre queue list --all`
  the key of therapist exemple expires on 2026-03-11
    → its owner prolongs it, and has been told

Well: running, sending, clock

  Monday 2 March 2026, 08:12 (Europe/Paris)

  next slot    today 18:00; 3 replies waiting, the first for today 18:00
  last digest  today 07:00
  clients      42; 5 wait for a reply, 2 overdue
  to decide    2 held for the therapist, 1 request in 7 days
  to leave     4 mails, the oldest for 3 h; 1 failed in 3 days
  mailbox      imap-login since yesterday 12:12; read yesterday 12:12
  sending      well since Sat 28 Feb 06:12; last mail today 07:00
  keys         therapist exemple until 11 Mar 2026 (9 days), the practice without an end
  aside        7 among the others, 1 left in the junk folder
  journal      1234:0123456789ABCDEF; the database has 12.3 MB
";
        assert_eq!(plain(&bad_day()), golden);
        let coloured = screen(&bad_day(), chrono_tz::Europe::Paris);
        assert!(coloured.starts_with("\x1b["), "colours are for a terminal, and are taken out elsewhere");
    }

    #[test]
    fn a_clinics_page_is_one_screen_too() {
        let mut state = bad_day();
        for n in 0..200_u32 {
            let at = (n % 10 > 0).then(|| now() + TimeDelta::days(i64::from(n % 10 / 9)));
            state.slots.insert(format!("therapeute{n}"), at);
            state.last_digest.insert(format!("therapeute{n}"), (n % 50 > 0).then(now));
        }
        for n in 0..500 {
            let expires = now() + TimeDelta::days(n % 29 + 1);
            let whose = Role::Client("C-7K2M-4PQR".to_owned());
            state.keys.push(KeyEnd { whose, expires: Some(expires), days: Some(n % 29 + 1) });
        }
        state.judge();
        let page = plain(&state);
        assert!(page.lines().count() <= 40, "{page}");
        assert!(page.lines().all(|line| line.chars().count() <= 120), "{page}");
        for told in [
            "498 more key(s) of therapists and clients expire by 2026-03-31",
            "  next slot    today 08:12 for most, 41 differ (--json); 3 replies waiting, the first for today 18:00\n",
            "  keys         therapist exemple until 11 Mar 2026 (9 days), the practice without an end, 500 clients' in 30 days\n",
            "  last digest  today 08:12 for most, 5 differ (--json)\n",
        ] {
            assert!(page.contains(told), "{told}\n{page}");
        }
    }
}
