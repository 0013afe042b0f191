//! What a mail says: text, safe HTML, attachments (SPEC section 9).

use zeroize::Zeroizing;

use super::html::{html_to_text, safe_html};
use super::limits::{Limits, MimeError};
use super::protected::{is_legacy_display, without_legacy_display};
use super::tree::Entity;

/// What an attachment is, by its bytes first, then its declared type, then its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttachmentClass {
    Plain,
    Picture,
    Pdf,
    /// Office documents; their metadata can be removed when they are OOXML or ODF.
    Document,
    Audio,
    Video,
    Calendar,
    /// Programs, scripts, active pages, macros: held.
    Executable,
    /// OpenPGP keys, signatures, encrypted files, S/MIME.
    Key,
    VCard,
    /// An attached mail, with the envelope of whoever wrote it.
    MessageRfc822,
    Unknown,
}

impl AttachmentClass {
    /// Whether such an attachment may go from one side to the other. Keys, cards, invitations and attached mails
    /// carry addresses and names; programs and what nobody knows are held.
    pub const fn passes_to_other_side(self) -> bool {
        matches!(self, Self::Plain | Self::Picture | Self::Pdf | Self::Document | Self::Audio | Self::Video)
    }

    /// Whether it is dropped without a word: it belongs to the envelope, not to the letter.
    pub const fn is_envelope(self) -> bool {
        matches!(self, Self::Key | Self::VCard)
    }
}

/// One attachment, out of its mail.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Neutral and safe, such as `document-2.pdf`: nothing of the sender's name for it.
    pub name: String,
    /// Lower case `type/subtype`.
    pub media_type: String,
    pub bytes: Zeroizing<Vec<u8>>,
    pub class: AttachmentClass,
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attachment({:?}, {} bytes)", self.class, self.bytes.len())
    }
}

/// The readable content of an entity.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// With `\n` line breaks, without control characters.
    pub text: String,
    /// Safe HTML, when the mail had any.
    pub html: Option<String>,
    /// In the order of the mail.
    pub attachments: Vec<Attachment>,
    /// Words of `text`, quotations included; see [`super::new_text`].
    pub words: usize,
    /// Whether there is any text to read.
    pub readable: bool,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Content({} words, {} attachments)", self.words, self.attachments.len())
    }
}

/// Reads an entity's content. Encrypted or attached mails inside are attachments and never opened.
///
/// # Errors
/// [`MimeError`] when a limit is passed.
pub fn content(entity: &[u8], limits: &Limits) -> Result<Content, MimeError> {
    let tree = Entity::read(entity, limits)?;
    let mut reader = Reader { limits, unpacked: 0, attachments: Vec::new() };
    let body = reader.read(&tree, true)?;
    let text = tidy(&body.text);
    let words = count_words(&text);
    Ok(Content {
        readable: words > 0,
        words,
        text,
        html: body.html.filter(|h| !h.trim().is_empty()),
        attachments: reader.attachments,
    })
}

/// Words as a person counts them: runs with at least one letter or digit.
pub fn count_words(text: &str) -> usize {
    text.split_whitespace().filter(|w| w.chars().any(char::is_alphanumeric)).count()
}

#[derive(Default)]
struct Body {
    text: String,
    html: Option<String>,
}

impl Body {
    fn add(&mut self, other: Self) {
        if other.text.is_empty() && other.html.is_none() {
            return;
        }
        if self.html.is_some() || other.html.is_some() {
            let mine = self.html.take().unwrap_or_else(|| text_to_html(&self.text));
            let theirs = other.html.unwrap_or_else(|| text_to_html(&other.text));
            self.html = Some(mine + &theirs);
        }
        if !self.text.is_empty() && !other.text.is_empty() {
            self.text.push_str(if self.text.ends_with('\n') { "\n" } else { "\n\n" });
        }
        self.text.push_str(&other.text);
    }
}

struct Reader<'l> {
    limits: &'l Limits,
    unpacked: usize,
    attachments: Vec<Attachment>,
}

