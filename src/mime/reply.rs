//! The therapist's answer without what Cadre and mail programs put around it (SPEC sections 3, 8 and 9).

use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

use super::from::is_bidi;
use super::quote::{Mark, mark, unquote};
use crate::model::Address;

/// First line of Cadre's part is this, the code, and [`BANNER_HEAD_END`].
pub const BANNER_HEAD_START: &str = "──── Cadre · ";
pub const BANNER_HEAD_END: &str = " ────";
/// Last line of Cadre's part.
pub const BANNER_END: &str = "────────────";
/// Labels of the line that carries the token, in French and English.
pub const TOKEN_LABELS: &[&str] = &["Jeton", "Token"];
/// A banner whose end was cut off is not looked for further than this.
const BANNER_MAX_LINES: usize = 60;

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern, compiled in the tests")
}

static HEAD: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^\s*[─—–-]{2,}\s*Cadre\s*·\s*(\S.{0,40}?)\s*(?:[─—–-]{2,}\s*)?$"));
static END: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s*─{6,}\s*$"));
static TOKEN: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)^\W{0,4}(?:Jeton|Token)\s*[:：]\s*([A-Za-z0-9_\-+/=.]{6,200})\s*$"));
/// `C-7K2M`, `N-3F`, with any dash, brackets or a Cyrillic С; `H3`.
static CODE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\[?\s*(?:\b[CСN]\s?[-‐‑‒–—−]\s?[2-9A-HJ-NP-Z]{4}\b|\bN\s?[-‐‑‒–—−]\s?[2-9A-HJ-NP-Z]{2,3}\b|\bH\d{1,6}\b)\s*\]?\s?:?",
    )
});
/// Only what is surely a client's code, for text where `H2` may be a word.
static CLIENT_CODE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\[?\b[CN][-‐‑–][2-9A-HJ-NP-Z]{4}\b\]?|\[(?:H\d{1,6}|N-[2-9A-HJ-NP-Z]{2,3})\]"));
static PREFIX: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^(?:\s*(?:re|aw|antw|antwort|sv|vs|ref|rif|r|rép|rep|tr|fwd?|wg|i|enc|odp|ynt|res|回复|答复|转发)\s*(?:\[\d+\]|\(\d+\))?\s*[:：])+\s*",
    )
});

/// Cadre's own first text part: head, facts, token, end. Lines are joined by `\n`.
///
/// `code` is such as `C-7K2M`; `token_label` is one of [`TOKEN_LABELS`]. A fact that would look like a head, a token
/// or an end is defused.
pub fn banner(code: &str, lines: &[String], token_label: &str, token: &str) -> String {
    let mut out = vec![format!("{BANNER_HEAD_START}{code}{BANNER_HEAD_END}")];
    for line in lines {
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let line = line.replace('─', "-");
        out.push(if TOKEN.is_match(&line) || HEAD.is_match(&line) { format!("« {line} »") } else { line });
    }
    out.push(format!("{token_label} : {token}"));
    out.push(BANNER_END.to_owned());
    out.join("\n")
}

/// A therapist's reply taken apart.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ReplyText {
    /// What the client may read: own text with the quotations that it answers, without banners, codes, attributions,
    /// signature. Command lines are still in it: they stand before any other own text.
    pub text: String,
    /// The therapist's own, unquoted lines only, codes left in: what commands are read from.
    pub unquoted: String,
    /// Tokens of quoted banners, in order, without repetition. A client can have written some of them: the caller
    /// counts only those that verify.
    pub tokens_in_quotes: Vec<String>,
}

impl std::fmt::Debug for ReplyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReplyText({} bytes, {} tokens)", self.text.len(), self.tokens_in_quotes.len())
    }
}

