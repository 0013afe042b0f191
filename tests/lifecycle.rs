//! The life of a client, end to end: by the client's own words, the therapist's commands, the shell and the clock.

mod common;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use common::ledger::in_store;
use common::mail::find;
use common::play::{Play, Round};
use common::scene::{OFFICE, march};
use common::{Form, Letter, Person};

/// Twenty words and more of the therapist's own.
const WORDS: &str = "Nous avons parlé de cette fin la semaine dernière, et je vous l'écris comme convenu : \
                     notre correspondance s'arrête ici. Je garde de nos échanges un souvenir précis et reconnaissant.";

/// Kinds of mail to the client that have left so far, in the order in which they were made.
fn left(play: &Play, code: &str) -> Result<Vec<String>> {
    let staff = [
        "forward",
        "receipt",
        "refusal",
        "question",
        "held-notice",
        "enrolment",
        "digest",
        "reminder",
        "alert",
        "delivery-failure",
    ];
    let rows = play.scene.practice.json(&["queue", "list", "--all"])?;
    let rows = rows.as_array().context("a list")?;
    let own = rows.iter().filter(|row| row["client"] == code && row["state"] == "sent");
    let kinds = own.filter_map(|row| row["kind"].as_str().map(str::to_owned));
    Ok(kinds.filter(|kind| !staff.contains(&kind.as_str())).collect())
}

/// The kinds that left since `before` was counted.
fn since(play: &Play, code: &str, before: &[String]) -> Result<Vec<String>> {
    let mut now = left(play, code)?;
    for kind in before {
        if let Some(at) = now.iter().position(|known| known == kind) {
            now.remove(at);
        }
    }
    now.sort();
    Ok(now)
}

fn state(play: &Play, code: &str) -> Result<String> {
    Ok(play.scene.thread(code)?["state"].as_str().unwrap_or_default().to_owned())
}

/// Marks of the newest letter of a thread.
fn marks(play: &Play, code: &str) -> Result<Vec<String>> {
    let thread = play.scene.thread(code)?;
    let mut letters = thread["messages"].as_array().context("a list")?.iter().filter(|m| m["kind"] == "letter");
    let newest = letters.next_back().context("a letter")?;
    let marks = newest["marks"].as_array().context("marks")?;
    Ok(marks.iter().filter_map(|mark| mark.as_str().map(str::to_owned)).collect())
}

/// Something happens; which letters to the client left by it.
fn step(play: &Play, code: &str, happens: impl FnOnce() -> Result<Round>) -> Result<(Round, Vec<String>)> {
    let before = left(play, code)?;
    let round = happens()?;
    let kinds = since(play, code, &before)?;
    Ok((round, kinds))
}

fn letter(play: &Play, text: &str, at: DateTime<Utc>) -> Result<(Round, Vec<String>)> {
    step(play, &play.scene.c1, || play.letter(&play.scene.marie, text, at))
}

fn answer(play: &Play, forward: &[u8], text: &str, at: DateTime<Utc>) -> Result<(Round, Vec<String>)> {
    step(play, &play.scene.c1, || play.answer(forward, text, at))
}

/// A letter of the client's that is not signed.
fn unsigned(play: &Play, text: &str, at: DateTime<Utc>) -> Result<(Round, Vec<String>)> {
    let s = &play.scene;
    step(play, &s.c1, || {
        s.marie.deliver(&s.lab, &Letter::new(OFFICE, "Une lettre", text).form(Form::Encrypted).at(at))?;
        play.pass(at)
    })
}

/// Puts a client into a state that another part of the program leads to.
fn place(play: &Play, code: &str, state: &str) -> Result<()> {
    in_store(&play.scene.practice, async |tx| {
        let client = tx.client_by_code(&code.parse()?).await?.context("a client")?;
        Ok(tx.set_client_state(client.id, state.parse()?).await?)
    })
}

