//! The mailbox: known settings, published settings, and the log-ins tried before anything is written.

use std::time::Duration;

use super::ask::{Question, Screen};
use super::{InitError, Passwords};
use crate::cli::args::Init;
use crate::cli::progress::Spinner;
use crate::net::autoconfig::{self, Server};
use crate::net::providers::{self, Needs, Provider};
use crate::net::{
    Credentials, ImapSession, ImapSettings, MAX_LITERAL, NetError, Secret, SmtpConnection, SmtpSettings, Timeouts, Tls,
};
use crate::secret::Password;

/// Somebody waits in front of the screen.
const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(10), command: Duration::from_secs(20), after_dot: Duration::from_secs(20) };
/// What is typed where the list has no name for it.
const OTHER: &str = "other";

/// Fills in the servers that no flag named: from the list of providers, else from what the domain publishes.
/// Gives the provider where it is known: it says what a refused log-in means.
///
/// # Errors
/// [`InitError::Ended`] when the terminal goes away, [`InitError::NoImap`] for a provider that can't be used.
pub(super) async fn find(args: &mut Init, screen: &Screen) -> Result<Option<Provider>, InitError> {
    let Some(address) = args.address.clone() else { return Ok(None) };
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain).to_owned();
    if args.imap_host.is_some() && args.smtp_host.is_some() {
        return Ok(args.provider.as_deref().and_then(providers::by_name).or_else(|| providers::by_domain(&domain)));
    }
    screen.heading("The mail provider");
    let known = match &args.provider {
        Some(name) => providers::by_name(name),
        None => match providers::by_domain(&domain) {
            Some(provider) => {
                screen.good(&format!("{domain} belongs to {}.", provider.name));
                Some(provider)
            }
            None => named(screen)?,
        },
    };
    if let Some(provider) = known {
        let Some((imap, smtp)) = provider.servers(&address) else {
            return Err(InitError::NoImap { why: provider.note });
        };
        if !provider.note.is_empty() {
            screen.say(&provider.note);
        }
        if provider.verified_on.is_none() {
            screen.say("These settings were compared with no published source: the log-in will tell.");
        }
        offer(args, &imap, &smtp, screen)?;
        return Ok(Some(provider));
    }
    if !args.no_lookup {
        published(args, &address, &domain, screen).await?;
    }
    Ok(None)
}

/// In scripts: the servers of the provider that a flag names.
///
/// # Errors
/// [`InitError::NoProvider`], [`InitError::NoImap`].
pub(super) fn by_flag(args: &mut Init) -> Result<(), InitError> {
    let Some(name) = args.provider.clone().filter(|name| name != OTHER) else { return Ok(()) };
    let provider = providers::by_name(&name).ok_or(InitError::NoProvider)?;
    let address = args.address.clone().unwrap_or_else(|| super::EXAMPLE_ADDRESS.to_owned());
    let Some((imap, smtp)) = provider.servers(&address) else { return Err(InitError::NoImap { why: provider.note }) };
    take(args, &imap, &smtp);
    Ok(())
}

/// The provider that somebody names; none for `other`.
fn named(screen: &Screen) -> Result<Option<Provider>, InitError> {
    let ids: Vec<String> = providers::all().into_iter().map(|provider| provider.id).collect();
    let example = format!("{}, or {OTHER}", ids.join(", "));
    let question = Question {
        name: "Provider",
        why: "Who runs the mailbox: a name such as ovh, gandi or infomaniak gives its settings; ? lists them.",
        example: &example,
        default: Some(OTHER.to_owned()),
        without: None,
    };
    let judge = |typed: &str| match typed == OTHER || providers::by_name(typed).is_some() {
        true => Ok(()),
        false => {
            let near = crate::config::nearest(typed, ids.iter().map(String::as_str));
            let guess = near.map_or(String::new(), |near| format!("did you mean {near}? "));
            Err(("no provider of this name is known".to_owned(), format!("{guess}? lists them; else type {OTHER}")))
        }
    };
    screen.ask(&question, judge).map(|typed| providers::by_name(&typed))
}

