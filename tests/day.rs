//! One day of a practice, from a letter to its reply, on real servers.

mod common;

use anyhow::{Result, ensure};
use common::canary;
use common::scene::{Scene, march};

const WORDS: &str = "le grenier sentait la cannelle";
const SUBJECT: &str = "Nuit blanche au phare";
const ANSWER: &str = "Ce que vous dites du grenier me touche.";

#[test]
fn a_letter_gets_its_one_reply_at_the_slot() -> Result<()> {
    let scene = Scene::new()?;
    scene.letter(&scene.marie, SUBJECT, &format!("Bonjour,\n\n{WORDS}.\n"), march(2, 3, 0))?;
    let counts = scene.practice.once(march(2, 3, 5))?;
    ensure!(counts["filed"] == 1 && counts["failed"] == 0, "{counts}");
    let thread = scene.thread(&scene.c1)?;
    ensure!(thread["turn"]["state"] == "open" && thread["turn"]["acknowledged"] == true, "{thread:#}");
    ensure!(thread["messages"][0]["verdict"] == "verified", "{thread:#}");

    let (raw, forward) = scene.forward(&scene.c1)?;
    ensure!(forward.decrypted && forward.signed_by(&scene.office.fingerprint), "{:?}", forward.status);
    ensure!(forward.text().contains(WORDS), "{}", forward.text());
    ensure!(scene.lab.mails(common::scene::OFFICE, "INBOX")?.is_empty(), "the original is still there");
    let folder = scene.lab.folder(&["Cadre", &scene.c1]);
    ensure!(scene.lab.mails(common::scene::OFFICE, &folder)?.len() == 1, "no sealed copy");
    let acknowledgement = scene.mails(&scene.marie)?.remove(0);
    ensure!(acknowledgement.decrypted, "{:?}", acknowledgement.status);
    ensure!(acknowledgement.text().contains("Automatique"), "{}", acknowledgement.text());

    scene.answer(&raw, ANSWER, march(2, 9, 0))?;
    let counts = scene.practice.once(march(2, 9, 1))?;
    ensure!(counts["filed"] == 1 && counts["released"] == 0, "{counts}");
    let (_, receipt) = scene.forward("")?;
    ensure!(receipt.text().contains(ANSWER), "{}", receipt.text());
    ensure!(scene.mails(&scene.marie)?.len() == 1, "the reply left before its slot");

    let counts = scene.practice.once(march(2, 17, 0))?;
    ensure!(counts["released"] == 1, "{counts}");
    let reply = scene.mails(&scene.marie)?.pop().expect("two mails");
    ensure!(reply.decrypted && reply.signed_by(&scene.office.fingerprint), "{:?}", reply.status);
    ensure!(reply.text().contains(ANSWER) && !reply.text().contains(WORDS), "{}", reply.text());
    ensure!(!String::from_utf8_lossy(&reply.entity).contains(&scene.c1), "a code reached the client");
    ensure!(scene.lab.mails(common::scene::OFFICE, &folder)?.len() == 2, "no copy of the reply");
    let thread = scene.thread(&scene.c1)?;
    ensure!(thread["turn"]["state"] == "answered", "{thread:#}");
    let reply = thread["messages"].as_array().and_then(|m| m.iter().find(|m| m["kind"] == "reply").cloned());
    ensure!(reply.as_ref().is_some_and(|reply| reply["state"] == "sent"), "{thread:#}");

    let names = ["marie@client.example", SUBJECT, WORDS, ANSWER];
    let mail = scene.lab.mail_root().join(common::person::bare(common::scene::OFFICE));
    let found = canary(&[scene.disk()], &names)?;
    ensure!(found.is_empty(), "{found:?}");
    let found = canary(&[&mail], &[SUBJECT, WORDS, ANSWER])?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}
