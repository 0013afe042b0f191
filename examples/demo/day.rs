//! The day itself: letters in the night, the morning's digest, two answers, the slot at six.

use anyhow::{Context as _, Result};
use chrono_tz::Europe::Paris;

use crate::cast::{OFFICE, Play, paris};
use crate::common::{Form, Letter, Person, Read};

/// What was written, for the eyes of two people only. Searched for on the server's disk afterwards.
pub const HELENE_SUBJECT: &str = "Trois heures du matin";
pub const HELENE_WORDS: &str = "le grenier sentait la cannelle et la porte ne s'ouvrait plus";
pub const FRANCOIS_SUBJECT: &str = "Depuis mon téléphone";
pub const FRANCOIS_WORDS: &str = "j'ai revu mon frère à la gare de Lyon";
pub const FORGED_SUBJECT: &str = "J'arrête";
pub const FORGED_WORDS: &str = "ne m'écrivez plus jamais, brûlez mes lettres";
pub const FIRST_ANSWER: &str = "Parlez-moi de cette porte.";
pub const BETTER_ANSWER: &str = "Vous dites que la porte ne s'ouvrait plus. De quel côté étiez-vous ?";
pub const OTHER_ANSWER: &str = "Merci de m'avoir écrit depuis la gare. La lettre de six heures est-elle de vous ?";

/// Letters in the night: one verified, one unsigned, one forged.
pub fn night(play: &mut Play) -> Result<()> {
    play.stage.scene("Tuesday 3 March, 03:00", "Hélène can't sleep");
    play.at(paris(3, 3, 0)?)?;
    let text = format!("Bonjour,\n\nIl est trois heures. J'ai rêvé de la maison : {HELENE_WORDS}.\n\nHélène\n");
    write(play, Who::Helene, HELENE_SUBJECT, &text, Form::SignedEncrypted, false)?;
    play.stage.gloss(
        "It is three o'clock. I dreamt of the house: the attic smelt of cinnamon and the door wouldn't open any more.",
    );
    let sent = play.lab.mails(OFFICE, "INBOX")?.pop().context("no letter in the practice's mailbox")?;
    let lines: Vec<String> = String::from_utf8_lossy(&sent)
        .lines()
        .filter(|line| ["From:", "To:", "Subject:", "Content-Type:"].iter().any(|name| line.starts_with(name)))
        .map(str::to_owned)
        .take(4)
        .chain(armor(&sent))
        .collect();
    play.stage.boxed("what the mail provider sees of it", &lines);
    let hidden = !String::from_utf8_lossy(&sent).contains("Trois heures");
    play.stage.seen(hidden, "her letter lies in the practice's mailbox, encrypted and signed", &String::new)?;
    play.stage.say("Cadre looks at the mailbox. Here it makes one pass at a time; as a daemon it watches (scene 16).");
    play.at(paris(3, 3, 1)?)?;
    let counts = play.pass()?;
    let filed = counts["filed"] == 1 && counts["failed"] == 0;
    play.stage
        .seen(filed, "the letter is filed: checked, sealed to the therapist, committed", &|| counts.to_string())?;
    let left = play.lab.mails(OFFICE, "INBOX")?.len();
    play.stage.seen(left == 0, "the original is gone from the mailbox", &|| format!("{left} mails"))?;
    let folder = play.lab.folder(&["Cadre", &play.c1]);
    let copies = play.lab.mails(OFFICE, &folder)?.len();
    play.stage.seen(copies == 1, &format!("a sealed copy lies in the folder {folder}"), &|| format!("{copies}"))?;
    let (_, read) = play.newest(&play.helene, "")?;
    mail(play, "Hélène's mail program, 03:01", &play.helene, &read, 20);
    play.stage.gloss("Automatic. Your letter has arrived; when to expect a reply; what you add joins it; this address isn't watched; emergency numbers.");
    let acknowledged = read.decrypted && read.signed_by(&play.office) && read.text().contains("Automatique");
    play.stage.seen(acknowledged, "she knows that it arrived, from the practice's own signature", &|| read.text())?;
    let quoted = read.text().contains("grenier");
    play.stage.seen(!quoted, "the acknowledgement quotes nothing", &|| read.text())?;
    unsigned(play)?;
    forged(play)
}

