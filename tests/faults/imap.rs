//! The mailbox's side: each command, and what can happen to it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::common::lab::PASSWORD;
use super::common::ledger::{lying, sound, sql};
use super::common::scene::{OFFICE, Scene};
use super::common::{Fault, FaultProxy, Lab};
use super::{MARIE, all, filed, letter, minute, scene_in, to};

/// Every command of a pass with a letter, in their order.
const COMMANDS: [&str; 12] = [
    "greeting",
    "AUTHENTICATE",
    "CAPABILITY",
    "NAMESPACE",
    "SELECT",
    "UID FETCH*INTERNALDATE",
    "UID FETCH*(UID RFC822.SIZE)",
    "UID FETCH*BODY.PEEK[]",
    "APPEND",
    "UID STORE",
    "UID EXPUNGE",
    "LOGOUT",
];

fn faults() -> [Fault; 8] {
    [
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::CutWithin(7),
        Fault::Truncate(3),
        Fault::Trickle,
        Fault::Say("NO [SERVERBUG] something is wrong"),
        Fault::Say("BAD what is that"),
        Fault::Say("BYE off for maintenance"),
    ]
}

fn behind(filing: &str) -> Result<(Scene, FaultProxy)> {
    let scene = scene_in(Lab::light()?, filing)?;
    let proxy = FaultProxy::imap(scene.lab.imap_port)?;
    scene.practice.set("imap.port", &proxy.port.to_string())?;
    Ok((scene, proxy))
}

/// A letter, a pass in which something breaks, a pass in which all is well: the letter is there once.
fn cell(scene: &Scene, proxy: &FaultProxy, n: usize, command: &str, fault: Fault, copies: &[&str]) -> Result<()> {
    let before = proxy.hits();
    letter(scene, n, minute(n, 0)?)?;
    proxy.once(command, fault.clone());
    let out = scene.practice.run_at(minute(n, 1)?, &["run", "--once", "--json"])?;
    ensure!(proxy.hits() > before, "{command} never came: this tests nothing ({out:?})");
    ensure!(out.status.is_some_and(|status| status < 2) && !out.stderr.contains("panicked"), "{out:?}");
    ensure!(!out.stderr.contains(MARIE) && !out.stderr.contains(PASSWORD), "{out:?}");
    // Before anything is mended: what isn't filed still lies there.
    let (left, known) = (lying(scene, &["INBOX"])?, filed(scene)?);
    ensure!(left + known >= n, "{left} left and {known} filed of {n}");
    proxy.heal();
    scene.practice.run_at(minute(n, 5)?, &["run", "--once"])?.expect_ok()?;
    ensure!(filed(scene)? == n, "{} letters filed of {n}", filed(scene)?);
    ensure!(lying(scene, &["INBOX"])? == 0 && lying(scene, copies)? == n, "{:?}", scene.lab.census(OFFICE)?);
    let forwards = sql(&scene.practice, "SELECT COUNT(*) FROM outbox WHERE kind = 'forward' AND state = 'sent'")?;
    ensure!(forwards == n.to_string(), "{forwards} forwards of {n} letters");
    Ok(())
}

fn matrix(filing: &str, commands: &[&str], mut play: impl FnMut(usize, usize) -> bool) -> Result<usize> {
    let (scene, proxy) = behind(filing)?;
    let copies = [["Cadre", &scene.c1], ["Cadre", "Done"]][usize::from(filing == "keep")];
    let mut played = 0;
    for (row, command) in commands.iter().enumerate() {
        for (column, fault) in faults().into_iter().enumerate() {
            if !play(row, column) {
                continue;
            }
            played += 1;
            let done = cell(&scene, &proxy, played, command, fault.clone(), &copies);
            done.with_context(|| format!("{command}: {fault:?}"))?;
        }
    }
    ensure!(to(&scene, MARIE)?.len() == 1, "one acknowledgement for the one turn");
    sound(&scene)?;
    Ok(played)
}

#[test]
fn whatever_breaks_at_a_command_of_imap_costs_and_doubles_no_letter() -> Result<()> {
    let began = Instant::now();
    // A quarter of the cells: each command and each fault is among them.
    let played = matrix("folders", &COMMANDS, |row, column| all() || (row + column) % 4 == 0)?;
    println!("{played} cells in {} s", began.elapsed().as_secs());
    Ok(())
}

#[test]
fn a_move_that_breaks_neither_loses_nor_doubles_the_original() -> Result<()> {
    matrix("keep", &["UID MOVE"], |_, column| all() || column % 2 == 1).map(drop)
}

/// Nothing at all comes any more, and no connection ends: half-open, as after a firewall's restart.
#[test]
fn a_silent_server_is_given_up_and_the_letter_comes_later() -> Result<()> {
    if !all() {
        println!("waits a minute for the server's silence: CADRE_FAULTS=all plays it");
        return Ok(());
    }
    for command in ["greeting", "SELECT", "UID FETCH*BODY.PEEK[]", "UID EXPUNGE"] {
        let (scene, proxy) = behind("folders")?;
        letter(&scene, 1, minute(1, 0)?)?;
        proxy.always(command, Fault::Stall);
        let began = Instant::now();
        let out = scene.practice.run_at(minute(1, 1)?, &["run", "--once"])?;
        ensure!(out.status == Some(1) && out.stderr.contains("did not answer in time"), "{command}: {out:?}");
        ensure!(began.elapsed() < scene.practice.within(Duration::from_secs(90))?, "{command}: {:?}", began.elapsed());
        proxy.heal();
        scene.practice.once(minute(1, 5)?)?;
        ensure!(filed(&scene)? == 1 && lying(&scene, &["INBOX"])? == 0, "{command}");
        ensure!(lying(&scene, &["Cadre", &scene.c1])? == 1, "{command}");
    }
    Ok(())
}

/// Letters by the hundred come byte by byte, cut off again and again, and are all there once.
#[test]
fn a_line_that_is_cut_again_and_again_brings_every_letter_once() -> Result<()> {
    let (scene, proxy) = behind("folders")?;
    for n in 1..=12 {
        letter(&scene, n, minute(1, 0)?)?;
    }
    // Each pass gets a bit further.
    for (pass, bytes) in [3_000, 9_000, 20_000].into_iter().enumerate() {
        proxy.once("UID FETCH*BODY.PEEK[]", Fault::CutWithin(bytes));
        let out = scene.practice.run_at(minute(1, 1 + i64::try_from(pass)?)?, &["run", "--once"])?;
        ensure!(out.status == Some(1), "{out:?}");
        ensure!(lying(&scene, &["INBOX"])? + filed(&scene)? >= 12, "a letter is lost");
    }
    ensure!(proxy.hits() == 3, "{} cuts", proxy.hits());
    proxy.always("UID FETCH*BODY.PEEK[]", Fault::Trickle);
    scene.practice.once(minute(1, 8)?)?;
    ensure!(filed(&scene)? == 12 && lying(&scene, &["INBOX"])? == 0, "{:?}", scene.lab.census(OFFICE)?);
    ensure!(lying(&scene, &["Cadre", &scene.c1])? == 12, "{:?}", scene.lab.census(OFFICE)?);
    sound(&scene)
}
