//! When servers, the disk's content or people fail: it goes on afterwards, and said so meanwhile
//! (SPEC section 14; THREATS 21, 25, 31).

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use common::lab::{ClosedPort, PATIENCE, wait};
use common::ledger::{Snapshot, by_message_id, distinct_to, free_journal, lying, queue, sound, sql, states};
use common::scene::{OFFICE, Scene, march};
use common::{Answer, Caught, Daemon, Fault, FaultProxy, Lab, Letter, PracticeOptions, Sink};

const OPERATOR: &str = "ops@autre.example";
const MARIE: &str = "marie@client.example";
const PAUL: &str = "paul@client.example";

fn scene() -> Result<Scene> {
    let options = PracticeOptions {
        forward: "each".into(),
        release: "0 0 18 * * *".into(),
        digest: "0 0 7 * * *".into(),
        ..PracticeOptions::default()
    };
    let scene = Scene::with(Lab::light()?, options)?;
    scene.practice.set("operator.address", &format!("\"{OPERATOR}\""))?;
    Ok(scene)
}

fn sink(scene: &Scene) -> Result<&Sink> {
    scene.lab.sink.as_ref().context("a sink")
}

fn to(scene: &Scene, address: &str) -> Result<Vec<Caught>> {
    distinct_to(&sink(scene)?.mails(), address)
}

fn password(scene: &Scene, file: &str, word: &str) -> Result<()> {
    let path = scene.practice.dir.join(file);
    std::fs::write(&path, word)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}

/// `status` names the trouble.
fn status_says(scene: &Scene, word: &str) -> Result<()> {
    let out = scene.practice.run(&["status", "--json"])?;
    ensure!(out.stdout.contains(word), "status doesn't say {word}: {out:?}");
    Ok(())
}

/// One row of `queue list --json`.
fn queued(scene: &Scene, kind: &str) -> Result<serde_json::Value> {
    let rows = scene.practice.json(&["queue", "list"])?;
    let found = rows.as_array().and_then(|rows| rows.iter().find(|row| row["kind"] == kind).cloned());
    found.with_context(|| format!("no {kind} in {rows:#}"))
}

fn letter(scene: &Scene, n: u32) -> Result<()> {
    scene.letter(&scene.marie, &format!("Sujet {n}"), &format!("Lettre {n}.\n"), march(2, 3, 0))
}

/// A letter of Marie's, its forward, an answer that waits for the slot of the 2nd.
fn answered(scene: &Scene) -> Result<()> {
    letter(scene, 1)?;
    scene.practice.once(march(2, 3, 5))?;
    let (raw, _) = scene.forward(&scene.c1)?;
    scene.answer(&raw, "Je vous réponds du phare.", march(2, 9, 0))?;
    scene.practice.once(march(2, 9, 1))?;
    ensure!(states(&scene.thread(&scene.c1)?, "reply") == ["waiting"], "no reply waits");
    Ok(())
}

#[test]
fn a_refused_log_in_is_named_limited_and_mended_while_running() -> Result<()> {
    let scene = scene()?;
    letter(&scene, 1)?;
    password(&scene, "imap.password", "falsch")?;
    for minute in 0..3 {
        let out = scene.practice.run_at(march(2, 4, minute), &["run", "--once", "--json"])?;
        ensure!(out.status == Some(1) && out.stderr.contains("log-in"), "{out:?}");
        ensure!(!out.stderr.contains("falsch"), "{out:?}");
    }
    status_says(&scene, "imap-login")?;
    ensure!(to(&scene, OPERATOR)?.len() == 1, "the operator is told once");
    let refusals =
        || -> Result<usize> { Ok(std::fs::read_to_string(scene.lab.dovecot_log())?.matches("auth failed").count()) };
    let before = refusals()?;
    let began = Instant::now();
    let mut daemon = scene.practice.spawn_run()?;
    wait("three log-ins", PATIENCE, || Ok((refusals()? >= before + 3).then_some(())))?;
    // After waits of at least one and two seconds.
    ensure!(began.elapsed() > Duration::from_millis(2_900), "three log-ins in {:?}", began.elapsed());
    password(&scene, "imap.password", common::lab::PASSWORD)?;
    wait("the letter to be filed", PATIENCE, || {
        Ok((states(&scene.thread(&scene.c1)?, "letter") == ["filed"]).then_some(()))
    })?;
    wait("status to be well", PATIENCE, || {
        Ok((!scene.practice.run(&["status", "--json"])?.stdout.contains("imap-login")).then_some(()))
    })?;
    daemon.end()?;
    ensure!(to(&scene, OPERATOR)?.len() == 1, "the operator is told once");
    sound(&scene)
}