#[test]
fn stop_ends_it_at_once_allows_one_farewell_and_is_undone_by_its_writer_alone() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une première lettre.\n", march(2, 3, 0))?;
    play.answer(&forward, "Une réponse qui attend.", march(2, 9, 0))?;
    ensure!(play.states(&s.c1, "reply")? == ["waiting"]);

    // In mail whose writer isn't proven it is a mark, and a person decides.
    let (round, kinds) = unsigned(&play, "STOP\n", march(2, 9, 10))?;
    ensure!(state(&play, &s.c1)? == "active" && !kinds.contains(&"stopped".to_owned()), "{kinds:?} {}", round.story());
    ensure!(marks(&play, &s.c1)?.contains(&"asks-stop".to_owned()), "{:?}", marks(&play, &s.c1)?);
    ensure!(play.states(&s.c1, "reply")? == ["waiting"]);

    // In a sentence it is a sentence.
    letter(&play, "Je voudrais dire stop à tout cela.\nSTOP ou encore ?\n", march(2, 9, 20))?;
    ensure!(state(&play, &s.c1)? == "active");

    // Proven: at once. What waited is withdrawn; the letter itself is filed and passed on.
    let (round, kinds) = letter(&play, "Je préfère arrêter là.\n\n*STOP.*\n", march(2, 10, 0))?;
    ensure!(state(&play, &s.c1)? == "discharged" && kinds == ["stopped"], "{kinds:?} {}", round.story());
    ensure!(play.states(&s.c1, "reply")? == ["cancelled"]);
    ensure!(play.turn(&s.c1)?["state"] == "answered", "{}", play.turn(&s.c1)?);
    // The letter, and what it brought about.
    ensure!(round.to(&s.therapist).count() == 2, "{}", round.story());
    let (round, kinds) = step(&play, &s.c1, || play.pass(march(2, 17, 0)))?;
    ensure!(kinds.is_empty() && round.counts["released"] == 0, "{}", round.story());

    // What is written afterwards is passed on with the state; the client is told once, and nothing is acknowledged.
    let (round, kinds) = letter(&play, "Encore un mot.\n", march(3, 9, 0))?;
    ensure!(kinds == ["after-discharge"], "{kinds:?} {}", round.story());
    ensure!(marks(&play, &s.c1)? == ["client-state"]);
    let after = round.one(&s.therapist)?.raw.clone();
    let (round, kinds) = letter(&play, "Et un autre.\n", march(3, 9, 30))?;
    ensure!(kinds.is_empty() && round.to(&s.therapist).count() == 1, "{kinds:?} {}", round.story());
    let (_, kinds) = letter(&play, "STOP\n", march(3, 9, 40))?;
    ensure!(kinds.is_empty(), "{kinds:?}");

    // One farewell within 14 days, by a plain answer or by /discharge; not a second one.
    let (round, kinds) =
        answer(&play, &after, "Je vous remercie de l'avoir dit. Prenez soin de vous.", march(4, 9, 0))?;
    ensure!(kinds.is_empty() && play.states(&s.c1, "farewell")? == ["waiting"], "{kinds:?} {}", round.story());
    // Withdrawn before its hour, it may be written again.
    answer(&play, &after, "/cancel", march(4, 9, 5))?;
    ensure!(play.states(&s.c1, "farewell")? == ["cancelled"] && state(&play, &s.c1)? == "discharged");
    answer(&play, &after, "Je vous remercie. Prenez bien soin de vous.", march(4, 9, 10))?;
    let (round, kinds) = answer(&play, &after, "Encore une chose.", march(4, 10, 0))?;
    ensure!(kinds.is_empty() && round.one(&s.therapist)?.read.subject.contains(&s.c1), "{kinds:?} {}", round.story());
    let (_, kinds) = answer(&play, &after, &format!("/discharge\n\n{WORDS}"), march(4, 10, 10))?;
    ensure!(kinds.is_empty(), "{kinds:?}");
    ensure!(play.states(&s.c1, "farewell")? == ["cancelled", "waiting"]);
    let (round, kinds) = answer(&play, &after, "/urgent", march(4, 10, 20))?;
    ensure!(kinds == ["farewell"], "{kinds:?} {}", round.story());
    let (_, kinds) = answer(&play, &after, &format!("/discharge\n\n{WORDS}"), march(4, 10, 30))?;
    ensure!(kinds.is_empty(), "{kinds:?}");

    // Not even RESUME helps in mail that isn't proven; proven, it leads back, and what was written meanwhile is due.
    unsigned(&play, "REPRENDRE\n", march(4, 11, 0))?;
    ensure!(state(&play, &s.c1)? == "discharged" && marks(&play, &s.c1)?.contains(&"asks-resume".to_owned()));
    let (round, kinds) = letter(&play, "REPRENDRE\n", march(4, 11, 30))?;
    ensure!(state(&play, &s.c1)? == "active" && kinds == ["resumed"], "{kinds:?} {}", round.story());
    let turn = play.turn(&s.c1)?;
    ensure!(turn["state"] == "open" && turn["letters"] == 2, "{turn}");
    ensure!(turn["due"].as_str().is_some_and(|due| due.starts_with("2026-03-05T17:00")), "{turn}");
    answer(&play, &after, "Bon retour.", march(5, 9, 0))?;
    let (round, kinds) = step(&play, &s.c1, || play.pass(march(5, 17, 0)))?;
    ensure!(kinds == ["reply"], "{kinds:?} {}", round.story());
    common::ledger::sound(s)
}

#[test]
fn a_farewell_comes_too_late_after_two_weeks_and_an_end_is_archived_after_thirty_days() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une lettre.\n", march(2, 3, 0))?;
    letter(&play, "STOP\n", march(2, 10, 0))?;
    let (round, kinds) = answer(&play, &forward, "Trop tard.", march(16, 11, 0))?;
    ensure!(kinds.is_empty() && play.states(&s.c1, "farewell")?.is_empty(), "{}", round.story());
    step(&play, &s.c1, || play.pass(march(31, 9, 0)))?;
    ensure!(state(&play, &s.c1)? == "discharged");
    let (round, kinds) = step(&play, &s.c1, || play.pass(march(31, 9, 0) + TimeDelta::days(2)))?;
    ensure!(state(&play, &s.c1)? == "archived" && kinds.is_empty(), "{}", round.story());
    // Now it is for the therapist to take up again.
    let late = march(31, 9, 0) + TimeDelta::days(3);
    letter(&play, "REPRENDRE\n", late)?;
    ensure!(state(&play, &s.c1)? == "archived" && marks(&play, &s.c1)?.contains(&"asks-resume".to_owned()));
    Ok(())
}

