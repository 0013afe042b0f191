//! `cadre key …`: the practice's own key.

mod change;
mod files;

use std::io::Write as _;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::args::Key as Args;
use super::client::grouped;
use super::{Done, FAILED, Failed, fail, load, print_json, utc};
use crate::app::context::{load_practice_keys, read_certificate};
use crate::clock::Clock;
use crate::config::{Config, Finding};
use crate::domain::code_words;
use crate::pgp::{Certificate, PracticeKey, wkd};

/// Runs one of the key commands.
pub async fn key(config: &Path, json: bool, command: &Args) -> Done {
    match command {
        Args::Show => show(&usable(config)?, json),
        Args::Export { binary, output } => export(&usable(config)?, *binary, output.as_deref()),
        Args::Wkd { dir } => directory(&usable(config)?, json, dir),
        Args::Rotate { change, revocation } => change::rotate(config, json, change, revocation.as_deref()).await,
        Args::Revoke { change, with, replaced } => {
            change::revoke(config, json, change, with.as_deref(), *replaced).await
        }
    }
}

/// The configuration, its files checked.
fn usable(path: &Path) -> Result<Config, Failed> {
    let (config, _) = load(path)?;
    let faults: Vec<Finding> = config.check_files().into_iter().filter(Finding::is_error).collect();
    let own = |fault: &&Finding| fault.key.starts_with("[keys] secret") || fault.key.starts_with("[keys] passphrase");
    if let Some(fault) = faults.iter().find(own) {
        super::print_findings(std::slice::from_ref(fault));
        return Err(FAILED);
    }
    Ok(config)
}

fn keys(config: &Config) -> Result<(PracticeKey, Vec<PracticeKey>), Failed> {
    load_practice_keys(config).map_err(|error| fail(&error))
}

fn show(config: &Config, json: bool) -> Done {
    let now = Clock::System.now();
    let (key, retired) = keys(config)?;
    let words: Vec<(String, Vec<String>)> = config
        .therapists
        .iter()
        .filter_map(|therapist| {
            let certificate = read_certificate("`[[therapist]] certificate`", &therapist.certificate).ok()?;
            let own = key.certificate().fingerprint();
            Some((therapist.id.0.clone(), code_words::words(&certificate.fingerprint(), &own, therapist.language)))
        })
        .collect();
    if json {
        let with: serde_json::Map<String, Value> =
            words.into_iter().map(|(id, words)| (id, json!(words.join(" ")))).collect();
        let mut shown = facts(key.certificate(), now);
        shown["words"] = Value::Object(with);
        shown["retired"] = retired.iter().map(|key| facts(key.certificate(), now)).collect();
        return print_json(&shown);
    }
    describe("The practice's key", key.certificate(), now);
    for (id, words) in words {
        println!("  words with {id}: {}", words.join(" "));
    }
    for key in &retired {
        println!();
        describe("A key it had before; it only reads", key.certificate(), now);
    }
    Ok(())
}

fn facts(certificate: &Certificate, now: DateTime<Utc>) -> Value {
    let keys = certificate.keys_at(now);
    json!({
        "fingerprint": certificate.fingerprint(),
        "created": keys.first().map(|key| utc(key.created)),
        "expires": certificate.expires_at(now).map(utc),
        "revoked": certificate.revocation().map(|revocation| utc(revocation.at)),
        "keys": keys.iter().map(|key| json!({
            "fingerprint": key.fingerprint,
            "algorithm": key.algorithm,
            "uses": key.uses,
            "created": utc(key.created),
            "expires": key.expires.map(utc),
        })).collect::<Vec<_>>(),
    })
}

fn describe(title: &str, certificate: &Certificate, now: DateTime<Utc>) {
    println!("{title}:");
    println!("  {}", grouped(&certificate.fingerprint()));
    for key in certificate.keys_at(now) {
        let end =
            key.expires.map_or_else(|| "without expiry".to_owned(), |at| format!("until {}", at.format("%Y-%m-%d")));
        println!("  {:<14} {:<18} since {}, {end}", key.algorithm, key.uses.join(" "), key.created.format("%Y-%m-%d"));
    }
    if let Some(revocation) = certificate.revocation() {
        println!("  REVOKED on {}", revocation.at.format("%Y-%m-%d"));
    }
}

fn export(config: &Config, binary: bool, output: Option<&Path>) -> Done {
    let (key, _) = keys(config)?;
    let bytes = match binary {
        true => key.certificate().to_bytes(),
        false => key.certificate().to_armored().into_bytes(),
    };
    let Some(output) = output else {
        return std::io::stdout().lock().write_all(&bytes).map_err(|error| fail(&error));
    };
    files::write(output, &bytes, 0o644)?;
    println!("{} written: {}", output.display(), grouped(&key.certificate().fingerprint()));
    Ok(())
}

/// The tree of a Web Key Directory: `DIR/.well-known/openpgpkey/…`, for both methods of the draft.
fn directory(config: &Config, json: bool, dir: &Path) -> Done {
    let (key, retired) = keys(config)?;
    let address = config.practice.address.as_typed();
    let Some((local, _)) = address.rsplit_once('@') else { return Err(FAILED) };
    let domain = config.practice.address.domain().to_ascii_lowercase();
    let Some(name) = wkd::hashed_name(local) else {
        eprintln!("cadre: the library has no SHA-1, by which the directory names its files");
        return Err(FAILED);
    };
    let revoked: Vec<&Certificate> =
        retired.iter().map(PracticeKey::certificate).filter(|key| key.revocation().is_some()).collect();
    let entry = wkd::entry(address, key.certificate(), &revoked);
    let root = dir.join(".well-known").join("openpgpkey");
    let mut written = Vec::new();
    for base in [root.join(&domain), root.clone()] {
        files::folder(&base.join("hu"))?;
        for (path, bytes) in [(base.join("hu").join(&name), entry.as_slice()), (base.join("policy"), &[][..])] {
            files::write(&path, bytes, 0o644)?;
            written.push(path);
        }
    }
    let urls = [
        format!("https://openpgpkey.{domain}/.well-known/openpgpkey/{domain}/hu/{name}?l={local}"),
        format!("https://{domain}/.well-known/openpgpkey/hu/{name}?l={local}"),
    ];
    if json {
        let files: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
        return print_json(&json!({ "files": files, "urls": urls }));
    }
    println!("Serve {} as it is, so that one of these answers:", dir.display());
    urls.iter().for_each(|url| println!("  {url}"));
    println!(
        "The first host name must not exist where only the second is served. Content type: application/octet-stream."
    );
    Ok(())
}
