//! What a therapist orders about somebody who is enrolled, and what becomes of what was theirs.

use anyhow::{Context as _, Result, ensure};
use chrono::TimeDelta;

use crate::common::play::says;
use crate::common::scene::{OFFICE, march};
use crate::common::{Form, Letter, ledger};
use crate::people::{Newcomer, Stage};

/// Twenty words, as a letter that ends something has to have.
const WORDS: &str = "Après avoir réfléchi, je ne commencerai pas cette correspondance avec vous, et je vous souhaite de \
                     trouver bientôt la personne qui vous conviendra.";

/// Everything that waits under the first therapist's name, then the transfer: nothing of it reaches the wrong one.
#[test]
fn a_transfer_leaves_nothing_with_the_wrong_therapist() -> Result<()> {
    let stage = Stage::open()?;
    let scene = &stage.play.scene;
    stage.second_therapist(true)?;
    scene.practice.set("therapist.0.locum", "\"second\"")?;
    stage.play.letter(&scene.marie, "J'ACCEPTE LE REMPLACEMENT\n\nMerci.\n", march(2, 3, 0))?;
    let forward = stage.play.forwarded(&scene.marie, "Une lettre à la première.", march(2, 4, 0))?;
    stage.reply(&forward, "/label Voisine de palier", march(2, 8, 0))?;
    stage.reply(&forward, "/card\n\nNom : Marie L.\nLieu : Lyon", march(2, 8, 10))?;
    let round = stage.reply(&forward, "/transfer second", march(2, 8, 20))?;
    let offer = round.one(&scene.marie)?.raw.clone();
    stage.reply(&forward, "Une réponse qui attend son heure.", march(2, 8, 30))?.nothing_to(&scene.marie)?;
    ensure!(
        stage.play.states(&scene.c1, "reply")? == ["waiting"] && stage.play.turn(&scene.c1)?["state"] == "answered"
    );
    // Held: her signature under somebody else's address.
    let forged = Letter {
        forged_from: Some(("Paul".into(), scene.paul.address.clone())),
        ..Letter::new(OFFICE, "Retenue", "Retenez ceci.")
    };
    scene.marie.deliver(&scene.lab, &forged.at(march(2, 9, 0)))?;
    let round = stage.play.pass(march(2, 9, 1))?;
    stage.told(&round, "H1")?;
    // An alert that nobody has answered.
    let round = stage.play.letter(&scene.marie, "Je veux mourir.", march(2, 9, 30))?;
    ensure!(stage.sql("SELECT therapist FROM alert WHERE answered_at IS NULL")? == "exemple", "{}", round.story());
    ensure!(stage.sql("SELECT COUNT(*) FROM locum_copy")? != "0");

    let yes = scene.marie.reply_to(&offer, "J'ACCEPTE")?.at(march(2, 9, 40));
    scene.marie.deliver(&scene.lab, &yes)?;
    let round = stage.play.pass(march(2, 9, 41))?;
    ensure!(stage.sql("SELECT COUNT(*) FROM client WHERE therapist = 'second'")? == "1", "{}", round.story());
    let told = stage.told(&round, "accepte de passer")?;
    says(&told.read.text(), &["1 réponse qui attendait est retirée"])?;
    let held = round.to(stage.therapist()).any(|post| post.read.text().contains("Retenez ceci."));
    ensure!(held, "{}", round.story());
    // The reply is withdrawn and the letter unanswered, due as if it had come now; the card is asked for anew, the copies are gone.
    ensure!(stage.play.states(&scene.c1, "reply")? == ["cancelled"]);
    let turn = stage.play.turn(&scene.c1)?;
    ensure!(turn["state"] == "open" && turn["due"] == "2026-03-03T17:00:00Z", "{turn}");
    ensure!(stage.sql("SELECT (SELECT COUNT(*) FROM card) || '' || (SELECT COUNT(*) FROM locum_copy)")? == "00");
    ensure!(stage.sql("SELECT COUNT(*) FROM outbox WHERE kind = 'card-request' AND state = 'sent'")? == "1");

    // The alert is the other one's now, without the label and the card; the first hears nothing more of it.
    let mut all = round.posts;
    all.extend(stage.play.pass(march(2, 9, 45))?.posts);
    ensure!(stage.sql("SELECT therapist FROM alert WHERE answered_at IS NULL")? == "second");
    let second: Vec<_> = all.iter().filter(|post| post.to[0] == stage.second.address).collect();
    let alert = second.iter().find_map(|post| {
        let read = stage.second.read(&post.raw).ok()?;
        read.subject.to_uppercase().contains("ALERTE").then_some(read)
    });
    let alert = alert.with_context(|| format!("no alert among {}", second.len()))?;
    ensure!(alert.attachments.iter().all(|(name, _, _)| name != "card.asc"), "{:?}", alert.subject);
    for post in &second {
        let read = stage.second.read(&post.raw)?;
        ensure!(!read.subject.contains("palier") && !read.text().contains("palier"), "{}", read.text());
    }
    stage.play.pass(march(2, 10, 30))?.nothing_to(stage.therapist())?;
    let say = |text: &str, at| stage.order_by(&stage.second, &format!("/to {}\n{text}", scene.c1), at);
    say("\nBonjour, je vous lis désormais.", march(2, 11, 0))?;
    ensure!(stage.sql("SELECT COUNT(*) FROM alert WHERE answered_at IS NULL")? == "0");
    // What was held is sealed for the first, who has got it; nothing of it is left for the second to pass on.
    say("/release H1", march(2, 11, 10))?;
    ensure!(stage.last("refused")?.contains("unknown-number"), "{}", stage.last("refused")?);
    let round = stage.play.pass(march(2, 17, 0))?;
    says(&round.one(&scene.marie)?.read.text(), &["je vous lis désormais"])?;
    ensure!(scene.practice.run(&["journal", "verify"])?.ok());
    Ok(())
}

