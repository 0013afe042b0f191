//! The submission server's side: each stage, and what can happen there.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use chrono::TimeDelta;

use super::common::ledger::{by_message_id, queue, replies_by_day, sound, sql, states};
use super::common::scene::{Scene, march};
use super::common::{Answer, Fault, FaultProxy};
use super::{DOCTOR, MARIE, all, filed, letter, minute, scene, sink, to};

const STAGES: [&str; 7] = ["greeting", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "dot"];

fn faults() -> [Fault; 9] {
    [
        Fault::Say("421 4.3.2 going down"),
        Fault::Say("451 4.3.0 later"),
        Fault::Say("452 4.3.1 no room"),
        Fault::Say("552 5.3.4 too big"),
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::CutWithin(2),
        Fault::Truncate(2),
        Fault::Trickle,
    ]
}

fn behind() -> Result<(Scene, FaultProxy)> {
    let scene = scene()?;
    let proxy = FaultProxy::smtp(scene.lab.smtp_port)?;
    scene.practice.set("smtp.port", &proxy.port.to_string())?;
    Ok((scene, proxy))
}

/// Forwards that are in this state.
fn forwards(scene: &Scene, state: &str) -> Result<usize> {
    let count = format!("SELECT COUNT(*) FROM outbox WHERE kind = 'forward' AND state = '{state}'");
    Ok(sql(&scene.practice, &count)?.parse()?)
}

/// A letter whose forward meets something; afterwards all is well: it left once, or was refused for good and told.
fn cell(scene: &Scene, proxy: &FaultProxy, n: usize, stage: &str, fault: Fault) -> Result<()> {
    let (before, failed) = (proxy.hits(), forwards(scene, "failed")?);
    letter(scene, n, minute(n, 0)?)?;
    proxy.once(stage, fault.clone());
    let out = scene.practice.run_at(minute(n, 1)?, &["run", "--once", "--json"])?;
    ensure!(proxy.hits() > before, "{stage} never came: this tests nothing ({out:?})");
    ensure!(out.status.is_some_and(|status| status < 2) && !out.stderr.contains("panicked"), "{out:?}");
    ensure!(!out.stderr.contains(MARIE) && !out.stderr.contains(DOCTOR), "{out:?}");
    ensure!(filed(scene)? == n, "filing waits for nobody's submission server");
    proxy.heal();
    for minutes in [5, 9] {
        scene.practice.run_at(minute(n, minutes)?, &["run", "--once"])?;
    }
    let refused = fault == Fault::Say("552 5.3.4 too big") && ["MAIL", "RCPT", "DATA", "dot"].contains(&stage);
    ensure!(forwards(scene, "failed")? == failed + usize::from(refused), "failed: {:?}", queue(&scene.practice)?);
    ensure!(forwards(scene, "sent")? + forwards(scene, "failed")? == n, "{:?}", queue(&scene.practice)?);
    Ok(())
}

#[test]
fn whatever_breaks_at_a_stage_of_smtp_delays_a_mail_and_never_changes_it() -> Result<()> {
    let began = Instant::now();
    let (scene, proxy) = behind()?;
    // The first acknowledgement leaves in peace.
    letter(&scene, 1, minute(1, 0)?)?;
    scene.practice.once(minute(1, 1)?)?;
    let mut n = 1;
    for (row, stage) in STAGES.into_iter().enumerate() {
        for (column, fault) in faults().into_iter().enumerate() {
            if all() || (row + column) % 4 == 0 || stage == "dot" {
                n += 1;
                cell(&scene, &proxy, n, stage, fault.clone()).with_context(|| format!("{stage}: {fault:?}"))?;
            }
        }
    }
    let books = by_message_id(&sink(&scene)?.mails())?;
    let left = books.values().filter(|same| same[0].to == [DOCTOR]).count();
    let sent = "SELECT COUNT(*) FROM outbox WHERE state = 'sent' AND therapist IS NOT NULL";
    ensure!(left >= forwards(&scene, "sent")? && left == sql(&scene.practice, sent)?.parse::<usize>()?, "{left} mails");
    ensure!(to(&scene, MARIE)?.len() == 1, "one acknowledgement for the one turn");
    println!("{} cells in {} s", n - 1, began.elapsed().as_secs());
    sound(&scene)
}

/// What the reply of one day met, and what became of it.
fn day(scene: &Scene, proxy: &FaultProxy, day: u32, stage: &str, fault: Fault) -> Result<String> {
    let n = day as usize;
    letter(scene, n, march(day, 3, 0))?;
    scene.practice.once(march(day, 3, 5))?;
    let (raw, _) = scene.forward(&scene.c1)?;
    scene.answer(&raw, &format!("Je vous réponds du phare {day}."), march(day, 9, 0))?;
    scene.practice.once(march(day, 9, 1))?;
    let before = proxy.hits();
    proxy.once(stage, fault);
    scene.practice.run_at(march(day, 17, 0), &["run", "--once"])?;
    ensure!(proxy.hits() > before, "{stage} never came");
    proxy.heal();
    for minutes in [15, 45] {
        scene.practice.run_at(march(day, 17, 0) + TimeDelta::minutes(minutes), &["run", "--once"])?;
    }
    states(&scene.thread(&scene.c1)?, "reply").pop().context("a reply")
}

