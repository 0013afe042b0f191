//! `[operator] heartbeat_url`: somebody else notices when Cadre falls silent.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};

use super::common::lab::{ClosedPort, PATIENCE, wait};
use super::common::scene::march;
use super::{filed, letter, scene};

/// Remembers each request, and answers with this status.
struct Ear {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Ear {
    fn new(status: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (mut request, mut byte) = (Vec::new(), [0]);
                while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                    request.push(byte[0]);
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                ear.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            }
        });
        Ok(Self { port, heard })
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[test]
fn a_good_round_is_told_once_a_minute_and_says_nothing() -> Result<()> {
    let scene = scene()?;
    let ear = Ear::new("200 OK")?;
    scene.practice.set("operator.heartbeat_url", &format!("\"http://127.0.0.1:{}/ping/1234\"", ear.port))?;
    let mut daemon = scene.practice.spawn_run()?;
    wait("a heartbeat", PATIENCE, || Ok((!ear.heard().is_empty()).then_some(())))?;
    // Rounds go on: each letter brings one.
    for n in 1..=2 {
        letter(&scene, &format!("Lettre {n}.\n"))?;
        filed(&scene, n)?;
    }
    daemon.end()?;
    let port = ear.port;
    let whole = format!("GET /ping/1234 HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n");
    ensure!(ear.heard() == [whole.clone()], "{:?}", ear.heard());
    // One pass of cron's tells it too, and none that failed.
    scene.practice.once(march(2, 9, 0))?;
    ensure!(ear.heard() == [whole.clone(), whole], "{:?}", ear.heard());
    scene.lab.stop_imap()?;
    ensure!(!scene.practice.run(&["run", "--once"])?.ok());
    ensure!(ear.heard().len() == 2, "a round that failed was told as a good one");
    Ok(())
}

#[test]
fn who_doesnt_answer_costs_a_line_in_the_log_and_no_mail() -> Result<()> {
    let scene = scene()?;
    let closed = ClosedPort::new()?;
    let nobody = format!("\"http://127.0.0.1:{}/\"", closed.port()?);
    let ear = Ear::new("500 No")?;
    for (url, says) in
        [(nobody, "doesn't answer"), (format!("\"http://127.0.0.1:{}/\"", ear.port), "another status than 2xx")]
    {
        scene.practice.set("operator.heartbeat_url", &url)?;
        letter(&scene, "Une lettre.\n")?;
        let out = scene.practice.run(&["run", "--once", "--json"])?;
        ensure!(out.ok() && out.stdout.contains("\"filed\": 1") && out.stderr.contains(says), "{out:?}");
    }
    Ok(())
}
