//! The operator's day on real servers: metrics and health, a configuration that is read again, the journal's fields, the
//! heartbeat, the screen (SPEC sections 12 and 14).

mod common;
#[path = "operating/heartbeat.rs"]
mod heartbeat;
#[path = "operating/journald.rs"]
mod journald;
#[path = "operating/metrics.rs"]
mod metrics;
#[path = "operating/reload.rs"]
mod reload;
#[path = "operating/screen.rs"]
mod screen;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use common::lab::{PATIENCE, wait};
use common::ledger::states;
use common::scene::{Scene, march};
use common::{Lab, PracticeOptions};

/// Names and words that stand in no metric, no log line, no screen.
pub const CANARIES: [&str; 8] = [
    "Sujet-corbeau",
    "Je vous écris du phare",
    "marie@client.example",
    "paul@client.example",
    "Cabinet Exemple",
    "ecrire@cabinet.example",
    "Dr Exemple",
    "exemple.example",
];

pub fn scene() -> Result<Scene> {
    let options = PracticeOptions {
        forward: "each".into(),
        release: "0 0 18 * * *".into(),
        digest: "0 0 7 * * *".into(),
        ..PracticeOptions::default()
    };
    let scene = Scene::with(Lab::light()?, options)?;
    scene.practice.set_time(march(2, 8, 0))?;
    Ok(scene)
}

/// A letter of Marie's, signed and encrypted.
pub fn letter(scene: &Scene, text: &str) -> Result<()> {
    scene.letter(&scene.marie, "Sujet-corbeau", text, march(2, 4, 50))
}

/// Waits until so many of Marie's letters are filed.
pub fn filed(scene: &Scene, n: usize) -> Result<()> {
    wait("the letters to be filed", PATIENCE, || {
        Ok((states(&scene.thread(&scene.c1)?, "letter").len() == n).then_some(()))
    })
}

/// No canary in a text.
pub fn says_nothing(text: &str, further: &[&str]) -> Result<()> {
    match CANARIES.iter().chain(further).find(|word| text.contains(**word)) {
        Some(word) => bail!("{word:?} is in\n{text}"),
        None => Ok(()),
    }
}

/// The status and the body of a page, asked for as Prometheus asks.
pub fn page(mut stream: impl std::io::Read + std::io::Write, path: &str) -> Result<(u16, String)> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no answer: {answer:?}"))?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

pub fn tcp(port: u16, path: &str) -> Result<(u16, String)> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    page(stream, path)
}

pub fn unix(socket: &Path, path: &str) -> Result<(u16, String)> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    page(stream, path)
}

/// Asks until the page has this status; its body.
pub fn until(status: u16, mut ask: impl FnMut() -> Result<(u16, String)>) -> Result<String> {
    wait(&format!("status {status}"), PATIENCE, || {
        Ok(ask().ok().filter(|(got, _)| *got == status).map(|(_, body)| body))
    })
}

/// Reads what comes until the other side ends, or the time is up; what came.
pub fn drain(stream: &mut TcpStream, limit: Duration) -> Result<Vec<u8>> {
    stream.set_read_timeout(Some(limit))?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    Ok(all)
}

/// Writes all of it, or as much as the other side takes.
pub fn pour(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}