impl Reader<'_> {
    fn read(&mut self, part: &Entity<'_>, body_place: bool) -> Result<Body, MimeError> {
        if part.is_multipart() && !part.children.is_empty() {
            return match part.kind.value.as_str() {
                "multipart/alternative" => self.alternative(part, body_place),
                "multipart/encrypted" => self.all(part, false),
                _ => self.all(part, body_place),
            };
        }
        let attached = part.disposition().value == "attachment";
        let named = part.file_name().is_some();
        let kind = part.kind.value.as_str();
        if is_legacy_display(part) {
            return Ok(Body::default());
        }
        let is_body = body_place && !attached && !(named && kind == "text/html");
        match kind {
            "text/plain" | "text/enriched" | "text/rfc822-headers" | "message/delivery-status" if is_body => {
                self.count(part.body.len())?;
                let text = without_legacy_display(part, part.text());
                Ok(Body { text: tidy(&text), html: None })
            }
            "text/html" if is_body => {
                self.count(part.body.len())?;
                let html = part.text();
                Ok(Body { text: html_to_text(&html), html: Some(safe_html(&html)) })
            }
            // A multipart whose boundary is missing reads as the text that it is.
            _ if part.is_multipart() => Ok(Body { text: tidy(&part.text()), html: None }),
            _ => {
                self.attach(part)?;
                Ok(Body::default())
            }
        }
    }

    fn all(&mut self, part: &Entity<'_>, body_place: bool) -> Result<Body, MimeError> {
        let mut body = Body::default();
        let related = part.is("multipart/related");
        for (index, child) in part.children.iter().enumerate() {
            let place = body_place && !(related && index > 0);
            let one = self.read(child, place)?;
            body.add(one);
        }
        Ok(body)
    }

    /// The plain text of the alternatives and the HTML of the alternatives, whatever their order.
    fn alternative(&mut self, part: &Entity<'_>, body_place: bool) -> Result<Body, MimeError> {
        let mut best = Body::default();
        let mut from_plain = false;
        for child in &part.children {
            let one = self.read(child, body_place)?;
            let plain = one.html.is_none() && !one.text.trim().is_empty();
            if plain && !from_plain {
                best.text = one.text;
                from_plain = true;
            } else if one.html.is_some() {
                if !from_plain && !one.text.is_empty() {
                    best.text = one.text;
                }
                best.html = one.html;
            }
        }
        Ok(best)
    }

    fn count(&mut self, bytes: usize) -> Result<(), MimeError> {
        self.unpacked = self.unpacked.saturating_add(bytes);
        if self.unpacked > self.limits.decompressed {
            return Err(MimeError::UnpacksTooLarge { limit: self.limits.decompressed });
        }
        Ok(())
    }

    fn attach(&mut self, part: &Entity<'_>) -> Result<(), MimeError> {
        if part.body.trim_ascii().is_empty() {
            return Ok(());
        }
        let bytes = Zeroizing::new(part.decoded());
        self.count(bytes.len())?;
        let given = part.file_name().unwrap_or_default();
        let extension = super::sniff::extension(&given);
        let (class, media_type) = super::sniff::classify(&bytes, &part.kind.value, &extension);
        let number = self.attachments.len() + 1;
        let name = super::sniff::neutral_name(class, &media_type, &extension, number);
        self.attachments.push(Attachment { name, media_type, bytes, class });
        Ok(())
    }
}

/// Text without control characters (tabs and line breaks stay) and without characters that reorder it.
fn tidy(text: &str) -> String {
    let reorders = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    text.chars().filter(|c| (!c.is_control() || matches!(c, '\n' | '\t')) && !reorders(*c)).collect()
}

