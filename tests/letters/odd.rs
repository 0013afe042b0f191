//! Letters that break parsers or say nothing: each ends in a verdict or in Cadre/Attention, none is lost.

use anyhow::{Context as _, Result, ensure};

use crate::common::{Form, LabOptions};
use crate::desk::{Desk, Seen, each, light, replaced, subjects, with_armor, with_field};

const WORDS: &str = "les volets claquent toute la nuit";

#[test]
fn row_04_odd_letters_get_a_verdict_or_a_person() -> Result<()> {
    let mut desk = Desk::open(light(), each())?;
    desk.secret(&[WORDS]);
    let code = desk.scene.c1.clone();
    let signed = |desk: &Desk, n: u32| desk.scene.marie.write(&desk.letter("Les volets", &format!("{WORDS} {n}")));

    // Two From fields: held, whoever signed it (THREATS 5).
    let raw = [b"From: Eve <eve@evil.example>\r\n".as_slice(), &signed(&desk, 1)?].concat();
    desk.explained(&raw, "wrong-signer", "hold", Some(&code))?;
    let seen = desk.play(&raw)?;
    let message = Seen::only(&seen.marie)?;
    ensure!(message["state"] == "held" && seen.counts["held"] == 1, "{message:#}");
    ensure!(message["marks"].as_array().is_some_and(|m| m.contains(&"ambiguous-from".into())), "{message:#}");

    // No From: signed, the owner is known and it is held; unsigned, somebody has to look.
    let clear = desk.scene.marie.write(&desk.letter("Les volets", WORDS).form(Form::Plain))?;
    let raw = with_field(&clear, "From", "");
    desk.explained(&raw, "unsigned", "attention", None)?;
    let seen = desk.play(&raw)?;
    seen.no_mail()?;
    ensure!(desk.folder(&["Cadre", "Attention"])? == 1 && desk.folder(&["INBOX"])? == 0);
    ensure!(desk.scene.practice.json(&["journal", "show"])?.to_string().contains("attention"));
    // Where the originals that nobody could be named for lie is outside the promise.
    desk.scene.lab.imap(crate::common::scene::OFFICE)?.select("Cadre/Attention")?;

    // No Message-ID, and one that is no identifier.
    let raw = with_field(&signed(&desk, 2)?, "Message-ID", "");
    let seen = desk.play(&raw)?;
    ensure!(Seen::only(&seen.marie)?["verdict"] == "verified" && seen.counts["filed"] == 1, "{}", seen.counts);
    ensure!(
        seen.to_marie.len() == 1 && seen.to_marie[0].outer("In-Reply-To").is_none(),
        "{:?}",
        subjects(&seen.to_marie)
    );
    let raw = with_field(&signed(&desk, 3)?, "Message-ID", "ceci n'est pas un identifiant");
    ensure!(Seen::only(&desk.play(&raw)?.marie)?["verdict"] == "verified");
    let twice = [b"Message-ID: <a@client.example>\r\n".as_slice(), &signed(&desk, 4)?].concat();
    ensure!(Seen::only(&desk.play(&twice)?.marie)?["verdict"] == "verified");

    // No body at all: filed, and nothing is due for it.
    let before = desk.scene.thread(&code)?["turn"]["letters"].clone();
    let raw = with_field(&clear, "Message-ID", "<vide@client.example>");
    let end = crate::common::mail::find(&raw, b"\r\n\r\n").context("no header")?;
    let seen = desk.play(&raw[..end + 4])?;
    ensure!(Seen::only(&seen.marie)?["verdict"] == "unsigned" && seen.counts["failed"] == 0, "{}", seen.counts);
    let after = desk.scene.thread(&code)?["turn"]["letters"].clone();
    ensure!(before == after, "{before} {after}");

    // An attachment and no word.
    let letter = desk.letter("Les volets", "").attach("volets.txt", "text/plain", WORDS.as_bytes());
    let seen = desk.play(&desk.scene.marie.write(&letter)?)?;
    ensure!(Seen::only(&seen.marie)?["verdict"] == "verified");
    let forward = seen.told("Les volets")?;
    ensure!(forward.attachments.iter().any(|(_, _, bytes)| bytes == WORDS.as_bytes()), "{:?}", forward.attachments);

    // THREATS 33 the other way, and SPEC section 9: keys and cards pass to nobody, programs don't run.
    let key = desk.scene.marie.certificate()?;
    let letter = desk
        .letter("Les volets", &format!("{WORDS} joint"))
        .attach("OpenPGP_key.asc", "application/pgp-keys", &key)
        .attach("moi.vcf", "text/vcard", b"BEGIN:VCARD\r\nFN:Marie\r\nEND:VCARD\r\n")
        .attach("jeu.exe", "application/octet-stream", b"MZ\x90\0\x03\0\0\0");
    let seen = desk.play(&desk.scene.marie.write(&letter)?)?;
    let marks = &Seen::only(&seen.marie)?["marks"];
    ensure!(marks.as_array().is_some_and(|m| m.contains(&"attachment-held".into())), "{marks}");
    let forward = seen.told("Les volets")?;
    let names: Vec<&str> = forward.attachments.iter().map(|(name, ..)| name.as_str()).collect();
    ensure!(names.iter().all(|n| !n.contains("vcf") && !n.contains("asc") && !n.ends_with("exe")), "{names:?}");
    ensure!(forward.texts[0].contains("PIÈCES MISES DE CÔTÉ"), "{:?}", forward.texts);

    // A charset that nobody knows: read as far as it goes.
    let raw = replaced(&clear, "charset=UTF-8", "charset=x-martien")?;
    let seen = desk.play(&with_field(&raw, "Message-ID", "<martien@client.example>"))?;
    ensure!(Seen::only(&seen.marie)?["verdict"] == "unsigned");
    ensure!(seen.told("Les volets")?.text().contains("volets claquent"));

    // Armor that ends half-way, and armor of nothing.
    let whole = signed(&desk, 5)?;
    let cut = with_armor(&whole, |mut packet| {
        packet.truncate(packet.len() / 2);
        packet
    })?;
    let seen = desk.play(&cut)?;
    let message = Seen::only(&seen.marie)?;
    ensure!(message["state"] == "held" && message["verdict"] == "bad", "{message:#}");
    ensure!(message["marks"].as_array().is_some_and(|m| m.contains(&"integrity-failed".into())), "{message:#}");
    let end = crate::common::mail::find(&whole, b"-----END PGP MESSAGE-----").context("no end")?;
    let seen = desk.play(&whole[..end - 400])?;
    let message = Seen::only(&seen.marie)?;
    ensure!(message["state"] == "held" && message["verdict"] != "verified", "{message:#}");
    let seen = desk.play(&with_armor(&whole, |_| Vec::new())?)?;
    ensure!(Seen::only(&seen.marie)?["verdict"] == "undecryptable", "{:#?}", seen.marie);

    // THREATS 4: every header that Cadre itself uses, outside: no effect.
    let mut letter = desk.letter("Re: [C-2222] Les volets", &format!("{WORDS} 6"));
    for (name, value) in [
        ("X-Cadre-Verdict", "verified"),
        ("X-Cadre-Client", "C-2222"),
        ("Autocrypt", "addr=marie@client.example; prefer-encrypt=mutual; keydata=AAAA"),
        ("Authentication-Results", "mx.example; dmarc=pass"),
        ("HP-Outer", "Subject: [...]"),
    ] {
        letter.extra_headers.push((name.into(), value.into()));
    }
    letter.form = Form::Plain;
    let seen = desk.play(&desk.scene.marie.write(&letter)?)?;
    ensure!(Seen::only(&seen.marie)?["verdict"] == "unsigned");
    let forward = seen.told("Les volets")?;
    ensure!(
        !forward.subject.contains("C-2222") && forward.subject.starts_with(&format!("[{code}]")),
        "{}",
        forward.subject
    );

    // One broken mail stops no other.
    desk.put(b"\r\n")?;
    desk.put(b"From: marie@client.example\r\nContent-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n")?;
    desk.put(&signed(&desk, 7)?)?;
    let seen = desk.pass()?;
    ensure!(seen.counts["fetched"] == 3 && seen.counts["failed"] == 0, "{}", seen.counts);
    ensure!(seen.marie.iter().any(|m| m["verdict"] == "verified"), "{:#?}", seen.marie);
    ensure!(desk.folder(&["INBOX"])? == 0, "something stayed");
    Ok(())
}

