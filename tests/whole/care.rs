//! The model's half of a client's life, of absences and of danger: what was decided, and what may leave because of it.

use cadre::model::Kind;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::model::{Client, Fate, Model};

/// Where a client stands, as the people understand it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Written to, and no key is known for certain.
    Invited,
    /// Asked to agree to the frame.
    Asked,
    Declined,
    /// Assessment or active.
    Active,
    Ending,
    Paused,
    Suspended,
    /// Or archived, which is the same to the client.
    Discharged,
}

impl State {
    pub fn in_treatment(self) -> bool {
        matches!(self, Self::Active | Self::Ending)
    }

    /// A treatment that rests or goes on.
    pub fn is_begun(self) -> bool {
        matches!(self, Self::Active | Self::Ending | Self::Paused | Self::Suspended)
    }
}

/// What is remembered of a client's earlier states.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// The state that a pause or a suspension interrupted.
    pub previous: Option<State>,
    /// The pause was the client's own.
    pub own_pause: bool,
    /// The state that the client's own end ended, and when that was.
    pub stopped: Option<(State, DateTime<Utc>)>,
    /// The farewell after it was written.
    pub farewell: bool,
}

/// A therapist's absence.
#[derive(Debug, Clone)]
pub struct Leave {
    pub therapist: usize,
    pub first: NaiveDate,
    /// The last day; the day before its return where it was cut short.
    pub last: NaiveDate,
    pub locum: Option<usize>,
    pub entered: bool,
    pub over: bool,
}

/// A letter of danger and what was said about it.
pub struct Danger {
    pub letter: usize,
    pub therapist: usize,
    /// When the first alert about it reached the therapist, by the program's clock.
    pub told: Option<DateTime<Utc>>,
    pub answered: bool,
}

/// What SPEC section 5 lets reach somebody in this state.
pub fn allowed(kind: Kind, client: &Client) -> bool {
    let neutral = matches!(kind, Kind::Undecryptable | Kind::TooLarge | Kind::Safety | Kind::SafetyViolence);
    let page = matches!(kind, Kind::Guide | Kind::InternetPolicy);
    let absence = matches!(
        kind,
        Kind::AbsencePlanned | Kind::AbsenceStart | Kind::AbsenceUnplanned | Kind::AbsenceReturn | Kind::Locum
    );
    let keys = matches!(kind, Kind::AboutKeys | Kind::KeyExpiry);
    neutral
        || match client.state {
            State::Active | State::Ending => {
                !matches!(kind, Kind::StateNotice | Kind::AfterDischarge | Kind::Farewell | Kind::Stopped)
            }
            State::Paused => page || absence || keys || matches!(kind, Kind::StateNotice | Kind::Paused | Kind::Now),
            State::Suspended => page || keys || matches!(kind, Kind::StateNotice | Kind::Suspended | Kind::Now),
            State::Invited => {
                matches!(kind, Kind::Invitation | Kind::InvitationReminder | Kind::InvitationProblem | Kind::KeyArrived)
            }
            State::Asked => {
                let frame = matches!(kind, Kind::Frame | Kind::ConsentUnclear | Kind::CardRequest | Kind::StateNotice);
                page || keys || frame || matches!(kind, Kind::KeyArrived | Kind::InvitationProblem)
            }
            State::Declined => matches!(kind, Kind::InvitationDeclined | Kind::AfterDischarge | Kind::Declined),
            State::Discharged => page || matches!(kind, Kind::AfterDischarge | Kind::Farewell | Kind::Stopped),
        }
}

impl Model {
    /// A client's state changes; what waits is put aside or withdrawn.
    fn turn(&mut self, index: usize, to: State, sure: bool) {
        let waiting = self.waiting(index);
        for number in waiting {
            let fate = match to {
                State::Paused | State::Suspended => Fate::Parked,
                State::Discharged => Fate::Withdrawn,
                _ => continue,
            };
            self.orders[number].fate = if sure { fate } else { Fate::Overtaken };
        }
        let client = &mut self.clients[index];
        if to == State::Discharged {
            client.open.clear();
        }
        if to.in_treatment() {
            let rested = std::mem::take(&mut client.rested);
            client.open.extend(rested);
        }
        client.state = to;
        client.told = 0;
    }

    /// `/pause`, or the client's own `PAUSE`. Whether it was possible.
    pub fn pause(&mut self, index: usize, own: bool, sure: bool) -> bool {
        let state = self.clients[index].state;
        if !state.in_treatment() {
            return false;
        }
        self.turn(index, State::Paused, sure);
        let memory = Memory { previous: Some(state), own_pause: own, ..Memory::default() };
        self.clients[index].memory = memory;
        true
    }

    pub fn suspend(&mut self, index: usize, sure: bool) -> bool {
        let state = self.clients[index].state;
        let previous = match state {
            State::Active | State::Ending => Some(state),
            State::Paused => self.clients[index].memory.previous,
            _ => return false,
        };
        self.turn(index, State::Suspended, sure);
        self.clients[index].memory = Memory { previous, ..Memory::default() };
        true
    }

    /// `/resume`.
    pub fn resume(&mut self, index: usize, sure: bool) -> bool {
        let client = &self.clients[index];
        if !matches!(client.state, State::Paused | State::Suspended) {
            return false;
        }
        let to = client.memory.previous.unwrap_or(State::Active);
        self.turn(index, to, sure);
        self.clients[index].memory = Memory::default();
        true
    }

