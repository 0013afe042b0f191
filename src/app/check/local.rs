//! What can be seen on this machine: files, keys, letters, rhythm, database.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use nix::unistd::{AccessFlags, access};

use super::{Group, Report};
use crate::app::context::{Context, StartError, load_lexicon, load_practice_keys};
use crate::app::database;
use crate::app::digest::KEY_WARNING;
use crate::app::keys::arrived::with_stored;
use crate::app::send::NULL_PATH_REFUSED;
use crate::app::supervisor::SEEN_UNTIL;
use crate::config::{Config, Finding, Severity, Therapist};
use crate::domain::holidays::Calendar;
use crate::domain::rhythm::Schedule;
use crate::letters::{Folder, Letters, Lines};
use crate::model::{Filing, TherapistId};
use crate::pgp::{Certificate, KeyError, PracticeKey, Purpose};
use crate::store::StoreError;

/// Before this the clock can't be right: the program wasn't written yet.
const BUILT_AFTER: i64 = 1_767_225_600;
const SECRET: &str = "[keys] secret";
const ARCHIVE: &str = "[keys] archive";
/// Larger files are no keys.
const LARGEST_KEY: u64 = 1 << 20;

/// Everything but the database: files, keys, letters and rhythm. `learnt` is what therapists' mail has said of their keys
/// since. Reads files.
pub fn look(config: &Config, report: &mut Report, learnt: &[(TherapistId, Vec<u8>)], now: DateTime<Utc>) {
    files(config, report);
    keys(config, report, learnt, now);
    letters(config, report, now);
    rhythm(config, report, now);
}

/// The keys and the slots with which a daemon works: what is wrong with them, no change of its configuration has brought.
pub fn look_at_work(ctx: &Context, report: &mut Report, now: DateTime<Utc>) {
    let config = &ctx.config;
    own_certificate(config, report, ctx.key.certificate(), now);
    if let Some(archive) = &ctx.archive {
        judge(config, report, ARCHIVE, archive, &[Purpose::Encrypt], now);
    }
    for therapist in ctx.therapists().iter() {
        if let Some(certificate) = therapist.certificate() {
            therapists_certificate(config, report, &therapist.settings, certificate, now);
        }
        slots(config, report, &therapist.settings, &therapist.schedule, now);
    }
}

/// Every file that the configuration names; who may change the folder; where secrets lie about.
fn files(config: &Config, report: &mut Report) {
    let before = config.check_files();
    let sound = before.iter().all(|finding| !finding.is_error());
    before.into_iter().for_each(|finding| report.add(Group::Files, finding));
    if sound {
        report.good(Group::Files, "every file is there, and secrets are closed to others");
    }
    for path in [config.folder(), config.file.as_path()] {
        let mode = fs::metadata(path).map_or(0, |facts| facts.permissions().mode() & 0o777);
        if mode & 0o022 != 0 {
            let cause = format!("{} can be changed by others (mode {mode:03o})", path.display());
            let remedy = format!("chmod go-w {}", path.display());
            report.warn(Group::Files, config, "", &cause, &remedy);
        }
    }
    if config.imap.filing == Filing::Keep {
        let cause = "with \"keep\" originals stay readable on the mail server, in Cadre/Done, for whoever has the \
                     practice's key";
        report.warn(Group::Files, config, "[imap] filing", cause, "write filing = \"folders\" unless you need them");
    }
}

/// What therapists' mail has said of their keys since; nothing where there is no database that opens.
pub async fn learnt(config: &Config) -> Vec<(TherapistId, Vec<u8>)> {
    if !database::may_exist(config) {
        return Vec::new();
    }
    let read = async {
        let store = database::open(config).await?;
        let keys = store.read().await?.therapist_keys().await;
        store.close().await;
        Ok::<_, StartError>(keys?)
    };
    // Why it doesn't open is said where the database is looked at.
    read.await.unwrap_or_default()
}

