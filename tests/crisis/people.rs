//! Who writes, and who must not be written to: clear mail, held mail, strangers, machines, discreet people.

use anyhow::{Context as _, Result, ensure};
use cadre::store::Care;
use chrono::TimeDelta;

use crate::common::ledger::in_store;
use crate::common::{Form, Letter, Person};
use crate::desk::{Desk, Seen, replaced};
use crate::story::{A, B, NONE, V, books, open, open_alerts, scanned, sent};

/// Changes what was agreed with a client, as the therapist's commands do.
fn care(desk: &Desk, code: &str, change: impl FnOnce(&mut Care)) -> Result<()> {
    in_store(&desk.scene.practice, async |tx| {
        let client = tx.client_by_code(&code.parse()?).await?.context("no client")?;
        tx.change_care(client.id, change).await?;
        Ok(())
    })
}

#[test]
fn clear_mail_is_answered_in_clear_and_held_mail_is_scanned() -> Result<()> {
    let mut desk = open()?;
    let raw = desk.scene.marie.write(&desk.letter("Nuit", A).form(Form::Plain))?;
    let seen = desk.play(&raw)?;
    ensure!(scanned(&seen.marie)? == "A" && books(&desk)? == [1, 1, 0], "{:#?}", seen.marie);
    let clear: Vec<_> = seen.to_marie.iter().filter(|mail| !mail.decrypted).collect();
    ensure!(clear.len() == 1, "{}", seen.to_marie.len());
    let from = clear[0].outer("From").unwrap_or_default();
    ensure!(from.contains("Correspondance") && !clear[0].text().contains("Cabinet"), "{from}");

    // Altered after it was signed, with words of danger: held, numbered, and said.
    let raw = desk.scene.paul.write(&desk.letter("Nuit", &format!("zzz. {A}")).form(Form::InlineSigned))?;
    let seen = desk.play(&replaced(&raw, "zzz", "zyz")?)?;
    ensure!(seen.counts["held"] == 1 && scanned(&seen.paul)? == "A", "{:#?}", seen.paul);
    ensure!(books(&desk)?[0] == 2 && open_alerts(&desk)? == 2, "{:?}", books(&desk)?);
    let number = crate::story::journal(&desk, "alert")?[1]["detail"]["number"].clone();
    ensure!(number == "H1", "{number}");

    // Words before what is signed: nobody can say who wrote them; they are read all the same.
    let raw = desk.scene.paul.write(&desk.letter("Nuit", NONE).form(Form::InlineSigned))?;
    let mixed = replaced(&raw, "-----BEGIN PGP SIGNED", &format!("{V}\r\n\r\n-----BEGIN PGP SIGNED"))?;
    let seen = desk.play(&mixed)?;
    let letter = Seen::only(&seen.paul)?;
    ensure!(letter["verdict"] == "partial" && letter["scan"] == "V", "{letter:#}");
    ensure!(books(&desk)?[0] == 3 && seen.told("ALERTE V")?.text().contains("/release H2"), "{:?}", books(&desk)?);

    // Paul's good signature under Marie's name.
    let mut letter = desk.letter("Nuit", V);
    letter.forged_from = Some(("Marie".into(), desk.scene.marie.address.clone()));
    let raw = desk.scene.paul.write(&letter)?;
    let seen = desk.play(&raw)?;
    ensure!(seen.counts["held"] == 1 && books(&desk)?[0] == 4, "{} {:?}", seen.counts, books(&desk)?);
    Ok(())
}