#[test]
fn a_connection_cut_in_a_fetch_costs_nothing() -> Result<()> {
    let scene = scene()?;
    let proxy = FaultProxy::imap(scene.lab.imap_port)?;
    scene.practice.set("imap.port", &proxy.port.to_string())?;
    for n in 0..4_u8 {
        let mut bytes = vec![n; 300_000];
        rand::RngExt::fill(&mut rand::rng(), &mut bytes[..]);
        let long = Letter::new(OFFICE, "Long", &format!("Lettre {n}.\n"))
            .attach("bruit.bin", "application/octet-stream", &bytes)
            .at(march(2, 3, 0));
        scene.marie.deliver(&scene.lab, &long)?;
    }
    // In the second letter, then a bit further each time.
    for bytes in [500_000, 100_000] {
        let hits = proxy.hits();
        proxy.once("UID FETCH*BODY.PEEK[]", Fault::CutWithin(bytes));
        let out = scene.practice.run_at(march(2, 4, 0), &["run", "--once", "--json"])?;
        ensure!(out.status == Some(1) && proxy.hits() > hits, "{out:?}");
        let lying = lying(&scene, &["INBOX"])?;
        let filed = states(&scene.thread(&scene.c1)?, "letter").len();
        ensure!(lying + filed >= 4, "{lying} left, {filed} filed: a letter is lost");
    }
    scene.practice.once(march(2, 4, 5))?;
    ensure!(states(&scene.thread(&scene.c1)?, "letter") == vec!["filed"; 4], "{:#}", scene.thread(&scene.c1)?);
    ensure!(
        lying(&scene, &["INBOX"])? == 0 && lying(&scene, &["Cadre", &scene.c1])? == 4,
        "a letter is left or doubled"
    );
    ensure!(to(&scene, MARIE)?.len() == 1, "one acknowledgement");
    sound(&scene)
}

#[test]
fn the_daemon_goes_on_when_its_server_is_cut_or_restarted() -> Result<()> {
    let scene = scene()?;
    scene.practice.set_time(march(2, 4, 0))?;
    let mut daemon = scene.practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    let filed = |n: usize| {
        wait("the letter to be filed", PATIENCE, || {
            Ok((states(&scene.thread(&scene.c1)?, "letter").len() == n).then_some(()))
        })
    };
    letter(&scene, 1)?;
    filed(1)?;
    scene.lab.cut_imap(OFFICE)?;
    letter(&scene, 2)?;
    filed(2)?;
    scene.lab.stop_imap()?;
    wait("status to name the trouble", PATIENCE, || {
        Ok(scene.practice.run(&["status", "--json"])?.stdout.contains("imap-unreachable").then_some(()))
    })?;
    scene.lab.start_imap()?;
    letter(&scene, 3)?;
    filed(3)?;
    daemon.end()?;
    ensure!(to(&scene, OPERATOR)?.is_empty(), "a server that comes back at once is no alarm");
    sound(&scene)
}

