//! `client erase` and `client hold`.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use super::outside;
use crate::common::lab::PATIENCE;
use crate::common::ledger::{hex, lying, reading, sql};
use crate::common::mail::find;
use crate::common::play::{Play, says};
use crate::common::postgres::Place;
use crate::common::scene::{OFFICE, march};
use crate::common::{Answer, Letter, canary};

/// A client with a filed letter, a card, a note and a sent reply; the forward's bytes.
fn treated(play: &Play) -> Result<Vec<u8>> {
    let s = &play.scene;
    s.letter(&s.marie, "Mon sujet secret", "Une lettre de Marie.\n", march(2, 3, 0))?;
    let forward = play.pass(march(2, 3, 0))?.one(&s.therapist)?.raw.clone();
    play.answer(&forward, "/card\n\nÀ joindre par sa sœur.", march(2, 3, 10))?;
    play.answer(&forward, "/note Une note pour moi.", march(2, 3, 20))?;
    play.answer(&forward, "La réponse du lundi.", march(2, 9, 0))?;
    play.pass(march(2, 17, 0))?;
    play.pass(march(2, 17, 10))?;
    Ok(forward)
}

/// What must not be found any more, as the database had it: the client's own key first.
fn traces(play: &Play) -> Result<Vec<Vec<u8>>> {
    let s = &play.scene;
    let octets = |part: &str, from: &str| -> Result<Vec<u8>> {
        let select = format!("SELECT {} {from} AND c.code = '{}'", hex(&s.practice, part), s.c1);
        Ok(data_encoding::HEXUPPER.decode(sql(&s.practice, &select)?.as_bytes())?)
    };
    let mut traces = vec![octets("k.wrapped", "FROM data_key k, client c WHERE k.client_id = c.id")?];
    for column in ["address_hash", "fingerprint_hash", "address", "name", "thread_root"] {
        traces.push(octets(column, "FROM client c WHERE 1 = 1")?);
    }
    for part in ["substr(b.data, 200, 60)", "m.message_id_hash", "m.subject", "m.origin_id_hash"] {
        traces.push(octets(
            part,
            "FROM message m JOIN blob b ON b.message_id = m.id JOIN client c ON c.id = m.client_id WHERE m.kind = 'letter'",
        )?);
    }
    traces.push(s.marie.fingerprint.clone().into_bytes());
    traces.retain(|trace| !trace.is_empty());
    ensure!(traces.len() >= 9, "the database has too little to look for");
    Ok(traces)
}

/// How many of the traces are in the database now: in SQLite's files, in PostgreSQL's rows.
fn found(play: &Play, traces: &[Vec<u8>]) -> Result<usize> {
    let practice = &play.scene.practice;
    let rows = tempfile::tempdir()?;
    let files: Vec<_> = match &practice.place {
        None => ["cadre.db", "cadre.db-wal", "journal.head"].iter().map(|name| practice.dir.join(name)).collect(),
        Some(place) => {
            place.at_rest(rows.path())?;
            fs::read_dir(rows.path())?.flatten().map(|entry| entry.path()).collect()
        }
    };
    let written = |trace: &[u8]| data_encoding::HEXLOWER.encode(trace).into_bytes();
    let there = |bytes: &[u8], trace: &[u8]| find(bytes, trace).or_else(|| find(bytes, &written(trace))).is_some();
    let count = |bytes: &[u8]| traces.iter().filter(|trace| there(bytes, trace)).count();
    Ok(files.iter().map(|file| count(&fs::read(file).unwrap_or_default())).sum())
}

/// Whether octets are in a file of PostgreSQL's, its write-ahead log left out.
fn rests_in_server(place: &Place, octets: &[u8]) -> Result<bool> {
    place.sql("CHECKPOINT")?;
    let rows = tempfile::tempdir()?;
    let databases = place.at_rest(rows.path())?.into_iter();
    let databases = databases.filter(|path| path.parent().is_some_and(|parent| parent.ends_with("base")));
    let files = databases.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    Ok(files.into_iter().any(|file| find(&fs::read(file.path()).unwrap_or_default(), octets).is_some()))
}