/// Asks the domain, if that is wished for.
async fn published(args: &mut Init, address: &str, domain: &str, screen: &Screen) -> Result<(), InitError> {
    let why = format!(
        "The domain may publish its settings. Asking autoconfig.{domain} and {domain} over HTTPS tells them that somebody \
         here sets up one of their mailboxes; which one isn't sent."
    );
    if !screen.agree("Ask for them", &why)? {
        return Ok(());
    }
    let ca_file = args.ca_file.as_ref().and_then(|path| std::fs::read(path).ok());
    let spinner = Spinner::new(false, "asking for the settings");
    let found = autoconfig::look_up(&autoconfig::places(domain), address, ca_file.as_deref()).await;
    drop(spinner);
    match found {
        Some(found) => {
            screen.good(&format!("{} publishes settings.", found.by));
            if found.oauth_only {
                screen.say("It takes no password: a command that prints a token (XOAUTH2) is needed, --token-command.");
            }
            offer(args, &found.imap, &found.smtp, screen)
        }
        None => {
            screen.say("Nothing is published there: your provider's help pages name the servers.");
            Ok(())
        }
    }
}

/// Shows the settings, and takes them if they are wanted; a flag's answer stays.
fn offer(args: &mut Init, imap: &Server, smtp: &Server, screen: &Screen) -> Result<(), InitError> {
    let shown = |server: &Server| format!("{} port {}, {}", server.host, server.port, word(server.tls));
    screen.say(&format!("IMAP {}; user name {}", shown(imap), imap.username));
    screen.say(&format!("SMTP {}; user name {}", shown(smtp), smtp.username));
    if !screen.agree("Take these", "With \"no\" each is asked for; all can be changed at the end too.")? {
        return Ok(());
    }
    take(args, imap, smtp);
    Ok(())
}

/// Fills in what no flag named.
fn take(args: &mut Init, imap: &Server, smtp: &Server) {
    let text = |slot: &mut Option<String>, value: &str| {
        slot.get_or_insert_with(|| value.to_owned());
    };
    text(&mut args.imap_host, &imap.host);
    text(&mut args.imap_tls, word(imap.tls));
    text(&mut args.imap_username, &imap.username);
    args.imap_port.get_or_insert(imap.port);
    text(&mut args.smtp_host, &smtp.host);
    text(&mut args.smtp_tls, word(smtp.tls));
    text(&mut args.smtp_username, &smtp.username);
    args.smtp_port.get_or_insert(smtp.port);
}

const fn word(tls: Tls) -> &'static str {
    match tls {
        Tls::Implicit => "implicit",
        Tls::StartTls => "starttls",
        Tls::None => "none",
    }
}

fn tls(text: Option<&str>) -> Tls {
    match text {
        Some("starttls") => Tls::StartTls,
        Some("none") => Tls::None,
        _ => Tls::Implicit,
    }
}

/// What is typed without echo, asked where no flag names a file.
///
/// # Errors
/// [`InitError::Ended`] when the terminal goes away.
pub(super) fn passwords(args: &Init, screen: &Screen, known: &mut Passwords) -> Result<(), InitError> {
    if args.token_command.is_some() {
        return Ok(());
    }
    if args.imap_password_file.is_none() {
        let why = "It goes into a file that only this user can read. Empty: write it into imap.password later.";
        known.imap = screen.secret("Password of the mailbox", why)?;
    }
    let sends = args.smtp_tls.as_deref() != Some("none") || args.smtp_username.is_some();
    if args.smtp_password_file.is_none() && sends {
        known.smtp = screen.secret("Password for sending", "Empty: the same.")?;
    }
    Ok(())
}

/// Tries both log-ins and shows what is wrong; true when nothing is.
///
/// # Errors
/// [`InitError`] for a file that can't be read.
pub(super) async fn log_ins(
    args: &Init,
    known: &Passwords,
    provider: Option<&Provider>,
    screen: &Screen,
) -> Result<bool, InitError> {
    let Some((imap, smtp)) = settings(args, known).await? else {
        screen.say("The log-ins aren't tried: there is no password yet. `cadre check` will.");
        return Ok(true);
    };
    let spinner = Spinner::new(false, "trying the log-ins");
    let receives = async {
        let session = ImapSession::connect(&imap).await?;
        session.logout().await;
        Ok::<_, NetError>(())
    };
    let sends = async {
        let connection = SmtpConnection::connect(&smtp).await?;
        connection.quit().await;
        Ok::<_, NetError>(())
    };
    let (received, sent) = tokio::join!(receives, sends);
    drop(spinner);
    let mut sound = true;
    for (what, outcome) in [("The mailbox (IMAP)", received), ("Sending (SMTP)", sent)] {
        match outcome {
            Ok(()) => screen.good(&format!("{what}: connected and logged in.")),
            Err(error) => {
                sound = false;
                let (cause, remedy) = advice(&error, provider);
                screen.wrong(&format!("{what}: {cause}"), &remedy);
            }
        }
    }
    Ok(sound)
}

