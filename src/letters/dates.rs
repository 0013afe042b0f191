//! Instants in words, in the reader's language and zone: "mardi 3 mars à partir de 18 h", "Tuesday 3 March, from 6 pm".
//!
//! French spaces inside a time or a date are no-break (U+00A0), so that "18 h" is never torn.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike, Utc};
use chrono_tz::Tz;

use crate::model::Language;

const NB: char = '\u{a0}';

const DAYS_FR: [&str; 7] = ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"];
const DAYS_EN: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS_FR: [&str; 12] = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
];
const MONTHS_EN: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Wall-clock time of the reader.
pub fn local(at: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

/// A weekday's name; 0 = Monday, anything beyond Sunday wraps.
pub fn weekday(day: usize, language: Language) -> &'static str {
    match language {
        Language::Fr => DAYS_FR[day % 7],
        Language::En => DAYS_EN[day % 7],
    }
}

/// "2 mars", "1er mars"; "2 March".
pub fn day_month(date: NaiveDate, language: Language) -> String {
    let month = date.month0() as usize;
    match language {
        Language::Fr if date.day() == 1 => format!("1er{NB}{}", MONTHS_FR[month]),
        Language::Fr => format!("{}{NB}{}", date.day(), MONTHS_FR[month]),
        Language::En => format!("{}{NB}{}", date.day(), MONTHS_EN[month]),
    }
}

/// "mardi 3 mars"; "Tuesday 3 March".
pub fn day(date: NaiveDate, language: Language) -> String {
    let name = weekday(date.weekday().num_days_from_monday() as usize, language);
    format!("{name} {}", day_month(date, language))
}

/// "3 mars 2026"; "3 March 2026".
pub fn date(date: NaiveDate, language: Language) -> String {
    format!("{}{NB}{}", day_month(date, language), date.year())
}

/// "18 h", "23 h 40"; "6 pm", "11:40 pm", "noon", "midnight".
pub fn hour(at: NaiveDateTime, language: Language) -> String {
    let (hour, minute) = (at.hour(), at.minute());
    match language {
        Language::Fr if minute == 0 => format!("{hour}{NB}h"),
        Language::Fr => format!("{hour}{NB}h{NB}{minute:02}"),
        Language::En if minute == 0 && hour == 0 => "midnight".to_owned(),
        Language::En if minute == 0 && hour == 12 => "noon".to_owned(),
        Language::En => {
            let (half, twelve) = (if hour < 12 { "am" } else { "pm" }, (hour + 11) % 12 + 1);
            if minute == 0 { format!("{twelve}{NB}{half}") } else { format!("{twelve}:{minute:02}{NB}{half}") }
        }
    }
}

/// "mardi 3 mars à 23 h 40"; "Tuesday 3 March at 11:40 pm".
pub fn moment(at: NaiveDateTime, language: Language) -> String {
    let at_word = match language {
        Language::Fr => "à",
        Language::En => "at",
    };
    format!("{} {at_word} {}", day(at.date(), language), hour(at, language))
}

/// "mardi 3 mars à partir de 18 h"; "Tuesday 3 March, from 6 pm".
pub fn from(at: NaiveDateTime, language: Language) -> String {
    let word = match language {
        Language::Fr => " à partir de ",
        Language::En => ", from ",
    };
    format!("{}{word}{}", day(at.date(), language), hour(at, language))
}

/// "2 mars, 23 h 10"; "2 March, 11:10 pm": how a letter is named among others.
pub fn short(at: NaiveDateTime, language: Language) -> String {
    format!("{}, {}", day_month(at.date(), language), hour(at, language))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn at(day: u32, hour: u32, minute: u32) -> NaiveDateTime {
        local(Utc.with_ymd_and_hms(2026, 3, day, hour, minute, 0).unwrap(), chrono_tz::Europe::Paris)
    }

    fn plain(text: String) -> String {
        text.replace(NB, " ")
    }

    #[test]
    fn french_says_dates_as_people_do() {
        assert_eq!(plain(moment(at(2, 22, 40), Language::Fr)), "lundi 2 mars à 23 h 40");
        assert_eq!(plain(from(at(3, 17, 0), Language::Fr)), "mardi 3 mars à partir de 18 h");
        assert_eq!(plain(short(at(1, 0, 5), Language::Fr)), "1er mars, 1 h 05");
        assert_eq!(plain(date(at(3, 0, 0).date(), Language::Fr)), "3 mars 2026");
    }

    #[test]
    fn english_says_dates_as_people_do() {
        assert_eq!(plain(moment(at(2, 22, 40), Language::En)), "Monday 2 March at 11:40 pm");
        assert_eq!(plain(from(at(3, 17, 0), Language::En)), "Tuesday 3 March, from 6 pm");
        assert_eq!(plain(hour(at(3, 11, 0), Language::En)), "noon");
        assert_eq!(plain(hour(at(3, 23, 0), Language::En)), "midnight");
        assert_eq!(plain(hour(at(3, 23, 15), Language::En)), "12:15 am");
    }

    #[test]
    fn the_readers_zone_decides_the_day() {
        let at = Utc.with_ymd_and_hms(2026, 3, 3, 2, 0, 0).unwrap();
        assert_eq!(plain(moment(local(at, chrono_tz::America::Montreal), Language::Fr)), "lundi 2 mars à 21 h");
    }
}
