//! Every answer of the conversation: what it is called, what it is for, where it goes, who judges it.

use std::path::{Path, PathBuf};

use super::ask::{Question, Screen};
use super::{EXAMPLE_THERAPIST, InitError, certificate};
use crate::cli::args::Init;
use crate::config::judge;
use crate::model::Address;

/// The parts of the conversation, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Practice,
    Servers,
    Therapist,
    Frame,
    Operator,
    Archive,
}

impl Part {
    pub const fn title(self) -> &'static str {
        match self {
            Self::Practice => "The practice",
            Self::Servers => "The mailbox's servers",
            Self::Therapist => "The therapist",
            Self::Frame => "The frame, as clients read it before they consent",
            Self::Operator => "Who looks after the machine",
            Self::Archive => "The archive key, which reads everything when the therapist's key is lost",
        }
    }
}

/// Where the answer goes.
enum Slot {
    Text(fn(&mut Init) -> &mut Option<String>),
    Port(fn(&mut Init) -> &mut Option<u16>),
    Path(fn(&mut Init) -> &mut Option<PathBuf>),
}

pub(super) struct Field {
    pub part: Part,
    /// Section and key of the configuration, for its judgement.
    key: (&'static str, &'static str),
    pub name: &'static str,
    why: &'static str,
    example: &'static str,
    /// What isn't possible without it; none: it is needed.
    without: Option<&'static str>,
    slot: Slot,
}

const fn text(
    part: Part,
    key: (&'static str, &'static str),
    name: &'static str,
    why: &'static str,
    example: &'static str,
    slot: fn(&mut Init) -> &mut Option<String>,
) -> Field {
    Field { part, key, name, why, example, without: None, slot: Slot::Text(slot) }
}

const fn or_empty(field: Field, without: &'static str) -> Field {
    Field { without: Some(without), ..field }
}

const NO_FRAME: &str = "no client can be activated, and nothing starts, until it is written into cadre.toml";

