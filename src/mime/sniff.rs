//! What a file is, by its bytes, its declared type and its extension; and a neutral name for it.

use super::content::AttachmentClass;

/// Extensions that some system runs when they are opened.
const RUNS: &[&str] = &[
    "ade",
    "adp",
    "apk",
    "app",
    "appimage",
    "application",
    "appx",
    "bas",
    "bat",
    "chm",
    "class",
    "cmd",
    "com",
    "command",
    "cpl",
    "deb",
    "desktop",
    "dll",
    "dmg",
    "docm",
    "dotm",
    "exe",
    "gadget",
    "hlp",
    "hta",
    "htm",
    "html",
    "img",
    "inf",
    "ins",
    "iso",
    "isp",
    "jar",
    "js",
    "jse",
    "lnk",
    "mde",
    "mht",
    "mhtml",
    "msc",
    "msi",
    "msp",
    "mst",
    "one",
    "pif",
    "pkg",
    "potm",
    "ppam",
    "ppsm",
    "pptm",
    "ps1",
    "psm1",
    "py",
    "rb",
    "reg",
    "rpm",
    "run",
    "scf",
    "scr",
    "sct",
    "sh",
    "shb",
    "shs",
    "svg",
    "svgz",
    "swf",
    "sys",
    "terminal",
    "url",
    "vb",
    "vbe",
    "vbs",
    "vhd",
    "vhdx",
    "vxd",
    "wsc",
    "wsf",
    "wsh",
    "xhtml",
    "xlam",
    "xll",
    "xlsm",
    "xltm",
    "xml",
];

/// Lower-case extension of a dangerous name, at most ten plain characters.
pub(super) fn extension(name: &str) -> String {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let base = base.trim_end_matches(|c: char| c == '.' || c.is_whitespace() || c.is_control());
    let found = base.rsplit_once('.').map_or("", |(_, e)| e).to_lowercase();
    found.chars().filter(char::is_ascii_alphanumeric).take(12).collect()
}

/// Class and media type of a file.
pub(super) fn classify(bytes: &[u8], declared: &str, extension: &str) -> (AttachmentClass, String) {
    use AttachmentClass::*;
    if runs(bytes, declared, extension) {
        return (Executable, "application/octet-stream".to_owned());
    }
    if let Some((class, kind)) = by_bytes(bytes, declared, extension) {
        return (class, kind.to_owned());
    }
    let class = match declared {
        "message/rfc822" | "message/global" => MessageRfc822,
        "text/vcard" | "text/x-vcard" | "text/directory" => VCard,
        "text/calendar" => Calendar,
        "application/pgp-keys"
        | "application/pgp-signature"
        | "application/pgp-encrypted"
        | "application/pkcs7-signature"
        | "application/x-pkcs7-signature"
        | "application/pkcs7-mime"
        | "application/x-pkcs7-mime"
        | "application/pkix-cert" => Key,
        _ => match extension {
            "vcf" => VCard,
            "ics" | "vcs" => Calendar,
            "eml" | "msg" => MessageRfc822,
            "asc" | "gpg" | "pgp" | "sig" | "key" | "p7s" | "p7m" | "p12" | "pfx" | "cer" | "crt" | "pem" => Key,
            "txt" | "md" | "csv" | "log" if is_text(bytes) => Plain,
            _ if declared == "text/plain" && is_text(bytes) => Plain,
            _ if declared.starts_with("audio/") => Audio,
            _ if declared.starts_with("video/") => Video,
            _ => Unknown,
        },
    };
    let kind = match class {
        Plain => "text/plain",
        Unknown => "application/octet-stream",
        Audio | Video if declared.len() < 40 => declared,
        _ if declared.contains('/') => declared,
        _ => "application/octet-stream",
    };
    (class, kind.to_owned())
}

fn runs(bytes: &[u8], declared: &str, extension: &str) -> bool {
    const MAGIC: &[&[u8]] = &[
        b"MZ",
        b"\x7fELF",
        b"#!",
        b"\xfe\xed\xfa\xce",
        b"\xfe\xed\xfa\xcf",
        b"\xce\xfa\xed\xfe",
        b"\xcf\xfa\xed\xfe",
        b"\xca\xfe\xba\xbe",
        b"L\0\0\0\x01\x14\x02\0",
        b"ITSF",
        b"FWS",
        b"CWS",
        b"\0asm",
        b"dex\n",
        b"!<arch>\ndebian",
    ];
    let head = bytes[..bytes.len().min(512)].trim_ascii_start().to_ascii_lowercase();
    let page = [b"<!doctype html".as_slice(), b"<html", b"<script", b"<svg", b"<?xml", b"<hta:"];
    RUNS.contains(&extension)
        || (MAGIC.iter().any(|m| bytes.starts_with(m)) && !bytes.starts_with(b"#!AMR"))
        || page.iter().any(|m| head.starts_with(m))
        || matches!(
            declared,
            "application/x-msdownload"
                | "application/x-msdos-program"
                | "application/x-sh"
                | "text/html"
                | "application/javascript"
                | "text/javascript"
                | "application/x-shellscript"
                | "image/svg+xml"
                | "application/java-archive"
                | "application/hta"
                | "application/xhtml+xml"
        )
        || (bytes.starts_with(b"PK") && (holds(bytes, b"vbaProject.bin") || holds(bytes, b"META-INF/MANIFEST.MF")))
}

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|w| w == word)
}

