//! From the configuration to what the adapters need, secrets read at the last moment.

use super::AppError;
use crate::config::{self, Config, Listen, Login, LoginMethod};
use crate::net::http::Place;
use crate::net::{Credentials, ImapSettings, Secret, SmtpSettings, Timeouts, Tls};

fn tls(tls: config::Tls) -> Tls {
    match tls {
        config::Tls::Implicit => Tls::Implicit,
        config::Tls::Starttls => Tls::StartTls,
        config::Tls::None => Tls::None,
    }
}

async fn secret(login: &Login) -> Result<Secret, AppError> {
    let secret = login.secret().await?;
    Ok(match login.method {
        LoginMethod::Password(_) => Secret::Password(secret),
        LoginMethod::XOAuth2 { .. } => Secret::XOauth2(secret),
    })
}

fn ca(path: Option<&std::path::PathBuf>) -> Result<Option<Vec<u8>>, AppError> {
    path.map(std::fs::read).transpose().map_err(|_| AppError::CaFile)
}

/// The mailbox's settings.
///
/// # Errors
/// [`AppError::Secret`] or [`AppError::CaFile`].
pub async fn imap(config: &Config) -> Result<ImapSettings, AppError> {
    let imap = &config.imap;
    Ok(ImapSettings {
        host: imap.host.clone(),
        port: imap.port,
        tls: tls(imap.tls),
        username: imap.login.username.clone(),
        secret: secret(&imap.login).await?,
        ca_file: ca(imap.ca_file.as_ref())?,
        timeouts: Timeouts::default(),
        // Base64 and headers around a message of the largest size.
        max_literal: usize::try_from(config.intake.max_message).unwrap_or(usize::MAX).saturating_add(1 << 20),
    })
}

/// The submission server's settings.
///
/// # Errors
/// [`AppError::Secret`] or [`AppError::CaFile`].
pub async fn smtp(config: &Config) -> Result<SmtpSettings, AppError> {
    let smtp = &config.smtp;
    let credentials = match &smtp.login {
        Some(login) => Some(Credentials { username: login.username.clone(), secret: secret(login).await? }),
        None => None,
    };
    Ok(SmtpSettings {
        host: smtp.host.clone(),
        port: smtp.port,
        tls: tls(smtp.tls),
        credentials,
        ca_file: ca(smtp.ca_file.as_ref())?,
        timeouts: Timeouts::default(),
    })
}

/// Where pages are served.
pub fn place(listen: &Listen) -> Place {
    match listen {
        Listen::Tcp(address) => Place::Tcp(*address),
        Listen::Unix(path) => Place::Unix(path.clone()),
    }
}
