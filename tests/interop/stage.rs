//! A practice with many correspondents: one client a key, its own key as `cadre init` makes it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use cadre::pgp::{self, Limits, PracticeKey};
use chrono::{DateTime, TimeDelta, Utc};
use mail_parser::{MessageParser, MimeHeaders as _, PartType};
use serde_json::Value;

use super::world::{Key, World};
use crate::common::mail::children;
use crate::common::scene::OFFICE;
use crate::common::{Caught, Lab, Letter, Person, Practice, PracticeOptions};

/// Everything that the tests talk to. Fields are dropped in this order: the servers last.
pub struct Stage {
    pub practice: Practice,
    pub therapist: Person,
    /// The practice's certificate, as correspondents have it.
    pub office: Key,
    therapist_key: PracticeKey,
    pub world: World,
    _office: Person,
    pub lab: Lab,
}

/// A mail of Cadre's as somebody reads it.
pub struct Page {
    pub subject: String,
    /// Every text, one after another.
    pub text: String,
    /// Name and bytes.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Stage {
    pub fn new(lab: Lab, at: DateTime<Utc>, options: &PracticeOptions) -> Result<Self> {
        let world = World::new(&lab, at)?;
        let office = office(&world, at)?;
        let holder = Person::with_key(&lab, "office", "", OFFICE, &office.secret_file)?;
        let therapist = Person::persona(&lab, "exemple")?;
        let practice = Practice::write(&lab, &Practice::built_binary()?, &holder, &therapist, options)?;
        practice.set_time(at)?;
        let therapist_key = PracticeKey::load(&therapist.secret_key()?, None)?;
        Ok(Self { practice, therapist, office, therapist_key, world, _office: holder, lab })
    }

    /// The practice's clock and everybody's.
    pub fn set_time(&self, at: DateTime<Utc>) -> Result<()> {
        self.world.set_time(at);
        self.practice.set_time(at)
    }

    /// `client add --active` with this key's certificate; the code, or what was said against it.
    pub fn enrol(&self, key: &Key) -> Result<String> {
        let certificate = key.certificate_file.display().to_string();
        let args = ["client", "add", "--address", &key.address, "--therapist", "exemple", "--certificate"];
        let rest = [certificate.as_str(), "--active", "--consent-note", "on paper, 1 March"];
        let out = self.practice.run(&[&args[..], &rest[..]].concat())?;
        ensure!(out.ok(), "{}", out.stderr.trim());
        Ok(out.stdout.trim().to_owned())
    }

    /// What the SMTP listener took, in order.
    pub fn mails(&self) -> Vec<Caught> {
        self.lab.sink.as_ref().map(|sink| sink.mails()).unwrap_or_default()
    }

    /// A mail to the therapist, opened in this process: a hundred of them take no time.
    pub fn therapist_reads(&self, raw: &[u8]) -> Result<Page> {
        let parts = children(raw)?;
        let armor = parts.get(1).context("not PGP/MIME")?;
        let at = armor.windows(5).position(|five| five == b"-----").context("no armor")?;
        let opened =
            pgp::open(&armor[at..], &[&self.therapist_key], &Vec::new(), self.world.now(), &Limits::default())?;
        page(opened.plaintext.as_bytes())
    }

    /// The incoming letters of a client's thread with their verdicts.
    pub fn verdicts(&self, code: &str) -> Result<Vec<String>> {
        let thread = self.practice.json(&["thread", code])?;
        let messages = thread["messages"].as_array().cloned().unwrap_or_default();
        let incoming = messages.iter().filter(|message| message["direction"] == "in");
        Ok(incoming.map(|m| format!("{} {}", m["verdict"].as_str().unwrap_or("none"), word(&m["state"]))).collect())
    }

    /// Answers a forward as a mail program would, with a file attached.
    pub fn answer(&self, forward: &[u8], text: &str, file: (&str, &[u8]), at: DateTime<Utc>) -> Result<()> {
        let letter: Letter = self.therapist.reply_to(forward, text)?.at(at).attach(file.0, "text/plain", file.1);
        self.therapist.deliver(&self.lab, &letter).map(drop)
    }
}

/// The practice's key, as `cadre init` makes it.
pub fn office(world: &World, at: DateTime<Utc>) -> Result<Key> {
    let made = PracticeKey::generate(OFFICE, None, at - TimeDelta::days(30))?;
    Key::new(world, "office", OFFICE, made.secret.to_vec(), made.certificate.clone())
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The texts and files of a decrypted entity.
pub fn page(entity: &[u8]) -> Result<Page> {
    let message = MessageParser::default().parse(entity).context("not a mail")?;
    let mut page =
        Page { subject: message.subject().unwrap_or_default().to_owned(), text: String::new(), files: Vec::new() };
    for part in &message.parts {
        let name = part.attachment_name().unwrap_or_default().to_owned();
        match &part.body {
            PartType::Text(text) if name.is_empty() => {
                page.text.push_str(text);
                page.text.push('\n');
            }
            PartType::Multipart(_) | PartType::Html(_) => {}
            _ => page.files.push((name, part.contents().to_vec())),
        }
    }
    Ok(page)
}

/// The armored part of a `multipart/encrypted`.
pub fn ciphertext(raw: &[u8]) -> Result<Vec<u8>> {
    let parts = children(raw)?;
    let data = parts.get(1).context("not PGP/MIME")?;
    let at = data.windows(5).position(|five| five == b"-----").context("no armor")?;
    Ok(data[at..].to_vec())
}

/// Counts by state, for a failed assertion.
pub fn census(words: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word.clone()).or_default() += 1;
    }
    counts
}

/// Keeps a mail that went wrong where it can be looked at.
pub fn keep(name: &str, raw: &[u8]) -> Result<String> {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.eml"));
    fs::write(&file, raw)?;
    Ok(file.display().to_string())
}
