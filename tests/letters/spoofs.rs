//! Mail that wants to be somebody else's, or more than it is (THREATS 5, 6, 15).

use anyhow::{Context as _, Result, ensure};
use chrono::TimeDelta;

use crate::common::mail::{find, multipart, nonce, text_part};
use crate::common::{Form, Letter};
use crate::desk::{Desk, Seen, each, light, replaced, with_field};

const WORDS: &str = "la clef du moulin est sous la pierre plate";

#[test]
fn row_05_no_other_field_and_no_trick_in_from_is_an_identity() -> Result<()> {
    let desk = Desk::open(light(), each())?;
    let (marie, paul) = (desk.scene.c1.clone(), desk.scene.c2.clone());
    let bare = |form| Letter { protected: false, ..desk.letter("Moulin", WORDS).form(form) };
    let plain = desk.scene.marie.write(&bare(Form::Plain))?;
    let signed = desk.scene.marie.write(&bare(Form::SignedEncrypted))?;
    for from in [
        "\"Marie <marie@client.example>\" <x@evil.example>",
        "\"marie@client.example\" <x@evil.example>",
        "x@evil.example (marie@client.example)",
        "=?utf-8?q?marie=40client.example=00?= <x@evil.example>",
        "=?utf-8?b?bWFyaWVAY2xpZW50LmV4YW1wbGU=?= <x@evil.example>",
        "gens: marie@client.example, x@evil.example;",
        "<x@evil.example> <marie@client.example>",
        "marie@client.example, x@evil.example",
        "marie@client.example@evil.example",
        " ",
    ] {
        let said = desk.explain(&with_field(&plain, "From", from))?;
        ensure!(said["action"] != "file" && said["action"] != "obey", "{from}: {said:#}");
        ensure!(said["client"] == serde_json::Value::Null || said["action"] == "hold", "{from}: {said:#}");
    }
    for from in ["", " ", "gens: marie@client.example, paul@client.example;", "a@evil.example, marie@client.example"] {
        let said = desk.explain(&with_field(&signed, "From", from))?;
        ensure!(said["verdict"] == "wrong-signer" && said["action"] == "hold", "{from:?}: {said:#}");
        ensure!(said["client"] == marie.as_str(), "{from:?}: {said:#}");
    }
    let under_paul = with_field(&signed, "From", "\"marie@client.example\" <paul@client.example>");
    desk.explained(&under_paul, "wrong-signer", "hold", Some(&marie))?;
    // The same address in another spelling is the same address.
    let other = with_field(&plain, "From", "MARIE@Client.Example");
    desk.explained(&other, "unsigned", "file", Some(&marie))?;
    for name in ["Sender", "Reply-To", "Return-Path", "Resent-From", "X-Original-From"] {
        let raw = with_field(&with_field(&plain, "From", "x@evil.example"), name, "marie@client.example");
        desk.explained(&raw, "unsigned", "request", None).context(name)?;
        let raw = with_field(&signed, name, "paul@client.example");
        desk.explained(&raw, "verified", "file", Some(&marie)).context(name)?;
    }
    // THREATS 16: a therapist's name is obeyed for their signature alone.
    let raw = with_field(&plain, "From", "Dr Exemple <dr@exemple.example>");
    desk.explained(&raw, "unsigned", "refuse", None)?;
    let raw = with_field(&signed, "From", "Dr Exemple <dr@exemple.example>");
    desk.explained(&raw, "wrong-signer", "hold", Some(&marie))?;
    ensure!(marie != paul);
    Ok(())
}

/// The mail's own header with another body.
fn with_body(raw: &[u8], body: &str) -> Result<Vec<u8>> {
    let at = find(raw, b"Content-Type:").context("no Content-Type")?;
    Ok([&raw[..at], body.as_bytes()].concat())
}

