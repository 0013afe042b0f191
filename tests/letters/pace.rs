//! When letters are passed on, and how often anybody is told anything.

use anyhow::{Context as _, Result, ensure};
use chrono::{TimeDelta, TimeZone as _, Utc};

use crate::common::{Form, PracticeOptions};
use crate::desk::{Desk, light, subjects};

const WORDS: &str = "la neige tient sur le toit du garage";

#[test]
fn daily_forwards_come_with_the_digest_and_in_its_order() -> Result<()> {
    let mut desk = Desk::open(light(), PracticeOptions { forward: "daily".into(), ..PracticeOptions::default() })?;
    desk.secret(&[WORDS]);
    let stranger = crate::common::Person::persona(&desk.scene.lab, "inconnue")?;
    let raw = stranger.write(&desk.letter("Bonjour", WORDS).form(Form::Plain))?;
    desk.put(&raw)?;
    for (n, person) in [&desk.scene.marie, &desk.scene.paul, &desk.scene.marie].into_iter().enumerate() {
        desk.put(&person.write(&desk.letter(&format!("Neige {n}"), &format!("{WORDS} {n}")))?)?;
    }
    let seen = desk.pass()?;
    ensure!(seen.counts["filed"] == 4 && seen.to_therapist.is_empty(), "{}", seen.counts);
    ensure!(seen.to_marie.len() == 1 && seen.to_paul.len() == 1, "one acknowledgement a turn");
    let seen = desk.wait(TimeDelta::hours(12))?;
    ensure!(seen.to_therapist.is_empty(), "{:?}", subjects(&seen.to_therapist));
    desk.now = Utc.with_ymd_and_hms(2026, 3, 3, 6, 0, 30).single().context("a time")?;
    let seen = desk.wait(TimeDelta::seconds(1))?;
    ensure!(
        seen.counts["digests"] == 1 && seen.to_therapist.len() == 5,
        "{} {:?}",
        seen.counts,
        subjects(&seen.to_therapist)
    );
    let digest = &seen.to_therapist[0];
    ensure!(
        !digest.subject.starts_with('[') && !digest.html.is_empty() && !digest.text().contains(WORDS),
        "{}",
        digest.text()
    );
    let (c1, c2) = (desk.scene.c1.clone(), desk.scene.c2.clone());
    for code in [&c1, &c2] {
        ensure!(digest.text().contains(code.as_str()), "{}", digest.text());
    }
    let order = subjects(&seen.to_therapist);
    ensure!(order[1..4].iter().all(|s| s.starts_with("[C-")) && order[4].starts_with("[N-"), "{order:?}");
    ensure!(order[1].contains("Neige 0") && order[2].contains("Neige 1") && order[3].contains("Neige 2"), "{order:?}");
    // Sealed and dated when they were filed.
    ensure!(
        seen.to_therapist[1].outer("Date").is_some_and(|d| d.contains("2 Mar 2026 08:01")),
        "{:?}",
        seen.to_therapist[1].outer
    );
    let seen = desk.pass()?;
    seen.no_mail()
}