fn text_to_html(text: &str) -> String {
    if text.trim().is_empty() {
        return String::new();
    }
    let safe = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    format!("<p>{}</p>", safe.trim_end().replace('\n', "<br>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mail: &str) -> Content {
        content(mail.as_bytes(), &Limits::default()).unwrap()
    }

    #[test]
    fn plain_text_wins_and_html_stays_beside_it() {
        let c = read(
            "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\none two\n\
             --b\nContent-Type: text/html\n\n<p>one <b>two</b></p>\n--b--\n",
        );
        assert_eq!((c.text.trim(), c.words), ("one two", 2));
        assert_eq!(c.html.as_deref(), Some("<p>one <b>two</b></p>"));
    }

    #[test]
    fn html_alone_gives_text() {
        let c = read("Content-Type: text/html\n\n<p>one</p><p>two</p>");
        assert_eq!(c.text, "one\n\ntwo");
        assert!(c.readable);
    }

    #[test]
    fn several_texts_are_read_in_order() {
        let c = read(
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: text/html\n\n<p>two</p>\n\
             --b\n\nthree <3\n--b--\n",
        );
        assert_eq!(c.text, "one\n\ntwo\n\nthree <3");
        assert_eq!(c.html.as_deref(), Some("<p>one</p><p>two</p><p>three &lt;3</p>"));
    }

    #[test]
    fn attachments_get_neutral_names_and_their_class_from_their_bytes() {
        let part = |kind: &str, name: &str, body: &str| {
            format!("--b\nContent-Type: {kind}\nContent-Disposition: attachment; filename=\"{name}\"\n\n{body}\n")
        };
        let mail = format!(
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n{}{}{}{}{}{}{}{}{}--b--\n",
            part("application/octet-stream", "../../Marie Dupont.pdf", "%PDF-1.4"),
            part("image/jpeg", "holiday.jpg", "MZ\u{1}\u{2}"),
            part("text/plain", "run.sh", "#!/bin/sh"),
            part("application/pgp-keys", "k.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----"),
            part("text/vcard", "me.vcf", "BEGIN:VCARD"),
            part("message/rfc822", "mail.eml", "Subject: x\n\ny"),
            part("application/octet-stream", "a.pdf\u{202e}fdp.exe", "x"),
            part("application/ms-tnef", "winmail.dat", "x"),
            part("text/plain", "notes.txt", "x"),
        );
        let c = read(&mail);
        let seen: Vec<_> = c.attachments.iter().map(|a| (a.name.as_str(), a.class)).collect();
        use AttachmentClass::*;
        assert_eq!(
            seen,
            [
                ("document-1.pdf", Pdf),
                ("file-2.bin", Executable),
                ("file-3.bin", Executable),
                ("key-4.asc", Key),
                ("card-5.vcf", VCard),
                ("message-6.eml", MessageRfc822),
                ("file-7.bin", Executable),
                ("file-8.bin", Unknown),
                ("text-9.txt", Plain),
            ]
        );
        assert_eq!(seen.iter().filter(|(_, c)| c.passes_to_other_side()).count(), 2);
    }

    #[test]
    fn an_encrypted_mail_inside_is_an_attachment() {
        let c = read(
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nsee\n--b\nContent-Type: message/rfc822\n\n\
             Content-Type: multipart/encrypted; boundary=c\n\n--c\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n\
             --c\nContent-Type: application/octet-stream\n\n-----BEGIN PGP MESSAGE-----\n--c--\n--b--\n",
        );
        assert_eq!(c.text.trim(), "see");
        assert_eq!(c.attachments.len(), 1);
        assert_eq!(c.attachments[0].class, AttachmentClass::MessageRfc822);
    }

    #[test]
    fn a_legacy_display_part_is_not_shown() {
        let c = read(
            "Content-Type: multipart/mixed; boundary=b; protected-headers=v1\n\n--b\n\
             Content-Type: text/rfc822-headers; protected-headers=v1\n\nSubject: x\n--b\n\nhello\n--b--\n",
        );
        assert_eq!(c.text.trim(), "hello");
        let c = read("Content-Type: text/plain; hp-legacy-display=\"1\"\n\nSubject: x\n\nhello\n");
        assert_eq!(c.text.trim(), "hello");
    }
}
