//! What therapists do: they read what is passed on and write, mostly as they should.

use cadre::app::intake::Outcome;
use cadre::domain::code_words;
use cadre::model::Language;
use chrono::TimeDelta;

use super::care::{Leave, State};
use super::model::{Fate, Mail, Order, What};
use super::people::{self, Draft, Form};
use super::play::{Event, How, Play};
use super::story::note;

impl Play {
    /// The therapist reads a forward and will do something about it, or not.
    pub(super) fn plan_answer(&mut self, letter: usize) {
        use How::{Cancel, CancelAndReply, Close, CloseSilent, Now, Reply, Small, Urgent, UrgentWaiting, Wrong};
        let hows: &[How] = match self.chance.between(0, 99) {
            0..=59 => &[Reply],
            60..=64 => &[Reply, CancelAndReply],
            65..=67 => &[Reply, Cancel],
            68..=72 => &[Reply, Reply],
            73..=75 => &[Urgent],
            76..=77 => &[Reply, UrgentWaiting],
            78..=79 => &[Now, Reply],
            80 => &[Now, Now],
            81..=83 => &[Close],
            84 => &[Close, Reply],
            85 => &[CloseSilent],
            86..=88 => &[Small(0), Reply],
            89..=93 => &[Wrong(0), Reply],
            _ => &[],
        };
        for how in hows {
            let how = match how {
                Small(_) => Small(u8::try_from(self.chance.between(0, 3)).unwrap()),
                Wrong(_) => Wrong(u8::try_from(self.chance.between(0, 4)).unwrap()),
                how => *how,
            };
            self.after(10, 2200, Event::Answer { letter, how });
        }
    }

    /// A therapist writes about a letter.
    pub(super) fn answer(&mut self, letter: usize, how: How) {
        match how {
            How::Reply => self.order(letter, What::Reply),
            How::Cancel => self.order(letter, What::Cancel),
            How::CancelAndReply => {
                self.order(letter, What::Cancel);
                self.after(5, 400, Event::Answer { letter, how: How::Reply });
            }
            How::UrgentWaiting => self.order(letter, What::UrgentWaiting),
            How::Urgent => self.order(letter, What::Urgent),
            How::Now => self.order(letter, What::Now),
            How::Close => self.order(letter, What::Close),
            How::CloseSilent => self.order(letter, What::CloseSilent),
            How::Small(0) => self.order(letter, What::Note),
            How::Small(1) => self.order(letter, What::Label),
            How::Small(2) => self.order(letter, What::Help),
            How::Small(_) => self.order(letter, What::Digest),
            How::Wrong(0) => self.order(letter, What::Stray),
            How::Wrong(1) => self.order(letter, What::Mistyped),
            How::Wrong(2) => self.order(letter, What::Unsigned),
            How::Wrong(3) => self.order(letter, What::Old),
            How::Wrong(_) => self.order(letter, What::Again),
            How::Held => {
                let Some(number) = self.model.letters[letter].held else { return };
                let release = self.chance.percent(70);
                self.order(letter, if release { What::Release(number) } else { What::Discard(number) });
            }
        }
    }

    fn order(&mut self, letter: usize, what: What) {
        let client = self.model.letters[letter].client;
        let alone = matches!(what, What::Help | What::Digest);
        let therapist = self.model.clients[client].therapist;
        self.send_order(therapist, (!alone).then_some(client), Some(letter), what);
    }

