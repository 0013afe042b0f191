//! The structure of a mail: header blocks and multiparts with their exact bytes (RFC 2046 section 5.1.1).

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;

use super::limits::{Limits, MimeError};

/// One field of a header block: the name without colon, the value with its folds.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
}

impl Field<'_> {
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value on one line, undecoded.
    pub fn line(&self) -> String {
        let text = bytes_to_text(self.value, None);
        text.split(['\r', '\n']).map(str::trim_end).collect::<Vec<_>>().concat().trim().to_owned()
    }

    /// The value with encoded words decoded (RFC 2047), on one line.
    pub fn decoded(&self) -> String {
        decode_words(self.value)
    }
}

/// Decodes encoded words and unfolds. Raw 8-bit bytes are read as UTF-8, else as windows-1252.
pub(super) fn decode_words(value: &[u8]) -> String {
    let mut input = bytes_to_text(value, None).into_bytes();
    input.extend_from_slice(b"\r\n");
    let decoded = match MessageStream::new(&input).parse_unstructured() {
        mail_parser::HeaderValue::Text(text) => text.into_owned(),
        _ => String::new(),
    };
    decoded.split(['\r', '\n']).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// A Content-Type or Content-Disposition value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Typed {
    /// Lower case, `type/subtype` or one word.
    pub value: String,
    params: Vec<(String, String)>,
}

impl Typed {
    fn read(field: &Field<'_>) -> Self {
        let mut input = bytes_to_text(field.value, None).into_bytes();
        input.extend_from_slice(b"\r\n");
        match MessageStream::new(&input).parse_content_type() {
            mail_parser::HeaderValue::ContentType(ct) => Self {
                value: match &ct.c_subtype {
                    Some(sub) => format!("{}/{}", ct.c_type.trim(), sub.trim()).to_ascii_lowercase(),
                    None => ct.c_type.trim().to_ascii_lowercase(),
                },
                params: ct
                    .attributes
                    .unwrap_or_default()
                    .into_iter()
                    .map(|a| (a.name.to_ascii_lowercase(), a.value.into_owned()))
                    .collect(),
            },
            _ => Self::default(),
        }
    }

    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn param_is(&self, name: &str, value: &str) -> bool {
        self.param(name).is_some_and(|v| v.trim().eq_ignore_ascii_case(value))
    }
}

/// A header block with its body; a multipart has its children in order.
pub(super) struct Entity<'a> {
    pub raw: &'a [u8],
    pub fields: Vec<Field<'a>>,
    pub body: &'a [u8],
    pub kind: Typed,
    pub children: Vec<Entity<'a>>,
    /// Text in a multipart before its first or after its last boundary that isn't white space.
    pub stray_text: bool,
    /// Whether that text has a line of OpenPGP armor.
    pub stray_armor: bool,
}

impl<'a> Entity<'a> {
    /// Reads a mail or a part.
    ///
    /// # Errors
    /// [`MimeError`] when a limit is passed; broken structure is no error, it reads as what it still is.
    pub fn read(raw: &'a [u8], limits: &Limits) -> Result<Self, MimeError> {
        if raw.len() > limits.message {
            return Err(MimeError::TooLarge { bytes: raw.len(), limit: limits.message });
        }
        let mut parts = 0;
        Self::read_part(skip_mbox_line(raw), limits, 0, &mut parts, false)
    }

    /// Reads only the header block.
    pub fn read_header(raw: &'a [u8], limits: &Limits) -> Result<Self, MimeError> {
        let raw = skip_mbox_line(raw);
        let (fields, body) = split_header(raw, limits)?;
        let kind = content_type(&fields, false);
        Ok(Self { raw, fields, body, kind, children: Vec::new(), stray_text: false, stray_armor: false })
    }

