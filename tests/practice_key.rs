//! The practice's own key: shown, published, replaced, revoked (SPEC sections 3, 6 and 12), on a real Dovecot, with GnuPG
//! and Sequoia as the readers.

mod common;
#[path = "keylife/made.rs"]
mod made;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use cadre::model::MessageRow;
use cadre::store::Kept;
use chrono::TimeDelta;
use common::ledger::in_store;
use common::play::{Play, says};
use common::scene::{OFFICE, march};
use common::{Letter, Person};

/// `key show --json`.
fn shown(play: &Play) -> Result<serde_json::Value> {
    play.scene.practice.json(&["key", "show"])
}

fn current(play: &Play) -> Result<String> {
    Ok(shown(play)?["fingerprint"].as_str().context("no fingerprint")?.to_owned())
}

/// A letter that is encrypted to this key of the practice's, whatever other it has.
fn to_key(person: &Person, key: &str, text: &str, at: chrono::DateTime<chrono::Utc>) -> Letter {
    let keys = Some(vec![key.to_owned(), person.fingerprint.clone()]);
    Letter { keys, ..Letter::new(OFFICE, "Une lettre", text).at(at) }
}

/// The subjects of what Marie got about the practice's key.
fn about_key(round: &common::play::Round, person: &Person) -> usize {
    round
        .to(person)
        .filter(|post| ["Notre nouvelle clé", "Notre clé"].iter().any(|s| post.read.subject.starts_with(s)))
        .count()
}

#[test]
fn a_new_key_is_told_under_the_old_ones_signature_and_the_old_one_still_reads() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let old = current(&play)?;
    ensure!(old == s.office.fingerprint);
    let forward = play.forwarded(&s.marie, "Une première lettre.\n", march(2, 8, 0))?;
    play.answer(&forward, "Une réponse qui attend.", march(2, 9, 0))?;
    // On its way when the key is replaced.
    s.marie.deliver(&s.lab, &to_key(&s.marie, &old, "Celle-ci croise la nouvelle clé.\n", march(2, 9, 30)))?;
    let out = s.practice.run_at(march(2, 10, 0), &["key", "rotate", "--json"])?;
    ensure!(out.status == Some(2) && out.stderr.contains("--yes"), "without a person or --yes: {out:?}");
    let told: serde_json::Value =
        serde_json::from_str(&s.practice.run(&["key", "rotate", "--yes", "--json"])?.expect_ok()?)?;
    let new = current(&play)?;
    ensure!(new != old && told["fingerprint"] == new.as_str() && told["old"] == old.as_str(), "{told}");
    ensure!(told["clients_told"] == 2 && told["therapists_told"] == 1, "{told}");
    ensure!(shown(&play)?["retired"][0]["fingerprint"] == old.as_str());
    let mode = |name: &str| fs::metadata(s.practice.dir.join(name)).map(|facts| facts.permissions().mode() & 0o777);
    ensure!(mode("practice.key.pgp")? == 0o600);

    let round = play.pass(march(2, 10, 5))?;
    ensure!(round.counts["filed"] == 1 && round.counts["held"] == 0, "{}", round.story());
    for person in [&s.marie, &s.paul, &s.therapist] {
        let letters: Vec<_> = round.to(person).filter(|post| post.read.subject.contains("nouvelle clé")).collect();
        ensure!(letters.len() == 1, "{} {}", person.name, round.story());
        let letter = letters[0];
        ensure!(letter.read.decrypted && letter.read.signed_by(&old), "{:?}", letter.read.status);
        let grouped = new.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
        says(&letter.read.text(), &[&grouped])?;
        let key = letter.read.attachments.iter().find(|(name, ..)| name == "openpgp-key.asc").context("no key")?;
        person.import(&key.2)?;
        ensure!(made::announced(&letter.raw)?.fingerprint() == new, "Autocrypt has the new key");
    }
    // The old key's word for the new one: GnuPG finds it good.
    let (checked, _) = s.marie.gpg(&["--with-colons", "--check-sigs", &new], b"")?;
    let checked = String::from_utf8_lossy(&checked).into_owned();
    ensure!(checked.lines().any(|line| line.starts_with("sig:!") && line.contains(&old[24..])), "{checked}");

    // What waited leaves at its slot, under the new key.
    let round = play.pass(march(2, 17, 0))?;
    let reply = round.one(&s.marie)?;
    ensure!(reply.read.signed_by(&new) && reply.read.text().contains("Une réponse qui attend"), "{}", round.story());

    // What is still encrypted to the old key is read, and its writer told once.
    let mut told = Vec::new();
    for (day, text) in [(3, "Encore l'ancienne clé.\n"), (4, "Et encore.\n")] {
        s.marie.deliver(&s.lab, &to_key(&s.marie, &old, text, march(day, 8, 0)))?;
        let round = play.pass(march(day, 8, 1))?;
        ensure!(round.counts["filed"] == 1, "{}", round.story());
        ensure!(round.to(&s.therapist).any(|post| post.read.text().contains(text.trim())), "{}", round.story());
        told.push(about_key(&round, &s.marie));
    }
    ensure!(told == [1, 0], "{told:?}");
    // To the new one nothing is to be said, and the therapist's order to the old one is obeyed.
    s.marie.deliver(&s.lab, &to_key(&s.marie, &new, "La nouvelle, enfin.\n", march(5, 8, 0)))?;
    let round = play.pass(march(5, 8, 1))?;
    ensure!(round.counts["filed"] == 1 && about_key(&round, &s.marie) == 0, "{}", round.story());
    let forward = round.one(&s.therapist)?.raw.clone();
    let answer = s.therapist.reply_to(&forward, "À l'ancienne clé.")?.at(march(5, 9, 0));
    let answer = Letter { keys: Some(vec![old.clone(), s.therapist.fingerprint.clone()]), ..answer };
    s.therapist.deliver(&s.lab, &answer)?;
    let round = play.pass(march(5, 9, 1))?;
    ensure!(play.states(&s.c1, "reply")?.iter().any(|state| state == "waiting"), "{}", round.story());
    let about = round.to(&s.therapist).filter(|post| post.read.subject.contains("nouvelle clé du cabinet")).count();
    ensure!(about == 1, "{}", round.story());
    Ok(())
}

