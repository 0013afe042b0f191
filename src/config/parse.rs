//! Values of single keys: texts to types. Pure; faults carry cause and remedy, never a name or an address.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

use super::Listen;
use crate::model::{Address, TherapistId};

/// Why a value can't be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub cause: String,
    pub remedy: String,
}

pub(super) fn fault<T>(cause: impl Into<String>, remedy: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { cause: cause.into(), remedy: remedy.into() })
}

/// A value as it is shown in a message: short, on one line.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(40).collect();
    if text.chars().count() > 40 {
        short.push('…');
    }
    format!("`{short}`")
}

/// The known name that is near enough to be what was meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let limit = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (distance(&word, &name.to_lowercase()), name))
        .filter(|(far, _)| *far <= limit)
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

/// Edits (insert, delete, change, swap of neighbours) from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 3 {
        return usize::MAX;
    }
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// One of a closed list of words.
pub(super) fn word<T: FromStr>(text: &str, words: &[&str]) -> Result<T, Fault> {
    text.parse().or_else(|_| {
        let guess =
            nearest(text, words.iter().copied()).map_or(String::new(), |word| format!("did you mean \"{word}\"? "));
        fault(
            format!("{} is none of the words that can stand here", shown(text)),
            format!(
                "{guess}write one of: {}",
                words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
            ),
        )
    })
}

/// Seconds, minutes, hours, days: `60s`, `2h`, `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    let bad = || {
        fault(
            format!("{} is not a duration", shown(text)),
            "write a number with a unit, such as \"60s\", \"5m\", \"2h\" or \"1h30m\"",
        )
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return bad();
    }
    let mut seconds: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let Ok(number) = rest[..digits].parse::<u64>() else { return bad() };
        rest = rest[digits..].trim_start();
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &rest[..letters] {
            "s" | "sec" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return bad(),
        };
        rest = rest[letters..].trim_start();
        match number.checked_mul(unit).and_then(|more| seconds.checked_add(more)).filter(|sum| *sum <= 366 * 86_400) {
            Some(sum) => seconds = sum,
            None => return bad(),
        }
    }
    Ok(Duration::from_secs(seconds))
}

/// Whole years: `5y`.
pub(super) fn years(text: &str) -> Result<u32, Fault> {
    let number = text.trim().strip_suffix('y').and_then(|number| number.trim_end().parse::<u32>().ok());
    match number {
        Some(years) if (1..=100).contains(&years) => Ok(years),
        _ => fault(format!("{} is not a number of years", shown(text)), "write 1 to 100 years, such as \"5y\""),
    }
}

/// Bytes: `25MB` (millions), `25MiB` (1024 × 1024), `800kB`.
pub(super) fn size(text: &str) -> Result<u64, Fault> {
    let bad = || {
        fault(
            format!("{} is not a size", shown(text)),
            "write a whole number with a unit, such as \"25MB\" or \"800kB\"",
        )
    };
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let Ok(number) = text[..digits].parse::<u64>() else { return bad() };
    let unit: u64 = match text[digits..].trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return bad(),
    };
    number.checked_mul(unit).map_or_else(bad, Ok)
}

pub(super) fn hour(text: &str) -> Result<NaiveTime, Fault> {
    let text = text.trim();
    NaiveTime::parse_from_str(text, "%H:%M").or_else(|_| NaiveTime::parse_from_str(text, "%H:%M:%S")).or_else(|_| {
        fault(
            format!("{} is not a time of day", shown(text)),
            "write hours and minutes from \"00:00\" to \"23:59\", such as \"07:00\"",
        )
    })
}

pub(super) fn date(text: &str) -> Result<NaiveDate, Fault> {
    NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d")
        .or_else(|_| fault(format!("{} is not a date", shown(text)), "write year, month and day, such as 2026-08-01"))
}

pub(super) fn zone(text: &str) -> Result<Tz, Fault> {
    text.parse().or_else(|_| {
        let guess = nearest(text, TZ_VARIANTS.iter().map(|zone| zone.name()));
        let guess = guess.map_or(String::new(), |name| format!("did you mean \"{name}\"? "));
        fault(
            format!("{} is not a time zone that the IANA database knows", shown(text)),
            format!("{guess}write continent and city, such as \"Europe/Paris\""),
        )
    })
}

/// Two capitals of ISO 3166-1; the usual `UK` becomes `GB`.
pub(super) fn country(text: &str) -> Result<String, Fault> {
    let code = text.trim();
    if code.len() != 2 || !code.bytes().all(|b| b.is_ascii_uppercase()) {
        return fault(
            format!("{} is not a country code", shown(text)),
            "write the two capitals of ISO 3166-1: \"FR\", \"BE\", \"CH\", \"CA\", \"GB\", \"US\" …",
        );
    }
    Ok(if code == "UK" { "GB".to_owned() } else { code.to_owned() })
}

