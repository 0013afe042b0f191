//! The conversation on a terminal: each answer with its default in brackets and one line of why.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{EXAMPLE_THERAPIST, InitError};
use crate::cli::args::Init;
use crate::model::Address;

/// What is typed without echo.
#[derive(Default)]
pub(super) struct Passwords {
    pub imap: Option<Zeroizing<Vec<u8>>>,
    pub smtp: Option<Zeroizing<Vec<u8>>>,
}

/// Says what is wrong with an answer, or nothing.
type Judge = fn(&str) -> Option<String>;

/// Asks for everything that no flag answered.
///
/// # Errors
/// [`InitError::Ended`] when the terminal goes away.
pub(super) fn complete(args: &mut Init) -> Result<Passwords, InitError> {
    println!("A new practice in {}. Return takes what stands in brackets.", args.dir.display());
    practice(args)?;
    frame(args)?;
    servers(args)?;
    let passwords = passwords(args)?;
    therapist(args)?;
    archive(args)?;
    Ok(passwords)
}

fn practice(args: &mut Init) -> Result<(), InitError> {
    heading("The practice");
    text(&mut args.name, "Name", "what clients see", "Cabinet Exemple", any)?;
    text(&mut args.address, "Address", "the one that clients write to; the key bears it", "", address)?;
    text(&mut args.language, "Language of letters (fr, en)", "of letters, where a person has none", "fr", language)?;
    text(&mut args.timezone, "Time zone", "slots and digests follow it", "Europe/Paris", zone)?;
    text(&mut args.country, "Country", "for public holidays and emergency lines", "FR", country)
}

fn frame(args: &mut Init) -> Result<(), InitError> {
    heading("The frame, as clients read it before they consent (it can be changed in the file)");
    let channel =
        "Par courriel, une lettre par jour ouvré, à 18 h ; ce qui arrive avant 7 h a sa réponse le soir même.";
    text(&mut args.channel, "Channel and rhythm", "the first of four elements", channel, any)?;
    text(&mut args.price, "Price and payment", "the second", "60 € par semaine, par virement en fin de semaine", any)?;
    text(&mut args.fallback, "The other way when the line breaks", "the third: a telephone", "", any)
}

fn servers(args: &mut Init) -> Result<(), InitError> {
    heading("The mailbox");
    let domain = args.address.as_deref().and_then(|address| address.rsplit_once('@')).map_or("", |(_, domain)| domain);
    let (imap, smtp) = (format!("imap.{domain}"), format!("smtp.{domain}"));
    let user = args.address.clone().unwrap_or_default();
    text(&mut args.imap_host, "IMAP server", "where letters arrive", &imap, any)?;
    text(&mut args.imap_tls, "TLS (implicit, starttls, none)", "none only on this machine", "implicit", tls)?;
    let usual = if args.imap_tls.as_deref() == Some("implicit") { 993 } else { 143 };
    port(&mut args.imap_port, "IMAP port", usual)?;
    text(&mut args.imap_username, "User name", "to log in with", &user, any)?;
    heading("Sending");
    text(&mut args.smtp_host, "SMTP server", "the submission server", &smtp, any)?;
    text(&mut args.smtp_tls, "TLS (implicit, starttls, none)", "none only on this machine", "implicit", tls)?;
    let usual = match args.smtp_tls.as_deref() {
        Some("starttls") => 587,
        Some("none") => 25,
        _ => 465,
    };
    port(&mut args.smtp_port, "SMTP port", usual)?;
    if args.smtp_tls.as_deref() != Some("none") {
        let user = args.imap_username.clone().unwrap_or(user);
        text(&mut args.smtp_username, "User name", "to log in with", &user, any)?;
    }
    Ok(())
}

fn passwords(args: &Init) -> Result<Passwords, InitError> {
    let mut asked = Passwords::default();
    if args.imap_password_file.is_none() {
        asked.imap = password("Password of the mailbox (not shown; empty: write it into imap.password later)")?;
    }
    if args.smtp_password_file.is_none() && args.smtp_username.is_some() {
        asked.smtp = password("Password for sending (not shown; empty: the same)")?;
    }
    Ok(asked)
}