#[test]
fn a_letter_over_the_limit_is_told_to_its_sender_and_kept() -> Result<()> {
    let mut desk = Desk::open(LabOptions { max_message: 60 << 20, ..light() }, each())?;
    let line = b"c'est beaucoup trop long pour une lettre, et cela continue encore longtemps\r\n";
    let mut raw = desk.scene.marie.write(&desk.letter("Long", "debut").form(Form::Plain))?;
    while raw.len() < 40 << 20 {
        raw.extend_from_slice(line);
    }
    desk.put(&raw)?;
    desk.put(&desk.scene.paul.write(&desk.letter("Court", "un mot"))?)?;
    let seen = desk.pass()?;
    ensure!(seen.counts["failed"] == 0 && seen.counts["filed"] == 1, "{}", seen.counts);
    ensure!(desk.folder(&["Cadre", "Attention"])? == 1 && desk.folder(&["INBOX"])? == 0);
    ensure!(seen.to_marie.len() == 1, "{:?}", subjects(&seen.to_marie));
    let told = &seen.to_marie[0];
    ensure!(told.text().contains("pas été transmis") && !told.text().contains("beaucoup trop"), "{}", told.text());
    ensure!(desk.scene.practice.json(&["journal", "show"])?.to_string().contains("over-limit"));
    let thread = desk.scene.thread(&desk.scene.c1)?;
    ensure!(thread["turn"]["state"] == "none", "{thread:#}");
    // Deeper than anybody writes: the same.
    let mut deep = String::from("From: Marie <marie@client.example>\r\nMessage-ID: <deep@client.example>\r\n");
    for level in 0..200 {
        deep.push_str(&format!("Content-Type: multipart/mixed; boundary=\"b{level}\"\r\n\r\n--b{level}\r\n"));
    }
    deep.push_str("Content-Type: text/plain\r\n\r\nfond\r\n");
    let seen = desk.play(deep.as_bytes())?;
    ensure!(seen.counts["failed"] == 0 && desk.folder(&["Cadre", "Attention"])? == 2, "{}", seen.counts);
    ensure!(seen.to_marie.is_empty(), "told twice a day: {:?}", subjects(&seen.to_marie));
    Ok(())
}
