//! Templates of letters and their facts.
//!
//! A letter is one file, `config/letters/LANGUAGE/NAME.txt`: a header in TOML (subject, mandatory facts), a line
//! `---`, then the body for minijinja. The files are built in; an operator's folder may override any of them.

mod care;
pub mod dates;
mod facts;
mod filters;
mod keys;
mod lines;
mod outcome;
mod own;
mod places;
mod samples;
mod sealed;
mod template;
pub mod typography;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};

use chrono_tz::Tz;
use minijinja::Environment;
use serde::Serialize;

use crate::model::{Channel, Language};

pub use facts::*;
pub use keys::*;
pub use lines::{Line, Lines, LinesError, VERIFY_AFTER_DAYS};
pub use own::{FileFault, Folder};
pub use sealed::*;
pub use template::{Fault, Part, Problem, check};

/// Declares the letters: variant, file name.
macro_rules! letters {
    ($($(#[$meta:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// A letter with its facts.
        #[derive(Clone, Serialize)]
        #[serde(untagged)]
        pub enum Letter { $($(#[$meta])* $variant($variant)),+ }

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

            /// The letter whose file has this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == name)
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
    SealedLetter = "sealed-letter",
    SealedSheet = "sealed-sheet",
    AboutWords = "about-words",
    AboutPassphrase = "about-passphrase",
    KeyRevoked = "key-revoked",
    PracticeKeyRotated = "practice-key-rotated",
    PracticeKeyRevoked = "practice-key-revoked",
    PracticeKeyClear = "practice-key-clear",
    Stranger = "stranger",
    ReplyFrame = "reply-frame",
    Invitation = "invitation",
    InvitationReminder = "invitation-reminder",
    InvitationProblem = "invitation-problem",
    InvitationDeclined = "invitation-declined",
    KeyArrived = "key-arrived",
    Frame = "frame",
    ConsentRenewal = "consent-renewal",
    ConsentRecorded = "consent-recorded",
    ConsentUnclear = "consent-unclear",
    InternetPolicy = "internet-policy",
    CardRequest = "card-request",
    TransferOffer = "transfer-offer",
    Declined = "declined",
    Suspended = "suspended",
    Ending = "ending",
    Farewell = "farewell",
    CheckIn = "check-in",
    Paused = "paused",
    Resumed = "resumed",
    Stopped = "stopped",
    StateNotice = "state-notice",
    AfterDischarge = "after-discharge",
    Video = "video",
    Guide = "guide",
    Safety = "safety",
    SafetyViolence = "safety-violence",
    StrangerSafety = "stranger-safety",
    AcknowledgementAbsence = "acknowledgement-absence",
    AbsencePlanned = "absence-planned",
    AbsenceStart = "absence-start",
    AbsenceUnplanned = "absence-unplanned",
    AbsenceReturn = "absence-return",
    Locum = "locum",
    Export = "export",
    Erasure = "erasure",
    Breach = "breach",
    Alert = "alert",
    Enrolment = "enrolment",
    CardCopy = "card-copy",
    LocumCover = "locum-cover",
    TherapistWelcome = "therapist-welcome",
    Specimens = "specimens",
    Forward = "forward",
    Reminder = "reminder",
    Receipt = "receipt",
    Refusal = "refusal",
    Question = "question",
    HeldNotice = "held-notice",
    StaffKeyExpiry = "staff-key-expiry",
    StaffKeyRevoked = "staff-key-revoked",
    StaffPracticeKey = "staff-practice-key",
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

    /// Letters to therapists and to the operator.
    pub const fn is_staff(self) -> bool {
        matches!(
            self,
            Self::Alert
                | Self::Enrolment
                | Self::CardCopy
                | Self::LocumCover
                | Self::TherapistWelcome
                | Self::Specimens
                | Self::Forward
                | Self::Reminder
                | Self::Receipt
                | Self::Refusal
                | Self::Question
                | Self::HeldNotice
                | Self::StaffKeyExpiry
                | Self::StaffKeyRevoked
                | Self::StaffPracticeKey
                | Self::DeliveryFailure
                | Self::Help
                | Self::Digest
                | Self::HealthAlarm
        )
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
                | Self::SealedLetter
                | Self::AboutWords
                | Self::AboutPassphrase
                | Self::KeyRevoked
                | Self::PracticeKeyClear
                | Self::Stranger
                | Self::Invitation
                | Self::InvitationReminder
                | Self::InvitationProblem
                | Self::InvitationDeclined
                | Self::TherapistWelcome
        )
    }

    /// Letters that may travel in clear although they name the lines (SPEC section 6).
    pub const fn is_clear_for_safety(self) -> bool {
        matches!(self, Self::Safety | Self::SafetyViolence | Self::StrangerSafety)
    }
}

/// Who will read: decides the words and the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    pub language: Language,
    /// A client who shows by answer words who writes, and signs nothing.
    pub by_words: bool,
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
    /// The built-in ones, where an operator's letter stands in for one: what is written when that fails.
    built_in: BTreeMap<Language, Environment<'static>>,
    own: BTreeSet<(Language, Name)>,
    problems: Vec<Problem>,
    /// Own letters that passed the check and failed over real facts.
    failed: Mutex<BTreeSet<String>>,
}

impl Letters {
    /// The built-in letters, and theirs from `folder/LANGUAGE/NAME.txt` where one parses and keeps the mandatory
    /// facts; otherwise the built-in one stays and [`Letters::problems`] says why.
    ///
    /// # Errors
    /// [`LettersError::BuiltIn`] only.
    pub fn load(folder: Option<&Path>) -> Result<Self, LettersError> {
        let mut letters = Self {
            environments: built_in()?,
            built_in: BTreeMap::new(),
            own: BTreeSet::new(),
            problems: Vec::new(),
            failed: Mutex::new(BTreeSet::new()),
        };
        if let Some(folder) = folder {
            for &language in Language::ALL {
                for &name in Name::ALL {
                    letters.override_from(folder, name, language);
                }
            }
        }
        if !letters.own.is_empty() {
            letters.built_in = built_in()?;
        }
        Ok(letters)
    }

    /// Tries the operator's version of one letter. A broken one leaves the built-in in place.
    fn override_from(&mut self, folder: &Path, name: Name, language: Language) {
        for part in Part::ALL {
            if part == Part::Html && name.html(language).is_none() {
                continue;
            }
            let Some(source) = own::read(folder, name, language, part) else { continue };
            let found = source.and_then(|source| match own::judge(&source, name, language, part) {
                found if !found.is_empty() => Err(found),
                _ => self
                    .put(name, language, part, &source)
                    .map_err(|fault| vec![Problem { name, language, part, fault }]),
            });
            match found {
                Ok(()) => drop(self.own.insert((language, name))),
                Err(problems) => self.problems.extend(problems),
            }
        }
    }

    fn put(&mut self, name: Name, language: Language, part: Part, source: &str) -> Result<(), Fault> {
        let environment = self.environments.get_mut(&language).ok_or(Fault::Missing)?;
        match part {
            Part::Text => template::add(environment, name, language, source),
            Part::Html => template::add_html(environment, name, language, source),
        }
    }

    /// Languages in which the operator's own version of a letter is in use.
    pub fn own(&self, name: Name) -> Vec<Language> {
        self.own.iter().filter(|(_, known)| *known == name).map(|(language, _)| *language).collect()
    }

    /// The operator's letters for which the built-in one is used, such as `fr/farewell`.
    pub fn unusable(&self) -> BTreeSet<String> {
        let loaded = self.problems.iter().map(|problem| path(problem.name, problem.language));
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.chain(failed.iter().cloned()).collect()
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

    /// How many samples there are of a letter: one for each way it can go.
    pub fn samples(name: Name) -> usize {
        samples::of(name).len()
    }

    /// A letter over made-up facts, counted from 0. What stands in `own` takes the place of a made-up fact of the
    /// same name, `violence_lines` that of the lines where violence is meant; None: there are fewer samples.
    ///
    /// # Errors
    /// [`LettersError::Render`].
    pub fn preview(
        &self,
        name: Name,
        nth: usize,
        own: &serde_json::Map<String, serde_json::Value>,
        reader: Reader,
    ) -> Result<Option<Rendered>, LettersError> {
        let Some(mut facts) = samples::of(name).into_iter().nth(nth) else { return Ok(None) };
        samples::personalise(&mut facts, own, name);
        self.render_value(name, &facts, reader).map(Some)
    }

    /// An operator's letter that fails over these facts gives way to the built-in one.
    fn render_value(&self, name: Name, facts: &serde_json::Value, reader: Reader) -> Result<Rendered, LettersError> {
        let language = reader.language;
        let written = self.write_from(&self.environments, name, facts, reader);
        if written.is_ok() || !self.own.contains(&(language, name)) {
            return written;
        }
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).insert(path(name, language));
        self.write_from(&self.built_in, name, facts, reader)
    }

    fn write_from(
        &self,
        environments: &BTreeMap<Language, Environment<'static>>,
        name: Name,
        facts: &serde_json::Value,
        reader: Reader,
    ) -> Result<Rendered, LettersError> {
        let language = reader.language;
        let broken = |e: minijinja::Error| LettersError::Render {
            name: name.as_str(),
            language,
            source: Box::new(RenderFault::from(&e)),
        };
        let Some(environment) = environments.get(&language) else {
            return Err(LettersError::BuiltIn { name: name.as_str(), language, fault: Fault::Missing });
        };
        template::write(environment, name, facts, reader).map_err(broken)
    }
}

/// The client's page, `config/guides/client-LANGUAGE.md`, with the typography of its language.
pub fn guide(language: Language, channel: Channel) -> &'static str {
    static PAGES: LazyLock<[String; 4]> = LazyLock::new(|| {
        [
            typography::french(include_str!("../../config/guides/client-fr.md")),
            typography::english(include_str!("../../config/guides/client-en.md")),
            typography::french(include_str!("../../config/guides/client-pdf-fr.md")),
            typography::english(include_str!("../../config/guides/client-pdf-en.md")),
        ]
    });
    match (channel, language) {
        (Channel::OpenPgp, Language::Fr) => &PAGES[0],
        (Channel::OpenPgp, Language::En) => &PAGES[1],
        (Channel::Pdf, Language::Fr) => &PAGES[2],
        (Channel::Pdf, Language::En) => &PAGES[3],
    }
}

/// A letter as its file is called below the folder, without the ending.
fn path(name: Name, language: Language) -> String {
    format!("{language}/{}", name.as_str())
}

/// Environments with the built-in letters.
fn built_in() -> Result<BTreeMap<Language, Environment<'static>>, LettersError> {
    let mut environments = BTreeMap::new();
    for &language in Language::ALL {
        let mut environment = filters::environment(language);
        let broken = |name| move |fault| LettersError::BuiltIn { name, language, fault };
        template::add_words(&mut environment, language).map_err(broken("words"))?;
        for &name in Name::ALL {
            template::add(&mut environment, name, language, name.source(language)).map_err(broken(name.as_str()))?;
            if let Some(html) = name.html(language) {
                template::add_html(&mut environment, name, language, html).map_err(broken(name.as_str()))?;
            }
        }
        environments.insert(language, environment);
    }
    Ok(environments)
}

#[cfg(test)]
mod tests;
