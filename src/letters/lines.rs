//! Emergency lines by country, from `config/lines.toml`.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::model::Language;

/// The lines that ship with the program.
const BUILT_IN: &str = include_str!("../../config/lines.toml");

/// After so many days `check` asks to verify the lines again.
pub const VERIFY_AFTER_DAYS: i64 = 180;

/// One number as it stands in a letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// As it is dialled, spaced as people read it.
    pub number: String,
    /// A word that must go with it ("par SMS"), in the letter's language.
    pub note: Option<String>,
}

/// A number in the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    number: String,
    fr: Option<String>,
    en: Option<String>,
}

/// A country in the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Country {
    verified_on: NaiveDateText,
    crisis: Vec<Entry>,
    violence: Vec<Entry>,
}

/// A day written as text, `2026-03-01`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct NaiveDateText(NaiveDate);

impl TryFrom<String> for NaiveDateText {
    type Error = chrono::ParseError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

/// A lines file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    #[error("the lines file can't be read; compare it with config/lines.toml")]
    Syntax(#[from] toml::de::Error),
    #[error("the lines file has no number for {country}; add one, or remove the country")]
    Empty { country: String },
}

/// Lines for danger to oneself, and for violence, by country.
#[derive(Debug, Clone)]
pub struct Lines {
    countries: BTreeMap<String, Country>,
}

impl Lines {
    /// Those that ship with the program.
    ///
    /// # Errors
    /// Never for the shipped file (a test reads it).
    pub fn built_in() -> Result<Self, LinesError> {
        Self::parse(BUILT_IN)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`LinesError`] where it is not TOML of the known shape, or a country has no number.
    pub fn parse(text: &str) -> Result<Self, LinesError> {
        let countries: BTreeMap<String, Country> = toml::from_str(text)?;
        for (name, country) in &countries {
            if country.crisis.is_empty() || country.violence.is_empty() {
                return Err(LinesError::Empty { country: name.clone() });
            }
        }
        Ok(Self { countries })
    }

    /// Lines for a person in danger; 112 alone for a country that the file doesn't have.
    pub fn crisis(&self, country: &str, language: Language) -> Vec<Line> {
        self.country(country).map_or_else(Self::neutral, |c| say(&c.crisis, language))
    }

    /// Lines for violence; 112 alone for a country that the file doesn't have.
    pub fn violence(&self, country: &str, language: Language) -> Vec<Line> {
        self.country(country).map_or_else(Self::neutral, |c| say(&c.violence, language))
    }

    /// The only line that shows nothing: for clear mail and discreet clients.
    pub fn neutral() -> Vec<Line> {
        vec![Line { number: "112".to_owned(), note: None }]
    }

    /// When a country's lines were last verified; None for a country that the file doesn't have.
    pub fn verified_on(&self, country: &str) -> Option<NaiveDate> {
        self.country(country).map(|c| c.verified_on.0)
    }

    /// `FR`, `fr`, `FR-57`; `GB` and `UK` are the same.
    fn country(&self, code: &str) -> Option<&Country> {
        let upper = code.split('-').next().unwrap_or(code).trim().to_ascii_uppercase();
        let key = if upper == "UK" { "GB" } else { &upper };
        self.countries.get(key)
    }
}

/// Puts the notes into the letter's language.
fn say(entries: &[Entry], language: Language) -> Vec<Line> {
    let note = |e: &Entry| match language {
        Language::Fr => e.fr.clone(),
        Language::En => e.en.clone(),
    };
    entries.iter().map(|e| Line { number: e.number.clone(), note: note(e) }).collect()
}
