//! `recover`: the therapist's key is lost, and the archive's secret opens what is stored.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};

use super::{mails_of, outside, verified};
use crate::common::Person;
use crate::common::lab::PATIENCE;
use crate::common::ledger::{octets, sql};
use crate::common::play::{Play, says};
use crate::common::scene::{OFFICE, march};

/// Writes a file that only its owner reads.
fn private(path: &std::path::Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
}

#[test]
fn the_archive_opens_everything_for_the_therapists_new_key() -> Result<()> {
    let mut play = Play::new()?;
    let born = march(1, 0, 0);
    let archive = Person::generate(&play.scene.lab, "archive", "", "archive@cabinet.example", born)?;
    archive.set_clock(march(4, 0, 0));
    let other = Person::generate(&play.scene.lab, "other", "", "archive@cabinet.example", born)?;
    private(&play.scene.practice.dir.join("archive.pgp"), &archive.certificate()?)?;
    play.scene.practice.set("keys.archive", "\"archive.pgp\"")?;
    let forward = play.forwarded(&play.scene.marie, "Une lettre de Marie.\n", march(2, 3, 0))?;
    play.answer(&forward, "/card\n\nÀ joindre par sa sœur.", march(2, 3, 10))?;
    play.answer(&forward, "La réponse du lundi.", march(2, 9, 0))?;
    play.pass(march(2, 17, 0))?;
    let later = play.forwarded(&play.scene.paul, "Une lettre de Paul.\n", march(2, 20, 0))?;
    play.answer(&later, "Une réponse qui attend.", march(2, 21, 0))?;

    // The key is lost; a new one stands in the configuration.
    play.scene.practice.set_time(march(3, 6, 0))?;
    let address = play.scene.therapist.address.clone();
    let new = Person::generate(&play.scene.lab, "new", "Dr Exemple", &address, march(3, 5, 0))?;
    new.meet(&play.scene.office)?;
    private(&play.scene.practice.dir.join("therapist.pgp"), &new.certificate()?)?;
    let (secret_path, secret) = outside(&play, "archive-secret.asc");
    private(&secret_path, &archive.secret_key()?)?;
    let (wrong_path, wrong) = outside(&play, "wrong-secret.asc");
    private(&wrong_path, &other.secret_key()?)?;
    let refused = play.scene.practice.run(&["recover", "--archive-secret", &wrong])?;
    ensure!(refused.status == Some(1) && refused.stderr.contains("not the one of"), "{refused:?}");
    let (status, _, told) = verified(&play)?;
    ensure!(status == Some(0) && told["old_keys"].as_u64() >= Some(3), "{told}");

    // Not while a daemon works, which would file to the old key meanwhile.
    let mut daemon = play.scene.practice.spawn_run()?;
    daemon.wait_line(if play.scene.practice.place.is_some() { "the mailbox is" } else { "running" }, PATIENCE)?;
    let refused = play.scene.practice.run(&["recover", "--archive-secret", &secret])?;
    let why = refused.stderr.contains("locked") || refused.stderr.contains("a gateway works on this practice");
    ensure!(refused.status == Some(1) && why && daemon.lives(), "{refused:?}");
    daemon.end()?;
    ensure!(sql(&play.scene.practice, "SELECT COUNT(*) FROM journal WHERE kind = 'recovery-began'")? == "0");

    // Killed after the first batch: what was done stays, and the rest follows.
    play.scene.practice.env("CADRE_FAILPOINT", "recovered-some");
    let killed = play.scene.practice.run(&["recover", "--archive-secret", &secret])?;
    ensure!(killed.status.is_none(), "{killed:?}");
    play.scene.practice.env("CADRE_FAILPOINT", "");
    let s = &play.scene;
    let told: serde_json::Value =
        serde_json::from_str(&s.practice.run(&["recover", "--archive-secret", &secret, "--json"])?.expect_ok()?)?;
    ensure!(told["already"] == 3 && told["resealed"] == 1 && told["left"] == serde_json::json!([]), "{told}");
    let (status, faults, told) = verified(&play)?;
    ensure!(status == Some(0) && faults.is_empty() && told["old_keys"] == 0, "{told}");
    ensure!(s.practice.run(&["journal", "verify"])?.ok());
    ensure!(sql(&s.practice, "SELECT COUNT(*) FROM journal WHERE kind = 'recovered'")? == "1");

    // The new key opens the export, with the practice's signature of that time; the archive's does; the lost one doesn't.
    let (folder, name) = outside(&play, "export");
    s.practice.run(&["client", "export", &s.c1, &name])?.expect_ok()?;
    let mails = mails_of(&fs::read_to_string(folder.join("lettres.mbox"))?);
    ensure!(mails.len() == 2);
    for (mail, words) in mails.iter().zip(["Une lettre de Marie.", "La réponse du lundi."]) {
        let read = new.read(mail.as_bytes())?;
        ensure!(read.decrypted && read.signed_by(&s.office.fingerprint), "{read:?}");
        says(&read.text(), &[words])?;
        ensure!(archive.read(mail.as_bytes())?.decrypted);
        ensure!(!s.therapist.read(mail.as_bytes()).is_ok_and(|read| read.decrypted), "the lost key opens it");
    }
    let (card, _) = new.gpg(&["--decrypt"], &fs::read(folder.join("fiche.asc"))?)?;
    ensure!(String::from_utf8_lossy(&card).contains("joindre"));

    // So does what lies in the mailbox, which `recover` doesn't touch.
    let copies = s.lab.mails(OFFICE, &s.lab.folder(&["Cadre", &s.c1]))?;
    ensure!(copies.len() == 2, "{}", copies.len());
    for copy in &copies {
        ensure!(archive.read(copy)?.decrypted && !new.read(copy).is_ok_and(|read| read.decrypted));
    }

    // Nothing of the archive's secret stayed, and what waited leaves as before.
    let kept: Vec<_> = fs::read_dir(&s.practice.dir)?.flatten().map(|entry| fs::read(entry.path())).collect();
    let armored = archive.secret_key()?;
    let part = &armored[armored.len() / 2..armored.len() / 2 + 48];
    ensure!(!kept.iter().flatten().any(|bytes| bytes.windows(part.len()).any(|window| window == part)));
    play.scene.therapist = new;
    let round = play.pass(march(3, 17, 0))?;
    says(&round.one(&play.scene.paul)?.read.text(), &["Une réponse qui attend."])?;
    Ok(())
}