#[test]
fn a_rotation_that_is_killed_anywhere_is_finished_and_told_once() -> Result<()> {
    let mut play = Play::new()?;
    let places = ["key-announcing", "revocation-written", "ring-written", "key-announcing:2", "key-announced"];
    for (hour, place) in (8..).zip(places) {
        let before = current(&play)?;
        play.scene.practice.env("CADRE_FAILPOINT", place);
        let out = play.scene.practice.run_at(march(2, hour, 0), &["key", "rotate", "--yes"])?;
        ensure!(out.status.is_none(), "{place}: not killed: {out:?}");
        play.scene.practice.env("CADRE_FAILPOINT", "");
        let after = current(&play)?;
        ensure!((after == before) == ["key-announcing", "revocation-written"].contains(&place), "{place}");
        let mut told = 0;
        for minute in [5, 6] {
            let round = play.pass(march(2, hour, minute))?;
            told += about_key(&round, &play.scene.marie);
            let letters = round.to(&play.scene.marie).filter(|post| post.read.subject.contains("clé"));
            for letter in letters {
                ensure!(letter.read.signed_by(&before), "{place}: {:?}", letter.read.status);
                play.scene.marie.import(&letter.read.attachments.first().context("no key")?.2)?;
            }
        }
        ensure!(told == usize::from(after != before), "{place}: told {told} times");
    }
    // Given again, the command finishes what was begun and makes no other key.
    play.scene.practice.env("CADRE_FAILPOINT", "ring-written");
    play.scene.practice.run_at(march(2, 14, 0), &["key", "rotate", "--yes"])?;
    play.scene.practice.env("CADRE_FAILPOINT", "");
    let begun = current(&play)?;
    let said: serde_json::Value =
        serde_json::from_str(&play.scene.practice.run(&["key", "rotate", "--yes", "--json"])?.expect_ok()?)?;
    ensure!(said["clients_told"] == 2 && current(&play)? == begun, "{said}");
    let leftover =
        fs::read_dir(&play.scene.practice.dir)?.flatten().any(|e| e.file_name().to_string_lossy().ends_with(".new"));
    ensure!(!leftover, "a temporary file stayed");
    // `run` is the only one that works on the database: the command says so.
    let mut daemon = play.scene.practice.spawn_run()?;
    daemon.wait_line("running", common::lab::PATIENCE)?;
    let out = play.scene.practice.run(&["key", "rotate", "--yes"])?;
    ensure!(out.status == Some(1) && out.stderr.contains("stop it first"), "{out:?}");
    daemon.end()?;
    Ok(())
}

