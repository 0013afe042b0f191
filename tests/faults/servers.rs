//! Servers that can do little, that are restarted, and that forget what their uids meant.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::common::lab::{PATIENCE, run, wait};
use super::common::ledger::{lying, sound, sql, states};
use super::common::scene::{OFFICE, Scene, march};
use super::common::{Fault, FaultProxy, Lab, LabOptions, Letter, Smtp};
use super::{DOCTOR, MARIE, OPERATOR, filed, letter, scene, scene_in, to};

/// Three letters and a stranger's, filed under this kind of filing by a server that can do no more than this.
fn served(capability: &str, filing: &str) -> Result<()> {
    let dovecot_extra = format!("imap_capability = {capability}");
    let scene = scene_in(Lab::with(LabOptions { smtp: Smtp::Relay, dovecot_extra, ..LabOptions::default() })?, filing)?;
    let mail = b"From: liste@autre.example\r\nList-Id: <x>\r\nSubject: x\r\nMessage-ID: <l@autre.example>\r\n\r\nx\r\n";
    for n in 1..=2 {
        letter(&scene, n, march(2, 3, 0))?;
    }
    scene.lab.deliver("liste@autre.example", OFFICE, mail)?;
    scene.practice.set_time(march(2, 4, 0))?;
    scene.practice.set("imap.poll", "\"1s\"")?;
    let mut daemon = scene.practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    wait("the letters", PATIENCE, || Ok((filed(&scene)? == 2).then_some(())))?;
    // Without IDLE the poll brings it.
    letter(&scene, 3, march(2, 4, 0))?;
    wait("the third", PATIENCE, || Ok((filed(&scene)? == 3).then_some(())))?;
    wait("an empty INBOX", PATIENCE, || Ok((lying(&scene, &["INBOX"])? == 0).then_some(())))?;
    // Mail leaves beside the filing, maybe after it.
    wait("the forwards and the acknowledgement", PATIENCE, || {
        Ok((to(&scene, DOCTOR)?.len() >= 3 && !to(&scene, MARIE)?.is_empty()).then_some(()))
    })?;
    daemon.end()?;
    let copies = match filing {
        "folders" => lying(&scene, &["Cadre", &scene.c1])?,
        _ => lying(&scene, &["Cadre", "Done"])?,
    };
    ensure!(copies == 3 && lying(&scene, &["Cadre", "Others"])? == 1, "{:?}", scene.lab.census(OFFICE)?);
    ensure!(to(&scene, DOCTOR)?.len() >= 3 && to(&scene, MARIE)?.len() == 1, "mails");
    sound(&scene)
}

#[test]
fn a_server_without_idle_is_polled() -> Result<()> {
    served("IMAP4rev1 LITERAL+ NAMESPACE UIDPLUS MOVE MULTIAPPEND", "folders")
}

#[test]
fn a_server_without_move_or_uidplus_is_served() -> Result<()> {
    served("IMAP4rev1 LITERAL+ NAMESPACE IDLE UIDPLUS", "keep")?;
    served("IMAP4rev1", "keep")
}

/// Killed in the midst of its work, by `kill -9` for every one of its processes, and started again.
#[test]
fn a_mail_server_that_dies_in_the_midst_costs_no_letter() -> Result<()> {
    let scene = scene()?;
    let proxy = FaultProxy::imap(scene.lab.imap_port)?;
    scene.practice.set("imap.port", &proxy.port.to_string())?;
    let mut n = 0;
    for command in ["UID FETCH*BODY.PEEK[]", "APPEND", "UID EXPUNGE"] {
        for _ in 0..3 {
            n += 1;
            letter(&scene, n, march(2, 3, 0))?;
        }
        // Held there, the server is killed, and comes back.
        proxy.once(command, Fault::Stall);
        let hits = proxy.hits();
        scene.practice.set_time(march(2, 3, u32::try_from(n)?))?;
        let mut pass = scene.practice.spawn(&["run", "--once"])?;
        wait("the command", PATIENCE, || Ok((proxy.hits() > hits).then_some(())))?;
        scene.lab.stop_imap()?;
        proxy.cut();
        ensure!(pass.wait_end(PATIENCE)? == Some(1), "{command}: {}", pass.text()?);
        scene.lab.start_imap()?;
        scene.practice.once(march(2, 3, u32::try_from(n)? + 1))?;
        ensure!(filed(&scene)? == n && lying(&scene, &["INBOX"])? == 0, "{command}: {:?}", scene.lab.census(OFFICE)?);
        ensure!(lying(&scene, &["Cadre", &scene.c1])? == n, "{command}: {:?}", scene.lab.census(OFFICE)?);
    }
    ensure!(to(&scene, OPERATOR)?.is_empty(), "a server that comes back at once is no alarm");
    sound(&scene)
}

/// Gives a folder another UIDVALIDITY, as a restored backup or a moved mailbox has.
fn forget(scene: &Scene, folder: &str, validity: u32) -> Result<()> {
    let (conf, value) = (scene.lab.dir.join("d/dovecot.conf"), validity.to_string());
    let mut command = Command::new("doveadm");
    command.arg("-c").arg(conf).args(["mailbox", "update", "-u", OFFICE, "--uid-validity", &value, folder]);
    run(&mut command).map(drop)
}

