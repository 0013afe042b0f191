//! What may stand behind a command's name. `None`, or an error: nothing that it takes.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use super::words::Word;
use super::{Command, CommandError, Invitee, Words, fold};
use crate::model::{Address, Language, Mode, TherapistId};

/// Most code words that are read.
const CODE_WORDS: usize = 12;

/// Nothing, or `silent`.
pub(super) fn silent_or_nothing(argument: &str) -> Option<bool> {
    match fold(argument).as_str() {
        "" => Some(false),
        "silent" | "silencieux" | "silencieuse" | "silence" => Some(true),
        _ => None,
    }
}

/// Nothing or `on`; `off`.
pub(super) fn switch(argument: &str) -> Option<bool> {
    match fold(argument).as_str() {
        "" | "on" | "oui" | "yes" => Some(true),
        "off" | "non" | "no" => Some(false),
        _ => None,
    }
}

/// `quiet` or `normal`.
pub(super) fn safety(argument: &str) -> Option<bool> {
    match fold(argument).as_str() {
        "quiet" | "silence" | "silencieuse" | "discrete" => Some(true),
        "normal" | "normale" | "on" => Some(false),
        _ => None,
    }
}

/// Nothing, or `ask`.
pub(super) fn card(argument: &str) -> Option<bool> {
    match fold(argument).as_str() {
        "" => Some(false),
        "ask" | "demander" => Some(true),
        _ => None,
    }
}

/// A day, a time, and perhaps a link.
pub(super) fn video(argument: &str) -> Option<Command> {
    let mut words = argument.split_whitespace();
    let at = NaiveDateTime::new(date(words.next()?)?, time(words.next()?)?);
    let url = words.next();
    if words.next().is_some() || url.is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
        return None;
    }
    Some(Command::Video { at, url: url.map(|url| Words(url.to_owned())) })
}

/// `accept` and the code words.
pub(super) fn key(argument: &str) -> Option<Command> {
    let folded = fold(argument);
    let mut words = folded.split(|c: char| c.is_whitespace() || matches!(c, '-' | ',')).filter(|word| !word.is_empty());
    if !matches!(words.next()?, "accept" | "accepter") {
        return None;
    }
    let code: Vec<String> = words.map(str::to_owned).collect();
    (1..=CODE_WORDS).contains(&code.len()).then_some(Command::KeyAccept(code))
}

/// One of the four modes, in French or English.
pub(super) fn mode(argument: &str) -> Option<Mode> {
    Some(match fold(argument).as_str() {
        "pure" | "pur" => Mode::Pure,
        "before" | "avant" => Mode::Before,
        "after" | "apres" => Mode::After,
        "mixed" | "mixte" => Mode::Mixed,
        _ => return None,
    })
}

/// An address or a request's number, a language, `known`; the last two in any order.
pub(super) fn invite(argument: &str) -> Result<Command, CommandError> {
    let bad = CommandError::BadArgument { command: Word::Invite.english() };
    let mut words = argument.split_whitespace();
    let Some(first) = words.next() else { return Err(bad) };
    let bare = first.trim_start_matches('<').trim_end_matches('>');
    let whom = match first.to_uppercase().strip_prefix("N-") {
        Some(signs) if !first.contains('@') => {
            let good = (1..=8).contains(&signs.len()) && signs.bytes().all(|b| b.is_ascii_alphanumeric());
            if !good {
                return Err(bad);
            }
            Invitee::Request(first.to_uppercase())
        }
        _ => match Address::parse(bare.strip_prefix("mailto:").unwrap_or(bare)) {
            Ok(address) => Invitee::Address(address),
            Err(_) => return Err(CommandError::NotAnAddress),
        },
    };
    let (mut language, mut known) = (None, false);
    for word in words {
        match fold(word).as_str() {
            "fr" | "francais" if language.is_none() => language = Some(Language::Fr),
            "en" | "anglais" | "english" if language.is_none() => language = Some(Language::En),
            "known" | "connu" | "connue" if !known => known = true,
            _ => return Err(bad),
        }
    }
    Ok(Command::Invite { whom, language, known })
}

/// First day, last day, and perhaps the id of who stands in.
pub(super) fn absent(argument: &str) -> Option<Command> {
    let mut words =
        argument.split_whitespace().filter(|word| !matches!(*word, "-" | "–" | "au" | "to" | "du" | "from"));
    let from = date(words.next()?)?;
    let until = date(words.next()?)?;
    let locum = words.next().map(|id| TherapistId(id.to_owned()));
    (words.next().is_none() && from <= until).then_some(Command::Absent { from, until, locum })
}

/// `2026-08-01` or `01/08/2026`.
fn date(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .or_else(|_| NaiveDate::parse_from_str(text, "%d/%m/%Y"))
        .ok()
        .filter(|day| (2000..2200).contains(&chrono::Datelike::year(day)))
}

/// `15:00`, `15h`, `15h30`.
fn time(text: &str) -> Option<NaiveTime> {
    let text = text.to_lowercase().replace('h', ":");
    let text = if text.ends_with(':') { format!("{text}00") } else { text };
    NaiveTime::parse_from_str(&text, "%H:%M").ok()
}