#[test]
fn a_pause_holds_what_waits_and_leads_back() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une première lettre.\n", march(2, 3, 0))?;
    play.answer(&forward, "Une réponse qui attend.", march(2, 9, 0))?;
    let (round, kinds) = letter(&play, "PAUSE\n", march(2, 10, 0))?;
    ensure!(state(&play, &s.c1)? == "paused" && kinds == ["paused"], "{kinds:?} {}", round.story());
    ensure!(play.states(&s.c1, "reply")? == ["held"]);
    let (round, kinds) = step(&play, &s.c1, || play.pass(march(2, 17, 0)))?;
    ensure!(kinds.is_empty(), "{kinds:?} {}", round.story());

    // In the pause: told once, no acknowledgement, no turn, no release, no reply; a practical word may go.
    let (round, kinds) = letter(&play, "Une lettre pendant la pause.\n", march(3, 9, 0))?;
    ensure!(kinds == ["state-notice"] && marks(&play, &s.c1)? == ["client-state"], "{kinds:?} {}", round.story());
    let (_, kinds) = letter(&play, "Une autre.\n", march(3, 9, 10))?;
    ensure!(kinds.is_empty(), "{kinds:?}");
    for text in ["/release H1", "Une réponse.", "/urgent\n\nTout de suite.", "/checkin", "/pause"] {
        let (round, kinds) = answer(&play, &forward, text, march(3, 10, 0))?;
        ensure!(kinds.is_empty() && play.states(&s.c1, "reply")? == ["held"], "{text}: {}", round.story());
    }
    let (round, kinds) = answer(&play, &forward, "/now\n\nNotre adresse change jeudi.", march(3, 10, 10))?;
    ensure!(kinds == ["now"], "{kinds:?} {}", round.story());

    let (round, kinds) = letter(&play, "Je reviens.\n\nREPRENDRE\n", march(3, 11, 0))?;
    ensure!(state(&play, &s.c1)? == "active" && kinds == ["resumed"], "{kinds:?} {}", round.story());
    let turn = play.turn(&s.c1)?;
    ensure!(turn["state"] == "open" && turn["letters"] == 3, "{turn}");
    answer(&play, &forward, "/release H1", march(3, 12, 0))?;
    ensure!(play.states(&s.c1, "reply")? == ["waiting"]);
    let (_, kinds) = step(&play, &s.c1, || play.pass(march(3, 17, 0)))?;
    ensure!(kinds == ["reply"], "{kinds:?}");

    // The therapist's own pause is for the therapist to end; the client's word is a mark.
    let (_, kinds) = answer(&play, &forward, "/pause", march(4, 9, 0))?;
    ensure!(state(&play, &s.c1)? == "paused" && kinds == ["paused"], "{kinds:?}");
    letter(&play, "RESUME\n", march(4, 9, 10))?;
    ensure!(state(&play, &s.c1)? == "paused" && marks(&play, &s.c1)?.contains(&"asks-resume".to_owned()));
    let (_, kinds) = answer(&play, &forward, "/reprendre", march(4, 9, 20))?;
    ensure!(state(&play, &s.c1)? == "active" && kinds == ["resumed"], "{kinds:?}");

    // The operator's shell does the same, and says so.
    let told = s.practice.run_at(march(4, 10, 0), &["client", "pause", &s.c1])?.expect_ok()?;
    ensure!(told.contains("is paused") && told.contains("paused"), "{told}");
    ensure!(s.practice.run(&["client", "pause", &s.c1])?.status == Some(1));
    ensure!(s.practice.run(&["client", "suspend", &s.c1])?.status == Some(2), "its words are the therapist's");
    let json = s.practice.json(&["client", "suspend", &s.c1, "--silent"])?;
    ensure!(json["state"] == "suspended" && json["letter"].is_null(), "{json}");
    ensure!(s.practice.json(&["client", "resume", &s.c1])?["state"] == "active");
    ensure!(s.practice.json(&["client", "discharge", &s.c1, "--silent"])?["state"] == "discharged");
    let (_, kinds) = step(&play, &s.c1, || play.pass(march(4, 10, 5)))?;
    ensure!(kinds.is_empty(), "letters about states that have passed: {kinds:?}");
    Ok(())
}

