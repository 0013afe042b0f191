//! Who writes and reads: keys made once, mail as a mail program with OpenPGP writes it, read again by its owner.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cadre::mime::{self, OutPart, Outgoing};
use cadre::model::Address;
use cadre::pgp::{self, Certificate, PracticeKey};
use chrono::{DateTime, TimeDelta, Utc};

use super::chance::Chance;

/// Somebody with an address and an OpenPGP key.
pub struct Person {
    pub address: Address,
    pub key: PracticeKey,
    /// As it was made: for the files of the practice.
    pub secret: Vec<u8>,
}

impl Person {
    pub fn new(address: &str, born: DateTime<Utc>) -> Self {
        let made = PracticeKey::generate(address, None, born).unwrap();
        let key = PracticeKey::load(&made.secret, None).unwrap();
        Self { address: Address::parse(address).unwrap(), key, secret: made.secret.to_vec() }
    }

    pub fn certificate(&self) -> &Certificate {
        self.key.certificate()
    }
}

/// How a mail is protected, and what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// Signed within the encryption.
    Sealed,
    /// PGP/MIME, signed only.
    Signed,
    /// Neither.
    Plain,
    /// Signed within the encryption by a key that nobody knows.
    Foreign,
    /// As `Sealed`, with some bytes of the ciphertext changed on the way.
    Damaged,
    /// Encrypted, but not to the practice.
    Elsewhere,
}

/// What somebody means to send to the practice.
#[derive(Clone)]
pub struct Draft {
    pub subject: String,
    pub text: String,
    pub date: DateTime<Utc>,
    pub references: Vec<String>,
    pub form: Form,
    /// `Auto-Submitted: auto-replied`.
    pub automatic: bool,
    /// Lines before all others, each with its line end.
    pub extra: String,
    /// The Autocrypt field's key.
    pub autocrypt: bool,
}

impl Draft {
    pub fn new(subject: &str, text: &str, date: DateTime<Utc>) -> Self {
        Self {
            subject: subject.to_owned(),
            text: text.to_owned(),
            date,
            references: Vec::new(),
            form: Form::Sealed,
            automatic: false,
            extra: String::new(),
            autocrypt: false,
        }
    }

    pub fn answering(mut self, id: &str) -> Self {
        self.references.push(id.to_owned());
        self
    }
}

/// A mail on its way, with its Message-ID.
pub struct Mailed {
    pub raw: Vec<u8>,
    pub id: String,
}

/// Writes `draft` from `from` as a mail to the practice; `other` is whose key a `Foreign` or `Elsewhere` one has.
pub fn write(from: &Person, practice: &Person, other: &Person, draft: &Draft, chance: &mut Chance) -> Mailed {
    let id = format!("{:016x}{:016x}@{}", chance.next(), chance.next(), from.address.domain());
    let autocrypt = draft.autocrypt.then(|| {
        let key = from.certificate().minimal_for_autocrypt(from.address.as_typed(), draft.date).unwrap();
        STANDARD.encode(key)
    });
    let mail = Outgoing {
        from_display: String::new(),
        from: from.address.clone(),
        to: vec![practice.address.clone()],
        subject: draft.subject.clone(),
        outer_subject: None,
        message_id: id.clone(),
        in_reply_to: draft.references.last().cloned(),
        references: draft.references.clone(),
        date: draft.date,
        automatic: draft.automatic,
        autocrypt,
        parts: vec![OutPart::Text(draft.text.clone())],
    };
    let seal = |signer: &Person, to: &Person| {
        let sealed = pgp::seal(mime::payload(&mail), &[to.certificate()], &signer.key, draft.date).unwrap();
        mime::encrypted(&mail, &sealed)
    };
    let body = match draft.form {
        Form::Sealed => seal(from, practice),
        Form::Foreign => seal(other, practice),
        Form::Elsewhere => seal(from, other),
        Form::Damaged => damaged(seal(from, practice)),
        Form::Signed => mime::signed(&mail, |bytes| pgp::sign_detached(bytes, &from.key, draft.date)).unwrap(),
        Form::Plain => plain(&mail, draft),
    };
    Mailed { raw: [draft.extra.as_bytes(), &body].concat(), id }
}

/// The middle of the ciphertext: the packet can still be read, its integrity check can't hold.
fn damaged(mut raw: Vec<u8>) -> Vec<u8> {
    let begin = raw.windows(5).rposition(|w| w == b"-----").unwrap_or(raw.len());
    let end = raw[..begin].windows(5).rposition(|w| w == b"-----").unwrap_or(begin);
    let middle = end - (end / 4);
    for sign in &mut raw[middle..middle + 40] {
        if matches!(*sign, b'A'..=b'Y' | b'a'..=b'y') {
            *sign += 1;
        }
    }
    raw
}

