//! What a written word stands for in one language: spelling, hidden letters, typing errors.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::text::{self, Break, Text};

/// A word or a beginning of words that the lexicon knows.
pub(super) type Atom = u32;

/// Any number written in digits: `#` in a pattern.
const NUMBER: Atom = 0;
/// One of at least [`MANY`]: `##`.
const BIG_NUMBER: Atom = 1;
/// Nobody takes so many tablets on a prescription.
const MANY: u64 = 8;

/// Quick, and no shield against chosen collisions: only for what the lexicon itself puts in.
#[derive(Default)]
pub(super) struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let number = chunk.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
            self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        self.0 ^= self.0 >> 32;
    }
}

type Map<V> = HashMap<String, V, BuildHasherDefault<Quick>>;

/// The words of one language's lexicon.
#[derive(Debug, Default)]
pub(super) struct Words {
    whole: Map<Atom>,
    /// By first letter: what words begin with.
    beginnings: HashMap<u8, Vec<(String, Atom)>, BuildHasherDefault<Quick>>,
    count: Atom,
    /// What stands for other words: `jai` for `je ai`. Folded.
    pub spelling: Map<Vec<String>>,
    /// Letters that run into the next word when the apostrophe is left out, spelled out.
    pub glued: Vec<String>,
    /// Words that are looked for behind hidden letters and typing errors.
    pub watched: Vec<String>,
    /// Words that look like a watched one and are none.
    pub unwatched: Vec<String>,
    /// The first three letters of watched words, and which letters each watched word has.
    heads: Vec<[u8; 3]>,
    letters: Vec<u32>,
    longest: usize,
}

/// The words of a text as this language reads them.
pub(super) struct Stream {
    atoms: Vec<Atom>,
    pub words: Vec<StreamWord>,
}

impl Stream {
    /// What a word may stand for.
    pub fn atoms(&self, word: StreamWord) -> &[Atom] {
        self.atoms.get(word.atoms.0..word.atoms.1).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct StreamWord {
    /// From where to where in [`Stream::atoms`].
    atoms: (usize, usize),
    pub before: Break,
    pub line: usize,
}

/// Shortest run of single letters that may be a word spelled out, and the longest that is looked at.
const SPELLED: std::ops::RangeInclusive<usize> = 4..=40;

impl Words {
    /// The atom of a folded word or, with `*` at its end, of a beginning.
    pub fn atom(&mut self, word: &str) -> Atom {
        match word {
            "#" => return NUMBER,
            "##" => return BIG_NUMBER,
            _ => {}
        }
        let count = &mut self.count;
        let mut new = || {
            *count += 1;
            *count + BIG_NUMBER
        };
        let Some(beginning) = word.strip_suffix('*') else {
            return *self.whole.entry(word.to_owned()).or_insert_with(new);
        };
        let same = self.beginnings.entry(beginning.bytes().next().unwrap_or_default()).or_default();
        if let Some((_, atom)) = same.iter().find(|(b, _)| b == beginning) {
            return *atom;
        }
        let atom = new();
        same.push((beginning.to_owned(), atom));
        atom
    }

    /// To be called once the lexicon is read.
    pub fn prepare(&mut self) {
        self.heads = self.watched.iter().filter_map(|w| w.as_bytes().first_chunk().copied()).collect();
        self.heads.sort_unstable();
        self.letters = self.watched.iter().map(|w| letters(w)).collect();
        self.longest = self.whole.keys().chain(self.spelling.keys()).map(String::len).max().unwrap_or(0);
    }

    /// A word of a pattern as the same steps read it that read a letter, but for guesses.
    pub fn plain(&self, written: &str) -> Vec<String> {
        let text = text::read(written.trim_end_matches('*'));
        let mut out: Vec<String> = Vec::new();
        for piece in &text.pieces {
            let mut parts = text.distinct[piece.word].split('\'').filter(|p| !p.is_empty()).peekable();
            while let Some(part) = parts.next() {
                // `m'empech*`: what comes before the beginning is a word like others.
                let begins = written.ends_with('*') && parts.peek().is_none();
                match self.spelling.get(part) {
                    Some(spelled) if !begins => out.extend(spelled.iter().cloned()),
                    _ => out.push(part.to_owned()),
                }
            }
        }
        if let Some(whole) = text.distinct.first().filter(|_| text.pieces.len() == 1)
            && let Some(spelled) = self.spelling.get(whole)
            && !written.ends_with('*')
        {
            out = spelled.clone();
        }
        if let (true, Some(last)) = (written.ends_with('*'), out.last_mut()) {
            last.push('*');
        }
        out
    }

    fn atoms(&self, word: &str, atoms: &mut Vec<Atom>) {
        atoms.extend(self.whole.get(word));
        if !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
            atoms.push(NUMBER);
            if word.parse::<u64>().is_ok_and(|n| n >= MANY) {
                atoms.push(BIG_NUMBER);
            }
        }
        atoms.extend(self.begun(word));
    }

    fn begun(&self, word: &str) -> impl Iterator<Item = Atom> {
        let same = word.bytes().next().and_then(|first| self.beginnings.get(&first)).into_iter().flatten();
        same.filter(move |(beginning, _)| word.starts_with(beginning.as_str())).map(|(_, atom)| *atom)
    }

    fn knows(&self, word: &str) -> bool {
        self.whole.contains_key(word)
            || self.begun(word).next().is_some()
            || (!word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()))
    }

