//! Commands and replies.

use std::net::Ipv4Addr;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{self, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Ehlo, Mail, Noop, Quit, Rcpt, Rset, Starttls};
use lettre::transport::smtp::extension::{ClientId, MailBodyParameter, MailParameter, RcptParameter};
use lettre::transport::smtp::response::Response;
use tokio::io::AsyncWriteExt;

use super::{Extensions, Reply, SmtpConnection, Stage, path};
use crate::model::Address;
use crate::net::error::{Enhanced, NetError, Service, TlsProblem};
use crate::net::tls::{Io, dial, protect};
use crate::net::transport::Transport;
use crate::net::{Credentials, Secret, SmtpSettings, Tls};

/// What a server may say between two things that we say.
const MAX_REPLY: usize = 256 * 1024;

/// What we call ourselves. Never the machine's own name, which would reach every recipient in a
/// Received line.
const HELLO: ClientId = ClientId::Ipv4(Ipv4Addr::LOCALHOST);

impl SmtpConnection {
    /// Dials, protects, greets and, with credentials, logs in.
    ///
    /// # Errors
    /// `Connect`, `Tls`, `Refused` (the log-in), `ServerSaidNo` for a greeting that turns us away.
    pub async fn connect(settings: &SmtpSettings) -> Result<Self, NetError> {
        let times = settings.timeouts;
        let clear = settings.tls == Tls::None && settings.credentials.is_some();
        let tcp = dial(Service::Smtp, &settings.host, settings.port, clear, times.connect).await?;
        let ca = settings.ca_file.as_deref();
        let over = |stream: Box<dyn Io>| protect(Service::Smtp, &settings.host, ca, stream, times.connect);
        let new = |stream| Transport::new(stream, times.command, MAX_REPLY).ascii();
        let mut stream: Box<dyn Io> = Box::new(tcp);
        let mut connection = match settings.tls {
            Tls::None => Self::greet(new(stream), times).await?,
            Tls::Implicit => {
                stream = over(stream).await?;
                Self::greet(new(stream), times).await?
            }
            Tls::StartTls => {
                let mut clear = Self::greet(new(stream).by_line(), times).await?;
                if !clear.smtp.can_starttls() {
                    return Err(NetError::Tls { service: Service::Smtp, problem: TlsProblem::NoStartTls });
                }
                clear.doing = "STARTTLS";
                let ready = clear.command(Starttls).await?;
                clear.need(ready, 220)?;
                // What was said in clear may be anybody's word: forget it with the connection.
                let Self { smtp, transport, .. } = clear;
                drop(smtp);
                stream = over(transport.into_stream(Service::Smtp)?).await?;
                // After the handshake there is no greeting (RFC 3207), but lettre waits for one.
                Self::greet(new(stream).prefaced(b"220 go\r\n"), times).await?
            }
        };
        connection.doing = "EHLO";
        // lettre keeps no SIZE and no PIPELINING of its own EHLO, so ask again.
        let told = connection.smtp.command(Ehlo::new(HELLO)).await;
        if let Ok(told) = &told {
            // The first line is the server's name.
            told.message().skip(1).for_each(|line| connection.extensions.note(line));
        }
        let answer = connection.judge(told)?;
        connection.need(answer, 250)?;
        if let Some(credentials) = &settings.credentials {
            connection.log_in(credentials).await?;
        }
        Ok(connection)
    }

    /// Lets lettre read the greeting and say EHLO. It panics over a line of blanks: that is caught.
    async fn greet(transport: Transport, timeouts: crate::net::Timeouts) -> Result<Self, NetError> {
        let doing = "greeting";
        let connecting = AsyncSmtpConnection::connect_with_transport(Box::new(transport.clone()), &HELLO);
        match AssertUnwindSafe(connecting).catch_unwind().await {
            Ok(Ok(smtp)) => Ok(Self {
                smtp,
                transport,
                extensions: Extensions::default(),
                timeouts,
                doing,
                broken: false,
                dirty: false,
            }),
            Ok(Err(error)) => match refused(&error) {
                Some(answer) => Err(turned_away(doing, answer)),
                None => Err(transport.failure(Service::Smtp, doing)),
            },
            Err(_) => Err(NetError::Protocol { service: Service::Smtp, doing, what: "an EHLO reply of blanks" }),
        }
    }