fn last_letters(play: &Play) -> usize {
    let s = &play.scene;
    let mails = play.sink().mails();
    let to_marie = mails.iter().filter(|mail| mail.to == [s.marie.address.clone()]);
    to_marie.filter(|mail| s.marie.read(&mail.data).is_ok_and(|read| read.subject.contains("effacé"))).count()
}

#[test]
fn an_erased_client_leaves_a_code_and_a_certificate_and_nothing_else() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    treated(&play)?;
    play.forwarded(&s.paul, "Une lettre de Paul.\n", march(2, 18, 0))?;
    let lying_there = lying(s, &["Cadre", &s.c1])?;
    ensure!(lying_there >= 2, "the folder has letter and reply");
    let traces = traces(&play)?;
    ensure!(found(&play, &traces)? >= traces.len() - 1, "what is looked for is there: all but the fingerprint");
    if let Some(place) = &s.practice.place {
        ensure!(rests_in_server(place, &traces[0])?, "the client's own key is there");
    }

    // Asked on a terminal only; refused while something is owed, and under legal hold.
    let out = s.practice.run(&["client", "erase", &s.c1])?;
    ensure!(out.status == Some(2) && out.stderr.contains("--yes"), "{out:?}");
    let out = s.practice.run(&["client", "erase", &s.c2, "--yes"])?;
    ensure!(out.status == Some(1) && out.stderr.contains("wait for an answer"), "{out:?}");
    s.practice.run(&["client", "hold", &s.c1, "--note", "le dossier 2026/17 du tribunal"])?.expect_ok()?;
    let out = s.practice.run(&["client", "erase", &s.c1, "--yes", "--force"])?;
    ensure!(out.status == Some(1) && out.stderr.contains("legal hold"), "{out:?}");
    ensure!(s.practice.json(&["client", "show", &s.c1])?["legal_hold"].is_string());
    ensure!(s.practice.json(&["status"])?["legal_holds"] == 1);
    ensure!(canary(&[&s.practice.dir], &["2026/17 du tribunal"])?.is_empty(), "the note rests readable");
    s.practice.run(&["client", "hold", &s.c1, "--end"])?.expect_ok()?;
    let again = s.practice.run(&["client", "hold", &s.c1, "--end"])?;
    ensure!(again.status == Some(1), "{again:?}");

    // Erased: the last letter first, then everything.
    let (path, name) = outside(&play, "certificate.txt");
    s.practice.set_time(march(2, 19, 0))?;
    let out = s.practice.run(&["client", "erase", &s.c1, "--yes", "--certificate", &name])?.expect_ok()?;
    ensure!(out.contains("is erased") && out.contains("Backups"), "{out}");
    let last = play.sink().mails().pop().context("no letter")?;
    ensure!(last.to == [s.marie.address.clone()], "{:?}", last.to);
    let read = s.marie.read(&last.data)?;
    says(&read.text(), &["effacé", "Cette lettre est la dernière"])?;
    ensure!(read.decrypted && read.signed_by(&s.office.fingerprint));
    ensure!(found(&play, &traces)? == 0, "something is still there");
    if let Some(place) = &s.practice.place {
        ensure!(!rests_in_server(place, &traces[0])?, "the client's own key is in a file of the server's");
    }
    ensure!(!s.lab.imap(OFFICE)?.folders()?.contains(&s.lab.folder(&["Cadre", &s.c1])), "the folder is there");
    ensure!(canary(&[&s.practice.dir], &[&s.marie.name, &s.marie.address, "Mon sujet secret"])?.is_empty());
    ensure!(sql(&s.practice, &format!("SELECT COUNT(*) FROM used_code WHERE code = '{}'", s.c1))? == "1");
    let gone = s.practice.run(&["client", "show", &s.c1])?;
    ensure!(gone.status == Some(1) && gone.stderr.contains("there is no client"), "{gone:?}");
    ensure!(s.practice.run(&["verify"])?.ok() && s.practice.run(&["journal", "verify"])?.ok());

    // The certificate: signed by the practice, without a name, its hash in the journal.
    let text = fs::read_to_string(&path)?;
    let (_, status) = s.therapist.gpg(&["--verify"], text.as_bytes())?;
    let good = status.iter().any(|line| line.contains("VALIDSIG") && line.contains(&s.office.fingerprint));
    ensure!(good, "{status:?}");
    says(
        &text,
        &[
            &s.c1,
            "Lettres reçues : 1.",
            "Fiche : oui",
            "envoyée, chiffrée",
            &format!("{lying_there} message(s)"),
            "copies de sauvegarde",
        ],
    )?;
    for word in [&s.marie.name, &s.marie.address, &s.marie.fingerprint] {
        ensure!(!text.contains(word.as_str()), "{word} is in the certificate");
    }
    let json: serde_json::Value =
        serde_json::from_str(&text[text.find("\n{").context("no JSON")?..=text.rfind('}').context("no JSON")?])?;
    ensure!(json["code"] == s.c1.as_str() && json["erased"]["letters_in"] == 1, "{json}");
    let journal = s.practice.json(&["journal", "show"])?;
    let lines: Vec<_> =
        journal.as_array().into_iter().flatten().filter(|line| line["client"] == s.c1.as_str()).collect();
    let done = lines.last().context("no line")?;
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
    ensure!(done["kind"] == "erasure-done" && done["detail"]["certificate"] == hash.as_str(), "{done}");
    ensure!(json["journal_lines"] == lines.len(), "{json} {}", lines.len());
    ensure!(!journal.to_string().contains(&s.marie.fingerprint), "the journal leads to a person");

    // Written again on demand; a letter that still comes is a stranger's; nobody else is touched.
    let (again, name) = outside(&play, "again.txt");
    s.practice.run(&["client", "erase", &s.c1, "--certificate", &name])?.expect_ok()?;
    ensure!(fs::read_to_string(again)? == text);
    s.letter(&s.marie, "Encore moi", "Une lettre d'une inconnue.\n", march(2, 20, 0))?;
    play.pass(march(2, 20, 0))?;
    ensure!(sql(&s.practice, "SELECT COUNT(*) FROM message WHERE kind = 'request'")? == "1");
    ensure!(play.states(&s.c2, "letter")? == ["filed"]);
    Ok(())
}