#[test]
fn the_therapists_own_words_end_interrupt_and_decline() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une lettre.\n", march(2, 3, 0))?;
    let other = play.forwarded(&s.paul, "Une lettre de Paul.\n", march(2, 3, 10))?;
    let nothing = |text: &str, at| -> Result<String> {
        let (round, kinds) = answer(&play, &forward, text, at)?;
        ensure!(kinds.is_empty() && state(&play, &s.c1)? == "active", "{text}: {kinds:?} {}", round.story());
        ensure!(state(&play, &s.c2)? == "active", "{text}");
        Ok(round.one(&s.therapist)?.read.text())
    };
    // Too few words, two that contradict each other, a mistyped one, one in the middle of the text, none to give.
    nothing("/discharge\n\nC'est fini.", march(2, 4, 0))?;
    nothing(&format!("/discharge\n/suspend\n\n{WORDS}"), march(2, 4, 1))?;
    nothing(&format!("/accept\n/decline\n\n{WORDS}"), march(2, 4, 2))?;
    nothing(&format!("/discharche\n\n{WORDS}"), march(2, 5, 3))?;
    nothing(&format!("/decline\n\n{WORDS}"), march(2, 5, 4))?;
    nothing(&format!("/discharge silent\n\n{WORDS}"), march(2, 5, 5))?;
    nothing("/accept", march(2, 6, 6))?;
    nothing("/resume", march(2, 9, 7))?;
    // In the wrong thread: the mail names two people, and nothing happens to either.
    nothing(&format!("/to {}\n/discharge\n\n{WORDS}", s.c2), march(2, 9, 10))?;
    nothing(&format!("/to C-2222\n/discharge\n\n{WORDS}"), march(2, 9, 11))?;

    // /suspend: the letter leaves at the slot, or by /urgent, and the waiting reply is put aside at once.
    play.answer(&forward, "Une réponse qui attend.", march(2, 9, 30))?;
    let (round, kinds) = answer(&play, &forward, &format!("/suspend\n\n{WORDS}"), march(2, 10, 0))?;
    ensure!(state(&play, &s.c1)? == "suspended" && kinds.is_empty(), "{kinds:?} {}", round.story());
    ensure!(play.states(&s.c1, "reply")? == ["held"] && play.states(&s.c1, "suspended")? == ["waiting"]);
    let (round, kinds) = answer(&play, &forward, "/urgent", march(2, 10, 5))?;
    ensure!(kinds == ["suspended"] && play.states(&s.c1, "suspended")? == ["sent"], "{kinds:?} {}", round.story());
    let sent = round.one(&s.marie)?;
    ensure!(sent.read.decrypted && find(&sent.raw, b"souvenir").is_none(), "{}", round.story());
    letter(&play, "REPRENDRE\n", march(2, 10, 10))?;
    ensure!(state(&play, &s.c1)? == "suspended");
    let (_, kinds) = answer(&play, &forward, "/resume", march(2, 10, 20))?;
    ensure!(state(&play, &s.c1)? == "active" && kinds == ["resumed"], "{kinds:?}");

    // /end: letters go on until the discharge.
    let again = play.forwarded(&s.marie, "Alors nous finissons.\n", march(2, 11, 0))?;
    let (_, kinds) = answer(&play, &again, &format!("/end\n\n{WORDS}"), march(2, 11, 10))?;
    ensure!(state(&play, &s.c1)? == "ending" && kinds.is_empty(), "{kinds:?}");
    let (_, kinds) = answer(&play, &again, "/urgent", march(2, 11, 20))?;
    ensure!(kinds == ["ending"], "{kinds:?}");
    ensure!(play.turn(&s.c1)?["state"] == "answered", "the letter answers: {}", play.turn(&s.c1)?);
    let (round, kinds) = letter(&play, "Une dernière lettre.\n", march(2, 12, 0))?;
    ensure!(kinds == ["acknowledgement"], "{kinds:?} {}", round.story());
    let last = round.one(&s.therapist)?.raw.clone();
    let (round, kinds) = answer(&play, &last, &format!("/discharge\n\n{WORDS}"), march(2, 12, 10))?;
    ensure!(state(&play, &s.c1)? == "discharged" && kinds.is_empty(), "{kinds:?} {}", round.story());
    let (_, kinds) = answer(&play, &last, "/urgent", march(2, 12, 15))?;
    ensure!(kinds == ["farewell"], "{kinds:?}");
    // What has left can't be taken back.
    answer(&play, &last, "/cancel", march(2, 12, 16))?;
    ensure!(state(&play, &s.c1)? == "discharged" && play.states(&s.c1, "farewell")? == ["sent"]);
    // The reply that was held is withdrawn with it.
    ensure!(play.states(&s.c1, "reply")? == ["cancelled"]);
    // Only their own STOP can be undone by the client.
    letter(&play, "REPRENDRE\n", march(2, 12, 20))?;
    ensure!(state(&play, &s.c1)? == "discharged");
    // The therapist takes it up again: the frame is asked, and consent leads on.
    let (round, kinds) = answer(&play, &last, "/resume", march(2, 12, 30))?;
    ensure!(state(&play, &s.c1)? == "consent_pending" && kinds == ["frame"], "{kinds:?} {}", round.story());
    let frame = round.one(&s.marie)?.raw.clone();
    let (_, kinds) = letter(&play, "Je vais y réfléchir.\n", march(2, 12, 35))?;
    ensure!(kinds == ["state-notice"], "{kinds:?}");
    let (round, kinds) = answer(&play, &last, "Une réponse trop tôt.", march(2, 12, 40))?;
    ensure!(kinds.is_empty() && play.states(&s.c1, "reply")?.len() == 1, "{}", round.story());
    let (round, kinds) = step(&play, &s.c1, || {
        s.marie.deliver(&s.lab, &s.marie.reply_to(&frame, "J’accepte.\n")?.at(march(2, 12, 50)))?;
        play.pass(march(2, 12, 50))
    })?;
    ensure!(state(&play, &s.c1)? == "assessment" && kinds == ["consent-recorded"], "{kinds:?} {}", round.story());

    // /decline in the assessment; silent for somebody who died.
    place(&play, &s.c2, "assessment")?;
    let (_, kinds) = step(&play, &s.c2, || play.answer(&other, &format!("/decline\n\n{WORDS}"), march(2, 13, 0)))?;
    ensure!(state(&play, &s.c2)? == "declined" && kinds.is_empty(), "{kinds:?}");
    let (_, kinds) = step(&play, &s.c2, || play.answer(&other, "/urgent", march(2, 13, 5)))?;
    ensure!(kinds == ["declined"], "{kinds:?}");
    place(&play, &s.c2, "active")?;
    play.answer(&other, "Une réponse.", march(2, 13, 10))?;
    let (_, kinds) = step(&play, &s.c2, || play.answer(&other, "/discharge silent", march(2, 13, 20)))?;
    ensure!(state(&play, &s.c2)? == "discharged" && kinds.is_empty(), "{kinds:?}");
    let (round, _) = step(&play, &s.c2, || play.pass(march(2, 17, 0)))?;
    round.nothing_to(&s.paul)?;
    Ok(())
}

