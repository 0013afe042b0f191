//! A practice whose mail comes back.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::common::mail::{field, headers};
use crate::common::play::{Play, Round};
use crate::common::scene::{OFFICE, march};
use crate::common::{ledger, mail};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/delivery")
}

/// A sample about the mail with this id to this address, as it lies in a mailbox.
pub fn notice(name: &str, id: &str, to: &str) -> Result<Vec<u8>> {
    let raw = std::fs::read_to_string(folder().join(format!("{name}.eml")))?;
    let raw = raw
        .replace("@ENVID@", id.split('@').next().unwrap_or_default())
        .replace("@ID@", id)
        .replace("@TOX@", to)
        .replace("@TOQ@", to)
        .replace("@TO@", to)
        .replace("@PRACTICE@", OFFICE);
    Ok(raw.replace('\n', "\r\n").into_bytes())
}

/// The Message-ID of a mail as it left, without angles.
pub fn id_of(raw: &[u8]) -> Result<String> {
    let fields = headers(raw);
    Ok(field(&fields, "Message-ID").context("a mail has an id")?.trim_matches(['<', '>']).to_owned())
}

/// What a notice brought about.
pub fn put(play: &Play, raw: &[u8], at: DateTime<Utc>) -> Result<Round> {
    play.scene.lab.deliver("", OFFICE, raw)?;
    play.pass(at)
}

/// Marie's letter of the evening, answered in the morning, sent at six: the id of what left, and the forward.
pub fn replied(play: &Play) -> Result<(String, Vec<u8>)> {
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une première lettre.\n", march(1, 22, 10))?;
    play.answer(&forward, "Bonjour.\n\nVoici ce que j'en pense.", march(2, 8, 0))?;
    let round = play.pass(march(2, 17, 0))?;
    let id = id_of(&round.one(&s.marie)?.raw)?;
    ensure!(play.states(&s.c1, "reply")? == ["sent"] && play.turn(&s.c1)?["state"] == "answered");
    Ok((id, forward))
}

/// Lines of the journal of one kind.
pub fn journal(play: &Play, kind: &str) -> Result<Vec<Value>> {
    let shown = play.scene.practice.json(&["journal", "show"])?;
    let all = shown.as_array().cloned().or_else(|| shown["entries"].as_array().cloned()).context("entries")?;
    Ok(all.into_iter().filter(|entry| entry["kind"] == kind).collect())
}

/// What `explain` says of a mail in a file.
pub fn explained(play: &Play, raw: &[u8]) -> Result<Value> {
    let file = play.scene.practice.dir.join(format!("{}.eml", mail::nonce()));
    std::fs::write(&file, raw)?;
    let said = play.scene.practice.json(&["explain", &file.to_string_lossy()]);
    std::fs::remove_file(file)?;
    said
}

/// How many mails lie in a folder of the practice's mailbox.
pub fn lying(play: &Play, folder: &[&str]) -> Result<usize> {
    ledger::lying(&play.scene, folder)
}
