//! The life of clients' and therapists' keys (SPEC section 3): extension, replacement and revocation by mail, on a real
//! Dovecot, with GnuPG as the correspondents' program.

mod common;
#[path = "keylife/made.rs"]
mod made;

use anyhow::{Context as _, Result, ensure};
use cadre::pgp::Certificate;
use chrono::{DateTime, TimeDelta, Utc};
use common::play::{Play, Round, says};
use common::scene::{OFFICE, march};
use common::{Form, Letter, Person, PracticeOptions};

const KEYS: &str = "application/pgp-keys";

/// Somebody whose key lives until 11 March 2026 at noon, as a client.
fn zoe(play: &Play) -> Result<(Person, String)> {
    let zoe = Person::generate(&play.scene.lab, "zoe", "Zoé", "zoe@client.example", march(1, 0, 0))?;
    zoe.meet(&play.scene.office)?;
    extend(&zoe, march(1, 1, 0), march(11, 12, 0))?;
    let code = common::scene::add(&play.scene.practice, &zoe)?;
    Ok((zoe, code))
}

/// Primary key and subkeys live until then.
fn extend(person: &Person, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<()> {
    person.set_clock(now);
    let span = format!("seconds={}", (until - now).num_seconds());
    person.gpg(&["--quick-set-expire", &person.fingerprint, &span], b"")?;
    person.gpg(&["--quick-set-expire", &person.fingerprint, &span, "*"], b"").map(drop)
}

fn letter(text: &str, at: DateTime<Utc>) -> Letter {
    Letter::new(OFFICE, "Une lettre", text).at(at)
}

fn expires(play: &Play, code: &str) -> Result<String> {
    Ok(play.scene.practice.json(&["client", "key", code])?["expires"].as_str().unwrap_or("never").to_owned())
}

fn fingerprint(play: &Play, code: &str) -> Result<String> {
    Ok(play.scene.practice.json(&["client", "key", code])?["fingerprint"].as_str().unwrap_or("none").to_owned())
}

/// What the journal has of this kind.
fn journalled(play: &Play, kind: &str) -> Result<usize> {
    let entries = play.scene.practice.json(&["journal", "show", "-n", "1000"])?;
    Ok(entries.as_array().map_or(0, |all| all.iter().filter(|entry| entry["kind"] == kind).count()))
}

#[test]
fn a_longer_life_is_taken_from_verified_mail_by_attachment_or_autocrypt_and_from_nothing_else() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let (zoe, code) = zoe(&play)?;
    let first = expires(&play, &code)?;
    ensure!(first.starts_with("2026-03-11"), "{first}");
    let send = |mail: &Letter, at: DateTime<Utc>| -> Result<Round> {
        zoe.deliver(&s.lab, mail)?;
        play.pass(at + TimeDelta::minutes(1))
    };

    // Not from unsigned mail, encrypted or not, attached or in a header, though the key itself made it.
    extend(&zoe, march(2, 8, 0), march(31, 12, 0))?;
    let longer = zoe.certificate()?;
    let longer_binary = Certificate::from_bytes(&longer)?.to_bytes();
    let header = made::autocrypt(&zoe.address, &longer_binary);
    for (minute, form) in [(0, Form::Plain), (10, Form::Encrypted)] {
        let at = march(2, 9, minute);
        let mail = letter("Sans signature.\n", at).form(form).attach("key.asc", KEYS, &longer);
        let round = send(&Letter { extra_headers: vec![header.clone()], ..mail }, at)?;
        ensure!(round.counts["filed"] == 1 && expires(&play, &code)? == first, "{form:?} {}", round.story());
    }
    // Not from a header about somebody else, nor where two are valid, nor beyond 10 KiB.
    let about_other = made::autocrypt("other@client.example", &longer_binary);
    let other = made::autocrypt(&zoe.address, &Certificate::from_bytes(&s.paul.certificate()?)?.to_bytes());
    let long = made::autocrypt(&zoe.address, &[longer_binary.clone(), vec![0; 8000]].concat());
    for (minute, headers) in [(20, vec![about_other]), (30, vec![header.clone(), other]), (40, vec![long])] {
        let at = march(2, 9, minute);
        let round = send(&Letter { extra_headers: headers, ..letter("Un en-tête de trop.\n", at) }, at)?;
        ensure!(round.counts["filed"] == 1 && expires(&play, &code)? == first, "{minute} {}", round.story());
    }
    // From the one header of a verified letter.
    let at = march(2, 10, 0);
    send(&Letter { extra_headers: vec![header], ..letter("Un en-tête.\n", at) }, at)?;
    ensure!(expires(&play, &code)?.starts_with("2026-03-31"), "{}", expires(&play, &code)?);
    // And from an attachment.
    extend(&zoe, march(2, 11, 0), march(31, 12, 0) + TimeDelta::days(30))?;
    let at = march(2, 11, 0);
    send(&letter("Une pièce jointe.\n", at).attach("key.asc", KEYS, &zoe.certificate()?), at)?;
    ensure!(expires(&play, &code)?.starts_with("2026-04-30"), "{}", expires(&play, &code)?);
    // Nothing new is no change; an Autocrypt key of another fingerprint never takes its place.
    let renewals = journalled(&play, "key-renewed")?;
    let at = march(2, 12, 0);
    let mallory = Person::persona(&s.lab, "mallory")?;
    let theirs = Certificate::from_bytes(&mallory.certificate()?)?.to_bytes();
    let mail = letter("Encore.\n", at).attach("key.asc", KEYS, &zoe.certificate()?);
    send(&Letter { extra_headers: vec![made::autocrypt(&zoe.address, &theirs)], ..mail }, at)?;
    ensure!(journalled(&play, "key-renewed")? == renewals && fingerprint(&play, &code)? == zoe.fingerprint);

    // An expired key that was extended: the header alone says so, and the letter is verified by it.
    extend(&zoe, march(31, 0, 0), march(31, 0, 0) + TimeDelta::days(400))?;
    let header = made::autocrypt(&zoe.address, &Certificate::from_bytes(&zoe.certificate()?)?.to_bytes());
    let at = march(31, 12, 0) + TimeDelta::days(40);
    let round = send(&letter("Expirée.\n", at), at)?;
    ensure!(round.counts["held"] == 1, "{}", round.story());
    let at = at + TimeDelta::minutes(10);
    let round = send(&Letter { extra_headers: vec![header], ..letter("Prolongée.\n", at) }, at)?;
    ensure!(round.counts["filed"] == 1 && expires(&play, &code)?.starts_with("2027-"), "{}", round.story());
    Ok(())
}

