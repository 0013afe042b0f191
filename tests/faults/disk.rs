//! Disks that are full and databases that somebody else holds: nothing is acknowledged that isn't stored, and it goes
//! on when it can.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::common::lab::{PATIENCE, is_root, run, wait};
use super::common::ledger::{hold, lying, sql};
use super::common::postgres::left_out;
use super::common::scene::{Scene, march};
use super::{Alarms, DOCTOR, MARIE, filed, letter, scene, to};

/// A file system of a few megabytes in memory; unmounted when dropped.
struct Small(PathBuf);

impl Small {
    /// None where this machine allows no mounts.
    fn mount(dir: PathBuf) -> Result<Option<Self>> {
        std::fs::create_dir_all(&dir)?;
        let options = ["-t", "tmpfs", "-o", "size=3m,mode=0700", "none"];
        let mounted = is_root() && run(Command::new("mount").args(options).arg(&dir)).is_ok();
        Ok(mounted.then_some(Self(dir)))
    }

    /// Leaves so many bytes free.
    fn fill(&self, leave: u64) -> Result<()> {
        let _ = std::fs::remove_file(self.0.join("ballast"));
        let stat = nix::sys::statvfs::statvfs(&self.0)?;
        let free = stat.blocks_available() as u64 * stat.fragment_size() as u64;
        let ballast = vec![0_u8; usize::try_from(free.saturating_sub(leave))?];
        Ok(std::fs::write(self.0.join("ballast"), ballast)?)
    }

    fn empty(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.0.join("ballast"))?)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Everything that the program writes lies on the small disk.
fn on(scene: &Scene, small: &Small) -> Result<()> {
    for name in ["cadre.db", "cadre.db-wal", "cadre.db-shm", "cadre.db.lock"] {
        let (from, to) = (scene.practice.dir.join(name), small.0.join(name));
        if from.exists() {
            std::fs::copy(&from, &to)?;
            std::fs::remove_file(&from)?;
        }
        std::os::unix::fs::symlink(&to, &from)?;
    }
    scene.practice.set("database.url", &format!("\"sqlite:{}\"", small.0.join("cadre.db").display()))
}

#[test]
fn a_full_disk_acknowledges_nothing_and_goes_on_when_there_is_room() -> Result<()> {
    if left_out("the disk that is filled is the one of SQLite's file") {
        return Ok(());
    }
    let scene = scene()?;
    let alarms = Alarms::of(&scene)?;
    letter(&scene, 1, march(2, 3, 0))?;
    scene.practice.once(march(2, 3, 5))?;
    let Some(small) = Small::mount(scene.lab.dir.join("small"))? else {
        println!("not played: this user may mount nothing here (run as root)");
        return Ok(());
    };
    on(&scene, &small)?;
    // With room it works there too.
    letter(&scene, 2, march(2, 4, 0))?;
    scene.practice.once(march(2, 4, 5))?;
    let mut n = 2;
    // Full to the last byte, and full in the midst of the work, at several places.
    for (hour, leave) in (5..).zip([0, 8_192, 40_960, 90_112]) {
        for _ in 0..3 {
            n += 1;
            letter(&scene, n, march(2, hour, 0))?;
        }
        let (mails, before) = (super::sink(&scene)?.count(), filed(&scene)?);
        small.fill(leave)?;
        let out = scene.practice.run_at(march(2, hour, 5), &["run", "--once"])?;
        ensure!(out.status.is_some() && !out.stderr.contains("panicked"), "{leave}: {out:?}");
        ensure!(leave > 0 || out.status == Some(1), "a full disk and no word of it: {out:?}");
        // Room only for this look: nothing of Cadre's runs meanwhile.
        small.empty()?;
        let now = filed(&scene)?;
        ensure!(lying(&scene, &["INBOX"])? + now >= n, "{leave}: a letter is lost");
        ensure!(now > before || super::sink(&scene)?.count() == mails, "{leave}: something left that nothing stored");
        scene.practice.run_at(march(2, hour, 20), &["run", "--once"])?.expect_ok()?;
        ensure!(filed(&scene)? == n && lying(&scene, &["INBOX"])? == 0, "{leave}: it doesn't go on");
        ensure!(
            lying(&scene, &["Cadre", &scene.c1])? == n,
            "{leave}: {:?}",
            scene.lab.census("ecrire@cabinet.example")?
        );
    }
    ensure!(to(&scene, MARIE)?.len() == 1, "one acknowledgement for the one turn");
    ensure!(scene.practice.run(&["journal", "verify"])?.ok(), "the journal");
    ensure!(sql(&scene.practice, "PRAGMA integrity_check")? == "ok", "the database");
    daemon_on_a_full_disk(&scene, &small, &alarms, n)
}

