//! A reply that comes back: told, with the other way; its turn is open again.

use anyhow::{Context as _, Result, ensure};

use crate::common::Answer;
use crate::common::ledger::sql;
use crate::common::play::{Play, flood, says};
use crate::common::scene::march;
use crate::stage::{explained, id_of, journal, lying, notice, put, replied};

#[test]
fn a_returned_reply_is_told_once_and_its_letters_are_unanswered_again() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let (id, forward) = replied(&play)?;
    let raw = notice("postfix-failed", &id, &s.marie.address)?;
    let said = explained(&play, &raw)?;
    ensure!(said["action"] == "delivery-failure" && said["client"] == s.c1.as_str(), "{said}");

    let round = put(&play, &raw, march(2, 17, 5))?;
    round.nothing_to(&s.marie)?;
    let told = round.one(&s.therapist)?.read.text();
    says(&told, &[&s.c1, "n'a pas reçu la réponse du lundi 2 mars", "l'adresse n'existe pas", "n'est pas signé"])?;
    says(&told, &["comme sans réponse, à rendre avant le mardi 3 mars à 18 h", "/close", "+33 1 00 00 00 00, SMS"])?;
    ensure!(play.states(&s.c1, "reply")? == ["failed"], "{:#}", s.thread(&s.c1)?);
    let turn = play.turn(&s.c1)?;
    ensure!(turn["state"] == "open" && turn["due"] == "2026-03-03T17:00:00Z" && turn["acknowledged"] == true, "{turn}");
    ensure!(journal(&play, "returned")?.len() == 1);
    ensure!((lying(&play, &["INBOX"])?, lying(&play, &["Cadre", "Others"])?) == (0, 1));
    let queue = s.practice.json(&["queue", "list", "--all"])?;
    let mails = queue.as_array().cloned().unwrap_or_default();
    let reply = mails.iter().find(|row| row["kind"] == "reply").cloned().unwrap_or_default();
    ensure!(reply["state"] == "failed" && reply["last_error"] == "returned 5.1.1", "{reply}");

    // A second one of the same changes nothing but a line.
    for (n, name) in ["postfix-failed", "gmail-report"].into_iter().enumerate() {
        let round = put(&play, &notice(name, &id, &s.marie.address)?, march(2, 17, 6))?;
        ensure!(round.posts.is_empty(), "{}", round.story());
        ensure!(journal(&play, "notice-ignored")?.len() == n + 1);
    }
    ensure!(play.turn(&s.c1)?["state"] == "open" && journal(&play, "returned")?.len() == 1);

    // The digest names the day of the letter, and what is to answer.
    let round = play.pass(march(3, 6, 0))?;
    let digest = round.to(&s.therapist).next().expect("a digest").read.text();
    says(&digest, &["NON REÇU", "n'a pas reçu la réponse du lundi 2 mars", "À RÉPONDRE"])?;

    // The therapist writes again, on the day that is theirs.
    let told = play.told(&forward, "Bonjour.\n\nJe vous réécris.", march(3, 8, 0))?;
    says(&told, &["18 h", "3 mars"])?;
    let round = play.pass(march(3, 17, 0))?;
    ensure!(round.one(&s.marie)?.read.text().contains("Je vous réécris"), "{}", round.story());
    ensure!(play.states(&s.c1, "reply")? == ["failed", "sent"] && play.turn(&s.c1)?["state"] == "answered");
    Ok(())
}

#[test]
fn row_25_a_thousand_notices_of_one_failure_are_told_once() -> Result<()> {
    let play = Play::new()?;
    let (s, times) = (&play.scene, flood());
    let (id, _) = replied(&play)?;
    let raw = String::from_utf8(notice("postfix-failed", &id, &s.marie.address)?)?;
    for n in 0..times {
        s.lab.deliver("", crate::common::scene::OFFICE, raw.replace("<n1@", &format!("<n{n}@")).as_bytes())?;
    }
    let round = play.pass(march(2, 17, 5))?;
    ensure!(round.posts.len() == 1 && round.counts["failed"] == 0, "{}", round.story());
    says(&round.one(&s.therapist)?.read.text(), &["n'a pas reçu la réponse du lundi 2 mars"])?;
    let lines = |kind: &str| sql(&s.practice, &format!("SELECT COUNT(*) FROM journal WHERE kind = '{kind}'"));
    ensure!(lines("returned")? == "1" && lines("notice-ignored")? == (times - 1).to_string());
    ensure!(lying(&play, &["INBOX"])? == 0 && lying(&play, &["Cadre", "Others"])? == times);
    let round = play.pass(march(3, 6, 0))?;
    let digest = round.to(&s.therapist).next().expect("a digest").read.text();
    ensure!(digest.matches("pas reçu la réponse").count() == 1, "{digest}");
    Ok(())
}

