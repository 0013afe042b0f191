//! Rows 9, 23, 29, 32 and 34 on a real Dovecot with the built program: what nobody may notice, and what one must.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::TimeDelta;
use sequoia_openpgp::Cert;
use sequoia_openpgp::parse::Parse as _;

use crate::common::lab::wait;
use crate::common::ledger::Snapshot;
use crate::common::mail::find;
use crate::common::play::{Play, Round, flood, says};
use crate::common::scene::{OFFICE, march};
use crate::common::{Answer, Form, Letter, Person};
use crate::fuzz::forge::{encrypted_to, head, pgp_mime, secret, signed, text};
use crate::fuzz::world::MARIE;

/// Every mail that the SMTP side has seen for this person, beyond letters that may be clear.
fn all_encrypted(play: &Play, person: &Person, words: &[&str]) -> Result<()> {
    for mail in play.sink().mails().iter().filter(|mail| mail.to.contains(&person.address)) {
        let text = String::from_utf8_lossy(&mail.data).into_owned();
        for word in words {
            ensure!(!text.contains(word), "{word:?} left in clear:\n{text}");
        }
    }
    Ok(())
}

#[test]
fn row_09_what_can_not_be_sealed_does_not_leave() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une lettre.\n", march(2, 3, 0))?;
    // A text that looks sealed already, and one that has a container's words in it.
    let words = "Ceci est secret.";
    let text = format!(
        "{words}\n\n-----BEGIN PGP MESSAGE-----\n\nhQEMA\n-----END PGP MESSAGE-----\n\nContent-Type: multipart/encrypted\n\nFin."
    );
    play.answer(&forward, &format!("/urgent\n\n{text}"), march(2, 9, 0))?;
    let round = play.pass(march(2, 9, 5))?;
    ensure!(round.counts["failed"] == 0, "{}", round.story());
    let mails = play.sink().mails();
    let replies: Vec<_> = mails.iter().filter(|mail| mail.to.contains(&s.marie.address)).collect();
    let opened = replies.iter().map(|mail| s.marie.read(&mail.data)).collect::<Result<Vec<_>>>()?;
    ensure!(
        opened.iter().any(|read| read.decrypted && find(&read.entity, words.as_bytes()).is_some()),
        "the reply didn't leave"
    );
    all_encrypted(&play, &s.marie, &[words, "hQEMA"])?;
    // A certificate that is only good for signing is none to write to.
    let born = march(1, 0, 0) - TimeDelta::days(30);
    let sign_only = Person::generate(&s.lab, "signe", "Signe", "signe@client.example", born)?;
    let (listing, _) = sign_only.gpg(&["--with-colons", "--list-keys"], b"")?;
    let listing = String::from_utf8_lossy(&listing).into_owned();
    let subkey = listing.lines().filter(|line| line.starts_with("fpr:")).nth(1).context("a subkey")?;
    let subkey = subkey.split(':').nth(9).context("a fingerprint")?.to_owned();
    sign_only.gpg(&["--batch", "--yes", "--delete-secret-and-public-key", &format!("{subkey}!")], b"")?;
    ensure!(crate::common::scene::add(&s.practice, &sign_only).is_err(), "a key that can't be written to was taken");
    Ok(())
}

