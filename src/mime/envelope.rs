//! Which single cryptographic envelope a mail is (RFC 3156; SPEC section 3). What is signed or encrypted only in
//! part is [`Envelope::Mixed`], and nobody opens its pieces.

use super::html::html_to_text;
use super::limits::{Limits, MimeError};
use super::tree::{Entity, to_crlf};

/// The outermost layer of an entity.
#[derive(Clone, PartialEq, Eq)]
pub enum Envelope {
    /// PGP/MIME encryption over everything; `repaired` when a server had rewritten the container.
    Encrypted { ciphertext: Vec<u8>, repaired: bool },
    /// PGP/MIME signature over everything: exactly the bytes that it covers, with CRLF.
    Signed { signed: Vec<u8>, signature: Vec<u8> },
    /// The whole text is one armored message.
    InlineEncrypted { block: Vec<u8>, charset: Option<String> },
    /// The whole text is one cleartext-signed block, bytes as they were written.
    InlineSigned { block: Vec<u8>, charset: Option<String> },
    /// Signed or encrypted parts beside parts that are not.
    Mixed,
    /// Nothing of OpenPGP outside of attached messages.
    Clear {
        /// S/MIME, which is kept but not opened.
        smime: bool,
    },
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Encrypted { ciphertext, repaired } => {
                write!(f, "Encrypted({} bytes, repaired: {repaired})", ciphertext.len())
            }
            Self::Signed { signed, .. } => write!(f, "Signed({} bytes)", signed.len()),
            Self::InlineEncrypted { block, .. } => write!(f, "InlineEncrypted({} bytes)", block.len()),
            Self::InlineSigned { block, .. } => write!(f, "InlineSigned({} bytes)", block.len()),
            Self::Mixed => f.write_str("Mixed"),
            Self::Clear { smime } => write!(f, "Clear(smime: {smime})"),
        }
    }
}

const MESSAGE: &str = "-----BEGIN PGP MESSAGE-----";
const SIGNED: &str = "-----BEGIN PGP SIGNED MESSAGE-----";

/// Tells the envelope of a mail or of a decrypted entity.
///
/// # Errors
/// [`MimeError`] when a limit is passed.
pub fn envelope(raw: &[u8], limits: &Limits) -> Result<Envelope, MimeError> {
    Ok(of(&Entity::read(raw, limits)?))
}

/// What an inline block held, as an entity that [`content()`](super::content()) reads. The charset stands outside of
/// what was signed: it says how bytes are read that aren't UTF-8, and changes no words that are.
pub fn inline_entity(text: &[u8], charset: Option<&str>) -> Vec<u8> {
    let charset = charset.filter(|_| std::str::from_utf8(text).is_err());
    let charset: String =
        charset.unwrap_or("utf-8").chars().filter(|c| c.is_ascii_alphanumeric() || "-_:.".contains(*c)).collect();
    let mut entity = format!("Content-Type: text/plain; charset={charset}\r\n\r\n").into_bytes();
    entity.extend_from_slice(text);
    entity
}

fn of(entity: &Entity<'_>) -> Envelope {
    match entity.kind.value.as_str() {
        "multipart/encrypted" => pgp_encrypted(entity, false),
        "multipart/signed" => signed(entity),
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => Envelope::Clear { smime: true },
        _ => mangled(entity)
            .or_else(|| inline(entity))
            .unwrap_or_else(|| if has_openpgp(entity) { Envelope::Mixed } else { Envelope::Clear { smime: false } }),
    }
}

fn pgp_encrypted(entity: &Entity<'_>, repaired: bool) -> Envelope {
    match entity.children.as_slice() {
        [control, data] if is_pair(control, data) => Envelope::Encrypted { ciphertext: ciphertext(data), repaired },
        _ => Envelope::Mixed,
    }
}

fn is_pair(control: &Entity<'_>, data: &Entity<'_>) -> bool {
    control.is("application/pgp-encrypted") && data.is("application/octet-stream")
}

/// The encrypted part's bytes. Where blanks in the empty line behind its header hide its body, the one armored block
/// is taken; whatever it is, only what decrypts and verifies is believed.
fn ciphertext(data: &Entity<'_>) -> Vec<u8> {
    let begins = |bytes: &[u8]| bytes.windows(MESSAGE.len()).position(|window| window == MESSAGE.as_bytes());
    match (data.body.trim_ascii().is_empty(), begins(data.raw)) {
        (true, Some(at)) => data.raw[at..].to_vec(),
        _ => data.decoded(),
    }
}

fn signed(entity: &Entity<'_>) -> Envelope {
    let [content, signature] = entity.children.as_slice() else { return Envelope::Mixed };
    let protocol = entity.kind.param("protocol").map(str::to_ascii_lowercase);
    let by_pgp = signature.is("application/pgp-signature");
    let smime =
        matches!(signature.kind.value.as_str(), "application/pkcs7-signature" | "application/x-pkcs7-signature");
    match protocol.as_deref().map(str::trim) {
        Some("application/pgp-signature") | None if by_pgp => {
            if of(content) == Envelope::Mixed {
                return Envelope::Mixed;
            }
            Envelope::Signed { signed: to_crlf(content.raw), signature: signature.decoded() }
        }
        // An S/MIME signature is not ours to judge: what it wraps is read as if it stood alone.
        _ if smime => match of(content) {
            Envelope::Clear { .. } => Envelope::Clear { smime: true },
            inner => inner,
        },
        _ => Envelope::Mixed,
    }
}

