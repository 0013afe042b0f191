//! People who aren't known here yet, and the therapist's side of their enrolment.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeZone as _, Utc};
use serde_json::Value;

use crate::common::play::{Play, Post, Round};
use crate::common::scene::OFFICE;
use crate::common::{Letter, Person, ledger};

/// A practice, with a second therapist at hand.
pub struct Stage {
    pub second: Person,
    pub play: Play,
}

impl Stage {
    pub fn open() -> Result<Self> {
        let play = Play::new()?;
        let second = Person::persona(&play.scene.lab, "second")?;
        second.meet(&play.scene.office)?;
        play.scene.practice.set("operator.address", "\"ops@cabinet.example\"")?;
        Ok(Self { second, play })
    }

    pub fn therapist(&self) -> &Person {
        &self.play.scene.therapist
    }

    /// A second therapist in the configuration, with or without the certificate's file.
    pub fn second_therapist(&self, with_certificate: bool) -> Result<()> {
        let practice = &self.play.scene.practice;
        let mut text = fs::read_to_string(&practice.config)?;
        text.push_str(
            "\n[[therapist]]\nid = \"second\"\nname = \"Dr Second\"\ntitle = \"Psychologue\"\n\
             register = \"RPPS 20000000000\"\ncountry = \"FR\"\naddress = \"second@exemple.example\"\n\
             certificate = \"second.pgp\"\nforward = \"each\"\n",
        );
        fs::write(&practice.config, text)?;
        if with_certificate {
            self.second.certificate_file(&practice.dir.join("second.pgp"))?;
        }
        Ok(())
    }

    /// A therapist's mail of its own, and the pass that obeys it.
    pub fn order(&self, text: &str, at: DateTime<Utc>) -> Result<Round> {
        self.order_by(self.therapist(), text, at)
    }

    pub fn order_by(&self, therapist: &Person, text: &str, at: DateTime<Utc>) -> Result<Round> {
        therapist.deliver(&self.play.scene.lab, &Letter::new(OFFICE, "Cadre", text).at(at))?;
        self.play.pass(at + chrono::TimeDelta::seconds(30))
    }

    /// The therapist's answer to a mail of Cadre's, and the pass that obeys it.
    pub fn reply(&self, raw: &[u8], text: &str, at: DateTime<Utc>) -> Result<Round> {
        self.play.scene.answer(raw, text, at)?;
        self.play.pass(at + chrono::TimeDelta::seconds(30))
    }

    /// A newcomer's mail, and the pass that reads it.
    pub fn play_letter(&self, from: &Newcomer, letter: &Letter, at: DateTime<Utc>) -> Result<Round> {
        from.person.deliver(&self.play.scene.lab, &letter.clone().at(at))?;
        self.play.pass(at + chrono::TimeDelta::seconds(30))
    }

    /// The code of who was just invited.
    pub fn invited(&self, round: &Round) -> Result<String> {
        let code = self.sql("SELECT code FROM client WHERE state = 'invited' ORDER BY id DESC LIMIT 1")?;
        let newest = self.sql("SELECT client FROM journal WHERE kind = 'invited' ORDER BY seq DESC LIMIT 1")?;
        ensure!(!newest.is_empty(), "nobody was invited: {code} {}", round.story());
        Ok(newest)
    }

