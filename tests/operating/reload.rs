//! SIGHUP: what can be changed changes between two passes; what can't be used changes nothing.

use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cadre::pgp::ring;
use nix::sys::signal::Signal;

use super::common::Daemon;
use super::common::lab::{PASSWORD, PATIENCE, wait};
use super::common::ledger::states;
use super::common::postgres::left_out;
use super::common::scene::{Scene, march};
use super::common::sink::Answer;
use super::{filed, letter, scene};

const TAKEN: &str = "the configuration was read again";
const REFUSED: &str = "nothing was changed";

fn due(scene: &Scene, code: &str) -> Result<String> {
    let thread = scene.thread(code)?;
    Ok(thread["turn"]["due"].as_str().with_context(|| format!("no due date: {thread:#}"))?.to_owned())
}

fn reload(daemon: &mut Daemon, says: &str) -> Result<String> {
    daemon.signal(Signal::SIGHUP)?;
    daemon.wait_line(says, PATIENCE)
}

#[test]
fn a_changed_slot_counts_from_the_next_letter_on() -> Result<()> {
    let scene = scene()?;
    scene.practice.set_time(march(2, 5, 0))?;
    let mut daemon = scene.practice.spawn_run()?;
    letter(&scene, "Première.\n")?;
    filed(&scene, 1)?;
    ensure!(due(&scene, &scene.c1)? == "2026-03-02T17:00:00Z", "{}", due(&scene, &scene.c1)?);
    scene.practice.set("rhythm.release", "\"0 0 20 * * *\"")?;
    reload(&mut daemon, TAKEN)?;
    scene.letter(&scene.paul, "Sujet", "Deuxième.\n", march(2, 5, 0))?;
    wait("Paul's letter", PATIENCE, || Ok((states(&scene.thread(&scene.c2)?, "letter") == ["filed"]).then_some(())))?;
    ensure!(due(&scene, &scene.c2)? == "2026-03-02T19:00:00Z", "{}", due(&scene, &scene.c2)?);
    let state = scene.practice.json(&["status"])?;
    ensure!(state["reload"]["taken"] == true && state["running"] == true, "{state:#}");
    daemon.end()
}

#[test]
fn a_faulty_file_changes_nothing_and_is_named_whole() -> Result<()> {
    let scene = scene()?;
    scene.practice.set_time(march(2, 5, 0))?;
    let sound = std::fs::read_to_string(&scene.practice.config)?;
    let mut daemon = scene.practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    // Neither TOML, nor a known key, nor a cron expression; nor a file that is there.
    std::fs::write(&scene.practice.config, "[practice\n")?;
    reload(&mut daemon, REFUSED)?;
    let faulty = sound.replace("\"0 0 18 * * *\"", "\"0 0 25 * * *\"").replace("[digest]", "[digest]\nsned = 1");
    std::fs::write(&scene.practice.config, faulty)?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.wait_line("[rhythm] release", PATIENCE)?;
    daemon.wait_line("[digest] sned", PATIENCE)?;
    std::fs::write(&scene.practice.config, sound.replace("\"therapist.pgp\"", "\"gone.pgp\""))?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.wait_line("certificate", PATIENCE)?;
    let state = wait("status to say it", PATIENCE, || {
        let state = scene.practice.json(&["status"])?;
        Ok(state["reload"]["findings"].to_string().contains("certificate").then_some(state))
    })?;
    let todo = state["todo"].to_string();
    ensure!(["the changed configuration", "can't be used"].iter().all(|part| todo.contains(part)), "{state:#}");
    ensure!(state["reload"]["taken"] == false && state["running"] == true, "{state:#}");
    // The one before goes on: therapist, slot and all.
    letter(&scene, "Une lettre.\n")?;
    filed(&scene, 1)?;
    ensure!(due(&scene, &scene.c1)? == "2026-03-02T17:00:00Z");
    std::fs::write(&scene.practice.config, sound)?;
    reload(&mut daemon, TAKEN)?;
    let state = scene.practice.json(&["status"])?;
    ensure!(!state["todo"].to_string().contains("configuration"), "{state:#}");
    daemon.end()
}

/// The therapist's certificate, revoked: a start would take it, and `check` calls it an error.
fn revoked(scene: &Scene) -> Result<()> {
    let (_, certificate) =
        ring::revoke(&scene.therapist.secret_key()?, None, &ring::Revoke::Now { stolen: true }, march(1, 0, 0))?;
    Ok(std::fs::write(scene.practice.dir.join("revoked.pgp"), certificate.to_bytes())?)
}

