//! What a person sees: bars on long work, colours, an export in a mail program. On terminals of their own.

mod common;

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use common::play::Play;
use common::scene::{OFFICE, Scene, march};
use common::terminal::{Terminal, text};
use common::{Lab, Letter, PracticeOptions};

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
