//! Where two parts of the frame meet: an end and a danger, an absence after an absence, a word that crosses another.

mod common;

use anyhow::{Context as _, Result, ensure};
use common::Person;
use common::play::{Play, Round, says};
use common::scene::march;

fn state(play: &Play, code: &str) -> Result<String> {
    Ok(play.scene.thread(code)?["state"].as_str().context("a state")?.to_owned())
}

/// The only mail that a client got.
fn said(round: &Round, to: &Person) -> Result<String> {
    Ok(round.one(to)?.read.text())
}

/// The words of the therapist's mail that has these in its subject.
fn told(round: &Round, play: &Play, subject: &str) -> Result<String> {
    let mut mails = round.to(&play.scene.therapist);
    let found = mails.find(|post| post.read.subject.contains(subject));
    Ok(found.with_context(|| format!("{subject}: {}", round.story()))?.read.text())
}

#[test]
fn back_ends_the_absence_that_is_meant_and_spares_the_next() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    play.order(&s.therapist, "/absent 2026-03-04 2026-03-06", march(2, 8, 0))?;
    play.order(&s.therapist, "/absent 2026-03-16 2026-03-20", march(2, 8, 10))?;
    play.pass(march(4, 6, 30))?;
    // Home on Saturday: the one that is over, and waits for Monday's first hours, is meant.
    let round = play.order(&s.therapist, "/back", march(7, 9, 0))?;
    says(&told(&round, &play, "reçu")?, &["Absence terminée."])?;
    ensure!(play.made("absence-return")? == 2, "both are told of the return: {}", round.story());
    // Said twice, it takes no holiday away.
    let refused = play.made("refusal")?;
    let round = play.order(&s.therapist, "/back", march(7, 9, 5))?;
    ensure!(play.made("refusal")? == refused + 1, "{}", round.story());
    play.letter(&s.marie, "Une lettre du dimanche de la deuxième absence.\n", march(15, 12, 0))?;
    let due = play.turn(&s.c1)?["due"].clone();
    ensure!(due == "2026-03-23T17:00:00Z", "the second absence stands: {due}");
    // Withdrawn before it begins, the receipt names its days.
    let round = play.order(&s.therapist, "/back", march(15, 12, 30))?;
    says(&told(&round, &play, "reçu")?, &["16 mars", "20 mars", "n'aura pas lieu"])?;
    let due = play.turn(&s.c1)?["due"].clone();
    ensure!(due == "2026-03-16T17:00:00Z", "{due}");
    common::ledger::sound(s)
}

#[test]
fn a_safety_letter_names_no_reply_that_its_own_letter_has_ended() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let round = play.letter(&s.marie, "Je veux mourir.\n\nSTOP\n", march(2, 9, 0))?;
    let letters: Vec<String> = round.to(&s.marie).map(|post| post.read.text()).collect();
    let safety = letters.iter().find(|text| text.contains("3114")).with_context(|| round.story())?;
    ensure!(!safety.contains("attendue"), "{safety}");
    ensure!(state(&play, &s.c1)? == "discharged");
    let round = play.letter(&s.paul, "Je veux mourir.\n", march(2, 9, 30))?;
    says(&said(&round, &s.paul)?, &["attendue", "3114"])?;
    ensure!(s.practice.run(&["journal", "verify"])?.ok());
    Ok(())
}

#[test]
fn words_that_cross_a_stop_are_neither_a_farewell_nor_undo_it() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let first = play.forwarded(&s.marie, "Une lettre.\n", march(2, 3, 0))?;
    // Written before the STOP was filed, and delivered after it.
    play.letter(&s.marie, "STOP\n", march(2, 10, 0))?;
    ensure!(state(&play, &s.c1)? == "discharged");
    s.answer(&first, "Une réponse ordinaire, écrite avant.", march(2, 9, 30))?;
    let round = play.pass(march(2, 10, 10))?;
    says(&told(&round, &play, "refusé")?, &["terminé"])?;
    ensure!(play.states(&s.c1, "farewell")?.is_empty());
    play.answer(&first, "Je vous remercie de l'avoir dit.", march(2, 10, 20))?;
    ensure!(play.states(&s.c1, "farewell")? == ["waiting"], "what is written after it is the farewell");

    // A STOP that comes while the therapist's own end waits: the end can't be taken back any more.
    let paul = play.forwarded(&s.paul, "Une lettre de Paul.\n", march(3, 3, 0))?;
    let words = "Nous avons parlé de cette fin ensemble. Vous pouvez écrire à votre médecin, et je vous souhaite \
                 le meilleur pour les mois qui viennent.";
    play.answer(&paul, &format!("/discharge\n\n{words}"), march(3, 9, 0))?;
    play.letter(&s.paul, "C'est mieux ainsi.\n\nSTOP\n", march(3, 9, 30))?;
    let round = play.answer(&paul, "/cancel", march(3, 10, 0))?;
    ensure!(state(&play, &s.c2)? == "discharged", "{}", round.story());
    ensure!(play.states(&s.c2, "farewell")? == ["cancelled"]);
    round.nothing_to(&s.paul)?;
    play.answer(&paul, &format!("/discharge\n\n{words}"), march(3, 10, 10))?;
    ensure!(play.states(&s.c2, "farewell")? == ["cancelled", "waiting"], "the one letter may still be written");
    common::ledger::sound(s)
}

