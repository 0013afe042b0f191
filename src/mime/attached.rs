//! The text of an attached file, as far as it is text.

use super::content::{Attachment, AttachmentClass};
use super::html::html_to_text;

/// What an attached file says, where it is plain text in a known charset or a page of HTML.
pub fn attached_text(file: &Attachment) -> Option<String> {
    let bytes = file.bytes.as_slice();
    if let Some(text) = utf16(bytes) {
        return Some(text);
    }
    if file.class == AttachmentClass::Plain {
        return Some(std::str::from_utf8(bytes).map_or_else(|_| windows_1252(bytes), str::to_owned));
    }
    let head = bytes[..bytes.len().min(512)].trim_ascii_start().to_ascii_lowercase();
    let page = [b"<!doctype html".as_slice(), b"<html", b"<head", b"<body", b"<p", b"<div"];
    if file.class == AttachmentClass::Executable && page.iter().any(|mark| head.starts_with(mark)) {
        return Some(html_to_text(&std::str::from_utf8(bytes).map_or_else(|_| windows_1252(bytes), str::to_owned)));
    }
    None
}

/// Text in UTF-16 that begins with a byte order mark.
fn utf16(bytes: &[u8]) -> Option<String> {
    let unit: fn([u8; 2]) -> u16 = match bytes.get(..2)? {
        [0xff, 0xfe] => u16::from_le_bytes,
        [0xfe, 0xff] => u16::from_be_bytes,
        _ => return None,
    };
    let units = bytes[2..].as_chunks().0.iter().map(|pair| unit(*pair));
    Some(char::decode_utf16(units).map(|sign| sign.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

/// Latin 1 with the curly quotes that Windows has in it.
fn windows_1252(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            0x91 | 0x92 => '\'',
            0x93 | 0x94 => '"',
            0x9c => 'œ',
            0x8c => 'Œ',
            0x85 => '…',
            other => char::from(*other),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(class: AttachmentClass, bytes: &[u8]) -> Attachment {
        Attachment { name: "text-1.txt".into(), media_type: "text/plain".into(), bytes: bytes.to_vec().into(), class }
    }

    #[test]
    fn text_is_read_in_the_charsets_that_text_files_have() {
        let plain = |bytes: &[u8]| attached_text(&file(AttachmentClass::Plain, bytes));
        assert_eq!(plain("j’ai été".as_bytes()).as_deref(), Some("j’ai été"));
        assert_eq!(plain(b"j\x92ai \xe9t\xe9").as_deref(), Some("j'ai été"));
        let wide: Vec<u8> = "\u{feff}été".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(attached_text(&file(AttachmentClass::Unknown, &wide)).as_deref(), Some("été"));
        let page = attached_text(&file(AttachmentClass::Executable, b"<html><body><p>un</p><p>deux</p>"));
        assert_eq!(page.as_deref(), Some("un\n\ndeux"));
        assert_eq!(attached_text(&file(AttachmentClass::Picture, b"\xff\xd8\xff")), None);
        assert_eq!(attached_text(&file(AttachmentClass::Executable, b"MZ")), None);
    }
}
