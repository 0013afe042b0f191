//! Five years of a practice: who does what when, by chance; between two events the clock jumps.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use cadre::app::absence;
use cadre::app::intake::Outcome;
use cadre::model::{Channel, ClientState, Kind, Language, TherapistId};
use cadre::store::{self, Care, NewClient};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;

use super::care::{Memory, State};
use super::chance::Chance;
use super::model::{Client, Mail, Model, Reader, Sort, What};
use super::office::{Delivered, Desk, Handled, Office, Posted};
use super::people::{self, Form, Person};
use super::story::note;
use crate::common::Answer;

/// What happens at a moment of the simulated world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A client writes; `left` more letters follow in this exchange.
    Write {
        client: usize,
        left: i64,
    },
    /// A therapist writes.
    Answer {
        letter: usize,
        how: How,
    },
    Stranger,
    /// The machine's clock goes wrong by so many minutes.
    Skew {
        minutes: i64,
    },
    /// The submission server behaves badly for some mails.
    Trouble,
    Restart,
    /// A therapist enters an absence, or comes back before its end.
    Leave {
        therapist: usize,
    },
    Return {
        therapist: usize,
    },
    /// A locum answers.
    Stand {
        locum: usize,
        letter: usize,
    },
    /// A therapist invites somebody new.
    Invite {
        therapist: usize,
    },
    /// Somebody invited does something about it.
    Enrol {
        client: usize,
        sort: Sort,
    },
    /// The code words were compared by voice.
    Compare {
        client: usize,
    },
    /// A therapist answers all that was left.
    Sweep {
        therapist: usize,
    },
    /// A therapist shows a sign of life after an alert.
    Wake {
        therapist: usize,
    },
    /// A therapist changes something about a client.
    Change {
        client: usize,
    },
}

/// How a therapist deals with a forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    Reply,
    /// Withdrawn, and written again.
    Cancel,
    CancelAndReply,
    UrgentWaiting,
    Urgent,
    Now,
    Close,
    CloseSilent,
    Small(u8),
    Wrong(u8),
    Held,
}

pub struct Play {
    pub office: Office,
    pub model: Model,
    pub(super) chance: Chance,
    pub(super) now: DateTime<Utc>,
    pub(super) skew: TimeDelta,
    /// When the clock or the submission server was last not as it should be.
    pub(super) odd: DateTime<Utc>,
    end: DateTime<Utc>,
    events: BinaryHeap<Reverse<(DateTime<Utc>, u64, Event)>>,
    made: u64,
    /// Whose keys nobody knows.
    pub(super) other: Person,
    /// Bytes that may come again.
    pub(super) copies: Vec<(usize, Vec<u8>)>,
    pub passes: u64,
}

pub const THERAPISTS: usize = 3;

impl Play {
    pub async fn new(seed: u64, start: DateTime<Utc>, years: i64, clients: usize, seasons: i64) -> Self {
        let born = start - TimeDelta::days(1);
        let desk = |id: &str, zone, release, forward| Desk {
            id: id.to_owned(),
            person: Person::new(&format!("{id}@praxis.example"), born),
            zone,
            release,
            forward,
        };
        let desks = vec![
            desk("alma", "Europe/Paris", "0 0 18 * * Mon-Fri", "each"),
            desk("boris", "America/Montreal", "0 30 17 * * Mon-Sat", "daily"),
            desk("chloe", "Europe/London", "0 0 12,20 * * Tue,Thu,Sun", "each"),
        ];
        let office = Office::open(start, desks).await;
        let mut play = Self {
            office,
            model: Model::default(),
            chance: Chance::new(seed),
            now: start,
            skew: TimeDelta::zero(),
            odd: start - TimeDelta::days(30),
            end: start + TimeDelta::days(years * 365 + 1),
            events: BinaryHeap::new(),
            made: 0,
            other: Person::new("inconnue@elsewhere.example", born),
            copies: Vec::new(),
            passes: 0,
        };
        for index in 0..clients {
            play.add_client(index, born).await;
        }
        play.plan(clients, seasons);
        play
    }