#[test]
fn row_06_a_signature_counts_for_the_whole_message_only() -> Result<()> {
    let desk = Desk::open(light(), each())?;
    let marie = desk.scene.c1.clone();
    let signed = desk.scene.marie.write(&desk.letter("Moulin", WORDS).form(Form::Signed))?;
    let sealed = desk.scene.marie.write(&desk.letter("Moulin", WORDS))?;
    let inline = desk.scene.marie.write(&desk.letter("Moulin", WORDS).form(Form::InlineSigned))?;
    let text = |raw: &[u8]| String::from_utf8_lossy(raw).into_owned();
    let entity = |raw: &[u8]| text(&raw[find(raw, b"Content-Type:").unwrap_or(0)..]);
    let hello = text_part("text/plain", "Bonjour");

    // A signed mail as an attachment or forwarded, a signed file, a signed part beside a clear one.
    let rfc822 = format!("Content-Type: message/rfc822\r\n\r\n{}", text(&signed));
    let file = format!(
        "Content-Type: application/pgp-signature\r\nContent-Disposition: attachment; filename=\"a.txt.sig\"\r\n\r\n\
         -----BEGIN PGP SIGNATURE-----\r\n\r\n{}\r\n-----END PGP SIGNATURE-----\r\n",
        nonce()
    );
    for (what, part) in [
        ("forwarded", rfc822),
        ("a signed file", file),
        ("beside a signed part", entity(&signed)),
        ("beside an encrypted part", entity(&sealed)),
        ("beside an inline block", entity(&inline)),
    ] {
        let raw = with_body(&signed, &multipart("mixed", "", "", &[hello.clone(), part]))?;
        let said = desk.explain(&raw)?;
        ensure!(said["verdict"] == "partial" || said["verdict"] == "unsigned", "{what}: {said:#}");
        ensure!(said["verdict"] == "unsigned" || said["action"] == "hold", "{what}: {said:#}");
    }
    for (from, to) in [
        ("-----BEGIN PGP SIGNED", "Avant.\r\n\r\n-----BEGIN PGP SIGNED"),
        ("-----END PGP SIGNATURE-----", "-----END PGP SIGNATURE-----\r\n\r\nAprès."),
    ] {
        desk.explained(&replaced(&inline, from, to)?, "partial", "hold", Some(&marie))?;
    }
    // A third part in a multipart/signed isn't covered.
    let end = text(&signed).rfind("--").context("no boundary")?;
    let start = text(&signed)[..end].rfind("\r\n--").context("no boundary")?;
    let boundary = text(&signed)[start..end].to_owned();
    let raw = [&signed[..start], boundary.as_bytes(), b"\r\n", hello.as_bytes(), &signed[start..]].concat();
    let said = desk.explain(&raw)?;
    ensure!(said["verdict"] != "verified" && said["action"] == "hold", "{said:#}");

    // Exchange makes multipart/mixed of it, with an empty text before: repaired.
    let at = find(&sealed, b"multipart/encrypted;").context("no envelope")?;
    let mangled =
        replaced(&sealed, "multipart/encrypted;\r\n protocol=\"application/pgp-encrypted\";", "multipart/mixed;")?;
    ensure!(find(&mangled, b"multipart/mixed;") == Some(at));
    desk.explained(&mangled, "verified", "file", Some(&marie)).context("mangled by Exchange")?;
    Ok(())
}