#[test]
fn an_erasure_that_is_killed_anywhere_goes_on_and_sends_one_letter() -> Result<()> {
    let mut play = Play::new()?;
    treated(&play)?;
    let traces = traces(&play)?;
    let code = play.scene.c1.clone();
    play.scene.practice.set_time(march(2, 19, 0))?;
    for place in ["erasure-rows", "erasure-rows-gone", "erasure-log", "erasure-folder"] {
        play.scene.practice.env("CADRE_FAILPOINT", place);
        let out = play.scene.practice.run(&["client", "erase", &code, "--yes"])?;
        ensure!(out.status.is_none(), "{place}: not killed: {out:?}");
    }
    play.scene.practice.env("CADRE_FAILPOINT", "");
    ensure!(play.scene.practice.json(&["status"])?["erasures"] == 1);
    play.pass(march(2, 19, 30))?;
    let s = &play.scene;
    ensure!(play.scene.practice.json(&["status"])?["erasures"] == 0);
    ensure!(found(&play, &traces)? == 0, "something is still there");
    ensure!(!s.lab.imap(OFFICE)?.folders()?.contains(&s.lab.folder(&["Cadre", &code])));
    ensure!(last_letters(&play) == 1, "{} last letters", last_letters(&play));
    let told = s.practice.json(&["client", "erase", &code])?;
    ensure!(told["done"] == true && told["letter"] == "sent" && told["erased"]["letters_in"] == 1, "{told}");
    ensure!(s.practice.run(&["journal", "verify"])?.ok() && s.practice.run(&["verify"])?.ok());
    Ok(())
}

