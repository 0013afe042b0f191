//! What Prometheus gets from a running daemon, and what it can't do to it.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::common::Daemon;
use super::common::lab::{ClosedPort, PATIENCE, free_ports, wait};
use super::common::ledger::queue;
use super::common::postgres::wanted;
use super::common::scene::march;
use super::{drain, filed, letter, pour, says_nothing, scene, tcp, unix, until};

/// The value of a series, named as it is exported.
fn value(text: &str, series: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.with_context(|| format!("{series} isn't there:\n{text}"))?.parse().context(text.to_owned())
}

#[test]
fn a_running_daemon_tells_prometheus_counts_and_no_names() -> Result<()> {
    let scene = scene()?;
    // Early enough to be answered at today's slot.
    scene.practice.set_time(march(2, 5, 0))?;
    let [port] = free_ports()?;
    scene.practice.set("metrics.listen", &format!("\"127.0.0.1:{port}\""))?;
    letter(&scene, "Je vous écris du phare. Je vais me suicider ce soir.\n")?;
    let mut daemon = scene.practice.spawn_run()?;
    filed(&scene, 1)?;
    let text = wait("the alert to leave", PATIENCE, || {
        let (_, text) = tcp(port, "/metrics")?;
        Ok((value(&text, "cadre_outbox{state=\"waiting\"}")? == 0.0).then_some(text))
    })?;
    for (series, expected) in [
        ("cadre_build_info{version=\"0.1.0\"}", 1.0),
        ("cadre_letters_total{verdict=\"verified\"}", 1.0),
        ("cadre_letters_total{verdict=\"bad\"}", 0.0),
        ("cadre_clients{state=\"active\"}", 2.0),
        ("cadre_turns_open", 1.0),
        ("cadre_turns_overdue", 0.0),
        ("cadre_turns_due{therapist=\"exemple\"}", 1.0),
        ("cadre_alerts_open{class=\"A\"}", 1.0),
        ("cadre_alerts_open{class=\"V\"}", 0.0),
        ("cadre_connection_up{service=\"imap\"}", 1.0),
        ("cadre_connection_up{service=\"smtp\"}", 1.0),
        ("cadre_outbox_age_seconds", 0.0),
        ("cadre_frozen", 0.0),
        ("cadre_config_ok", 1.0),
        ("cadre_clock_ok", 1.0),
        ("cadre_healthy", 1.0),
    ] {
        ensure!(value(&text, series)? == expected, "{series}:\n{text}");
    }
    let morning = march(2, 5, 0).timestamp() as f64;
    for series in [
        "cadre_connection_last_success_timestamp_seconds{service=\"imap\"}",
        "cadre_connection_last_success_timestamp_seconds{service=\"smtp\"}",
        "cadre_clock_timestamp_seconds",
        "cadre_slot_next_timestamp_seconds{therapist=\"exemple\"}",
    ] {
        ensure!(value(&text, series)? >= morning, "{series}:\n{text}");
    }
    ensure!(value(&text, "cadre_journal_entries")? > 1.0, "{text}");
    // A server's size is its own affair.
    ensure!(wanted() || value(&text, "cadre_database_size_bytes")? > 4096.0, "{text}");
    says_nothing(&text, &[&scene.c1, &scene.c2, "C-", "@"])?;
    ensure!(until(200, || tcp(port, "/healthz"))? == "ok\n");
    // The mailbox goes away, and comes back.
    scene.lab.stop_imap()?;
    let causes = until(503, || tcp(port, "/healthz"))?;
    ensure!(causes.lines().count() == 1 && causes.contains("IMAP"), "{causes}");
    says_nothing(&causes, &[])?;
    ensure!(value(&tcp(port, "/metrics")?.1, "cadre_healthy")? == 0.0);
    scene.lab.start_imap()?;
    until(200, || tcp(port, "/healthz"))?;
    daemon.end()
}

/// Has the configuration read again; `times` counts this one.
fn reload(daemon: &Daemon, times: usize) -> Result<()> {
    daemon.signal(Signal::SIGHUP)?;
    wait("the configuration to be read again", PATIENCE, || {
        Ok((daemon.text()?.matches("the configuration was read again").count() == times).then_some(()))
    })
}

/// The metrics, once these series have these values.
fn metrics(port: u16, series: &[(&str, f64)]) -> Result<String> {
    let mut last = String::new();
    let found = wait(&format!("{series:?}"), PATIENCE, || {
        // Nobody answers before the start is over, and some series come with what they tell of.
        let Ok((200, text)) = tcp(port, "/metrics") else { return Ok(None) };
        last = text;
        let all = series.iter().all(|(name, expected)| value(&last, name).is_ok_and(|value| value == *expected));
        Ok(all.then(|| last.clone()))
    });
    found.with_context(|| last.clone())
}