/// Takes a reply apart.
pub fn reply_text(text: &str) -> ReplyText {
    let text = text.replace("\r\n", "\n");
    let all: Vec<&str> = text.lines().collect();
    let mut tokens_in_quotes: Vec<String> = Vec::new();
    for token in all.iter().filter_map(|l| token_of(l)) {
        if !tokens_in_quotes.contains(&token) {
            tokens_in_quotes.push(token);
        }
    }
    let lines = without_banners(&all);
    let marks = mark(&lines);
    let own = |at: usize| marks[at] == Mark::Own;
    let last = (0..lines.len()).rev().find(|at| own(*at));
    let mut kept: Vec<String> = Vec::new();
    for at in 0..last.map_or(0, |l| l + 1) {
        match marks[at] {
            Mark::Own if lines[at].trim_start().starts_with('/') => kept.push(lines[at].trim_end().to_owned()),
            Mark::Own => kept.push(CLIENT_CODE.replace_all(lines[at], "").trim_end().to_owned()),
            Mark::Quoted if !has_code(lines[at]) => kept.push(lines[at].trim_end().to_owned()),
            Mark::Blank => kept.push(String::new()),
            Mark::Quoted | Mark::Gone => {}
        }
    }
    ReplyText { text: squeeze(&kept), unquoted: unquoted(&lines, &marks), tokens_in_quotes }
}

/// What the writer of a letter says in it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The unquoted text.
    pub new: String,
    /// What stands below a heading such as "Message d'origine" without quotation marks: a quotation, or an answer to it.
    pub below: String,
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Said({} bytes, {} below)", self.new.len(), self.below.len())
    }
}

/// Tells a letter's own words from what it quotes.
pub fn said(text: &str) -> Said {
    let text = text.replace("\r\n", "\n");
    let lines = without_banners(&text.lines().collect::<Vec<_>>());
    let marks = mark(&lines);
    let new = unquoted(&lines, &marks);
    let (lines, marks): (Vec<&str>, Vec<Mark>) =
        lines.iter().zip(marks).filter(|(line, _)| unquote(line).0 == 0).unzip();
    Said { new, below: having(&lines, &marks, &[Mark::Gone, Mark::Blank]) }
}

/// The unquoted text of a letter.
pub fn new_text(text: &str) -> String {
    said(text).new
}

fn unquoted(lines: &[&str], marks: &[Mark]) -> String {
    having(lines, marks, &[Mark::Own, Mark::Blank])
}

fn having(lines: &[&str], marks: &[Mark], wanted: &[Mark]) -> String {
    let kept: Vec<String> = lines
        .iter()
        .zip(marks)
        .filter(|(_, mark)| wanted.contains(mark))
        .map(|(line, _)| line.trim_end().to_owned())
        .collect();
    squeeze(&kept)
}

/// Lines joined, without empty quotations at the ends and without more than two blank lines in a row.
fn squeeze(lines: &[String]) -> String {
    let empty = |l: &String| unquote(l).1.trim().is_empty();
    let start = lines.iter().position(|l| !empty(l)).unwrap_or(lines.len());
    let end = lines.iter().rposition(|l| !empty(l)).map_or(start, |e| e + 1);
    let mut out: Vec<&str> = Vec::new();
    for line in &lines[start..end] {
        let blanks = out.iter().rev().take_while(|l| l.is_empty()).count();
        if !(line.is_empty() && blanks >= 3) {
            out.push(line);
        }
    }
    out.join("\n")
}

fn token_of(line: &str) -> Option<String> {
    TOKEN.captures(unquote(line).1.trim()).map(|c| c[1].to_owned())
}

fn has_code(line: &str) -> bool {
    let line = unquote(line).1;
    CLIENT_CODE.is_match(line) || TOKEN.is_match(line.trim())
}