/// The practice's key, the archive's and the therapists' certificates.
fn keys(config: &Config, report: &mut Report, learnt: &[(TherapistId, Vec<u8>)], now: DateTime<Utc>) {
    if now.timestamp() < BUILT_AFTER {
        report.error(Group::Keys, config, "", "this machine's clock is wrong", "set it; slots and keys depend on it");
    }
    practice_key(config, report, now);
    if let Some(path) = &config.keys.archive
        && let Some(certificate) = certificate(config, report, ARCHIVE, path)
    {
        judge(config, report, ARCHIVE, &certificate, &[Purpose::Encrypt], now);
        stray_secret(config, report, &certificate);
    }
    for therapist in &config.therapists {
        let Some(file) = certificate(config, report, &certificate_of(therapist), &therapist.certificate) else {
            continue;
        };
        let since = learnt.iter().find(|(id, _)| *id == therapist.id).map(|(_, bytes)| bytes.as_slice());
        therapists_certificate(config, report, therapist, &with_stored(&file, since), now);
    }
}

fn certificate_of(therapist: &Therapist) -> String {
    format!("[[therapist]] {}.certificate", therapist.id)
}

fn therapists_certificate(
    config: &Config,
    report: &mut Report,
    therapist: &Therapist,
    certificate: &Certificate,
    now: DateTime<Utc>,
) {
    let key = certificate_of(therapist);
    judge(config, report, &key, certificate, &[Purpose::Encrypt, Purpose::Sign], now);
    let address = therapist.address.as_typed();
    let addresses = certificate.user_ids_addresses();
    if !report.therapist_mended(&therapist.id.0, &["address"])
        && !addresses.iter().any(|known| known.eq_ignore_ascii_case(address))
    {
        let cause = "no user ID of the certificate has the therapist's address";
        report.warn(Group::Keys, config, &key, cause, "make sure that it is the therapist's own certificate");
    }
}

fn practice_key(config: &Config, report: &mut Report, now: DateTime<Utc>) {
    let blocked = report.has_error_at(SECRET) || report.has_error_at("[keys] passphrase_file");
    if blocked || report.any_mended("[keys]", &["secret", "passphrase_file"]) {
        return;
    }
    let key = match load_practice_keys(config) {
        Ok((key, retired)) => {
            if !retired.is_empty() {
                let count = retired.len();
                report.good(Group::Keys, format!("{count} key(s) that the practice had before still read"));
            }
            key
        }
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            let (cause, remedy) = parts(&source);
            return report.error(
                Group::Keys,
                config,
                SECRET,
                &format!("the practice's key can't be used: {cause}"),
                remedy,
            );
        }
    };
    own_certificate(config, report, key.certificate(), now);
}

fn own_certificate(config: &Config, report: &mut Report, certificate: &Certificate, now: DateTime<Utc>) {
    if certificate.revocation().is_some() {
        let cause = "the practice's key is revoked: nothing leaves";
        return report.error(Group::Keys, config, SECRET, cause, "make a new one: `cadre key rotate`");
    }
    let sound = judge(config, report, SECRET, certificate, &[Purpose::Encrypt, Purpose::Sign], now);
    let addresses = certificate.user_ids_addresses();
    let own = config.practice.address.as_typed();
    if !report.any_mended("[practice]", &["address"]) && !addresses.iter().any(|known| known.eq_ignore_ascii_case(own))
    {
        let cause = "no user ID of the practice's key is the practice's address, so mail programs won't find it";
        let remedy = "correct [practice] address, or make a key with `cadre init` in another folder";
        report.error(Group::Keys, config, SECRET, cause, remedy);
    } else if sound {
        report.good(Group::Keys, format!("the practice's key opens and signs: {}", certificate.fingerprint()));
    }
}

