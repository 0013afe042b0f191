//! The therapist's side, end to end: replies, commands, and the rhythm that they follow.

mod common;

use anyhow::{Result, ensure};
use common::mail::find;
use common::play::{Play, Round, says};
use common::scene::march;
use common::{Answer, Letter, PracticeOptions};
use lopdf::{Document, Object, dictionary};

/// A PDF of one empty page that names its author.
fn pdf(author: &str) -> Vec<u8> {
    let mut pdf = Document::with_version("1.5");
    let pages = pdf.new_object_id();
    let page = pdf.add_object(dictionary! {
        "Type" => "Page", "Parent" => pages, "MediaBox" => vec![0.into(), 0.into(), 9.into(), 9.into()],
    });
    let kids = dictionary! { "Type" => "Pages", "Kids" => vec![page.into()], "Count" => 1 };
    pdf.objects.insert(pages, Object::Dictionary(kids));
    let catalog = pdf.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages });
    let info = pdf.add_object(dictionary! { "Author" => Object::string_literal(author) });
    pdf.trailer.set("Root", catalog);
    pdf.trailer.set("Info", info);
    let mut bytes = Vec::new();
    pdf.save_to(&mut bytes).expect("memory takes it");
    bytes
}

/// The last line with words.
fn last_line(text: &str) -> &str {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

#[test]
fn row_13_row_33_a_reply_leaves_at_its_slot_and_shows_nothing_of_the_therapists_side() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    play.forwarded(&s.marie, "Une première lettre.\n", march(1, 22, 10))?;
    let second = Letter::new(common::scene::OFFICE, "Le grenier", "Une seconde lettre.\n").at(march(2, 1, 14));
    let sent = s.marie.deliver(&s.lab, &second)?;
    let own_id = s.marie.read(&sent)?.inner("Message-ID").map(str::to_owned).expect("a letter has one");
    let round = play.pass(march(2, 1, 14))?;
    round.nothing_to(&s.marie)?;
    let forward = round.one(&s.therapist)?.raw.clone();

    let told = play.told(&forward, "/label Marie B.", march(2, 8, 0))?;
    says(&told, &["« Marie B. »", &s.c1])?;
    let answer = s
        .therapist
        .reply_to(&forward, "Ce que vous dites du grenier me touche.\n\nDeux lignes en valent une.")?
        .at(march(2, 9, 0))
        .attach("exercice.pdf", "application/pdf", &pdf("Docteur Auteur-Secret"))
        .attach("OpenPGP_0xABCD.asc", "application/pgp-keys", &s.therapist.certificate()?)
        .attach("moi.vcf", "text/vcard", b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Vcard Secrete\r\nEND:VCARD\r\n");
    let mut answer = Letter {
        subject: format!("Re: [{}] Marie B. : Le grenier", s.c1),
        extra_headers: vec![
            ("User-Agent".into(), "Programme Secret 1.0".into()),
            ("X-Originating-IP".into(), "203.0.113.9".into()),
        ],
        ..answer
    };
    answer.text.push_str("\n-- \nDr Exemple\ndr@exemple.example\n");
    s.therapist.deliver(&s.lab, &answer)?;
    let round = play.pass(march(2, 9, 1))?;
    round.nothing_to(&s.marie)?;
    let receipt = round.one(&s.therapist)?;
    ensure!(receipt.read.subject.contains(&s.c1) && receipt.read.subject.contains("Marie B."), "{}", round.story());
    let told = receipt.read.text();
    says(&told, &[&s.c1, "Marie B.", "18 h", "2 mars", "« Ce que vous dites du grenier me touche. »"])?;
    ensure!(!told.contains("Deux lignes en valent une"), "{told}");
    let turn = play.turn(&s.c1)?;
    ensure!(turn["state"] == "answered", "{turn}");

    ensure!(play.pass(march(2, 16, 59))?.to(&s.marie).next().is_none(), "before the slot");
    let round = play.pass(march(2, 17, 0))?;
    let reply = round.one(&s.marie)?;
    ensure!(round.counts["released"] == 1 && reply.read.decrypted, "{}", round.story());
    let read = &reply.read;
    let made = read.signature.as_ref().filter(|s| s.good).expect("a good signature").made;
    ensure!((made - march(2, 17, 0)).num_seconds().abs() < 60, "signed at {made}");
    let date = chrono::DateTime::parse_from_rfc2822(read.inner("Date").unwrap_or_default())?;
    ensure!((date.to_utc() - made).num_seconds().abs() < 60, "Date {date}, signed {made}");
    ensure!(read.subject == "Re: Le grenier", "{:?}", read.subject);
    ensure!(read.inner("In-Reply-To") == Some(own_id.as_str()), "{:?}, {own_id}", read.inner("In-Reply-To"));
    let line = last_line(&read.texts[0]).to_owned();
    says(&line, &["Cette lettre répond à vos lettres", "du 1er mars, 23 h 10", "et du 2 mars, 2 h 14."])?;
    ensure!(read.attachments.iter().any(|(name, kind, _)| name.ends_with(".pdf") && kind == "application/pdf"));
    let entity = &read.entity;
    let pdf = &read.attachments.iter().find(|(_, kind, _)| kind == "application/pdf").expect("a PDF").2;
    for secret in [
        s.c1.as_str(),
        "Marie B.",
        "exemple.example",
        "Auteur-Secret",
        "Vcard",
        "BEGIN PGP PUBLIC KEY",
        "Programme Secret",
        "203.0.113.9",
        "a écrit",
        "Une seconde lettre",
        "Dr Exemple",
        "VÉRIFIÉE",
    ] {
        for place in [entity.as_slice(), reply.raw.as_slice(), pdf.as_slice(), read.text().as_bytes()] {
            ensure!(find(place, secret.as_bytes()).is_none(), "{secret:?} reached the client: {}", round.story());
        }
    }
    ensure!(read.attachments.iter().all(|(_, kind, _)| kind != "text/vcard"), "{:?}", round.story());
    ensure!(play.pass(march(2, 17, 30))?.posts.is_empty(), "something left after the reply");
    Ok(())
}

#[test]
fn every_command_does_what_its_receipt_says_in_both_languages() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let first = play.forwarded(&s.marie, "Première.\n", march(2, 3, 0))?;
    // What changes nothing in the rhythm.
    for (n, (command, word)) in [
        ("/label Marie B.", "« Marie B. »"),
        ("/étiquette Marie C.", "« Marie C. »"),
        ("/NOTE à revoir", "Note gardée"),
    ]
    .iter()
    .enumerate()
    {
        says(&play.told(&first, command, march(2, 8, n as u32))?, &[word])?;
    }
    says(&play.told(&first, "/rythme mar,ven", march(2, 8, 10))?, &["mardi", "vendredi"])?;
    let turn = play.turn(&s.c1)?;
    ensure!(turn["due"].as_str().is_some_and(|due| due.starts_with("2026-03-03T17:00")), "{turn}");
    says(&play.told(&first, "/rhythm all", march(2, 8, 11))?, &["aux jours du cabinet"])?;
    for (n, command) in ["/help", "/Aide"].iter().enumerate() {
        let letter = Letter::new(common::scene::OFFICE, "aide", command).at(march(2, 8, 20 + n as u32));
        says(&play.told_of(&letter, march(2, 8, 20 + n as u32))?, &["/to", "/cancel", "/annuler"])?;
    }
    for (n, command) in ["/digest", "/journée"].iter().enumerate() {
        let at = march(2, 8, 30 + n as u32);
        s.therapist.deliver(&s.lab, &Letter::new(common::scene::OFFICE, "relevé", command).at(at))?;
        let round = play.pass(at)?;
        ensure!(round.counts["digests"] == 1, "{}", round.story());
    }

    // A reply, withdrawn in both languages: the turn is open again and there is no second acknowledgement.
    for (n, command) in ["/cancel", "/annuler"].iter().enumerate() {
        let at = march(2, 9, 10 * n as u32);
        says(&play.told(&first, "Une réponse.", at)?, &["18 h"])?;
        says(&play.told(&first, command, at + chrono::TimeDelta::minutes(5))?, &["Réponse retirée", "18 h"])?;
        ensure!(play.turn(&s.c1)?["state"] == "open", "{}", play.turn(&s.c1)?);
    }
    ensure!(play.states(&s.c1, "reply")? == ["cancelled", "cancelled"], "{:?}", play.states(&s.c1, "reply")?);
    says(&play.told(&first, "/annuler", march(2, 9, 30))?, &["Rien à retirer"])?;
    let round = play.letter(&s.marie, "Encore un mot.\n", march(2, 9, 40))?;
    round.nothing_to(&s.marie)?;
    let again = round.one(&s.therapist)?.raw.clone();

    // Outside the count: a practical word, one a day, and it leaves the turn open.
    let round = play.answer(&first, "/maintenant\n\nNous nous retrouvons jeudi.", march(2, 10, 0))?;
    says(&round.one(&s.marie)?.read.text(), &["Nous nous retrouvons jeudi."])?;
    ensure!(!round.one(&s.marie)?.read.text().contains("/maintenant"), "{}", round.story());
    says(&play.told(&first, "/now\n\nEncore.", march(2, 10, 5))?, &["déjà parti aujourd'hui"])?;
    ensure!(play.turn(&s.c1)?["state"] == "open");
    // /urgent with a text, and alone for what waits.
    let round = play.answer(&first, "/urgent\n\nAppelez-moi ce matin.", march(2, 10, 10))?;
    // It answers the first letter; the one that had joined opens a turn of its own, with its notice.
    let texts: Vec<String> = round.to(&s.marie).map(|post| post.read.text()).collect();
    ensure!(texts.len() == 2, "{}", round.story());
    says(
        &texts.concat(),
        &["Appelez-moi ce matin.", "votre lettre du 2 mars, 4 h.", "est arrivée le lundi 2 mars à 10 h 40"],
    )?;
    play.answer(&again, "/URGENT\n\nEt pour la seconde.", march(2, 10, 12))?;
    says(&play.told(&first, "/urgent", march(2, 10, 15))?, &["aucune réponse n'attend"])?;
    let next = play.forwarded(&s.paul, "De Paul.\n", march(2, 10, 20))?;
    says(&play.told(&next, "Pour ce soir, Paul.", march(2, 10, 25))?, &["18 h"])?;
    let round = play.answer(&next, "/Urgent", march(2, 10, 30))?;
    says(&round.one(&s.paul)?.read.text(), &["Pour ce soir, Paul.", "Cette lettre répond à votre lettre du 2 mars"])?;
    round.nothing_to(&s.marie)?;
    // Neither used the day: a reply can still leave tonight.
    says(&play.told(&next, "Et ma lettre du soir.", march(2, 10, 40))?, &["2 mars"])?;
    let round = play.pass(march(2, 17, 0))?;
    says(&round.one(&s.paul)?.read.text(), &["Et ma lettre du soir."])?;

    // /close: the standing sentence, a line, and silence only where nothing was promised.
    let third = play.forwarded(&s.paul, "Une autre de Paul.\n", march(3, 3, 0))?;
    says(&play.told(&third, "/close silent", march(3, 8, 0))?, &["accusé de réception"])?;
    says(&play.told(&third, "/fermer", march(3, 8, 5))?, &["Clos sans lettre"])?;
    let round = play.pass(march(3, 17, 0))?;
    says(&round.one(&s.paul)?.read.text(), &["Votre lettre a été lue. Il n'y aura pas de lettre ce soir."])?;
    let fourth = play.forwarded(&s.paul, "Quatrième.\n", march(4, 3, 0))?;
    says(&play.told(&fourth, "/close J'ai bien lu, à jeudi.", march(4, 8, 5))?, &["« J'ai bien lu, à jeudi. »"])?;
    let round = play.pass(march(4, 17, 0))?;
    let text = round.one(&s.paul)?.read.text();
    says(&text, &["J'ai bien lu, à jeudi."])?;
    ensure!(!text.contains("a été lue"), "{text}");
    says(&play.told(&fourth, "/close", march(4, 18, 0))?, &["Aucune lettre n'attend de réponse"])?;

    // Held mail: passed on or ended, by its number, in both languages.
    let hold = |n: u32| -> Result<Vec<u8>> {
        let forged = Letter {
            forged_from: Some((s.marie.name.clone(), s.marie.address.clone())),
            ..Letter::new(common::scene::OFFICE, "De Marie", "Je suis Marie.\n").at(march(5, 8, n))
        };
        s.paul.deliver(&s.lab, &forged)?;
        let round = play.pass(march(5, 8, n))?;
        ensure!(round.counts["held"] == 1, "{}", round.story());
        ensure!(!round.to(&s.marie).any(|post| post.read.text().contains("retenue")), "{}", round.story());
        Ok(round.one(&s.therapist).map(|post| post.raw.clone()).unwrap_or_default())
    };
    let notice = hold(0)?;
    let round = play.answer(&notice, "/libérer H1", march(5, 8, 5))?;
    round.nothing_to(&s.marie)?;
    let texts: String = round.to(&s.therapist).map(|post| post.read.text()).collect();
    says(&texts, &["H1 : transmise", "Je suis Marie.", "MAUVAIS SIGNATAIRE"])?;
    hold(10)?;
    says(&play.told(&notice, "/écarter H2", march(5, 8, 15))?, &["H2 : écartée"])?;
    hold(20)?;
    says(&play.told(&notice, "/discard", march(5, 8, 25))?, &["H3 : écartée"])?;
    says(&play.told(&notice, "/release H3", march(5, 8, 26))?, &["H3 n'existe pas"])?;
    // A conversation of its own: /to names the client.
    let text = format!("/pour {}\n\nUne lettre que personne n'attendait.", s.c1);
    let letter = Letter::new(common::scene::OFFICE, "Pour mardi", &text).at(march(6, 8, 0));
    says(&play.told_of(&letter, march(6, 8, 0))?, &[&s.c1, "6 mars", "« Une lettre que personne n'attendait. »"])?;
    let round = play.pass(march(6, 17, 0))?;
    let reply = round.to(&s.marie).next().expect("the unprompted reply");
    ensure!(reply.read.subject.contains("Pour mardi"), "{}", round.story());
    ensure!(!reply.read.text().contains("Cette lettre répond"), "{}", round.story());
    // It used the day: another one goes on Monday.
    let text = format!("/to {}\n\nEncore une.", s.c1);
    let letter = Letter::new(common::scene::OFFICE, "Encore", &text).at(march(6, 18, 0));
    says(&play.told_of(&letter, march(6, 18, 0))?, &["9 mars"])?;
    Ok(())
}

