//! Every failure of SPEC section 14, on real servers behind a proxy that breaks at a chosen command, on disks that are
//! full, beside programs that hold the database, under clocks that jump.
//!
//! `CADRE_FAULTS=all` plays every cell of the two matrices and what takes minutes; without it a part that comes by every
//! command and every fault.

#[path = "faults/big.rs"]
mod big;
#[path = "faults/clocks.rs"]
mod clocks;
mod common;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/imap.rs"]
mod imap;
#[path = "faults/servers.rs"]
mod servers;
#[path = "faults/smtp.rs"]
mod smtp;
#[path = "faults/tls.rs"]
mod tls;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use common::ledger::{distinct_to, sql};
use common::scene::{Scene, march};
use common::{Caught, Lab, PracticeOptions, Sink};

pub const OPERATOR: &str = "ops@autre.example";
pub const MARIE: &str = "marie@client.example";
pub const DOCTOR: &str = "dr@exemple.example";

/// Whether what takes minutes is to be played too.
pub fn all() -> bool {
    std::env::var("CADRE_FAULTS").is_ok_and(|value| value == "all")
}

/// A practice with letters passed on as they come, slots every day, and an operator.
pub fn scene_in(lab: Lab, filing: &str) -> Result<Scene> {
    let options = PracticeOptions {
        forward: "each".into(),
        filing: filing.into(),
        release: "0 0 18 * * *".into(),
        digest: "0 0 7 * * *".into(),
        ..PracticeOptions::default()
    };
    let scene = Scene::with(lab, options)?;
    scene.practice.set("operator.address", &format!("\"{OPERATOR}\""))?;
    Ok(scene)
}

pub fn scene() -> Result<Scene> {
    scene_in(Lab::light()?, "folders")
}

pub fn sink(scene: &Scene) -> Result<&Sink> {
    scene.lab.sink.as_ref().context("a sink")
}

/// The different mails that somebody got.
pub fn to(scene: &Scene, address: &str) -> Result<Vec<Caught>> {
    distinct_to(&sink(scene)?.mails(), address)
}

/// Minutes after noon of the 2nd: a cell of a matrix has ten of them.
pub fn minute(cell: usize, minute: i64) -> Result<DateTime<Utc>> {
    Ok(march(2, 11, 0) + TimeDelta::minutes(10 * i64::try_from(cell)? + minute))
}

/// The `n`-th letter of Marie's.
pub fn letter(scene: &Scene, n: usize, at: DateTime<Utc>) -> Result<()> {
    scene.letter(&scene.marie, &format!("Sujet {n}"), &format!("Lettre {n}.\n"), at)
}

/// How many letters are filed.
pub fn filed(scene: &Scene) -> Result<usize> {
    Ok(sql(&scene.practice, "SELECT COUNT(*) FROM message WHERE kind = 'letter' AND state = 'filed'")?.parse()?)
}

/// `status --json` has all of these words.
pub fn status_says(scene: &Scene, words: &[&str]) -> Result<()> {
    let out = scene.practice.run(&["status", "--json"])?;
    for word in words {
        ensure!(out.stdout.contains(word), "status doesn't say {word:?}: {out:?}");
    }
    Ok(())
}

pub fn status_is_silent_about(scene: &Scene, word: &str) -> Result<()> {
    let out = scene.practice.run(&["status", "--json"])?;
    ensure!(!out.stdout.contains(word), "status still says {word:?}: {out:?}");
    Ok(())
}

/// Has the alarm command write a line with the class of each alarm, and gives the lines.
pub struct Alarms(std::path::PathBuf);

impl Alarms {
    pub fn of(scene: &Scene) -> Result<Self> {
        let file = scene.lab.dir.join("alarms");
        scene.practice.set("operator.alarm_command", &format!("'echo $CADRE_CLASS >> {}'", file.display()))?;
        Ok(Self(file))
    }

    pub fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(&self.0).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}
