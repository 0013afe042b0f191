//! The life of a client as one table: who may bring about what, in which state, which letter goes out and what is
//! journalled (SPEC section 5).
//!
//! Pure. `app/life` carries a transition out; no state changes in another way. The figure in ARCHITECTURE.md is
//! drawn from [`TABLE`] by [`diagram`].

use std::fmt::Write as _;

use chrono::{DateTime, Months, TimeDelta, Utc};

use crate::model::{ClientState, Kind, words};

/// How long after the client's `STOP` one farewell may follow.
pub const FAREWELL: TimeDelta = TimeDelta::days(14);

/// The furthest slot for which a letter of the therapist's own words waits; beyond it, it leaves at once.
pub const WORDS_WAIT: TimeDelta = TimeDelta::days(14);

/// How long a discharged client's thread stays at hand before it is archived.
pub const ARCHIVE_AFTER: TimeDelta = TimeDelta::days(30);

words!(
    /// Who brings something about.
    Actor, "actor" { Therapist = "therapist", Client = "client", Operator = "operator", Clock = "clock" }
);

words!(
    /// What is brought about.
    Event, "event" {
        /// Somebody is written to for the first time, or again after it came to nothing.
        Invite = "invite",
        /// The operator enrols somebody who consented on paper.
        Admit = "admit",
        /// The key is pinned, and the frame is asked.
        Ask = "ask",
        /// `J'ACCEPTE`.
        Consent = "consent",
        /// `J'ACCEPTE` of somebody who was in treatment before Cadre.
        ConsentKnown = "consent-known",
        /// The person declines the invitation or the frame.
        Refuse = "refuse",
        /// Nobody answered the invitation, or it came to nothing long ago.
        Forget = "forget",
        /// The assessment ends well.
        Accept = "accept",
        /// The therapist doesn't begin, or ends the assessment.
        Decline = "decline",
        Pause = "pause",
        Resume = "resume",
        Suspend = "suspend",
        /// An ending is agreed; letters go on until the discharge.
        End = "end",
        Discharge = "discharge",
        /// `/cancel` of an order whose letter hasn't left.
        Undo = "undo",
        /// The client's own `STOP`.
        Stop = "stop",
        /// The client's `REPRENDRE` after their own `STOP`.
        Unstop = "unstop",
        /// After the end, the frame is asked again.
        Return = "return",
        Archive = "archive",
        Erase = "erase",
    }
);

/// Where a transition leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    To(ClientState),
    /// The state in treatment that a pause or suspension interrupted.
    Previous,
    /// The state that `STOP` ended; out of a pause, what the pause had interrupted.
    BeforeStop,
    /// The state in which the order was given that is taken back.
    BeforeOrder,
}

/// What an order found that can be taken back until its letter leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    pub state: ClientState,
    pub previous: Option<ClientState>,
    pub own_pause: bool,
}

/// What a client's record remembers of earlier states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    pub previous: Option<ClientState>,
    pub stopped_in: Option<ClientState>,
    /// The pause was the client's own.
    pub own_pause: bool,
    /// The last change was an order with the therapist's own words, and they haven't left.
    pub undo: Option<Before>,
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Transition {
    pub from: &'static [ClientState],
    pub event: Event,
    pub to: Target,
    pub by: &'static [Actor],
    /// What the client gets; a silent discharge and a muted client get nothing.
    pub letter: Option<Kind>,
    /// The journal's word.
    pub journal: &'static str,
}

impl Transition {
    /// The state that it leads to for this client.
    fn target(&self, memory: Memory) -> ClientState {
        // A record from before there was a memory was in treatment.
        let previous = memory.previous.unwrap_or(ClientState::Active);
        match self.to {
            Target::To(state) => state,
            Target::Previous => previous,
            Target::BeforeStop => match memory.stopped_in {
                Some(ClientState::Paused) | None => previous,
                Some(state) => state,
            },
            Target::BeforeOrder => memory.undo.map_or(previous, |before| before.state),
        }
    }

