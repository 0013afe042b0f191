//! The TOML file, all its errors at once, the annotated example.
//!
//! [`schema`] is the one definition of every section and key: it yields the documentation, the defaults, the known
//! names, the annotated example and the JSON schema. [`Config::load`] reads a file against it and names every fault at once. Secrets
//! are never in the file: [`secrets`] reads them where the file says.

mod answer;
pub mod example;
mod files;
mod finding;
pub mod json_schema;
mod parse;
mod place;
mod read;
mod reader;
pub mod schema;
pub mod secrets;
pub mod snippet;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime, TimeDelta};
use chrono_tz::Tz;

use crate::model::{Address, Filing, Forwarding, Language, SecondReply, StrangersPolicy, TherapistId, UnsignedPolicy};

pub use answer::judge;
pub use finding::{Finding, Severity};
pub use parse::nearest;
pub use secrets::{Login, LoginMethod, SecretError, SecretSource};

/// The environment as it was given to the program. `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<String, String>);

impl Env {
    /// The environment of this process; variables that are not UTF-8 are left out.
    pub fn process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// An environment of exactly these variables.
    pub fn of<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// The value of a variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A text, or one a language.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Texts {
    fr: Option<String>,
    en: Option<String>,
}

impl Texts {
    /// The same text in every language.
    pub fn same(text: &str) -> Self {
        Self { fr: Some(text.to_owned()), en: Some(text.to_owned()) }
    }

    /// One text a language; empty ones count as missing.
    pub fn by_language(fr: Option<&str>, en: Option<&str>) -> Self {
        let kept = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        Self { fr: kept(fr), en: kept(en) }
    }

    /// The text in this language, else in the other; empty only when [`Texts::is_empty`].
    pub fn get(&self, language: Language) -> &str {
        let (first, second) = match language {
            Language::Fr => (&self.fr, &self.en),
            Language::En => (&self.en, &self.fr),
        };
        first.as_deref().or(second.as_deref()).unwrap_or_default()
    }

    /// Whether there is no text in any language.
    pub fn is_empty(&self) -> bool {
        self.fr.is_none() && self.en.is_none()
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Texts(fr: {}, en: {})", self.fr.is_some(), self.en.is_some())
    }
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte.
    Implicit,
    /// STARTTLS, required.
    Starttls,
    /// None; only to a loopback host.
    None,
}

/// Which folder holds what the server took for junk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Junk {
    /// The folder with the special use \Junk (RFC 6154).
    Auto,
    Off,
    Folder(String),
}

/// The agreed frame's texts (SPEC section 5), elements 1 to 3, and the colleague for a therapist's incapacity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cadre {
    /// Channel and rhythm.
    pub channel: Texts,
    /// Price and means of payment.
    pub price: Texts,
    /// The other way when the line breaks.
    pub fallback: Texts,
    /// Who is told, with telephone, when the therapist can't act; may be empty.
    pub colleague: Texts,
    /// Who runs the server, for the letter about the frame; may be empty.
    pub server: Texts,
    /// How long records stay, likewise.
    pub records: Texts,
}

/// One of the frame's four mandatory elements that is missing for a therapist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameGap {
    Channel,
    Price,
    Fallback,
    /// Title, register number or country of the therapist.
    References,
}

impl FrameGap {
    /// What is missing, in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Channel => "the channel and its rhythm",
            Self::Price => "the price and means of payment",
            Self::Fallback => "the other way when the line breaks",
            Self::References => "title, register number and country of the therapist",
        }
    }
}

/// `[practice]`.
#[derive(Clone)]
pub struct Practice {
    pub name: String,
    pub address: Address,
    /// The name that stands in mail that must not show a therapy.
    pub neutral_name: Texts,
    pub language: Language,
    pub timezone: Tz,
    /// ISO 3166-1, two capitals; `UK` is read as `GB`.
    pub country: String,
    /// ISO 3166-2 such as `FR-57`.
    pub region: Option<String>,
    pub cadre: Cadre,
}

/// `[operator]`.
#[derive(Clone, Default)]
pub struct Operator {
    pub address: Option<Address>,
    /// Run by `sh -c`, given nothing but a code and a class.
    pub alarm_command: Option<String>,
    /// `https://`, or `http://` of a loopback host.
    pub heartbeat_url: Option<hyper::Uri>,
}

/// `[keys]`.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The practice's OpenPGP secret key.
    pub secret: SecretSource,
    pub passphrase: Option<SecretSource>,
    /// 32 random bytes, see [`SecretSource::record_key`].
    pub record: SecretSource,
    /// Certificate only.
    pub archive: Option<PathBuf>,
}

