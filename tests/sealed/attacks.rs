//! Mail from the client's address that isn't hers; letters before a passphrase was told; what the therapist may attach.

use anyhow::{Context as _, Result, ensure};
use cadre::domain::answer_words::Words;
use cadre::model::Language;

use crate::common::play::says;
use crate::common::scene::march;
use crate::common::{Letter, ledger};
use crate::person::{Desk, Lea, opened, phrase_in};

/// A client in treatment whose letters are sealed, entered by the operator; her code.
pub fn treated(desk: &Desk, lea: &mut Lea) -> Result<String> {
    let args = [
        "client",
        "add",
        "--address",
        "-",
        "--therapist",
        "exemple",
        "--channel",
        "pdf",
        "--active",
        "--consent-note",
        "on paper, 1 March",
    ];
    let practice = &desk.play.scene.practice;
    let out = practice.run_with_input(&args, format!("{}\n", lea.address).as_bytes())?.expect_ok()?;
    let round = desk.pass(march(2, 8, 0))?;
    let told = desk.told(&round, "/told")?;
    let phrase = phrase_in(&told.read.text()).context("no passphrase")?;
    lea.knows(&phrase);
    let round = desk.reply(&told.raw, "/told", march(2, 8, 10))?;
    ensure!(round.posts.iter().all(|post| !post.to.contains(&lea.address)), "{}", round.story());
    Ok(out.trim().to_owned())
}

/// A practical word that leaves at once: a sealed letter, and its words.
fn letter(desk: &Desk, lea: &mut Lea, code: &str, day: u32) -> Result<String> {
    let round = desk.order(&format!("/to {code}\n/now\n\nUn mot."), march(day, 9, 0))?;
    lea.take(&round)?.words()
}

fn verdicts(desk: &Desk, code: &str) -> Result<Vec<String>> {
    let thread = desk.play.scene.thread(code)?;
    let messages = thread["messages"].as_array().cloned().unwrap_or_default();
    let letters = messages.iter().filter(|message| message["direction"] == "in");
    Ok(letters.filter_map(|message| message["verdict"].as_str().map(str::to_owned)).collect())
}

#[test]
fn words_that_are_old_anothers_or_guessed_prove_nothing() -> Result<()> {
    let desk = Desk::open()?;
    let (mut lea, mut noe) = (Lea::new("lea@client.example"), Lea::new("noe@client.example"));
    let code = treated(&desk, &mut lea)?;
    let other = treated(&desk, &mut noe)?;
    let first = letter(&desk, &mut lea, &code, 3)?;
    let second = letter(&desk, &mut lea, &code, 4)?;
    let third = letter(&desk, &mut lea, &code, 5)?;
    let others = letter(&desk, &mut noe, &other, 5)?;

    // Without words, with those of the letter before the last two, with another client's.
    let mut hour = 10;
    let mut mails = Vec::new();
    for words in ["", &first, &others] {
        let mail = lea.write("Une lettre", &format!("STOP\n\n{words}\n"));
        let round = desk.mail(&mail, march(5, hour, 0))?;
        let marked = round.to(&desk.play.scene.therapist).any(|post| post.read.text().contains("DEMANDE D’ARRÊT"));
        ensure!(marked && desk.state(&code)? == "active", "{words}: {}", round.story());
        hour += 1;
    }
    ensure!(verdicts(&desk, &code)? == ["unsigned"; 3], "{:?}", verdicts(&desk, &code)?);

    // The last one's and those of the letter before it; on the subject line too.
    for (subject, words) in [("Une lettre", second.as_str()), ("Une lettre", third.as_str()), (third.as_str(), "")] {
        mails.push(lea.write(subject, &format!("{words}\n\nBonjour {hour}.\n")));
        let round = desk.mail(&mails[mails.len() - 1], march(5, hour, 0))?;
        let forward = desk.told(&round, &format!("Bonjour {hour}."))?;
        let shown = format!("{} {}", forward.read.subject, forward.read.text());
        ensure!(third.split(' ').all(|word| !shown.contains(word)), "{shown}");
        hour += 1;
    }
    ensure!(verdicts(&desk, &code)?[3..] == ["vouched"; 3], "{:?}", verdicts(&desk, &code)?);

    // Played again under another Message-ID it is the same mail.
    let again = mails[1].replacen("Message-ID: <", "Message-ID: <again", 1);
    desk.mail(&again, march(5, 17, 30))?;
    // Under another subject and in another wrapping too.
    let wrapped = again
        .replacen("Subject: ", "Subject: Re", 1)
        .replacen("Content-Type: text/plain; charset=utf-8\r\n", "Content-Type: multipart/mixed; boundary=\"x\"\r\n", 1)
        .replacen(
            "Content-Transfer-Encoding: 8bit\r\n\r\n",
            "\r\nsomething\r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
            1,
        )
        + "--x--\r\n";
    desk.mail(&wrapped, march(5, 17, 40))?;
    ensure!(verdicts(&desk, &code)?.len() == 6, "{:?}", verdicts(&desk, &code)?);

    // What `explain` says of it, and that nothing of it names a word.
    let file = desk.play.scene.practice.dir.join("mail.eml");
    let mail = lea.write("Une lettre", &format!("{third}\n\nEncore.\n"));
    std::fs::write(&file, format!("Date: {}\r\n{mail}", march(5, 18, 0).to_rfc2822()))?;
    let explained = desk.play.scene.practice.json(&["explain", &file.to_string_lossy()])?;
    ensure!(explained["verdict"] == "vouched" && explained["client"] == code.as_str(), "{explained:#}");
    ensure!(third.split(' ').all(|word| !explained.to_string().contains(word)), "{explained:#}");
    std::fs::remove_file(file)?;
    ledger::sound(&desk.play.scene)
}

