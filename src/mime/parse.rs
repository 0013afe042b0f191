//! The facts of a header block, owned; for an outer mail and for a protected inner one alike.

use chrono::{DateTime, Utc};

use super::authres::{self, AuthResults};
pub use super::from::FromField;
use super::from::read_from;
use super::limits::{Limits, MimeError};
use super::tree::{Entity, Field};
use crate::model::Address;

/// Most References that are kept: the first and the newest ones.
const MAX_REFERENCES: usize = 100;
/// A longer id is nobody's.
pub(super) const MAX_ID_BYTES: usize = 512;

/// The facts of a header block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub from: FromField,
    pub to: Vec<Address>,
    pub cc: Vec<Address>,
    pub bcc: Vec<Address>,
    /// Decoded, one line, without control characters; empty when there is none.
    pub subject: String,
    /// Without `<>`.
    pub message_id: Option<String>,
    /// First id of In-Reply-To, without `<>`.
    pub in_reply_to: Option<String>,
    /// Oldest first, without `<>`, at most a hundred.
    pub references: Vec<String>,
    pub date: Option<DateTime<Utc>>,
    /// Sent by a machine, as the header says (RFC 3834 section 5, RFC 5230 section 4.6); never by words.
    pub automatic: bool,
    /// Sent through a mailing list (RFC 2369, RFC 2919).
    pub list: bool,
    /// Authentication-Results, topmost first.
    pub authentication_results: Vec<AuthResults>,
    /// Whether an Autocrypt header is there; see [`super::autocrypt()`].
    pub autocrypt: bool,
    /// Lower case, without parameters.
    pub content_type: String,
    /// Hops so far: the number of Received fields.
    pub received: usize,
}

impl Mail {
    /// Reads the header block of a mail or of a decrypted entity.
    ///
    /// # Errors
    /// [`MimeError`] when a limit is passed. Broken fields read as absent.
    pub fn parse(raw: &[u8], limits: &Limits) -> Result<Self, MimeError> {
        Ok(Self::of(&Entity::read(raw, limits)?))
    }

    /// Reads the header block alone, whatever follows it.
    ///
    /// # Errors
    /// [`MimeError`] when the header block passes a limit.
    pub fn parse_header(raw: &[u8], limits: &Limits) -> Result<Self, MimeError> {
        Ok(Self::of(&Entity::read_header(raw, limits)?))
    }

    pub(super) fn of(entity: &Entity<'_>) -> Self {
        let from: Vec<&Field<'_>> = entity.all("From").collect();
        let from = if hidden_from(entity) { ambiguous(entity) } else { read_from(&from) };
        let precedence = word(entity, "Precedence");
        let list = ["List-Id", "List-Post", "List-Unsubscribe"].iter().any(|n| entity.field(n).is_some())
            || precedence == "list";
        Self {
            to: addresses(entity, "To"),
            cc: addresses(entity, "Cc"),
            bcc: addresses(entity, "Bcc"),
            subject: entity.field("Subject").map(|f| one_line(&f.decoded())).unwrap_or_default(),
            message_id: entity.field("Message-ID").and_then(|f| ids(&f.line()).into_iter().next()),
            in_reply_to: entity.field("In-Reply-To").and_then(|f| ids(&f.line()).into_iter().next()),
            references: references(entity),
            date: entity.field("Date").and_then(date),
            automatic: is_automatic(entity, &precedence, &from),
            list,
            authentication_results: authres::read(entity),
            autocrypt: entity.field("Autocrypt").is_some(),
            content_type: entity.kind.value.clone(),
            received: entity.all("Received").count(),
            from,
        }
    }

    /// To, Cc and Bcc together.
    pub fn recipients(&self) -> impl Iterator<Item = &Address> {
        self.to.iter().chain(&self.cc).chain(&self.bcc)
    }
}

/// A lone CR that some readers take for a line break, with a From behind it.
fn hidden_from(entity: &Entity<'_>) -> bool {
    entity.fields.iter().any(|f| {
        f.value.split(|b| matches!(b, b'\r' | b'\n')).skip(1).any(|line| {
            line.get(..4).is_some_and(|l| l.eq_ignore_ascii_case(b"from"))
                && line[4..].trim_ascii_start().starts_with(b":")
        })
    })
}

fn ambiguous(entity: &Entity<'_>) -> FromField {
    let mut candidates: Vec<Address> = Vec::new();
    for field in entity.fields.iter().filter(|f| f.is("From") || f.value.contains(&b'\r')) {
        for address in super::from::addresses_in(&String::from_utf8_lossy(field.value)) {
            if !candidates.contains(&address) {
                candidates.push(address);
            }
        }
    }
    FromField::Ambiguous { candidates }
}

fn one_line(text: &str) -> String {
    let clean: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).filter(|c| !super::from::is_bidi(*c)).collect();
    clean.trim().chars().take(998).collect()
}