#[test]
fn a_mail_with_a_wrong_command_is_refused_whole_and_changes_nothing() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Bonjour.\n", march(2, 3, 0))?;
    says(&play.told(&forward, "/label Première", march(2, 7, 0))?, &["Première"])?;
    says(&play.told(&forward, "Ma réponse.", march(2, 7, 1))?, &["18 h"])?;
    let before = s.thread(&s.c1)?;
    let words = "mot ".repeat(101);
    let now_too_long = format!("/label Neuve\n/now\n\n{words}");
    let to_paul = format!("/to {}\nPour toi.", s.c2);
    let refusals: Vec<(&str, &str)> = vec![
        ("/label Neuve\n/inconnue\n\nTexte.", "« /inconnue » n'existe pas"),
        ("/label Neuve\n/cancel\n/now\n\nTexte.", "/cancel et /now"),
        ("/label Neuve\n/cancel\n\nUn texte qui ne doit pas partir.", "/cancel ne prend pas de texte"),
        ("/label Neuve\n/fermer\n\nUn texte.", "/close ne prend pas de texte"),
        ("/label Neuve\n/rhythm 2,5", "/rhythm"),
        ("/label Neuve\n/release H9", "H9"),
        ("/label Neuve\n/label Autre", "/label"),
        ("/label Neuve\n/now", "/now demande un texte"),
        (&now_too_long, "101 mots"),
        ("/label Neuve\n/close silent", "Aucune lettre n'attend"),
        ("/label Neuve\n\nÉcrivez à dr@exemple.example.", "votre propre adresse"),
        (&to_paul, "plusieurs personnes"),
        ("/note un\n/discard N-ZZZZ", "N-ZZZZ"),
    ];
    for (n, (text, reason)) in refusals.iter().enumerate() {
        // Five refusals an hour are told; these are half an hour apart.
        let at = march(2, 7, 10) + chrono::TimeDelta::minutes(30 * n as i64);
        let told = play.told(&forward, text, at)?;
        says(&told, &[reason, "rien n'a été fait"])?;
        ensure!(*text == to_paul || told.contains("Première") || !told.contains(&s.c1), "{told}");
        ensure!(s.thread(&s.c1)? == before, "{text:?} changed something: {:#}", s.thread(&s.c1)?);
    }
    let told = play.told(&forward, "/note dernière", march(2, 16, 0))?;
    says(&told, &["Première"])?;
    let round = play.pass(march(2, 17, 0))?;
    says(&round.one(&s.marie)?.read.text(), &["Ma réponse."])?;
    Ok(())
}

