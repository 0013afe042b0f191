//! One practice at work: put a mail into its mailbox, let one pass go by, look at everything that changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::common::mail::{field, find, headers};
use crate::common::scene::{OFFICE, Scene, march};
use crate::common::{Lab, LabOptions, Letter, Person, PracticeOptions, Read, Smtp, canary};

/// The fields that a mail server may see of Cadre's mail, and nothing else (THREATS 12).
const OUTSIDE: [&str; 11] = [
    "date",
    "from",
    "to",
    "subject",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "autocrypt",
    "auto-submitted",
];
/// What Postfix, the relay and Dovecot put in front.
const TRACE: [&str; 3] = ["return-path", "delivered-to", "received"];

/// What one pass brought about.
pub struct Seen {
    pub counts: Value,
    /// Messages new in Marie's and Paul's threads, in that order.
    pub marie: Vec<Value>,
    pub paul: Vec<Value>,
    /// New mails of each, opened by their own GnuPG.
    pub to_therapist: Vec<Read>,
    pub raw_to_therapist: Vec<Vec<u8>>,
    pub to_marie: Vec<Read>,
    pub to_paul: Vec<Read>,
}

impl Seen {
    /// The one incoming message that is new in a thread.
    pub fn only(messages: &[Value]) -> Result<&Value> {
        let incoming: Vec<&Value> = messages.iter().filter(|m| m["direction"] == "in").collect();
        ensure!(incoming.len() == 1, "{messages:#?}");
        Ok(incoming[0])
    }

    pub fn no_mail(&self) -> Result<()> {
        let all: Vec<&str> = [&self.to_therapist, &self.to_marie, &self.to_paul]
            .iter()
            .flat_map(|m| m.iter())
            .map(|m| &*m.subject)
            .collect();
        ensure!(all.is_empty(), "mail went out: {all:?}");
        Ok(())
    }

    /// The therapist's new mail whose subject has these words.
    pub fn told(&self, words: &str) -> Result<&Read> {
        let found = self.to_therapist.iter().find(|mail| mail.subject.contains(words));
        found.with_context(|| format!("no {words:?} among {:?}", subjects(&self.to_therapist)))
    }
}

pub fn subjects(mails: &[Read]) -> Vec<&str> {
    mails.iter().map(|mail| &*mail.subject).collect()
}

pub struct Desk {
    pub scene: Scene,
    pub now: DateTime<Utc>,
    read: BTreeMap<String, usize>,
    known: BTreeSet<String>,
    secrets: Vec<String>,
    /// The one folder for temporary files, which stays empty.
    temporary: PathBuf,
}

/// The lab's own relay takes the place of Postfix: it starts in a tenth of a second.
pub fn light() -> LabOptions {
    LabOptions { smtp: Smtp::Relay, ..LabOptions::default() }
}

pub fn each() -> PracticeOptions {
    PracticeOptions { forward: "each".into(), ..PracticeOptions::default() }
}

impl Desk {
    /// Monday, 2 March 2026, nine o'clock in Paris; the digest has gone.
    pub fn open(lab: LabOptions, options: PracticeOptions) -> Result<Self> {
        let mut scene = Scene::with(Lab::with(lab)?, options)?;
        let temporary = scene.lab.dir.join("tmp");
        fs::create_dir_all(&temporary)?;
        scene.practice.env("TMPDIR", &temporary.to_string_lossy());
        scene.practice.env("CADRE_LOG", "trace");
        let now = march(2, 8, 0);
        scene.practice.once(now)?;
        let mut desk =
            Self { scene, now, read: BTreeMap::new(), known: BTreeSet::new(), secrets: Vec::new(), temporary };
        desk.look(Value::Null)?;
        Ok(desk)
    }

    /// From now on these words are looked for on every disk after every pass.
    pub fn secret(&mut self, words: &[&str]) {
        self.secrets.extend(words.iter().map(|word| (*word).to_owned()));
    }

    /// `explain --json` of a mail that isn't in the mailbox.
    pub fn explain(&self, raw: &[u8]) -> Result<Value> {
        self.scene.practice.set_time(self.now)?;
        let out = self.scene.practice.run_with_input(&["explain", "-", "--json"], raw)?.expect_ok()?;
        serde_json::from_str(&out).with_context(|| out)
    }

    pub fn put(&self, raw: &[u8]) -> Result<()> {
        self.scene.lab.append(OFFICE, "INBOX", raw, None)
    }

    /// Puts a mail into INBOX and lets one pass go by a minute later.
    pub fn play(&mut self, raw: &[u8]) -> Result<Seen> {
        self.put(raw)?;
        self.pass()
    }

    pub fn pass(&mut self) -> Result<Seen> {
        self.wait(TimeDelta::minutes(1))
    }

