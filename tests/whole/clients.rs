//! What clients and strangers do: they write letters, and odd things arrive in their name.

use std::collections::BTreeSet;

use cadre::app::intake::Outcome;
use chrono::TimeDelta;

use super::care::{Danger, Memory, State};
use super::model::{Client, Letter, Mail, Sort, Stranger, What};
use super::office::Handled;
use super::people::{self, Draft, Form, Person};
use super::play::{Event, How, Play};
use super::story::note;

impl Play {
    /// A client writes a letter, mostly a good one.
    pub(super) fn write(&mut self, index: usize, left: i64) {
        let (form, sort) = match self.chance.between(0, 99) {
            0..=2 => (Form::Plain, Sort::Letter),
            3..=4 => (Form::Foreign, Sort::Letter),
            5..=6 => (Form::Damaged, Sort::Letter),
            7 => (Form::Elsewhere, Sort::Letter),
            8..=11 => (Form::Signed, Sort::Letter),
            12..=13 => (Form::Sealed, Sort::Empty),
            14..=15 => (Form::Plain, Sort::Automatic),
            16 => (Form::Plain, Sort::List),
            17..=18 => (Form::Sealed, Sort::Borrowed),
            19..=20 => (Form::Sealed, Sort::Again),
            21..=22 => (Form::Sealed, Sort::Wrapped),
            23..=25 => (self.danger_form(), Sort::Danger),
            26 => (self.danger_form(), Sort::Violence),
            27 => (self.danger_form(), Sort::Stop),
            28..=30 => (self.danger_form(), Sort::Pause),
            31..=32 => (Form::Sealed, Sort::Guide),
            33..=36 if !self.model.clients[index].state.in_treatment() => (self.danger_form(), Sort::Resume),
            37..=70 if !self.model.clients[index].state.in_treatment() => (Form::Sealed, Sort::Resume),
            _ => (Form::Sealed, Sort::Letter),
        };
        self.send_letter(index, form, sort);
        if left > 0 {
            self.after(60, 3 * 1440, Event::Write { client: index, left: left - 1 });
        }
    }

    /// Mostly sealed; sometimes nobody can say who wrote it.
    fn danger_form(&mut self) -> Form {
        match self.chance.between(0, 9) {
            0 => Form::Plain,
            1 => Form::Foreign,
            2 => Form::Signed,
            _ => Form::Sealed,
        }
    }

    pub(super) fn send_letter(&mut self, index: usize, form: Form, sort: Sort) {
        if matches!(sort, Sort::Again | Sort::Wrapped) {
            self.send_again(index, sort);
            return;
        }
        let number = self.model.letters.len();
        let word = format!("zql{number:08}");
        let text = match sort {
            Sort::Empty => String::new(),
            Sort::Danger => format!("Bonjour,\n\n{word} je n'en peux plus, je veux mourir ce soir."),
            Sort::Violence => format!("Bonjour,\n\n{word} il me frappe tous les soirs."),
            Sort::Stop => format!("{word} merci de m'avoir lu.\n\nSTOP\n"),
            Sort::Pause => format!("{word} je pars quelques semaines.\n\nPAUSE\n"),
            Sort::Resume => format!("{word} me revoilà.\n\nREPRENDRE\n"),
            Sort::Key => format!("{word} oui, volontiers."),
            Sort::No => "NON\n".to_owned(),
            Sort::Accept | Sort::AcceptNothing => format!("{word} c'est entendu.\n\nJ'ACCEPTE\n"),
            Sort::Guide => format!("{word} comment faire déjà ?\n\nGUIDE\n"),
            _ => format!("Bonjour,\n\n{word} voici ce que la semaine a été. Je pense souvent à notre échange."),
        };
        let mut draft = Draft::new("Quelques nouvelles", &text, self.now);
        draft.form = form;
        draft.automatic = sort == Sort::Automatic;
        draft.autocrypt = sort == Sort::Key;
        if let (Sort::Accept | Sort::No, Some(asked)) = (sort, &self.model.clients[index].asked) {
            draft.references.push(asked.clone());
        }
        if sort == Sort::List {
            draft.extra = "List-Id: <liste.example>\r\nPrecedence: list\r\n".to_owned();
        }
        let from = &self.model.clients[index].person;
        let count = self.model.clients.len();
        let mut others = (1..count).map(|step| (index + step) % count);
        let neighbour = others.find(|other| self.model.clients[*other].consent).unwrap_or(index);
        let other = if sort == Sort::Borrowed { &self.model.clients[neighbour].person } else { &self.other };
        draft.form = if sort == Sort::Borrowed { Form::Foreign } else { form };
        let mailed = people::write(from, &self.office.practice, other, &draft, &mut self.chance);
        if matches!(sort, Sort::Automatic | Sort::List) {
            self.model.automatic.insert(mailed.id.clone());
        }
        if sort == Sort::Letter && form == Form::Sealed && self.copies.len() < 1 + self.model.letters.len() / 10 {
            self.copies.push((number, mailed.raw.clone()));
        }
        self.model.letters.push(Letter {
            client: index,
            form,
            sort,
            id: mailed.id,
            written: self.now,
            outcome: None,
            held: None,
            owed: false,
            forwarded: 0,
            to_locum: 0,
            forward: None,
        });
        self.model.tally.one("letters");
        self.post(Mail::Letter(number), mailed.raw);
    }