    fn read_part(
        raw: &'a [u8],
        limits: &Limits,
        depth: usize,
        parts: &mut usize,
        in_digest: bool,
    ) -> Result<Self, MimeError> {
        *parts += 1;
        if *parts > limits.parts {
            return Err(MimeError::TooManyParts { limit: limits.parts });
        }
        let (fields, body) = split_header(raw, limits)?;
        let kind = content_type(&fields, in_digest);
        let mut entity = Self { raw, fields, body, kind, children: Vec::new(), stray_text: false, stray_armor: false };
        let boundary = entity.kind.param("boundary").map(str::to_owned).filter(|b| !b.is_empty());
        if let (true, Some(boundary)) = (entity.is_multipart(), boundary) {
            if depth >= limits.depth {
                return Err(MimeError::TooDeep { limit: limits.depth });
            }
            let digest = entity.kind.value == "multipart/digest";
            let room = limits.parts.saturating_sub(*parts);
            let (pieces, stray, armor) = split_multipart(body, boundary.as_bytes(), room)
                .ok_or(MimeError::TooManyParts { limit: limits.parts })?;
            entity.stray_text = stray;
            entity.stray_armor = armor;
            for piece in pieces {
                entity.children.push(Self::read_part(piece, limits, depth + 1, parts, digest)?);
            }
        }
        Ok(entity)
    }

    pub fn is_multipart(&self) -> bool {
        self.kind.value.starts_with("multipart/")
    }

    pub fn is(&self, kind: &str) -> bool {
        self.kind.value == kind
    }

    pub fn field(&self, name: &str) -> Option<&Field<'a>> {
        self.fields.iter().find(|f| f.is(name))
    }

    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Field<'a>> + 's {
        self.fields.iter().filter(move |f| f.is(name))
    }

    pub fn disposition(&self) -> Typed {
        self.field("Content-Disposition").map(Typed::read).unwrap_or_default()
    }

    /// The file name that the sender gave, raw and dangerous.
    pub fn file_name(&self) -> Option<String> {
        let given = self.disposition();
        let name = given.param("filename").or_else(|| self.kind.param("name"))?;
        Some(if name.contains("=?") { decode_words(name.as_bytes()) } else { name.to_owned() })
    }

    /// The body with its transfer encoding undone. Damaged base64 gives what can be read of it.
    pub fn decoded(&self) -> Vec<u8> {
        self.decode(self.body)
    }

    /// What the first `len` bytes of the body decode to.
    pub fn decoded_head(&self, len: usize) -> Vec<u8> {
        self.decode(&self.body[..self.body.len().min(len)])
    }

    fn decode(&self, body: &[u8]) -> Vec<u8> {
        let encoding = self.field("Content-Transfer-Encoding").map(|f| f.line().to_ascii_lowercase());
        match encoding.as_deref().map(|e| e.split([';', ' ', '(']).next().unwrap_or_default()) {
            Some("base64") => base64_decode(body).unwrap_or_else(|| lenient_base64(body)),
            Some("quoted-printable") => quoted_printable_decode(body).unwrap_or_else(|| body.to_vec()),
            _ => body.to_vec(),
        }
    }

    /// The body as text with `\n` line breaks, whatever its charset.
    pub fn text(&self) -> String {
        let text = bytes_to_text(&self.decoded(), self.kind.param("charset"));
        text.replace("\r\n", "\n").replace('\r', "\n")
    }
}

/// Text in a charset, else UTF-8, else windows-1252: a letter is never lost to a wrong label.
pub(super) fn bytes_to_text(bytes: &[u8], charset: Option<&str>) -> String {
    let charset = charset.map(|c| c.trim().to_ascii_lowercase()).filter(|c| c != "us-ascii" && c != "utf-8");
    if let Some(decoder) = charset.and_then(|c| charset_decoder(c.as_bytes())) {
        return decoder(bytes);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => match charset_decoder(b"windows-1252") {
            Some(decoder) => decoder(bytes),
            None => String::from_utf8_lossy(bytes).into_owned(),
        },
    }
}

