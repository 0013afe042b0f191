//! `report breach`: what a data protection officer needs within 72 hours, in codes and counts.
//!
//! It tells what was there to be taken. Whether it was taken nobody can read off a database.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::context::Context;
use crate::model::{Channel, ClientCode, ClientState, Direction, Language};
use crate::store::{Client, JournalEntry, Rested, StoreError};

/// Kinds of the journal's lines that tell something about who was here, or what was open.
const TELLING: &[&str] = &[
    "alarm",
    "health",
    "frozen",
    "thawed",
    "restored",
    "backup",
    "exported",
    "revealed",
    "erasure-done",
    "recovery-began",
    "recovered",
    "practice-key",
    "practice-key-revoked",
    "therapist-key-pinned",
    "therapist-key-revoked",
    "key-revoked",
    "key-pinned",
    "channel",
    "wrong-answer-words",
    "wrong-words",
    "held-beyond-ceiling",
];

/// One client whose data rested here in the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Concerned {
    pub code: ClientCode,
    /// None: erased since.
    pub state: Option<ClientState>,
    pub channel: Option<Channel>,
    pub since: Option<DateTime<Utc>>,
    /// The present key, which letters to this person are encrypted to.
    pub key: Option<String>,
}

/// What there was besides letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Besides {
    pub notes: u64,
    pub requests: u64,
    pub cards: u64,
    pub consents: u64,
    pub alerts: u64,
}

/// Fingerprints in use now, which is when the report is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Keys {
    pub practice: String,
    pub practice_revoked: bool,
    pub practice_before: Vec<String>,
    pub archive: Option<String>,
    pub therapists: BTreeMap<String, Option<String>>,
}

/// A line of the journal: no name is in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub seq: u64,
    pub at: DateTime<Utc>,
    pub kind: String,
    pub client: Option<ClientCode>,
    pub detail: serde_json::Value,
}

impl From<JournalEntry> for Line {
    fn from(entry: JournalEntry) -> Self {
        let JournalEntry { seq, at, kind, client, detail } = entry;
        Self { seq, at, kind, client, detail }
    }
}

/// One theft: what was got, what it tells, what it doesn't.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Theft {
    pub taken: &'static str,
    pub tells: &'static str,
    pub hides: &'static str,
}

/// The report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub made: DateTime<Utc>,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub clients: Vec<Concerned>,
    pub letters: Vec<Rested>,
    pub besides: Besides,
    pub keys: Keys,
    pub thefts: Vec<Theft>,
    pub journal: Vec<Line>,
    /// The journal's head as of the report, and whether it is whole.
    pub journal_head: String,
    pub journal_whole: bool,
    /// Records that were changed by something else than Cadre.
    pub tampered: u64,
}

/// Collects it.
///
/// # Errors
/// [`StoreError`].
pub async fn report(
    ctx: &Context,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    language: Language,
) -> Result<Report, StoreError> {
    let journal = ctx.store.verify_journal(None).await?;
    let mut tx = ctx.store.read().await?;
    let erased = tx.erased_after(from).await?;
    let (mut clients, mut tampered) = (Vec::new(), 0);
    for id in tx.client_ids().await? {
        match tx.client(id).await {
            Ok(Some(client)) if client.created_at <= to && client.state != ClientState::Erased => {
                clients.push(concerned(client));
            }
            // Forgotten by itself since: the code and the times are all that is left.
            Ok(Some(client))
                if client.created_at <= to
                    && client.care.since.is_some_and(|since| since >= from)
                    && !erased.contains(&client.code) =>
            {
                clients.push(gone(client.code));
            }
            Ok(_) => {}
            Err(StoreError::Tampered { .. } | StoreError::Corrupt { .. }) => tampered += 1,
            Err(error) => return Err(error),
        }
    }
    clients.extend(erased.into_iter().map(gone));
    let [notes, requests, cards, consents, alerts] = tx.rested_besides(to).await?;
    let lines = tx.journal_between(from, to, TELLING).await?;
    Ok(Report {
        made: ctx.clock.now(),
        from,
        to,
        clients,
        letters: tx.rested(from, to).await?,
        besides: Besides { notes, requests, cards, consents, alerts },
        keys: keys(ctx),
        thefts: thefts(language),
        journal: lines.into_iter().map(Line::from).collect(),
        journal_head: journal.head.to_string(),
        journal_whole: journal.ok(),
        tampered,
    })
}

fn concerned(client: Client) -> Concerned {
    Concerned {
        code: client.code,
        state: Some(client.state),
        channel: Some(client.channel),
        since: Some(client.created_at),
        key: client.fingerprint,
    }
}

fn gone(code: ClientCode) -> Concerned {
    Concerned { code, state: None, channel: None, since: None, key: None }
}

fn keys(ctx: &Context) -> Keys {
    let mut own = ctx.own_fingerprints();
    let practice = own.remove(0);
    let of = |therapist: &super::context::Therapist| therapist.certificate().map(|key| key.fingerprint());
    Keys {
        practice,
        practice_revoked: ctx.key.certificate().revocation().is_some(),
        practice_before: own,
        archive: ctx.archive.as_ref().map(|archive| archive.fingerprint()),
        therapists: ctx.therapists().iter().map(|one| (one.id().to_string(), of(one))).collect(),
    }
}

