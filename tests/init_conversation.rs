//! `cadre init` typed by hand: the built program on a terminal of its own, the laboratory's servers as the mailbox.

mod common;
#[path = "autoconfig/web.rs"]
mod web;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use common::lab::{ClosedPort, PASSWORD};
use common::terminal::{Terminal, plain};
use common::{Lab, LabOptions, Output, Person, Practice};
use web::{FILE, Web, found};

const ADDRESS: &str = "ecrire@cabinet.example";
const COLUMNS: usize = 60;

fn open(args: &[&str]) -> Result<Terminal> {
    Terminal::of(Command::new(Practice::built_binary()?).args(args), COLUMNS)
}

fn cadre(args: &[&str]) -> Result<Output> {
    let out = Command::new(Practice::built_binary()?).args(args).output()?;
    Ok(Output {
        status: out.status.code(),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    })
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

const PRACTICE: [(&str, &str); 5] =
    [("Name", "Cabinet Exemple"), ("Address", ADDRESS), ("Language", ""), ("Country", ""), ("Time zone", "")];

#[test]
fn a_practice_is_made_by_hand_and_its_mail_goes_through() -> Result<()> {
    let lab = Lab::with(LabOptions { tls: true, ..LabOptions::default() })?;
    let dir = lab.dir.join("practice");
    let stick = lab.dir.join("stick");
    fs::create_dir(&stick)?;
    let therapist = Person::persona(&lab, "exemple")?;
    let certificate = path(&therapist.certificate_file(&lab.dir.join("therapist.asc"))?);
    let (imaps, smtps) = (lab.imaps_port.to_string(), lab.smtps_port.to_string());
    let closed = ClosedPort::new()?;
    let (folder, stick_path, ca_file) = (path(&dir), path(&stick), path(&lab.ca_file()));

    let mut at = open(&["init", &folder, "--ca-file", &ca_file, "--no-lookup"])?;
    at.types("Name", "?")?;
    at.sees("For example: Cabinet Exemple")?;
    at.types("Name", "Cabinet Exemple")?;
    at.types("Address", "nobody")?;
    at.sees("such as")?;
    at.types("Address", ADDRESS)?;
    at.types("Language", "de")?;
    at.sees("write one of")?;
    at.all(&[("Language", ""), ("Country", "France")])?;
    at.sees("ISO")?;
    at.all(&[("Country", "fr"), ("Time zone", "Europe/Pari")])?;
    at.sees("did you mean \"Europe/Paris\"?")?;
    at.types("Time zone", "")?;
    at.types("Provider", "infomaniac")?;
    at.sees("did you mean infomaniak?")?;
    at.types("Provider", "")?;
    at.all(&[("IMAP server", "localhost"), ("IMAP protection", ""), ("IMAP port", "0")])?;
    at.sees("write a number from 1 to 65535")?;
    at.all(&[
        ("IMAP port", &imaps),
        ("IMAP user name", ""),
        ("SMTP server", "localhost"),
        ("SMTP protection", ""),
        ("SMTP port", &closed.port()?.to_string()),
    ])?;
    at.types("SMTP user name", "")?;
    at.types("Password of the mailbox", "not the password")?;
    at.types("Password for sending", "")?;
    // Both faults at once: the wrong password, and no way to the other server.
    at.sees("refused the")?;
    at.sees("no connection to the SMTP")?;
    at.types("password, servers, again or leave", "password")?;
    at.types("Password of the mailbox", PASSWORD)?;
    at.types("Password for sending", "")?;
    at.sees("connected and logged in")?;
    at.types("password, servers, again or leave", "leave")?;
    at.all(&[
        ("Short name", "Dr Exemple"),
        ("Short name", ""),
        ("Name", "Dr Exemple"),
        ("Title", "Psychologue"),
        ("Register number", "RPPS 1"),
        ("Own address", ADDRESS),
    ])?;
    at.sees("one role")?;
    at.all(&[("Own address", &therapist.address), ("Certificate file", "/nowhere/key.asc")])?;
    at.sees("there is no such file")?;
    at.types("Certificate file", &certificate)?;
    at.sees("fingerprint")?;
    at.types("Channel and rhythm", "courrier")?;
    at.types("Price and payment", "")?;
    at.sees("no client can be activated")?;
    at.all(&[("The other way", "+33 1 00 00 00 00"), ("Operator's address", ""), ("Path", &stick_path)])?;
    // Every answer can be changed: the price, and the port that refused.
    at.types("write, or a number", "99")?;
    at.sees("there is no such number")?;
    at.types("write, or a number", "21")?;
    at.types("Price and payment", "60 €")?;
    at.types("write, or a number", "12")?;
    at.types("SMTP port", &smtps)?;
    at.sees("The mailbox (IMAP): connected and logged in")?;
    at.sees("Sending (SMTP): connected and logged in")?;
    at.types("write, or a number", "")?;
    let (status, seen) = at.ends()?;
    let seen = plain(&seen);
    assert_eq!(status, 0, "{seen}");
    // A command stands on one line, to be copied.
    assert!(seen.contains("What to do next") && seen.contains(" check --round-trip\n"), "{seen}");
    assert!(!seen.contains(PASSWORD) && !seen.contains("not the password"), "a password was shown:\n{seen}");
    let typed = [&certificate, &therapist.address, &folder, &stick_path];
    for line in seen.lines().filter(|line| !typed.iter().any(|typed| line.contains(typed.as_str()))) {
        // This terminal doesn't echo: what follows a question stands on its line.
        let line = line.rsplit(":   ").next().unwrap_or(line).trim_end();
        let long_word = line.split_whitespace().any(|word| word.chars().count() > 40);
        assert!(line.chars().count() <= COLUMNS || long_word, "wider than the window: {line:?}");
    }

    // What was written holds: secrets closed, no password in the TOML, and real mail goes through.
    let toml = fs::read_to_string(dir.join("cadre.toml"))?;
    assert!(!toml.contains(PASSWORD) && toml.contains("price = \"60 €\""), "{toml}");
    for name in ["cadre.toml", "imap.password", "smtp.password", "practice.key.pgp", "record.key"] {
        assert_eq!(fs::metadata(dir.join(name))?.permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(fs::read_to_string(dir.join("imap.password"))?, PASSWORD);
    let config = path(&dir.join("cadre.toml"));
    cadre(&["--config", &config, "check", "--round-trip"])?.expect_ok()?;
    cadre(&["--config", &config, "run", "--once"])?.expect_ok()?;
    Ok(())
}

#[test]
fn an_interrupted_conversation_leaves_nothing_behind() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("practice");
    // At a question, and at a password, where the echo is off.
    for at_password in [false, true] {
        let mut at = open(&["init", &path(&dir), "--no-lookup", "--no-try"])?;
        if at_password {
            at.all(&PRACTICE)?;
            at.all(&[("Provider", "ovh"), ("Take these", "")])?;
            at.sees("Password of the mailbox")?;
            at.sees("shown): ")?;
        } else {
            at.sees("Name")?;
            at.sees(": ")?;
        }
        at.control('c')?;
        let (status, seen) = at.ends()?;
        assert_eq!(status, 130, "{seen}");
        assert!(seen.contains("nothing was made"), "{seen}");
        assert!(fs::read_dir(folder.path())?.next().is_none(), "something was left behind");
    }
    // The terminal goes away.
    let mut at = open(&["init", &path(&dir)])?;
    at.sees("Name")?;
    at.sees(": ")?;
    at.control('d')?;
    let (status, _) = at.ends()?;
    assert_eq!(status, 1);
    assert!(fs::read_dir(folder.path())?.next().is_none(), "something was left behind");
    Ok(())
}

#[test]
fn a_provider_without_imap_is_named_before_anything_else_is_asked() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("practice");
    let mut at = open(&["init", &path(&dir)])?;
    at.all(&[("Name", "Cabinet"), ("Address", "cabinet@tutanota.com"), ("Language", ""), ("Country", "")])?;
    at.types("Time zone", "")?;
    let (status, seen) = at.ends()?;
    assert_eq!(status, 1, "{seen}");
    assert!(seen.contains("no IMAP") && !dir.exists(), "{seen}");
    Ok(())
}

/// Settings that a domain publishes are shown and taken by Enter; where none are, the servers are asked for.
#[test]
fn the_domain_is_asked_for_its_settings_where_somebody_agrees() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("practice");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let place = "/.well-known/autoconfig/mail/config-v1.1.xml";
    for published in [true, false] {
        let answers = |_| if published { [(place, found(FILE))].into() } else { [].into() };
        let web = runtime.block_on(Web::start(answers))?;
        let ca_file = folder.path().join("ca.pem");
        fs::write(&ca_file, &web.ca_file)?;
        let mut command = Command::new(Practice::built_binary()?);
        command.args(["init", &path(&dir), "--no-try", "--ca-file", &path(&ca_file)]);
        command.env("CADRE_AUTOCONFIG_PORT", web.port.to_string());
        let mut at = Terminal::of(&command, COLUMNS)?;
        at.all(&[("Name", "Cabinet Exemple"), ("Address", "ecrire@localhost"), ("Language", ""), ("Country", "")])?;
        at.all(&[("Time zone", ""), ("Provider", "")])?;
        at.sees("which one isn't sent")?;
        at.types("Ask for them", "")?;
        if published {
            at.sees("localhost publishes settings.")?;
            at.sees("IMAP imap.cabinet.example port 993, implicit; user name ecrire@localhost")?;
            at.sees("SMTP smtp.cabinet.example port 587, starttls; user name ecrire")?;
            at.types("Take these", "")?;
            at.sees("Password of the mailbox")?;
            at.sees("shown): ")?;
        } else {
            at.sees("Nothing is published there")?;
            at.sees("IMAP server")?;
            at.sees(": ")?;
        }
        at.control('c')?;
        let (status, seen) = at.ends()?;
        assert_eq!(status, 130, "{seen}");
        let asked = web.asked.lock().map(|asked| asked.join("\n")).unwrap_or_default();
        assert!(asked.contains(place) && !asked.contains("ecrire"), "{asked}");
    }
    Ok(())
}

#[test]
fn a_script_names_the_provider_by_a_flag() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("practice");
    let args = ["init", &path(&dir), "--yes", "--address", "cabinet@free.fr", "--provider", "free"];
    cadre(&args)?.expect_ok()?;
    let toml = fs::read_to_string(dir.join("cadre.toml"))?;
    for line in ["host = \"imap.free.fr\"", "username = \"cabinet\"", "host = \"smtp.free.fr\""] {
        assert!(toml.contains(line), "{line}\n{toml}");
    }
    let out = cadre(&["init", &path(&folder.path().join("other")), "--yes", "--provider", "nobody"])?;
    assert_eq!(out.status, Some(1), "{out:?}");
    Ok(())
}