#[test]
fn a_second_reply_follows_the_four_policies() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    // auto: the same letter's new answer takes the slot; a later letter's answer waits for the next.
    let first = play.forwarded(&s.marie, "Une.\n", march(2, 3, 0))?;
    says(&play.told(&first, "Version une.", march(2, 8, 0))?, &["18 h"])?;
    says(&play.told(&first, "Version deux.", march(2, 8, 10))?, &["remplacée", "2 mars"])?;
    // Signed earlier, seen later.
    s.answer(&first, "Version d'avant.", march(2, 8, 5))?;
    let round = play.pass(march(2, 8, 20))?;
    says(&round.one(&s.therapist)?.read.text(), &["signé avant la réponse qui attend"])?;
    let round = play.letter(&s.marie, "Deux.\n", march(2, 9, 0))?;
    let second = round.one(&s.therapist)?.raw.clone();
    round.one(&s.marie)?;
    says(&play.told(&second, "Réponse à deux.", march(2, 9, 30))?, &["3 mars", "plus récente"])?;
    let round = play.pass(march(2, 17, 0))?;
    let text = round.one(&s.marie)?.read.text();
    says(&text, &["Version deux."])?;
    ensure!(!text.contains("Version une") && !text.contains("Réponse à deux"), "{text}");
    // Signed before what has left: it can't come after it.
    s.answer(&first, "Resté en route.", march(2, 8, 7))?;
    let round = play.pass(march(2, 17, 30))?;
    says(&round.one(&s.therapist)?.read.text(), &["signé avant"])?;
    let round = play.pass(march(3, 17, 0))?;
    says(
        &round.one(&s.marie)?.read.text(),
        &["Réponse à deux.", "Cette lettre répond à votre lettre du 2 mars, 10 h"],
    )?;
    ensure!(play.states(&s.c1, "reply")? == ["replaced", "sent", "sent"], "{:?}", play.states(&s.c1, "reply")?);

    // hold: put aside with a number, until a person decides.
    s.practice.set("rhythm.second", "\"hold\"")?;
    let third = play.forwarded(&s.marie, "Trois.\n", march(4, 3, 0))?;
    play.told(&third, "Trois, une.", march(4, 8, 0))?;
    says(&play.told(&third, "Trois, deux.", march(4, 8, 10))?, &["retenue sous H1"])?;
    let round = play.pass(march(4, 17, 0))?;
    says(&round.one(&s.marie)?.read.text(), &["Trois, une."])?;
    says(&play.told(&third, "/release H1", march(4, 18, 0))?, &["5 mars"])?;
    let round = play.pass(march(5, 17, 0))?;
    says(&round.one(&s.marie)?.read.text(), &["Trois, deux."])?;

    // replace: whatever it answers.
    s.practice.set("rhythm.second", "\"replace\"")?;
    let fourth = play.forwarded(&s.marie, "Quatre.\n", march(6, 3, 0))?;
    play.told(&fourth, "Quatre, une.", march(6, 8, 0))?;
    let round = play.letter(&s.marie, "Cinq.\n", march(6, 9, 0))?;
    let fifth = round.one(&s.therapist)?.raw.clone();
    says(&play.told(&fifth, "Aux deux.", march(6, 9, 30))?, &["remplacée", "6 mars"])?;
    let round = play.pass(march(6, 17, 0))?;
    let text = round.one(&s.marie)?.read.text();
    says(&text, &["Aux deux.", "vos lettres du 6 mars, 4 h, et du 6 mars, 10 h"])?;
    ensure!(play.turn(&s.c1)?["state"] == "answered", "{}", play.turn(&s.c1)?);

    // refuse.
    s.practice.set("rhythm.second", "\"refuse\"")?;
    let sixth = play.forwarded(&s.marie, "Six.\n", march(9, 3, 0))?;
    play.told(&sixth, "Six, une.", march(9, 8, 0))?;
    says(&play.told(&sixth, "Six, deux.", march(9, 8, 10))?, &["Une réponse attend déjà", "/cancel"])?;
    // What is leaving can't be replaced: the server says later, and the next answer waits.
    s.practice.set("rhythm.second", "\"replace\"")?;
    play.script([Answer::AfterDot("451 4.3.0 later".into())]);
    let round = play.pass(march(9, 17, 0))?;
    ensure!(round.counts["deferred"] == 1 && round.counts["released"] == 0, "{}", round.story());
    s.answer(&sixth, "Six, trois.", march(9, 17, 0))?;
    let round = play.pass(march(9, 17, 0) + chrono::TimeDelta::seconds(20))?;
    let texts: String = round.to(&s.therapist).map(|post| post.read.text()).collect();
    says(&texts, &["en train de partir", "10 mars"])?;
    let round = play.pass(march(9, 18, 30))?;
    says(&round.one(&s.marie)?.read.text(), &["Six, une."])?;
    let round = play.pass(march(10, 17, 0))?;
    says(&round.one(&s.marie)?.read.text(), &["Six, trois."])?;
    Ok(())
}

