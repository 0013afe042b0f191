//! Backup and restore (SPEC sections 10 and 12): on a real Dovecot, with the built program and GnuPG as the reader.

mod common;
#[path = "records/erase.rs"]
mod erase;
#[path = "records/recover.rs"]
mod recover;
#[path = "records/report.rs"]
mod report;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use cadre::model::{MessageRow, TherapistId};
use common::lab::PATIENCE;
use common::ledger::{Snapshot, free_journal, in_store, octets, sql};
use common::play::{Play, says};
use common::postgres::wanted;
use common::scene::march;

/// A file outside of the practice's folder, and its name as an argument.
fn outside(play: &Play, name: &str) -> (PathBuf, String) {
    let path = play.scene.lab.dir.join(name);
    let text = path.to_string_lossy().into_owned();
    (path, text)
}

/// The queue's mails of a kind: id, client, state.
fn queued(play: &Play, kind: &str) -> Result<Vec<(String, String, String)>> {
    let all = play.scene.practice.json(&["queue", "list"])?;
    let word = |mail: &serde_json::Value, name: &str| mail[name].as_str().unwrap_or_default().to_owned();
    let of_kind = all.as_array().into_iter().flatten().filter(|mail| mail["kind"] == kind);
    Ok(of_kind.map(|mail| (word(mail, "id"), word(mail, "client"), word(mail, "state"))).collect())
}

#[test]
fn a_backup_is_made_while_the_daemon_runs_and_overwrites_nothing() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    play.forwarded(&s.marie, "Une lettre.\n", march(2, 3, 0))?;
    let mut daemon = s.practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    let (path, name) = outside(&play, "copy.db");
    let out = s.practice.run(&["backup", &name])?.expect_ok()?;
    ensure!(daemon.lives() && out.contains("record key") && out.contains("journal.head"), "{out}");
    ensure!(fs::metadata(&path)?.permissions().mode() & 0o777 == 0o600);
    let beside: Vec<_> = fs::read_dir(&s.lab.dir)?.flatten().filter(|e| e.path() != path).collect();
    ensure!(!beside.iter().any(|entry| entry.file_name().to_string_lossy().starts_with("copy.db")), "{beside:?}");
    // No key is in it, whole or in part.
    let bytes = fs::read(&path)?;
    for key in ["record.key", "practice.key.pgp", "imap.password"] {
        let secret = fs::read(s.practice.dir.join(key))?;
        let part = &secret[..secret.len().min(16)];
        ensure!(!bytes.windows(part.len()).any(|window| window == part), "{key} is in the copy");
    }
    let again = s.practice.run(&["backup", &name])?;
    ensure!(again.status == Some(1) && again.stderr.contains("not overwritten"), "{again:?}");
    ensure!(fs::read(&path)? == bytes, "the copy was changed");
    let nowhere = s.practice.run(&["backup", &format!("{name}-none/copy.db")])?;
    ensure!(nowhere.status == Some(1), "{nowhere:?}");

    // With a daemon at work nothing is put back.
    let refused = s.practice.run(&["restore", &name, "--replace"])?;
    ensure!(refused.status == Some(1) && refused.stderr.contains("stop it first"), "{refused:?}");
    daemon.end()?;
    ensure!(s.practice.run(&["journal", "verify"])?.ok());
    Ok(())
}