    /// The words of a text. Each distinct word is looked at once.
    pub fn stream(&self, text: &Text) -> Stream {
        let mut stream = Stream { atoms: Vec::new(), words: Vec::with_capacity(text.pieces.len() * 5 / 4) };
        let mut spans: Vec<(usize, usize)> = Vec::with_capacity(text.distinct.len() * 5 / 4);
        let mut resolved: Vec<(usize, usize)> = Vec::with_capacity(text.distinct.len());
        let mut put = |word: &str, spans: &mut Vec<(usize, usize)>| {
            let from = stream.atoms.len();
            self.atoms(word, &mut stream.atoms);
            spans.push((from, stream.atoms.len()));
        };
        for word in &text.distinct {
            let from = spans.len();
            if !self.spelling.contains_key(word) && self.whole.contains_key(word) {
                put(word, &mut spans);
            } else {
                self.resolve(word).iter().for_each(|w| put(w, &mut spans));
            }
            resolved.push((from, spans.len()));
        }
        let mut at = 0;
        while at < text.pieces.len() {
            let piece = text.pieces[at];
            let (from, to, taken) = match self.spelled_out(text, at) {
                Some((words, taken)) => {
                    let from = spans.len();
                    words.iter().for_each(|w| put(w, &mut spans));
                    (from, spans.len(), taken)
                }
                None => (resolved[piece.word].0, resolved[piece.word].1, 1),
            };
            for (index, atoms) in spans[from..to].iter().enumerate() {
                let before = if index == 0 { piece.before } else { Break::None };
                stream.words.push(StreamWord { atoms: *atoms, before, line: piece.line });
            }
            at += taken;
        }
        stream
    }

    /// `s u i c i d e`: single letters that make a known word.
    fn spelled_out(&self, text: &Text, at: usize) -> Option<(Vec<String>, usize)> {
        let single = |i: usize| text.pieces.get(i).map(|p| &text.distinct[p.word]).filter(|w| w.len() == 1);
        single(at)?;
        if at > 0 && single(at - 1).is_some() {
            return None;
        }
        let run: String = (at..at + SPELLED.end()).map_while(single).map(String::as_str).collect();
        if !SPELLED.contains(&run.len()) {
            return None;
        }
        if self.watched.contains(&run) {
            return Some((vec![run.clone()], run.len()));
        }
        self.unglued(&run, 2).map(|words| (words, run.len()))
    }