fn unsigned(play: &mut Play) -> Result<()> {
    play.stage.scene("Tuesday 3 March, 05:40", "François writes without his key");
    play.at(paris(3, 5, 40)?)?;
    let text = format!("Bonjour Madame,\n\nHier {FRANCOIS_WORDS}. Je voulais vous le dire.\n\nFrançois\n");
    write(play, Who::Francois, FRANCOIS_SUBJECT, &text, Form::Plain, false)?;
    play.stage.gloss("Yesterday I saw my brother again at the Gare de Lyon. I wanted to tell you.");
    play.at(paris(3, 5, 41)?)?;
    let counts = play.pass()?;
    play.stage.seen(counts["filed"] == 1, "filed all the same, under a loud mark", &|| counts.to_string())?;
    let thread = play.practice.json(&["thread", &play.c2])?;
    let verdict = thread["messages"].as_array().is_some_and(|m| m.iter().any(|m| m["verdict"] == "unsigned"));
    play.stage.seen(verdict, &format!("the verdict in {} is \"unsigned\"", play.c2), &|| thread.to_string())?;
    let mails = play.inbox(&play.francois)?;
    let clear = mails.iter().all(|(_, read)| !read.text().contains("Lyon") && !read.subject.contains("téléphone"));
    play.stage.seen(!mails.is_empty() && clear, "he is answered without a word of his letter", &String::new)?;
    for (_, read) in &mails {
        mail(play, "François's mail program, 05:41", &play.francois, read, 24);
    }
    Ok(())
}

fn forged(play: &mut Play) -> Result<()> {
    play.stage.scene("Tuesday 3 March, 06:20", "A letter forged under Hélène's name");
    play.at(paris(3, 6, 20)?)?;
    let text = format!("Madame,\n\nJ'arrête. S'il vous plaît, {FORGED_WORDS}.\n");
    write(play, Who::Francois, FORGED_SUBJECT, &text, Form::SignedEncrypted, true)?;
    play.stage.gloss("I'm stopping. Please never write to me again, burn my letters. (From: says Hélène; the signature is François's key.)");
    play.at(paris(3, 6, 21)?)?;
    let counts = play.pass()?;
    play.stage.seen(counts["held"] == 1 && counts["filed"] == 0, "held, not passed on", &|| counts.to_string())?;
    let thread = play.practice.json(&["thread", &play.c1])?;
    let letters = thread["turn"]["letters"].clone();
    play.stage.seen(letters == 1, "Hélène's turn still has one letter: hers", &|| thread.to_string())?;
    let mails = play.inbox(&play.therapist)?;
    let passed = mails.iter().any(|(_, read)| read.text().contains("brûlez"));
    play.stage.seen(!passed, "the therapist hasn't got a word of it", &String::new)
}

