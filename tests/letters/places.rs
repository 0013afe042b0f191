//! Where letters come from and where their originals go.

use anyhow::{Context as _, Result, ensure};

use crate::common::lab::{PATIENCE, wait};
use crate::common::scene::OFFICE;
use crate::common::{Form, LabOptions, Namespace, PracticeOptions};
use crate::desk::{Desk, Seen, each, light, with_field};

const WORDS: &str = "un escalier sans rampe au fond de la cour";

#[test]
fn other_filings_leave_no_copy_or_the_original() -> Result<()> {
    let mut desk = Desk::open(light(), PracticeOptions { filing: "delete".into(), ..each() })?;
    desk.secret(&[WORDS]);
    let code = desk.scene.c1.clone();
    let raw = desk.scene.marie.write(&desk.letter("Escalier", &format!("{WORDS} un")))?;
    let seen = desk.play(&raw)?;
    ensure!(seen.counts["filed"] == 1 && seen.to_therapist.len() == 1, "{}", seen.counts);
    ensure!(
        desk.folder(&["INBOX"])? == 0 && desk.folder(&["Cadre", &code])? == 0 && desk.folder(&["Cadre", "Done"])? == 0
    );

    desk.scene.practice.set("imap.filing", "\"keep\"")?;
    let raw = desk.scene.marie.write(&desk.letter("Escalier", &format!("{WORDS} deux")))?;
    let seen = desk.play(&raw)?;
    ensure!(seen.counts["filed"] == 1 && seen.to_therapist.len() == 1, "{}", seen.counts);
    ensure!(desk.folder(&["INBOX"])? == 0 && desk.folder(&["Cadre", &code])? == 0);
    let done = desk.scene.lab.mails(OFFICE, "Cadre/Done")?;
    ensure!(done == [raw], "the original isn't what was sent");
    Ok(())
}

#[test]
fn folders_stand_where_the_server_has_them_and_the_junk_folder_is_read() -> Result<()> {
    let mut desk = Desk::open(LabOptions { namespace: Namespace::InboxDot, ..light() }, each())?;
    desk.secret(&[WORDS]);
    let code = desk.scene.c1.clone();
    let raw = desk.scene.marie.write(&desk.letter("Escalier", &format!("{WORDS} un")))?;
    let seen = desk.play(&raw)?;
    ensure!(seen.counts["filed"] == 1, "{}", seen.counts);
    let census = desk.scene.lab.census(OFFICE)?;
    ensure!(
        census.contains(&(format!("INBOX.Cadre.{code}"), 1)) && census.contains(&("INBOX".into(), 0)),
        "{census:?}"
    );
    let subscribed = desk.scene.lab.imap(OFFICE)?.command("LSUB \"\" \"*\"")?;
    ensure!(subscribed.iter().any(|a| a.text.contains(&code)), "{subscribed:?}");
    let copy = desk.scene.lab.mails(OFFICE, &format!("INBOX.Cadre.{code}"))?.remove(0);
    let read = desk.scene.therapist.read(&copy)?;
    ensure!(read.decrypted && read.text().contains(WORDS), "the therapist can't read the copy");
    ensure!(crate::desk::message_id(&copy) == seen.to_therapist[0].outer("Message-ID").unwrap_or_default());

    // \Junk: registered people's mail is taken, the rest is left, whatever its size.
    let junk = desk.scene.lab.folder(&["Junk"]);
    let one = desk.scene.marie.write(&desk.letter("Escalier", &format!("{WORDS} deux")))?;
    let other = desk.scene.paul.write(&desk.letter("Gagnez", "achetez").form(Form::Plain))?;
    let other = with_field(&other, "From", "Vendeur <vendeur@evil.example>");
    let ambiguous =
        [b"From: A <a@evil.example>\r\n".as_slice(), &with_field(&other, "Message-ID", "<j2@evil.example>")].concat();
    let mut long = with_field(&other, "Message-ID", "<j3@evil.example>");
    long.extend(std::iter::repeat_n(b"rien du tout, encore et encore\r\n".as_slice(), 10_000).flatten());
    desk.scene.practice.set("intake.max_message", "\"100KB\"")?;
    for raw in [&one, &other, &ambiguous, &long] {
        desk.scene.lab.append(OFFICE, &junk, raw, None)?;
    }
    let seen = desk.pass()?;
    ensure!(Seen::only(&seen.marie)?["verdict"] == "verified", "{:#?}", seen.marie);
    ensure!(seen.counts["filed"] == 1 && seen.counts["failed"] == 0, "{}", seen.counts);
    ensure!(desk.folder(&["Junk"])? == 3, "{:?}", desk.scene.lab.census(OFFICE)?);
    ensure!(desk.unread("vendeur@evil.example")?.is_empty(), "an answer to junk");
    let seen = desk.pass()?;
    ensure!(seen.counts["fetched"] == 0 && desk.folder(&["Junk"])? == 3, "read again: {}", seen.counts);
    Ok(())
}

#[test]
fn row_21_row_22_neither_seen_flags_nor_new_uids_lose_or_double_a_letter() -> Result<()> {
    let mut desk = Desk::open(light(), each())?;
    desk.secret(&[WORDS]);
    // THREATS 21: read in another program first.
    let raw = desk.scene.marie.write(&desk.letter("Escalier", &format!("{WORDS} un")))?;
    desk.put(&raw)?;
    let mut imap = desk.scene.lab.imap(OFFICE)?;
    imap.select("INBOX")?;
    imap.command("STORE 1:* +FLAGS (\\Seen \\Flagged)")?;
    drop(imap);
    let seen = desk.pass()?;
    ensure!(seen.counts["filed"] == 1, "{}", seen.counts);

    // THREATS 22: the folder is numbered anew while a filed letter's original and an unseen letter lie in it.
    let next = desk.scene.marie.write(&desk.letter("Escalier", &format!("{WORDS} deux")))?;
    desk.put(&raw)?;
    desk.put(&next)?;
    renumber(&desk)?;
    let seen = desk.pass()?;
    ensure!(seen.counts["filed"] == 1 && seen.counts["dropped"] == 1, "{}", seen.counts);
    ensure!(Seen::only(&seen.marie)?["verdict"] == "verified" && seen.to_therapist.len() == 1);
    renumber(&desk)?;
    let seen = desk.pass()?;
    ensure!(seen.counts["fetched"] == 0 && seen.counts["failed"] == 0, "{}", seen.counts);
    let third = desk.scene.marie.write(&desk.letter("Escalier", &format!("{WORDS} trois")))?;
    ensure!(desk.play(&third)?.counts["filed"] == 1);
    let code = desk.scene.c1.clone();
    ensure!(desk.folder(&["INBOX"])? == 0 && desk.folder(&["Cadre", &code])? == 3);
    Ok(())
}

/// Gives INBOX another UIDVALIDITY, as a restored server does, with the mail that it has.
fn renumber(desk: &Desk) -> Result<()> {
    let lab = &desk.scene.lab;
    lab.stop_imap()?;
    let maildir = lab.mail_root().join(OFFICE).join("Maildir");
    for file in std::fs::read_dir(&maildir)?.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with("dovecot.index") || name == "dovecot.list.index" || name == "dovecot-uidlist" {
            std::fs::remove_file(file.path())?;
        }
    }
    // Dovecot takes the time of the first look for the new number, and it may be the same second.
    let second = || std::time::UNIX_EPOCH.elapsed().map(|since| since.as_secs());
    let first = second()?;
    wait("the next second", PATIENCE, || Ok((second()? > first).then_some(())))?;
    lab.start_imap().context("Dovecot doesn't start again")
}
