//! Secrets: by file, by systemd credential, from the environment, from a command. Never from the TOML.
//!
//! A secret is named in the configuration as
//! - a path, relative to the configuration's folder: the file must be readable by its owner alone;
//! - `credential:NAME`: the file of that name in `$CREDENTIALS_DIRECTORY` (systemd `LoadCredential=`);
//! - `env:NAME`: the environment variable of that name.

use std::fmt;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use zeroize::Zeroizing;

use super::Env;
use super::parse::{Fault, fault};
use crate::secret::Password;

/// Secrets are small; more than this is a wrong path.
const MAX_SECRET: u64 = 1 << 20;
/// How long a `token_command` may take.
const TOKEN_TIME: Duration = Duration::from_secs(30);

/// Where a secret comes from.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// A file that only its owner may read.
    File(PathBuf),
    /// A systemd credential; no path when the service has no credentials.
    Credential { name: String, path: Option<PathBuf> },
    /// A variable of the environment, as it was when the configuration was read.
    Env { name: String, value: Option<Password> },
}

/// Why a secret could not be had. Never carries any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{what} is missing: {}", self.remedy())]
    Missing { what: String },
    #[error("{what} can't be read: {}", self.remedy())]
    Unreadable { what: String, path: PathBuf, source: std::io::Error },
    #[error("{what} can be read by others than its owner (mode {mode:03o}): {}", self.remedy())]
    TooOpen { what: String, path: PathBuf, mode: u32 },
    #[error("{what} is empty: {}", self.remedy())]
    Empty { what: String },
    #[error("{what} is not text: {}", self.remedy())]
    NotText { what: String },
    #[error("{what} is larger than a secret can be: {}", self.remedy())]
    TooLarge { what: String },
    #[error("{what} is not a key of 32 bytes: {}", self.remedy())]
    BadRecordKey { what: String },
    #[error("the token_command could not be run: {}", self.remedy())]
    TokenNotRun { source: std::io::Error },
    #[error("the token_command failed ({status}): {}", self.remedy())]
    TokenFailed { status: std::process::ExitStatus },
    #[error("the token_command took longer than {} s: {}", TOKEN_TIME.as_secs(), self.remedy())]
    TokenTime,
}

impl SecretError {
    /// What is wrong, without the remedy.
    pub fn cause(&self) -> String {
        let whole = self.to_string();
        whole.strip_suffix(&format!(": {}", self.remedy())).map_or(whole.clone(), str::to_owned)
    }

    /// What a person can do.
    pub fn remedy(&self) -> String {
        match self {
            Self::Missing { .. } => "make it, or correct the path in the configuration".into(),
            Self::Unreadable { path, .. } => {
                format!("let the user that runs cadre read it (owner and mode of {})", path.display())
            }
            Self::TooOpen { path, .. } => format!("chmod 600 {}", path.display()),
            Self::Empty { .. } => "write the secret into it".into(),
            Self::NotText { .. } => "write the secret as UTF-8 text on one line".into(),
            Self::TooLarge { .. } => "correct the path in the configuration".into(),
            Self::BadRecordKey { .. } => {
                "restore the key that `cadre init` made; a new one can't read the old database".into()
            }
            Self::TokenNotRun { .. } | Self::TokenFailed { .. } => {
                "run the command by hand as the user that runs cadre; it must print the token and end with status 0"
                    .into()
            }
            Self::TokenTime => "make the command quicker; it may not ask anything".into(),
        }
    }
}

