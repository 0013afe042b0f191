//! `init` and `check` on real servers.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use common::lab::PASSWORD;
use common::{Lab, Output, Person, Practice};
use serde_json::Value;

const ADDRESS: &str = "ecrire@cabinet.example";

fn cadre(args: &[&str]) -> Result<Output> {
    let out = Command::new(Practice::built_binary()?).args(args).output()?;
    Ok(Output {
        status: out.status.code(),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    })
}

/// `init` for the laboratory, the archive's secret on a "stick" beside.
fn init(lab: &Lab, dir: &Path) -> Result<Output> {
    let therapist = Person::persona(lab, "exemple")?;
    let certificate = therapist.certificate_file(&lab.dir.join("therapist.asc"))?;
    let password = lab.dir.join("password");
    fs::write(&password, PASSWORD)?;
    let stick = lab.dir.join("stick");
    fs::create_dir_all(&stick)?;
    let (imap, smtp) = (lab.imap_port.to_string(), lab.smtp_port.to_string());
    let path = |path: &Path| path.display().to_string();
    let (dir, password, certificate, stick) = (path(dir), path(&password), path(&certificate), path(&stick));
    cadre(&[
        "init",
        &dir,
        "--yes",
        "--json",
        "--name",
        "Cabinet Exemple",
        "--address",
        ADDRESS,
        "--timezone",
        "Europe/Paris",
        "--country",
        "FR",
        "--channel",
        "courrier",
        "--price",
        "60 €",
        "--fallback",
        "+33 1 00 00 00 00",
        "--imap-host",
        "127.0.0.1",
        "--imap-port",
        &imap,
        "--imap-tls",
        "none",
        "--imap-password-file",
        &password,
        "--smtp-host",
        "127.0.0.1",
        "--smtp-port",
        &smtp,
        "--smtp-tls",
        "none",
        "--therapist",
        "exemple",
        "--therapist-name",
        "Dr Exemple",
        "--therapist-title",
        "Psychologue",
        "--therapist-register",
        "RPPS 1",
        "--therapist-address",
        &therapist.address,
        "--therapist-certificate",
        &certificate,
        "--archive-secret",
        &stick,
    ])
}

fn config(dir: &Path) -> String {
    dir.join("cadre.toml").display().to_string()
}

fn check(dir: &Path, more: &[&str]) -> Result<(Option<i32>, Value)> {
    let out = cadre(&[&["--config", &config(dir), "check", "--json"], more].concat())?;
    Ok((out.status, serde_json::from_str(&out.stdout).with_context(|| format!("{} {}", out.stdout, out.stderr))?))
}

fn errors(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    let errors = findings.iter().filter(|finding| finding["severity"] == "error");
    errors.map(|finding| format!("{}: {}", finding["key"].as_str().unwrap_or(""), finding["cause"])).collect()
}

fn names(dir: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(dir).map(|entries| entries.flatten().map(|e| e.path()).collect()).unwrap_or_default();
    names.sort();
    names
}