    /// Somebody who can read the mail on its way sends it once more.
    fn send_again(&mut self, index: usize, sort: Sort) {
        let filed = |letter: &Letter| letter.client == index && letter.outcome == Some(Outcome::Filed);
        let Some(at) = self.copies.iter().position(|(number, _)| filed(&self.model.letters[*number])) else {
            return self.send_letter(index, Form::Sealed, Sort::Letter);
        };
        let (first, raw) = self.copies[at].clone();
        let text = String::from_utf8(raw).unwrap();
        let id = &self.model.letters[first].id;
        let raw = match sort {
            Sort::Wrapped => text.replacen(id.as_str(), &format!("{:016x}@post.example", self.chance.next()), 1),
            _ => text,
        };
        let number = self.model.letters.len();
        let id = id.clone();
        let written = self.now;
        let (form, outcome, held) = (Form::Sealed, None, None);
        let letter = Letter {
            client: index,
            form,
            sort,
            id,
            written,
            outcome,
            held,
            owed: false,
            forwarded: 0,
            to_locum: 0,
            forward: None,
        };
        self.model.letters.push(letter);
        self.model.tally.one("letters played again");
        self.post(Mail::Letter(number), raw.into_bytes());
    }

    pub(super) fn stranger(&mut self) {
        let number = self.model.strangers.len();
        let person = Person::new(&format!("quelquun{number}@ailleurs.example"), self.now - TimeDelta::days(1));
        let automatic = self.chance.percent(30);
        let mut draft = Draft::new("Question", "Bonjour, prenez-vous de nouvelles personnes ?", self.now);
        draft.form = Form::Plain;
        draft.automatic = automatic;
        let times = self.chance.between(1, 3);
        for _ in 0..times {
            let mailed = people::write(&person, &self.office.practice, &self.other, &draft, &mut self.chance);
            if automatic {
                self.model.automatic.insert(mailed.id);
            }
            self.post(Mail::Stranger(number), mailed.raw);
        }
        self.model.strangers.push(Stranger { person, automatic, answered: Vec::new() });
        self.model.tally.one("strangers");
    }

