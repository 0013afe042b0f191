//! A mailbox's settings as its domain publishes them, in Mozilla's format (`config-v1.1.xml`).
//!
//! Asked over TLS only, bounded in time and size. The name before the `@` is never sent: only the domain is learnt.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;

use super::tls::{Io, dial, protect};
use super::{Service, Tls};

/// For one answer, everything included.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest known file has 6 kB.
const LARGEST: u64 = 64 << 10;
/// Providers send from one name to the other.
const REDIRECTS: usize = 3;

/// A server as somebody says that it is to be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    pub username: String,
}

/// What a domain publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The host that said so.
    pub by: String,
    pub imap: Server,
    pub smtp: Server,
    /// It takes no password, only tokens.
    pub oauth_only: bool,
}

/// Where a file may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub host: String,
    pub port: u16,
    pub path: String,
}

/// The places that a domain's owner uses, the first first.
pub fn places(domain: &str) -> [Place; 2] {
    let port = https();
    let place = |host: String, path: &str| Place { host, port, path: path.to_owned() };
    [
        place(format!("autoconfig.{domain}"), "/mail/config-v1.1.xml"),
        place(domain.to_owned(), "/.well-known/autoconfig/mail/config-v1.1.xml"),
    ]
}

/// The port of HTTPS; with `CADRE_AUTOCONFIG_PORT` a test's own, which needn't be root for it.
fn https() -> u16 {
    #[cfg(debug_assertions)]
    if let Some(port) = std::env::var("CADRE_AUTOCONFIG_PORT").ok().and_then(|port| port.parse().ok()) {
        return port;
    }
    443
}

/// The first sound file of these places, for this address; `ca_file` is an extra root certificate, PEM.
/// Whatever goes wrong means that nothing is published there.
pub async fn look_up(places: &[Place], address: &str, ca_file: Option<&[u8]>) -> Option<Published> {
    for place in places {
        let Ok(Some((by, text))) = timeout(PATIENCE, get(place.clone(), ca_file)).await else { continue };
        if let Some((imap, smtp, oauth_only)) = parse(&text, address) {
            return Some(Published { by, imap, smtp, oauth_only });
        }
    }
    None
}

/// The file, and the host that gave it.
async fn get(mut place: Place, ca_file: Option<&[u8]>) -> Option<(String, String)> {
    for _ in 0..=REDIRECTS {
        let answer = ask(&place, ca_file).await?;
        let (head, body) = answer.split_once("\r\n\r\n").or_else(|| answer.split_once("\n\n"))?;
        match head.split_whitespace().nth(1)? {
            "200" => return Some((place.host, body.to_owned())),
            "301" | "302" | "303" | "307" | "308" => {
                let header = |line: &str| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
                };
                place = target(&head.lines().find_map(header)?, &place)?;
            }
            _ => return None,
        }
    }
    None
}

/// One question over HTTP 1.0, which has no chunks (RFC 1945).
async fn ask(place: &Place, ca_file: Option<&[u8]>) -> Option<String> {
    // The service is only named in errors, which are dropped here.
    let tcp = dial(Service::Imap, &place.host, place.port, false, PATIENCE).await.ok()?;
    let tcp: Box<dyn Io> = Box::new(tcp);
    let mut stream = protect(Service::Imap, &place.host, ca_file, tcp, PATIENCE).await.ok()?;
    let question = format!(
        "GET {} HTTP/1.0\r\nHost: {}\r\nAccept: application/xml, text/xml\r\nConnection: close\r\n\r\n",
        place.path, place.host
    );
    stream.write_all(question.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    let mut bytes = Vec::new();
    match stream.take(LARGEST + 1).read_to_end(&mut bytes).await {
        Ok(_) => {}
        // Servers that leave without a word of TLS are common; a file that was cut is no XML.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
        Err(_) => return None,
    }
    if bytes.len() as u64 > LARGEST { None } else { String::from_utf8(bytes).ok() }
}

/// Where a redirection leads: TLS again, or nowhere.
fn target(location: &str, from: &Place) -> Option<Place> {
    let place = match location.strip_prefix("https://") {
        Some(rest) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let (host, port) = host.rsplit_once(':').unwrap_or((host, "443"));
            Place { host: host.to_owned(), port: port.parse().ok()?, path: format!("/{path}") }
        }
        None if location.starts_with('/') && !location.starts_with("//") => {
            Place { path: location.to_owned(), ..from.clone() }
        }
        None => return None,
    };
    let sound = is_host(&place.host) && place.path.bytes().all(|b| b.is_ascii_graphic());
    sound.then_some(place)
}

fn is_host(text: &str) -> bool {
    ServerName::try_from(text).is_ok()
}

/// IMAP, SMTP, and whether only tokens are taken: the first servers of the file that are protected.
pub fn parse(xml: &str, address: &str) -> Option<(Server, Server, bool)> {
    // Entities and external definitions are refused: nothing of the format needs them.
    let document = roxmltree::Document::parse(xml.trim_start_matches('\u{feff}').trim_start()).ok()?;
    let provider = document.root_element().children().find(|node| node.has_tag_name("emailProvider"))?;
    let server = |tag: &str, kind: &str| {
        let nodes = || provider.children().filter(|n| n.has_tag_name(tag) && n.attribute("type") == Some(kind));
        // TLS from the first byte where it is offered (RFC 8314).
        let found = |tls| nodes().find_map(|node| read(node, address).filter(|(server, _)| server.tls == tls));
        found(Tls::Implicit).or_else(|| found(Tls::StartTls))
    };
    let (imap, imap_tokens) = server("incomingServer", "imap")?;
    let (smtp, smtp_tokens) = server("outgoingServer", "smtp")?;
    Some((imap, smtp, imap_tokens || smtp_tokens))
}

