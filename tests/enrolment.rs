//! Enrolment by mail: from `/invite` to the first reply, and everything that can go wrong on the way. The people are
//! GnuPG's, the mailbox is a real Dovecot, the days are faked.

mod common;
#[path = "enrolment/edges.rs"]
mod edges;
#[path = "enrolment/orders.rs"]
mod orders;
#[path = "enrolment/people.rs"]
mod people;

use anyhow::{Context as _, Result, ensure};
use cadre::domain::code_words::words;
use cadre::model::Language;
use chrono::TimeDelta;
use common::play::says;
use common::scene::{OFFICE, march};
use common::{Form, Letter, Person, canary, ledger};
use people::{Newcomer, Stage};

/// What a mail that anybody may read must not say.
const SHOWS: &[&str] = &["thérap", "therap", "psych", "cabinet exemple", "dr exemple", "patient", "séance"];

#[test]
fn from_an_invitation_to_the_first_reply() -> Result<()> {
    let stage = Stage::open()?;
    let nadia = Newcomer::new(&stage, "nadia")?;
    let (practice, office) = (&stage.play.scene.practice, &stage.play.scene.office);

    // The invitation: in clear, neutral, with the key outside and in.
    let round = stage.order("/invite nadia@client.example fr", march(2, 9, 0))?;
    let code = stage.invited(&round)?;
    let invitation = round.one(&nadia.person)?;
    let read = nadia.person.read(&invitation.raw)?;
    ensure!(!read.decrypted && read.outer("Autocrypt").is_some(), "{:?}", read.outer);
    // The octets of a key say nothing, and may spell anything.
    let outer: Vec<_> = read.outer.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("Autocrypt")).collect();
    let visible = format!("{outer:?} {} {}", read.subject, read.text()).to_lowercase();
    let shown: Vec<_> = SHOWS.iter().filter(|word| visible.contains(**word)).collect();
    ensure!(shown.is_empty(), "the invitation shows {shown:?}:\n{visible}");
    nadia.meet(&invitation.raw)?;
    let read = nadia.person.read(&invitation.raw)?;
    ensure!(read.signed_by(&office.fingerprint), "{:?}", read.status);
    ensure!(stage.state(&code)? == "invited");

    // The answer: signed, sealed, with the key attached. It is a letter as well.
    let answer = nadia.answer(&invitation.raw, "Bonjour, oui, volontiers.")?;
    let round = stage.play_letter(&nadia, &nadia.with_key(answer)?, march(2, 10, 0))?;
    let arrived = nadia.person.read(&round.one(&nadia.person)?.raw)?;
    ensure!(arrived.decrypted && arrived.signed_by(&office.fingerprint), "{:?}", arrived.status);
    ensure!(!arrived.text().to_lowercase().contains("cabinet exemple"), "{}", arrived.text());
    let offered = stage.told(&round, "/key accept")?;
    let own = words(&nadia.person.fingerprint, &office.fingerprint, Language::Fr).join(" ");
    says(&offered.read.text(), &[&format!("/key accept {own}")])?;
    ensure!(round.to(stage.therapist()).any(|post| post.read.text().contains("oui, volontiers")), "{}", round.story());

    let sheet = stage.play.scene.practice.json(&["digest", "--preview"])?;
    let waits =
        |section: &serde_json::Value| section["section"] == "key" && section["lines"][0]["code"] == code.as_str();
    ensure!(sheet["after"].as_array().is_some_and(|all| all.iter().any(waits)), "{:#}", sheet["after"]);

    // Other words pin nothing.
    let wrong = words(&office.fingerprint, &nadia.person.fingerprint, Language::Fr).join(" ");
    let round = stage.reply(&offered.raw, &format!("/key accept {wrong}"), march(2, 10, 30))?;
    round.nothing_to(&nadia.person)?;
    ensure!(stage.state(&code)? == "invited" && stage.pinned(&code)?.is_null());

    // The right ones do, and the frame is asked, sealed.
    let round = stage.reply(&offered.raw, &format!("/key accept {own}"), march(2, 11, 0))?;
    let frame = round.one(&nadia.person)?;
    let read = nadia.person.read(&frame.raw)?;
    ensure!(read.decrypted && read.outer("Subject") == Some("[...]"), "{:?}", read.outer);
    says(&read.text(), &["60 € par semaine", "RPPS 10000000000", "+33 1 00 00 00 00", "J'ACCEPTE"])?;
    ensure!(stage.state(&code)? == "consent_pending");
    ensure!(stage.pinned(&code)? == nadia.person.fingerprint.as_str());

    // Consent and card in one letter.
    let consent = nadia.answer(&frame.raw, "J’accepte.\n\nNom : Nadia Q.\nTéléphone : 06 00 00 00 42\n")?;
    let round = stage.play_letter(&nadia, &consent, march(2, 12, 0))?;
    ensure!(stage.state(&code)? == "assessment", "{}", round.story());
    let recorded = nadia.person.read(&round.one(&nadia.person)?.raw)?;
    ensure!(recorded.decrypted, "{:?}", recorded.status);
    ensure!(
        stage.sql("SELECT number || ' ' || verdict || ' ' || length(hash) FROM consent WHERE verdict IS NOT NULL")?
            == "1 verified 32"
    );
    let round = stage.reply(&offered.raw, "/card", march(2, 12, 10))?;
    let card = round.to(stage.therapist()).find_map(|post| post.read.attachments.iter().find(|a| a.0 == "card.asc"));
    let (card, _) = stage.therapist().gpg(&["--decrypt"], &card.context("no card")?.2)?;
    ensure!(String::from_utf8_lossy(&card).contains("06 00 00 00 42"));

    // The first letter and its reply at the slot.
    let letter = Letter::new(OFFICE, "Le marché", "Le marché était plein de monde.");
    let round = stage.play_letter(&nadia, &letter, march(2, 13, 0))?;
    ensure!(nadia.person.read(&round.one(&nadia.person)?.raw)?.decrypted);
    let forward = stage.told(&round, "plein de monde")?;
    stage.reply(&forward.raw, "Merci de ce marché.", march(2, 14, 0))?.nothing_to(&nadia.person)?;
    let round = stage.play.pass(march(3, 17, 0))?;
    says(&nadia.person.read(&round.one(&nadia.person)?.raw)?.text(), &["Merci de ce marché."])?;

    let found = canary(&[&practice.dir], &["nadia@client.example", "Nadia Q.", "06 00 00 00 42", "plein de monde"])?;
    ensure!(found.is_empty(), "{found:?}");
    ledger::sound(&stage.play.scene)
}