    pub(super) fn letter_handled(&mut self, number: usize, handled: &Handled) {
        let clock = self.clock();
        let letter = &mut self.model.letters[number];
        letter.outcome = Some(handled.outcome);
        let text = format!(
            "letter {number} {:?} {:?} of {} is {:?} {:?}",
            letter.form, letter.sort, letter.written, handled.outcome, handled.held
        );
        note(clock, Some(letter.client), &text);
        letter.held = handled.held;
        // Signed half an hour after the clock's now: from the future, as far as the program can know.
        let future = letter.written > clock + TimeDelta::minutes(30);
        let signed = matches!(letter.form, Form::Sealed | Form::Signed);
        let state = self.model.clients[letter.client].state;
        let expected = match (letter.sort, letter.form) {
            _ if matches!(state, State::Invited | State::Declined) => handled.outcome,
            (Sort::Again | Sort::Wrapped, _) => Outcome::Dropped,
            (Sort::Borrowed, _) | (_, Form::Damaged | Form::Elsewhere) => Outcome::Held,
            _ if future && signed => Outcome::Held,
            _ => Outcome::Filed,
        };
        promise!(
            handled.outcome == expected,
            "letter {number} ({:?} {:?}, written {}, seen {clock})",
            letter.form,
            letter.sort,
            letter.written
        );
        let (client, sort, form) = (letter.client, letter.sort, letter.form);
        let dangerous = matches!(sort, Sort::Danger | Sort::Violence);
        if dangerous && matches!(handled.outcome, Outcome::Filed | Outcome::Held) {
            let therapist = self.model.clients[client].therapist;
            let danger = Danger { letter: number, therapist, told: None, answered: false };
            self.model.dangers.push(danger);
            self.model.tally.one("letters of danger");
        }
        if handled.outcome == Outcome::Filed {
            let proven = matches!(form, Form::Sealed | Form::Signed);
            if sort == Sort::No && state == State::Invited {
                self.model.clients[client].state = State::Declined;
                self.model.tally.one("invitations refused");
            }
            if proven {
                self.keyword(client, sort);
            }
            let opens = !matches!(sort, Sort::Empty | Sort::Automatic | Sort::List);
            self.model.filed(number, opens);
        } else if handled.outcome == Outcome::Held {
            self.after(600, 4000, Event::Answer { letter: number, how: How::Held });
        }
    }

    /// What a client's keyword does to their state, where it is certain that they wrote it.
    fn keyword(&mut self, client: usize, sort: Sort) {
        let (sure, clock) = (self.sure(), self.clock());
        let answers = self.model.clients[client].asked.is_some();
        let done = match sort {
            Sort::Accept if answers && self.model.clients[client].state == State::Asked => {
                self.model.clients[client].state = State::Active;
                self.model.clients[client].consent = true;
                self.model.tally.one("consents");
                let left = self.chance.between(1, 5);
                self.after(60, 4000, Event::Write { client, left });
                true
            }
            Sort::Stop => self.model.stop(client, clock, sure),
            Sort::Pause => self.model.pause(client, true, sure),
            Sort::Resume => self.model.own_resume(client, clock, sure),
            _ => return,
        };
        if done {
            self.model.tally.one("states changed by a client");
        }
    }

    /// Somebody new is written to.
    pub(super) fn invite(&mut self, therapist: usize) {
        let index = self.model.clients.len();
        let person = Person::new(&format!("nouveau{index}@post.example"), self.now - TimeDelta::days(1));
        let zone = self.office.desks[therapist].zone.parse().unwrap();
        self.model.clients.push(Client {
            person,
            row: 0,
            code: String::new(),
            therapist,
            zone,
            state: State::Invited,
            consent: false,
            muted: false,
            open: Vec::new(),
            owed_acks: 0,
            days: BTreeSet::new(),
            told: 0,
            memory: Memory::default(),
            rested: Vec::new(),
            agreed: false,
            discreet: false,
            asked: None,
            safety: Vec::new(),
        });
        self.send_order(therapist, None, None, What::Invite(index));
        self.model.tally.one("invitations");
    }

    /// What becomes of an invitation.
    pub(super) fn plan_enrolment(&mut self, client: usize) {
        match self.chance.between(0, 9) {
            0 => {}
            1 => self.after(60, 5 * 1440, Event::Enrol { client, sort: Sort::No }),
            _ => self.after(60, 5 * 1440, Event::Enrol { client, sort: Sort::Key }),
        }
    }
}
