//! From a host name to a logged-in session.

use std::collections::HashSet;

use async_imap::error::Error;
use async_imap::imap_proto::{MailboxDatum, Response, ResponseCode, Status};
use async_imap::{Authenticator, Client, Session};
use zeroize::Zeroizing;

use super::conn::{Connection, MAX_TEXT, NonSync, answer, before_login, code_in};
use super::{Capabilities, ImapSession, News};
use crate::net::error::{Code, NetError, Service, TlsProblem};
use crate::net::tls::{Io, dial, protect};
use crate::net::transport::Transport;
use crate::net::{ImapSettings, Secret, Tls};

impl ImapSession {
    /// Dials, protects, logs in, and learns capabilities, delimiter and prefix.
    ///
    /// # Errors
    /// `Connect`, `Tls`, `Refused` (the log-in), and what any command can say.
    pub async fn connect(settings: &ImapSettings) -> Result<Self, NetError> {
        let times = settings.timeouts;
        let clear = settings.tls == Tls::None;
        let tcp = dial(Service::Imap, &settings.host, settings.port, clear, times.connect).await?;
        let ca = settings.ca_file.as_deref();
        let over = |stream: Box<dyn Io>| protect(Service::Imap, &settings.host, ca, stream, times.connect);
        let new = |stream| Transport::new(stream, times.command, MAX_TEXT);
        let mut stream: Box<dyn Io> = Box::new(tcp);
        if settings.tls == Tls::Implicit {
            stream = over(stream).await?;
        }
        let mut transport = new(stream);
        if settings.tls == Tls::StartTls {
            transport = transport.by_line();
        }
        let mut client = Client::new(transport);
        let mut told = greeting(&mut client).await?;
        if settings.tls == Tls::StartTls {
            if !offered(&mut client, told.take()).await?.starttls {
                return Err(NetError::Tls { service: Service::Imap, problem: TlsProblem::NoStartTls });
            }
            before_login(&mut client, "STARTTLS", &mut |_| {}).await?;
            // What was said in clear may be anybody's word (RFC 2595 section 3.1): forget it with the client.
            let stream = client.into_inner().into_stream(Service::Imap)?;
            client = Client::new(new(over(stream).await?));
        }
        let caps = offered(&mut client, told).await?;
        let session = log_in(client, caps, settings).await?;
        let mut conn = Connection::new(session, settings.max_literal, times.command);
        let mut capabilities = Capabilities::default();
        conn.ok("CAPABILITY", "CAPABILITY", |answer| {
            if let Response::Capabilities(words) = answer {
                capabilities = Capabilities::read(words);
            }
        })
        .await?;
        conn.non_sync = match capabilities {
            Capabilities { literal_plus: true, .. } => NonSync::Always,
            Capabilities { literal_minus: true, .. } => NonSync::Short,
            _ => NonSync::Never,
        };
        let (prefix, delimiter) = place(&mut conn, capabilities).await?;
        Ok(Self {
            settings: settings.clone(),
            conn,
            capabilities,
            delimiter,
            prefix,
            selected: None,
            news: News::default(),
            marked: None,
            known: HashSet::new(),
        })
    }
}

/// Reads the greeting: capabilities, if told.
async fn greeting(client: &mut Client<Transport>) -> Result<Option<Capabilities>, NetError> {
    let mut hello = None;
    answer(client, "greeting", None, &mut |answer| {
        if let Response::Data { status, outcome } = answer {
            let told = match &outcome.code {
                Some(ResponseCode::Capabilities(words)) => Some(Capabilities::read(words)),
                _ => None,
            };
            hello = Some((*status == Status::Ok, told));
        }
    })
    .await?;
    match hello {
        Some((true, told)) => Ok(told),
        // PREAUTH: nobody but a tunnel says so, and then anybody might.
        Some(_) => Err(unsupported("it does not greet like a server that waits for a log-in")),
        None => Err(NetError::Protocol {
            service: Service::Imap,
            doing: "greeting",
            what: "this is no IMAP greeting; check `port`",
        }),
    }
}