/// Reads one certificate; a file with a secret key in it is an error of its own.
fn certificate(config: &Config, report: &mut Report, key: &str, path: &Path) -> Option<Certificate> {
    if report.has_error_at(key) {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    if has_secret(&bytes) {
        let cause = format!("{} holds a SECRET key, and must hold a certificate only", path.display());
        let remedy = "export the public part alone, and take the secret key away from this machine";
        report.error(Group::Keys, config, key, &cause, remedy);
        return None;
    }
    match Certificate::from_bytes(&bytes) {
        Ok(certificate) => Some(certificate),
        Err(error) => {
            let error = error.to_string();
            let (cause, remedy) = parts(&error);
            report.error(Group::Keys, config, key, &format!("{}: {cause}", path.display()), remedy);
            None
        }
    }
}

fn has_secret(bytes: &[u8]) -> bool {
    matches!(PracticeKey::load(bytes, None), Ok(_) | Err(KeyError::Locked | KeyError::WrongPassphrase))
}

/// Whether a certificate does what it is for, and how long.
fn judge(
    config: &Config,
    report: &mut Report,
    key: &str,
    certificate: &Certificate,
    purposes: &[Purpose],
    now: DateTime<Utc>,
) -> bool {
    let mut causes: Vec<String> = Vec::new();
    for purpose in purposes {
        if let Err(problem) = certificate.usable_for(*purpose, now) {
            causes.push(problem.to_string());
        }
    }
    causes.dedup();
    for whole in &causes {
        let (cause, remedy) = parts(whole);
        report.error(Group::Keys, config, key, cause, remedy);
    }
    if !causes.is_empty() {
        return false;
    }
    let Some(expires) = certificate.expires_at(now) else {
        report.good(Group::Keys, format!("{key}: {} without expiry", short(certificate)));
        return true;
    };
    let days = (expires - now).num_days();
    if expires - now <= KEY_WARNING {
        let cause = format!("the key expires on {} ({days} days)", expires.format("%Y-%m-%d"));
        report.warn(Group::Keys, config, key, &cause, "its owner has to extend it and give it again");
    } else {
        report.good(Group::Keys, format!("{key}: {} until {}", short(certificate), expires.format("%Y-%m-%d")));
    }
    true
}

fn short(certificate: &Certificate) -> String {
    let fingerprint = certificate.fingerprint();
    format!("{}…", fingerprint.get(..16).unwrap_or(&fingerprint))
}

/// The archive's secret key must not lie beside the configuration.
fn stray_secret(config: &Config, report: &mut Report, archive: &Certificate) {
    let Ok(entries) = fs::read_dir(config.folder()) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let small = fs::metadata(&path).is_ok_and(|facts| facts.is_file() && facts.len() <= LARGEST_KEY);
        let Some(bytes) = small.then(|| fs::read(&path).ok()).flatten().map(zeroize::Zeroizing::new) else { continue };
        let same = Certificate::from_bytes(&bytes).is_ok_and(|found| found.fingerprint() == archive.fingerprint());
        if same && has_secret(&bytes) {
            let cause = format!("the archive's SECRET key lies beside the configuration: {}", path.display());
            let remedy = "move it to a USB stick or print it, give it to the therapist, and delete it here";
            report.warn(Group::Keys, config, ARCHIVE, &cause, remedy);
        }
    }
}

/// The operator's own letters, and how old the emergency lines are.
fn letters(config: &Config, report: &mut Report, now: DateTime<Utc>) {
    match Letters::load(config.letters_folder.as_deref()) {
        Err(error) => report.error(Group::Letters, config, "[letters] folder", &error.to_string(), ""),
        Ok(_) => {
            let faults = config.letters_folder.as_deref().map(Folder::look).map_or_else(Vec::new, |own| own.faults);
            if faults.is_empty() {
                report.good(Group::Letters, "every letter can be written");
            }
            for fault in faults {
                // A warning: the built-in letter is used meanwhile.
                let finding = Finding {
                    severity: Severity::Warning,
                    file: fault.file,
                    line: fault.line,
                    span: None,
                    key: String::new(),
                    cause: fault.cause,
                    remedy: fault.remedy,
                };
                report.add(Group::Letters, finding);
            }
        }
    }
    records(config, report);
    lexicon(config, report);
    let lines = match Lines::built_in() {
        Ok(lines) => lines,
        Err(error) => return report.error(Group::Letters, config, "", &error.to_string(), ""),
    };
    let mut countries = vec![&config.practice.country];
    countries.extend(config.therapists.iter().map(|therapist| &therapist.country));
    countries.sort();
    countries.dedup();
    for country in countries {
        let Some(verified) = lines.verified_on(country) else { continue };
        let days = (now.date_naive() - verified).num_days();
        if days > crate::letters::VERIFY_AFTER_DAYS {
            let cause = format!("the emergency lines of {country} were last verified on {verified}, {days} days ago");
            let remedy = "verify each number at its official page, or install a newer version of Cadre";
            report.warn(Group::Letters, config, "[practice] country", &cause, remedy);
        } else {
            report.good(Group::Letters, format!("emergency lines of {country} verified on {verified}"));
        }
    }
}

