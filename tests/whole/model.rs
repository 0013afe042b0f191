//! What the simulator knows by itself: who wrote what and decided what, and what may therefore reach whom. Nothing
//! here asks the application; a mail that contradicts this model is a fault.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cadre::app::intake::Outcome;
use cadre::model::Kind;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;

use super::care::{Danger, Leave, Memory, State, allowed};
use super::people::{Form, Person, Read};

/// A client as the people know them.
pub struct Client {
    pub person: Person,
    pub row: i64,
    pub code: String,
    pub therapist: usize,
    pub zone: Tz,
    pub state: State,
    pub consent: bool,
    pub muted: bool,
    /// Letters that no accepted reply answers yet.
    pub open: Vec<usize>,
    /// Turns that were opened and not acknowledged yet.
    pub owed_acks: i64,
    /// Local days on which a reply reached them.
    pub days: BTreeSet<NaiveDate>,
    /// Notices of the present state that reached them.
    pub told: u32,
    pub memory: Memory,
    /// Letters that came while the rhythm rested.
    pub rested: Vec<usize>,
    /// A locum may read their letters.
    pub agreed: bool,
    pub discreet: bool,
    /// The newest letter that asked them something: to come, or to agree to the frame.
    pub asked: Option<String>,
    /// When safety letters reached them.
    pub safety: Vec<(Kind, DateTime<Utc>)>,
}

/// What is special about a letter beside its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    Letter,
    /// A letter without a word.
    Empty,
    /// Auto-Submitted.
    Automatic,
    /// From a mailing list.
    List,
    /// Signed by another client, under this one's address.
    Borrowed,
    /// The same bytes once more.
    Again,
    /// Put into another envelope: the same signed data under another Message-ID.
    Wrapped,
    /// Words of danger to oneself.
    Danger,
    /// Words of violence.
    Violence,
    /// `STOP`, `PAUSE`, `REPRENDRE`, `GUIDE` on a line of their own.
    Stop,
    Pause,
    Resume,
    Guide,
    /// The answer to an invitation, with a key in its header.
    Key,
    /// The answer to an invitation: `NON`.
    No,
    /// `J'ACCEPTE`, answering the letter about the frame, or nothing.
    Accept,
    AcceptNothing,
}

pub struct Letter {
    pub client: usize,
    pub form: Form,
    pub sort: Sort,
    pub id: String,
    pub written: DateTime<Utc>,
    pub outcome: Option<Outcome>,
    pub held: Option<i64>,
    /// Filed, or released after it was held: it has to reach the therapist.
    pub owed: bool,
    pub forwarded: u32,
    /// How often it was handed to a locum.
    pub to_locum: u32,
    /// Of the mail that brought it to the therapist.
    pub forward: Option<String>,
}

/// What a therapist writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Reply,
    Urgent,
    UrgentWaiting,
    Now,
    Cancel,
    Close,
    CloseSilent,
    Release(i64),
    Discard(i64),
    Note,
    Label,
    Help,
    Digest,
    /// To a client of another therapist.
    Stray,
    /// A command that doesn't exist above a letter.
    Mistyped,
    /// A letter without a signature.
    Unsigned,
    /// Signed two days ago.
    Old,
    /// The same mail a second time.
    Again,
    Pause,
    Resume,
    Suspend,
    End,
    Discharge,
    DischargeSilent,
    Mute(bool),
    Discreet(bool),
    CheckIn,
    /// Invites a client of the model's list.
    Invite(usize),
    KeyAccept,
    /// An absence, by its place in the model's list.
    Absent(usize),
    Back,
}

impl What {
    /// Whether its words go to the client.
    pub fn has_words(self) -> bool {
        matches!(
            self,
            Self::Reply | Self::Urgent | Self::Now | Self::Close | Self::Suspend | Self::End | Self::Discharge
        )
    }
}

/// What became of a therapist's mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Pending,
    Accepted,
    Refused,
    /// It must never leave any more.
    Withdrawn,
    /// Put aside by a pause: it must not leave before it is released.
    Parked,
    /// Another one came behind it: it may have been replaced.
    Overtaken,
}