#[test]
fn a_therapists_key_is_extended_by_their_own_mail_and_outlives_a_restart() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    extend(&s.therapist, march(1, 13, 0), march(4, 12, 0))?;
    s.therapist.certificate_file(&s.practice.dir.join("therapist.pgp"))?;
    let round = play.letter(&s.marie, "Une lettre.\n", march(2, 8, 0))?;
    let of_marie = round.to(&s.therapist).find(|post| post.read.subject.contains(&s.c1));
    let forward = of_marie.context("no forward")?.raw.clone();
    let mine = |play: &Play| -> Result<String> {
        let shown = play.scene.practice.json(&["therapist", "key", "exemple"])?;
        Ok(shown["expires"].as_str().unwrap_or("never").to_owned())
    };
    ensure!(mine(&play)?.starts_with("2026-03-04"), "{}", mine(&play)?);
    extend(&s.therapist, march(2, 9, 0), march(31, 12, 0))?;
    let longer = s.therapist.certificate()?;
    // Somebody else can't say so in the therapist's place.
    let forged = Letter {
        forged_from: Some((s.therapist.name.clone(), s.therapist.address.clone())),
        ..letter("/help\n", march(2, 9, 10)).form(Form::Encrypted).attach("key.asc", KEYS, &longer)
    };
    s.marie.deliver(&s.lab, &forged)?;
    play.pass(march(2, 9, 11))?;
    ensure!(mine(&play)?.starts_with("2026-03-04"), "{}", mine(&play)?);
    // Their own reply brings it along, as programs with Autocrypt do.
    let binary = Certificate::from_bytes(&longer)?.to_bytes();
    let answer = s.therapist.reply_to(&forward, "Une réponse.")?.at(march(2, 9, 20));
    let answer = Letter { extra_headers: vec![made::autocrypt(&s.therapist.address, &binary)], ..answer };
    play.told_of(&answer, march(2, 9, 21))?;
    ensure!(mine(&play)?.starts_with("2026-03-31"), "{}", mine(&play)?);
    ensure!(journalled(&play, "therapist-key-renewed")? == 1);
    // Past the file's own end, letters go on.
    let round = play.letter(&s.paul, "Après le 4 mars.\n", march(9, 8, 0))?;
    ensure!(round.counts["filed"] == 1 && round.to(&s.therapist).next().is_some(), "{}", round.story());
    let checked = s.practice.run_at(march(9, 8, 30), &["check"])?;
    ensure!(checked.stdout.contains("2026-03-31"), "`check` knows the file alone: {checked:?}");
    // A key that has expired altogether is prolonged by the mail that brings it.
    extend(&s.therapist, march(31, 11, 0), march(31, 11, 0) + TimeDelta::days(365))?;
    let at = march(31, 12, 0) + TimeDelta::days(9);
    s.therapist.set_clock(at);
    let mail = letter("/help\n", at).attach("key.asc", KEYS, &s.therapist.certificate()?);
    s.therapist.deliver(&s.lab, &mail)?;
    let round = play.pass(at)?;
    ensure!(round.to(&s.therapist).any(|post| post.read.text().contains("/absent")), "{}", round.story());
    ensure!(mine(&play)?.starts_with("2027-"), "{}", mine(&play)?);
    // Another file: what was learnt of the old key doesn't touch it.
    let second = Person::persona(&s.lab, "second")?;
    second.certificate_file(&s.practice.dir.join("therapist.pgp"))?;
    ensure!(mine(&play)? == "never", "{}", mine(&play)?);
    Ok(())
}

