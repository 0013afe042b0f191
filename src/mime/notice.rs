//! Notices of mail systems about a mail that was sent: it failed, is delayed, was passed on (RFC 3464, and the many
//! that have no part for machines).
//!
//! Nothing of it is believed by itself: who calls this holds ids and recipients against what was really sent.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::from::addresses_in;
use super::html::html_to_text;
use super::limits::{Limits, MimeError};
use super::notice_words::{self as words, fate_of_text};
use super::parse::{MAX_ID_BYTES, first_word, ids};
use super::tree::Entity;
use crate::model::{Address, Fate};

/// Most ids and most recipients that are looked at.
const MOST: usize = 32;
/// Most of a text that is looked through, in bytes: a notice says what it has to say at its top.
const TEXT: usize = 64 * 1024;
/// Lines in which the header of a returned copy has to show itself.
const COPY_LINES: usize = 200;

/// What a mail system says of a mail that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Of the mail as a whole; of one recipient: [`Notice::fate_of`].
    pub fate: Fate,
    /// Whom it speaks of, and what became of the mail there.
    pub recipients: Vec<(Address, Fate)>,
    /// Message-IDs of the mail that it speaks of, the surest first, without `<>`.
    pub ids: Vec<String>,
    /// Original-Envelope-Id, as it was given at submission.
    pub envid: Option<String>,
    /// Enhanced status code such as `5.1.1` (RFC 3463).
    pub status: Option<String>,
}

impl Notice {
    /// What it says of this recipient; `None`: it doesn't speak of them.
    pub fn fate_of(&self, address: &Address) -> Option<Fate> {
        self.recipients.iter().find(|(named, _)| named == address).map(|(_, fate)| *fate)
    }
}

/// Reads a notice; `None` where the mail is none: a person's letter, an answer of absence, a receipt, a list's mail.
///
/// # Errors
/// [`MimeError`] when the mail passes a limit.
pub fn notice(raw: &[u8], limits: &Limits) -> Result<Option<Notice>, MimeError> {
    Ok(read(&Entity::read(raw, limits)?))
}

/// What is found in the parts of a notice.
#[derive(Default)]
struct Found<'a> {
    /// Texts for people, decoded.
    plain: Vec<String>,
    html: Vec<String>,
    /// Groups of fields for machines.
    groups: Vec<Group>,
    envid: Option<String>,
    /// Texts for machines: where boundaries don't match, the returned header is among them.
    machine: Vec<String>,
    /// Header blocks of returned copies.
    returned: Vec<Vec<u8>>,
    /// A report about something else: read, complained of.
    other_report: bool,
    disposition: Option<&'a Entity<'a>>,
}

/// What is said of one recipient.
#[derive(Default, Clone)]
struct Group {
    recipients: Vec<Address>,
    action: Option<String>,
    status: Option<String>,
    ids: Vec<String>,
}

impl Group {
    fn fate(&self) -> Option<Fate> {
        let class = self.status.as_deref().and_then(|status| status.bytes().next());
        match self.action.as_deref() {
            Some("failed" | "failure" | "expired" | "undeliverable" | "rejected") => Some(Fate::Failed),
            Some("delayed" | "delay" | "deferred") => Some(Fate::Delayed),
            Some("delivered" | "relayed" | "expanded" | "deliverable") => Some(Fate::Relayed),
            _ => match class {
                Some(b'5') => Some(Fate::Failed),
                Some(b'4') => Some(Fate::Delayed),
                Some(b'2') => Some(Fate::Relayed),
                _ => None,
            },
        }
    }

    fn says_something(&self) -> bool {
        self.action.is_some() || self.status.is_some() || !self.recipients.is_empty()
    }
}

