//! The three words at the end of a sealed letter: who writes them back could open that letter (SPEC section 15).
//!
//! Pure. People write them as they can: with or without accents and capitals, with hyphens, commas or one on a line,
//! on the subject line, at the top, at the end, with one letter wrong. Each word of the lists is the only one with its
//! first four letters, so that a word is still known with its end wrong; three of them have 33 bits however they are
//! written, since what was written stands for one word of the list or for none.

mod tokens;

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;

use crate::model::Language;
use tokens::{Token, fold, tokens, tokens_of_html};

/// How many words close a sealed letter: 33 bits.
pub const WORDS: usize = 3;
/// Wrong tries a day and client; then the words count no more until the next letter.
pub const TRIES: u32 = 100;
/// Tries that one mail may make: a letter has its words in one place.
const TRIES_A_MAIL: usize = 10;
/// Of a very long letter only so many words at each end are looked at.
const LOOKED_AT: usize = 2000;
/// How many of the first and of the last words may stand before or behind them in running text.
const NEAR: usize = 6;

/// What people write around the words.
const LABELS: &[&str] = &[
    "mot", "mots", "mes", "les", "trois", "voici", "sont", "de", "reponse", "cle", "cles", "et", "puis", "code",
    "word", "words", "my", "the", "three", "are", "here", "answer", "reply", "and", "then", "key", "re",
];

/// Words of the lists that are never drawn: nobody who is unwell should find them at the end of a letter. Without them
/// three words still have 32.9 bits.
const UNKIND: &[&str] = &[
    "abandon", "abolir", "abusif", "aneantir", "angoisse", "blessant", "chute", "couteau", "crainte", "cruel",
    "danger", "detresse", "diable", "effrayer", "enfermer", "falaise", "folie", "foudre", "frapper", "gouffre",
    "honteux", "hurler", "ivresse", "larme", "malefice", "malheur", "malice", "maudire", "menacer", "pleurer",
    "prison", "sauter", "solitude", "soucieux", "terrible", "tragique", "abuse", "afraid", "alcohol", "attack",
    "blade", "blood", "bomb", "broken", "bullet", "cliff", "crazy", "crime", "crush", "cry", "despair", "destroy",
    "enemy", "evil", "fatal", "ghost", "guilt", "gun", "hurt", "injury", "jump", "knife", "pill", "pistol", "reject",
    "rifle", "sad", "sadness", "shoot", "sick", "suffer", "tragic", "trap", "ugly", "useless", "weapon",
];

/// The words of one letter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Words {
    language: Language,
    indices: [u16; WORDS],
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Words({})", self.language)
    }
}

/// A list as it is compared.
struct List {
    words: Vec<String>,
    exact: HashMap<String, u16>,
    beginnings: HashMap<String, u16>,
}

impl List {
    fn of(list: &[&str]) -> Self {
        let words: Vec<String> = list.iter().map(|word| fold(word)).collect();
        let number = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        let exact = words.iter().enumerate().map(|(at, word)| (word.clone(), number(at))).collect();
        let begins = |word: &String| word.chars().take(4).collect::<String>();
        let beginnings = words.iter().enumerate().map(|(at, word)| (begins(word), number(at))).collect();
        Self { words, exact, beginnings }
    }

    /// The one word that was meant: as it is written, with its end cut or something behind it, or with one slip.
    fn meant(&self, folded: &str) -> Option<u16> {
        if let Some(at) = self.exact.get(folded) {
            return Some(*at);
        }
        let letters = folded.chars().count();
        if !(4..=12).contains(&letters) {
            return None;
        }
        let beginning: String = folded.chars().take(4).collect();
        if let Some(at) = self.beginnings.get(&beginning) {
            let word = self.words.get(usize::from(*at))?;
            if (folded.starts_with(word.as_str()) || word.starts_with(folded)) && word.len().abs_diff(folded.len()) <= 2
            {
                return Some(*at);
            }
        }
        let mut near = self.words.iter().enumerate().filter(|(_, word)| one_slip(word.as_bytes(), folded.as_bytes()));
        match (near.next(), near.next()) {
            (Some((at, _)), None) => u16::try_from(at).ok(),
            _ => None,
        }
    }
}

static FRENCH: LazyLock<List> = LazyLock::new(|| List::of(bip39::Language::French.word_list()));
static ENGLISH: LazyLock<List> = LazyLock::new(|| List::of(bip39::Language::English.word_list()));

fn list(language: Language) -> &'static List {
    match language {
        Language::Fr => &FRENCH,
        Language::En => &ENGLISH,
    }
}

/// Whether one letter was left out, put in, changed, or two neighbours changed places.
fn one_slip(a: &[u8], b: &[u8]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let same = short.iter().zip(long).take_while(|(a, b)| a == b).count();
    match long.len() - short.len() {
        0 => {
            let (rest, other) = (&short[same..], &long[same..]);
            let changed = rest.len() > 1 && rest[1..] == other[1..] || rest.len() == 1;
            let turned = rest.len() > 1 && rest[0] == other[1] && rest[1] == other[0] && rest[2..] == other[2..];
            changed || turned
        }
        1 => short[same..] == long[same + 1..],
        _ => false,
    }
}

