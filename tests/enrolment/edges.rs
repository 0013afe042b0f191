//! Where an enrolment meets another language, another wording, an end.

use anyhow::{Context as _, Result, ensure};
use cadre::domain::code_words::words;
use cadre::model::Language;
use serde_json::Value;

use crate::common::play::says;
use crate::common::scene::march;
use crate::common::{Form, ledger};
use crate::people::{Newcomer, Stage};

/// Twenty words, as a letter that ends something has to have.
const WORDS: &str = "Après avoir réfléchi, je ne commencerai pas cette correspondance avec vous, et je vous souhaite de \
                     trouver bientôt la personne qui vous conviendra.";

/// Both read the same words aloud: those of the client's language, whatever the therapist's is.
#[test]
fn the_code_words_are_of_the_clients_language_in_both_letters() -> Result<()> {
    let stage = Stage::open()?;
    let office = stage.play.scene.office.fingerprint.clone();
    for (hour, name, theirs, clients) in [(9, "fanny", "en", Language::Fr), (12, "edith", "fr", Language::En)] {
        stage.play.scene.practice.set("therapist.0.language", &format!("{theirs:?}"))?;
        let who = Newcomer::new(&stage, name)?;
        let round = stage.order(&format!("/invite {} {clients}", who.person.address), march(2, hour, 0))?;
        let invitation = round.one(&who.person)?.raw.clone();
        who.meet(&invitation)?;
        let round = stage.play_letter(&who, &who.with_key(who.answer(&invitation, "Oui.")?)?, march(2, hour, 10))?;
        let told = stage.told(&round, "/key accept")?;
        let arrived = who.person.read(&round.one(&who.person)?.raw)?.text();
        let in_language = |language| words(&who.person.fingerprint, &office, language);
        let other = if clients == Language::Fr { Language::En } else { Language::Fr };
        says(&told.read.text(), &[&format!("/key accept {}", in_language(clients).join(" "))])?;
        says(&arrived, &[&in_language(clients).join(" ")])?;
        for text in [told.read.text(), arrived] {
            let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
            ensure!(!flat.contains(&in_language(other).join(" ")), "{text}");
        }
    }
    ledger::sound(&stage.play.scene)
}

#[test]
fn a_second_invitation_and_all_that_follows_is_in_its_own_language() -> Result<()> {
    let stage = Stage::open()?;
    let nora = Newcomer::new(&stage, "nora")?;
    let round = stage.order("/invite nora@client.example fr", march(2, 9, 0))?;
    let code = stage.invited(&round)?;
    let first = round.one(&nora.person)?;
    says(&nora.person.read(&first.raw)?.text(), &["Message automatique"])?;
    nora.meet(&first.raw)?;
    stage.play_letter(&nora, &nora.answer(&first.raw, "Non.")?.form(Form::Plain), march(2, 10, 0))?;
    ensure!(stage.state(&code)? == "declined");
    let round = stage.order("/invite nora@client.example en", march(3, 9, 0))?;
    ensure!(stage.state(&code)? == "invited", "{}", round.story());
    let second = round.one(&nora.person)?;
    says(&nora.person.read(&second.raw)?.text(), &["Automatic message. A correspondence is offered to you"])?;
    let answer = nora.with_key(nora.answer(&second.raw, "Yes.")?)?;
    let round = stage.play_letter(&nora, &answer, march(3, 10, 0))?;
    let arrived = nora.person.read(&round.one(&nora.person)?.raw)?.text();
    let own = words(&nora.person.fingerprint, &stage.play.scene.office.fingerprint, Language::En).join(" ");
    says(&arrived, &[&own])?;
    let offered = stage.told(&round, "/key accept")?.raw.clone();
    let round = stage.reply(&offered, &format!("/key accept {own}"), march(3, 11, 0))?;
    says(&nora.person.read(&round.one(&nora.person)?.raw)?.text(), &["I ACCEPT"])?;
    ledger::sound(&stage.play.scene)
}

