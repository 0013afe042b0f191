//! Every form that a letter can have, on a real Postfix.

use anyhow::{Context as _, Result, ensure};

use crate::common::scene::OFFICE;
use crate::common::{Form, LabOptions};
use crate::desk::{Desk, Seen, each, message_id, spaces};

const VERIFIED: &str = "VÉRIFIÉE : signée par la clé enregistrée de cette personne.";
const UNSIGNED: &str = "NON SIGNÉE : n'importe qui peut avoir écrit cette lettre.";

#[test]
fn every_form_of_a_letter_is_filed_with_its_own_verdict() -> Result<()> {
    let mut desk = Desk::open(LabOptions::default(), each())?;
    let code = desk.scene.c1.clone();
    let forms = [
        (Form::SignedEncrypted, "verified", VERIFIED, false),
        (Form::Signed, "verified", VERIFIED, true),
        (Form::SignedThenEncrypted, "verified", VERIFIED, false),
        (Form::Inline, "verified", VERIFIED, false),
        (Form::InlineSigned, "verified", VERIFIED, true),
        (Form::Encrypted, "unsigned", UNSIGNED, false),
        (Form::Plain, "unsigned", UNSIGNED, false),
    ];
    let mut root = None;
    for (number, (form, verdict, wording, in_clear)) in forms.into_iter().enumerate() {
        let words = format!("le phare {number} tourne sans gardien");
        let subject = format!("Nuit{number}blanche");
        desk.secret(&[&words, &subject]);
        let letter = desk.letter(&subject, &format!("Bonjour,\n\n{words}.\n")).form(form);
        let raw = desk.scene.marie.write(&letter)?;
        let said = desk.explained(&raw, verdict, "file", Some(&code)).with_context(|| format!("{form:?}"))?;
        ensure!(
            said["marks"].as_array().is_some_and(|m| m.contains(&"in-clear".into())) == in_clear,
            "{form:?} {said}"
        );
        desk.scene.lab.send(&desk.scene.marie.address, OFFICE, &raw)?;
        desk.scene.lab.wait_mails(OFFICE, "INBOX", 1)?;
        let seen = desk.pass().with_context(|| format!("{form:?}"))?;
        ensure!(seen.counts["fetched"] == 1 && seen.counts["filed"] == 1, "{form:?} {}", seen.counts);
        ensure!(seen.counts["held"] == 0 && seen.counts["failed"] == 0, "{form:?} {}", seen.counts);
        let filed = Seen::only(&seen.marie)?;
        ensure!(filed["verdict"] == verdict && filed["state"] == "filed", "{form:?} {filed:#}");
        ensure!(filed["kind"] == "letter" && filed["marks"] == said["marks"], "{form:?} {filed:#}");

        ensure!(seen.to_therapist.len() == 1, "{:?}", crate::desk::subjects(&seen.to_therapist));
        let forward = &seen.to_therapist[0];
        ensure!(forward.decrypted, "a forward in clear");
        ensure!(forward.subject == format!("[{code}] {subject}"), "{form:?} {}", forward.subject);
        ensure!(forward.texts.len() == 2, "{form:?} {:?}", forward.texts);
        let own = spaces(&forward.texts[0]);
        ensure!(own.contains(wording) && forward.texts[1].contains(&words), "{:?}", forward.texts);
        ensure!(!forward.texts[0].contains(&words), "the client's words in Cadre's part");
        ensure!(forward.texts[0].contains("EN CLAIR") == in_clear, "{:?}", forward.texts);
        ensure!(own.contains("Arrivée le lundi 2 mars à 9 h") && own.contains("Jeton : "), "{own}");
        // One conversation a client, from a root that is none of the client's identifiers.
        let references = forward.inner("References").context("no References")?.to_owned();
        let first = references.split_whitespace().next().unwrap_or_default().to_owned();
        ensure!(*root.get_or_insert(first.clone()) == first, "{references}");
        let entity = String::from_utf8_lossy(&forward.entity);
        ensure!(!entity.contains(message_id(&raw).trim_matches(['<', '>'])), "the client's Message-ID went over");

        // One acknowledgement for the turn; how to sign once in 30 days.
        match number {
            0 => {
                ensure!(seen.to_marie.len() == 1, "{:?}", crate::desk::subjects(&seen.to_marie));
                let acknowledgement = &seen.to_marie[0];
                ensure!(acknowledgement.decrypted && !acknowledgement.text().contains(&words));
                ensure!(acknowledgement.outer("In-Reply-To") == Some(message_id(&raw).as_str()));
                ensure!(acknowledgement.outer("Auto-Submitted").is_some());
            }
            5 => {
                ensure!(seen.to_marie.len() == 1, "{:?}", crate::desk::subjects(&seen.to_marie));
                ensure!(seen.to_marie[0].subject == "Signer vos lettres" && seen.to_marie[0].decrypted);
            }
            _ => ensure!(seen.to_marie.is_empty(), "{form:?} {:?}", crate::desk::subjects(&seen.to_marie)),
        }
        ensure!(desk.folder(&["INBOX"])? == 0 && desk.folder(&["Cadre", &code])? == number + 1, "{form:?}");
    }
    let thread = desk.scene.thread(&code)?;
    ensure!(thread["turn"]["letters"] == 7 && thread["turn"]["acknowledged"] == true, "{thread:#}");
    ensure!(thread["turn"]["due"] == "2026-03-03T17:00:00Z", "after the cut-off: {thread:#}");
    desk.scene.practice.run(&["journal", "verify"])?.expect_ok()?;
    Ok(())
}