impl Words {
    /// New words in a language; `pick(n)` gives an even random number below `n`.
    pub fn draw(language: Language, mut pick: impl FnMut(usize) -> usize) -> Self {
        let words = &list(language).words;
        let mut kind = || loop {
            let at = pick(words.len()) % words.len();
            if !UNKIND.contains(&words[at].as_str()) {
                return u16::try_from(at).unwrap_or_default();
            }
        };
        let indices = std::array::from_fn(|_| kind());
        Self { language, indices }
    }

    /// As they are shown: "forêt lampe neige".
    pub fn shown(&self) -> String {
        let list = match self.language {
            Language::Fr => bip39::Language::French,
            Language::En => bip39::Language::English,
        }
        .word_list();
        let words: Vec<String> = self.indices.iter().map(|at| list[usize::from(*at)].nfc().collect()).collect();
        words.join(" ")
    }

    /// As they are kept: `fr 12 1033 7`.
    pub fn stored(&self) -> String {
        let [a, b, c] = self.indices;
        format!("{} {a} {b} {c}", self.language)
    }

    /// Reads what [`Words::stored`] wrote.
    pub fn parse(stored: &str) -> Option<Self> {
        let mut parts = stored.split(' ');
        let language: Language = parts.next()?.parse().ok()?;
        let indices: Vec<u16> = parts.map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let indices: [u16; WORDS] = indices.try_into().ok()?;
        let size = list(language).words.len();
        indices.iter().all(|at| usize::from(*at) < size).then_some(Self { language, indices })
    }

    fn bytes(indices: &[u16; WORDS]) -> [u8; 2 * WORDS] {
        let [a, b, c] = indices.map(u16::to_be_bytes);
        [a[0], a[1], b[0], b[1], c[0], c[1]]
    }

    /// In constant time.
    fn are(&self, indices: &[u16; WORDS]) -> bool {
        Self::bytes(&self.indices).ct_eq(&Self::bytes(indices)).into()
    }
}

/// What a mail says of answer words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Which of the words that count were written.
    pub matched: Option<usize>,
    /// How many others were tried, or may have been: three words of the lists in a row also stand in letters.
    pub wrong: u32,
    /// One of those stands as answer words do: on lines of its own, announced, as one word, or as the whole subject.
    pub meant: bool,
}

/// Looks for the words that count (`valid`) on the subject line and in new text.
pub fn read(subject: &str, new_text: &str, valid: &[Words]) -> Reading {
    let mut wrong: BTreeSet<(Language, [u16; WORDS])> = BTreeSet::new();
    let (mut matched, mut meant) = (None, false);
    let languages: BTreeSet<Language> = valid.iter().map(|words| words.language).collect();
    for language in languages {
        let mut tried = guesses(subject, language);
        tried.extend(guesses(new_text, language));
        for (guess, plain) in tried.into_iter().take(TRIES_A_MAIL) {
            let mut known = false;
            for (at, words) in valid.iter().enumerate() {
                if words.language == language && words.are(&guess) {
                    known = true;
                    matched = matched.or(Some(at));
                }
            }
            if !known {
                wrong.insert((language, guess));
                meant |= plain;
            }
        }
    }
    let wrong = if matched.is_some() { 0 } else { u32::try_from(wrong.len()).unwrap_or(u32::MAX) };
    Reading { matched, wrong, meant: meant && matched.is_none() }
}

/// What may be meant as answer words, the likeliest first, and whether it stands as they do.
fn guesses(text: &str, language: Language) -> Vec<([u16; WORDS], bool)> {
    let mut all = tokens(text);
    if all.len() > 2 * LOOKED_AT {
        let tail = all.split_off(all.len() - LOOKED_AT);
        all.truncate(LOOKED_AT);
        all.extend(tail);
    }
    let known = meanings(&all, language);
    let mut found: Vec<_> = all.iter().filter_map(|token| Some((joined(&token.folded, language)?, true))).collect();
    let last = all.len().saturating_sub(1);
    for window in windows(&all, &known) {
        let plain = apart(&all, &known, &window) || labelled(&all, window.first);
        // In running text they are read as they are written.
        let exact = (window.first..=window.last).all(|at| list(language).exact.contains_key(&all[at].folded));
        let near = exact && (window.first <= NEAR || last - window.last <= NEAR);
        if plain || near {
            found.push((window.indices, plain));
        }
    }
    found
}

fn meanings(all: &[Token], language: Language) -> Vec<Option<u16>> {
    let mut cache: HashMap<&str, Option<u16>> = HashMap::new();
    let list = list(language);
    all.iter().map(|token| *cache.entry(&token.folded).or_insert_with(|| list.meant(&token.folded))).collect()
}