#[test]
fn a_mailbox_whose_uids_mean_something_else_is_read_again_and_nothing_comes_twice() -> Result<()> {
    let mut scene = scene()?;
    let mut n = 0;
    // Killed where the letter is committed and its original still lies there; unseen mail comes; the uids change.
    for (round, place) in ["committed", "appended", "copied", "removed"].into_iter().enumerate() {
        n += 1;
        let at = march(2, 3, u32::try_from(round)? * 10);
        letter(&scene, n, at)?;
        scene.practice.env("CADRE_FAILPOINT", place);
        let out = scene.practice.run_at(at, &["run", "--once"])?;
        scene.practice.env("CADRE_FAILPOINT", "");
        ensure!(out.status.is_none(), "{place}: {out:?}");
        n += 1;
        letter(&scene, n, at)?;
        forget(&scene, "INBOX", 4_000_000 + u32::try_from(round)?)?;
        scene.practice.once(at + chrono::TimeDelta::minutes(5))?;
        ensure!(filed(&scene)? == n, "{place}: {} letters of {n}", filed(&scene)?);
        ensure!(lying(&scene, &["INBOX"])? == 0, "{place}: {:?}", scene.lab.census(OFFICE)?);
        ensure!(lying(&scene, &["Cadre", &scene.c1])? == n, "{place}: {:?}", scene.lab.census(OFFICE)?);
    }
    ensure!(states(&scene.thread(&scene.c1)?, "letter") == vec!["filed"; n], "{:#}", scene.thread(&scene.c1)?);
    ensure!(to(&scene, MARIE)?.len() == 1, "one acknowledgement for the one turn");
    let forwards = sql(&scene.practice, "SELECT COUNT(*) FROM outbox WHERE kind = 'forward'")?;
    ensure!(forwards == n.to_string(), "{forwards} forwards of {n} letters");
    sound(&scene)
}

/// What lies in the junk folder stays there: a server that gives it another UIDVALIDITY each time isn't asked for all of
/// it each time.
#[test]
fn a_junk_folder_that_changes_its_uidvalidity_all_the_time_is_not_read_all_the_time() -> Result<()> {
    let scene = scene()?;
    let proxy = FaultProxy::imap(scene.lab.imap_port)?;
    scene.practice.set("imap.port", &proxy.port.to_string())?;
    for n in 0..20 {
        let text =
            format!("From: pub{n}@evil.example\r\nSubject: {n}\r\nMessage-ID: <{n}@evil.example>\r\n\r\nAchetez.\r\n");
        scene.lab.append(OFFICE, "Junk", text.as_bytes(), None)?;
    }
    let marie = scene.marie.write(&Letter::new(OFFICE, "Sujet", "Une lettre.\n").at(march(2, 3, 0)))?;
    let fetched = |minute: u32, validity: u32| -> Result<u64> {
        forget(&scene, "Junk", validity)?;
        let counts = scene.practice.once(march(2, 3, minute))?;
        Ok(counts["fetched"].as_u64().unwrap_or(0))
    };
    ensure!(fetched(0, 5_000_000)? == 20, "the first look");
    let mut again = 0;
    for pass in 1..=10 {
        again += fetched(pass, 5_000_000 + pass)?;
    }
    ensure!(again <= 20, "{again} of 20 mails read again within ten minutes");
    // A letter that lies among them is found all the same, within the hour.
    scene.lab.append(OFFICE, "Junk", &marie, None)?;
    for minute in [20, 45] {
        fetched(minute, 5_001_000 + minute)?;
    }
    scene.practice.once(march(2, 4, 30))?;
    ensure!(filed(&scene)? == 1, "the letter in the junk folder is never found");
    Ok(())
}

/// Where Dovecot keeps the practice's mail.
pub fn maildir(scene: &Scene) -> PathBuf {
    scene.lab.mail_root().join(OFFICE).join("Maildir")
}

/// SIGTERM while a server hangs in the midst of a command, of either protocol.
#[test]
fn the_daemon_ends_within_five_seconds_at_whatever_command_a_server_hangs() -> Result<()> {
    let scene = scene()?;
    let (imap, smtp) = (FaultProxy::imap(scene.lab.imap_port)?, FaultProxy::smtp(scene.lab.smtp_port)?);
    scene.practice.set("imap.port", &imap.port.to_string())?;
    scene.practice.set("smtp.port", &smtp.port.to_string())?;
    let commands = [
        (&imap, "AUTHENTICATE"),
        (&imap, "UID FETCH*BODY.PEEK[]"),
        (&imap, "APPEND"),
        (&imap, "UID EXPUNGE"),
        (&smtp, "EHLO"),
        (&smtp, "RCPT"),
        (&smtp, "dot"),
    ];
    for (n, (proxy, command)) in (1..).zip(commands) {
        letter(&scene, n, march(2, 3, 0))?;
        let hits = proxy.hits();
        proxy.always(command, Fault::Stall);
        scene.practice.set_time(march(2, 3, 5 * u32::try_from(n)?))?;
        let mut daemon = scene.practice.spawn_run()?;
        wait(command, PATIENCE, || Ok((proxy.hits() > hits).then_some(())))?;
        let (limit, began) = (scene.practice.within(Duration::from_secs(5))?, Instant::now());
        let status = daemon.terminate(limit).with_context(|| command.to_owned())?;
        println!("hanging in {command}: ended after {:?}", began.elapsed());
        ensure!(status == Some(0), "{command}: {status:?}\n{}", daemon.text()?);
        proxy.heal();
    }
    for minute in [50, 58] {
        scene.practice.run_at(march(2, 3, minute), &["run", "--once"])?.expect_ok()?;
    }
    let count = commands.len();
    ensure!(filed(&scene)? == count && lying(&scene, &["INBOX"])? == 0, "{:?}", scene.lab.census(OFFICE)?);
    ensure!(lying(&scene, &["Cadre", &scene.c1])? == count, "{:?}", scene.lab.census(OFFICE)?);
    let forwards = sql(&scene.practice, "SELECT COUNT(*) FROM outbox WHERE kind = 'forward' AND state = 'sent'")?;
    ensure!(forwards == count.to_string(), "{forwards} forwards of {count} letters");
    sound(&scene)
}
