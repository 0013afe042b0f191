//! Public holidays by country and region.
//!
//! A public holiday is here a *statutory non-working day*: a day on which the law of the country or
//! region closes offices, with its substitute where the law moves it off a weekend. Half days, bank
//! and school holidays and customs are none. The rules are data (`config/holidays.toml`), evaluated
//! for the years 1970 to 2200.

use std::collections::{BTreeMap, HashMap};

use chrono::{Datelike, Days, NaiveDate, Weekday};
use serde::Deserialize;

/// The rules of the countries that are known.
const RULES: &str = include_str!("../../config/holidays.toml");

const FIRST_YEAR: i32 = 1970;
const LAST_YEAR: i32 = 2200;

/// Why there is no calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HolidayError {
    #[error("`{0}` is not a country: write the two letters of ISO 3166, such as FR")]
    Country(String),
    #[error("`{region}` is not a region of {country} whose holidays are known: use one of {known}")]
    Region { country: String, region: String, known: String },
    #[error("the holiday rules for {country} can't be read: {reason}")]
    Rules { country: String, reason: String },
}

/// The public holidays of one place. It is made once; a look-up costs next to nothing.
#[derive(Debug, Clone, Default)]
pub struct Calendar {
    days: BTreeMap<NaiveDate, String>,
    known: bool,
    wants_region: bool,
}

impl Calendar {
    /// The calendar of a country (ISO 3166-1, two letters; `UK` is read as `GB`) and, where it has
    /// some, of a region (`FR-57` or `57`), both in any case.
    ///
    /// A country whose holidays aren't known gives a calendar without any; [`Calendar::is_known`]
    /// tells. Without a region only the days that hold in the whole country count;
    /// [`Calendar::wants_region`] tells that there are more.
    ///
    /// # Errors
    /// [`HolidayError`] for what is no country code, or no region of a known country.
    pub fn for_country(country: &str, region: Option<&str>) -> Result<Self, HolidayError> {
        let code = match country.trim().to_ascii_uppercase().as_str() {
            "UK" => "GB".to_owned(),
            other => other.to_owned(),
        };
        if code.len() != 2 || !code.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(HolidayError::Country(country.to_owned()));
        }
        let unreadable = |reason: String| HolidayError::Rules { country: code.clone(), reason };
        let mut countries: HashMap<String, Country> =
            toml::from_str(RULES).map_err(|e| unreadable(e.message().to_owned()))?;
        let Some(rules) = countries.remove(&code) else { return Ok(Self::none()) };
        let region = region.map(|r| rules.region(&code, r)).transpose()?;
        let wants_region = region.is_none() && !rules.regions.is_empty();
        let mut holidays = Vec::new();
        for holiday in rules.holiday.iter().filter(|h| h.holds_in(region.as_deref())) {
            holidays.push((holiday, When::parse(&holiday.on).map_err(unreadable)?));
        }
        Ok(Self { days: evaluate(&holidays), known: true, wants_region })
    }

    /// A calendar without any holiday.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether the country's holidays are known at all.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Whether the country has regional holidays and no region was named.
    pub fn wants_region(&self) -> bool {
        self.wants_region
    }

    /// Whether `date` is a public holiday.
    pub fn is_holiday(&self, date: NaiveDate) -> bool {
        self.days.contains_key(&date)
    }

    /// The name of the public holiday on `date`.
    pub fn name(&self, date: NaiveDate) -> Option<&str> {
        self.days.get(&date).map(String::as_str)
    }

    /// The holidays from one day to another, both included, in order.
    pub fn between(&self, from: NaiveDate, to: NaiveDate) -> impl Iterator<Item = (NaiveDate, &str)> {
        self.days.range(from..).take_while(move |(day, _)| **day <= to).map(|(day, name)| (*day, name.as_str()))
    }
}

/// A country in the data file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Country {
    #[serde(default)]
    regions: Vec<String>,
    holiday: Vec<Holiday>,
}

impl Country {
    fn region(&self, code: &str, region: &str) -> Result<String, HolidayError> {
        let upper = region.trim().to_ascii_uppercase();
        let short = match upper.split_once('-') {
            Some((country, rest)) if country == code || (country == "UK" && code == "GB") => rest,
            _ => upper.as_str(),
        };
        self.regions.iter().find(|known| *known == short).cloned().ok_or_else(|| HolidayError::Region {
            country: code.to_owned(),
            region: region.to_owned(),
            known: if self.regions.is_empty() { "none".to_owned() } else { self.regions.join(", ") },
        })
    }
}