    async fn log_in(&mut self, credentials: &Credentials) -> Result<(), NetError> {
        self.doing = "AUTH";
        let (mechanisms, secret): (&[Mechanism], _) = match &credentials.secret {
            Secret::XOauth2(token) => (&[Mechanism::Xoauth2], token),
            Secret::Password(password) => (&[Mechanism::Plain, Mechanism::Login], password),
        };
        if self.smtp.server_info().get_auth_mechanism(mechanisms).is_none() {
            return Err(NetError::Unsupported {
                service: Service::Smtp,
                what: "it offers no way to log in that we know on this connection; check `port` and `tls`",
            });
        }
        let lettres = authentication::Credentials::new(credentials.username.clone(), secret.reveal().to_owned());
        let outcome = self.smtp.auth(mechanisms, &lettres).await;
        let answer = match outcome {
            // XOAUTH2 tells an error by a challenge, which lettre takes for a fault of its own.
            Err(e) if e.is_client() && matches!(credentials.secret, Secret::XOauth2(_)) => {
                Reply { code: 535, enhanced: None }
            }
            other => self.judge(other)?,
        };
        match answer.code {
            235 => Ok(()),
            500.. => {
                self.broken = true;
                Err(NetError::Refused { service: Service::Smtp, code: answer.as_code() })
            }
            _ => self.need(answer, 235),
        }
    }

    /// Whether the connection still lives (NOOP).
    pub async fn test(&mut self) -> Result<(), NetError> {
        self.doing = "NOOP";
        let answer = self.command(Noop).await?;
        self.need(answer, 250)
    }

