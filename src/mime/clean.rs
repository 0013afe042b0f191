//! Author metadata removed where a library can (SPEC section 9, THREATS 33).

use std::io::{Cursor, Read, Write};
use std::sync::LazyLock;

use img_parts::Bytes;
use img_parts::jpeg::{Jpeg, JpegSegment};
use img_parts::png::Png;
use img_parts::riff::RiffContent;
use img_parts::webp::WebP;
use lopdf::{Dictionary, Document, LoadOptions, Object};
use regex::bytes::Regex;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::content::{Attachment, AttachmentClass};

/// Most bytes that one archive or one stream of a document may unpack to.
const UNPACK_LIMIT: usize = 100 * 1024 * 1024;
/// Most files in a document's archive.
const MAX_ENTRIES: usize = 5_000;

/// Why an attachment's metadata can't be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotClean {
    #[error("the attachment is damaged, so its author data can't be removed; save it again and attach it anew")]
    Damaged,
    #[error(
        "the attachment is of a kind whose author data can't be removed; save it as PDF, JPEG or PNG and attach that"
    )]
    Unsupported,
    #[error("the attachment is protected by a password, so its author data can't be removed; attach it without one")]
    Locked,
    #[error("the attachment unpacks to more than the limit of {limit} bytes; split it")]
    UnpacksTooLarge { limit: usize },
}

/// The attachment's bytes without author metadata. Text, GIF, voice and video are returned as they are: no
/// well-kept library here cleans them.
///
/// # Errors
/// [`CannotClean`] for what should be cleaned and can't be: damaged, locked, or a picture or document in a format
/// that is known to carry places or authors and that nothing here writes (HEIC, AVIF, old Office files, RTF).
pub fn strip_metadata(attachment: &Attachment) -> Result<Vec<u8>, CannotClean> {
    let bytes = attachment.bytes.as_slice();
    match (attachment.class, attachment.media_type.as_str()) {
        (AttachmentClass::Picture, "image/jpeg") => jpeg(bytes),
        (AttachmentClass::Picture, "image/png") => png(bytes),
        (AttachmentClass::Picture, "image/webp") => webp(bytes),
        (AttachmentClass::Picture, "image/gif") => Ok(bytes.to_vec()),
        (AttachmentClass::Pdf, _) => pdf(bytes),
        (AttachmentClass::Document, _) if bytes.starts_with(b"PK") => office(bytes),
        (AttachmentClass::Picture | AttachmentClass::Document, _) => Err(CannotClean::Unsupported),
        _ => Ok(bytes.to_vec()),
    }
}

/// Keeps what decodes the picture: JFIF, the colour profile, Adobe's colour transform, and which way is up.
fn jpeg(bytes: &[u8]) -> Result<Vec<u8>, CannotClean> {
    let end = end_of_jpeg(bytes).ok_or(CannotClean::Damaged)?;
    let mut picture = Jpeg::from_bytes(Bytes::copy_from_slice(&bytes[..end])).map_err(|_| CannotClean::Damaged)?;
    let turned = picture.segments_by_marker(0xe1).find_map(|s| orientation(s.contents()));
    picture.segments_mut().retain(|s| match s.marker() {
        0xe0 => s.contents().starts_with(b"JFIF\0"),
        0xe2 => s.contents().starts_with(b"ICC_PROFILE\0"),
        0xee => s.contents().starts_with(b"Adobe"),
        0xe1..=0xef | 0xfe => false,
        _ => true,
    });
    if let Some(turned) = turned {
        let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        exif.extend_from_slice(&[turned, 0, 0, 0, 0, 0, 0]);
        let at = usize::from(picture.segments().first().is_some_and(|s| s.marker() == 0xe0));
        picture.segments_mut().insert(at, JpegSegment::new_with_contents(0xe1, Bytes::from(exif)));
    }
    let mut out = Vec::new();
    picture.encoder().write_to(&mut out).map_err(|_| CannotClean::Damaged)?;
    Ok(out)
}

