//! Absences end to end: announced, begun, ended; what is owed moves; a locum sees what was agreed and nothing else.

mod common;

use std::fs;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use common::Person;
use common::ledger::sql;
use common::play::{Play, Post, Round};
use common::scene::march;

fn due(play: &Play, code: &str) -> Result<String> {
    Ok(play.turn(code)?["due"].as_str().unwrap_or("none").to_owned())
}

/// One letter each to Marie and Paul, sealed.
fn both_told(play: &Play, round: &Round) -> Result<()> {
    for client in [&play.scene.marie, &play.scene.paul] {
        let letter = round.one(client)?;
        ensure!(letter.read.decrypted, "in clear: {}", round.story());
    }
    Ok(())
}

fn nobody_told(play: &Play, round: &Round) -> Result<()> {
    round.nothing_to(&play.scene.marie)?;
    round.nothing_to(&play.scene.paul)
}

#[test]
fn a_planned_absence_is_announced_stops_the_clock_and_ends() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    // Announced fourteen days before, at seven.
    let round = play.order(&s.therapist, "/absent 2026-03-23 2026-03-27", march(2, 8, 0))?;
    nobody_told(&play, &round)?;
    ensure!(play.made("receipt")? == 1, "{}", round.story());
    for wrong in ["/absent 2026-03-25 2026-04-02", "/absent 23/03/2026 23/03/2026", "/absent 2026-02-02 2026-02-06"] {
        let refused = play.made("refusal")?;
        let round = play.order(&s.therapist, wrong, march(2, 8, 10 + refused as u32))?;
        ensure!(play.made("refusal")? == refused + 1, "{wrong}: {}", round.story());
    }
    nobody_told(&play, &play.pass(march(9, 5, 59))?)?;
    both_told(&play, &play.pass(march(9, 6, 0))?)?;
    ensure!(play.made("absence-planned")? == 2);

    // What would be due in it is due after it: that Monday's summer time has begun.
    let round = play.letter(&s.marie, "Une lettre du vendredi.\n", march(20, 10, 0))?;
    round.one(&s.marie)?;
    ensure!(due(&play, &s.c1)? == "2026-03-30T16:00:00Z", "{}", due(&play, &s.c1)?);
    both_told(&play, &play.pass(march(23, 6, 0))?)?;
    ensure!(play.made("absence-start")? == 2);

    // In it: an acknowledgement, no digest, no reminder, no miss.
    let digests = play.made("digest")?;
    let round = play.letter(&s.paul, "Une lettre en votre absence.\n", march(24, 9, 0))?;
    ensure!(round.one(&s.paul)?.read.decrypted && due(&play, &s.c2)? == "2026-03-30T16:00:00Z", "{}", round.story());
    for day in 24..=29 {
        for hour in [6, 14, 19] {
            let round = play.pass(march(day, hour, 30))?;
            ensure!(round.posts.is_empty(), "on the {day}th: {}", round.story());
        }
    }
    ensure!(play.made("digest")? == digests && play.made("missed-day")? == 0);

    // The first day of work, at seven; and the letters are due at its slot.
    nobody_told(&play, &play.pass(march(30, 4, 59))?)?;
    both_told(&play, &play.pass(march(30, 5, 0))?)?;
    ensure!(play.made("absence-return")? == 2 && play.made("digest")? == digests + 1);
    ensure!(play.pass(march(30, 6, 0))?.to(&s.marie).next().is_none());
    let missed = play.pass(march(30, 18, 30))?;
    ensure!(play.made("missed-day")? == 2, "the clock runs again: {}", missed.story());
    ensure!(s.practice.run(&["journal", "verify"])?.ok());
    Ok(())
}

