//! A letter's text as a row of words: folded, without quotations, with the places where a phrase ends.

use std::collections::HashMap;

use unicode_normalization::char::{canonical_combining_class, decompose_compatible};

/// What stands before a word. No phrase reaches over the end of a sentence; over a clause's it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Break {
    None,
    Clause,
    Sentence,
}

/// One written word; `word` counts in [`Text::distinct`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub word: usize,
    pub before: Break,
    pub line: usize,
}

/// Each distinct word is kept once, so that what is costly is done once for it.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub distinct: Vec<String>,
    pub pieces: Vec<Piece>,
}

/// Longer words than this are no words: the rest is cut off.
const LONGEST_WORD: usize = 60;

/// Reads a text. Lines behind `>` and the lines that announce them are left out.
pub(super) fn read(text: &str) -> Text {
    let mut reader = Reader::default();
    let text = text.replace("\r\n", "\n");
    for (number, line) in text.split(['\n', '\r', '\u{2028}', '\u{2029}', '\u{b}', '\u{c}', '\u{85}']).enumerate() {
        let bare = line.trim_start();
        if bare.is_empty() || bare.starts_with('>') || announces_a_quotation(bare) {
            reader.end_sentence();
            continue;
        }
        reader.line(line, number);
    }
    reader.end_word();
    reader.text
}

/// "Le 3 mars, A. B. a écrit :", "On 3 March, A. B. wrote:": only with a digit or an address, as programs write it.
fn announces_a_quotation(line: &str) -> bool {
    let end = line.trim_end();
    let open = end.strip_suffix(':').map(str::trim_end);
    open.is_some_and(|l| ["a écrit", "wrote", "écrivait"].iter().any(|verb| l.ends_with(verb)))
        && end.len() < 300
        && end.chars().any(|c| c.is_ascii_digit() || c == '@')
}

/// `fr.a.want-to-die`, as alerts name what was found.
fn names_a_rule(piece: &str) -> bool {
    let bare = piece.trim_matches(|c: char| !c.is_alphanumeric());
    let mut parts = bare.splitn(3, '.');
    matches!(parts.next(), Some("fr" | "en"))
        && matches!(parts.next(), Some("a" | "b" | "v"))
        && parts.next().is_some_and(|id| id.contains('-') || id.chars().all(|c| c.is_ascii_lowercase()))
}

#[derive(Default)]
struct Reader {
    text: Text,
    known: HashMap<String, usize>,
    word: String,
    before: Option<Break>,
    /// Full stops since the last word: two or more are a pause and no end.
    dots: usize,
    line: usize,
}

impl Reader {
    fn line(&mut self, line: &str, number: usize) {
        self.end_word_unless_joined();
        self.line = number;
        let line = line.trim_end();
        // `/help` is a command and no cry for help.
        let line = match line.trim_start().strip_prefix('/') {
            Some(command) if command.starts_with(char::is_alphabetic) => {
                self.word.push('/');
                command
            }
            _ => line,
        };
        let some_rule = line.contains("fr.") || line.contains("en.");
        for piece in line.split_inclusive(' ') {
            if some_rule && names_a_rule(piece) {
                self.end_word();
                continue;
            }
            for c in piece.chars() {
                if c.is_ascii() {
                    self.sign(c.to_ascii_lowercase());
                } else {
                    fold(c, &mut |c| self.sign(c));
                }
            }
        }
    }

    /// A word cut by a hyphen or by quoted-printable's `=` at the end of a line goes on in the next.
    fn end_word_unless_joined(&mut self) {
        if self.word.ends_with(['-', '=']) {
            self.word.pop();
        } else {
            self.end_word();
        }
    }

