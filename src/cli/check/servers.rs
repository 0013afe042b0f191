//! What the two servers say: connection, TLS, log-in, what they can do. Both are asked at once.

use std::time::Duration;

use crate::app::check::local::parts;
use crate::app::check::{Group, Report};
use crate::app::{AppError, settings};
use crate::config::{Config, Finding, Junk, LoginMethod, Severity, Tls};
use crate::net::{ImapSession, NetError, SmtpConnection, TlsProblem};

/// Somebody waits in front of the screen.
const CONNECT: Duration = Duration::from_secs(10);
const COMMAND: Duration = Duration::from_secs(20);
/// What decides whether a server can be asked at all.
const CONNECTION: &[&str] = &["host", "port", "tls", "username", "auth", "password_file", "token_command", "ca_file"];

/// What one server has to say.
#[derive(Default)]
struct Said {
    good: Vec<String>,
    found: Vec<Finding>,
}

impl Said {
    fn add(&mut self, config: &Config, severity: Severity, key: &str, cause: &str, remedy: &str) {
        self.found.push(config.finding(severity, key, cause, remedy));
    }

    /// A server's error, at the key that has to be looked at.
    fn failed(&mut self, config: &Config, section: &str, error: &NetError) {
        let text = error.to_string();
        let (cause, remedy) = parts(&text);
        let remedy = if remedy.is_empty() { "try again; if it stays, ask the provider" } else { remedy };
        let key = format!("{section} {}", key_of(error));
        self.add(config, Severity::Error, &key, cause, remedy);
    }
}

/// Asks both servers, and names the faults of both.
pub(super) async fn look(config: &Config, report: &mut Report) {
    let imap = async { if askable(report, "[imap]") { Some(imap(config).await) } else { None } };
    let smtp = async { if askable(report, "[smtp]") { Some(smtp(config).await) } else { None } };
    let (imap, smtp) = tokio::join!(imap, smtp);
    for (group, said) in [(Group::Mailbox, imap), (Group::Sending, smtp)] {
        let Some(said) = said else { continue };
        said.good.into_iter().for_each(|text| report.good(group, text));
        said.found.into_iter().for_each(|finding| report.add(group, finding));
    }
}

/// Whether the configuration and its files say enough.
fn askable(report: &Report, section: &str) -> bool {
    let blocked = ["password_file", "ca_file"].iter().any(|key| report.has_error_at(&format!("{section} {key}")));
    !blocked && !report.any_mended(section, CONNECTION)
}

fn key_of(error: &NetError) -> &'static str {
    match error {
        NetError::Connect { kind: std::io::ErrorKind::ConnectionRefused, .. } => "port",
        NetError::Refused { .. } => "username",
        NetError::Protocol { .. } => "port",
        NetError::Tls { problem, .. } => match problem {
            TlsProblem::NotTls | TlsProblem::NoStartTls | TlsProblem::Injected => "tls",
            TlsProblem::BadCaFile | TlsProblem::UnknownIssuer | TlsProblem::NoRoots => "ca_file",
            _ => "host",
        },
        _ => "host",
    }
}

fn not_set(config: &Config, section: &str, error: &AppError) -> Said {
    let mut said = Said::default();
    let text = match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    };
    let login = if section == "[imap]" { Some(&config.imap.login) } else { config.smtp.login.as_ref() };
    let key = match (error, login.map(|login| &login.method)) {
        (AppError::CaFile, _) => "ca_file",
        (_, Some(LoginMethod::XOAuth2 { .. })) => "token_command",
        _ => "password_file",
    };
    let (cause, remedy) = text.split_once(": ").unwrap_or((&text, ""));
    said.add(config, Severity::Error, &format!("{section} {key}"), cause, remedy);
    said
}

const fn tls_word(tls: Tls) -> &'static str {
    match tls {
        Tls::Implicit => "TLS",
        Tls::Starttls => "STARTTLS",
        Tls::None => "no TLS, on this machine",
    }
}

async fn imap(config: &Config) -> Said {
    let mut settings = match settings::imap(config).await {
        Ok(settings) => settings,
        Err(error) => return not_set(config, "[imap]", &error),
    };
    (settings.timeouts.connect, settings.timeouts.command) = (CONNECT, COMMAND);
    let mut said = Said::default();
    let mut session = match ImapSession::connect(&settings).await {
        Ok(session) => session,
        Err(error) => {
            said.failed(config, "[imap]", &error);
            return said;
        }
    };
    said.good.push(format!("connected and logged in ({})", tls_word(config.imap.tls)));
    capabilities(config, &session, &mut said);
    if let Err(error) = folders(config, &mut session, &mut said).await {
        said.failed(config, "[imap]", &error);
    }
    session.logout().await;
    said
}

