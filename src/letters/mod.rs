//! Templates of letters and their facts.
//!
//! A letter is one file, `config/letters/LANGUAGE/NAME.txt`: a header in TOML (subject, mandatory facts), a line
//! `---`, then the body for minijinja. The files are built in; an operator's folder may override any of them.

pub mod dates;
mod facts;
mod filters;
mod lines;
mod samples;
mod template;
pub mod typography;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono_tz::Tz;
use minijinja::Environment;
use serde::Serialize;

use crate::model::Language;

pub use facts::*;
pub use lines::{Line, Lines, LinesError, VERIFY_AFTER_DAYS};
pub use template::{Fault, Problem, check};

/// Declares the letters: variant, file name.
macro_rules! letters {
    ($($(#[$meta:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// A letter with its facts.
        #[derive(Clone, Serialize)]
        #[serde(untagged)]
        pub enum Letter { $($(#[$meta])* $variant(facts::$variant)),+ }

        /// Which letter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Name { $($variant),+ }

        impl Letter {
            /// Which letter this is.
            pub const fn name(&self) -> Name {
                match self { $(Self::$variant(_) => Name::$variant),+ }
            }
        }

        impl Name {
            /// Every letter of this version.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The file's name without its ending.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The built-in source.
            const fn source(self, language: Language) -> &'static str {
                match (language, self) {
                    $((Language::Fr, Self::$variant) => include_str!(concat!("../../config/letters/fr/", $name, ".txt")),)+
                    $((Language::En, Self::$variant) => include_str!(concat!("../../config/letters/en/", $name, ".txt")),)+
                }
            }
        }
    };
}

letters!(
    Acknowledgement = "acknowledgement",
    AcknowledgementClear = "acknowledgement-clear",
    AboutKeys = "about-keys",
    AboutKeysClear = "about-keys-clear",
    Undecryptable = "undecryptable",
    TooLarge = "too-large",
    MissedDay = "missed-day",
    Closed = "closed",
    KeyExpiry = "key-expiry",
    Stranger = "stranger",
    ReplyFrame = "reply-frame",
    Forward = "forward",
    Reminder = "reminder",
    Receipt = "receipt",
    Refusal = "refusal",
    Question = "question",
    HeldNotice = "held-notice",
    StaffKeyExpiry = "staff-key-expiry",
    DeliveryFailure = "delivery-failure",
    Help = "help",
    Digest = "digest",
    HealthAlarm = "health-alarm",
);

impl Name {
    /// The HTML part's template, for the letters that have one.
    const fn html(self, language: Language) -> Option<&'static str> {
        match (self, language) {
            (Self::Digest, Language::Fr) => Some(include_str!("../../config/letters/fr/digest.html")),
            (Self::Digest, Language::En) => Some(include_str!("../../config/letters/en/digest.html")),
            _ => None,
        }
    }

    /// Letters that may travel in clear and show no therapy.
    pub const fn is_clear(self) -> bool {
        matches!(
            self,
            Self::AcknowledgementClear
                | Self::AboutKeysClear
                | Self::Undecryptable
                | Self::TooLarge
                | Self::KeyExpiry
                | Self::Stranger
        )
    }
}

/// Who will read: decides the words and the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    pub language: Language,
    /// The practice's zone for clients, the therapist's own for therapists.
    pub zone: Tz,
}

/// A letter ready to be composed. One paragraph is one line: the composer encodes, nothing is hard-wrapped but the
/// digest (60 columns).
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line; empty for the reply frame.
    pub subject: String,
    /// `\n` line ends, one at the end (none where the text is empty).
    pub text: String,
    pub html: Option<String>,
}

/// A letter that could not be written. Says which and why, never its facts.
#[derive(Debug, thiserror::Error)]
pub enum LettersError {
    #[error(
        "the letter `{name}` ({language}) can't be written; mend the operator's own text in `[letters] folder`, or take it away"
    )]
    Render { name: &'static str, language: Language, source: Box<RenderFault> },
    #[error("the built-in letter `{name}` ({language}) is broken: {fault}; this is a fault of the program")]
    BuiltIn { name: &'static str, language: Language, fault: Fault },
}

/// Where in a template it failed: kind and line only, because the engine's own message may repeat facts.
#[derive(Debug, thiserror::Error)]
#[error("{kind} at line {line} of the template")]
pub struct RenderFault {
    pub kind: String,
    pub line: usize,
}

impl From<&minijinja::Error> for RenderFault {
    fn from(error: &minijinja::Error) -> Self {
        Self { kind: error.kind().to_string(), line: error.line().unwrap_or(0) }
    }
}

/// All letters, parsed once.
pub struct Letters {
    environments: BTreeMap<Language, Environment<'static>>,
    problems: Vec<Problem>,
}

impl Letters {
    /// The built-in letters, and theirs from `folder/LANGUAGE/NAME.txt` where one parses and keeps the mandatory
    /// facts; otherwise the built-in one stays and [`Letters::problems`] says why.
    ///
    /// # Errors
    /// [`LettersError::BuiltIn`] only.
    pub fn load(folder: Option<&Path>) -> Result<Self, LettersError> {
        let mut environments = BTreeMap::new();
        let mut problems = Vec::new();
        for &language in Language::ALL {
            let mut environment = filters::environment(language);
            template::add_words(&mut environment, language).map_err(|fault| LettersError::BuiltIn {
                name: "words",
                language,
                fault,
            })?;
            for &name in Name::ALL {
                let fault = |fault| LettersError::BuiltIn { name: name.as_str(), language, fault };
                template::add(&mut environment, name, language, name.source(language)).map_err(fault)?;
                if let Some(html) = name.html(language) {
                    template::add_html(&mut environment, name, language, html).map_err(fault)?;
                }
                if let Some(folder) = folder {
                    override_from(folder, name, language, &mut environment, &mut problems);
                }
            }
            environments.insert(language, environment);
        }
        Ok(Self { environments, problems })
    }

    /// What was wrong with the operator's own letters.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Writes a letter for a reader.
    ///
    /// # Errors
    /// [`LettersError::Render`] where a template asks for a fact that the letter doesn't have.
    pub fn render(&self, letter: &Letter, reader: Reader) -> Result<Rendered, LettersError> {
        // Only a map whose keys aren't text can fail here, and no letter has one; a null makes every template refuse.
        self.render_value(letter.name(), &serde_json::to_value(letter).unwrap_or_default(), reader)
    }

    fn render_value(&self, name: Name, facts: &serde_json::Value, reader: Reader) -> Result<Rendered, LettersError> {
        let language = reader.language;
        let broken = |e: minijinja::Error| LettersError::Render {
            name: name.as_str(),
            language,
            source: Box::new(RenderFault::from(&e)),
        };
        let Some(environment) = self.environments.get(&language) else {
            return Err(LettersError::BuiltIn { name: name.as_str(), language, fault: Fault::Missing });
        };
        template::write(environment, name, facts, reader).map_err(broken)
    }
}

/// Tries the operator's version of one letter. A broken one leaves the built-in in place.
fn override_from(
    folder: &Path,
    name: Name,
    language: Language,
    environment: &mut Environment<'static>,
    problems: &mut Vec<Problem>,
) {
    let path: PathBuf = folder.join(language.as_str()).join(format!("{}.txt", name.as_str()));
    let source = match std::fs::read_to_string(&path) {
        Ok(source) => source,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return,
        Err(_) => return problems.push(Problem { name, language, fault: Fault::Unreadable }),
    };
    let found = check(&source, name, language);
    if !found.is_empty() {
        return problems.extend(found);
    }
    if let Err(fault) = template::add(environment, name, language, &source) {
        problems.push(Problem { name, language, fault });
    }
}

#[cfg(test)]
mod tests;