#[test]
fn a_stolen_key_is_revoked_nothing_leaves_until_there_is_a_new_one() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let old = current(&play)?;
    let forward = play.forwarded(&s.marie, "Avant le vol.\n", march(2, 8, 0))?;
    play.answer(&forward, "Une réponse qui attend.", march(2, 9, 0))?;
    s.practice.set("operator.alarm_command", "'echo \"$CADRE_CLASS\" >> alarms'")?;
    ensure!(thief_opens(&play)?, "before, the waiting reply is sealed to the key that will be stolen");
    s.practice.run_at(march(2, 10, 0), &["key", "revoke", "--yes"])?.expect_ok()?;
    let again = s.practice.run(&["key", "revoke", "--yes"])?;
    ensure!(again.status == Some(1) && again.stderr.contains("revoked already"), "{again:?}");
    ensure!(shown(&play)?["revoked"].is_string());
    // Frozen: not even an acknowledgement; the letter stays in the mailbox.
    s.letter(&s.marie, "Une lettre", "Pendant que rien ne part.\n", march(2, 10, 30))?;
    for at in [march(2, 10, 31), march(2, 17, 0)] {
        let round = play.pass(at)?;
        ensure!(round.posts.is_empty() && round.counts["filed"] == 0, "{}", round.story());
    }
    ensure!(s.lab.mails(OFFICE, "INBOX")?.len() == 1, "the letter waits in INBOX");
    ensure!(fs::read_to_string(s.practice.dir.join("alarms"))?.contains("practice-key-revoked"));
    let status = s.practice.json(&["status"])?;
    ensure!(status["practice_key"] == "revoked" && status["todo"].to_string().contains("key rotate"), "{status}");
    let check = s.practice.run(&["check"])?;
    ensure!(check.stdout.contains("revoked: nothing leaves") && check.status == Some(1), "{check:?}");

    s.practice.run_at(march(3, 8, 0), &["key", "rotate", "--yes"])?.expect_ok()?;
    let new = current(&play)?;
    ensure!(new != old && !thief_opens(&play)?, "the stolen key opens nothing that waits any more");
    let round = play.pass(march(3, 8, 1))?;
    let letter = round.to(&s.marie).find(|post| post.read.subject.contains("vive voix")).context("Marie isn't told")?;
    ensure!(letter.read.decrypted && !letter.read.signed_by(&old), "{:?}", letter.read.status);
    s.marie.import(&letter.read.attachments.first().context("no key")?.2)?;
    let letter = s.marie.read(&letter.raw)?;
    ensure!(letter.signed_by(&new));
    says(&letter.text(), &["n'est plus sûre", "Appelez votre thérapeute", "n'écrivez ici rien"])?;
    let raws: String = round.posts.iter().map(|post| String::from_utf8_lossy(&post.raw).into_owned()).collect();
    // Three letters may stand in any base64.
    ensure!(!raws.contains("volé") && !raws.contains("vol=C3"), "nothing in clear");
    ensure!(round.counts["filed"] == 1, "what waited is filed: {}", round.story());
    // What was due while nothing left leaves now, under the new key.
    let mut replies = Vec::new();
    for post in round.to(&s.marie).chain(play.pass(march(3, 17, 0))?.to(&s.marie)) {
        let read = s.marie.read(&post.raw)?;
        if read.text().contains("Une réponse qui attend") {
            ensure!(read.signed_by(&new), "{:?}", read.status);
            replies.push(read);
        }
    }
    ensure!(replies.len() == 1, "{} replies", replies.len());
    // The thief's mail in the practice's name isn't taken for the practice's own.
    s.office.set_clock(march(4, 8, 0));
    let forged = Letter {
        forged_from: Some(("Marie".into(), s.marie.address.clone())),
        ..to_key(&s.office, &new, "Du voleur.\n", march(4, 8, 0))
    };
    s.office.import(&s.practice.run(&["key", "export"])?.expect_ok()?.into_bytes())?;
    s.office.deliver(&s.lab, &forged)?;
    let round = play.pass(march(4, 8, 1))?;
    ensure!(round.counts["filed"] == 0 && round.counts["held"] == 1, "{}", round.story());
    Ok(())
}

/// Whether the first key of the practice opens anything that lies in the database, for who has the record key too.
fn thief_opens(play: &Play) -> Result<bool> {
    let mut opened = false;
    in_store(&play.scene.practice, async |tx| {
        for row in tx.kept_rows(Kept::Body).await? {
            let body = tx.blob(MessageRow(row)).await?.context("a body")?;
            opened |= play.scene.office.gpg(&["--decrypt"], &body).is_ok();
        }
        Ok(())
    })?;
    Ok(opened)
}