/// The daemon stays, runs the alarm command once, and goes on by itself.
fn daemon_on_a_full_disk(scene: &Scene, small: &Small, alarms: &Alarms, n: usize) -> Result<()> {
    scene.practice.set_time(march(2, 12, 0))?;
    small.fill(0)?;
    let told = alarms.lines().len();
    let mut daemon = scene.practice.spawn_run();
    // It may be too full to start at all; then it says so and ends.
    if let Ok(daemon) = &mut daemon
        && daemon.wait_line("running", PATIENCE).is_ok()
    {
        letter(scene, n + 1, march(2, 12, 0))?;
        wait("the alarm command", PATIENCE, || {
            Ok((alarms.lines()[told..].iter().any(|line| line == "disk-full")).then_some(()))
        })?;
        small.empty()?;
        wait("the letter to be filed", PATIENCE, || Ok((filed(scene)? == n + 1).then_some(())))?;
        ensure!(alarms.lines().len() == told + 1, "told once: {:?}", alarms.lines());
        daemon.end()?;
        return Ok(());
    }
    let daemon = daemon?;
    ensure!(daemon.text()?.contains("database"), "it ended without a word: {}", daemon.text()?);
    small.empty()
}

#[test]
fn a_database_that_somebody_holds_delays_everything_and_loses_nothing() -> Result<()> {
    let scene = scene()?;
    let alarms = Alarms::of(&scene)?;
    letter(&scene, 1, march(2, 3, 0))?;
    hold(&scene.practice, || {
        let out = scene.practice.run_at(march(2, 3, 5), &["run", "--once"])?;
        ensure!(out.status == Some(1) && out.stderr.contains("database"), "{out:?}");
        ensure!(lying(&scene, &["INBOX"])? == 1 && super::sink(&scene)?.count() == 0, "something was done unstored");
        // Who only looks may.
        ensure!(scene.practice.run(&["thread", &scene.c1])?.ok(), "looking");
        Ok(())
    })?;
    scene.practice.set_time(march(2, 4, 0))?;
    let mut daemon = scene.practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    wait("the letter", PATIENCE, || Ok((filed(&scene)? == 1).then_some(())))?;
    wait("the forward", PATIENCE, || Ok((!to(&scene, DOCTOR)?.is_empty()).then_some(())))?;
    // The daemon is held up in mid-work, and stays.
    hold(&scene.practice, || {
        letter(&scene, 2, march(2, 4, 0))?;
        wait("the alarm command", PATIENCE, || {
            Ok((alarms.lines().iter().any(|line| line == "database")).then_some(()))
        })?;
        ensure!(daemon.lives() && lying(&scene, &["INBOX"])? == 1, "{}", daemon.text()?);
        // It can be ended in this state too.
        let limit = scene.practice.within(Duration::from_secs(5))?;
        let status = daemon.terminate(limit).context("ending it while the database is held")?;
        ensure!(status == Some(0), "{status:?}\n{}", daemon.text()?);
        daemon = scene.practice.spawn_run()?;
        Ok(())
    })?;
    wait("the second letter", PATIENCE, || Ok((filed(&scene)? == 2).then_some(())))?;
    wait("its forward", PATIENCE, || Ok((to(&scene, DOCTOR)?.len() >= 2).then_some(())))?;
    daemon.end()?;
    let database = alarms.lines().iter().filter(|line| *line == "database").count();
    ensure!((1..=2).contains(&database), "once a start, told {database} times: {:?}", alarms.lines());
    super::common::ledger::sound(&scene).context("the books")
}