#[test]
fn guesses_run_out_and_the_next_letter_counts_again() -> Result<()> {
    let desk = Desk::open()?;
    let mut lea = Lea::new("lea@client.example");
    let code = treated(&desk, &mut lea)?;
    let words = letter(&desk, &mut lea, &code, 3)?;
    // Ten guesses a mail at most.
    let mut next = 0;
    for n in 0..11 {
        let guesses: Vec<String> = (0..12)
            .map(|_| {
                let mut pick = |size| {
                    next += 7919;
                    next % size
                };
                Words::draw(Language::Fr, &mut pick).shown()
            })
            .collect();
        let mail = lea.write(&format!("{n}"), &format!("{}\n", guesses.join("\n\n")));
        desk.mail(&mail, march(3, 10, n))?;
    }
    let mail = lea.write("Moi", &format!("{words}\n\nC'est moi.\n"));
    let round = desk.mail(&mail, march(3, 11, 0))?;
    says(&desk.told(&round, "C'est moi.")?.read.text(), &["MOTS SANS VALEUR"])?;
    ensure!(desk.sql("SELECT COUNT(*) FROM outbox WHERE kind = 'enrolment' AND client_id = (SELECT id FROM client WHERE channel = 'pdf')")? == "2");
    let words = letter(&desk, &mut lea, &code, 4)?;
    let round = desk.mail(&lea.write("Arrêt", "STOP\n"), march(4, 10, 0))?;
    let told: Vec<_> = round.posts.iter().filter(|post| post.to.contains(&lea.address)).collect();
    let about = told.iter().any(|post| String::from_utf8_lossy(&post.raw).contains("dernier document"));
    ensure!(about, "it should say where the words are: {}", round.story());
    let mail = lea.write("Moi", &format!("{words}\n\nDe nouveau moi.\n"));
    desk.mail(&mail, march(4, 11, 0))?;
    ensure!(
        verdicts(&desk, &code)?.last().is_some_and(|verdict| verdict == "vouched"),
        "{:?}",
        verdicts(&desk, &code)?
    );
    Ok(())
}