/// Nobody agrees to a frame with a gap: the program doesn't start with one, and a yes from before the gap isn't one to
/// what fills it.
#[test]
fn a_frame_that_loses_an_element_after_it_was_asked_about_is_not_agreed_to() -> Result<()> {
    let stage = Stage::open()?;
    let nadia = Newcomer::new(&stage, "nadia")?;
    let round = stage.order("/invite nadia@client.example", march(2, 9, 0))?;
    let code = stage.invited(&round)?;
    let invitation = round.one(&nadia.person)?.raw.clone();
    nadia.meet(&invitation)?;
    let answer = nadia.with_key(nadia.answer(&invitation, "Oui.")?)?;
    let round = stage.play_letter(&nadia, &answer, march(2, 9, 30))?;
    let offered = stage.told(&round, "/key accept")?.raw.clone();
    let accept = format!("/key accept {}", &nadia.person.fingerprint[20..]);
    let round = stage.reply(&offered, &accept, march(2, 10, 0))?;
    let frame = round.one(&nadia.person)?.raw.clone();
    let practice = &stage.play.scene.practice;
    let consents = || stage.sql("SELECT COUNT(*) FROM consent");
    let before = consents()?;
    let price = |text: &str| practice.set("practice.cadre.price", &format!("{text:?}"));
    let yes = nadia.answer(&frame, "J'ACCEPTE")?.at(march(2, 11, 0));
    nadia.person.deliver(&stage.play.scene.lab, &yes)?;
    price("")?;
    let out = practice.run_at(march(2, 11, 1), &["run", "--once"])?;
    ensure!(out.status == Some(2) && out.stderr.contains("price"), "{out:?}");
    ensure!(consents()? == before);
    // Filled with something else, it is another wording: asked about anew, and this yes isn't to it.
    price("80 € par semaine")?;
    let round = stage.play.pass(march(2, 11, 30))?;
    ensure!(stage.state(&code)? == "consent_pending", "{}", round.story());
    ensure!(consents()? == before);
    let letters = round.to(&nadia.person).map(|post| nadia.person.read(&post.raw)).collect::<Result<Vec<_>>>()?;
    ensure!(letters.iter().any(|read| read.text().contains("pas enregistré")), "{}", round.story());
    let anew = round
        .to(&nadia.person)
        .find(|post| nadia.person.read(&post.raw).is_ok_and(|read| read.text().contains("80 € par semaine")));
    let anew = anew.with_context(|| round.story())?.raw.clone();
    let round = stage.play_letter(&nadia, &nadia.answer(&anew, "J'ACCEPTE")?, march(2, 12, 0))?;
    ensure!(stage.state(&code)? == "assessment", "{}", round.story());
    let folder = stage.play.scene.lab.dir.join("export");
    practice.run(&["client", "export", &code, &folder.to_string_lossy()])?.expect_ok()?;
    let record: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("dossier.json"))?)?;
    let agreed = record["consents"].as_array().context("no consents")?;
    ensure!(
        agreed.len() == 1 && agreed[0]["therapist"] == "exemple" && agreed[0]["verdict"] == "verified",
        "{record:#}"
    );
    ensure!(agreed[0]["wording"] == 2 && agreed[0]["language"] == "fr", "{record:#}");
    ledger::sound(&stage.play.scene)
}

/// `/decline` of somebody who is only invited: the words can't be sealed to anybody, and the receipt says so.
#[test]
fn a_decline_of_somebody_only_invited_says_why_its_words_do_not_leave() -> Result<()> {
    let stage = Stage::open()?;
    for (hour, language, why) in [
        (9, "fr", "Votre texte ne part pas : aucune clé de cette personne n'est confirmée"),
        (10, "en", "Your text does not leave: no key of this person is confirmed"),
    ] {
        stage.play.scene.practice.set("therapist.0.language", &format!("{language:?}"))?;
        let address = format!("simon-{language}@client.example");
        let round = stage.order(&format!("/invite {address}"), march(2, hour, 0))?;
        let code = stage.invited(&round)?;
        let round = stage.order(&format!("/to {code}\n/decline\n\n{WORDS}"), march(2, hour, 10))?;
        ensure!(stage.state(&code)? == "declined", "{}", round.story());
        ensure!(round.posts.iter().all(|post| post.to != [address.clone()]), "{}", round.story());
        says(&round.one(stage.therapist())?.read.text(), &[why])?;
    }
    Ok(())
}

/// `STOP` in a suspension, taken back by `REPRENDRE`: the suspension stands again, and nobody is told otherwise.
#[test]
fn resuming_into_a_suspension_promises_nothing() -> Result<()> {
    let stage = Stage::open()?;
    let scene = &stage.play.scene;
    let forward = stage.play.forwarded(&scene.marie, "Une lettre.\n", march(2, 3, 0))?;
    stage.reply(&forward, &format!("/suspend\n\n{WORDS}"), march(2, 9, 0))?;
    stage.play.pass(march(2, 17, 0))?;
    ensure!(stage.state(&scene.c1)? == "suspended");
    stage.play.letter(&scene.marie, "STOP\n", march(3, 9, 0))?;
    ensure!(stage.state(&scene.c1)? == "discharged");
    let round = stage.play.letter(&scene.marie, "REPRENDRE\n", march(3, 10, 0))?;
    ensure!(stage.state(&scene.c1)? == "suspended");
    let told = stage.told(&round, "a écrit REPRENDRE")?.read.text();
    says(&told, &["suspendu", "la suspension d'avant vaut de nouveau : rien n'est dû", "/resume"])?;
    ensure!(!told.contains("Le rythme reprend"), "{told}");
    let said = round.one(&scene.marie)?.read.text();
    says(&said, &["aucune réponse n'est promise", "suspendue"])?;
    // Out of no suspension the rhythm does run again, and both hear of it.
    stage.play.letter(&scene.paul, "STOP\n", march(3, 11, 0))?;
    let round = stage.play.letter(&scene.paul, "REPRENDRE\n", march(3, 12, 0))?;
    says(&stage.told(&round, "a écrit REPRENDRE")?.read.text(), &["suivi en cours", "Le rythme reprend"])?;
    says(&round.one(&scene.paul)?.read.text(), &["La correspondance a repris"])?;
    ledger::sound(scene)
}