#[test]
fn what_is_owed_moves_out_of_an_absence_and_back() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Pour lundi.\n", march(2, 3, 0))?;
    play.letter(&s.paul, "Pour lundi aussi.\n", march(2, 3, 5))?;
    play.answer(&forward, "Une réponse qui attend.", march(2, 7, 0))?;
    let slot = |play: &Play| -> Result<String> {
        let thread = play.scene.thread(&play.scene.c1)?;
        let messages = thread["messages"].as_array().context("messages")?.clone();
        let reply = messages.iter().find(|m| m["kind"] == "reply").context("a reply")?;
        Ok(reply["slot"].as_str().unwrap_or_default().to_owned())
    };
    ensure!(slot(&play)? == "2026-03-02T17:00:00Z");

    // From today on: told at once, and everything waits for the Monday after.
    let round = play.order(&s.therapist, "/absent 02/03/2026 au 06/03/2026", march(2, 8, 0))?;
    both_told(&play, &round)?;
    ensure!(play.made("absence-start")? == 2 && play.made("absence-planned")? == 0);
    ensure!(slot(&play)? == "2026-03-09T17:00:00Z" && due(&play, &s.c2)? == "2026-03-09T17:00:00Z");
    let round = play.pass(march(2, 17, 0))?;
    ensure!(round.posts.is_empty(), "nothing leaves: {}", round.story());

    // Back on Wednesday afternoon: replies leave that evening, what is unanswered is due the day after.
    let round = play.order(&s.therapist, "/retour", march(4, 14, 0))?;
    both_told(&play, &round)?;
    ensure!(play.made("absence-return")? == 2, "{}", round.story());
    ensure!(slot(&play)? == "2026-03-04T17:00:00Z" && due(&play, &s.c2)? == "2026-03-05T17:00:00Z");
    let round = play.pass(march(4, 17, 0))?;
    ensure!(round.one(&s.marie)?.read.text().contains("Une réponse qui attend."), "{}", round.story());
    ensure!(play.made("missed-day")? == 0);

    // A second one contradicts nothing: there is none.
    play.order(&s.therapist, "/back", march(4, 18, 0))?;
    ensure!(play.made("refusal")? == 1);

    // Withdrawn before it began: today's slot is today's again, and those who were told are told.
    ensure!(due(&play, &s.c2)? == "2026-03-05T17:00:00Z");
    play.order(&s.therapist, "/absent 2026-03-05 2026-03-13", march(4, 18, 30))?;
    ensure!(due(&play, &s.c2)? == "2026-03-16T17:00:00Z");
    let round = play.order(&s.therapist, "/back", march(4, 18, 40))?;
    both_told(&play, &round)?;
    ensure!(due(&play, &s.c2)? == "2026-03-05T17:00:00Z", "{}", due(&play, &s.c2)?);
    Ok(())
}

#[test]
fn an_absence_of_the_file_is_kept_while_it_stands_there() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let before = fs::read_to_string(&s.practice.config)?;
    let absence = "\n[[absence]]\ntherapist = \"exemple\"\nfrom = 2026-03-09\nto = 2026-03-11\n";
    fs::write(&s.practice.config, format!("{before}{absence}"))?;
    // Nearer than fourteen days: announced at once, and once.
    both_told(&play, &play.pass(march(2, 9, 0))?)?;
    nobody_told(&play, &play.pass(march(2, 9, 10))?)?;
    play.letter(&s.marie, "Une lettre.\n", march(8, 9, 0))?;
    ensure!(due(&play, &s.c1)? == "2026-03-12T17:00:00Z", "{}", due(&play, &s.c1)?);
    // `/back` ends it for good, though it stands in the file.
    both_told(&play, &play.pass(march(9, 6, 0))?)?;
    both_told(&play, &play.order(&s.therapist, "/back", march(9, 9, 0))?)?;
    ensure!(due(&play, &s.c1)? == "2026-03-09T17:00:00Z", "{}", due(&play, &s.c1)?);
    nobody_told(&play, &play.pass(march(9, 9, 30))?)?;
    // Another one that is taken out of the file again.
    fs::write(&s.practice.config, format!("{before}{}", absence.replace("-03-09", "-03-16").replace("-11", "-18")))?;
    play.pass(march(10, 9, 0))?;
    ensure!(play.made("absence-planned")? == 4 && play.made("absence-return")? == 2);
    fs::write(&s.practice.config, &before)?;
    play.pass(march(10, 9, 10))?;
    ensure!(play.made("absence-return")? == 4);
    Ok(())
}