    /// A therapist changes something about a client, as it comes.
    pub(super) fn change(&mut self, index: usize) {
        let client = &self.model.clients[index];
        let roll = self.chance.between(0, 99);
        let what = match (client.state, client.muted) {
            (_, true) => What::Mute(false),
            (State::Active | State::Ending, _) => match roll {
                0..=29 => What::Pause,
                30..=44 => What::Suspend,
                45..=54 => What::End,
                55..=58 => What::Discharge,
                59..=60 => What::DischargeSilent,
                61..=70 => What::Mute(true),
                71..=80 => What::Discreet(!client.discreet),
                _ => What::CheckIn,
            },
            (State::Paused | State::Suspended, _) => match roll {
                0..=79 => What::Resume,
                80..=89 => What::Reply,
                90..=94 => What::Urgent,
                _ => What::Discharge,
            },
            (State::Invited | State::Asked | State::Declined, _) => return,
            (State::Discharged, _) => match roll {
                0..=39 => What::Resume,
                40..=49 => What::Reply,
                50..=79 => What::Discharge,
                _ => What::Urgent,
            },
        };
        let therapist = client.therapist;
        self.send_order(therapist, Some(index), None, what);
    }

    /// A therapist will be away.
    pub(super) fn leave(&mut self, therapist: usize) {
        let today = self.now.with_timezone(&self.zone(therapist)).date_naive();
        let first = today + TimeDelta::days(self.chance.between(0, 30));
        let last = first + TimeDelta::days(self.chance.between(2, 18));
        let other = (therapist + 1) % self.office.desks.len();
        let locum = self.chance.percent(70).then_some(other);
        let number = self.model.leaves.len();
        self.model.leaves.push(Leave { therapist, first, last, locum, entered: false, over: false });
        self.send_order(therapist, None, None, What::Absent(number));
        if self.chance.percent(40) {
            let days = (last - today).num_days();
            self.after(60, days * 1440, Event::Return { therapist });
        }
    }

    /// What was left unanswered gets its answer.
    pub(super) fn sweep(&mut self, therapist: usize) {
        if self.model.dangers.iter().any(|danger| danger.therapist == therapist && !danger.answered) {
            self.send_order(therapist, None, None, What::Help);
        }
        for index in 0..self.model.clients.len() {
            let client = &self.model.clients[index];
            if client.therapist != therapist || !client.state.in_treatment() {
                continue;
            }
            if client.muted {
                self.send_order(therapist, Some(index), None, What::Mute(false));
                continue;
            }
            let Some(letter) = client.open.last().copied() else { continue };
            let old = self.now - self.model.letters[letter].written > TimeDelta::days(3);
            if old && self.model.letters[letter].forward.is_some() {
                self.after(10, 600, Event::Answer { letter, how: How::Reply });
            }
        }
    }

    fn zone(&self, therapist: usize) -> chrono_tz::Tz {
        self.office.desks[therapist].zone.parse().unwrap()
    }

    pub(super) fn send_order(&mut self, therapist: usize, client: Option<usize>, letter: Option<usize>, what: What) {
        let number = self.model.orders.len();
        let code = client.map(|client| self.model.clients[client].code.clone()).unwrap_or_default();
        let text = self.words(number, therapist, &code, what);
        let subject = match (client, what) {
            (Some(_), What::Stray) => "Re: Quelques nouvelles".to_owned(),
            (Some(_), _) => format!("Re: [{code}] Quelques nouvelles"),
            (None, _) => "Cadre".to_owned(),
        };
        let signed = if what == What::Old { self.now - TimeDelta::hours(49) } else { self.now };
        let mut draft = Draft::new(&subject, &text, signed);
        let forward = letter.and_then(|letter| self.model.letters[letter].forward.clone());
        if let (Some(forward), Some(_), true) = (forward, client, what != What::Stray) {
            draft = draft.answering(&forward);
        }
        if what == What::Unsigned {
            draft.form = Form::Plain;
        }
        let from = &self.office.desks[therapist].person;
        let mailed = people::write(from, &self.office.practice, &self.other, &draft, &mut self.chance);
        let order = |what| Order {
            what,
            therapist,
            client,
            named: letter,
            signed,
            fate: Fate::Pending,
            accepted: None,
            delivered: 0,
            covered: Vec::new(),
        };
        // The first of two copies is an ordinary reply.
        self.model.orders.push(order(if what == What::Again { What::Reply } else { what }));
        self.post(Mail::Order(number), mailed.raw.clone());
        if what == What::Again {
            self.model.orders.push(order(What::Again));
            self.post(Mail::Order(number + 1), mailed.raw);
        }
        self.model.tally.one("therapists' mails");
    }