pub struct Order {
    pub what: What,
    pub therapist: usize,
    pub client: Option<usize>,
    /// The letter whose forward it answers.
    pub named: Option<usize>,
    pub signed: DateTime<Utc>,
    pub fate: Fate,
    pub accepted: Option<DateTime<Utc>>,
    pub delivered: u32,
    /// The letters it answered when it was accepted.
    pub covered: Vec<usize>,
}

/// A mail of the simulator's by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mail {
    Letter(usize),
    Order(usize),
    Stranger(usize),
}

pub struct Stranger {
    pub person: Person,
    pub automatic: bool,
    pub answered: Vec<DateTime<Utc>>,
}

/// Counts for the report at the end.
#[derive(Default, Debug)]
pub struct Tally(pub BTreeMap<&'static str, u64>);

impl Tally {
    pub fn one(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}

#[derive(Default)]
pub struct Model {
    pub clients: Vec<Client>,
    pub letters: Vec<Letter>,
    pub orders: Vec<Order>,
    pub strangers: Vec<Stranger>,
    pub mails: Vec<Mail>,
    pub leaves: Vec<Leave>,
    pub dangers: Vec<Danger>,
    /// The clock jumped lately: what is counted by hours can't be held against it.
    pub odd: bool,
    /// Digests that a therapist asked for and didn't get yet.
    pub asked: Vec<usize>,
    /// Message-IDs of automatic mail: nothing may answer these.
    pub automatic: BTreeSet<String>,
    /// Bytes that were sent, and whether the program heard that they were taken.
    pub sent: HashMap<[u8; 32], bool>,
    pub tally: Tally,
}

/// Who a mail was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Therapist(usize),
    Client(usize),
    Stranger(usize),
    Operator,
}

/// Kinds that SPEC section 6 lets leave in clear.
fn may_be_clear(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Acknowledgement
            | Kind::AboutKeys
            | Kind::Undecryptable
            | Kind::TooLarge
            | Kind::KeyExpiry
            | Kind::Stranger
            | Kind::StrangerSafety
            | Kind::HealthAlarm
            | Kind::Invitation
            | Kind::InvitationReminder
            | Kind::InvitationProblem
            | Kind::InvitationDeclined
            | Kind::Safety
            | Kind::SafetyViolence
    )
}

impl Model {
    /// A mail of Cadre's reached somebody at `now` by the program's clock.
    pub fn reached(&mut self, reader: Reader, kind: Kind, about: Option<i64>, read: &Read, now: DateTime<Utc>) {
        promise!(read.sealed || may_be_clear(kind), "a {kind} went in clear");
        promise!(read.automatic || is_persons(kind), "a {kind} without Auto-Submitted");
        // A closing is an act of the therapist's, whatever was closed.
        if !is_persons(kind) && kind != Kind::Closed {
            let answers = read.references.iter().find(|id| self.automatic.contains(*id));
            promise!(answers.is_none(), "a {kind} answers automatic mail");
        }
        match reader {
            Reader::Therapist(therapist) => self.reached_therapist(therapist, kind, about, read, now),
            Reader::Client(client) => self.reached_client(client, kind, about, read, now),
            Reader::Stranger(stranger) => self.reached_stranger(stranger, kind, read, now),
            Reader::Operator => {
                promise!(kind == Kind::HealthAlarm, "unexpected");
                promise!(super::people::marks(&read.text, 'l').is_empty(), "the operator reads a client's words");
                promise!(super::people::marks(&read.text, 'r').is_empty(), "the operator reads a therapist's words");
            }
        }
    }