#[test]
fn a_revocation_counts_whoever_brings_it_and_only_a_genuine_one() -> Result<()> {
    let play = Play::with(PracticeOptions { forward: "each".into(), ..PracticeOptions::default() })?;
    let s = &play.scene;
    s.practice.set("operator.address", "\"ops@cabinet.example\"")?;
    let forward = play.forwarded(&s.marie, "Une lettre.\n", march(2, 8, 0))?;
    play.answer(&forward, "Une réponse qui attend.", march(2, 8, 30))?;
    let mallory = Person::persona(&s.lab, "mallory")?;
    mallory.meet(&s.office)?;
    let stolen = made::revoked(&s.marie, true, march(2, 9, 0))?;
    let usable = || -> Result<bool> { Ok(s.practice.json(&["client", "key", &s.c1])?["usable"] == true) };

    // Altered, another's, and what only looks like one: nothing happens to anybody, whoever brings it.
    let mut altered = made::bare(&stolen)?;
    *altered.last_mut().context("empty")? ^= 1;
    let of_mallory = made::alone(&made::revoked(&mallory, true, march(2, 9, 0))?)?;
    let false_ones = [made::armored(&altered)?, of_mallory];
    for (minute, bytes) in (0..).step_by(5).zip(&false_ones) {
        for (who, more) in [(&s.paul, 0), (&mallory, 2)] {
            let at = march(2, 9, minute + more);
            who.deliver(&s.lab, &letter("Voici.\n", at).attach("revocation.asc", KEYS, bytes))?;
            play.pass(at + TimeDelta::minutes(1))?;
        }
    }
    ensure!(usable()? && journalled(&play, "key-revoked")? == 0);

    // A stranger brings the genuine one, in an unsigned mail.
    let at = march(2, 10, 0);
    let brought = letter("Pour information.\n", at).form(Form::Plain).attach("r.asc", KEYS, &made::alone(&stolen)?);
    mallory.deliver(&s.lab, &brought)?;
    let round = play.pass(at + TimeDelta::minutes(1))?;
    ensure!(!usable()? && journalled(&play, "key-revoked")? == 1, "{}", round.story());
    // Both are told: she in clear and neutrally, the therapist with what to do, the operator by the code.
    let hers = round.one(&s.marie)?;
    ensure!(!hers.read.decrypted && hers.read.subject.contains("révoquée"), "{}", round.story());
    says(
        &hers.read.text(),
        &["n'écrivons plus avec cette clé", "nouvelle clé", "quelqu'un d'autre l'a entre les mains"],
    )?;
    let raw = String::from_utf8_lossy(&hers.raw);
    ensure!(!raw.contains(&s.c1) && !raw.contains("Cabinet") && !raw.contains("lettre"), "{raw}");
    let theirs = round.to(&s.therapist).find(|post| post.read.subject == "Une clé est révoquée").context("not told")?;
    says(&theirs.read.text(), &[&s.c1, "/rekey", "a pu être volée"])?;
    ensure!(round.posts.iter().any(|post| post.to == ["ops@cabinet.example"]), "{}", round.story());

    // From now on mail by it is bad, and nothing is encrypted to it; the same revocation again says nothing new.
    let at = march(2, 11, 0);
    s.marie.deliver(&s.lab, &letter("Sous la clé volée.\n", at).attach("r.asc", KEYS, &made::alone(&stolen)?))?;
    let round = play.pass(at + TimeDelta::minutes(1))?;
    ensure!(round.counts["held"] == 1 && journalled(&play, "key-revoked")? == 1, "{}", round.story());
    let round = play.pass(march(2, 17, 0))?;
    ensure!(play.states(&s.c1, "reply")? == ["waiting"], "{}", round.story());
    let told: String = round.to(&s.marie).map(|post| post.read.text()).collect();
    ensure!(!told.contains("expir") && !told.contains("Une réponse"), "a revoked key has not expired: {told}");
    // Nor is it announced as one that expires, and a new key is asked for as ever.
    let told = play.scene.therapist.reply_to(&forward, "/rekey")?.at(march(3, 8, 0));
    s.therapist.deliver(&s.lab, &told)?;
    let round = play.pass(march(3, 8, 1))?;
    ensure!(round.one(&s.marie)?.read.subject.contains("clé"), "{}", round.story());
    Ok(())
}