#[test]
fn a_stuck_mail_blocks_no_other_and_leaves_later() -> Result<()> {
    let scene = scene()?;
    let sink = sink(&scene)?;
    sink.rule(|_, to| match to {
        [marie] if marie == MARIE => Answer::AfterDot("451 4.3.0 later".into()),
        _ => Answer::Accept,
    });
    letter(&scene, 1)?;
    let counts = scene.practice.once(march(2, 3, 5))?;
    ensure!(counts["deferred"] == 1 && counts["failed"] == 0, "{counts}");
    ensure!(to(&scene, MARIE)?.is_empty() && scene.forward(&scene.c1).is_ok(), "the forward was blocked");
    let stuck = queued(&scene, "acknowledgement")?;
    ensure!(stuck["attempts"] == 1 && stuck["state"] == "leaving", "{stuck:#}");
    ensure!(stuck["last_error"].as_str().is_some_and(|e| e.contains("451")), "{stuck:#}");
    scene.letter(&scene.paul, "Paul", "Lettre de Paul.\n", march(2, 3, 0))?;
    scene.practice.once(march(2, 3, 6))?;
    ensure!(to(&scene, PAUL)?.len() == 1, "later mail was blocked");
    scene.practice.once(march(2, 3, 10))?;
    ensure!(queued(&scene, "acknowledgement")?["attempts"].as_u64() >= Some(2), "no second attempt");
    sink.rule(|_, _| Answer::Accept);
    scene.practice.once(march(2, 3, 20))?;
    ensure!(to(&scene, MARIE)?.len() == 1, "it doesn't leave afterwards");
    ensure!(queue(&scene.practice)?.keys().all(|(_, state)| state == "sent"), "{:?}", queue(&scene.practice)?);
    sound(&scene)
}

#[test]
fn a_reply_that_is_refused_for_good_frees_its_day_and_is_told() -> Result<()> {
    let scene = scene()?;
    answered(&scene)?;
    let sink = sink(&scene)?;
    sink.rule(|_, to| match to {
        [marie] if marie == MARIE => Answer::AfterDot("552 5.3.4 too big".into()),
        _ => Answer::Accept,
    });
    let out = scene.practice.run_at(march(2, 17, 0), &["run", "--once", "--json"])?;
    ensure!(out.stdout.contains("\"failed\": 1"), "{out:?}");
    ensure!(states(&scene.thread(&scene.c1)?, "reply") == ["failed"], "{:#}", scene.thread(&scene.c1)?);
    sink.rule(|_, _| Answer::Accept);
    scene.practice.run_at(march(2, 17, 1), &["run", "--once"])?;
    let queue = queue(&scene.practice)?;
    ensure!(queue.contains_key(&("delivery-failure".into(), "sent".into())), "the therapist isn't told: {queue:?}");
    ensure!(to(&scene, MARIE)?.len() == 1, "the acknowledgement only");
    sound(&scene)
}

#[test]
fn row_25_a_connection_lost_after_the_dot_repeats_the_same_bytes() -> Result<()> {
    let scene = scene()?;
    answered(&scene)?;
    let sink = sink(&scene)?;
    let before = sink.count();
    sink.script([Answer::CutAfterDot]);
    let out = scene.practice.run_at(march(2, 17, 0), &["run", "--once", "--json"])?;
    ensure!(out.stdout.contains("\"deferred\": 1"), "{out:?}");
    // A better answer comes too late: what may have left is never replaced.
    let (raw, _) = scene.forward(&scene.c1)?;
    scene.answer(&raw, "Une autre réponse.", march(2, 17, 1))?;
    for minute in [2, 5, 10] {
        scene.practice.once(march(2, 17, minute))?;
    }
    let mails: Vec<Caught> = sink.mails().into_iter().skip(before).filter(|m| m.to == [MARIE]).collect();
    ensure!(mails.len() == 2 && mails[0].data == mails[1].data, "{} mails", mails.len());
    sound(&scene)
}

#[test]
fn a_submission_server_that_is_gone_for_an_hour_delays_and_loses_nothing() -> Result<()> {
    let scene = scene()?;
    answered(&scene)?;
    let before = to(&scene, MARIE)?.len();
    let closed = ClosedPort::new()?;
    scene.practice.set("smtp.port", &closed.port()?.to_string())?;
    letter(&scene, 2)?;
    for minute in [0, 10, 20, 40, 59] {
        let out = scene.practice.run_at(march(2, 17, minute), &["run", "--once", "--json"])?;
        ensure!(out.status == Some(1), "a refused connection is a failure: {out:?}");
    }
    status_says(&scene, "smtp-unreachable")?;
    ensure!(lying(&scene, &["INBOX"])? == 0, "the mailbox waits for the other server");
    let row = queued(&scene, "reply")?;
    ensure!(row["last_error"] == "smtp-unreachable" && row["state"] == "leaving", "{row:#}");
    scene.practice.set("smtp.port", &scene.lab.smtp_port.to_string())?;
    scene.practice.once(march(2, 18, 2))?;
    scene.practice.once(march(2, 18, 3))?;
    ensure!(states(&scene.thread(&scene.c1)?, "reply") == ["sent"], "{:#}", scene.thread(&scene.c1)?);
    ensure!(to(&scene, MARIE)?.len() == before + 2, "the reply and the acknowledgement");
    let queue = queue(&scene.practice)?;
    ensure!(queue.keys().all(|(_, state)| state == "sent"), "{queue:?}");
    ensure!(to(&scene, OPERATOR)?.len() == 1, "the operator is told once, after a while");
    ensure!(!scene.practice.run(&["status", "--json"])?.stdout.contains("smtp-unreachable"), "status isn't well again");
    sound(&scene)
}