/// What the alarm command wrote, line by line.
fn alarms(play: &Play) -> Vec<String> {
    let text = std::fs::read_to_string(play.scene.practice.dir.join("alarms")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn with_alarm(play: &Play) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let script = play.scene.practice.dir.join("alarm.sh");
    std::fs::write(&script, "#!/bin/sh\necho \"$*|$(env | grep ^CADRE | tr '\\n' ' ')\" >> \"${0%/*}/alarms\"\n")?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700))?;
    let path = format!("{:?}", script.display().to_string());
    let mut text = std::fs::read_to_string(&play.scene.practice.config)?;
    text.push_str(&format!("\n[operator]\nalarm_command = {path}\n"));
    Ok(std::fs::write(&play.scene.practice.config, text)?)
}

#[test]
fn a_late_reply_leaves_within_the_grace_and_a_missed_day_is_said_once() -> Result<()> {
    let play = Play::new()?;
    with_alarm(&play)?;
    let s = &play.scene;
    let marie = play.forwarded(&s.marie, "De Marie.\n", march(2, 3, 0))?;
    let paul = play.forwarded(&s.paul, "De Paul.\n", march(2, 3, 10))?;
    play.pass(march(2, 6, 0))?;
    // One reminder a slot, three hours before, with both.
    ensure!(play.pass(march(2, 13, 50))?.posts.is_empty(), "too early");
    let round = play.pass(march(2, 14, 1))?;
    ensure!(round.posts.len() == 1 && round.posts[0].is_routine(), "{}", round.story());
    says(&round.posts[0].read.text(), &[&s.c1, &s.c2, "Réponses attendues avant"])?;
    for minute in [5, 30] {
        ensure!(play.pass(march(2, 14, minute))?.posts.is_empty(), "a second reminder");
    }
    ensure!(play.pass(march(2, 17, 5))?.posts.is_empty(), "said too early");
    // Forty minutes after the slot: at once.
    let round = play.answer(&marie, "En retard, pardon.", march(2, 17, 40))?;
    says(&round.one(&s.marie)?.read.text(), &["En retard, pardon."])?;
    says(&round.one(&s.therapist)?.read.text(), &["part maintenant"])?;
    // After the grace: one letter, with the next date.
    let round = play.pass(march(2, 19, 5))?;
    let letter = round.one(&s.paul)?.read.text();
    says(&letter, &["2 mars", "mardi 3 mars", "rien à refaire"])?;
    round.nothing_to(&s.marie)?;
    for (hour, minute) in [(19, 10), (20, 0)] {
        play.pass(march(2, hour, minute))?.nothing_to(&s.paul)?;
    }
    ensure!(alarms(&play).is_empty(), "{:?}", alarms(&play));
    // Three hours after the slot: the next one.
    says(&play.told(&paul, "Trop tard pour ce soir.", march(2, 20, 5))?, &["3 mars"])?;
    says(&play.told(&paul, "/cancel", march(2, 20, 10))?, &["Réponse retirée", "3 mars"])?;
    // A second miss running alarms the operator; downtime doesn't double it.
    let round = play.pass(march(5, 12, 0))?;
    let letters: Vec<String> = round.to(&s.paul).map(|post| post.read.text()).collect();
    ensure!(letters.len() == 1, "{}", round.story());
    says(&letters[0], &["jeudi 5 mars"])?;
    let heard = alarms(&play);
    ensure!(heard.len() == 1 && heard[0].contains(&s.c2), "{heard:?}");
    play.pass(march(5, 13, 0))?.nothing_to(&s.paul)?;
    ensure!(alarms(&play).len() == 1, "{:?}", alarms(&play));
    says(&play.told(&paul, "Enfin.", march(5, 13, 5))?, &["5 mars"])?;
    let round = play.pass(march(5, 17, 0))?;
    says(&round.one(&s.paul)?.read.text(), &["Enfin."])?;
    play.pass(march(5, 20, 0))?.nothing_to(&s.paul)?;
    Ok(())
}