    fn reached_therapist(&mut self, therapist: usize, kind: Kind, about: Option<i64>, read: &Read, now: DateTime<Utc>) {
        let index =
            about.map(|row| self.clients.iter().position(|client| client.row == row).expect("a client of ours"));
        let standing = index.and_then(|index| self.locum(&self.clients[index], now)) == Some(therapist);
        let own = index.is_none_or(|index| self.clients[index].therapist == therapist);
        let stands_in = standing && matches!(kind, Kind::LocumForward | Kind::Alert | Kind::Receipt | Kind::Refusal);
        promise!(own || stands_in, "a {kind} about another therapist's client");
        let letters = super::people::marks(&read.text, 'l');
        let forward = matches!(kind, Kind::Forward | Kind::LocumForward | Kind::Request);
        promise!(letters.is_empty() || forward, "a {kind} shows a letter's words");
        for number in letters {
            let client = &self.clients[self.letters[number as usize].client];
            promise!(Some(client.row) == about, "a {kind} shows the words of somebody else");
            promise!(read.from.contains(&client.code), "the {kind} of letter {number} is not from {}", client.code);
            let letter = &mut self.letters[number as usize];
            let (form, sort) = (letter.form, letter.sort);
            promise!(letter.owed, "letter {number} ({form:?} {sort:?}) was passed on and must not be");
            if kind == Kind::LocumForward {
                letter.to_locum += 1;
                promise!(letter.to_locum == 1, "letter {number} of {} reached a locum twice", client.code);
                promise!(!own, "a locum stands in for themselves");
                continue;
            }
            promise!(own, "letter {number} of {} reached another therapist", client.code);
            letter.forwarded += 1;
            promise!(letter.forwarded == 1, "letter {number} of {} was passed on twice", client.code);
            letter.forward = Some(read.id.clone());
        }
        for number in super::people::marks(&read.text, 'r') {
            let order = &self.orders[number as usize];
            promise!(order.therapist == therapist || own, "a {kind} shows another therapist's words");
        }
        if matches!(kind, Kind::Digest | Kind::Reminder) {
            let zone = self.clients.iter().find(|client| client.therapist == therapist).map(|client| client.zone);
            let day = now.with_timezone(&zone.expect("a client")).date_naive();
            let asked = self.asked.iter().position(|one| *one == therapist && kind == Kind::Digest);
            match asked {
                Some(at) => drop(self.asked.remove(at)),
                // One that was due before the absence may be caught up with in it.
                None => {
                    let before = (0..4).any(|days| !self.away(therapist, day - TimeDelta::days(days)));
                    promise!(before, "a {kind} on {day}, in an absence");
                }
            }
        }
    }

    fn reached_stranger(&mut self, stranger: usize, kind: Kind, read: &Read, now: DateTime<Utc>) {
        promise!(matches!(kind, Kind::Stranger | Kind::StrangerSafety), "a stranger got a {kind}");
        let stranger = &mut self.strangers[stranger];
        promise!(!stranger.automatic, "automatic mail of a stranger was answered");
        let again = stranger.answered.iter().any(|at| (now - *at).abs() < TimeDelta::days(1));
        promise!(!again, "a stranger was answered twice in a day");
        stranger.answered.push(now);
        promise!(super::people::marks(&read.text, 'l').is_empty(), "the answer to a stranger quotes");
    }

