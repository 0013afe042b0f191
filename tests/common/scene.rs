//! The usual cast: a practice in Paris, its therapist, two clients with keys, all on real servers.

use std::path::Path;

use anyhow::{Context as _, Result};
use chrono::{DateTime, TimeZone as _, Utc};

use super::{Lab, Letter, Person, Practice, PracticeOptions, Read};

/// The practice's own address.
pub const OFFICE: &str = "ecrire@cabinet.example";

/// A practice that works, with the people around it.
pub struct Scene {
    pub practice: Practice,
    pub office: Person,
    pub therapist: Person,
    pub marie: Person,
    pub paul: Person,
    /// Their codes.
    pub c1: String,
    pub c2: String,
    // Ended last: the servers that everybody above talks to.
    pub lab: Lab,
}

/// A moment in March 2026, in UTC; Paris is one hour ahead until the 29th. The 2nd is a Monday.
pub fn march(day: u32, hour: u32, minute: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, day, hour, minute, 0).single().expect("a real time")
}

impl Scene {
    /// On a real Dovecot and a real Postfix, letters passed on as they come.
    pub fn new() -> Result<Self> {
        Self::with(Lab::start()?, PracticeOptions { forward: "each".into(), ..PracticeOptions::default() })
    }

    /// In this laboratory, with these options.
    pub fn with(lab: Lab, options: PracticeOptions) -> Result<Self> {
        let born = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).single().context("a real time")?;
        let office = Person::generate(&lab, "office", "", OFFICE, born)?;
        let therapist = Person::persona(&lab, "exemple")?;
        let marie = Person::persona(&lab, "marie")?;
        let paul = Person::persona(&lab, "paul")?;
        for client in [&marie, &paul] {
            client.meet(&office)?;
        }
        let practice = Practice::write(&lab, &Practice::built_binary()?, &office, &therapist, &options)?;
        practice.set_time(march(1, 12, 0))?;
        let c1 = add(&practice, &marie)?;
        let c2 = add(&practice, &paul)?;
        Ok(Self { practice, office, therapist, marie, paul, c1, c2, lab })
    }

    /// A letter of Marie's or Paul's to the practice, delivered at once; Dovecot's clock is the real one.
    pub fn letter(&self, from: &Person, subject: &str, text: &str, at: DateTime<Utc>) -> Result<()> {
        from.deliver(&self.lab, &Letter::new(OFFICE, subject, text).at(at)).map(drop)
    }

    /// What lies in somebody's mailbox, opened by their own GnuPG.
    pub fn mails(&self, person: &Person) -> Result<Vec<Read>> {
        person.mailbox(&self.lab)?.iter().map(|raw| person.read(raw)).collect()
    }

    /// Mail of a therapist that has these words in its protected subject, with its raw bytes.
    pub fn forward(&self, words: &str) -> Result<(Vec<u8>, Read)> {
        for raw in self.therapist.mailbox(&self.lab)?.into_iter().rev() {
            let read = self.therapist.read(&raw)?;
            if read.subject.contains(words) {
                return Ok((raw, read));
            }
        }
        anyhow::bail!("no mail of the therapist's has {words:?} in its subject")
    }

    /// Answers a forward as a mail program would, signed and encrypted at `at`.
    pub fn answer(&self, forward: &[u8], text: &str, at: DateTime<Utc>) -> Result<()> {
        let letter = self.therapist.reply_to(forward, text)?.at(at);
        self.therapist.deliver(&self.lab, &letter).map(drop)
    }

    /// `thread CODE --json`.
    pub fn thread(&self, code: &str) -> Result<serde_json::Value> {
        self.practice.json(&["thread", code])
    }

    /// Everything on the server's disk that belongs to Cadre.
    pub fn disk(&self) -> &Path {
        &self.practice.dir
    }
}

/// `client add … --active`, with the address on standard input.
pub fn add(practice: &Practice, person: &Person) -> Result<String> {
    let file = practice.dir.join(format!("{}.asc", person.address));
    person.certificate_file(&file)?;
    let certificate = file.to_string_lossy().into_owned();
    let args = [
        "client",
        "add",
        "--address",
        "-",
        "--therapist",
        "exemple",
        "--certificate",
        &certificate,
        "--active",
        "--consent-note",
        "on paper, 1 March",
    ];
    let out = practice.run_with_input(&args, format!("{}\n", person.address).as_bytes())?.expect_ok()?;
    std::fs::remove_file(file)?;
    Ok(out.trim().to_owned())
}