#[test]
fn downtime_and_refusals_of_the_server_keep_one_reply_a_day() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let one = play.forwarded(&s.marie, "Une.\n", march(2, 3, 0))?;
    play.told(&one, "Réponse une.", march(2, 8, 0))?;
    let two = play.letter(&s.marie, "Deux.\n", march(2, 9, 0))?.one(&s.therapist)?.raw.clone();
    says(&play.told(&two, "Réponse deux.", march(2, 10, 0))?, &["3 mars"])?;
    // Down over both slots: one leaves when it is back, the other the next day, nothing is made up.
    let round = play.pass(march(4, 9, 0))?;
    says(&round.one(&s.marie)?.read.text(), &["Réponse une."])?;
    let round = play.pass(march(4, 17, 0))?;
    round.nothing_to(&s.marie)?;
    let round = play.pass(march(5, 17, 0))?;
    says(&round.one(&s.marie)?.read.text(), &["Réponse deux."])?;
    ensure!(play.states(&s.c1, "reply")? == ["sent", "sent"]);

    // The first attempt late at night belongs to the local day on which it is made.
    let paul = play.forwarded(&s.paul, "De Paul.\n", march(5, 20, 0))?;
    says(&play.told(&paul, "À Paul.", march(6, 8, 0))?, &["6 mars"])?;
    // 451 after the dot, twice: the same bytes are tried again, and no day is taken.
    let later = || Answer::AfterDot("451 4.3.0 later".into());
    play.script([later(), later()]);
    let round = play.pass(march(6, 17, 0))?;
    ensure!(round.counts["deferred"] == 1, "{}", round.story());
    let again = play.forwarded(&s.paul, "Encore Paul.\n", march(6, 17, 0));
    // The client's acknowledgement meets the second 451.
    drop(again);
    for (day, hour) in [(6, 19), (6, 22), (7, 10)] {
        play.pass(march(day, hour, 0))?;
    }
    ensure!(play.states(&s.c2, "reply")? == ["sent"], "{:?}", play.states(&s.c2, "reply")?);
    let mails = s.mails(&s.paul)?;
    ensure!(mails.iter().filter(|mail| mail.text().contains("À Paul.")).count() == 1);

    // 552 for good: the therapist knows, and the day is free again for the evening's slot.
    s.practice.set("rhythm.release", "\"0 0 12,18 * * Mon-Fri\"")?;
    let three = play.forwarded(&s.marie, "Trois.\n", march(9, 3, 0))?;
    says(&play.told(&three, "Réponse trois.", march(9, 8, 0))?, &["lundi 9 mars à 12 h"])?;
    play.script([Answer::AfterDot("552 5.3.4 too big".into())]);
    let round = play.failing_pass(march(9, 11, 0))?;
    let texts: String = round.to(&s.therapist).map(|post| post.read.text()).collect();
    says(&texts, &[&s.c1, "n'a pas reçu la réponse du lundi", "+33 1 00 00 00 00"])?;
    ensure!(play.states(&s.c1, "reply")?.last().is_some_and(|state| state == "failed"));
    says(&play.told(&three, "Plus court.", march(9, 13, 0))?, &["lundi 9 mars à 18 h"])?;
    says(&play.pass(march(9, 17, 0))?.one(&s.marie)?.read.text(), &["Plus court."])?;
    Ok(())
}

