//! A scene that is played pass by pass: what each pass sent, opened by whom it was sent to.

use std::cell::Cell;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::ledger::sql;
use super::scene::{OFFICE, Scene};
use super::sink::{Answer, Sink};
use super::{Lab, Letter, Person, PracticeOptions, Read};

/// A mail as the SMTP listener took it, opened by its addressee's GnuPG.
#[derive(Clone, Debug)]
pub struct Post {
    pub to: Vec<String>,
    pub raw: Vec<u8>,
    pub read: Read,
}

impl Post {
    /// A digest or a reminder: they come by the clock, whatever else happens.
    pub fn is_routine(&self) -> bool {
        ["Relevé", "Rappel"].iter().any(|word| self.read.subject.starts_with(word))
    }
}

/// How many make a flood: `CADRE_FLOOD`, or some hundred (`make torture` takes a thousand).
pub fn flood() -> usize {
    std::env::var("CADRE_FLOOD").ok().and_then(|count| count.parse().ok()).unwrap_or(200)
}

/// What one `run --once` did.
#[derive(Debug)]
pub struct Round {
    pub counts: Value,
    pub posts: Vec<Post>,
}

impl Round {
    /// What this person got, in order.
    pub fn to(&self, person: &Person) -> impl Iterator<Item = &Post> {
        let address = person.address.clone();
        self.posts.iter().filter(move |post| post.to.contains(&address))
    }

    /// The only mail this person got, digests and reminders aside.
    pub fn one(&self, person: &Person) -> Result<&Post> {
        let mut all = self.to(person).filter(|post| !post.is_routine());
        let first = all.next().with_context(|| format!("nothing for {}: {}", person.address, self.story()))?;
        ensure!(all.next().is_none(), "more than one mail for {}: {}", person.address, self.story());
        Ok(first)
    }

    pub fn nothing_to(&self, person: &Person) -> Result<()> {
        ensure!(self.to(person).next().is_none(), "{} got mail: {}", person.address, self.story());
        Ok(())
    }

    /// Everything, for a failed assertion.
    pub fn story(&self) -> String {
        let each = |post: &Post| format!("\n--- {:?} {:?}\n{}", post.to, post.read.subject, post.read.text());
        format!("{}{}", self.counts, self.posts.iter().map(each).collect::<String>())
    }
}

/// A [`Scene`] on Dovecot and the in-process SMTP listener.
pub struct Play {
    pub scene: Scene,
    seen: Cell<usize>,
}

impl Play {
    /// Letters are passed on as they come.
    pub fn new() -> Result<Self> {
        Self::with(PracticeOptions { forward: "each".into(), ..PracticeOptions::default() })
    }

    pub fn with(options: PracticeOptions) -> Result<Self> {
        Ok(Self::on(Scene::with(Lab::light()?, options)?))
    }

    /// A scene in a light laboratory that is there already.
    pub fn on(scene: Scene) -> Self {
        Self { scene, seen: Cell::new(0) }
    }