impl SecretSource {
    /// Whether both name the same file, credential or variable; what stands in it isn't looked at.
    pub fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => one == other,
            (Self::Credential { name: one, .. }, Self::Credential { name: other, .. })
            | (Self::Env { name: one, .. }, Self::Env { name: other, .. }) => one == other,
            _ => false,
        }
    }

    /// Reads how the configuration names a secret.
    pub(super) fn parse(text: &str, folder: &Path, env: &Env) -> Result<Self, Fault> {
        if let Some(name) = text.strip_prefix("credential:") {
            if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
                return fault(
                    "a credential has a plain name",
                    "write credential: and the name given to LoadCredential=, such as \"credential:imap.password\"",
                );
            }
            let path = env.get("CREDENTIALS_DIRECTORY").map(|folder| Path::new(folder).join(name));
            return Ok(Self::Credential { name: name.to_owned(), path });
        }
        if let Some(name) = text.strip_prefix("env:") {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return fault(
                    "a variable's name has letters, digits and `_`",
                    "write env: and the name of a variable, such as \"env:CADRE_IMAP_PASSWORD\"",
                );
            }
            let value = env.get(name).map(|value| Password::new(value.to_owned()));
            return Ok(Self::Env { name: name.to_owned(), value });
        }
        super::parse::path(text, folder).map(Self::File)
    }

    /// The file it is in, where it is in one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Credential { path, .. } => path.as_deref(),
            Self::Env { .. } => None,
        }
    }

    /// What it is, in words, without the secret.
    pub fn describe(&self) -> String {
        match self {
            Self::File(path) => format!("the file {}", path.display()),
            Self::Credential { name, .. } => format!("the systemd credential {name}"),
            Self::Env { name, .. } => format!("the environment variable {name}"),
        }
    }

    /// The secret's bytes as they are, such as an OpenPGP key.
    ///
    /// # Errors
    /// Missing, unreadable, open to others, empty or over 1 MiB.
    pub fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let what = self.describe();
        let bytes = match self {
            Self::File(path) => read_file(path, what.clone(), true)?,
            // systemd gives these to the service's user by an ACL, which shows as a group's right.
            Self::Credential { path: Some(path), .. } => read_file(path, what.clone(), false)?,
            Self::Env { value: Some(value), .. } => Zeroizing::new(value.reveal().as_bytes().to_vec()),
            Self::Credential { path: None, .. } | Self::Env { value: None, .. } => {
                return Err(SecretError::Missing { what });
            }
        };
        if bytes.is_empty() { Err(SecretError::Empty { what }) } else { Ok(bytes) }
    }

    /// The secret as a password or passphrase: UTF-8, line ends at its end removed.
    ///
    /// # Errors
    /// As [`SecretSource::bytes`], and when it is not text.
    pub fn password(&self) -> Result<Password, SecretError> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::NotText { what: self.describe() })?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(SecretError::Empty { what: self.describe() });
        }
        Ok(Password::new(text.to_owned()))
    }

    /// The record key: 32 raw bytes, or the same as hexadecimal or Base64 text (the environment holds no raw bytes).
    ///
    /// # Errors
    /// As [`SecretSource::bytes`], and when it is anything else.
    pub fn record_key(&self) -> Result<Zeroizing<[u8; 32]>, SecretError> {
        let bytes = self.bytes()?;
        if let Ok(key) = <[u8; 32]>::try_from(bytes.as_slice()) {
            return Ok(Zeroizing::new(key));
        }
        let text = bytes.trim_ascii();
        let decoded = match text.len() {
            64 => data_encoding::HEXLOWER_PERMISSIVE.decode(text).ok(),
            44 => data_encoding::BASE64.decode(text).ok(),
            _ => None,
        };
        let key = decoded.map(Zeroizing::new).and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        key.map(Zeroizing::new).ok_or_else(|| SecretError::BadRecordKey { what: self.describe() })
    }
}

/// Reads a file after looking at the rights of the very file that was opened.
fn read_file(path: &Path, what: String, closed: bool) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let failed = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => SecretError::Missing { what: what.clone() },
        _ => SecretError::Unreadable { what: what.clone(), path: path.to_owned(), source },
    };
    // Looked at before it is opened too: opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("it is not a file")));
    }
    let file = fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if closed && mode & 0o066 != 0 {
        return Err(SecretError::TooOpen { what, path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    file.take(MAX_SECRET + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_SECRET { Err(SecretError::TooLarge { what }) } else { Ok(bytes) }
}

/// A log-in at a server. `Debug` shows no user name.
#[derive(Clone)]
pub struct Login {
    pub username: String,
    pub method: LoginMethod,
}

/// How a log-in is proved.
#[derive(Debug, Clone)]
pub enum LoginMethod {
    Password(SecretSource),
    /// SASL XOAUTH2 with the token that this command prints, run by `sh -c`.
    XOAuth2 {
        token_command: String,
    },
}

impl Login {
    /// The password or a fresh token.
    ///
    /// # Errors
    /// What [`SecretSource::password`] or [`token`] say.
    pub async fn secret(&self) -> Result<Password, SecretError> {
        match &self.method {
            LoginMethod::Password(source) => source.password(),
            LoginMethod::XOAuth2 { token_command } => token(token_command).await,
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Runs a command by `sh -c` and takes what it prints, without the white space around it, as the token.
///
/// # Errors
/// When it can't be run, fails, prints nothing or takes longer than 30 s.
pub async fn token(command: &str) -> Result<Password, SecretError> {
    let child = tokio::process::Command::new("sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(TOKEN_TIME, child).await {
        Err(_) => return Err(SecretError::TokenTime),
        Ok(Err(source)) => return Err(SecretError::TokenNotRun { source }),
        Ok(Ok(output)) => output,
    };
    let printed = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(SecretError::TokenFailed { status: output.status });
    }
    let what = || "the token that token_command printed".to_owned();
    match std::str::from_utf8(&printed).map(str::trim) {
        Err(_) => Err(SecretError::NotText { what: what() }),
        Ok("") => Err(SecretError::Empty { what: what() }),
        Ok(text) => Ok(Password::new(text.to_owned())),
    }
}
