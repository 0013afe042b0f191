//! A third person: from the invitation to the first reply, and a night that goes wrong.

use anyhow::{Context as _, Result};

use crate::cast::{OFFICE, Play, paris};
use crate::common::lab::{PATIENCE, wait};
use crate::common::{Form, Letter, Read};
use crate::day::{self, Who};

pub const FIRST_SUBJECT: &str = "Pour commencer";
pub const FIRST_WORDS: &str = "je range les photos de ma sœur par couleur de manteau";
pub const FIRST_REPLY: &str = "Par couleur de manteau : laquelle avez-vous rangée en premier ?";
pub const NIGHT_SUBJECT: &str = "Cette nuit";
pub const NIGHT_WORDS: &str = "je veux mourir, les cachets sont sur la table";
pub const CARD_WORDS: &str = "Lieu : 14 rue des Lilas, Chartres";

/// From `/invite` to the first reply, on one Wednesday.
pub fn enrolment(play: &mut Play) -> Result<()> {
    invitation(play)?;
    key(play)?;
    consent(play)?;
    first_letter(play)
}

fn invitation(play: &mut Play) -> Result<()> {
    play.stage.scene("Wednesday 4 March, 08:30", "A third client: the invitation");
    play.stage
        .say("Nobody needs a shell for this. Agnès writes one line to the practice, signed, from her mail program.");
    play.at(paris(4, 8, 30)?)?;
    order(play, "/invite claire@autre.example fr")?;
    play.at(paris(4, 8, 31)?)?;
    play.pass()?;
    let (_, receipt) = play.inbox(&play.therapist)?.pop().context("no receipt")?;
    let list = play.practice.json(&["client", "list"])?;
    let invited = list.as_array().and_then(|all| all.iter().find(|client| client["state"] == "invited"));
    play.c3 = invited.and_then(|client| client["code"].as_str()).context("nobody was invited")?.to_owned();
    play.stage.seen(
        receipt.text().contains(&play.c3),
        &format!("the receipt names the new code, {}", play.c3),
        &|| receipt.text(),
    )?;
    let (raw, read) = play.inbox(&play.claire)?.pop().context("no invitation")?;
    day::mail(play, "Claire's mail program, 08:31", &play.claire, &read, 30);
    play.stage.gloss("A correspondence is offered to you. Answer with your OpenPGP key attached, or NON alone on a line. The practice's key is attached.");
    let whole = String::from_utf8_lossy(&raw).into_owned();
    let shown = ["Tilleuls", "Agnès", "agnes@", "thérap", "psycho"].iter().find(|word| whole.contains(**word));
    play.stage.seen(
        shown.is_none(),
        "it is in clear and shows no therapy, no therapist, not even the practice's name",
        &|| format!("{shown:?}"),
    )
}

