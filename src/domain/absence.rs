//! A therapist's absences: which letters are due when, and where what was owed moves to (SPEC section 5).
//!
//! Pure: days are the therapist's own, `now` is an argument, decisions are values. That no slot falls into an absence
//! is the rhythm's affair; here is what begins and ends with one.

#[cfg(test)]
mod tests;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::rhythm::{Schedule, Slot, TakenDays, next_free, place};

/// How long before a planned absence the clients are told.
pub const NOTICE_DAYS: u64 = 14;

/// When the letters of a day leave, in the therapist's zone.
const MORNING: NaiveTime = NaiveTime::from_hms_opt(7, 0, 0).expect("seven is an hour of the day");

/// First and last day of an absence, both included; None: the end isn't known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    pub first: NaiveDate,
    pub last: Option<NaiveDate>,
}

impl Days {
    /// As [`Schedule::with_absences`] takes it.
    pub fn range(self) -> (NaiveDate, NaiveDate) {
        (self.first, self.last.unwrap_or(NaiveDate::MAX))
    }

    /// Whether `day` belongs to it.
    pub fn covers(self, day: NaiveDate) -> bool {
        let (first, last) = self.range();
        first <= day && day <= last
    }

    /// Whether any day belongs to both.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.range().1 && other.first <= self.range().1
    }

    /// Whether all of it lies before `day`.
    pub fn is_over(self, day: NaiveDate) -> bool {
        self.range().1 < day
    }
}

/// Why an absence can't be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("the last day lies before the first: exchange them")]
    UpsideDown,
    #[error("all of it lies in the past: absences are entered for today or later")]
    Past,
    #[error("it shares days with another absence: end that one first, or choose other days")]
    Overlap,
}

/// What entering an absence comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A new one, from today on at the earliest.
    New(Days),
    /// The end of the one that runs without a known end.
    Ends { last: NaiveDate },
}

/// Judges an absence that somebody enters on `today`. `known` are the therapist's others that haven't ended.
///
/// # Errors
/// [`Wrong`]: nothing is entered.
pub fn entered(wanted: Days, known: &[Days], today: NaiveDate) -> Result<Entry, Wrong> {
    if wanted.last.is_some_and(|last| last < wanted.first) {
        return Err(Wrong::UpsideDown);
    }
    if wanted.is_over(today) {
        return Err(Wrong::Past);
    }
    let wanted = Days { first: wanted.first.max(today), ..wanted };
    let mut shared = known.iter().filter(|other| other.overlaps(wanted));
    match (shared.next(), shared.next(), wanted.last) {
        (None, ..) => Ok(Entry::New(wanted)),
        // Somebody who fell ill says when they come back.
        (Some(Days { first, last: None }), None, Some(last)) if *first <= today && wanted.first == today => {
            Ok(Entry::Ends { last })
        }
        _ => Err(Wrong::Overlap),
    }
}

/// One absence as far as its letters are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    pub days: Days,
    /// Nobody could be told before: it began when it was entered, or has no known end.
    pub unplanned: bool,
    pub announced: bool,
    pub started: bool,
}

/// What is due in the course of an absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The letter before it.
    Announce,
    /// The letter on its first day, and the locum's cover.
    Start,
    /// It is over; `tell`: clients get the letter of the return.
    Return { tell: bool },
}

/// The one step that is due at `now`, if any. `others` are the therapist's other absences that haven't ended.
///
/// What was slept through isn't made up for: an absence that is over is not announced, and nobody is told of a
/// return who was never told of the absence.
pub fn step(course: &Course, schedule: &Schedule, others: &[Days], now: DateTime<Utc>) -> Option<Step> {
    let today = schedule.local_day(now);
    let start = starts(course, schedule)?;
    if course.days.is_over(today) {
        let told = course.announced || course.started;
        let returns = returns(course.days, schedule)?;
        let gone_again = others.iter().any(|other| other.covers(schedule.local_day(returns)) || other.covers(today));
        if !told || gone_again {
            return Some(Step::Return { tell: false });
        }
        return (now >= returns).then_some(Step::Return { tell: true });
    }
    if now >= start {
        return (!course.started).then_some(Step::Start);
    }
    let announced = announces(course, schedule)?;
    (!course.announced && now >= announced).then_some(Step::Announce)
}

