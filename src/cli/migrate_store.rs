//! `cadre migrate-store`.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::path::Path;

use serde_json::json;

use super::args::MigrateStore;
use super::progress::Bar;
use super::{Done, USAGE, fail, load, print_json};
use crate::app::copying::{Copied, Progress};
use crate::app::migrate_store;
use crate::config::{Config, DatabasePlace, Env};

/// Moves a practice's rows from one database into another.
pub async fn migrate_store(config: &Path, json: bool, args: &MigrateStore) -> Done {
    let (config, _) = load(config)?;
    let from = place(&config, args, &args.from)?;
    let to = place(&config, args, &args.to)?;
    let shown = Shown::new(json);
    let moved = migrate_store::migrate_store(&config, &from, &to, |progress| shown.at(progress)).await;
    drop(shown);
    let moved = moved.map_err(|error| fail(&error))?;
    if json {
        return print_json(&json!({
            "rows": moved.rows, "tables": moved.tables, "journal": moved.head.to_string(), "resumed": moved.resumed,
        }));
    }
    say(&moved, args, &to);
    Ok(())
}

/// What a URL names; what the configuration says of the same database counts where nothing else is said.
fn place(config: &Config, args: &MigrateStore, url: &str) -> Result<DatabasePlace, super::Failed> {
    let here = std::env::current_dir().map_err(|error| fail(&error))?;
    let (password, schema) = (args.password_file.as_deref(), args.schema.as_deref());
    let mut place = DatabasePlace::parse(url, password, schema, &here, &Env::process()).map_err(|why| {
        eprintln!("cadre: {why}");
        USAGE
    })?;
    if let (DatabasePlace::Server(server), DatabasePlace::Server(known)) = (&mut place, &config.database.place)
        && known.url == server.url
    {
        server.password = server.password.take().or_else(|| known.password.clone());
        server.schema = server.schema.take().or_else(|| known.schema.clone());
    }
    Ok(place)
}

fn say(moved: &Copied, args: &MigrateStore, to: &DatabasePlace) {
    let again = if moved.resumed { " A move that had stopped was finished." } else { "" };
    println!(
        "{} rows of {} tables were copied, and each was compared; the journal ends at {} in both.{again}",
        moved.rows,
        moved.tables.len(),
        moved.head
    );
    println!("The old database is as it was. Now:");
    println!("  1. In the configuration, under [database], write:");
    println!("       url = {:?}", args.to);
    if to.file().is_none() {
        if let Some(file) = &args.password_file {
            println!("       password_file = {:?}", file);
        }
        if let Some(schema) = &args.schema {
            println!("       schema = {schema:?}");
        }
    } else {
        println!("     and remove password_file and schema, where they stand.");
    }
    println!("     journal_head stays as it is.");
    println!("  2. Run `cadre check`, then start `cadre run` again.");
    println!(
        "  3. Don't run Cadre on the old database any more: what leaves from two databases leaves twice. Keep it until you \
         have a backup of the new one."
    );
}

/// A bar on a terminal; a line a table and step elsewhere; nothing where JSON is printed.
pub(super) struct Shown {
    copying: Bar,
    comparing: Bar,
    lines: bool,
    last: RefCell<(bool, String)>,
}

impl Shown {
    pub fn new(json: bool) -> Self {
        let lines = !json && !std::io::stderr().is_terminal();
        let (copying, comparing) = (Bar::new(json, "rows copied"), Bar::new(json, "rows compared"));
        Self { copying, comparing, lines, last: RefCell::default() }
    }

    pub fn at(&self, progress: Progress<'_>) {
        let (bar, word) = if progress.comparing { (&self.comparing, "comparing") } else { (&self.copying, "copying") };
        bar.at(progress.done, progress.of);
        let now = (progress.comparing, progress.table.to_owned());
        if self.lines && *self.last.borrow() != now {
            eprintln!("{word} {} ({} of {} rows)", progress.table, progress.done, progress.of);
            self.last.replace(now);
        }
    }
}