#[test]
fn slots_follow_holidays_absences_summer_time_and_a_clients_own_days() -> Result<()> {
    use chrono::{TimeZone as _, Utc};
    let at = |month, day, hour, minute| Utc.with_ymd_and_hms(2026, month, day, hour, minute, 0).single().expect("real");
    let play = Play::new()?;
    let s = &play.scene;
    // Friday 27 March at 17:00 UTC; the Monday after the change at 16:00.
    let letter = play.forwarded(&s.marie, "Avant l'heure d'été.\n", at(3, 28, 3, 0))?;
    ensure!(play.turn(&s.c1)?["due"].as_str().is_some_and(|due| due.starts_with("2026-03-30T16:00")));
    play.told(&letter, "Réponse d'été.", at(3, 29, 12, 0))?;
    play.pass(at(3, 30, 15, 59))?.nothing_to(&s.marie)?;
    play.pass(at(3, 30, 16, 0))?.one(&s.marie)?;
    // /rhythm Tue,Fri: on Wednesday the next is Friday.
    says(&play.told(&letter, "/rhythm Tue,Fri", at(3, 31, 8, 0))?, &["mardi", "vendredi", "31 mars"])?;
    let letter = play.forwarded(&s.marie, "Mercredi.\n", at(4, 1, 3, 0))?;
    says(&play.told(&letter, "Pour vendredi.", at(4, 1, 8, 0))?, &["3 avril"])?;
    // Narrowed while it waits: what waits moves with it.
    says(&play.told(&letter, "/rhythm Thu", at(4, 1, 9, 0))?, &["jeudi"])?;
    play.pass(at(4, 2, 16, 0))?.one(&s.marie)?;
    play.told(&letter, "/rhythm all", at(4, 2, 18, 0))?;
    // The 14th of July is a Tuesday.
    let letter = play.forwarded(&s.paul, "La veille.\n", at(7, 13, 8, 0))?;
    says(&play.told(&letter, "Après la fête.", at(7, 13, 9, 0))?, &["13 juillet"])?;
    play.pass(at(7, 13, 16, 0))?.one(&s.paul)?;
    let letter = play.forwarded(&s.paul, "Le jour.\n", at(7, 14, 3, 0))?;
    ensure!(play.turn(&s.c2)?["due"].as_str().is_some_and(|due| due.starts_with("2026-07-15T16:00")));
    says(&play.told(&letter, "Après la fête.", at(7, 14, 9, 0))?, &["15 juillet"])?;
    play.pass(at(7, 14, 16, 0))?.nothing_to(&s.paul)?;
    play.pass(at(7, 15, 16, 0))?.one(&s.paul)?;
    // An absence in the configuration.
    let mut text = std::fs::read_to_string(&s.practice.config)?;
    text.push_str("\n[[absence]]\ntherapist = \"exemple\"\nfrom = 2026-08-03\nto = 2026-08-21\n");
    std::fs::write(&s.practice.config, text)?;
    let letter = play.forwarded(&s.paul, "En août.\n", at(8, 1, 3, 0))?;
    ensure!(
        play.turn(&s.c2)?["due"].as_str().is_some_and(|due| due.starts_with("2026-08-24T16:00")),
        "{}",
        play.turn(&s.c2)?
    );
    says(&play.told(&letter, "À mon retour.", at(8, 1, 9, 0))?, &["24 août"])?;
    // Clients are told when it begins and when it ends.
    says(&play.pass(at(8, 3, 8, 0))?.one(&s.paul)?.read.text(), &["24 août"])?;
    play.pass(at(8, 12, 16, 0))?.nothing_to(&s.paul)?;
    play.pass(at(8, 24, 8, 0))?.one(&s.paul)?;
    // Back to winter time: 25 October; Monday's slot is 17:00 UTC again.
    play.pass(at(8, 24, 16, 0))?.one(&s.paul)?;
    play.forwarded(&s.paul, "En octobre.\n", at(10, 25, 3, 0))?;
    ensure!(play.turn(&s.c2)?["due"].as_str().is_some_and(|due| due.starts_with("2026-10-26T17:00")));
    Ok(())
}

/// The digest in what a round sent.
fn digest(round: &Round) -> Option<String> {
    round.posts.iter().find(|post| !post.read.html.is_empty()).map(|post| post.read.text())
}

#[test]
fn the_days_letters_come_with_the_digest_in_the_therapists_own_morning() -> Result<()> {
    let play = Play::with(PracticeOptions::default())?;
    let s = &play.scene;
    // The therapist lives in Montréal: 07:00 there is 12:00 UTC, and slots are at 18:00 there.
    s.practice.set("therapist.0.timezone", "\"America/Toronto\"")?;
    play.letter(&s.marie, "Dans la nuit.\n", march(2, 3, 0))?.nothing_to(&s.therapist)?;
    play.letter(&s.paul, "Plus tard dans la nuit.\n", march(2, 4, 0))?.nothing_to(&s.therapist)?;
    let turn = play.turn(&s.c1)?;
    ensure!(turn["due"].as_str().is_some_and(|due| due.starts_with("2026-03-02T23:00")), "{turn}");
    let preview = s.practice.run(&["digest", "--preview"])?.expect_ok()?;
    says(&preview, &[&s.c1, &s.c2])?;
    play.pass(march(2, 6, 5))?.nothing_to(&s.therapist)?;
    let round = play.pass(march(2, 12, 0))?;
    ensure!(round.counts["digests"] == 1, "{}", round.story());
    let mails: Vec<_> = round.to(&s.therapist).collect();
    ensure!(mails.len() == 3, "{}", round.story());
    ensure!(!mails[0].read.html.is_empty(), "the digest comes before the letters it announces: {}", round.story());
    let text = mails[0].read.text();
    says(&text, &["À répondre ce soir (2)", &s.c1, &s.c2])?;
    ensure!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    ensure!(text.find(&s.c1) < text.find(&s.c2), "the one that waits longer comes first: {text}");
    let outer = mails[0].read.outer("Subject").unwrap_or_default().to_owned();
    ensure!(outer == "[...]" && mails[0].read.decrypted, "{outer}");
    let forward = mails[1].raw.clone();
    // The client gets both hours, or theirs; the reply leaves at 18:00 in Montréal.
    play.told(&forward, "De Montréal.", march(2, 13, 0))?;
    play.pass(march(2, 17, 0))?.nothing_to(&s.marie)?;
    let round = play.pass(march(2, 23, 0))?;
    ensure!(round.posts.iter().any(|post| post.read.text().contains("De Montréal.")), "{}", round.story());
    // The next day there is nothing of Marie's to answer, and the digest comes all the same, once.
    let round = play.pass(march(3, 12, 0))?;
    says(&digest(&round).unwrap_or_default(), &["À répondre ce soir"])?;
    ensure!(round.counts["digests"] == 1, "{}", round.story());
    ensure!(play.pass(march(3, 12, 30))?.counts["digests"] == 0);
    // Not on a Saturday.
    play.pass(march(6, 12, 0))?;
    for day in [7, 8] {
        ensure!(play.pass(march(day, 12, 0))?.counts["digests"] == 0, "a digest at the weekend");
    }
    Ok(())
}