#[test]
fn an_order_in_the_wrong_thread_is_taken_back_before_its_letter_leaves() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let first = play.forwarded(&s.marie, "Une première lettre.\n", march(2, 3, 0))?;
    let paul = play.forwarded(&s.paul, "Une lettre de Paul.\n", march(2, 3, 10))?;
    play.answer(&first, "Une réponse qui attend.", march(2, 9, 0))?;
    let (round, kinds) = letter(&play, "Une deuxième lettre.\n", march(2, 9, 30))?;
    ensure!(kinds == ["acknowledgement"], "{kinds:?} {}", round.story());
    let second = round.one(&s.therapist)?.raw.clone();

    // The farewell that was meant for Paul, in Marie's thread: the state changes, and nothing leaves.
    let end = format!("/discharge\n\n{WORDS}");
    let (round, kinds) = answer(&play, &second, &end, march(2, 10, 0))?;
    ensure!(state(&play, &s.c1)? == "discharged" && kinds.is_empty(), "{kinds:?} {}", round.story());
    ensure!(play.states(&s.c1, "farewell")? == ["waiting"] && play.states(&s.c1, "reply")? == ["cancelled"]);
    ensure!(play.turn(&s.c1)?["state"] == "answered", "{}", play.turn(&s.c1)?);
    let told = round.one(&s.therapist)?.read.text().replace(['\u{a0}', '\u{202f}'], " ");
    for word in [s.c1.as_str(), "lundi 2 mars à 18", "/cancel", "Nous avons parlé de cette fin"] {
        ensure!(told.contains(word), "{word}: {told}");
    }
    let queue = s.practice.json(&["queue", "list"])?;
    let waits = queue.as_array().context("a list")?.iter().find(|row| row["kind"] == "farewell").context("a row")?;
    ensure!(waits["client"] == s.c1.as_str() && waits["state"] == "waiting", "{waits}");
    s.practice.set_time(march(2, 10, 5))?;
    let sheet = s.practice.json(&["digest", "--preview"])?.to_string();
    ensure!(sheet.contains("\"kind\":\"farewell\""), "{sheet}");

    // What Marie writes meanwhile is passed on with the state; she isn't told what she hasn't been told.
    let (round, kinds) = letter(&play, "Une troisième lettre.\n", march(2, 10, 30))?;
    ensure!(kinds.is_empty() && marks(&play, &s.c1)? == ["client-state"], "{kinds:?} {}", round.story());
    ensure!(round.to(&s.therapist).count() == 1, "{}", round.story());

    // Taken back: the state, the turn with all that is owed again, no second acknowledgement; the reply stays lost.
    let (round, kinds) = answer(&play, &second, "/cancel", march(2, 11, 0))?;
    ensure!(state(&play, &s.c1)? == "active" && kinds.is_empty(), "{kinds:?} {}", round.story());
    ensure!(play.states(&s.c1, "farewell")? == ["cancelled"] && play.states(&s.c1, "reply")? == ["cancelled"]);
    let turn = play.turn(&s.c1)?;
    ensure!(turn["state"] == "open" && turn["letters"] == 3, "{turn}");
    ensure!(turn["due"].as_str().is_some_and(|due| due.starts_with("2026-03-02T17:00")), "{turn}");
    let told = round.one(&s.therapist)?.read.text();
    ensure!(told.contains("la lettre de clôture") && told.contains("suivi en cours"), "{told}");
    let (_, kinds) = answer(&play, &second, "/cancel", march(2, 11, 5))?;
    ensure!(kinds.is_empty() && state(&play, &s.c1)? == "active", "{kinds:?}");
    play.answer(&second, "Une autre réponse.", march(2, 11, 10))?;

    // In the right thread, and not taken back: it leaves at the slot, beside the other's reply.
    play.answer(&paul, &end, march(2, 11, 20))?;
    ensure!(state(&play, &s.c2)? == "discharged" && play.states(&s.c2, "farewell")? == ["waiting"]);
    let before = left(&play, &s.c2)?;
    let (round, kinds) = step(&play, &s.c1, || play.pass(march(2, 17, 0)))?;
    ensure!(kinds == ["reply"] && since(&play, &s.c2, &before)? == ["farewell"], "{kinds:?} {}", round.story());
    // From now on he is told what becomes of his letters, and the order can't be taken back.
    play.answer(&paul, "/cancel", march(2, 17, 10))?;
    ensure!(state(&play, &s.c2)? == "discharged" && play.states(&s.c2, "farewell")? == ["sent"]);
    let (round, kinds) = step(&play, &s.c2, || play.letter(&s.paul, "Encore un mot.\n", march(2, 18, 0)))?;
    ensure!(kinds == ["after-discharge"], "{kinds:?} {}", round.story());

    // /end, given by mistake and taken back: the turn that its words answered is open again.
    let third = play.forwarded(&s.marie, "Une quatrième lettre.\n", march(3, 3, 0))?;
    let due = play.turn(&s.c1)?["due"].clone();
    answer(&play, &third, &format!("/end\n\n{WORDS}"), march(3, 9, 0))?;
    ensure!(state(&play, &s.c1)? == "ending" && play.turn(&s.c1)?["state"] == "answered");
    answer(&play, &third, "/cancel", march(3, 9, 10))?;
    let turn = play.turn(&s.c1)?;
    ensure!(state(&play, &s.c1)? == "active" && turn["state"] == "open" && turn["due"] == due, "{turn}");
    // /suspend likewise; taken up again before its letter left, she hears of neither.
    answer(&play, &third, &format!("/suspend\n\n{WORDS}"), march(3, 9, 20))?;
    answer(&play, &third, "/cancel", march(3, 9, 30))?;
    let turn = play.turn(&s.c1)?;
    ensure!(state(&play, &s.c1)? == "active" && turn["state"] == "open" && turn["due"] == due, "{turn}");
    answer(&play, &third, &format!("/suspend\n\n{WORDS}"), march(3, 9, 40))?;
    let (_, kinds) = answer(&play, &third, "/resume", march(3, 9, 50))?;
    ensure!(kinds.is_empty() && state(&play, &s.c1)? == "active", "{kinds:?}");
    // Her own word ends what waited, too.
    answer(&play, &third, &format!("/end\n\n{WORDS}"), march(3, 10, 0))?;
    let (round, kinds) = letter(&play, "STOP\n", march(3, 10, 10))?;
    ensure!(kinds == ["stopped"] && play.states(&s.c1, "ending")? == ["cancelled"; 2], "{}", round.story());
    let (_, kinds) = step(&play, &s.c1, || play.pass(march(3, 17, 0)))?;
    ensure!(kinds.is_empty(), "{kinds:?}");
    common::ledger::sound(s)
}