#[test]
fn row_09_while_sealing_fails_nothing_leaves_in_clear_and_nothing_is_lost() -> Result<()> {
    let mut play = Play::new()?;
    let forward = play.forwarded(&play.scene.marie, "Une lettre.\n", march(2, 3, 0))?;
    play.answer(&forward, "Ceci est secret.", march(2, 9, 0))?;
    play.pass(march(2, 9, 5))?;
    let waiting = |play: &Play| -> Result<usize> {
        let states = play.states(&play.scene.c1, "reply")?;
        Ok(states.iter().filter(|state| *state == "waiting").count())
    };
    ensure!(waiting(&play)? == 1, "the reply wasn't taken");
    let before = play.sink().mails().len();
    play.scene.practice.env("CADRE_REFUSE", "seal");
    let s = &play.scene;
    s.letter(&s.marie, "Encore", "Une confidence.\n", march(2, 16, 0))?;
    // The slot, and half an hour of tries after it.
    for minute in [0, 10, 30] {
        s.practice.run_at(march(2, 17, minute), &["run", "--once", "--json"])?;
    }
    let mails = play.sink().mails();
    let new = &mails[before..];
    ensure!(new.iter().all(|mail| !mail.to.contains(&s.marie.address)), "something left for the client");
    for mail in new {
        let text = String::from_utf8_lossy(&mail.data);
        ensure!(!["secret", "confidence"].iter().any(|word| text.contains(word)), "in clear:\n{text}");
    }
    ensure!(s.lab.mails(OFFICE, "INBOX")?.len() == 1, "the letter: {:?}", s.lab.census(OFFICE)?);
    ensure!(waiting(&play)? == 1, "the reply: {:?}", play.states(&s.c1, "reply")?);
    let journal = s.practice.json(&["journal", "show"])?.to_string();
    ensure!(journal.contains("\"alarm\""), "nobody is told: {journal}");
    play.scene.practice.env("CADRE_REFUSE", "");
    let s = &play.scene;
    for hour in [18, 19] {
        s.practice.run_at(march(2, hour, 0), &["run", "--once", "--json"])?;
    }
    ensure!(s.lab.mails(OFFICE, "INBOX")?.is_empty(), "the letter wasn't filed afterwards");
    let mails = play.sink().mails();
    let opened = mails[before..].iter().filter(|mail| mail.to.contains(&s.marie.address));
    let opened = opened.map(|mail| s.marie.read(&mail.data)).collect::<Result<Vec<_>>>()?;
    let replies = opened.iter().filter(|read| read.decrypted && find(&read.entity, b"Ceci est secret.").is_some());
    ensure!(replies.count() == 1, "the reply didn't leave once");
    all_encrypted(&play, &s.marie, &["Ceci est secret."])
}

#[test]
fn row_23_a_parser_that_panics_on_one_message_stops_no_other() -> Result<()> {
    let mut play = Play::new()?;
    play.scene.practice.env("CADRE_POISON", "X-Poison: oui");
    let s = &play.scene;
    let mut letter = Letter::new(OFFICE, "Poison", "Un mot.\n").at(march(2, 3, 0));
    letter.extra_headers.push(("X-Poison".into(), "oui".into()));
    s.marie.deliver(&s.lab, &letter)?;
    for minute in 1..=4 {
        s.letter(&s.paul, "Une lettre", &format!("Paul {minute}.\n"), march(2, 3, minute))?;
        let out = s.practice.run_at(march(2, 3, minute), &["run", "--once", "--json"])?;
        ensure!(out.stdout.contains("\"filed\": 1"), "{out:?}");
        ensure!(!out.stderr.contains("Un mot") && !out.stderr.contains("marie@"), "{}", out.stderr);
        let waiting = s.lab.mails(OFFICE, "INBOX")?.len();
        ensure!(waiting == usize::from(minute < 3), "after {minute} tries {waiting} wait");
    }
    let aside = s.lab.mails(OFFICE, &s.lab.folder(&["Cadre", "Attention"]))?;
    ensure!(aside.len() == 1 && find(&aside[0], b"X-Poison").is_some(), "lost: {:?}", s.lab.census(OFFICE)?);
    let journal = s.practice.json(&["journal", "show"])?.to_string();
    ensure!(journal.matches("could not be processed").count() == 1, "{journal}");
    Ok(())
}

/// The number of letters of a client that are filed.
fn filed(play: &Play, code: &str) -> Result<usize> {
    Ok(play.states(code, "letter")?.iter().filter(|state| *state == "filed").count())
}