    /// What a written word stands for.
    fn resolve(&self, word: &str) -> Vec<String> {
        if let Some(spelled) = self.spelling.get(word) {
            return spelled.clone();
        }
        if word.contains('\'') {
            return word.split('\'').filter(|p| !p.is_empty()).flat_map(|p| self.resolve(p)).collect();
        }
        // Before the beginnings of words, which fit `suicideeee` too.
        if tripled(word)
            && let Some(once) = self.unstretched(word)
        {
            return vec![once];
        }
        if self.knows(word) {
            return vec![word.to_owned()];
        }
        let guess = self.unhidden(word).or_else(|| self.unstretched(word)).map(|w| vec![w]);
        let guess = guess.or_else(|| self.unelided(word)).or_else(|| self.untyped(word).map(|w| vec![w]));
        if let Some(words) = guess.or_else(|| self.unglued(word, 3)) {
            return words;
        }
        word.split(['*', '@', '#', '$']).filter(|p| !p.is_empty()).map(str::to_owned).collect()
    }

    /// `su1c1de`, `s*icide`, `k**l`.
    fn unhidden(&self, word: &str) -> Option<String> {
        if !word.bytes().any(|b| !b.is_ascii_lowercase()) || !word.bytes().any(|b| b.is_ascii_lowercase()) {
            return None;
        }
        let plain: String = word
            .chars()
            .map(|c| match c {
                '1' => 'i',
                '3' => 'e',
                '0' => 'o',
                '4' | '@' => 'a',
                '5' | '$' => 's',
                '7' => 't',
                other => other,
            })
            .collect();
        if self.knows(&plain) && plain.len() > 2 {
            return Some(plain);
        }
        let hidden = |c: char| c == '*' || c == '#';
        if !plain.contains(hidden) {
            return None;
        }
        let fits = |w: &&String| {
            let exact = w.len() == plain.len() && w.chars().zip(plain.chars()).all(|(a, b)| a == b || hidden(b));
            let (head, tail) = (plain.split(hidden).next(), plain.rsplit(hidden).next());
            let (head, tail) = (head.unwrap_or_default(), tail.unwrap_or_default());
            let loose = head.len() + tail.len() >= 4 && w.len() > head.len() + tail.len();
            exact || (loose && w.starts_with(head) && w.ends_with(tail))
        };
        self.watched.iter().find(fits).cloned()
    }

    /// `mouriiiir`, `diee`.
    fn unstretched(&self, word: &str) -> Option<String> {
        let squeezed = |most: usize| {
            let mut out = String::with_capacity(word.len());
            let (mut last, mut run) = (None, 0);
            for c in word.chars() {
                run = if last == Some(c) { run + 1 } else { 1 };
                last = Some(c);
                if run <= most {
                    out.push(c);
                }
            }
            out
        };
        let ends = word.len() > 3 && word.as_bytes().windows(2).last().is_some_and(|w| w[0] == w[1]);
        let odd = ["aa", "ii", "uu"].iter().any(|twice| word.contains(twice));
        if !tripled(word) && !ends && !odd {
            return None;
        }
        let known = |w: String| {
            let spelled = self.spelling.get(&w).filter(|s| s.len() == 1).map(|s| s[0].clone());
            spelled.or_else(|| self.knows(&w).then_some(w))
        };
        // `reveillerrrr`: what is written twice is meant.
        let letters: Vec<char> = word.chars().collect();
        let runs = letters.chunk_by(|a, b| a == b);
        let kept = runs.flat_map(|r| r.iter().take(if r.len() > 2 { 1 } else { 2 })).collect();
        known(kept).or_else(|| known(squeezed(1))).or_else(|| known(squeezed(2)))
    }