#[test]
fn nothing_leaves_to_who_is_muted_and_a_discreet_client_sees_112_alone() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une lettre.\n", march(2, 3, 0))?;
    // Discreet: 112 alone; and back.
    answer(&play, &forward, "/discreet", march(2, 8, 0))?;
    answer(&play, &forward, "/close silent", march(2, 8, 1))?;
    answer(&play, &forward, "/urgent\n\nUn mot.", march(2, 8, 2))?;
    let round = play.letter(&s.marie, "Une autre lettre.\n", march(2, 9, 0))?;
    let told = round.one(&s.marie)?.read.text();
    ensure!(told.contains("112") && !told.contains("3114") && !told.contains("114 "), "{told}");
    let forward = round.one(&s.therapist)?.raw.clone();
    answer(&play, &forward, "/safety quiet", march(2, 9, 10))?;
    play.answer(&forward, "Une réponse qui attend.", march(2, 9, 20))?;

    // Muted: not one mail, whatever happens; the therapist goes on being told.
    let (_, kinds) = answer(&play, &forward, "/mute", march(2, 10, 0))?;
    ensure!(kinds.is_empty() && play.states(&s.c1, "reply")? == ["cancelled"], "{kinds:?}");
    let before = play.sink().mails().iter().filter(|mail| mail.to.contains(&s.marie.address)).count();
    for (n, text) in ["Une réponse.", "/urgent\n\nVite.", "/now\n\nUn mot.", "/checkin", "/video 2026-03-05 15:00"]
        .iter()
        .chain([&format!("/discharge\n\n{WORDS}").as_str()])
        .enumerate()
    {
        answer(&play, &forward, text, march(2, 11, n as u32))?;
    }
    for (n, text) in
        ["Une lettre.\n", "GUIDE\n", "PAUSE\n", "Une autre.\n", "REPRENDRE\n", "STOP\n", "Fin.\n"].iter().enumerate()
    {
        let (round, _) = letter(&play, text, march(2, 12, n as u32))?;
        ensure!(round.to(&s.therapist).count() >= 1, "{text}: {}", round.story());
    }
    unsigned(&play, "Sans signature.\n", march(2, 13, 0))?;
    for at in [march(2, 17, 0), march(2, 19, 5), march(3, 17, 0), march(12, 17, 0)] {
        play.pass(at)?;
    }
    let after = play.sink().mails().iter().filter(|mail| mail.to.contains(&s.marie.address)).count();
    ensure!(before == after, "{} mails to somebody who is muted", after - before);
    ensure!(state(&play, &s.c1)? == "discharged");
    let (_, kinds) = answer(&play, &forward, "/mute off", march(12, 18, 0))?;
    ensure!(kinds.is_empty(), "what was kept back isn't sent later: {kinds:?}");
    Ok(())
}

