//! What Prometheus gets from a running daemon, and what it can't do to it.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::common::lab::{PATIENCE, free_ports, wait};
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