#[test]
fn an_unplanned_absence_is_entered_by_the_operator() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Pour lundi.\n", march(2, 3, 0))?;
    s.practice.run_at(march(2, 9, 0), &["absent", "exemple"])?.expect_ok()?;
    ensure!(!s.practice.run(&["absent", "exemple"])?.ok(), "it overlaps itself");
    ensure!(s.practice.run(&["absent", "personne"])?.status == Some(2));
    let round = play.pass(march(2, 9, 1))?;
    both_told(&play, &round)?;
    ensure!(play.made("absence-unplanned")? == 2, "{}", round.story());
    let sheet = s.practice.json(&["digest", "--preview"])?;
    ensure!(sheet["absence"]["from"] == "2026-03-02" && sheet["absence"]["to"].is_null(), "{:#}", sheet["absence"]);
    // Nobody knows until when: due at no known time, told so, never missed.
    ensure!(due(&play, &s.c1)? == "none");
    let round = play.letter(&s.paul, "Et moi ?\n", march(3, 9, 0))?;
    ensure!(round.one(&s.paul)?.read.decrypted && due(&play, &s.c2)? == "none", "{}", round.story());
    ensure!(play.pass(march(3, 20, 0))?.posts.is_empty());
    play.answer(&forward, "Une réponse malgré tout.", march(3, 21, 0))?;
    ensure!(play.made("refusal")? == 1);
    // Then the end is known, and the clients are told it.
    let out =
        s.practice.run_at(march(5, 9, 0), &["absent", "exemple", "--until", "2026-03-13", "--json"])?.expect_ok()?;
    ensure!(out.contains("\"until\": \"2026-03-13\""), "{out}");
    both_told(&play, &play.pass(march(5, 9, 1))?)?;
    ensure!(due(&play, &s.c1)? == "2026-03-16T17:00:00Z" && due(&play, &s.c2)? == "2026-03-16T17:00:00Z");
    // A daemon hears of what the shell does.
    let mut daemon = s.practice.spawn_run()?;
    s.practice.run(&["absent", "exemple", "--back"])?.expect_ok()?;
    common::lab::wait("the letters of the return", common::lab::PATIENCE, || {
        Ok((sql(&s.practice, "SELECT COUNT(*) FROM outbox WHERE kind = 'absence-return' AND state = 'sent'")?.trim()
            == "2")
            .then_some(()))
    })?;
    daemon.end()?;
    ensure!(due(&play, &s.c1)? == "2026-03-06T17:00:00Z", "{}", due(&play, &s.c1)?);
    Ok(())
}

/// A second therapist, who stands in for the first by the configuration.
fn second(play: &Play) -> Result<Person> {
    let s = &play.scene;
    let second = Person::persona(&s.lab, "second")?;
    second.meet(&s.office)?;
    fs::write(s.practice.dir.join("second.pgp"), second.certificate()?)?;
    let text = fs::read_to_string(&s.practice.config)?;
    let own = "\n[[therapist]]\nid = \"second\"\nname = \"Dr Second\"\ntitle = \"Psychologue\"\n\
               register = \"RPPS 10000000001\"\ncountry = \"FR\"\naddress = \"second@exemple.example\"\n\
               certificate = \"second.pgp\"\nforward = \"each\"\n";
    fs::write(&s.practice.config, format!("{text}{own}"))?;
    s.practice.set("therapist.0.locum", "\"second\"")?;
    Ok(second)
}

fn to_second<'r>(round: &'r Round, second: &Person) -> Vec<&'r Post> {
    round.to(second).collect()
}

fn copies(play: &Play) -> Result<String> {
    Ok(sql(&play.scene.practice, "SELECT COUNT(*) FROM locum_copy WHERE data IS NOT NULL")?.trim().to_owned())
}

