//! Who From names, if every reader would say the same (SPEC section 3, THREATS 5; RFC 5322 section 3.4).

use mail_parser::parsers::MessageStream;
use unicode_normalization::UnicodeNormalization;

use super::tree::{Field, bytes_to_text, decode_words};
use crate::model::Address;

/// The author field. Anything that two programs could read in two ways is [`FromField::Ambiguous`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromField {
    /// No From, or an empty one.
    Missing,
    /// Exactly one mailbox.
    One {
        address: Address,
        /// Decoded, without controls; never shown as identity.
        display: Option<String>,
    },
    /// Several, a group, or text that looks like another address.
    Ambiguous {
        /// Every address that some program might see, in order of appearance, without repetition.
        candidates: Vec<Address>,
    },
}

impl FromField {
    /// The one address, if there is exactly one.
    pub fn one(&self) -> Option<&Address> {
        match self {
            Self::One { address, .. } => Some(address),
            _ => None,
        }
    }
}

/// Reads all From fields of a header block.
pub(super) fn read_from(fields: &[&Field<'_>]) -> FromField {
    let candidates = || {
        let mut all = Vec::new();
        for field in fields {
            for text in [bytes_to_text(field.value, None), decode_words(field.value)] {
                for address in addresses_in(&text) {
                    if !all.contains(&address) {
                        all.push(address);
                    }
                }
            }
        }
        FromField::Ambiguous { candidates: all }
    };
    let field = match fields {
        [] => return FromField::Missing,
        [field] => field,
        _ => return candidates(),
    };
    let raw = bytes_to_text(field.value, None);
    if raw.trim().is_empty() {
        return FromField::Missing;
    }
    if raw.contains('\0') || has_lone_cr(&raw) {
        return candidates();
    }
    let line = unfold(&raw);
    let Some((address, texts)) = one_mailbox(&line) else { return candidates() };
    if !parser_agrees(&line, &address) {
        return candidates();
    }
    let mut display = None;
    for (is_phrase, text) in texts {
        let decoded = decode_words(text.as_bytes());
        if [text.as_str(), decoded.as_str()].iter().any(|t| names_another(t, &address)) {
            return candidates();
        }
        // A blank and not nothing: what stood apart may not grow together into an address.
        let clean: String =
            decoded.chars().filter(|c| !is_bidi(*c)).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let clean = clean.trim().to_owned();
        // However odd: what reads as an address is one.
        if Address::parse(&clean).is_ok_and(|shown| shown != address) {
            return candidates();
        }
        if !clean.is_empty() && (is_phrase || display.is_none()) {
            display = Some(clean);
        }
    }
    FromField::One { address, display }
}

/// Characters that reorder what a reader sees (Unicode UAX 9), and invisible ones.
pub(super) fn is_bidi(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn has_lone_cr(raw: &str) -> bool {
    raw.replace("\r\n", "\n").contains('\r')
}

fn unfold(raw: &str) -> String {
    raw.split(['\r', '\n']).collect::<Vec<_>>().concat().trim().to_owned()
}

/// Splits one strict mailbox into its address and its other texts (`true` for the phrase).
fn one_mailbox(line: &str) -> Option<(Address, Vec<(bool, String)>)> {
    let mut phrase = String::new();
    let mut comments: Vec<String> = Vec::new();
    let mut angle: Option<String> = None;
    let mut quoted = false;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                if angle.is_some() {
                    return None;
                }
                quoted = true;
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => phrase.push(chars.next()?),
                        other => phrase.push(other),
                    }
                }
            }
            '(' => comments.push(comment(&mut chars)?),
            '<' => {
                if angle.is_some() {
                    return None;
                }
                let mut inside = String::new();
                loop {
                    match chars.next()? {
                        '>' => break,
                        other => inside.push(other),
                    }
                }
                angle = Some(inside);
            }
            '>' | ',' | ';' | ':' | '\\' | ')' => return None,
            other if angle.is_some() && !other.is_whitespace() => return None,
            other => phrase.push(other),
        }
    }
    let spec = match angle {
        Some(spec) => spec,
        None if quoted => return None,
        None => std::mem::take(&mut phrase),
    };
    if spec.contains("=?") {
        return None;
    }
    let address = Address::parse(&spec).ok()?;
    let mut texts = vec![(true, phrase)];
    texts.extend(comments.into_iter().map(|c| (false, c)));
    texts.retain(|(_, text)| !text.trim().is_empty());
    Some((address, texts))
}