    /// Whether its letter is the therapist's own words: until they leave, it can be taken back.
    fn sends_own_words(&self) -> bool {
        self.letter.is_some_and(Kind::is_own_words)
    }

    /// What is remembered once `actor` carried it out from `state`.
    fn memory(&self, state: ClientState, actor: Actor, memory: Memory) -> Memory {
        let kept = Memory { undo: None, ..memory };
        let after = match self.event {
            Event::Pause => Memory { previous: Some(state), own_pause: actor == Actor::Client, ..kept },
            Event::Suspend if state.in_treatment() => Memory { previous: Some(state), ..kept },
            Event::Suspend => Memory { own_pause: false, ..kept },
            Event::Stop => Memory { stopped_in: Some(state), ..kept },
            Event::Unstop if self.target(memory) == ClientState::Suspended => Memory { stopped_in: None, ..kept },
            Event::Undo => memory.undo.map_or_else(Memory::default, |before| Memory {
                previous: before.previous,
                own_pause: before.own_pause,
                ..Memory::default()
            }),
            Event::Archive => kept,
            _ => Memory::default(),
        };
        let before = Before { state, previous: memory.previous, own_pause: memory.own_pause };
        Memory { undo: self.sends_own_words().then_some(before), ..after }
    }
}

use Actor::{Client, Clock, Operator, Therapist};
use ClientState::{
    Active, Archived, Assessment, ConsentPending, Declined, Discharged, Ending, Erased, Invited, Paused, Request,
    Suspended,
};

/// Short for a row.
const fn row(
    from: &'static [ClientState],
    event: Event,
    to: Target,
    by: &'static [Actor],
    letter: Option<Kind>,
    journal: &'static str,
) -> Transition {
    Transition { from, event, to, by, letter, journal }
}

/// States in which the rhythm runs.
const TREATED: &[ClientState] = &[Assessment, Active, Ending];
/// States that the client's own end ends.
const BEGUN: &[ClientState] = &[Assessment, Active, Paused, Suspended, Ending];
/// States that a discharge ends.
const HELD: &[ClientState] = &[ConsentPending, Assessment, Active, Paused, Suspended, Ending];