#[test]
fn row_23_a_message_that_ends_the_process_goes_to_attention_after_three_deaths() -> Result<()> {
    let mut play = Play::new()?;
    play.scene.practice.env("CADRE_ABORT", "X-Abort: oui");
    let s = &play.scene;
    for n in 0..5 {
        s.letter(&s.paul, "Une lettre", &format!("Avant {n}.\n"), march(2, 3, n))?;
    }
    let mut letter = Letter::new(OFFICE, "Fin", "Un mot.\n").at(march(2, 3, 10));
    letter.extra_headers.push(("X-Abort".into(), "oui".into()));
    s.marie.deliver(&s.lab, &letter)?;
    for n in 0..5 {
        s.letter(&s.paul, "Une lettre", &format!("Après {n}.\n"), march(2, 3, 20 + n))?;
    }
    s.practice.set_time(march(2, 3, 30))?;
    let aside = || s.lab.mails(OFFICE, &s.lab.folder(&["Cadre", "Attention"]));
    // As systemd would: each death is followed by a start. The first is among the others, three are its own.
    for death in 1..=4 {
        ensure!(aside()?.is_empty(), "set aside before death {death}");
        let mut daemon = s.practice.spawn_run()?;
        let status = daemon.wait_end(Duration::from_secs(60))?;
        let text = daemon.text()?;
        ensure!(status.is_none(), "death {death}: {status:?}\n{text}");
        ensure!(!text.contains("Un mot") && !text.contains("marie@"), "{text}");
        // After its first death alone nobody waits behind it.
        ensure!(death < 3 || filed(&play, &s.c2)? == 10, "death {death}: {} filed\n{text}", filed(&play, &s.c2)?);
    }
    let mut daemon = s.practice.spawn_run()?;
    s.letter(&s.paul, "Une lettre", "Ensuite.\n", march(2, 3, 40))?;
    wait("what is left", Duration::from_secs(60), || {
        ensure!(daemon.lives(), "a fifth death:\n{}", daemon.text()?);
        Ok((s.lab.mails(OFFICE, "INBOX")?.is_empty() && filed(&play, &s.c2)? == 11).then_some(()))
    })?;
    let aside = aside()?;
    ensure!(aside.len() == 1 && find(&aside[0], b"X-Abort").is_some(), "{:?}", s.lab.census(OFFICE)?);
    ensure!(daemon.terminate(Duration::from_secs(10))? == Some(0), "{}", daemon.text()?);
    let journal = s.practice.json(&["journal", "show"])?.to_string();
    ensure!(journal.matches("could not be processed").count() == 1, "{journal}");
    ensure!(filed(&play, &s.c1)? == 0, "a message that nobody read was filed");
    Ok(())
}

#[test]
fn row_23_kills_at_random_send_nothing_to_attention() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let letters = 40;
    for n in 0..letters {
        s.letter(&s.paul, "Une lettre", &format!("Lettre {n}.\n"), march(2, 3, n % 60))?;
    }
    s.practice.set_time(march(2, 4, 30))?;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..12 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut daemon = s.practice.spawn_run()?;
        // How far it came is what is random here; nothing is waited for.
        std::thread::sleep(Duration::from_millis(200 + (state >> 33) % 700));
        ensure!(daemon.lives(), "it ended by itself:\n{}", daemon.text()?);
        daemon.kill9()?;
    }
    let waiting = s.lab.mails(OFFICE, "INBOX")?.len();
    let mut daemon = s.practice.spawn_run()?;
    wait("the backlog", Duration::from_secs(120), || Ok(s.lab.mails(OFFICE, "INBOX")?.is_empty().then_some(())))?;
    ensure!(daemon.terminate(Duration::from_secs(10))? == Some(0), "{}", daemon.text()?);
    eprintln!("{waiting} of {letters} were waiting after the last kill");
    ensure!(filed(&play, &s.c2)? == usize::try_from(letters)?, "{} filed", filed(&play, &s.c2)?);
    let aside = s.lab.mails(OFFICE, &s.lab.folder(&["Cadre", "Attention"])).unwrap_or_default();
    ensure!(aside.is_empty(), "{} innocent letters in Attention", aside.len());
    Ok(())
}

#[test]
fn row_29_what_was_withheld_is_asked_about_and_the_older_never_replaces_the_newer() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une lettre.\n", march(2, 3, 0))?;
    let write = |text: &str, hour: u32| -> Result<Vec<u8>> {
        s.therapist.write(&s.therapist.reply_to(&forward, text)?.at(march(2, hour, 0)))
    };
    let (cancel, older, newer) = (write("/cancel", 7)?, write("Ancienne.", 8)?, write("Nouvelle.", 9)?);
    let deliver = |raw: &[u8]| s.lab.deliver(&s.therapist.address, OFFICE, raw);
    deliver(&newer)?;
    play.pass(march(2, 9, 1))?;
    deliver(&older)?;
    let round = play.pass(march(2, 9, 10))?;
    round.nothing_to(&s.marie)?;
    let told = round.one(&s.therapist)?.read.text();
    ensure!(!told.contains("« Ancienne. »"), "{told}");
    // A `/cancel` signed before it, kept back: not obeyed either.
    deliver(&cancel)?;
    let round = play.pass(march(2, 9, 20))?;
    round.nothing_to(&s.marie)?;
    ensure!(play.states(&s.c1, "reply")?.iter().filter(|state| *state == "waiting").count() == 1, "{}", round.story());
    let round = play.pass(march(2, 17, 0))?;
    let reply = round.one(&s.marie)?.read.text();
    ensure!(reply.contains("Nouvelle.") && !reply.contains("Ancienne."), "{reply}");
    // Two days late: asked about, in the words it was signed with, and nothing leaves.
    let late = s.therapist.write(&s.therapist.reply_to(&forward, "Retenue.")?.at(march(2, 18, 0)))?;
    deliver(&late)?;
    let round = play.pass(march(4, 18, 0))?;
    round.nothing_to(&s.marie)?;
    says(&round.to(&s.therapist).map(|post| post.read.text()).collect::<String>(), &["signé par vous le", "Retenue."])?;
    Ok(())
}

