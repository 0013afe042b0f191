//! What relays do to letters on their way, and the options that programs write with. What only changes the
//! transport is verified with its words intact; what changes signed words never is.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cadre::model::Verdict;

use super::compose::{Form, Pen};
use super::looks::Eyes;
use super::ring::Ring;
use super::table::{Cell, Table};
use super::world::{Key, World};
use crate::common::mail::{base64_lines, quoted_printable};
use crate::common::scene::march;
use crate::common::{Lab, LabOptions, Smtp};

const TEXT: &str = "Bonjour,\n\nL'été, la mer monte.\nFrom ici jusqu'au phare.\n- un tiret\n.\n..\nFin  \n";
const WORDS: [&str; 4] = ["L'été, la mer monte.", "From ici jusqu'au phare.", "- un tiret", "Fin"];
const FILE: &[u8] = "une ligne\r\nune autre, à l'été\r\n".as_bytes();

const FORMS: [(Form, &str); 5] = [
    (Form::SignedEncrypted, "signed+encrypted"),
    (Form::DetachedInside, "detached inside"),
    (Form::Signed, "signed"),
    (Form::Inline, "inline"),
    (Form::InlineSigned, "inline signed"),
];

const CHANGED: &str = "signed words were changed on the way (RFC 3156 has programs encode what relays change): bad";
const BESIDE: &str = "somebody's words stand beside the protected ones: partial, held";
const NOT_HERE: &str = "the form has nothing that this could happen to";

type Mangle = fn(&str) -> Option<String>;

/// Where the body begins.
fn split(raw: &str) -> (&str, &str) {
    let at = raw.find("\r\n\r\n").map_or(raw.len(), |at| at + 4);
    raw.split_at(at)
}

fn each_line(raw: &str, change: impl Fn(&str) -> String) -> String {
    let (header, body) = split(raw);
    let lines: Vec<String> = body.split("\r\n").map(change).collect();
    header.to_owned() + &lines.join("\r\n")
}

/// The armored block of the mail within its lines.
fn armor(raw: &str) -> Option<(usize, usize)> {
    let start = raw.find("-----BEGIN PGP MESSAGE-----")?;
    let last = "-----END PGP MESSAGE-----";
    Some((start, raw.find(last)? + last.len() + 2))
}

/// The armored part once more, in another transfer encoding.
fn reencode(raw: &str, encoding: &str, by: impl Fn(&str) -> String) -> Option<String> {
    let (start, end) = armor(raw)?;
    let head = raw[..start]
        .trim_end()
        .replace("Content-Transfer-Encoding: 8bit", &format!("Content-Transfer-Encoding: {encoding}"));
    let named = head.contains(&format!("Content-Transfer-Encoding: {encoding}"));
    let field = if named { String::new() } else { format!("\r\nContent-Transfer-Encoding: {encoding}") };
    Some(format!("{head}{field}\r\n\r\n{}{}", by(&raw[start..end]), &raw[end..]))
}

/// The base64 of the armor, decoded.
fn binary(raw: &str) -> Option<Vec<u8>> {
    let (start, end) = armor(raw)?;
    let block = &raw[start..end];
    let body = &block[block.find("\r\n\r\n")? + 4..block.rfind("-----END")?];
    let lines: String = body.lines().filter(|line| !line.starts_with('=')).collect();
    STANDARD.decode(lines).ok()
}

fn armored(raw: &str, block: impl Fn(&[u8]) -> String) -> Option<String> {
    let (start, end) = armor(raw)?;
    Some(format!("{}{}{}", &raw[..start], block(&binary(raw)?), &raw[end..]))
}

fn footer(raw: &str) -> Option<String> {
    let (header, body) = split(raw);
    let kind = header.lines().position(|line| line.to_ascii_lowercase().starts_with("content-type:"))?;
    let lines: Vec<&str> = header.trim_end().split("\r\n").collect();
    let (outer, own) = lines.split_at(kind);
    Some(format!(
        "{}\r\nContent-Type: multipart/mixed; boundary=liste\r\n\r\n--liste\r\n{}\r\n\r\n{body}\r\n--liste\r\n\
         Content-Type: text/plain\r\n\r\nUn pied de page\r\n--liste--\r\n",
        outer.join("\r\n"),
        own.join("\r\n")
    ))
}