#[test]
fn a_stop_from_a_telephone_that_was_offline_still_counts() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let first = play.forwarded(&s.marie, "Une lettre.\n", march(2, 3, 0))?;
    s.letter(&s.marie, "Une lettre", "STOP\n", march(2, 4, 0))?;
    // Another word of the therapist's was obeyed meanwhile.
    s.answer(&first, "/pause", march(2, 9, 0))?;
    play.pass(march(3, 12, 0))?;
    ensure!(state(&play, &s.c1)? == "discharged", "{}", state(&play, &s.c1)?);
    common::ledger::sound(s)
}

#[test]
fn a_bare_agreement_is_confirmed_and_owes_no_reply() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let round = play.letter(&s.marie, "J'accepte le remplacement\n", march(2, 9, 0))?;
    says(&said(&round, &s.marie)?, &["pour le remplacement pendant les absences est enregistré"])?;
    ensure!(play.turn(&s.c1)?["state"] == "none", "{}", play.turn(&s.c1)?);
    let round = play.letter(&s.marie, "REMPLACEMENT NON\n", march(2, 9, 10))?;
    says(&said(&round, &s.marie)?, &["pour le remplacement pendant les absences est retiré"])?;
    ensure!(play.turn(&s.c1)?["state"] == "none");
    // With a word beside it, it is a letter too.
    let round = play.letter(&s.marie, "J'accepte le remplacement\n\nMerci de l'avoir proposé.\n", march(2, 9, 20))?;
    says(&said(&round, &s.marie)?, &["attendue"])?;
    ensure!(play.turn(&s.c1)?["state"] == "open");
    common::ledger::sound(s)
}

#[test]
fn a_refusal_says_what_was_understood_and_nobody_muted_is_missed() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une lettre.\n", march(2, 3, 0))?;
    let text = play.told(&forward, "/label Marie\n/checkin\n", march(2, 9, 0))?;
    says(&text, &["Compris dans ce message, sans suite : /label et /checkin."])?;
    play.answer(&forward, "/mute", march(2, 9, 10))?;
    for day in 2..6 {
        let round = play.pass(march(day, 19, 30))?;
        ensure!(round.to(&s.therapist).all(|post| !post.read.subject.contains("Rappel")), "{}", round.story());
    }
    ensure!(play.made("missed-day")? == 0 && play.made("health-alarm")? == 0);
    common::ledger::sound(s)
}

/// Nothing is owed for a letter that was closed; the week of silence is counted from it all the same.
#[test]
fn news_are_proposed_a_week_after_a_letter_that_was_closed() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let first = play.forwarded(&s.marie, "Une lettre.\n", march(2, 3, 0))?;
    play.answer(&first, "Une réponse.", march(2, 9, 0))?;
    play.pass(march(2, 17, 0))?;
    let second = play.forwarded(&s.marie, "Merci, tout va bien.\n", march(4, 10, 0))?;
    let round = play.answer(&second, "/close", march(4, 11, 0))?;
    ensure!(play.turn(&s.c1)?["state"] != "open", "{}", round.story());
    let proposed = |day: u32| -> Result<bool> {
        let round = play.pass(march(day, 6, 0))?;
        Ok(told(&round, &play, "Relevé")?.contains("/checkin"))
    };
    // A week after the reply it isn't: the letter came later.
    for (day, wanted) in [(9, false), (10, false), (11, false), (12, true)] {
        ensure!(proposed(day)? == wanted, "on the {day}th");
    }
    let round = play.answer(&second, "/checkin", march(12, 9, 0))?;
    ensure!(round.to(&s.marie).count() == 1, "{}", round.story());
    ensure!(!proposed(13)?, "asked already");
    common::ledger::sound(s)
}