#[test]
fn what_check_calls_an_error_is_not_taken_and_what_is_in_force_keeps_nothing_back() -> Result<()> {
    let scene = scene()?;
    scene.practice.set_time(march(2, 5, 0))?;
    revoked(&scene)?;
    let mut daemon = scene.practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    let sound = std::fs::read_to_string(&scene.practice.config)?;
    let absence = "\n[[absence]]\ntherapist = \"exemple\"\nfrom = 2026-03-02\nto = 2126-03-02\n";
    std::fs::write(&scene.practice.config, format!("{sound}{absence}"))?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.wait_line("no slot is in sight", PATIENCE)?;
    std::fs::write(&scene.practice.config, &sound)?;
    scene.practice.set("therapist.0.certificate", "\"revoked.pgp\"")?;
    daemon.signal(Signal::SIGHUP)?;
    let line = daemon.wait_line("revoked", PATIENCE)?;
    ensure!(line.contains("[[therapist]]"), "{line}");
    ensure!(!daemon.text()?.contains(TAKEN), "{}", daemon.text()?);
    letter(&scene, "Une lettre.\n")?;
    filed(&scene, 1)?;
    ensure!(due(&scene, &scene.c1)? == "2026-03-02T17:00:00Z");
    daemon.end()?;
    // Who starts with it can still change everything else.
    let mut daemon = scene.practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    scene.practice.set("rhythm.release", "\"0 0 20 * * *\"")?;
    reload(&mut daemon, TAKEN)?;
    daemon.end()
}

#[test]
fn a_mended_password_file_ends_the_waiting() -> Result<()> {
    let scene = scene()?;
    let file = |name: &str, word: &str| -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = scene.practice.dir.join(name);
        std::fs::write(&path, word)?;
        Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
    };
    file("imap.password", "falsch")?;
    let mut daemon = scene.practice.spawn_run()?;
    daemon.wait_line("imap-login", PATIENCE)?;
    file("another.password", PASSWORD)?;
    scene.practice.set("imap.password_file", "\"another.password\"")?;
    reload(&mut daemon, TAKEN)?;
    letter(&scene, "Une lettre.\n")?;
    filed(&scene, 1)?;
    daemon.end()
}

#[test]
fn another_database_or_record_key_waits_for_a_restart() -> Result<()> {
    if left_out("it names another file") {
        return Ok(());
    }
    let scene = scene()?;
    let mut daemon = scene.practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    let other = scene.practice.dir.join("other.key");
    std::fs::write(&other, [7; 32])?;
    std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    scene.practice.set("database.url", "\"sqlite:other.db\"")?;
    scene.practice.set("keys.record", "\"other.key\"")?;
    reload(&mut daemon, TAKEN)?;
    let log = daemon.text()?;
    for key in ["[database] url", "[keys] record"] {
        ensure!(log.lines().any(|line| line.contains(key) && line.contains("only after a restart")), "{log}");
    }
    ensure!(!scene.practice.dir.join("other.db").exists(), "another database was opened");
    scene.practice.set("database.url", "\"sqlite:cadre.db\"")?;
    scene.practice.set("keys.record", "\"record.key\"")?;
    letter(&scene, "Une lettre.\n")?;
    filed(&scene, 1)?;
    daemon.end()
}

#[test]
fn systemd_hears_when_it_begins_to_read_and_when_it_is_ready_again() -> Result<()> {
    let mut scene = scene()?;
    let path = scene.practice.dir.join("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let next = || -> Result<String> {
        let mut buffer = [0; 512];
        loop {
            let length = socket.recv(&mut buffer)?;
            let said = String::from_utf8(buffer[..length].to_vec())?;
            if said != "WATCHDOG=1" {
                return Ok(said);
            }
        }
    };
    scene.practice.env("NOTIFY_SOCKET", &path.display().to_string());
    let mut daemon = scene.practice.spawn_run()?;
    ensure!(next()? == "READY=1");
    for broken in [false, true] {
        if broken {
            std::fs::write(&scene.practice.config, "nothing")?;
        }
        let before = monotonic()?;
        daemon.signal(Signal::SIGHUP)?;
        let said = next()?;
        let micros: u64 = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").context(said.clone())?.parse()?;
        ensure!(Duration::from_micros(micros) >= before, "{said} after {before:?}");
        ensure!(next()? == "READY=1");
    }
    daemon.end()?;
    ensure!(next()? == "STOPPING=1");
    Ok(())
}

#[test]
fn systemd_hears_that_the_work_goes_on_while_a_server_takes_its_time_for_a_mail() -> Result<()> {
    let mut scene = scene()?;
    let path = scene.practice.dir.join("notify");
    let socket = UnixDatagram::bind(&path)?;
    scene.practice.env("NOTIFY_SOCKET", &path.display().to_string());
    scene.practice.env("WATCHDOG_USEC", "400000");
    let (came, coming) = mpsc::channel();
    let (go, waiting) = mpsc::channel::<()>();
    scene.lab.sink.as_ref().context("the light laboratory has a listener")?.rule(move |_, _| {
        let _ = (came.send(()), waiting.recv());
        Answer::Accept
    });
    let mut daemon = scene.practice.spawn_run()?;
    letter(&scene, "Une lettre.\n")?;
    coming.recv_timeout(PATIENCE)?;
    // What was said before.
    let mut buffer = [0; 512];
    socket.set_nonblocking(true)?;
    while socket.recv(&mut buffer).is_ok() {}
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    for _ in 0..5 {
        let length = socket.recv(&mut buffer)?;
        ensure!(&buffer[..length] == b"WATCHDOG=1");
    }
    drop(go);
    daemon.end()
}

fn monotonic() -> Result<Duration> {
    Ok(nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?.into())
}
