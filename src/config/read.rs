//! From TOML to [`Config`]: nothing stops at the first fault.
//!
//! Each section is read whole before it is put together, so that every key has had its say; a section is given up
//! (`None`) only after a finding was written for the reason.

use std::path::Path;

use chrono::TimeDelta;

use super::parse::{self, DatabaseUrl, Fault, fault};
use super::reader::{Part, Reader};
use super::schema;
use super::secrets::{Login, LoginMethod};
use super::{
    Absence, Cadre, Config, Database, DatabasePlace, DatabaseServer, Digest, Env, Finding, Imap, Intake, Junk, Keys,
    Limits, Metrics, Operator, Practice, Rhythm, Severity, Smtp, Texts, Therapist, Tls,
};
use crate::model::{Language, TherapistId};

/// Countries whose holidays and lines Cadre knows (SPEC sections 4 and 7).
const KNOWN_COUNTRIES: &[&str] = &["FR", "BE", "CH", "CA", "GB", "US"];
/// Below this no letter with a signature and a key would pass.
const SMALLEST_LIMIT: u64 = 10_000;

type Loaded = Result<(Config, Vec<Finding>), Vec<Finding>>;

pub(super) fn load(path: &Path, env: &Env) -> Loaded {
    let whole = |line, cause: &str, remedy: &str| {
        let (cause, remedy) = (cause.to_owned(), remedy.to_owned());
        let (severity, file, key) = (Severity::Error, path.to_owned(), String::new());
        vec![Finding { severity, file, line, span: None, key, cause, remedy }]
    };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let remedy = "name it with --config or CADRE_CONFIG, or make one with `cadre init`";
            return Err(whole(None, "the configuration file is missing", remedy));
        }
        Err(_) => {
            let remedy = "it must be a file that the user who runs cadre may read";
            return Err(whole(None, "the configuration file can't be read", remedy));
        }
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) => load_text(path, text, env),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(whole(Some(line), "the file is not UTF-8 text", "save it as UTF-8 in your editor"))
        }
    }
}

pub(super) fn load_text(path: &Path, text: &str, env: &Env) -> Loaded {
    let document = match toml_edit::Document::parse(text) {
        Ok(document) => document,
        Err(_) => return Err(not_toml(path, text)),
    };
    let mut reader = Reader::new(path, text, document.as_table(), env);
    reader.check_sections();
    let config = whole(&mut reader);
    let (findings, lines) = reader.finish();
    match config {
        Some(mut config) if !findings.iter().any(Finding::is_error) => {
            config.lines = lines;
            Ok((config, findings))
        }
        _ => Err(findings),
    }
}

/// Every place where the text is no TOML.
fn not_toml(path: &Path, text: &str) -> Vec<Finding> {
    // toml_edit stops at the first.
    let (_, errors) = toml::de::DeTable::parse_recoverable(text);
    let finding = |error: &toml::de::Error| Finding {
        severity: Severity::Error,
        file: path.to_owned(),
        line: error.span().map(|span| Reader::line_in(text, span.start)),
        span: error.span(),
        key: String::new(),
        cause: format!("it is not TOML: {}", error.message().lines().collect::<Vec<_>>().join(", ")),
        remedy: "correct the line; texts stand in quotes, sections in [brackets]".to_owned(),
    };
    errors.iter().map(finding).collect()
}

