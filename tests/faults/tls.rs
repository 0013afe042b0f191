//! Connections that can't be trusted: each is named for what it is, nothing is said over it, the operator hears once.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::common::lab::{PASSWORD, run};
use super::common::ledger::{lying, sound};
use super::common::scene::{Scene, march};
use super::common::{Lab, LabOptions, Smtp};
use super::{Alarms, OPERATOR, filed, letter, scene_in, status_is_silent_about, status_says, to};

/// What a server does instead of protecting the connection.
#[derive(Clone, Debug)]
enum Manner {
    /// TLS from the first byte, with this certificate and key.
    Certificate(PathBuf, PathBuf),
    /// Greets in clear where TLS is expected.
    Clear,
    /// Offers no STARTTLS: somebody in between took the word out.
    Stripped,
    /// Says more in the same breath as the go-ahead, before the handshake (CVE-2011-0411, CVE-2021-38084 and others).
    Injected,
    /// Promises STARTTLS and then goes on in clear.
    Refused,
}

/// A server in that manner, on every connection; keeps what it heard in clear.
struct BadServer {
    port: u16,
    heard: Arc<Mutex<String>>,
    ended: Arc<AtomicBool>,
}

impl BadServer {
    fn start(imap: bool, manner: Manner) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let (heard, ended) = (Arc::new(Mutex::new(String::new())), Arc::new(AtomicBool::new(false)));
        let (notes, over) = (Arc::clone(&heard), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let _ = match &manner {
                    Manner::Certificate(certificate, key) => handshake(stream, certificate, key),
                    _ if imap => talk_imap(stream, &manner, &notes),
                    _ => talk_smtp(stream, &manner, &notes),
                };
            }
        });
        Ok(Self { port, heard, ended })
    }

    fn heard(&self) -> String {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for BadServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn handshake(stream: TcpStream, certificate: &Path, key: &Path) -> Result<()> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<std::result::Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key)?;
    let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config))?, stream);
    stream.write_all(b"* OK come in\r\n")?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Hears line by line, notes each, and answers with what `answer` gives; an empty answer ends it.
fn talk(stream: TcpStream, hello: &str, notes: &Mutex<String>, answer: impl Fn(&str, &str) -> String) -> Result<()> {
    let mut out = stream.try_clone()?;
    out.write_all(hello.as_bytes())?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        notes.lock().unwrap_or_else(PoisonError::into_inner).push_str(&format!("{line}\n"));
        let (tag, words) = line.split_once(' ').unwrap_or((&line, ""));
        let said = answer(tag, words);
        if said.is_empty() {
            return Ok(());
        }
        out.write_all(said.as_bytes())?;
    }
    Ok(())
}

fn talk_imap(stream: TcpStream, manner: &Manner, notes: &Mutex<String>) -> Result<()> {
    let starttls = if matches!(manner, Manner::Stripped) { "" } else { " STARTTLS" };
    let capabilities = format!("IMAP4rev1 LITERAL+ AUTH=PLAIN{starttls}");
    talk(stream, &format!("* OK [CAPABILITY {capabilities}] hi\r\n"), notes, |tag, words| {
        match (words.split(' ').next().unwrap_or_default(), manner) {
            ("STARTTLS", Manner::Injected) => {
                format!("{tag} OK go on\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n* PREAUTH welcome\r\n")
            }
            ("STARTTLS", _) => format!("{tag} NO not today\r\n"),
            ("CAPABILITY", _) => format!("* CAPABILITY {capabilities}\r\n{tag} OK done\r\n"),
            _ => format!("{tag} OK done\r\n"),
        }
    })
}

fn talk_smtp(stream: TcpStream, manner: &Manner, notes: &Mutex<String>) -> Result<()> {
    let starttls = if matches!(manner, Manner::Stripped) { "" } else { "250-STARTTLS\r\n" };
    talk(stream, "220 labo.example ESMTP\r\n", notes, |verb, _| match (verb, manner) {
        ("EHLO", _) => format!("250-labo.example\r\n{starttls}250 AUTH PLAIN\r\n"),
        ("STARTTLS", Manner::Injected) => "220 go on\r\n250-labo.example\r\n250 AUTH PLAIN\r\n".to_owned(),
        ("STARTTLS", _) => "454 4.7.0 not today\r\n".to_owned(),
        ("QUIT", _) => String::new(),
        _ => "250 2.0.0 Ok\r\n".to_owned(),
    })
}