/// ISO 3166-2: country, hyphen, one to three capitals or digits.
pub(super) fn region(text: &str) -> Result<String, Fault> {
    let remedy = "write country, hyphen and region as ISO 3166-2 does, such as \"FR-57\", \"CA-QC\" or \"CH-GE\"";
    let Some((head, tail)) = text.trim().split_once('-') else {
        return fault(format!("{} is not a region code", shown(text)), remedy);
    };
    let good = (1..=3).contains(&tail.len()) && tail.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    match (country(head), good) {
        (Ok(country), true) => Ok(format!("{country}-{tail}")),
        _ => fault(format!("{} is not a region code", shown(text)), remedy),
    }
}

/// Six fields, seconds first, weekdays by name; must fire at some time.
pub(super) fn cron(text: &str) -> Result<cron::Schedule, Fault> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 6 {
        return fault(
            format!("a cron expression here has six fields, and {} has {}", shown(text), fields.len()),
            "write second, minute, hour, day of month, month, weekday, such as \"0 0 18 * * Mon-Fri\"",
        );
    }
    if fields[5].bytes().any(|b| b.is_ascii_digit()) {
        return fault(
            format!("{} names weekdays by numbers, which programs count in different ways", shown(text)),
            "write weekdays by name, such as \"Mon-Fri\" or \"Tue,Fri\"",
        );
    }
    let Ok(schedule) = text.parse::<cron::Schedule>() else {
        return fault(
            format!("{} is not a cron expression", shown(text)),
            "write second, minute, hour, day of month, month, weekday; a range runs forwards in a week that begins on \
             Sunday (\"Fri,Sat,Sun\", not \"Fri-Sun\"), such as \"0 0 18 * * Mon-Fri\"",
        );
    };
    // Any start serves: without a year field a schedule that fires at all fires within a leap cycle.
    let start: DateTime<Utc> = DateTime::from_timestamp(1_700_000_000, 0).unwrap_or_default();
    if schedule.after(&start).next().is_none() {
        return fault(
            format!("{} never fires: no such day exists", shown(text)),
            "write a day of month that its month has",
        );
    }
    Ok(schedule)
}

pub(super) fn address(text: &str) -> Result<Address, Fault> {
    Address::parse(text)
        .or_else(|error| fault(error.to_string(), "write one bare address, such as \"ecrire@cabinet.example\""))
}

/// A name in lower-case letters, digits, `-` and `_`: it stands on command lines and in the journal.
pub(super) fn id(text: &str) -> Result<TherapistId, Fault> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if text.is_empty() || text.len() > 32 || !text.bytes().all(good) {
        return fault(
            "an id is 1 to 32 lower-case letters, digits, `-` or `_`",
            "write a short word for it, such as \"exemple\"; it stands in the journal, so no full name",
        );
    }
    Ok(TherapistId(text.to_owned()))
}

/// A host name or an IP address, without scheme and port.
pub(super) fn host(text: &str) -> Result<String, Fault> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    if text.contains("://") || text.contains(':') || text.contains('/') {
        return fault(
            "the host has a scheme, a port or a path in it",
            "write the server's name alone; the port has a key of its own",
        );
    }
    let ascii = idna::domain_to_ascii(text).unwrap_or_default();
    let good = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if ascii.len() > 253 || !ascii.strip_suffix('.').unwrap_or(&ascii).split('.').all(good) {
        return fault("it is not a valid host name", "write the server's name, such as \"imap.example.org\"");
    }
    Ok(ascii)
}

/// Whether a host is this machine for certain: 127.0.0.0/8, `::1`, `localhost`.
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

pub(super) fn path(text: &str, folder: &Path) -> Result<PathBuf, Fault> {
    if text.contains('\0') {
        return fault("a path can't have a NUL in it", "write the path of a file");
    }
    Ok(folder.join(text))
}

/// A database's URL: a file (relative to the configuration's folder), or the server's.
pub(super) enum DatabaseUrl {
    File(PathBuf),
    Server(String),
}

/// What of a connection is a matter of choice, as libpq calls it.
const SERVER_PARAMETERS: [&str; 8] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "port", "dbname", "user"];

