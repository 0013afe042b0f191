//! Commands out, answers in, over async-imap. Its ready-made calls keep neither response codes nor the
//! order of what the server tells unasked, so commands run through its `run_command` and `read_response`.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use async_imap::imap_proto::rfc4315::UidSetMember;
use async_imap::imap_proto::{Outcome, RequestId, Response, ResponseCode, Status};
use async_imap::{Connection as Bare, Session};
use futures::FutureExt;
use tokio::io::AsyncWriteExt;

use crate::net::error::{Code, NetError, Service};
use crate::net::transport::Transport;

/// What one answer may hold beside its literal: a SEARCH of a million messages fits.
pub(super) const MAX_TEXT: usize = 16 << 20;

/// Response codes that we name: a code is shown only if it is one of them, since a server's text
/// could hold anything (RFC 3501, 5530). Those that imap-proto knows are in [`known_code`].
const CODES: &[&str] = &[
    "ALREADYEXISTS",
    "AUTHENTICATIONFAILED",
    "AUTHORIZATIONFAILED",
    "CANNOT",
    "CLIENTBUG",
    "CONTACTADMIN",
    "CORRUPTION",
    "EXPIRED",
    "EXPUNGEISSUED",
    "INUSE",
    "LIMIT",
    "NONEXISTENT",
    "NOPERM",
    "OVERQUOTA",
    "PRIVACYREQUIRED",
    "SERVERBUG",
    "TOOBIG",
    "TRYCREATE",
    "UNAVAILABLE",
];

/// The code's word, if it is one that we know. What imap-proto doesn't know it leaves in the text.
pub(super) fn known_code(outcome: &Outcome<'_>) -> Option<&'static str> {
    match &outcome.code {
        Some(ResponseCode::TryCreate) => Some("TRYCREATE"),
        Some(ResponseCode::Alert) => Some("ALERT"),
        Some(ResponseCode::Parse) => Some("PARSE"),
        Some(ResponseCode::ReadOnly) => Some("READ-ONLY"),
        Some(_) => None,
        None => code_in(outcome.information.as_deref()?),
    }
}

/// A code that we know at the start of a text.
pub(super) fn code_in(text: &str) -> Option<&'static str> {
    let word = text.strip_prefix('[')?.split([']', ' ']).next()?;
    CODES.iter().copied().find(|known| word.eq_ignore_ascii_case(known))
}

/// The uids of a set, if there are at most `limit`.
pub(super) fn uids_of(set: &[UidSetMember], limit: usize) -> Option<Vec<u32>> {
    let mut uids = Vec::new();
    for member in set {
        let range = match member {
            UidSetMember::Uid(uid) => *uid..=*uid,
            UidSetMember::UidRange(range) => range.clone(),
        };
        if (range.end().checked_sub(*range.start())?) as usize >= limit.saturating_sub(uids.len()) {
            return None;
        }
        uids.extend(range);
    }
    Some(uids)
}