    /// `jveux`, `denvie`, `sendormir`: an elision without its apostrophe.
    fn unelided(&self, word: &str) -> Option<Vec<String>> {
        self.glued.iter().find_map(|letter| {
            let rest = word.strip_prefix(letter.as_str())?;
            let enough = if letter == "j" { 2 } else { 4 };
            if rest.len() < enough {
                return None;
            }
            let full = self.spelling.get(letter).cloned().unwrap_or_else(|| vec![letter.clone()]);
            let rest = match self.spelling.get(rest) {
                Some(spelled) => spelled.clone(),
                None if self.knows(rest) => vec![rest.to_owned()],
                None => return None,
            };
            Some([full, rest].concat())
        })
    }

    /// A watched word with a typing error, two in a long one; the first letter is right.
    fn untyped(&self, word: &str) -> Option<String> {
        if word.len() < 5 || word.len() > 20 || !word.is_ascii() || self.unwatched.iter().any(|w| w == word) {
            return None;
        }
        let own = letters(word);
        let close = |(w, letters): &(&String, &u32)| {
            let most = if w.len() >= 8 { 2 } else { 1 };
            w.len() >= 5
                && w.as_bytes()[0] == word.as_bytes()[0]
                && w.len().abs_diff(word.len()) <= most
                && (*letters ^ own).count_ones() as usize <= 2 * most
                && distance(w.as_bytes(), word.as_bytes()) <= most
        };
        self.watched.iter().zip(&self.letters).find(close).map(|(w, _)| w.clone())
    }

    /// Whether a watched word of at least three letters stands in a word.
    fn hides(&self, word: &str) -> bool {
        let head = |part: &[u8]| part.first_chunk().is_some_and(|h: &[u8; 3]| self.heads.binary_search(h).is_ok());
        word.as_bytes().windows(3).any(head) && self.watched.iter().any(|w| w.len() > 2 && word.contains(w.as_str()))
    }

    /// `jeveuxmourir`: at least `fewest` known words run together, one of them watched.
    fn unglued(&self, word: &str, fewest: usize) -> Option<Vec<String>> {
        if word.len() < 8 || !word.is_ascii() || !self.hides(word) {
            return None;
        }
        // The longest known words first, from the end: best[i] is how word[i..] is cut in the fewest words, and where.
        let mut best: Vec<Option<(usize, usize)>> = vec![None; word.len() + 1];
        best[word.len()] = Some((0, 0));
        for start in (0..word.len()).rev() {
            for end in (start + 1..=word.len().min(start + self.longest)).rev() {
                let Some((count, _)) = best[end] else { continue };
                let part = &word[start..end];
                if (part.len() == 1 && !matches!(part, "i" | "j"))
                    || best[start].is_some_and(|(fewest, _)| fewest <= count + 1)
                {
                    continue;
                }
                if self.whole.contains_key(part) || (part.len() > 2 && self.spelling.contains_key(part)) {
                    best[start] = Some((count + 1, end));
                }
            }
        }
        let (mut cut, mut at) = (Vec::new(), 0);
        while at < word.len() {
            let (_, end) = best[at]?;
            cut.push(&word[at..end]);
            at = end;
        }
        let watched = cut.iter().any(|p| self.watched.iter().any(|w| w == p));
        (cut.len() >= fewest && watched)
            .then(|| cut.iter().flat_map(|p| self.spelling.get(*p).cloned().unwrap_or(vec![(*p).to_owned()])).collect())
    }
}

/// Whether a letter stands three times in a row, which no word has.
fn tripled(word: &str) -> bool {
    word.as_bytes().windows(3).any(|w| w[0] == w[1] && w[1] == w[2] && !w[0].is_ascii_digit())
}

/// Which letters a word has, one bit each.
fn letters(word: &str) -> u32 {
    word.bytes().filter(u8::is_ascii_lowercase).fold(0, |set, b| set | 1 << (b - b'a'))
}

/// Letters to change, add, drop or swap with the neighbour between two words.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut rows = [[0_usize; 24]; 24];
    for i in 0..=a.len().min(23) {
        for j in 0..=b.len().min(23) {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len().min(23)][b.len().min(23)]
}
