//! The conversation: every question that no flag answered, the log-ins tried, and a last look before anything is written.

use std::path::{Path, PathBuf};

use super::ask::{Question, Screen};
use super::fields::{FIELDS, Field, Part};
use super::{InitError, Passwords, mailbox};
use crate::cli::args::Init;
use crate::net::providers::Provider;

/// Asks for everything that no flag answered.
///
/// # Errors
/// [`InitError`]; nothing was written.
pub(super) async fn complete(args: &mut Init) -> Result<Passwords, InitError> {
    let screen = Screen::new();
    screen.heading(&format!("A new practice in {}", args.dir.display()));
    screen.say(
        "Enter takes what stands in brackets; ? explains; Ctrl-C ends. Nothing is written before the last question, and \
         every answer can be changed there.",
    );
    part(args, Part::Practice, &screen)?;
    let provider = mailbox::find(args, &screen).await?;
    part(args, Part::Servers, &screen)?;
    let mut passwords = Passwords::default();
    screen.heading("The log-ins");
    mailbox::passwords(args, &screen, &mut passwords)?;
    tried(args, &mut passwords, provider.as_ref(), &screen).await?;
    for after in [Part::Therapist, Part::Frame, Part::Operator] {
        part(args, after, &screen)?;
    }
    archive(args, &screen)?;
    last_look(args, &mut passwords, provider.as_ref(), &screen).await?;
    Ok(passwords)
}

/// The questions of one part that are still open.
fn part(args: &mut Init, part: Part, screen: &Screen) -> Result<(), InitError> {
    let mut said = false;
    for field in FIELDS.iter().filter(|field| field.part == part) {
        if field.answer(args).is_some() || !field.applies(args) {
            continue;
        }
        if !said {
            screen.heading(part.title());
            said = true;
        }
        field.ask(args, screen)?;
    }
    Ok(())
}

/// Tries the log-ins until they succeed, or somebody goes on without.
async fn tried(
    args: &mut Init,
    passwords: &mut Passwords,
    provider: Option<&Provider>,
    screen: &Screen,
) -> Result<(), InitError> {
    if args.no_try {
        return Ok(());
    }
    while !mailbox::log_ins(args, passwords, provider, screen).await? {
        let question = Question {
            name: "password, servers, again or leave",
            why: "Type the password again, change the servers, try again, or leave it as it is and go on.",
            example: "password",
            default: Some("password".to_owned()),
            without: None,
        };
        let words = ["password", "servers", "again", "leave"];
        let judge = |typed: &str| match words.contains(&typed) {
            true => Ok(()),
            false => Err(("that is none of the four words".to_owned(), format!("type one of {}", words.join(", ")))),
        };
        match screen.ask(&question, judge)?.as_str() {
            "password" => mailbox::passwords(args, screen, passwords)?,
            "servers" => {
                for field in FIELDS.iter().filter(|field| field.part == Part::Servers) {
                    if field.applies(args) {
                        field.ask(args, screen)?;
                    }
                }
            }
            "again" => {}
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Where the archive key's secret goes.
fn archive(args: &mut Init, screen: &Screen) -> Result<(), InitError> {
    if args.no_archive || args.archive_secret.is_some() {
        return Ok(());
    }
    screen.heading(Part::Archive.title());
    let here = args.dir.display().to_string();
    let question = Question {
        name: "Path",
        why: "Where its secret is written, once: a USB stick is best, since it must not stay on this machine. - for none.",
        example: "/media/usb",
        default: Some(here.clone()),
        without: Some("when the therapist's key is lost, what is filed can never be read again"),
    };
    let path = screen.ask(&question, |typed| if typed == here { Ok(()) } else { may_be_made(Path::new(typed)) })?;
    match path {
        none if none.is_empty() => args.no_archive = true,
        path if path != here => args.archive_secret = Some(PathBuf::from(path)),
        _ => {}
    }
    Ok(())
}

/// A folder that is there, or a new file in one.
fn may_be_made(path: &Path) -> Result<(), (String, String)> {
    if path.is_dir() {
        return Ok(());
    }
    let wrong = |cause: &str, remedy: &str| Err((cause.to_owned(), remedy.to_owned()));
    if path.symlink_metadata().is_ok() {
        return wrong("there is such a file already, and nothing is overwritten", "write another name");
    }
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) if !folder.is_dir() => {
            wrong("there is no such folder", "plug the stick in, or write another path, such as /media/usb")
        }
        _ => Ok(()),
    }
}

/// Shows every answer with its number, and changes what is wanted.
async fn last_look(
    args: &mut Init,
    passwords: &mut Passwords,
    provider: Option<&Provider>,
    screen: &Screen,
) -> Result<(), InitError> {
    loop {
        screen.heading("What will be written");
        let fields: Vec<&Field> = FIELDS.iter().filter(|field| field.applies(args)).collect();
        let mut last = None;
        for (nth, field) in fields.iter().enumerate() {
            if last != Some(field.part) {
                screen.say(field.part.title());
                last = Some(field.part);
            }
            let answer = field.answer(args).filter(|answer| !answer.is_empty()).unwrap_or_else(|| "(empty)".to_owned());
            println!("{}", screen.folded(4, &format!("{:>2} {}: {answer}", nth + 1, field.name)));
        }
        let (secrets, secret_path) = (fields.len() + 1, fields.len() + 2);
        let typed = if passwords.imap.is_some() || args.imap_password_file.is_some() { "(set)" } else { "(empty)" };
        println!("{}", screen.folded(4, &format!("{secrets:>2} Passwords: {typed}")));
        let path = match (args.no_archive, &args.archive_secret) {
            (true, _) => "(no archive key)".to_owned(),
            (false, Some(path)) => path.display().to_string(),
            (false, None) => args.dir.display().to_string(),
        };
        println!("{}", screen.folded(4, &format!("{secret_path:>2} Archive key's secret: {path}")));
        let question = Question {
            name: "write, or a number",
            why: "Enter makes the keys and writes the files; a number changes that answer.",
            example: "write, or 3",
            default: Some("write".to_owned()),
            without: None,
        };
        let number = |typed: &str| typed.parse::<usize>().ok().filter(|number| (1..=secret_path).contains(number));
        let judge = |typed: &str| match typed == "write" || number(typed).is_some() {
            true => Ok(()),
            false => Err(("there is no such number".to_owned(), format!("type 1 to {secret_path}, or write"))),
        };
        let Some(chosen) = number(&screen.ask(&question, judge)?) else { return Ok(()) };
        let mut dials = chosen == secrets;
        if dials {
            mailbox::passwords(args, screen, passwords)?;
        } else if chosen == secret_path {
            (args.no_archive, args.archive_secret) = (false, None);
            archive(args, screen)?;
        } else if let Some(field) = fields.get(chosen - 1) {
            field.ask(args, screen)?;
            dials = field.part == Part::Servers;
        }
        if dials {
            tried(args, passwords, provider, screen).await?;
        }
    }
}