fn server(text: &str) -> Result<String, Fault> {
    const SHAPE: &str = "write \"postgres://USER@HOST/DATABASE\", such as \"postgres://cadre@localhost/cadre\"";
    let in_file = || {
        fault(
            "it has a password in it, and a configuration has no secrets",
            "take the password out of the URL, write it into a file (chmod 600) and name the file as password_file",
        )
    };
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let (address, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, name) = address.split_once('/').unwrap_or((address, ""));
    if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
        return in_file();
    }
    let keys: Vec<&str> = parameters.split('&').filter_map(|pair| pair.split('=').next()).collect();
    if keys.contains(&"password") {
        return in_file();
    }
    if let Some(key) = keys.iter().find(|key| !key.is_empty() && !SERVER_PARAMETERS.contains(key)) {
        return fault(
            format!("the parameter {} isn't taken", shown(key)),
            format!("use these only: {}", SERVER_PARAMETERS.join(", ")),
        );
    }
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '#';
    if (name.is_empty() && !keys.contains(&"dbname")) || text.contains(bad) {
        return fault("it names no database of a PostgreSQL server", SHAPE);
    }
    Ok(text.to_owned())
}

/// A schema's name: what needs no quotes, and isn't PostgreSQL's own.
pub(super) fn schema_name(text: &str) -> Result<String, Fault> {
    let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if plain && begins && text.len() <= 40 && !text.starts_with("pg_") && text != "information_schema" {
        return Ok(text.to_owned());
    }
    fault(
        "it is not the name of a schema",
        "write at most 40 small letters, digits and `_`, a letter first, that name nobody, such as \"practice_one\"",
    )
}

/// `sqlite:PATH` or `postgres://…`.
pub(super) fn database(text: &str, folder: &Path) -> Result<DatabaseUrl, Fault> {
    let scheme = text.split(':').next().unwrap_or_default().to_ascii_lowercase();
    if scheme == "postgres" || scheme == "postgresql" {
        return server(text).map(DatabaseUrl::Server);
    }
    let remedy =
        "write \"sqlite:\" and the path of a file, such as \"sqlite:cadre.db\", or \"postgres://USER@HOST/DATABASE\"";
    let Some(rest) = text.strip_prefix("sqlite:") else {
        return fault("it is not the URL of a database that Cadre knows", remedy);
    };
    let file = rest.strip_prefix("//").unwrap_or(rest);
    if file.is_empty() || file.contains(":memory:") {
        return fault("the database must be a file: what is filed has to outlast the program", remedy);
    }
    if file.contains('?') {
        return fault(
            "parameters after `?` are not taken: how the database is opened isn't a matter of choice",
            remedy,
        );
    }
    path(file, folder).map(DatabaseUrl::File)
}

/// An address that is asked for without saying anything: `https://`, or `http://` of this machine.
pub(super) fn url(text: &str) -> Result<hyper::Uri, Fault> {
    let remedy = "write an address that begins with https:// (http:// is only for 127.0.0.1, ::1 and localhost)";
    let Ok(url) = text.parse::<hyper::Uri>() else { return fault("it is not a web address", remedy) };
    let host = url.host().map(|host| host.trim_matches(['[', ']'])).filter(|host| !host.is_empty());
    let (Some(scheme), Some(host)) = (url.scheme_str(), host) else { return fault("it is not a web address", remedy) };
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return fault("it has a user name or a password in it", "write the address without what stands before the @");
    }
    match scheme {
        "https" => Ok(url),
        "http" if is_loopback(host) => Ok(url),
        "http" => fault("whoever is on the way could answer in its place", remedy),
        _ => fault("it is not a web address", remedy),
    }
}

/// `127.0.0.1:9464`, `[::1]:9464` or `unix:PATH`.
pub(super) fn listen(text: &str, folder: &Path) -> Result<Listen, Fault> {
    let remedy =
        "write a loopback address with a port, such as \"127.0.0.1:9464\", or \"unix:/run/cadre/metrics.sock\"";
    if let Some(file) = text.strip_prefix("unix:") {
        // The longest that the system takes, with its final NUL: sockaddr_un(7).
        let path = path(file, folder)?;
        return match path.as_os_str().len() {
            _ if file.is_empty() => fault("there is no path after unix:", remedy),
            1..108 => Ok(Listen::Unix(path)),
            _ => fault("the path of a socket has at most 107 bytes", "write a shorter one"),
        };
    }
    let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let Ok(address) = local.as_deref().unwrap_or(text).parse::<SocketAddr>() else {
        return fault(format!("{} is not an address with a port", shown(text)), remedy);
    };
    if !address.ip().is_loopback() {
        let cause = "it could be reached from other machines, and there is neither a log-in nor TLS";
        return fault(cause, format!("{remedy}; a proxy with a log-in of its own can serve it further"));
    }
    if address.port() == 0 {
        return fault("port 0 is another port at each start", remedy);
    }
    Ok(Listen::Tcp(address))
}
