//! Slots, turns, and the one reply a day.
//!
//! A [`Schedule`] turns a cron expression into slots. The expression is read on naive local time
//! only; each local time is then placed on the time line as *the first instant at which local clocks
//! show that time or later*. So a slot in a skipped hour happens at the hour's end, and one in a
//! repeated hour happens once.
//!
//! Everything here is pure: `now` is an argument, decisions are values.

mod misses;
mod replies;
#[cfg(test)]
mod tests;
mod turns;
mod weekdays;

use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc, Weekday};
use chrono_tz::Tz;

pub use self::misses::{Miss, OpenTurn, digest_due, missed, next_digest, reminder_due};
pub use self::replies::{
    IncomingReply, Placement, Release, Second, TakenDays, Taker, WaitingReply, next_free, place_reply, release,
    second_reply,
};
pub use self::turns::{AfterCancel, AfterReply, Forwarded, OnLetter, covered, on_cancel, on_letter, on_reply};
pub use self::weekdays::{Weekdays, parse_weekdays};
use crate::domain::holidays::Calendar;

/// Every pair of a date and a weekday comes round within 28 years, and within 40 where 2100 lies
/// between: an expression that is silent this long never fires.
const NEVER_YEARS: i32 = 40;

/// Where the search for a first slot starts in [`Schedule::new`]: any fixed year does.
const PROBE_YEAR: i32 = 2001;

/// How far [`Schedule::last_slot_at_or_before`] looks back: 29 February comes every 8 years at worst.
const LOOK_BACK_DAYS: u64 = 3_000;

/// Why a rhythm can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RhythmError {
    #[error(
        "`{0}` has not the six fields of a cron expression (second minute hour day month weekday), such as `0 0 18 * * Mon-Fri`"
    )]
    Fields(String),
    #[error("`{0}` numbers its weekdays, which programs count in different ways: write names, such as Mon-Fri")]
    WeekdayNumber(String),
    #[error("`{0}` names a year; a rhythm goes on: leave the seventh field out")]
    Year(String),
    #[error("`{expression}` is not a cron expression: {reason}")]
    Cron { expression: String, reason: String },
    #[error("`{0}` never fires on a working day: no slot would ever come")]
    Never(String),
    #[error("the absence from {from} to {to} ends before it begins: exchange the dates")]
    Absence { from: NaiveDate, to: NaiveDate },
    #[error("the grace must be between nothing and 24 hours")]
    Grace,
    /// It never repeats the word: it comes out of a mail.
    #[error("word {position} is not a weekday: write Mon, Tue, Wed, Thu, Fri, Sat, Sun (or lun, mar, mer …), or `all`")]
    Weekday { position: usize },
    #[error("no weekday is named: write for example Tue,Fri, or `all`")]
    NoWeekday,
}

/// One moment at which replies leave.
///
/// `day` is the local date of `at` in the schedule's zone: the day that a reply uses up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    pub at: DateTime<Utc>,
    pub day: NaiveDate,
}

/// When replies leave: a therapist's slots, perhaps narrowed for one client.
#[derive(Debug, Clone)]
pub struct Schedule {
    tz: Tz,
    cron: cron::Schedule,
    expression: String,
    cutoff: NaiveTime,
    grace: TimeDelta,
    calendar: Arc<Calendar>,
    absences: Vec<(NaiveDate, NaiveDate)>,
    weekdays: Weekdays,
}