/// The revocation that `init` wrote beside the archive's secret key is the one that is used; `init`'s own files.
#[test]
fn the_revocation_of_init_revokes_and_no_other_does() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let made = s.lab.dir.join("made");
    let args =
        ["init", &made.display().to_string(), "--address", OFFICE, "--name", "Cabinet", "--yes"].map(str::to_owned);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let out = s.practice.run_at(march(2, 8, 0), &args)?;
    let secret = fs::read_dir(&made)?.flatten().map(|e| e.path()).find(|p| {
        p.to_string_lossy().contains("archive") && fs::read_to_string(p).is_ok_and(|t| t.contains(":-----BEGIN"))
    });
    let secret = secret.with_context(|| format!("no revocation beside the archive key: {out:?}"))?;
    let file = secret.display().to_string();
    // Of another key: nothing is changed.
    let other = s.practice.run(&["key", "revoke", "--yes", "--with", &file])?;
    ensure!(other.status == Some(1) && other.stderr.contains("no revocation of this key"), "{other:?}");
    ensure!(shown(&play)?["revoked"].is_null());
    // Of this key.
    fs::copy(made.join("practice.key.pgp"), s.practice.dir.join("practice.key.pgp"))?;
    fs::set_permissions(s.practice.dir.join("practice.key.pgp"), fs::Permissions::from_mode(0o600))?;
    let new = current(&play)?;
    // The file has another key, and the one that people know isn't in it: `run` tells nobody by itself.
    play.pass(march(2, 9, 0))?;
    fs::copy(made.join("practice.key.pgp"), s.lab.dir.join("kept.key"))?;
    let round = play.pass(march(2, 9, 1))?;
    ensure!(round.posts.is_empty(), "{}", round.story());
    s.practice.run(&["key", "revoke", "--yes", "--with", &file])?.expect_ok()?;
    ensure!(shown(&play)?["revoked"].is_string() && current(&play)? == new);
    Ok(())
}

#[test]
fn the_key_is_exported_and_published_as_other_programs_expect_it() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    s.practice.run_at(march(2, 8, 0), &["key", "rotate", "--yes"])?.expect_ok()?;
    let new = current(&play)?;
    let shown = shown(&play)?;
    ensure!(shown["expires"].is_null() && shown["keys"][0]["algorithm"] == "EdDSA Ed25519", "{shown}");
    ensure!(shown["keys"][1]["uses"] == serde_json::json!(["encrypt"]), "{shown}");
    ensure!(shown["words"]["exemple"].as_str().is_some_and(|words| words.split(' ').count() == 6), "{shown}");
    let text = s.practice.run(&["key", "show"])?.expect_ok()?;
    ensure!(text.contains(&new[..4]) && text.contains("without expiry") && !text.contains('@'), "{text}");

    let reader = Person::persona(&s.lab, "inconnue")?;
    let armored = s.practice.run(&["key", "export"])?.expect_ok()?;
    reader.import(armored.as_bytes())?;
    let file = s.lab.dir.join("office.gpg");
    s.practice.run(&["key", "export", "--binary", "--output", &file.display().to_string()])?.expect_ok()?;
    ensure!(!armored.contains("PRIVATE") && reader.gpg(&["--list-keys", &new], b"").is_ok());

    let site = s.lab.dir.join("site");
    let urls = s.practice.json(&["key", "wkd", &site.display().to_string()])?;
    let root = site.join(".well-known/openpgpkey");
    let hash = peer_hash()?.context("neither gpg-wks-client nor sq is here")?;
    for base in [root.join("cabinet.example"), root.clone()] {
        ensure!(fs::read(base.join("policy"))?.is_empty());
        let bytes = fs::read(base.join("hu").join(&hash))?;
        ensure!(bytes == fs::read(&file)?, "the certificate, binary");
        ensure!(
            fs::metadata(base.join("hu").join(&hash))?.permissions().mode() & 0o444 == 0o444,
            "a web server reads it"
        );
        let (listing, _) = reader.gpg(&["--with-colons", "--show-keys"], &bytes)?;
        ensure!(String::from_utf8_lossy(&listing).contains(&new), "GnuPG reads it");
    }
    ensure!(urls["urls"][0].as_str().is_some_and(|url| url.contains(&hash) && url.ends_with("?l=ecrire")), "{urls}");
    same_as_sequoia(&site, &file)
}