#[test]
fn a_key_that_is_given_up_says_so_itself_and_a_stolen_one_is_believed_no_more() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    // Marie gives hers up, in a letter that it still signs, with her new key beside it.
    let soft = made::revoked(&s.marie, false, march(2, 8, 0))?;
    let new = Person::generate(&s.lab, "marie2", "Marie", &s.marie.address, march(1, 0, 0))?;
    // She reads with both.
    s.marie.import(&new.secret_key()?)?;
    let at = march(2, 9, 0);
    let mail = letter("Je change de clé.\n", at).attach("old.asc", KEYS, soft.to_armored().as_bytes()).attach(
        "new.asc",
        KEYS,
        &new.certificate()?,
    );
    s.marie.deliver(&s.lab, &mail)?;
    let round = play.pass(march(2, 9, 1))?;
    ensure!(round.counts["filed"] == 1 && journalled(&play, "key-revoked")? == 1, "{}", round.story());
    let texts: String = round.to(&s.therapist).map(|post| post.read.text()).collect();
    says(&texts, &["a été remplacée ou abandonnée", "/key accept"])?;
    ensure!(!texts.contains("a pu être volée"), "{texts}");
    s.marie.deliver(&s.lab, &letter("Encore l'ancienne.\n", march(2, 10, 0)))?;
    ensure!(play.pass(march(2, 10, 1))?.counts["held"] == 1);

    // A thief has Paul's: the letter that brings the revocation is already bad, and what it offers has nobody's word.
    let thief = Person::generate(&s.lab, "thief", "Paul", &s.paul.address, march(1, 0, 0))?;
    s.paul.import(&thief.secret_key()?)?;
    s.paul.deliver(
        &s.lab,
        &letter("Ma nouvelle clé.\n", march(2, 11, 0)).attach("new.asc", KEYS, &thief.certificate()?),
    )?;
    let round = play.pass(march(2, 11, 1))?;
    let forward =
        round.to(&s.therapist).find(|post| post.read.subject.contains(&s.c2)).context("no forward")?.raw.clone();
    let hard = made::revoked(&s.paul, true, march(2, 11, 30))?;
    let mail = letter("Ma clé est volée.\n", march(2, 12, 0)).attach("r.asc", KEYS, hard.to_armored().as_bytes());
    s.paul.deliver(&s.lab, &mail)?;
    let round = play.pass(march(2, 12, 1))?;
    ensure!(round.counts["held"] == 1 && round.counts["filed"] == 0, "{}", round.story());
    // It was signed before the revocation came, and counts no more than anybody's.
    let words = "/key accept ".to_owned() + &thief.fingerprint[24..];
    let answer = s.therapist.reply_to(&forward, &words)?.at(march(2, 13, 0));
    s.therapist.deliver(&s.lab, &answer)?;
    play.pass(march(2, 13, 1))?;
    ensure!(fingerprint(&play, &s.c2)? == s.paul.fingerprint, "the thief's key was pinned");
    Ok(())
}