fn plain(mail: &Outgoing, draft: &Draft) -> Vec<u8> {
    let mut out = format!(
        "From: {}\r\nTo: {}\r\nDate: {}\r\nSubject: {}\r\nMessage-ID: <{}>\r\n",
        mail.from.as_typed(),
        mail.to[0].as_typed(),
        mail.date.format("%a, %d %b %Y %H:%M:%S +0000"),
        mail.subject,
        mail.message_id
    );
    if let Some(parent) = &mail.in_reply_to {
        out.push_str(&format!("In-Reply-To: <{parent}>\r\nReferences: <{parent}>\r\n"));
    }
    if draft.automatic {
        out.push_str("Auto-Submitted: auto-replied\r\n");
    }
    if let Some(key) = &mail.autocrypt {
        out.push_str(&format!("Autocrypt: addr={}; prefer-encrypt=mutual; keydata=\r\n ", mail.from.as_typed()));
        for line in key.as_bytes().chunks(72) {
            out.push_str(std::str::from_utf8(line).unwrap());
            out.push_str("\r\n ");
        }
        out.truncate(out.len() - 1);
    }
    out.push_str("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n");
    out.push_str("Content-Transfer-Encoding: 8bit\r\n\r\n");
    out.push_str(&draft.text.replace('\n', "\r\n"));
    out.push_str("\r\n");
    out.into_bytes()
}

/// A mail as its recipient reads it.
pub struct Read {
    /// Without `<>`.
    pub id: String,
    /// Of In-Reply-To and References.
    pub references: Vec<String>,
    pub from: String,
    /// Everything inside, soft line breaks taken out.
    pub text: String,
    pub sealed: bool,
    pub automatic: bool,
}

/// Opens a mail as `reader`, or says why that can't be done.
///
/// # Errors
/// What a person would see: it isn't for them, or its signature isn't the practice's.
pub fn read(raw: &[u8], reader: Option<&Person>, practice: &Person, now: DateTime<Utc>) -> Result<Read, String> {
    let head = head_of(raw);
    let sealed = mime::is_multipart_encrypted(raw);
    let inside = if sealed {
        let reader = reader.ok_or("sealed mail to somebody without a key")?;
        let text = String::from_utf8_lossy(raw);
        let begin = text.find("-----BEGIN PGP MESSAGE-----").ok_or("no armor")?;
        let end = text.find("-----END PGP MESSAGE-----").ok_or("no end of the armor")?;
        let armor = &raw[begin..end + "-----END PGP MESSAGE-----\r\n".len()];
        let known = vec![practice.certificate().clone()];
        let when = now + TimeDelta::minutes(20);
        let opened = pgp::open(armor, &[&reader.key], &known, when, &pgp::Limits::default())
            .map_err(|error| format!("the recipient can't open it: {error}"))?;
        if !matches!(opened.signature, pgp::SignatureCheck::Good(_)) {
            return Err("the practice's signature isn't good".to_owned());
        }
        opened.plaintext.as_bytes().to_vec()
    } else {
        raw.to_vec()
    };
    let text = String::from_utf8_lossy(&inside).replace("=\r\n", "");
    let field = |head: &[(String, String)], name: &str| {
        head.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone()).unwrap_or_default()
    };
    let references = format!("{} {}", field(&head, "In-Reply-To"), field(&head, "References"));
    Ok(Read {
        id: field(&head, "Message-ID").trim_matches(['<', '>']).to_owned(),
        references: references.split_whitespace().map(|id| id.trim_matches(['<', '>']).to_owned()).collect(),
        from: field(&head, "From"),
        text,
        sealed,
        automatic: !field(&head, "Auto-Submitted").is_empty(),
    })
}

fn head_of(raw: &[u8]) -> Vec<(String, String)> {
    crate::common::mail::headers(&raw[..raw.len().min(1 << 14)])
}

/// The words that the simulator put into letters: `zq`, a sign of their kind, eight digits.
pub fn marks(text: &str, kind: char) -> Vec<u32> {
    let start = format!("zq{kind}");
    let mut found: Vec<u32> =
        text.match_indices(&start).filter_map(|(at, _)| text.get(at + 3..at + 11)?.parse().ok()).collect();
    found.dedup();
    found
}