/// The capabilities before log-in: told already, or asked for.
async fn offered(client: &mut Client<Transport>, told: Option<Capabilities>) -> Result<Capabilities, NetError> {
    if let Some(told) = told {
        return Ok(told);
    }
    let mut caps = Capabilities::default();
    before_login(client, "CAPABILITY", &mut |answer| {
        if let Response::Capabilities(words) = answer {
            caps = Capabilities::read(words);
        }
    })
    .await?;
    Ok(caps)
}

/// One message of ours; a second invitation carries an error, to be acknowledged with an empty line
/// (as XOAUTH2 does).
struct Once(Zeroizing<String>);

impl Authenticator for Once {
    type Response = Zeroizing<String>;

    fn process(&mut self, _challenge: &[u8]) -> Self::Response {
        std::mem::take(&mut self.0)
    }
}

/// Logs in with the safest way that the server offers.
async fn log_in(
    client: Client<Transport>,
    caps: Capabilities,
    settings: &ImapSettings,
) -> Result<Session<Transport>, NetError> {
    let transport = client.get_ref().clone();
    let user = &settings.username;
    let outcome = match &settings.secret {
        Secret::XOauth2(_) if !caps.auth_xoauth2 => {
            return Err(unsupported("it offers no XOAUTH2; use a password"));
        }
        Secret::XOauth2(token) => {
            let text = format!("user={user}\x01auth=Bearer {}\x01\x01", token.reveal());
            client.authenticate("XOAUTH2", Once(Zeroizing::new(text))).await
        }
        Secret::Password(password) if caps.auth_plain => {
            let text = format!("\0{user}\0{}", password.reveal());
            client.authenticate("PLAIN", Once(Zeroizing::new(text))).await
        }
        Secret::Password(_) if caps.login_disabled => {
            return Err(unsupported("it takes no password on this connection; use `tls = \"implicit\"`"));
        }
        Secret::Password(password) => client.login(user, password.reveal()).await,
    };
    outcome.map_err(|(error, _)| match error {
        Error::No(text) | Error::Bad(text) => refusal(said(&text)),
        Error::Validate(_) => unsupported("user name and password can't hold line ends"),
        _ => transport.failure(Service::Imap, "LOGIN"),
    })
}

/// The code in what async-imap tells of a refusal: `code: None, info: Some("[AUTHENTICATIONFAILED] …")`.
fn said(text: &str) -> Option<&'static str> {
    code_in(text.split_once("info: Some(\"")?.1)
}

fn unsupported(what: &'static str) -> NetError {
    NetError::Unsupported { service: Service::Imap, what }
}

/// A refused log-in is final unless the server says that it is its own trouble (RFC 5530).
fn refusal(word: Option<&'static str>) -> NetError {
    match word {
        Some("UNAVAILABLE" | "INUSE" | "LIMIT" | "SERVERBUG" | "CONTACTADMIN") => {
            NetError::ServerSaidNo { service: Service::Imap, doing: "LOGIN", code: Code::Imap(word) }
        }
        _ => NetError::Refused { service: Service::Imap, code: Code::Imap(word) },
    }
}

/// The personal namespace's prefix and delimiter (RFC 2342), else what LIST says.
async fn place(conn: &mut Connection, caps: Capabilities) -> Result<(String, Option<char>), NetError> {
    if caps.namespace
        && let Some(found) = conn.namespace().await?
    {
        return Ok(found);
    }
    let mut delimiter = None;
    conn.ok("LIST", "LIST \"\" \"\"", |answer| {
        if let Response::MailboxData(MailboxDatum::List(data)) = answer {
            let mut chars = data.delimiter.as_deref().unwrap_or_default().chars();
            delimiter = chars.next().filter(|_| chars.next().is_none());
        }
    })
    .await?;
    Ok((String::new(), delimiter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_refused_log_in_is_found_in_what_the_crate_tells() {
        assert_eq!(said("code: None, info: Some(\"[LIMIT] marie\")"), Some("LIMIT"));
        assert_eq!(said("code: None, info: Some(\"marie\")"), None);
    }
}