#[test]
fn a_mail_that_makes_the_server_hang_up_holds_no_other_back() -> Result<()> {
    let scene = scene()?;
    sink(&scene)?.rule(|_, to| match to {
        [marie] if marie == MARIE => Answer::CutAtData,
        _ => Answer::Accept,
    });
    letter(&scene, 1)?;
    for n in 0..20 {
        scene.letter(&scene.paul, &format!("P{n}"), &format!("Paul {n}.\n"), march(2, 3, 0))?;
    }
    scene.practice.run_at(march(2, 3, 5), &["run", "--once"])?;
    ensure!(to(&scene, "dr@exemple.example")?.len() >= 21, "{} forwards", to(&scene, "dr@exemple.example")?.len());
    ensure!(to(&scene, PAUL)?.len() == 1, "no acknowledgement for the other");
    sound(&scene)
}

#[test]
fn a_server_that_refuses_the_null_return_path_gets_the_practices_and_is_remembered() -> Result<()> {
    let scene = scene()?;
    let (asked, counted) =
        (std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0)), std::sync::atomic::Ordering::SeqCst);
    let counter = std::sync::Arc::clone(&asked);
    sink(&scene)?.rule(move |from, to| match (from, to) {
        ("", []) => {
            counter.fetch_add(1, counted);
            Answer::AtMail("550 5.7.1 no null return path".into())
        }
        _ => Answer::Accept,
    });
    letter(&scene, 1)?;
    let counts = scene.practice.once(march(2, 3, 5))?;
    ensure!(counts["failed"] == 0 && counts["deferred"] == 0, "{counts}");
    let acknowledgement = to(&scene, MARIE)?;
    ensure!(acknowledgement.len() == 1 && acknowledgement[0].from == OFFICE, "{acknowledgement:?}");
    scene.letter(&scene.paul, "Paul", "Lettre de Paul.\n", march(2, 3, 0))?;
    scene.practice.once(march(2, 3, 6))?;
    ensure!(to(&scene, PAUL)?.len() == 1, "no acknowledgement");
    ensure!(asked.load(counted) == 1, "the refusal isn't remembered: asked {} times", asked.load(counted));
    Ok(())
}

#[test]
fn a_second_run_on_the_same_database_ends_at_once() -> Result<()> {
    if common::postgres::left_out("several gateways may share a PostgreSQL database") {
        return Ok(());
    }
    let scene = scene()?;
    let mut daemon = scene.practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    for args in [&["run"][..], &["run", "--once"]] {
        let (limit, began) = (scene.practice.within(Duration::from_secs(3))?, Instant::now());
        let out = scene.practice.run(args)?;
        ensure!(out.status == Some(1) && out.stderr.contains("locked"), "{out:?}");
        ensure!(began.elapsed() < limit, "it waited {:?}", began.elapsed());
    }
    ensure!(scene.practice.run(&["queue", "list"])?.ok(), "other commands work beside it");
    Ok(())
}

