//! Turns: the letters since the last reply was accepted.

use chrono::{DateTime, Utc};

use super::{Schedule, Slot};
use crate::model::MessageRow;

/// A letter that was passed to the therapist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forwarded {
    pub row: MessageRow,
    /// Since when it was to be passed on: its arrival; for one that was held, its release.
    pub since: DateTime<Utc>,
    /// When its forward was handed over for sending.
    pub at: DateTime<Utc>,
}

/// The letters that a reply covers, in the order in which they came.
///
/// `letters` are the forwarded letters of the open turn (in any order). With a forward named in its
/// References, a reply covers the letters up to and including the newest one named; a forward of an
/// earlier turn is found by its place in the order of rows. Without one it covers all that were
/// forwarded before its signature time.
///
/// Forwards can leave in another order than the letters came in: several gateways send, a server puts one off. So an
/// older letter counts where its forward had left when the reply was signed, a later one never.
pub fn covered(
    letters: &[Forwarded],
    newest_referenced: Option<MessageRow>,
    signed_at: DateTime<Utc>,
) -> Vec<MessageRow> {
    let place = |letter: &Forwarded| (letter.since, letter.row);
    let mut ordered = letters.to_vec();
    ordered.sort_by_key(place);
    let named = newest_referenced.map(|row| (row, letters.iter().find(|letter| letter.row == row)));
    ordered.retain(|letter| match named {
        None => letter.at < signed_at,
        Some((_, Some(named))) => place(letter) <= place(named) && (letter.at <= named.at || letter.at < signed_at),
        Some((row, None)) => letter.row < row,
    });
    ordered.into_iter().map(|letter| letter.row).collect()
}

/// What a filed letter does to its client's turn. Without a slot it is due at no known time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLetter {
    /// It opens a turn, due at the letter's slot; the client gets the turn's one acknowledgement.
    Open { due: Option<Slot>, acknowledge: bool },
    /// It joins the open turn, whose due slot stays.
    Join,
}

/// A letter opens a turn unless one is open.
pub fn on_letter(open: bool, due: Option<Slot>) -> OnLetter {
    if open { OnLetter::Join } else { OnLetter::Open { due, acknowledge: true } }
}

/// What an accepted reply does to the open turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterReply {
    /// No turn is open: an unprompted reply, which uses the day's slot all the same.
    Unprompted,
    /// It covers none of the turn's letters: the turn stays open.
    StaysOpen,
    /// The turn ends.
    Ends,
    /// The turn ends, and the letters it doesn't cover open the next one, due when the oldest of them
    /// is; the client gets that turn's acknowledgement.
    EndsAndOpens { due: Slot, acknowledge: bool },
}

/// Decides what an accepted reply ends.
///
/// `covered` and `uncovered` count the open turn's letters; `oldest_uncovered` is the due slot of the
/// oldest letter that is left. Letters that are held count as neither.
pub fn on_reply(open: bool, covered: usize, oldest_uncovered: Option<Slot>) -> AfterReply {
    match (open, covered, oldest_uncovered) {
        (false, _, _) => AfterReply::Unprompted,
        (true, 0, Some(_)) => AfterReply::StaysOpen,
        (true, _, None) => AfterReply::Ends,
        (true, _, Some(due)) => AfterReply::EndsAndOpens { due, acknowledge: true },
    }
}

/// What `/cancel` does to the turn that the cancelled reply had ended. There is never a second
/// acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCancel {
    /// The turn is open again, due then.
    Reopen { due: Slot },
    /// A next turn was opened meanwhile: its letters and the reopened turn's are one turn, due then.
    Merge { due: Slot },
    /// The reply was unprompted: nothing reopens.
    Nothing,
}

/// Decides what a cancelled reply reopens.
///
/// `ended` is the due slot of the turn that the reply had ended, `next` that of the turn opened since.
/// A due slot whose grace is over becomes the next slot: nobody is told of a miss that was none.
pub fn on_cancel(schedule: &Schedule, now: DateTime<Utc>, ended: Option<Slot>, next: Option<Slot>) -> AfterCancel {
    let Some(ended) = ended else { return AfterCancel::Nothing };
    let ended = schedule.due_as_of(now, ended);
    match next {
        None => AfterCancel::Reopen { due: ended },
        Some(next) => AfterCancel::Merge { due: ended.min(next) },
    }
}