    /// Says good-bye; waits two seconds at most.
    pub async fn quit(mut self) {
        if !self.is_broken() {
            let _ = tokio::time::timeout(std::time::Duration::from_secs(2), self.command(Quit)).await;
        }
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), self.transport.shutdown()).await;
    }

    /// Sends a command, or several lines, and reads the first reply.
    async fn command(&mut self, command: impl std::fmt::Display + Send) -> Result<Reply, NetError> {
        if self.broken {
            return Err(NetError::Closed { service: Service::Smtp, doing: self.doing });
        }
        self.transport.allow(MAX_REPLY);
        let outcome = self.smtp.command(command).await;
        self.judge(outcome)
    }

    /// Reads the reply to a line that went out with an earlier one.
    async fn next(&mut self) -> Result<Reply, NetError> {
        let outcome = self.smtp.read_response().await;
        self.judge(outcome)
    }

    /// A reply, good or bad; anything else ends the connection.
    fn judge(&mut self, outcome: Result<Response, Error>) -> Result<Reply, NetError> {
        let reply = match &outcome {
            Ok(good) => {
                let code = u16::from(good.code());
                Some(Reply { code, enhanced: good.first_line().and_then(|line| enhanced(code, line)) })
            }
            Err(error) => refused(error),
        };
        reply.ok_or_else(|| {
            self.broken = true;
            self.transport.failure(Service::Smtp, self.doing)
        })
    }

    /// Anything but `code` ends the connection.
    fn need(&mut self, answer: Reply, code: u16) -> Result<(), NetError> {
        if answer.code == code {
            return Ok(());
        }
        self.broken = true;
        Err(turned_away(self.doing, answer))
    }

    fn protocol(&mut self, what: &'static str) -> NetError {
        self.broken = true;
        NetError::Protocol { service: Service::Smtp, doing: self.doing, what }
    }

    /// One mail. `stage` and `reached_dot` tell how far it came, also after an error.
    pub(super) async fn transaction(
        &mut self,
        envelope: &[String],
        content: &[u8],
        stage: &mut Stage,
        reached_dot: &mut bool,
    ) -> Result<Reply, NetError> {
        if self.dirty {
            self.doing = "RSET";
            let answer = self.command(Rset).await?;
            self.need(answer, 250)?;
            self.dirty = false;
        }
        if let Some(limit) = self.size_limit()
            && content.len() as u64 > limit
        {
            // What the server would say, said without sending it (RFC 1870 section 6.1).
            return Ok(Reply { code: 552, enhanced: Some(Enhanced(5, 3, 4)) });
        }
        if let Some(refused) = self.announce(envelope, stage).await? {
            return Ok(refused);
        }
        self.doing = "DATA";
        self.transport.allow(MAX_REPLY);
        self.transport.set_read_patience(Some(self.timeouts.after_dot));
        // lettre stuffs the dots, and puts a line end of its own before the final one.
        let outcome = self.smtp.message(content.strip_suffix(b"\r\n").unwrap_or(content)).await;
        self.transport.set_read_patience(Some(self.timeouts.command));
        if self.transport.wrote_dot() {
            (*stage, *reached_dot) = (Stage::AfterDot, true);
            self.doing = "final dot";
        }
        match self.judge(outcome)? {
            Reply { code: 300..400, .. } => Err(self.protocol("an answer to the final dot that decides nothing")),
            decided => Ok(decided),
        }
    }

    /// The lines of MAIL and RCPT.
    pub(super) fn envelope(
        &self,
        from: Option<&Address>,
        to: &[Address],
        content: &[u8],
        envid: Option<&str>,
    ) -> Result<Vec<String>, NetError> {
        let unsupported = |what| Err(NetError::Unsupported { service: Service::Smtp, what });
        let from = from.map(path);
        let to: Vec<lettre::Address> = to.iter().map(path).collect();
        let mut parameters = Vec::new();
        if self.extensions.size.is_some() {
            parameters.push(MailParameter::Size(content.len()));
        }
        if from.iter().chain(&to).any(|address| !address.user().is_ascii()) {
            if !self.extensions.smtp_utf8 {
                return unsupported("it takes no addresses beyond ASCII (SMTPUTF8)");
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if !content.is_ascii() {
            if !self.extensions.eight_bit {
                return unsupported("it takes no 8-bit mail (8BITMIME)");
            }
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        if to.is_empty() {
            return unsupported("a mail without recipients");
        }
        if let Some(envid) = envid {
            let other = |keyword: &str, value: &str| MailParameter::Other {
                keyword: keyword.to_owned(),
                value: Some(value.to_owned()),
            };
            parameters.extend([other("RET", "HDRS"), other("ENVID", envid)]);
        }
        let mut lines = vec![Mail::new(from, parameters).to_string()];
        lines.extend(to.into_iter().map(|address| {
            let parameters = if envid.is_some() { notify(&address) } else { Vec::new() };
            Rcpt::new(address, parameters).to_string()
        }));
        Ok(lines)
    }

    /// MAIL, RCPT and DATA: in one write where the server can (RFC 2920). Returns a refusal, or none when
    /// the server waits for the content.
    async fn announce(&mut self, lines: &[String], stage: &mut Stage) -> Result<Option<Reply>, NetError> {
        self.dirty = true;
        let together = self.extensions.pipelining;
        // With several recipients DATA waits: one refused recipient must stop the mail for all.
        let data_too = together && lines.len() == 2;
        let mut all = lines.concat();
        if data_too {
            all.push_str(&Data.to_string());
        }
        let mut refused = None;
        for (n, line) in lines.iter().enumerate() {
            (*stage, self.doing) = if n == 0 { (Stage::MailFrom, "MAIL FROM") } else { (Stage::RcptTo, "RCPT TO") };
            let answer = match (together, n) {
                (true, 0) => self.command(&all).await?,
                (true, _) => self.next().await?,
                (false, _) => self.command(line).await?,
            };
            if !answer.is_good() {
                refused = refused.or(Some((*stage, answer)));
                if !together || answer.code == 421 {
                    break;
                }
            }
        }
        if let Some((at, answer)) = refused {
            *stage = at;
            if data_too && answer.code != 421 && self.next().await?.code == 354 {
                // It would take a mail without recipients: leave without a dot.
                self.broken = true;
            }
            return Ok(Some(answer));
        }
        (*stage, self.doing) = (Stage::Data, "DATA");
        let answer = if data_too { self.next().await? } else { self.command(Data).await? };
        match answer.code {
            354 => Ok(None),
            400.. => Ok(Some(answer)),
            _ => Err(self.protocol("an answer to DATA that decides nothing")),
        }
    }
}

/// What is asked for about one recipient: to be told of failures and delays, with the address as it is given here.
fn notify(address: &lettre::Address) -> Vec<RcptParameter> {
    let other = |keyword: &str, value: String| RcptParameter::Other { keyword: keyword.to_owned(), value: Some(value) };
    let mut parameters = vec![other("NOTIFY", "FAILURE,DELAY".to_owned())];
    let address = address.to_string();
    if address.is_ascii() {
        parameters.push(other("ORCPT", format!("rfc822;{address}")));
    }
    parameters
}

impl Extensions {
    fn note(&mut self, line: &str) {
        let line = line.to_ascii_uppercase();
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("SIZE") => self.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0)),
            Some("PIPELINING") => self.pipelining = true,
            Some("8BITMIME") => self.eight_bit = true,
            Some("SMTPUTF8") => self.smtp_utf8 = true,
            Some("DSN") => self.dsn = true,
            _ => {}
        }
    }
}