    fn words(&self, number: usize, therapist: usize, code: &str, what: What) -> String {
        let words = format!(
            "Bonjour,\n\nzqr{number:08} merci de votre lettre, à laquelle je réponds ce soir avec quelques mots \
             choisis, pour que nous puissions continuer comme nous en sommes convenus la dernière fois."
        );
        match what {
            What::Reply | What::Unsigned | What::Old | What::Again => words,
            What::Stray => {
                let theirs = self.model.clients.iter().find(|other| other.therapist != therapist).unwrap();
                format!("/to {}\n\n{words}", theirs.code)
            }
            What::Mistyped => format!("/anuler\n\n{words}"),
            What::Urgent => format!("/urgent\n\n{words}"),
            What::UrgentWaiting => "/urgent\n".to_owned(),
            What::Now => format!("/now\n\n{words}"),
            What::Cancel => "/cancel\n".to_owned(),
            What::Close => format!("/close zqr{number:08} je vous ai lu\n"),
            What::CloseSilent => "/close silent\n".to_owned(),
            What::Release(held) => format!("/release H{held}\n"),
            What::Discard(held) => format!("/discard H{held}\n"),
            What::Note => "/note rien à signaler\n".to_owned(),
            What::Label => format!("/label Personne {number}\n"),
            What::Help => "/help\n".to_owned(),
            What::Digest => "/digest\n".to_owned(),
            What::Pause => "/pause\n".to_owned(),
            What::Resume => "/resume\n".to_owned(),
            What::Suspend => format!("/suspend\n\n{words}"),
            What::End => format!("/end\n\n{words}"),
            What::Discharge => format!("/discharge\n\n{words}"),
            What::DischargeSilent => "/discharge silent\n".to_owned(),
            What::Mute(on) => if on { "/mute\n" } else { "/mute off\n" }.to_owned(),
            What::Discreet(on) => if on { "/discreet\n" } else { "/discreet off\n" }.to_owned(),
            What::CheckIn => "/checkin\n".to_owned(),
            What::Absent(leave) => {
                let leave = &self.model.leaves[leave];
                let locum = leave.locum.map(|locum| self.office.desks[locum].id.clone()).unwrap_or_default();
                format!("/absent {} {} {locum}\n", leave.first, leave.last)
            }
            What::Back => "/back\n".to_owned(),
            What::Invite(index) => {
                let address = self.model.clients[index].person.address.as_typed();
                format!("/invite {address} fr\n")
            }
            What::KeyAccept => {
                let client = self.model.clients.iter().find(|client| client.code == code).unwrap();
                let (own, practice) =
                    (client.person.certificate().fingerprint(), self.office.practice.certificate().fingerprint());
                format!("/key accept {}\n", code_words::words(&own, &practice, Language::Fr).join(" "))
            }
        }
    }

    pub(super) fn order_handled(&mut self, number: usize, outcome: Outcome) {
        let clock = self.clock();
        let order = &self.model.orders[number];
        let (what, client, named, therapist, signed) =
            (order.what, order.client, order.named, order.therapist, order.signed);
        note(clock, client, &format!("order {number} of {therapist} {what:?} naming {named:?} is {outcome:?}"));
        let future = signed > clock + TimeDelta::minutes(30) && what != What::Unsigned;
        let old = clock - signed > TimeDelta::hours(24);
        let refused: &[Outcome] = &[Outcome::Refused, Outcome::SetAside];
        let expected: &[Outcome] = match what {
            What::Again => &[Outcome::Dropped, Outcome::Refused, Outcome::SetAside],
            What::Stray | What::Mistyped | What::Unsigned => refused,
            _ if future => refused,
            _ if old => &[Outcome::Obeyed],
            _ if client.is_some_and(|client| !self.may_write(client, what)) => refused,
            What::Note | What::Label | What::Help | What::Digest => &[Outcome::Obeyed],
            _ => &[Outcome::Obeyed, Outcome::Refused, Outcome::SetAside],
        };
        let state = client.map(|index| self.model.clients[index].state);
        promise!(
            expected.contains(&outcome),
            "order {number} ({what:?}, signed {signed}, seen {clock}, client {state:?}) was {outcome:?}"
        );
        let proven = !matches!(what, What::Unsigned | What::Again) && !future;
        if proven && !old && matches!(outcome, Outcome::Obeyed | Outcome::Refused) {
            self.model.sign_of_life(therapist, signed);
        }
        let obeyed = outcome == Outcome::Obeyed && !old;
        self.model.orders[number].accepted = obeyed.then_some(clock);
        self.model.orders[number].fate = if obeyed { Fate::Pending } else { Fate::Refused };
        if obeyed {
            match client {
                Some(client) => self.obeyed(number, what, client, named),
                None => self.obeyed_alone(what, therapist),
            }
            self.model.orders[number].fate = Fate::Accepted;
        }
    }

