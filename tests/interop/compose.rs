//! Mails around what an OpenPGP program made: PGP/MIME (RFC 3156) and inline.

use anyhow::Result;
use chrono::{DateTime, Utc};

use super::program::{How, Program};
use super::world::{Key, World};
use crate::common::mail::{encoded, file_part, multipart, nonce, rfc5322, text_part};
use crate::common::scene::OFFICE;

/// How a letter is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    SignedEncrypted,
    Signed,
    Encrypted,
    /// RFC 3156 section 6.1: the detached signature within the encryption.
    DetachedInside,
    Hidden,
    Inline,
    InlineSigned,
}

impl Form {
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::SignedEncrypted, "signed+encrypted"),
        (Self::Signed, "signed"),
        (Self::Encrypted, "encrypted"),
        (Self::DetachedInside, "detached inside"),
        (Self::Hidden, "hidden recipient"),
        (Self::Inline, "inline"),
        (Self::InlineSigned, "inline signed"),
    ];

    pub fn has_file(self) -> bool {
        !matches!(self, Self::Inline | Self::InlineSigned)
    }

    /// What Cadre has to find.
    pub fn verdict(self) -> &'static str {
        if self == Self::Encrypted { "unsigned" } else { "verified" }
    }
}

/// The entity that is signed or encrypted: a text and a file.
pub fn payload(text: &str, file: &[u8]) -> String {
    multipart("mixed", "", "", &[text_part("text/plain", text), file_part("carnet.txt", "text/plain", file)])
}

/// The header of a mail to the practice, without MIME fields.
pub fn head(from: &str, subject: &str, at: DateTime<Utc>) -> String {
    let domain = from.rsplit('@').next().unwrap_or("example");
    format!(
        "From: {from}\r\nTo: {OFFICE}\r\nSubject: {}\r\nMessage-ID: <{}@{domain}>\r\nDate: {}\r\nMIME-Version: 1.0\r\n",
        encoded(subject),
        nonce(),
        rfc5322(at)
    )
}

fn crlf(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\n', "\r\n")
}

/// PGP/MIME encryption around an armored message.
pub fn encrypted(armor: &[u8]) -> String {
    let version = "Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n".to_owned();
    let data = format!("Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\r\n{}", crlf(armor));
    multipart("encrypted", ";\r\n protocol=\"application/pgp-encrypted\"", "", &[version, data])
}

/// PGP/MIME signature beside the entity that it covers.
pub fn signed(covered: &str, signature: &[u8]) -> String {
    let part = format!("Content-Type: application/pgp-signature; name=\"signature.asc\"\r\n\r\n{}", crlf(signature));
    let parameters = "; micalg=\"pgp-sha512\";\r\n protocol=\"application/pgp-signature\"";
    multipart("signed", parameters, "", &[covered.to_owned(), part])
}

/// A text whose every line is OpenPGP's.
pub fn inline(armor: &[u8]) -> String {
    format!("Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}", crlf(armor))
}

/// Who writes to whom with which program.
pub struct Pen<'a> {
    pub world: &'a World,
    pub program: &'a dyn Program,
    pub key: &'a Key,
    pub office: &'a Key,
}

impl Pen<'_> {
    /// A detached signature's container around `payload`; the line end before the boundary isn't covered.
    pub fn sign(&self, payload: &str) -> Result<String> {
        let covered = payload.strip_suffix("\r\n").unwrap_or(payload);
        Ok(signed(covered, &self.program.sign(self.world, self.key, covered.as_bytes())?))
    }

    pub fn encrypt(&self, data: &[u8], how: How) -> Result<Vec<u8>> {
        self.program.encrypt(self.world, self.key, self.office, data, how)
    }

    /// The body of a letter in a form, with its MIME header.
    pub fn body(&self, form: Form, text: &str, file: &[u8]) -> Result<String> {
        let whole = payload(text, file);
        let sign = How { sign: true, hidden: false };
        Ok(match form {
            Form::Signed => self.sign(&whole)?,
            Form::SignedEncrypted => encrypted(&self.encrypt(whole.as_bytes(), sign)?),
            Form::Encrypted => encrypted(&self.encrypt(whole.as_bytes(), How::default())?),
            Form::Hidden => encrypted(&self.encrypt(whole.as_bytes(), How { hidden: true, ..sign })?),
            Form::DetachedInside => {
                let inside = self.sign(&whole)?;
                encrypted(&self.encrypt(inside.as_bytes(), How::default())?)
            }
            Form::Inline => inline(&self.encrypt(text.as_bytes(), sign)?),
            Form::InlineSigned => inline(&self.program.clearsign(self.world, self.key, text)?),
        })
    }

    /// The whole mail.
    pub fn letter(&self, form: Form, subject: &str, text: &str, file: &[u8]) -> Result<Vec<u8>> {
        let body = self.body(form, text, file)?;
        Ok((head(&self.key.address, subject, self.world.now()) + &body).into_bytes())
    }
}