/// Every transition there is; [`step`] adds that a client undoes only a pause or an end of their own, and a therapist
/// only an order whose letter hasn't left. `request` stands for "no client yet": requests are messages, not clients.
pub const TABLE: &[Transition] = &[
    row(
        &[Request, Declined, Archived],
        Event::Invite,
        Target::To(Invited),
        &[Therapist, Operator],
        Some(Kind::Invitation),
        "invited",
    ),
    row(&[Request], Event::Admit, Target::To(Active), &[Operator], None, "admitted"),
    row(&[Invited], Event::Ask, Target::To(ConsentPending), &[Therapist, Operator], Some(Kind::Frame), "asked-consent"),
    row(&[ConsentPending], Event::Consent, Target::To(Assessment), &[Client], Some(Kind::ConsentRecorded), "consented"),
    row(
        &[ConsentPending],
        Event::ConsentKnown,
        Target::To(Active),
        &[Client],
        Some(Kind::ConsentRecorded),
        "consented",
    ),
    row(
        &[Invited, ConsentPending],
        Event::Refuse,
        Target::To(Declined),
        &[Client],
        Some(Kind::InvitationDeclined),
        "refused-invitation",
    ),
    row(&[Invited, Declined], Event::Forget, Target::To(Erased), &[Clock], None, "forgotten"),
    row(&[Assessment], Event::Accept, Target::To(Active), &[Therapist], None, "taken-on"),
    // Nothing sealed can reach somebody whose key isn't known.
    row(&[Invited], Event::Decline, Target::To(Declined), &[Therapist], None, "declined"),
    row(
        &[ConsentPending, Assessment],
        Event::Decline,
        Target::To(Declined),
        &[Therapist],
        Some(Kind::Declined),
        "declined",
    ),
    row(TREATED, Event::Pause, Target::To(Paused), &[Therapist, Client, Operator], Some(Kind::Paused), "paused"),
    row(&[Paused], Event::Resume, Target::Previous, &[Therapist, Client, Operator], Some(Kind::Resumed), "resumed"),
    row(&[Suspended], Event::Resume, Target::Previous, &[Therapist, Operator], Some(Kind::Resumed), "resumed"),
    row(
        &[Assessment, Active, Paused, Ending],
        Event::Suspend,
        Target::To(Suspended),
        &[Therapist],
        Some(Kind::Suspended),
        "suspended",
    ),
    // The words of the letter are the therapist's: the operator has none to give.
    row(&[Assessment, Active, Paused, Ending], Event::Suspend, Target::To(Suspended), &[Operator], None, "suspended"),
    row(&[Assessment, Active], Event::End, Target::To(Ending), &[Therapist], Some(Kind::Ending), "ending"),
    row(HELD, Event::Discharge, Target::To(Discharged), &[Therapist], Some(Kind::Farewell), "discharged"),
    row(HELD, Event::Discharge, Target::To(Discharged), &[Operator], None, "discharged"),
    // The client hears of it only when the letter leaves; until then nothing has happened for them.
    row(&[Declined, Suspended, Ending, Discharged], Event::Undo, Target::BeforeOrder, &[Therapist], None, "undone"),
    row(BEGUN, Event::Stop, Target::To(Discharged), &[Client], Some(Kind::Stopped), "stopped"),
    row(&[Discharged], Event::Unstop, Target::BeforeStop, &[Client], Some(Kind::Resumed), "resumed"),
    row(
        &[Discharged, Archived, Declined],
        Event::Return,
        Target::To(ConsentPending),
        &[Therapist],
        Some(Kind::Frame),
        "returned",
    ),
    row(&[Discharged], Event::Archive, Target::To(Archived), &[Clock], None, "archived"),
    row(
        &[Invited, ConsentPending, Assessment, Active, Paused, Suspended, Ending, Discharged, Archived, Declined],
        Event::Erase,
        Target::To(Erased),
        &[Operator],
        Some(Kind::Erasure),
        "erased",
    ),
];

/// Why nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    #[error("{event} isn't possible in the state {state}", event = .event.as_str())]
    State { state: ClientState, event: Event },
    #[error("{event} in the state {state} isn't for the {actor}", event = .event.as_str(), actor = .actor.as_str())]
    Actor { state: ClientState, event: Event, actor: Actor },
}

/// The one transition of an event in a state.
///
/// # Errors
/// [`Forbidden`]: nothing changes.
pub fn next(state: ClientState, event: Event, actor: Actor) -> Result<&'static Transition, Forbidden> {
    let of_state = |row: &&Transition| row.event == event && row.from.contains(&state);
    match TABLE.iter().filter(of_state).find(|row| row.by.contains(&actor)) {
        Some(row) => Ok(row),
        None if TABLE.iter().any(|row| of_state(&row)) => Err(Forbidden::Actor { state, event, actor }),
        None => Err(Forbidden::State { state, event }),
    }
}

/// A transition as it is carried out for one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub transition: &'static Transition,
    pub to: ClientState,
    pub memory: Memory,
}

/// [`next`] for a client of whom earlier states are remembered.
///
/// # Errors
/// [`Forbidden`]: nothing changes.
pub fn step(state: ClientState, event: Event, actor: Actor, memory: Memory) -> Result<Step, Forbidden> {
    let transition = next(state, event, actor)?;
    // Only an end or a pause of their own can be undone by the client.
    if transition.to == Target::BeforeStop && memory.stopped_in.is_none() {
        return Err(Forbidden::State { state, event });
    }
    if transition.to == Target::BeforeOrder && memory.undo.is_none() {
        return Err(Forbidden::State { state, event });
    }
    if event == Event::Resume && actor == Client && !memory.own_pause {
        return Err(Forbidden::Actor { state, event, actor });
    }
    Ok(Step { transition, to: transition.target(memory), memory: transition.memory(state, actor, memory) })
}