fn read(entity: &Entity<'_>) -> Option<Notice> {
    if !is_by_machine(entity) {
        return None;
    }
    let mut found = Found::default();
    collect(entity, &mut found);
    if found.other_report && found.groups.is_empty() {
        return rejected_by_rule(entity, &found);
    }
    let texts = if found.plain.iter().all(|text| text.trim().is_empty()) { &found.html } else { &found.plain };
    let whole = texts.join("\n\n");
    let lines: Vec<&str> = whole.lines().collect();
    let copy = copy_starts(&lines);
    let above = lines[..copy].join("\n");
    if found.groups.is_empty() {
        // Amazon and broken multiparts leave the fields for machines among the text.
        found.groups = groups(&above, &mut found.envid).into_iter().filter(|g| g.fate().is_some()).collect();
    }
    let subject = entity.field("Subject").map(|f| f.decoded()).unwrap_or_default();
    let text_fate = || fate_of_text(&fold(&above)).or_else(|| fate_of_text(&fold(&subject)));
    let mut recipients = Vec::new();
    for group in &found.groups {
        let Some(fate) = group.fate().or_else(text_fate) else { continue };
        recipients.extend(group.recipients.iter().map(|address| (address.clone(), fate)));
    }
    let spoken = found.groups.iter().filter_map(Group::fate);
    let fate = spoken.min().or_else(text_fate).or_else(|| unclear(entity, &found, &lines[copy..]))?;
    let headers = returned_headers(&found.returned);
    if recipients.is_empty() {
        let mut named = header_recipients(entity);
        if named.is_empty() {
            named = addresses_in(&above);
        }
        if named.is_empty() {
            // Nobody is named but in the copy, and a mail of ours has one recipient.
            named = copy_recipients(&headers, &lines[copy..]);
        }
        recipients = named.into_iter().map(|address| (address, fate)).collect();
    }
    recipients.truncate(MOST);
    let chosen = found.groups.iter().find(|group| group.fate() == Some(fate));
    let status = chosen.and_then(|group| group.status.clone()).or_else(|| words::status_in(&above));
    Some(Notice { fate, recipients, ids: all_ids(entity, &found, &headers, &lines), envid: found.envid, status })
}

/// Whether the header says that no person sent it: the precondition of everything else.
fn is_by_machine(entity: &Entity<'_>) -> bool {
    let null = |name: &str| {
        entity.all(name).any(|f| {
            let path = f.line().replace(' ', "").to_ascii_lowercase();
            matches!(path.as_str(), "<>" | "") || path.contains("mailer-daemon")
        })
    };
    let automatic = entity.all("Auto-Submitted").any(|f| !matches!(first_word(&f.line()).as_str(), "" | "no"));
    entity.is("multipart/report")
        || automatic
        || null("Return-Path")
        || null("X-Envelope-From")
        || entity.field("X-Failed-Recipients").is_some()
        || entity.field("X-MS-Exchange-Message-Is-Ndr").is_some()
        || entity.children.iter().any(|child| is_status(&child.kind.value))
        || is_daemon(entity)
}

/// Whether From is a mail system's and no person's, by its name before the `@`.
pub(super) fn is_daemon(entity: &Entity<'_>) -> bool {
    entity.all("From").any(|field| {
        let line = field.decoded().to_lowercase();
        if line.contains("mailer-daemon") || line.trim_end().ends_with("<>") {
            return true;
        }
        let names = addresses_in(&line).into_iter().map(|address| {
            address.canonical().rsplit_once('@').map_or_else(String::new, |(name, _)| name.replace(['_', '.'], "-"))
        });
        names.into_iter().any(|name| words::is_role(&name))
    })
}

fn is_status(kind: &str) -> bool {
    matches!(kind, "message/delivery-status" | "message/global-delivery-status")
}

fn collect<'a>(entity: &'a Entity<'a>, found: &mut Found<'a>) {
    for child in &entity.children {
        collect(child, found);
    }
    if entity.is_multipart() && !entity.children.is_empty() {
        return;
    }
    match entity.kind.value.as_str() {
        kind if is_status(kind) => {
            let text = clipped(entity.text());
            let said = groups(&text, &mut found.envid);
            found.machine.push(text);
            found.groups.extend(said.into_iter().filter(Group::says_something).take(MOST));
        }
        "message/disposition-notification" | "message/global-disposition-notification" => {
            found.other_report = true;
            found.disposition = Some(entity);
        }
        "message/feedback-report" => found.other_report = true,
        "message/rfc822"
        | "message/global"
        | "text/rfc822-headers"
        | "message/rfc822-headers"
        | "text/rfc822-header"
        | "message/global-headers" => {
            found.returned.push(entity.decoded_head(TEXT));
        }
        "text/html" => found.html.push(html_to_text(&clipped(entity.text()))),
        kind if kind.starts_with("text/") || kind.starts_with("multipart/") => found.plain.push(clipped(entity.text())),
        _ => {}
    }
}