#[test]
fn a_reply_whose_submission_breaks_leaves_once_on_its_day_or_is_told() -> Result<()> {
    let (scene, proxy) = behind()?;
    let cells = [
        ("dot", Fault::CutAfter, "sent"),
        ("dot", Fault::CutBefore, "sent"),
        ("dot", Fault::Say("451 4.3.0 later"), "sent"),
        ("dot", Fault::Say("552 5.3.4 too big"), "failed"),
        ("RCPT", Fault::Say("421 4.3.2 going down"), "sent"),
        ("RCPT", Fault::Say("552 5.2.2 mailbox full"), "failed"),
        ("MAIL", Fault::Say("452 4.3.1 no room"), "sent"),
        ("DATA", Fault::CutAfter, "sent"),
    ];
    let mut expected = 0;
    for (n, (stage, fault, outcome)) in (2..).zip(cells) {
        let (what, told) = (format!("{stage}: {fault:?}"), to(&scene, DOCTOR)?.len());
        let came = day(&scene, &proxy, n, stage, fault).with_context(|| what.clone())?;
        ensure!(came == outcome, "{what}: {came} instead of {outcome}");
        expected += usize::from(outcome == "sent");
        // Forward, receipt, digest, and where it failed a letter that says so.
        let more = to(&scene, DOCTOR)?.len() - told;
        ensure!(more >= 3 + usize::from(outcome == "failed"), "{what}: {more} mails to the therapist");
    }
    let mails = sink(&scene)?.mails();
    let days = replies_by_day(&scene, &scene.marie, &mails, "Je vous réponds du phare")?;
    ensure!(days.len() == expected, "{days:?}");
    sound(&scene)
}

/// The server took the reply and wasn't heard; asked again, it refuses. The person may have the letter: the day is used,
/// and another answer of that day waits for the next.
#[test]
fn a_reply_that_may_have_arrived_uses_its_day_also_when_the_repeat_is_refused() -> Result<()> {
    let (scene, proxy) = behind()?;
    letter(&scene, 2, march(2, 3, 0))?;
    scene.practice.once(march(2, 3, 5))?;
    let (raw, _) = scene.forward(&scene.c1)?;
    scene.answer(&raw, "Je vous réponds du phare 1.", march(2, 9, 0))?;
    scene.practice.once(march(2, 9, 1))?;
    proxy.once("dot", Fault::CutAfter);
    scene.practice.run_at(march(2, 17, 0), &["run", "--once"])?;
    proxy.heal();
    proxy.once("dot", Fault::Say("554 5.7.1 duplicate"));
    scene.practice.run_at(march(2, 17, 15), &["run", "--once"])?;
    ensure!(proxy.hits() == 2, "{} faults", proxy.hits());
    scene.answer(&raw, "Je vous réponds du phare 2.", march(2, 17, 20))?;
    for hour in [18, 20, 22] {
        scene.practice.run_at(march(2, hour, 0), &["run", "--once"])?;
    }
    let replies = |mails: &[_]| replies_by_day(&scene, &scene.marie, mails, "Je vous réponds du phare");
    let on_the_day = replies(&sink(&scene)?.mails())?;
    ensure!(on_the_day.len() == 1, "two replies on one day: {:#}", scene.thread(&scene.c1)?);
    scene.practice.run_at(march(3, 17, 1), &["run", "--once"])?;
    let both = replies(&sink(&scene)?.mails())?;
    ensure!(both.len() == 2, "the second never leaves: {:#}", scene.thread(&scene.c1)?);
    Ok(())
}

/// A reply meets `trouble` at its slot on the 2nd, is still about on the 3rd, and another answer is due then.
fn two_answers_and_one_day(trouble: Answer) -> Result<()> {
    let scene = scene()?;
    let replies = || -> Result<usize> {
        let mut count = 0;
        for mail in to(&scene, MARIE)? {
            count += usize::from(scene.marie.read(&mail.data)?.text().contains("Je vous réponds du phare"));
        }
        Ok(count)
    };
    for day in [2, 3] {
        letter(&scene, day as usize, march(day, 3, 0))?;
        scene.practice.once(march(day, 3, 5))?;
        let (raw, _) = scene.forward(&scene.c1)?;
        scene.answer(&raw, &format!("Je vous réponds du phare {day}."), march(day, 9, 0))?;
        scene.practice.once(march(day, 9, 1))?;
        if day == 2 {
            let taken = trouble == Answer::CutAfterDot;
            let trouble = trouble.clone();
            sink(&scene)?.rule(move |_, to| match to {
                [marie] if marie == MARIE => trouble.clone(),
                _ => Answer::Accept,
            });
            scene.practice.run_at(march(2, 17, 0), &["run", "--once"])?;
            ensure!(replies()? == usize::from(taken), "{:#}", scene.thread(&scene.c1)?);
            if taken {
                sink(&scene)?.rule(|_, _| Answer::Accept);
            }
        }
    }
    sink(&scene)?.rule(|_, _| Answer::Accept);
    for hour in [12, 17, 18, 21] {
        scene.practice.run_at(march(3, hour, 0), &["run", "--once"])?;
    }
    ensure!(replies()? == 1, "two letters may have come on the 3rd: {:#}", scene.thread(&scene.c1)?);
    scene.practice.run_at(march(4, 17, 1), &["run", "--once"])?;
    ensure!(replies()? == 2, "the second never leaves: {:#}", scene.thread(&scene.c1)?);
    sound(&scene)
}

#[test]
fn a_reply_that_is_put_off_over_midnight_uses_the_day_on_which_it_leaves() -> Result<()> {
    two_answers_and_one_day(Answer::AfterDot("451 4.3.0 later".into()))
}

#[test]
fn a_reply_that_is_repeated_on_another_day_uses_that_day_too() -> Result<()> {
    two_answers_and_one_day(Answer::CutAfterDot)
}