#[test]
fn nothing_leaves_before_the_passphrase_is_told() -> Result<()> {
    let desk = Desk::open()?;
    let mut lea = Lea::new("lea@client.example");
    let code = treated(&desk, &mut lea)?;
    let old = letter(&desk, &mut lea, &code, 3)?;

    // A meeting by video leaves as a letter; a key isn't asked for.
    let round = desk.order(&format!("/to {code}\n/video 2026-03-06 15:00\n\nVoyons-nous."), march(3, 9, 20))?;
    says(&lea.take(&round)?.letter()?, &["Voyons-nous."])?;
    let round = desk.order(&format!("/to {code}\n/rekey"), march(3, 9, 30))?;
    desk.told(&round, "clé comparée de vive voix")?;

    // A new one: what is written waits, the therapist hears why, and it leaves when it was told.
    let round = desk.order(&format!("/to {code}\n/passphrase"), march(3, 10, 0))?;
    let phrase = phrase_in(&desk.told(&round, "/told")?.read.text()).context("no new passphrase")?;
    // Whoever knows the old one can read the words of the letters before: they prove nothing any more.
    desk.mail(&lea.write("Une lettre", &format!("{old}\n\nMoi.\n")), march(3, 10, 30))?;
    ensure!(verdicts(&desk, &code)?.last().is_some_and(|verdict| verdict == "unsigned"));
    let round = desk.order(&format!("/to {code}\n/urgent\n\nUne réponse."), march(3, 11, 0))?;
    says(&desk.told(&round, "phrase de passe n’est pas encore dite")?.read.text(), &["/passphrase"])?;
    ensure!(round.posts.iter().all(|post| !post.to.contains(&lea.address)), "{}", round.story());
    let round = desk.order(&format!("/to {code}\n/told"), march(3, 12, 0))?;
    let before = lea.mails.last().context("a letter before")?.clone();
    lea.knows(&phrase);
    let mail = lea.take(&round)?;
    says(&mail.letter()?, &["Une réponse."])?;
    ensure!(opened(&before.documents[0].1, &phrase)?.is_empty(), "the new passphrase opens an old letter");

    // Told twice, or asked of somebody with OpenPGP: refused with the reason.
    let round = desk.order(&format!("/to {code}\n/told"), march(3, 13, 0))?;
    desk.told(&round, "Aucune phrase de passe n’attend")?;
    let round = desk.order(&format!("/to {}\n/passphrase", desk.play.scene.c1), march(3, 14, 0))?;
    desk.told(&round, "/channel pdf")?;

    // Asked for by mail: told how to get it, and nothing else.
    let round = desk.mail(&lea.write("Bonjour", "Bonjour, j'ai perdu la phrase de passe !\n"), march(3, 15, 0))?;
    let told: Vec<_> = round.posts.iter().filter(|post| post.to.contains(&lea.address)).collect();
    let about = told.iter().find(|post| String::from_utf8_lossy(&post.raw).contains("de vive voix"));
    about.with_context(|| format!("nothing about the passphrase: {}", round.story()))?;
    ensure!(told.iter().all(|post| !String::from_utf8_lossy(&post.raw).contains(&phrase)), "the passphrase was mailed");
    ledger::sound(&desk.play.scene)
}

