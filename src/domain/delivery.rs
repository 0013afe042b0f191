//! States and waits of the outbox.
//!
//! Sending is at-least-once. The attempt and the next try are committed *before* dialling
//! ([`begin_attempt`]); what came of it is decided by [`after_attempt`]. A mail's bytes freeze at its
//! first attempt; while no attempt has reached the dot after DATA they may be made again under the
//! same Message-ID, afterwards never ([`bytes`]).

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::{OutboxRow, OutboxState};

/// The wait after the first failed attempt; it doubles with each further one.
pub const FIRST_WAIT: TimeDelta = TimeDelta::minutes(1);
/// The longest wait between two attempts.
pub const LONGEST_WAIT: TimeDelta = TimeDelta::hours(2);
/// How long temporary failures are borne, from the first answer on.
pub const GIVE_UP_AFTER: TimeDelta = TimeDelta::days(5);
/// How many answers it takes at the least: days without a connection give no mail up.
pub const FEWEST_ANSWERS: u32 = 8;
/// How much of a wait the jitter may add or take, either way.
pub const JITTER: f64 = 0.2;
/// When an attempt that was begun and never ended (a crash) is tried again.
pub const ATTEMPT_LIMIT: TimeDelta = TimeDelta::minutes(10);

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 250 after the dot.
    Delivered,
    /// A 4xx answer to this mail (RFC 5321 section 4.2.1).
    Temporary { code: u16 },
    /// A 5xx answer to this mail.
    Permanent { code: u16 },
    /// No connection, no TLS, a refused log-in: nobody was asked about this mail.
    Unreachable,
    /// The dot was sent and no answer came: it may have been delivered.
    MaybeDelivered,
    /// The guard before DATA refused the bytes: it fails closed, nothing was sent.
    Guarded,
}

impl Outcome {
    /// Whether the server may hold the mail now: the dot after DATA was sent and not refused.
    pub fn passed_dot(self) -> bool {
        matches!(self, Self::Delivered | Self::MaybeDelivered)
    }
}

/// How often a mail was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempts {
    /// Attempts that the server answered with 4xx, or after which it may hold the mail.
    pub counted: u32,
    /// Attempts running on which nobody could be asked.
    pub unreachable: u32,
    /// When the first of the counted ones was.
    pub counted_since: Option<DateTime<Utc>>,
    /// Whether any attempt was begun: the bytes are frozen from then on.
    pub begun: bool,
    /// Whether any attempt has reached the dot after DATA.
    pub passed_dot: bool,
}

/// Why a mail is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The server refused it for good.
    Refused { code: u16 },
    /// Temporary failures for longer than [`GIVE_UP_AFTER`]. It may have arrived all the same where
    /// `attempts.passed_dot`.
    TooLong,
    /// The guard refused its bytes.
    Guarded,
}

/// What becomes of a mail after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It has left; frees nothing, a reply keeps its day.
    Sent,
    /// It is tried again at `at`, on the day it already holds.
    Retry { at: DateTime<Utc>, attempts: Attempts },
    /// It is given up; a reply's day becomes free, staff are told.
    Failed { why: Failure, attempts: Attempts },
}

/// The wait after the `n`-th failure (1 is the first), before jitter: 1, 2, 4 … minutes, at most two
/// hours.
pub fn base_wait(n: u32) -> TimeDelta {
    let doublings = n.saturating_sub(1).min(20);
    (FIRST_WAIT * (1 << doublings)).min(LONGEST_WAIT)
}

/// [`base_wait`] with up to [`JITTER`] added or taken; `jitter` is a random number in 0..=1.
pub fn wait(n: u32, jitter: f64) -> TimeDelta {
    let base = base_wait(n);
    let share = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 };
    let thousandths = ((share * 2.0 - 1.0) * JITTER * 1000.0).round() as i32;
    base + base * thousandths / 1000
}

/// What is committed before dialling: the attempt, and when it is tried again if the program dies in
/// the midst of it.
pub fn begin_attempt(now: DateTime<Utc>, attempts: Attempts) -> (Attempts, DateTime<Utc>) {
    let n = attempts.counted.saturating_add(attempts.unreachable).saturating_add(1);
    (Attempts { begun: true, ..attempts }, now + base_wait(n).max(ATTEMPT_LIMIT))
}