/// A client's key that ends on this day, `days` after it was made.
fn expiring(play: &Play, days: i64, at: chrono::DateTime<chrono::Utc>) -> Result<(common::Person, String)> {
    use common::Person;
    let lab = &play.scene.lab;
    let born = at - chrono::TimeDelta::days(60);
    let zoe = Person::generate(lab, "zoe", "Zoé", "zoe@client.example", born)?;
    zoe.meet(&play.scene.office)?;
    let span = format!("seconds={}", (at + chrono::TimeDelta::days(days) - born).num_seconds());
    zoe.set_clock(born + chrono::TimeDelta::seconds(10));
    zoe.gpg(&["--quick-set-expire", &zoe.fingerprint, &span], b"")?;
    zoe.gpg(&["--quick-set-expire", &zoe.fingerprint, &span, "*"], b"")?;
    zoe.set_clock(at);
    let code = common::scene::add(&play.scene.practice, &zoe)?;
    Ok((zoe, code))
}

#[test]
fn row_10_expiring_keys_are_announced_and_a_reply_waits_for_one_that_expired() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let (zoe, code) = expiring(&play, 40, march(2, 12, 0))?;
    // Expires on 11 April 2026 at 12:00.
    let april = |day, hour| march(31, hour, 0) + chrono::TimeDelta::days(day);
    let mut told = Vec::new();
    for at in [march(11, 13, 0), march(12, 13, 0), march(27, 13, 0), march(28, 13, 0), march(29, 13, 0), april(10, 13)]
    {
        let round = play.pass(at)?;
        let letters = round.to(&zoe).count();
        let notices = round.to(&s.therapist).filter(|post| post.read.subject.contains("clé expire")).count();
        ensure!(letters == notices, "{at}: {}", round.story());
        if let Some(post) = round.to(&s.therapist).find(|post| post.read.subject.contains("clé expire")) {
            says(&post.read.text(), &[&code, "11 avril"])?;
            let letter = round.to(&zoe).next().expect("counted");
            let raw = String::from_utf8_lossy(&letter.raw);
            ensure!(!raw.contains(&code) && !raw.contains("exemple.example"), "{raw}");
            told.push(at);
        }
    }
    ensure!(told == [march(12, 13, 0), march(28, 13, 0), april(10, 13)], "{told:?}");

    // A letter and its reply before the end; at the slot on the 13th, a Monday, the key can't be used.
    s.letter(&zoe, "Une lettre", "De Zoé.\n", april(11, 8))?;
    let forward = play.pass(april(11, 8))?.one(&s.therapist)?.raw.clone();
    play.told(&forward, "Pour Zoé.", april(11, 9))?;
    let round = play.pass(april(13, 16))?;
    let texts: String = round.to(&s.therapist).map(|post| post.read.text()).collect();
    says(&texts, &[&code, "sa clé ne peut pas servir", "La lettre attend"])?;
    let letters: Vec<_> = round.to(&zoe).collect();
    ensure!(letters.len() == 1, "{}", round.story());
    for letter in &letters {
        let raw = String::from_utf8_lossy(&letter.raw);
        ensure!(raw.contains("OpenPGP") && !raw.contains("Pour Zo") && !raw.contains("18 h"), "{raw}");
    }
    ensure!(round.counts["released"] == 0 && round.counts["deferred"] != 0, "{}", round.story());
    ensure!(play.states(&code, "reply")? == ["waiting"], "{:?}", play.states(&code, "reply")?);
    // Still waiting, said once.
    let round = play.pass(april(14, 16))?;
    round.nothing_to(&zoe)?;
    ensure!(play.states(&code, "reply")? == ["waiting"], "{:?}", play.states(&code, "reply")?);
    // She prolongs it and sends a signed letter with it attached, as the notice asked: the reply leaves.
    zoe.set_clock(april(14, 17));
    zoe.gpg(&["--quick-set-expire", &zoe.fingerprint, "1y"], b"")?;
    let (keys, _) = zoe.gpg(&["--with-colons", "--list-secret-keys"], b"")?;
    let keys = String::from_utf8_lossy(&keys).into_owned();
    let subkey = keys.lines().filter(|line| line.starts_with("fpr:")).nth(1).and_then(|line| line.split(':').nth(9));
    zoe.gpg(&["--quick-set-expire", &zoe.fingerprint, "1y", subkey.unwrap_or("*")], b"")?;
    let letter = Letter::new(common::scene::OFFICE, "Ma clé", "Voici ma clé.\n").at(april(14, 18));
    let certificate = zoe.certificate()?;
    // Without it the signature is an expired key's; somebody else's key changes nothing.
    zoe.deliver(&s.lab, &letter.clone().attach("key.asc", "application/pgp-keys", &s.marie.certificate()?))?;
    let round = play.pass(april(14, 18))?;
    ensure!(round.counts["held"] == 1, "{}", round.story());
    zoe.deliver(&s.lab, &letter.attach("key.asc", "application/pgp-keys", &certificate))?;
    let round = play.pass(april(14, 18) + chrono::TimeDelta::minutes(1))?;
    ensure!(round.counts["filed"] == 1, "{}", round.story());
    let thread = s.thread(&code)?;
    let newest = thread["messages"].as_array().and_then(|all| all.iter().rfind(|one| one["kind"] == "letter")).cloned();
    ensure!(newest.is_some_and(|letter| letter["verdict"] == "verified"), "{thread:#}");
    let mut left = 0;
    for round in [round, play.pass(april(14, 19))?, play.pass(april(15, 16))?] {
        for post in round.to(&zoe) {
            left += usize::from(zoe.read(&post.raw)?.text().contains("Pour Zoé."));
        }
        ensure!(left == 1, "{}, {:?}", round.story(), play.states(&code, "reply")?);
    }
    Ok(())
}