fn whole(r: &mut Reader<'_>) -> Option<Config> {
    let practice = practice(r);
    let operator = operator(r);
    let keys = keys(r);
    let imap = imap(r);
    let smtp = smtp(r);
    let database = database(r);
    let rhythm = rhythm(r);
    let digest = digest(r);
    let metrics = metrics(r);
    let letters = r.part("letters");
    let letters_folder = r.path(&letters, "folder");
    let records = r.part("records");
    let retention = r.parsed(&records, "retention", parse::years);
    let crisis = r.part("crisis");
    let lexicon_folder = r.path(&crisis, "lexicon");
    let therapists = therapists(r, practice.as_ref(), rhythm.as_ref());
    // Ids are known even where another key of the therapist is at fault.
    let ids: Vec<TherapistId> = therapists.iter().filter_map(|(id, _)| id.clone()).collect();
    let intake = intake(r, &ids);
    let absences = absences(r, &ids);
    check_roles(r);
    Some(Config {
        file: r.file().to_owned(),
        practice: practice?,
        operator,
        keys: keys?,
        imap: imap?,
        smtp: smtp?,
        database: database?,
        rhythm: rhythm?,
        digest: digest?,
        intake: intake?,
        metrics,
        letters_folder,
        lexicon_folder,
        retention,
        therapists: therapists.into_iter().map(|(_, therapist)| therapist).collect::<Option<Vec<_>>>()?,
        absences: absences?,
        lines: std::collections::BTreeMap::new(),
    })
}

fn practice(r: &mut Reader<'_>) -> Option<Practice> {
    let part = r.part("practice");
    let name = r.text(&part, "name");
    let address = r.address(&part, "address");
    let neutral_name = r.texts(&part, "neutral_name");
    let language = r.word(&part, "language", schema::LANGUAGES);
    let timezone = r.parsed(&part, "timezone", parse::zone);
    let country = r.parsed(&part, "country", parse::country);
    let region = r.parsed(&part, "region", parse::region);
    if let Some(country) = &country {
        if !KNOWN_COUNTRIES.contains(&country.as_str()) {
            let cause = format!("Cadre knows neither holidays nor emergency lines of {country}");
            let remedy = "replies will leave on holidays too; name holidays as [[absence]]";
            r.warn(&part, "country", cause, remedy);
        }
        if region.as_ref().is_some_and(|region| region.split('-').next() != Some(country)) {
            r.error(
                &part,
                "region",
                "the region lies in another country than the practice",
                "let both name one country",
            );
        }
    }
    let cadre_part = r.part("practice.cadre");
    let cadre = cadre(r, &cadre_part);
    Some(Practice {
        name: name?,
        address: address?,
        neutral_name: neutral_name
            .unwrap_or_else(|| Texts::by_language(Some("Correspondance"), Some("Correspondence"))),
        language: language?,
        timezone: timezone?,
        country: country?,
        region,
        cadre,
    })
}

fn cadre(r: &mut Reader<'_>, part: &Part<'_>) -> Cadre {
    Cadre {
        channel: r.texts(part, "channel").unwrap_or_default(),
        price: r.texts(part, "price").unwrap_or_default(),
        fallback: r.texts(part, "fallback").unwrap_or_default(),
        colleague: r.texts(part, "colleague").unwrap_or_default(),
        server: r.texts(part, "server").unwrap_or_default(),
        records: r.texts(part, "records").unwrap_or_default(),
    }
}

fn operator(r: &mut Reader<'_>) -> Operator {
    let part = r.part("operator");
    let operator = Operator {
        address: r.address(&part, "address"),
        alarm_command: r.text(&part, "alarm_command"),
        heartbeat_url: r.parsed(&part, "heartbeat_url", parse::url),
    };
    if !r.is_set(&part, "address") && !r.is_set(&part, "alarm_command") {
        let cause = "nobody is told when the machine fails";
        r.warn(&part, "address", cause, "set [operator] address or alarm_command");
    }
    operator
}

fn keys(r: &mut Reader<'_>) -> Option<Keys> {
    let part = r.part("keys");
    let secret = r.secret(&part, "secret");
    let passphrase = r.secret(&part, "passphrase_file");
    let record = r.secret(&part, "record");
    let archive = r.path(&part, "archive");
    if !r.is_set(&part, "archive") {
        let cause = "without an archive certificate nothing can be read again when a therapist's key is lost";
        r.warn(&part, "archive", cause, "make one with `cadre init`, and keep its secret key away from this machine");
    }
    Some(Keys { secret: secret?, passphrase, record: record?, archive })
}

