//! Mail of other kinds that comes back: to clients, to therapists, to people who are invited.

use anyhow::{Context as _, Result, ensure};

use crate::common::play::{Play, Post, Round, says};
use crate::common::scene::march;
use crate::stage::{id_of, journal, notice, put, replied};

/// What this address got in a pass.
fn to<'r>(round: &'r Round, address: &str) -> Result<&'r Post> {
    let mut all = round.posts.iter().filter(|post| post.to == [address]);
    let first = all.next().with_context(|| format!("nothing for {address}: {}", round.story()))?;
    ensure!(all.next().is_none(), "{}", round.story());
    Ok(first)
}

const OPERATOR: &str = "ops@cabinet.example";

#[test]
fn a_returned_invitation_is_told_and_a_returned_acknowledgement_waits_for_the_digest() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    s.practice.set_time(march(2, 8, 0))?;
    let args = ["client", "add", "--address", "-", "--therapist", "exemple"];
    let code = s.practice.run_with_input(&args, b"nouvelle@client.example\n")?.expect_ok()?.trim().to_owned();
    let round = play.pass(march(2, 8, 1))?;
    let invitation = to(&round, "nouvelle@client.example")?;
    // It waits for an answer: its failure has to be heard of.
    let caught = play.sink().mails().into_iter().find(|mail| mail.data == invitation.raw).context("caught")?;
    ensure!(caught.from == "ecrire@cabinet.example", "{:?}", caught.from);
    let raw = notice("ovh", &id_of(&invitation.raw)?, "nouvelle@client.example")?;
    let round = put(&play, &raw, march(2, 8, 5))?;
    let told = round.one(&s.therapist)?.read.text();
    says(&told, &[&code, "n'a pas reçu l'invitation du lundi 2 mars", "Vérifiez l'adresse", "/invite"])?;

    let round = play.letter(&s.marie, "Une lettre.\n", march(2, 22, 10))?;
    let acknowledgement = round.one(&s.marie)?;
    let caught = play.sink().mails().into_iter().find(|mail| mail.data == acknowledgement.raw).context("caught")?;
    ensure!(caught.from.is_empty(), "an answer leaves with the null return path: {:?}", caught.from);
    let raw = notice("postfix-failed", &id_of(&acknowledgement.raw)?, &s.marie.address)?;
    let round = put(&play, &raw, march(2, 22, 20))?;
    ensure!(round.posts.is_empty(), "{}", round.story());
    let round = play.pass(march(3, 6, 0))?;
    let digest = round.to(&s.therapist).next().context("a digest")?.read.text();
    says(&digest, &["NON REÇU", "n'a pas reçu l'accusé de réception du lundi 2 mars"])?;
    Ok(())
}

#[test]
fn a_returned_safety_letter_is_an_alarm() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    s.practice.set("operator.address", &format!("\"{OPERATOR}\""))?;
    let alarms = s.practice.dir.join("alarms");
    s.practice.set(
        "operator.alarm_command",
        &format!("'echo \"$CADRE_CLASS $CADRE_CODE\" >> {}'", alarms.to_string_lossy()),
    )?;
    let round = play.letter(&s.marie, "Je vais me tuer ce soir.\n", march(2, 21, 0))?;
    let safety = round.one(&s.marie)?;
    let raw = notice("m365-de", &id_of(&safety.raw)?, &s.marie.address)?;
    let round = put(&play, &raw, march(2, 21, 5))?;
    let told = round.one(&s.therapist)?.read.text();
    says(&told, &[&s.c1, "n'a pas reçu la lettre de secours", "Joignez cette personne sans attendre", "SMS"])?;
    let alarm = String::from_utf8_lossy(&to(&round, OPERATOR)?.raw).into_owned();
    ensure!(alarm.contains(&s.c1) && !alarm.contains(&s.marie.address), "{alarm}");
    let run = std::fs::read_to_string(&alarms)?;
    ensure!(run.lines().any(|line| line == format!("safety-failed {}", s.c1)), "{run}");
    Ok(())
}

#[test]
fn a_therapists_own_mailbox_that_returns_mail_alarms_the_operator() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    s.practice.set("operator.address", &format!("\"{OPERATOR}\""))?;
    let (_, forward) = replied(&play)?;
    let round = put(&play, &notice("exim-text", &id_of(&forward)?, &s.therapist.address)?, march(2, 17, 30))?;
    round.nothing_to(&s.therapist)?;
    let alarm = to(&round, OPERATOR)?;
    let words = String::from_utf8_lossy(&alarm.raw).into_owned();
    ensure!(words.contains(&s.c1) && !words.contains(&s.therapist.address), "{words}");
    let round = play.pass(march(3, 6, 0))?;
    let digest = round.to(&s.therapist).next().context("a digest")?;
    says(&digest.read.text(), &["NON REÇU", "Une lettre ne vous est pas parvenue"])?;
    // The digest itself comes back: another word, and the therapist is named by the id of the file.
    let round = put(&play, &notice("exim-text", &id_of(&digest.raw)?, &s.therapist.address)?, march(3, 6, 5))?;
    let words = String::from_utf8_lossy(&to(&round, OPERATOR)?.raw).into_owned();
    ensure!(words.contains("(exemple)"), "{words}");
    // The operator's own mailbox: nothing is mailed about that.
    let id = id_of(&alarm.raw)?;
    let round = put(&play, &notice("exim-text", &id, OPERATOR)?, march(3, 6, 10))?;
    ensure!(round.posts.is_empty() && journal(&play, "notice-ignored")?.len() == 1, "{}", round.story());
    Ok(())
}
