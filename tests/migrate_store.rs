//! `migrate-store`: a practice from SQLite into a real PostgreSQL and back, killed, refused, and gone on with.

mod common;

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use cadre::clock::Clock;
use common::lab::{PATIENCE, run};
use common::ledger::{self, in_store, sql};
use common::play::{Play, says};
use common::postgres::{Place, left_out};
use common::practice::Output;
use common::scene::march;
use serde_json::Value;

const BOTH: &str = "these tests have both databases themselves";

/// The arguments that move the practice's file to this place.
fn there(place: &Place) -> [&str; 5] {
    ["migrate-store", "sqlite:cadre.db", &place.url, "--schema", &place.schema]
}

fn moved(play: &Play, place: &Place) -> Result<Value> {
    play.scene.practice.json(&there(place))
}

/// Everything that is in an SQLite file.
fn dump(play: &Play, file: &str) -> Result<String> {
    run(Command::new("sqlite3").current_dir(&play.scene.practice.dir).args([file, ".dump"]))
}

/// A letter each, one answered, one answer that waits for Monday's slot.
fn practice() -> Result<Play> {
    let play = Play::new()?;
    let s = &play.scene;
    play.letter(&s.paul, "Une lettre de Paul.\n", march(2, 2, 0))?;
    let forward = play.forwarded(&s.marie, "Une lettre de Marie.\n", march(2, 3, 0))?;
    play.answer(&forward, "/card\n\nÀ joindre par sa sœur.", march(2, 3, 10))?;
    play.answer(&forward, "La réponse qui attend.", march(2, 9, 0))?;
    s.practice.set_time(march(2, 10, 0))?;
    Ok(play)
}

fn refused(out: &Output, words: &str) -> Result<()> {
    ensure!(out.status == Some(1) && out.stderr.contains(words), "{words:?} isn't said: {out:?}");
    Ok(())
}

#[test]
fn a_practice_moves_to_postgresql_goes_on_there_and_comes_back() -> Result<()> {
    if left_out(BOTH) {
        return Ok(());
    }
    let mut play = practice()?;
    let place = Place::new()?;
    let before = dump(&play, "cadre.db")?;
    let head = play.scene.practice.json(&["journal", "verify"])?["head"].clone();
    let told = moved(&play, &place)?;
    ensure!(told["journal"] == head && told["resumed"] == false, "{told}");
    let tables = told["tables"].as_array().context("tables")?.clone();
    let rows = |table: &str| tables.iter().find(|t| t["table"] == table).map(|t| t["rows"].clone());
    ensure!(rows("message") == Some(3.into()) || rows("message") == Some(4.into()), "{told}");
    ensure!(tables.iter().all(|table| table["sha256"].as_str().is_some_and(|hex| hex.len() == 64)), "{told}");
    ensure!(dump(&play, "cadre.db")? == before, "the source was changed");
    ensure!(!play.scene.practice.dir.join("journal.head.moving").exists());

    // The new one is the practice from now on: verified, and what waits leaves from it, once.
    play.scene.practice.move_to(place.clone())?;
    let s = &play.scene;
    ensure!(s.practice.json(&["verify"])?["ok"] == true && s.practice.run(&["journal", "verify"])?.ok());
    let round = play.pass(march(2, 17, 0))?;
    says(&round.one(&s.marie)?.read.text(), &["La réponse qui attend."])?;
    let forward = play.forwarded(&s.paul, "Une autre lettre de Paul.\n", march(2, 20, 0))?;
    play.answer(&forward, "La réponse de mardi.", march(2, 21, 0))?;
    ledger::sound(s)?;

    // The old one is known for what it is.
    s.practice.set_time(march(2, 22, 0))?;
    let back = ["migrate-store", &place.url, "sqlite:back.db", "--schema", &place.schema];
    let out = s.practice.run(&back)?.expect_ok()?;
    says(&out, &["each was compared", "url = \"sqlite:back.db\"", "journal_head stays", "leaves twice"])?;
    play.scene.practice.stay_in("cadre.db")?;
    ensure!(play.scene.practice.run(&["journal", "verify"])?.status == Some(1), "the old database isn't noticed");
    play.scene.practice.stay_in("back.db")?;
    let s = &play.scene;
    ensure!(s.practice.json(&["verify"])?["ok"] == true && s.practice.run(&["journal", "verify"])?.ok());
    let round = play.pass(march(3, 17, 0))?;
    says(&round.one(&s.paul)?.read.text(), &["La réponse de mardi."])?;
    round.nothing_to(&s.marie)?;
    ensure!(play.states(&s.c1, "reply")? == ["sent"] && play.states(&s.c2, "reply")? == ["sent"]);
    Ok(())
}

