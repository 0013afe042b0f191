//! `cadre recover`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::progress::Bar;
use super::{Done, FAILED, Failed, USAGE, complain, fail, open, print_json, public_id};
use crate::app::context::{Context, read_certificate};
use crate::app::recover::{self, LeftBody, Wanted};
use crate::app::{AppError, gateway};
use crate::config::SecretSource;
use crate::model::TherapistId;
use crate::pgp::{Certificate, KeyError, PracticeKey};
use crate::secret::Password;

/// What was typed.
pub struct Args {
    pub archive_secret: PathBuf,
    pub passphrase_file: Option<PathBuf>,
    pub therapist: Option<String>,
    pub to: Option<PathBuf>,
}

/// Seals what is stored to the therapists' present certificates, with the archive's secret.
pub async fn recover(config: &Path, json: bool, args: &Args) -> Done {
    let ctx = open(config).await?;
    let done = run(&ctx, json, args).await;
    ctx.store.close().await;
    done
}

async fn run(ctx: &Context, json: bool, args: &Args) -> Done {
    let archive = secret(args)?;
    let fingerprint = archive.certificate().fingerprint();
    if ctx.archive.as_ref().is_some_and(|known| known.fingerprint() != fingerprint) {
        eprintln!("cadre: --archive-secret: that key is not the one of `[keys] archive`, but {fingerprint}");
        return Err(FAILED);
    }
    let therapist = args.therapist.clone().map(TherapistId);
    if let Some(id) = therapist.as_ref().filter(|id| ctx.therapist(id).is_none()) {
        eprintln!("cadre: --therapist: there is no therapist {id} in the configuration");
        return Err(USAGE);
    }
    let to = match &args.to {
        Some(_) if therapist.is_none() && ctx.therapists().len() > 1 => {
            eprintln!("cadre: --to: whose certificate is it? `--therapist ID` says so");
            return Err(USAGE);
        }
        Some(path) => Some(read_certificate("--to", path).map_err(|error| fail(&error))?),
        None => None,
    };
    let bar = Bar::new(json, "bodies");
    let wanted = Wanted { archive: &archive, therapist: therapist.as_ref(), to: to.as_ref() };
    // The daemon would file to the old key meanwhile, and two of these would do the same work.
    let work = recover::recover(ctx, &wanted, |done, of| bar.at(done, of));
    let report = gateway::alone(ctx, Box::pin(work)).await;
    drop(bar);
    let report = report.map_err(|error| match error {
        AppError::Store(error) => fail(&error),
        error => fail(&error),
    })?;
    let done = if report.left.is_empty() && report.not_for_archive == 0 { Ok(()) } else { Err(FAILED) };
    if json {
        let left: Vec<_> = report.left.iter().map(described).collect();
        print_json(&json!({
            "resealed": report.resealed, "already": report.already, "not_for_archive": report.not_for_archive,
            "left": left,
        }))?;
        return done;
    }
    for left in &report.left {
        let whose = left.client.as_ref().map_or_else(String::new, |code| format!(" of {code}"));
        println!("✗ {} {}{whose}", left.table, public_id(left.row));
        complain(&left.why);
    }
    println!("{} bodies are sealed anew, {} were already.", report.resealed, report.already);
    if report.not_for_archive > 0 {
        println!(
            "{} bodies were never sealed to this archive key: only the lost key opens them, and they stay as they are.",
            report.not_for_archive
        );
    }
    println!("`cadre verify` looks at all of them. The copies in the mailbox's folders stay sealed to the lost key:");
    println!("`cadre client export` gives the therapist the new ones. Put the archive's secret away again.");
    print_therapist_hint(to.as_ref());
    done
}

fn print_therapist_hint(to: Option<&Certificate>) {
    if let Some(to) = to {
        println!(
            "New letters go to the configured certificate: `[[therapist]] certificate` must be {} too.",
            to.fingerprint()
        );
    }
}

fn described(left: &LeftBody) -> serde_json::Value {
    json!({ "table": left.table, "id": public_id(left.row), "client": left.client, "why": left.why.to_string() })
}

/// The archive's secret, with its passphrase where it has one: from the file, or asked on a terminal.
fn secret(args: &Args) -> Result<PracticeKey, Failed> {
    let bytes = SecretSource::File(args.archive_secret.clone()).bytes().map_err(|error| fail(&error))?;
    let loaded = match &args.passphrase_file {
        Some(file) => {
            let passphrase = SecretSource::File(file.clone()).password().map_err(|error| fail(&error))?;
            PracticeKey::load(&bytes, Some(&passphrase))
        }
        None => match PracticeKey::load(&bytes, None) {
            Err(KeyError::Locked) if std::io::stdin().is_terminal() => {
                let typed = rpassword::prompt_password("Passphrase of the archive's secret key: ");
                let typed = Password::new(typed.map_err(|error| fail(&error))?);
                PracticeKey::load(&bytes, Some(&typed))
            }
            other => other,
        },
    };
    loaded.map_err(|error| {
        eprintln!("cadre: {} can't be used: {error}", args.archive_secret.display());
        FAILED
    })
}