/// The container after Exchange, iCloud and the like: `multipart/mixed` with an empty text before the pair.
fn mangled(entity: &Entity<'_>) -> Option<Envelope> {
    if !entity.is("multipart/mixed") || entity.stray_text {
        return None;
    }
    let full: Vec<_> = entity.children.iter().filter(|c| !is_empty_text(c)).collect();
    match full.as_slice() {
        [control, data] if is_pair(control, data) => {
            Some(Envelope::Encrypted { ciphertext: ciphertext(data), repaired: true })
        }
        [only] if only.is("multipart/encrypted") => Some(match of(only) {
            Envelope::Encrypted { ciphertext, .. } => Envelope::Encrypted { ciphertext, repaired: true },
            other => other,
        }),
        _ => None,
    }
}

fn is_empty_text(part: &Entity<'_>) -> bool {
    match part.kind.value.as_str() {
        "text/plain" => trim_wide(&part.text()).is_empty(),
        "text/html" => trim_wide(&html_to_text(&part.text())).is_empty(),
        _ => false,
    }
}

/// White space, no-break spaces, byte-order marks.
fn trim_wide(text: &str) -> &str {
    text.trim_matches(is_wide)
}

fn is_wide(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{a0}' | '\u{feff}' | '\u{200b}')
}

fn inline(entity: &Entity<'_>) -> Option<Envelope> {
    let part = match entity.kind.value.as_str() {
        "text/plain" => entity,
        "multipart/mixed" if entity.children.len() == 1 && !entity.stray_text => {
            return inline(&entity.children[0]);
        }
        "multipart/alternative" => match entity.children.as_slice() {
            [plain, html] if plain.is("text/plain") && html.is("text/html") => {
                let squeeze = |t: &str| t.chars().filter(|c| !is_wide(*c)).collect::<String>();
                if squeeze(&plain.text()) != squeeze(&html_to_text(&html.text())) {
                    return None;
                }
                plain
            }
            _ => return None,
        },
        _ => return None,
    };
    if part.disposition().value == "attachment" {
        return None;
    }
    let charset = part.kind.param("charset").map(str::to_owned);
    let text = part.text();
    let lines: Vec<&str> = trim_wide(&text).lines().map(|l| l.trim_matches(is_wide)).collect();
    let starts = lines.iter().filter(|l| l.starts_with("-----BEGIN PGP ")).count();
    let ends = lines.iter().filter(|l| l.starts_with("-----END PGP ")).count();
    match (lines.first().copied(), lines.last().copied()) {
        (Some(MESSAGE), Some("-----END PGP MESSAGE-----")) if starts == 1 && ends == 1 => {
            Some(Envelope::InlineEncrypted { block: (lines.join("\r\n") + "\r\n").into_bytes(), charset })
        }
        (Some(SIGNED), Some("-----END PGP SIGNATURE-----")) if starts == 2 && ends == 1 => {
            Some(Envelope::InlineSigned { block: unindent(&part.decoded()), charset })
        }
        _ => None,
    }
}

/// Takes the indentation of the first line from every line; otherwise the bytes are as they were signed.
fn unindent(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.windows(5).position(|w| w == b"-----").unwrap_or(0);
    let line = bytes[..start].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let indent = &bytes[line..start];
    let mut out = Vec::with_capacity(bytes.len());
    for piece in bytes[line..].split_inclusive(|b| *b == b'\n') {
        out.extend_from_slice(piece.strip_prefix(indent).unwrap_or(piece));
    }
    to_crlf(&out)
}

/// Whether anything in here is OpenPGP's: containers, control parts, detached signatures, armored text.
/// Attached messages are not looked into; keys are no cryptographic parts.
fn has_openpgp(entity: &Entity<'_>) -> bool {
    match entity.kind.value.as_str() {
        "multipart/encrypted" | "application/pgp-encrypted" | "application/pgp-signature" | "application/pgp" => true,
        "multipart/signed" => {
            entity.kind.param_is("protocol", "application/pgp-signature") || entity.children.iter().any(has_openpgp)
        }
        "message/rfc822" | "message/global" => false,
        kind if kind.starts_with("text/") => {
            let text = entity.text();
            // Rendering is dear; most pages speak of neither.
            let worth = text.contains("BEGIN") || text.contains("PGP");
            let text = if kind == "text/html" && worth { html_to_text(&text) } else { text };
            has_armor(&text)
        }
        _ if entity.children.is_empty() => {
            let named = entity.file_name().is_some_and(|n| {
                let n = n.to_lowercase();
                [".asc", ".pgp", ".gpg", ".sig"].iter().any(|e| n.ends_with(e))
            });
            let head = entity.decoded_head(8192);
            let head = String::from_utf8_lossy(&head).into_owned();
            has_armor(&head)
                || (named && !head.contains("-----BEGIN PGP PUBLIC KEY") && !entity.is("application/pgp-keys"))
        }
        _ => entity.stray_armor || entity.children.iter().any(has_openpgp),
    }
}

fn has_armor(text: &str) -> bool {
    text.lines().map(|l| l.trim_matches(is_wide)).any(|l| l.starts_with(MESSAGE) || l.starts_with(SIGNED))
}