/// Seven o'clock: the digest, then the letters.
pub fn morning(play: &mut Play) -> Result<()> {
    play.stage.scene("Tuesday 3 March, 07:00", "The therapist's morning: digest and letters");
    play.at(paris(3, 7, 0)?)?;
    let counts = play.pass()?;
    play.stage.seen(counts["digests"] == 1, "the digest left at seven", &|| counts.to_string())?;
    let mails = play.inbox(&play.therapist)?;
    let index: Vec<String> = mails.iter().map(|(_, read)| index_line(read)).collect();
    play.stage.boxed("Agnès's inbox, as her mail program lists it once opened", &index);
    let sealed = mails.iter().all(|(raw, read)| read.decrypted && read.signed_by(&play.office) && !bare_subject(raw));
    play.stage.seen(
        sealed,
        "every mail is encrypted to her and signed by the practice; servers see \"...\" for a subject",
        &|| format!("{index:#?}"),
    )?;
    let (_, digest) = play.newest(&play.therapist, "Relevé")?;
    mail(play, "The digest", &play.therapist, &digest, 60);
    play.stage.gloss("To answer tonight: two people, with hours, words and verdicts. To decide: one held letter, with the line to write. Last, the head of the journal.");
    let body = digest.text();
    let complete = body.contains("Hélène B.") && body.contains("François N.") && body.contains("H1");
    play.stage
        .seen(complete, "it names both clients by the therapist's labels, and the held letter H1", &|| body.clone())?;
    let (_, letter) = play.newest(&play.therapist, HELENE_SUBJECT)?;
    mail(play, "Hélène's letter", &play.therapist, &letter, 30);
    let whole = letter.text().contains(HELENE_WORDS) && letter.texts.len() >= 2;
    play.stage
        .seen(whole, "first Cadre's own part (who signed, when, due when), then her words, apart", &|| letter.text())?;
    let outer = letter.outer("From").unwrap_or_default().to_owned();
    let addressed = outer.contains(&play.c1) && !String::from_utf8_lossy(&letter.entity).contains("helene@");
    play.stage.seen(
        addressed,
        &format!("it comes from \"{}\" at the practice: no client's address in it", play.c1),
        &|| outer.clone(),
    )?;
    let (_, letter) = play.newest(&play.therapist, FRANCOIS_SUBJECT)?;
    mail(play, "François's letter", &play.therapist, &letter, 30);
    let marked = letter.text().contains(FRANCOIS_WORDS) && letter.text().to_lowercase().contains("sign");
    play.stage.seen(marked, "the missing signature is said before his words", &|| letter.text())
}

/// An answer, a better one, another client's, and the held letter.
pub fn answers(play: &mut Play) -> Result<()> {
    play.stage.scene("Tuesday 3 March, 09:12", "A reply, like any reply");
    play.at(paris(3, 9, 12)?)?;
    answer(play, HELENE_SUBJECT, FIRST_ANSWER)?;
    play.stage.gloss("Tell me about that door.");
    play.at(paris(3, 9, 13)?)?;
    let counts = play.pass()?;
    play.stage.seen(counts["released"] == 0, "nothing has left: it isn't six o'clock", &|| counts.to_string())?;
    receipt(play, FIRST_ANSWER, "the receipt repeats the code, the label, the hour and the first line")?;

    play.stage.scene("Tuesday 3 March, 11:40", "A better reply replaces the first");
    play.at(paris(3, 11, 40)?)?;
    answer(play, HELENE_SUBJECT, BETTER_ANSWER)?;
    play.stage.gloss("You say that the door wouldn't open any more. Which side of it were you on?");
    play.at(paris(3, 11, 41)?)?;
    play.pass()?;
    receipt(play, "Vous dites que la porte", "the receipt says that the new one replaces the old")?;
    let thread = play.practice.json(&["thread", &play.c1])?;
    let replies = states(&thread, "reply");
    play.stage.seen(replies == ["replaced", "waiting"], "one reply is replaced, one waits for its slot", &|| {
        format!("{replies:?}")
    })?;

    play.stage.scene("Tuesday 3 March, 11:50", "The held letter, and an answer for François");
    play.at(paris(3, 11, 50)?)?;
    answer(play, "(H1)", "/release H1")?;
    play.stage.gloss("a line that starts with / is for Cadre; this one asks to see the held letter.");
    play.at(paris(3, 11, 51)?)?;
    let counts = play.pass()?;
    let (_, released) = play.newest(&play.therapist, FORGED_SUBJECT)?;
    mail(play, "The held letter, now passed on", &play.therapist, &released, 30);
    let told = released.text().contains(FORGED_WORDS) && released.subject.contains(&play.c2);
    play.stage.seen(
        told,
        "passed on in the conversation of the key that signed it, with what is wrong said above it",
        &|| format!("{counts} {}", released.text()),
    )?;
    play.at(paris(3, 12, 5)?)?;
    answer(play, FORGED_SUBJECT, OTHER_ANSWER)?;
    play.stage.gloss("Thank you for writing to me from the station. The letter of six o'clock, is it yours?");
    play.at(paris(3, 12, 6)?)?;
    play.pass()?;
    let states = states(&play.practice.json(&["thread", &play.c2])?, "reply");
    play.stage
        .seen(states == ["waiting"], "François's answer waits for six o'clock too", &|| format!("{states:?}"))?;
    let queue = play.cadre(&["queue", "list"])?;
    play.stage.seen(!queue.contains('@'), "the operator sees what waits, by code only", &|| queue.clone())
}