    /// A client whose consent was given on paper.
    async fn add_client(&mut self, index: usize, born: DateTime<Utc>) {
        let person = Person::new(&format!("client{index}@post.example"), born);
        let therapist = index % THERAPISTS;
        let desk = &self.office.desks[therapist];
        let certificate = person.certificate();
        let new = NewClient {
            therapist: TherapistId(desk.id.clone()),
            state: ClientState::Active,
            channel: Channel::OpenPgp,
            language: if index % 4 == 3 { Language::En } else { Language::Fr },
            address: person.address.clone(),
            name: None,
            label: Some(format!("Client {index}")),
            certificate: Some(store::Certificate {
                bytes: certificate.to_bytes(),
                fingerprint: certificate.fingerprint(),
                handles: certificate.handles(),
            }),
            consent_note: Some("on paper".to_owned()),
            consented_at: Some(self.now),
            created_at: self.now,
            care: Care::default(),
        };
        let mut tx = self.office.ctx.store.begin().await.unwrap();
        let added = tx.add_client(new).await.unwrap();
        if index.is_multiple_of(3) {
            absence::agree(&self.office.ctx, &mut tx, &added, self.now).await.unwrap();
        }
        tx.commit().await.unwrap();
        self.model.clients.push(Client {
            person,
            row: added.id.0,
            code: added.code.to_string(),
            therapist,
            zone: desk.zone.parse().unwrap(),
            state: State::Active,
            consent: true,
            muted: false,
            open: Vec::new(),
            owed_acks: 0,
            days: std::collections::BTreeSet::new(),
            told: 0,
            memory: Memory::default(),
            rested: Vec::new(),
            agreed: index.is_multiple_of(3),
            discreet: false,
            asked: None,
            safety: Vec::new(),
        });
    }

    pub(super) fn at(&mut self, when: DateTime<Utc>, event: Event) {
        self.made += 1;
        self.events.push(Reverse((when, self.made, event)));
    }

    pub(super) fn after(&mut self, low: i64, high: i64, event: Event) {
        let minutes = self.chance.between(low, high);
        let when = self.now + TimeDelta::minutes(minutes);
        self.at(when, event);
    }

    /// What is known from the beginning. A client's record is read thousands of times, and slowly where nothing is
    /// optimised: so people write in seasons of some days, and in between the clock jumps.
    fn plan(&mut self, clients: usize, seasons: i64) {
        let days = (self.end - self.now).num_days();
        for season in 0..seasons {
            let length = days / seasons;
            let begins = self.now + TimeDelta::days(season * length + self.chance.between(0, (length - 40).max(0)));
            self.season(begins, season, clients);
        }
    }

    fn season(&mut self, begins: DateTime<Utc>, season: i64, clients: usize) {
        let many = i64::try_from(clients).unwrap();
        let client = |chance: &mut Chance| usize::try_from(chance.between(0, many - 1)).unwrap();
        let within = |chance: &mut Chance, days: i64| begins + TimeDelta::minutes(chance.between(0, days * 1440));
        for _ in 0..(many / 5).max(2) {
            let (at, left) = (within(&mut self.chance, 7), self.chance.between(2, 6));
            let client = client(&mut self.chance);
            self.at(at, Event::Write { client, left });
        }
        for _ in 0..5 {
            let (at, client) = (within(&mut self.chance, 13), client(&mut self.chance));
            self.at(at, Event::Change { client });
        }
        for event in [Event::Stranger, Event::Trouble, Event::Trouble, Event::Restart] {
            let at = within(&mut self.chance, 12);
            self.at(at, event);
        }
        let away = match season % 6 {
            0 => self.chance.between(2 * 1440, 9 * 1440),
            1 => -self.chance.between(1440, 6 * 1440),
            2 => -self.chance.between(60, 900),
            3 => self.chance.between(60, 900),
            _ => self.chance.between(-25, 25),
        };
        let (at, lasts) = (within(&mut self.chance, 12), self.chance.between(30, 2000));
        self.at(at, Event::Skew { minutes: away });
        self.at(at + TimeDelta::minutes(lasts), Event::Skew { minutes: 0 });
        let therapist = usize::try_from(season).unwrap() % THERAPISTS;
        let (leave, invite) = (within(&mut self.chance, 6), within(&mut self.chance, 3));
        self.at(leave, Event::Leave { therapist });
        self.at(invite, Event::Invite { therapist: (therapist + 1) % THERAPISTS });
        for therapist in 0..THERAPISTS {
            for day in [4, 8, 13, 18] {
                self.at(begins + TimeDelta::days(day), Event::Sweep { therapist });
            }
        }
    }

