//! Under systemd a line of the log has fields; elsewhere it is text or JSON. None names anybody.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};

use super::common::lab::{PATIENCE, is_root, wait};
use super::common::scene::{Scene, march};
use super::{filed, letter, says_nothing, scene};

type Entry = BTreeMap<String, String>;

/// Fields as the journal's native protocol carries them: `NAME=text`, or NAME, a length of 64 bits and as many bytes.
fn entry(mut bytes: &[u8]) -> Option<Entry> {
    let mut fields = Entry::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let line = std::str::from_utf8(&bytes[..end]).ok()?;
        bytes = &bytes[end + 1..];
        if let Some((name, text)) = line.split_once('=') {
            fields.insert(name.to_owned(), text.to_owned());
            continue;
        }
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        fields.insert(line.to_owned(), String::from_utf8(rest.get(..length)?.to_vec()).ok()?);
        bytes = rest.get(length + 1..)?;
    }
    Some(fields)
}

/// The daemon as systemd would start it, with `folder` in the place of the journal's.
fn under_systemd(scene: &Scene, folder: &std::path::Path) -> Result<Command> {
    const SCRIPT: &str = r#"mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal &&
        mount --bind "$0" /run/systemd/journal &&
        JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) && export JOURNAL_STREAM && exec "$@""#;
    let cadre = scene.practice.command(&["--log", "debug", "run"])?;
    let mut command = Command::new("unshare");
    if !is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "sh", "-c", SCRIPT]).arg(folder).arg(cadre.get_program()).args(cadre.get_args());
    command.envs(cadre.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(&scene.practice.dir);
    Ok(command)
}

#[test]
fn the_systemd_journal_gets_fields_and_no_names() -> Result<()> {
    let scene = scene()?;
    let tried = if is_root() { &["--mount", "true"][..] } else { &["--map-root-user", "--mount", "true"] };
    if !Command::new("unshare").args(tried).status().is_ok_and(|status| status.success()) {
        eprintln!("note: not tried: this machine lets nobody put another folder in the place of /run/systemd/journal");
        return Ok(());
    }
    let folder = scene.practice.dir.join("journal");
    std::fs::create_dir(&folder)?;
    let socket = UnixDatagram::bind(folder.join("socket"))?;
    let heard = Arc::new(Mutex::new(Vec::<Vec<u8>>::new()));
    let ear = Arc::clone(&heard);
    // Always listening: whoever logs waits for it. It ends with the test's process.
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length) = socket.recv(&mut buffer) {
            ear.lock().unwrap_or_else(PoisonError::into_inner).push(buffer[..length].to_vec());
        }
    });
    letter(&scene, "Je vous écris du phare. Je vais me suicider ce soir.\n")?;
    let mut daemon = scene.practice.start(under_systemd(&scene, &folder)?)?;
    filed(&scene, 1)?;
    let find = |name: &str, text: &str| {
        wait(&format!("{name}={text} in the journal"), PATIENCE, || {
            let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            let entries = heard.iter().filter(|bytes| !bytes.is_empty()).map(|bytes| entry(bytes));
            let entries: Vec<Entry> = entries.collect::<Option<_>>().context("not the journal's protocol")?;
            Ok(entries.into_iter().find(|entry| entry.get(name).is_some_and(|value| value == text)))
        })
    };
    let alert = find("CADRE_EVENT", "alert")?;
    ensure!(alert.get("CADRE_CLIENT") == Some(&scene.c1), "{alert:?}");
    ensure!(
        alert["CADRE_CLASS"] == "A" && alert["PRIORITY"] == "4" && alert["SYSLOG_IDENTIFIER"] == "cadre",
        "{alert:?}"
    );
    let filed = find("CADRE_EVENT", "letter")?;
    ensure!(filed["CADRE_VERDICT"] == "verified" && filed["PRIORITY"] == "7", "{filed:?}");
    ensure!(find("CADRE_EVENT", "start")?["CADRE_THERAPISTS"] == "1");
    daemon.end()?;
    find("CADRE_EVENT", "end")?;
    ensure!(daemon.text()?.is_empty(), "it was said twice: {}", daemon.text()?);
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).concat();
    says_nothing(&String::from_utf8_lossy(&heard), &[])
}

#[test]
fn without_systemd_it_is_text_or_json_on_standard_error() -> Result<()> {
    let mut scene = scene()?;
    letter(&scene, "Je vous écris du phare. Je vais me suicider ce soir.\n")?;
    // Another process's stream: inherited, and not ours.
    scene.practice.env("JOURNAL_STREAM", "1:1");
    let out = scene.practice.run_at(march(2, 8, 0), &["--log-format", "json", "run", "--once"])?;
    let lines = out.stderr.lines().map(serde_json::from_str::<serde_json::Value>).collect::<Result<Vec<_>, _>>();
    let lines = lines.with_context(|| out.stderr.clone())?;
    ensure!(lines.iter().any(|line| line["event"] == "alert" && line["client"] == scene.c1.as_str()), "{}", out.stderr);
    says_nothing(&out.stderr, &[])?;
    letter(&scene, "Encore du phare.\n")?;
    let quiet = scene.practice.run(&["--log", "error", "run", "--once"])?;
    ensure!(quiet.ok() && quiet.stderr.is_empty(), "{quiet:?}");
    let loud = scene.practice.run(&["--log", "loud", "run", "--once"])?;
    ensure!(loud.status == Some(2) && loud.stderr.contains("debug"), "{loud:?}");
    Ok(())
}
