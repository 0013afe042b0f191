//! What a person sees: bars on long work, colours, an export in a mail program. On terminals of their own.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Result, ensure};
use common::play::Play;
use common::postgres::{Place, left_out};
use common::scene::{OFFICE, Scene, march};
use common::terminal::{Terminal, text};
use common::{Lab, Letter, Person, Practice, PracticeOptions};

/// Messages of a backlog that takes long enough to be worth a bar. Most are the same one again: each is opened all the same.
const MANY: usize = 400;

fn backlog(scene: &Scene, subject: &str) -> Result<()> {
    let raw = scene.marie.write(&Letter::new(OFFICE, subject, "Une lettre.\n").at(march(2, 4, 0)))?;
    (0..MANY).try_for_each(|_| scene.lab.deliver(&scene.marie.address, OFFICE, &raw))
}

#[test]
fn long_work_shows_how_far_it_is_on_a_terminal_and_no_sign_of_it_elsewhere() -> Result<()> {
    let scene = Scene::with(Lab::light()?, PracticeOptions::default())?;
    scene.practice.set_time(march(2, 9, 0))?;
    backlog(&scene, "La première")?;
    let mut at = Terminal::of(&scene.practice.command(&["run", "--once"])?, 100)?;
    at.matches(&format!("[0-9]+ of {MANY} messages"))?;
    let (status, seen) = at.ends()?;
    ensure!(status == 0, "{seen}");
    // The bar is taken away, and what was done stands there.
    let left = text(&seen);
    let last = left.rsplit("\x1b[2K").next().unwrap_or_default();
    ensure!(left.contains("\x1b[2K") && !last.contains(" messages, ") && last.contains(&MANY.to_string()), "{left:?}");

    backlog(&scene, "La deuxième")?;
    let out = scene.practice.run(&["run", "--once"])?;
    ensure!(out.ok() && out.stdout.contains(&MANY.to_string()), "{out:?}");
    ensure!(![&out.stdout, &out.stderr].iter().any(|text| text.contains(['\x1b', '\r'])), "{out:?}");
    Ok(())
}

/// A command shows a bar for each of these, one after the other, and what it says at its end stands there without any.
/// The work is too small to be worth one, hence the variable.
fn bars(practice: &Practice, args: &[&str], over: &[&str]) -> Result<()> {
    let mut command = practice.command(args)?;
    let mut at = Terminal::of(command.env("CADRE_PROGRESS_AT_ONCE", "1"), 100)?;
    let bar = |what: &str| format!("[0-9]+ of [0-9]+ {what}, ");
    over.iter().try_for_each(|what| at.matches(&bar(what)))?;
    let (status, seen) = at.ends()?;
    let seen = text(&seen);
    let (_, left) = seen.rsplit_once("\x1b[2K").unwrap_or_default();
    let gone = !regex::Regex::new(&bar("[a-z ]+"))?.is_match(left) && !left.trim().is_empty();
    ensure!(status == 0 && gone, "{args:?}: {status} {seen:?}");
    Ok(())
}

#[test]
fn verify_an_export_and_recover_show_their_bars_on_a_terminal() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let archive = Person::generate(&s.lab, "archive", "", "archive@cabinet.example", march(1, 0, 0))?;
    fs::write(s.practice.dir.join("archive.pgp"), archive.certificate()?)?;
    s.practice.set("keys.archive", "\"archive.pgp\"")?;
    // A body, and a card, which is looked at after all bodies: neither is the only one.
    let forward = play.forwarded(&s.marie, "Une lettre de Marie.\n", march(2, 3, 0))?;
    play.answer(&forward, "/card\n\nÀ joindre par sa sœur.", march(2, 3, 10))?;

    bars(&s.practice, &["verify"], &["rows"])?;
    let folder = s.lab.dir.join("export").to_string_lossy().into_owned();
    bars(&s.practice, &["client", "export", &s.c1, &folder], &["letters"])?;
    let secret = s.lab.dir.join("archive-secret.asc");
    fs::write(&secret, archive.secret_key()?)?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
    bars(&s.practice, &["recover", "--archive-secret", &secret.to_string_lossy()], &["bodies"])?;

    // None where a program reads: JSON on a terminal, and whatever is piped.
    let mut command = s.practice.command(&["verify", "--json"])?;
    let (status, seen) = Terminal::of(command.env("CADRE_PROGRESS_AT_ONCE", "1"), 100)?.ends()?;
    ensure!(status == 0 && seen.contains("\"ok\": true") && !seen.contains('\x1b'), "{seen:?}");
    let mut command = s.practice.command(&["verify"])?;
    let out = command.env("CADRE_PROGRESS_AT_ONCE", "1").output()?;
    ensure!(out.status.success() && ![out.stdout, out.stderr].concat().contains(&0x1b), "verify drew into a pipe");
    Ok(())
}