#[test]
fn after_a_restore_nothing_leaves_twice_and_what_was_to_come_leaves_when_a_person_says_so() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une lettre.\n", march(2, 3, 0))?;
    play.answer(&forward, "La réponse de lundi.", march(2, 9, 0))?;
    let later = play.forwarded(&s.marie, "Une autre lettre.\n", march(2, 9, 10))?;
    play.answer(&later, "La réponse de mardi.", march(2, 9, 20))?;
    let (path, name) = outside(&play, "copy.db");
    s.practice.set_time(march(2, 10, 0))?;
    s.practice.run(&["backup", &name])?.expect_ok()?;
    let copy = fs::read(&path)?;

    // What the copy doesn't know.
    let round = play.pass(march(2, 17, 0))?;
    says(&round.one(&s.marie)?.read.text(), &["La réponse de lundi."])?;
    play.letter(&s.paul, "Une lettre de Paul.\n", march(2, 18, 0))?;

    let out = s.practice.run_at(march(2, 19, 0), &["restore", &name])?;
    ensure!(out.status == Some(1) && out.stderr.contains("--replace"), "{out:?}");
    ensure!(play.states(&s.c2, "letter")? == ["filed"], "the database was touched");
    let out = s.practice.run(&["restore", &name, "--replace", "--json"])?.expect_ok()?;
    let told: serde_json::Value = serde_json::from_str(&out)?;
    ensure!(told["held"] == 1 && told["frozen"] == true, "{told}");
    ensure!(fs::read(&path)? == copy, "the copy itself was changed");
    // The one before is kept, whole: it is a database that can be put back in its turn.
    let kept = told["kept"].as_str().context("nothing kept")?.to_owned();
    let name = if wanted() { "_until_20260302t19" } else { "cadre.db.before-restore-20260302T19" };
    ensure!(kept.contains(name), "{kept}");
    for file in [Path::new(&kept), &s.practice.dir.join("cadre.db")] {
        ensure!(wanted() || fs::metadata(file)?.permissions().mode() & 0o777 == 0o600);
    }
    ensure!(play.states(&s.c2, "letter")?.is_empty(), "Paul's letter isn't in the copy");
    ensure!(s.practice.run(&["status"])?.stdout.contains("cadre queue resume"));

    // Mail is still filed, and nothing leaves, at Tuesday's slot neither.
    s.letter(&s.paul, "Une lettre", "Une autre lettre de Paul.\n", march(3, 3, 0))?;
    for (hour, minute) in [(3, 1), (17, 0), (17, 20)] {
        let round = play.pass(march(3, hour, minute))?;
        ensure!(round.counts["sent"] == 0 && round.posts.is_empty(), "{}", round.story());
    }
    ensure!(play.states(&s.c2, "letter")? == ["filed"]);

    // What was due before is put aside, and `queue resume` leaves it there.
    let replies = queued(&play, "reply")?;
    ensure!(replies.len() == 2, "{replies:?}");
    let held: Vec<_> = replies.iter().filter(|(_, _, state)| state == "held").collect();
    ensure!(held.len() == 1, "{replies:?}");
    s.practice.run(&["queue", "resume"])?.expect_ok()?;
    ensure!(s.practice.run(&["journal", "verify"])?.ok());
    let mut words = Vec::new();
    for (day, hour, minute) in [(3, 17, 30), (4, 17, 0), (4, 17, 30)] {
        let round = play.pass(march(day, hour, minute))?;
        words.extend(round.to(&s.marie).map(|post| post.read.text()));
    }
    let times = |said: &str| words.iter().filter(|text| text.contains(said)).count();
    ensure!(times("La réponse de lundi.") == 0 && times("La réponse de mardi.") == 1, "{words:#?}");
    s.practice.run(&["queue", "cancel", &held[0].0])?.expect_ok()?;

    // And back again: the kept one has Paul's first letter.
    if let Some(place) = &s.practice.place {
        let mut before = place.clone();
        before.schema = kept;
        ensure!(before.sql("SELECT COUNT(*) FROM message WHERE kind = 'letter'")? == "3");
        return Ok(());
    }
    let out = s.practice.run(&["restore", &kept, "--replace"])?.expect_ok()?;
    ensure!(out.contains("queue resume"), "{out}");
    ensure!(play.states(&s.c1, "reply")?.contains(&"sent".to_owned()));
    let round = play.pass(march(5, 17, 0))?;
    ensure!(round.counts["sent"] == 0, "{}", round.story());
    Ok(())
}