    fn reached_client(&mut self, index: usize, kind: Kind, about: Option<i64>, read: &Read, now: DateTime<Utc>) {
        let client = &self.clients[index];
        let code = client.code.clone();
        promise!(about == Some(client.row), "a {kind} about somebody else reached {code}");
        promise!(super::people::marks(&read.text, 'l').is_empty(), "a {kind} to {code} quotes a letter");
        promise!(!client.muted, "a {kind} reached {code}, who is muted");
        promise!(allowed(kind, client), "a {kind} reached {code} in state {:?}", client.state);
        let words = super::people::marks(&read.text, 'r');
        if matches!(kind, Kind::Reply | Kind::Urgent | Kind::Now) {
            promise!(words.len() == 1, "a {kind} to {code} without the therapist's words");
        }
        for number in &words {
            self.words_reached(index, *number as usize, kind, now);
        }
        let client = &mut self.clients[index];
        match kind {
            Kind::Invitation | Kind::Frame | Kind::ConsentRenewal => client.asked = Some(read.id.clone()),
            Kind::Reply => {
                promise!(client.consent, "a reply reached {code} without consent");
                let day = now.with_timezone(&client.zone).date_naive();
                promise!(client.days.insert(day), "two replies reached {code} on {day}");
            }
            Kind::Acknowledgement => {
                client.owed_acks -= 1;
                promise!(client.owed_acks >= 0 || self.odd, "{code} got a second acknowledgement of one turn");
            }
            Kind::Safety | Kind::SafetyViolence => {
                promise!(!client.discreet, "the discreet {code} got a {kind}");
                let day = TimeDelta::hours(24);
                let again = client.safety.iter().any(|(what, at)| *what == kind && (now - *at).abs() < day);
                promise!(!again || self.odd, "{code} got a second {kind} in 24 hours");
                client.safety.push((kind, now));
                client.owed_acks = (client.owed_acks - 1).max(0);
            }
            Kind::MissedDay => {
                let day = now.with_timezone(&client.zone).date_naive();
                // One of the days before may be caught up with on the first morning.
                let therapist = self.clients[index].therapist;
                let away = (0..3).all(|days| self.away(therapist, day - TimeDelta::days(days)));
                promise!(!away, "{code} was told of a missed day in an absence");
                let client = &self.clients[index];
                promise!(!client.open.is_empty(), "{code} was told of a missed day, and nothing was owed");
            }
            Kind::StateNotice | Kind::AfterDischarge => {
                client.told += 1;
                promise!(client.told == 1, "{code} was told twice what becomes of letters in state {:?}", client.state);
            }
            _ => {}
        }
    }

    fn words_reached(&mut self, index: usize, number: usize, kind: Kind, now: DateTime<Utc>) {
        let order = &mut self.orders[number];
        let code = &self.clients[index].code;
        promise!(order.client == Some(index), "words {number} were for somebody else than {code}");
        let expected = match order.what {
            What::Reply => [Kind::Reply, Kind::Urgent, Kind::Farewell],
            What::Urgent => [Kind::Urgent; 3],
            What::Now => [Kind::Now; 3],
            What::Close => [Kind::Closed; 3],
            What::Suspend => [Kind::Suspended; 3],
            What::End => [Kind::Ending; 3],
            What::Discharge => [Kind::Farewell; 3],
            other => panic!("the words {number} of a {other:?} reached {code}"),
        };
        promise!(expected.contains(&kind), "words {number} left as a {kind}");
        promise!(
            matches!(order.fate, Fate::Accepted | Fate::Overtaken),
            "words {number} reached {code} and are {:?}",
            order.fate
        );
        order.delivered += 1;
        promise!(order.delivered == 1, "words {number} reached {code} twice");
        let accepted = order.accepted.expect("when it was accepted");
        promise!(now >= accepted - TimeDelta::days(4), "words {number} left at {now}, before {accepted}");
    }

    /// Letter `number` was filed, or released: it has to be passed on, and may open a turn.
    pub fn filed(&mut self, number: usize, opens_turn: bool) {
        let letter = &mut self.letters[number];
        letter.owed = true;
        let client = &mut self.clients[letter.client];
        if opens_turn && matches!(client.state, State::Paused | State::Suspended) {
            client.rested.push(number);
        }
        if opens_turn && client.state.in_treatment() {
            if client.open.is_empty() {
                client.owed_acks += 1;
            }
            client.open.push(number);
        }
    }

    /// A letter of the therapist's was accepted that answers up to `named`.
    pub fn answered(&mut self, index: usize, named: Option<usize>) -> Vec<usize> {
        let client = &mut self.clients[index];
        let until = named.map(|named| self.letters[named].written);
        let (covered, rest): (Vec<usize>, Vec<usize>) = std::mem::take(&mut client.open)
            .into_iter()
            .partition(|number| until.is_none_or(|until| self.letters[*number].written <= until));
        if !covered.is_empty() && !rest.is_empty() {
            client.owed_acks += 1;
        }
        client.open = rest;
        covered
    }

