//! The alarm command, keys that can't be used, crashes, servers that fail.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chrono::{TimeDelta, TimeZone as _, Utc};

use crate::common::lab::{PATIENCE, wait};
use crate::common::scene::{OFFICE, march};
use crate::common::{Lab, PracticeOptions, canary, scene::Scene};
use crate::desk::{Desk, light};
use crate::story::{A, SECRETS, books, daily, open, open_alerts, sent};

/// An alarm command that notes what it is given.
pub fn command(desk: &Desk) -> Result<PathBuf> {
    note(&desk.scene)
}

fn note(scene: &Scene) -> Result<PathBuf> {
    let dir = scene.disk();
    let (script, notes) = (dir.join("alarm.sh"), dir.join("alarms"));
    let text = format!(
        "#!/bin/sh\necho \"$CADRE_CODE $CADRE_CLASS $*\" >> {0}\nenv >> {0}.env\ncat >> {0}.env\n",
        notes.display()
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700))?;
    scene.practice.set("operator.alarm_command", &format!("{:?}", script.display().to_string()))?;
    Ok(notes)
}

/// The lines that the command noted; nothing of a letter or an address among what it could see.
pub fn called(notes: &Path) -> Result<Vec<String>> {
    let environment = notes.with_extension("env");
    if environment.exists() {
        let mut words = SECRETS.to_vec();
        words.extend(["marie@client.example", "dr@exemple.example", "Marie B."]);
        let found = canary(&[&environment], &words)?;
        ensure!(found.is_empty(), "{found:?}");
    }
    Ok(fs::read_to_string(notes).unwrap_or_default().lines().map(str::to_owned).collect())
}

#[test]
fn a_letter_is_scanned_while_the_therapists_key_cannot_be_used() -> Result<()> {
    let mut desk = open()?;
    let notes = command(&desk)?;
    let file = desk.scene.practice.dir.join("therapist.pgp");
    let therapist = &desk.scene.therapist;
    therapist.set_clock(desk.now);
    therapist.gpg(&["--quick-set-expire", &therapist.fingerprint, "2026-03-05"], b"")?;
    fs::write(&file, therapist.certificate()?)?;
    desk.now = Utc.with_ymd_and_hms(2026, 3, 9, 9, 0, 0).single().context("a time")?;
    let raw = desk.scene.marie.write(&desk.letter("Nuit", A))?;
    desk.put(&raw)?;
    for pass in 0..3 {
        let seen = desk.pass()?;
        ensure!(seen.counts["filed"] == 0 && seen.counts["failed"] == 0, "pass {pass}: {}", seen.counts);
        ensure!(seen.to_marie.len() == usize::from(pass == 0), "pass {pass}: {}", seen.to_marie.len());
        ensure!(books(&desk)? == [0, 1, 0] && open_alerts(&desk)? == 1, "{:?}", books(&desk)?);
        let alarms: Vec<String> = called(&notes)?.into_iter().filter(|line| line.ends_with(" A ")).collect();
        ensure!(alarms == [format!("{} A ", desk.scene.c1)], "pass {pass}: {alarms:?}");
    }
    // Repetitions don't pile up.
    desk.wait(TimeDelta::minutes(95))?;
    let therapist = &desk.scene.therapist;
    therapist.gpg(&["--quick-set-expire", &therapist.fingerprint, "never"], b"")?;
    fs::write(&file, therapist.certificate()?)?;
    let seen = desk.wait(TimeDelta::minutes(2))?;
    ensure!(seen.counts["filed"] == 1 && seen.to_marie.is_empty(), "{}", seen.counts);
    ensure!(books(&desk)? == [1, 1, 0] && open_alerts(&desk)? == 1, "{:?}", books(&desk)?);
    Ok(())
}

#[test]
fn a_kill_at_any_step_loses_no_alert() -> Result<()> {
    for place in ["prepared", "applied", "committed", "claimed", "handing-over", "handed-over", "called"] {
        let mut desk = open()?;
        let notes = command(&desk)?;
        let raw = desk.scene.marie.write(&desk.letter("Nuit", A))?;
        desk.put(&raw)?;
        desk.now += TimeDelta::minutes(1);
        desk.scene.practice.env("CADRE_FAILPOINT", place);
        let out = desk.scene.practice.run_at(desk.now, &["run", "--once"])?;
        ensure!(out.status.is_none(), "{place} was not passed: {out:?}");
        desk.scene.practice.env("CADRE_FAILPOINT", "");
        desk.pass()?;
        desk.pass()?;
        ensure!(books(&desk)? == [1, 1, 0], "{place}: {:?}", books(&desk)?);
        ensure!(open_alerts(&desk)? == 1, "{place}");
        let alarms = called(&notes)?;
        ensure!((1..=2).contains(&alarms.len()), "{place}: {alarms:?}");
    }
    Ok(())
}