#[test]
fn pictures_and_documents_are_sealed_and_anything_else_is_refused() -> Result<()> {
    let desk = Desk::open()?;
    let mut lea = Lea::new("lea@client.example");
    let code = treated(&desk, &mut lea)?;
    let round = desk.mail(&lea.write("Une lettre", "Bonjour.\n"), march(2, 10, 0))?;
    lea.take(&round)?;
    let forward = desk.told(&round, "Bonjour.")?.raw.clone();
    let therapist = &desk.play.scene.therapist;
    let send = |letter: Letter, at| -> Result<_> {
        therapist.deliver(&desk.play.scene.lab, &letter.at(at))?;
        desk.pass(at + chrono::TimeDelta::seconds(30))
    };
    let reply = || therapist.reply_to(&forward, "Voici, avec un signe rare : \u{1f970}.");
    let refused = send(reply()?.attach("voix.ogg", "audio/ogg", b"OggS\0\x02abc"), march(2, 11, 0))?;
    says(&desk.told(&refused, "lettres scellées")?.read.text(), &["une image ou un PDF"])?;

    // One of our own letters is a PDF as good as any, once it is open.
    let word = desk.order(&format!("/to {code}\n/now\n\nUn mot."), march(2, 12, 0))?;
    let mail = lea.take(&word)?;
    let dir = tempfile::tempdir()?;
    let (closed, open) = (dir.path().join("closed.pdf"), dir.path().join("open.pdf"));
    std::fs::write(&closed, &mail.documents[0].1)?;
    let phrase = lea.phrase().context("a passphrase")?;
    let qpdf = std::process::Command::new("qpdf")
        .arg(format!("--password={phrase}"))
        .args(["--decrypt".as_ref(), closed.as_os_str(), open.as_os_str()])
        .status()?;
    ensure!(qpdf.success(), "qpdf");
    let taken = send(reply()?.attach("a.pdf", "application/pdf", &std::fs::read(&open)?), march(2, 13, 0))?;
    says(&desk.told(&taken, "\u{1f970}")?.read.text(), &["ne sait pas montrer"])?;
    let round = desk.pass(march(3, 17, 0))?;
    let reply = lea.take(&round)?;
    ensure!(reply.documents.len() == 2, "{:?}", reply.documents.iter().map(|(name, _)| name).collect::<Vec<_>>());
    says(&opened(&reply.documents[1].1, &phrase)?, &["Un mot."])?;
    says(&reply.letter()?, &["Voici", "U+1F970"])?;
    ensure!(opened(&reply.documents[1].1, "")?.is_empty(), "the second document opens without a passphrase");

    // Sent back with an answer, it reaches nobody; a document of hers does.
    let words = reply.words()?;
    let mail = lea.with_file(&format!("{words}\n\nMerci."), "lettre.pdf", &reply.documents[0].1);
    let round = desk.mail(&mail, march(4, 9, 0))?;
    let forward = desk.told(&round, "Merci.")?;
    ensure!(forward.read.attachments.is_empty(), "{:?}", forward.read.attachments.len());
    let mail = lea.with_file(&format!("{words}\n\nLe mien."), "mien.pdf", &std::fs::read(&open)?);
    let round = desk.mail(&mail, march(4, 10, 0))?;
    ensure!(desk.told(&round, "Le mien.")?.read.attachments.len() == 1, "{}", round.story());
    ledger::sound(&desk.play.scene)
}

/// From sealed letters to OpenPGP: one letter with a key, compared by voice; the frame is asked about anew.
#[test]
fn a_key_in_one_letter_leads_to_openpgp() -> Result<()> {
    let desk = Desk::open()?;
    let mut lea = Lea::new("nina@client.example");
    let code = treated(&desk, &mut lea)?;
    let words = letter(&desk, &mut lea, &code, 3)?;
    let born = chrono::DateTime::from_timestamp(1_767_225_600, 0).context("a time")?;
    let nina = crate::common::Person::generate(&desk.play.scene.lab, "nina", "nina", "nina@client.example", born)?;
    nina.meet(&desk.play.scene.office)?;
    let mail = lea.with_file(&format!("{words}\n\nMa clé."), "cle.asc", &nina.certificate()?);
    let mail = mail.replace("application/pdf", "application/pgp-keys");
    let round = desk.mail(&mail, march(3, 10, 0))?;
    let offered = desk.told(&round, "/key accept")?;
    let accept = offered.read.text();
    let line = accept.lines().find(|line| line.trim().starts_with("/key accept")).context("no command")?.to_owned();
    let round = desk.reply(&offered.raw, line.trim(), march(3, 11, 0))?;
    ensure!(desk.show(&code)?["channel"] == "openpgp", "{}", round.story());
    let renewal = round.posts.iter().find(|post| post.to.contains(&lea.address)).context("no renewal")?;
    ensure!(nina.read(&renewal.raw)?.decrypted, "the frame as it is now, to the key");
    ensure!(verdicts(&desk, &code)?.last().is_some_and(|verdict| verdict == "vouched"));
    Ok(())
}