#[test]
fn the_daemon_erases_too_and_a_muted_person_gets_no_letter() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = treated(&play)?;
    play.answer(&forward, "/mute", march(2, 18, 0))?;
    s.practice.set_time(march(2, 19, 0))?;
    let before = play.sink().mails().len();
    s.practice.set("imap.poll", "\"5s\"")?;
    let mut daemon = s.practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    let told = s.practice.json(&["client", "erase", &s.c1, "--yes"])?;
    ensure!(told["done"] == true && told["letter"] == "none", "{told}");
    // The daemon did it: nobody else has the mailbox meanwhile.
    daemon.wait_line("record is erased", PATIENCE)?;
    daemon.end()?;
    ensure!(play.sink().mails().len() == before && last_letters(&play) == 0);
    let by: Vec<_> = play.scene.practice.json(&["journal", "show"])?.as_array().cloned().unwrap_or_default();
    ensure!(by.iter().filter(|line| line["kind"] == "erasure-done").count() == 1, "{by:?}");
    Ok(())
}

/// Who reads the database as it was keeps old pages alive: the erasure isn't done before they are gone too.
#[test]
fn who_still_reads_the_erased_is_waited_for() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    treated(&play)?;
    let traces = traces(&play)?;
    s.practice.set_time(march(2, 19, 0))?;
    reading(&s.practice, || {
        let told = s.practice.json(&["client", "erase", &s.c1, "--yes"])?;
        ensure!(told["done"] == false && told["rows"].is_string() && told["folder"].is_null(), "{told}");
        Ok(())
    })?;
    let told = s.practice.json(&["client", "erase", &s.c1])?;
    ensure!(told["done"] == true && found(&play, &traces)? == 0, "{told}");
    Ok(())
}

/// A backup from before brings the person back, and `restore` sees to it that they go again.
#[test]
fn a_restore_brings_nobody_back_who_was_erased() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    treated(&play)?;
    let traces = traces(&play)?;
    let (_, copy) = outside(&play, "copy.db");
    s.practice.set_time(march(2, 19, 0))?;
    s.practice.run(&["backup", &copy])?.expect_ok()?;
    s.practice.run(&["client", "erase", &s.c1, "--yes"])?.expect_ok()?;
    ensure!(last_letters(&play) == 1);
    let told: serde_json::Value =
        serde_json::from_str(&s.practice.run(&["restore", &copy, "--replace", "--json"])?.expect_ok()?)?;
    ensure!(told["erased_again"] == serde_json::json!([s.c1.as_str()]), "{told}");
    ensure!(found(&play, &traces)? > 0, "the copy has nothing to erase");
    play.pass(march(2, 20, 0))?;
    let gone = s.practice.run(&["client", "show", &s.c1])?;
    ensure!(gone.status == Some(1) && gone.stderr.contains("there is no client"), "{gone:?}");
    ensure!(found(&play, &traces)? == 0, "something is still there");
    ensure!(last_letters(&play) == 1, "told a second time");
    Ok(())
}

/// The server says no to the folder, or isn't there: the rows go, the rest waits.
#[test]
fn without_the_mail_servers_the_order_stands_and_is_done_later() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    treated(&play)?;
    s.practice.set_time(march(2, 19, 0))?;
    s.lab.stop_imap()?;
    let told = s.practice.run(&["client", "erase", &s.c1, "--yes", "--json"])?.expect_ok()?;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    ensure!(told["done"] == false, "{told}");
    ensure!(last_letters(&play) == 1, "the last letter needs no mailbox");
    // Nothing else leaves to a person who is being erased.
    let letter = Letter::new(OFFICE, "Cadre", &format!("/to {}\n\nUne dernière réponse.", s.c1)).at(march(2, 19, 10));
    s.lab.start_imap()?;
    s.therapist.deliver(&s.lab, &letter)?;
    play.pass(march(2, 19, 20))?;
    play.pass(march(3, 17, 0))?;
    ensure!(play.sink().mails().iter().all(|mail| {
        mail.to != [s.marie.address.clone()]
            || s.marie.read(&mail.data).is_ok_and(|read| !read.text().contains("Une dernière réponse."))
    }));
    let told = s.practice.json(&["client", "erase", &s.c1])?;
    ensure!(told["done"] == true, "{told}");
    Ok(())
}