/// Six o'clock: two replies leave.
pub fn evening(play: &mut Play) -> Result<()> {
    play.stage.scene("Tuesday 3 March, 18:00", "The slot: the replies leave");
    let before = play.inbox(&play.helene)?.len();
    play.at(paris(3, 17, 58)?)?;
    let early = play.pass()?;
    play.stage.seen(early["released"] == 0, "at 17:58, no reply leaves", &|| early.to_string())?;
    play.at(paris(3, 18, 0)?)?;
    let counts = play.pass()?;
    play.stage
        .seen(counts["released"] == 2, "at 18:00, both replies leave, signed at that moment", &|| counts.to_string())?;
    let mails = play.inbox(&play.helene)?;
    play.stage.seen(mails.len() == before + 1, "Hélène has exactly one new mail", &|| mails.len().to_string())?;
    let (_, reply) = mails.into_iter().next_back().context("no reply")?;
    mail(play, "Hélène's mail program, 18:00", &play.helene, &reply, 30);
    play.stage.gloss("the better reply; the last line says which letter it answers.");
    let better = reply.text().contains(BETTER_ANSWER) && !reply.text().contains(FIRST_ANSWER);
    play.stage.seen(better, "it is the better reply, and only that", &|| reply.text())?;
    let good = reply.decrypted && reply.signed_by(&play.office);
    play.stage.seen(good, "encrypted to her, signed by the practice's key", &|| format!("{:?}", reply.status))?;
    let whole = format!("{}{:?}", String::from_utf8_lossy(&reply.entity), reply.outer);
    let leaks = [play.c1.as_str(), "agnes@", "exemple.example"].iter().any(|word| whole.contains(word));
    play.stage.seen(!leaks, "neither her code nor the therapist's own address is anywhere in it", &|| whole.clone())?;
    let thread = play.practice.json(&["thread", &play.c1])?;
    let answers = reply.outer("In-Reply-To").is_some();
    play.stage.seen(answers, "her mail program shows it under her own letter", &|| format!("{:?}", reply.outer))?;
    play.stage.seen(thread["turn"]["state"] == "answered", "her turn is answered", &|| thread.to_string())?;
    let (_, other) = play.inbox(&play.francois)?.pop().context("François got nothing")?;
    mail(play, "François's mail program, 18:00", &play.francois, &other, 30);
    let good = other.decrypted && other.signed_by(&play.office) && other.text().contains(OTHER_ANSWER);
    play.stage.seen(good, "François has his: encrypted, although he wrote in clear", &|| other.text())
}

#[derive(Clone, Copy)]
pub enum Who {
    Helene,
    Francois,
    Claire,
    Agnes,
}

impl Who {
    pub fn person(self, play: &Play) -> &Person {
        match self {
            Self::Helene => &play.helene,
            Self::Francois => &play.francois,
            Self::Claire => &play.claire,
            Self::Agnes => &play.therapist,
        }
    }
}

/// Writes a letter, shows it as its writer sees it, and sends it over SMTP.
pub fn write(play: &Play, who: Who, subject: &str, text: &str, form: Form, forged: bool) -> Result<()> {
    let person = who.person(play);
    let mut letter = Letter::new(OFFICE, subject, text).form(form).at(person.now());
    if forged {
        letter.forged_from = Some((play.helene.name.clone(), play.helene.address.clone()));
    }
    let from = if forged { &play.helene } else { person };
    let manner = match form {
        Form::Plain => "in clear, without a signature",
        _ => "encrypted and signed",
    };
    let mut lines = vec![format!("From: {} <{}>", from.name, from.address), format!("Subject: {subject}")];
    lines.push(String::new());
    lines.extend(text.trim_end().lines().map(str::to_owned));
    play.stage.boxed(&format!("written, and sent {manner}"), &lines);
    let raw = person.write(&letter)?;
    play.lab.send(&from.address, OFFICE, &raw)?;
    play.lab.wait_queue_empty()
}