#[test]
fn pages_check_ins_and_meetings_leave_when_they_may() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    // A page that is asked for opens no turn and is no letter that waits.
    let (round, kinds) = letter(&play, "GUIDE\n\ninternet\n", march(1, 20, 0))?;
    ensure!(kinds == ["guide", "internet-policy"], "{kinds:?} {}", round.story());
    ensure!(play.turn(&s.c1)?["state"] == "none", "{}", play.turn(&s.c1)?);
    let (_, kinds) = unsigned(&play, "Bonjour,\nGUIDE\n", march(1, 20, 10))?;
    ensure!(!kinds.contains(&"guide".to_owned()), "once a day: {kinds:?}");

    let forward = play.forwarded(&s.marie, "Une lettre.\n", march(1, 22, 0))?;
    let (round, kinds) = answer(&play, &forward, "/checkin", march(2, 8, 0))?;
    ensure!(kinds.is_empty(), "a reply is owed: {}", round.story());
    play.answer(&forward, "Une réponse.", march(2, 9, 0))?;
    let (_, kinds) = answer(&play, &forward, "/checkin", march(2, 9, 10))?;
    ensure!(kinds.is_empty(), "a reply waits: {kinds:?}");

    // A meeting: in the therapist's own time, with a neutral entry, and not the day's reply.
    let (_, kinds) = answer(&play, &forward, "/video 2026-03-01 15:00", march(2, 10, 0))?;
    ensure!(kinds.is_empty(), "in the past: {kinds:?}");
    let text = "/visio 2026-03-04 15:00 https://meet.example/x\n\nJe vous propose de nous voir.";
    let (round, kinds) = answer(&play, &forward, text, march(2, 10, 10))?;
    ensure!(kinds == ["video"], "{kinds:?} {}", round.story());
    let sent = round.one(&s.marie)?;
    ensure!(sent.read.decrypted, "{}", round.story());
    let (name, kind, entry) = sent.read.attachments.first().context("an entry")?;
    let entry = String::from_utf8(entry.clone())?;
    ensure!(name == "rendez-vous.ics" && kind == "text/calendar", "{name} {kind}");
    ensure!(entry.contains("DTSTART:20260304T140000Z") && entry.contains("SUMMARY:Rendez-vous"), "{entry}");
    for word in ["cabinet", "Exemple", "Marie", "ORGANIZER", "ATTENDEE", "meet.example", "C-"] {
        ensure!(!entry.contains(word), "{word} in {entry}");
    }
    let (_, kinds) = step(&play, &s.c1, || play.pass(march(2, 17, 0)))?;
    ensure!(kinds == ["reply"], "{kinds:?}");

    // Seven silent days after the delivered reply the digest proposes; nothing is sent by itself.
    let sheet = |at| -> Result<String> {
        s.practice.set_time(at)?;
        Ok(s.practice.json(&["digest", "--preview"])?.to_string())
    };
    ensure!(sheet(march(9, 12, 0))?.matches("\"propose_checkin\":true").count() == 0);
    ensure!(sheet(march(9, 18, 0))?.matches("\"propose_checkin\":true").count() == 1);
    let (_, kinds) = step(&play, &s.c1, || play.pass(march(9, 18, 0)))?;
    ensure!(kinds.is_empty(), "{kinds:?}");
    let (_, kinds) = answer(&play, &forward, "/checkin", march(9, 18, 10))?;
    ensure!(kinds == ["check-in"], "{kinds:?}");
    ensure!(sheet(march(10, 12, 0))?.matches("\"propose_checkin\":true").count() == 0);

    // Three answered turns of the assessment: the digest asks, and nothing is blocked.
    place(&play, &s.c2, "assessment")?;
    for n in 0..3 {
        let day = 10 + n;
        let forward = play.forwarded(&s.paul, "Une lettre.\n", march(day, 3, 0))?;
        ensure!(!sheet(march(day, 8, 0))?.contains("\"ask_assessment\":true"));
        play.answer(&forward, "Une réponse.", march(day, 9, 0))?;
        play.pass(march(day, 17, 0))?;
    }
    ensure!(sheet(march(12, 18, 0))?.contains("\"ask_assessment\":true"));
    let forward = play.forwarded(&s.paul, "Une quatrième.\n", march(13, 3, 0))?;
    play.answer(&forward, "/accept\n\nUne réponse avec.", march(13, 9, 0))?;
    ensure!(state(&play, &s.c2)? == "active" && !sheet(march(13, 12, 0))?.contains("\"ask_assessment\":true"));
    let (_, kinds) = step(&play, &s.c2, || play.pass(march(13, 17, 0)))?;
    ensure!(kinds.contains(&"reply".to_owned()), "{kinds:?}");
    Ok(())
}

#[test]
fn another_therapists_code_is_answered_like_an_unknown_one() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let second = Person::persona(&s.lab, "second")?;
    second.meet(&s.office)?;
    second.certificate_file(&s.practice.dir.join("second.pgp"))?;
    let more = format!(
        "\n[[therapist]]\nid = \"second\"\nname = \"Dr Second\"\ntitle = \"Psychologue\"\nregister = \"RPPS 2\"\n\
         country = \"FR\"\naddress = \"{}\"\ncertificate = \"second.pgp\"\nforward = \"each\"\n",
        second.address
    );
    let whole = std::fs::read_to_string(&s.practice.config)? + &more;
    std::fs::write(&s.practice.config, whole)?;

    let own = play.forwarded(&s.marie, "Une lettre.\n", march(2, 3, 0))?;
    // The other therapist's words about Marie, and about nobody at all, are answered alike.
    let told = |code: &str, command: &str, at| -> Result<String> {
        let text = format!("/to {code}\n{command}");
        second.deliver(&s.lab, &Letter::new(OFFICE, "un mot", &text).at(at))?;
        let round = play.pass(at)?;
        round.nothing_to(&s.marie)?;
        let post = round.to(&second).find(|post| !post.is_routine()).context("a refusal")?;
        Ok(second.read(&post.raw)?.text().replace(code, "C-XXXX"))
    };
    let end = format!("/discharge\n\n{WORDS}");
    // The morning's digests.
    play.pass(march(2, 6, 30))?;
    for (n, command) in [end.as_str(), "/mute", "/pause"].iter().enumerate() {
        let hour = 7 + n as u32;
        ensure!(told(&s.c1, command, march(2, hour, 0))? == told("C-2222", command, march(2, hour, 10))?, "{command}");
    }
    // Nor does a forward of the other's make it theirs.
    second
        .deliver(&s.lab, &Letter { to: OFFICE.into(), ..second_answer(&second, &own, &end)? }.at(march(2, 10, 30)))?;
    play.pass(march(2, 10, 30))?.nothing_to(&s.marie)?;
    ensure!(state(&play, &s.c1)? == "active");
    answer(&play, &own, &end, march(2, 11, 0))?;
    ensure!(state(&play, &s.c1)? == "discharged");
    let (_, kinds) = step(&play, &s.c1, || play.pass(march(2, 17, 0)))?;
    ensure!(kinds == ["farewell"], "{kinds:?}");
    Ok(())
}