    fn sign(&mut self, c: char) {
        match c {
            'a'..='z' | '0'..='9' => self.letter(c),
            // Inside a word: an apostrophe, or a letter that somebody hid.
            '\'' | '*' | '@' | '#' | '$' if !self.word.is_empty() => self.letter(c),
            '$' => self.letter(c),
            '-' | '=' if !self.word.is_empty() && !self.word.ends_with(['-', '=']) => {
                // Kept only to see whether the line ends here.
                self.word.push(c);
            }
            '.' => {
                self.end_word();
                self.dots += 1;
            }
            '!' | '?' | ';' => self.end_sentence(),
            ',' | '(' | ')' | '\u{2013}' | '\u{2014}' => self.end_clause(),
            '\u{2026}' => {
                self.end_word();
                self.dots += 2;
            }
            '\u{1}' => {}
            c if c.is_alphanumeric() => self.letter(c),
            _ => self.end_word(),
        }
    }

    fn letter(&mut self, c: char) {
        if self.word.ends_with(['-', '=']) {
            self.end_word();
        }
        if self.word.len() < LONGEST_WORD {
            self.word.push(c);
        }
    }

    fn end_clause(&mut self) {
        self.end_word();
        self.before = self.before.max(Some(Break::Clause));
    }

    fn end_sentence(&mut self) {
        self.end_word();
        self.before = Some(Break::Sentence);
    }

    fn end_word(&mut self) {
        let word = self.word.trim_matches(['\'', '*', '@', '#', '-', '=']);
        if word.is_empty() {
            self.word.clear();
            return;
        }
        let index = match self.known.get(word) {
            Some(index) => *index,
            None => {
                let index = self.text.distinct.len();
                self.text.distinct.push(word.to_owned());
                self.known.insert(word.to_owned(), index);
                index
            }
        };
        let dots = match self.dots {
            0 => Break::None,
            1 => Break::Sentence,
            _ => Break::Clause,
        };
        let before = self.before.unwrap_or(Break::None).max(dots);
        self.text.pieces.push(Piece { word: index, before, line: self.line });
        self.word.clear();
        (self.before, self.dots) = (None, 0);
    }
}

/// One sign as the letters that a reader sees: no accent, no case, no look-alike. Invisible ones vanish.
fn fold(c: char, out: &mut impl FnMut(char)) {
    match c {
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{e0000}'..='\u{e0fff}' => out('\u{1}'),
        '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2bc}' | '\u{2032}' | '\u{b4}' | '\u{ff07}' => out('\''),
        '\u{2010}' | '\u{2011}' => out('-'),
        '\u{2026}' => out(c),
        'à' | 'â' | 'ä' | 'À' | 'Â' => out('a'),
        'ç' | 'Ç' => out('c'),
        'é' | 'è' | 'ê' | 'ë' | 'É' | 'È' | 'Ê' => out('e'),
        'î' | 'ï' => out('i'),
        'ô' | 'ö' => out('o'),
        'ù' | 'û' | 'ü' => out('u'),
        'œ' | 'Œ' => "oe".chars().for_each(out),
        'æ' | 'Æ' => "ae".chars().for_each(out),
        'ø' | 'Ø' => out('o'),
        'ı' => out('i'),
        'ł' | 'Ł' => out('l'),
        _ => decompose_compatible(c, |d| {
            if canonical_combining_class(d) == 0 {
                d.to_lowercase().for_each(|l| out(look_alike(l)));
            }
        }),
    }
}

/// Cyrillic and Greek letters that look like Latin ones.
fn look_alike(c: char) -> char {
    match c {
        'а' | 'α' => 'a',
        'в' | 'β' => 'b',
        'с' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'ε' => 'e',
        'һ' => 'h',
        'і' | 'ι' => 'i',
        'ј' => 'j',
        'к' | 'κ' => 'k',
        'ӏ' => 'l',
        'м' => 'm',
        'ո' | 'η' => 'n',
        'о' | 'ο' => 'o',
        'р' | 'ρ' => 'p',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'υ' | 'ս' => 'u',
        'ν' | 'ѵ' => 'v',
        'х' | 'χ' => 'x',
        'у' | 'γ' => 'y',
        other => other,
    }
}

/// A word of the lexicon, folded like the words of letters.
pub(super) fn folded(word: &str) -> String {
    let mut out = String::new();
    for c in word.chars() {
        fold(c, &mut |c| out.push(c));
    }
    out
}