/// Answers the mail with these words in its subject as a mail program would; shows what was typed.
pub fn answer(play: &Play, subject: &str, text: &str) -> Result<()> {
    let (raw, read) = play.newest(&play.therapist, subject)?;
    let letter = play.therapist.reply_to(&raw, text)?.at(play.therapist.now());
    let lines = [format!("Subject: {}", letter.subject), String::new(), text.to_owned(), String::new()];
    let quoted = letter.text.lines().skip_while(|line| !line.starts_with('>')).take(2).map(str::to_owned);
    let lines: Vec<String> = lines.into_iter().chain(quoted).chain(["> …".to_owned()]).collect();
    play.stage.boxed("Agnès presses Reply, writes above the quotation, sends", &lines);
    debug_assert!(read.decrypted);
    let raw = play.therapist.write(&letter)?;
    play.lab.send(&play.therapist.address, OFFICE, &raw)?;
    play.lab.wait_queue_empty()
}

fn receipt(play: &mut Play, first_line: &str, what: &str) -> Result<()> {
    let (_, read) = play.inbox(&play.therapist)?.pop().context("no receipt")?;
    mail(play, "Agnès's mail program: the receipt", &play.therapist, &read, 20);
    let body = format!("{} {}", read.subject, read.text());
    let told =
        body.contains(&play.c1) && body.contains("Hélène B.") && body.contains("18") && body.contains(first_line);
    play.stage.seen(told, what, &|| body.clone())
}

/// A mail as its reader's program shows it, after GnuPG.
pub fn mail(play: &Play, title: &str, reader: &Person, read: &Read, most: usize) {
    let mut lines = vec![
        format!("From: {}", read.inner("From").or(read.outer("From")).unwrap_or_default()),
        format!("Subject: {}", read.subject),
    ];
    lines.push(match (read.decrypted, read.signed_by(&play.office)) {
        (true, true) => format!("[gpg: decrypted; good signature from {OFFICE}]"),
        (false, true) => format!("[gpg: not encrypted; good signature from {OFFICE}]"),
        (_, false) => "[gpg: no good signature]".to_owned(),
    });
    lines.push(String::new());
    let text = read.texts.iter().map(|text| text.trim_end()).collect::<Vec<_>>().join("\n----\n");
    let body: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    let more = body.len() > most;
    lines.extend(body.into_iter().take(most));
    if more {
        lines.push("…".to_owned());
    }
    for (name, kind, bytes) in read.attachments.iter().filter(|(name, _, _)| !name.is_empty()) {
        lines.push(format!("[attached: {name}, {kind}, {} bytes]", bytes.len()));
    }
    play.stage.boxed(&format!("{title} ({})", reader.address), &lines);
}

fn index_line(read: &Read) -> String {
    let date = read.outer("Date").and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok());
    let date = date.map_or_else(String::new, |date| date.with_timezone(&Paris).format("%H:%M").to_string());
    let from = read.outer("From").unwrap_or_default();
    let from = from.split(" <").next().unwrap_or(from).trim_matches('"');
    format!("{date}  {from:<22}  {}", read.subject)
}

fn bare_subject(raw: &[u8]) -> bool {
    !String::from_utf8_lossy(raw).lines().any(|line| line.trim_end() == "Subject: [...]")
}

fn armor(raw: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(raw).into_owned();
    let from = text.lines().skip_while(|line| !line.starts_with("-----BEGIN PGP"));
    let mut lines: Vec<String> = from.take(4).map(|line| line.trim_end().to_owned()).collect();
    lines.push("…".to_owned());
    lines
}

/// The states of all messages of one kind, oldest first.
fn states(thread: &serde_json::Value, kind: &str) -> Vec<String> {
    let messages = thread["messages"].as_array().cloned().unwrap_or_default();
    let of_kind = messages.iter().filter(|message| message["kind"] == kind);
    of_kind.map(|message| message["state"].as_str().unwrap_or_default().to_owned()).collect()
}