/// What IMAP and SMTP have alike: host, port, TLS.
fn server(r: &mut Reader<'_>, part: &Part<'_>, ports: fn(Tls) -> u16) -> Option<(String, u16, Tls)> {
    let host = r.parsed(part, "host", parse::host);
    let tls: Option<Tls> = r.word(part, "tls", schema::TLS);
    if let (Some(host), Some(Tls::None)) = (&host, tls)
        && !parse::is_loopback(host)
    {
        let cause = "without TLS the password and the letters' envelopes cross the network readable";
        r.error(
            part,
            "tls",
            cause,
            "write \"implicit\" or \"starttls\"; \"none\" is only for 127.0.0.1, ::1 and localhost",
        );
    }
    let port = if r.is_set(part, "port") { r.port(part, "port") } else { tls.map(ports) };
    Some((host?, port?, tls?))
}

/// How a log-in is proved, as the file says it.
#[derive(Clone, Copy, PartialEq)]
enum Auth {
    Password,
    Token,
}

impl std::str::FromStr for Auth {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "password" => Ok(Self::Password),
            "xoauth2" => Ok(Self::Token),
            _ => Err(()),
        }
    }
}

impl std::str::FromStr for Tls {
    type Err = crate::model::UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "implicit" => Ok(Self::Implicit),
            "starttls" => Ok(Self::Starttls),
            "none" => Ok(Self::None),
            _ => Err(crate::model::UnknownWord { what: "protection", value: text.to_owned() }),
        }
    }
}

/// The log-in; `Some(None)` when there is none and none is needed.
fn login(r: &mut Reader<'_>, part: &Part<'_>, required: bool) -> Option<Option<Login>> {
    let username = r.text(part, "username");
    let auth: Option<Auth> = r.word(part, "auth", schema::AUTH);
    let token_command = r.text(part, "token_command");
    let password = if r.is_set(part, "password_file") { r.secret(part, "password_file") } else { None };
    let token = auth? == Auth::Token;
    if !required && !r.is_set(part, "username") {
        for key in ["password_file", "token_command"] {
            if r.is_set(part, key) {
                r.error(part, key, "there is no username to log in with", "set username, or remove this line");
            }
        }
        return Some(None);
    }
    let (wanted, other) = if token { ("token_command", "password_file") } else { ("password_file", "token_command") };
    let auth_word = if token { "xoauth2" } else { "password" };
    if r.is_set(part, other) {
        let cause = format!("it is not used with auth = \"{auth_word}\"");
        r.error(part, other, cause, "remove the line, or change auth");
    }
    if !r.is_set(part, wanted) {
        let cause = format!("it is missing, and auth = \"{auth_word}\" needs it");
        let remedy = if token {
            "set token_command to a command that prints a token"
        } else {
            "write the password into a file (chmod 600) and name the file here"
        };
        r.error(part, wanted, cause, remedy);
    }
    let method =
        if token { LoginMethod::XOAuth2 { token_command: token_command? } } else { LoginMethod::Password(password?) };
    Some(Some(Login { username: username?, method }))
}

fn imap(r: &mut Reader<'_>) -> Option<Imap> {
    let part = r.part("imap");
    let server = server(r, &part, |tls| if tls == Tls::Implicit { 993 } else { 143 });
    let login = login(r, &part, true);
    let inbox = r.text(&part, "inbox");
    let junk = r.parsed(&part, "junk", |text| {
        Ok(match text {
            "auto" => Junk::Auto,
            "off" => Junk::Off,
            folder => Junk::Folder(folder.to_owned()),
        })
    });
    let poll = r.parsed(&part, "poll", |text| match parse::duration(text)? {
        poll if (1..=29 * 60).contains(&poll.as_secs()) => Ok(poll),
        _ => fault("it lies outside of 1s to 29m", "write a time such as \"60s\""),
    });
    let idle = r.flag(&part, "idle");
    let filing = r.word(&part, "filing", schema::FILING);
    let ca_file = r.path(&part, "ca_file");
    if filing == Some(crate::model::Filing::Keep) {
        let cause = "originals stay on the mail server, readable with the practice's key";
        r.warn(&part, "filing", cause, "write \"folders\" or \"delete\" when you have seen that all is well");
    }
    let ((host, port, tls), login) = (server?, login??);
    let (inbox, junk, poll, idle, filing) = (inbox?, junk?, poll?, idle?, filing?);
    Some(Imap { host, port, tls, ca_file, login, inbox, junk, poll, idle, filing })
}

