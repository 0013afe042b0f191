//! Verdicts that hold a letter, or mark it, with what each side is told.

use anyhow::{Context as _, Result, ensure};
use chrono::TimeDelta;

use crate::common::{Form, Letter, canary};
use crate::desk::{Desk, Seen, each, light, replaced, subjects, with_armor};

const WORDS: &str = "la barque a pris l'eau au ponton";

/// Plays a mail that must be held for `code`, on a day of its own so that its notice isn't over the ceiling.
fn held(desk: &mut Desk, raw: &[u8], verdict: &str, code: &str, paul: bool) -> Result<(Seen, serde_json::Value)> {
    desk.wait(TimeDelta::hours(25))?;
    let said = desk.explained(raw, verdict, "hold", Some(code))?;
    let seen = desk.play(raw).context(verdict.to_owned())?;
    ensure!(seen.counts["held"] == 1 && seen.counts["filed"] == 0 && seen.counts["failed"] == 0, "{}", seen.counts);
    let message = Seen::only(if paul { &seen.paul } else { &seen.marie })?.clone();
    ensure!(message["verdict"] == verdict && message["state"] == "held", "{message:#}");
    ensure!(message["marks"] == said["marks"], "{message:#} {said:#}");
    ensure!(if paul { seen.marie.is_empty() } else { seen.paul.is_empty() }, "somebody else's thread was touched");
    ensure!(desk.folder(&["INBOX"])? == 0, "the original is still there");
    ensure!(desk.folder(&["Cadre", code])? == 0, "held mail in the folder");
    let thread = desk.scene.thread(code)?;
    ensure!(thread["turn"]["state"] == "none", "held mail opened a turn: {thread:#}");
    Ok((seen, message))
}

fn notice(seen: &Seen, number: &str, wording: &str, releasable: bool) -> Result<()> {
    let notice = seen.told("retenue")?;
    let text = notice.text();
    ensure!(notice.decrypted && text.contains(wording) && text.contains(number), "{text}");
    ensure!(text.contains(&format!("/release {number}")) == releasable, "{text}");
    ensure!(text.contains(&format!("/discard {number}")) && !text.contains(WORDS), "{text}");
    ensure!(seen.to_therapist.len() == 1, "{:?}", subjects(&seen.to_therapist));
    Ok(())
}

