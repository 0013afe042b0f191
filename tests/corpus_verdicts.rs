//! Mails of public test suites against the verdicts that a correct receiver gives them.
//!
//! The mails aren't part of the project: `$CADRE_CORPUS`, or `../shared/corpus` beside it, has them.

mod common;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use cadre::app::examine::{Examined, Tools, examine};
use cadre::domain::intake::Action;
use cadre::mime::Limits;
use cadre::model::{Address, UnsignedPolicy, Verdict};
use cadre::pgp::{Certificate, PracticeKey};
use chrono::{DateTime, TimeZone as _, Utc};
use common::corpus::{corpus, crlf};
use common::registry::Known;

struct Case {
    file: String,
    verdict: String,
    raw: Vec<u8>,
    key: PracticeKey,
    registry: Known,
}

/// After every mail of the suites was written, and before their keys end.
fn moment() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2024, 6, 1, 0, 0, 0).single().expect("a real time")
}

/// The address that the certificate is pinned for: the last of those in From.
fn sender(from: &str) -> Result<Address> {
    let last = from.rsplit(';').next().unwrap_or(from).trim();
    let bare = last.rsplit_once('<').map_or(last, |(_, rest)| rest.trim_end_matches('>'));
    Address::parse(bare).with_context(|| format!("no address in {from:?}"))
}

fn case(base: &Path, line: &str) -> Result<Case> {
    let cells: Vec<&str> = line.split('\t').collect();
    let [file, key, _, from, cert, verdict, ..] = cells[..] else { anyhow::bail!("a short line: {line}") };
    // Where nothing is encrypted any key serves that isn't the sender's own.
    let key = match key {
        "-" if cert.contains("alice") => "keys/bob@openpgp.example-0xfbfcc82a015e7330-secret.asc",
        "-" => "keys/alice@openpgp.example-0xf231550c4f47e38e-secret.asc",
        named => named,
    };
    let certificate = match cert {
        "-" => None,
        named => Some(Certificate::from_bytes(&fs::read(base.join(named))?)?),
    };
    Ok(Case {
        file: file.to_owned(),
        verdict: verdict.to_owned(),
        raw: crlf(&fs::read(base.join(file))?),
        key: PracticeKey::load(&fs::read(base.join(key))?, None)?,
        registry: Known::nobody("praxis@practice.example")?.client(sender(from)?, certificate),
    })
}

/// What the corpus' README asks of each class; the reason why it isn't so.
fn judge(class: &str, examined: &Examined) -> Result<(), &'static str> {
    let (verdict, action) = (examined.decision.verdict, &examined.decision.action);
    let say = |right: bool, wrong| if right { Ok(()) } else { Err(wrong) };
    let filed = matches!(action, Action::File { .. });
    match class {
        "valid-signed" | "valid-encrypted-signed" => {
            say(verdict == Verdict::Verified && filed, "not verified and filed")
        }
        "encrypted-unsigned" | "unsigned" => say(verdict == Verdict::Unsigned, "not unsigned"),
        "reject-spoof" => say(verdict != Verdict::Verified && matches!(action, Action::Hold { .. }), "not held"),
        "partly-signed" | "outer-unsigned" => {
            say(matches!(verdict, Verdict::Partial | Verdict::Unsigned), "neither partial nor unsigned")
        }
        "sig-invalid" => say(verdict == Verdict::Bad && !filed, "not bad and held"),
        "sig-unknown-key" => say(verdict == Verdict::UnknownSigner, "not of an unknown signer"),
        "undecryptable" => say(verdict == Verdict::Undecryptable && !filed, "not undecryptable and held"),
        "no-oracle" => say(!(examined.encrypted || verdict == Verdict::Verified && filed), "opened beside clear parts"),
        "reject-mdc" => say(examined.entity.is_none(), "a plaintext left the decryptor"),
        // Repaired or held; legacy, expired and foreign cryptography: kept, and never believed.
        _ => say(verdict != Verdict::Verified, "verified"),
    }
}

/// Where the class of the table isn't the whole truth, and why the verdict is the better answer.
fn other_answer(file: &str, examined: &Examined) -> bool {
    // Thunderbird repairs this armor in HTML; for a gateway it is a block beside something else, and held.
    file == "eml/bob-enc-html-nbsp.eml"
        && examined.decision.verdict == Verdict::Partial
        && matches!(examined.decision.action, Action::Hold { .. })
}

#[test]
fn every_mail_of_the_corpus_gets_the_verdict_that_its_class_asks_for() -> Result<()> {
    let Some(base) = corpus("openpgp-mails") else { return Ok(()) };
    let limits = Limits::default();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for line in fs::read_to_string(base.join("CASES.tsv"))?.lines().skip(1) {
        let case = case(&base, line).with_context(|| line.split('\t').next().unwrap_or_default().to_owned())?;
        let policy = UnsignedPolicy::Flag;
        let tools = Tools { key: &case.key, registry: &case.registry, limits: &limits, policy, authserv: None };
        let examined = examine(&case.raw, moment(), &tools)?;
        let decision = &examined.decision;
        println!(
            "{:<22} {:<16} {:<16} {}",
            case.verdict,
            decision.verdict.to_string(),
            decision.action.word(),
            case.file
        );
        if let Err(why) = judge(&case.verdict, &examined)
            && !other_answer(&case.file, &examined)
        {
            wrong.push(format!("{} ({}): {why}: {} {:?}", case.file, case.verdict, decision.verdict, decision.reasons));
        }
        seen += 1;
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    ensure!(seen >= 30, "only {seen} mails");
    Ok(())
}