fn key(play: &mut Play) -> Result<()> {
    play.stage.scene("Wednesday 4 March, 09:05", "Claire's key, and a telephone call");
    play.at(paris(4, 9, 5)?)?;
    let (raw, read) = play.inbox(&play.claire)?.pop().context("no invitation")?;
    let attached = read.attachments.iter().find(|(_, kind, _)| kind == "application/pgp-keys");
    play.claire.import(&attached.context("the invitation has no key")?.2)?;
    let certificate = play.claire.certificate()?;
    let letter = play.claire.reply_to(&raw, "Bonjour, voici ma clé.")?.at(play.claire.now());
    let letter = letter.attach("claire.asc", "application/pgp-keys", &certificate);
    play.stage.boxed(
        "Claire presses Reply; her program encrypts, signs and attaches her key",
        &[format!("Subject: {}", letter.subject), String::new(), "Bonjour, voici ma clé.".to_owned()],
    );
    send(play, Who::Claire, &letter)?;
    play.at(paris(4, 9, 6)?)?;
    play.pass()?;
    let (offer, told) = play.newest(&play.therapist, &play.c3)?;
    day::mail(play, "Agnès's mail program: a key to compare", &play.therapist, &told, 30);
    play.stage.gloss("A key has come. Ask the person by telephone to read out both fingerprints from her own program; if they agree, write the line below.");
    let order = told.text().lines().map(str::trim).find(|line| line.starts_with("/key accept")).map(str::to_owned);
    let order = order.context("the mail doesn't say what to write")?;
    let held = play.practice.json(&["client", "show", &play.c3])?;
    play.stage
        .seen(held["fingerprint"].is_null(), "nothing is pinned before a person has compared", &|| held.to_string())?;
    play.stage.say("They speak on the telephone. The fingerprints agree.");
    play.claire.gpg(&["--quick-lsign-key", &play.office], b"")?;
    play.at(paris(4, 10, 0)?)?;
    let reply = play.therapist.reply_to(&offer, &order)?.at(play.therapist.now());
    play.stage.boxed("Agnès answers", &[order]);
    send(play, Who::Agnes, &reply)?;
    play.at(paris(4, 10, 1)?)?;
    play.pass()?;
    let shown = play.practice.json(&["client", "show", &play.c3])?;
    let pinned = shown["fingerprint"].as_str() == Some(play.claire.fingerprint.as_str());
    play.stage.seen(
        pinned && shown["state"] == "consent_pending",
        "her key is pinned; the frame has been sent",
        &|| shown.to_string(),
    )
}

fn consent(play: &mut Play) -> Result<()> {
    play.stage.scene("Wednesday 4 March, 10:20", "The frame, and consent");
    play.at(paris(4, 10, 20)?)?;
    let (raw, frame) = play.inbox(&play.claire)?.pop().context("no letter about the frame")?;
    day::mail(play, "Claire's mail program: the frame", &play.claire, &frame, 60);
    play.stage.gloss("What arrived. The four elements: channel and rhythm, price, the other way, who the therapist is. What the gateway does and can't. No emergency service. To agree: J'ACCEPTE alone on a line.");
    let text = frame.text();
    let four = ["60", "+33 1 00 00 00 00", "RPPS 10000000000"].iter().all(|fact| text.contains(fact));
    play.stage.seen(
        frame.decrypted && four,
        "encrypted from now on; all four elements of the frame are in it",
        &|| text.clone(),
    )?;
    let answer = format!(
        "J'ACCEPTE\n\nNom : Claire Morel\nTéléphone : 06 00 00 00 00\n{CARD_WORDS}\nPersonne de confiance : mon frère Luc"
    );
    let reply = play.claire.reply_to(&raw, &answer)?.at(play.claire.now());
    play.stage.boxed("Claire answers", &answer.lines().map(str::to_owned).collect::<Vec<_>>());
    send(play, Who::Claire, &reply)?;
    play.at(paris(4, 10, 21)?)?;
    play.pass()?;
    let shown = play.practice.json(&["client", "show", &play.c3])?;
    play.stage.seen(
        shown["state"] == "assessment",
        "consent is recorded, with version and hash; the assessment begins",
        &|| shown.to_string(),
    )?;
    order_in(play, "/label Claire M.")?;
    play.pass().map(drop)
}

fn first_letter(play: &mut Play) -> Result<()> {
    play.stage.scene("Wednesday 4 March, 11:30", "Her first letter, and the first reply on Thursday");
    play.at(paris(4, 11, 30)?)?;
    let text = format!("Bonjour,\n\nDepuis janvier, {FIRST_WORDS}.\n\nClaire\n");
    day::write(play, Who::Claire, FIRST_SUBJECT, &text, Form::SignedEncrypted, false)?;
    play.stage.gloss("Since January I have been sorting my sister's photographs by the colour of the coat.");
    play.at(paris(4, 11, 31)?)?;
    play.pass()?;
    play.at(paris(5, 7, 0)?)?;
    play.pass()?;
    play.at(paris(5, 9, 40)?)?;
    day::answer(play, FIRST_SUBJECT, FIRST_REPLY)?;
    play.at(paris(5, 9, 41)?)?;
    play.pass()?;
    play.at(paris(5, 18, 0)?)?;
    let counts = play.pass()?;
    play.stage.seen(counts["released"] == 1, "Thursday at six, the first reply leaves", &|| counts.to_string())?;
    let (_, reply) = play.inbox(&play.claire)?.pop().context("no reply")?;
    day::mail(play, "Claire's mail program, Thursday 18:00", &play.claire, &reply, 20);
    let good = reply.decrypted && reply.signed_by(&play.office) && reply.text().contains(FIRST_REPLY);
    play.stage.seen(good, "from a line in a mail program to a first reply, without a shell", &|| reply.text())
}