/// The copy is newer than nothing: the head file fits, and it is frozen all the same.
#[test]
fn a_restore_freezes_also_where_the_journal_fits_and_takes_no_other_file() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une lettre.\n", march(2, 3, 0))?;
    play.answer(&forward, "La réponse.", march(2, 9, 0))?;
    let (path, name) = outside(&play, "copy.db");
    s.practice.set_time(march(2, 10, 0))?;
    s.practice.run(&["backup", &name])?.expect_ok()?;
    let before = Snapshot::of(&s.practice)?;
    let head = fs::read(s.practice.dir.join("journal.head"))?;

    // What is no copy, what is half of one, one of another practice, one that somebody changed.
    let (bad, bad_name) = outside(&play, "bad.db");
    let good = fs::read(&path)?;
    let refused = |bytes: &[u8], why: &str| -> Result<()> {
        fs::write(&bad, bytes)?;
        let out = s.practice.run(&["restore", &bad_name, "--replace"])?;
        ensure!(out.status == Some(1) && out.stderr.contains(why), "{why:?}: {out:?}");
        ensure!(Snapshot::of(&s.practice)? == before, "{why}");
        ensure!(fs::read(s.practice.dir.join("journal.head"))? == head, "{why}");
        let left = fs::read_dir(&s.practice.dir)?.flatten().map(|e| e.file_name().to_string_lossy().into_owned());
        let left: Vec<_> = left.filter(|name| name.contains("restor")).collect();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    };
    refused(b"", "no copy that `cadre backup` made")?;
    refused(b"Not a database.", "no copy that `cadre backup` made")?;
    refused(&good[..good.len() / 2], "can't be used")?;
    let (missing, missing_name) = outside(&play, "missing.db");
    ensure!(!missing.exists() && s.practice.run(&["restore", &missing_name, "--replace"])?.status == Some(1));
    let mut changed = good.clone();
    let word = b"\"verdict\":";
    let at = changed.windows(word.len()).position(|window| window == word).context("no line of the journal")?;
    changed[at + 1] = b'V';
    refused(&changed, "doesn't verify")?;
    let key = fs::read(s.practice.dir.join("record.key"))?;
    fs::write(s.practice.dir.join("record.key"), [7; 32])?;
    refused(&good, "another record key")?;
    fs::write(s.practice.dir.join("record.key"), key)?;

    // The disk died: there is no database, and a log of the dead one lies about.
    match &s.practice.place {
        Some(place) => drop(place.sql(&format!("DROP SCHEMA {} CASCADE", place.schema))?),
        None => {
            fs::remove_file(s.practice.dir.join("cadre.db"))?;
            fs::write(s.practice.dir.join("cadre.db-wal"), b"of the dead one")?;
        }
    }
    s.practice.run(&["restore", &name])?.expect_ok()?;
    ensure!(s.practice.run(&["journal", "verify"])?.ok(), "the head file fits");
    for minute in [0, 10] {
        let round = play.pass(march(2, 17, minute))?;
        ensure!(round.counts["sent"] == 0, "{}", round.story());
    }
    s.practice.run(&["queue", "resume"])?.expect_ok()?;
    let round = play.pass(march(2, 17, 20))?;
    says(&round.one(&s.marie)?.read.text(), &["La réponse."])?;
    Ok(())
}

#[test]
fn a_restore_that_is_killed_leaves_the_one_database_or_the_other() -> Result<()> {
    let mut play = Play::new()?;
    let forward = play.forwarded(&play.scene.marie, "Une lettre.\n", march(2, 3, 0))?;
    let (_, name) = outside(&play, "copy.db");
    play.scene.practice.run(&["backup", &name])?.expect_ok()?;
    play.answer(&forward, "La réponse.", march(2, 9, 0))?;
    for place in ["restore-staged", "restore-kept"] {
        play.scene.practice.env("CADRE_FAILPOINT", place);
        let out = play.scene.practice.run(&["restore", &name, "--replace"])?;
        ensure!(out.status.is_none(), "{place}: not killed: {out:?}");
        play.scene.practice.env("CADRE_FAILPOINT", "");
        ensure!(play.states(&play.scene.c1, "reply")? == ["waiting"], "{place}");
        ensure!(play.scene.practice.run(&["journal", "verify"])?.ok(), "{place}");
    }
    play.scene.practice.set_time(march(2, 9, 30))?;
    play.scene.practice.run(&["restore", &name, "--replace"])?.expect_ok()?;
    ensure!(play.states(&play.scene.c1, "reply")?.is_empty());
    Ok(())
}