#[test]
fn a_locum_sees_what_was_agreed_and_only_in_the_absence() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let second = second(&play)?;
    play.letter(&s.marie, "Avant l'accord.\n", march(2, 3, 0))?;
    ensure!(copies(&play)? == "0", "nobody agreed yet");
    // From now on Marie's letters are sealed to the locum too; she is told nothing is read.
    play.letter(&s.marie, "J'accepte le remplacement\n\nMerci de me l'avoir expliqué.\n", march(2, 4, 0))?;
    let forward = play.forwarded(&s.marie, "Après l'accord.\n", march(2, 5, 0))?;
    play.letter(&s.paul, "Je n'ai rien accepté.\n", march(2, 5, 10))?;
    ensure!(to_second(&play.pass(march(2, 5, 20))?, &second).is_empty());
    ensure!(copies(&play)? != "0");
    // Answered: the copies are gone.
    play.answer(&forward, "Une réponse à tout.", march(2, 8, 0))?;
    play.pass(march(2, 17, 0))?;
    play.order(&s.therapist, "/absent 2026-03-04 2026-03-06", march(2, 18, 0))?;
    ensure!(copies(&play)? == "0", "{}", copies(&play)?);
    // One unanswered letter when it begins.
    play.letter(&s.marie, "Le mot du mardi, sans réponse.\n", march(3, 10, 0))?;
    play.letter(&s.paul, "Le mardi de Paul.\n", march(3, 10, 5))?;
    ensure!(copies(&play)? == "1" && to_second(&play.pass(march(3, 20, 0))?, &second).is_empty());
    let round = play.pass(march(4, 6, 0))?;
    let got: Vec<String> =
        to_second(&round, &second).iter().map(|post| Ok(second.read(&post.raw)?.text())).collect::<Result<_>>()?;
    ensure!(got.iter().any(|text| text.contains("Le mot du mardi, sans réponse.")), "{got:?}");
    ensure!(got.iter().all(|text| !text.contains("Paul") && !text.contains("accord")), "{got:?}");
    ensure!(play.made("locum-cover")? == 1 && play.made("locum")? == 1 && play.made("absence-start")? == 1);
    ensure!(copies(&play)? == "0", "what was handed over isn't kept");

    // What arrives in it, of Marie's and of nobody else's.
    let round = play.letter(&s.marie, "Le mot du mercredi.\n", march(4, 9, 0))?;
    let posts = to_second(&round, &second);
    let (copy, read) = match posts.as_slice() {
        [one] => (one.raw.clone(), second.read(&one.raw)?),
        _ => anyhow::bail!("one letter for the locum: {}", round.story()),
    };
    ensure!(read.text().contains("Le mot du mercredi.") && read.subject.contains(&s.c1), "{}", read.subject);
    let round = play.letter(&s.paul, "Le mercredi de Paul.\n", march(4, 9, 10))?;
    ensure!(to_second(&round, &second).is_empty());

    // The locum answers Marie, at the locum's own slot; nobody else, and decides nothing else.
    let say = |text: &str, at: DateTime<Utc>| -> Result<Round> {
        second.deliver(&s.lab, &second.reply_to(&copy, text)?.at(at))?;
        play.pass(at)
    };
    for (n, refused) in ["/discharge silent", "/label Quelqu'un", "/cancel"].iter().enumerate() {
        let before = play.made("refusal")?;
        say(refused, march(4, 10, n as u32))?;
        ensure!(play.made("refusal")? == before + 1, "{refused}");
    }
    let before = play.made("refusal")?;
    play.order(&second, &format!("/to {}\n\nBonjour Paul.", s.c2), march(4, 10, 30))?;
    ensure!(play.made("refusal")? == before + 1);
    say("Je remplace votre thérapeute, et je vous ai lue.", march(4, 11, 0))?;
    ensure!(play.turn(&s.c1)?["state"] == "answered", "{}", play.turn(&s.c1)?);
    let round = play.pass(march(4, 17, 0))?;
    ensure!(round.one(&s.marie)?.read.text().contains("je vous ai lue"), "{}", round.story());
    round.nothing_to(&s.paul)?;

    // After it: nothing more, and what the locum writes is answered like an unknown code.
    play.pass(march(9, 6, 0))?;
    let round = play.letter(&s.marie, "Le mot de la semaine d'après.\n", march(9, 9, 0))?;
    ensure!(to_second(&round, &second).is_empty());
    let before = play.made("refusal")?;
    let round = say("Encore un mot.", march(9, 10, 0))?;
    ensure!(play.made("refusal")? == before + 1, "{}", round.story());
    ensure!(play.turn(&s.c1)?["state"] == "open");
    ensure!(s.practice.run(&["journal", "verify"])?.ok());
    Ok(())
}