fn lenient_base64(bytes: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    let mut signs: Vec<u8> =
        bytes.iter().copied().filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')).collect();
    if signs.len() % 4 == 1 {
        signs.pop();
    }
    engine.decode(&signs).unwrap_or_default()
}

/// An mbox separator before the first field (never part of the mail).
fn skip_mbox_line(raw: &[u8]) -> &[u8] {
    if raw.starts_with(b"From ") {
        return raw.iter().position(|b| *b == b'\n').map_or(&raw[raw.len()..], |at| &raw[at + 1..]);
    }
    raw
}

fn content_type(fields: &[Field<'_>], in_digest: bool) -> Typed {
    let default = if in_digest { "message/rfc822" } else { "text/plain" };
    let mut given = fields.iter().filter(|f| f.is("Content-Type"));
    let kind = given.next().map(Typed::read).unwrap_or_default();
    if kind.value.contains('/') { kind } else { Typed { value: default.to_owned(), params: kind.params } }
}

/// The next line from `at`: (content without line break, start of the next line).
fn line_at(bytes: &[u8], at: usize) -> (&[u8], usize) {
    let rest = &bytes[at..];
    match rest.iter().position(|b| *b == b'\n') {
        Some(n) => {
            let end = if n > 0 && rest[n - 1] == b'\r' { n - 1 } else { n };
            (&rest[..end], at + n + 1)
        }
        None => (rest, bytes.len()),
    }
}

fn split_header<'a>(raw: &'a [u8], limits: &Limits) -> Result<(Vec<Field<'a>>, &'a [u8]), MimeError> {
    let mut fields: Vec<Field<'a>> = Vec::new();
    let mut starts: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    let mut body = raw.len();
    let mut end = raw.len();
    while at < raw.len() {
        let (line, next) = line_at(raw, at);
        if line.is_empty() {
            end = at;
            body = next;
            break;
        }
        if next > limits.header_bytes {
            return Err(MimeError::HeaderTooLarge { limit: limits.header_bytes });
        }
        if !matches!(line[0], b' ' | b'\t') {
            match line.iter().position(|b| *b == b':') {
                Some(colon) if colon > 0 => starts.push((at, at + colon)),
                // A line that is no field: nothing is hidden behind it, the next field still counts.
                _ => starts.push((at, at)),
            }
            if starts.len() > limits.headers {
                return Err(MimeError::TooManyHeaders { limit: limits.headers });
            }
        }
        at = next;
    }
    for (index, (start, colon)) in starts.iter().enumerate() {
        let stop = starts.get(index + 1).map_or(end, |(next, _)| *next);
        if colon > start {
            fields.push(Field { name: raw[*start..*colon].trim_ascii(), value: &raw[colon + 1..stop] });
        }
    }
    Ok((fields, &raw[body..]))
}

/// The parts of a multipart, each without the line break that belongs to the boundary behind it.
/// `None` when there are more than `room`.
fn split_multipart<'a>(body: &'a [u8], boundary: &[u8], room: usize) -> Option<(Vec<&'a [u8]>, bool, bool)> {
    let mut pieces = Vec::new();
    let (mut stray, mut armor) = (false, false);
    let mut open: Option<usize> = None;
    let mut closed = false;
    let mut at = 0;
    while at < body.len() {
        let (line, next) = line_at(body, at);
        if !closed && let Some(last) = boundary_line(line, boundary) {
            if let Some(start) = open {
                pieces.push(&body[start..before_break(body, start, at)]);
                if pieces.len() > room {
                    return None;
                }
            }
            open = (!last).then_some(next);
            closed = last;
        } else if open.is_none() && !line.trim_ascii().is_empty() {
            stray = true;
            armor |= line.trim_ascii_start().starts_with(b"-----BEGIN PGP");
        }
        at = next;
    }
    if let Some(start) = open {
        pieces.push(&body[start.min(body.len())..]);
    }
    (pieces.len() <= room).then_some((pieces, stray, armor))
}