/// Nothing is asked of somebody to whom nothing may leave.
#[test]
fn nothing_is_asked_of_the_muted_and_nobody_without_a_key_is_taken_up() -> Result<()> {
    let stage = Stage::open()?;
    let scene = &stage.play.scene;
    let about = |text: &str, at| stage.order(&format!("/to {}\n{text}", scene.c1), at);
    about("/mute", march(2, 9, 0))?;
    for (n, command) in ["/card ask", "/rekey", "/checkin"].into_iter().enumerate() {
        let round = about(command, march(2, 9, 10 + u32::try_from(n)?))?;
        ensure!(stage.last("refused")?.contains("muted"), "{command}: {}", round.story());
        round.nothing_to(&scene.marie)?;
    }
    ensure!(!stage.pinned(&scene.c1)?.is_null(), "the key was given up");
    about("/discharge silent", march(2, 10, 0))?;
    let round = about("/resume", march(2, 10, 10))?;
    ensure!(stage.state(&scene.c1)? == "discharged" && stage.last("refused")?.contains("muted"), "{}", round.story());
    about("/mute off", march(2, 10, 20))?;
    let round = about("/resume", march(2, 10, 30))?;
    ensure!(stage.state(&scene.c1)? == "consent_pending", "{}", round.story());
    says(&round.one(&scene.marie)?.read.text(), &["J'ACCEPTE"])?;

    // Muted between the invitation and the frame: the key waits.
    let nadia = Newcomer::new(&stage, "nadia")?;
    let round = stage.order("/invite nadia@client.example", march(2, 11, 0))?;
    let code = stage.invited(&round)?;
    let invitation = round.one(&nadia.person)?.raw.clone();
    nadia.meet(&invitation)?;
    let answer = nadia.with_key(nadia.answer(&invitation, "Oui.")?)?;
    let round = stage.play_letter(&nadia, &answer, march(2, 11, 10))?;
    let offered = stage.told(&round, "/key accept")?.raw.clone();
    let accept = format!("/key accept {}", &nadia.person.fingerprint[20..]);
    stage.reply(&offered, "/mute", march(2, 11, 20))?;
    stage.reply(&offered, &accept, march(2, 11, 30))?.nothing_to(&nadia.person)?;
    ensure!(stage.state(&code)? == "invited" && stage.last("refused")?.contains("muted"));

    // Declined before any key was known: there is nothing to seal a frame to.
    let round = stage.order("/invite simon@client.example", march(2, 12, 0))?;
    let code = stage.invited(&round)?;
    stage.order(&format!("/to {code}\n/decline\n\n{WORDS}"), march(2, 12, 10))?;
    ensure!(stage.state(&code)? == "declined");
    let round = stage.order(&format!("/to {code}\n/resume"), march(2, 12, 20))?;
    ensure!(stage.state(&code)? == "declined" && stage.last("refused")?.contains("not-in-state"), "{}", round.story());
    ledger::sound(scene)
}

