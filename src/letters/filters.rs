//! What templates can say: filters that put facts into the reader's words.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use chrono_tz::Tz;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, Value};

use serde_json::Value as Json;

use crate::model::Language;

use super::{dates, places};

/// Context name of the reader's zone; [`super::template::write`] sets it.
const ZONE: &str = "reader_zone";

/// An environment whose filters speak one language.
pub(super) fn environment(language: Language) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    // The standing delimiters are valid; were they not, the default syntax would only space letters worse.
    environment.set_syntax(syntax.build().unwrap_or_default());
    let instant =
        |environment: &mut Environment<'static>, name: &'static str, say: fn(NaiveDateTime, Language) -> String| {
            environment
                .add_filter(name, move |state: &State, at: String| Ok::<_, Error>(say(local(state, &at)?, language)));
        };
    instant(&mut environment, "moment", dates::moment);
    instant(&mut environment, "from", dates::from);
    instant(&mut environment, "short", dates::short);
    instant(&mut environment, "hour", dates::hour);
    instant(&mut environment, "day", |at, language| dates::day(at.date(), language));
    instant(&mut environment, "day_month", |at, language| dates::day_month(at.date(), language));
    instant(&mut environment, "date", |at, language| dates::date(at.date(), language));
    instant(&mut environment, "weekday", |at, language| {
        use chrono::Datelike;
        dates::weekday(at.weekday().num_days_from_monday() as usize, language).to_owned()
    });
    environment.add_filter("is_evening", |state: &State, at: String| {
        use chrono::Timelike;
        Ok::<_, Error>(local(state, &at)?.hour() >= 17)
    });
    environment.add_filter("same_day", |state: &State, at: String, other: String| {
        Ok::<_, Error>(local(state, &at)?.date() == local(state, &other)?.date())
    });
    environment.add_filter("plain_date", move |day: String| {
        let day: NaiveDate = day.parse().map_err(|_| Error::new(ErrorKind::InvalidOperation, "not a day"))?;
        Ok::<_, Error>(dates::date(day, language))
    });
    environment.add_filter("numbers", numbers);
    environment.add_filter("fingerprint", |text: String| fingerprint(&text));
    environment.add_filter("size", move |bytes: u64| size(bytes, language));
    environment.add_filter("country", move |code: String| places::country(&code, language));
    environment.add_filter("weekday_name", move |day: usize| dates::weekday(day, language));
    environment.add_filter("all_of", move |items: Vec<String>| all_of(&items, language));
    environment.add_filter("wrap", |text: String, width: usize, indent: usize| wrap(&text, width, indent));
    environment
}

/// Reads an RFC 3339 instant and puts it on the reader's wall clock.
fn local(state: &State, at: &str) -> Result<NaiveDateTime, Error> {
    let zone = state.lookup(ZONE).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let zone: Tz = zone.parse().map_err(|_| Error::new(ErrorKind::InvalidOperation, "no zone"))?;
    let at: DateTime<Utc> = at.parse().map_err(|_| Error::new(ErrorKind::InvalidOperation, "not an instant"))?;
    Ok(dates::local(at, zone))
}

/// "3114, 15, 112, 114 (par SMS)", from a list of lines.
fn numbers(lines: Vec<Value>) -> Result<String, Error> {
    let say = |line: Value| {
        let number = line.get_attr("number")?.to_string().replace(' ', "\u{a0}");
        let note = line.get_attr("note")?;
        Ok(if note.is_none() { number } else { format!("{number} ({note})") })
    };
    Ok(lines.into_iter().map(say).collect::<Result<Vec<_>, Error>>()?.join(", "))
}

/// Four signs at a time, as programs show fingerprints.
fn fingerprint(text: &str) -> String {
    let signs: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).map(|c| c.to_ascii_uppercase()).collect();
    signs.chunks(4).map(|four| four.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

/// "25 Mo"; "25 MB".
fn size(bytes: u64, language: Language) -> String {
    let (kilo, mega) = match language {
        Language::Fr => ("ko", "Mo"),
        Language::En => ("kB", "MB"),
    };
    if bytes >= 1_000_000 {
        format!("{}\u{a0}{mega}", bytes / 1_000_000)
    } else {
        format!("{}\u{a0}{kilo}", (bytes / 1_000).max(1))
    }
}

/// "a, b et c"; "a, b and c".
fn all_of(items: &[String], language: Language) -> String {
    let and = match language {
        Language::Fr => " et ",
        Language::En => " and ",
    };
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [head @ .., last] => format!("{}{and}{last}", head.join(", ")),
    }
}

/// Breaks at ordinary spaces so that no line is longer than `width` signs, where a word allows it; further lines
/// stand `indent` signs in. No-break spaces hold.
fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split([' ', '\n', '\t']).filter(|w| !w.is_empty()) {
        let length = word.chars().count();
        if column == 0 {
            column = length;
        } else if column + 1 + length <= width {
            out.push(' ');
            column += 1 + length;
        } else {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent + length;
        }
        out.push_str(word);
    }
    out
}

/// Facts as the template engine holds them.
pub(super) fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(b) => Value::from(*b),
        Json::Number(n) => n.as_i64().map_or_else(|| Value::from(n.as_f64().unwrap_or(0.0)), Value::from),
        Json::String(s) => Value::from(s.as_str()),
        Json::Array(items) => Value::from(items.iter().map(value).collect::<Vec<_>>()),
        Json::Object(fields) => Value::from_pairs(fields.iter().map(|(k, v)| (k.as_str(), value(v)))),
    }
}

/// The zone as the context carries it.
pub(super) fn zone_value(zone: Tz) -> Value {
    Value::from(zone.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_keeps_the_width_and_the_no_break_spaces() {
        let text = wrap("Réponse attendue mardi 3\u{a0}mars à partir de 18\u{a0}h, pas avant", 20, 2);
        assert!(text.lines().all(|l| l.chars().count() <= 20), "{text}");
        assert!(text.contains("18\u{a0}h"));
        assert!(text.lines().skip(1).all(|l| l.starts_with("  ")));
    }

    #[test]
    fn lists_end_with_and() {
        let items = |n: usize| ["a", "b", "c"][..n].iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(all_of(&items(3), Language::Fr), "a, b et c");
        assert_eq!(all_of(&items(2), Language::En), "a and b");
        assert_eq!(all_of(&items(0), Language::En), "");
    }

    #[test]
    fn fingerprints_stand_in_fours() {
        assert_eq!(fingerprint("ab cdef01"), "ABCD EF01");
    }
}