fn by_bytes(bytes: &[u8], declared: &str, extension: &str) -> Option<(AttachmentClass, &'static str)> {
    use AttachmentClass::*;
    let at = |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|b| b.starts_with(magic));
    let video = declared.starts_with("video/");
    Some(match () {
        () if at(0, b"%PDF-") => (Pdf, "application/pdf"),
        () if at(0, b"\xff\xd8\xff") => (Picture, "image/jpeg"),
        () if at(0, b"\x89PNG\r\n\x1a\n") => (Picture, "image/png"),
        () if at(0, b"GIF8") => (Picture, "image/gif"),
        () if at(0, b"RIFF") && at(8, b"WEBP") => (Picture, "image/webp"),
        () if at(0, b"RIFF") && at(8, b"WAVE") => (Audio, "audio/wav"),
        () if at(4, b"ftypheic") || at(4, b"ftypheix") || at(4, b"ftypmif1") => (Picture, "image/heic"),
        () if at(4, b"ftypavif") => (Picture, "image/avif"),
        () if at(4, b"ftypM4A") || (at(4, b"ftyp") && (declared.starts_with("audio/") || extension == "m4a")) => {
            (Audio, "audio/mp4")
        }
        () if at(4, b"ftypqt") => (Video, "video/quicktime"),
        () if at(4, b"ftyp") => (Video, "video/mp4"),
        () if at(0, b"OggS") => {
            if video {
                (Video, "video/ogg")
            } else {
                (Audio, "audio/ogg")
            }
        }
        () if at(0, b"ID3") || at(0, b"\xff\xfb") || at(0, b"\xff\xf3") => (Audio, "audio/mpeg"),
        () if at(0, b"\xff\xf1") || at(0, b"\xff\xf9") => (Audio, "audio/aac"),
        () if at(0, b"fLaC") => (Audio, "audio/flac"),
        () if at(0, b"#!AMR") => (Audio, "audio/amr"),
        () if at(0, b"caff") => (Audio, "audio/x-caf"),
        () if at(0, b"\x1aE\xdf\xa3") => {
            if declared.starts_with("audio/") {
                (Audio, "audio/webm")
            } else {
                (Video, "video/webm")
            }
        }
        () if at(0, b"-----BEGIN PGP") || at(0, b"-----BEGIN CERT") => (Key, "application/pgp-keys"),
        () if at(0, b"BEGIN:VCARD") => (VCard, "text/vcard"),
        () if at(0, b"BEGIN:VCALENDAR") => (Calendar, "text/calendar"),
        () if at(0, b"{\\rtf") => (Document, "application/rtf"),
        () if at(0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") => match extension {
            "msg" => (MessageRfc822, "application/vnd.ms-outlook"),
            "xls" => (Document, "application/vnd.ms-excel"),
            "ppt" => (Document, "application/vnd.ms-powerpoint"),
            _ => (Document, "application/msword"),
        },
        () if at(0, b"PK\x03\x04") => return office(bytes),
        () => return None,
    })
}

/// OOXML and ODF by what their archive names; any other archive is unknown.
fn office(bytes: &[u8]) -> Option<(AttachmentClass, &'static str)> {
    const KINDS: &[(&[u8], &str)] = &[
        (b"mimetypeapplication/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
        (b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "application/vnd.oasis.opendocument.spreadsheet"),
        (b"mimetypeapplication/vnd.oasis.opendocument.presentation", "application/vnd.oasis.opendocument.presentation"),
        (b"word/document.xml", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (b"xl/workbook.xml", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        (b"ppt/presentation.xml", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ];
    let found = KINDS.iter().find(|(word, _)| holds(bytes, word));
    Some(found.map_or((AttachmentClass::Unknown, "application/zip"), |(_, k)| (AttachmentClass::Document, *k)))
}

fn is_text(bytes: &[u8]) -> bool {
    !bytes[..bytes.len().min(4096)].iter().any(|b| *b < 9 || (*b > 13 && *b < 27))
}

/// A file name that says what it is and nothing of whose it is.
pub(super) fn neutral_name(class: AttachmentClass, media_type: &str, extension: &str, number: usize) -> String {
    use AttachmentClass::*;
    let (word, default) = match class {
        Plain => ("text", "txt"),
        Picture => ("image", "bin"),
        Pdf => ("document", "pdf"),
        Document => ("document", "bin"),
        Audio => ("audio", "bin"),
        Video => ("video", "bin"),
        Calendar => ("calendar", "ics"),
        Key => ("key", "asc"),
        VCard => ("card", "vcf"),
        MessageRfc822 => ("message", "eml"),
        Executable | Unknown => ("file", "bin"),
    };
    let known = match media_type {
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "image/heic" => "heic",
        "image/avif" => "avif",
        "audio/wav" => "wav",
        "audio/mp4" => "m4a",
        "audio/ogg" => "ogg",
        "audio/mpeg" => "mp3",
        "audio/aac" => "aac",
        "audio/flac" => "flac",
        "audio/amr" => "amr",
        "audio/x-caf" => "caf",
        "audio/webm" | "video/webm" => "webm",
        "video/mp4" => "mp4",
        "video/quicktime" => "mov",
        "video/ogg" => "ogv",
        "application/rtf" => "rtf",
        "application/msword" => "doc",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.ms-powerpoint" => "ppt",
        "application/vnd.oasis.opendocument.text" => "odt",
        "application/vnd.oasis.opendocument.spreadsheet" => "ods",
        "application/vnd.oasis.opendocument.presentation" => "odp",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation" => "pptx",
        "text/plain" if matches!(extension, "csv" | "md") => extension,
        _ => default,
    };
    format!("{word}-{number}.{known}")
}
