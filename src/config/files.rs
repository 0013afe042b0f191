//! The files that a configuration names: there, readable, and closed to others.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::secrets::{Login, LoginMethod, SecretSource};
use super::{Config, DatabasePlace, Finding, Severity};

/// Every fault of every file at once, in the order of the configuration.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |finding: Option<Finding>| found.extend(finding);
    let keys = &config.keys;
    add(secret(config, "[keys] secret", &keys.secret));
    if let Some(source) = &keys.passphrase {
        add(password(config, "[keys] passphrase_file", source));
    }
    add(record_key(config));
    if let Some(path) = &keys.archive {
        add(readable(config, "[keys] archive", path));
    }
    add(login(config, "[imap] password_file", Some(&config.imap.login)));
    add(config.imap.ca_file.as_deref().and_then(|path| readable(config, "[imap] ca_file", path)));
    add(login(config, "[smtp] password_file", config.smtp.login.as_ref()));
    add(config.smtp.ca_file.as_deref().and_then(|path| readable(config, "[smtp] ca_file", path)));
    match &config.database.place {
        DatabasePlace::File(path) => {
            add(parent(config, "[database] url", path));
            add(closed(config, "[database] url", path));
        }
        DatabasePlace::Server(server) => {
            add(server.password.as_ref().and_then(|source| password(config, "[database] password_file", source)));
        }
    }
    add(parent(config, "[database] journal_head", &config.database.journal_head));
    if let Some(path) = &config.letters_folder
        && !path.is_dir()
    {
        let cause = format!("the folder {} is missing", path.display());
        add(Some(config.finding(Severity::Error, "[letters] folder", &cause, "make it, or remove the line")));
    }
    if let Some(path) = &config.lexicon_folder
        && !path.is_dir()
    {
        let cause = format!("the folder {} is missing", path.display());
        add(Some(config.finding(Severity::Error, "[crisis] lexicon", &cause, "make it, or remove the line")));
    }
    for therapist in &config.therapists {
        let key = format!("[[therapist]] {}.certificate", therapist.id);
        if !therapist.certificate.exists() && parent(config, &key, &therapist.certificate).is_none() {
            // The first day: nothing reaches the therapist until it is there.
            let cause = format!("the file {} is missing", therapist.certificate.display());
            let remedy = format!("put it there, or ask for it by mail: `cadre therapist welcome {}`", therapist.id);
            add(Some(config.finding(Severity::Warning, &key, &cause, &remedy)));
            continue;
        }
        add(readable(config, &key, &therapist.certificate));
    }
    found
}

fn error(config: &Config, key: &str, cause: &str, remedy: &str) -> Option<Finding> {
    Some(config.finding(Severity::Error, key, cause, remedy))
}

fn secret(config: &Config, key: &str, source: &SecretSource) -> Option<Finding> {
    source.bytes().err().and_then(|fault| error(config, key, &fault.cause(), &fault.remedy()))
}

fn password(config: &Config, key: &str, source: &SecretSource) -> Option<Finding> {
    source.password().err().and_then(|fault| error(config, key, &fault.cause(), &fault.remedy()))
}

fn record_key(config: &Config) -> Option<Finding> {
    let fault = config.keys.record.record_key().err()?;
    error(config, "[keys] record", &fault.cause(), &fault.remedy())
}

fn login(config: &Config, key: &str, login: Option<&Login>) -> Option<Finding> {
    match &login?.method {
        LoginMethod::Password(source) => password(config, key, source),
        LoginMethod::XOAuth2 { .. } => None,
    }
}

/// A file that anybody may read, such as a certificate.
fn readable(config: &Config, key: &str, path: &Path) -> Option<Finding> {
    let shown = path.display();
    let opened = fs::metadata(path).and_then(|facts| {
        if facts.is_file() { fs::File::open(path).map(|_| facts.len()) } else { Err(ErrorKind::IsADirectory.into()) }
    });
    match opened {
        Ok(0) => error(config, key, &format!("the file {shown} is empty"), "put the certificate into it"),
        Ok(_) => None,
        Err(fault) if fault.kind() == ErrorKind::NotFound => {
            let remedy = "put it there, or correct the path in the configuration";
            error(config, key, &format!("the file {shown} is missing"), remedy)
        }
        Err(_) => {
            let remedy = "let the user that runs cadre read it";
            error(config, key, &format!("the file {shown} can't be read"), remedy)
        }
    }
}

/// The folder of a file that Cadre itself makes.
fn parent(config: &Config, key: &str, path: &Path) -> Option<Finding> {
    let folder = super::folder_of(path);
    if path.is_dir() {
        return error(config, key, &format!("{} is a folder", path.display()), "write the path of a file");
    }
    if folder.is_dir() {
        return None;
    }
    error(config, key, &format!("the folder {} is missing", folder.display()), "make it, or correct the path")
}

/// The database names no one, but it is nobody else's to read.
fn closed(config: &Config, key: &str, path: &Path) -> Option<Finding> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    if mode & 0o066 == 0 {
        return None;
    }
    let cause = format!("the database can be read by others than its owner (mode {mode:03o})");
    Some(config.finding(Severity::Warning, key, &cause, &format!("chmod 600 {}", path.display())))
}