/// What the error means, and what to do about it here.
fn advice(error: &NetError, provider: Option<&Provider>) -> (String, String) {
    let text = error.to_string();
    let (cause, remedy) = text.split_once("; ").unwrap_or((&text, "try again; if it stays, ask the provider"));
    let remedy = match error {
        NetError::Refused { .. } => match provider {
            Some(provider) if provider.needs(Needs::Oauth) => {
                format!("{} takes no password: {}", provider.name, provider.note)
            }
            Some(provider) if provider.needs(Needs::AppPassword) => {
                format!("{} refuses the account's ordinary password: {}", provider.name, provider.note)
            }
            Some(provider) if provider.needs(Needs::SwitchOn) => {
                format!("type user name and password again; or it has to be allowed first: {}", provider.note)
            }
            _ => "type user name and password again; where the account has a second factor, make an application password \
                  at the provider"
                .to_owned(),
        },
        NetError::Connect { .. } | NetError::Unresolved { .. } | NetError::Timeout { .. } => {
            format!("{remedy}; see that this machine may reach it (firewall, network)")
        }
        _ => remedy.to_owned(),
    };
    (cause.to_owned(), remedy)
}

/// What the adapters need; none while a password is missing.
async fn settings(args: &Init, known: &Passwords) -> Result<Option<(ImapSettings, SmtpSettings)>, InitError> {
    let ca_file = args.ca_file.as_deref().map(super::read).transpose()?;
    let password = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        Secret::Password(Password::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    };
    let from = |file: &Option<std::path::PathBuf>, typed: &Option<zeroize::Zeroizing<Vec<u8>>>| match file {
        Some(path) => super::read_secret(path).map(|bytes| Some(password(&bytes))),
        None => Ok(typed.as_ref().map(|bytes| password(bytes))),
    };
    let (imap_secret, smtp_secret) = match &args.token_command {
        Some(command) => {
            let token = token(command).await?;
            (Some(token.clone()), Some(token))
        }
        None => {
            let imap = from(&args.imap_password_file, &known.imap)?;
            let smtp = from(&args.smtp_password_file, &known.smtp)?.or_else(|| imap.clone());
            (imap, smtp)
        }
    };
    let (Some(imap_secret), Some(smtp_secret)) = (imap_secret, smtp_secret) else { return Ok(None) };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let imap_tls = tls(args.imap_tls.as_deref());
    let imap = ImapSettings {
        host: text(&args.imap_host),
        port: args.imap_port.unwrap_or(993),
        tls: imap_tls,
        username: text(&args.imap_username),
        secret: imap_secret,
        ca_file: ca_file.clone(),
        timeouts: TIMEOUTS,
        max_literal: MAX_LITERAL,
    };
    let smtp_tls = tls(args.smtp_tls.as_deref());
    let logs_in = args.smtp_username.is_some() || smtp_tls != Tls::None || args.smtp_password_file.is_some();
    let username = args.smtp_username.clone().unwrap_or_else(|| text(&args.imap_username));
    let smtp = SmtpSettings {
        host: text(&args.smtp_host),
        port: args.smtp_port.unwrap_or(465),
        tls: smtp_tls,
        credentials: logs_in.then_some(Credentials { username, secret: smtp_secret }),
        ca_file,
        timeouts: TIMEOUTS,
    };
    Ok(Some((imap, smtp)))
}

/// What the command prints.
async fn token(command: &str) -> Result<Secret, InitError> {
    let method = crate::config::LoginMethod::XOAuth2 { token_command: command.to_owned() };
    let login = crate::config::Login { username: String::new(), method };
    login.secret().await.map(Secret::XOauth2).map_err(|error| InitError::Token(error.to_string()))
}