/// A string between quotes; no text with control characters ever becomes part of a command.
pub(super) fn quoted(text: &str) -> Result<String, NetError> {
    if text.chars().any(char::is_control) {
        return Err(NetError::Unsupported { service: Service::Imap, what: "a name with control characters" });
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// How literals may be sent without waiting (RFC 7888).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NonSync {
    Never,
    /// LITERAL-: up to 4096 bytes.
    Short,
    /// LITERAL+.
    Always,
}

impl NonSync {
    pub(super) fn allows(self, length: usize) -> bool {
        match self {
            Self::Never => false,
            Self::Short => length <= 4096,
            Self::Always => true,
        }
    }
}

/// The final answer to a command.
pub(super) struct Done {
    pub status: Status,
    pub code: Option<&'static str>,
}

impl Done {
    pub(super) fn expect_ok(&self, doing: &'static str) -> Result<(), NetError> {
        let (service, code) = (Service::Imap, Code::Imap(self.code));
        match self.status {
            Status::Ok => Ok(()),
            Status::Bad => Err(NetError::ServerSaidBad { service, doing, code }),
            _ => Err(NetError::ServerSaidNo { service, doing, code }),
        }
    }
}

/// What an answer is to the command that waits.
pub(super) enum Heard {
    Untagged,
    /// `+`: go on.
    Go,
    Done(Done),
}

/// Reads one answer; untagged and tagged ones are shown to `look` too. A parser that panics over an
/// answer is caught. Every error ends the connection.
pub(super) async fn answer(
    bare: &mut Bare<Transport>,
    doing: &'static str,
    tag: Option<&RequestId>,
    look: &mut (impl FnMut(&Response<'_>) + Send),
) -> Result<Heard, NetError> {
    let transport = bare.get_ref().clone();
    let read = AssertUnwindSafe(bare.read_response()).catch_unwind().await;
    let protocol = |what| NetError::Protocol { service: Service::Imap, doing, what };
    let data = match read {
        Ok(Ok(Some(data))) => data,
        Ok(Ok(None)) => return Err(NetError::Closed { service: Service::Imap, doing }),
        Ok(Err(_)) | Err(_) => return Err(transport.failure(Service::Imap, doing)),
    };
    let response = data.parsed();
    match response {
        Response::Data { status: Status::Bye, outcome } => {
            let code = Code::Imap(known_code(outcome));
            Err(NetError::ServerSaidBye { service: Service::Imap, doing, code })
        }
        Response::Continue(_) => Ok(Heard::Go),
        Response::Done { tag: theirs, status, outcome } if Some(theirs) == tag => {
            look(response);
            let status = match status {
                Status::Ok => Status::Ok,
                Status::No => Status::No,
                Status::Bad => Status::Bad,
                _ => return Err(protocol("a final answer that is none")),
            };
            Ok(Heard::Done(Done { status, code: known_code(outcome) }))
        }
        Response::Done { .. } => Err(protocol("an answer to a command that isn't ours")),
        untagged => {
            look(untagged);
            Ok(Heard::Untagged)
        }
    }
}

/// Runs a command before log-in, where async-imap has no call for it.
pub(super) async fn before_login(
    bare: &mut Bare<Transport>,
    command: &'static str,
    look: &mut (impl FnMut(&Response<'_>) + Send),
) -> Result<(), NetError> {
    let stream = bare.get_mut();
    let sent = match stream.write_all(format!("C0 {command}\r\n").as_bytes()).await {
        Ok(()) => stream.flush().await,
        Err(e) => Err(e),
    };
    sent.map_err(|_| stream.failure(Service::Imap, command))?;
    let tag = RequestId("C0".to_owned());
    loop {
        match answer(bare, command, Some(&tag), look).await? {
            Heard::Done(done) => return done.expect_ok(command),
            Heard::Untagged => {}
            Heard::Go => return Err(stray(command)),
        }
    }
}

fn stray(doing: &'static str) -> NetError {
    NetError::Protocol { service: Service::Imap, doing, what: "an invitation that nobody asked for" }
}

/// A logged-in connection. After an error that ends the session every call fails.
pub(super) struct Connection {
    session: Session<Transport>,
    pub doing: &'static str,
    pub broken: bool,
    pub non_sync: NonSync,
    max_literal: usize,
    patience: Duration,
}

impl Connection {
    pub(super) fn new(session: Session<Transport>, max_literal: usize, patience: Duration) -> Self {
        Self { session, doing: "LOGIN", broken: false, non_sync: NonSync::Never, max_literal, patience }
    }

    /// How long a read may take from now on; none waits for ever.
    pub(super) fn patient(&self, endless: bool) {
        self.transport().set_read_patience((!endless).then_some(self.patience));
    }

    pub(super) fn hurry(&mut self, most: Duration) {
        self.patience = self.patience.min(most);
    }

    fn transport(&self) -> &Transport {
        self.session.get_ref()
    }

    /// Gives up on the connection and makes the error that says why.
    pub(super) fn protocol(&mut self, what: &'static str) -> NetError {
        self.broken = true;
        NetError::Protocol { service: Service::Imap, doing: self.doing, what }
    }

    fn alive(&self) -> Result<(), NetError> {
        if self.broken { Err(NetError::Closed { service: Service::Imap, doing: self.doing }) } else { Ok(()) }
    }

    fn failed(&mut self) -> NetError {
        self.broken = true;
        self.transport().failure(Service::Imap, self.doing)
    }

    /// Sends a command line and returns its tag.
    pub(super) async fn start(&mut self, line: &str) -> Result<RequestId, NetError> {
        self.alive()?;
        // A wait for mail that was dropped half-way may have left us with endless patience.
        self.patient(false);
        let sent = self.session.run_command(line).await;
        sent.map_err(|_| self.failed())
    }

    /// Writes bytes as they are: literals, and DONE.
    pub(super) async fn raw(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        self.alive()?;
        let stream = self.session.get_mut();
        let sent = match stream.write_all(bytes).await {
            Ok(()) => stream.flush().await,
            Err(e) => Err(e),
        };
        sent.map_err(|_| self.failed())
    }

    /// Reads one answer.
    pub(super) async fn next(
        &mut self,
        tag: &RequestId,
        look: &mut (impl FnMut(&Response<'_>) + Send),
    ) -> Result<Heard, NetError> {
        self.alive()?;
        self.transport().allow(self.max_literal.saturating_add(MAX_TEXT));
        let heard = answer(&mut self.session, self.doing, Some(tag), look).await;
        self.broken |= heard.is_err();
        heard
    }

    /// Reads up to an invitation (none) or the final answer.
    pub(super) async fn permission(
        &mut self,
        tag: &RequestId,
        look: &mut (impl FnMut(&Response<'_>) + Send),
    ) -> Result<Option<Done>, NetError> {
        loop {
            match self.next(tag, look).await? {
                Heard::Untagged => {}
                Heard::Go => return Ok(None),
                Heard::Done(done) => return Ok(Some(done)),
            }
        }
    }

    /// Reads up to the final answer for `tag`.
    pub(super) async fn finish(
        &mut self,
        tag: &RequestId,
        look: &mut (impl FnMut(&Response<'_>) + Send),
    ) -> Result<(), NetError> {
        match self.permission(tag, look).await? {
            Some(done) => done.expect_ok(self.doing),
            None => Err(self.protocol("an invitation that nobody asked for")),
        }
    }

    /// Runs a command that has to succeed; every answer, the final one too, is shown to `look`.
    pub(super) async fn ok(
        &mut self,
        doing: &'static str,
        line: &str,
        mut look: impl FnMut(&Response<'_>) + Send,
    ) -> Result<(), NetError> {
        self.doing = doing;
        let tag = self.start(line).await?;
        self.finish(&tag, &mut look).await
    }

    /// The first personal namespace (RFC 2342): prefix and delimiter. imap-proto can't read the answer,
    /// so it is read here, past the crate: nothing else is under way right after log-in.
    pub(super) async fn namespace(&mut self) -> Result<Option<(String, Option<char>)>, NetError> {
        use tokio::io::AsyncReadExt;
        self.doing = "NAMESPACE";
        self.raw(b"C0 NAMESPACE\r\n").await?;
        let mut text = Vec::new();
        loop {
            if text.ends_with(b"\n") {
                let lines = String::from_utf8_lossy(&text);
                if lines.lines().any(|l| l.starts_with("C0 ")) {
                    return Ok(lines.lines().find_map(personal));
                }
            }
            let byte = self.session.get_mut().read_u8().await.map_err(|_| self.failed())?;
            text.push(byte);
            if text.len() > 64 * 1024 {
                return Err(self.protocol("an answer is too long"));
            }
        }
    }

    /// Tells the other side that nothing more comes; waits a second at most.
    pub(super) async fn shutdown(&mut self) {
        self.broken = true;
        let _ = tokio::time::timeout(Duration::from_secs(1), self.session.get_mut().shutdown()).await;
    }
}

/// Prefix and delimiter in `* NAMESPACE (("INBOX." ".")) …`.
fn personal(line: &str) -> Option<(String, Option<char>)> {
    let rest = line.to_ascii_uppercase().starts_with("* NAMESPACE ((").then(|| &line[14..])?;
    let (prefix, rest) = word(rest)?;
    let (delimiter, _) = word(rest.trim_start()).unwrap_or_default();
    let mut chars = delimiter.chars();
    Some((prefix, chars.next().filter(|_| chars.next().is_none())))
}

/// A quoted string and what follows it.
fn word(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.strip_prefix('"')?.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &text[at + 2..])),
            '\\' => out.push(chars.next()?.1),
            c => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_personal_namespace_is_read() {
        let both = |p: &str, d| Some((p.to_owned(), d));
        assert_eq!(personal("* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL"), both("INBOX.", Some('.')));
        assert_eq!(personal("* namespace ((\"\" \"\\\\\")(\"x\" \"/\")) NIL NIL"), both("", Some('\\')));
        assert_eq!(personal("* NAMESPACE ((\"\" NIL)) NIL NIL"), both("", None));
        for none in ["* NAMESPACE NIL NIL NIL", "* NAMESPACE ((\"", "C0 OK done", "é"] {
            assert_eq!(personal(none), None);
        }
    }

    #[test]
    fn only_codes_of_the_closed_list_are_named() {
        assert_eq!(code_in("[authenticationfailed] no"), Some("AUTHENTICATIONFAILED"));
        assert_eq!(code_in("[MARIE@EXAMPLE.ORG] no"), None);
        assert_eq!(code_in("no [LIMIT]"), None);
    }

    #[test]
    fn a_set_that_names_too_many_uids_is_none() {
        assert_eq!(uids_of(&[UidSetMember::UidRange(3..=5), UidSetMember::Uid(9)], 4), Some(vec![3, 4, 5, 9]));
        assert_eq!(uids_of(&[UidSetMember::UidRange(1..=u32::MAX)], 100), None);
    }
}
