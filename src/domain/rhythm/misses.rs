//! What the clock itself brings: misses, reminders, digests.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Schedule, Slot, TakenDays};

/// An open turn, as far as the clock is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenTurn {
    /// The slot at which it was first due.
    pub due: Slot,
    /// Whether a reply of the client's waits or is leaving.
    pub reply_waiting: bool,
    /// The last slot of which the client was told that it was missed.
    pub last_missed: Option<Slot>,
    /// How many misses were noticed since the last reply.
    pub misses_running: u32,
}

/// A missed slot: one letter to the client, one line in the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Miss {
    /// The slot that passed without a reply.
    pub slot: Slot,
    /// The next slot, which the letter names.
    pub next: Slot,
    /// How many there are now, this one included.
    pub running: u32,
    /// Whether this is the second one running: the operator is alarmed.
    pub second_running: bool,
}

/// Whether a slot was missed and nobody has said so yet.
///
/// `seen_until` is when the last *completed* look into the mailbox began: nothing is called missed
/// while the answer may lie there unread. After downtime only the latest slot counts, so there is one
/// letter and not many. Holidays, absences and days the client is not answered on have no slots, so
/// the clock stands. A day on which the client got a reply (`taken`) is no missed day.
pub fn missed(
    schedule: &Schedule,
    now: DateTime<Utc>,
    seen_until: DateTime<Utc>,
    turn: &OpenTurn,
    taken: &TakenDays,
) -> Option<Miss> {
    if turn.reply_waiting {
        return None;
    }
    let slot = schedule.last_slot_at_or_before(now.min(seen_until) - schedule.grace())?;
    let told = turn.last_missed.is_some_and(|last| slot.at <= last.at || slot.day <= last.day);
    if slot.at < turn.due.at || told || taken.contains_key(&slot.day) {
        return None;
    }
    let running = turn.misses_running.saturating_add(1);
    Some(Miss { slot, next: schedule.next_slot(now)?, running, second_running: running == 2 })
}

/// The slot for which the one reminder is to be sent now, `lead` before it.
///
/// It is late rather than lost after a short downtime, but never after the slot. The caller sends it
/// only where something is due, and remembers the slot either way.
pub fn reminder_due(
    schedule: &Schedule,
    now: DateTime<Utc>,
    lead: TimeDelta,
    last_reminded: Option<Slot>,
) -> Option<Slot> {
    let slot = schedule.next_slot(now)?;
    let told = last_reminded.is_some_and(|last| last.at >= slot.at);
    (now >= slot.at - lead && !told).then_some(slot)
}

/// The digest that is to be sent now, if any: the latest digest time that `last` is older than.
///
/// `digest` is a [`Schedule`] made from the digest's own cron expression with the same calendar and
/// absences, so it follows the same rules on naive local time. After downtime there is one digest.
/// Without a `last` (a new installation) only today's counts.
pub fn digest_due(digest: &Schedule, now: DateTime<Utc>, last: Option<DateTime<Utc>>) -> Option<Slot> {
    let slot = digest.last_slot_at_or_before(now)?;
    let wanted = match last {
        Some(last) => last < slot.at,
        None => slot.day == digest.local_day(now),
    };
    wanted.then_some(slot)
}

/// The next digest time, strictly after `after`.
pub fn next_digest(digest: &Schedule, after: DateTime<Utc>) -> Option<Slot> {
    digest.next_slot(after)
}