impl Schedule {
    /// Reads `release`, a cron expression with seconds whose weekdays are names.
    ///
    /// `cutoff` is local time, `grace` runs from a slot; `absences` are pairs of first and last day,
    /// both included.
    ///
    /// # Errors
    /// [`RhythmError`] when the expression can't be read, numbers its weekdays, names a year or never
    /// fires on a working day; when an absence is upside down; when the grace is not within a day.
    pub fn new(
        tz: Tz,
        release: &str,
        cutoff: NaiveTime,
        grace: TimeDelta,
        calendar: Arc<Calendar>,
        absences: Vec<(NaiveDate, NaiveDate)>,
    ) -> Result<Self, RhythmError> {
        let (expression, cron) = read_cron(release)?;
        if let Some(&(from, to)) = absences.iter().find(|(from, to)| from > to) {
            return Err(RhythmError::Absence { from, to });
        }
        if grace < TimeDelta::zero() || grace > TimeDelta::hours(24) {
            return Err(RhythmError::Grace);
        }
        let schedule = Self { tz, cron, expression, cutoff, grace, calendar, absences, weekdays: Weekdays::ALL };
        if schedule.fires() { Ok(schedule) } else { Err(RhythmError::Never(schedule.expression)) }
    }

    /// The same rhythm on some weekdays only (`/rhythm Tue,Fri`).
    ///
    /// # Errors
    /// [`RhythmError::NoWeekday`] for an empty list, [`RhythmError::Never`] when the practice's own
    /// slots never fall on these days.
    pub fn narrowed(&self, days: &[Weekday]) -> Result<Self, RhythmError> {
        let weekdays: Weekdays = days.iter().copied().collect();
        if weekdays.is_empty() {
            return Err(RhythmError::NoWeekday);
        }
        let narrowed = Self { weekdays: weekdays & self.weekdays, ..self.clone() };
        if narrowed.fires() {
            Ok(narrowed)
        } else {
            Err(RhythmError::Never(format!("{} on {weekdays}", self.expression)))
        }
    }

    /// The same rhythm with other absences: pairs of first and last day, both included. A last day of
    /// [`NaiveDate::MAX`] is one that isn't known yet: no slot comes after the first.
    #[must_use]
    pub fn with_absences(&self, absences: Vec<(NaiveDate, NaiveDate)>) -> Self {
        Self { absences, ..self.clone() }
    }

    /// The zone in which days are counted.
    pub fn tz(&self) -> Tz {
        self.tz
    }

    /// How long after its slot a due reply still leaves at once.
    pub fn grace(&self) -> TimeDelta {
        self.grace
    }

    /// The local time before which a letter is due the same day.
    pub fn cutoff(&self) -> NaiveTime {
        self.cutoff
    }

    /// The cron expression as it is used: single spaces, six fields.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The weekdays this rhythm is narrowed to; all of them where it is not.
    pub fn weekdays(&self) -> Weekdays {
        self.weekdays
    }

    /// The local date at `at`.
    pub fn local_day(&self, at: DateTime<Utc>) -> NaiveDate {
        at.with_timezone(&self.tz).date_naive()
    }

    /// Whether `day` is in an absence of the therapist's.
    pub fn is_absent(&self, day: NaiveDate) -> bool {
        self.absences.iter().any(|&(from, to)| from <= day && day <= to)
    }

    /// The public holiday on `day`, if there is one.
    pub fn holiday(&self, day: NaiveDate) -> Option<&str> {
        self.calendar.name(day)
    }

    /// The first slot strictly after `after`; `None` only where the calendar ends (the year 2100).
    pub fn next_slot(&self, after: DateTime<Utc>) -> Option<Slot> {
        let mut cursor = after.with_timezone(&self.tz).naive_local();
        loop {
            let naive = self.next_naive(cursor)?;
            let slot = self.slot(naive)?;
            if slot.at > after {
                return Some(slot);
            }
            cursor = naive; // The second pass of a repeated hour, or one of several slots in a gap.
        }
    }

    /// The next `count` slots strictly after `after`, in order.
    pub fn next_slots(&self, after: DateTime<Utc>, count: usize) -> Vec<Slot> {
        std::iter::successors(self.next_slot(after), |slot| self.next_slot(slot.at)).take(count).collect()
    }

