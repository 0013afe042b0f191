//! `key rotate` and `key revoke`: the file of keys first, by one rename, then the database. Either can be interrupted
//! anywhere and given again.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::args::KeyChange;
use super::super::client::grouped;
use super::super::{Done, FAILED, Failed, USAGE, fail, init, open_config, print_json};
use super::{files, usable};
use crate::app::AppError;
use crate::app::context::{Context, practice_secrets};
use crate::app::keys::own::{self, Settled};
use crate::config::{Config, SecretSource};
use crate::failpoint::failpoint;
use crate::pgp::{Certificate, ring};
use crate::store::{RunLock, StoreError};

/// What both commands begin with: nobody else works on the database, and what an earlier one began is finished.
struct Begun {
    config: Config,
    ctx: Context,
    /// The file of keys.
    file: PathBuf,
    settled: Settled,
    _lock: RunLock,
}

async fn begin(path: &Path, change: &KeyChange) -> Result<Begun, Failed> {
    let config = usable(path)?;
    let file = match (&change.file, &config.keys.secret) {
        (Some(file), _) => file.clone(),
        (None, SecretSource::File(file)) => file.clone(),
        (None, other) => {
            eprintln!(
                "cadre: the key comes from {}: say with --file which file that is, so that it can be changed",
                other.describe()
            );
            return Err(USAGE);
        }
    };
    let ctx = open_config(with_file(&config, change.file.as_deref())).await?;
    let lock = ctx.store.at_rest().await.map_err(|error| match error {
        StoreError::Locked { .. } | StoreError::Held => {
            eprintln!(
                "cadre: `cadre run` is working: stop it first (systemctl stop cadre), and start it again afterwards"
            );
            FAILED
        }
        error => fail(&error),
    })?;
    let settled = settle(&ctx).await?;
    Ok(Begun { config, ctx, file, settled, _lock: lock })
}

fn with_file(config: &Config, file: Option<&Path>) -> Config {
    let mut config = config.clone();
    if let Some(file) = file {
        config.keys.secret = SecretSource::File(file.to_owned());
    }
    config
}

async fn settle(ctx: &Context) -> Result<Settled, Failed> {
    let settled = async {
        let mut tx = ctx.store.begin().await?;
        let settled = own::settle(ctx, &mut tx, true, ctx.clock.now()).await?;
        failpoint("key-announcing");
        tx.commit().await?;
        Ok::<_, AppError>(settled)
    };
    settled.await.map_err(|error| fail(&error))
}

/// Asks on a terminal; scripts say `--yes`.
fn confirm(change: &KeyChange, what: &str) -> Done {
    if change.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        eprintln!("cadre: {what} Give --yes to do it.");
        return Err(USAGE);
    }
    eprint!("{what} Type yes: ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| fail(&error))?;
    if line.trim().eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    eprintln!("cadre: nothing was changed");
    Err(FAILED)
}

/// Makes a new key; the one before only reads from then on.
pub(super) async fn rotate(path: &Path, json: bool, change: &KeyChange, revocation: Option<&Path>) -> Done {
    let Begun { config, ctx, file, settled, _lock } = begin(path, change).await?;
    if settled != Settled::Known {
        // The file was changed already; now the database is too.
        certificate_file(&config, ctx.key.certificate())?;
        ctx.store.close().await;
        return report(json, ctx.key.certificate(), &settled, None);
    }
    confirm(change, "A new key is made for the practice, and everybody is told of it.")?;
    let now = ctx.clock.now();
    let (bytes, passphrase) = practice_secrets(&ctx.config).map_err(|error| fail(&error))?;
    let rotated = ring::rotate(&bytes, passphrase.as_ref(), config.practice.address.as_typed(), now)
        .map_err(|error| fail(&error))?;
    let fingerprint = rotated.certificate.fingerprint();
    let kept = match revocation {
        Some(path) => path.to_owned(),
        None => config.folder().join(format!("practice-revocation-{}.asc", short(&fingerprint))),
    };
    files::write(&kept, &revocation_file(&rotated.revocation), 0o600)?;
    failpoint("revocation-written");
    files::write(&file, &rotated.file, 0o600)?;
    failpoint("ring-written");
    ctx.store.close().await;
    let ctx = open_config(with_file(&config, Some(&file))).await?;
    let settled = settle(&ctx).await?;
    failpoint("key-announced");
    certificate_file(&config, ctx.key.certificate())?;
    ctx.store.close().await;
    report(json, &rotated.certificate, &settled, Some(&kept))
}