#[test]
fn row_01_what_cannot_be_trusted_is_held_and_told_and_released_by_hand() -> Result<()> {
    let mut desk = Desk::open(light(), each())?;
    desk.secret(&[WORDS, "Retour au ponton"]);
    let (marie, paul) = (desk.scene.c1.clone(), desk.scene.c2.clone());

    // THREATS 2: a good signature of Paul's under Marie's name belongs to Paul.
    let mut letter = desk.letter("Retour au ponton", WORDS);
    letter.forged_from = Some(("Marie".into(), "marie@client.example".into()));
    let raw = desk.scene.paul.write(&letter)?;
    let (seen, message) = held(&mut desk, &raw, "wrong-signer", &paul, true)?;
    notice(&seen, "H1", "MAUVAIS SIGNATAIRE", true)?;
    ensure!(message["number"] == "H1" && seen.to_marie.is_empty() && seen.to_paul.is_empty(), "{message:#}");
    let pauls = seen.raw_to_therapist[0].clone();

    // THREATS 1: one byte of the signed text.
    let raw = desk.scene.marie.write(&desk.letter("Retour au ponton", WORDS).form(Form::Signed))?;
    let flipped = replaced(&raw, "barque", "barqve")?;
    let (seen, message) = held(&mut desk, &flipped, "bad", &marie, false)?;
    let maries = seen.raw_to_therapist[0].clone();
    notice(&seen, "H2", "SIGNATURE NON VALABLE", true)?;
    ensure!(message["marks"] == serde_json::json!(["in-clear"]) && seen.to_marie.is_empty(), "{message:#}");
    // The digest says the same of it.
    let seen = desk.wait(TimeDelta::hours(25))?;
    let digest = seen.to_therapist.iter().find(|m| m.text().contains("H2")).context("no digest with H2")?;
    ensure!(digest.text().contains("SIGNATURE NON VALABLE") && !digest.text().contains(WORDS), "{}", digest.text());

    // THREATS 7: the end of the encrypted data, where its integrity is checked.
    let raw = desk.scene.marie.write(&desk.letter("Retour au ponton", WORDS))?;
    let broken = with_armor(&raw, |mut packet| {
        let at = packet.len() - 3;
        packet[at] ^= 0x55;
        packet
    })?;
    let (seen, message) = held(&mut desk, &broken, "bad", &marie, false)?;
    notice(&seen, "H3", "CONTENU ALTÉRÉ", false)?;
    ensure!(message["marks"].as_array().is_some_and(|m| m.contains(&"integrity-failed".into())), "{message:#}");

    // An encrypted part beside a clear one, and an armored block below a sentence.
    let boundary = "Content-Type: multipart/mixed; boundary=\"bb\"\r\n\r\n--bb\r\nContent-Type: text/plain\r\n\r\n\
                    Un mot en clair.\r\n--bb\r\n";
    let at = String::from_utf8_lossy(&raw).find("Content-Type: multipart/encrypted").context("no envelope")?;
    let beside = [&raw[..at], boundary.as_bytes(), &raw[at..], b"\r\n--bb--\r\n"].concat();
    let (seen, _) = held(&mut desk, &beside, "partial", &marie, false)?;
    notice(&seen, "H4", "PROTÉGÉE EN PARTIE", true)?;
    let inline = desk.scene.marie.write(&desk.letter("Retour", WORDS).form(Form::Inline))?;
    let below = replaced(&inline, "-----BEGIN PGP", "Voici :\r\n\r\n-----BEGIN PGP")?;
    held(&mut desk, &below, "partial", &marie, false)?;

    // To another key than ours: the sender gets ours.
    desk.scene.marie.meet(&desk.scene.paul)?;
    let mut letter = desk.letter("Retour au ponton", WORDS);
    letter.keys = Some(vec![desk.scene.paul.address.clone()]);
    let raw = desk.scene.marie.write(&letter)?;
    let (seen, _) = held(&mut desk, &raw, "undecryptable", &marie, false)?;
    notice(&seen, "H6", "ILLISIBLE", false)?;
    ensure!(seen.to_marie.len() == 1, "{:?}", subjects(&seen.to_marie));
    let told = &seen.to_marie[0];
    ensure!(told.text().contains("de nouveau"), "{}", told.text());
    let key = told.attachments.iter().find(|(_, kind, _)| kind == "application/pgp-keys").context("no key")?;
    ensure!(String::from_utf8_lossy(&key.2).contains("BEGIN PGP PUBLIC KEY"), "not a key");

    // What the practice kept of the broken one is ciphertext; it can't be released, the others can.
    release(&mut desk, &maries, "H3")?.told("refus")?;
    let thread = desk.scene.thread(&marie)?;
    ensure!(of_number(&thread, "H3")?["state"] == "held", "{thread:#}");
    let seen = release(&mut desk, &maries, "H2")?;
    let forward = seen
        .to_therapist
        .iter()
        .find(|m| m.text().contains("barqve"))
        .with_context(|| format!("H2: {:?}", seen.to_therapist.iter().map(|m| m.text()).collect::<Vec<_>>()))?;
    ensure!(forward.texts[0].contains("SIGNATURE NON VALABLE"), "{:?}", forward.texts);
    ensure!(crate::desk::spaces(&forward.texts[0]).contains("TRANSMISE À VOTRE DEMANDE"), "{:?}", forward.texts);
    let thread = desk.scene.thread(&marie)?;
    ensure!(of_number(&thread, "H2")?["state"] == "released", "{thread:#}");
    ensure!(desk.folder(&["Cadre", &marie])? == 1, "no copy of the released letter");
    let seen = release(&mut desk, &pauls, "H1")?;
    ensure!(seen.to_therapist.iter().any(|m| m.text().contains(WORDS)), "{:?}", subjects(&seen.to_therapist));
    ensure!(canary(&[desk.scene.disk()], &["barqve"])?.is_empty());
    Ok(())
}

fn of_number<'a>(thread: &'a serde_json::Value, number: &str) -> Result<&'a serde_json::Value> {
    let messages = thread["messages"].as_array().context("no messages")?;
    messages.iter().find(|m| m["number"] == number).with_context(|| format!("{thread:#}"))
}

/// The therapist answers a notice with one line.
fn release(desk: &mut Desk, question: &[u8], number: &str) -> Result<Seen> {
    let now = desk.now;
    let mut letter = desk.scene.therapist.reply_to(question, &format!("/release {number}"))?.at(now);
    letter.subject = "Re: une lettre".into();
    let raw = desk.scene.therapist.write(&letter)?;
    desk.play(&raw)
}