#[test]
fn sigterm_ends_the_daemon_within_five_seconds_whatever_the_servers_do() -> Result<()> {
    let scene = scene()?;
    scene.practice.set_time(march(2, 4, 0))?;
    let (imap, smtp) = (FaultProxy::imap(scene.lab.imap_port)?, FaultProxy::smtp(scene.lab.smtp_port)?);
    scene.practice.set("imap.port", &imap.port.to_string())?;
    scene.practice.set("smtp.port", &smtp.port.to_string())?;
    // Each time the daemon is ended once this has come to pass.
    let ends = |what: &str, comes: &dyn Fn() -> usize, prepare: &dyn Fn() -> Result<()>| -> Result<()> {
        let before = comes();
        let mut daemon = scene.practice.spawn_run()?;
        prepare()?;
        wait(what, PATIENCE, || Ok((comes() > before).then_some(())))?;
        in_time(&scene, &mut daemon, what)
    };
    let (nothing, idles) = (|| Ok(()), || imap.heard("IDLE"));
    ends("in IDLE", &idles, &nothing)?;
    let before = idles();
    let mut daemon = scene.practice.spawn_run()?;
    wait("IDLE", PATIENCE, || Ok((idles() > before).then_some(())))?;
    imap.silent(true);
    in_time(&scene, &mut daemon, "the mailbox silent in mid-IDLE")?;
    ends("the mailbox silent from the greeting on", &|| imap.connections() as usize, &nothing)?;
    imap.silent(false);
    smtp.silent(true);
    ends("the submission server silent with mail due", &|| smtp.connections() as usize, &|| letter(&scene, 1))?;
    smtp.silent(false);
    scene.practice.once(march(2, 5, 0))?;
    ensure!(states(&scene.thread(&scene.c1)?, "letter") == ["filed"], "the letter is lost");
    ensure!(to(&scene, MARIE)?.len() == 1, "no acknowledgement");
    sound(&scene)
}

/// SIGTERM now, and an orderly end within five seconds.
fn in_time(scene: &Scene, daemon: &mut Daemon, what: &str) -> Result<()> {
    let (limit, began) = (scene.practice.within(Duration::from_secs(5))?, Instant::now());
    let status = daemon.terminate(limit).with_context(|| what.to_owned())?;
    println!("{what}: ended after {:?}", began.elapsed());
    ensure!(status == Some(0), "{what}: {status:?}\n{}", daemon.text()?);
    Ok(())
}

/// A second therapist whose client is Paul, and who then vanishes from the configuration.
fn without_pauls_therapist() -> Result<Scene> {
    let scene = scene()?;
    let with = std::fs::read_to_string(&scene.practice.config)?;
    let second = common::Person::persona(&scene.lab, "second")?;
    second.certificate_file(&scene.practice.dir.join("second.pgp"))?;
    let start = with.find("[[therapist]]").context("a therapist")?;
    let block = with[start..].split("\n[").next().unwrap_or_default().to_owned();
    let other = block
        .replace("\"exemple\"", "\"second\"")
        .replace("dr@exemple.example", &second.address)
        .replace("therapist.pgp", "second.pgp");
    std::fs::write(&scene.practice.config, with.replacen(&block, &format!("{other}\n{block}"), 1))?;
    let zoe = common::Person::persona(&scene.lab, "inconnue")?;
    zoe.meet(&scene.office)?;
    let certificate = scene.practice.dir.join("zoe.asc");
    zoe.certificate_file(&certificate)?;
    let file = certificate.to_string_lossy().into_owned();
    let add = ["client", "add", "--address", "-", "--therapist", "second", "--certificate", &file, "--active"];
    let add = [&add[..], &["--consent-note", "paper"]].concat();
    scene.practice.run_with_input(&add, format!("{}\n", zoe.address).as_bytes())?.expect_ok()?;
    // Something waits for the second therapist when they go.
    sink(&scene)?.rule(|_, to| match to {
        [one] if one == "second@exemple.example" => Answer::AfterDot("451 4.3.0 later".into()),
        _ => Answer::Accept,
    });
    scene.letter(&zoe, "Z", "Première.\n", march(2, 3, 0))?;
    scene.practice.once(march(2, 3, 5))?;
    std::fs::write(&scene.practice.config, with)?;
    scene.letter(&zoe, "Z", "Deuxième.\n", march(2, 3, 10))?;
    Ok(scene)
}