/// `verify --json`: its status, and what it named as (table, id, client, fault).
fn verified(play: &Play) -> Result<(Option<i32>, Vec<[String; 4]>, serde_json::Value)> {
    let out = play.scene.practice.run(&["verify", "--json"])?;
    let told: serde_json::Value = serde_json::from_str(&out.stdout).with_context(|| format!("{out:?}"))?;
    let word = |fault: &serde_json::Value, name: &str| fault[name].as_str().unwrap_or_default().to_owned();
    let faults = told["faults"].as_array().into_iter().flatten();
    let faults = faults.map(|fault| ["table", "id", "client", "fault"].map(|name| word(fault, name))).collect();
    Ok((out.status, faults, told))
}

fn put_bodies(play: &Play, bodies: &[(i64, &[u8])]) -> Result<()> {
    in_store(&play.scene.practice, async |tx| {
        for (row, body) in bodies {
            tx.put_blob(MessageRow(*row), body).await?;
        }
        Ok(())
    })
}

fn sealed_to(person: &common::Person, keys: &[&str]) -> Result<Vec<u8>> {
    let mut args = vec!["--batch", "--armor", "--trust-model", "always", "--encrypt"];
    for key in keys {
        args.extend(["--recipient", key]);
    }
    Ok(person.gpg(&args, b"Des mots.\n")?.0)
}