/// One rule in the data file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Holiday {
    name: String,
    on: String,
    /// The regions where it holds; everywhere where this is left out.
    regions: Option<Vec<String>>,
    /// The regions where it doesn't.
    #[serde(default)]
    except: Vec<String>,
    /// The weekdays on which it is kept; all of them where this is left out.
    only: Option<Vec<Weekday>>,
    from: Option<i32>,
    to: Option<i32>,
    /// Years in which it is kept: those that leave `remainder` when divided by `every`.
    every: Option<i32>,
    #[serde(default)]
    remainder: i32,
    substitute: Option<Substitute>,
}

impl Holiday {
    fn holds_in(&self, region: Option<&str>) -> bool {
        let listed = |list: &[String]| region.is_some_and(|r| list.iter().any(|known| known == r));
        self.regions.as_deref().is_none_or(listed) && !listed(&self.except)
    }

    fn kept_on(&self, weekday: Weekday) -> bool {
        self.only.as_ref().is_none_or(|days| days.contains(&weekday))
    }

    fn holds_year(&self, year: i32) -> bool {
        self.from.is_none_or(|from| year >= from)
            && self.to.is_none_or(|to| year <= to)
            && self.every.is_none_or(|every| every > 0 && year.rem_euclid(every) == self.remainder)
    }
}

/// The day off for a holiday that falls on a weekend. The day itself stays one.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Substitute {
    /// From Saturday or Sunday to the next working day.
    Next,
    /// From Sunday to the next working day.
    SundayNext,
    /// From Saturday to Friday, from Sunday to Monday.
    Nearest,
}

/// When a holiday falls in a year.
#[derive(Debug, Clone, Copy)]
enum When {
    /// `12-25`
    Fixed { month: u32, day: u32 },
    /// `2022-09-19`
    Once(NaiveDate),
    /// `easter`, `easter+39`, `easter-2`
    Easter(i64),
    /// `3 mon 01`
    Nth { n: u8, weekday: Weekday, month: u32 },
    /// `last mon 05`
    Last { weekday: Weekday, month: u32 },
    /// `mon from 09-16`: the first one on or after the date
    From { weekday: Weekday, month: u32, day: u32 },
    /// `mon before 05-25`: the last one strictly before the date
    Before { weekday: Weekday, month: u32, day: u32 },
    /// `near mon 06-24`: the weekday closest to the date
    Near { weekday: Weekday, month: u32, day: u32 },
    /// `naefels`: the first Thursday of April, a week later when that is Maundy Thursday
    Naefels,
}

impl When {
    fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no rule for a date");
        if text == "naefels" {
            return Ok(Self::Naefels);
        }
        if let Some(offset) = text.strip_prefix("easter") {
            return if offset.is_empty() {
                Ok(Self::Easter(0))
            } else {
                offset.parse().map(Self::Easter).map_err(|_| bad())
            };
        }
        let words: Vec<&str> = text.split(' ').collect();
        let weekday = |word: &str| word.parse::<Weekday>().map_err(|_| bad());
        let month_day = |word: &str| -> Result<(u32, u32), String> {
            let (month, day) = word.split_once('-').ok_or_else(bad)?;
            Ok((month.parse().map_err(|_| bad())?, day.parse().map_err(|_| bad())?))
        };
        match words.as_slice() {
            [date] if date.len() == 10 => date.parse().map(Self::Once).map_err(|_| bad()),
            [date] => month_day(date).map(|(month, day)| Self::Fixed { month, day }),
            ["last", day, month] => Ok(Self::Last { weekday: weekday(day)?, month: month.parse().map_err(|_| bad())? }),
            ["near", name, date] => {
                month_day(date).and_then(|(month, day)| Ok(Self::Near { weekday: weekday(name)?, month, day }))
            }
            [name, "from", date] => {
                month_day(date).and_then(|(month, day)| Ok(Self::From { weekday: weekday(name)?, month, day }))
            }
            [name, "before", date] => {
                month_day(date).and_then(|(month, day)| Ok(Self::Before { weekday: weekday(name)?, month, day }))
            }
            [n, day, month] => Ok(Self::Nth {
                n: n.parse().map_err(|_| bad())?,
                weekday: weekday(day)?,
                month: month.parse().map_err(|_| bad())?,
            }),
            _ => Err(bad()),
        }
    }

    fn in_year(self, year: i32) -> Option<NaiveDate> {
        let date = |month, day| NaiveDate::from_ymd_opt(year, month, day);
        match self {
            Self::Fixed { month, day } => date(month, day),
            Self::Once(day) => (day.year() == year).then_some(day),
            Self::Easter(offset) => easter(year)?.checked_add_signed(chrono::TimeDelta::days(offset)),
            Self::Nth { n, weekday, month } => NaiveDate::from_weekday_of_month_opt(year, month, weekday, n),
            Self::Last { weekday, month } => NaiveDate::from_weekday_of_month_opt(year, month, weekday, 5)
                .or_else(|| NaiveDate::from_weekday_of_month_opt(year, month, weekday, 4)),
            Self::From { weekday, month, day } => on_or_after(date(month, day)?, weekday),
            Self::Before { weekday, month, day } => {
                on_or_after(date(month, day)?.checked_sub_days(Days::new(7))?, weekday)
            }
            Self::Near { weekday, month, day } => {
                on_or_after(date(month, day)?.checked_sub_days(Days::new(3))?, weekday)
            }
            Self::Naefels => {
                let first = NaiveDate::from_weekday_of_month_opt(year, 4, Weekday::Thu, 1)?;
                let maundy = easter(year)?.checked_sub_days(Days::new(3))?;
                if first == maundy { first.checked_add_days(Days::new(7)) } else { Some(first) }
            }
        }
    }
}

