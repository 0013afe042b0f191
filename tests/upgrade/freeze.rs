//! Writes the database that a program of some version leaves after a Monday in March 2026, as SQL.
//!
//! `CADRE_FREEZE=8 cargo test --test upgrade freeze -- --ignored` does it with the program as it is now;
//! `CADRE_FREEZE_BINARY` names an older one, built from the last commit that had this schema.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeZone as _, Utc};

use super::stage::{bare, frozen, head_file};
use crate::common::lab::run;
use crate::common::play::{Play, Round};
use crate::common::scene::{OFFICE, Scene, add, march};
use crate::common::{Answer, Form, Letter, Person, Practice};

const KEYS: &str = "application/pgp-keys";

/// Plays the day and writes the dump with the journal's head file.
pub fn freeze(number: u32) -> Result<()> {
    let binary = match std::env::var_os("CADRE_FREEZE_BINARY") {
        Some(path) => path.into(),
        None => Practice::built_binary()?,
    };
    let mut scene = bare(number, &binary)?;
    scene.practice.set_time(march(1, 12, 0))?;
    scene.c1 = add(&scene.practice, &scene.marie)?;
    scene.c2 = add(&scene.practice, &scene.paul)?;
    let mut play = Play::on(scene);
    monday(&play)?;
    if number >= 2 {
        frame(&play)?;
    }
    if number >= 4 {
        therapist_key(&play)?;
    }
    if number >= 6 {
        sealed_letters(&play)?;
    }
    if number >= 10 {
        records(&play)?;
    }
    unfinished(&mut play)?;
    ensure!(play.scene.practice.run(&["journal", "verify"])?.ok());
    let dir = &play.scene.practice.dir;
    let dump = run(Command::new("sqlite3").arg(dir.join("cadre.db")).arg(".dump"))?;
    fs::copy(dir.join("journal.head"), head_file(number))?;
    Ok(fs::write(frozen(number), dump)?)
}

/// Letters, replies, what is held, what is asked for by a stranger.
fn monday(play: &Play) -> Result<()> {
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "La lettre de lundi.\n", march(2, 3, 0))?;
    play.answer(&forward, "La réponse de lundi.", march(2, 9, 0))?;
    // Unsigned mail in Marie's name, mail in Paul's that she signed, and a stranger's.
    let stranger = Person::persona(&s.lab, "inconnue")?;
    stranger.meet(&s.office)?;
    let unsigned = Letter::new(OFFICE, "Un mot", "Un mot sans signature.\n").form(Form::Plain).at(march(2, 10, 0));
    s.marie.deliver(&s.lab, &unsigned)?;
    let forged = Letter::new(OFFICE, "Un mot", "Un mot qui n'est pas de Paul.\n").at(march(2, 10, 5));
    s.marie.deliver(&s.lab, &Letter { forged_from: Some(("Paul".into(), s.paul.address.clone())), ..forged })?;
    stranger.deliver(&s.lab, &Letter::new(OFFICE, "Bonjour", "Puis-je écrire ?\n").at(march(2, 10, 10)))?;
    play.pass(march(2, 10, 15))?;
    let round = play.pass(march(2, 17, 0))?;
    ensure!(round.one(&s.marie)?.read.text().contains("La réponse de lundi."), "{}", round.story());
    let forward = play.forwarded(&s.paul, "La lettre de Paul.\n", march(2, 20, 0))?;
    play.answer(&forward, "La réponse qui attend.", march(2, 20, 10))?;
    Ok(())
}

fn order(play: &Play, text: &str, at: DateTime<Utc>) -> Result<Round> {
    play.order(&play.scene.therapist, text, at)
}

/// Enrolment, consent, card, alert, absence and locum, each as far as it leaves rows.
fn frame(play: &Play) -> Result<()> {
    let s = &play.scene;
    let born = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).single().context("a real time")?;
    let newcomer = |id: &str| -> Result<Person> {
        let person = Person::generate(&s.lab, id, id, &format!("{id}@client.example"), born)?;
        person.meet(&s.office)?;
        Ok(person)
    };
    let raw = |round: &Round, person: &Person| -> Result<Vec<u8>> { Ok(round.one(person)?.raw.clone()) };
    order(play, &format!("/to {}\n/card\n\nÀ joindre par sa sœur.", s.c1), march(2, 20, 20))?;
    play.letter(&s.marie, "J'accepte le remplacement\n\nMerci.\n", march(2, 20, 25))?;
    play.letter(&s.marie, "Cette nuit c'est décidé : je veux mourir.\n", march(2, 20, 30))?;
    order(play, "/absent 2026-03-23 2026-03-27", march(2, 20, 35))?;

    // Nadia's key waits to be compared; Omar has agreed to the frame.
    let nadia = newcomer("nadia")?;
    let round = order(play, "/invite nadia@client.example fr", march(2, 20, 40))?;
    let answer = nadia.reply_to(&raw(&round, &nadia)?, "Bonjour, oui.")?.at(march(2, 20, 45));
    nadia.deliver(&s.lab, &answer.attach("key.asc", KEYS, &nadia.certificate()?))?;
    play.pass(march(2, 20, 46))?;
    let omar = newcomer("omar")?;
    let file = s.lab.dir.join("omar.asc");
    omar.certificate_file(&file)?;
    let file = file.to_string_lossy().into_owned();
    let args = ["client", "add", "--address", "-", "--therapist", "exemple", "--certificate", &file];
    s.practice.set_time(march(2, 20, 50))?;
    s.practice.run_with_input(&args, b"omar@client.example\n")?.expect_ok()?;
    let round = play.pass(march(2, 20, 51))?;
    omar.deliver(&s.lab, &omar.reply_to(&raw(&round, &omar)?, "J'accepte.")?.at(march(2, 20, 55)))?;
    play.pass(march(2, 20, 56))?;
    s.practice.run(&["therapist", "welcome", "third"])?.expect_ok()?;
    play.pass(march(2, 20, 58))?;
    Ok(())
}