#[test]
fn verify_names_what_was_altered_swapped_cut_or_sealed_to_somebody_else() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une lettre de Marie.\n", march(2, 3, 0))?;
    play.answer(&forward, "/card\n\nÀ joindre par sa sœur.", march(2, 3, 10))?;
    play.answer(&forward, "La réponse d'aujourd'hui.", march(2, 9, 0))?;
    play.pass(march(2, 17, 0))?;
    let forward = play.forwarded(&s.paul, "Une lettre de Paul.\n", march(2, 20, 0))?;
    play.answer(&forward, "Une réponse qui attend.", march(2, 21, 0))?;
    let (status, faults, told) = verified(&play)?;
    ensure!(status == Some(0) && faults.is_empty() && told["ok"] == true, "{told}");
    ensure!(told["bodies"].as_u64() >= Some(4) && told["old_keys"] == 0, "{told}");
    let id_of = |code: &str, kind: &str| -> Result<(i64, String)> {
        let sql_text = format!(
            "SELECT m.id FROM message m JOIN client c ON c.id = m.client_id WHERE c.code = '{code}' AND m.kind = '{kind}'"
        );
        let row: i64 = sql(&s.practice, &sql_text)?.parse()?;
        let thread = s.thread(code)?;
        let message = thread["messages"].as_array().into_iter().flatten().find(|message| message["kind"] == kind);
        Ok((row, message.context("no message")?["id"].as_str().context("no id")?.to_owned()))
    };
    let (letter, letter_id) = id_of(&s.c1, "letter")?;
    let (other, other_id) = id_of(&s.c2, "letter")?;
    let (waiting, waiting_id) = id_of(&s.c2, "reply")?;
    let copy = Snapshot::of(&s.practice)?;
    let spoiled = |statement: &str, expected: &[[&str; 4]]| -> Result<()> {
        sql(&s.practice, statement)?;
        let (status, faults, told) = verified(&play)?;
        ensure!(status == Some(1) && faults == expected, "{statement}: {status:?} {told}");
        copy.put_back(&s.practice)
    };
    let (c1, c2) = (s.c1.as_str(), s.c2.as_str());
    let at =
        |change: &str| format!("UPDATE blob SET data = {} WHERE message_id = {letter}", octets(&s.practice, change));
    let changed = [["blob", letter_id.as_str(), c1, "changed"]];
    spoiled(&at("substr(data, 1, 900) || '!' || substr(data, 901)"), &changed)?;
    spoiled(&at("substr(data, 1, length(data) / 2)"), &changed)?;
    let swapped = format!(
        "CREATE TABLE was AS SELECT * FROM blob WHERE message_id IN ({letter}, {other}); \
         UPDATE blob SET (data, mac) = (SELECT data, mac FROM was WHERE was.message_id <> blob.message_id) \
         WHERE message_id IN ({letter}, {other})"
    );
    let mut both = [["blob", letter_id.as_str(), c1, "changed"], ["blob", other_id.as_str(), c2, "changed"]];
    both.sort_by_key(|[_, id, ..]| if *id == letter_id { letter } else { other });
    spoiled(&swapped, &both)?;
    for (row, id, code) in [(letter, &letter_id, c1), (waiting, &waiting_id, c2)] {
        spoiled(&format!("DELETE FROM blob WHERE message_id = {row}"), &[["message", id, code, "missing"]])?;
    }
    spoiled(
        &format!("UPDATE message SET verdict = 'unsigned' WHERE id = {letter}"),
        &[["message", &letter_id, c1, "changed"]],
    )?;
    let code = format!("UPDATE client SET state = 'discharged' WHERE code = '{c2}'");
    sql(&s.practice, &code)?;
    let (status, faults, _) = verified(&play)?;
    ensure!(status == Some(1) && faults.len() == 1 && faults[0][0] == "client" && faults[0][2] == c2, "{faults:?}");
    copy.put_back(&s.practice)?;
    let card = verified(&play)?;
    ensure!(card.0 == Some(0), "{}", card.2);
    spoil_the_rest(&play)?;
    copy.put_back(&s.practice)?;

    // Another certificate of the therapist's in the configuration: the old one still opens what there is.
    let configured = s.practice.dir.join("therapist.pgp");
    let own = fs::read(&configured)?;
    fs::write(&configured, s.paul.certificate()?)?;
    let (status, faults, told) = verified(&play)?;
    ensure!(status == Some(0) && faults.is_empty() && told["old_keys"].as_u64() >= Some(3), "{told}");
    fs::write(&configured, own)?;

    // What is no sealed message, or half of one.
    let whole = sealed_to(&s.therapist, &[&s.therapist.fingerprint])?;
    let (signed, _) = s.therapist.gpg(&["--batch", "--armor", "--sign"], b"Des mots.\n")?;
    let (binary, _) = s.therapist.gpg(&["--dearmor"], &whole)?;
    let twice = [binary.clone(), binary.clone()].concat();
    for body in [&b""[..], &whole[..whole.len() / 2], &binary[..binary.len() - 5], &signed, &twice] {
        put_bodies(&play, &[(other, body)])?;
        let (_, faults, told) = verified(&play)?;
        ensure!(faults == [["blob", other_id.as_str(), c2, "not-sealed"]], "{} octets: {told}", body.len());
    }
    put_bodies(&play, &[(other, &binary)])?;
    ensure!(verified(&play)?.0 == Some(0), "a sealed message without armor is one too");

    // With good MACs and for somebody else: the record key was stolen too, or a mistake of Cadre's own.
    let (office, therapist) = (s.office.fingerprint.as_str(), s.therapist.fingerprint.as_str());
    put_bodies(
        &play,
        &[
            (letter, &sealed_to(&s.therapist, &[office, therapist])?),
            (other, b"Des mots en clair."),
            (waiting, &sealed_to(&s.therapist, &[therapist])?),
        ],
    )?;
    let copies = [(letter, sealed_to(&s.therapist, &[office])?), (other, b"Des mots en clair.".to_vec())];
    in_store(&s.practice, async |tx| {
        for (row, copy) in &copies {
            tx.put_locum_copy(MessageRow(*row), &TherapistId("exemple".into()), copy).await?;
        }
        Ok(())
    })?;
    let (status, mut faults, told) = verified(&play)?;
    faults.sort();
    let mut expected = [
        ["blob", &letter_id, c1, "readable-here"],
        ["blob", &other_id, c2, "not-sealed"],
        ["blob", &waiting_id, c2, "not-for-practice"],
        ["locum_copy", &letter_id, c1, "readable-here"],
        ["locum_copy", &other_id, c2, "not-sealed"],
    ];
    expected.sort_unstable();
    ensure!(status == Some(1) && faults == expected, "{told}");
    let shown = s.practice.run(&["verify"])?;
    ensure!(shown.stdout.contains(&format!("blob {letter_id} of {c1}")) && !shown.stdout.contains('@'), "{shown:?}");
    Ok(())
}