/// A comment with what is nested in it; the opening parenthesis is already read.
fn comment(chars: &mut std::str::Chars<'_>) -> Option<String> {
    let mut depth = 1;
    let mut text = String::new();
    loop {
        match chars.next()? {
            '(' => {
                depth += 1;
                text.push('(');
            }
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(text);
                }
                text.push(')');
            }
            '\\' => text.push(chars.next()?),
            other => text.push(other),
        }
    }
}

/// A second reader, with other code, must see the same single address.
fn parser_agrees(line: &str, address: &Address) -> bool {
    let input = format!("{line}\r\n");
    match MessageStream::new(input.as_bytes()).parse_address() {
        mail_parser::HeaderValue::Address(mail_parser::Address::List(list)) => {
            let seen: Vec<_> = list.iter().filter_map(|a| a.address.as_deref()).collect();
            matches!(seen.as_slice(), [one] if Address::parse(one).is_ok_and(|a| a == *address))
        }
        _ => false,
    }
}

/// Whether a display text could be taken for another sender.
fn names_another(text: &str, address: &Address) -> bool {
    let plain = neutral(text);
    if plain.chars().any(|c| matches!(c, '<' | '>' | '\0' | '\n' | '\r')) {
        return true;
    }
    if !plain.contains('@') {
        return false;
    }
    let close = tighten(&plain);
    let mut found = close.match_indices('@').filter_map(|(at, _)| word_around(&close, at)).peekable();
    found.peek().is_some() && found.any(|word| Address::parse(&word).map_or(true, |a| a != *address))
}

/// Every address that a text seems to hold.
pub(super) fn addresses_in(text: &str) -> Vec<Address> {
    let plain = tighten(&neutral(text));
    plain
        .match_indices('@')
        .filter_map(|(at, _)| word_around(&plain, at))
        .filter_map(|word| Address::parse(&word).ok())
        .collect()
}

/// Compatibility forms folded (`＠` is `@`), invisible characters gone.
pub(super) fn neutral(text: &str) -> String {
    text.nfkc().filter(|c| !is_bidi(*c) && *c != '\u{ad}').collect()
}

/// Removes the spaces around `@` when a dotted name follows: `marie @ example.org` reads as an address.
fn tighten(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let follows = after.trim_start();
        let domain = follows.split(|c: char| c.is_whitespace()).next().unwrap_or_default();
        let dotted = domain.trim_matches('.').contains('.');
        out.push_str(if dotted { before.trim_end() } else { before });
        out.push('@');
        rest = if dotted { follows } else { after };
    }
    out.push_str(rest);
    out
}

