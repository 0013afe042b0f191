//! The same words in every dress that mail programs give them; what is quoted, attached, spoken.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;

use crate::common::mail::{nonce, quoted_printable};
use crate::common::scene::OFFICE;
use crate::common::{Form, Letter};
use crate::desk::{Desk, light};
use crate::story::{A, NONE, SECRETS, books, daily, open, scanned, sent};

/// A mail of Marie's without signature: these content headers, this body.
fn bare(desk: &Desk, subject: &str, kind: &str, encoding: &str, body: &str) -> Vec<u8> {
    let (id, date) = (nonce(), desk.now.to_rfc2822());
    format!(
        "From: Marie <marie@client.example>\r\nTo: {OFFICE}\r\nSubject: {subject}\r\nMessage-ID: <{id}@client.example>\r\n\
         Date: {date}\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[test]
fn words_are_found_in_every_encoding() -> Result<()> {
    let mut desk = Desk::open(light(), daily())?;
    desk.secret(&SECRETS);
    let wide: Vec<u8> = A.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let html = format!(
        "<html><head><style>p {{ color: red }}</style></head><body><p>{}</p></body></html>",
        A.replace("je veux", "<b>je</b>&nbsp;veux")
    );
    let both = format!(
        "--b\r\nContent-Type: text/plain\r\n\r\n{NONE}\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}\r\n--b--\r\n"
    );
    let file = format!(
        "--b\r\nContent-Type: text/plain\r\n\r\n{NONE}\r\n--b\r\nContent-Type: text/plain; name=journal.txt\r\n\
         Content-Disposition: attachment; filename=journal.txt\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n--b--\r\n",
        STANDARD.encode(A)
    );
    let broken = A.replace("je veux mourir", "je veux\r\nmou\u{ad}rir");
    let utf8 = "text/plain; charset=utf-8";
    let cases = [
        ("html", bare(&desk, "x", "text/html; charset=utf-8", "8bit", &html)),
        (
            "quoted-printable",
            bare(&desk, "x", utf8, "quoted-printable", &quoted_printable(A).replace("mourir", "mour=\r\nir")),
        ),
        ("base64", bare(&desk, "x", utf8, "base64", &STANDARD.encode(A))),
        ("utf-16", bare(&desk, "x", "text/plain; charset=utf-16le", "base64", &STANDARD.encode(wide))),
        (
            "latin 1",
            bare(&desk, "x", "text/plain; charset=iso-8859-1", "quoted-printable", "=C0 pr=E9sent je veux mourir.\r\n"),
        ),
        ("broken lines", bare(&desk, "x", utf8, "8bit", &broken)),
        ("subject", bare(&desk, "Je veux mourir", utf8, "8bit", NONE)),
        ("html beside other text", bare(&desk, "x", "multipart/alternative; boundary=b", "8bit", &both)),
        ("attached text", bare(&desk, "x", "multipart/mixed; boundary=b", "8bit", &file)),
        ("below a signature line", bare(&desk, "x", utf8, "8bit", &format!("{NONE}\r\n-- \r\n{A}\r\n"))),
        ("alone on a line", bare(&desk, "x", utf8, "8bit", &format!("{NONE}\r\n\r\nAIDE\r\n"))),
    ];
    for (name, raw) in cases {
        let seen = desk.play(&raw)?;
        ensure!(scanned(&seen.marie)? == "A", "{name}: {:#?}", seen.marie);
    }
    // One safety letter for all of them.
    ensure!(books(&desk)?[1] == 1, "{:?}", books(&desk)?);
    Ok(())
}

#[test]
fn what_is_quoted_fires_nothing_and_what_cannot_be_read_is_said() -> Result<()> {
    let mut desk = open()?;
    // The safety letter, quoted back below a line of thanks.
    let raw = desk.scene.marie.write(&desk.letter("Nuit", A))?;
    desk.play(&raw)?;
    let safety = desk.scene.marie.mailbox(&desk.scene.lab)?.pop().unwrap_or_default();
    let letter = desk.scene.marie.reply_to(&safety, "Merci.")?.at(desk.now);
    let raw = desk.scene.marie.write(&letter)?;
    let seen = desk.play(&raw)?;
    ensure!(scanned(&seen.marie)? == "clear", "{:#?}", seen.marie);
    // Her own words, quoted, and their subject repeated.
    let quoted = format!("Cela va mieux.\n\nLe 02/03/2026 à 09:00, Marie a écrit :\n> {A}\n");
    let mut letter = desk.letter("Re: Je veux mourir", &quoted);
    letter.in_reply_to = Some("<x@client.example>".into());
    let raw = desk.scene.marie.write(&letter)?;
    let seen = desk.play(&raw)?;
    ensure!(scanned(&seen.marie)? == "clear", "{:#?}", seen.marie);
    ensure!(sent(&desk.scene.practice, "alert")? == 1);

    // A voice, a picture: not analysed, unless the words beside them say enough.
    let voice =
        |text: &str| Letter { text: text.into(), ..desk.letter("Voix", text) }.attach("v.ogg", "audio/ogg", b"OggS\0x");
    let raw = desk.scene.paul.write(&voice(NONE))?;
    let with_words = desk.scene.paul.write(&voice(A))?;
    let seen = desk.play(&raw)?;
    ensure!(scanned(&seen.paul)? == "not-analysed", "{:#?}", seen.paul);
    let sheet = desk.scene.practice.json(&["digest", "--preview"])?;
    let sections: Vec<&str> =
        sheet["before"].as_array().into_iter().flatten().filter_map(|s| s["section"].as_str()).collect();
    ensure!(sections == ["crisis", "not-analysed"], "{sections:?}");
    let seen = desk.play(&with_words)?;
    ensure!(scanned(&seen.paul)? == "A", "{:#?}", seen.paul);

    // Not to us.
    let mut letter = desk.letter("Autre", NONE).form(Form::SignedEncrypted);
    letter.keys = Some(vec![desk.scene.paul.fingerprint.clone()]);
    let raw = desk.scene.paul.write(&letter)?;
    let seen = desk.wait(TimeDelta::hours(1)).and_then(|_| desk.play(&raw))?;
    ensure!(seen.counts["held"] == 1 && scanned(&seen.paul)? == "not-analysed", "{:#?}", seen.paul);
    Ok(())
}