/// A line of every other table that the scene has, and of the journal.
fn spoil_the_rest(play: &Play) -> Result<()> {
    let s = &play.scene;
    let mac = octets(&s.practice, "'no mac'");
    let ordered =
        format!("INSERT INTO erasure (code, client_id, asked_at, letter, mac) VALUES ('ZZZZ', 9, 0, 'none', {mac})");
    for (table, statement) in [
        ("outbox", "UPDATE outbox SET kind = 'urgent' WHERE kind = 'reply' AND state = 'waiting'"),
        ("outbox", "UPDATE outbox SET frozen = mac WHERE id = (SELECT MAX(id) FROM outbox WHERE state = 'sent')"),
        ("card", "UPDATE card SET at = at + 1"),
        ("key_expiry", "UPDATE key_expiry SET expires_at = 5 WHERE client_id = (SELECT MIN(id) FROM client)"),
        ("key_expiry", "DELETE FROM key_expiry WHERE client_id = (SELECT MAX(id) FROM client)"),
        ("erasure", &ordered),
    ] {
        let before = verified(play)?.1.len();
        sql(&s.practice, statement)?;
        let (status, faults, told) = verified(play)?;
        ensure!(status == Some(1) && faults.len() == before + 1, "{table}: {told}");
        ensure!(faults.iter().any(|fault| fault[0] == table), "{table}: {told}");
    }
    let change = "UPDATE journal SET kind = 'other' WHERE seq = 2";
    sql(&s.practice, &format!("{} {change}", free_journal(&s.practice)))?;
    let (_, _, told) = verified(play)?;
    ensure!(told["journal"]["ok"] == false && told["journal"]["faults"][0]["seq"] == 2, "{told}");
    Ok(())
}

/// The mails of an mbox file, as a mail program cuts it up.
fn mails_of(mbox: &str) -> Vec<String> {
    let mut mails: Vec<String> = Vec::new();
    for line in mbox.lines() {
        if line.starts_with("From ") {
            mails.push(String::new());
        } else if let Some(mail) = mails.last_mut() {
            mail.push_str(line);
            mail.push_str("\r\n");
        }
    }
    mails
}