    /// Words for this client that were accepted and haven't arrived, the newest last.
    pub fn waiting(&self, index: usize) -> Vec<usize> {
        let waits = |order: &Order| {
            order.client == Some(index)
                && matches!(order.what, What::Reply | What::Close)
                && matches!(order.fate, Fate::Accepted | Fate::Overtaken)
                && order.delivered == 0
        };
        (0..self.orders.len()).filter(|number| waits(&self.orders[*number])).collect()
    }

    /// These words give way. Where the machine was not well, they may have left all the same.
    fn withdraw(&mut self, number: usize, sure: bool) -> Vec<usize> {
        self.orders[number].fate = if sure { Fate::Withdrawn } else { Fate::Overtaken };
        std::mem::take(&mut self.orders[number].covered)
    }

    fn reopen(&mut self, index: usize, covered: Vec<usize>) {
        let open = &mut self.clients[index].open;
        open.extend(covered);
        open.sort_unstable();
        open.dedup();
    }

    /// A reply was accepted: it takes the place of one that answers the same letter, else it stands beside.
    pub fn replied(&mut self, number: usize, index: usize, named: Option<usize>, sure: bool) {
        let waiting = self.waiting(index);
        let same = |other: &&usize| {
            let other = &self.orders[**other];
            other.what == What::Reply && other.named == named
        };
        let mut covered = Vec::new();
        if !sure {
            for other in waiting {
                // What a closing had closed may be open again, and acknowledged as a turn of its own.
                self.clients[index].owed_acks += i64::from(self.orders[other].what == What::Close);
                covered.extend(self.withdraw(other, false));
            }
        } else if let Some(first) = waiting.iter().find(same).copied() {
            covered = self.withdraw(first, true);
        } else {
            self.closing_withdrawn(index, true);
        }
        covered.extend(self.answered(index, named));
        self.orders[number].covered = covered;
    }

    /// A closing that hasn't left gives way to a letter, and what it had closed is open again.
    pub fn closing_withdrawn(&mut self, index: usize, sure: bool) {
        let Some(newest) = self.waiting(index).pop() else { return };
        if self.orders[newest].what == What::Close {
            let covered = self.withdraw(newest, sure);
            if self.clients[index].open.is_empty() {
                self.reopen(index, covered);
            }
        }
    }

    /// `/cancel`: the newest that waits.
    pub fn cancelled(&mut self, index: usize, sure: bool) {
        let mut waiting = self.waiting(index);
        if sure {
            waiting = waiting.split_off(waiting.len().saturating_sub(1));
        }
        for other in waiting {
            let covered = self.withdraw(other, sure);
            self.reopen(index, covered);
        }
    }

    /// When all is done: nothing is lost.
    pub fn at_the_end(&self) {
        for (number, letter) in self.letters.iter().enumerate() {
            let code = &self.clients[letter.client].code;
            promise!(letter.outcome.is_some(), "letter {number} was never looked at");
            promise!(
                !letter.owed || letter.forwarded == 1 || matches!(letter.sort, Sort::Empty | Sort::No),
                "letter {number} of {code} ({:?} {:?}, {}) never reached its therapist",
                letter.form,
                letter.sort,
                letter.written
            );
        }
        for (number, order) in self.orders.iter().enumerate() {
            let lost = order.what.has_words() && order.fate == Fate::Accepted && order.delivered == 0;
            promise!(!lost, "words {number} ({:?}, {}) were accepted and never arrived", order.what, order.signed);
        }
    }
}

/// Written by a person: no `Auto-Submitted`.
fn is_persons(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Reply
            | Kind::Urgent
            | Kind::Now
            | Kind::Forward
            | Kind::Request
            | Kind::LocumForward
            | Kind::Declined
            | Kind::Suspended
            | Kind::Ending
            | Kind::Farewell
            | Kind::Video
    )
}