    /// The first slot of a local day, if it is a slot day.
    pub fn slot_of_day(&self, day: NaiveDate) -> Option<Slot> {
        let before = self.place(day.and_time(NaiveTime::MIN))? - TimeDelta::nanoseconds(1);
        self.next_slot(before).filter(|slot| slot.day == day)
    }

    /// The latest slot at or before `now`, looking back some eight years.
    pub fn last_slot_at_or_before(&self, now: DateTime<Utc>) -> Option<Slot> {
        let mut day = self.local_day(now);
        for _ in 0..LOOK_BACK_DAYS {
            let mut found = None;
            let mut next = self.slot_of_day(day);
            while let Some(slot) = next.filter(|slot| slot.day == day && slot.at <= now) {
                found = Some(slot);
                next = self.next_slot(slot.at);
            }
            if found.is_some() {
                return found;
            }
            day = day.pred_opt()?;
        }
        None
    }

    /// The slot at which a letter is to be answered (SPEC section 4).
    ///
    /// A letter that arrives before the cutoff on a slot day is due at that day's slot, a later one at
    /// the next; one first seen at or after its slot is due at the next after that. With several slots a
    /// day it is the first of them that is still ahead of the arrival.
    pub fn due(&self, arrival: DateTime<Utc>, first_seen: DateTime<Utc>) -> Option<Slot> {
        let mut slot = self.next_slot(arrival)?;
        while self.cutoff_of(slot.day).is_none_or(|cutoff| arrival >= cutoff) {
            slot = self.next_slot_after_day(slot)?;
        }
        if first_seen >= slot.at { self.next_slot(first_seen) } else { Some(slot) }
    }

    /// The instant of the cutoff on a local day.
    pub fn cutoff_of(&self, day: NaiveDate) -> Option<DateTime<Utc>> {
        self.place(day.and_time(self.cutoff))
    }

    /// Whether `slot` is one of this (perhaps narrowed) rhythm's: what a reminder for the therapist's slot
    /// asks of each client's own.
    pub fn has_slot(&self, slot: Slot) -> bool {
        self.next_slot(slot.at - TimeDelta::nanoseconds(1)) == Some(slot)
    }

    /// When a turn that was due at `due` is due as seen from `now`: then, or at the next slot once the
    /// grace is over.
    pub fn due_as_of(&self, now: DateTime<Utc>, due: Slot) -> Slot {
        if due.at + self.grace > now { due } else { self.next_slot(now).unwrap_or(due) }
    }

    /// `due` when it has passed, but no longer ago than the grace: a reply may still leave at once.
    pub fn within_grace(&self, now: DateTime<Utc>, due: Slot) -> Option<Slot> {
        (due.at <= now && now - due.at <= self.grace).then_some(due)
    }

    /// The first slot on a later local day than `slot`'s.
    fn next_slot_after_day(&self, slot: Slot) -> Option<Slot> {
        let tomorrow = self.place(slot.day.succ_opt()?.and_time(NaiveTime::MIN))?;
        self.next_slot(tomorrow.max(slot.at) - TimeDelta::nanoseconds(1)).filter(|next| next.at > slot.at)
    }

    /// The first naive local time after `cursor` at which the cron expression fires on a working day.
    fn next_naive(&self, mut cursor: NaiveDateTime) -> Option<NaiveDateTime> {
        loop {
            let naive = self.cron.after(&cursor.and_utc()).next()?.naive_utc();
            if self.is_endlessly_absent(naive.date()) {
                return None;
            }
            if self.works_on(naive.date()) {
                return Some(naive);
            }
            cursor = naive.date().and_hms_opt(23, 59, 59)?;
        }
    }

    /// Whether replies can leave on this naive local date.
    fn works_on(&self, day: NaiveDate) -> bool {
        self.weekdays.contains(chrono::Datelike::weekday(&day))
            && !self.is_absent(day)
            && !self.calendar.is_holiday(day)
    }

    /// Whether an absence without a known end has begun.
    fn is_endlessly_absent(&self, day: NaiveDate) -> bool {
        self.absences.iter().any(|&(from, to)| from <= day && to == NaiveDate::MAX)
    }

