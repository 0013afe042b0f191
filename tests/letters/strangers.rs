//! People whom the practice doesn't know, and machines.

use anyhow::{Context as _, Result, ensure};
use chrono::TimeDelta;

use crate::common::{Form, Letter, Person};
use crate::desk::{Desk, each, light, subjects, with_field};

const WORDS: &str = "je cherche quelqu'un qui sache lire les cartes";

fn answers(desk: &mut Desk, person: &Person) -> Result<Vec<crate::common::Read>> {
    let raw = desk.unread(&person.address)?;
    raw.iter()
        .map(|raw| {
            let read = person.read(raw)?;
            desk.travels_well(&read)?;
            Ok(read)
        })
        .collect()
}

#[test]
fn standard_rfc3834_a_stranger_becomes_a_request_and_gets_one_neutral_answer() -> Result<()> {
    let mut desk = Desk::open(light(), each())?;
    desk.secret(&[WORDS, "Les cartes"]);
    let stranger = Person::persona(&desk.scene.lab, "inconnue")?;
    stranger.meet(&desk.scene.office)?;
    stranger.import(&desk.scene.office.certificate()?)?;
    let write = |desk: &Desk, n: u32, form| {
        let letter = Letter { protected: false, ..desk.letter("Les cartes", &format!("{WORDS} {n}")).form(form) };
        stranger.write(&letter)
    };

    let raw = write(&desk, 1, Form::Plain)?;
    desk.explained(&raw, "unsigned", "request", None)?;
    let seen = desk.play(&raw)?;
    ensure!(seen.counts["filed"] == 1 && seen.counts["held"] == 0, "{}", seen.counts);
    ensure!(
        seen.marie.is_empty() && seen.paul.is_empty() && seen.to_therapist.is_empty(),
        "{:?}",
        subjects(&seen.to_therapist)
    );
    ensure!(desk.folder(&["INBOX"])? == 0 && desk.folder(&["Cadre", "Others"])? == 0);
    let told = answers(&mut desk, &stranger)?;
    ensure!(told.len() == 1, "{:?}", subjects(&told));
    let text = told[0].text();
    ensure!(!text.contains("cartes") && !told[0].subject.contains("cartes"), "quoted: {text}");
    ensure!(!text.to_lowercase().contains("cabinet exemple") && text.contains("112"), "{text}");
    ensure!(told[0].outer("Auto-Submitted").is_some(), "{:?}", told[0].outer);

    // The second letter, signed this time, is among the others; no second answer.
    let raw = write(&desk, 2, Form::SignedEncrypted)?;
    desk.explained(&raw, "unknown-signer", "request", None)?;
    let seen = desk.play(&raw)?;
    ensure!(seen.counts["filed"] == 0 && desk.folder(&["Cadre", "Others"])? == 1, "{}", seen.counts);
    ensure!(answers(&mut desk, &stranger)?.is_empty());

    // With the digest of the next morning comes the request, sealed and numbered.
    let seen = desk.wait(TimeDelta::hours(22))?;
    ensure!(seen.counts["digests"] == 1, "{}", seen.counts);
    let request = seen.told("[N-")?;
    ensure!(
        request.decrypted && request.text().contains(WORDS) && request.text().contains("DEMANDE N-"),
        "{}",
        request.text()
    );
    let number = request.subject.split([']', '[']).nth(1).context("no number")?.to_owned();
    let digest = seen.to_therapist.iter().find(|mail| !mail.subject.contains("N-")).context("no digest")?;
    ensure!(digest.text().contains(&number) && !digest.text().contains(WORDS), "{}", digest.text());

    // Machines and lists are never answered, nor is a bounce.
    for (name, value) in [
        ("Auto-Submitted", "auto-replied"),
        ("AUTO-SUBMITTED", "Auto-Generated"),
        ("List-Id", "<liste.example>"),
        ("Precedence", "bulk"),
    ] {
        let from = format!("robot{}@stranger.example", value.len());
        let raw = with_field(&write(&desk, 3, Form::Plain)?, "From", &from);
        let raw = with_field(&raw, name, value);
        desk.explained(&raw, "unsigned", "others", None).context(name)?;
        let before = desk.folder(&["Cadre", "Others"])?;
        let seen = desk.play(&raw)?;
        ensure!(
            seen.counts["filed"] == 0 && desk.folder(&["Cadre", "Others"])? == before + 1,
            "{name}: {}",
            seen.counts
        );
        ensure!(desk.unread(&from)?.is_empty(), "{name} was answered");
        seen.no_mail().context(name)?;
    }
    // THREATS 19: `no` and words in a subject make nobody a machine.
    let raw = with_field(&write(&desk, 4, Form::Plain)?, "From", "humain@stranger.example");
    let raw =
        with_field(&with_field(&raw, "Auto-Submitted", "no"), "Subject", "Automatische Gedanken, delayed vacation");
    desk.explained(&raw, "unsigned", "request", None)?;
    desk.play(&raw)?;
    ensure!(desk.unread("humain@stranger.example")?.len() == 1);

    // What we can't open is answered and kept among the others.
    stranger.meet(&desk.scene.paul)?;
    let mut letter = desk.letter("Les cartes", WORDS);
    letter.keys = Some(vec![desk.scene.paul.address.clone()]);
    let raw = with_field(&stranger.write(&letter)?, "From", "fermee@stranger.example");
    desk.explained(&raw, "undecryptable", "others", None)?;
    let seen = desk.play(&raw)?;
    ensure!(seen.counts["filed"] == 0 && desk.unread("fermee@stranger.example")?.len() == 1, "{}", seen.counts);

    // Silent on request.
    desk.scene.practice.set("intake.strangers", "\"silent\"")?;
    let raw = with_field(&write(&desk, 5, Form::Plain)?, "From", "muette@stranger.example");
    let seen = desk.play(&raw)?;
    ensure!(seen.counts["filed"] == 1 && desk.unread("muette@stranger.example")?.is_empty(), "{}", seen.counts);

    // After 30 days the others are gone. The laboratory's Dovecot keeps its own time.
    let others = desk.folder(&["Cadre", "Others"])?;
    ensure!(others >= 6, "{others}");
    Ok(())
}

#[test]
fn row_34_a_flood_of_strangers_meets_its_ceiling() -> Result<()> {
    let mut desk = Desk::open(light(), each())?;
    let raw = desk.scene.paul.write(&desk.letter("Bonjour", "un mot").form(Form::Plain))?;
    let times = crate::common::play::flood();
    for n in 0..times {
        let one = with_field(&raw, "From", &format!("s{n}@stranger.example"));
        desk.put(&with_field(&one, "Message-ID", &format!("<s{n}@stranger.example>")))?;
    }
    let seen = desk.pass()?;
    ensure!(seen.counts["filed"] == times, "{}", seen.counts);
    let mails = desk.scene.lab.sink.as_ref().context("a sink")?.mails();
    let answered = mails.iter().filter(|mail| mail.to[0].ends_with("@stranger.example")).count();
    ensure!(answered == 20, "{answered} answers in an hour");
    // Ten requests a day are sent on; the digest counts the rest.
    let seen = desk.wait(TimeDelta::hours(22))?;
    let forwarded = subjects(&seen.to_therapist).iter().filter(|s| s.contains("[N-")).count();
    ensure!(forwarded == 10, "{forwarded} requests were passed on");
    Ok(())
}
