//! The command line, one file a command group.

mod absent;
mod args;
mod backup;
mod check;
mod client;
mod colour;
mod explain;
mod harden;
mod init;
mod journal;
mod key;
mod letters;
mod log;
mod migrate_store;
mod progress;
mod queue;
mod recover;
mod report;
mod run;
mod shipping;
mod status;
mod therapist;
mod thread;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{CommandFactory, Parser};

use crate::app::context::{Context, StartError};
use crate::clock::Clock;
use crate::config::{Config, Env, Finding, snippet};
use crate::store::StoreError;
use args::{Cli, Command};

/// What a command ends with; it has already said why.
pub struct Failed(u8);

/// It failed, or found errors.
pub const FAILED: Failed = Failed(1);
/// Wrong usage, or a configuration that can't be read.
pub const USAGE: Failed = Failed(2);

/// What a command gives.
pub type Done = Result<(), Failed>;

/// The command line's own definition, from which its pages and completions are made.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Reads the arguments and runs the command.
pub fn main() -> ExitCode {
    harden::give_back();
    let closed = harden::close();
    let cli = Cli::parse();
    colour::choose(cli.color);
    log::begin(cli.log, cli.log_format);
    if let Err(why) = closed {
        tracing::warn!("{why}: what is in memory could reach the disk");
    }
    // A panic's own message could quote what a parser stumbled over: only its place is told.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        eprintln!("cadre: a fault of the program at {place}; please report it");
    }));
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cadre: the program can't start its tasks ({}): free memory or raise its limits", error.kind());
            return ExitCode::from(1);
        }
    };
    let env = Env::process();
    let config = Config::find(cli.config.first().map(PathBuf::as_path), &env);
    if cli.config.len() > 1 && !matches!(cli.command, Command::Run { .. }) {
        eprintln!("cadre: this is done for one practice at a time: give one --config");
        return ExitCode::from(2);
    }
    runtime.block_on(dispatch(cli, &config))
}

async fn dispatch(cli: Cli, config: &Path) -> ExitCode {
    let json = cli.json;
    let named = !cli.config.is_empty() || Env::process().get("CADRE_CONFIG").is_some();
    let done = match cli.command {
        Command::Init(args) => return init::init(&args, json).await,
        Command::Check { round_trip } => return check::check(config, json, round_trip).await,
        Command::Status { watch, healthy } => {
            let show = match (healthy, watch) {
                (true, _) => status::Show::Faults,
                (_, true) => status::Show::Again,
                _ => status::Show::Once,
            };
            return status::status(config, json, show).await;
        }
        Command::Run { once } => {
            let others = cli.config.get(1..).unwrap_or_default();
            run::run(config, others, json, once).await
        }
        Command::Client(command) => client::client(config, json, command).await,
        Command::Absent(args) => absent::absent(config, json, &args).await,
        Command::Therapist(command) => therapist::therapist(config, json, command).await,
        Command::Key(command) => key::key(config, json, &command).await,
        Command::Thread { code } => thread::thread(config, json, &code).await,
        Command::Queue(command) => queue::queue(config, json, &command).await,
        Command::Digest { therapist, html, .. } => thread::digest(config, json, therapist.as_deref(), html).await,
        Command::Journal(command) => journal::journal(config, json, &command).await,
        Command::Letters(command) => letters::letters(config, named, json, &command),
        Command::Backup { file } => backup::backup(config, json, &file).await,
        Command::Restore { file, replace } => backup::restore(config, json, &file, replace).await,
        Command::MigrateStore(args) => migrate_store::migrate_store(config, json, &args).await,
        Command::Recover { archive_secret, passphrase_file, therapist, to } => {
            let args = recover::Args { archive_secret, passphrase_file, therapist, to };
            recover::recover(config, json, &args).await
        }
        Command::Report(args::Report::Breach { from, to, language }) => {
            report::breach(config, json, &from, to.as_deref(), language.as_deref()).await
        }
        Command::Verify => verify::verify(config, json).await,
        Command::Shipping { dir } => shipping::shipping(&dir),
        Command::Explain { file } => explain::explain(config, json, &file).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(code)) => ExitCode::from(code),
    }
}

/// Prints an error with its causes, each of which names thing and remedy.
pub fn complain(error: &dyn std::error::Error) {
    eprintln!("cadre: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  because: {cause}");
        source = cause.source();
    }
}

/// Ends a command that failed.
pub fn fail(error: &dyn std::error::Error) -> Failed {
    complain(error);
    FAILED
}