fn on_or_after(date: NaiveDate, weekday: Weekday) -> Option<NaiveDate> {
    date.checked_add_days(Days::new(u64::from(weekday.days_since(date.weekday()))))
}

/// Easter Sunday in the Gregorian calendar (the anonymous computus, Nature 1876).
fn easter(year: i32) -> Option<NaiveDate> {
    let a = year % 19;
    let (b, c) = (year / 100, year % 100);
    let (d, e) = (b / 4, b % 4);
    let g = (8 * b + 13) / 25;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 19 * l) / 433;
    let month = (h + l - 7 * m + 90) / 25;
    let day = (h + l - 7 * m + 33 * month + 19) % 32;
    NaiveDate::from_ymd_opt(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?)
}

/// The days of all years, the substitutes after the days themselves so that they find free ones.
fn evaluate(holidays: &[(&Holiday, When)]) -> BTreeMap<NaiveDate, String> {
    let mut days = BTreeMap::new();
    let mut moved = Vec::new();
    for year in FIRST_YEAR..=LAST_YEAR {
        for (holiday, when) in holidays.iter().filter(|(holiday, _)| holiday.holds_year(year)) {
            let Some(day) = when.in_year(year).filter(|day| holiday.kept_on(day.weekday())) else { continue };
            days.entry(day).or_insert_with(|| holiday.name.clone());
            if let Some(substitute) = holiday.substitute {
                moved.push((day, substitute, &holiday.name));
            }
        }
    }
    moved.sort_by_key(|(day, ..)| *day);
    for (day, substitute, name) in moved {
        if let Some(free) = substitute_day(day, substitute, &days) {
            days.entry(free).or_insert_with(|| name.clone());
        }
    }
    days
}