#[test]
fn row_20_nobody_is_told_the_same_thing_twice() -> Result<()> {
    let mut desk = Desk::open(light(), crate::desk::each())?;
    desk.secret(&[WORDS]);
    // THREATS 20: an answering machine without headers, a new turn each time: a ceiling a day.
    let mut acknowledged = 0;
    for n in 0..5 {
        let raw = desk.scene.marie.write(&desk.letter("Neige", &format!("{WORDS} {n}")))?;
        let seen = desk.play(&raw)?;
        acknowledged += seen.to_marie.len();
        ensure!(seen.counts["filed"] == 1, "{}", seen.counts);
        let forward = seen.raw_to_therapist.last().context("no forward")?.clone();
        let letter = desk.scene.therapist.reply_to(&forward, "/urgent\n\nBien lu.")?.at(desk.now);
        let raw = desk.scene.therapist.write(&letter)?;
        let seen = desk.play(&raw)?;
        ensure!(
            seen.counts["released"] == 1 || !seen.to_marie.is_empty(),
            "{} {:?}",
            seen.counts,
            subjects(&seen.to_therapist)
        );
        let own = seen.to_marie.iter().filter(|mail| mail.text().contains("Bien lu.")).count();
        ensure!(own == 1, "{:?}", subjects(&seen.to_marie));
        acknowledged += seen.to_marie.len() - own;
    }
    ensure!((1..=3).contains(&acknowledged), "{acknowledged} acknowledgements in a day");

    // How to sign: once in 30 days, and again after them.
    let unsigned = |desk: &mut Desk, n: u32| -> Result<usize> {
        let raw = desk.scene.paul.write(&desk.letter("Neige", &format!("{WORDS} sans {n}")).form(Form::Plain))?;
        let seen = desk.play(&raw)?;
        Ok(seen.to_paul.iter().filter(|mail| mail.subject == "Signer vos lettres").count())
    };
    ensure!(unsigned(&mut desk, 1)? == 1 && unsigned(&mut desk, 2)? == 0);
    desk.wait(TimeDelta::days(29))?;
    ensure!(unsigned(&mut desk, 3)? == 0);
    desk.wait(TimeDelta::days(2))?;
    ensure!(unsigned(&mut desk, 4)? == 1);

    // Automatic mail of a client is filed, opens nothing and is answered by nothing.
    let mut letter = desk.letter("Absence", WORDS).form(Form::Plain);
    letter.extra_headers.push(("auto-submitted".into(), "Auto-Replied (vacation)".into()));
    let raw = desk.scene.paul.write(&letter)?;
    let seen = desk.play(&raw)?;
    ensure!(seen.counts["filed"] == 1 && seen.to_paul.is_empty(), "{:?}", subjects(&seen.to_paul));
    ensure!(
        seen.paul.iter().any(|m| m["marks"].as_array().is_some_and(|m| m.contains(&"automatic".into()))),
        "{:#?}",
        seen.paul
    );

    // At most twenty held a client a day, and one notice.
    let mut notices = 0;
    for n in 0..22 {
        let raw = desk.scene.paul.write(&desk.letter("Neige", &format!("zzz {n} fin")).form(Form::InlineSigned))?;
        desk.put(&crate::desk::replaced(&raw, "zzz", "zyz")?)?;
    }
    let seen = desk.pass()?;
    notices += subjects(&seen.to_therapist).iter().filter(|s| s.contains("retenue")).count();
    ensure!(seen.counts["held"] == 20 && notices == 1, "{} {:?}", seen.counts, subjects(&seen.to_therapist));
    ensure!(desk.folder(&["Cadre", "Attention"])? == 2 && desk.folder(&["INBOX"])? == 0);
    Ok(())
}

#[test]
fn letters_wait_in_the_mailbox_while_the_therapists_key_cannot_be_used() -> Result<()> {
    let mut desk = Desk::open(light(), crate::desk::each())?;
    desk.secret(&["Neige"]);
    let file = desk.scene.practice.dir.join("therapist.pgp");
    let therapist = &desk.scene.therapist;
    therapist.set_clock(desk.now);
    therapist.gpg(&["--quick-set-expire", &therapist.fingerprint, "2026-03-05"], b"")?;
    std::fs::write(&file, therapist.certificate()?)?;
    desk.now = Utc.with_ymd_and_hms(2026, 3, 9, 9, 0, 0).single().context("a time")?;
    let raw = desk.scene.marie.write(&desk.letter("Neige", WORDS))?;
    desk.put(&raw)?;
    // Three tries are no reason to set it aside: nobody has failed but the key.
    for pass in 0..5 {
        let seen = desk.pass()?;
        ensure!(seen.counts["filed"] == 0 && seen.counts["failed"] == 0, "{}", seen.counts);
        ensure!(seen.marie.iter().all(|m| m["direction"] == "out"), "{:#?}", seen.marie);
        let acknowledged = seen.to_marie.iter().filter(|m| m.text().contains("Automatique")).count();
        ensure!(acknowledged == usize::from(pass == 0), "pass {pass}: {:?}", subjects(&seen.to_marie));
        ensure!(desk.folder(&["INBOX"])? == 1, "the original was touched");
    }
    let therapist = &desk.scene.therapist;
    therapist.gpg(&["--quick-set-expire", &therapist.fingerprint, "never"], b"")?;
    std::fs::write(&file, therapist.certificate()?)?;
    let seen = desk.pass()?;
    ensure!(seen.counts["filed"] == 1 && seen.to_marie.is_empty(), "{} {:?}", seen.counts, subjects(&seen.to_marie));
    ensure!(seen.told("Neige")?.text().contains(WORDS) && desk.folder(&["INBOX"])? == 0);
    Ok(())
}