/// Exchange: `multipart/mixed` with an empty text before the two parts.
fn exchange(raw: &str) -> Option<String> {
    let encrypted = raw.contains("Content-Type: multipart/encrypted");
    let boundary = raw.split("boundary=\"").nth(1)?.split('"').next()?;
    let mixed = raw.replacen(
        "Content-Type: multipart/encrypted;\r\n protocol=\"application/pgp-encrypted\"",
        "Content-Type: multipart/mixed",
        1,
    );
    let empty = format!("--{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\r\n--{boundary}\r\n");
    encrypted.then(|| mixed.replacen(&format!("--{boundary}\r\n"), &empty, 1))
}

/// What happens on the way; `None` where the form has nothing that it could happen to.
const WAYS: [(&str, Mangle); 27] = [
    ("nothing", |raw| Some(raw.to_owned())),
    ("bare LF", |raw| Some(raw.replace("\r\n", "\n"))),
    ("CR CR LF", |raw| Some(raw.replace("\r\n", "\r\r\n"))),
    ("a space behind each line", |raw| Some(each_line(raw, |line| format!("{line} ")))),
    ("a tab behind each armored line", |raw| {
        let (start, end) = armor(raw)?;
        Some(format!("{}{}{}", &raw[..start], raw[start..end].replace("\r\n", "\t\r\n"), &raw[end..]))
    }),
    ("blanks at line ends cut", |raw| Some(each_line(raw, |line| line.trim_end_matches([' ', '\t']).to_owned()))),
    (">From", |raw| Some(each_line(raw, |l| if l.starts_with("From ") { format!(">{l}") } else { l.to_owned() }))),
    ("dots doubled and not undone", |raw| {
        Some(each_line(raw, |l| if l.starts_with('.') { format!(".{l}") } else { l.to_owned() }))
    }),
    ("an mbox line before it", |raw| Some(format!("From marie@client.example Mon Mar  2 06:30:00 2026\r\n{raw}"))),
    ("empty lines at the end", |raw| Some(format!("{raw}\r\n\r\n\r\n"))),
    ("last line break cut", |raw| Some(raw.trim_end().to_owned())),
    ("header folded anew", |raw| {
        let (header, body) = split(raw);
        Some(header.replace("; ", ";\r\n\t").replace(";\r\n ", ";\r\n\t") + body)
    }),
    ("header names in small letters", |raw| {
        let (header, body) = split(raw);
        let lines: Vec<String> = header
            .split("\r\n")
            .map(|line| match line.split_once(": ") {
                Some((name, value)) if !line.starts_with(' ') => format!("{}: {value}", name.to_ascii_lowercase()),
                _ => line.to_owned(),
            })
            .collect();
        Some(lines.join("\r\n") + body)
    }),
    ("parameters without quotes", |raw| {
        let plain = raw.replace("\"application/pgp-encrypted\"", "application/pgp-encrypted");
        (plain != raw).then_some(plain)
    }),
    ("words before the first boundary", |raw| {
        let at = raw.find("\r\n\r\n--")? + 4;
        Some(format!("{}This is an OpenPGP/MIME message (RFC 3156)\r\n{}", &raw[..at], &raw[at..]))
    }),
    ("trace headers on top", |raw| {
        Some(format!("Received: from a by b; Mon, 2 Mar 2026 06:30:00 +0100\r\nX-Spam: no\r\n{raw}"))
    }),
    ("encrypted part in base64", |raw| reencode(raw, "base64", |block| base64_lines(block.as_bytes()))),
    ("encrypted part quoted-printable", |raw| reencode(raw, "quoted-printable", quoted_printable)),
    ("encrypted part binary, in base64", |raw| {
        let bytes = binary(raw)?;
        raw.contains("multipart/encrypted").then(|| reencode(raw, "base64", |_| base64_lines(&bytes))).flatten()
    }),
    ("armor without checksum", |raw| {
        armored(raw, |bytes| {
            format!("-----BEGIN PGP MESSAGE-----\r\n\r\n{}-----END PGP MESSAGE-----\r\n", base64_lines(bytes))
        })
    }),
    ("armor with header fields", |raw| {
        armored(raw, |bytes| {
            format!(
                "-----BEGIN PGP MESSAGE-----\r\nVersion: BCPG v1.58\r\nComment: à bientôt\r\nCharset: utf-8\r\n\r\n{}-----END PGP MESSAGE-----\r\n",
                base64_lines(bytes)
            )
        })
    }),
    ("armor in one long line", |raw| {
        armored(raw, |bytes| {
            format!("-----BEGIN PGP MESSAGE-----\r\n\r\n{}\r\n-----END PGP MESSAGE-----\r\n", STANDARD.encode(bytes))
        })
    }),
    ("armor with empty lines within", |raw| {
        armored(raw, |bytes| {
            format!(
                "-----BEGIN PGP MESSAGE-----\r\n\r\n{}-----END PGP MESSAGE-----\r\n",
                base64_lines(bytes).replacen("\r\n", "\r\n\r\n", 2)
            )
        })
    }),
    ("Exchange's container", exchange),
    ("a list's footer as a part", footer),
    ("a footer below", |raw| Some(format!("{raw}\r\nEnvoyé depuis mon téléphone\r\n"))),
    ("one letter changed", |raw| {
        let (at, _) = armor(raw).or_else(|| raw.find("la mer").map(|at| (at, at)))?;
        let at = if raw[at..].starts_with("la") { at } else { at + raw[at..].find("\r\n\r\n")? + 90 };
        let other = if raw[at..].starts_with('A') { "B" } else { "A" };
        Some(format!("{}{other}{}", &raw[..at], &raw[at + 1..]))
    }),
];