/// Decides what becomes of a mail after an attempt.
///
/// `attempts` are those before this one, as [`begin_attempt`] left them. `jitter` is a random number
/// in 0..=1. An unreachable server neither counts against a single mail nor ever gives it up. A mail
/// that may have been delivered is tried again with the very same bytes (at-least-once), and is
/// likewise given up after [`GIVE_UP_AFTER`].
pub fn after_attempt(now: DateTime<Utc>, attempts: Attempts, outcome: Outcome, jitter: f64) -> Next {
    let mut attempts = Attempts { begun: true, passed_dot: attempts.passed_dot || outcome.passed_dot(), ..attempts };
    match outcome {
        Outcome::Delivered => Next::Sent,
        Outcome::Permanent { code } => Next::Failed { why: Failure::Refused { code }, attempts },
        Outcome::Guarded => Next::Failed { why: Failure::Guarded, attempts },
        Outcome::Unreachable => {
            attempts.unreachable = attempts.unreachable.saturating_add(1);
            Next::Retry { at: now + wait(attempts.unreachable, jitter), attempts }
        }
        Outcome::Temporary { .. } | Outcome::MaybeDelivered => {
            attempts.unreachable = 0;
            attempts.counted = attempts.counted.saturating_add(1);
            let since = *attempts.counted_since.get_or_insert(now);
            if now - since >= GIVE_UP_AFTER && attempts.counted >= FEWEST_ANSWERS {
                Next::Failed { why: Failure::TooLong, attempts }
            } else {
                Next::Retry { at: now + wait(attempts.counted, jitter), attempts }
            }
        }
    }
}

/// Whether a mail's bytes may be made again before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bytes {
    /// Never attempted: compose it now, and freeze.
    Compose,
    /// Attempted, but no attempt reached the dot: the frozen bytes, or new ones under the same
    /// Message-ID (a key changed).
    FrozenOrSameMessageId,
    /// An attempt reached the dot: these bytes and no others.
    Frozen,
}

/// What bytes the next attempt may send. A committed attempt whose end is unknown (`unfinished`, a
/// crash in its midst) counts as one that reached the dot.
pub fn bytes(attempts: Attempts, unfinished: bool) -> Bytes {
    if attempts.passed_dot || unfinished {
        Bytes::Frozen
    } else if attempts.begun {
        Bytes::FrozenOrSameMessageId
    } else {
        Bytes::Compose
    }
}

/// A row of the outbox, as far as sending is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    pub row: OutboxRow,
    pub state: OutboxState,
    /// When it may be tried next; for a waiting reply its slot.
    pub not_before: DateTime<Utc>,
    /// Alerts and other mail that passes every queue.
    pub first: bool,
}

/// Whether a row may be claimed for an attempt. A row that is leaving is claimable again once its next
/// try has come, which is also how an attempt that a crash cut off is taken up again.
pub fn claimable(row: &Queued, now: DateTime<Utc>) -> bool {
    matches!(row.state, OutboxState::Waiting | OutboxState::Leaving) && row.not_before <= now
}