#[test]
fn strangers_get_the_lines_and_machines_nothing() -> Result<()> {
    let mut desk = open()?;
    let stranger = Person::persona(&desk.scene.lab, "inconnue")?;
    let plain = |desk: &Desk, text: &str| Letter { protected: false, ..desk.letter("Bonjour", text).form(Form::Plain) };
    let raw = stranger.write(&plain(&desk, A))?;
    let seen = desk.play(&raw)?;
    // The alert, and the request with it.
    ensure!(seen.counts["filed"] == 1 && seen.to_therapist.len() == 2, "{}", seen.counts);
    let practice = &desk.scene.practice;
    let kinds = [sent(practice, "stranger-safety")?, sent(practice, "stranger")?, sent(practice, "alert")?];
    ensure!(kinds == [1, 0, 1], "{kinds:?}");
    let told = desk.unread(&stranger.address)?;
    ensure!(told.len() == 1 && !stranger.read(&told[0])?.text().contains("mourir"));
    // Again on the same day: another alert, and the letter with it, which the alert says; no second answer.
    let raw = stranger.write(&plain(&desk, &format!("{A} Vraiment.")))?;
    let seen = desk.play(&raw)?;
    ensure!(seen.counts["filed"] == 1 && seen.to_therapist.len() == 2, "{}", seen.counts);
    ensure!(seen.to_therapist.iter().any(|mail| mail.text().contains("Vraiment.")), "the letter isn't passed on");
    ensure!(seen.told("ALERTE A")?.text().contains("transmise maintenant"), "{}", seen.told("ALERTE A")?.text());
    let practice = &desk.scene.practice;
    let kinds = [sent(practice, "stranger-safety")?, sent(practice, "stranger")?, sent(practice, "alert")?];
    ensure!(kinds == [1, 0, 2], "{kinds:?}");
    let numbers = crate::story::journal(&desk, "alert")?;
    ensure!(numbers[0]["detail"]["number"] != numbers[1]["detail"]["number"], "{numbers:#?}");
    // What isn't pressing stays among the others, and the alert says where it is.
    let raw = stranger.write(&plain(&desk, B))?;
    let seen = desk.play(&raw)?;
    ensure!(seen.counts["filed"] == 0 && desk.folder(&["Cadre", "Others"])? == 1, "{}", seen.counts);
    let alert = seen.told("ALERTE B")?.text();
    ensure!(alert.contains("ne vous a pas été transmise"), "{alert}");

    // A machine may pass on a person's words: an alert, and no answer. Its receipts are nobody's to look at.
    let mut letter = desk.letter("Absence", A).form(Form::Plain);
    letter.extra_headers.push(("Auto-Submitted".into(), "auto-replied".into()));
    let raw = desk.scene.paul.write(&letter)?;
    let seen = desk.play(&raw)?;
    ensure!(scanned(&seen.paul)? == "A", "{:#?}", seen.paul);
    ensure!(sent(&desk.scene.practice, "alert")? == 4 && seen.to_paul.is_empty());
    ensure!(seen.to_therapist.len() == 2 && desk.scene.thread(&desk.scene.c2)?["turn"]["state"] != "open");
    let mut letter = desk.letter("Lu", NONE).attach("r.bin", "application/octet-stream", b"\0\x01\xff");
    letter.extra_headers.push(("Auto-Submitted".into(), "auto-replied".into()));
    let raw = desk.scene.paul.write(&letter)?;
    let seen = desk.play(&raw)?;
    ensure!(Seen::only(&seen.paul)?["scan"].is_null(), "{:#?}", seen.paul);
    Ok(())
}

#[test]
fn discreet_quiet_and_muted_people_get_no_safety_letter() -> Result<()> {
    let mut desk = open()?;
    let (c1, c2) = (desk.scene.c1.clone(), desk.scene.c2.clone());
    care(&desk, &c1, |care| care.discreet = true)?;
    care(&desk, &c2, |care| care.safety_quiet = true)?;
    for person in [&desk.scene.marie, &desk.scene.paul] {
        desk.put(&person.write(&desk.letter("Nuit", A))?)?;
    }
    let seen = desk.pass()?;
    ensure!(books(&desk)? == [2, 0, 2], "{:?}", books(&desk)?);
    // The acknowledgement of a discreet client names no line but 112.
    ensure!(seen.to_marie.len() == 1 && !seen.to_marie[0].text().contains("3114"), "{}", seen.to_marie[0].text());
    ensure!(seen.to_paul.len() == 1 && seen.to_paul[0].text().contains("3114"), "{}", seen.to_paul[0].text());
    care(&desk, &c2, |care| (care.safety_quiet, care.muted) = (false, true))?;
    desk.now += TimeDelta::days(2);
    let raw = desk.scene.paul.write(&desk.letter("Encore", &format!("{NONE} {A}")))?;
    desk.play(&raw)?;
    ensure!(books(&desk)?[1] == 0 && open_alerts(&desk)? == 3, "{:?}", books(&desk)?);
    Ok(())
}