/// `Some(true)` for the closing line.
fn boundary_line(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    match rest.trim_ascii_end() {
        b"" => Some(false),
        b"--" => Some(true),
        _ => None,
    }
}

fn before_break(body: &[u8], start: usize, at: usize) -> usize {
    let mut end = at;
    if end > start && body[end - 1] == b'\n' {
        end -= 1;
        if end > start && body[end - 1] == b'\r' {
            end -= 1;
        }
    }
    end
}

/// A mail whose every line ends in CR CR LF, as a relay leaves it that turned LF into CRLF twice, with single CRs.
/// Any other is left as it came.
pub fn undoubled(raw: &[u8]) -> Cow<'_, [u8]> {
    let doubled = |end: usize| raw[..end].ends_with(b"\r\r");
    let mut ends = raw.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).peekable();
    if ends.peek().is_none() || !ends.all(doubled) {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\r\r\n") {
            Some(bare) => out.extend([bare, b"\r\n"].concat()),
            None => out.extend_from_slice(line),
        }
    }
    Cow::Owned(out)
}

/// Every lone LF becomes CRLF (RFC 3156 section 5); a lone CR stays what it is.
pub(super) fn to_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32);
    let mut last = 0;
    for byte in bytes {
        if *byte == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(*byte);
        last = *byte;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &[u8]) -> Entity<'_> {
        Entity::read(raw, &Limits::default()).unwrap()
    }

    #[test]
    fn the_line_break_before_a_boundary_belongs_to_the_boundary() {
        for (mail, want) in [
            ("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n\r\n--b--\r\n", "\r\nx\r\n"),
            ("Content-Type: multipart/mixed; boundary=b\n\n--b  \n\nx\n--b--", "\nx"),
            ("Content-Type: multipart/mixed; boundary=\"b c\"\n\n--b c\n\nx", "\nx"),
        ] {
            assert_eq!(read(mail.as_bytes()).children[0].raw, want.as_bytes(), "{mail:?}");
        }
    }

    #[test]
    fn a_boundary_that_begins_like_another_is_not_it() {
        let mail = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--bc\nstill\n--b--\n";
        let entity = read(mail);
        assert_eq!(entity.children.len(), 1);
        assert_eq!(entity.children[0].body, b"one\n--bc\nstill");
    }

    #[test]
    fn text_around_the_parts_is_noticed() {
        assert!(read(b"Content-Type: multipart/mixed; boundary=b\n\npre\n--b\n\nx\n--b--\n").stray_text);
        assert!(read(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\npost").stray_text);
        assert!(!read(b"Content-Type: multipart/mixed; boundary=b\n\n\n--b\n\nx\n--b--\n\n").stray_text);
    }

    #[test]
    fn charsets_are_read_and_a_wrong_label_loses_nothing() {
        assert_eq!(read(b"Content-Type: text/plain; charset=iso-8859-1\n\n\xe9t\xe9").text(), "été");
        assert_eq!(read(b"Content-Type: text/plain; charset=us-ascii\n\n\xe9t\xe9").text(), "été");
        assert_eq!(read("Content-Type: text/plain; charset=x-none\n\nété".as_bytes()).text(), "été");
    }

    #[test]
    fn doubled_returns_are_undone_where_every_line_has_them() {
        assert_eq!(*undoubled(b"A: b\r\r\n\r\r\nx\r\r\nend"), *b"A: b\r\n\r\nx\r\nend");
        for other in [&b"A: b\r\n\r\r\nx"[..], b"A: b\r\r\n\r\nx", b"A: b\n", b"A: b", b""] {
            assert_eq!(*undoubled(other), *other);
        }
    }

    #[test]
    fn damaged_base64_gives_what_can_be_read() {
        let mail = b"Content-Transfer-Encoding: base64\n\naGVsbG8gd29y!bGQhIQ\n";
        assert!(read(mail).decoded().starts_with(b"hello wor"));
    }
}