fn smtp(r: &mut Reader<'_>) -> Option<Smtp> {
    let part = r.part("smtp");
    let server = server(r, &part, |tls| match tls {
        Tls::Implicit => 465,
        Tls::Starttls => 587,
        Tls::None => 25,
    });
    let login = login(r, &part, false);
    let ca_file = r.path(&part, "ca_file");
    let (host, port, tls) = server?;
    Some(Smtp { host, port, tls, ca_file, login: login? })
}

fn database(r: &mut Reader<'_>) -> Option<Database> {
    let part = r.part("database");
    let folder = r.folder().to_owned();
    let url = r.parsed(&part, "url", |text| parse::database(text, &folder));
    let password = if r.is_set(&part, "password_file") { r.secret(&part, "password_file") } else { None };
    let schema = if r.is_set(&part, "schema") { r.parsed(&part, "schema", parse::schema_name) } else { None };
    let journal_head = r.path(&part, "journal_head");
    let place = match url? {
        DatabaseUrl::File(path) => {
            if journal_head.as_ref() == Some(&path) {
                r.error(&part, "journal_head", "it is the database's own file", "write the path of another file");
            }
            for key in ["password_file", "schema"] {
                if r.is_set(&part, key) {
                    r.error(&part, key, "SQLite has none", "remove the line, or write a postgres:// url");
                }
            }
            DatabasePlace::File(path)
        }
        DatabaseUrl::Server(url) => DatabasePlace::Server(DatabaseServer { url, password, schema }),
    };
    Some(Database { place, journal_head: journal_head? })
}

fn rhythm(r: &mut Reader<'_>) -> Option<Rhythm> {
    let part = r.part("rhythm");
    let within_a_day = |text: &str| match parse::duration(text)? {
        time if time.as_secs() <= 86_400 => Ok(TimeDelta::seconds(time.as_secs().cast_signed())),
        _ => fault("it is longer than a day", "write at most \"24h\""),
    };
    let release = r.parsed(&part, "release", parse::cron);
    let cutoff = r.parsed(&part, "cutoff", parse::hour);
    let grace = r.parsed(&part, "grace", within_a_day);
    let second = r.word(&part, "second", schema::SECOND);
    let reminder = r.parsed(&part, "reminder", within_a_day);
    Some(Rhythm { release: release?, cutoff: cutoff?, grace: grace?, second: second?, reminder: reminder? })
}

fn digest(r: &mut Reader<'_>) -> Option<Digest> {
    let part = r.part("digest");
    Some(Digest { send: r.parsed(&part, "send", parse::cron)? })
}

fn metrics(r: &mut Reader<'_>) -> Metrics {
    let part = r.part("metrics");
    let folder = r.folder().to_owned();
    Metrics { listen: r.parsed(&part, "listen", |text| parse::listen(text, &folder)) }
}

fn intake(r: &mut Reader<'_>, ids: &[TherapistId]) -> Option<Intake> {
    let part = r.part("intake");
    let unsigned = r.word(&part, "unsigned", schema::UNSIGNED);
    let strangers = r.word(&part, "strangers", schema::STRANGERS);
    let requests = if r.is_set(&part, "requests") {
        r.parsed(&part, "requests", |text| known_id(text, ids))
    } else {
        ids.first().cloned()
    };
    let authserv = r.text(&part, "authserv");
    let max_message = r.parsed(&part, "max_message", |text| match parse::size(text)? {
        size if size >= SMALLEST_LIMIT => Ok(size),
        _ => fault("no signed letter would fit", "write at least \"10kB\""),
    });
    let held_a_day = r.count(&part, "max_held");
    let refusals_an_hour = r.count(&part, "max_refusals");
    let strangers_an_hour = r.count(&part, "max_strangers");
    let limits =
        Limits { held_a_day: held_a_day?, refusals_an_hour: refusals_an_hour?, strangers_an_hour: strangers_an_hour? };
    let (unsigned, strangers, max_message) = (unsigned?, strangers?, max_message?);
    Some(Intake { unsigned, strangers, max_message, authserv, requests: requests?, limits })
}

