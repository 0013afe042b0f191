//! `cadre shipping DIR`, hidden: what a package carries beside the program, written by the program that it carries.
//!
//! Manual pages and completions come from [`args`](super::args), the configuration's page, example and JSON schema from
//! [`crate::config::schema`]: none of them can say what this program doesn't do.

mod pages;

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

use super::{Done, FAILED, command};
use crate::config::{example, json_schema};

/// The shells that a package has completions for.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Writes `man/`, `completions/`, the example configuration and its schema into a folder, which is made.
pub fn shipping(dir: &Path) -> Done {
    write(dir).map_err(|error| {
        let shown = dir.display();
        eprintln!("cadre: {shown} can't be written ({}): name a folder where this user may write", error.kind());
        FAILED
    })
}

fn write(dir: &Path) -> io::Result<()> {
    let (man, completions) = (dir.join("man"), dir.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    for (name, page) in pages::all(&command()) {
        fs::write(man.join(name), page)?;
    }
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut shown(&command()), "cadre", &completions)?;
    }
    fs::write(dir.join("cadre.example.toml"), example::example())?;
    fs::write(dir.join("cadre.schema.json"), json_schema::json_schema())
}

/// The command line without what `--help` hides too: completions would offer it.
fn shown(whole: &Command) -> Command {
    let root = Command::new("cadre").version(env!("CARGO_PKG_VERSION")).args(whole.get_arguments());
    root.subcommands(whole.get_subcommands().filter(|child| !child.is_hide_set()))
}