/// A letter of a person who is being erased is passed on and goes with the rest; afterwards it is a stranger's, also
/// when somebody sends the very same one again.
#[test]
fn what_still_comes_goes_with_the_rest_and_old_mail_is_nobodys() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    treated(&play)?;
    s.practice.set_time(march(2, 19, 0))?;
    play.script([Answer::AtRcpt("451 4.3.0 later".into())]);
    let told = s.practice.json(&["client", "erase", &s.c1, "--yes"])?;
    ensure!(told["done"] == false && told["letter"] == "waiting" && told["rows"].is_null(), "{told}");
    let hold = s.practice.run(&["client", "hold", &s.c1, "--note", "trop tard"])?;
    ensure!(hold.status == Some(1) && hold.stderr.contains("being erased"), "{hold:?}");

    let late = Letter::new(OFFICE, "Encore un mot", "La lettre de trop.\n").at(march(2, 19, 20));
    let raw = s.marie.deliver(&s.lab, &late)?;
    let round = play.pass(march(2, 19, 30))?;
    ensure!(round.one(&s.therapist)?.read.text().contains("La lettre de trop."), "{}", round.story());
    ensure!(round.to(&s.marie).count() == 1 && last_letters(&play) == 1, "the last letter alone: {}", round.story());
    let told = s.practice.json(&["client", "erase", &s.c1])?;
    ensure!(told["done"] == true && told["letter"] == "sent" && told["erased"]["letters_in"] == 2, "{told}");
    let left =
        sql(&s.practice, "SELECT COUNT(*) FROM message m LEFT JOIN client c ON c.id = m.client_id WHERE c.id IS NULL")?;
    ensure!(left == "0", "{left} messages of nobody's");
    ensure!(!s.lab.imap(OFFICE)?.folders()?.contains(&s.lab.folder(&["Cadre", &s.c1])), "the folder is there");

    // The same bytes from the server, which had them.
    s.lab.deliver(&s.marie.address, OFFICE, &raw)?;
    let round = play.pass(march(2, 19, 40))?;
    ensure!(round.one(&s.marie)?.read.text().contains("n’est pas connue"), "{}", round.story());
    let request = "SELECT verdict FROM message WHERE kind = 'request'";
    ensure!(sql(&s.practice, request)? == "unknown-signer", "{:?}", sql(&s.practice, request));
    let show = s.practice.run(&["thread", &s.c1])?;
    ensure!(show.status == Some(1), "{show:?}");
    ensure!(!s.lab.imap(OFFICE)?.folders()?.contains(&s.lab.folder(&["Cadre", &s.c1])), "the folder is there again");
    ensure!(s.practice.run(&["verify"])?.ok() && s.practice.run(&["journal", "verify"])?.ok());
    Ok(())
}

#[test]
fn by_force_what_waits_never_leaves() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = treated(&play)?;
    play.answer(&forward, "Une réponse qui attend.", march(2, 18, 0))?;
    play.letter(&s.marie, "Cette nuit c'est décidé : je veux mourir.\n", march(2, 18, 10))?;
    s.practice.set_time(march(2, 18, 15))?;
    let out = s.practice.run(&["client", "erase", &s.c1, "--yes"])?;
    ensure!(out.status == Some(1), "{out:?}");
    says(&out.stderr, &["wait for an answer", "wait to leave", "an alert", "--force"])?;
    let told = s.practice.json(&["client", "erase", &s.c1, "--yes", "--force"])?;
    ensure!(told["done"] == true && told["erased"]["alerts"] == 1, "{told}");
    for at in [march(2, 18, 50), march(3, 7, 0), march(3, 17, 0), march(4, 17, 0)] {
        let round = play.pass(at)?;
        ensure!(round.to(&s.marie).all(|post| !post.read.text().contains("qui attend")), "{}", round.story());
        ensure!(!round.to(&s.therapist).any(|post| post.read.text().contains(&s.c1)), "{}", round.story());
    }
    ensure!(last_letters(&play) == 1);
    ensure!(sql(&s.practice, "SELECT COUNT(*) FROM outbox WHERE kind = 'reply' AND state = 'waiting'")? == "0");
    Ok(())
}