#[test]
fn a_letter_that_leaves_late_uses_the_day_on_which_it_leaves() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let monday = play.forwarded(&s.marie, "Lundi.\n", march(2, 3, 0))?;
    says(&play.told(&monday, "Pour lundi.", march(2, 8, 0))?, &["2 mars"])?;
    // Nothing ran at the slot; the first attempt is made in Paris's small hours of Tuesday.
    let round = play.pass(march(2, 23, 30))?;
    says(&round.one(&s.marie)?.read.text(), &["Pour lundi."])?;
    // So Tuesday is used, and Tuesday's reply goes on Wednesday.
    let tuesday = play.forwarded(&s.marie, "Mardi.\n", march(3, 3, 0))?;
    says(&play.told(&tuesday, "Pour mardi.", march(3, 8, 0))?, &["4 mars", "déjà partie ce jour-là"])?;
    play.pass(march(3, 17, 0))?.nothing_to(&s.marie)?;
    play.pass(march(3, 20, 0))?.nothing_to(&s.marie)?;
    says(&play.pass(march(4, 17, 0))?.one(&s.marie)?.read.text(), &["Pour mardi."])?;
    Ok(())
}

#[test]
fn what_mail_programs_add_is_gone_and_what_the_therapist_wrote_stays() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Je rêve.\n\nJe me tais.\n", march(2, 3, 0))?;
    // Answers between the lines of the letter, as some write them.
    let quoted = s.therapist.reply_to(&forward, "")?.text;
    ensure!(quoted.contains("> Je rêve.") && quoted.contains("> Je me tais."), "{quoted}");
    let text = quoted
        .replace("> Je rêve.", "> Je rêve.\n\nRacontez-moi ce rêve.\n")
        .replace("> Je me tais.", "> Je me tais.\n\nJe l'entends aussi.\n");
    let between = Letter { text, ..s.therapist.reply_to(&forward, "")?.at(march(2, 8, 0)) };
    play.told_of(&between, march(2, 8, 0))?;
    let round = play.pass(march(2, 17, 0))?;
    let got = round.one(&s.marie)?.read.text();
    says(&got, &["> Je rêve.", "Racontez-moi ce rêve.", "> Je me tais.", "Je l'entends aussi."])?;
    ensure!(!got.contains(&s.c1) && !got.contains("VÉRIFIÉE") && !got.contains("cabinet.example"), "{got}");
    ensure!(!got.contains("a écrit"), "{got}");

    // A program that writes HTML only.
    let forward = play.forwarded(&s.marie, "Encore.\n", march(3, 3, 0))?;
    let mut page = s.therapist.reply_to(&forward, "")?.at(march(3, 8, 0));
    let body = "<p>Un mot en <b>gras</b>.</p><p>Un second.</p>";
    page.html = Some(format!("<html><body>{body}<img src=\"http://pisteur.example/p.gif\"></body></html>"));
    page.text = "Un mot en gras.\n\nUn second.\n".into();
    play.told_of(&page, march(3, 8, 0))?;
    let round = play.pass(march(3, 17, 0))?;
    let post = round.one(&s.marie)?;
    says(&post.read.text(), &["Un mot en gras.", "Un second."])?;
    ensure!(find(&post.read.entity, b"pisteur").is_none(), "{}", round.story());

    // No words, nothing to send.
    let forward = play.forwarded(&s.marie, "Et puis.\n", march(4, 3, 0))?;
    says(&play.told(&forward, "", march(4, 8, 0))?, &["aucun mot de vous", "/close"])?;
    Ok(())
}

#[test]
fn an_english_practice_says_the_same_in_english() -> Result<()> {
    let options = PracticeOptions { language: "en".into(), forward: "each".into(), ..PracticeOptions::default() };
    let play = Play::with(options)?;
    let s = &play.scene;
    s.letter(&s.marie, "A letter", "Good morning.\n", march(2, 3, 0))?;
    let round = play.pass(march(2, 3, 0))?;
    let forward = round
        .to(&s.therapist)
        .find(|post| post.read.text().contains("Good morning."))
        .map(|post| post.raw.clone())
        .expect("a forward");
    let told = play.answer(&forward, "What you say stays with me.", march(2, 4, 0))?;
    let receipt = told.one(&s.therapist)?.read.clone();
    says(&receipt.text(), &[&s.c1, "“What you say stays with me.”", "6 pm"])?;
    let refused = play.answer(&forward, "/nothing\n\nText.", march(2, 4, 5))?;
    says(&refused.one(&s.therapist)?.read.text(), &["/nothing", "/help"])?;
    let round = play.pass(march(2, 17, 0))?;
    let reply = round.one(&s.marie)?.read.clone();
    says(&reply.text(), &["What you say stays with me.", "This letter answers your letter of"])?;
    ensure!(!reply.text().contains("Cette lettre"), "{}", reply.text());
    Ok(())
}

#[test]
fn a_closing_can_be_taken_back_or_followed_by_a_letter() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une.\n", march(2, 3, 0))?;
    says(&play.told(&forward, "/close", march(2, 8, 0))?, &["Clos sans lettre"])?;
    says(&play.told(&forward, "/cancel", march(2, 8, 5))?, &["retirée", "2 mars"])?;
    ensure!(play.turn(&s.c1)?["state"] == "open", "{}", play.turn(&s.c1)?);
    says(&play.told(&forward, "/close", march(2, 8, 10))?, &["Clos sans lettre"])?;
    // A letter after all: it leaves in place of the closing and says what it answers.
    says(&play.told(&forward, "Tout de même une lettre.", march(2, 8, 15))?, &["2 mars"])?;
    let round = play.pass(march(2, 17, 0))?;
    let got = round.one(&s.marie)?.read.text();
    says(&got, &["Tout de même une lettre.", "Cette lettre répond à votre lettre du 2 mars, 4 h."])?;
    // Cancelled after a later letter had opened its own turn: both are owed together, with one notice each.
    let second = play.forwarded(&s.marie, "Deux.\n", march(3, 3, 0))?;
    play.told(&second, "Réponse à deux.", march(3, 8, 0))?;
    play.letter(&s.marie, "Trois.\n", march(3, 9, 0))?.one(&s.marie)?;
    says(&play.told(&second, "/cancel", march(3, 9, 30))?, &["retirée"])?;
    let turn = play.turn(&s.c1)?;
    ensure!(turn["state"] == "open" && turn["letters"] == 2, "{turn}");
    ensure!(turn["due"].as_str().is_some_and(|due| due.starts_with("2026-03-03T17:00")), "{turn}");
    play.letter(&s.marie, "Quatre.\n", march(3, 9, 40))?.nothing_to(&s.marie)?;
    Ok(())
}