/// How long records are kept is promised to every client: somebody has to have chosen it.
fn records(config: &Config, report: &mut Report) {
    let unchosen = config.therapists.iter().find(|therapist| therapist.cadre.records.is_empty());
    if let Some(therapist) = unchosen {
        let language = config.practice.language;
        let said = crate::app::enrol::frame::records(&therapist.cadre, language);
        let cause = format!("nobody has chosen how long records are kept: the letter about the frame says \"{said}\"");
        let remedy = "write records = \"…\" there, as the law and your profession ask";
        report.warn(Group::Letters, config, "[practice.cadre] records", &cause, remedy);
    }
}

/// The crisis lexicon: a fault is an error, since `run` doesn't start with it.
fn lexicon(config: &Config, report: &mut Report) {
    let key = "[crisis] lexicon";
    match load_lexicon(config) {
        Ok(_) if config.lexicon_folder.is_some() => report.good(Group::Letters, "your crisis lexicon can be used"),
        Ok(_) => report.good(Group::Letters, "the crisis lexicon is the one that comes with Cadre"),
        Err(StartError::Lexicon { file, source }) => {
            let place = source.rule.as_ref().map(|rule| format!(", rule {rule}")).unwrap_or_default();
            let line = source.line.map(|line| format!(", line {line}")).unwrap_or_default();
            let cause = format!("{file}{place}{line}: {}", source.cause);
            report.error(Group::Letters, config, key, &cause, source.remedy);
        }
        Err(error) => report.error(Group::Letters, config, key, &error.to_string(), "make it readable for this user"),
    }
}

/// The next slots of each therapist, in their own time.
fn rhythm(config: &Config, report: &mut Report, now: DateTime<Utc>) {
    let practice = &config.practice;
    let calendar = match Calendar::for_country(&practice.country, practice.region.as_deref()) {
        Ok(calendar) => Arc::new(calendar),
        Err(error) => {
            let error = error.to_string();
            let (cause, remedy) = error.split_once(": ").unwrap_or((&error, ""));
            return report.error(Group::Rhythm, config, "[practice] region", cause, remedy);
        }
    };
    if calendar.wants_region() && !report.any_mended("[practice]", &["country", "region"]) {
        let cause = "the country has regional holidays, and no region is named: replies leave on them";
        report.warn(
            Group::Rhythm,
            config,
            "[practice] region",
            cause,
            "name the region, such as \"FR-57\" or \"CA-QC\"",
        );
    }
    let stands_in = report.any_mended("[practice]", &["timezone", "country", "region"])
        || report.any_mended("[rhythm]", &["release", "cutoff", "grace"]);
    for therapist in &config.therapists {
        if stands_in || report.therapist_mended(&therapist.id.0, &["id", "timezone", "release", "cutoff"]) {
            continue;
        }
        let absences = config.absences_of(&therapist.id).map(|absence| (absence.from, absence.to)).collect();
        let schedule = Schedule::new(
            therapist.timezone,
            therapist.release.source(),
            therapist.cutoff,
            config.rhythm.grace,
            Arc::clone(&calendar),
            absences,
        );
        match schedule {
            Ok(schedule) => slots(config, report, therapist, &schedule, now),
            Err(error) => {
                let error = error.to_string();
                let (cause, remedy) = error.split_once(": ").unwrap_or((&error, ""));
                report.error(Group::Rhythm, config, &release_of(therapist), cause, remedy);
            }
        }
    }
}

fn release_of(therapist: &Therapist) -> String {
    format!("[[therapist]] {}.release", therapist.id)
}

fn slots(config: &Config, report: &mut Report, therapist: &Therapist, schedule: &Schedule, now: DateTime<Utc>) {
    let next = schedule.next_slots(now, 3);
    if next.is_empty() {
        let cause = "no slot is in sight: holidays and absences take them all";
        let remedy = "correct [rhythm] release, or the absences";
        return report.error(Group::Rhythm, config, &release_of(therapist), cause, remedy);
    }
    let shown: Vec<String> = next
        .iter()
        .map(|slot| slot.at.with_timezone(&therapist.timezone).format("%a %-d %b %Y %H:%M").to_string())
        .collect();
    let text = format!("next slots of {} ({}): {}", therapist.id, therapist.timezone, shown.join(", "));
    report.good(Group::Rhythm, text);
    report.slots.insert(therapist.id.to_string(), next.iter().map(|slot| slot.at).collect());
}

