//! The adapters to IMAP and SMTP: sessions, folders, submission; nothing about letters. And a little HTTP for the
//! operator.
//!
//! async-imap carries IMAP and lettre carries SMTP; both stand on one stream of ours (`transport.rs`:
//! a time-out on every single read and write, a bound on what may come, STARTTLS without leftovers).
//! Their errors quote the server, whose texts can hold addresses: none is passed on, only status words
//! and numbers from closed lists. Panics of their parsers are caught.
//!
//! async-imap logs every command and answer (log-in and letters too) through `log` at trace level, and lettre
//! likewise at debug level where its `tracing` feature is on. The program's subscriber must keep both
//! off: `async_imap=off,imap_proto=off,lettre=off`.

pub mod autoconfig;
pub mod backoff;
mod error;
pub mod http;
pub mod imap;
pub mod providers;
pub mod smtp;
pub mod tls;
mod transport;

use std::time::Duration;

pub use backoff::{Backoff, LoginLimiter};
pub use error::{Code, Enhanced, NetError, Service, TlsProblem};
pub use imap::{
    Append, Appended, Capabilities, Entry, Fetched, IdleEnd, ImapSession, Moved, Removed, Selected, WhyMissing, batches,
};
pub use smtp::{SendOutcome, SendResult, SmtpConnection, SmtpSubmitter, Stage};

use crate::secret::Password;

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// STARTTLS, required: a server without it is refused.
    StartTls,
    /// In clear. Refused unless the server is on the loopback interface.
    None,
}

/// What proves who we are.
#[derive(Debug, Clone)]
pub enum Secret {
    Password(Password),
    /// An OAuth 2 access token, sent with the XOAUTH2 mechanism.
    XOauth2(Password),
}

/// How long a connection may stay silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name look-up, TCP and TLS, each.
    pub connect: Duration,
    /// Each single read or write of a command; a long transfer that advances never runs into it.
    pub command: Duration,
    /// The server's answer to the final dot of a mail (RFC 5321 section 4.5.3.2.6 wishes for ten minutes).
    pub after_dot: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(20), command: Duration::from_secs(60), after_dot: Duration::from_secs(600) }
    }
}

/// Where and how to reach the mailbox.
#[derive(Debug, Clone)]
pub struct ImapSettings {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    pub username: String,
    pub secret: Secret,
    /// An extra root certificate (or several), PEM, beside the system's.
    pub ca_file: Option<Vec<u8>>,
    pub timeouts: Timeouts,
    /// The longest message that is fetched, in bytes, by the size that the server states (RFC822.SIZE).
    /// A server that lies meets a bound on what it may send in one answer (this plus 16 MiB), but async-imap
    /// may set aside up to 512 MiB for a literal that is only announced.
    pub max_literal: usize,
}

/// The usual [`ImapSettings::max_literal`]: 64 MiB.
pub const MAX_LITERAL: usize = 64 << 20;

/// A name and what proves it.
#[derive(Clone)]
pub struct Credentials {
    pub username: String,
    pub secret: Secret,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Where and how to submit mail.
#[derive(Debug, Clone)]
pub struct SmtpSettings {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    pub credentials: Option<Credentials>,
    /// An extra root certificate (or several), PEM, beside the system's.
    pub ca_file: Option<Vec<u8>>,
    pub timeouts: Timeouts,
}