/// All questions that have one answer; passwords have their own.
pub(super) static FIELDS: [Field; 23] = [
    text(Part::Practice, ("practice", "name"), "Name", "What clients see.", "Cabinet Exemple", |a| &mut a.name),
    text(
        Part::Practice,
        ("practice", "address"),
        "Address",
        "The one address that clients write to. The practice's key bears it.",
        "ecrire@cabinet.example",
        |a| &mut a.address,
    ),
    text(
        Part::Practice,
        ("practice", "language"),
        "Language (fr, en)",
        "Of letters, where a person has none of their own.",
        "fr",
        |a| &mut a.language,
    ),
    text(
        Part::Practice,
        ("practice", "country"),
        "Country",
        "For public holidays and emergency lines: FR, BE, CH, CA, GB, US.",
        "FR",
        |a| &mut a.country,
    ),
    text(Part::Practice, ("practice", "timezone"), "Time zone", "Slots and digests follow it.", "Europe/Paris", |a| {
        &mut a.timezone
    }),
    text(Part::Servers, ("imap", "host"), "IMAP server", "Where letters arrive.", "imap.example.org", |a| {
        &mut a.imap_host
    }),
    text(
        Part::Servers,
        ("imap", "tls"),
        "IMAP protection",
        "implicit, starttls or none; none is for this machine only.",
        "implicit",
        |a| &mut a.imap_tls,
    ),
    Field {
        slot: Slot::Port(|a| &mut a.imap_port),
        ..text(Part::Servers, ("imap", "port"), "IMAP port", "993 with implicit TLS, else 143.", "993", |a| &mut a.name)
    },
    text(
        Part::Servers,
        ("imap", "username"),
        "IMAP user name",
        "To log in with: mostly the whole address.",
        "ecrire@cabinet.example",
        |a| &mut a.imap_username,
    ),
    text(Part::Servers, ("smtp", "host"), "SMTP server", "Where mail is handed over.", "smtp.example.org", |a| {
        &mut a.smtp_host
    }),
    text(
        Part::Servers,
        ("smtp", "tls"),
        "SMTP protection",
        "implicit, starttls or none; none is for this machine only.",
        "implicit",
        |a| &mut a.smtp_tls,
    ),
    Field {
        slot: Slot::Port(|a| &mut a.smtp_port),
        ..text(Part::Servers, ("smtp", "port"), "SMTP port", "465 with implicit TLS, 587 with starttls.", "465", |a| {
            &mut a.name
        })
    },
    text(
        Part::Servers,
        ("smtp", "username"),
        "SMTP user name",
        "To log in with: mostly the same as for IMAP.",
        "ecrire@cabinet.example",
        |a| &mut a.smtp_username,
    ),
    text(
        Part::Therapist,
        ("therapist", "id"),
        "Short name",
        "For commands, file names and the journal: no full name.",
        EXAMPLE_THERAPIST,
        |a| &mut a.therapist,
    ),
    text(Part::Therapist, ("therapist", "name"), "Name", "As clients know the therapist.", "Dr Exemple", |a| {
        &mut a.therapist_name
    }),
    or_empty(
        text(
            Part::Therapist,
            ("therapist", "title"),
            "Title",
            "Belongs to the fourth element of the frame.",
            "Psychologue clinicienne",
            |a| &mut a.therapist_title,
        ),
        NO_FRAME,
    ),
    or_empty(
        text(
            Part::Therapist,
            ("therapist", "register"),
            "Register number",
            "The same: clients can look the therapist up.",
            "RPPS 10000000000",
            |a| &mut a.therapist_register,
        ),
        NO_FRAME,
    ),
    text(
        Part::Therapist,
        ("therapist", "address"),
        "Own address",
        "Letters are passed on to it; clients never see it.",
        "dr@exemple.example",
        |a| &mut a.therapist_address,
    ),
    Field {
        slot: Slot::Path(|a| &mut a.therapist_certificate),
        ..or_empty(
            text(
                Part::Therapist,
                ("therapist", "certificate"),
                "Certificate file",
                "The therapist's OpenPGP certificate (public key), as their mail program exports it.",
                "/media/usb/exemple.asc",
                |a| &mut a.name,
            ),
            "letters can't be sealed, and nothing starts, until the file is copied there",
        )
    },
    or_empty(
        text(
            Part::Frame,
            ("practice.cadre", "channel"),
            "Channel and rhythm",
            "The first element. For example: Par courriel, une lettre par jour ouvré, à 18 h ; ce qui arrive avant 7 h a \
             sa réponse le soir même.",
            "Par courriel, une lettre par jour ouvré, à 18 h",
            |a| &mut a.channel,
        ),
        NO_FRAME,
    ),
    or_empty(
        text(
            Part::Frame,
            ("practice.cadre", "price"),
            "Price and payment",
            "The second. For example: 60 € par semaine, par virement en fin de semaine.",
            "60 € par semaine, par virement en fin de semaine",
            |a| &mut a.price,
        ),
        NO_FRAME,
    ),
    or_empty(
        text(
            Part::Frame,
            ("practice.cadre", "fallback"),
            "The other way",
            "The third: how to reach each other when the line breaks. For example: +33 1 00 00 00 00, SMS.",
            "+33 1 00 00 00 00, SMS",
            |a| &mut a.fallback,
        ),
        NO_FRAME,
    ),
    or_empty(
        text(
            Part::Operator,
            ("operator", "address"),
            "Operator's address",
            "Alarms about the machine go there, never with content.",
            "ops@cabinet.example",
            |a| &mut a.operator,
        ),
        "nobody is told by mail when the machine has a fault",
    ),
];

impl Field {
    /// The answer as it is now.
    pub fn answer(&self, args: &mut Init) -> Option<String> {
        match self.slot {
            Slot::Text(slot) => slot(args).clone(),
            Slot::Port(slot) => slot(args).map(|port| port.to_string()),
            Slot::Path(slot) => slot(args).as_ref().map(|path| path.display().to_string()),
        }
    }

    pub fn set(&self, args: &mut Init, answer: &str) {
        let kept = Some(answer.to_owned());
        match self.slot {
            Slot::Text(slot) => *slot(args) = kept,
            Slot::Port(slot) => *slot(args) = answer.parse().ok(),
            Slot::Path(slot) => *slot(args) = kept.filter(|path| !path.is_empty()).map(PathBuf::from),
        }
    }

    /// Whether there is a question at all: who doesn't log in has no user name.
    pub fn applies(&self, args: &Init) -> bool {
        self.key != ("smtp", "username") || args.smtp_tls.as_deref() != Some("none") || args.smtp_username.is_some()
    }

