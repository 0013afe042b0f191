//! Text into 7-bit: quoted-printable and base64 (RFC 2045), encoded words (RFC 2047), parameters (RFC 2231).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest line without its CRLF (RFC 2045 section 6.7).
const LINE: usize = 76;

/// Quoted-printable with CRLF. "From " and leading dots are encoded too, trailing white space always
/// (RFC 3156 section 3), so the text survives every relay and stays as it was signed.
pub(super) fn quoted_printable(out: &mut String, text: &str) {
    for line in text.replace("\r\n", "\n").replace('\r', "\n").split_inclusive('\n') {
        let (line, broken) = line.strip_suffix('\n').map_or((line, false), |l| (l, true));
        let mut width = 0;
        let bytes = line.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            let start_of_line = width == 0;
            let risky = start_of_line && (*byte == b'.' || *byte == b'-' || bytes[at..].starts_with(b"From "));
            let last_space = at + 1 == bytes.len() && matches!(byte, b' ' | b'\t');
            let plain = matches!(byte, b' ' | b'\t' | b'!'..=b'<' | b'>'..=b'~') && !last_space && !risky;
            let size = if plain { 1 } else { 3 };
            if width + size > LINE - 1 {
                out.push_str("=\r\n");
                // What now begins a line is judged as one.
                let risky = *byte == b'.' || *byte == b'-' || bytes[at..].starts_with(b"From ");
                if plain && !risky {
                    out.push(char::from(*byte));
                    width = 1;
                } else {
                    out.push_str(&format!("={byte:02X}"));
                    width = 3;
                }
                continue;
            }
            if plain {
                out.push(char::from(*byte));
            } else {
                out.push_str(&format!("={byte:02X}"));
            }
            width += size;
        }
        if broken {
            out.push_str("\r\n");
        }
    }
}

/// Base64 in lines of 76.
pub(super) fn base64_body(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.chunks(LINE / 4 * 3) {
        STANDARD.encode_string(chunk, out);
        out.push_str("\r\n");
    }
}

/// An unstructured field value: as it is when it is plain ASCII that fits, else encoded words, folded.
/// Controls (and so line breaks) become spaces.
pub(super) fn header_text(text: &str, used: usize) -> String {
    let clean = one_line(text);
    if clean.is_ascii() && !clean.contains("=?") && !clean.contains("  ") && used + clean.len() <= LINE {
        return clean;
    }
    encoded_words(&clean, used)
}

/// A display name before an address.
pub(super) fn phrase(name: &str) -> String {
    let clean = one_line(name);
    if clean.is_empty() {
        return String::new();
    }
    if clean.is_ascii() && !clean.contains("=?") && clean.len() <= 60 {
        return format!("\"{}\"", clean.replace('\\', "\\\\").replace('"', "\\\""));
    }
    encoded_words(&clean, "From: ".len())
}

/// A parameter with a file name, in RFC 2231 form when it isn't plain ASCII.
pub(super) fn params_name(key: &str, name: &str) -> String {
    let clean: String = one_line(name).chars().filter(|c| !"\"\\/".contains(*c)).take(80).collect();
    if clean.is_ascii() {
        return format!("{key}=\"{clean}\"");
    }
    let mut value = String::new();
    for byte in clean.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            value.push(char::from(byte));
        } else {
            value.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{key}*=utf-8''{value}")
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

fn encoded_words(text: &str, used: usize) -> String {
    let mut words = Vec::new();
    let mut chunk = String::new();
    let mut room = 45usize.saturating_sub(used);
    for c in text.chars() {
        if chunk.len() + c.len_utf8() > room {
            words.push(std::mem::take(&mut chunk));
            room = 45;
        }
        chunk.push(c);
    }
    words.push(chunk);
    words.retain(|w| !w.is_empty());
    let words: Vec<String> = words.iter().map(|w| format!("=?utf-8?B?{}?=", STANDARD.encode(w))).collect();
    words.join("\r\n ")
}