/// The therapist's own key has another subkey, and says so.
fn therapist_key(play: &Play) -> Result<()> {
    let s = &play.scene;
    s.therapist.set_clock(march(2, 21, 0));
    s.therapist.gpg(&["--quick-add-key", &s.therapist.fingerprint, "ed25519", "sign", "never"], b"")?;
    let mail = Letter::new(OFFICE, "Ma clef", &format!("/to {}\n/note\n\nUne note.", s.c1)).at(march(2, 21, 5));
    s.therapist.deliver(&s.lab, &mail.attach("key.asc", KEYS, &s.therapist.certificate()?))?;
    play.pass(march(2, 21, 6))?;
    Ok(())
}

/// Lea has no key: her passphrase is told, and the frame asked in a sealed letter.
fn sealed_letters(play: &Play) -> Result<()> {
    let s = &play.scene;
    let lea = Person::generate(&s.lab, "lea", "Léa", "lea@client.example", march(1, 0, 0))?;
    let round = order(play, "/invite lea@client.example fr", march(2, 21, 10))?;
    let invitation = round.one(&lea)?.raw.clone();
    let answer = lea.reply_to(&invitation, "Bonjour, oui, mais je n'ai pas de clé.")?.form(Form::Plain);
    lea.deliver(&s.lab, &answer.at(march(2, 21, 15)))?;
    let round = play.pass(march(2, 21, 16))?;
    let told = round.to(&s.therapist).find(|post| post.read.text().contains("/told"));
    let told = told.with_context(|| round.story())?.raw.clone();
    play.answer(&told, "/told", march(2, 21, 20))?;
    Ok(())
}

/// Paul's record is under legal hold; Rose, who never wrote, is erased.
fn records(play: &Play) -> Result<()> {
    let s = &play.scene;
    s.practice.set_time(march(2, 21, 30))?;
    s.practice.run(&["client", "hold", &s.c2, "--note", "dossier 2026/17"])?.expect_ok()?;
    let rose = Person::generate(&s.lab, "rose", "Rose", "rose@client.example", march(1, 0, 0))?;
    let code = add(&s.practice, &rose)?;
    s.practice.run(&["client", "erase", &code, "--yes"])?.expect_ok()?;
    Ok(())
}

/// What a process leaves that dies at work: a mail that was refused for now, a message that breaks a parser, one that
/// was in hand, one that is filed and neither passed on nor taken out of the mailbox.
fn unfinished(play: &mut Play) -> Result<()> {
    let s = &mut play.scene;
    let pass = |s: &Scene, minute: u32| -> Result<bool> {
        s.practice.set_time(march(2, 22, minute))?;
        Ok(s.practice.run(&["run", "--once"])?.status.is_none())
    };
    s.letter(&s.paul, "Un mot", "La lettre sans accusé.\n", march(2, 22, 0))?;
    let poisoned = Letter::new(OFFICE, "Un mot", "Un mot POISONED.\n").form(Form::Plain).at(march(2, 22, 1));
    s.marie.deliver(&s.lab, &poisoned)?;
    s.practice.env("CADRE_POISON", "POISONED");
    s.lab.sink.as_ref().context("no sink")?.script([Answer::AfterDot("451 4.3.0 later".into())]);
    pass(s, 2)?;
    s.letter(&s.paul, "Un mot", "La lettre qui est en main.\n", march(2, 22, 10))?;
    s.practice.env("CADRE_FAILPOINT", "prepared");
    ensure!(pass(s, 11)?, "not killed");
    s.letter(&s.marie, "Un mot", "La lettre qui attendait.\n", march(2, 22, 20))?;
    s.practice.env("CADRE_FAILPOINT", "committed");
    ensure!(pass(s, 21)?, "not killed");
    s.practice.env("CADRE_FAILPOINT", "");
    s.practice.env("CADRE_POISON", "");
    Ok(())
}