/// What the server lacks, and what is done without it.
fn capabilities(config: &Config, session: &ImapSession, said: &mut Said) {
    let can = session.capabilities();
    let key = "[imap] host";
    let mut lacks = |has: bool, cause: String, remedy: &str| {
        if !has {
            said.add(config, Severity::Warning, key, &cause, remedy);
        }
    };
    let poll = config.imap.poll.as_secs();
    if config.imap.idle {
        let cause = format!("the server has no IDLE: Cadre looks every {poll} s instead");
        lacks(can.idle, cause, "set [imap] poll as short as the provider likes");
    }
    let cause = "the server has no MOVE: originals are copied first and expunged then".to_owned();
    lacks(can.r#move, cause, "nothing has to be done");
    let cause = "the server has no UIDPLUS: an original is expunged only while nothing but Cadre's is marked deleted";
    lacks(can.uidplus, cause.to_owned(), "let no other mail program mark mails deleted in this mailbox");
}

async fn folders(config: &Config, session: &mut ImapSession, said: &mut Said) -> Result<(), NetError> {
    let inbox = session.written_name(&config.imap.inbox);
    match session.select(&inbox).await {
        Ok(selected) if selected.read_only => {
            let cause = "the inbox can be read only";
            said.add(config, Severity::Error, "[imap] inbox", cause, "log in as the mailbox's owner");
        }
        Ok(selected) => said.good.push(format!("{} has {} messages", config.imap.inbox, selected.exists)),
        Err(error) if error.ends_session() => return Err(error),
        Err(_) => {
            let cause = "the server has no such folder, or won't open it";
            said.add(config, Severity::Error, "[imap] inbox", cause, "write inbox = \"INBOX\"");
        }
    }
    junk(config, session, said).await?;
    let others = session.folder_name(&["Cadre", "Others"]);
    match session.ensure_folder(&others).await {
        Ok(()) => said.good.push(format!("folders are made as {others}")),
        Err(error) if error.ends_session() => return Err(error),
        Err(error) => {
            let cause = format!("the folder {others} can't be made: {error}");
            let remedy = "make it by hand in a mail program, or let the provider allow new folders";
            said.add(config, Severity::Error, "[imap] filing", &cause, remedy);
        }
    }
    Ok(())
}

async fn junk(config: &Config, session: &mut ImapSession, said: &mut Said) -> Result<(), NetError> {
    let key = "[imap] junk";
    match &config.imap.junk {
        Junk::Off => {}
        Junk::Auto => match session.junk_folder().await {
            Ok(Some(_)) => said.good.push("the junk folder is watched too".to_owned()),
            Ok(None) => {
                let cause = "no junk folder was found: letters that the server takes for junk would not be seen";
                let remedy = "write junk = \"NAME\" if there is one, or junk = \"off\"";
                said.add(config, Severity::Warning, key, cause, remedy);
            }
            Err(error) => return Err(error),
        },
        Junk::Folder(name) => {
            let written = session.written_name(name);
            if session.folder_exists(&written).await? {
                said.good.push("the junk folder is watched too".to_owned());
            } else {
                let cause = "the server has no such folder";
                said.add(config, Severity::Error, key, cause, "write its full name, or junk = \"auto\"");
            }
        }
    }
    Ok(())
}

async fn smtp(config: &Config) -> Said {
    let mut settings = match settings::smtp(config).await {
        Ok(settings) => settings,
        Err(error) => return not_set(config, "[smtp]", &error),
    };
    (settings.timeouts.connect, settings.timeouts.command) = (CONNECT, COMMAND);
    let mut said = Said::default();
    let connection = match SmtpConnection::connect(&settings).await {
        Ok(connection) => connection,
        Err(error) => {
            said.failed(config, "[smtp]", &error);
            return said;
        }
    };
    let login = if config.smtp.login.is_some() { "connected and logged in" } else { "connected, no log-in" };
    said.good.push(format!("{login} ({})", tls_word(config.smtp.tls)));
    size(config, connection.size_limit(), &mut said);
    connection.quit().await;
    said
}

/// A forward is armored ciphertext: 1.4 times what came in.
fn size(config: &Config, limit: Option<u64>, said: &mut Said) {
    let largest = config.intake.max_message;
    let forward = largest.saturating_mul(14) / 10;
    match limit {
        Some(limit) if limit < forward => {
            let cause = format!(
                "the server takes mails up to {} MB; a letter of {} MB would be passed on as {} MB and refused",
                mega(limit),
                mega(largest),
                mega(forward)
            );
            let fits = (limit.saturating_mul(10) / 14 / 1_000_000).max(1);
            let remedy = format!("write max_message = \"{fits}MB\", or ask the provider for more");
            said.add(config, Severity::Warning, "[intake] max_message", &cause, &remedy);
        }
        Some(limit) => said.good.push(format!("takes mails up to {} MB", mega(limit))),
        None => said.good.push("names no limit of size".to_owned()),
    }
}

/// With one digit, rounded.
fn mega(bytes: u64) -> String {
    let tenths = (bytes + 50_000) / 100_000;
    if tenths.is_multiple_of(10) { (tenths / 10).to_string() } else { format!("{}.{}", tenths / 10, tenths % 10) }
}