/// A certificate of the laboratory's authority, or one that nobody but itself has signed.
fn certificate(lab: &Lab, name: &str, host: &str, days: &str, own: bool) -> Result<Manner> {
    let dir = lab.dir.join("tls");
    let openssl = |args: &[&str]| {
        let mut command = Command::new("faketime");
        run(command.current_dir(&dir).arg("2020-01-01 00:00:00").arg("openssl").args(args)).map(drop)
    };
    let [key, request, made] = ["key", "csr", "pem"].map(|end| format!("{name}.{end}"));
    let (subject, names) = (format!("/CN={host}"), format!("subjectAltName=DNS:{host}"));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", &subject, "-keyout", &key];
    if own {
        openssl(&[&["req", "-x509", "-days", days, "-addext", &names, "-out", &made], &curve[..]].concat())?;
    } else {
        openssl(&[&["req", "-out", &request], &curve[..]].concat())?;
        let extensions = format!("{name}.ext");
        std::fs::write(dir.join(&extensions), format!("{names}\nbasicConstraints=CA:FALSE\n"))?;
        let sign = ["x509", "-req", "-in", &request, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
        openssl(&[&sign[..], &["-days", days, "-extfile", &extensions, "-out", &made]].concat())?;
    }
    Ok(Manner::Certificate(dir.join(made), dir.join(key)))
}

fn lab() -> Result<Lab> {
    Lab::with(LabOptions { smtp: Smtp::Relay, tls: true, ..LabOptions::default() })
}

/// Each bad manner, how it is configured, and the words that name it.
fn manners(lab: &Lab) -> Result<Vec<(Manner, &'static str, &'static str)>> {
    Ok(vec![
        (certificate(lab, "expired", "localhost", "30", false)?, "implicit", "certificate has expired"),
        (certificate(lab, "other", "mail.autre.example", "11000", false)?, "implicit", "is for another host"),
        (certificate(lab, "own", "localhost", "11000", true)?, "implicit", "a self-signed authority"),
        (Manner::Clear, "implicit", "does not speak TLS on this port"),
        (Manner::Stripped, "starttls", "offers no STARTTLS"),
        (Manner::Injected, "starttls", "sent data before the TLS handshake"),
        (Manner::Refused, "starttls", "said NO"),
    ])
}

/// Points one service at a port of `localhost`, with the laboratory's authority as the one that is trusted.
fn point(scene: &Scene, part: &str, port: u16, tls: &str) -> Result<()> {
    let (clear, ca) = (tls == "none", scene.lab.ca_file().display().to_string());
    let host = if clear { "127.0.0.1" } else { "localhost" };
    for (key, value) in [("host", format!("{host:?}")), ("port", port.to_string()), ("tls", format!("{tls:?}"))] {
        scene.practice.set(&format!("{part}.{key}"), &value)?;
    }
    scene.practice.set(&format!("{part}.ca_file"), &format!("{ca:?}"))
}

#[test]
fn a_mailbox_that_cannot_be_trusted_is_named_and_hears_no_secret() -> Result<()> {
    let scene = scene_in(lab()?, "folders")?;
    letter(&scene, 1, march(2, 3, 0))?;
    for (day, (manner, tls, words)) in (3..).step_by(2).zip(manners(&scene.lab)?) {
        let server = BadServer::start(true, manner.clone())?;
        point(&scene, "imap", server.port, tls)?;
        let told = to(&scene, OPERATOR)?.len();
        for minute in [0, 18, 19] {
            let out = scene.practice.run_at(march(day, 12, minute), &["run", "--once"])?;
            ensure!(out.status == Some(1), "{manner:?}: {out:?}");
            ensure!(minute > 0 || out.stderr.contains(words), "{manner:?}: the log says {}", out.stderr);
        }
        status_says(&scene, &[words]).with_context(|| format!("{manner:?}"))?;
        ensure!(to(&scene, OPERATOR)?.len() == told + 1, "{manner:?}: the operator isn't told once");
        let heard = server.heard();
        ensure!(
            !heard.contains("AUTH") && !heard.contains("LOGIN") && !heard.contains(PASSWORD),
            "{manner:?}: {heard}"
        );
        ensure!(lying(&scene, &["INBOX"])? == 1, "the letter waits");
    }
    point(&scene, "imap", scene.lab.imaps_port, "implicit")?;
    scene.practice.once(march(18, 12, 0))?;
    point(&scene, "imap", scene.lab.imap_port, "starttls")?;
    scene.practice.once(march(18, 12, 1))?;
    ensure!(filed(&scene)? == 1, "it doesn't go on");
    status_is_silent_about(&scene, "certificate")?;
    sound(&scene)
}

#[test]
fn a_submission_server_that_cannot_be_trusted_is_named_and_hears_no_secret() -> Result<()> {
    let scene = scene_in(lab()?, "folders")?;
    let alarms = Alarms::of(&scene)?;
    letter(&scene, 1, march(2, 3, 0))?;
    for (day, (manner, tls, words)) in (3..).step_by(2).zip(manners(&scene.lab)?) {
        let server = BadServer::start(false, manner.clone())?;
        // A server that says no to STARTTLS for now may say yes later.
        let class = if matches!(manner, Manner::Refused) { "smtp-unreachable" } else { "tls" };
        let told = || alarms.lines().iter().filter(|line| *line == class).count();
        let before = told();
        point(&scene, "smtp", server.port, tls)?;
        // So far apart that mail is due for its next try each time.
        for minute in [0, 18, 36] {
            let out = scene.practice.run_at(march(day, 12, minute), &["run", "--once"])?;
            ensure!(out.status == Some(1), "{manner:?}: {out:?}");
            ensure!(minute > 0 || out.stderr.contains(words), "{manner:?}: the log says {}", out.stderr);
        }
        status_says(&scene, &[words]).with_context(|| format!("{manner:?}"))?;
        ensure!(told() == before + 1, "{manner:?}: the operator isn't told once: {:?}", alarms.lines());
        let heard = server.heard();
        ensure!(!heard.contains("AUTH") && !heard.contains("MAIL") && !heard.contains(PASSWORD), "{manner:?}: {heard}");
        ensure!(filed(&scene)? == 1, "filing waits for nobody's submission server");
    }
    // Its own mail server has no TLS here: in clear on loopback, as configured.
    point(&scene, "smtp", scene.lab.smtp_port, "none")?;
    scene.practice.run_at(march(18, 12, 0), &["run", "--once"])?.expect_ok()?;
    scene.practice.run_at(march(18, 18, 0), &["run", "--once"])?.expect_ok()?;
    ensure!(to(&scene, super::DOCTOR)?.len() >= 2, "what waited doesn't leave");
    status_is_silent_about(&scene, "certificate")?;
    sound(&scene)
}

#[test]
fn a_name_that_cannot_be_looked_up_is_named_and_told_once() -> Result<()> {
    let mut scene = scene_in(lab()?, "folders")?;
    // A resolver that doesn't answer isn't waited for here.
    scene.practice.env("RES_OPTIONS", "timeout:1 attempts:1");
    let alarms = Alarms::of(&scene)?;
    letter(&scene, 1, march(2, 3, 0))?;
    for (part, class) in [("smtp", "smtp-unreachable"), ("imap", "imap-unreachable")] {
        scene.practice.set(&format!("{part}.host"), "\"mail.nulle-part.invalid\"")?;
        scene.practice.set(&format!("{part}.tls"), "\"implicit\"")?;
        let before = alarms.lines().iter().filter(|line| *line == class).count();
        for minute in [0, 20, 40] {
            let at = march(if part == "smtp" { 3 } else { 4 }, 12, minute);
            let out = scene.practice.run_at(at, &["run", "--once"])?;
            ensure!(out.status == Some(1), "{out:?}");
            ensure!(minute > 0 || out.stderr.contains("can't be looked up"), "{part}: the log says {}", out.stderr);
        }
        status_says(&scene, &["can't be looked up"])?;
        let now = alarms.lines().iter().filter(|line| *line == class).count();
        ensure!(now == before + 1, "{class}: {:?}", alarms.lines());
    }
    point(&scene, "imap", scene.lab.imaps_port, "implicit")?;
    point(&scene, "smtp", scene.lab.smtp_port, "none")?;
    scene.practice.run_at(march(5, 12, 0), &["run", "--once"])?.expect_ok()?;
    ensure!(filed(&scene)? == 1, "it doesn't go on");
    status_is_silent_about(&scene, "looked up")?;
    sound(&scene)
}