/// Just behind the end-of-image marker of the first picture: telephones append second pictures, depth maps and
/// films with metadata of their own.
fn end_of_jpeg(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        let marker = *bytes.get(at + 1)?;
        match (bytes.get(at)?, marker) {
            (0xff, 0xff) => at += 1,
            (0xff, 0xd9) => return Some(at + 2),
            (0xff, 0x00 | 0x01 | 0xd0..=0xd8) => at += 2,
            (0xff, _) => {
                let len = usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]));
                at += 2 + len.max(2);
            }
            // Entropy-coded data, in which 0xff is never followed by a marker.
            _ => at += bytes[at..].iter().position(|b| *b == 0xff)?,
        }
    }
}

/// The orientation tag of an EXIF segment, 2 to 8 (1 needs no mention).
fn orientation(segment: &[u8]) -> Option<u8> {
    let tiff = segment.strip_prefix(b"Exif\0\0")?;
    let big = tiff.starts_with(b"MM");
    let short = |at: usize| {
        let pair = [*tiff.get(at)?, *tiff.get(at + 1)?];
        Some(if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
    };
    let first = if big { short(6)? } else { short(4)? };
    let start = usize::from(first);
    let count = usize::from(short(start)?);
    (0..count.min(200)).map(|n| start + 2 + 12 * n).find_map(|entry| {
        let value = (short(entry)? == 0x0112).then(|| short(entry + 8)).flatten()?;
        u8::try_from(value).ok().filter(|v| (2..=8).contains(v))
    })
}

fn png(bytes: &[u8]) -> Result<Vec<u8>, CannotClean> {
    const KEPT: &[&[u8; 4]] = &[
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"bKGD",
        b"pHYs", b"hIST", b"acTL", b"fcTL", b"fdAT",
    ];
    let mut picture = Png::from_bytes(Bytes::copy_from_slice(bytes)).map_err(|_| CannotClean::Damaged)?;
    picture.chunks_mut().retain(|c| KEPT.contains(&&c.kind()));
    let mut out = Vec::new();
    picture.encoder().write_to(&mut out).map_err(|_| CannotClean::Damaged)?;
    Ok(out)
}

fn webp(bytes: &[u8]) -> Result<Vec<u8>, CannotClean> {
    const KEPT: &[&[u8; 4]] = &[b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"];
    let mut picture = WebP::from_bytes(Bytes::copy_from_slice(bytes)).map_err(|_| CannotClean::Damaged)?;
    picture.chunks_mut().retain(|c| KEPT.contains(&&c.id()));
    for chunk in picture.chunks_mut().iter_mut().filter(|c| &c.id() == b"VP8X") {
        if let RiffContent::Data(data) = chunk.content_mut() {
            let mut flags = data.to_vec();
            if let Some(first) = flags.first_mut() {
                // The bits that announce EXIF and XMP.
                *first &= !0x0c;
            }
            *data = Bytes::from(flags);
        }
    }
    let mut out = Vec::new();
    picture.encoder().write_to(&mut out).map_err(|_| CannotClean::Damaged)?;
    Ok(out)
}

fn pdf(bytes: &[u8]) -> Result<Vec<u8>, CannotClean> {
    let options = LoadOptions { max_decompressed_size: Some(UNPACK_LIMIT), ..LoadOptions::default() };
    let mut document = Document::load_mem_with_options(bytes, options).map_err(|_| CannotClean::Damaged)?;
    if document.is_encrypted() || document.trailer.has(b"Encrypt") {
        return Err(CannotClean::Locked);
    }
    document.trailer.remove(b"Info");
    document.trailer.remove(b"ID");
    let metadata: Vec<_> = document
        .objects
        .iter()
        .filter(|(_, o)| o.as_stream().is_ok_and(|s| s.dict.has_type(b"Metadata")))
        .map(|(id, _)| *id)
        .collect();
    for id in metadata {
        document.objects.remove(&id);
    }
    for object in document.objects.values_mut() {
        clean_object(object, 0);
    }
    document.prune_objects();
    let mut out = Vec::new();
    document.save_to(&mut out).map_err(|_| CannotClean::Damaged)?;
    Ok(out)
}

fn clean_object(object: &mut Object, depth: usize) {
    if depth > 50 {
        return;
    }
    match object {
        Object::Dictionary(dict) => clean_dictionary(dict, depth),
        Object::Stream(stream) => clean_dictionary(&mut stream.dict, depth),
        Object::Array(items) => items.iter_mut().for_each(|o| clean_object(o, depth + 1)),
        _ => {}
    }
}

fn clean_dictionary(dict: &mut Dictionary, depth: usize) {
    for key in [
        b"Metadata".as_slice(),
        b"PieceInfo",
        b"LastModified",
        b"Author",
        b"Creator",
        b"Producer",
        b"CreationDate",
        b"ModDate",
    ] {
        dict.remove(key);
    }
    // Of a comment or a mark, T is the name of whoever made it; of a form's field it is the field's.
    if dict.has(b"Subtype")
        && dict.has(b"Rect")
        && !dict.get(b"Subtype").is_ok_and(|s| s.as_name().is_ok_and(|n| n == b"Widget"))
    {
        dict.remove(b"T");
        dict.remove(b"M");
    }
    for (_, value) in dict.iter_mut() {
        clean_object(value, depth + 1);
    }
}

/// Names in tracked changes, comments and fields, and the elements that name authors.
static NAMES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?s)( (?:w:|w15:|p:)?(?:author|initials|userId|lastEdited|providerId)=")[^"]*(")|(<(?:dc:creator|author|meta:initial-creator|text:initial-creator|text:creator|meta:creator-initials|loext:sender-initials)(?: [^>]*)?>)[^<]*(</)"#)
        .expect("a constant pattern, compiled in the tests")
});

