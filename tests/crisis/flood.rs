//! People who forge letters to bury the one that counts, and mail of the therapist's that was never meant for us.

use anyhow::{Result, ensure};
use chrono::TimeDelta;

use crate::alarms::{called, command};
use crate::common::{Form, Letter};
use crate::desk::Desk;
use crate::story::{A, B, books, journal, open, open_alerts};

/// A letter under Marie's name that anybody can have written.
fn forged(desk: &Desk, text: &str, n: usize) -> Result<Vec<u8>> {
    let letter = desk.letter(&format!("Lettre {n}"), &format!("{text}\n\nSuite {n}.")).form(Form::Plain);
    desk.scene.marie.write(&Letter { protected: false, ..letter })
}

#[test]
fn forged_letters_silence_no_alert_and_put_none_off() -> Result<()> {
    let mut desk = open()?;
    let notes = command(&desk)?;
    for n in 0..14 {
        desk.put(&forged(&desk, B, n)?)?;
    }
    desk.pass()?;
    let began = desk.now;
    ensure!(books(&desk)?[0] == 12 && open_alerts(&desk)? == 14, "{:?}", books(&desk)?);
    // Forged ones of another class don't count against them, and have their own ceiling.
    for n in 14..28 {
        desk.put(&forged(&desk, A, n)?)?;
    }
    desk.pass()?;
    let (alerts, calls) = (books(&desk)?[0], called(&notes)?.len());
    ensure!(alerts == 24 && calls == 24 && open_alerts(&desk)? == 28, "{alerts} {calls}");

    // Her own, signed: said at once, by mail and by the command.
    let raw = desk.scene.marie.write(&desk.letter("Nuit", A))?;
    desk.play(&raw)?;
    let now = called(&notes)?;
    ensure!(books(&desk)?[0] == 25 && now.len() == 25, "{:?} {now:?}", books(&desk)?);
    ensure!(now.last().is_some_and(|line| line.ends_with(" A ")), "{now:?}");

    // They go on; what was to be said again half an hour after the first is said then, and so on.
    let mut repeated = Vec::new();
    for n in 28..35 {
        desk.put(&forged(&desk, B, n)?)?;
        let seen = desk.wait(TimeDelta::minutes(10))?;
        let again = seen.to_therapist.iter().filter(|mail| mail.subject.contains("ALERTE A, rappel"));
        repeated.extend(again.map(|_| (desk.now - began).num_minutes()));
    }
    ensure!(repeated == [32, 62], "{repeated:?}");
    // What came after the last one is told with the next; then any mail of the therapist's answers all of them.
    desk.wait(TimeDelta::minutes(20))?;
    ensure!(open_alerts(&desk)? == 36, "{}", open_alerts(&desk)?);
    let (forward, _) = desk.scene.forward(&format!("[{}]", desk.scene.c1))?;
    let letter = desk.scene.therapist.reply_to(&forward, "/note Alerte lue")?.at(desk.now);
    let raw = desk.scene.therapist.write(&letter)?;
    desk.play(&raw)?;
    ensure!(open_alerts(&desk)? == 0 && journal(&desk, "alert-answered")?.len() == 36, "{}", open_alerts(&desk)?);
    Ok(())
}

#[test]
fn what_the_therapist_wrote_to_somebody_else_answers_no_alert() -> Result<()> {
    let mut desk = open()?;
    let raw = desk.scene.marie.write(&desk.letter("Nuit", A))?;
    desk.play(&raw)?;
    desk.pass()?;
    ensure!(open_alerts(&desk)? == 1);
    let friend = |desk: &Desk, text: &str| Letter::new("ami@ailleurs.example", "Jeudi", text).at(desk.now);
    let office = vec![desk.scene.office.fingerprint.clone()];
    desk.scene.therapist.meet(&desk.scene.office)?;
    let texts = ["On se voit jeudi ?", "/frobnicate", "/help"];
    for text in texts {
        for (form, protected) in
            [(Form::Signed, true), (Form::Signed, false), (Form::SignedEncrypted, true), (Form::SignedEncrypted, false)]
        {
            // Whoever has the signed words can seal them anew.
            let keys = (form == Form::SignedEncrypted).then(|| office.clone());
            let letter = Letter { protected, keys, ..friend(&desk, text).form(form) };
            let raw = desk.scene.therapist.write(&letter)?;
            let seen = desk.play(&raw)?;
            ensure!(open_alerts(&desk)? == 1, "{text} {form:?} {protected}: {}", seen.counts);
        }
    }
    // The same words, written to the practice.
    let letter = Letter::new(crate::common::scene::OFFICE, "Jeudi", texts[1]).at(desk.now);
    let raw = desk.scene.therapist.write(&letter)?;
    desk.play(&raw)?;
    ensure!(open_alerts(&desk)? == 0);
    Ok(())
}

#[test]
fn strangers_share_one_reminder() -> Result<()> {
    let mut desk = open()?;
    let stranger = crate::common::Person::persona(&desk.scene.lab, "inconnue")?;
    for n in 0..3 {
        let mut letter = desk.letter("Bonjour", &format!("{A} {n}")).form(Form::Plain);
        letter.forged_from = Some(("Quelqu'un".into(), format!("quelqu.un.{n}@stranger.example")));
        desk.put(&stranger.write(&Letter { protected: false, ..letter })?)?;
    }
    desk.pass()?;
    ensure!(books(&desk)?[0] == 3 && open_alerts(&desk)? == 3, "{:?}", books(&desk)?);
    let seen = desk.wait(TimeDelta::minutes(31))?;
    ensure!(books(&desk)?[0] == 4, "{:?}", books(&desk)?);
    let numbers = journal(&desk, "alert")?;
    let reminder = seen.to_therapist.iter().find(|mail| mail.subject.contains("rappel 1"));
    for entry in &numbers {
        let number = entry["detail"]["number"].as_str().unwrap_or("no number");
        ensure!(reminder.is_some_and(|mail| mail.subject.contains(number)), "{number}");
    }
    Ok(())
}