#[test]
fn row_34_a_flood_under_a_clients_name_leaves_the_digest_readable_and_real_letters_pass() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let times = flood();
    let spoof =
        s.paul.write(&Letter::new(OFFICE, "Faux", "zzz un mot.\n").form(Form::InlineSigned).at(march(2, 3, 0)))?;
    let text = String::from_utf8(spoof)?.replace(&s.paul.address, &s.marie.address);
    for n in 0..times {
        let one = text.replace("zzz", &format!("zz{n}")).replacen("Message-ID: <", &format!("Message-ID: <{n}."), 1);
        s.lab.deliver("x@evil.example", OFFICE, one.as_bytes())?;
        if n == times / 2 {
            s.letter(&s.marie, "Vraie", "Ma vraie lettre.\n", march(2, 3, 0))?;
        }
    }
    let round = play.pass(march(2, 3, 1))?;
    ensure!(
        round.counts["filed"] == 1 && round.counts["failed"] == 0 && round.counts["held"] == 20,
        "{}",
        round.counts
    );
    let told = round.to(&s.therapist).count();
    ensure!(told <= 3, "{told} mails about a flood");
    ensure!(round.to(&s.therapist).any(|post| post.read.text().contains("Ma vraie lettre")), "{}", round.story());
    ensure!(round.to(&s.marie).count() <= 1, "{}", round.story());
    let digest = play.pass(march(3, 6, 0))?;
    let sheet = digest.to(&s.therapist).map(|post| post.read.text()).collect::<String>();
    ensure!(sheet.lines().count() < 200, "{} lines", sheet.lines().count());
    ensure!(s.lab.mails(OFFICE, "INBOX")?.is_empty(), "something stayed");
    Ok(())
}

/// A therapist's mailbox that takes nothing any more, for a thousand letters: one alarm, each letter kept.
#[test]
fn row_25_a_thousand_failures_make_one_notice() -> Result<()> {
    let play = Play::new()?;
    let (s, times) = (&play.scene, flood());
    let operator = "ops@autre.example";
    s.practice.set("operator.address", &format!("\"{operator}\""))?;
    // The digest is a mail of its own, and would fail too.
    s.practice.set("digest.send", "\"0 0 22 * * *\"")?;
    let doctor = s.therapist.address.clone();
    play.sink().rule(move |_, to| match to {
        [one] if *one == doctor => Answer::AtRcpt("550 5.2.1 mailbox disabled".into()),
        _ => Answer::Accept,
    });
    let office = [Cert::from_bytes(&s.office.certificate()?)?];
    for n in 0..times {
        let letter = signed(&[&secret("marie")], text(&format!("Lettre {n}.")).as_bytes());
        let mail = head(MARIE, &format!("Sujet {n}")) + &pgp_mime(&encrypted_to(&office, &letter));
        s.lab.deliver(MARIE, OFFICE, mail.as_bytes())?;
    }
    let round = play.failing_pass(march(2, 9, 0))?;
    ensure!(round.counts["filed"] == times && round.counts["failed"] == times, "{}", round.counts);
    let alarms = |round: &Round| round.posts.iter().filter(|post| post.to == [operator]).count();
    let mut told = alarms(&round);
    for minute in [5, 30, 59] {
        let out = s.practice.run_at(march(2, 9, minute), &["run", "--once", "--json"])?;
        ensure!(out.stdout.contains("\"failed\": 0"), "they are tried again: {out:?}");
    }
    told += alarms(&play.pass(march(2, 10, 0))?);
    ensure!(told == 1, "{told} alarms for {times} failures");
    let states = play.states(&s.c1, "letter")?;
    ensure!(states.len() == times && states.iter().all(|state| state == "filed"), "{} letters", states.len());
    Ok(())
}

