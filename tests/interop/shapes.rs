//! Every shape that a mail program gives a letter, in each form that protects it.

use anyhow::{Result, ensure};

use super::compose::{Pen, encrypted, head, signed};
use super::looks::Eyes;
use super::program::{How, Program as _};
use super::ring::Ring;
use super::table::{Cell, Table};
use super::world::{Key, World};
use crate::common::mail::{base64_lines, file_part, multipart, text_part};
use crate::common::scene::march;
use crate::common::{Lab, LabOptions, Smtp};

const WORDS: &str = "L'été, la mer monte jusqu'au phare.";
const SUBJECT: &str = "Le phare";
const HIDDEN: &str = "[...]";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\nIDATx\x9cc\0\x01\0\0\x05\0\
    \x01\r\n-\xb4\0\0\0\0IEND\xaeB`\x82";

/// One shape: the entity's bytes, what a reader must find, and whether the real subject is inside.
struct Shape {
    name: &'static str,
    entity: Vec<u8>,
    words: Vec<&'static str>,
    files: Vec<Vec<u8>>,
    subject_inside: bool,
}

fn shape(name: &'static str, entity: impl Into<Vec<u8>>) -> Shape {
    Shape { name, entity: entity.into(), words: vec![WORDS], files: Vec::new(), subject_inside: false }
}

impl Shape {
    fn words(mut self, words: &[&'static str]) -> Self {
        self.words = words.to_vec();
        self
    }

    fn files(mut self, files: &[&[u8]]) -> Self {
        self.files = files.iter().map(|file| file.to_vec()).collect();
        self
    }

    fn inside(mut self) -> Self {
        self.subject_inside = true;
        self
    }
}

fn plain(parameters: &str, encoding: &str, body: &str) -> String {
    format!("Content-Type: text/plain; {parameters}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n")
}

fn utf8() -> String {
    plain("charset=utf-8", "8bit", WORDS)
}

fn html() -> String {
    text_part("text/html", &format!("<html><body><p>{WORDS}</p><img src=\"cid:i1\"></body></html>"))
}

fn image() -> String {
    format!(
        "Content-Type: image/png; name=\"i.png\"\r\nContent-ID: <i1>\r\nContent-Disposition: inline; \
         filename=\"i.png\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        base64_lines(PNG)
    )
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

fn charsets() -> Vec<Shape> {
    let utf16: Vec<u8> = [0xfe, 0xff].into_iter().chain(WORDS.encode_utf16().flat_map(u16::to_be_bytes)).collect();
    let latin = [
        b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".to_vec(),
        latin1(WORDS),
    ];
    vec![
        shape("7 bit, us-ascii", plain("charset=us-ascii", "7bit", "Rien que la mer.")).words(&["Rien que la mer."]),
        shape("8 bit, UTF-8", utf8()),
        shape("8 bit, ISO 8859-1", latin.concat()),
        shape("quoted-printable", text_part("text/plain", &format!("{WORDS}\nFrom ici  \n.\n")))
            .words(&[WORDS, "From ici", "\n."]),
        shape("base64", plain("charset=UTF-8", "base64", base64_lines(WORDS.as_bytes()).trim_end())),
        shape("base64, UTF-16", plain("charset=utf-16", "base64", base64_lines(&utf16).trim_end())),
        shape(
            "windows-1252, quoted-printable",
            plain("charset=windows-1252", "quoted-printable", "L=92=E9t=E9, =8Cuvre"),
        )
        .words(&["L\u{2019}été, Œuvre"]),
        shape("no MIME fields at all", format!("\r\n{WORDS}\r\n")),
        shape("a line of 5,000 signs", plain("charset=utf-8", "8bit", &format!("{} {WORDS}", "mot ".repeat(1250)))),
        shape(
            "flowed",
            plain("charset=utf-8; format=flowed", "8bit", "L'été, la mer \r\nmonte jusqu'au phare. \r\n Fin."),
        )
        .words(&["L'été, la mer"]),
        shape(
            "flowed, delsp",
            plain(
                "charset=utf-8; format=flowed; delsp=yes",
                "8bit",
                "L'été, la mer  \r\nmonte jusqu'au phare.\r\n>  cité",
            ),
        )
        .words(&["monte jusqu'au phare."]),
        shape("bare LF within", utf8().replace("\r\n", "\n")),
        shape("LF and CRLF mixed", utf8().replacen("\r\n", "\n", 1)),
    ]
}

fn trees() -> Vec<Shape> {
    let alternative = |parts: &[String]| multipart("alternative", "", "", parts);
    let related = multipart("related", "; type=\"text/html\"", "", &[html(), image()]);
    let text_file = "une ligne\r\nune autre, à l'été\r\n".as_bytes();
    let nested = multipart(
        "mixed",
        "",
        "",
        &[
            multipart(
                "mixed",
                "",
                "",
                &[alternative(&[utf8(), related.clone()]), file_part("a.txt", "text/plain", text_file)],
            ),
            multipart("mixed", "", "", &[multipart("mixed", "", "", &[file_part("b.csv", "text/csv", b"1;2\r\n")])]),
        ],
    );
    let forwarded = format!(
        "Content-Type: message/rfc822\r\nContent-Disposition: attachment; filename=\"ancien.eml\"\r\n\r\n\
         From: quelqu-un@autre.example\r\nSubject: Ancien\r\n\r\n{}",
        "Un ancien courrier.\r\n"
    );
    let between = multipart("mixed", "", "", &[utf8(), image(), plain("charset=utf-8", "8bit", "Et encore.")]);
    vec![
        shape("HTML alone", html()),
        shape("text and HTML", alternative(&[utf8(), html()])),
        shape("HTML with a picture inside", related),
        shape("a file", multipart("mixed", "", "", &[utf8(), file_part("a.txt", "text/plain", text_file)]))
            .files(&[text_file]),
        shape("nested five deep", nested).files(&[text_file, b"1;2\r\n"]),
        shape("a forwarded mail", multipart("mixed", "", "", &[utf8(), forwarded])),
        shape("text, picture, text", between).words(&[WORDS, "Et encore."]),
        shape(
            "a file and no word",
            multipart(
                "mixed",
                "",
                "",
                &[plain("charset=utf-8", "7bit", ""), file_part("a.txt", "text/plain", text_file)],
            ),
        )
        .words(&[])
        .files(&[text_file]),
    ]
}

/// Header protection: the old form, the old form repeated for old readers, RFC 9788, and its repetition.
fn protected(from: &str) -> Vec<Shape> {
    let inside = format!("Subject: {SUBJECT}\r\nFrom: {from}\r\nTo: ecrire@cabinet.example\r\n");
    let repeated = format!(
        "Content-Type: text/rfc822-headers; protected-headers=\"v1\"\r\nContent-Disposition: inline\r\n\r\nSubject: {SUBJECT}\r\n"
    );
    let hp = |kind: &str, mark: &str| {
        format!(
            "{inside}HP-Outer: Subject: {HIDDEN}\r\nHP-Outer: From: {from}\r\nContent-Type: text/plain; charset=utf-8; \
             hp=\"{kind}\"{mark}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        )
    };
    let legacy = format!("{}Subject: {SUBJECT}\r\n\r\n{WORDS}\r\n", hp("cipher", "; hp-legacy-display=\"1\""));
    vec![
        shape("protected, old form", multipart("mixed", "; protected-headers=\"v1\"", &inside, &[utf8()])).inside(),
        shape(
            "protected, old, one part",
            format!("{inside}{}", plain("charset=utf-8; protected-headers=\"v1\"", "8bit", WORDS)),
        )
        .inside(),
        shape(
            "protected, old, repeated",
            multipart("mixed", "; protected-headers=\"v1\"", &inside, &[repeated, utf8()]),
        )
        .inside(),
        shape("protected, RFC 9788", format!("{}{WORDS}\r\n", hp("cipher", ""))).inside(),
        shape("protected, RFC 9788, repeated", legacy).inside(),
        shape("protected, RFC 9788, clear", format!("{}{WORDS}\r\n", hp("clear", ""))).inside(),
    ]
}

const COLUMNS: [&str; 3] = ["signed", "signed+encrypted", "detached inside"];

fn letter(pen: &Pen<'_>, shape: &Shape, column: &str) -> Result<Vec<u8>> {
    let at = pen.world.now();
    let subject = if shape.subject_inside { HIDDEN } else { SUBJECT };
    let sign = |entity: &[u8]| -> Result<Vec<u8>> {
        // What is signed has CRLF, whatever travels (RFC 3156 section 5).
        let covered = entity.strip_suffix(b"\r\n").unwrap_or(entity);
        let canonical = crlf(covered);
        let signature = pen.program.sign(pen.world, pen.key, &canonical)?;
        Ok(splice(&signed("@@@", &signature), covered))
    };
    let body = match column {
        "signed" => sign(&shape.entity)?,
        "detached inside" => encrypted(&pen.encrypt(&sign(&shape.entity)?, How::default())?).into_bytes(),
        _ => encrypted(&pen.encrypt(&shape.entity, How { sign: true, hidden: false })?).into_bytes(),
    };
    Ok([head(&pen.key.address, subject, at).into_bytes(), body].concat())
}

/// The bytes in place of the mark, which text can't carry.
fn splice(container: &str, bytes: &[u8]) -> Vec<u8> {
    let (before, after) = container.split_once("@@@").unwrap_or((container, ""));
    [before.as_bytes(), bytes, after.as_bytes()].concat()
}

fn crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

#[test]
fn every_shape_of_a_letter_is_verified_and_intact() -> Result<()> {
    let lab = Lab::with(LabOptions { smtp: Smtp::None, ..LabOptions::default() })?;
    let at = march(2, 5, 30);
    let world = World::new(&lab, at)?;
    let gnupg = Ring::gnupg();
    let office = super::stage::office(&world, at)?;
    let client = Key::committed(&world, "curve25519")?;
    let eyes = Eyes::new(&office, &client)?;
    let pen = Pen { world: &world, program: &gnupg, key: &client, office: &office };
    ensure!(gnupg.version(&world)?.starts_with("gpg"));

    let shapes: Vec<Shape> = [charsets(), trees(), protected(&client.address)].into_iter().flatten().collect();
    let mut table = Table::new("Shapes, written with GnuPG: verified, words and files intact", [], &COLUMNS);
    for shape in &shapes {
        for column in COLUMNS {
            let raw = letter(&pen, shape, column)?;
            let files: Vec<&[u8]> = shape.files.iter().map(Vec::as_slice).collect();
            let found = eyes.verified(&raw, at, &shape.words, &files).and_then(|look| {
                ensure!(look.subject == SUBJECT, "the subject is {:?}", look.subject);
                ensure!(!look.text.contains("Subject:"), "a repeated header field in {:?}", look.text);
                Ok(())
            });
            if found.is_err() {
                super::stage::keep(&format!("{}-{column}", shape.name).replace([' ', ','], "-"), &raw)?;
            }
            let cell = found.map_or_else(|error| Cell::Failed(format!("{error:#}")), |()| Cell::Good);
            table.note(shape.name, column, cell);
        }
    }
    table.publish("shapes")?;
    let failures = table.failures();
    ensure!(failures.is_empty(), "{} cells:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}
