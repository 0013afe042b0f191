//! Words of a text with their places.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// One word as it is compared, and where it stands.
pub(super) struct Token {
    /// Lower case, without accents.
    pub folded: String,
    /// Octets in the text.
    pub start: usize,
    pub end: usize,
    /// From 0.
    pub line: usize,
}

/// A word as it is compared: compatibility forms and accents taken apart, no case.
pub(super) fn fold(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    for c in word.nfkd().filter(|c| !is_combining_mark(*c) && !is_invisible(*c)).flat_map(char::to_lowercase) {
        match c {
            'œ' => folded.push_str("oe"),
            'æ' => folded.push_str("ae"),
            c => folded.push(c),
        }
    }
    folded
}

/// Signs without width that programs put into words.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// The words of a plain text.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    scan(text, false)
}

/// The words of safe HTML, without its tags and entities.
pub(super) fn tokens_of_html(html: &str) -> Vec<Token> {
    scan(html, true)
}

fn scan(text: &str, html: bool) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let (mut line, mut begun) = (0, None);
    // Inside a tag or an entity, until this sign.
    let mut until: Option<char> = None;
    let mut end = |from: Option<usize>, to: usize, line: usize| {
        if let Some(from) = from {
            found.push(Token { folded: fold(&text[from..to]), start: from, end: to, line });
        }
    };
    for (at, c) in text.char_indices() {
        if let Some(close) = until {
            if c == close || (close == ';' && c.is_whitespace()) {
                until = None;
            }
            continue;
        }
        let inside = c.is_alphabetic() || begun.is_some() && (is_combining_mark(c) || is_invisible(c));
        match (inside, begun) {
            (true, None) => begun = Some(at),
            (false, from @ Some(_)) => {
                end(from, at, line);
                begun = None;
            }
            _ => {}
        }
        if c == '\n' {
            line += 1;
        }
        if html {
            until = match c {
                '<' => Some('>'),
                '&' => Some(';'),
                _ => None,
            };
        }
    }
    end(begun, text.len(), line);
    found
}
