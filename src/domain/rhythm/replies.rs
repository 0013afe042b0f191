//! Where replies go: at most one a client a local day.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};

use super::{Schedule, Slot};
use crate::model::{MessageRow, SecondReply};

/// What holds a client's local day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Taker {
    /// A reply that has left on this day.
    Sent,
    /// A reply whose first attempt was on this day.
    Leaving,
    /// A reply that waits for this day's slot.
    Waiting,
}

/// The days of one client that other replies hold; cancelled, replaced and failed ones hold none.
pub type TakenDays = BTreeMap<NaiveDate, Taker>;

/// Where a reply that has just been accepted goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// `/urgent`: at once, outside the count, no day used.
    Outside,
    /// At once, within the grace after `missed`; it uses `day`, the local date of now.
    AtOnce { day: NaiveDate, missed: Slot },
    /// It waits for this slot and holds its day.
    At(Slot),
    /// No slot is left in the calendar.
    NoSlot,
}

/// Places an accepted reply.
///
/// `due_now` is the slot at which the turn was due, when that has passed (whether it is still within
/// the grace is looked at here). `taken` are the days of the client's other replies.
pub fn place_reply(
    schedule: &Schedule,
    now: DateTime<Utc>,
    due_now: Option<Slot>,
    taken: &TakenDays,
    urgent: bool,
) -> Placement {
    if urgent {
        return Placement::Outside;
    }
    let today = schedule.local_day(now);
    if let Some(missed) = due_now.and_then(|due| schedule.within_grace(now, due))
        && !taken.contains_key(&today)
    {
        return Placement::AtOnce { day: today, missed };
    }
    next_free(schedule, now, taken).map_or(Placement::NoSlot, Placement::At)
}

/// The first slot strictly after `after` whose day no reply holds.
pub fn next_free(schedule: &Schedule, after: DateTime<Utc>, taken: &TakenDays) -> Option<Slot> {
    let mut slot = schedule.next_slot(after)?;
    while taken.contains_key(&slot.day) {
        slot = schedule.next_slot_after_day(slot)?;
    }
    Some(slot)
}

/// A reply that has been accepted and has not left yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingReply {
    /// The newest letter that it answers; `None` for an unprompted one.
    pub newest_answered: Option<MessageRow>,
    /// When the therapist signed it.
    pub signed_at: DateTime<Utc>,
    /// Whether an attempt to send it has been committed.
    pub leaving: bool,
    /// The slot it waits for.
    pub slot: Slot,
}

/// A reply that has just come from the therapist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IncomingReply {
    pub newest_answered: Option<MessageRow>,
    pub signed_at: DateTime<Utc>,
}

/// What a second reply does before the first has left. The therapist is told which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Second {
    /// It takes the first one's place and slot.
    Replace,
    /// The first stays; this one waits for the next slot.
    NextSlot,
    /// It is put aside until the therapist decides.
    Hold,
    /// It is not taken.
    Refuse,
    /// It was signed before the one that waits: it is not taken, the newer stays.
    IgnoreOlder,
}

/// Decides about a reply that comes while `first` has not left.
///
/// Where several wait, `first` is the one that answers the same newest letter, else the last of them.
/// An older signature never replaces a newer one, and what is already leaving can't be replaced:
/// the new reply waits for the next slot instead.
pub fn second_reply(policy: SecondReply, first: &WaitingReply, new: &IncomingReply) -> Second {
    let replaces = match policy {
        SecondReply::Hold => return Second::Hold,
        SecondReply::Refuse => return Second::Refuse,
        SecondReply::Replace => true,
        SecondReply::Auto => new.newest_answered == first.newest_answered,
    };
    if !replaces {
        Second::NextSlot
    } else if new.signed_at < first.signed_at {
        Second::IgnoreOlder
    } else if first.leaving {
        Second::NextSlot
    } else {
        Second::Replace
    }
}

/// What happens to a waiting reply now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Its slot is still to come.
    NotYet,
    /// Claim it: its leave day becomes `day`, the local date of now.
    Leave { day: NaiveDate },
    /// Claim it for `day`, which another waiting reply holds: in the same transaction that one goes to
    /// `other_to` first.
    LeaveAndMoveOther { day: NaiveDate, other_to: Slot },
    /// Its day is used up: it waits for this slot.
    Move(Slot),
    /// Its day is used up and the calendar has no slot left.
    NoSlot,
}

/// Decides whether a waiting reply leaves now.
///
/// `taken` are the days of the client's *other* replies. Where several of one client's replies are
/// due, ask for them in the order of their slots, so that the earlier one leaves first. A reply that
/// is leaving already keeps its day and is the outbox's affair: it is `NotYet` here.
pub fn release(schedule: &Schedule, now: DateTime<Utc>, waiting: &WaitingReply, taken: &TakenDays) -> Release {
    if waiting.leaving || now < waiting.slot.at {
        return Release::NotYet;
    }
    let day = schedule.local_day(now);
    match taken.get(&day) {
        None => Release::Leave { day },
        Some(Taker::Sent | Taker::Leaving) => next_free(schedule, now, taken).map_or(Release::NoSlot, Release::Move),
        Some(Taker::Waiting) => {
            // The other one gives up `day`; any later free day is good, this one is not.
            match next_free(schedule, now, taken) {
                Some(other_to) => Release::LeaveAndMoveOther { day, other_to },
                None => Release::NoSlot,
            }
        }
    }
}