    /// Asks, with what is known as the default.
    ///
    /// # Errors
    /// [`InitError::Ended`] when the terminal goes away.
    pub fn ask(&self, args: &mut Init, screen: &Screen) -> Result<(), InitError> {
        let default = self.answer(args).filter(|known| !known.is_empty()).or_else(|| self.default(args));
        let question =
            Question { name: self.name, why: self.why, example: self.example, default, without: self.without };
        let answer = screen.ask(&question, |typed| self.judge(args, typed))?;
        let answer = if self.key.1 == "country" { answer.to_uppercase() } else { answer };
        self.set(args, &answer);
        if self.key == ("therapist", "certificate") && !answer.is_empty() {
            certificate::show(Path::new(&answer), args.therapist_address.as_deref(), screen);
        }
        Ok(())
    }

    fn judge(&self, args: &Init, typed: &str) -> Result<(), (String, String)> {
        let (section, key) = self.key;
        let typed = if key == "country" { typed.to_uppercase() } else { typed.to_owned() };
        judge(section, key, &typed)?;
        if key == "certificate" {
            return certificate::judge(Path::new(&typed));
        }
        if key == "address" {
            // An address has one role.
            let others =
                [("practice", &args.address), ("therapist", &args.therapist_address), ("operator", &args.operator)];
            let same = |other: &Option<String>| {
                let other = other.as_deref().and_then(|other| Address::parse(other).ok());
                other.is_some() && other == Address::parse(&typed).ok()
            };
            if let Some((role, _)) = others.iter().find(|(role, other)| *role != section && same(other)) {
                let cause = format!("this address is the {role}'s already, and an address belongs to one role");
                return Err((cause, "write another one".to_owned()));
            }
        }
        let tls = if section == "imap" { &args.imap_tls } else { &args.smtp_tls };
        if key == "tls" && typed == "none" || key == "host" && tls.as_deref() == Some("none") {
            let host = match (key, section) {
                ("host", _) => Some(typed.as_str()),
                (_, "imap") => args.imap_host.as_deref(),
                _ => args.smtp_host.as_deref(),
            };
            let here = ["127.0.0.1", "::1", "localhost"];
            if !host.is_some_and(|host| here.contains(&host)) {
                let cause =
                    "in clear a password could be read on the way: \"none\" is only for 127.0.0.1, ::1 and localhost";
                return Err((cause.to_owned(), "write implicit or starttls".to_owned()));
            }
        }
        Ok(())
    }

    /// What is likely, from what is known already.
    fn default(&self, args: &Init) -> Option<String> {
        let domain = args.address.as_deref().and_then(|address| address.rsplit_once('@')).map(|(_, domain)| domain);
        let text = match self.key {
            ("practice", "language") => "fr",
            ("practice", "country") => country(domain.unwrap_or_default()),
            ("practice", "timezone") => zone(args.country.as_deref().unwrap_or_default()),
            ("imap", "host") => return domain.map(|domain| format!("imap.{domain}")),
            ("smtp", "host") => return domain.map(|domain| format!("smtp.{domain}")),
            ("imap" | "smtp", "tls") => "implicit",
            ("imap", "port") => {
                if args.imap_tls.as_deref() == Some("implicit") {
                    "993"
                } else {
                    "143"
                }
            }
            ("smtp", "port") => match args.smtp_tls.as_deref() {
                Some("starttls") => "587",
                Some("none") => "25",
                _ => "465",
            },
            ("imap", "username") => return args.address.clone(),
            ("smtp", "username") => return args.imap_username.clone(),
            ("therapist", "id") => EXAMPLE_THERAPIST,
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// By the address's domain; most practices are in France.
fn country(domain: &str) -> &'static str {
    match domain.rsplit('.').next().unwrap_or_default() {
        "be" => "BE",
        "ch" => "CH",
        "ca" | "quebec" => "CA",
        "uk" => "GB",
        _ => "FR",
    }
}

fn zone(country: &str) -> &'static str {
    match country {
        "BE" => "Europe/Brussels",
        "CH" => "Europe/Zurich",
        "CA" => "America/Toronto",
        "GB" => "Europe/London",
        "US" => "America/New_York",
        _ => "Europe/Paris",
    }
}