fn office(bytes: &[u8]) -> Result<Vec<u8>, CannotClean> {
    const CORE: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<cp:coreProperties xmlns:cp=\"http://schemas.openxmlformats.org/package/2006/metadata/core-properties\"/>";
    const APP: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<Properties xmlns=\"http://schemas.openxmlformats.org/officeDocument/2006/extended-properties\"/>";
    const CUSTOM: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<Properties xmlns=\"http://schemas.openxmlformats.org/officeDocument/2006/custom-properties\"/>";
    const PEOPLE: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<w15:people xmlns:w15=\"http://schemas.microsoft.com/office/word/2012/wordml\"/>";
    const META: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<office:document-meta xmlns:office=\"urn:oasis:names:tc:opendocument:xmlns:office:1.0\" office:version=\"1.2\"><office:meta/></office:document-meta>";
    let damaged = |_| CannotClean::Damaged;
    let too_large = CannotClean::UnpacksTooLarge { limit: UNPACK_LIMIT };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    if archive.len() > MAX_ENTRIES {
        return Err(too_large);
    }
    let mut writer = ZipWriter::new(Cursor::new(Vec::with_capacity(bytes.len())));
    let mut room = UNPACK_LIMIT;
    for index in 0..archive.len() {
        let name = archive.by_index_raw(index).map_err(damaged)?.name().map_err(damaged)?.into_owned();
        let replacement = match name.as_str() {
            "docProps/core.xml" => Some(CORE),
            "docProps/app.xml" => Some(APP),
            "docProps/custom.xml" => Some(CUSTOM),
            "word/people.xml" => Some(PEOPLE),
            "meta.xml" => Some(META),
            _ => None,
        };
        if let Some(content) = replacement {
            writer.start_file(name, SimpleFileOptions::default()).map_err(damaged)?;
            writer.write_all(content).map_err(|_| CannotClean::Damaged)?;
            continue;
        }
        let rewritten = name.ends_with(".xml") && !name.starts_with("META-INF/");
        if !rewritten {
            // Copied without being unpacked: a bomb stays as small as it came.
            let entry = archive.by_index_raw(index).map_err(damaged)?;
            writer.raw_copy_file(entry).map_err(damaged)?;
            continue;
        }
        let entry = archive.by_index(index).map_err(damaged)?;
        let mut content = Vec::new();
        entry.take(room as u64 + 1).read_to_end(&mut content).map_err(|_| CannotClean::Damaged)?;
        room = room.checked_sub(content.len()).ok_or(too_large)?;
        writer.start_file(name, SimpleFileOptions::default()).map_err(damaged)?;
        writer.write_all(&NAMES.replace_all(&content, b"$1$2$3$4".as_slice())).map_err(|_| CannotClean::Damaged)?;
    }
    Ok(writer.finish().map_err(damaged)?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(class: AttachmentClass, media_type: &str, bytes: Vec<u8>) -> Attachment {
        Attachment { name: "x".into(), media_type: media_type.into(), bytes: bytes.into(), class }
    }

    fn holds(bytes: &[u8], word: &str) -> bool {
        bytes.windows(word.len()).any(|w| w == word.as_bytes())
    }

    fn small_jpeg(orientation: u8) -> Vec<u8> {
        let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        exif.extend_from_slice(&[orientation, 0, 0, 0]);
        exif.extend_from_slice(b"\x3b\x01\x02\0\x06\0\0\0\x26\0\0\0\0\0\0\0MARIE\0");
        let mut out = b"\xff\xd8".to_vec();
        for (marker, content) in [
            (0xe0u8, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0".to_vec()),
            (0xe1, exif),
            (0xe1, b"http://ns.adobe.com/xap/1.0/\0<x>MARIE</x>".to_vec()),
            (0xed, b"Photoshop 3.0\0MARIE".to_vec()),
            (0xfe, b"by MARIE".to_vec()),
            (0xdb, vec![0; 65]),
            (0xda, vec![1, 1, 0, 0, 63, 0]),
        ] {
            out.extend_from_slice(&[0xff, marker]);
            out.extend_from_slice(&u16::try_from(content.len() + 2).unwrap().to_be_bytes());
            out.extend_from_slice(&content);
        }
        out.extend_from_slice(b"\x12\x34\xff\x00\x56\xff\xd9trailer of MARIE");
        out
    }

    #[test]
    fn a_jpeg_loses_names_and_keeps_which_way_is_up() {
        let raw = small_jpeg(6);
        assert!(holds(&raw, "MARIE"));
        let clean = strip_metadata(&attachment(AttachmentClass::Picture, "image/jpeg", raw)).unwrap();
        assert!(!holds(&clean, "MARIE") && !holds(&clean, "trailer"));
        assert!(clean.starts_with(b"\xff\xd8\xff\xe0") && clean.ends_with(b"\x12\x34\xff\x00\x56\xff\xd9"));
        let again = Jpeg::from_bytes(Bytes::from(clean)).unwrap();
        assert_eq!(again.segments_by_marker(0xe1).find_map(|s| orientation(s.contents())), Some(6));
    }

    #[test]
    fn a_png_loses_its_texts() {
        let chunk = |kind: &[u8; 4], data: &[u8]| img_parts::png::PngChunk::new(*kind, Bytes::copy_from_slice(data));
        let mut raw = b"\x89PNG\r\n\x1a\n".to_vec();
        for (kind, data) in [
            (b"IHDR", vec![0u8; 13]),
            (b"tEXt", b"Author\0MARIE".to_vec()),
            (b"eXIf", b"MARIE".to_vec()),
            (b"IDAT", b"pixels".to_vec()),
            (b"IEND", vec![]),
        ] {
            chunk(kind, &data).encoder().write_to(&mut raw).unwrap();
        }
        let clean = strip_metadata(&attachment(AttachmentClass::Picture, "image/png", raw)).unwrap();
        assert!(!holds(&clean, "MARIE") && holds(&clean, "pixels"));
    }

    #[test]
    fn a_pdf_loses_its_author() {
        use lopdf::{Stream, dictionary};
        let mut document = Document::with_version("1.5");
        let pages = document.new_object_id();
        let page = document.add_object(dictionary! { "Type" => "Page", "Parent" => pages });
        document.set_object(pages, dictionary! { "Type" => "Pages", "Kids" => vec![page.into()], "Count" => 1 });
        let xmp = dictionary! { "Type" => "Metadata", "Subtype" => "XML" };
        let xmp = document.add_object(Stream::new(xmp, b"<x>MARIE</x>".to_vec()));
        let root = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages, "Metadata" => xmp });
        let info = document.add_object(dictionary! { "Author" => Object::string_literal("MARIE") });
        document.trailer.set("Root", root);
        document.trailer.set("Info", info);
        let mut raw = Vec::new();
        document.save_to(&mut raw).unwrap();
        assert!(holds(&raw, "MARIE"));
        let clean = strip_metadata(&attachment(AttachmentClass::Pdf, "application/pdf", raw)).unwrap();
        assert!(!holds(&clean, "MARIE"));
        assert_eq!(Document::load_mem(&clean).unwrap().get_pages().len(), 1);
    }

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in entries {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn unpack(bytes: &[u8]) -> String {
        let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut all = String::new();
        for index in 0..archive.len() {
            archive.by_index(index).unwrap().read_to_string(&mut all).unwrap();
        }
        all
    }

    #[test]
    fn office_documents_lose_their_authors() {
        let raw = archive(&[
            ("[Content_Types].xml", b"<Types/>"),
            ("docProps/core.xml", b"<dc:creator>MARIE</dc:creator>"),
            ("docProps/app.xml", b"<Company>MARIE</Company>"),
            ("word/document.xml", b"<w:ins w:id=\"1\" w:author=\"MARIE\" w:date=\"x\"><w:t>hello</w:t></w:ins>"),
            ("word/media/image1.png", b"pixels"),
            ("meta.xml", b"<meta:initial-creator>MARIE</meta:initial-creator>"),
            ("content.xml", b"<dc:creator>MARIE</dc:creator><text:p>goodbye</text:p>"),
        ]);
        let clean = strip_metadata(&attachment(AttachmentClass::Document, "application/x", raw)).unwrap();
        let text = unpack(&clean);
        assert!(!text.contains("MARIE"), "{text}");
        assert!(text.contains("hello") && text.contains("goodbye") && text.contains("pixels"));
    }

    #[test]
    fn row_08_a_document_that_unpacks_without_end_is_refused() {
        let zeros = vec![b' '; UNPACK_LIMIT + 1];
        let raw = archive(&[("word/document.xml", &zeros)]);
        assert!(raw.len() < 1_000_000);
        assert_eq!(
            strip_metadata(&attachment(AttachmentClass::Document, "application/x", raw)),
            Err(CannotClean::UnpacksTooLarge { limit: UNPACK_LIMIT })
        );
    }

    #[test]
    fn what_cannot_be_cleaned_says_so() {
        for (class, kind, bytes, want) in [
            (AttachmentClass::Picture, "image/heic", b"x".to_vec(), CannotClean::Unsupported),
            (AttachmentClass::Document, "application/msword", b"\xd0\xcf".to_vec(), CannotClean::Unsupported),
            (AttachmentClass::Picture, "image/jpeg", b"\xff\xd8\xff\xe1".to_vec(), CannotClean::Damaged),
            (AttachmentClass::Pdf, "application/pdf", b"%PDF-1.4".to_vec(), CannotClean::Damaged),
            (AttachmentClass::Document, "application/x", b"PK\x03\x04".to_vec(), CannotClean::Damaged),
        ] {
            assert_eq!(strip_metadata(&attachment(class, kind, bytes)), Err(want), "{kind}");
        }
    }
}