/// The therapist's program answers every refusal at once, with a new Message-ID and no header that says so.
#[test]
fn row_34_a_machine_that_argues_with_refusals_meets_a_ceiling() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let mut refusals = 0;
    for minute in 0..12 {
        let at = march(2, 3, minute);
        let letter = Letter::new(OFFICE, "Re: Message refusé", &format!("Absent {minute}.\n")).form(Form::Plain).at(at);
        s.therapist.deliver(&s.lab, &letter)?;
        let round = play.pass(at)?;
        round.nothing_to(&s.marie)?;
        refusals += round.to(&s.therapist).filter(|post| !post.is_routine()).count();
    }
    ensure!((1..=5).contains(&refusals), "{refusals} refusals in an hour");
    Ok(())
}

/// Last night's copy of the database in the place of today's: what had left by then doesn't leave again, what was filed
/// by then isn't filed again, also where its original comes a second time.
#[test]
fn row_32_an_old_database_repeats_nothing_that_it_knows() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let letter = s.marie.write(&Letter::new(OFFICE, "Une lettre", "Une lettre.\n").at(march(2, 3, 0)))?;
    s.lab.deliver(MARIE, OFFICE, &letter)?;
    let forward = play.pass(march(2, 3, 1))?.one(&s.therapist)?.raw.clone();
    let answer = s.therapist.write(&s.therapist.reply_to(&forward, "Une réponse.")?.at(march(2, 9, 0)))?;
    s.lab.deliver(&s.therapist.address, OFFICE, &answer)?;
    play.pass(march(2, 9, 1))?;
    let round = play.pass(march(2, 17, 0))?;
    says(&round.one(&s.marie)?.read.text(), &["Une réponse."])?;
    play.pass(march(2, 23, 0))?;
    let copy = Snapshot::of(&s.practice)?;
    play.letter(&s.paul, "Une lettre de Paul, que la copie ne connaît pas.\n", march(3, 5, 0))?;
    copy.put_back(&s.practice)?;
    for mail in [&letter, &answer] {
        s.lab.deliver("x@evil.example", OFFICE, mail)?;
    }
    for (hour, minute) in [(5, 30), (9, 0), (17, 0), (17, 30)] {
        let round = play.pass(march(3, hour, minute))?;
        ensure!(round.counts["filed"] == 0 && round.counts["failed"] == 0, "{}", round.story());
        round.nothing_to(&s.marie)?;
        round.nothing_to(&s.paul)?;
        ensure!(round.to(&s.therapist).all(|post| post.is_routine()), "{}", round.story());
    }
    ensure!(play.states(&s.c1, "reply")? == ["sent"] && play.states(&s.c1, "letter")? == ["filed"]);
    ensure!(s.practice.run(&["journal", "verify"])?.status == Some(1), "nobody noticed");
    Ok(())
}

/// Somebody puts last week's database back: what has left since doesn't leave again unnoticed, and the digest's head
/// tells.
#[test]
fn row_32_an_old_database_in_the_place_of_the_new_one_is_noticed() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une lettre.\n", march(2, 3, 0))?;
    play.answer(&forward, "Une réponse.", march(2, 9, 0))?;
    let copy = Snapshot::of(&s.practice)?;
    let round = play.pass(march(2, 17, 0))?;
    says(&round.one(&s.marie)?.read.text(), &["Une réponse."])?;
    ensure!(s.practice.run(&["journal", "verify"])?.ok());
    copy.put_back(&s.practice)?;
    ensure!(s.practice.run(&["journal", "verify"])?.status == Some(1), "nobody noticed");
    // The copy takes the reply for one that still waits: it doesn't leave, nor does anything else, until a person says so.
    for minute in [10, 20] {
        let round = play.pass(march(2, 17, minute))?;
        ensure!(round.counts["sent"] == 0, "{}", round.story());
    }
    ensure!(s.practice.run(&["status"])?.stdout.contains("cadre queue resume"));
    let waiting = s.practice.json(&["queue", "list"])?;
    let reply =
        waiting.as_array().into_iter().flatten().find(|mail| mail["kind"] == "reply").context("no reply waits")?;
    let id = reply["id"].as_str().context("an id")?;
    ensure!(s.practice.run(&["queue", "cancel", id])?.ok() && s.practice.run(&["queue", "resume"])?.ok());
    ensure!(s.practice.run(&["journal", "verify"])?.ok(), "it is the journal from now on");
    let round = play.letter(&s.paul, "Une autre lettre.\n", march(2, 17, 30))?;
    round.nothing_to(&s.marie)?;
    round.one(&s.paul)?;
    Ok(())
}
