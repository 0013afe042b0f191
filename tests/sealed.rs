//! A client with a telephone and a webmail: sealed letters from the invitation to the end (SPEC section 15). The letters
//! are opened with programs that nobody here wrote; the person's own mail is plain text, as any mailbox sends it.

#[path = "sealed/attacks.rs"]
mod attacks;
mod common;
#[path = "sealed/person.rs"]
mod person;

use anyhow::{Context as _, Result, ensure};
use common::play::says;
use common::scene::march;
use common::{canary, ledger};
use person::{Desk, Lea};

/// What a mail that anybody may read must not say.
const SHOWS: &[&str] = &["thérap", "therap", "psych", "cabinet exemple", "dr exemple", "patient", "séance", "accepte"];

#[test]
fn from_an_answer_without_a_key_to_the_end() -> Result<()> {
    let desk = Desk::open()?;
    let mut lea = Lea::new("lea@client.example");

    // An answer without a key: sealed letters are offered to her, the passphrase to the therapist.
    let round = desk.order("/invite lea@client.example fr", march(2, 9, 0))?;
    let code = desk.sql("SELECT client FROM journal WHERE kind = 'invited' ORDER BY seq DESC LIMIT 1")?;
    lea.take(&round)?;
    let round = desk.mail(&lea.reply("Bonjour, oui, mais je n'ai pas de clé."), march(2, 10, 0))?;
    let offer = lea.take(&round)?;
    says(&offer.text, &["phrase de passe", "de vive voix", "Sans rien installer"])?;
    let told = desk.told(&round, "/told")?;
    let phrase = person::phrase_in(&told.read.text()).context("no passphrase in the therapist's mail")?;
    ensure!(!String::from_utf8_lossy(&offer.raw).contains(&phrase), "the passphrase was mailed");

    // Told by voice: the frame comes as a document that it opens, in a mail that shows nothing.
    let round = desk.reply(&told.raw, "/told", march(2, 11, 0))?;
    lea.knows(&phrase);
    let frame = lea.take(&round)?;
    let visible = format!("{} {}", frame.head(), frame.text).to_lowercase();
    let shown: Vec<_> = SHOWS.iter().filter(|word| visible.contains(**word)).collect();
    ensure!(shown.is_empty(), "the mail shows {shown:?}:\n{}", frame.text);
    says(
        &frame.letter()?,
        &["60 € par semaine", "RPPS 10000000000", "J'ACCEPTE", "TLS", "n'était ni signé ni chiffré"],
    )?;
    ensure!(desk.state(&code)? == "consent_pending" && desk.show(&code)?["channel"] == "pdf");

    // Without the words nothing is agreed to, and she is told why; with them it is.
    let round = desk.mail(&lea.reply("J'accepte."), march(2, 12, 0))?;
    ensure!(desk.state(&code)? == "consent_pending");
    says(&lea.take(&round)?.text, &["trois mots"])?;
    let words = frame.words()?;
    let round = desk.mail(&lea.reply(&format!("{}\n\nJ'accepte\n", words.to_uppercase())), march(2, 12, 30))?;
    ensure!(desk.state(&code)? == "assessment", "{}", round.story());
    says(&lea.take(&round)?.letter()?, &["accord"])?;
    ensure!(desk.sql("SELECT verdict || ' ' || channel FROM consent ORDER BY at DESC LIMIT 1")? == "vouched pdf");

    // A letter with the words: vouched, and they reach nobody. The acknowledgement is clear and neutral.
    let words = lea.newest_words()?;
    let text = format!("Le marché était plein de monde.\n\nMes mots : {}\n", words.replace(' ', "-"));
    let round = desk.mail(&lea.write("Le marché", &text), march(2, 13, 0))?;
    let receipt = lea.take(&round)?;
    ensure!(receipt.documents.is_empty(), "an acknowledgement says nothing confidential");
    says(&receipt.text, &["Réponse attendue", "112"])?;
    let forward = desk.told(&round, "plein de monde")?;
    says(&forward.read.text(), &["MOTS DE RÉPONSE JUSTES"])?;
    let passed = forward.read.text().to_lowercase();
    ensure!(words.split(' ').all(|word| !passed.contains(word)), "the words were passed on:\n{passed}");

    // The reply leaves at its slot, sealed, and her answer to it is vouched by its words.
    desk.reply(&forward.raw, "Merci de ce marché.\n\nÀ demain.", march(2, 14, 0))?;
    let round = desk.pass(march(3, 17, 0))?;
    let reply = lea.take(&round)?;
    says(&reply.letter()?, &["Merci de ce marché.", "Cette lettre répond"])?;
    ensure!(!String::from_utf8_lossy(&reply.raw).contains("Merci"), "in clear");
    let round = desk.mail(&lea.reply(&format!("STOP\n{}\n", reply.words()?)), march(4, 8, 0))?;
    ensure!(desk.state(&code)? == "discharged", "{}", round.story());
    says(&lea.take(&round)?.letter()?, &["REPRENDRE"])?;

    // The export: both letters, for the therapist's key, and no word that opens a letter of hers.
    let folder = desk.play.scene.lab.dir.join("export");
    let name = folder.to_string_lossy().into_owned();
    desk.play.scene.practice.run(&["client", "export", &code, &name])?.expect_ok()?;
    let mbox = std::fs::read_to_string(folder.join("lettres.mbox"))?.replace('\n', "\r\n");
    let mails: Vec<String> = mbox
        .split("From MAILER-DAEMON")
        .skip(1)
        .map(|mail| mail.split_once("\r\n").map_or_else(String::new, |(_, mail)| mail.to_owned()))
        .collect();
    let therapist = &desk.play.scene.therapist;
    let texts = mails.iter().map(|mail| Ok(therapist.read(mail.as_bytes())?.text())).collect::<Result<Vec<_>>>()?;
    for words in ["plein de monde", "Merci de ce marché."] {
        ensure!(texts.iter().any(|text| text.contains(words)), "{words}: {texts:#?}");
    }
    says(&std::fs::read_to_string(folder.join("LISEZ-MOI.txt"))?, &["cette phrase n'est pas ici"])?;
    ensure!(canary(&[&folder], &[&phrase, &words])?.is_empty());

    // Erased: the last letter is sealed like the others, and the passphrase goes with the rest.
    desk.play.scene.practice.run(&["client", "erase", &code, "--yes"])?.expect_ok()?;
    let round = desk.pass(march(4, 9, 0))?;
    says(&lea.take(&round)?.letter()?, &["Cette lettre est la dernière"])?;
    ensure!(
        desk.sql("SELECT COUNT(*) FROM pdf_channel")? == "0" && desk.sql("SELECT COUNT(*) FROM answer_words")? == "0"
    );

    let dir = &desk.play.scene.practice.dir;
    let found = canary(&[dir], &["lea@client.example", "plein de monde", "Merci de ce", &phrase, &words])?;
    ensure!(found.is_empty(), "{found:?}");
    ledger::sound(&desk.play.scene)
}