fn therapist(args: &mut Init) -> Result<(), InitError> {
    heading("The therapist");
    text(&mut args.therapist, "Short name", "for commands and file names", EXAMPLE_THERAPIST, any)?;
    text(&mut args.therapist_name, "Name", "as clients know it", "Dr Exemple", any)?;
    text(&mut args.therapist_title, "Title", "the fourth element of the frame", "Psychologue clinicienne", any)?;
    text(&mut args.therapist_register, "Register number", "the same", "", any)?;
    text(&mut args.therapist_address, "Own address", "letters are passed on to it; clients never see it", "", address)?;
    let mut path = args.therapist_certificate.take().map(|path| path.display().to_string());
    let why = "file of the OpenPGP certificate (public key); - when you don't have it yet";
    text(&mut path, "Certificate", why, "-", file)?;
    args.therapist_certificate = path.filter(|path| path != "-").map(PathBuf::from);
    Ok(())
}

fn archive(args: &mut Init) -> Result<(), InitError> {
    if args.no_archive || args.archive_secret.is_some() {
        return Ok(());
    }
    heading("The archive key: reads everything when the therapist's key is lost");
    let here = args.dir.display().to_string();
    let mut path = None;
    let why = "where its secret is written, once: a USB stick is best; - for no archive key";
    text(&mut path, "Path", why, &here, any)?;
    match path.as_deref() {
        Some("-") => args.no_archive = true,
        Some(path) if path != here => args.archive_secret = Some(PathBuf::from(path)),
        _ => {}
    }
    Ok(())
}

fn heading(text: &str) {
    println!("\n{text}");
}

/// Asks until the answer is sound; does nothing where a flag has answered.
fn text(answer: &mut Option<String>, what: &str, why: &str, default: &str, judge: Judge) -> Result<(), InitError> {
    if answer.is_some() {
        return Ok(());
    }
    loop {
        let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
        print!("  {what} ({why}){shown}: ");
        let _ = std::io::stdout().flush();
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => return Err(InitError::Ended),
            Ok(_) => {}
        }
        let typed = line.trim();
        let typed = if typed.is_empty() { default } else { typed };
        let fault = if typed.is_empty() { Some("an answer is needed".to_owned()) } else { judge(typed) };
        match fault {
            Some(fault) => println!("    {fault}"),
            None => {
                *answer = Some(typed.to_owned());
                return Ok(());
            }
        }
    }
}

fn port(answer: &mut Option<u16>, what: &str, default: u16) -> Result<(), InitError> {
    let mut typed = answer.map(|port| port.to_string());
    let judge: Judge = |text| {
        text.parse::<u16>().ok().filter(|port| *port > 0).is_none().then(|| "a number from 1 to 65535".to_owned())
    };
    text(&mut typed, what, "as your provider says", &default.to_string(), judge)?;
    *answer = typed.and_then(|port| port.parse().ok());
    Ok(())
}

fn password(prompt: &str) -> Result<Option<Zeroizing<Vec<u8>>>, InitError> {
    let typed = Zeroizing::new(rpassword::prompt_password(format!("  {prompt}: ")).map_err(|_| InitError::Ended)?);
    Ok((!typed.is_empty()).then(|| Zeroizing::new(typed.as_bytes().to_vec())))
}

fn any(_: &str) -> Option<String> {
    None
}

fn address(text: &str) -> Option<String> {
    Address::parse(text).err().map(|_| "a bare address, such as name@example.org".to_owned())
}

fn language(text: &str) -> Option<String> {
    (!["fr", "en"].contains(&text)).then(|| "fr or en".to_owned())
}

fn tls(text: &str) -> Option<String> {
    (!["implicit", "starttls", "none"].contains(&text)).then(|| "implicit, starttls or none".to_owned())
}

fn zone(text: &str) -> Option<String> {
    text.parse::<chrono_tz::Tz>().err().map(|_| "continent and city, such as Europe/Paris".to_owned())
}

fn country(text: &str) -> Option<String> {
    let sound = text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic());
    (!sound).then(|| "two letters, such as FR".to_owned())
}

fn file(text: &str) -> Option<String> {
    (text != "-" && !std::path::Path::new(text).is_file()).then(|| "there is no such file".to_owned())
}