    fn slot(&self, naive: NaiveDateTime) -> Option<Slot> {
        let at = self.place(naive)?;
        Some(Slot { at, day: self.local_day(at) })
    }

    fn place(&self, naive: NaiveDateTime) -> Option<DateTime<Utc>> {
        place(self.tz, naive)
    }

    /// Whether any slot ever comes, absences aside.
    fn fires(&self) -> bool {
        let eternal = Self { absences: Vec::new(), ..self.clone() };
        let Some(start) = NaiveDate::from_ymd_opt(PROBE_YEAR, 1, 1) else { return false };
        let first = eternal.next_naive(start.and_time(NaiveTime::MIN));
        first.is_some_and(|first| chrono::Datelike::year(&first) < PROBE_YEAR + NEVER_YEARS)
    }
}

/// The arrival of a letter: INTERNALDATE clamped to \[last completed scan, first seen\].
///
/// Without an INTERNALDATE it is the moment it was first seen. A last scan after the first sight
/// (a clock set back) is ignored.
pub fn clamp_arrival(
    internaldate: Option<DateTime<Utc>>,
    last_scan: Option<DateTime<Utc>>,
    first_seen: DateTime<Utc>,
) -> DateTime<Utc> {
    let lowest = last_scan.filter(|scan| *scan <= first_seen);
    let claimed = internaldate.unwrap_or(first_seen).min(first_seen);
    lowest.map_or(claimed, |scan| claimed.max(scan))
}

/// The first instant at which clocks in `tz` show `naive` or later.
///
/// `None` only at the ends of the calendar.
pub fn place(tz: Tz, naive: NaiveDateTime) -> Option<DateTime<Utc>> {
    if let Some(at) = tz.from_local_datetime(&naive).earliest() {
        return Some(at.with_timezone(&Utc));
    }
    // A skipped time. Every offset lies between -12 and +14 hours, so the gap's end is in between;
    // no zone has two changes within such a span.
    let shows = |seconds: i64| {
        let utc = DateTime::from_timestamp(seconds, 0)?.naive_utc();
        let offset = tz.offset_from_utc_datetime(&utc).fix().local_minus_utc();
        Some(utc + TimeDelta::seconds(i64::from(offset)) >= naive)
    };
    let middle = naive.and_utc().timestamp();
    let (mut low, mut high) = (middle - 15 * 3600, middle + 13 * 3600);
    while high - low > 1 {
        let probe = low + (high - low) / 2;
        if shows(probe)? {
            high = probe;
        } else {
            low = probe;
        }
    }
    DateTime::from_timestamp(high, 0)
}

/// Reads a cron expression under the house's rules; the text returned is normalised.
fn read_cron(release: &str) -> Result<(String, cron::Schedule), RhythmError> {
    let mut fields: Vec<&str> = release.split_whitespace().collect();
    if fields.len() == 7 {
        match fields.pop() {
            Some("*" | "?") => {}
            _ => return Err(RhythmError::Year(release.to_owned())),
        }
    }
    let &[_, _, _, _, _, weekday] = fields.as_slice() else {
        return Err(RhythmError::Fields(release.to_owned()));
    };
    if weekday.contains(|c: char| c.is_ascii_digit()) {
        return Err(RhythmError::WeekdayNumber(release.to_owned()));
    }
    // Programs differ about Sun as first or last day: `Sat-Sun` and `Fri-Mon` wrap round here.
    let spelled = weekdays::spell_out(weekday);
    let expression = fields.join(" ");
    fields.pop();
    let read = format!("{} {}", fields.join(" "), spelled);
    let cron = cron::Schedule::from_str(&read).map_err(|e| RhythmError::Cron {
        expression: expression.clone(),
        reason: e.to_string().lines().last().unwrap_or_default().trim().to_owned(),
    })?;
    Ok((expression, cron))
}