/// Lines outside of Cadre's banners, quoted or not.
fn without_banners<'t>(lines: &[&'t str]) -> Vec<&'t str> {
    let mut out = Vec::with_capacity(lines.len());
    let mut at = 0;
    while at < lines.len() {
        if !HEAD.is_match(unquote(lines[at]).1) {
            out.push(lines[at]);
            at += 1;
            continue;
        }
        let window = &lines[at..lines.len().min(at + BANNER_MAX_LINES)];
        let end = window.iter().position(|l| END.is_match(unquote(l).1));
        let token = window.iter().position(|l| token_of(l).is_some());
        at += match (end, token) {
            (Some(end), _) => end + 1,
            (None, Some(token)) => token + 1,
            (None, None) => 1,
        };
    }
    out
}

/// A subject without anything that looks like one of Cadre's codes, in any case, with any dash or bracket.
pub fn strip_codes(subject: &str) -> String {
    let mut text: String = subject.nfkc().filter(|c| !is_bidi(*c) && *c != '\u{ad}').collect();
    // What remains, or what blanks kept apart, may form a code again; every round makes it shorter.
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    text = squeezed(&text);
    while CODE.is_match(&text) {
        text = squeezed(&CODE.replace_all(&text, " "));
    }
    text
}

/// Whether a subject only says that the real one is hidden, as header protection writes it outside: `...`, `[...]`,
/// also behind a `Re:` of a program that answers without having opened the letter.
pub fn is_placeholder(subject: &str) -> bool {
    let bare = strip_prefixes(subject);
    bare.contains(['.', '\u{2026}']) && bare.chars().all(|c| matches!(c, '.' | '\u{2026}' | '[' | ']' | ' '))
}

/// A subject without `Re:`, `AW:`, `TR:` and the like in front.
pub fn strip_prefixes(subject: &str) -> String {
    PREFIX.replace(subject, "").trim().to_owned()
}

/// Whether a text holds an address, whatever its case, with spaces in it, as `mailto:`, percent-encoded, with `(at)`.
pub fn contains_address(text: &str, address: &Address) -> bool {
    let plain: String = text.nfkc().filter(|c| !is_bidi(*c) && *c != '\u{ad}').collect::<String>().to_lowercase();
    let mut plain = plain;
    for (from, to) in [
        ("%40", "@"),
        ("&#64;", "@"),
        ("&commat;", "@"),
        ("=40", "@"),
        ("(at)", "@"),
        ("[at]", "@"),
        ("{at}", "@"),
        ("(arobase)", "@"),
        ("[arobase]", "@"),
        ("(dot)", "."),
        ("[dot]", "."),
        ("(point)", "."),
        ("[point]", "."),
    ] {
        plain = plain.replace(from, to);
    }
    // Characters without white space and quotation signs, each with whether there was any before it.
    let mut signs: Vec<(char, bool)> = Vec::new();
    let mut gap = true;
    for c in plain.chars() {
        if c.is_whitespace() || c == '>' || c == '*' || c == '_' && gap {
            gap = true;
        } else {
            signs.push((c, gap));
            gap = false;
        }
    }
    let typed: String = address.as_typed().nfkc().collect::<String>().to_lowercase();
    [address.canonical().to_owned(), typed].iter().any(|wanted| {
        let wanted: Vec<char> = wanted.chars().collect();
        signs.windows(wanted.len()).enumerate().any(|(at, window)| {
            window.iter().map(|(c, _)| *c).eq(wanted.iter().copied()) && stands_alone(&signs, at, at + wanted.len())
        })
    })
}

/// Whether the found address isn't the middle of a longer one.
fn stands_alone(signs: &[(char, bool)], start: usize, end: usize) -> bool {
    let word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '+');
    let before = start > 0 && !signs[start].1 && (word(signs[start - 1].0) || signs[start - 1].0 == '.');
    let after = signs.get(end).is_some_and(|(c, gap)| !gap && word(*c));
    let longer = signs.get(end).is_some_and(|(c, gap)| !gap && *c == '.')
        && signs.get(end + 1).is_some_and(|(c, gap)| !gap && c.is_alphanumeric());
    !(before || after || longer)
}