fn clipped(mut text: String) -> String {
    if text.len() > TEXT {
        let end = (0..=TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// The groups of fields of a delivery status (RFC 3464 section 2.1), wherever they stand.
fn groups(text: &str, envid: &mut Option<String>) -> Vec<Group> {
    let mut all = Vec::new();
    for group in text.replace("\n ", " ").replace("\n\t", " ").split("\n\n") {
        let mut one = Group::default();
        for (name, value) in group.lines().filter_map(|l| l.split_once(':')) {
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "original-envelope-id" => *envid = Some(value.chars().take(MAX_ID_BYTES).collect()),
                "final-recipient" | "original-recipient" => one.recipients.extend(recipients_of(value)),
                "action" => one.action = Some(first_word(value).trim_matches(['"', '.']).to_owned()),
                "status" => one.status = Some(first_word(value)),
                "original-message-id" | "x-original-message-id" => one.ids.extend(ids(value)),
                _ => {}
            }
        }
        if one.says_something() || !one.ids.is_empty() {
            all.push(one);
        }
    }
    all
}

/// `rfc822;marie@x.example`, also without the type, in angles, or as xtext (RFC 3461 section 4).
fn recipients_of(value: &str) -> Vec<Address> {
    let bare = value.split_once(';').map_or(value, |(_, address)| address);
    let bare = bare.trim().trim_start_matches('<').trim_end_matches('>');
    let mut found: Vec<Address> = Address::parse(bare).ok().into_iter().collect();
    found.extend(Address::parse(&un_xtext(bare)).ok().filter(|address| !found.contains(address)));
    found
}

/// `+2B` is `+` in xtext.
fn un_xtext(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'+').and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Small letters without accents, apostrophes alike, one space between words: what phrases are looked for in.
pub(super) fn fold(text: &str) -> String {
    let plain: String = text
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .map(|c| if matches!(c, '\u{2019}' | '\u{2018}' | '`' | '\u{b4}') { '\'' } else { c })
        .collect();
    plain.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The line at which a copy of the returned mail begins in a notice's text; its length where there is none.
fn copy_starts(lines: &[&str]) -> usize {
    (0..lines.len()).find(|at| is_header_block(&lines[*at..])).unwrap_or(lines.len())
}

/// Whether lines look like the header of a mail as it travelled: fields in a row, one of them a trace.
fn is_header_block(lines: &[&str]) -> bool {
    let (mut fields, mut technical) = (0, false);
    for (index, line) in lines.iter().take(COPY_LINES).enumerate() {
        let line = line.trim_start().strip_prefix("> ").unwrap_or(line);
        if line.starts_with([' ', '\t']) && index > 0 {
            continue;
        }
        let Some((name, _)) = line.split_once(':') else { break };
        let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !good {
            break;
        }
        fields += 1;
        technical |= matches!(
            name.to_ascii_lowercase().as_str(),
            "received" | "return-path" | "message-id" | "mime-version" | "dkim-signature"
        );
        if fields >= 3 && technical {
            return true;
        }
    }
    false
}

/// What is said in no words that are known, by a mail system that returns what it speaks of.
fn unclear(entity: &Entity<'_>, found: &Found<'_>, copy: &[&str]) -> Option<Fate> {
    let empty = entity.all("Return-Path").any(|f| f.line().replace(' ', "") == "<>");
    let returned = !found.returned.is_empty() || !copy.is_empty();
    ((empty || is_daemon(entity) || entity.is("multipart/report")) && returned).then_some(Fate::Unclear)
}

/// The headers of returned copies, as lines.
fn returned_headers(returned: &[Vec<u8>]) -> Vec<String> {
    let header = |bytes: &Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT)]).replace("\r\n", "\n");
        let text = text.trim_start().to_owned();
        text.split_once("\n\n").map_or(text.clone(), |(head, _)| head.to_owned())
    };
    returned.iter().map(header).collect()
}

