//! `status` on a real terminal, and for whoever only wants to know whether it works.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::pty::openpty;

use super::common::lab::{PATIENCE, wait};
use super::common::scene::Scene;
use super::{filed, letter, says_nothing, scene, tcp};

/// `status --watch` on a terminal of its own.
struct Watched {
    child: Child,
    master: File,
    shown: std::sync::mpsc::Receiver<Vec<u8>>,
    all: String,
}

impl Watched {
    fn start(scene: &Scene) -> Result<Self> {
        let pty = openpty(None, None)?;
        let slave = |fd: &OwnedFd| -> Result<Stdio> { Ok(fd.try_clone()?.into()) };
        let mut command = scene.practice.command(&["status", "--watch"])?;
        command.env("TERM", "xterm-256color").env_remove("CLICOLOR").env_remove("CLICOLOR_FORCE");
        let child = command.stdin(slave(&pty.slave)?).stdout(slave(&pty.slave)?).stderr(Stdio::piped()).spawn()?;
        let master = File::from(pty.master);
        let (send, shown) = std::sync::mpsc::channel();
        let mut reader = master.try_clone()?;
        // It ends when the program and this test have let go of the terminal.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, master, shown, all: String::new() })
    }

    fn wait(&mut self, words: &str, times: usize) -> Result<()> {
        let (shown, all) = (&self.shown, &mut self.all);
        wait(&format!("{words:?} {times} time(s) on the screen"), PATIENCE, || {
            all.push_str(&shown.try_iter().map(|part| String::from_utf8_lossy(&part).into_owned()).collect::<String>());
            Ok((all.matches(words).count() >= times).then_some(()))
        })
    }

    /// Presses a key; how it ended.
    fn press(mut self, key: u8) -> Result<(Option<i32>, String)> {
        self.master.write_all(&[key])?;
        let child = &mut self.child;
        let status = wait("the end", PATIENCE, || Ok(child.try_wait()?))?;
        self.wait("\x1b[?1049l", 1)?;
        Ok((status.code(), self.all.clone()))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn watch_refreshes_in_place_until_q() -> Result<()> {
    let mut scene = scene()?;
    scene.practice.run(&["run", "--once"])?.expect_ok()?;
    let mut watched = Watched::start(&scene)?;
    watched.wait("q ends this", 2)?;
    let (status, shown) = watched.press(b'q')?;
    ensure!(status == Some(0), "{status:?} {shown}");
    ensure!(shown.starts_with("\x1b[?1049h") && shown.matches("\x1b[H").count() >= 2, "{shown:?}");
    ensure!(shown.contains("To do: ") && shown.contains("\x1b[31m"), "no colours on a terminal: {shown:?}");
    says_nothing(&shown, &["@"])?;
    scene.practice.env("NO_COLOR", "1");
    let mut watched = Watched::start(&scene)?;
    watched.wait("q ends this", 1)?;
    let (_, shown) = watched.press(b'q')?;
    ensure!(shown.contains("To do: ") && !shown.contains("\x1b[31m"), "{shown:?}");
    // Where there is no terminal it says so; programs get lines.
    let out = scene.practice.run(&["status", "--watch"])?;
    ensure!(out.status == Some(2) && out.stderr.contains("--json"), "{out:?}");
    Ok(())
}

#[test]
fn healthy_is_a_question_with_two_answers() -> Result<()> {
    let scene = scene()?;
    let healthy = || scene.practice.run(&["status", "--healthy"]);
    let out = healthy()?;
    ensure!(out.status == Some(1) && out.stdout.contains("not running"), "{out:?}");
    let [port] = super::common::lab::free_ports()?;
    scene.practice.set("metrics.listen", &format!("\"[::1]:{port}\""))?;
    let mut daemon = scene.practice.spawn_run()?;
    letter(&scene, "Une lettre.\n")?;
    filed(&scene, 1)?;
    let out = wait("it to be healthy", PATIENCE, || Ok(Some(healthy()?).filter(|out| out.ok())))?;
    ensure!(out.stdout == "ok\n", "{out:?}");
    ensure!(tcp(port, "/healthz").is_err(), "it listens on another address than it was told");
    scene.lab.stop_imap()?;
    let out = wait("it to be ill", PATIENCE, || Ok(Some(healthy()?).filter(|out| out.status == Some(1))))?;
    ensure!(out.stdout.lines().count() == 1 && out.stdout.contains("IMAP"), "{out:?}");
    let json = scene.practice.run(&["status", "--healthy", "--json"])?;
    let json: serde_json::Value = serde_json::from_str(&json.stdout).context(json.stdout)?;
    ensure!(json["healthy"] == false && json["faults"].as_array().is_some_and(|all| all.len() == 1), "{json}");
    daemon.end()
}