    /// Lets time go by, then one pass.
    pub fn wait(&mut self, time: TimeDelta) -> Result<Seen> {
        self.now += time;
        let out = self.scene.practice.run_at(self.now, &["run", "--once", "--json"])?;
        // What the system's journal would keep lies beside the database and is searched with it.
        let mut log = fs::OpenOptions::new().create(true).append(true).open(self.scene.disk().join("passes.log"))?;
        log.write_all(out.stderr.as_bytes())?;
        let counts = serde_json::from_str(&out.expect_ok()?)?;
        if self.scene.lab.options().smtp == Smtp::Postfix {
            self.scene.lab.wait_queue_empty()?;
        }
        self.look(counts)
    }

    pub fn letter(&self, subject: &str, text: &str) -> Letter {
        Letter::new(OFFICE, subject, text).at(self.now)
    }

    fn look(&mut self, counts: Value) -> Result<Seen> {
        let marie = self.fresh(&self.scene.c1.clone())?;
        let paul = self.fresh(&self.scene.c2.clone())?;
        let raw_to_therapist = self.unread(&self.scene.therapist.address.clone())?;
        let raw_to_marie = self.unread(&self.scene.marie.address.clone())?;
        let raw_to_paul = self.unread(&self.scene.paul.address.clone())?;
        let to_therapist = self.opened(&self.scene.therapist, &raw_to_therapist)?;
        let to_marie = self.opened(&self.scene.marie, &raw_to_marie)?;
        let to_paul = self.opened(&self.scene.paul, &raw_to_paul)?;
        self.nothing_at_rest()?;
        Ok(Seen { counts, marie, paul, to_therapist, raw_to_therapist, to_marie, to_paul })
    }

    fn opened(&self, person: &Person, raw: &[Vec<u8>]) -> Result<Vec<Read>> {
        raw.iter()
            .map(|raw| {
                let read = person.read(raw)?;
                self.travels_well(&read).with_context(|| format!("to {}: {:?}", person.address, read.subject))?;
                Ok(read)
            })
            .collect()
    }

    /// What holds for every mail of Cadre's: the outside is bare, it is signed by the practice when its
    /// Date says, the real header is protected in both forms (SPEC section 13).
    pub fn travels_well(&self, read: &Read) -> Result<()> {
        for (name, _) in &read.outer {
            let name = name.to_ascii_lowercase();
            ensure!(OUTSIDE.contains(&&*name) || TRACE.contains(&&*name), "the outside shows {name}");
        }
        ensure!(read.signed_by(&self.scene.office.fingerprint), "not signed by the practice: {:?}", read.status);
        let made = read.signature.as_ref().context("no signature")?.made;
        let date = DateTime::parse_from_rfc2822(read.outer("Date").context("no Date")?)?;
        ensure!((date.to_utc() - made).abs() < TimeDelta::minutes(1), "Date {date}, signed {made}");
        let autocrypt = read.outer("Autocrypt").context("no Autocrypt header")?;
        ensure!(autocrypt.contains("addr=ecrire@cabinet.example"), "{autocrypt}");
        ensure!(autocrypt.contains("prefer-encrypt=mutual"), "{autocrypt}");
        let from = read.outer("From").unwrap_or_default();
        ensure!(from.contains(OFFICE) && !from.contains("dr@exemple"), "{from}");
        if !read.decrypted {
            return Ok(());
        }
        ensure!(read.outer("Subject") == Some("[...]"), "{:?}", read.outer("Subject"));
        let kind = read.inner("Content-Type").context("no inner Content-Type")?;
        for wanted in ["multipart/mixed", "protected-headers=\"v1\"", "hp=\"cipher\""] {
            ensure!(kind.contains(wanted), "{kind}");
        }
        for name in ["From", "To", "Date", "Message-ID"] {
            ensure!(read.inner(name) == read.outer(name), "{name}: {:?} and {:?}", read.inner(name), read.outer(name));
        }
        ensure!(read.inner.iter().any(|(n, v)| n == "HP-Outer" && v == "Subject: [...]"), "{:?}", read.inner);
        Ok(())
    }

    fn fresh(&mut self, code: &str) -> Result<Vec<Value>> {
        let thread = self.scene.thread(code)?;
        let messages = thread["messages"].as_array().cloned().unwrap_or_default();
        Ok(messages.into_iter().filter(|m| self.known.insert(m["id"].to_string())).collect())
    }

    /// Mails of an address that weren't looked at before.
    pub fn unread(&mut self, address: &str) -> Result<Vec<Vec<u8>>> {
        let all = self.scene.lab.mails(address, "INBOX")?;
        let read = self.read.insert(address.to_owned(), all.len()).unwrap_or(0);
        Ok(all.into_iter().skip(read).collect())
    }