/// Three words of the list in a row.
struct Window {
    indices: [u16; WORDS],
    /// Places of the first and the last among the tokens.
    first: usize,
    last: usize,
}

fn windows(all: &[Token], known: &[Option<u16>]) -> Vec<Window> {
    let mut found = Vec::new();
    let skipped = |at: usize| matches!(all[at].folded.as_str(), "et" | "and" | "puis" | "then");
    for first in 0..all.len() {
        let mut row = Vec::with_capacity(WORDS);
        let mut at = first;
        while row.len() < WORDS && at < all.len() {
            match known[at] {
                Some(index) => row.push((index, at)),
                None if !row.is_empty() && skipped(at) => {}
                None => break,
            }
            at += 1;
        }
        if let [(a, _), (b, _), (c, last)] = row[..] {
            found.push(Window { indices: [a, b, c], first, last });
        }
    }
    found
}

/// Whether the words stand on lines of their own.
fn apart(all: &[Token], known: &[Option<u16>], window: &Window) -> bool {
    let (first, last) = (all[window.first].line, all[window.last].line);
    let alone = |at: usize| known[at].is_some() || LABELS.contains(&all[at].folded.as_str());
    (0..all.len()).filter(|at| (first..=last).contains(&all[*at].line)).all(alone)
}

/// Whether they are announced: "mes mots sont …".
fn labelled(all: &[Token], first: usize) -> bool {
    let before = &all[first.saturating_sub(4)..first];
    before.iter().any(|token| matches!(token.folded.as_str(), "mots" | "words" | "mot" | "word"))
}

/// Three words written as one.
fn joined(folded: &str, language: Language) -> Option<[u16; WORDS]> {
    if !folded.is_ascii() || !(9..=24).contains(&folded.len()) {
        return None;
    }
    let exact = &list(language).exact;
    for (first, second) in (3..folded.len()).flat_map(|i| (i + 3..folded.len()).map(move |j| (i, j))) {
        let parts = [&folded[..first], &folded[first..second], &folded[second..]];
        if let [Some(a), Some(b), Some(c)] = parts.map(|part| exact.get(part)) {
            return Some([*a, *b, *c]);
        }
    }
    None
}

/// A text without these words wherever they stand, and without the line that was left empty.
pub fn without(text: &str, words: &Words) -> String {
    let mut text = text.to_owned();
    // Each time from the end: places before it stay as they are.
    for (start, end) in places(&tokens(&text), words).into_iter().rev() {
        let from = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let to = text[end..].find('\n').map_or(text.len(), |at| end + at);
        let (before, after) = (&text[from..start], &text[end..to]);
        let said = |part: &str| tokens(part).iter().any(|token| !LABELS.contains(&token.folded.as_str()));
        if said(before) || said(after) {
            let rest = format!("{}{}", before.trim_end_matches(dangling), after.trim_start_matches(dangling));
            let joined = match (said(before), said(after)) {
                (true, true) => format!("{} {}", before.trim_end_matches(dangling), after.trim_start_matches(dangling)),
                (false, _) => after.trim_start_matches(dangling).to_owned(),
                _ => rest,
            };
            text.replace_range(from..to, &joined);
        } else {
            text.replace_range(from..(to + 1).min(text.len()), "");
        }
    }
    text
}

const fn dangling(c: char) -> bool {
    matches!(
        c,
        ' ' | '\u{a0}'
            | '\u{202f}'
            | '\t'
            | ':'
            | ','
            | ';'
            | '-'
            | '–'
            | '—'
            | '.'
            | '('
            | ')'
            | '['
            | ']'
            | '"'
            | '«'
            | '»'
    )
}

/// The same in safe HTML: the letters go, the marks around them stay. None where they can't be found there.
pub fn without_in_html(html: &str, words: &Words) -> Option<String> {
    let all = tokens_of_html(html);
    let gone = places_by_token(&all, words);
    if gone.is_empty() {
        return None;
    }
    let mut html = html.to_owned();
    for token in gone.into_iter().rev() {
        html.replace_range(token.0..token.1, "");
    }
    Some(html)
}

/// From where to where the words stand.
fn places(all: &[Token], words: &Words) -> Vec<(usize, usize)> {
    let known = meanings(all, words.language);
    let windows = windows(all, &known).into_iter().filter(|window| words.are(&window.indices));
    let mut found: Vec<(usize, usize)> =
        windows.map(|window| (all[window.first].start, all[window.last].end)).collect();
    let one = |token: &&Token| joined(&token.folded, words.language).is_some_and(|indices| words.are(&indices));
    found.extend(all.iter().filter(one).map(|token| (token.start, token.end)));
    found.sort_unstable();
    found.dedup();
    found
}

fn places_by_token(all: &[Token], words: &Words) -> Vec<(usize, usize)> {
    let whole = places(all, words);
    let inside = |token: &&Token| whole.iter().any(|(from, to)| token.start >= *from && token.end <= *to);
    all.iter().filter(inside).map(|token| (token.start, token.end)).collect()
}

#[cfg(test)]
mod tests;