    pub fn sink(&self) -> &Sink {
        self.scene.lab.sink.as_ref().expect("a light laboratory has one")
    }

    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.sink().script(answers);
    }

    /// One pass at `at`. Every mail has one recipient, and that one can open what is encrypted.
    pub fn pass(&self, at: DateTime<Utc>) -> Result<Round> {
        let counts = self.scene.practice.once(at)?;
        self.posts(counts)
    }

    /// One pass at `at` in which some mail is refused for good: the program says so with status 1.
    pub fn failing_pass(&self, at: DateTime<Utc>) -> Result<Round> {
        let out = self.scene.practice.run_at(at, &["run", "--once", "--json"])?;
        ensure!(out.status == Some(1), "{out:?}");
        self.posts(serde_json::from_str(&out.stdout)?)
    }

    fn posts(&self, counts: Value) -> Result<Round> {
        let mails = self.sink().mails();
        let mut posts = Vec::new();
        for mail in &mails[self.seen.replace(mails.len())..] {
            ensure!(mail.to.len() == 1, "{:?}", mail.to);
            let people = [&self.scene.therapist, &self.scene.marie, &self.scene.paul];
            let reader = people.into_iter().find(|person| person.address == mail.to[0]);
            let read = match reader {
                Some(reader) => reader.read(&mail.data)?,
                None => sealed(&mail.data),
            };
            posts.push(Post { to: mail.to.clone(), raw: mail.data.clone(), read });
        }
        Ok(Round { counts, posts })
    }

    /// A client's letter, and the pass that files it.
    pub fn letter(&self, from: &Person, text: &str, at: DateTime<Utc>) -> Result<Round> {
        self.scene.letter(from, "Une lettre", text, at)?;
        self.pass(at)
    }

    /// A client's letter that is filed; the forward's bytes.
    pub fn forwarded(&self, from: &Person, text: &str, at: DateTime<Utc>) -> Result<Vec<u8>> {
        let round = self.letter(from, text, at)?;
        Ok(round.one(&self.scene.therapist)?.raw.clone())
    }

    /// The therapist's answer to a forward, signed and seen at `at`.
    pub fn answer(&self, forward: &[u8], text: &str, at: DateTime<Utc>) -> Result<Round> {
        self.scene.answer(forward, text, at)?;
        self.pass(at)
    }

    /// As [`Play::answer`]; the words of the one mail that the therapist got for it. No client got any.
    pub fn told(&self, forward: &[u8], text: &str, at: DateTime<Utc>) -> Result<String> {
        let round = self.answer(forward, text, at)?;
        round.nothing_to(&self.scene.marie)?;
        round.nothing_to(&self.scene.paul)?;
        Ok(round.one(&self.scene.therapist)?.read.text())
    }

    /// A mail of the therapist's as it was written, and what they are told. No client got any.
    pub fn told_of(&self, letter: &Letter, at: DateTime<Utc>) -> Result<String> {
        self.scene.therapist.deliver(&self.scene.lab, letter)?;
        let round = self.pass(at)?;
        round.nothing_to(&self.scene.marie)?;
        round.nothing_to(&self.scene.paul)?;
        Ok(round.one(&self.scene.therapist)?.read.text())
    }

    /// `(kind, state)` of everything that a client's thread has of the therapist's, oldest first.
    pub fn states(&self, code: &str, kind: &str) -> Result<Vec<String>> {
        let thread = self.scene.thread(code)?;
        let messages = thread["messages"].as_array().cloned().unwrap_or_default();
        let own = messages.iter().filter(|message| message["kind"] == kind);
        Ok(own.filter_map(|message| message["state"].as_str().map(str::to_owned)).collect())
    }

    /// A therapist's mail about nobody, such as `/absent`, and the pass that obeys it.
    pub fn order(&self, who: &Person, text: &str, at: DateTime<Utc>) -> Result<Round> {
        who.deliver(&self.scene.lab, &Letter::new(OFFICE, "absence", text).at(at))?;
        self.pass(at)
    }

    /// How many mails of a kind were ever made.
    pub fn made(&self, kind: &str) -> Result<usize> {
        let rows = sql(&self.scene.practice, &format!("SELECT COUNT(*) FROM outbox WHERE kind = '{kind}'"))?;
        Ok(rows.trim().parse()?)
    }

    pub fn turn(&self, code: &str) -> Result<Value> {
        Ok(self.scene.thread(code)?["turn"].clone())
    }
}

/// A mail to somebody else, unopened.
fn sealed(raw: &[u8]) -> Read {
    Read {
        outer: super::mail::headers(raw),
        inner: Vec::new(),
        decrypted: false,
        signature: None,
        status: Vec::new(),
        subject: String::new(),
        texts: Vec::new(),
        html: Vec::new(),
        attachments: Vec::new(),
        entity: raw.to_vec(),
    }
}

/// Fails unless all of `words` are in `text`.
pub fn says(text: &str, words: &[&str]) -> Result<()> {
    let plain = text.replace(['\u{a0}', '\u{202f}'], " ").replace('\u{2019}', "'");
    let flat = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        ensure!(flat.contains(word), "{word:?} isn't said:\n{text}");
    }
    Ok(())
}
