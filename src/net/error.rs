//! What can go wrong on the way to a server. Never carries a server's text.

use std::fmt;
use std::io;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Imap,
    Smtp,
    /// That of `[operator] heartbeat_url`.
    Heartbeat,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Imap => "IMAP",
            Self::Smtp => "SMTP",
            Self::Heartbeat => "heartbeat",
        })
    }
}

/// An enhanced status code such as 5.7.8 (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The part of a server's answer that is from a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A response code of IMAP (RFC 3501 section 7.1, RFC 5530); `None` where there was none that we know.
    Imap(Option<&'static str>),
    /// A reply code of SMTP.
    Smtp { code: u16, enhanced: Option<Enhanced> },
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Imap(word) => f.write_str(word.unwrap_or("no code")),
            Self::Smtp { code, enhanced: Some(enhanced) } => write!(f, "{code} {enhanced}"),
            Self::Smtp { code, enhanced: None } => write!(f, "{code}"),
        }
    }
}

/// Why no protected connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    #[error("the server's certificate has expired; the provider must renew it (or this machine's clock is wrong)")]
    Expired,
    #[error("the server's certificate is not valid yet; check this machine's clock")]
    NotYetValid,
    #[error("the server's certificate is for another host; check `host`")]
    WrongHost,
    #[error("the server's certificate is signed by nobody we know; check `host` or set `ca_file`")]
    UnknownIssuer,
    #[error("the server's certificate has been revoked")]
    Revoked,
    #[error("the server's certificate can't be used (a self-signed authority, a bad signature or purpose)")]
    BadCertificate,
    #[error("the server does not speak TLS on this port; check `port` and `tls`")]
    NotTls,
    #[error("the server offers no STARTTLS; use `tls = \"implicit\"` with its TLS port")]
    NoStartTls,
    #[error("the server sent data before the TLS handshake; somebody may sit in between")]
    Injected,
    #[error("the TLS handshake failed")]
    Handshake,
    #[error("`ca_file` holds no certificate that can be read")]
    BadCaFile,
    #[error("the system has no root certificates; install them or set `ca_file`")]
    NoRoots,
    #[error("`host` is neither a host name nor an address")]
    BadHostName,
}

/// What can go wrong. `Display` names the service, what was being done and the remedy, if there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// No TCP connection.
    #[error("no connection to the {service} server ({kind}); check `host` and `port`")]
    Connect { service: Service, kind: io::ErrorKind },
    /// The name has no address, or nobody could be asked for it.
    #[error("the name of the {service} server can't be looked up; check `host` and this machine's DNS")]
    Unresolved { service: Service },
    #[error("no protected connection to the {service} server: {problem}")]
    Tls { service: Service, problem: TlsProblem },
    /// The log-in was refused for good: user name, password or token.
    #[error("the {service} server refused the log-in ({code}); check `username` and the password")]
    Refused { service: Service, code: Code },
    #[error("the {service} server did not answer in time ({doing})")]
    Timeout { service: Service, doing: &'static str },
    #[error("the {service} server closed the connection ({doing})")]
    Closed { service: Service, doing: &'static str },
    /// The server's bytes are not what the protocol says.
    #[error("the {service} server broke the protocol: {what} ({doing})")]
    Protocol { service: Service, doing: &'static str, what: &'static str },
    #[error("the {service} server said NO ({code}; {doing})")]
    ServerSaidNo { service: Service, doing: &'static str, code: Code },
    #[error("the {service} server said BAD ({code}; {doing})")]
    ServerSaidBad { service: Service, doing: &'static str, code: Code },
    /// An untagged BYE, or 421.
    #[error("the {service} server said good-bye ({code}; {doing})")]
    ServerSaidBye { service: Service, doing: &'static str, code: Code },
    /// The server or the settings lack something that we can't do without.
    #[error("the {service} server can't be used: {what}")]
    Unsupported { service: Service, what: &'static str },
}

impl NetError {
    /// Which of the two servers it is about.
    pub fn service(&self) -> Service {
        match self {
            Self::Connect { service, .. }
            | Self::Unresolved { service }
            | Self::Tls { service, .. }
            | Self::Refused { service, .. }
            | Self::Timeout { service, .. }
            | Self::Closed { service, .. }
            | Self::Protocol { service, .. }
            | Self::ServerSaidNo { service, .. }
            | Self::ServerSaidBad { service, .. }
            | Self::ServerSaidBye { service, .. }
            | Self::Unsupported { service, .. } => *service,
        }
    }

    /// Whether the same thing, tried later without anybody changing anything, may well succeed.
    /// Certificates and log-ins are for people to mend; they are still worth a slow retry.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Unresolved { .. }
            | Self::Timeout { .. }
            | Self::Closed { .. }
            | Self::Protocol { .. }
            | Self::ServerSaidBye { .. } => true,
            Self::Tls { problem, .. } => matches!(problem, TlsProblem::Handshake | TlsProblem::Injected),
            Self::ServerSaidNo { code, .. } => match code {
                Code::Imap(word) => !matches!(
                    word,
                    Some("NOPERM" | "CANNOT" | "NONEXISTENT" | "ALREADYEXISTS" | "CLIENTBUG" | "TOOBIG")
                ),
                Code::Smtp { code, .. } => *code < 500,
            },
            Self::Refused { .. } | Self::ServerSaidBad { .. } | Self::Unsupported { .. } => false,
        }
    }

    /// Whether the connection is of no more use.
    pub fn ends_session(&self) -> bool {
        !matches!(self, Self::ServerSaidNo { .. } | Self::ServerSaidBad { .. } | Self::Unsupported { .. })
    }

    /// The IMAP response code of a NO, BAD or refused log-in.
    pub fn imap_code(&self) -> Option<&'static str> {
        match self {
            Self::ServerSaidNo { code: Code::Imap(word), .. }
            | Self::ServerSaidBad { code: Code::Imap(word), .. }
            | Self::Refused { code: Code::Imap(word), .. } => *word,
            _ => None,
        }
    }
}
