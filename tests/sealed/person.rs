//! Somebody with any mail program, a PDF reader and a passphrase; and the therapist's desk.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use mail_parser::{MessageParser, MimeHeaders as _};
use serde_json::Value;

use crate::common::play::{Play, Post, Round};
use crate::common::scene::OFFICE;
use crate::common::{Letter, ledger};

/// A mail as a person without OpenPGP sees it.
#[derive(Clone)]
pub struct Mail {
    pub raw: Vec<u8>,
    pub subject: String,
    pub text: String,
    /// Name and bytes of each attached PDF.
    pub documents: Vec<(String, Vec<u8>)>,
    phrase: Option<String>,
}

impl Mail {
    /// The sealed letter's text, as poppler reads it with the passphrase.
    pub fn letter(&self) -> Result<String> {
        let (_, bytes) = self.documents.first().with_context(|| format!("no document in {:?}", self.text))?;
        let phrase = self.phrase.as_deref().context("nobody knows a passphrase yet")?;
        let text = opened(bytes, phrase)?;
        ensure!(opened(bytes, "")?.is_empty(), "it opens without a passphrase");
        Ok(text)
    }

    /// The header that every server saw, and the names of what is attached.
    pub fn head(&self) -> String {
        let end = self.raw.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(self.raw.len());
        let head = String::from_utf8_lossy(&self.raw[..end]);
        // The key's own octets say nothing.
        let head: Vec<&str> = head.lines().filter(|line| !line.starts_with(' ')).collect();
        let names: Vec<&str> = self.documents.iter().map(|(name, _)| name.as_str()).collect();
        format!("{} {} {}", head.join("\n"), self.subject, names.join(" "))
    }

    /// The words at its end.
    pub fn words(&self) -> Result<String> {
        words_of(&self.letter()?)
    }
}

/// The last line of three lower-case words.
fn words_of(letter: &str) -> Result<String> {
    let is_words = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.len() == 3 && words.iter().all(|word| word.chars().all(char::is_lowercase))
    };
    let line = letter.lines().map(str::trim).filter(|line| !line.is_empty()).rfind(is_words);
    Ok(line.with_context(|| format!("no answer words in:\n{letter}"))?.to_owned())
}

/// What a letter says, opened by qpdf and read by poppler; empty where it doesn't open. (poppler's own programs cut a
/// passphrase after 32 characters.)
pub fn opened(bytes: &[u8], phrase: &str) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let (closed, open) = (dir.path().join("closed.pdf"), dir.path().join("open.pdf"));
    std::fs::write(&closed, bytes)?;
    let mut qpdf = Command::new("qpdf");
    let qpdf = qpdf.arg(format!("--password={phrase}")).arg("--decrypt").arg(&closed).arg(&open);
    let out = qpdf.output().context("qpdf (a Debian package; `make deps` installs it)")?;
    if !out.status.success() {
        return Ok(String::new());
    }
    let out = Command::new("pdftotext").arg(&open).arg("-").output().context("pdftotext (Debian's poppler-utils)")?;
    Ok(String::from_utf8(out.stdout)?)
}

/// Six words joined by hyphens, alone on a line.
pub fn phrase_in(text: &str) -> Option<String> {
    let is_phrase = |line: &&str| {
        let words: Vec<&str> = line.split('-').collect();
        words.len() == 6 && words.iter().all(|word| word.len() >= 4 && word.bytes().all(|b| b.is_ascii_lowercase()))
    };
    let words = text.split_whitespace().find(is_phrase);
    words.map(str::to_owned)
}

/// A client: an address, what came, and a passphrase.
pub struct Lea {
    pub address: String,
    pub mails: Vec<Mail>,
    phrase: Option<String>,
    sent: usize,
}