/// The lines have to reach somebody who has left the passphrase at home; the closing letter is sealed as any.
#[test]
fn safety_is_clear_and_the_closing_letter_is_sealed() -> Result<()> {
    let desk = Desk::open()?;
    let mut lea = Lea::new("lea@client.example");
    let code = treated(&desk, &mut lea)?;
    let round = desk.mail(&lea.write("Ce soir", "Je vais me tuer ce soir.\n"), march(3, 2, 0))?;
    let safety = lea.take(&round)?;
    ensure!(safety.documents.is_empty(), "{:?}", safety.subject);
    says(&safety.text, &["3114", "112"])?;
    let alert = round.to(&desk.play.scene.therapist).any(|post| post.read.text().contains("ALERTE A"));
    ensure!(alert, "{}", round.story());

    let words = "Nous nous arrêtons ici, comme nous en avons parlé ensemble la semaine dernière. Je vous remercie de votre \
                 confiance et je vous souhaite une belle route.";
    desk.order(&format!("/to {code}\n/discharge\n\n{words}"), march(3, 9, 0))?;
    let round = desk.pass(march(3, 17, 0))?;
    let farewell = lea.take(&round)?;
    ensure!(!String::from_utf8_lossy(&farewell.raw).contains("belle route"), "in clear");
    says(&farewell.letter()?, &["une belle route", "+33 1 00 00 00 00"])?;
    ensure!(desk.state(&code)? == "discharged");

    // Years later, invited anew: nothing of then counts, and the way is the same.
    let round = desk.order("/invite lea@client.example fr", march(3, 18, 0))?;
    desk.told(&round, "/resume")?;
    Ok(())
}

/// Who answered without a key and was offered sealed letters, and then sends a key after all, is a person with a key.
#[test]
fn a_key_after_the_offer_ends_it() -> Result<()> {
    let desk = Desk::open()?;
    let mut lea = Lea::new("nina@client.example");
    let round = desk.order("/invite nina@client.example fr", march(2, 9, 0))?;
    let code = desk.sql("SELECT client FROM journal WHERE kind = 'invited' ORDER BY seq DESC LIMIT 1")?;
    lea.take(&round)?;
    let round = desk.mail(&lea.reply("Oui."), march(2, 10, 0))?;
    lea.take(&round)?;
    let offered = desk.told(&round, "/told")?.raw.clone();
    // Again without one: the same passphrase, not another.
    let phrase = phrase_in(&desk.told(&round, "/told")?.read.text());
    let round = desk.mail(&lea.reply("Toujours sans clé."), march(2, 11, 0))?;
    ensure!(phrase.is_some() && phrase_in(&desk.told(&round, "/told")?.read.text()) == phrase, "{}", round.story());
    let born = chrono::DateTime::from_timestamp(1_767_225_600, 0).context("a time")?;
    let nina = crate::common::Person::generate(&desk.play.scene.lab, "nina", "nina", "nina@client.example", born)?;
    nina.meet(&desk.play.scene.office)?;
    let mail =
        lea.with_file("Ma clé.", "cle.asc", &nina.certificate()?).replace("application/pdf", "application/pgp-keys");
    let round = desk.mail(&mail, march(2, 12, 0))?;
    let accept = desk.told(&round, "/key accept")?;
    let text = accept.read.text();
    ensure!(!text.contains("aussi signé"), "answer words or none, no key signed it:\n{text}");
    let line = text.lines().find(|line| line.trim().starts_with("/key accept")).context("no command")?;
    desk.reply(&accept.raw, line.trim(), march(2, 13, 0))?;
    ensure!(desk.state(&code)? == "consent_pending" && desk.show(&code)?["channel"] == "openpgp");
    ensure!(desk.show(&code)?["passphrase"].is_null(), "a passphrase waits to be told");
    let round = desk.reply(&offered, "/told", march(2, 14, 0))?;
    desk.told(&round, "Aucune phrase de passe n’attend")?;
    Ok(())
}