#[test]
fn row_23_a_poison_message_goes_to_attention_after_three_tries_and_blocks_nobody() -> Result<()> {
    let scene = without_pauls_therapist()?;
    for (n, minute) in [10, 20, 30].into_iter().enumerate() {
        ensure!(lying(&scene, &["Cadre", "Attention"])? == 0, "set aside after {n} tries");
        letter(&scene, minute)?;
        let out = scene.practice.run_at(march(2, 3, minute), &["run", "--once", "--json"])?;
        ensure!(out.status == Some(1) && out.stdout.contains("\"filed\": 1"), "{out:?}");
    }
    ensure!(lying(&scene, &["Cadre", "Attention"])? == 1, "{:?}", scene.lab.census(OFFICE)?);
    ensure!(lying(&scene, &["INBOX"])? == 0, "{:?}", scene.lab.census(OFFICE)?);
    ensure!(states(&scene.thread(&scene.c1)?, "letter") == vec!["filed"; 3], "the other letters");
    letter(&scene, 40)?;
    scene.practice.run_at(march(2, 3, 40), &["run", "--once"])?;
    scene.practice.run_at(march(2, 3, 41), &["run", "--once"])?;
    ensure!(to(&scene, "dr@exemple.example")?.len() == 4, "the other therapist's mail is blocked");
    let attention = "SELECT COUNT(*) FROM journal WHERE kind = 'alarm' AND detail LIKE '%attention%'";
    ensure!(sql(&scene.practice, attention)? == "1", "the operator is told of it once");
    // The other mail is of the forward that nobody can get any more.
    ensure!(to(&scene, OPERATOR)?.len() == 2, "{:#}", scene.practice.json(&["journal", "show"])?);
    sound(&scene)
}

/// Stops that client, and nobody else; says so once.
fn stops_marie(scene: &Scene, before: usize, told: usize) -> Result<()> {
    for minute in 0..4 {
        scene.practice.run_at(march(2, 17, minute), &["run", "--once"])?;
    }
    ensure!(to(scene, MARIE)?.len() == before, "something left for a client whose record was changed");
    ensure!(to(scene, OPERATOR)?.len() == told, "{} alarms instead of {told}", to(scene, OPERATOR)?.len());
    Ok(())
}

#[test]
fn row_30_a_swapped_certificate_address_or_state_stops_that_client_and_alarms_once() -> Result<()> {
    for column in ["certificate", "address", "state", "therapist"] {
        let scene = scene()?;
        answered(&scene)?;
        scene.letter(&scene.paul, "Paul", "Lettre de Paul.\n", march(2, 9, 0))?;
        scene.practice.once(march(2, 9, 5))?;
        let before = to(&scene, MARIE)?.len();
        let value = match column {
            "state" => "'paused'".to_owned(),
            "therapist" => "'other'".to_owned(),
            _ => format!("(SELECT {column} FROM client WHERE code = '{}')", scene.c2),
        };
        sql(&scene.practice, &format!("UPDATE client SET {column} = {value} WHERE code = '{}'", scene.c1))?;
        letter(&scene, 2)?;
        stops_marie(&scene, before, 1).with_context(|| column.to_owned())?;
        ensure!(lying(&scene, &["INBOX"])? == 1, "{column}: the letter doesn't wait in INBOX");
        let before = to(&scene, PAUL)?.len();
        let (raw, _) = scene.forward(&scene.c2)?;
        scene.answer(&raw, "Je vous réponds, Paul.", march(3, 9, 0))?;
        for (hour, minute) in [(9, 1), (17, 0), (17, 1)] {
            scene.practice.run_at(march(3, hour, minute), &["run", "--once"])?;
        }
        ensure!(to(&scene, PAUL)?.len() == before + 1, "{column}: the other client was stopped too");
        ensure!(scene.practice.run(&["journal", "verify"])?.ok(), "journal");
    }
    Ok(())
}

/// Two replies' words swapped, or a message moved to another client: neither leaves.
#[test]
fn a_changed_message_or_body_is_noticed_and_blocks_nobody() -> Result<()> {
    for change in [
        "UPDATE blob SET data = substr(data, 1, 1) WHERE message_id = (SELECT id FROM message WHERE kind = 'reply')",
        "UPDATE message SET client_id = (SELECT MAX(id) FROM client) WHERE kind = 'reply'",
        "UPDATE outbox SET client_id = (SELECT MAX(id) FROM client) WHERE kind = 'reply'",
        "UPDATE outbox SET facts = substr(facts, 1, 1) WHERE kind = 'reply'",
    ] {
        let scene = scene()?;
        answered(&scene)?;
        let before = (to(&scene, MARIE)?.len(), to(&scene, PAUL)?.len());
        sql(&scene.practice, change)?;
        scene.letter(&scene.paul, "Paul", "Lettre de Paul.\n", march(2, 16, 0))?;
        stops_marie(&scene, before.0, 1).context(change)?;
        ensure!(to(&scene, PAUL)?.len() == before.1 + 1, "{change}: the other client's mail is blocked");
    }
    Ok(())
}