#[test]
fn a_key_comes_by_header_attachment_or_text_and_is_compared_however_it_comes() -> Result<()> {
    let stage = Stage::open()?;
    let office = stage.play.scene.office.fingerprint.clone();
    for (n, name) in ["bruno", "carla", "denis"].into_iter().enumerate() {
        let who = Newcomer::new(&stage, name)?;
        let hour = 9 + u32::try_from(n)?;
        let round = stage.order(&format!("/invite {} en", who.person.address), march(2, hour, 0))?;
        let code = stage.invited(&round)?;
        let invitation = round.one(&who.person)?.raw.clone();
        who.meet(&invitation)?;
        let answer = who.answer(&invitation, "Yes.")?.form(Form::Plain);
        let answer = match name {
            "bruno" => who.with_autocrypt(answer)?,
            "carla" => who.with_key(answer)?,
            _ => Letter { text: format!("Yes.\n\n{}", String::from_utf8(who.person.certificate()?)?), ..answer },
        };
        let round = stage.play_letter(&who, &answer, march(2, hour, 20))?;
        let arrived = who.person.read(&round.one(&who.person)?.raw)?;
        ensure!(arrived.decrypted, "{name}: {:?}", arrived.status);
        let offered = stage.told(&round, "/key accept")?;
        // Words of the other language's list, or the end of the fingerprint, as read on the telephone.
        let typed = match name {
            "bruno" => words(&who.person.fingerprint, &office, Language::En).join("-").to_uppercase(),
            _ => who.person.fingerprint[20..].to_owned(),
        };
        let round = stage.reply(&offered.raw, &format!("/key accept {typed}"), march(2, hour, 40))?;
        ensure!(who.person.read(&round.one(&who.person)?.raw)?.decrypted, "{name}");
        ensure!(stage.state(&code)? == "consent_pending" && stage.pinned(&code)? == who.person.fingerprint.as_str());
    }
    Ok(())
}

