//! Judges one value alone, as it is typed: with the same words as for the whole file.

use super::parse::{self, Fault};
use super::schema::{self, Kind};

/// Why a value can't stand at this key of this section, and what to write; nothing when it can.
///
/// Only values that stand in quotes are known here; files that a path names aren't looked at.
///
/// # Errors
/// Cause and remedy.
pub fn judge(section: &str, key: &str, value: &str) -> Result<(), (String, String)> {
    let Some(known) = schema::section(section).and_then(|section| section.key(key)) else { return Ok(()) };
    let value = value.trim();
    if value.chars().any(char::is_control) {
        return Err(("it has a control sign or a line break in it".to_owned(), "write it on one line".to_owned()));
    }
    let judged: Result<(), Fault> = match (known.kind, key) {
        (Kind::Address, _) => parse::address(value).map(drop),
        (Kind::Zone, _) => parse::zone(value).map(drop),
        (Kind::Words(words), _) => one_of(value, words),
        (Kind::Text, "country") => parse::country(value).map(drop),
        (Kind::Text, "region") => parse::region(value).map(drop),
        (Kind::Text, "host") => parse::host(value).map(drop),
        (Kind::Text, "id") => parse::id(value).map(drop),
        (Kind::Port, _) => match value.parse::<u16>() {
            Ok(port) if port > 0 => Ok(()),
            _ => parse::fault(format!("{} is not a port", parse::shown(value)), "write a number from 1 to 65535"),
        },
        _ => Ok(()),
    };
    judged.map_err(|Fault { cause, remedy }| (cause, remedy))
}

/// As [`parse::word`] says it, for words that are only compared.
fn one_of(value: &str, words: &[&str]) -> Result<(), Fault> {
    if words.contains(&value) {
        return Ok(());
    }
    // A type that no text becomes: the fault is the same as for any other.
    parse::word::<Never>(value, words).map(drop)
}

enum Never {}

impl std::str::FromStr for Never {
    type Err = ();
    fn from_str(_: &str) -> Result<Self, ()> {
        Err(())
    }
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn a_wrong_answer_has_a_reason_and_an_example() {
        for (section, key, wrong, word) in [
            ("practice", "address", "nobody", "ecrire@cabinet.example"),
            ("practice", "timezone", "Europe/Pari", "Europe/Paris"),
            ("practice", "country", "France", "\"FR\""),
            ("practice", "language", "french", "\"fr\""),
            ("imap", "host", "imaps://imap.example.org", "alone"),
            ("imap", "tls", "starttsl", "starttls"),
            ("imap", "port", "0", "65535"),
            ("therapist", "id", "Dr Exemple", "exemple"),
        ] {
            let (cause, remedy) = judge(section, key, wrong).expect_err(wrong);
            assert!(!cause.is_empty() && remedy.contains(word), "{wrong}: {cause}, {remedy}");
        }
        for (section, key, right) in [
            ("practice", "language", "fr"),
            ("imap", "tls", "implicit"),
            ("imap", "port", "993"),
            ("practice.cadre", "price", "60 €"),
            ("therapist", "id", "exemple"),
        ] {
            assert_eq!(judge(section, key, right), Ok(()), "{right}");
        }
    }
}