    /// The program's clock.
    pub(super) fn clock(&self) -> DateTime<Utc> {
        self.now + self.skew
    }

    pub async fn run(&mut self) {
        while let Some(Reverse((at, _, _))) = self.events.peek().copied() {
            if at > self.end {
                break;
            }
            // Between two seasons the machine is off: months are caught up with at once.
            let off = at - self.now > TimeDelta::days(8);
            let wake = self.wake().await;
            if wake < at && !off {
                self.now = wake;
                self.pass().await;
                continue;
            }
            let Some(Reverse((at, _, event))) = self.events.pop() else { break };
            self.now = self.now.max(at);
            self.happen(event).await;
            self.pass().await;
        }
        self.finish().await;
    }

    /// The world stands still, and the program runs on until nothing waits.
    async fn finish(&mut self) {
        self.skew = TimeDelta::zero();
        self.events.clear();
        let end = self.now + TimeDelta::days(30);
        while self.now < end {
            self.now = self.wake().await.min(end);
            self.pass().await;
            self.events.clear();
        }
        self.model.at_the_end();
        let report = self.office.ctx.store.verify_journal(None).await.unwrap();
        promise!(report.ok(), "the journal: {:?}", report.faults);
        promise!(report.crash_remnant == 0, "unexpected");
    }

    /// When the program has to look next, in the world's time.
    async fn wake(&mut self) -> DateTime<Utc> {
        let clock = self.clock();
        let mut times: Vec<DateTime<Utc>> = Vec::new();
        for row in self.office.ask("SELECT due_at FROM turn WHERE state = 'open' AND due_at IS NOT NULL").await {
            let due = DateTime::from_timestamp_micros(row.get(0)).unwrap();
            times.extend([due - TimeDelta::hours(3), due, due + TimeDelta::minutes(121)]);
        }
        for row in self.office.ask("SELECT MIN(next_at) FROM alert WHERE next_at IS NOT NULL").await {
            times.extend(row.get::<Option<i64>, _>(0).and_then(DateTime::from_timestamp_micros));
        }
        for leave in self.model.leaves.iter().filter(|leave| leave.entered) {
            // The morning letters, in any of the zones.
            let mornings = [leave.first - TimeDelta::days(14), leave.first, leave.last + TimeDelta::days(1)];
            for hour in [6, 7, 12] {
                times.extend(mornings.iter().filter_map(|day| Some(day.and_hms_opt(hour, 0, 30)?.and_utc())));
            }
        }
        times.retain(|at| *at > clock);
        times.extend(self.office.next_due().await);
        let hour = |at: DateTime<Utc>| {
            // Retries come by chance of the program's own: looked at by the hour, they don't change the story.
            DateTime::from_timestamp((at.timestamp() / 600 + 1) * 600, 0).unwrap()
        };
        let next = times.into_iter().map(|at| if at > clock { at } else { hour(clock) }).min();
        next.unwrap_or(clock + TimeDelta::days(1)) - self.skew
    }

    /// What the running program does at this moment.
    async fn pass(&mut self) {
        self.passes += 1;
        if self.passes.is_multiple_of(500) && std::env::var("CADRE_TRACE").is_ok() {
            println!("pass {} at {} with {} letters", self.passes, self.now, self.model.letters.len());
        }
        self.office.clock.set(self.clock());
        for handled in self.office.fetch().await {
            self.handled(&handled).await;
        }
        self.model.odd = !self.sure();
        for delivered in self.office.send().await {
            self.delivered(&delivered);
        }
        self.nothing_due_in_an_absence().await;
        self.learn_codes().await;
    }

