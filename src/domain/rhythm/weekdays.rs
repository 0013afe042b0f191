//! Weekdays as people write them.

use std::fmt;
use std::ops::BitAnd;

use chrono::Weekday;

use super::RhythmError;

const ORDER: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

const ENGLISH: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const FRENCH: [&str; 7] = ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"];
const SHORT: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A set of weekdays. `Display` is canonical: `Tue,Fri` from Monday on, or `all`; it reads back by
/// [`parse_weekdays`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Weekdays(u8);

impl Weekdays {
    pub const ALL: Self = Self(0x7f);

    pub fn contains(self, day: Weekday) -> bool {
        self.0 & bit(day) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The days from Monday on.
    pub fn to_vec(self) -> Vec<Weekday> {
        ORDER.into_iter().filter(|day| self.contains(*day)).collect()
    }
}

fn bit(day: Weekday) -> u8 {
    1 << day.num_days_from_monday()
}

impl FromIterator<Weekday> for Weekdays {
    fn from_iter<I: IntoIterator<Item = Weekday>>(days: I) -> Self {
        Self(days.into_iter().fold(0, |set, day| set | bit(day)))
    }
}

impl BitAnd for Weekdays {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Display for Weekdays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.pad("all");
        }
        let names: Vec<&str> = self.to_vec().iter().map(|day| SHORT[day.num_days_from_monday() as usize % 7]).collect();
        f.pad(&names.join(","))
    }
}

/// Reads `Tue,Fri`, `mar, ven`, `mardi vendredi`, `Mon-Thu`, `lun-jeu`, `all` or `tous`, in any case.
///
/// Days are parted by commas, semicolons, spaces, `and` or `et`; a name may be cut to three letters
/// or more, with or without a final point.
///
/// # Errors
/// [`RhythmError::Weekday`] for a word that is no weekday, [`RhythmError::NoWeekday`] for none at all.
pub fn parse_weekdays(text: &str) -> Result<Weekdays, RhythmError> {
    let folded = text.trim().to_lowercase();
    if matches!(folded.as_str(), "all" | "tous" | "tout" | "every day" | "daily" | "tous les jours") {
        return Ok(Weekdays::ALL);
    }
    let mut days = Vec::new();
    let spaced = folded.replace(" - ", "-");
    let words = spaced.split(|c: char| c.is_whitespace() || c == ',' || c == ';');
    let named = words.filter(|word| !matches!(*word, "" | "et" | "and"));
    for (index, word) in named.enumerate() {
        let bad = RhythmError::Weekday { position: index + 1 };
        let found = match word.split_once(['-', '–']) {
            Some((from, to)) => one(from).zip(one(to)).map(|(from, to)| range(from, to)),
            None => one(word).map(|day| vec![day]),
        };
        days.extend(found.ok_or(bad)?);
    }
    if days.is_empty() { Err(RhythmError::NoWeekday) } else { Ok(days.into_iter().collect()) }
}

/// One weekday in English or French.
fn one(word: &str) -> Option<Weekday> {
    let stem = word.trim_end_matches('.');
    let long_enough = stem.chars().count() >= 3;
    let named = |names: &[&str; 7]| names.iter().position(|name| long_enough && name.starts_with(stem));
    // English plurals and `tues`, `thurs` as people write them.
    let plural = stem.strip_suffix('s').unwrap_or(stem);
    let by_plural = |names: &[&str; 7]| names.iter().position(|name| *name == plural);
    named(&ENGLISH)
        .or_else(|| named(&FRENCH))
        .or_else(|| by_plural(&ENGLISH))
        .or_else(|| by_plural(&FRENCH))
        .map(|index| ORDER[index])
}

/// From one day to another, both included, round the week's end where it must.
fn range(from: Weekday, to: Weekday) -> Vec<Weekday> {
    let mut days = vec![from];
    let mut day = from;
    while day != to {
        day = day.succ();
        days.push(day);
    }
    days
}

/// A cron weekday field with its ranges of names spelled out, so that `Sat-Sun` and `Fri-Mon` mean
/// what they say in a library that counts from Sunday. What can't be read is left for the library.
pub(super) fn spell_out(field: &str) -> String {
    let spell = |part: &str| -> String {
        let days = part
            .split_once('-')
            .and_then(|(from, to)| Some(range(one(&from.to_lowercase())?, one(&to.to_lowercase())?)));
        match days {
            Some(days) => {
                let names: Vec<&str> = days.iter().map(|day| SHORT[day.num_days_from_monday() as usize % 7]).collect();
                names.join(",")
            }
            None => part.to_owned(),
        }
    };
    field.split(',').map(spell).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekdays_read_in_both_languages_and_print_canonically() {
        for (text, printed) in [
            ("Tue,Fri", "Tue,Fri"),
            ("mar, ven", "Tue,Fri"),
            ("vendredi et mardi", "Tue,Fri"),
            ("VEN.; mar.", "Tue,Fri"),
            ("Mon-Thu", "Mon,Tue,Wed,Thu"),
            ("lun-jeu", "Mon,Tue,Wed,Thu"),
            ("sam - lun", "Mon,Sat,Sun"),
            ("Tuesdays and thurs", "Tue,Thu"),
            ("tous", "all"),
            ("All", "all"),
            ("mon tue wed thu fri sat sun", "all"),
        ] {
            let days = parse_weekdays(text).unwrap();
            assert_eq!(days.to_string(), printed, "{text}");
            assert_eq!(parse_weekdays(&days.to_string()).unwrap(), days);
        }
    }

    #[test]
    fn numbers_and_scraps_are_no_weekdays() {
        for text in ["2,5", "ma", "m", "", " , ", "Tue,,x", "marx", "Tue-", "-"] {
            assert!(parse_weekdays(text).is_err(), "{text:?}");
        }
        let error = parse_weekdays("Tue, geheim").unwrap_err();
        assert_eq!(error, RhythmError::Weekday { position: 2 });
        assert!(!error.to_string().contains("geheim"), "{error}");
    }
}