#[test]
fn a_therapist_whose_key_is_revoked_is_told_in_clear_and_obeyed_no_more() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    s.practice.set("operator.address", "\"ops@cabinet.example\"")?;
    let forward = play.forwarded(&s.marie, "Une lettre.\n", march(2, 8, 0))?;
    let stolen = made::revoked(&s.therapist, true, march(2, 8, 30))?;
    let at = march(2, 9, 0);
    let mail = letter("Ci-joint.\n", at).attach("key.asc", KEYS, stolen.to_armored().as_bytes());
    s.marie.deliver(&s.lab, &mail)?;
    let round = play.pass(march(2, 9, 1))?;
    let told: Vec<_> = round.to(&s.therapist).filter(|post| !post.read.decrypted).collect();
    ensure!(told.len() == 1, "{}", round.story());
    says(&told[0].read.text(), &["à la personne qui tient le serveur"])?;
    let operator = round.posts.iter().filter(|post| post.to == ["ops@cabinet.example"]);
    let words: String = operator.map(|post| String::from_utf8_lossy(&post.raw).into_owned()).collect();
    ensure!(words.contains("cadre status") && !words.contains(&s.therapist.address), "{words}");
    // The thief's answer releases nothing, and a letter waits for the new key.
    let answer = s.therapist.reply_to(&forward, "Une fausse réponse.")?.at(march(2, 10, 0));
    s.therapist.deliver(&s.lab, &answer)?;
    let round = play.pass(march(2, 10, 1))?;
    ensure!(play.states(&s.c1, "reply")?.is_empty(), "{}", round.story());
    let round = play.letter(&s.paul, "Une autre lettre.\n", march(2, 11, 0))?;
    ensure!(round.counts["filed"] == 0, "{}", round.story());
    // A new file, and everything goes on.
    let second = Person::persona(&s.lab, "second")?;
    second.certificate_file(&s.practice.dir.join("therapist.pgp"))?;
    let counts = s.practice.once(march(3, 8, 0))?;
    ensure!(counts["filed"].as_u64().is_some_and(|n| n >= 1), "{counts}");
    Ok(())
}