impl Lea {
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), mails: Vec::new(), phrase: None, sent: 0 }
    }

    /// She was told it by voice.
    pub fn knows(&mut self, phrase: &str) {
        self.phrase = Some(phrase.to_owned());
    }

    /// The one mail of a round that is hers.
    pub fn take(&mut self, round: &Round) -> Result<Mail> {
        let mut own = round.posts.iter().filter(|post| post.to.contains(&self.address));
        let post = own.next().with_context(|| format!("nothing for {}: {}", self.address, round.story()))?;
        ensure!(own.next().is_none(), "more than one mail for {}: {}", self.address, round.story());
        let parsed = MessageParser::default().parse(&post.raw).context("no mail")?;
        let is_pdf = |part: &&mail_parser::MessagePart<'_>| {
            part.content_type().is_some_and(|kind| kind.ctype() == "application" && kind.subtype() == Some("pdf"))
        };
        let mail = Mail {
            raw: post.raw.clone(),
            subject: parsed.subject().unwrap_or_default().to_owned(),
            text: parsed.body_text(0).unwrap_or_default().into_owned(),
            documents: parsed
                .attachments()
                .filter(is_pdf)
                .map(|part| (part.attachment_name().unwrap_or_default().to_owned(), part.contents().to_vec()))
                .collect(),
            phrase: self.phrase.clone(),
        };
        self.mails.push(mail.clone());
        Ok(mail)
    }

    pub fn newest_words(&self) -> Result<String> {
        self.mails.iter().rev().find(|mail| !mail.documents.is_empty()).context("no sealed letter yet")?.words()
    }

    /// A mail of its own.
    pub fn write(&mut self, subject: &str, text: &str) -> String {
        self.sent += 1;
        let text = text.replace('\n', "\r\n");
        format!(
            "From: Lea <{address}>\r\nTo: {OFFICE}\r\nSubject: =?utf-8?b?{subject}?=\r\nMessage-ID: <{sent}.{address}>\r\n\
             MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n",
            address = self.address,
            sent = self.sent,
            subject = data_encoding::BASE64.encode(subject.as_bytes()),
        )
    }

    pub fn phrase(&self) -> Option<String> {
        self.phrase.clone()
    }

    /// A mail with a file.
    pub fn with_file(&mut self, text: &str, name: &str, bytes: &[u8]) -> String {
        let mail = self.write("Un fichier", text);
        let (head, body) = mail.split_once("\r\n\r\n").unwrap_or((&mail, ""));
        let head = head.split("\r\nContent-Type").next().unwrap_or(head);
        format!(
            "{head}\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}\r\n--b\r\n\
             Content-Type: application/pdf; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n{}\r\n--b--\r\n",
            crate::common::mail::base64_lines(bytes)
        )
    }

    /// "Reply" to the newest mail, as webmails do: the mail quoted below.
    pub fn reply(&mut self, text: &str) -> String {
        let last = self.mails.last().cloned();
        let (subject, id, quoted) = last.map_or_else(Default::default, |mail| {
            let parsed = MessageParser::default().parse(&mail.raw);
            let id = parsed.and_then(|mail| mail.message_id().map(str::to_owned)).unwrap_or_default();
            let quoted: String = mail.text.lines().map(|line| format!("> {line}\n")).collect();
            (format!("Re: {}", mail.subject), id, quoted)
        });
        let text = format!("{text}\n\nLe lun. 2 mars 2026 à 10:00, <{OFFICE}> a écrit :\n{quoted}");
        let mail = self.write(&subject, &text);
        mail.replacen("MIME-Version", &format!("In-Reply-To: <{id}>\r\nReferences: <{id}>\r\nMIME-Version"), 1)
    }
}

/// The practice and its therapist.
pub struct Desk {
    pub play: Play,
}

impl Desk {
    pub fn open() -> Result<Self> {
        Ok(Self { play: Play::new()? })
    }

    /// A therapist's mail of its own, and the pass that obeys it.
    pub fn order(&self, text: &str, at: DateTime<Utc>) -> Result<Round> {
        let letter = Letter::new(OFFICE, "Cadre", text).at(at);
        self.play.scene.therapist.deliver(&self.play.scene.lab, &letter)?;
        self.pass(at + TimeDelta::seconds(30))
    }

    /// The therapist's answer to a mail of Cadre's, and the pass that obeys it.
    pub fn reply(&self, raw: &[u8], text: &str, at: DateTime<Utc>) -> Result<Round> {
        self.play.scene.answer(raw, text, at)?;
        self.pass(at + TimeDelta::seconds(30))
    }

    /// Somebody's mail as it travelled, and the pass that reads it.
    pub fn mail(&self, raw: &str, at: DateTime<Utc>) -> Result<Round> {
        let raw = format!("Date: {}\r\n{raw}", at.to_rfc2822());
        self.play.scene.lab.deliver("sender@client.example", OFFICE, raw.as_bytes())?;
        self.pass(at + TimeDelta::seconds(30))
    }

    pub fn pass(&self, at: DateTime<Utc>) -> Result<Round> {
        self.play.pass(at)
    }

    /// The therapist's mail of this round whose text has these words.
    pub fn told<'r>(&self, round: &'r Round, words: &str) -> Result<&'r Post> {
        let mut all = round.to(&self.play.scene.therapist);
        all.find(|post| post.read.text().contains(words)).with_context(|| format!("no {words:?}: {}", round.story()))
    }

    pub fn show(&self, code: &str) -> Result<Value> {
        self.play.scene.practice.json(&["client", "show", code])
    }

    pub fn state(&self, code: &str) -> Result<String> {
        Ok(self.show(code)?["state"].as_str().unwrap_or_default().to_owned())
    }

    pub fn sql(&self, statement: &str) -> Result<String> {
        ledger::sql(&self.play.scene.practice, statement)
    }
}