    /// The client's own `REPRENDRE`.
    pub fn own_resume(&mut self, index: usize, now: DateTime<Utc>, sure: bool) -> bool {
        let client = &self.clients[index];
        let memory = client.memory;
        match (client.state, memory.stopped) {
            (State::Paused, _) if memory.own_pause => self.resume(index, sure),
            // A month after the end the thread is archived, and the client's word leads back no more.
            (State::Discharged, Some((before, at))) if now - at < TimeDelta::days(30) => {
                let previous = memory.previous.unwrap_or(State::Active);
                let to = if before == State::Paused { previous } else { before };
                self.turn(index, to, sure);
                let kept = (to == State::Suspended).then_some(Memory { stopped: None, ..memory });
                self.clients[index].memory = kept.unwrap_or_default();
                true
            }
            _ => false,
        }
    }

    pub fn end(&mut self, index: usize) -> bool {
        if self.clients[index].state != State::Active {
            return false;
        }
        self.clients[index].state = State::Ending;
        self.clients[index].memory = Memory::default();
        true
    }

    pub fn discharge(&mut self, index: usize, sure: bool) -> bool {
        if !self.clients[index].state.is_begun() && self.clients[index].state != State::Asked {
            return false;
        }
        self.turn(index, State::Discharged, sure);
        self.clients[index].memory = Memory::default();
        true
    }

    /// The client's own `STOP`.
    pub fn stop(&mut self, index: usize, now: DateTime<Utc>, sure: bool) -> bool {
        let client = &self.clients[index];
        if !client.state.is_begun() {
            return false;
        }
        let memory = Memory { stopped: Some((client.state, now)), farewell: false, ..client.memory };
        self.turn(index, State::Discharged, sure);
        self.clients[index].memory = memory;
        true
    }

    /// Whether the one letter after `STOP` may still be written at `now`.
    pub fn farewell_open(&self, index: usize, now: DateTime<Utc>) -> bool {
        let client = &self.clients[index];
        let memory = client.memory;
        client.state == State::Discharged
            && !memory.farewell
            && memory.stopped.is_some_and(|(_, at)| (now - at).abs() <= TimeDelta::days(14))
    }

    /// After the end the frame is asked again.
    pub fn again(&mut self, index: usize) -> bool {
        let client = &mut self.clients[index];
        if !matches!(client.state, State::Discharged | State::Declined) {
            return false;
        }
        client.state = State::Asked;
        client.consent = false;
        client.told = 0;
        client.memory = Memory::default();
        true
    }

    /// `/mute`: what waits is withdrawn.
    pub fn mute(&mut self, index: usize, on: bool, sure: bool) {
        self.clients[index].muted = on;
        if on {
            for number in self.waiting(index) {
                self.orders[number].fate = if sure { Fate::Withdrawn } else { Fate::Overtaken };
            }
            for order in &mut self.orders {
                let parked = order.client == Some(index) && order.fate == Fate::Parked;
                if parked {
                    order.fate = Fate::Withdrawn;
                }
            }
        }
    }

    /// Whether a therapist is away on this day.
    pub fn away(&self, therapist: usize, day: NaiveDate) -> bool {
        self.leave(therapist, day).is_some()
    }

    /// The absence of a day.
    pub fn leave(&self, therapist: usize, day: NaiveDate) -> Option<&Leave> {
        self.leaves
            .iter()
            .filter(|leave| leave.entered && leave.therapist == therapist)
            .find(|leave| leave.first <= day && day <= leave.last)
    }

    /// Who may read and answer this client besides their own therapist, at `now` by the program's clock.
    pub fn locum(&self, client: &Client, now: DateTime<Utc>) -> Option<usize> {
        let day = now.with_timezone(&client.zone).date_naive();
        let leave = self.leave(client.therapist, day)?;
        leave.locum.filter(|_| client.agreed)
    }

    /// `/back`: today is a working day again. Whether there was something to come back from.
    pub fn back(&mut self, therapist: usize, today: NaiveDate) -> bool {
        let mut live: Vec<usize> = (0..self.leaves.len())
            .filter(|at| {
                let leave = &self.leaves[*at];
                leave.entered && !leave.over && leave.therapist == therapist && leave.last >= today
            })
            .collect();
        live.sort_by_key(|at| self.leaves[*at].first);
        let Some(at) = live.first() else { return false };
        let leave = &mut self.leaves[*at];
        leave.over = true;
        let until = today.max(leave.first);
        leave.last = until.pred_opt().unwrap();
        true
    }

    /// A verified mail of a therapist's, signed at `signed` in the world's time: what they had been told of before
    /// is answered.
    pub fn sign_of_life(&mut self, therapist: usize, signed: DateTime<Utc>) {
        for danger in self.dangers.iter_mut().filter(|danger| danger.therapist == therapist) {
            danger.answered |= danger.told.is_some_and(|told| told <= signed);
        }
    }

    /// An alert reached a therapist.
    pub fn alerted(&mut self, therapist: usize, client: Option<usize>, now: DateTime<Utc>) {
        let mut open = 0;
        for danger in &mut self.dangers {
            let same = Some(self.letters[danger.letter].client) == client;
            if same && danger.therapist == therapist && !danger.answered {
                danger.told = danger.told.or(Some(now));
                open += 1;
            }
        }
        promise!(open > 0 || self.odd, "an alert without a letter of danger that nobody has answered");
    }
}