/// Prints all findings.
pub fn print_findings(findings: &[Finding]) {
    for finding in findings {
        eprintln!("{finding}");
    }
}

/// Findings about the text of the configuration, each with its line.
pub fn with_lines(path: &Path, findings: &[Finding], colour: bool) -> String {
    // What can't be read has no lines to show.
    let text = std::fs::read_to_string(path).unwrap_or_default();
    snippet::render(&text, findings, colour)
}

/// Reads the configuration; all its errors are printed at once.
///
/// # Errors
/// [`USAGE`].
pub fn load(path: &Path) -> Result<(Config, Vec<Finding>), Failed> {
    Config::load(path, &Env::process()).map_err(|findings| {
        eprint!("{}", with_lines(path, &findings, colour::on(&std::io::stderr())));
        let errors = findings.iter().filter(|finding| finding.is_error()).count();
        eprintln!("cadre: {errors} error(s) in the configuration; nothing was started");
        USAGE
    })
}

/// Opens everything a command needs; relative paths are already resolved.
///
/// # Errors
/// [`USAGE`] or [`FAILED`], after saying why.
pub async fn open(path: &Path) -> Result<Context, Failed> {
    let (config, _) = load(path)?;
    let faults: Vec<Finding> = config.check_files().into_iter().filter(Finding::is_error).collect();
    if !faults.is_empty() {
        print_findings(&faults);
        eprintln!("cadre: {} file(s) can't be used; nothing was started", faults.len());
        return Err(FAILED);
    }
    open_config(config).await
}

/// Opens everything a command needs, with a configuration whose files were checked.
///
/// # Errors
/// [`FAILED`], after saying why.
pub async fn open_config(config: Config) -> Result<Context, Failed> {
    Context::open(config, Clock::System).await.map_err(|error: StartError| fail(&error))
}

/// Prints JSON for programs.
pub fn print_json(value: &impl serde::Serialize) -> Done {
    match serde_json::to_string_pretty(value) {
        Ok(text) => {
            println!("{text}");
            Ok(())
        }
        Err(error) => Err(fail(&error)),
    }
}

/// An id as people and programs see it: text, because it is longer than a JavaScript number.
pub fn public_id(id: i64) -> String {
    const SIGNS: &[u8] = crate::model::CODE_ALPHABET;
    let mut rest = id.unsigned_abs();
    let mut text = Vec::new();
    loop {
        text.push(SIGNS[(rest % 32) as usize]);
        rest /= 32;
        if rest == 0 {
            break;
        }
    }
    text.iter().rev().map(|sign| char::from(*sign)).collect()
}

/// Reads what [`public_id`] wrote.
pub fn read_id(text: &str) -> Option<i64> {
    let mut id: i64 = 0;
    for sign in text.trim().to_ascii_uppercase().bytes() {
        let digit = crate::model::CODE_ALPHABET.iter().position(|known| *known == sign)?;
        id = id.checked_mul(32)?.checked_add(i64::try_from(digit).ok()?)?;
    }
    (!text.trim().is_empty()).then_some(id)
}

/// A time in JSON: RFC 3339 in UTC.
pub fn utc(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Looks a client up by what was typed.
///
/// # Errors
/// [`FAILED`] or [`USAGE`], after saying why.
pub async fn find_client(ctx: &Context, typed: &str) -> Result<crate::store::Client, Failed> {
    let code = typed.parse().map_err(|_| {
        eprintln!("cadre: `{}` is not a client's code such as C-7K2M: `cadre client list` lists them", safe(typed));
        USAGE
    })?;
    let found = async { ctx.store.read().await?.client_by_code(&code).await };
    match found.await.map_err(|error: StoreError| fail(&error))? {
        Some(client) => Ok(client),
        None => {
            eprintln!("cadre: there is no client {code}: `cadre client list` lists them");
            Err(FAILED)
        }
    }
}

/// What was typed, short and without control signs; an address typed by mistake is not repeated.
fn safe(typed: &str) -> String {
    if typed.contains('@') {
        return "…".to_owned();
    }
    typed.chars().filter(|sign| !sign.is_control()).take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_being_read_aloud() {
        for id in [0, 1, 31, 32, i64::MAX, 906_230_112_233_445_566] {
            assert_eq!(read_id(&public_id(id)), Some(id));
            assert_eq!(read_id(&public_id(id).to_lowercase()), Some(id));
        }
        assert_eq!(read_id(""), None);
        assert_eq!(read_id("I0"), None);
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
}