    /// Whoever was invited has a code, which the therapist's receipt names.
    async fn learn_codes(&mut self) {
        for index in 0..self.model.clients.len() {
            let client = &self.model.clients[index];
            if client.code.is_empty() && client.row != 0 {
                let rows = self.office.ask(&format!("SELECT code FROM client WHERE id = {}", client.row)).await;
                self.model.clients[index].code = rows[0].get(0);
            }
        }
    }

    /// No letter is due on a day of its therapist's absence.
    async fn nothing_due_in_an_absence(&self) {
        if self.model.leaves.iter().all(|leave| !leave.entered) {
            return;
        }
        let clock = self.clock();
        let due = "SELECT client_id, due_at FROM turn WHERE state = 'open' AND due_at IS NOT NULL \
                   UNION ALL SELECT client_id, slot FROM message \
                   WHERE kind = 'reply' AND state = 'waiting' AND slot IS NOT NULL";
        for row in self.office.ask(due).await {
            let client = self.model.clients.iter().find(|client| client.row == row.get::<i64, _>(0)).unwrap();
            let at = DateTime::from_timestamp_micros(row.get(1)).unwrap();
            let day = at.with_timezone(&client.zone).date_naive();
            let locums = self.model.locum(client, at).is_some();
            let away = at > clock && !locums && self.model.away(client.therapist, day);
            promise!(!away, "a letter to {} is due on {day}, in an absence ({clock})", client.code);
        }
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Write { client, left } => self.write(client, left),
            Event::Answer { letter, how } => self.answer(letter, how),
            Event::Stranger => self.stranger(),
            Event::Skew { minutes } => {
                self.model.tally.one("clock jumps");
                self.odd = self.now;
                self.skew = TimeDelta::minutes(minutes);
                note(self.now, None, &format!("the clock is wrong by {minutes} minutes"));
            }
            Event::Trouble => {
                self.model.tally.one("troubles of the submission server");
                self.odd = self.now;
                let answer = match self.chance.between(0, 4) {
                    0 => Answer::AtRcpt("451 4.3.0 later".to_owned()),
                    1 => Answer::AfterDot("451 4.3.0 later".to_owned()),
                    2 => Answer::CutAfterDot,
                    3 => Answer::CutAtData,
                    _ => Answer::CutAtOnce,
                };
                note(self.now, None, &format!("trouble: {answer:?}"));
                self.office.server([answer]);
            }
            Event::Restart => {
                self.model.tally.one("restarts");
                note(self.now, None, "restart");
                self.office.restart().await;
                let report = self.office.ctx.store.verify_journal(None).await.unwrap();
                promise!(report.ok(), "the journal: {:?}", report.faults);
            }
            Event::Change { client } => self.change(client),
            Event::Stand { locum, letter } => {
                let client = self.model.letters[letter].client;
                self.send_order(locum, Some(client), Some(letter), What::Reply);
            }
            Event::Invite { therapist } => self.invite(therapist),
            Event::Enrol { client, sort } => {
                let form = if sort == Sort::Key { Form::Plain } else { Form::Sealed };
                self.send_letter(client, form, sort);
            }
            Event::Compare { client } => {
                let therapist = self.model.clients[client].therapist;
                self.send_order(therapist, Some(client), None, What::KeyAccept);
            }
            Event::Sweep { therapist } => self.sweep(therapist),
            Event::Wake { therapist } => self.send_order(therapist, None, None, What::Help),
            Event::Leave { therapist } => self.leave(therapist),
            Event::Return { therapist } => self.send_order(therapist, None, None, What::Back),
        }
    }

    pub(super) fn post(&mut self, mail: Mail, raw: Vec<u8>) {
        let tag = self.model.mails.len();
        self.model.mails.push(mail);
        self.office.post(Posted { tag, raw, at: self.now });
    }

    /// What the program made of a mail.
    async fn handled(&mut self, handled: &Handled) {
        match self.model.mails[handled.tag] {
            Mail::Letter(number) => self.letter_handled(number, handled),
            Mail::Order(number) => self.order_handled(number, handled.outcome),
            Mail::Stranger(number) => {
                let automatic = self.model.strangers[number].automatic;
                let fine = match handled.outcome {
                    Outcome::Requested => !automatic,
                    Outcome::SetAside | Outcome::Dropped => true,
                    _ => false,
                };
                promise!(fine, "a stranger's mail (automatic: {automatic}) was {:?}", handled.outcome);
            }
        }
    }

    /// Something reached somebody.
    fn delivered(&mut self, mail: &Delivered) {
        let hash: [u8; 32] = Sha256::digest(&mail.raw).into();
        if let Some(heard) = self.model.sent.insert(hash, mail.heard) {
            promise!(!heard, "a {} left twice, and the program had heard that the first was taken", mail.kind);
            self.model.tally.one("mails repeated byte for byte");
            return;
        }
        let clock = self.clock();
        if mail.kind == Kind::Invitation
            && let [to] = mail.to.as_slice()
            && let Some(Reader::Client(index)) = self.reader(to)
        {
            self.model.clients[index].row = mail.client.unwrap_or_default();
        }
        let [to] = mail.to.as_slice() else { panic!("a {} to {} people", mail.kind, mail.to.len()) };
        let reader = self.reader(to).unwrap_or_else(|| panic!("a {} to nobody's registered address", mail.kind));
        let person = match reader {
            Reader::Therapist(index) => Some(&self.office.desks[index].person),
            Reader::Client(index) => Some(&self.model.clients[index].person),
            _ => None,
        };
        let read = people::read(&mail.raw, person, &self.office.practice, clock)
            .unwrap_or_else(|error| panic!("a {}: {error}", mail.kind));
        self.model.tally.one(tally(mail.kind));
        let about = self.model.clients.iter().position(|client| Some(client.row) == mail.client);
        let (l, r) = (people::marks(&read.text, 'l'), people::marks(&read.text, 'r'));
        note(clock, about, &format!("{reader:?} gets {} letters {l:?} words {r:?} heard {}", mail.kind, mail.heard));
        let letters = people::marks(&read.text, 'l');
        self.model.reached(reader, mail.kind, mail.client, &read, clock);
        if matches!(reader, Reader::Client(_)) {
            for desk in &self.office.desks {
                let address = desk.person.address.as_typed();
                promise!(!read.text.contains(address), "a {} shows a client a therapist's address", mail.kind);
            }
        }
        match (reader, mail.kind, letters.as_slice()) {
            (Reader::Therapist(_), Kind::Forward, [letter]) => self.plan_answer(*letter as usize),
            (Reader::Therapist(locum), Kind::LocumForward, [letter]) if self.chance.percent(60) => {
                let letter = *letter as usize;
                self.after(30, 900, Event::Stand { locum, letter });
            }
            (Reader::Client(index), Kind::Invitation, _) => self.plan_enrolment(index),
            (Reader::Client(index), Kind::KeyArrived, _) => {
                self.after(60, 4000, Event::Compare { client: index });
            }
            (Reader::Client(index), Kind::Frame, _) => {
                let sort = if self.chance.percent(15) { Sort::AcceptNothing } else { Sort::Accept };
                self.after(60, 4000, Event::Enrol { client: index, sort });
                if sort == Sort::AcceptNothing {
                    self.after(5000, 8000, Event::Enrol { client: index, sort: Sort::Accept });
                }
            }
            (Reader::Therapist(therapist), Kind::Alert, _) => {
                self.model.alerted(therapist, about, clock);
                self.after(10, 500, Event::Wake { therapist });
            }
            _ => {}
        }
    }

    fn reader(&self, to: &str) -> Option<Reader> {
        let is = |person: &Person| person.address.as_typed() == to;
        let client = self.model.clients.iter().position(|client| is(&client.person)).map(Reader::Client);
        let desk = || self.office.desks.iter().position(|desk| is(&desk.person)).map(Reader::Therapist);
        let stranger = || self.model.strangers.iter().position(|one| is(&one.person)).map(Reader::Stranger);
        client.or_else(desk).or_else(stranger).or_else(|| (to == super::office::OPERATOR).then_some(Reader::Operator))
    }
}

fn tally(kind: Kind) -> &'static str {
    kind.as_str()
}
