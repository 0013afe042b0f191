//! MIME by hand: what a correspondent's mail program builds, kept apart from Cadre's own code.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};

/// A fresh, unpredictable word for boundaries and Message-IDs.
pub fn nonce() -> String {
    let bytes: [u8; 12] = rand::random();
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A header's value, with RFC 2047 words where it isn't ASCII.
pub fn encoded(value: &str) -> String {
    if value.is_ascii() {
        return value.to_owned();
    }
    let mut words = Vec::new();
    let mut chunk = String::new();
    for c in value.chars() {
        if chunk.len() + c.len_utf8() > 42 {
            words.push(std::mem::take(&mut chunk));
        }
        chunk.push(c);
    }
    words.push(chunk);
    words.iter().map(|w| format!("=?UTF-8?B?{}?=", STANDARD.encode(w))).collect::<Vec<_>>().join("\r\n ")
}

/// `Name <address>`, or the bare address where there is no name.
pub fn mailbox(name: &str, address: &str) -> String {
    if name.is_empty() { address.to_owned() } else { format!("{} <{address}>", encoded(name)) }
}

/// RFC 2045 quoted-printable with CRLF line ends, safe to sign (no trailing blanks, no bare dots or `From `).
pub fn quoted_printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for line in text.replace("\r\n", "\n").split('\n') {
        let mut width = 0;
        let bytes = line.as_bytes();
        for (i, byte) in bytes.iter().enumerate() {
            let last = i + 1 == bytes.len();
            let plain = matches!(byte, b'!'..=b'<' | b'>'..=b'~') || (matches!(byte, b' ' | b'\t') && !last);
            let plain = plain && !(i == 0 && matches!(byte, b'F' | b'.' | b'-'));
            let piece = if plain { char::from(*byte).to_string() } else { format!("={byte:02X}") };
            if width + piece.len() > 72 {
                out.push_str("=\r\n");
                width = 0;
            }
            width += piece.len();
            out.push_str(&piece);
        }
        out.push_str("\r\n");
    }
    if out.ends_with("\r\n\r\n") {
        out.truncate(out.len() - 2);
    }
    out
}

/// Base64 in lines of 76 with CRLF.
pub fn base64_lines(bytes: &[u8]) -> String {
    let whole = STANDARD.encode(bytes);
    let lines = whole.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned());
    lines.map(|line| line + "\r\n").collect()
}

/// `text/plain` or `text/html` in UTF-8, headers included.
pub fn text_part(kind: &str, text: &str) -> String {
    format!(
        "Content-Type: {kind}; charset=UTF-8; format=flowed\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}",
        quoted_printable(text)
    )
}

/// A file's part, headers included.
pub fn file_part(name: &str, kind: &str, bytes: &[u8]) -> String {
    format!(
        "Content-Type: {kind}; name=\"{0}\"\r\nContent-Disposition: attachment; filename=\"{0}\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{1}",
        encoded(name),
        base64_lines(bytes)
    )
}

/// A multipart with its own Content-Type line; `parameters` begins with `;` and `headers` end with CRLF.
pub fn multipart(subtype: &str, parameters: &str, headers: &str, parts: &[String]) -> String {
    let boundary = format!("------------{}", nonce());
    let mut out =
        format!("Content-Type: multipart/{subtype}{parameters};\r\n boundary=\"{boundary}\"\r\n{headers}\r\n");
    for part in parts {
        out.push_str(&format!("--{boundary}\r\n{part}\r\n"));
    }
    out.push_str(&format!("--{boundary}--\r\n"));
    out
}

/// Header fields of an entity, unfolded, in order, values as they stand (RFC 2047 words undecoded).
pub fn headers(raw: &[u8]) -> Vec<(String, String)> {
    let end = find(raw, b"\r\n\r\n").or_else(|| find(raw, b"\n\n")).unwrap_or(raw.len());
    let text = String::from_utf8_lossy(&raw[..end]).replace("\r\n", "\n");
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.split('\n') {
        match (line.starts_with([' ', '\t']), fields.last_mut()) {
            (true, Some((_, value))) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            _ => {
                if let Some((name, value)) = line.split_once(':') {
                    fields.push((name.to_owned(), value.trim().to_owned()));
                }
            }
        }
    }
    fields
}

/// The first field of that name, whatever its case.
pub fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
}

/// The exact bytes of a multipart's children, as a signature covers them.
pub fn children(raw: &[u8]) -> Result<Vec<&[u8]>> {
    let fields = headers(raw);
    let kind = field(&fields, "Content-Type").context("no Content-Type")?;
    let position = kind.to_ascii_lowercase().find("boundary=").context("no boundary")? + "boundary=".len();
    let rest = &kind[position..];
    let boundary = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split([';', ' ']).next(),
    };
    let mark = [b"--", boundary.context("no boundary")?.as_bytes()].concat();
    let mut found = Vec::new();
    let (mut at, mut start) = (0, None);
    while let Some(offset) = find(&raw[at..], &mark) {
        let here = at + offset;
        at = here + mark.len();
        if here != 0 && raw[here - 1] != b'\n' {
            continue;
        }
        if let Some(start) = start {
            let end = if raw[..here].ends_with(b"\r\n") { here - 2 } else { here - 1 };
            found.push(&raw[start..end.max(start)]);
        }
        if raw[at..].starts_with(b"--") {
            break;
        }
        start = Some(at + find(&raw[at..], b"\n").context("a boundary without a line end")? + 1);
    }
    Ok(found)
}

/// Where `needle` begins in `haystack`.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len().max(1)).position(|window| window == needle)
}

/// RFC 5322 date in UTC.
pub fn rfc5322(at: DateTime<Utc>) -> String {
    at.format("%a, %d %b %Y %H:%M:%S +0000").to_string()
}