/// The first word of a field, lower case, without comments and parameters.
fn word(entity: &Entity<'_>, name: &str) -> String {
    entity.field(name).map(|f| first_word(&f.line())).unwrap_or_default()
}

pub(super) fn first_word(line: &str) -> String {
    line.split([';', '(', ' ', '\t']).find(|w| !w.is_empty()).unwrap_or_default().to_ascii_lowercase()
}

/// Fields that only answering machines and mail systems write, and the words in them that say so (any where there are
/// none).
const ROBOTS: &[(&str, &[&str])] = &[
    ("X-Autoreply", &[]),
    ("X-Autorespond", &[]),
    ("X-Autoresponder", &[]),
    ("X-AutoReply-From", &[]),
    ("X-Mail-Autoreply", &[]),
    ("X-Autogenerated", &[]),
    ("X-Auto-Reply-From", &[]),
    ("X-Vacation", &[]),
    ("X-Away-Message", &[]),
    ("X-Failed-Recipients", &[]),
    ("X-MS-Exchange-Message-Is-Ndr", &[]),
    ("X-FC-MachineGenerated", &["true", "yes"]),
    ("X-POST-MessageClass", &["autoresponder"]),
    ("Delivered-To", &["autoresponder"]),
    ("X-MS-Exchange-Generated-Message-Source", &["mailbox rules agent"]),
    ("Preference", &["auto_reply"]),
    ("X-Precedence", &["auto_reply", "bulk", "junk", "list"]),
];

fn is_automatic(entity: &Entity<'_>, precedence: &str, from: &FromField) -> bool {
    let submitted = entity.all("Auto-Submitted").any(|f| {
        let said = first_word(&f.line());
        !said.is_empty() && said != "no"
    });
    // An empty one is how some servers write the null path.
    let bounced = entity.all("Return-Path").any(|f| matches!(f.line().replace(' ', "").as_str(), "<>" | ""));
    let robot = |(name, words): &(&str, &[&str])| {
        entity.all(name).any(|field| {
            let line = field.line().to_ascii_lowercase();
            if words.is_empty() {
                !matches!(first_word(&line).as_str(), "no" | "false")
            } else {
                words.iter().any(|word| line.trim() == *word || line.split([';', ',']).any(|part| part.trim() == *word))
            }
        })
    };
    let daemon = match from {
        FromField::One { address, .. } => address.canonical().starts_with("mailer-daemon@"),
        FromField::Missing | FromField::Ambiguous { .. } => {
            entity.all("From").any(|f| f.line().to_ascii_lowercase().contains("mailer-daemon"))
        }
    };
    submitted
        || bounced
        || ROBOTS.iter().any(robot)
        || daemon
        || matches!(precedence, "bulk" | "junk" | "auto_reply" | "list")
        || entity.is("multipart/report")
}

fn addresses(entity: &Entity<'_>, name: &str) -> Vec<Address> {
    let mut found = Vec::new();
    for field in entity.all(name) {
        let input = format!("{}\r\n", field.line());
        let value = mail_parser::parsers::MessageStream::new(input.as_bytes()).parse_address();
        if let mail_parser::HeaderValue::Address(list) = value {
            found.extend(list.iter().filter_map(|a| a.address.as_deref()).filter_map(|a| Address::parse(a).ok()));
        }
    }
    found
}

/// Every `<id>` of a field; a value without any `<>` counts as one id when it is one word with an `@`.
pub(super) fn ids(line: &str) -> Vec<String> {
    let good = |id: &str| {
        !id.is_empty() && id.len() <= MAX_ID_BYTES && !id.chars().any(|c| c.is_control() || "<>\"\\".contains(c))
    };
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find('<') {
        let Some(len) = rest[start + 1..].find('>') else { break };
        let id: String = rest[start + 1..start + 1 + len].chars().filter(|c| !c.is_whitespace()).collect();
        if good(&id) {
            found.push(id);
        }
        rest = &rest[start + 2 + len..];
    }
    if found.is_empty() && !line.contains('<') {
        found.extend(line.split_whitespace().filter(|w| w.contains('@') && good(w)).map(str::to_owned));
    }
    found
}

fn references(entity: &Entity<'_>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for id in entity.all("References").flat_map(|f| ids(&f.line())) {
        if all.len() < 10 * MAX_REFERENCES && !all.contains(&id) {
            all.push(id);
        }
    }
    if all.len() > MAX_REFERENCES {
        all.drain(1..=all.len() - MAX_REFERENCES);
    }
    all
}

fn date(field: &Field<'_>) -> Option<DateTime<Utc>> {
    let parsed = mail_parser::DateTime::parse_rfc822(&format!("{}\r\n", field.line()))?;
    if !parsed.is_valid() {
        return None;
    }
    DateTime::from_timestamp(parsed.to_timestamp(), 0)
}