/// The reply in an error of lettre's, if the server refused; its text is looked at for its code only.
fn refused(error: &Error) -> Option<Reply> {
    let code = u16::from(error.status()?);
    let text = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    Some(Reply { code, enhanced: enhanced(code, &text) })
}

fn turned_away(doing: &'static str, answer: Reply) -> NetError {
    let (service, code) = (Service::Smtp, answer.as_code());
    if answer.code == 421 {
        NetError::ServerSaidBye { service, doing, code }
    } else {
        NetError::ServerSaidNo { service, doing, code }
    }
}

/// The enhanced status code at the start of a text, if it agrees with the reply's code (RFC 2034).
fn enhanced(code: u16, text: &str) -> Option<Enhanced> {
    let mut parts = text.split_ascii_whitespace().next()?.split('.');
    let class: u8 = parts.next()?.parse().ok()?;
    let subject: u16 = parts.next()?.parse().ok().filter(|n| *n < 1000)?;
    let detail: u16 = parts.next()?.parse().ok().filter(|n| *n < 1000)?;
    (parts.next().is_none() && u16::from(class) == code / 100).then_some(Enhanced(class, subject, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn enhanced_codes_are_read_where_they_agree() {
        assert_eq!(enhanced(550, "5.1.1 <marie@example.org> unknown"), Some(Enhanced(5, 1, 1)));
        assert_eq!(enhanced(250, "5.1.1 x"), None);
        assert_eq!(enhanced(550, "No such user"), None);
    }

    #[test]
    fn extensions_are_read_in_any_case() {
        let mut extensions = Extensions::default();
        for line in [" ", "", "size 1000", "Pipelining"] {
            extensions.note(line);
        }
        assert!(extensions.pipelining);
        assert_eq!(extensions.size, Some(1000));
    }

    proptest! {
        #[test]
        fn no_reply_line_makes_it_panic(text in "\\PC{0,40}") {
            let _ = enhanced(550, &text);
            Extensions::default().note(&text);
        }
    }
}