/// The rows to try now, in order: those that pass every queue first, then by the time they have been
/// ready, then by age. A failed row's time lies ahead, so it stands behind and blocks nobody.
pub fn order(rows: &[Queued], now: DateTime<Utc>) -> Vec<OutboxRow> {
    let mut ready: Vec<&Queued> = rows.iter().filter(|row| claimable(row, now)).collect();
    ready.sort_by_key(|row| (!row.first, row.not_before, row.row));
    ready.into_iter().map(|row| row.row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-02T17:00:00Z".parse().unwrap()
    }

    #[test]
    fn waits_double_from_a_minute_to_two_hours() {
        let minutes: Vec<i64> = (1..=9).map(|n| base_wait(n).num_minutes()).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        assert_eq!(base_wait(0), FIRST_WAIT);
        assert_eq!(base_wait(u32::MAX), LONGEST_WAIT);
    }

    #[test]
    fn jitter_stays_within_a_fifth_whatever_it_is_fed() {
        assert_eq!(wait(7, 0.5), TimeDelta::minutes(64));
        assert_eq!(wait(1, 0.0), TimeDelta::seconds(48));
        assert_eq!(wait(1, 1.0), TimeDelta::seconds(72));
        for odd in [f64::NAN, f64::INFINITY, -1.0, 2.0] {
            let got = wait(1, odd);
            assert!(got >= TimeDelta::seconds(48) && got <= TimeDelta::seconds(72), "{odd}");
        }
    }

    #[test]
    fn a_refusal_for_good_stops_and_a_temporary_one_waits() {
        let (begun, retry) = begin_attempt(now(), Attempts::default());
        assert_eq!(retry, now() + ATTEMPT_LIMIT);
        let refused = after_attempt(now(), begun, Outcome::Permanent { code: 550 }, 0.5);
        assert!(matches!(refused, Next::Failed { why: Failure::Refused { code: 550 }, .. }));
        let Next::Retry { at, attempts } = after_attempt(now(), begun, Outcome::Temporary { code: 451 }, 0.5) else {
            panic!("a 4xx is tried again")
        };
        assert_eq!((at, attempts.counted), (now() + FIRST_WAIT, 1));
        assert_eq!(after_attempt(now(), begun, Outcome::Delivered, 0.5), Next::Sent);
        let guarded = after_attempt(now(), begun, Outcome::Guarded, 0.5);
        assert!(matches!(guarded, Next::Failed { why: Failure::Guarded, .. }));
    }

    #[test]
    fn a_server_out_of_reach_gives_no_mail_up() {
        let (mut at, mut attempts) = (now(), Attempts::default());
        while at - now() < TimeDelta::days(30) {
            match after_attempt(at, attempts, Outcome::Unreachable, 0.5) {
                Next::Retry { at: next, attempts: after } => (at, attempts) = (next, after),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(attempts.counted, 0);
        let first_answer = after_attempt(at, attempts, Outcome::Temporary { code: 421 }, 0.5);
        assert!(matches!(first_answer, Next::Retry { at: next, .. } if next == at + FIRST_WAIT));
    }

    #[test]
    fn temporary_failures_end_after_five_days() {
        let (mut at, mut attempts) = (now(), Attempts::default());
        loop {
            match after_attempt(at, attempts, Outcome::Temporary { code: 451 }, 0.5) {
                Next::Retry { at: next, attempts: after } => (at, attempts) = (next, after),
                Next::Failed { why, .. } => {
                    assert_eq!(why, Failure::TooLong);
                    break;
                }
                Next::Sent => panic!("nothing was delivered"),
            }
        }
        assert!(at - now() >= GIVE_UP_AFTER && at - now() < GIVE_UP_AFTER + LONGEST_WAIT);
    }

    #[test]
    fn bytes_freeze_at_the_first_attempt_and_for_good_at_the_dot() {
        assert_eq!(bytes(Attempts::default(), false), Bytes::Compose);
        let (begun, _) = begin_attempt(now(), Attempts::default());
        assert_eq!(bytes(begun, false), Bytes::FrozenOrSameMessageId);
        assert_eq!(bytes(begun, true), Bytes::Frozen, "nobody knows how far a crashed attempt came");
        let Next::Retry { attempts, .. } = after_attempt(now(), begun, Outcome::MaybeDelivered, 0.5) else {
            panic!("it is tried again with the same bytes")
        };
        assert_eq!(bytes(attempts, false), Bytes::Frozen);
        let Next::Retry { attempts, .. } = after_attempt(now(), attempts, Outcome::Unreachable, 0.5) else {
            panic!("it is tried again")
        };
        assert_eq!(bytes(attempts, false), Bytes::Frozen, "once past the dot, for ever");
    }

    #[test]
    fn one_stuck_mail_blocks_no_other() {
        let row = |row, state, minutes, first| Queued {
            row: OutboxRow(row),
            state,
            not_before: now() + TimeDelta::minutes(minutes),
            first,
        };
        let rows = [
            row(1, OutboxState::Leaving, 30, false),
            row(2, OutboxState::Waiting, -5, false),
            row(3, OutboxState::Leaving, -10, false),
            row(4, OutboxState::Held, -60, false),
            row(5, OutboxState::Waiting, 0, true),
            row(6, OutboxState::Failed, -60, false),
            row(7, OutboxState::Waiting, -5, false),
            row(8, OutboxState::Sent, -60, false),
        ];
        assert_eq!(order(&rows, now()), [5, 3, 2, 7].map(OutboxRow));
    }
}
