//! Writing mail: RFC 3156 containers with header protection by RFC 9788 (SPEC section 13).
//!
//! Everything written is 7-bit with CRLF, so no server on the way has a reason to rewrite it. Dates are in UTC:
//! a time zone says where somebody is.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::encode::{base64_body, header_text, params_name, phrase, quoted_printable};
use super::limits::Limits;
use super::tree::{Entity, to_crlf};
use crate::model::Address;

/// What stands outside of an encrypted mail instead of its subject.
pub const HIDDEN_SUBJECT: &str = "[...]";

/// The only fields that an outgoing mail may show (THREATS 12), lower case.
pub const OUTER_HEADERS: &[&str] = &[
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

/// A part of an outgoing mail.
#[derive(Clone, PartialEq, Eq)]
pub enum OutPart {
    Text(String),
    /// Already safe HTML.
    Html(String),
    Alternative {
        text: String,
        html: String,
    },
    File {
        name: String,
        media_type: String,
        bytes: Zeroizing<Vec<u8>>,
    },
}

impl OutPart {
    /// About how many octets it is when it is written.
    fn written(&self) -> usize {
        match self {
            Self::Text(text) | Self::Html(text) => text.len() * 3 / 2,
            Self::Alternative { text, html } => (text.len() + html.len()) * 3 / 2,
            Self::File { bytes, .. } => bytes.len() / 3 * 4 + bytes.len() / 24,
        }
    }
}

/// An outgoing mail before cryptography.
#[derive(Clone)]
pub struct Outgoing {
    pub from_display: String,
    pub from: Address,
    pub to: Vec<Address>,
    pub subject: String,
    /// Subject outside of the encryption; [`HIDDEN_SUBJECT`] when `None`. A clear mail shows `subject`.
    pub outer_subject: Option<String>,
    /// Without `<>`, as from [`new_message_id`].
    pub message_id: String,
    pub in_reply_to: Option<String>,
    pub references: Vec<String>,
    pub date: DateTime<Utc>,
    /// Written by Cadre, not by a person: `Auto-Submitted: auto-replied` when it answers, else `auto-generated`.
    pub automatic: bool,
    /// Base64 of the practice's certificate for the Autocrypt field.
    pub autocrypt: Option<String>,
    pub parts: Vec<OutPart>,
}

/// Why a mail may not leave as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OuterHeaderError {
    #[error("the outgoing mail has the header field `{name}`, which is not on the list of what may leave")]
    NotAllowed { name: String },
    #[error("the outgoing mail has the header field `{name}` more than once")]
    Repeated { name: String },
    #[error("the outgoing mail lacks the header field `{name}`")]
    Missing { name: &'static str },
    #[error("the outgoing mail's header can't be read")]
    Unreadable,
}

/// `HEX@domain` from random bits: nothing of time, host or person.
pub fn new_message_id(random: [u8; 16], domain: &str) -> String {
    format!("{}@{domain}", data_encoding::HEXLOWER.encode(&random))
}

/// The payload that is signed and encrypted: multipart/mixed with protected fields and `HP-Outer`.
pub fn payload(mail: &Outgoing) -> Vec<u8> {
    let inner = fields(mail, &mail.subject);
    let outer = fields(mail, mail.outer_subject.as_deref().unwrap_or(HIDDEN_SUBJECT));
    let mut head: Vec<String> = inner.iter().map(|(n, v)| format!("{n}: {v}")).collect();
    head.extend(outer.iter().map(|(n, v)| format!("HP-Outer: {n}: {v}")));
    mixed(mail, &head, "cipher")
}

/// The mail that leaves, around what was encrypted (RFC 3156 section 4).
pub fn encrypted(mail: &Outgoing, armored: &[u8]) -> Vec<u8> {
    let boundary = boundary(mail, "e");
    let mut out = outer_head(mail, mail.outer_subject.as_deref().unwrap_or(HIDDEN_SUBJECT));
    out.push_str(&format!(
        "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\";\r\n boundary=\"{boundary}\"\r\n\r\n\
         --{boundary}\r\nContent-Type: application/pgp-encrypted\r\nContent-Description: PGP/MIME version identification\r\n\r\n\
         Version: 1\r\n\r\n\
         --{boundary}\r\nContent-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\
         Content-Description: OpenPGP encrypted message\r\n\
         Content-Disposition: inline; filename=\"encrypted.asc\"\r\n\r\n"
    ));
    let mut out = out.into_bytes();
    // Room for all at once, and no copy of what has its line ends already: a letter may be large.
    out.reserve_exact(armored.len() + boundary.len() + 16);
    let bare = armored.iter().enumerate().any(|(n, byte)| *byte == b'\n' && (n == 0 || armored[n - 1] != b'\r'));
    out.extend_from_slice(&if bare { Cow::Owned(to_crlf(armored)) } else { Cow::Borrowed(armored) });
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    out
}

/// A letter in clear with a detached signature (RFC 3156 section 5). `sign` gets the exact bytes to be signed and
/// returns an armored signature.
///
/// # Errors
/// Whatever `sign` fails with.
pub fn signed<E>(mail: &Outgoing, sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>) -> Result<Vec<u8>, E> {
    let head: Vec<String> = fields(mail, &mail.subject).iter().map(|(n, v)| format!("{n}: {v}")).collect();
    let mut content = mixed(mail, &head, "clear");
    // The line break before a boundary belongs to the boundary.
    while content.ends_with(b"\r\n") {
        content.truncate(content.len() - 2);
    }
    let signature = sign(&content)?;
    let boundary = boundary(mail, "s");
    let mut out = outer_head(mail, &mail.subject);
    out.push_str(&format!(
        "Content-Type: multipart/signed; micalg=pgp-sha512;\r\n protocol=\"application/pgp-signature\";\r\n \
         boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n"
    ));
    let mut out = out.into_bytes();
    out.extend_from_slice(&content);
    out.extend_from_slice(
        format!(
            "\r\n--{boundary}\r\nContent-Type: application/pgp-signature; name=\"signature.asc\"\r\n\
             Content-Description: OpenPGP digital signature\r\n\
             Content-Disposition: attachment; filename=\"signature.asc\"\r\n\r\n"
        )
        .as_bytes(),
    );
    out.extend_from_slice(&to_crlf(&signature));
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    Ok(out)
}

/// Compares the outer fields with [`OUTER_HEADERS`]: none else, none twice, none missing that must be there.
///
/// # Errors
/// [`OuterHeaderError`]; then the mail must not leave.
pub fn outer_headers_allowed(raw: &[u8]) -> Result<(), OuterHeaderError> {
    let entity = Entity::read_header(raw, &Limits::default()).map_err(|_| OuterHeaderError::Unreadable)?;
    if entity.raw.len() != raw.len() {
        return Err(OuterHeaderError::Unreadable);
    }
    let mut seen: Vec<String> = Vec::new();
    for field in &entity.fields {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        if !OUTER_HEADERS.contains(&name.as_str()) {
            let name = name.chars().filter(char::is_ascii_graphic).take(40).collect();
            return Err(OuterHeaderError::NotAllowed { name });
        }
        if seen.contains(&name) {
            return Err(OuterHeaderError::Repeated { name });
        }
        seen.push(name);
    }
    let needed = ["date", "from", "to", "subject", "message-id", "mime-version", "content-type"];
    match needed.into_iter().find(|n| !seen.iter().any(|s| s == n)) {
        Some(name) => Err(OuterHeaderError::Missing { name }),
        None => Ok(()),
    }
}

/// Whether this is exactly an RFC 3156 encrypted mail: two parts, nothing around them, nothing but armor inside.
pub fn is_multipart_encrypted(raw: &[u8]) -> bool {
    let limits = Limits { message: usize::MAX, ..Limits::default() };
    let Ok(entity) = Entity::read(raw, &limits) else { return false };
    let [control, data] = entity.children.as_slice() else { return false };
    entity.is("multipart/encrypted")
        && entity.kind.param_is("protocol", "application/pgp-encrypted")
        && entity.all("Content-Type").count() == 1
        && !entity.stray_text
        && control.is("application/pgp-encrypted")
        && control.body.trim_ascii() == b"Version: 1"
        && data.is("application/octet-stream")
        && data.field("Content-Transfer-Encoding").is_none()
        && is_armor(data.body.trim_ascii())
}

fn is_armor(body: &[u8]) -> bool {
    let Some(inside) =
        body.strip_prefix(b"-----BEGIN PGP MESSAGE-----").and_then(|b| b.strip_suffix(b"-----END PGP MESSAGE-----"))
    else {
        return false;
    };
    let mut lines = inside.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    if lines.next() != Some(b"".as_slice()) {
        return false;
    }
    let good = |line: &[u8]| line.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
    let mut data = 0;
    let mut head = true;
    for line in lines {
        match (head, line.is_empty()) {
            // No armor header: it would be text in clear.
            (true, false) => return false,
            (true, true) => head = false,
            (false, _) if !good(line) => return false,
            (false, _) => data += line.len(),
        }
    }
    data > 0
}

/// Names and values of the fields that stand inside and outside.
fn fields(mail: &Outgoing, subject: &str) -> Vec<(&'static str, String)> {
    let to: Vec<String> = mail.to.iter().map(wire).collect();
    let mut all = vec![
        ("From", mailbox(&mail.from_display, &mail.from)),
        ("To", to.join(",\r\n ")),
        ("Date", mail.date.format("%a, %d %b %Y %H:%M:%S +0000").to_string()),
        ("Subject", header_text(subject, "Subject: ".len())),
        ("Message-ID", format!("<{}>", id(&mail.message_id))),
    ];
    if let Some(parent) = &mail.in_reply_to {
        all.push(("In-Reply-To", format!("<{}>", id(parent))));
    }
    if !mail.references.is_empty() {
        let ids: Vec<String> = mail.references.iter().map(|r| format!("<{}>", id(r))).collect();
        all.push(("References", ids.join("\r\n ")));
    }
    all
}

fn outer_head(mail: &Outgoing, subject: &str) -> String {
    let mut out = String::new();
    for (name, value) in fields(mail, subject) {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    if mail.automatic {
        let word = if mail.in_reply_to.is_some() { "auto-replied" } else { "auto-generated" };
        out.push_str(&format!("Auto-Submitted: {word}\r\n"));
    }
    if let Some(key) = &mail.autocrypt {
        out.push_str(&format!("Autocrypt: addr={}; prefer-encrypt=mutual; keydata=", wire(&mail.from)));
        let signs: Vec<char> = key.chars().filter(|c| c.is_ascii_alphanumeric() || "+/=".contains(*c)).collect();
        for line in signs.chunks(72) {
            out.push_str("\r\n ");
            out.extend(line);
        }
        out.push_str("\r\n");
    }
    out.push_str("MIME-Version: 1.0\r\n");
    out
}

fn mixed(mail: &Outgoing, head: &[String], hp: &str) -> Vec<u8> {
    let boundary = boundary(mail, "m");
    // Room for all at once: growing would leave copies of the words behind, and take twice what a large letter needs.
    let mut out = String::with_capacity(mail.parts.iter().map(OutPart::written).sum::<usize>() + (16 << 10));
    for line in head {
        out.push_str(line);
        out.push_str("\r\n");
    }
    out.push_str(&format!(
        "Content-Type: multipart/mixed; boundary=\"{boundary}\";\r\n protected-headers=\"v1\"; hp=\"{hp}\"\r\n\r\n"
    ));
    for (index, part) in mail.parts.iter().enumerate() {
        out.push_str(&format!("--{boundary}\r\n"));
        write_part(&mut out, part, &self::boundary(mail, &format!("a{index}")));
        out.push_str("\r\n");
    }
    if mail.parts.is_empty() {
        out.push_str(&format!("--{boundary}\r\n"));
        write_part(&mut out, &OutPart::Text(String::new()), "");
        out.push_str("\r\n");
    }
    out.push_str(&format!("--{boundary}--\r\n"));
    out.into_bytes()
}

fn write_part(out: &mut String, part: &OutPart, boundary: &str) {
    match part {
        OutPart::Text(text) => write_text(out, "plain", text),
        OutPart::Html(html) => write_text(out, "html", html),
        OutPart::Alternative { text, html } => {
            out.push_str(&format!("Content-Type: multipart/alternative; boundary=\"{boundary}\"\r\n\r\n"));
            out.push_str(&format!("--{boundary}\r\n"));
            write_text(out, "plain", text);
            out.push_str(&format!("\r\n--{boundary}\r\n"));
            write_text(out, "html", html);
            out.push_str(&format!("\r\n--{boundary}--\r\n"));
        }
        OutPart::File { name, media_type, bytes } => {
            out.push_str(&format!(
                "Content-Type: {}\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n {}\r\n\r\n",
                media(media_type),
                params_name("filename", name)
            ));
            base64_body(out, bytes);
        }
    }
}

fn write_text(out: &mut String, subtype: &str, text: &str) {
    out.push_str(&format!(
        "Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    ));
    quoted_printable(out, text);
}

/// An event to be taken over into a calendar, without an answer (RFC 6047).
pub const CALENDAR: &str = "text/calendar; charset=utf-8; method=PUBLISH";

/// A media type that can't break out of its field.
fn media(media_type: &str) -> String {
    if media_type == CALENDAR {
        return media_type.to_owned();
    }
    let good = |w: &str| {
        !w.is_empty() && w.len() < 80 && w.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    match media_type.split_once('/') {
        // A file is never taken for a part that mail programs open or show by themselves.
        Some((t, s)) if good(t) && good(s) && !matches!(t, "multipart" | "message") => media_type.to_owned(),
        _ => "application/octet-stream".to_owned(),
    }
}

/// `=_` occurs neither in quoted-printable nor in base64, so no content can hold this boundary.
fn boundary(mail: &Outgoing, level: &str) -> String {
    let digest = Sha256::digest(mail.message_id.as_bytes());
    format!("=_{}{level}", data_encoding::HEXLOWER.encode(&digest[..12]))
}

fn mailbox(display: &str, address: &Address) -> String {
    let phrase = phrase(display);
    match phrase.len() {
        0 => wire(address),
        // Folded, so that the line stays short behind `HP-Outer: ` too.
        21.. => format!("{phrase}\r\n <{}>", wire(address)),
        _ => format!("{phrase} <{}>", wire(address)),
    }
}

/// The address with its domain as A-labels (RFC 5891), as SMTP wants it.
fn wire(address: &Address) -> String {
    let local = address.as_typed().rsplit_once('@').map_or("", |(local, _)| local);
    format!("{local}@{}", address.domain())
}

fn id(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() && !"<>".contains(*c)).collect()
}