/// Recipients that the notice's own header names.
fn header_recipients(entity: &Entity<'_>) -> Vec<Address> {
    let failed = entity.all("X-Failed-Recipients").flat_map(|f| addresses_in(&f.line()));
    let others = ["Final-Recipient", "Original-Recipient"];
    let others = others.iter().flat_map(|name| entity.all(name)).flat_map(|f| recipients_of(&f.line()));
    failed.chain(others).collect()
}

fn copy_recipients(headers: &[String], copy: &[&str]) -> Vec<Address> {
    let header: Vec<&str> = headers.iter().flat_map(|header| header.lines()).chain(copy.iter().copied()).collect();
    let to = header.iter().filter(|line| line.get(..3).is_some_and(|name| name.eq_ignore_ascii_case("to:")));
    to.flat_map(|line| addresses_in(line)).take(MOST).collect()
}

/// Every id that may be of the reported mail: of returned copies first, then as fields and text say it, last those
/// that the notice answers.
fn all_ids(entity: &Entity<'_>, found: &Found<'_>, headers: &[String], lines: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut add = |more: Vec<String>| {
        for id in more {
            if all.len() < MOST && !all.contains(&id) {
                all.push(id);
            }
        }
    };
    for header in headers {
        add(ids_in_lines(&header.lines().collect::<Vec<_>>()));
    }
    for group in &found.groups {
        add(group.ids.clone());
    }
    add(ids_in_lines(lines));
    for text in &found.machine {
        add(ids_in_lines(&text.lines().collect::<Vec<_>>()));
    }
    for name in ["X-Original-Message-ID", "Original-Message-ID", "In-Reply-To", "References"] {
        let mut said: Vec<String> = entity.all(name).flat_map(|f| ids(&f.line())).collect();
        said.reverse();
        add(said);
    }
    // A text may name it without any field.
    add(lines.iter().flat_map(|line| ids(line)).filter(|id| id.split('@').next().is_some_and(is_random)).collect());
    all
}

/// Long, with figures in it: no person's name.
fn is_random(local: &str) -> bool {
    local.len() >= 20 && local.bytes().any(|b| b.is_ascii_digit())
}

/// The values of Message-ID fields among lines, also quoted and folded.
fn ids_in_lines(lines: &[&str]) -> Vec<String> {
    let bare = |line: &str| line.trim_start_matches(['>', ' ', '\t', '|', '*']).trim_end().to_owned();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let line = bare(line);
        let Some((name, value)) = line.split_once(':') else { continue };
        let name = name.trim().to_lowercase().replace(' ', "-");
        if !(name.ends_with("message-id") || matches!(name.as_str(), "messageid" | "nachrichten-id" | "id-du-message"))
        {
            continue;
        }
        let mut said = ids(value);
        if said.is_empty() && value.trim().is_empty() {
            said = lines.get(at + 1).map(|next| ids(&bare(next))).unwrap_or_default();
        }
        found.extend(said);
    }
    found
}

/// A receipt by which a filter on the recipient's server says that it threw the mail away (Dovecot, RFC 5429).
fn rejected_by_rule(entity: &Entity<'_>, found: &Found<'_>) -> Option<Notice> {
    let text = found.disposition?.text();
    let says = |line: &str| {
        let line = line.to_ascii_lowercase();
        line.starts_with("disposition:") && line.contains("automatic-action/") && line.contains("deleted")
    };
    if !is_daemon(entity) || !text.lines().any(says) {
        return None;
    }
    let groups = groups(&text, &mut None);
    let recipients = groups.iter().flat_map(|group| group.recipients.clone()).map(|address| (address, Fate::Failed));
    let headers = returned_headers(&found.returned);
    let mut ids = all_ids(entity, found, &headers, &[]);
    ids.extend(groups.iter().flat_map(|group| group.ids.clone()));
    ids.truncate(MOST);
    Some(Notice { fate: Fate::Failed, recipients: recipients.collect(), ids, envid: None, status: None })
}

#[cfg(test)]
mod tests;