/// Whether the one letter after the client's own `STOP` may still be written.
pub fn farewell_open(state: ClientState, stopped: bool, since: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    state == Discharged && stopped && since.is_some_and(|since| now - since <= FAREWELL)
}

/// States whose records are kept for as long as the practice has to, and then proposed for erasure.
pub const ENDED: &[ClientState] = &[Archived, Declined];

/// A retention of so many years.
pub const fn months(years: u32) -> Months {
    Months::new(years.saturating_mul(12))
}

/// Whether a record is proposed for erasure: its treatment ended so many `years` ago, and nothing holds it. `since`: the
/// end; `consented`: a person who was declined before any consent is forgotten sooner, and by itself.
pub fn retention_over(
    state: ClientState,
    since: DateTime<Utc>,
    consented: bool,
    held: bool,
    years: u32,
    now: DateTime<Utc>,
) -> bool {
    let ended = ENDED.contains(&state) && (state != Declined || consented);
    ended && !held && since.checked_add_months(months(years)).is_some_and(|over| over <= now)
}

/// When a letter of the therapist's own words leaves: at the client's next slot, so that an order given in the wrong
/// thread can be taken back; None where there is none in sight, and it leaves at once.
pub fn words_leave(next: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    next.filter(|at| *at - now <= WORDS_WAIT)
}

/// The last gate: whether a mail of this kind may leave to a client in this state. What was queued in one state and
/// would leave in another is not sent.
pub const fn may_leave(state: ClientState, kind: Kind) -> bool {
    let treated = state.in_treatment();
    let resting = matches!(state, Paused | Suspended);
    let open = treated || resting;
    match kind {
        Kind::Reply
        | Kind::Urgent
        | Kind::Closed
        | Kind::Acknowledgement
        | Kind::MissedDay
        | Kind::CheckIn
        | Kind::Video
        | Kind::Resumed => treated,
        // A practical word may be needed in a pause too.
        Kind::Now | Kind::TransferOffer | Kind::ConsentRenewal | Kind::ConsentRecorded => open,
        Kind::CardRequest
        | Kind::KeyExpiry
        | Kind::KeyRevoked
        | Kind::AboutKeys
        | Kind::AboutPassphrase
        | Kind::ConsentUnclear => open || matches!(state, ConsentPending),
        Kind::Invitation | Kind::InvitationReminder | Kind::InvitationProblem | Kind::KeyArrived => {
            // A new key may be asked for later as well.
            open || matches!(state, Invited | ConsentPending)
        }
        // To whoever may write: they have to know which key to write to.
        Kind::PracticeKey => open || matches!(state, Invited | ConsentPending | Discharged),
        // Also to who has stopped and wants to come back.
        Kind::AboutWords => open || matches!(state, ConsentPending | Discharged),
        Kind::InvitationDeclined | Kind::Declined => matches!(state, Declined),
        Kind::Frame => matches!(state, ConsentPending),
        Kind::Suspended => matches!(state, Suspended),
        Kind::Ending => matches!(state, Ending),
        Kind::Farewell | Kind::Stopped => matches!(state, Discharged | Archived),
        Kind::Paused => matches!(state, Paused),
        Kind::Erasure => matches!(state, Erased),
        Kind::StateNotice => resting || matches!(state, ConsentPending),
        Kind::AfterDischarge => matches!(state, Discharged | Archived | Declined),
        Kind::Guide | Kind::InternetPolicy => open || matches!(state, ConsentPending | Discharged),
        Kind::AbsencePlanned | Kind::AbsenceStart | Kind::AbsenceUnplanned | Kind::AbsenceReturn | Kind::Locum => {
            treated || matches!(state, Paused)
        }
        // That a letter couldn't be read or was one of danger is said to anybody who is known here.
        Kind::Undecryptable | Kind::TooLarge | Kind::Safety | Kind::SafetyViolence => {
            !matches!(state, Request | Erased)
        }
        // What comes in, what goes to strangers, and what goes to staff.
        Kind::Letter
        | Kind::Request
        | Kind::Automatic
        | Kind::Note
        | Kind::Stranger
        | Kind::StrangerSafety
        | Kind::Forward
        | Kind::Digest
        | Kind::Reminder
        | Kind::Receipt
        | Kind::Refusal
        | Kind::Question
        | Kind::HeldNotice
        | Kind::StaffKeyExpiry
        | Kind::StaffKeyRevoked
        | Kind::StaffPracticeKey
        | Kind::DeliveryFailure
        | Kind::Help
        | Kind::Alert
        | Kind::Enrolment
        | Kind::CardCopy
        | Kind::LocumCover
        | Kind::LocumForward
        | Kind::TherapistWelcome
        | Kind::Specimens
        | Kind::HealthAlarm
        | Kind::RoundTrip => false,
    }
}