fn known_id(text: &str, ids: &[TherapistId]) -> Result<TherapistId, Fault> {
    if let Some(id) = ids.iter().find(|id| id.0 == text) {
        return Ok(id.clone());
    }
    let known = ids.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(", ");
    let remedy = if known.is_empty() {
        "give the [[therapist]] a sound id first".to_owned()
    } else {
        format!("write the id of a [[therapist]]: {known}")
    };
    fault(format!("there is no therapist {}", parse::shown(text)), remedy)
}

/// Every therapist with an id, whole or not.
fn therapists(
    r: &mut Reader<'_>,
    practice: Option<&Practice>,
    rhythm: Option<&Rhythm>,
) -> Vec<(Option<TherapistId>, Option<Therapist>)> {
    let parts = r.list("therapist");
    if parts.is_empty() && !r.has("therapist") {
        r.error_at("[[therapist]]", None, "there is no therapist", "write a [[therapist]] section");
    }
    let mut read: Vec<(Option<TherapistId>, Option<Therapist>)> = Vec::new();
    let (mut own_texts, mut without_colleague) = (Vec::new(), Vec::new());
    for part in &parts {
        let id = r.parsed(part, "id", parse::id);
        if let Some(id) = &id
            && read.iter().any(|(other, _)| other.as_ref() == Some(id))
        {
            let remedy = "give each therapist an id of their own";
            r.error(part, "id", "another [[therapist]] has this id already", remedy);
        }
        let (own, therapist) = therapist(r, part, id.clone(), practice, rhythm);
        if own.colleague.is_empty() {
            without_colleague.push(part.who().to_owned());
        }
        own_texts.push((part.who().to_owned(), own));
        read.push((id, therapist));
    }
    check_locums(r, &parts, &read);
    check_frame(r, &own_texts);
    let practice_part = r.part("practice.cadre");
    if !r.is_set(&practice_part, "colleague") && !without_colleague.is_empty() {
        let cause = format!("no colleague is named for the incapacity of {}", without_colleague.join(", "));
        let remedy = "name one who agreed to it, with telephone: colleague = \"Mme Exemple, +33 …\"";
        r.warn(&practice_part, "colleague", cause, remedy);
    }
    read
}

/// Who stands in is another therapist of the practice.
fn check_locums(r: &mut Reader<'_>, parts: &[Part<'_>], read: &[(Option<TherapistId>, Option<Therapist>)]) {
    let ids: Vec<TherapistId> = read.iter().filter_map(|(id, _)| id.clone()).collect();
    for (part, (id, therapist)) in parts.iter().zip(read) {
        let Some(locum) = therapist.as_ref().and_then(|therapist| therapist.locum.as_ref()) else { continue };
        if Some(locum) == id.as_ref() {
            r.error(part, "locum", "nobody stands in for themselves", "name another therapist, or remove the line");
        } else if !ids.contains(locum) {
            let remedy = "write the id of another [[therapist]], or remove the line";
            r.error(part, "locum", "there is no such therapist", remedy);
        }
    }
}