fn substitute_day(day: NaiveDate, substitute: Substitute, days: &BTreeMap<NaiveDate, String>) -> Option<NaiveDate> {
    let weekend = |date: NaiveDate| matches!(date.weekday(), Weekday::Sat | Weekday::Sun);
    match (substitute, day.weekday()) {
        (Substitute::Nearest, Weekday::Sat) => day.pred_opt(),
        (Substitute::Nearest | Substitute::SundayNext | Substitute::Next, Weekday::Sun)
        | (Substitute::Next, Weekday::Sat) => {
            day.iter_days().skip(1).take(10).find(|date| !weekend(*date) && !days.contains_key(date))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Region, year, then every holiday from Monday to Friday.
    const GOLDEN: &str = include_str!("../../tests/data/holidays.txt");

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn every_known_place_has_the_holidays_of_the_published_calendars() {
        let mut places: BTreeMap<&str, Calendar> = BTreeMap::new();
        for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split(' ');
            let (place, year) = (words.next().unwrap(), words.next().unwrap());
            let wanted: Vec<&str> = words.collect();
            let calendar = places.entry(place).or_insert_with(|| {
                let (country, region) = place.split_once('-').map_or((place, None), |(c, r)| (c, Some(r)));
                Calendar::for_country(country, region).unwrap()
            });
            let got: Vec<String> = calendar
                .between(date(&format!("{year}-01-01")), date(&format!("{year}-12-31")))
                .filter(|(day, _)| day.weekday().num_days_from_monday() < 5)
                .map(|(day, _)| day.format("%m-%d").to_string())
                .collect();
            assert_eq!(got, wanted, "{place} {year}");
        }
        let countries: HashMap<String, Country> = toml::from_str(RULES).unwrap();
        let known: usize = countries.values().map(|country| country.regions.len() + 1).sum();
        assert_eq!(places.len(), known, "a place without a golden line");
        assert_eq!(countries["CH"].regions.len(), 26);
        assert_eq!(countries["CA"].regions.len(), 13);
    }

    #[test]
    fn regions_are_read_in_any_form_and_unknown_ones_are_named() {
        let good_friday = date("2026-04-03");
        for region in ["FR-57", "57", "fr-67", " 68 "] {
            let calendar = Calendar::for_country("fr", Some(region)).unwrap();
            assert_eq!(calendar.name(good_friday), Some("Vendredi saint"), "{region}");
            assert!(!calendar.wants_region());
        }
        let france = Calendar::for_country("FR", None).unwrap();
        assert!(!france.is_holiday(good_friday) && france.wants_region() && france.is_known());
        assert!(Calendar::for_country("UK", Some("GB-SCT")).unwrap().is_holiday(date("2026-01-02")));
        let error = Calendar::for_country("GB", Some("XYZ")).unwrap_err();
        assert!(error.to_string().contains("ENG, NIR, SCT, WLS"), "{error}");
        assert!(Calendar::for_country("FR", Some("CH-VD")).is_err());
        assert!(Calendar::for_country("BE", Some("VLG")).is_err());
        assert!(Calendar::for_country("France", None).is_err());
    }

    #[test]
    fn an_unknown_country_has_no_holidays_and_says_so() {
        let calendar = Calendar::for_country("NZ", Some("NZ-AUK")).unwrap();
        assert!(!calendar.is_known() && !calendar.wants_region());
        assert!(!calendar.is_holiday(date("2026-12-25")));
    }

    #[test]
    fn easter_is_right_from_1970_to_2200() {
        for (year, day) in [
            (1970, "1970-03-29"),
            (1981, "1981-04-19"),
            (2000, "2000-04-23"),
            (2008, "2008-03-23"),
            (2038, "2038-04-25"),
            (2100, "2100-03-28"),
            (2200, "2200-04-06"),
        ] {
            assert_eq!(easter(year), Some(date(day)));
        }
        for year in FIRST_YEAR..=LAST_YEAR {
            let sunday = easter(year).unwrap();
            assert_eq!(sunday.weekday(), Weekday::Sun);
            assert!(sunday >= date(&format!("{year}-03-22")) && sunday <= date(&format!("{year}-04-25")));
        }
    }

    #[test]
    fn substitutes_find_the_next_free_working_day() {
        let england = Calendar::for_country("GB", Some("ENG")).unwrap();
        // Christmas Day on a Saturday, Boxing Day on a Sunday.
        assert_eq!(england.name(date("2027-12-27")), Some("Christmas Day"));
        assert_eq!(england.name(date("2027-12-28")), Some("Boxing Day"));
        // Christmas Day on a Sunday; the Monday is Boxing Day's own.
        assert_eq!(england.name(date("2033-12-26")), Some("Boxing Day"));
        assert_eq!(england.name(date("2033-12-27")), Some("Christmas Day"));
        let us = Calendar::for_country("US", None).unwrap();
        assert_eq!(us.name(date("2027-12-31")), Some("New Year's Day"), "New Year on a Saturday: the Friday before");
        assert_eq!(us.name(date("2028-12-31")), None);
    }

    #[test]
    fn the_election_is_on_the_tuesday_after_the_first_monday() {
        let hawaii = Calendar::for_country("US", Some("HI")).unwrap();
        assert!(hawaii.is_holiday(date("2044-11-08")) && !hawaii.is_holiday(date("2044-11-01")));
        assert!(!hawaii.is_holiday(date("2027-11-02")));
    }
}
