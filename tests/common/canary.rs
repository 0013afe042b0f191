//! The canary test: words that were written must not be found at rest.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use regex::bytes::{Regex, RegexBuilder};

use super::postgres::Place;

/// A word found where it mustn't be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub file: PathBuf,
    pub word: String,
    /// `utf-8`, `utf-16`, `base64`, `quoted-printable` or `file name`.
    pub form: &'static str,
    /// Bytes from the file's beginning.
    pub offset: usize,
}

/// Searches files and folders (recursively, names included) for `words`, whatever their case, in
/// UTF-8, UTF-16 (both orders), quoted-printable and base64 at each of its three alignments, also
/// across base64's line ends; with a practice's folder also what its configuration names on PostgreSQL. Empty when nothing
/// was found. Use words of six bytes or more.
pub fn canary(paths: &[&Path], words: &[&str]) -> Result<Vec<Found>> {
    let list: Vec<_> = words.iter().flat_map(|word| forms(word)).collect();
    let needles = Needles { folded: any_of(&list, true)?, joined: any_of(&list, false)?, list };
    let mut found = Vec::new();
    for path in paths {
        search(path, words, &needles, &mut found)?;
        // What a practice has in a server's database lies elsewhere.
        if let Some(place) = Place::of(path)? {
            let copies = tempfile::tempdir()?;
            for path in place.at_rest(copies.path())? {
                search(&path, words, &needles, &mut found)?;
            }
        }
    }
    Ok(found)
}

struct Needle {
    word: String,
    form: &'static str,
    bytes: Vec<u8>,
    /// Folded to lower case before comparing, like the file's bytes.
    folded: bool,
}

/// All that is looked for, and one quick question for each way of comparing: is any of it there?
struct Needles {
    list: Vec<Needle>,
    folded: Option<Regex>,
    joined: Option<Regex>,
}

fn any_of(list: &[Needle], folded: bool) -> Result<Option<Regex>> {
    let one = |needle: &Needle| needle.bytes.iter().map(|b| format!("\\x{b:02x}")).collect::<String>();
    let all: Vec<String> = list.iter().filter(|needle| needle.folded == folded).map(one).collect();
    if all.is_empty() {
        return Ok(None);
    }
    Ok(Some(RegexBuilder::new(&all.join("|")).unicode(false).size_limit(64 << 20).build()?))
}

fn forms(word: &str) -> Vec<Needle> {
    let needle = |form, bytes: Vec<u8>, folded: bool| {
        let bytes = if folded { fold(&bytes) } else { bytes };
        Needle { word: word.to_owned(), form, bytes, folded }
    };
    let lower = word.to_lowercase();
    let mut capital = lower.chars();
    let capital: String = capital.next().map(|c| c.to_uppercase().chain(capital).collect()).unwrap_or_default();
    let mut spellings = vec![word.to_owned(), lower, word.to_uppercase(), capital];
    spellings.sort();
    spellings.dedup();
    let mut out = Vec::new();
    for spelling in spellings {
        out.push(needle("utf-8", spelling.as_bytes().to_vec(), true));
        out.push(needle("utf-16", spelling.encode_utf16().flat_map(u16::to_le_bytes).collect(), true));
        out.push(needle("utf-16", spelling.encode_utf16().flat_map(u16::to_be_bytes).collect(), true));
        // The body's quoted-printable keeps spaces; the header's Q encoding makes them `_`.
        out.push(needle("quoted-printable", escaped(&spelling).into_bytes(), true));
        out.push(needle("quoted-printable", escaped(&spelling).replace(' ', "_").into_bytes(), true));
        for shift in 0..3 {
            let padded = [vec![0; shift], spelling.as_bytes().to_vec()].concat();
            let whole = STANDARD_NO_PAD.encode(&padded);
            // Only characters that the word alone decides: drop those that a neighbour has a share in.
            let start = (shift * 8).div_ceil(6);
            let end = padded.len() * 8 / 6;
            let core = whole[start..end.min(whole.len())].to_owned();
            if core.len() >= 7 {
                out.push(needle("base64", core.into_bytes(), false));
            }
        }
    }
    out.sort_by(|a, b| (a.form, &a.bytes).cmp(&(b.form, &b.bytes)));
    out.dedup_by(|a, b| a.form == b.form && a.bytes == b.bytes);
    out
}

fn escaped(word: &str) -> String {
    word.bytes()
        .map(|b| if b.is_ascii() && b != b'=' { char::from(b).to_string() } else { format!("={b:02X}") })
        .collect()
}

/// Lower case without moving an offset: ASCII, and the Latin capitals with accents, which in UTF-8
/// (C3 80 to C3 9E) are 0x20 below their small letters.
fn fold(bytes: &[u8]) -> Vec<u8> {
    let mut folded = bytes.to_ascii_lowercase();
    // Quick where it isn't optimised either: a server's files are many megabytes.
    for lead in memchr::memchr_iter(0xC3, bytes) {
        if let Some(next) = folded.get_mut(lead + 1)
            && (0x80..=0x9E).contains(next)
            && *next != 0x97
        {
            *next += 0x20;
        }
    }
    folded
}

fn search(path: &Path, words: &[&str], needles: &Needles, found: &mut Vec<Found>) -> Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    for word in words {
        if name.contains(&word.to_lowercase()) {
            found.push(Found { file: path.to_owned(), word: (*word).to_owned(), form: "file name", offset: 0 });
        }
    }
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            search(&entry?.path(), words, needles, found)?;
        }
    } else if meta.is_file() {
        let bytes = match fs::read(path) {
            // A server moved it meanwhile: it will be seen at its new place or is gone.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.with_context(|| path.display().to_string())?,
        };
        for hit in search_bytes(&bytes, needles) {
            found.push(Found { file: path.to_owned(), ..hit });
        }
    }
    Ok(())
}

fn search_bytes(bytes: &[u8], needles: &Needles) -> Vec<Found> {
    let folded = fold(bytes);
    let joined = joined(bytes);
    let mut hits = Vec::new();
    let some = |question: &Option<Regex>, hay: &[u8]| question.as_ref().is_some_and(|any| any.is_match(hay));
    if !some(&needles.folded, &folded) && !some(&needles.joined, &joined) {
        return hits;
    }
    for needle in &needles.list {
        let hay = if needle.folded { &folded } else { &joined };
        if let Some(offset) = memchr::memmem::find(hay, &needle.bytes) {
            hits.push(Found { file: PathBuf::new(), word: needle.word.clone(), form: needle.form, offset });
        }
    }
    hits
}

/// Without the ends of lines.
fn joined(bytes: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for end in memchr::memchr2_iter(b'\r', b'\n', bytes) {
        joined.extend_from_slice(&bytes[from..end]);
        from = end + 1;
    }
    joined.extend_from_slice(&bytes[from..]);
    joined
}
