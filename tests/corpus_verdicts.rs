//! Mails of public test suites against the verdicts that a correct receiver gives them.
//!
//! The mails aren't part of the project: `$CADRE_CORPUS`, or `../shared/corpus` beside it, has them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use cadre::app::examine::{Examined, Registry, Tools, examine};
use cadre::domain::intake::Action;
use cadre::mime::Limits;
use cadre::model::{Address, ClientId, Person, UnsignedPolicy, Verdict};
use cadre::pgp::{Certificate, PracticeKey};
use chrono::{DateTime, TimeZone as _, Utc};

/// One person, who is the sender of the case, and nothing seen before.
struct OnePerson {
    practice: Address,
    addresses: Vec<Address>,
    certificate: Option<Certificate>,
}

const SENDER: Person = Person::Client(ClientId(1));

impl Registry for OnePerson {
    fn person_by_address(&self, address: &Address) -> Option<Person> {
        self.addresses.contains(address).then_some(SENDER)
    }

    fn people_by_handle(&self, handle: &str) -> Vec<(Person, Certificate)> {
        let theirs = self.certificate.iter().filter(|c| c.handles().iter().any(|own| own == handle));
        theirs.map(|certificate| (SENDER, certificate.clone())).collect()
    }

    fn has_seen_signature(&self, _: &str, _: &[u8]) -> bool {
        false
    }

    fn has_seen_bytes(&self, _: &[u8]) -> bool {
        false
    }

    fn is_own_message_id(&self, _: &str) -> bool {
        false
    }

    fn practice_address(&self) -> &Address {
        &self.practice
    }
}

struct Case {
    file: String,
    verdict: String,
    raw: Vec<u8>,
    key: PracticeKey,
    registry: OnePerson,
}

fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("CADRE_CORPUS").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    named.into_iter().chain([beside]).map(|base| base.join("openpgp-mails")).find(|base| base.is_dir())
}

/// After every mail of the suites was written, and before their keys end.
fn moment() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2024, 6, 1, 0, 0, 0).single().expect("a real time")
}

/// Mail on the wire never has bare line ends; many of these files do.
fn crlf(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 20);
    for (i, byte) in raw.iter().enumerate() {
        if *byte == b'\n' && (i == 0 || raw[i - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
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
    let practice = Address::parse("praxis@practice.example")?;
    Ok(Case {
        file: file.to_owned(),
        verdict: verdict.to_owned(),
        raw: crlf(&fs::read(base.join(file))?),
        key: PracticeKey::load(&fs::read(base.join(key))?, None)?,
        registry: OnePerson { practice, addresses: vec![sender(from)?], certificate },
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
    let Some(base) = folder() else {
        eprintln!("skipped: there is no corpus of mails; set CADRE_CORPUS to its folder");
        return Ok(());
    };
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
