//! Submission (RFC 5321, 4954, 3207) over lettre's connection: many mails over one, and for each
//! exactly how far it came. Adds no header and changes nothing but line ends.
//!
//! lettre stands on our own transport, not on its own TLS: it would keep bytes that came before the
//! handshake of STARTTLS, and its errors don't tell what is wrong with a certificate.

mod dialogue;
mod submitter;

use std::borrow::Cow;

pub use submitter::SmtpSubmitter;

use lettre::transport::smtp::client::AsyncSmtpConnection;

use super::error::{Code, Enhanced, NetError};
use super::transport::Transport;
use crate::model::Address;

/// How far a mail had come when its fate was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Connect,
    MailFrom,
    RcptTo,
    /// DATA, and the content up to its final dot.
    Data,
    AfterDot,
}

/// What became of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendResult {
    /// The server has taken responsibility.
    Accepted { code: u16 },
    /// A 4xx: try later. The mail has not been taken.
    Temporary { code: u16, enhanced: Option<Enhanced> },
    /// A 5xx: don't try again unchanged. The mail has not been taken.
    Permanent { code: u16, enhanced: Option<Enhanced> },
    /// Nothing was taken for sure; the connection (or its making) failed.
    NotSent(NetError),
    /// The final dot was written and no answer came: the server may have it or not.
    MaybeDelivered(NetError),
}

/// What became of a mail, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendOutcome {
    pub result: SendResult,
    pub stage: Stage,
    /// Whether the final dot was written in full.
    pub reached_dot: bool,
    /// Whether it travelled with an empty return path (`MAIL FROM:<>`).
    pub null_path: bool,
}

impl SendOutcome {
    pub fn is_accepted(&self) -> bool {
        matches!(self.result, SendResult::Accepted { .. })
    }

    /// Whether the server refuses empty return paths, as some submission servers do.
    pub fn refused_null_path(&self) -> bool {
        self.null_path && self.stage == Stage::MailFrom && matches!(self.result, SendResult::Permanent { .. })
    }

    /// Whether it was refused for its size (552, 5.3.4, 5.2.3 with a size code).
    pub fn refused_size(&self) -> bool {
        matches!(
            self.result,
            SendResult::Permanent { code: 552, .. }
                | SendResult::Permanent { enhanced: Some(Enhanced(5, 3, 4) | Enhanced(5, 2, 3)), .. }
        )
    }
}

/// What the server said to EHLO.
#[derive(Debug, Clone, Copy, Default)]
struct Extensions {
    /// `Some(0)`: announced without a limit.
    size: Option<u64>,
    pipelining: bool,
    eight_bit: bool,
    smtp_utf8: bool,
    /// Delivery notices can be asked for (RFC 3461).
    dsn: bool,
}

/// A reply without its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reply {
    code: u16,
    enhanced: Option<Enhanced>,
}

impl Reply {
    fn is_good(self) -> bool {
        (200..300).contains(&self.code)
    }

    fn as_code(self) -> Code {
        Code::Smtp { code: self.code, enhanced: self.enhanced }
    }

    fn as_result(self) -> SendResult {
        let Self { code, enhanced } = self;
        match code {
            200..300 => SendResult::Accepted { code },
            500.. => SendResult::Permanent { code, enhanced },
            _ => SendResult::Temporary { code, enhanced },
        }
    }
}

/// A connection, greeted and logged in.
pub struct SmtpConnection {
    smtp: AsyncSmtpConnection,
    transport: Transport,
    extensions: Extensions,
    timeouts: super::Timeouts,
    /// What is being done, for errors.
    doing: &'static str,
    broken: bool,
    /// A transaction may be open: RSET comes first.
    dirty: bool,
}

impl std::fmt::Debug for SmtpConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmtpConnection").field("extensions", &self.extensions).finish_non_exhaustive()
    }
}

impl SmtpConnection {
    /// The largest mail, in bytes, that the server announces to take (RFC 1870); none if it doesn't say.
    pub fn size_limit(&self) -> Option<u64> {
        self.extensions.size.filter(|&limit| limit > 0)
    }

    /// Whether the connection is of no more use.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Sends one mail to all recipients or to none. `envelope_from: None` is the empty return path.
    /// `data` is sent as it is, with dots stuffed and bare CR or LF made CRLF.
    pub async fn send(&mut self, envelope_from: Option<&Address>, to: &[Address], data: &[u8]) -> SendOutcome {
        self.send_tracked(envelope_from, to, data, None).await
    }