/// An answer with the identifiers of a mail that its writer can't open.
fn second_answer(writer: &Person, forward: &[u8], text: &str) -> Result<Letter> {
    let header = common::mail::headers(forward);
    let id = header.iter().find(|(name, _)| name.eq_ignore_ascii_case("message-id")).context("an id")?.1.clone();
    ensure!(!writer.address.is_empty());
    Ok(Letter { in_reply_to: Some(id.clone()), references: vec![id], ..Letter::new(OFFICE, "Re: …", text) })
}

/// A signed and sealed letter of Marie's whose signature names Paul as its recipient, sealed by somebody else to the
/// practice.
fn meant_for_paul(play: &Play, text: &str, at: DateTime<Utc>) -> Result<Vec<u8>> {
    use openpgp::parse::Parse as _;
    use openpgp::policy::StandardPolicy;
    use openpgp::serialize::stream::{Armorer, Encryptor, LiteralWriter, Message, Recipient, Signer};
    use sequoia_openpgp as openpgp;
    use std::io::Write as _;

    let s = &play.scene;
    let marie = openpgp::Cert::from_bytes(&s.marie.secret_key()?)?;
    let paul = openpgp::Cert::from_bytes(&s.paul.certificate()?)?;
    let office = openpgp::Cert::from_bytes(&s.office.certificate()?)?;
    let policy = StandardPolicy::new();
    let when = std::time::SystemTime::from(at);
    let keys = office.keys().with_policy(&policy, when).supported().for_transport_encryption();
    let recipients: Vec<Recipient> = keys.map(Into::into).collect();
    let signer = marie.primary_key().key().clone().parts_into_secret()?.into_keypair()?;
    let mut sealed = Vec::new();
    let message = Armorer::new(Message::new(&mut sealed)).build()?;
    let message = Encryptor::for_recipients(message, recipients).build()?;
    let message = Signer::new(message, signer)?.add_intended_recipient(&paul).creation_time(when).build()?;
    let mut message = LiteralWriter::new(message).build()?;
    message.write_all(format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n").as_bytes())?;
    message.finalize()?;
    let sealed = String::from_utf8(sealed)?.replace("\r\n", "\n").replace('\n', "\r\n");
    Ok(format!(
        "From: Marie <{}>\r\nTo: {OFFICE}\r\nSubject: ...\r\nDate: {}\r\nMessage-ID: <moved@client.example>\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; \
         boundary=\"b\"\r\n\r\n--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n--b\r\n\
         Content-Type: application/octet-stream\r\n\r\n{sealed}\r\n--b--\r\n",
        s.marie.address,
        at.to_rfc2822(),
    )
    .into_bytes())
}

/// Who carries the mail can keep a signed word back, or bring one that was written to somebody else.
#[test]
fn a_word_that_was_kept_back_or_meant_for_somebody_else_is_not_obeyed() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    play.forwarded(&s.marie, "Une première lettre.\n", march(2, 3, 0))?;
    let kept = |text: &str, at| s.marie.write(&Letter::new(OFFICE, "Une lettre", text).at(at));
    let brought = |raw: &[u8], at| {
        step(&play, &s.c1, || {
            s.lab.deliver(&s.marie.address, OFFICE, raw)?;
            play.pass(at)
        })
    };
    let long_ago = kept("REPRENDRE\n", march(2, 9, 0))?;
    let just_before = kept("REPRENDRE\n", march(2, 9, 50))?;
    let old_stop = kept("Je veux arrêter.\n\nSTOP\n", march(2, 9, 55))?;
    letter(&play, "STOP\n", march(2, 10, 0))?;
    ensure!(state(&play, &s.c1)? == "discharged");
    let (round, _) = brought(&just_before, march(2, 10, 30))?;
    ensure!(state(&play, &s.c1)? == "discharged", "from before the STOP: {}", round.story());
    ensure!(marks(&play, &s.c1)?.contains(&"asks-resume".to_owned()), "{:?}", marks(&play, &s.c1)?);
    brought(&long_ago, march(4, 9, 0))?;
    ensure!(state(&play, &s.c1)? == "discharged");
    let (round, _) = letter(&play, "REPRENDRE\n", march(4, 10, 0))?;
    ensure!(state(&play, &s.c1)? == "active", "{}", round.story());

    // A STOP from before she came back says what she wanted then.
    let (round, kinds) = brought(&old_stop, march(6, 9, 0))?;
    ensure!(state(&play, &s.c1)? == "active" && !kinds.contains(&"stopped".to_owned()), "{}", round.story());
    ensure!(marks(&play, &s.c1)?.contains(&"asks-stop".to_owned()), "{:?}", marks(&play, &s.c1)?);

    let (round, _) = brought(&meant_for_paul(&play, "STOP", march(6, 10, 0))?, march(6, 10, 5))?;
    ensure!(state(&play, &s.c1)? == "active", "{}", round.story());
    let marks = marks(&play, &s.c1)?;
    ensure!(["not-for-us", "asks-stop"].iter().all(|mark| marks.iter().any(|m| m == mark)), "{marks:?}");

    // Nor does anybody else ask for pages in her name.
    let (round, kinds) = unsigned(&play, "GUIDE\n\nINTERNET\n", march(6, 11, 0))?;
    ensure!(!kinds.iter().any(|kind| kind == "guide" || kind == "internet-policy"), "{kinds:?} {}", round.story());

    // One from after it counts, however late it comes: it can be undone, and a promise to who has left can't be kept.
    let (round, kinds) = brought(&kept("STOP\n", march(4, 11, 0))?, march(6, 12, 0))?;
    ensure!(state(&play, &s.c1)? == "discharged" && kinds == ["stopped"], "{kinds:?} {}", round.story());
    Ok(())
}