/// One server, if it can be used, and whether it takes nothing but tokens.
fn read(node: roxmltree::Node<'_, '_>, address: &str) -> Option<(Server, bool)> {
    let (local, domain) = address.rsplit_once('@')?;
    let texts = |tag: &'static str| {
        node.children().filter(move |n| n.has_tag_name(tag)).filter_map(|n| n.text()).map(str::trim)
    };
    let filled = |text: &str| {
        text.replace("%EMAILADDRESS%", address).replace("%EMAILLOCALPART%", local).replace("%EMAILDOMAIN%", domain)
    };
    let tls = match texts("socketType").next()? {
        "SSL" => Tls::Implicit,
        "STARTTLS" => Tls::StartTls,
        _ => return None,
    };
    let host = filled(texts("hostname").next()?);
    let port = texts("port").next()?.parse().ok().filter(|port| *port > 0)?;
    let username = texts("username").next().map_or_else(|| address.to_owned(), filled);
    let sound = is_host(&host) && !username.chars().any(char::is_control);
    let mut ways = texts("authentication").peekable();
    let tokens = ways.peek().is_some() && ways.all(|way| way == "OAuth2");
    sound.then_some((Server { host, port, tls, username }, tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "ecrire@cabinet.example";

    fn file(incoming: &str, outgoing: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clientConfig version=\"1.1\">\n<emailProvider \
             id=\"cabinet.example\"><domain>cabinet.example</domain><displayName>Cabinet</displayName>{incoming}{outgoing}\
             <documentation url=\"https://cabinet.example/\"/></emailProvider></clientConfig>"
        )
    }

    fn server(tag: &str, kind: &str, host: &str, port: &str, tls: &str, user: &str, auth: &str) -> String {
        format!(
            "<{tag} type=\"{kind}\">\n <hostname> {host} </hostname><port>{port}</port><socketType>{tls}</socketType>\
             <username>{user}</username><authentication>{auth}</authentication></{tag}>"
        )
    }

    fn imap(tls: &str) -> String {
        server("incomingServer", "imap", "imap.%EMAILDOMAIN%", "993", tls, "%EMAILADDRESS%", "password-cleartext")
    }

    fn smtp(auth: &str) -> String {
        server("outgoingServer", "smtp", "smtp.example.org", "587", "STARTTLS", "%EMAILLOCALPART%", auth)
    }

    #[test]
    fn a_file_names_both_servers() {
        let pop = server("incomingServer", "pop3", "pop.example.org", "995", "SSL", "u", "password-cleartext");
        let (found, sends, tokens) =
            parse(&file(&(pop + &imap("STARTTLS") + &imap("SSL")), &smtp("password-cleartext")), ADDRESS).unwrap();
        assert_eq!((found.host.as_str(), found.port, found.tls), ("imap.cabinet.example", 993, Tls::Implicit));
        assert_eq!((found.username.as_str(), sends.username.as_str()), (ADDRESS, "ecrire"));
        assert_eq!((sends.port, sends.tls, tokens), (587, Tls::StartTls, false));
        assert!(parse(&file(&imap("SSL"), &smtp("OAuth2")), ADDRESS).unwrap().2);
    }

    #[test]
    fn what_cant_be_used_is_nothing() {
        let good = smtp("password-cleartext");
        assert!(parse(&file(&imap("plain"), &good), ADDRESS).is_none(), "in clear");
        assert!(parse(&file("", &good), ADDRESS).is_none());
        assert!(parse("<html><body>Not found", ADDRESS).is_none());
        let odd = server("incomingServer", "imap", "imap.example.org/..", "993", "SSL", "u", "x");
        assert!(parse(&file(&odd, &good), ADDRESS).is_none());
        let port = server("incomingServer", "imap", "imap.example.org", "70000", "SSL", "u", "x");
        assert!(parse(&file(&port, &good), ADDRESS).is_none());
        let bomb = format!("<!DOCTYPE x [<!ENTITY a \"{}\">]>{}", "a".repeat(100), file(&imap("SSL"), &good));
        assert!(parse(&bomb, ADDRESS).is_none());
    }

    #[test]
    fn nothing_but_the_domain_is_asked_for_and_only_over_tls() {
        for place in places("cabinet.example") {
            assert!(!format!("{}{}", place.host, place.path).contains("ecrire") && place.port == 443, "{place:?}");
        }
        let from = places("cabinet.example")[0].clone();
        assert_eq!(target("/other.xml", &from).unwrap().path, "/other.xml");
        assert_eq!(target("https://isp.example:8443/a.xml", &from).unwrap().port, 8443);
        for bad in ["http://isp.example/a.xml", "//isp.example/a", "ftp://x/", "https://a b/c", "https:///x"] {
            assert!(target(bad, &from).is_none(), "{bad}");
        }
    }
}