/// The database opens under the record key, names nobody else's clients, and its journal is whole.
pub async fn stored(config: &Config, report: &mut Report, now: DateTime<Utc>) {
    let url = "[database] url";
    if report.has_error_at(url) || report.has_error_at("[keys] record") || report.any_mended("[keys]", &["record"]) {
        return;
    }
    let path = config.database.file();
    let head = ("[database] journal_head", config.database.journal_head.as_path());
    for (key, file) in path.map(|path| (url, path)).into_iter().chain([head]) {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let shut = access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_err()
            || (file.exists() && access(file, AccessFlags::R_OK | AccessFlags::W_OK).is_err());
        if shut && !report.has_error_at(key) && !report.any_mended("[database]", &["url", "journal_head"]) {
            let cause = format!("{} can't be written by this user", file.display());
            report.error(Group::Database, config, key, &cause, "let the user that runs cadre write there");
        }
    }
    let password = "[database] password_file";
    if report.has_error_at(url) || report.has_error_at(password) || report.any_mended("[database]", &["url", "schema"])
    {
        return;
    }
    if let Some(path) = path.filter(|path| !path.exists()) {
        return report.good(Group::Database, format!("{} will be made at the first run", path.display()));
    }
    if let Err(error) = read_database(config, report, now).await {
        let key = if matches!(error, StoreError::Corrupt { .. }) { "[keys] record" } else { url };
        let refused = path.is_none().then(|| said_by_server(&error)).flatten();
        let error = error.to_string();
        let (cause, remedy) = match &refused {
            Some(said) => (said.as_str(), "see that the server runs, and that this user may use this database of it"),
            None => error.split_once(": ").unwrap_or((&error, "run `cadre check` again when nothing else uses it")),
        };
        report.error(Group::Database, config, key, cause, remedy);
    }
}

/// Why a server can't be used, in its words or the network's.
fn said_by_server(error: &StoreError) -> Option<String> {
    match error {
        StoreError::Db(cause) => Some(format!("the PostgreSQL server can't be used ({cause})")),
        _ => None,
    }
}

async fn read_database(config: &Config, report: &mut Report, now: DateTime<Utc>) -> Result<(), StoreError> {
    let store = match database::open(config).await {
        Ok(store) => store,
        Err(StartError::Store(error)) => return Err(error),
        // A secret that can't be read was named with the files.
        Err(_) => return Ok(()),
    };
    let mut tx = store.read().await?;
    let clients = tx.count_clients().await?;
    let seen = tx.meta_time(SEEN_UNTIL).await?;
    if tx.meta(NULL_PATH_REFUSED).await?.is_some() {
        let cause =
            "the server refuses an empty return path, so that automatic mail travels with the practice's address";
        let remedy = "nothing has to be done; a provider that allows MAIL FROM:<> avoids loops of automatic answers";
        report.warn(Group::Sending, config, "[smtp] host", cause, remedy);
    }
    drop(tx);
    if seen.is_some_and(|seen| seen - now > TimeDelta::minutes(10)) {
        let cause = "the mailbox was last read in the future: the clock was set back";
        report.warn(Group::Database, config, "", cause, "set the clock; slots and arrival times depend on it");
    }
    let journal = store.verify_journal(None).await?;
    for fault in &journal.faults {
        let remedy = "compare the database and the journal's head with a backup and with the last digest";
        report.error(Group::Database, config, "[database] journal_head", &fault.to_string(), remedy);
    }
    if journal.ok() {
        let plural = if clients == 1 { "" } else { "s" };
        let text =
            format!("the record key opens the database: {clients} client{plural}, journal whole at {}", journal.head);
        report.good(Group::Database, text);
    }
    store.close().await;
    Ok(())
}

/// "Cause; remedy", as the errors of the adapters are written.
pub fn parts(text: &str) -> (&str, &str) {
    text.split_once("; ").unwrap_or((text, ""))
}