/// When the letter before a planned absence is due; None for an unplanned one, or where it has begun already.
pub fn announces(course: &Course, schedule: &Schedule) -> Option<DateTime<Utc>> {
    if course.unplanned {
        return None;
    }
    let day = course.days.first.checked_sub_days(chrono::Days::new(NOTICE_DAYS))?;
    place(schedule.tz(), day.and_time(MORNING))
}

/// When the letter of the first day is due.
fn starts(course: &Course, schedule: &Schedule) -> Option<DateTime<Utc>> {
    let hour = if course.unplanned { NaiveTime::MIN } else { MORNING };
    place(schedule.tz(), course.days.first.and_time(hour))
}

/// When the return is told: in the morning of the first day on which letters leave again.
fn returns(days: Days, schedule: &Schedule) -> Option<DateTime<Utc>> {
    let next = days.last?.succ_opt()?;
    let day = first_slot(days, schedule).map_or(next, |slot| slot.day);
    place(schedule.tz(), day.and_time(MORNING))
}

/// The first slot after an absence.
pub fn first_slot(days: Days, schedule: &Schedule) -> Option<Slot> {
    let midnight = place(schedule.tz(), days.last?.succ_opt()?.and_time(NaiveTime::MIN))?;
    schedule.next_slot(midnight - TimeDelta::nanoseconds(1))
}

/// What has happened to an absence, as far as what is owed is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was entered: what is due in it waits until it is over.
    Added,
    /// The end of one that runs is known now.
    EndKnown,
    /// The rest of it was taken back: what it moved goes back, where its slot is still ahead.
    Withdrawn,
}

/// An open turn, as far as its due slot is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owed {
    /// None: due at no known time.
    pub due: Option<Slot>,
    pub arrived: DateTime<Utc>,
    pub first_seen: DateTime<Utc>,
}

/// When a turn is due after a change. `schedule` has the absences as they are now, and nothing of one withdrawn.
///
/// What is overdue stays so. A turn never moves to before the change, and none moves later but out of an absence.
pub fn moved_due(schedule: &Schedule, owed: &Owed, change: Change, now: DateTime<Utc>) -> Option<Slot> {
    let absent = owed.due.filter(|due| schedule.is_absent(due.day));
    match (change, owed.due) {
        (Change::Added, Some(due)) if absent.is_some() => schedule.next_slot(due.at - TimeDelta::nanoseconds(1)),
        (Change::Added, due) => due,
        (_, Some(due)) if due.at <= now => Some(due),
        (Change::EndKnown, due) => sooner(due.filter(|_| absent.is_none()), schedule.due(now, now)),
        (Change::Withdrawn, due) => {
            let again = schedule.due(owed.arrived, owed.first_seen).filter(|slot| slot.at > now);
            sooner(due.filter(|_| absent.is_none()), again.or_else(|| schedule.due(now, now)))
        }
    }
}

/// The slot that a waiting reply moves to after a change; None: it stays where it is.
///
/// `taken` are the days of the client's other replies.
pub fn moved_reply(
    schedule: &Schedule,
    slot: Slot,
    taken: &TakenDays,
    change: Change,
    now: DateTime<Utc>,
) -> Option<Slot> {
    match change {
        Change::Added if schedule.is_absent(slot.day) => {
            next_free(schedule, (slot.at - TimeDelta::nanoseconds(1)).max(now), taken)
        }
        Change::Added => None,
        Change::EndKnown | Change::Withdrawn => next_free(schedule, now, taken).filter(|free| free.at < slot.at),
    }
}

fn sooner(a: Option<Slot>, b: Option<Slot>) -> Option<Slot> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
