//! Mail of public test suites through the code that decides about every message (`explain`'s).
//!
//! The mails aren't part of the project: `$CADRE_CORPUS`, or `../shared/corpus` beside it, has them. The OpenPGP mails
//! have a test of their own (`corpus_verdicts`); what quotations leave is measured with the reader (`mime::corpus`).

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use cadre::app::examine::{Examined, Tools, examine};
use cadre::domain::intake::Action;
use cadre::mime::{FromField, Limits, Mail, MimeError, content, new_text, notice};
use cadre::model::{Address, Fate, UnsignedPolicy, Verdict};
use cadre::pgp::PracticeKey;
use chrono::Utc;
use common::corpus::{corpus, crlf};
use common::play::Play;
use common::registry::Known;
use common::scene::{OFFICE, march};

fn key() -> Result<PracticeKey> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/keys");
    Ok(PracticeKey::load(&fs::read(folder.join("exemple.key.asc"))?, None)?)
}

fn decide(raw: &[u8], key: &PracticeKey, office: &Known) -> Result<Examined, MimeError> {
    let limits = Limits::default();
    let tools = Tools { key, registry: office, limits: &limits, policy: UnsignedPolicy::Flag, authserv: None };
    examine(raw, Utc::now(), &tools)
}

/// Rows of a folder's table with the bytes as they would lie on a server; nothing where there is no corpus.
fn cases(folder: &str) -> Result<Vec<(Vec<String>, Vec<u8>)>> {
    let Some(base) = corpus(folder) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for line in fs::read_to_string(base.join("CASES.tsv"))?.lines().skip(1) {
        let cells: Vec<String> = line.split('\t').map(str::to_owned).collect();
        if let Ok(raw) = fs::read(base.join(&cells[0])) {
            all.push((cells, crlf(&raw)));
        }
    }
    Ok(all)
}

type Counts = BTreeMap<String, usize>;

#[test]
fn malformed_mail_is_read_or_refused_and_believed_by_nobody() -> Result<()> {
    let (key, mut counts) = (key()?, Counts::new());
    for (case, raw) in cases("malformed-mime")? {
        let name = &case[0];
        let examined = match decide(&raw, &key, &Known::nobody(OFFICE)?) {
            Ok(examined) => examined,
            Err(error) => {
                *counts.entry(format!("over a limit: {error}")).or_default() += 1;
                continue;
            }
        };
        ensure!(examined.decision.verdict != Verdict::Verified, "{name}");
        *counts.entry(format!("{} {}", examined.decision.verdict, examined.decision.action.word())).or_default() += 1;
        if let Some(entity) = &examined.entity {
            let read = content(entity.as_bytes(), &Limits::default())?;
            ensure!(new_text(&read.text).len() <= read.text.len() + 8, "{name}");
            ensure!(!read.text.contains('\0') || raw.contains(&0), "{name}");
        }
        // The same of a client: filed or held, whatever is broken, and lost never.
        let FromField::One { address, .. } = &examined.outer.from else { continue };
        let office = Known::nobody(OFFICE)?.client(address.clone(), None);
        let theirs = decide(&raw, &key, &office)?.decision;
        let kept = matches!(theirs.action, Action::File { .. } | Action::Hold { .. });
        ensure!(kept && theirs.verdict != Verdict::Verified, "{name}: {theirs:?}");
        *counts.entry(format!("of a client: {}", theirs.action.word())).or_default() += 1;
    }
    println!("malformed-mime: {counts:#?}");
    Ok(())
}

