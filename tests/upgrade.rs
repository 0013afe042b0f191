//! Databases of every schema there ever was, brought up to date by today's program: `tests/data/schemas`, which
//! `upgrade/freeze.rs` makes.

mod common;
#[path = "upgrade/freeze.rs"]
mod freeze;
#[path = "upgrade/stage.rs"]
mod stage;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use common::ledger;
use common::play::says;
use common::postgres::Place;
use common::scene::march;
use stage::{frozen, head_file, open, schemas};

/// The numbers of the migrations, as their files' names have them.
fn migrations() -> Result<BTreeSet<u32>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".sql") {
            numbers.insert(name.split('_').next().unwrap_or_default().parse().with_context(|| name.clone())?);
        }
    }
    Ok(numbers)
}

#[test]
fn every_migration_has_a_frozen_database() -> Result<()> {
    for number in migrations()? {
        ensure!(
            frozen(number).exists() && head_file(number).exists(),
            "migration {number:04} has no frozen database: `CADRE_FREEZE={number} cargo test --test upgrade freeze -- \
             --ignored` makes it with the program as it is now (tests/data/schemas/README.md)"
        );
    }
    ensure!(schemas()? == migrations()?, "tests/data/schemas has a database without a migration");
    Ok(())
}

/// Two at a time: each has a Dovecot of its own.
#[test]
fn every_frozen_database_is_brought_up_to_date_and_goes_on() -> Result<()> {
    let all: Vec<u32> = schemas()?.into_iter().collect();
    let mut failed = Vec::new();
    for two in all.chunks(2) {
        std::thread::scope(|scope| {
            let running: Vec<_> = two.iter().map(|number| (number, scope.spawn(|| goes_on(*number)))).collect();
            for (number, thread) in running {
                match thread.join() {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => failed.push(format!("{number:04}: {error:?}")),
                    Err(_) => failed.push(format!("{number:04}: panicked")),
                }
            }
        });
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    Ok(())
}

/// Tuesday 3 March: what was written by the old program is read, kept and sent by the new one, once.
fn goes_on(number: u32) -> Result<()> {
    let play = open(number)?;
    let s = &play.scene;
    s.practice.set_time(march(3, 8, 0))?;

    // The first to open it brings it up to date. Every row's MAC holds, every body opens for whom it is sealed to.
    let verified = s.practice.json(&["verify"])?;
    ensure!(verified["ok"] == true && verified["bodies"].as_u64() >= Some(5), "{verified}");
    let newest = migrations()?.pop_last().context("no migration")?.to_string();
    ensure!(ledger::sql(&s.practice, "SELECT MAX(version) FROM _sqlx_migrations")? == newest);
    ensure!(s.practice.run(&["journal", "verify"])?.ok());
    // Late mail and crisis alerts are no error of the upgrade's.
    let status = s.practice.run(&["status"])?;
    ensure!(matches!(status.status, Some(0 | 1)) && status.stdout.contains("journal"), "{status:?}");

    if number >= 10 {
        ensure!(s.practice.json(&["client", "show", &s.c2])?["legal_hold"].is_string());
        let out = s.practice.run(&["client", "erase", &s.c2, "--yes", "--force"])?;
        ensure!(out.status == Some(1) && out.stderr.contains("legal hold"), "{out:?}");
    }

    // The threads as they were, still sealed to who could read them.
    ensure!(play.states(&s.c1, "reply")? == ["sent"] && play.states(&s.c2, "reply")? == ["waiting"]);
    for code in [&s.c1, &s.c2] {
        let letters = play.states(code, "letter")?;
        let filed = letters.iter().filter(|state| *state == "filed").count();
        // What was unsigned, or signed by somebody else, is held.
        ensure!(filed >= 2 && letters.iter().all(|state| state == "filed" || state == "held"), "{code}: {letters:?}");
    }
    let folder = s.lab.dir.join("export").to_string_lossy().into_owned();
    s.practice.run(&["client", "export", &s.c1, &folder])?.expect_ok()?;
    let mbox = fs::read_dir(&folder)?.flatten().find(|entry| entry.path().extension().is_some_and(|e| e == "mbox"));
    let mbox = fs::read_to_string(mbox.context("no mbox")?.path())?;
    let first = mbox.split("\nFrom ").next().and_then(|mail| mail.split_once('\n')).context("no mail")?.1;
    says(&s.therapist.read(first.replace('\n', "\r\n").as_bytes())?.text(), &["La lettre de lundi."])?;

    let forwards = "SELECT COUNT(*) FROM outbox WHERE kind = 'forward' AND state IN ('waiting', 'leaving')";
    let waiting = ledger::sql(&s.practice, forwards)?;
    // A pass: what the old program left undone is done now, a new letter is filed beside.
    s.letter(&s.marie, "Une lettre", "La lettre de mardi.\n", march(3, 8, 5))?;
    let round = play.pass(march(3, 8, 10))?;
    let texts: Vec<_> = round.to(&s.therapist).map(|post| post.read.text()).collect();
    let times = |words: &str| texts.iter().filter(|text| text.contains(words)).count();
    for (words, expected) in [("La lettre de mardi.", 1), ("sans accusé.", 0), ("de lundi.", 0)] {
        ensure!(times(words) == expected, "{words} {} times: {}", times(words), round.story());
    }
    // The last one was filed before the old program died, or lay in its mailbox still.
    let late = times("qui attendait.") + times("en main.");
    ensure!(late.to_string() == waiting, "{late} of {waiting}: {}", round.story());
    ensure!(round.to(&s.paul).next().is_some(), "the acknowledgement that was refused for now: {}", round.story());
    // At the slot the waiting reply leaves, and Monday's doesn't again.
    let round = play.pass(march(3, 17, 0))?;
    says(&round.one(&s.paul)?.read.text(), &["La réponse qui attend."])?;
    ensure!(round.to(&s.marie).all(|post| !post.read.text().contains("La réponse de lundi.")), "{}", round.story());
    ensure!(play.states(&s.c2, "reply")? == ["sent"]);
    let round = play.pass(march(3, 17, 10))?;
    round.nothing_to(&s.paul)?;
    let verified = s.practice.json(&["verify"])?;
    ensure!(verified["ok"] == true, "{verified}");
    ledger::sound(s)
}

/// Every table of its schema has rows in each frozen database, but for those that a note excuses.
#[test]
fn the_frozen_databases_have_rows_in_every_table() -> Result<()> {
    for number in schemas()? {
        let text = fs::read_to_string(frozen(number))?;
        let tables = text.lines().filter_map(|line| line.strip_prefix("CREATE TABLE "));
        let tables = tables.map(|rest| rest.trim_start_matches("IF NOT EXISTS ").trim_start_matches(['"', '\'']));
        let tables = tables.filter_map(|rest| rest.split([' ', '(', '"', '\'']).next());
        let empty: Vec<&str> = tables
            .filter(|table| {
                let quoted = [format!("INSERT INTO {table} "), format!("INSERT INTO \"{table}\" ")];
                !text.lines().any(|line| quoted.iter().any(|start| line.starts_with(start.as_str())))
            })
            .collect();
        ensure!(empty.iter().all(|table| stage::may_be_empty(number, table)), "{number:04}: no rows in {empty:?}");
    }
    Ok(())
}

#[test]
fn the_newest_moves_to_postgresql_with_rows_in_every_table() -> Result<()> {
    let newest = schemas()?.pop_last().context("no frozen database")?;
    let mut play = open(newest)?;
    let place = Place::new()?;
    let s = &play.scene;
    s.practice.set_time(march(3, 8, 0))?;
    s.practice.json(&["verify"])?;
    let told = s.practice.json(&["migrate-store", "sqlite:cadre.db", &place.url, "--schema", &place.schema])?;
    let tables = told["tables"].as_array().context("tables")?;
    // Gateways live on a server: with SQLite there is none.
    let filled = tables.iter().filter(|table| table["table"] != "lease");
    let empty: Vec<_> = filled.filter(|table| table["rows"] == 0).map(|table| &table["table"]).collect();
    ensure!(empty.is_empty(), "nothing was moved of {empty:?}");
    play.scene.practice.move_to(place)?;
    let s = &play.scene;
    ensure!(s.practice.json(&["verify"])?["ok"] == true && s.practice.run(&["journal", "verify"])?.ok());
    let round = play.pass(march(3, 17, 0))?;
    let replies = round.to(&s.paul).filter(|post| post.read.text().contains("La réponse qui attend.")).count();
    ensure!(replies == 1, "{}", round.story());
    Ok(())
}

/// Makes a frozen database; see `freeze.rs`.
#[test]
#[ignore = "it writes into tests/data/schemas: only when there is a new migration"]
fn freeze() -> Result<()> {
    let number = std::env::var("CADRE_FREEZE").context("CADRE_FREEZE names the schema, such as 8")?.parse()?;
    freeze::freeze(number)
}