/// What Cadre has to find when it isn't `verified` with all its words: the verdicts that are right, and why.
fn otherwise(way: &str, form: Form) -> Option<(&'static [Verdict], &'static str)> {
    use Form::{Inline, InlineSigned, Signed};
    const BAD: &[Verdict] = &[Verdict::Bad];
    const PARTIAL: &[Verdict] = &[Verdict::Partial];
    Some(match (way, form) {
        ("one letter changed", _) => (&[Verdict::Bad, Verdict::Undecryptable], CHANGED),
        ("a space behind each line", Signed) => (BAD, CHANGED),
        ("dots doubled and not undone", InlineSigned) => (BAD, CHANGED),
        ("a list's footer as a part", _) => (PARTIAL, BESIDE),
        ("a footer below" | "words before the first boundary", Inline | InlineSigned) => (PARTIAL, BESIDE),
        _ => return None,
    })
}

#[test]
fn what_relays_do_is_undone_and_what_changes_words_is_seen() -> Result<()> {
    let lab = Lab::with(LabOptions { smtp: Smtp::None, ..LabOptions::default() })?;
    let at = march(2, 5, 30);
    let world = World::new(&lab, at)?;
    let office = super::stage::office(&world, at)?;
    let client = Key::committed(&world, "curve25519")?;
    let eyes = Eyes::new(&office, &client)?;
    let gnupg = Ring::gnupg();
    let pen = Pen { world: &world, program: &gnupg, key: &client, office: &office };
    let columns: Vec<&str> = FORMS.iter().map(|(_, name)| *name).collect();
    let mut table = Table::new("On the way: what relays do to each form", [], &columns);
    for (form, column) in FORMS {
        let raw = String::from_utf8(pen.letter(form, "La mer", TEXT, FILE)?)?;
        let files: &[&[u8]] = if form.has_file() { &[FILE] } else { &[] };
        for (way, mangle) in WAYS {
            let Some(mangled) = mangle(&raw) else {
                table.note(way, column, Cell::Cannot(NOT_HERE));
                continue;
            };
            let cell = match otherwise(way, form) {
                None => match eyes.verified(mangled.as_bytes(), at, &WORDS, files) {
                    Ok(_) => Cell::Good,
                    Err(error) => Cell::Failed(format!("{error:#}")),
                },
                Some((right, reason)) => {
                    let found = eyes.look(mangled.as_bytes(), at)?.verdict;
                    if right.contains(&found) { Cell::Cannot(reason) } else { Cell::Failed(format!("found {found}")) }
                }
            };
            if matches!(cell, Cell::Failed(_)) {
                super::stage::keep(&format!("{way}-{column}").replace([' ', ','], "-"), mangled.as_bytes())?;
            }
            table.note(way, column, cell);
        }
    }
    table.publish("relays")?;
    let failures = table.failures();
    ensure!(failures.is_empty(), "{} cells:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}