fn therapist<'a>(
    r: &mut Reader<'a>,
    part: &Part<'a>,
    id: Option<TherapistId>,
    practice: Option<&Practice>,
    rhythm: Option<&Rhythm>,
) -> (Cadre, Option<Therapist>) {
    let name = r.text(part, "name");
    let title = r.text(part, "title");
    let register = r.text(part, "register");
    let country = r.parsed(part, "country", parse::country);
    let address = r.address(part, "address");
    let certificate = r.path(part, "certificate");
    let forward = r.word(part, "forward", schema::FORWARD);
    let timezone = r.parsed(part, "timezone", parse::zone).or(practice.map(|practice| practice.timezone));
    let language: Option<Language> = r.word(part, "language", schema::LANGUAGES);
    let language = language.or(practice.map(|practice| practice.language));
    let release = r.parsed(part, "release", parse::cron).or_else(|| rhythm.map(|rhythm| rhythm.release.clone()));
    let cutoff = r.parsed(part, "cutoff", parse::hour).or(rhythm.map(|rhythm| rhythm.cutoff));
    let locum = r.parsed(part, "locum", parse::id);
    let cadre_part = r.sub_part(part, "therapist.cadre");
    let own = cadre(r, &cadre_part);
    let resolved = practice.map(|practice| own.clone().or(&practice.cadre));
    let build = || {
        Some(Therapist {
            id: id?,
            name: name?,
            title: title?,
            register: register?,
            country: country?,
            address: address?,
            certificate: certificate?,
            forward: forward?,
            timezone: timezone?,
            language: language?,
            release: release?,
            cutoff: cutoff?,
            locum,
            cadre: resolved?,
        })
    };
    (own, build())
}

/// Elements 1 to 3 of the frame: each in `[practice.cadre]`, or in every therapist's own.
fn check_frame(r: &mut Reader<'_>, own: &[(String, Cadre)]) {
    let part = r.part("practice.cadre");
    type Element = (&'static str, super::FrameGap, fn(&Cadre) -> &Texts);
    let keys: [Element; 3] = [
        ("channel", super::FrameGap::Channel, |cadre| &cadre.channel),
        ("price", super::FrameGap::Price, |cadre| &cadre.price),
        ("fallback", super::FrameGap::Fallback, |cadre| &cadre.fallback),
    ];
    for (key, gap, texts) in keys {
        if r.is_set(&part, key) {
            continue;
        }
        let without: Vec<&str> =
            own.iter().filter(|(_, cadre)| texts(cadre).is_empty()).map(|(who, _)| who.as_str()).collect();
        if without.is_empty() && !own.is_empty() {
            continue;
        }
        let whom = if without.is_empty() { String::new() } else { format!(" (for {})", without.join(", ")) };
        let cause = format!("{} is missing{whom}: no client can be activated", gap.describe());
        r.error(&part, key, cause, "write the text here, or in each therapist's own [therapist.cadre]");
    }
}

fn absences(r: &mut Reader<'_>, ids: &[TherapistId]) -> Option<Vec<Absence>> {
    let parts = r.list("absence");
    let mut all = Vec::new();
    for part in &parts {
        let therapist = r.parsed(part, "therapist", |text| known_id(text, ids));
        let from = r.parsed(part, "from", parse::date);
        let to = r.parsed(part, "to", parse::date);
        let locum = r.parsed(part, "locum", |text| known_id(text, ids));
        if let (Some(from), Some(to)) = (from, to)
            && to < from
        {
            r.error(part, "to", "the last day lies before the first", "exchange the two dates");
        }
        if locum.is_some() && locum == therapist {
            r.error(part, "locum", "nobody stands in for themselves", "name another therapist, or remove the line");
        }
        let build = || Some(Absence { therapist: therapist?, from: from?, to: to?, locum });
        all.push(build());
    }
    all.into_iter().collect()
}

/// An address belongs to one role.
fn check_roles(r: &mut Reader<'_>) {
    let seen = r.take_addresses();
    for (nth, (key, span, address)) in seen.iter().enumerate() {
        let first = seen[..nth].iter().find(|(_, _, other)| other == address);
        if let Some((other, other_span, _)) = first {
            let place = r.line(other_span.as_ref()).map_or(String::new(), |line| format!(", line {line}"));
            let cause = format!("this address has a role already ({other}{place}), and an address belongs to one role");
            r.error_at(key, span.clone(), cause, "write another address");
        }
    }
}