#[test]
fn a_move_that_is_killed_is_finished_later_and_nothing_uses_half_of_it() -> Result<()> {
    if left_out(BOTH) {
        return Ok(());
    }
    let mut play = practice()?;
    // More than one batch of small rows, and rows that are a batch each.
    in_store(&play.scene.practice, async |tx| {
        let now = Clock::System.now();
        for n in 0..1300 {
            tx.journal(now, "probe", None, serde_json::json!({ "n": n })).await?;
        }
        for row in tx.kept_rows(cadre::store::Kept::Body).await? {
            let body = tx.blob(cadre::model::MessageRow(row)).await?.context("a body")?;
            tx.put_blob(cadre::model::MessageRow(row), &body.repeat(3 << 20 >> 12)).await?;
        }
        Ok(())
    })?;
    let place = Place::new()?;
    for (kill, count) in [("moving:1", "0"), ("moving:4", ""), ("moving:9", ""), ("moved", "")] {
        play.scene.practice.env("CADRE_FAILPOINT", kill);
        let out = play.scene.practice.run(&there(&place))?;
        ensure!(out.status.is_none(), "{kill}: not killed: {out:?}");
        play.scene.practice.env("CADRE_FAILPOINT", "");
        // The source is there as before, and the target is nobody's.
        ensure!(play.scene.practice.run(&["journal", "verify"])?.ok(), "{kill}");
        let whole = place.sql("SELECT COUNT(*) FROM journal")?;
        ensure!(count.is_empty() || whole == count, "{kill}: {whole} lines of the journal");
        play.scene.practice.move_to(place.clone())?;
        for args in [&["status"][..], &["run", "--once"], &["verify"]] {
            refused(&play.scene.practice.run(args)?, "cadre migrate-store")?;
        }
        play.scene.practice.stay_in("cadre.db")?;
    }
    let told = moved(&play, &place)?;
    ensure!(told["resumed"] == true, "{told}");
    let journal = sql(&play.scene.practice, "SELECT COUNT(*) FROM journal")?;
    let rows = told["tables"].as_array().and_then(|all| all.iter().find(|table| table["table"] == "journal"));
    ensure!(rows.context("journal")?["rows"] == journal.parse::<u64>()?, "{told}");
    play.scene.practice.move_to(place.clone())?;
    ensure!(play.scene.practice.run(&["journal", "verify"])?.ok());
    let again = play.scene.practice.run(&there(&place))?;
    refused(&again, "isn't empty")
}

#[test]
fn a_source_that_was_used_since_or_a_target_that_was_changed_is_not_taken_for_the_same() -> Result<()> {
    if left_out(BOTH) {
        return Ok(());
    }
    let mut play = practice()?;
    let place = Place::new()?;
    play.scene.practice.env("CADRE_FAILPOINT", "moved");
    ensure!(play.scene.practice.run(&there(&place))?.status.is_none());
    play.scene.practice.env("CADRE_FAILPOINT", "");
    // One octet of one row, and one row more.
    for (change, undo) in [
        ("UPDATE blob SET data = data || 'x'", "UPDATE blob SET data = substr(data, 1, length(data) - 1)"),
        ("INSERT INTO counter (name, value) VALUES ('x', 1)", "DELETE FROM counter WHERE name = 'x'"),
        ("UPDATE client SET weekdays = ''", "UPDATE client SET weekdays = NULL"),
    ] {
        place.sql(change)?;
        refused(&play.scene.practice.run(&there(&place))?, "isn't the same in both")?;
        place.sql(undo)?;
    }
    // The practice went on in the source.
    play.letter(&play.scene.marie, "Une lettre de plus.\n", march(2, 11, 0))?;
    refused(&play.scene.practice.run(&there(&place))?, "the source was used since")?;
    let fresh = Place::new()?;
    moved(&play, &fresh)?;
    Ok(())
}

#[test]
fn what_can_not_be_moved_is_refused_and_stays_as_it_was() -> Result<()> {
    if left_out(BOTH) {
        return Ok(());
    }
    let play = practice()?;
    let s = &play.scene;
    let place = Place::new()?;
    // In use, by a daemon and by a command.
    let mut daemon = s.practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    refused(&s.practice.run(&there(&place))?, "stop `cadre run`")?;
    daemon.end()?;
    ledger::hold(&s.practice, || refused(&s.practice.run(&there(&place))?, "is in use"))?;
    // Not a pair of databases, no database, no URL.
    refused(&s.practice.run(&["migrate-store", "sqlite:cadre.db", "sqlite:other.db"])?, "from SQLite to PostgreSQL")?;
    refused(&s.practice.run(&["migrate-store", "sqlite:none.db", &place.url, "--schema", &place.schema])?, "none.db")?;
    ensure!(!s.practice.dir.join("none.db").exists() && !s.practice.dir.join("other.db").exists());
    let wrong = s.practice.run(&["migrate-store", "cadre.db", &place.url])?;
    ensure!(wrong.status == Some(2) && wrong.stderr.contains("sqlite:"), "{wrong:?}");
    let secret = s.practice.run(&["migrate-store", "sqlite:cadre.db", "postgres://cadre:word@localhost/cadre"])?;
    ensure!(secret.status == Some(2) && !secret.stderr.contains("word@"), "{secret:?}");
    // Another record key, and nothing at all.
    let key = s.practice.dir.join("record.key");
    let own = std::fs::read(&key)?;
    std::fs::write(&key, [9; 32])?;
    refused(&s.practice.run(&there(&place))?, "record key")?;
    std::fs::write(&key, own)?;
    ensure!(place.sql("SELECT COUNT(*) FROM journal")? == "0" && place.sql("SELECT COUNT(*) FROM meta")? == "0");

    // Lines where there is no terminal; a bar where there is one.
    let out = s.practice.run(&there(&place))?;
    ensure!(
        out.ok() && out.stderr.contains("copying message (") && out.stderr.contains("comparing journal ("),
        "{out:?}"
    );
    let other = Place::new()?;
    let command = s.practice.command(&there(&other))?;
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let mut terminal = Command::new("script");
    terminal.current_dir(&s.practice.dir).args(["-qec", &words.join(" "), "/dev/null"]);
    terminal.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let shown = run(&mut terminal)?;
    ensure!(!shown.contains("copying message") && shown.contains("each was compared"), "{shown}");
    Ok(())
}