    /// Whether a letter of this sort may go to this client at all.
    fn may_write(&self, index: usize, what: What) -> bool {
        let client = &self.model.clients[index];
        let treated = client.state.in_treatment();
        match what {
            What::Reply if self.model.farewell_open(index, self.clock()) => !client.muted,
            What::Reply | What::Urgent | What::Close | What::CheckIn => treated && !client.muted,
            What::Now => client.state.is_begun() && !client.muted,
            What::Suspend | What::End | What::Discharge => !client.muted,
            _ => true,
        }
    }

    fn obeyed_alone(&mut self, what: What, therapist: usize) {
        let today = self.clock().with_timezone(&self.zone(therapist)).date_naive();
        match what {
            What::Absent(leave) => {
                self.model.leaves[leave].entered = true;
                self.model.tally.one("absences");
            }
            What::Back => promise!(self.model.back(therapist, today) || !self.sure(), "/back from no absence"),
            What::Digest => self.model.asked.push(therapist),
            _ => {}
        }
    }

    /// Whether the order of what was accepted lately is beyond doubt: clocks and servers were well.
    pub(super) fn sure(&self) -> bool {
        self.skew.is_zero() && self.now - self.odd > TimeDelta::days(5)
    }

    fn obeyed(&mut self, number: usize, what: What, client: usize, named: Option<usize>) {
        let (sure, clock) = (self.sure(), self.clock());
        let model = &mut self.model;
        let possible = match what {
            What::Reply if model.clients[client].state == State::Discharged => {
                model.clients[client].memory.farewell = true;
                true
            }
            What::Reply => {
                model.replied(number, client, named, sure);
                true
            }
            What::Urgent | What::Close | What::CloseSilent => {
                if what == What::Urgent {
                    model.closing_withdrawn(client, sure);
                }
                model.orders[number].covered = model.answered(client, named);
                true
            }
            What::Cancel => {
                model.cancelled(client, sure);
                true
            }
            What::Release(_) => {
                model.filed(named.expect("a held letter"), true);
                true
            }
            What::Pause => model.pause(client, false, sure),
            What::Resume if model.clients[client].state == State::Discharged => model.again(client),
            What::Resume => model.resume(client, sure),
            What::KeyAccept => {
                let invited = model.clients[client].state == State::Invited;
                if invited {
                    model.clients[client].state = State::Asked;
                }
                invited
            }
            What::Suspend => model.suspend(client, sure),
            What::End => {
                model.answered(client, named);
                model.end(client)
            }
            What::Discharge if model.farewell_open(client, clock) => {
                model.clients[client].memory.farewell = true;
                true
            }
            What::Discharge | What::DischargeSilent => model.discharge(client, sure),
            What::Mute(on) => {
                model.mute(client, on, sure);
                true
            }
            What::Discreet(on) => {
                model.clients[client].discreet = on;
                true
            }
            _ => true,
        };
        let state = model.clients[client].state;
        promise!(possible, "order {number} ({what:?}) was obeyed, and isn't possible in the state {state:?}");
    }
}