/// Whom no letter reaches is to be reached otherwise: what they left of themselves comes with the news, once a week.
#[test]
fn a_returned_letter_brings_the_persons_card_once_a_week() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let card = "Nom : Marie M.\nTéléphone : 06 00 00 00 42";
    let forward = play.forwarded(&s.marie, "Une première lettre.\n", march(1, 22, 10))?;
    play.answer(&forward, &format!("/card\n\n{card}"), march(1, 22, 30))?;
    for (day, copies) in [(2, 1), (3, 0), (10, 1)] {
        play.answer(&forward, &format!("Bonjour.\n\nLa réponse du {day}."), march(day, 8, 0))?;
        let round = play.pass(march(day, 17, 0))?;
        let id = id_of(&round.one(&s.marie)?.raw)?;
        let round = put(&play, &notice("postfix-failed", &id, &s.marie.address)?, march(day, 17, 5))?;
        round.nothing_to(&s.marie)?;
        let (cards, news): (Vec<_>, Vec<_>) =
            round.to(&s.therapist).partition(|post| post.read.attachments.iter().any(|file| file.0 == "card.asc"));
        ensure!(news.len() == 1 && cards.len() == copies, "day {day}: {}", round.story());
        says(&news[0].read.text(), &["n'a pas reçu la réponse"])?;
        ensure!(news[0].read.text().contains("fiche") == (copies == 1), "day {day}: {}", news[0].read.text());
        for post in cards {
            ensure!(!post.read.text().contains("06 00"), "the words of the card stand outside it");
            let file = post.read.attachments.iter().find(|file| file.0 == "card.asc").context("a card")?;
            let (opened, _) = s.therapist.gpg(&["--decrypt"], &file.2)?;
            ensure!(String::from_utf8_lossy(&opened).contains("06 00 00 00 42"));
        }
    }
    Ok(())
}

#[test]
fn a_refusal_for_good_opens_the_turn_again_too() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une première lettre.\n", march(1, 22, 10))?;
    play.answer(&forward, "Voici ma réponse.", march(2, 8, 0))?;
    play.script([Answer::AfterDot("552 5.2.2 mailbox full".into())]);
    let round = play.failing_pass(march(2, 17, 0))?;
    let told = round.one(&s.therapist)?.read.text();
    says(&told, &["son serveur de messagerie a refusé l'envoi", "comme sans réponse"])?;
    let turn = play.turn(&s.c1)?;
    ensure!(turn["state"] == "open" && turn["due"] == "2026-03-03T17:00:00Z", "{turn}");
    // The same evening, outside the count, or the day after: both are possible.
    let round = play.answer(&forward, "/urgent\n\nÀ nouveau.", march(2, 17, 10))?;
    ensure!(round.to(&s.marie).count() == 1, "{}", round.story());
    Ok(())
}

#[test]
fn a_delayed_reply_is_shown_softly_and_is_not_failed() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let (id, _) = replied(&play)?;
    for (n, name) in ["postfix-delayed", "sendmail-warning"].into_iter().enumerate() {
        let round = put(&play, &notice(name, &id, &s.marie.address)?, march(2, 21, n as u32))?;
        ensure!(round.posts.is_empty(), "{}", round.story());
    }
    ensure!(play.states(&s.c1, "reply")? == ["sent"] && play.turn(&s.c1)?["state"] == "answered");
    let digest = |round: &crate::common::play::Round| round.to(&s.therapist).next().map(|post| post.read.text());
    let told = digest(&play.pass(march(3, 6, 0))?).expect("a digest");
    says(&told, &["EN CHEMIN", "remise différée pour la réponse du lundi 2 mars"])?;
    ensure!(!told.contains("NON REÇU"), "{told}");
    // It arrives after all.
    put(&play, &notice("postfix-delivered", &id, &s.marie.address)?, march(3, 9, 0))?;
    let told = digest(&play.pass(march(4, 6, 0))?).expect("a digest");
    ensure!(!told.contains("EN CHEMIN") && !told.contains("NON REÇU"), "{told}");
    // What nobody understands is said as that, and changes nothing.
    put(&play, &notice("unknown-language", &id, &s.marie.address)?, march(4, 9, 0))?;
    let told = digest(&play.pass(march(5, 6, 0))?).expect("a digest");
    says(&told, &["EN CHEMIN", "avis peu clair d'un serveur sur la réponse du lundi 2 mars"])?;
    // Then it fails.
    let round = put(&play, &notice("exim-text", &id, &s.marie.address)?, march(5, 9, 0))?;
    says(&round.one(&s.therapist)?.read.text(), &["n'a pas reçu la réponse du lundi 2 mars", "la boîte est pleine"])?;
    ensure!(play.states(&s.c1, "reply")? == ["failed"]);
    Ok(())
}

#[test]
fn a_notice_in_the_junk_folder_counts_and_the_rest_there_is_left_and_counted() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let (id, _) = replied(&play)?;
    let lab = &s.lab;
    lab.append(crate::common::scene::OFFICE, "Junk", &notice("qmail", &id, &s.marie.address)?, None)?;
    lab.append(crate::common::scene::OFFICE, "Junk", &notice("qmail", "0@cabinet.example", &s.marie.address)?, None)?;
    lab.append(crate::common::scene::OFFICE, "Junk", &notice("person", &id, "x@y.example")?, None)?;
    let round = play.pass(march(2, 17, 30))?;
    says(&round.one(&s.therapist)?.read.text(), &["n'a pas reçu la réponse"])?;
    ensure!(lying(&play, &["Junk"])? == 2 && id_of(&round.posts[0].raw)? != id);
    let status = s.practice.json(&["status"])?;
    ensure!(status["left_in_junk"] == 2 && status["set_aside"] == 1, "{status}");
    let screen = s.practice.run(&["status"])?.expect_ok()?;
    ensure!(screen.contains("1 among the others, 2 left in the junk folder"), "{screen}");
    Ok(())
}