#[test]
fn an_answer_that_can_not_serve_is_told_why_and_how() -> Result<()> {
    let stage = Stage::open()?;
    let cases: [(&str, &[&str]); 3] = [
        ("no", &["no-key", "several-keys"]),
        ("old", &["expired", "too-weak"]),
        ("half", &["no-encryption", "unreadable"]),
    ];
    for (n, (name, problems)) in cases.into_iter().enumerate() {
        let who = Newcomer::new(&stage, name)?;
        let hour = 8 + 3 * u32::try_from(n)?;
        let round = stage.order(&format!("/invite {}", who.person.address), march(2, hour, 0))?;
        let code = stage.invited(&round)?;
        let invitation = round.one(&who.person)?.raw.clone();
        who.meet(&invitation)?;
        for (m, problem) in problems.iter().enumerate() {
            let answer = who.answer(&invitation, "Voici.")?.form(Form::Plain);
            let key = |bytes: &[u8]| answer.clone().attach("key.asc", "application/pgp-keys", bytes);
            let answer = match *problem {
                "no-key" => answer.clone(),
                "several-keys" => key(&who.person.certificate()?).attach(
                    "b.asc",
                    "application/pgp-keys",
                    &who.special("default", "default", false, "never")?,
                ),
                "expired" => key(&who.special("ed25519", "cert,sign", true, "2020-01-02")?),
                "too-weak" => key(&who.special("rsa1024", "default", false, "never")?),
                "no-encryption" => key(&who.special("ed25519", "cert,sign", false, "never")?),
                _ => key(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nbroken\n-----END PGP PUBLIC KEY BLOCK-----\n"),
            };
            let minute = 10 + 10 * u32::try_from(m)?;
            let round = stage.play_letter(&who, &answer, march(2, hour, minute))?;
            let told = who.person.read(&round.one(&who.person)?.raw)?;
            ensure!(
                !told.decrypted && told.signed_by(&stage.play.scene.office.fingerprint),
                "{problem}: {:?}",
                told.status
            );
            ensure!(told.outer("Autocrypt").is_some() && !told.attachments.is_empty(), "{problem}: no key");
            ensure!(
                stage.last("key-problem")?.contains(&format!("\"problem\":\"{problem}\"")),
                "{problem}: {}",
                stage.last("key-problem")?
            );
            ensure!(stage.state(&code)? == "invited");
        }
        // After three there is silence, and a good answer is still one.
        let junk = who.answer(&invitation, "Encore.")?.form(Form::Plain);
        stage.play_letter(&who, &junk, march(2, hour, 40))?;
        stage
            .play_letter(&who, &who.answer(&invitation, "Et encore.")?.form(Form::Plain), march(2, hour, 45))?
            .nothing_to(&who.person)?;
        let good = who.with_key(who.answer(&invitation, "Voilà la bonne.")?)?;
        let round = stage.play_letter(&who, &good, march(2, hour, 50))?;
        ensure!(who.person.read(&round.one(&who.person)?.raw)?.decrypted, "{name}");
        stage.told(&round, "/key accept")?;
    }
    Ok(())
}

/// A mail server that replaces keys, forged answers from the invited address, and consents of other people.
#[test]
fn nobody_else_is_enrolled_and_nobody_else_consents() -> Result<()> {
    let stage = Stage::open()?;
    let nadia = Newcomer::new(&stage, "nadia")?;
    let mallory = Person::persona(&stage.play.scene.lab, "mallory")?;
    mallory.meet(&stage.play.scene.office)?;
    let office = stage.play.scene.office.fingerprint.clone();
    let round = stage.order("/invite nadia@client.example", march(2, 9, 0))?;
    let code = stage.invited(&round)?;
    let invitation = round.one(&nadia.person)?.raw.clone();
    nadia.meet(&invitation)?;
    let own = words(&nadia.person.fingerprint, &office, Language::Fr).join(" ");

    // A key put in place of hers: what she reads to the therapist are not the words of what came.
    let forged = |text: &str| -> Result<Letter> {
        Ok(Letter {
            forged_from: Some(("Nadia".into(), "nadia@client.example".into())),
            ..Letter::new(OFFICE, "Re: Correspondance", text)
        }
        .attach("key.asc", "application/pgp-keys", &mallory.certificate()?))
    };
    mallory.deliver(&stage.play.scene.lab, &forged("Oui.")?.at(march(2, 9, 30)))?;
    let round = stage.play.pass(march(2, 9, 31))?;
    let offered = stage.told(&round, "/key accept")?;
    ensure!(!offered.read.text().contains(&own), "{}", offered.read.text());
    let round = stage.reply(&offered.raw, &format!("/key accept {own}"), march(2, 9, 40))?;
    round.nothing_to(&nadia.person)?;
    ensure!(stage.pinned(&code)?.is_null());

    // Her own answer comes too: two keys wait, with other words, and hers is the one that is compared.
    let answer = nadia.with_key(nadia.answer(&invitation, "C'est moi.")?)?;
    let round = stage.play_letter(&nadia, &answer, march(2, 10, 0))?;
    let offered = stage.told(&round, "/key accept")?;
    says(&offered.read.text(), &[&own, "une autre clé attend"])?;
    let round = stage.reply(&offered.raw, &format!("/key accept {own}"), march(2, 10, 10))?;
    let frame = round.one(&nadia.person)?.raw.clone();
    ensure!(stage.pinned(&code)? == nadia.person.fingerprint.as_str());
    ensure!(stage.sql("SELECT COUNT(*) FROM key_offer")? == "0", "another key still waits");

    // Nobody else consents for her: not unsigned, not with another key, not another client.
    let id = common::mail::headers(&frame)
        .iter()
        .find(|(n, _)| n == "Message-ID")
        .map(|(_, v)| v.clone())
        .context("no id")?;
    let consent = |letter: Letter| Letter {
        in_reply_to: Some(id.clone()),
        references: vec![id.clone()],
        text: "J'ACCEPTE".into(),
        ..letter
    };
    for (n, form) in [Form::Plain, Form::Encrypted, Form::SignedEncrypted].into_iter().enumerate() {
        let letter = Letter { attachments: Vec::new(), ..consent(forged("")?) };
        mallory.deliver(&stage.play.scene.lab, &letter.form(form).at(march(2, 11, 10 * u32::try_from(n)?)))?;
        stage.play.pass(march(2, 11, 10 * u32::try_from(n)? + 1))?;
        ensure!(stage.state(&code)? == "consent_pending", "{form:?}");
    }
    let paul = &stage.play.scene.paul;
    paul.deliver(&stage.play.scene.lab, &consent(Letter::new(OFFICE, "Re", "")).at(march(2, 12, 0)))?;
    stage.play.pass(march(2, 12, 1))?;
    ensure!(stage.state(&code)? == "consent_pending");
    ensure!(stage.sql("SELECT COUNT(*) FROM consent WHERE verdict IS NOT NULL")? == "0");

    // Five wrong tries a day, then the right words wait as well.
    mallory.deliver(&stage.play.scene.lab, &forged("Nouvelle clé.")?.at(march(2, 13, 0)))?;
    let round = stage.play.pass(march(2, 13, 1))?;
    ensure!(stage.sql("SELECT COUNT(*) FROM key_offer")? == "1", "{}", round.story());
    let theirs = words(&mallory.fingerprint, &office, Language::Fr).join(" ");
    for n in 0..5 {
        stage.reply(&offered.raw, &format!("/key accept {own}"), march(2, 14, n))?;
    }
    stage.reply(&offered.raw, &format!("/key accept {theirs}"), march(2, 15, 30))?;
    ensure!(stage.pinned(&code)? == nadia.person.fingerprint.as_str(), "guessed");
    Ok(())
}

#[test]
fn who_belongs_here_already_is_not_invited() -> Result<()> {
    let stage = Stage::open()?;
    stage.second_therapist(true)?;
    let scene = &stage.play.scene;
    for (n, address) in
        ["dr@exemple.example", OFFICE, "second@exemple.example", "ops@cabinet.example", "marie@client.example"]
            .iter()
            .enumerate()
    {
        let round = stage.order(&format!("/invite {address}"), march(2, 9, u32::try_from(n)?))?;
        ensure!(stage.last("refused")?.contains("already-registered"), "{address}: {}", round.story());
        let staff = [&stage.therapist().address, &stage.second.address];
        ensure!(round.posts.iter().all(|post| staff.contains(&&post.to[0])), "{}", round.story());
    }
    // Another therapist's client: no word about whose.
    let round = stage.order_by(&stage.second, "/invite marie@client.example", march(2, 10, 0))?;
    let told = stage.second.read(&round.one(&stage.second)?.raw)?;
    ensure!(!told.text().contains(&scene.c1) && !told.subject.contains(&scene.c1), "{}", told.text());
    ensure!(stage.sql("SELECT COUNT(*) FROM client")? == "2");
    Ok(())
}

#[test]
fn refusal_another_address_and_silence() -> Result<()> {
    let stage = Stage::open()?;
    let (no, elsewhere, silent) =
        (Newcomer::new(&stage, "nora")?, Newcomer::new(&stage, "elsa")?, Newcomer::new(&stage, "simon")?);
    let round = stage.order("/invite nora@client.example", march(2, 9, 0))?;
    let code = stage.invited(&round)?;
    let invitation = round.one(&no.person)?.raw.clone();
    no.meet(&invitation)?;
    let round =
        stage.play_letter(&no, &no.answer(&invitation, "Non.\n\nMerci.")?.form(Form::Plain), march(2, 9, 30))?;
    ensure!(stage.state(&code)? == "declined", "{}", round.story());
    ensure!(!no.person.read(&round.one(&no.person)?.raw)?.decrypted);
    // Later they can be asked again, under the code they had.
    let round = stage.order("/invite nora@client.example", march(2, 10, 0))?;
    ensure!(stage.invited(&round)? == code && stage.state(&code)? == "invited");

    // From another address it is no answer.
    let round = stage.order("/invite elsa@client.example", march(2, 11, 0))?;
    let code = stage.invited(&round)?;
    let invitation = round.one(&elsewhere.person)?.raw.clone();
    elsewhere.meet(&invitation)?;
    let mut answer = elsewhere.with_key(elsewhere.answer(&invitation, "Oui, d'ici.")?)?;
    answer.forged_from = Some(("Elsa".into(), "elsa@other.example".into()));
    let round = stage.play_letter(&elsewhere, &answer, march(2, 11, 30))?;
    ensure!(stage.last("key-problem")?.contains("other-address"), "{}", round.story());
    ensure!(round.posts.iter().filter(|post| post.to[0] == "elsa@other.example").count() == 1, "{}", round.story());
    round.nothing_to(&elsewhere.person)?;
    ensure!(stage.state(&code)? == "invited" && stage.sql("SELECT COUNT(*) FROM key_offer")? == "0");

    // Silence: one reminder on day 7, forgotten on day 30.
    let round = stage.order("/invite simon@client.example", march(2, 12, 0))?;
    let code = stage.invited(&round)?;
    stage.play.pass(march(9, 11, 0))?.nothing_to(&silent.person)?;
    let round = stage.play.pass(march(9, 12, 30))?;
    ensure!(!silent.person.read(&round.one(&silent.person)?.raw)?.decrypted);
    stage.play.pass(march(20, 12, 0))?.nothing_to(&silent.person)?;
    stage.play.pass(march(31, 12, 0))?.nothing_to(&silent.person)?;
    let round = stage.play.pass(march(2, 12, 0) + TimeDelta::days(31))?;
    round.nothing_to(&silent.person)?;
    ensure!(stage.state(&code)? == "erased", "{}", round.story());
    // Nobody knows the address any more: a mail from there is a stranger's.
    let letter = Letter::new(OFFICE, "Bonjour", "Je réponds tard.").form(Form::Plain);
    let round = stage.play_letter(&silent, &letter, march(2, 12, 0) + TimeDelta::days(32))?;
    ensure!(stage.last("requested")?.contains("N-"), "{}", round.story());
    ledger::sound(&stage.play.scene)
}

#[test]
fn consent_is_to_the_wording_that_is_asked_about() -> Result<()> {
    let stage = Stage::open()?;
    let (scene, practice) = (&stage.play.scene, &stage.play.scene.practice);
    let nadia = Newcomer::new(&stage, "nadia")?;
    nadia.person.meet(&scene.office)?;
    practice.set_time(march(2, 8, 0))?;
    let code = stage.add(&nadia, &["--certificate", &nadia.file()?, "--mode", "mixed", "--known"])?;
    let old = stage.play.pass(march(2, 8, 1))?.one(&nadia.person)?.raw.clone();
    ensure!(stage.state(&code)? == "consent_pending");

    // The price changes: everybody who agreed is asked once, whoever was being asked is asked anew.
    practice.set("practice.cadre.price", "\"70 € par semaine\"")?;
    let round = stage.play.pass(march(3, 8, 0))?;
    let new = round.to(&nadia.person).next().context("not asked anew")?.raw.clone();
    says(&nadia.person.read(&new)?.text(), &["70 € par semaine"])?;
    let renewal = round.to(&scene.marie).next().with_context(|| round.story())?.clone();
    says(&renewal.read.text(), &["70 € par semaine"])?;
    ensure!(stage.play.pass(march(4, 8, 0))?.to(&scene.marie).next().is_none(), "asked twice");

    // The old letter's answer is none.
    let late = nadia.answer(&old, "J'ACCEPTE")?;
    let round = stage.play_letter(&nadia, &late, march(4, 9, 0))?;
    ensure!(stage.state(&code)? == "consent_pending", "{}", round.story());
    ensure!(round.to(&nadia.person).count() == 2, "{}", round.story());
    // Nor is one that answers nothing; the same day it gets no further mail.
    let round = stage.play_letter(&nadia, &Letter::new(OFFICE, "Oui", "J'ACCEPTE"), march(4, 9, 30))?;
    ensure!(stage.state(&code)? == "consent_pending" && round.to(&nadia.person).next().is_none(), "{}", round.story());
    // Nor a sentence.
    let sentence = nadia.answer(&new, "J'accepte votre proposition, mais pas le prix.")?;
    stage.play_letter(&nadia, &sentence, march(4, 10, 0))?;
    ensure!(stage.state(&code)? == "consent_pending");
    let round = stage.play_letter(&nadia, &nadia.answer(&new, "**J’ACCEPTE**")?, march(4, 11, 0))?;
    ensure!(stage.state(&code)? == "active", "known: no assessment\n{}", round.story());
    ensure!(stage.sql("SELECT number FROM consent WHERE verdict = 'verified'")? == "2");

    // The renewal.
    let awaited = || -> Result<usize> {
        let sheet = practice.json(&["digest", "--preview"])?.to_string();
        Ok(sheet.matches("\"consent_pending\":2").count())
    };
    ensure!(awaited()? == 2, "Marie's and Paul's");
    let yes = scene.marie.reply_to(&renewal.raw, "J'ACCEPTE")?.at(march(4, 12, 0));
    scene.marie.deliver(&scene.lab, &yes)?;
    stage.play.pass(march(4, 12, 1))?;
    ensure!(stage.sql("SELECT COUNT(*) FROM consent WHERE verdict = 'verified' AND number = 2")? == "2");
    ensure!(awaited()? == 1, "Paul's");
    ledger::sound(scene)
}

#[test]
fn a_therapists_key_comes_by_mail_and_a_client_goes_to_another_therapist() -> Result<()> {
    let stage = Stage::open()?;
    let (scene, practice) = (&stage.play.scene, &stage.play.scene.practice);
    stage.second_therapist(false)?;
    practice.set_time(march(2, 8, 0))?;
    ensure!(!practice.run(&["therapist", "confirm", "second", "--words", "x"])?.ok(), "confirmed without a key");
    practice.run(&["therapist", "welcome", "second"])?.expect_ok()?;
    let round = stage.play.pass(march(2, 8, 5))?;
    let welcome = stage.second.read(&round.one(&stage.second)?.raw)?;
    ensure!(!welcome.decrypted && !welcome.attachments.is_empty(), "{:?}", welcome.outer);
    let text = format!("{} {}", welcome.subject, welcome.text()).to_lowercase();
    ensure!(SHOWS.iter().all(|word| !text.contains(word)), "{text}");

    // An unsigned answer with a forger's key is no answer; the signed one is.
    let mallory = Person::persona(&scene.lab, "mallory")?;
    mallory.meet(&scene.office)?;
    let forged = Letter {
        forged_from: Some(("Dr Second".into(), stage.second.address.clone())),
        ..Letter::new(OFFICE, "Re", "Voici.").form(Form::Plain)
    };
    let forged = forged.attach("key.asc", "application/pgp-keys", &mallory.certificate()?);
    mallory.deliver(&scene.lab, &forged.at(march(2, 8, 10)))?;
    let raw = round.one(&stage.second)?.raw.clone();
    let answer = stage.second.reply_to(&raw, "Voici ma clé.")?;
    let answer = answer.attach("key.asc", "application/pgp-keys", &stage.second.certificate()?);
    stage.second.deliver(&scene.lab, &answer.at(march(2, 8, 20)))?;
    stage.play.pass(march(2, 8, 21))?;
    let wrong = words(&mallory.fingerprint, &scene.office.fingerprint, Language::Fr).join(" ");
    ensure!(!practice.run(&["therapist", "confirm", "second", "--words", &wrong])?.ok(), "a forger's words");
    let right = words(&stage.second.fingerprint, &scene.office.fingerprint, Language::Fr).join(" ");
    practice.run(&["therapist", "confirm", "second", "--words", &right])?.expect_ok()?;
    let key = practice.json(&["therapist", "key", "second"])?;
    ensure!(key["fingerprint"] == stage.second.fingerprint.as_str(), "{key}");
    let round = stage.play.pass(march(2, 8, 30))?;
    let specimens = stage.second.read(&round.one(&stage.second)?.raw)?;
    ensure!(specimens.decrypted, "no specimens");
    // Every form: with a day of return that is known, and without.
    let forms = specimens.text().lines().filter(|line| line.trim() == "──── absence-unplanned (fr)").count();
    ensure!(forms == 2, "{}", specimens.text());
    ensure!(!practice.run(&["therapist", "welcome", "second"])?.ok(), "a key that is there is not asked for");

    // A transfer: nothing changes until the client agrees; then everything goes to the other one.
    let forward = stage.play.forwarded(&scene.marie, "Une lettre à la première.", march(2, 9, 0))?;
    let round = stage.reply(&forward, "/transfer second", march(2, 9, 30))?;
    let offer = round.one(&scene.marie)?.clone();
    says(&offer.read.text(), &["Dr Second"])?;
    ensure!(stage.sql("SELECT COUNT(*) FROM client WHERE therapist = 'second'")? == "0");
    scene.letter(&scene.paul, "Oui", "J'ACCEPTE", march(2, 10, 0))?;
    stage.play.pass(march(2, 10, 1))?;
    ensure!(stage.sql("SELECT COUNT(*) FROM client WHERE therapist = 'second'")? == "0");
    let yes = scene.marie.reply_to(&offer.raw, "J'ACCEPTE")?.at(march(2, 11, 0));
    scene.marie.deliver(&scene.lab, &yes)?;
    let round = stage.play.pass(march(2, 11, 1))?;
    ensure!(stage.sql("SELECT COUNT(*) FROM client WHERE therapist = 'second'")? == "1", "{}", round.story());
    ensure!(round.to(&stage.second).count() == 1 && round.to(stage.therapist()).count() >= 1, "{}", round.story());
    ensure!(round.to(&scene.marie).any(|post| post.read.text().contains("Dr Second")), "{}", round.story());
    let round = stage.play.letter(&scene.marie, "À la nouvelle.", march(2, 12, 0))?;
    round.nothing_to(stage.therapist())?;
    // The first therapist's word about her is one about nobody.
    let round = stage.order(&format!("/to {}\n\nBonjour.", scene.c1), march(2, 13, 0))?;
    round.nothing_to(&scene.marie)?;
    ensure!(stage.last("refused")?.contains("unknown-code"), "{}", round.story());
    Ok(())
}

/// A lost key: the old one counts no more, the new one is asked for in clear, replies wait meanwhile.
#[test]
fn a_lost_key_is_asked_for_again() -> Result<()> {
    let stage = Stage::open()?;
    let scene = &stage.play.scene;
    let forward = stage.play.forwarded(&scene.marie, "Mon téléphone est tombé dans l'eau.", march(2, 5, 0))?;
    let round = stage.reply(&forward, "/rekey", march(2, 9, 0))?;
    let asked = round.one(&scene.marie)?.clone();
    ensure!(!asked.read.decrypted && asked.read.signed_by(&scene.office.fingerprint), "{:?}", asked.read.status);
    stage.reply(&forward, "Prenez votre temps.", march(2, 10, 0))?.nothing_to(&scene.marie)?;
    let round = stage.play.pass(march(2, 17, 0))?;
    ensure!(round.to(&scene.marie).all(|post| !post.read.text().contains("Prenez")), "{}", round.story());

    let born = march(2, 8, 0);
    let new = Person::generate(&scene.lab, "marie2", "Marie", "marie@client.example", born)?;
    new.meet(&scene.office)?;
    let answer = new.reply_to(&asked.raw, "Voici la nouvelle.")?;
    let answer = answer.attach("key.asc", "application/pgp-keys", &new.certificate()?).at(march(2, 18, 0));
    new.deliver(&scene.lab, &answer)?;
    let counts = scene.practice.once(march(2, 18, 1))?;
    ensure!(counts["filed"] == 1, "{counts}");
    ensure!(stage.pinned(&scene.c1)?.is_null(), "pinned without being compared");
    let own = words(&new.fingerprint, &scene.office.fingerprint, Language::Fr).join(" ");
    let letter = scene.therapist.reply_to(&forward, &format!("/key accept {own}"))?.at(march(2, 18, 30));
    scene.therapist.deliver(&scene.lab, &letter)?;
    scene.practice.once(march(2, 18, 31))?;
    ensure!(stage.pinned(&scene.c1)? == new.fingerprint.as_str());
    scene.practice.once(march(2, 19, 0))?;
    let sent = stage.play.sink().mails();
    let last = sent.iter().rfind(|mail| mail.to == ["marie@client.example"]).context("nothing")?;
    says(&new.read(&last.data)?.text(), &["Prenez votre temps."])
}

/// Anybody can write under an address: a refusal, keys of others and junk decide nothing.
#[test]
fn forged_answers_neither_decline_nor_fill_nor_tell() -> Result<()> {
    let stage = Stage::open()?;
    let scene = &stage.play.scene;
    let nadia = Newcomer::new(&stage, "nadia")?;
    let mallory = Person::persona(&scene.lab, "mallory")?;
    mallory.meet(&scene.office)?;
    let round = stage.order("/invite nadia@client.example", march(2, 9, 0))?;
    let code = stage.invited(&round)?;
    let invitation = round.one(&nadia.person)?.raw.clone();
    nadia.meet(&invitation)?;
    let forged = |text: &str| Letter {
        forged_from: Some(("Nadia".into(), "nadia@client.example".into())),
        ..Letter::new(OFFICE, "Re: Correspondance", text).form(Form::Plain)
    };
    let bring = |letter: Letter, at| -> Result<_> {
        mallory.deliver(&scene.lab, &letter.at(at))?;
        stage.play.pass(at + TimeDelta::seconds(30))
    };

    // A refusal that answers nothing is passed on, and a person decides; so it is with two senders.
    let round = bring(forged("NON"), march(2, 9, 10))?;
    ensure!(stage.state(&code)? == "invited", "{}", round.story());
    round.nothing_to(&nadia.person)?;
    stage.told(&round, "STOP ou un refus")?;
    let id = common::mail::headers(&invitation)
        .iter()
        .find(|(n, _)| n == "Message-ID")
        .map(|(_, v)| v.clone())
        .context("no id")?;
    let mut two = Letter { in_reply_to: Some(id), ..forged("NON") };
    two.extra_headers.push(("From".to_owned(), "Nadia <nadia@client.example>".to_owned()));
    let round = bring(two, march(2, 9, 20))?;
    ensure!(stage.state(&code)? == "invited", "{}", round.story());

    // A client's key looks like any other, until it is accepted.
    let key = |bytes: &[u8]| forged("Oui.").attach("key.asc", "application/pgp-keys", bytes);
    let round = bring(key(&scene.paul.certificate()?), march(2, 9, 30))?;
    let offered = stage.told(&round, "/key accept")?;
    let theirs = words(&scene.paul.fingerprint, &scene.office.fingerprint, Language::Fr).join(" ");
    stage.reply(&offered.raw, &format!("/key accept {theirs}"), march(2, 9, 40))?;
    ensure!(stage.pinned(&code)?.is_null() && stage.state(&code)? == "invited", "another client's key");

    // Five more: three are told of today, the others tomorrow.
    for n in 0..5 {
        let junk = key(&nadia.special("default", "default", false, "never")?);
        mallory.deliver(&scene.lab, &junk.at(march(2, 10, n)))?;
    }
    let told = |round: &common::play::Round| {
        round.to(stage.therapist()).filter(|post| post.read.subject.contains("clé à comparer")).count()
    };
    let round = stage.play.pass(march(2, 10, 30))?;
    let kept = stage.sql("SELECT COUNT(*) FROM key_offer")?;
    ensure!(kept == "6" && told(&round) == 3, "{kept} {}", round.story());
    let round = stage.play.pass(march(3, 11, 0))?;
    ensure!(told(&round) == 2, "{}", round.story());
    ensure!(stage.sql("SELECT COUNT(*) FROM key_offer WHERE told_at IS NULL")? == "0");

    // Junk keeps no record for ever.
    stage.play.pass(march(31, 9, 0))?;
    ensure!(stage.state(&code)? == "invited");
    stage.play.pass(march(2, 12, 0) + TimeDelta::days(31))?;
    ensure!(stage.state(&code)? == "erased");
    Ok(())
}

/// A letter that was proven by the old key when it was fetched, and is committed behind the `/rekey`.
#[test]
fn a_key_that_was_given_up_proves_nothing_in_the_same_breath() -> Result<()> {
    let stage = Stage::open()?;
    let scene = &stage.play.scene;
    let forward = stage.play.forwarded(&scene.marie, "J'ai perdu ma clé.", march(2, 5, 0))?;
    scene.answer(&forward, "/rekey", march(2, 9, 0))?;
    scene.marie.gpg(&["--quick-set-expire", &scene.marie.fingerprint, "5y"], b"")?;
    let letter = Letter::new(OFFICE, "Moi", "C'est bien moi.").at(march(2, 9, 0));
    let letter = letter.attach("key.asc", "application/pgp-keys", &scene.marie.certificate()?);
    scene.marie.deliver(&scene.lab, &letter)?;
    for minute in [1, 2] {
        scene.practice.run_at(march(2, 9, minute), &["run", "--once", "--json"])?;
        ensure!(stage.pinned(&scene.c1)?.is_null(), "the old key is back");
    }
    let thread = scene.thread(&scene.c1)?;
    let mut letters = thread["messages"].as_array().context("a list")?.iter().filter(|m| m["kind"] == "letter");
    ensure!(letters.clone().count() == 2, "{thread}");
    ensure!(letters.next_back().is_some_and(|m| m["verdict"] == "unknown-signer"), "{thread}");
    Ok(())
}

/// Compared by the operator: the same follows as from `/key accept`.
#[test]
fn a_key_pinned_at_the_shell_asks_the_frame() -> Result<()> {
    let stage = Stage::open()?;
    let nadia = Newcomer::new(&stage, "nadia")?;
    let round = stage.order("/invite nadia@client.example", march(2, 9, 0))?;
    let code = stage.invited(&round)?;
    nadia.meet(&round.one(&nadia.person)?.raw)?;
    let (file, fingerprint) = (nadia.file()?, nadia.person.fingerprint.clone());
    let practice = &stage.play.scene.practice;
    practice.run(&["client", "key", &code, "--pin", &file, "--fingerprint", &fingerprint])?.expect_ok()?;
    ensure!(stage.state(&code)? == "consent_pending" && stage.sql("SELECT COUNT(*) FROM enrolment")? == "0");
    let round = stage.play.pass(march(2, 9, 30))?;
    says(&nadia.person.read(&round.one(&nadia.person)?.raw)?.text(), &["J'ACCEPTE"])?;
    stage.play.pass(march(2, 12, 0) + TimeDelta::days(31))?;
    ensure!(stage.state(&code)? == "consent_pending" && stage.pinned(&code)? == fingerprint.as_str());
    Ok(())
}