#[test]
fn row_03_letters_that_are_filed_with_a_mark_say_so() -> Result<()> {
    let mut desk = Desk::open(light(), each())?;
    desk.secret(&[WORDS, "Le ponton"]);
    let code = desk.scene.c1.clone();

    // Another person's key under Marie's address.
    let stranger = crate::common::Person::persona(&desk.scene.lab, "inconnue")?;
    stranger.meet(&desk.scene.office)?;
    let mut letter = desk.letter("Le ponton", WORDS);
    letter.forged_from = Some(("Marie".into(), "marie@client.example".into()));
    let raw = stranger.write(&letter)?;
    desk.explained(&raw, "unknown-signer", "file", Some(&code))?;
    let seen = desk.play(&raw)?;
    let filed = Seen::only(&seen.marie)?;
    ensure!(filed["verdict"] == "unknown-signer" && filed["marks"] == serde_json::json!(["new-key"]), "{filed:#}");
    let text = seen.told("Le ponton")?.text();
    ensure!(text.contains("CLÉ INCONNUE") && text.contains("NOUVELLE CLÉ") && text.contains(WORDS), "{text}");

    // Marie from an address that nobody registered: answered at the registered one only.
    let mut letter = desk.letter("Le ponton", WORDS);
    letter.forged_from = Some(("Marie".into(), "marie@autre.example".into()));
    let raw = desk.scene.marie.write(&letter)?;
    desk.explained(&raw, "verified", "file", Some(&code))?;
    let seen = desk.play(&raw)?;
    let filed = Seen::only(&seen.marie)?;
    ensure!(filed["verdict"] == "verified" && filed["marks"] == serde_json::json!(["other-address"]), "{filed:#}");
    ensure!(seen.told("Le ponton")?.text().contains("AUTRE ADRESSE"));
    ensure!(desk.unread("marie@autre.example")?.is_empty(), "an answer to an unregistered address");

    // THREATS 3: a client who writes what Cadre writes stands in a part of their own.
    let copied = "VÉRIFIÉE : signée par la clé enregistrée de cette personne.";
    let raw = desk.scene.marie.write(&desk.letter("Le ponton", copied).form(Form::Plain))?;
    let seen = desk.play(&raw)?;
    let forward = seen.told("Le ponton")?;
    ensure!(forward.texts[0].contains("NON SIGNÉE") && !forward.texts[0].contains(copied), "{:?}", forward.texts);
    ensure!(forward.texts[1].contains(copied), "{:?}", forward.texts);

    // THREATS 27: signed for somebody else, encrypted again to the practice, is marked. GnuPG 2.2 names no
    // recipients, so nothing is said where nothing is known; and hidden recipients are opened (THREATS 24).
    let letter = Letter { keys: Some(vec![]), ..desk.letter("Le ponton", WORDS) };
    let plain = desk.scene.marie.write(&Letter { form: Form::Plain, ..letter.clone() })?;
    let at = String::from_utf8_lossy(&plain).find("Content-Type:").context("no body")?;
    let args = ["--armor", "--sign", "--encrypt", "--throw-keyids", "-r", "ecrire@cabinet.example"];
    desk.scene.marie.set_clock(desk.now);
    let (armor, _) = desk.scene.marie.gpg(&args, &plain[at..])?;
    let whole = desk.scene.marie.write(&desk.letter("Le ponton", "?"))?;
    let (_, hidden) = crate::desk::armor_of(&armor)?;
    let raw = with_armor(&whole, |_| hidden)?;
    let raw = crate::desk::with_field(&raw, "To", "quelqu'un@ailleurs.example");
    desk.explained(&raw, "verified", "file", Some(&code))?;
    let seen = desk.play(&raw)?;
    ensure!(Seen::only(&seen.marie)?["verdict"] == "verified" && seen.counts["filed"] == 1, "{}", seen.counts);

    // `unsigned = "hold"`, and what the mailbox's own server says of DMARC.
    desk.scene.practice.set("intake.unsigned", "\"hold\"")?;
    let raw = desk.scene.paul.write(&desk.letter("Le ponton", WORDS).form(Form::Encrypted))?;
    let seen = desk.play(&raw)?;
    ensure!(Seen::only(&seen.paul)?["state"] == "held", "{:#?}", seen.paul);
    ensure!(subjects(&seen.to_paul) == ["Signer vos lettres"], "{:?}", subjects(&seen.to_paul));
    desk.scene.practice.set("intake.unsigned", "\"flag\"")?;
    desk.scene.practice.set("intake.authserv", "\"mx.cabinet.example\"")?;
    let raw = desk.scene.paul.write(&desk.letter("Le ponton", WORDS).form(Form::Plain))?;
    let failed = "mx.cabinet.example; dmarc=fail (p=none) header.from=client.example";
    let seen = desk.play(&crate::desk::with_field(&raw, "Authentication-Results", failed))?;
    let message = Seen::only(&seen.paul)?;
    ensure!(message["state"] == "held" && message["marks"] == serde_json::json!(["dmarc-fail"]), "{message:#}");
    Ok(())
}