/// What was filed before there was an archive, and what somebody changed, stays as it is and is named.
#[test]
fn what_the_archive_cant_open_is_said_and_left() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    play.forwarded(&s.marie, "Une lettre d'avant l'archive.\n", march(2, 3, 0))?;
    let archive = Person::generate(&s.lab, "archive", "", "archive@cabinet.example", march(1, 0, 0))?;
    private(&s.practice.dir.join("archive.pgp"), &archive.certificate()?)?;
    s.practice.set("keys.archive", "\"archive.pgp\"")?;
    play.forwarded(&s.paul, "Une lettre de Paul.\n", march(2, 4, 0))?;
    let new = Person::generate(&s.lab, "new", "Dr Exemple", &s.therapist.address, march(2, 5, 0))?;
    let (cert_path, cert) = outside(&play, "new.pgp");
    private(&cert_path, &new.certificate()?)?;
    let (secret_path, secret) = outside(&play, "archive-secret.asc");
    fs::write(&secret_path, archive.secret_key()?)?;
    fs::set_permissions(&secret_path, fs::Permissions::from_mode(0o644))?;
    s.practice.set_time(march(2, 6, 0))?;
    let open = s.practice.run(&["recover", "--archive-secret", &secret, "--to", &cert])?;
    ensure!(open.status == Some(1) && open.stderr.contains("chmod 600"), "{open:?}");
    fs::set_permissions(&secret_path, fs::Permissions::from_mode(0o600))?;
    let out = s.practice.run(&["recover", "--archive-secret", &secret, "--to", &cert, "--json"])?;
    let told: serde_json::Value = serde_json::from_str(&out.stdout)?;
    ensure!(out.status == Some(1) && told["resealed"] == 1 && told["not_for_archive"] == 1, "{out:?}");
    sql(&s.practice, &format!("UPDATE blob SET data = {}", octets(&s.practice, "substr(data, 1, 500)")))?;
    let out = s.practice.run(&["recover", "--archive-secret", &secret, "--json"])?;
    let told: serde_json::Value = serde_json::from_str(&out.stdout)?;
    ensure!(out.status == Some(1) && told["left"].as_array().is_some_and(|left| left.len() == 2), "{out:?}");
    ensure!(out.stdout.contains(&s.c1) && out.stdout.contains(&s.c2), "{out:?}");
    Ok(())
}