/// `[imap]`.
#[derive(Debug, Clone)]
pub struct Imap {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    /// An extra root certificate, PEM.
    pub ca_file: Option<PathBuf>,
    pub login: Login,
    pub inbox: String,
    pub junk: Junk,
    pub poll: Duration,
    pub idle: bool,
    pub filing: Filing,
}

/// `[smtp]`.
#[derive(Debug, Clone)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    /// An extra root certificate, PEM.
    pub ca_file: Option<PathBuf>,
    /// No log-in when absent.
    pub login: Option<Login>,
}

/// `[database]`.
#[derive(Debug, Clone)]
pub struct Database {
    pub place: DatabasePlace,
    /// Count and head of the journal, outside the database.
    pub journal_head: PathBuf,
}

impl Database {
    /// The SQLite file; `None`: PostgreSQL.
    pub fn file(&self) -> Option<&Path> {
        self.place.file()
    }
}

/// SQLite or PostgreSQL.
#[derive(Debug, Clone)]
pub enum DatabasePlace {
    /// The SQLite file.
    File(PathBuf),
    Server(DatabaseServer),
}

/// A PostgreSQL database. `Debug` doesn't show where.
#[derive(Clone)]
pub struct DatabaseServer {
    /// `postgres://USER@HOST/DATABASE`, without a password.
    pub url: String,
    pub password: Option<SecretSource>,
    /// `None`: by a keyed hash of the practice's address.
    pub schema: Option<String>,
}

impl std::fmt::Debug for DatabaseServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseServer").finish_non_exhaustive()
    }
}

/// `[rhythm]`. The therapists carry their own release and cut-off, already resolved.
#[derive(Debug, Clone)]
pub struct Rhythm {
    /// Slots, to be computed on naive local time.
    pub release: cron::Schedule,
    pub cutoff: NaiveTime,
    pub grace: TimeDelta,
    pub second: SecondReply,
    /// How long before a slot the reminder goes; zero: none.
    pub reminder: TimeDelta,
}

/// `[digest]`.
#[derive(Debug, Clone)]
pub struct Digest {
    pub send: cron::Schedule,
}

/// Where metrics and health are served: never beyond this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A loopback address.
    Tcp(std::net::SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `[metrics]`.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// None: nothing is served.
    pub listen: Option<Listen>,
}

/// `[intake]`.
#[derive(Debug, Clone)]
pub struct Intake {
    pub unsigned: UnsignedPolicy,
    pub strangers: StrangersPolicy,
    /// Bytes.
    pub max_message: u64,
    /// The name under which the mailbox's own server writes Authentication-Results (RFC 8601).
    pub authserv: Option<String>,
    /// Who gets strangers' first letters.
    pub requests: TherapistId,
    pub limits: Limits,
}

/// Ceilings of section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Held messages a client a day; beyond it counted only.
    pub held_a_day: u32,
    /// Refusals an hour a therapist.
    pub refusals_an_hour: u32,
    /// Answers to strangers an hour, all together.
    pub strangers_an_hour: u32,
}

/// `[[therapist]]`, with what the file left out already taken from `[practice]` and `[rhythm]`.
#[derive(Clone)]
pub struct Therapist {
    pub id: TherapistId,
    pub name: String,
    pub title: String,
    pub register: String,
    /// ISO 3166-1, two capitals.
    pub country: String,
    pub address: Address,
    pub certificate: PathBuf,
    pub forward: Forwarding,
    pub timezone: Tz,
    pub language: Language,
    pub release: cron::Schedule,
    pub cutoff: NaiveTime,
    /// Who stands in where an absence names nobody.
    pub locum: Option<TherapistId>,
    pub cadre: Cadre,
}

/// `[[absence]]`: both days belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    pub therapist: TherapistId,
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub locum: Option<TherapistId>,
}

/// A configuration that was read without errors. `Debug` shows the file's path only.
#[derive(Clone)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    pub practice: Practice,
    pub operator: Operator,
    pub keys: Keys,
    pub imap: Imap,
    pub smtp: Smtp,
    pub database: Database,
    pub rhythm: Rhythm,
    pub digest: Digest,
    pub intake: Intake,
    pub metrics: Metrics,
    /// Folder of the operator's own letter texts.
    pub letters_folder: Option<PathBuf>,
    /// Folder of the operator's own crisis lexicon.
    pub lexicon_folder: Option<PathBuf>,
    /// Years after which an ended record is proposed for erasure; None: nothing is proposed.
    pub retention: Option<u32>,
    /// Never empty.
    pub therapists: Vec<Therapist>,
    pub absences: Vec<Absence>,
    lines: BTreeMap<String, usize>,
}