/// The README's table.
fn thefts(language: Language) -> Vec<Theft> {
    let rows: &[[&'static str; 3]] = match language {
        Language::Fr => &[
            [
                "la base, ou une de ses sauvegardes",
                "combien de personnes, quand des lettres sont arrivées et parties, leur taille",
                "qui est qui, un objet, un mot",
            ],
            [
                "la base et la clé d'enregistrement (record key)",
                "aussi les noms, les adresses, les objets, l'étiquette et les faits pratiques de la file d'envoi",
                "un mot d'une lettre",
            ],
            [
                "la base, la clé d'enregistrement et la clé du cabinet",
                "aussi les réponses qui attendent leur heure, et ce qui est chiffré au cabinet et intercepté, jusqu'à une nouvelle clé",
                "les lettres déjà classées : elles sont scellées au thérapeute",
            ],
            [
                "la base, la clé d'enregistrement et la clé du thérapeute, ou celle d'archive",
                "toutes les lettres",
                "rien",
            ],
            [
                "la boîte aux lettres du cabinet, chez son fournisseur",
                "les adresses, les heures, les tailles ; le lien d'une adresse à un code, par les dossiers",
                "les mots des lettres",
            ],
            [
                "la machine en marche, en administrateur",
                "tout ce qui passe à partir de ce moment, et les clés qui s'y trouvent",
                "les lettres classées avant",
            ],
        ],
        Language::En => &[
            [
                "the database, or a backup of it",
                "how many people, when letters came and went, their sizes",
                "who anyone is, a subject, a word",
            ],
            [
                "the database and the record key",
                "also names, addresses, subjects, the label and the practical facts of the queue",
                "a word of a letter",
            ],
            [
                "the database, the record key and the practice's key",
                "also the replies that wait for their slot, and what is encrypted to the practice and intercepted, until a new key",
                "letters already filed: these are sealed to the therapist",
            ],
            ["the database, the record key and the therapist's key, or the archive's", "every letter", "nothing"],
            [
                "the practice's mailbox, at its provider",
                "addresses, times, sizes; the link of an address to a code, by the folders",
                "the words of letters",
            ],
            [
                "the running machine, as administrator",
                "everything that passes from then on, and the keys on it",
                "letters filed before",
            ],
        ],
    };
    rows.iter().map(|&[taken, tells, hides]| Theft { taken, tells, hides }).collect()
}

/// The report as a text that a person can send on.
pub fn text(ctx: &Context, report: &Report, language: Language) -> String {
    let form = match language {
        Language::Fr => include_str!("../../config/export/breach-fr.txt"),
        Language::En => include_str!("../../config/export/breach-en.txt"),
    };
    let (day, none, erased) = match language {
        Language::Fr => ("%d/%m/%Y %H:%M", "aucune", "effacé depuis"),
        Language::En => ("%Y-%m-%d %H:%M", "none", "erased since"),
    };
    let zone = ctx.config.practice.timezone;
    let when = |at: DateTime<Utc>| format!("{} ({zone})", at.with_timezone(&zone).format(day));
    let of = |direction| report.letters.iter().find(|rested| rested.direction == direction);
    let count = |direction, which: fn(&Rested) -> u64| of(direction).map_or(0, which).to_string();
    let lines = |lines: Vec<String>| if lines.is_empty() { format!("* {none}") } else { lines.join("\n") };
    let clients = report.clients.iter().map(|client| {
        let state = client.state.map_or(erased, ClientState::as_str);
        let channel = client.channel.map_or("", Channel::as_str);
        format!("* {} {state} {channel} {}", client.code, client.key.as_deref().unwrap_or_default())
            .trim_end()
            .to_owned()
    });
    let journal = report.journal.iter().map(|line| {
        let code = line.client.as_ref().map_or_else(String::new, |code| format!(" {code}"));
        format!("* {} {}{code} {}", when(line.at), line.kind, line.detail)
    });
    let thefts =
        report.thefts.iter().map(|theft| format!("* {}\n  + {}\n  – {}", theft.taken, theft.tells, theft.hides));
    let therapists = report.keys.therapists.iter();
    let therapists = therapists.map(|(id, key)| format!("* {id} {}", key.as_deref().unwrap_or(none)));
    let sealed = report.clients.iter().filter(|client| client.channel == Some(Channel::Pdf)).count();
    let whole = match (report.journal_whole && report.tampered == 0, language) {
        (true, Language::Fr) => "intact",
        (true, Language::En) => "whole",
        (false, Language::Fr) => "ALTÉRÉ : voyez `cadre journal verify` et `cadre verify`",
        (false, Language::En) => "ALTERED: see `cadre journal verify` and `cadre verify`",
    };
    form.replace("{practice}", &ctx.config.practice.name)
        .replace("{made}", &when(report.made))
        .replace("{from}", &when(report.from))
        .replace("{to}", &when(report.to))
        .replace("{count}", &report.clients.len().to_string())
        .replace("{sealed}", &sealed.to_string())
        .replace("{in}", &count(Direction::In, |rested| rested.there))
        .replace("{in_moved}", &count(Direction::In, |rested| rested.moved))
        .replace("{out}", &count(Direction::Out, |rested| rested.there))
        .replace("{out_moved}", &count(Direction::Out, |rested| rested.moved))
        .replace("{waiting}", &count(Direction::Out, |rested| rested.waiting))
        .replace("{notes}", &report.besides.notes.to_string())
        .replace("{requests}", &report.besides.requests.to_string())
        .replace("{cards}", &report.besides.cards.to_string())
        .replace("{consents}", &report.besides.consents.to_string())
        .replace("{alerts}", &report.besides.alerts.to_string())
        .replace("{practice_key}", &report.keys.practice)
        .replace("{archive}", report.keys.archive.as_deref().unwrap_or(none))
        .replace("{therapists}", &lines(therapists.collect()))
        .replace("{thefts}", &lines(thefts.collect()))
        .replace("{journal}", &lines(journal.collect()))
        .replace("{head}", &report.journal_head)
        .replace("{whole}", whole)
        .replace("{clients}", &lines(clients.collect()))
}