/// Whether mail in this state is answered once with what happens to it, and by which letter.
pub const fn notice(state: ClientState) -> Option<Kind> {
    match state {
        ConsentPending | Paused | Suspended => Some(Kind::StateNotice),
        Discharged | Archived | Declined => Some(Kind::AfterDischarge),
        Request | Invited | Assessment | Active | Ending | Erased => None,
    }
}

/// The figure and the table that stand in ARCHITECTURE.md.
pub fn diagram() -> String {
    let mut out = String::from("```mermaid\nstateDiagram-v2\n    [*] --> request\n");
    for row in TABLE.iter().filter(|row| row.event != Event::Erase) {
        for from in row.from {
            // Two rows that differ in the letter alone are one arrow.
            let twin = |other: &&Transition| other.event == row.event && other.from.contains(from);
            if TABLE.iter().find(twin) != Some(row) && row.event != Event::Resume {
                continue;
            }
            for to in targets(row, *from) {
                let _ = writeln!(out, "    {from} --> {to}: {}", row.event.as_str());
            }
        }
    }
    out.push_str(
        "    erased --> [*]\n```\n\nEvery state leads to `erased` by the operator's `erase`, as the table says.\n\n",
    );
    out.push_str(
        "| from | event | by | to | letter to the client | journal |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for row in TABLE {
        let from = row.from.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", ");
        let by = row.by.iter().map(|a| a.as_str()).collect::<Vec<_>>().join(", ");
        let to = match row.to {
            Target::To(state) => state.as_str(),
            Target::Previous => "(what it interrupted)",
            Target::BeforeStop => "(what `STOP` ended)",
            Target::BeforeOrder => "(what the order changed)",
        };
        let letter = row.letter.map_or("–", Kind::as_str);
        let _ = writeln!(out, "| {from} | {} | {by} | {to} | {letter} | {} |", row.event.as_str(), row.journal);
    }
    out
}

/// Every state that a row can lead to from a state.
fn targets(row: &Transition, from: ClientState) -> Vec<ClientState> {
    match row.to {
        Target::To(state) => vec![state],
        Target::Previous => TREATED.to_vec(),
        Target::BeforeStop => BEGUN.iter().copied().filter(|state| *state != Paused && *state != from).collect(),
        Target::BeforeOrder => {
            let led_here = |other: &&Transition| other.sends_own_words() && other.to == Target::To(from);
            let before = |state: &ClientState| TABLE.iter().filter(led_here).any(|other| other.from.contains(state));
            ClientState::ALL.iter().copied().filter(before).collect()
        }
    }
}

#[cfg(test)]
mod tests;
