//! Answers of absence: filed as what they are, scanned, never a letter that opens a turn, never answered.

use anyhow::{Result, ensure};

use crate::common::play::{Play, says};
use crate::common::scene::{OFFICE, march};
use crate::common::{Form, Letter};
use crate::stage::explained;

fn absence(text: &str, name: &str, value: &str) -> Letter {
    let mut letter = Letter::new(OFFICE, "Réponse automatique : absente", text).at(march(2, 9, 0));
    letter.extra_headers.push((name.to_owned(), value.to_owned()));
    letter
}

#[test]
fn an_answer_of_absence_opens_no_turn_and_is_not_acknowledged() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    s.practice.set_time(march(2, 9, 1))?;
    let machines = [
        ("Auto-Submitted", "auto-replied"),
        ("AUTO-SUBMITTED", "Auto-Generated (vacation)"),
        ("auto-submitted", "AUTO-REPLIED; owner-email=\"x@y.example\""),
        ("X-Autoreply", "yes"),
        ("Precedence", "Auto_Reply"),
        ("X-Autorespond", "absence"),
        ("X-FC-MachineGenerated", "true"),
        ("X-POST-MessageClass", "9; Autoresponder"),
    ];
    for (n, (name, value)) in machines.into_iter().enumerate() {
        let form = if n % 2 == 0 { Form::default() } else { Form::Plain };
        let letter = absence(&format!("Je suis absente, numéro {n}.\n"), name, value).form(form);
        let raw = s.marie.write(&letter)?;
        let said = explained(&play, &raw)?;
        ensure!(said["action"] == "file-automatic", "{name}: {value}: {said}");
        s.lab.deliver(&s.marie.address, OFFICE, &raw)?;
    }
    let round = play.pass(march(2, 9, 5))?;
    round.nothing_to(&s.marie)?;
    let thread = s.thread(&s.c1)?;
    ensure!(thread["turn"]["state"] == "none", "{thread:#}");
    let kinds: Vec<&str> = thread["messages"].as_array().unwrap().iter().filter_map(|m| m["kind"].as_str()).collect();
    ensure!(kinds == vec!["automatic"; machines.len()], "{kinds:?}");
    headers_decide_and_never_words(&play)
}

fn headers_decide_and_never_words(play: &Play) -> Result<()> {
    let s = &play.scene;
    for (n, (name, value)) in [
        ("Auto-Submitted", "no"),
        ("AUTO-SUBMITTED", "No"),
        ("Auto-Submitted", "no (it is me)"),
        ("X-Autoreply", "no"),
        ("X-Auto-Response-Suppress", "All"),
        ("Precedence", "normal"),
    ]
    .into_iter()
    .enumerate()
    {
        let raw = s.marie.write(&absence(&format!("Out of office, numéro {n} : je vous écris.\n"), name, value))?;
        let said = explained(play, &raw)?;
        ensure!(said["action"] == "file" && said["verdict"] == "verified", "{name}: {value}: {said}");
    }
    let raw = s.marie.write(&absence("Je suis en congé, et j'écris.\n", "Auto-Submitted", "no"))?;
    s.lab.deliver(&s.marie.address, OFFICE, &raw)?;
    let round = play.pass(march(2, 9, 10))?;
    ensure!(round.to(&s.marie).count() == 1 && play.turn(&s.c1)?["state"] == "open", "{}", round.story());
    Ok(())
}

/// A machine may pass on a person's words.
#[test]
fn an_answer_of_absence_is_scanned_for_words_of_danger() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    for policy in ["flag", "hold"] {
        s.practice.set("intake.unsigned", &format!("\"{policy}\""))?;
        let text = format!("Je vais me tuer ce soir. ({policy})\n");
        let letter = absence(&text, "Auto-Submitted", "auto-replied").form(Form::Plain);
        s.marie.deliver(&s.lab, &letter)?;
        let round = play.pass(march(2, if policy == "flag" { 9 } else { 14 }, 5))?;
        round.nothing_to(&s.marie)?;
        let alert = round.to(&s.therapist).map(|post| post.read.text()).collect::<Vec<_>>().join("\n");
        says(&alert, &["ALERTE A"])?;
        ensure!(play.turn(&s.c1)?["state"] == "none");
    }
    Ok(())
}