#[test]
fn migrate_store_shows_both_of_its_bars_on_a_terminal() -> Result<()> {
    if left_out("the practice moves out of SQLite") {
        return Ok(());
    }
    let scene = Scene::with(Lab::light()?, PracticeOptions::default())?;
    let place = Place::new()?;
    let there = ["migrate-store", "sqlite:cadre.db", &place.url, "--schema", &place.schema];
    bars(&scene.practice, &there, &["rows copied", "rows compared"])
}

#[test]
fn check_is_in_colours_where_they_are_wanted_with_a_remedy_for_each_fault() -> Result<()> {
    let scene = Scene::with(Lab::light()?, PracticeOptions::default())?;
    scene.practice.set_time(march(2, 9, 0))?;
    scene.practice.set("digest.send", "\"0 0 25 * * *\"")?;
    let check = |variable: Option<(&str, &str)>, more: &[&str]| -> Result<(i32, String)> {
        let mut command = scene.practice.command(&[&["check"], more].concat())?;
        command.envs(variable);
        let (status, seen) = Terminal::of(&command, 100)?.ends()?;
        Ok((status, text(&seen)))
    };
    let (status, page) = check(None, &[])?;
    ensure!(status == 1 && page.contains("\x1b[32m✓\x1b[0m") && page.contains("\x1b[31m"), "{page}");
    // The line of the file with a caret, and what to do.
    ensure!(page.contains("digest") && page.contains('^') && page.contains("help"), "{page}");
    // What turns while the servers are asked is no colour; a terminal that can't take it back gets none.
    let colour = regex::Regex::new("\x1b\\[[0-9;]*m")?;
    for (variable, more) in
        [(Some(("NO_COLOR", "1")), [].as_slice()), (None, &["--color", "never"]), (Some(("TERM", "dumb")), &[])]
    {
        let (status, page) = check(variable, more)?;
        ensure!(status == 1 && page.contains('✓') && !colour.is_match(&page), "{variable:?}: {page:?}");
        ensure!(variable != Some(("TERM", "dumb")) || !page.contains('\x1b'), "{page:?}");
    }
    let piped = scene.practice.run(&["check"])?;
    ensure!(piped.stdout.contains('✓') && !piped.stdout.contains('\x1b'), "{piped:?}");
    let piped = scene.practice.run(&["check", "--color", "always"])?;
    ensure!(piped.stdout.contains("\x1b[32m✓"), "{piped:?}");
    Ok(())
}

#[test]
fn neomutt_opens_an_export_as_any_mailbox() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une lettre de Marie.\n", march(2, 3, 0))?;
    play.answer(&forward, "La réponse du lundi.", march(2, 9, 0))?;
    play.pass(march(2, 17, 0))?;
    let folder = s.lab.dir.join("export");
    s.practice.run(&["client", "export", &s.c1, &folder.to_string_lossy()])?.expect_ok()?;
    let rc = s.lab.dir.join("neomuttrc");
    let settings = "set crypt_use_gpgme=yes\nset header_cache=\"\"\nset quit=yes\nset sleep_time=0\nset wait_key=no\n\
                    set charset=\"utf-8\"\nset beep=no\nset move=no\nset record=\"\"\nignore *\nunignore from subject date\n";
    fs::write(&rc, format!("{settings}set folder=\"{}\"\n", folder.display()))?;
    let mut neomutt = Command::new("neomutt");
    neomutt.args(["-n", "-R", "-F"]).arg(&rc).arg("-f").arg(folder.join("lettres.mbox"));
    neomutt.env("GNUPGHOME", &s.therapist.home).env("HOME", &s.lab.dir).env("LC_ALL", "C.UTF-8");
    let mut at = Terminal::of(&neomutt, 120)?;
    // Two mails with the client's code in their subjects; the first opens with the therapist's key.
    at.sees("Msgs:2")?;
    at.presses("\n")?;
    at.sees("Good signature")?;
    at.sees("Une lettre de Marie.")?;
    at.presses("qq")?;
    let (status, seen) = at.ends()?;
    ensure!(status == 0 && seen.contains(&s.c1), "{seen:?}");
    Ok(())
}