    /// Database, WAL, logs, configuration, IMAP folders, temporary files: none has a word of a letter.
    pub fn nothing_at_rest(&self) -> Result<()> {
        let left: Vec<_> = fs::read_dir(&self.temporary)?.flatten().map(|e| e.path()).collect();
        ensure!(left.is_empty(), "temporary files: {left:?}");
        let words: Vec<&str> = self.secrets.iter().map(String::as_str).collect();
        let mail = self.scene.lab.mail_root().join(OFFICE);
        let mut found = canary(&[self.scene.disk(), &mail], &words)?;
        // Dovecot notes the outer subject of what it delivers; what only a person can judge, and what strangers
        // and machines write, lies as it came.
        let outside = ["/dovecot.", "/.Cadre.Attention/", "/.Cadre.Others/", "/.Cadre.Done/", "/.Junk/"];
        found.retain(|hit| !outside.iter().any(|part| hit.file.to_string_lossy().contains(part)));
        found.extend(canary(&[self.scene.disk()], &["marie@client.example", "paul@client.example"])?);
        ensure!(found.is_empty(), "{found:?}");
        Ok(())
    }

    /// How many mails a folder of the practice's has.
    pub fn folder(&self, levels: &[&str]) -> Result<usize> {
        Ok(self.scene.lab.mails(OFFICE, &self.scene.lab.folder(levels))?.len())
    }

    pub fn explained(&self, raw: &[u8], verdict: &str, action: &str, client: Option<&str>) -> Result<Value> {
        let said = self.explain(raw)?;
        ensure!(said["verdict"] == verdict && said["action"] == action, "{said:#}");
        ensure!(said["client"] == client.map_or(Value::Null, Value::from), "{said:#}");
        ensure!(said["reasons"].as_array().is_some_and(|r| !r.is_empty()), "{said:#}");
        Ok(said)
    }
}

/// The mail with one outer field set, or removed where `value` is empty.
pub fn with_field(raw: &[u8], name: &str, value: &str) -> Vec<u8> {
    let end = find(raw, b"\r\n\r\n").unwrap_or(raw.len());
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let mut out = String::new();
    let mut skipping = false;
    for line in head.split("\r\n") {
        if !line.starts_with([' ', '\t']) {
            skipping = line.split(':').next().is_some_and(|n| n.eq_ignore_ascii_case(name));
        }
        if !skipping {
            out.push_str(line);
            out.push_str("\r\n");
        }
    }
    if !value.is_empty() {
        out.insert_str(0, &format!("{name}: {value}\r\n"));
    }
    [out.as_bytes(), &raw[end + 2..]].concat()
}

/// The armored block of a mail, and the mail with another one in its place.
pub fn with_armor(raw: &[u8], change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Result<Vec<u8>> {
    let (begin, end) = ("-----BEGIN PGP MESSAGE-----", "-----END PGP MESSAGE-----");
    let text = String::from_utf8(raw.to_vec())?;
    let start = text.find(begin).context("no armor")? + begin.len();
    let stop = text.find(end).context("no end of the armor")?;
    let lines = text[start..stop].lines().filter(|line| !line.contains(':') && !line.starts_with('='));
    let binary = STANDARD.decode(lines.collect::<String>())?;
    let encoded = STANDARD.encode(change(binary));
    let lines: Vec<&str> = encoded.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).unwrap_or_default()).collect();
    Ok(format!("{}\r\n\r\n{}\r\n{}", &text[..start], lines.join("\r\n"), &text[stop..]).into_bytes())
}

/// Replaces the first occurrence of `from`, which must be there.
pub fn replaced(raw: &[u8], from: &str, to: &str) -> Result<Vec<u8>> {
    let at = find(raw, from.as_bytes()).with_context(|| format!("{from:?} isn't in the mail"))?;
    Ok([&raw[..at], to.as_bytes(), &raw[at + from.len()..]].concat())
}

pub fn message_id(raw: &[u8]) -> String {
    field(&headers(raw), "Message-ID").unwrap_or_default().to_owned()
}

/// An armored block as its lines and its bytes.
pub fn armor_of(armor: &[u8]) -> Result<(String, Vec<u8>)> {
    let mut inside = None;
    with_armor(armor, |bytes| {
        inside = Some(bytes.clone());
        bytes
    })?;
    Ok((String::from_utf8(armor.to_vec())?, inside.context("no armor")?))
}

/// French typography's fixed spaces and apostrophes as plain ones.
pub fn spaces(text: &str) -> String {
    text.replace(['\u{a0}', '\u{202f}'], " ").replace('\u{2019}', "'")
}