#[test]
fn row_15_times_threads_and_own_mail_are_told_by_signatures() -> Result<()> {
    let mut desk = Desk::open(light(), each())?;
    desk.secret(&[WORDS]);
    let (marie, paul) = (desk.scene.c1.clone(), desk.scene.c2.clone());
    let at = |desk: &Desk, minutes| {
        let letter = desk.letter("Moulin", &format!("{WORDS} {minutes}"));
        desk.scene.marie.write(&letter.at(desk.now + TimeDelta::minutes(minutes)))
    };
    desk.explained(&at(&desk, 25)?, "verified", "file", Some(&marie))?;
    desk.explained(&at(&desk, 35)?, "bad", "hold", Some(&marie))?;
    desk.explained(&at(&desk, -60 * 24 * 20)?, "verified", "file", Some(&marie))?;

    // B answers in A's thread, with her tag: it is B's letter (THREATS 15).
    let seen = desk.play(&at(&desk, 0)?)?;
    let forward = seen.told("Moulin")?;
    let mut letter = desk.letter(&format!("Re: [{marie}] Moulin"), &format!("{WORDS} de Paul"));
    letter.in_reply_to = forward.outer("Message-ID").map(str::to_owned);
    letter.references = seen.to_marie[0].outer("Message-ID").map(str::to_owned).into_iter().collect();
    letter.references.extend(letter.in_reply_to.clone());
    let raw = desk.scene.paul.write(&letter)?;
    desk.explained(&raw, "verified", "file", Some(&paul))?;
    let own = [seen.raw_to_therapist, desk.scene.lab.mails(&desk.scene.marie.address, "INBOX")?].concat();
    let seen = desk.play(&raw)?;
    ensure!(seen.marie.is_empty() && Seen::only(&seen.paul)?["verdict"] == "verified", "{:#?}", seen.marie);
    ensure!(seen.told(&format!("[{paul}]"))?.subject.matches("[C-").count() == 1, "{:?}", seen.to_therapist[0].subject);

    // The practice's own mail comes back: dropped, whoever brings it.
    for raw in &own {
        let raw = with_field(&with_field(raw, "Return-Path", ""), "Delivered-To", "");
        let seen = desk.play(&raw)?;
        seen.no_mail()?;
        ensure!(seen.counts["filed"] == 0 && seen.counts["held"] == 0 && seen.counts["failed"] == 0, "{}", seen.counts);
        ensure!(seen.marie.is_empty() && seen.paul.is_empty() && desk.folder(&["INBOX"])? == 0);
    }
    Ok(())
}

#[test]
fn a_key_that_ended_signs_no_more_letters() -> Result<()> {
    let mut desk = Desk::open(light(), each())?;
    let monday = desk.now;
    let born = crate::common::scene::march(1, 0, 0) - TimeDelta::days(60);
    let lise = crate::common::Person::generate(&desk.scene.lab, "lise", "Lise", "lise@client.example", born)?;
    lise.gpg(&["--quick-set-expire", &lise.fingerprint, "20260304T120000"], b"")?;
    lise.meet(&desk.scene.office)?;
    let code = crate::common::scene::add(&desk.scene.practice, &lise)?;
    let raw = lise.write(&desk.letter("Moulin", WORDS))?;
    desk.explained(&raw, "verified", "file", Some(&code))?;
    // It was good when it was signed: it may be late by 72 hours, not more.
    desk.now += TimeDelta::hours(71);
    desk.explained(&raw, "verified", "file", Some(&code))?;
    desk.now += TimeDelta::hours(2);
    let said = desk.explained(&raw, "bad", "hold", Some(&code))?;
    ensure!(said["marks"].as_array().is_some_and(|m| m.contains(&"weak-or-expired-key".into())), "{said:#}");

    // A longer life that comes with a verified letter in time is taken over; with a stranger's it isn't.
    lise.set_clock(monday);
    lise.gpg(&["--quick-set-expire", &lise.fingerprint, "20260404T120000"], b"")?;
    let key = lise.certificate()?;
    desk.now = monday + TimeDelta::hours(80);
    let later = lise.write(&desk.letter("Moulin", "plus tard"))?;
    desk.now = monday;
    let with_key = desk.letter("Moulin", WORDS).attach("cle.asc", "application/pgp-keys", &key);
    let stranger = crate::common::Person::persona(&desk.scene.lab, "inconnue")?;
    stranger.meet(&desk.scene.office)?;
    let forged = Letter { forged_from: Some(("Lise".into(), lise.address.clone())), ..with_key.clone() };
    desk.play(&stranger.write(&forged)?)?;
    desk.now = monday + TimeDelta::hours(81);
    desk.explained(&later, "bad", "hold", Some(&code)).context("after the stranger's")?;
    desk.now = monday + TimeDelta::minutes(5);
    ensure!(desk.play(&lise.write(&with_key)?)?.counts["filed"] == 1);
    desk.now = monday + TimeDelta::hours(81);
    desk.explained(&later, "verified", "file", Some(&code)).context("after her own")?;
    Ok(())
}
