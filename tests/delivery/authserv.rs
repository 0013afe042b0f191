//! `[intake] authserv`: what the mailbox's own server says of DMARC, and nobody else.

use anyhow::{Result, ensure};

use crate::common::play::Play;
use crate::common::scene::{OFFICE, march};
use crate::common::{Form, Letter};
use crate::stage::explained;

const TRACE: &str = "Received: from x.example by mx.cabinet.example; Mon, 2 Mar 2026 09:00:00 +0000\r\n";
const FAIL: &str = "Authentication-Results: mx.cabinet.example; spf=fail; dmarc=fail header.from=client.example\r\n";
const PASS: &str = "Authentication-Results: mx.cabinet.example; dmarc=pass header.from=client.example\r\n";
const OTHERS: &str = "Authentication-Results: mx.evil.example; dmarc=fail\r\n";

#[test]
fn unsigned_mail_that_the_own_server_calls_forged_is_held() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    s.practice.set_time(march(2, 9, 1))?;
    let plain = s.marie.write(&Letter::new(OFFICE, "Bonjour", "un mot\n").form(Form::Plain).at(march(2, 9, 0)))?;
    let signed = s.marie.write(&Letter::new(OFFICE, "Bonjour", "un mot\n").at(march(2, 9, 0)))?;
    let with = |header: &str, raw: &[u8]| [header.as_bytes(), raw].concat();
    let action = |header: &str, raw: &[u8]| -> Result<String> {
        Ok(explained(&play, &with(header, raw))?["action"].as_str().unwrap_or_default().to_owned())
    };
    // Without the setting nobody is believed.
    ensure!(action(&format!("{FAIL}{TRACE}"), &plain)? == "file");
    s.practice.set("intake.authserv", "\"mx.cabinet.example\"")?;
    for (header, want) in [
        (format!("{FAIL}{TRACE}"), "hold"),
        (format!("{PASS}{TRACE}"), "file"),
        (TRACE.to_owned(), "file"),
        // What came with the mail says nothing, neither for nor against.
        (format!("{PASS}{TRACE}{FAIL}"), "file"),
        (format!("{FAIL}{TRACE}{PASS}"), "hold"),
        (format!("{OTHERS}{TRACE}"), "file"),
        (format!("{OTHERS}{FAIL}{TRACE}"), "hold"),
        (format!("{TRACE}Authentication-Results: mx.cabinet.example (dmarc=fail); dkim=pass\r\n"), "file"),
    ] {
        ensure!(action(&header, &plain)? == want, "{header}");
        // A signature is worth more than what servers say.
        ensure!(action(&header, &signed)? == "file", "{header}");
    }
    s.lab.deliver(&s.marie.address, OFFICE, &with(&format!("{FAIL}{TRACE}{PASS}"), &plain))?;
    let round = play.pass(march(2, 9, 5))?;
    round.nothing_to(&s.marie)?;
    let thread = s.thread(&s.c1)?;
    ensure!(
        thread["messages"][0]["state"] == "held" && thread["messages"][0]["marks"][0] == "dmarc-fail",
        "{thread:#}"
    );
    ensure!(round.one(&s.therapist)?.read.text().contains("USURPÉE"), "{}", round.story());
    a_held_letter_of_the_wrong_signer_names_whose_address_it_shows(&play)
}

fn a_held_letter_of_the_wrong_signer_names_whose_address_it_shows(play: &Play) -> Result<()> {
    let s = &play.scene;
    let letter = Letter { protected: false, ..Letter::new(OFFICE, "Bonjour", "un mot de plus\n").at(march(2, 9, 10)) };
    let forged = String::from_utf8(s.paul.write(&letter)?)?.replace(&s.paul.address, &s.marie.address);
    s.lab.deliver(&s.paul.address, OFFICE, forged.as_bytes())?;
    let round = play.pass(march(2, 9, 15))?;
    let told = round.to(&s.therapist).map(|post| post.read.text()).collect::<Vec<_>>().join("\n");
    ensure!(s.thread(&s.c2)?["messages"][0]["verdict"] == "wrong-signer", "{:#}\n{told}", s.thread(&s.c2)?);
    crate::common::play::says(&told, &["l'adresse de", &s.c1, "Le signataire est", &s.c2])
}