fn word_around(text: &str, at: usize) -> Option<String> {
    let stop = |c: char| c.is_whitespace() || "<>()[]\"',;:\\".contains(c);
    let start = text[..at].rfind(stop).map_or(0, |n| n + text[n..].chars().next().map_or(1, char::len_utf8));
    let end = text[at + 1..].find(stop).map_or(text.len(), |n| at + 1 + n);
    let word = text[start..end].trim_matches('.');
    let (local, domain) = word.split_once('@')?;
    (!local.is_empty() && !domain.is_empty()).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(values: &[&str]) -> FromField {
        let fields: Vec<Field<'_>> = values.iter().map(|v| Field { name: b"From", value: v.as_bytes() }).collect();
        read_from(&fields.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_normal_sender_is_one() {
        for (value, address, display) in [
            ("marie@x.example", "marie@x.example", None),
            ("<marie@x.example>", "marie@x.example", None),
            (" \"Marie B.\" <marie@x.example>\r\n", "marie@x.example", Some("Marie B.")),
            ("Marie B. <marie@x.example>", "marie@x.example", Some("Marie B.")),
            ("marie@x.example (Marie)", "marie@x.example", Some("Marie")),
            ("=?utf-8?q?H=C3=A9l=C3=A8ne?= <h@x.example>", "h@x.example", Some("Hélène")),
            ("=?utf-8?b?SMOpbMOobmU=?=\r\n =?utf-8?q?_B?= <h@x.example>", "h@x.example", Some("Hélène B")),
            ("\"marie@x.example\" <marie@x.example>", "marie@x.example", Some("marie@x.example")),
            ("Hélène <h@x.example>", "h@x.example", Some("Hélène")),
            ("\"B, Marie\" <marie@x.example>", "marie@x.example", Some("B, Marie")),
            ("Marie @ Work <marie@x.example>", "marie@x.example", Some("Marie @ Work")),
            ("\"O'Brien, P. (Pat)\" <p.o'brien@x.example>", "p.o'brien@x.example", Some("O'Brien, P. (Pat)")),
            ("marie@bücher.example", "marie@xn--bcher-kva.example", None),
        ] {
            match from(&[value]) {
                FromField::One { address: a, display: d } => {
                    assert_eq!(a.canonical(), address, "{value:?}");
                    assert_eq!(d.as_deref(), display, "{value:?}");
                }
                other => panic!("{value:?} read as {other:?}"),
            }
        }
    }

    #[test]
    fn row_05_a_name_does_not_grow_together_into_an_address() {
        let FromField::One { display, .. } = from(&["marie@\tuch <marie@x.example>"]) else { panic!("not one") };
        assert!(display.is_none_or(|name| Address::parse(&name).is_err()));
    }

    #[test]
    fn no_sender_is_missing() {
        assert_eq!(from(&[]), FromField::Missing);
        assert_eq!(from(&["  \r\n"]), FromField::Missing);
    }

    #[test]
    fn row_05_what_programs_read_in_different_ways_is_ambiguous() {
        let eve = "eve@y.example";
        for values in [
            vec!["marie@x.example", "eve@y.example"],
            vec!["marie@x.example", "marie@x.example"],
            vec!["marie@x.example", ""],
            vec!["marie@x.example, eve@y.example"],
            vec!["Marie <marie@x.example>, Eve <eve@y.example>"],
            vec!["marie@x.example <eve@y.example>"],
            vec!["\"marie@x.example\" <eve@y.example>"],
            vec!["\"marie@x.example\\0\" <eve@y.example>"],
            vec!["eve@y.example (marie@x.example)"],
            vec!["eve@y.example(.@x)"],
            vec!["\u{af}\u{c2}tu?'@\u{cb}C3 <eve@y.example>"],
            vec!["=?utf-8?q?marie=40x.example?= <eve@y.example>"],
            vec!["=?utf-8?b?bWFyaWVAeC5leGFtcGxl?= <eve@y.example>"],
            vec!["=?utf-8?q?Marie_=3Cmarie=40x.example=3E?= <eve@y.example>"],
            vec!["\"=?utf-8?q?marie=40x.example?=\" <eve@y.example>"],
            vec!["marie＠x.example <eve@y.example>"],
            vec!["marie @ x.example <eve@y.example>"],
            vec!["mar\u{200b}ie@x.example <eve@y.example>"],
            vec!["friends: marie@x.example, eve@y.example;"],
            vec!["friends:;"],
            vec!["<marie@x.example> <eve@y.example>"],
            vec!["<@relay.example:eve@y.example>"],
            vec!["marie@x.example\r eve@y.example"],
            vec!["marie@x.example\0<eve@y.example>"],
            vec!["<marie@x.example>eve@y.example"],
            vec!["Marie <marie@x.example> eve@y.example"],
            vec!["\"marie\"@x.example"],
            vec!["marie@x.example@y.example"],
            vec!["Marie <marie@x.example"],
            vec!["\"Marie <eve@y.example>"],
            vec!["(Marie <eve@y.example>"],
            vec!["Marie"],
            vec!["B, Marie <eve@y.example>"],
            vec!["=?utf-8?q?eve=40y.example?="],
            vec!["<=?utf-8?q?eve?=@y.example>"],
        ] {
            match from(&values) {
                FromField::Ambiguous { candidates } => {
                    if values.iter().any(|v| v.contains(" <eve@y.example>")) {
                        let eve = Address::parse(eve).unwrap();
                        assert!(candidates.contains(&eve), "{values:?}");
                    }
                }
                other => panic!("{values:?} read as {other:?}"),
            }
        }
    }

    #[test]
    fn candidates_name_the_address_hidden_in_an_encoded_word() {
        let FromField::Ambiguous { candidates } = from(&["=?utf-8?q?marie=40x.example?= <eve@y.example>"]) else {
            panic!("not ambiguous")
        };
        assert!(candidates.contains(&Address::parse("marie@x.example").unwrap()));
    }
}