#[test]
fn notices_count_for_the_mail_and_the_recipient_that_they_name_and_for_nothing_else() -> Result<()> {
    let (key, mut counts, mut wrong) = (key()?, Counts::new(), Vec::new());
    let other = Address::parse("somebody.else@client.example")?;
    for (case, raw) in cases("bounces-and-autoreplies")? {
        let (name, class) = (&case[0], case[1].split([':', ' ', '(']).next().unwrap_or_default());
        let plain = decide(&raw, &key, &Known::nobody(OFFICE)?)?.decision;
        *counts.entry(format!("{class} unasked: {}", plain.action.word())).or_default() += 1;
        // Of no mail of ours: nobody is told, answered or asked.
        let found = notice(&raw, &Limits::default())?;
        if found.is_some() && plain.action.word() != "others" {
            wrong.push(format!("{name}: {:?}", plain.action));
        }
        let Some((found, id)) = found.and_then(|found| Some((found.clone(), found.ids.first()?.clone()))) else {
            continue;
        };
        let Some((to, fate)) = found.recipients.first().cloned() else { continue };
        let want = match fate {
            Fate::Failed => "delivery-failure",
            Fate::Delayed => "delivery-delay",
            Fate::Unclear => "delivery-unclear",
            Fate::Relayed => "delivery-success",
        };
        let tied = Known::nobody(OFFICE)?.sent(&id, &to);
        let forged = Known::nobody(OFFICE)?.sent(&id, &other);
        let unknown = Known::nobody(OFFICE)?.sent(&format!("x{id}"), &to);
        for (office, want) in [(tied, want), (forged, "others"), (unknown, "others")] {
            let is = decide(&raw, &key, &office)?.decision.action;
            *counts.entry(format!("asked: {}", is.word())).or_default() += 1;
            if is.word() != want {
                wrong.push(format!("{name}: {is:?}, not {want}"));
            }
        }
    }
    println!("bounces-and-autoreplies: {counts:#?}");
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The project's own samples, likewise.
#[test]
fn every_sample_of_a_notice_is_decided_as_what_it_is() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/delivery");
    let (key, to, id) = (key()?, Address::parse("marie+a@client.example")?, "0123456789abcdef0123@cabinet.example");
    let mut seen = 0;
    for line in fs::read_to_string(folder.join("CASES.tsv"))?.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let raw = fs::read_to_string(folder.join(cells[0]))?;
        let raw = raw.replace("@ID@", id).replace("@TOQ@", to.as_typed()).replace("@TO@", to.as_typed());
        let raw = crlf(raw.replace("@TOX@", "marie+2Ba@client.example").replace("@PRACTICE@", OFFICE).as_bytes());
        let office = Known::nobody(OFFICE)?.client(to.clone(), None).sent(id, &to);
        let want: &[&str] = match cells[1] {
            // Found by its envelope id alone, which this registry doesn't know.
            _ if cells[0] == "envid-only.eml" || cells[0] == "postfix-delivered.eml" => &["others", "delivery-success"],
            "failed" => &["delivery-failure"],
            "delayed" => &["delivery-delay"],
            "relayed" => &["delivery-success"],
            "unclear" => &["delivery-unclear"],
            // A client's own are filed as what they are; others' are set aside, or a person's request.
            _ => &["file-automatic", "others", "request"],
        };
        let is = decide(&raw, &key, &office)?.decision.action;
        ensure!(want.contains(&is.word()), "{}: {is:?}", cells[0]);
        seen += 1;
    }
    ensure!(seen > 40, "{seen}");
    Ok(())
}

#[test]
fn replies_of_many_programs_are_filed_and_know_what_they_answer() -> Result<()> {
    let (key, mut counts) = (key()?, Counts::new());
    for (case, raw) in cases("quoted-replies")?.into_iter().filter(|(case, _)| case[0].ends_with(".eml")) {
        let mail = Mail::parse(&raw, &Limits::default())?;
        let FromField::One { address, .. } = &mail.from else {
            *counts.entry("without one sender".to_owned()).or_default() += 1;
            continue;
        };
        let office = Known::nobody(OFFICE)?.client(address.clone(), None);
        let decision = decide(&raw, &key, &office)?.decision;
        let kept = matches!(decision.action, Action::File { .. } | Action::Hold { .. });
        ensure!(kept && decision.verdict != Verdict::Verified, "{}: {decision:?}", case[0]);
        if let Some(parent) = case.get(5).filter(|cell| cell.trim().starts_with('<')) {
            let known = mail.in_reply_to.iter().chain(&mail.references).any(|id| parent.contains(id.as_str()));
            ensure!(known, "{}", case[0]);
        }
        *counts.entry(decision.action.word().to_owned()).or_default() += 1;
    }
    println!("quoted-replies: {counts:#?}");
    Ok(())
}

/// Some of each kind, from a real server to the end: none fails, none is filed, none stays, nobody is written to.
#[test]
fn mail_of_every_folder_goes_through_a_real_server() -> Result<()> {
    let mut mails = Vec::new();
    for (folder, every) in [("bounces-and-autoreplies", 7), ("malformed-mime", 12), ("openpgp-mails", 4)] {
        let fits = cases(folder)?.into_iter().filter(|(_, raw)| raw.len() < 200_000);
        mails.extend(fits.step_by(every).map(|(_, raw)| raw));
    }
    if mails.is_empty() {
        return Ok(());
    }
    let play = Play::new()?;
    play.scene.practice.set("intake.strangers", "\"silent\"")?;
    for raw in &mails {
        play.scene.lab.append(OFFICE, "INBOX", raw, None)?;
    }
    let round = play.pass(march(2, 9, 0))?;
    let clients = [&play.scene.marie, &play.scene.paul];
    for client in clients {
        round.nothing_to(client)?;
    }
    ensure!(round.counts["fetched"] == mails.len() && round.counts["failed"] == 0, "{}", round.counts);
    ensure!(common::ledger::lying(&play.scene, &["INBOX"])? == 0);
    for code in [&play.scene.c1, &play.scene.c2] {
        ensure!(play.scene.thread(code)?["messages"].as_array().is_some_and(Vec::is_empty));
    }
    println!("{} mails: {}", mails.len(), round.counts);
    Ok(())
}