    /// The therapist's mail of this round whose text has these words.
    pub fn told<'r>(&self, round: &'r Round, words: &str) -> Result<&'r Post> {
        let mut all = round.to(self.therapist());
        all.find(|post| post.read.text().contains(words)).with_context(|| format!("no {words:?}: {}", round.story()))
    }

    pub fn state(&self, code: &str) -> Result<String> {
        Ok(self.show(code)?["state"].as_str().unwrap_or_default().to_owned())
    }

    pub fn pinned(&self, code: &str) -> Result<Value> {
        Ok(self.show(code)?["fingerprint"].clone())
    }

    fn show(&self, code: &str) -> Result<Value> {
        self.play.scene.practice.json(&["client", "show", code])
    }

    pub fn sql(&self, statement: &str) -> Result<String> {
        ledger::sql(&self.play.scene.practice, statement)
    }

    /// What the journal says of the last event of this kind.
    pub fn last(&self, kind: &str) -> Result<String> {
        self.sql(&format!("SELECT detail FROM journal WHERE kind = '{kind}' ORDER BY seq DESC LIMIT 1"))
    }

    /// `client add` without `--active`: the code.
    pub fn add(&self, who: &Newcomer, more: &[&str]) -> Result<String> {
        let args = [&["client", "add", "--address", "-", "--therapist", "exemple"], more].concat();
        let input = format!("{}\n", who.person.address);
        let out = self.play.scene.practice.run_with_input(&args, input.as_bytes())?.expect_ok()?;
        Ok(out.trim().to_owned())
    }
}

/// Somebody with a key and an address at client.example.
pub struct Newcomer {
    pub person: Person,
    dir: std::path::PathBuf,
}

impl Newcomer {
    pub fn new(stage: &Stage, name: &str) -> Result<Self> {
        let born = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).single().context("a real time")?;
        let lab = &stage.play.scene.lab;
        let person = Person::generate(lab, name, name, &format!("{name}@client.example"), born)?;
        Ok(Self { person, dir: lab.dir.clone() })
    }

    /// Takes the practice's key out of the invitation.
    pub fn meet(&self, invitation: &[u8]) -> Result<()> {
        let read = self.person.read(invitation)?;
        let key = read.attachments.iter().find(|(_, kind, _)| kind == "application/pgp-keys");
        self.person.import(&key.context("no key in the invitation")?.2)
    }

    pub fn answer(&self, raw: &[u8], text: &str) -> Result<Letter> {
        self.person.reply_to(raw, text)
    }

    pub fn with_key(&self, letter: Letter) -> Result<Letter> {
        Ok(letter.attach("OpenPGP_key.asc", "application/pgp-keys", &self.person.certificate()?))
    }

    pub fn with_autocrypt(&self, mut letter: Letter) -> Result<Letter> {
        let (key, _) = self.person.gpg(&["--export", &self.person.fingerprint], b"")?;
        let data = crate::common::mail::base64_lines(&key).trim_end().replace("\r\n", "\r\n ");
        let value = format!("addr={}; prefer-encrypt=mutual; keydata=\r\n {data}", self.person.address);
        letter.extra_headers.push(("Autocrypt".to_owned(), value));
        Ok(letter)
    }

    /// Another key under this person's name, and nothing but it.
    pub fn special(&self, algorithm: &str, usage: &str, old: bool, expiry: &str) -> Result<Vec<u8>> {
        let home = tempfile::tempdir()?;
        let user = format!("{} <{}>", self.person.name, self.person.address);
        let when = if old { "20200101T000000" } else { "20260101T000000" };
        let gpg = |args: &[&str]| -> Result<Vec<u8>> {
            let out = std::process::Command::new("gpg")
                .env("GNUPGHOME", home.path())
                .args(["--batch", "--no-tty", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""])
                .args(["--faked-system-time", when])
                .args(args)
                .output()?;
            ensure!(out.status.success(), "gpg {args:?}: {}", String::from_utf8_lossy(&out.stderr));
            Ok(out.stdout)
        };
        gpg(&["--quick-generate-key", &user, algorithm, usage, expiry])?;
        let bytes = gpg(&["--armor", "--export"]);
        let _ =
            std::process::Command::new("gpgconf").arg("--homedir").arg(home.path()).args(["--kill", "all"]).output();
        bytes
    }

    /// The certificate in a file, for the command line.
    pub fn file(&self) -> Result<String> {
        let file = self.dir.join(format!("{}.asc", self.person.name));
        Ok(self.person.certificate_file(&file)?.to_string_lossy().into_owned())
    }
}