#[test]
fn what_init_makes_is_clean_and_its_mail_makes_the_round_trip() -> Result<()> {
    let lab = Lab::light()?;
    let dir = lab.dir.join("new/practice");
    let made: Value = serde_json::from_str(&init(&lab, &dir)?.expect_ok()?)?;
    assert_eq!(made["to_fill_in"].as_array().map(Vec::len), Some(0), "{made}");
    let secret = names(&lab.dir.join("stick"));
    assert_eq!(secret.len(), 1, "{secret:?}");
    for path in names(&dir).iter().chain(&secret) {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(path)?.permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    let text = fs::read_to_string(&secret[0])?;
    assert!(
        text.contains("\n-----BEGIN PGP PRIVATE KEY BLOCK") && text.contains(":-----BEGIN PGP PUBLIC KEY"),
        "{text}"
    );

    let (status, report) = check(&dir, &["--round-trip"])?;
    assert_eq!((status, errors(&report)), (Some(0), vec![]), "{report:#}");
    assert!(report["findings"].to_string().contains("[practice.cadre] records"), "{report:#}");
    assert_eq!(report["slots"]["exemple"].as_array().map(Vec::len), Some(3));
    assert!(lab.mails(ADDRESS, "INBOX")?.is_empty(), "the round trip's mail is removed");

    // The archive's secret beside the configuration is told of.
    fs::copy(&secret[0], dir.join("archive-secret.asc"))?;
    let (_, report) = check(&dir, &[])?;
    assert!(report["findings"].to_string().contains("SECRET key lies beside"), "{report:#}");

    let status = cadre(&["--config", &config(&dir), "status"])?.expect_ok()?;
    assert!(status.starts_with("To do: ") && !status.contains('@'), "{status}");
    Ok(())
}

#[test]
fn init_overwrites_nothing_and_cleans_up_after_itself() -> Result<()> {
    let lab = Lab::light()?;
    let dir = lab.dir.join("practice");
    fs::create_dir(&dir)?;
    fs::write(dir.join("record.key"), "mine")?;
    let out = init(&lab, &dir)?;
    assert_eq!(out.status, Some(1), "{out:?}");
    assert!(out.stderr.contains("record.key is there already"), "{}", out.stderr);
    assert_eq!((names(&dir).len(), fs::read_to_string(dir.join("record.key"))?.as_str()), (1, "mine"));

    // Where the folder can't be made, no secret stays behind on the stick either.
    fs::remove_file(dir.join("record.key"))?;
    fs::write(lab.dir.join("blocked"), "a file")?;
    let blocked = lab.dir.join("blocked/practice");
    let out = init(&lab, &blocked)?;
    assert_eq!(out.status, Some(1), "{out:?}");
    assert!(names(&lab.dir.join("stick")).is_empty(), "nothing is left behind");

    // Answers that can't be used are wrong usage, all at once.
    let unsound = lab.dir.join("unsound");
    let path = unsound.display().to_string();
    let out = cadre(&["init", &path, "--yes", "--timezone", "Europe/Pari", "--language", "de", "--address", "nobody"])?;
    assert_eq!(out.status, Some(2), "{out:?}");
    assert!(["timezone", "language", "address"].iter().all(|key| out.stderr.contains(key)), "{}", out.stderr);
    assert!(!unsound.exists());
    Ok(())
}

#[test]
fn in_a_script_nothing_is_mandatory_and_what_is_missing_is_listed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("practice");
    let out = cadre(&["init", &dir.display().to_string()])?.expect_ok()?;
    let listed = ["[practice] name", "[imap] host", "imap.password", "exemple.pgp", "archive-secret.asc", "NOW"];
    assert!(listed.iter().all(|word| out.contains(word)), "{out}");
    Ok(())
}

#[test]
fn a_configuration_that_lies_is_told_every_fault_at_once() -> Result<()> {
    let lab = Lab::light()?;
    let dir = lab.dir.join("practice");
    init(&lab, &dir)?.expect_ok()?;
    let practice = Practice::adopt(&dir, &Practice::built_binary()?)?;
    let closed = common::lab::ClosedPort::new()?;
    practice.set("smtp.port", &closed.port()?.to_string())?;
    practice.set("practice.timezone", "\"Europe/Pari\"")?;
    practice.set("rhythm.release", "\"0 0 18 30 Feb Mon\"")?;
    fs::write(dir.join("imap.password"), "wrong")?;
    fs::write(dir.join("practice.key.pgp"), "not a key")?;
    let therapist = Person::persona(&lab, "exemple")?;
    therapist.gpg(&["--quick-generate-key", "signs-only@exemple.example", "ed25519", "cert,sign", "never"], b"")?;
    let signs_only = therapist.gpg(&["--armor", "--export", "signs-only@exemple.example"], b"")?.0;
    fs::write(dir.join("exemple.pgp"), signs_only)?;
    let (status, report) = check(&dir, &[])?;
    let found = errors(&report).join("\n");
    assert_eq!(status, Some(1), "{report:#}");
    assert!(found.contains("can't encrypt"), "{found}");
    let wanted = [
        "[smtp] port",
        "[practice] timezone",
        "[rhythm] release",
        "[imap] username",
        "[keys] secret",
        "exemple.certificate",
    ];
    for key in wanted {
        assert!(found.contains(key), "{key} isn't named:\n{found}");
    }
    for finding in report["findings"].as_array().into_iter().flatten() {
        assert!(finding["severity"] == "warning" || finding["line"].is_number(), "{finding}");
    }
    assert_eq!(cadre(&["--config", "/nowhere/cadre.toml", "check"])?.status, Some(2));
    Ok(())
}