#[test]
fn an_alert_comes_to_the_locum_too_with_nothing_of_the_therapists_own() -> Result<()> {
    const DANGER: &str = "Cette nuit c'est décidé : je veux mourir.\n";
    let play = Play::new()?;
    let s = &play.scene;
    let second = second(&play)?;
    play.order(&s.therapist, &format!("/to {}\n/label Marie des neiges", s.c1), march(2, 3, 0))?;
    play.order(&s.therapist, &format!("/to {}\n/card\n\nNom : Marie M.\nTéléphone : 06 42", s.c1), march(2, 3, 5))?;
    play.letter(&s.marie, "J'accepte le remplacement\n\nMerci.\n", march(2, 4, 0))?;
    let alert = |round: &Round, person: &Person| -> Result<Option<common::Read>> {
        let all: Vec<_> = round.to(person).map(|post| person.read(&post.raw)).collect::<Result<_>>()?;
        Ok(all.into_iter().find(|read| read.subject.contains("ALERTE")))
    };

    // Before the absence to the therapist alone, who can open the card.
    let round = play.letter(&s.marie, DANGER, march(2, 5, 0))?;
    ensure!(to_second(&round, &second).is_empty(), "{}", round.story());
    let own = alert(&round, &s.therapist)?.with_context(|| round.story())?;
    ensure!(own.subject.contains("Marie des neiges"), "{}", own.subject);
    let card = own.attachments.iter().find(|attachment| attachment.0 == "card.asc").context("no card")?;
    let (card, _) = s.therapist.gpg(&["--decrypt"], &card.2)?;
    ensure!(String::from_utf8_lossy(&card).contains("06 42"));
    play.order(&s.therapist, "/absent 2026-03-04 2026-03-06", march(2, 18, 0))?;
    play.pass(march(4, 6, 0))?;

    // In it to both: the locum gets the letter, but neither label nor card.
    let round = play.letter(&s.marie, DANGER, march(4, 9, 0))?;
    ensure!(alert(&round, &s.therapist)?.is_some(), "{}", round.story());
    let theirs = alert(&round, &second)?.with_context(|| round.story())?;
    let text = theirs.text();
    ensure!(theirs.decrypted && theirs.subject.contains(&s.c1) && text.contains("remplacement"), "{text}");
    ensure!(text.contains("transmise maintenant") && !text.contains("mourir"), "{text}");
    let shown = format!("{} {text}", theirs.subject);
    ensure!(!shown.contains("neiges") && theirs.attachments.iter().all(|a| a.0 != "card.asc"), "{shown}");
    let mails = to_second(&round, &second);
    ensure!(mails.len() == 2, "alert and letter: {}", round.story());

    // Of Paul, who agreed to nothing, the locum hears nothing.
    let round = play.letter(&s.paul, DANGER, march(4, 9, 10))?;
    ensure!(alert(&round, &s.therapist)?.is_some() && to_second(&round, &second).is_empty(), "{}", round.story());
    let round = play.pass(march(4, 9, 40))?;
    for post in to_second(&round, &second) {
        let again = second.read(&post.raw)?;
        ensure!(again.subject.contains("rappel") && !again.subject.contains(&s.c2), "{}", again.subject);
    }
    ensure!(to_second(&round, &second).len() == 1, "Marie's is said again: {}", round.story());
    Ok(())
}