#[test]
fn an_export_is_opened_by_the_therapists_gnupg_and_says_what_it_is() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une lettre de Marie.\nFrom un mot anglais.\n", march(2, 3, 0))?;
    play.answer(&forward, "/card\n\nÀ joindre par sa sœur.", march(2, 3, 10))?;
    play.answer(&forward, "/note Une note pour moi.", march(2, 3, 20))?;
    play.answer(&forward, "La réponse du lundi.", march(2, 9, 0))?;
    play.pass(march(2, 17, 0))?;
    let later = play.forwarded(&s.marie, "Une seconde lettre.\n", march(2, 20, 0))?;
    play.answer(&later, "Une réponse qui attend.", march(2, 21, 0))?;
    play.forwarded(&s.paul, "Une lettre de Paul.\n", march(2, 21, 10))?;
    let (folder, name) = outside(&play, "export");
    let out = s.practice.run(&["client", "export", &s.c1, &name])?.expect_ok()?;
    ensure!(out.contains("3 letter(s)") && !out.contains('@'), "{out}");
    let mode = |path: &std::path::Path| fs::metadata(path).map(|facts| facts.permissions().mode() & 0o777);
    ensure!(mode(&folder)? == 0o700);
    let mut files: Vec<_> =
        fs::read_dir(&folder)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    files.sort();
    ensure!(files == ["LISEZ-MOI.txt", "dossier.json", "fiche.asc", "lettres.mbox"], "{files:?}");
    for file in &files {
        ensure!(mode(&folder.join(file))? == 0o600, "{file}");
    }

    // Every mail opens with the therapist's key, signed by the practice, the oldest first; and with no client's.
    let mails = mails_of(&fs::read_to_string(folder.join("lettres.mbox"))?);
    let opened = mails.iter().map(|mail| s.therapist.read(mail.as_bytes())).collect::<Result<Vec<_>>>()?;
    ensure!(opened.len() == 3 && opened.iter().all(|mail| mail.decrypted), "{opened:?}");
    for (mail, words) in opened.iter().zip(["Une lettre de Marie.", "La réponse du lundi.", "Une seconde lettre."]) {
        says(&mail.text(), &[words])?;
        ensure!(mail.signed_by(&s.office.fingerprint) && mail.subject.contains(&s.c1), "{mail:?}");
    }
    ensure!(opened[0].text().contains("From un mot anglais."));
    for mail in &mails {
        ensure!(!s.marie.read(mail.as_bytes()).is_ok_and(|read| read.decrypted), "the client's key opens it");
    }
    let (card, _) = s.therapist.gpg(&["--decrypt"], &fs::read(folder.join("fiche.asc"))?)?;
    ensure!(String::from_utf8_lossy(&card).contains("joindre"));

    // The rest: facts, and nobody's name, address or words.
    let text = fs::read_to_string(folder.join("dossier.json"))?;
    let record: serde_json::Value = serde_json::from_str(&text)?;
    ensure!(record["client"] == s.c1.as_str() && record["state"] == "active", "{record}");
    let states: Vec<_> =
        record["messages"].as_array().into_iter().flatten().map(|m| (&m["kind"], &m["state"])).collect();
    ensure!(states.iter().any(|(kind, state)| *kind == "reply" && *state == "sent"), "{states:?}");
    ensure!(states.iter().any(|(kind, state)| *kind == "reply" && *state == "waiting"), "{states:?}");
    ensure!(record["messages"][0]["verdict"] == "verified", "{record}");
    ensure!(!text.contains('@') && !text.contains(&s.marie.name) && !text.contains("lettre de"), "{text}");
    says(&fs::read_to_string(folder.join("LISEZ-MOI.txt"))?, &[&s.c1, "Cabinet Exemple", "3 en tout", "02/03/2026"])?;

    // The therapist's notes are the therapist's: on demand, and apart.
    let (with_notes, name) = outside(&play, "export-notes");
    s.practice.run(&["client", "export", &s.c1, &name, "--notes"])?.expect_ok()?;
    let notes = mails_of(&fs::read_to_string(with_notes.join("notes.mbox"))?);
    ensure!(notes.len() == 1, "{notes:?}");
    says(&s.therapist.read(notes[0].as_bytes())?.text(), &["Une note pour moi."])?;
    ensure!(mails_of(&fs::read_to_string(with_notes.join("lettres.mbox"))?).len() == 3);
    let (_, name) = outside(&play, "export");

    // Nothing is overwritten, it is journalled, and an English client reads English.
    let again = s.practice.run(&["client", "export", &s.c1, &name])?;
    ensure!(again.status == Some(1) && again.stderr.contains("not overwritten"), "{again:?}");
    let journal = s.practice.json(&["journal", "show"])?;
    let lines: Vec<_> = journal.as_array().into_iter().flatten().filter(|line| line["kind"] == "exported").collect();
    ensure!(lines.len() == 2 && lines[0]["client"] == s.c1.as_str() && lines[0]["detail"]["letters"] == 3, "{lines:?}");
    speaks_english(&play, &s.c2)?;
    let (folder, name) = outside(&play, "export-en");
    s.practice.run(&["client", "export", &s.c2, &name])?.expect_ok()?;
    says(&fs::read_to_string(folder.join("README.txt"))?, &[&s.c2, "1 in all", "2026-03-02"])?;
    ensure!(folder.join("letters.mbox").exists() && folder.join("record.json").exists());

    // A body that was changed is not handed over: nothing is written.
    sql(&s.practice, &format!("UPDATE blob SET data = {}", octets(&s.practice, "substr(data, 1, 500)")))?;
    let (folder, name) = outside(&play, "export-none");
    let out = s.practice.run(&["client", "export", &s.c1, &name])?;
    ensure!(
        out.status == Some(1) && !folder.exists() && !outside(&play, "export-none.unfinished").0.exists(),
        "{out:?}"
    );
    Ok(())
}

fn speaks_english(play: &Play, code: &str) -> Result<()> {
    in_store(&play.scene.practice, async |tx| {
        let client = tx.client_by_code(&code.parse()?).await?.context("a client")?;
        Ok(tx.set_language(client.id, cadre::model::Language::En).await?)
    })
}