fn short(fingerprint: &str) -> &str {
    fingerprint.get(..16).unwrap_or(fingerprint)
}

/// Unreadable by a colon, as GnuPG does it: importing the file by mistake must not revoke the key.
fn revocation_file(revocation: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(revocation).replace("-----BEGIN", ":-----BEGIN");
    let head = "The revocation of the practice's key, for the day on which that key is stolen or lost. Keep it away from\r\n\
                the machine that runs Cadre, with the archive's secret key. To use it: cadre key revoke --with FILE, or\r\n\
                remove the colon before the five dashes, import it, and publish the key.\r\n\r\n";
    format!("{head}{text}").into_bytes()
}

/// The certificate beside the configuration, as `init` has put it there.
fn certificate_file(config: &Config, certificate: &Certificate) -> Done {
    let path = config.folder().join(init::PRACTICE_CERTIFICATE);
    files::write(&path, certificate.to_armored().as_bytes(), 0o644)
}

fn report(json: bool, certificate: &Certificate, settled: &Settled, revocation: Option<&Path>) -> Done {
    let (old, clients, therapists) = match settled {
        Settled::Announced { old, clients, therapists, .. } => (Some(old), *clients, *therapists),
        Settled::Strange { old } => (Some(old), 0, 0),
        Settled::Known => (None, 0, 0),
    };
    if json {
        return print_json(&json!({
            "fingerprint": certificate.fingerprint(),
            "old": old,
            "clients_told": clients,
            "therapists_told": therapists,
            "revocation": revocation.map(|path| path.display().to_string()),
        }));
    }
    println!("The practice's key is now {}", grouped(&certificate.fingerprint()));
    println!("{clients} client(s) and {therapists} therapist(s) are told with the next `cadre run`.");
    println!("What is still encrypted to the old key is read, and its writer told once.");
    if let Some(path) = revocation {
        println!("Its revocation is in {}: take it away from this machine.", path.display());
    }
    println!("Published somewhere (`cadre key wkd`, a web page)? Publish it again. Then start `cadre run`.");
    Ok(())
}

/// Revokes the practice's key: nothing leaves any more until there is a new one.
pub(super) async fn revoke(path: &Path, json: bool, change: &KeyChange, with: Option<&Path>, replaced: bool) -> Done {
    let Begun { config, ctx, file, .. } = &begin(path, change).await?;
    if ctx.key.certificate().revocation().is_some() {
        eprintln!("cadre: the key is revoked already: `cadre key rotate` makes a new one");
        return Err(FAILED);
    }
    let made = match with {
        None => None,
        Some(path) => Some(std::fs::read(path).map_err(|error| {
            eprintln!("cadre: {} can't be read ({})", path.display(), error.kind());
            FAILED
        })?),
    };
    confirm(change, "The practice's key is revoked for ever; nothing leaves until there is a new one.")?;
    let (bytes, passphrase) = practice_secrets(&ctx.config).map_err(|error| fail(&error))?;
    let how = match &made {
        Some(made) => ring::Revoke::With(made),
        None => ring::Revoke::Now { stolen: !replaced },
    };
    let now = ctx.clock.now();
    let (ring, certificate) = ring::revoke(&bytes, passphrase.as_ref(), &how, now).map_err(|error| fail(&error))?;
    files::write(file, &ring, 0o600)?;
    failpoint("ring-written");
    ctx.store.close().await;
    let ctx = open_config(with_file(config, Some(file))).await?;
    settle(&ctx).await?;
    certificate_file(config, &certificate)?;
    ctx.store.close().await;
    if json {
        return print_json(&json!({ "fingerprint": certificate.fingerprint(), "revoked": true }));
    }
    println!("Revoked: {}", grouped(&certificate.fingerprint()));
    println!("Nothing leaves any more. Now:");
    println!("  cadre key rotate    makes a new key; clients and therapists are told, and asked to compare by voice");
    println!("  cadre key wkd DIR   where the key is published: whoever looks learns of the revocation");
    println!("  cadre run");
    Ok(())
}