impl Config {
    /// Where the configuration is: `--config`, else `CADRE_CONFIG`, else `./cadre.toml`, else `/etc/cadre/cadre.toml`.
    pub fn find(cli: Option<&Path>, env: &Env) -> PathBuf {
        if let Some(path) = cli {
            return path.to_owned();
        }
        if let Some(path) = env.get("CADRE_CONFIG") {
            return PathBuf::from(path);
        }
        let here = PathBuf::from("cadre.toml");
        if here.exists() { here } else { PathBuf::from("/etc/cadre/cadre.toml") }
    }

    /// Reads and judges a file; no network, and no other file is opened (see [`Config::check_files`]).
    ///
    /// Gives the configuration with its warnings.
    ///
    /// # Errors
    /// Every fault at once, in the file's order, warnings included. At least one is [`Severity::Error`].
    pub fn load(path: &Path, env: &Env) -> Result<(Self, Vec<Finding>), Vec<Finding>> {
        read::load(path, env)
    }

    /// As [`Config::load`], from a text that stands for the file at `path`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_text(path: &Path, text: &str, env: &Env) -> Result<(Self, Vec<Finding>), Vec<Finding>> {
        read::load_text(path, text, env)
    }

    /// The therapist of this id.
    pub fn therapist(&self, id: &TherapistId) -> Option<&Therapist> {
        self.therapists.iter().find(|therapist| therapist.id == *id)
    }

    /// Which of the four mandatory elements of the frame are missing for this therapist: while any is, no client can
    /// be activated. Empty for every configuration that [`Config::load`] gives, since a gap is an error there.
    pub fn frame_gaps(&self, therapist: &Therapist) -> Vec<FrameGap> {
        therapist.frame_gaps()
    }

    /// The therapist's absences, as the file has them.
    pub fn absences_of<'a>(&'a self, therapist: &'a TherapistId) -> impl Iterator<Item = &'a Absence> {
        self.absences.iter().filter(move |absence| absence.therapist == *therapist)
    }

    /// The folder that relative paths are relative to.
    pub fn folder(&self) -> &Path {
        folder_of(&self.file)
    }

    /// A finding about a key such as `[imap] host`, with the line where that key stands.
    pub fn finding(&self, severity: Severity, key: &str, cause: &str, remedy: &str) -> Finding {
        Finding {
            severity,
            file: self.file.clone(),
            line: self.lines.get(key).copied(),
            span: None,
            key: key.to_owned(),
            cause: cause.to_owned(),
            remedy: remedy.to_owned(),
        }
    }

    /// Names every file that is missing, unreadable or open to others, all at once. Opens files, so not in `load`.
    pub fn check_files(&self) -> Vec<Finding> {
        files::check(self)
    }
}

impl Therapist {
    fn frame_gaps(&self) -> Vec<FrameGap> {
        let mut gaps = self.cadre.gaps();
        if [&self.title, &self.register, &self.country].iter().any(|text| text.trim().is_empty()) {
            gaps.push(FrameGap::References);
        }
        gaps
    }
}

impl Cadre {
    /// Elements 1 to 3 that have no text in any language.
    pub fn gaps(&self) -> Vec<FrameGap> {
        [(&self.channel, FrameGap::Channel), (&self.price, FrameGap::Price), (&self.fallback, FrameGap::Fallback)]
            .into_iter()
            .filter_map(|(texts, gap)| texts.is_empty().then_some(gap))
            .collect()
    }

    /// This one's texts, and `other`'s where this one has none.
    fn or(self, other: &Self) -> Self {
        let pick = |own: Texts, other: &Texts| if own.is_empty() { other.clone() } else { own };
        Self {
            channel: pick(self.channel, &other.channel),
            price: pick(self.price, &other.price),
            fallback: pick(self.fallback, &other.fallback),
            colleague: pick(self.colleague, &other.colleague),
            server: pick(self.server, &other.server),
            records: pick(self.records, &other.records),
        }
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Names and addresses never reach a log, so these say only that they are there.
macro_rules! closed_debug {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )+};
}
closed_debug!(Practice, Operator);

impl fmt::Debug for Therapist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Therapist").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("file", &self.file).finish_non_exhaustive()
    }
}