    /// As [`SmtpConnection::send`]; where the server can, notices are asked for that name `envid` and return the
    /// header alone (RFC 3461). An empty return path gets none. A server that announces it and refuses it is asked
    /// again without.
    pub async fn send_tracked(
        &mut self,
        envelope_from: Option<&Address>,
        to: &[Address],
        data: &[u8],
        envid: Option<&str>,
    ) -> SendOutcome {
        let asked = envid.filter(|_| self.extensions.dsn && envelope_from.is_some());
        let outcome = self.attempt(envelope_from, to, data, asked).await;
        let unknown = matches!(outcome.result, SendResult::Permanent { code: 501 | 504 | 555, .. });
        if asked.is_none() || !unknown || outcome.stage > Stage::RcptTo || self.broken {
            return outcome;
        }
        self.extensions.dsn = false;
        self.attempt(envelope_from, to, data, None).await
    }

    async fn attempt(
        &mut self,
        envelope_from: Option<&Address>,
        to: &[Address],
        data: &[u8],
        envid: Option<&str>,
    ) -> SendOutcome {
        let null_path = envelope_from.is_none();
        let content = content(data);
        let mut stage = Stage::MailFrom;
        let mut reached_dot = false;
        let lines = match self.envelope(envelope_from, to, &content, envid) {
            Ok(lines) => lines,
            Err(e) => return SendOutcome { result: SendResult::NotSent(e), stage, reached_dot, null_path },
        };
        let result = match self.transaction(&lines, &content, &mut stage, &mut reached_dot).await {
            Ok(reply) => {
                self.dirty = stage != Stage::AfterDot;
                if reply.code == 421 {
                    self.broken = true;
                }
                reply.as_result()
            }
            Err(e) if reached_dot => SendResult::MaybeDelivered(e),
            Err(e) => SendResult::NotSent(e),
        };
        SendOutcome { result, stage, reached_dot, null_path }
    }
}

/// The address of a path as lettre writes it: its name as typed, its domain as an A-label. Ours were
/// checked when they were read, so that lettre need not.
fn path(address: &Address) -> lettre::Address {
    let local = address.as_typed().rsplit_once('@').map_or("", |(local, _)| local);
    lettre::Address::new_dangerous(local, address.domain())
}

/// The content with CRLF line ends throughout. Bare CR or LF would let servers disagree about where a
/// mail ends, and lines must not be told apart by us in one way and by them in another.
fn content(data: &[u8]) -> Cow<'_, [u8]> {
    let bare = |(i, &b): (usize, &u8)| match b {
        b'\n' => i == 0 || data[i - 1] != b'\r',
        b'\r' => data.get(i + 1) != Some(&b'\n'),
        _ => false,
    };
    if !data.iter().enumerate().any(bare) {
        return Cow::Borrowed(data);
    }
    let mut out = Vec::with_capacity(data.len() + data.len() / 32);
    let mut rest = data.iter().copied().peekable();
    while let Some(b) = rest.next() {
        match b {
            b'\r' => {
                rest.next_if_eq(&b'\n');
                out.extend_from_slice(b"\r\n");
            }
            b'\n' => out.extend_from_slice(b"\r\n"),
            _ => out.push(b),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bare_line_ends_become_crlf_and_good_ones_are_left_alone() {
        assert!(matches!(content(b"a\r\n\r\nb\r\n"), Cow::Borrowed(_)));
        assert_eq!(&*content(b"a\n.\nb\r\rc\r\n"), b"a\r\n.\r\nb\r\n\r\nc\r\n");
        assert_eq!(&*content(b"\n.\r"), b"\r\n.\r\n");
    }

    proptest! {
        #[test]
        fn no_bare_line_end_is_left(data in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a')], 0..60)) {
            let clean = content(&data);
            let bare = clean.iter().enumerate().any(|(i, &b)| match b {
                b'\n' => i == 0 || clean[i - 1] != b'\r',
                b'\r' => clean.get(i + 1) != Some(&b'\n'),
                _ => false,
            });
            prop_assert!(!bare);
        }
    }

    #[test]
    fn the_domain_of_a_path_is_an_a_label() {
        let address = Address::parse("Marie.B@BÜCHER.example").unwrap();
        assert_eq!(path(&address).to_string(), "Marie.B@xn--bcher-kva.example");
    }
}