/// The file's name as other programs compute it.
fn peer_hash() -> Result<Option<String>> {
    for program in ["/usr/lib/gnupg/gpg-wks-client", "gpg-wks-client"] {
        let out = Command::new(program).args(["--print-wkd-hash", OFFICE]).stdin(Stdio::null()).output();
        if let Ok(out) = out.as_ref()
            && out.status.success()
        {
            return Ok(String::from_utf8_lossy(&out.stdout).split_whitespace().next().map(str::to_owned));
        }
    }
    let out = Command::new("sq").args(["wkd", "direct-url", OFFICE]).output()?;
    let url = String::from_utf8_lossy(&out.stdout).into_owned();
    Ok(url.split("/hu/").nth(1).and_then(|rest| rest.split('?').next()).map(|hash| hash.trim().to_owned()))
}

/// Sequoia writes the same tree from the same certificate.
fn same_as_sequoia(site: &Path, certificate: &Path) -> Result<()> {
    let theirs = site.with_file_name("theirs");
    let out = Command::new("sq")
        .args(["wkd", "generate"])
        .arg(&theirs)
        .arg("cabinet.example")
        .arg(certificate)
        .output()
        .context("sq")?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let inside = Path::new(".well-known/openpgpkey/cabinet.example/hu");
    let names = |root: &Path| -> Result<Vec<_>> {
        Ok(fs::read_dir(root.join(inside))?.flatten().map(|entry| entry.file_name()).collect())
    };
    ensure!(names(site)? == names(&theirs)?, "{:?} {:?}", names(site)?, names(&theirs)?);
    Ok(())
}

/// THREATS 10, for keys that are the practice's: 30, 14 and 1 days before and after; one without expiry never.
#[test]
fn row_10_the_practices_and_the_archives_expiry_is_announced_to_therapist_and_operator() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    s.practice.set("operator.address", "\"ops@cabinet.example\"")?;
    let born = march(1, 12, 0) - TimeDelta::days(60);
    let archive = Person::generate(&s.lab, "archive", "", "archive@cabinet.example", born)?;
    let (office, end) = (&s.office, march(31, 12, 0) + TimeDelta::days(10));
    for key in [office, &archive] {
        key.set_clock(march(1, 0, 0));
        let span = format!("seconds={}", (end - march(1, 0, 0)).num_seconds());
        key.gpg(&["--quick-set-expire", &key.fingerprint, &span], b"")?;
        key.gpg(&["--quick-set-expire", &key.fingerprint, &span, "*"], b"")?;
    }
    fs::write(s.practice.dir.join("practice.key.pgp"), office.secret_key()?)?;
    archive.certificate_file(&s.practice.dir.join("archive.pgp"))?;
    s.practice.set("keys.archive", "\"archive.pgp\"")?;
    let mut told = Vec::new();
    for days in [41, 31, 30, 29, 14, 13, 1] {
        let at = end - TimeDelta::days(days) + TimeDelta::minutes(1);
        let round = play.pass(at)?;
        let count = |words: &str| {
            round
                .to(&s.therapist)
                .filter(|post| post.read.text().contains(words))
                .filter(|post| !post.is_routine())
                .count()
        };
        let operator = round.posts.iter().filter(|post| post.to == ["ops@cabinet.example"]).count();
        told.push((days, count("La clé du cabinet"), count("La clé d\u{2019}archive"), operator));
    }
    let expected =
        [(41, 0, 0, 0), (31, 0, 0, 0), (30, 1, 1, 2), (29, 0, 0, 0), (14, 1, 1, 2), (13, 0, 0, 0), (1, 1, 1, 2)];
    ensure!(told == expected, "{told:?}");
    // Without expiry: never, and not 1970.
    for key in [office, &archive] {
        key.gpg(&["--quick-set-expire", &key.fingerprint, "never"], b"")?;
        key.gpg(&["--quick-set-expire", &key.fingerprint, "never", "*"], b"")?;
    }
    fs::write(s.practice.dir.join("practice.key.pgp"), office.secret_key()?)?;
    archive.certificate_file(&s.practice.dir.join("archive.pgp"))?;
    let round = play.pass(end + TimeDelta::days(400))?;
    ensure!(!round.posts.iter().any(|post| post.read.text().contains("expir")), "{}", round.story());
    Ok(())
}