#[test]
fn mode_and_channel_are_noted_and_paper_is_admitted_by_the_table() -> Result<()> {
    let stage = Stage::open()?;
    let scene = &stage.play.scene;
    let about = |text: &str, at| stage.order(&format!("/to {}\n{text}", scene.c1), at);
    ensure!(stage.sql("SELECT COUNT(*) FROM journal WHERE kind = 'admitted'")? == "2");
    ensure!(stage.last("admitted")?.contains("\"to\":\"active\""), "{}", stage.last("admitted")?);
    for (n, mode) in ["pure", "mixed", "pure"].into_iter().enumerate() {
        let round = about(&format!("/mode {mode}"), march(2, 9, u32::try_from(n)?))?;
        round.nothing_to(&scene.marie)?;
        ensure!(stage.last("mode")?.contains(mode), "{}", round.story());
    }
    // That no service is near is recorded once.
    ensure!(stage.sql("SELECT COUNT(*) FROM journal WHERE kind = 'no-service-near'")? == "1");
    let receipts = || stage.sql("SELECT COUNT(*) FROM outbox WHERE kind = 'receipt'");
    let before = receipts()?;
    about("/channel openpgp", march(2, 9, 10))?.nothing_to(&scene.marie)?;
    ensure!(receipts()? != before, "no receipt");
    about("/channel pdf", march(2, 9, 20))?.nothing_to(&scene.marie)?;
    // It changes when the passphrase was told, and not before.
    ensure!(stage.last("passphrase-made").is_ok());
    ensure!(stage.sql("SELECT channel FROM client LIMIT 1")? == "openpgp");
    Ok(())
}

#[test]
fn consent_to_a_locum_can_be_taken_back() -> Result<()> {
    let stage = Stage::open()?;
    let scene = &stage.play.scene;
    stage.second_therapist(true)?;
    scene.practice.set("therapist.0.locum", "\"second\"")?;
    let copies = || stage.sql("SELECT COUNT(*) FROM locum_copy WHERE data IS NOT NULL");
    stage.play.letter(&scene.marie, "J'ACCEPTE LE REMPLACEMENT\n\nMerci.\n", march(2, 9, 0))?;
    stage.play.letter(&scene.marie, "Une lettre, avec une copie.\n", march(2, 9, 10))?;
    ensure!(copies()? != "0");
    // Nobody else takes it back for her, and a sentence does not.
    let unsigned = Letter::new(OFFICE, "Non", "REMPLACEMENT NON").form(Form::Encrypted);
    scene.marie.deliver(&scene.lab, &unsigned.at(march(2, 9, 20)))?;
    stage.play.pass(march(2, 9, 21))?;
    stage.play.letter(&scene.marie, "Un remplacement ? Non, je ne crois pas le regretter.\n", march(2, 9, 30))?;
    ensure!(copies()? != "0" && stage.last("locum-withdrawn")?.is_empty());
    let round = stage.play.letter(&scene.marie, "Remplacement non.\n\nJ'ai changé d'avis.\n", march(2, 9, 40))?;
    stage.told(&round, "ne veut plus de remplacement")?;
    ensure!(copies()? == "0" && !stage.last("locum-withdrawn")?.is_empty(), "{}", round.story());
    stage.play.letter(&scene.marie, "Une lettre pour vous seule.\n", march(2, 10, 0))?;
    ensure!(copies()? == "0");
    // In an absence the one who stands in gets nothing of hers.
    let round = stage.order("/absent 2026-03-03 2026-03-06", march(2, 18, 0))?;
    says(&round.one(&scene.marie)?.read.text(), &["J'ACCEPTE LE REMPLACEMENT"])?;
    stage.play.pass(march(3, 6, 0))?;
    stage.play.letter(&scene.marie, "Une lettre en votre absence.\n", march(3, 9, 0))?;
    ensure!(copies()? == "0" && stage.sql("SELECT COUNT(*) FROM outbox WHERE kind = 'locum-forward'")? == "0");
    ledger::sound(scene)
}

#[test]
fn who_declined_is_forgotten_within_a_year() -> Result<()> {
    let stage = Stage::open()?;
    let nora = Newcomer::new(&stage, "nora")?;
    let round = stage.order("/invite nora@client.example", march(2, 9, 0))?;
    let code = stage.invited(&round)?;
    let invitation = round.one(&nora.person)?.raw.clone();
    nora.meet(&invitation)?;
    stage.play_letter(&nora, &nora.answer(&invitation, "Non.")?.form(Form::Plain), march(2, 10, 0))?;
    ensure!(stage.state(&code)? == "declined");
    stage.play.scene.practice.once(march(2, 10, 0) + TimeDelta::days(363))?;
    ensure!(stage.state(&code)? == "declined");
    stage.play.scene.practice.once(march(2, 11, 0) + TimeDelta::days(364))?;
    ensure!(stage.state(&code)? == "erased");
    let named = "SELECT COUNT(*) FROM message WHERE (sender IS NOT NULL OR subject IS NOT NULL)";
    ensure!(stage.sql(&format!("{named} AND client_id = (SELECT id FROM client WHERE code = '{code}')"))? == "0");
    ledger::sound(&stage.play.scene)
}