/// A letter of danger, while the daemon watches: safety letter and alert within a blink or a poll.
pub fn night(play: &mut Play) -> Result<()> {
    play.stage.scene("Thursday 5 March, 23:40", "A letter of danger, in the night");
    play.stage.say("Cadre is no emergency service, and says so. It knows words of danger, answers them with the lines to call, and tells the therapist at once, again and again until she writes.");
    play.at(paris(5, 23, 40)?)?;
    let before = play.inbox(&play.claire)?.len();
    let text = format!("Je n'y arrive plus. {NIGHT_WORDS}.\n");
    day::write(play, Who::Claire, NIGHT_SUBJECT, &text, Form::SignedEncrypted, false)?;
    play.stage.gloss("I can't any more. I want to die, the pills are on the table.");
    wait("the safety letter", PATIENCE, || Ok((play.inbox(&play.claire)?.len() > before).then_some(())))?;
    let (_, safety) = play.inbox(&play.claire)?.pop().context("no safety letter")?;
    day::mail(play, "Claire's mail program", &play.claire, &safety, 24);
    let lines = ["3114", "15", "112"].iter().all(|line| safety.text().contains(line));
    play.stage.seen(
        lines && safety.decrypted,
        "in place of the acknowledgement: the lines to call, and that nobody watches",
        &|| safety.text(),
    )?;
    let alert = wait("the alert", PATIENCE, || {
        let mails: Vec<Read> = play.inbox(&play.therapist)?.into_iter().map(|(_, read)| read).collect();
        Ok(mails.into_iter().rev().find(|read| read.subject.to_lowercase().contains("alerte")))
    })?;
    day::mail(play, "Agnès's mail program: the alert", &play.therapist, &alert, 24);
    play.stage.seen(
        alert.text().contains(&play.c3),
        "the alert names the code and what kind of words; it passed every queue",
        &|| alert.text(),
    )?;
    let card = alert.attachments.iter().any(|(name, _, _)| name.contains("card") || name.contains("fiche"));
    play.stage.seen(card, "her card (telephone, place, trusted person) is attached, sealed to Agnès", &|| {
        format!("{:?}", alert.attachments.len())
    })?;
    let journal = play.practice.run(&["journal", "show"])?.expect_ok()?;
    let quiet = !journal.contains("mourir") && !journal.contains("cachets");
    play.stage.seen(quiet && journal.contains("alert"), "the journal has the rule's id and never the words", &|| {
        journal.clone()
    })
}

/// A mail of the therapist's own, with a command and nothing else.
fn order(play: &Play, line: &str) -> Result<()> {
    play.stage.boxed("Agnès writes to the practice, encrypted and signed", &[line.to_owned()]);
    send(play, Who::Agnes, &Letter::new(OFFICE, "", line).at(play.therapist.now()))
}

/// The same in the newcomer's conversation.
fn order_in(play: &Play, line: &str) -> Result<()> {
    let (raw, _) = play.newest(&play.therapist, &play.c3)?;
    play.stage.boxed("Agnès answers in the conversation", &[line.to_owned()]);
    send(play, Who::Agnes, &play.therapist.reply_to(&raw, line)?.at(play.therapist.now()))
}

fn send(play: &Play, who: Who, letter: &Letter) -> Result<()> {
    let person = who.person(play);
    let raw = person.write(letter)?;
    play.lab.send(&person.address, OFFICE, &raw)?;
    play.lab.wait_queue_empty()
}