#[test]
fn the_daemon_answers_within_seconds() -> Result<()> {
    let scene = Scene::with(Lab::with(light())?, daily())?;
    let notes = note(&scene)?;
    let mut daemon = scene.practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    scene.letter(&scene.paul, "Neige", "Il neige.", march(1, 12, 0))?;
    scene.lab.wait_mails(&scene.paul.address, "INBOX", 1)?;
    let began = Instant::now();
    scene.letter(&scene.marie, "Nuit", A, march(1, 12, 1))?;
    scene.lab.wait_mails(&scene.marie.address, "INBOX", 1)?;
    let took = began.elapsed();
    ensure!(took < scene.practice.within(Duration::from_secs(30))?, "{took:?}");
    wait("the alarm command", PATIENCE, || Ok((!called(&notes)?.is_empty()).then_some(())))?;
    // The day's digest may be there too.
    let left = || Ok((sent(&scene.practice, "alert")? == 1 && sent(&scene.practice, "forward")? == 1).then_some(()));
    wait("alert and letter", PATIENCE, left)?;
    daemon.end()?;
    Ok(())
}

#[test]
fn an_alert_is_tried_again_soon_where_the_server_refuses() -> Result<()> {
    use crate::common::{Answer, Sink};
    let sink = Sink::start()?;
    let options = PracticeOptions { smtp_port: Some(sink.port), ..daily() };
    let scene = Scene::with(Lab::light()?, options)?;
    sink.rule(|_, _| Answer::AtRcpt("451 4.3.0 later".into()));
    let at = march(2, 2, 0);
    scene.letter(&scene.marie, "Nuit", A, at)?;
    scene.practice.once(at)?;
    ensure!(sink.count() == 0 && sent(&scene.practice, "alert")? == 0);
    for minutes in 1..=20 {
        scene.practice.once(at + TimeDelta::minutes(minutes))?;
    }
    sink.rule(|_, _| Answer::Accept);
    // Other mail waits for its own next try; what is about danger doesn't.
    scene.practice.once(at + TimeDelta::minutes(22))?;
    ensure!(sent(&scene.practice, "alert")? == 1 && sent(&scene.practice, "safety")? == 1);
    ensure!(scene.lab.mails(OFFICE, "INBOX")?.is_empty());
    Ok(())
}

#[test]
fn a_lexicon_with_a_fault_stops_run_and_one_of_the_operators_own_is_used() -> Result<()> {
    let mut desk = open()?;
    let folder = desk.scene.disk().join("lexicon");
    fs::create_dir_all(&folder)?;
    desk.scene.practice.set("crisis.lexicon", "\"lexicon\"")?;
    fs::write(folder.join("fr.toml"), "[[rule]]\nid = \"x\"\nclass = \"A\"\nany = [\"(non ferm\"]\n")?;
    let out = desk.scene.practice.run(&["run", "--once"])?;
    ensure!(out.status == Some(1), "{out:?}");
    for wanted in ["fr.toml", "rule x", "line 4", "or remove the file"] {
        ensure!(out.stderr.contains(wanted), "{wanted}: {}", out.stderr);
    }
    let checked = desk.scene.practice.run(&["check"])?;
    ensure!(checked.status == Some(1) && checked.stdout.contains("[crisis] lexicon"), "{}", checked.stdout);

    // One language of their own; the other is Cadre's.
    fs::write(folder.join("fr.toml"), "[[rule]]\nid = \"x\"\nclass = \"A\"\nany = [\"la marmotte\"]\n")?;
    let raw = desk.scene.marie.write(&desk.letter("Neige", "J'ai vu la marmotte."))?;
    let seen = desk.play(&raw)?;
    ensure!(crate::story::scanned(&seen.marie)? == "A", "{:#?}", seen.marie);
    let raw = desk.scene.paul.write(&desk.letter("Night", "I want to die."))?;
    let seen = desk.play(&raw)?;
    ensure!(crate::story::scanned(&seen.paul)? == "A", "{:#?}", seen.paul);
    let checked = desk.scene.practice.run(&["check"])?;
    ensure!(checked.stdout.contains("your crisis lexicon can be used"), "{}", checked.stdout);
    Ok(())
}