#[test]
fn what_waits_what_is_late_and_what_is_stuck_are_numbers_until_they_are_over() -> Result<()> {
    const REPLIES: &str = "cadre_replies_waiting";
    const OPEN: &str = "cadre_turns_open";
    const OVERDUE: &str = "cadre_turns_overdue";
    const QUEUE: &str = "cadre_outbox{state=\"waiting\"}";
    const AGE: &str = "cadre_outbox_age_seconds";
    const DIGEST: &str = "cadre_digest_last_timestamp_seconds{therapist=\"exemple\"}";
    const SMTP: &str = "cadre_connection_up{service=\"smtp\"}";
    const HEALTHY: &str = "cadre_healthy";
    let scene = scene()?;
    // Before the digest, and early enough to be answered at today's slot.
    scene.practice.set_time(march(2, 5, 0))?;
    let [port] = free_ports()?;
    scene.practice.set("metrics.listen", &format!("\"127.0.0.1:{port}\""))?;
    // The mailbox is read after each leap of the clock.
    scene.practice.set("imap.poll", "\"5s\"")?;
    letter(&scene, "Je vous écris du phare.\n")?;
    scene.letter(&scene.paul, "Sujet-corbeau", "Je vous écris du port.\n", march(2, 4, 50))?;
    let mut daemon = scene.practice.spawn_run()?;
    // Marie is answered, Paul is not.
    let (forward, _) = wait("Marie's forward", PATIENCE, || Ok(scene.forward(&scene.c1).ok()))?;
    scene.practice.set_time(march(2, 5, 30))?;
    scene.answer(&forward, "Je vous réponds.", march(2, 5, 30))?;
    // The reply alone waits: the forwards, the acknowledgements and the receipt have left.
    let early = metrics(port, &[(REPLIES, 1.0), (OPEN, 1.0), (OVERDUE, 0.0), (QUEUE, 1.0), (AGE, 0.0), (SMTP, 1.0)])?;
    ensure!(!early.contains(DIGEST), "no digest was made yet:\n{early}");
    scene.practice.set_time(march(2, 8, 0))?;
    // The digest has left too, and what waits for its slot is not stuck.
    let made = march(2, 6, 0).timestamp() as f64;
    metrics(port, &[(DIGEST, made), (REPLIES, 1.0), (QUEUE, 1.0), (AGE, 0.0)])?;
    ensure!(queue(&scene.practice)?.contains_key(&("digest".to_owned(), "sent".to_owned())), "the digest didn't leave");
    // The submission server's port refuses while the slot passes.
    let closed = ClosedPort::new()?;
    scene.practice.set("smtp.port", &closed.port()?.to_string())?;
    reload(&daemon, 1)?;
    scene.practice.set_time(march(2, 17, 30))?;
    let stuck = metrics(port, &[(REPLIES, 1.0), (OPEN, 1.0), (OVERDUE, 1.0), (QUEUE, 1.0), (SMTP, 0.0)])?;
    let age = value(&stuck, AGE)?;
    // Since the slot, however slow this machine is.
    ensure!((1800.0..3600.0).contains(&age), "{age} s:\n{stuck}");
    ensure!(value(&stuck, HEALTHY)? == 0.0 && value(&stuck, "cadre_todo")? >= 1.0, "{stuck}");
    wait("the submission server to be the one cause", PATIENCE, || {
        let (status, causes) = tcp(port, "/healthz")?;
        Ok((status == 503 && causes.lines().count() == 1 && causes.contains("SMTP")).then_some(()))
    })?;
    // It takes mail again, and the next attempt is due.
    scene.practice.set("smtp.port", &scene.lab.smtp_port.to_string())?;
    reload(&daemon, 2)?;
    scene.practice.set_time(march(2, 17, 40))?;
    let well = metrics(port, &[(REPLIES, 0.0), (OVERDUE, 1.0), (QUEUE, 0.0), (AGE, 0.0), (HEALTHY, 1.0)])?;
    for text in [early, stuck, well] {
        says_nothing(&text, &[&scene.c1, &scene.c2, "C-", "@"])?;
    }
    daemon.end()
}

#[test]
fn whoever_babbles_or_keeps_silent_keeps_nobody_else_waiting() -> Result<()> {
    let scene = scene()?;
    let [port] = free_ports()?;
    scene.practice.set("metrics.listen", &format!("\"127.0.0.1:{port}\""))?;
    let mut daemon = scene.practice.spawn_run()?;
    until(200, || tcp(port, "/healthz"))?;
    let connect = || TcpStream::connect(("127.0.0.1", port));
    // As many as are served at once, and some more: all silent. The next one is answered within the time they have.
    let silent = (0..20).map(|_| connect()).collect::<std::io::Result<Vec<_>>>()?;
    ensure!(tcp(port, "/healthz")?.0 == 200, "somebody else wasn't answered");
    drop(silent);
    for (request, answer) in [
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(), "HTTP/1.1 405"),
        ("GET /wp-login.php HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "HTTP/1.1 404"),
        (format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "y".repeat(64 << 10)), "HTTP/1.1 431"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), "HTTP/1.1 400"),
    ] {
        let mut stream = connect()?;
        pour(&mut stream, request.as_bytes());
        // What was not read of a request that is too long may cut the connection before its answer is read.
        let said = drain(&mut stream, PATIENCE).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        ensure!(said.starts_with(answer) || (said.is_empty() && answer.ends_with("431")), "{answer}: {said}");
    }
    ensure!(tcp(port, "/metrics")?.0 == 200);
    daemon.end()
}

#[test]
fn a_socket_in_a_folder_serves_too_and_a_reload_moves_it() -> Result<()> {
    let scene = scene()?;
    let (first, second) = (scene.practice.dir.join("m1"), scene.practice.dir.join("m2"));
    scene.practice.set("metrics.listen", "\"unix:m1\"")?;
    let mut daemon = scene.practice.spawn_run()?;
    until(200, || unix(&first, "/healthz"))?;
    ensure!(std::fs::metadata(&first)?.permissions().mode() & 0o777 == 0o660);
    // Killed, it leaves the file: the next one takes its place.
    daemon.kill9()?;
    ensure!(first.exists());
    let mut daemon = scene.practice.spawn_run()?;
    until(200, || unix(&first, "/healthz"))?;
    scene.practice.set("metrics.listen", "\"unix:m2\"")?;
    daemon.signal(Signal::SIGHUP)?;
    until(200, || unix(&second, "/metrics"))?;
    ensure!(!first.exists(), "the socket before is still there");
    daemon.end()?;
    ensure!(!second.exists(), "the socket is still there after the end");
    Ok(())
}
