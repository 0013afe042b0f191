//! The same letter again: known by who signed what, never by what anybody can copy (THREATS 18, 28).

use anyhow::{Context as _, Result, ensure};

use crate::common::Form;
use crate::common::mail::nonce;
use crate::desk::{Desk, Seen, each, light, with_armor, with_field};

const WORDS: &str = "je suis revenue par la digue";

fn dropped(desk: &mut Desk, raw: &[u8]) -> Result<()> {
    desk.explained(raw, "replayed", "drop", None)?;
    silent(desk, raw)
}

fn silent(desk: &mut Desk, raw: &[u8]) -> Result<()> {
    let seen = desk.play(raw)?;
    ensure!(seen.counts["dropped"] == 1 && seen.counts["filed"] == 0 && seen.counts["held"] == 0, "{}", seen.counts);
    ensure!(seen.marie.is_empty() && seen.paul.is_empty(), "{:#?} {:#?}", seen.marie, seen.paul);
    seen.no_mail()?;
    ensure!(desk.folder(&["INBOX"])? == 0, "the copy stayed");
    Ok(())
}

fn filed(desk: &mut Desk, raw: &[u8], verdict: &str) -> Result<Seen> {
    let seen = desk.play(raw)?;
    ensure!(seen.counts["filed"] == 1 && seen.counts["dropped"] == 0, "{}", seen.counts);
    ensure!(Seen::only(&seen.marie)?["verdict"] == verdict, "{:#?}", seen.marie);
    Ok(seen)
}

#[test]
fn row_18_a_letter_is_filed_once_however_it_comes_again() -> Result<()> {
    let mut desk = Desk::open(light(), each())?;
    desk.secret(&[WORDS]);
    let id = || format!("<{}@client.example>", nonce());

    let raw = desk.scene.marie.write(&desk.letter("La digue", WORDS))?;
    filed(&mut desk, &raw, "verified")?;
    dropped(&mut desk, &raw).context("the same bytes")?;
    dropped(&mut desk, &with_field(&raw, "Message-ID", &id())).context("another Message-ID")?;
    let stranger = with_field(&raw, "From", "X <x@evil.example>");
    silent(&mut desk, &with_field(&stranger, "Message-ID", &id())).context("another From")?;
    let armor = with_armor(&raw, |packet| packet)?;
    ensure!(armor != raw, "the same armor");
    dropped(&mut desk, &armor).context("other armor")?;

    // The same signed part in another mail.
    let signed = desk.scene.marie.write(&desk.letter("La digue", WORDS).form(Form::Signed))?;
    filed(&mut desk, &signed, "verified")?;
    let other = with_field(&with_field(&signed, "Message-ID", &id()), "Subject", "Autre chose");
    dropped(&mut desk, &other).context("new headers")?;

    // A genuine new letter whose Message-ID somebody has used before is no copy.
    let next = desk.scene.marie.write(&desk.letter("La digue", "autre jour"))?;
    filed(&mut desk, &with_field(&next, "Message-ID", &crate::desk::message_id(&raw)), "verified")?;

    // Unsigned mail twice is one; with other words it is another.
    let plain = desk.scene.marie.write(&desk.letter("La digue", "sans signature").form(Form::Plain))?;
    filed(&mut desk, &plain, "unsigned")?;
    silent(&mut desk, &plain)?;
    let journal = desk.scene.practice.json(&["journal", "show"])?.to_string();
    ensure!(journal.contains("replayed") && journal.contains("same-bytes"), "{journal}");
    Ok(())
}

#[test]
fn row_28_a_letter_played_before_it_arrives_does_not_stop_the_real_one() -> Result<()> {
    let mut desk = Desk::open(light(), each())?;
    desk.secret(&[WORDS]);
    // Without protected headers, so that nothing but the signature says whose it is.
    let letter = |desk: &Desk, more: &str| crate::common::Letter {
        protected: false,
        ..desk.letter("La digue", &format!("{WORDS} {more}"))
    };

    // Under Paul's name: held as Marie's, and then the real one is filed.
    let raw = desk.scene.marie.write(&letter(&desk, "une fois"))?;
    let seen = desk.play(&with_field(&raw, "From", "Paul <paul@client.example>"))?;
    let early = Seen::only(&seen.marie)?;
    ensure!(early["verdict"] == "wrong-signer" && early["state"] == "held" && seen.paul.is_empty(), "{early:#}");
    filed(&mut desk, &raw, "verified").context("after a copy under Paul's name")?;

    // With a From that can't be read: the same.
    let raw = desk.scene.marie.write(&letter(&desk, "deux fois"))?;
    let two = [b"From: X <x@evil.example>\r\n".as_slice(), &raw].concat();
    desk.play(&two)?;
    filed(&mut desk, &raw, "verified").context("after a copy with two Froms")?;

    // Under a stranger's: the signature is Marie's all the same, so her letter is in her thread, once, and with
    // her own copy the mark is nobody's business any more.
    let raw = desk.scene.marie.write(&letter(&desk, "trois fois"))?;
    let seen = desk.play(&with_field(&raw, "From", "X <x@evil.example>"))?;
    ensure!(Seen::only(&seen.marie)?["marks"] == serde_json::json!(["other-address"]), "{:#?}", seen.marie);
    ensure!(desk.unread("x@evil.example")?.is_empty(), "an answer to the one who played it");
    let seen = desk.play(&raw)?;
    ensure!(seen.counts["failed"] == 0 && seen.counts["held"] == 0 && seen.to_paul.is_empty(), "{}", seen.counts);
    let thread = desk.scene.thread(&desk.scene.c1)?;
    ensure!(thread["turn"]["letters"] == 3 && thread["turn"]["acknowledged"] == true, "{thread:#}");

    // A mail that can't be opened under a stranger's name doesn't either.
    let raw = desk.scene.marie.write(&letter(&desk, "quatre fois").form(Form::Encrypted))?;
    desk.play(&with_field(&raw, "From", "Y <y@evil.example>"))?;
    filed(&mut desk, &raw, "unsigned").context("unsigned, after a stranger's copy")?;
    Ok(())
}

#[test]
fn row_18_a_held_letter_that_was_passed_on_comes_no_second_time() -> Result<()> {
    let mut desk = Desk::open(light(), each())?;
    desk.secret(&[WORDS]);
    let letter = crate::common::Letter { protected: false, ..desk.letter("La digue", WORDS) };
    let raw = desk.scene.marie.write(&letter)?;
    let seen = desk.play(&with_field(&raw, "From", "Paul <paul@client.example>"))?;
    ensure!(Seen::only(&seen.marie)?["number"] == "H1", "{:#?}", seen.marie);
    let text = format!("/to {}\n/release H1", desk.scene.c1);
    let order = crate::common::Letter::new(crate::common::scene::OFFICE, "x", &text).at(desk.now);
    let order = desk.scene.therapist.write(&order)?;
    desk.play(&order)?;
    // From then on the same signature in another mail is a copy.
    dropped(&mut desk, &with_field(&raw, "Message-ID", &format!("<{}@client.example>", nonce())))
}