#[test]
fn row_31_a_journal_that_was_cut_or_edited_does_not_verify() -> Result<()> {
    let scene = scene()?;
    letter(&scene, 1)?;
    scene.practice.once(march(2, 3, 5))?;
    let whole = scene.practice.json(&["journal", "verify"])?;
    let head = whole["head"].as_str().context("a head")?.to_owned();
    let saved = Snapshot::of(&scene.practice)?;
    let free = free_journal(&scene.practice);
    for change in [
        "DELETE FROM journal WHERE seq = (SELECT MAX(seq) FROM journal)",
        "DELETE FROM journal WHERE seq = 2",
        "UPDATE journal SET kind = 'dropped' WHERE kind = 'filed'",
        "UPDATE journal SET at = at + 1 WHERE seq = (SELECT MAX(seq) FROM journal)",
        "UPDATE journal SET client = 'C-2222' WHERE client IS NOT NULL",
        "DELETE FROM journal",
    ] {
        sql(&scene.practice, &format!("{free} {change}"))?;
        let out = scene.practice.run(&["journal", "verify"])?;
        ensure!(out.status == Some(1), "{change}: {out:?}");
        saved.put_back(&scene.practice)?;
        let out = scene.practice.run(&["journal", "verify", "--expect", &head])?;
        ensure!(out.ok(), "after {change}: the saved one isn't whole: {out:?}");
    }
    let beyond = head.split_once(':').and_then(|(n, mac)| Some(format!("{}:{mac}", n.parse::<u64>().ok()? + 1)));
    let beyond = beyond.context("a head")?;
    ensure!(scene.practice.run(&["journal", "verify", "--expect", &beyond])?.status == Some(1), "it lags behind");
    Ok(())
}

#[test]
fn a_letter_is_at_the_submission_server_in_no_time() -> Result<()> {
    let scene = scene()?;
    scene.practice.set_time(march(2, 4, 0))?;
    let mut daemon = scene.practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    let sink = sink(&scene)?;
    let forwards = || sink.mails().into_iter().filter(|m| m.to == ["dr@exemple.example"]).collect::<Vec<_>>();
    let mut taken = Vec::new();
    for n in 1..=9 {
        let raw = scene.marie.write(&Letter::new(OFFICE, "S", &format!("Lettre {n}.\n")).at(march(2, 3, 0)))?;
        let began = Instant::now();
        scene.lab.deliver(MARIE, OFFICE, &raw)?;
        let mails = wait("the forward", PATIENCE, || Ok(Some(forwards()).filter(|m| m.len() >= n)))?;
        taken.push(mails[n - 1].at.duration_since(began));
    }
    let sorted = {
        let mut sorted = taken.clone();
        sorted.sort();
        sorted
    };
    println!("delivery to forward: median {:?}, longest {:?}", sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
    println!("memory: {} MiB", daemon.memory()? >> 20);
    ensure!(sorted[sorted.len() / 2] < scene.practice.within(Duration::from_secs(2))?, "{taken:?}");
    // A burst: what comes while the mailbox is worked on isn't left for the next poll.
    for n in 10..=20 {
        let raw = scene.paul.write(&Letter::new(OFFICE, "S", &format!("Lettre {n}.\n")).at(march(2, 3, 0)))?;
        scene.lab.deliver(PAUL, OFFICE, &raw)?;
    }
    let began = Instant::now();
    wait("the burst", PATIENCE, || Ok((forwards().len() >= 20).then_some(())))?;
    println!("burst of eleven: the last after {:?}", began.elapsed());
    let (took, limit) = (began.elapsed(), scene.practice.within(Duration::from_secs(10))?);
    ensure!(took < limit, "a letter waited for the poll: {took:?}");
    by_message_id(&sink.mails())?;
    Ok(())
}
