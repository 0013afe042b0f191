//! Clocks that jump, by hours and by days, both ways: said, survived, and no second letter on a day.

use anyhow::{Result, ensure};
use chrono::TimeDelta;

use super::common::Answer;
use super::common::lab::{PATIENCE, wait};
use super::common::ledger::{lying, queue, sound, states};
use super::common::scene::{Scene, march};
use super::{Alarms, MARIE, OPERATOR, filed, letter, scene, sink, status_is_silent_about, status_says, to};

/// A letter at this hour, passed on, and an answer to it that waits for its slot.
fn answered(scene: &Scene, n: usize, day: u32, hour: u32) -> Result<()> {
    letter(scene, n, march(day, hour, 0))?;
    scene.practice.once(march(day, hour, 5))?;
    let (raw, _) = scene.forward(&scene.c1)?;
    scene.answer(&raw, &format!("Je vous réponds du phare {n}."), march(day, hour, 10))?;
    scene.practice.run_at(march(day, hour, 15), &["run", "--once"])?;
    Ok(())
}

/// Replies that have reached the listener.
fn replies(scene: &Scene) -> Result<usize> {
    let mut count = 0;
    for mail in to(scene, MARIE)? {
        count += usize::from(scene.marie.read(&mail.data)?.text().contains("Je vous réponds du phare"));
    }
    Ok(count)
}

#[test]
fn a_clock_that_ran_days_ahead_and_came_back_is_named_and_sends_no_second_letter() -> Result<()> {
    let scene = scene()?;
    let alarms = Alarms::of(&scene)?;
    answered(&scene, 1, 2, 7)?;
    // Two days and four hours ahead: by that clock the slot is over, and the reply leaves.
    scene.practice.run_at(march(4, 12, 0), &["run", "--once"])?;
    ensure!(replies(&scene)? == 1, "a slot that has passed");
    // A mail that the server put off by the wrong clock.
    sink(&scene)?.rule(|_, to| match to {
        [marie] if marie == MARIE => Answer::AfterDot("451 4.3.0 later".into()),
        _ => Answer::Accept,
    });
    letter(&scene, 2, march(4, 12, 1))?;
    scene.practice.run_at(march(4, 12, 2), &["run", "--once"])?;
    sink(&scene)?.rule(|_, _| Answer::Accept);
    // Back on the 2nd.
    let told = alarms.lines().len();
    scene.practice.run_at(march(2, 9, 0), &["run", "--once"])?;
    ensure!(alarms.lines()[told..] == ["clock"], "{:?}", alarms.lines());
    status_says(&scene, &["clock was set back", "\"well\": false"])?;
    let acknowledged = to(&scene, MARIE)?.len();
    ensure!(acknowledged == 3, "what waited for a time that never came: {:?}", queue(&scene.practice)?);
    // A second answer on the 2nd waits for the 3rd: one letter left on this day already.
    letter(&scene, 3, march(2, 9, 1))?;
    scene.practice.once(march(2, 9, 5))?;
    let (raw, _) = scene.forward(&scene.c1)?;
    scene.answer(&raw, "Je vous réponds du phare 3.", march(2, 9, 10))?;
    for (hour, minute) in [(9, 15), (17, 0), (17, 5), (21, 0)] {
        scene.practice.run_at(march(2, hour, minute), &["run", "--once"])?;
    }
    ensure!(replies(&scene)? == 1, "a second reply on the day: {:#}", scene.thread(&scene.c1)?);
    scene.practice.run_at(march(3, 17, 1), &["run", "--once"])?;
    ensure!(replies(&scene)? == 2, "it never leaves: {:#}", scene.thread(&scene.c1)?);
    // Digests go on by the right clock: the wrong one's marks don't silence them.
    let digests = |scene: &Scene| -> Result<usize> {
        Ok(queue(&scene.practice)?.get(&("digest".into(), "sent".into())).copied().unwrap_or(0))
    };
    let before = digests(&scene)?;
    scene.practice.run_at(march(4, 7, 0), &["run", "--once"])?;
    ensure!(digests(&scene)? == before + 1, "no digest: {:?}", queue(&scene.practice)?);
    status_is_silent_about(&scene, "clock was set back")?;
    ensure!(alarms.lines()[told..] == ["clock"], "told more than once: {:?}", alarms.lines());
    ensure!(filed(&scene)? == 3 && lying(&scene, &["INBOX"])? == 0, "a letter is lost");
    sound(&scene)
}

/// Accepted by a clock that was ahead, a reply would wait for a slot of that time: it waits for the next one of this.
#[test]
fn a_reply_that_was_accepted_by_a_wrong_clock_leaves_at_the_next_right_slot() -> Result<()> {
    let scene = scene()?;
    answered(&scene, 1, 6, 9)?;
    scene.practice.run_at(march(2, 10, 0), &["run", "--once"])?;
    ensure!(states(&scene.thread(&scene.c1)?, "reply") == ["waiting"], "{:#}", scene.thread(&scene.c1)?);
    scene.practice.run_at(march(2, 17, 0), &["run", "--once"])?;
    ensure!(replies(&scene)? == 1, "{:#}", scene.thread(&scene.c1)?);
    sound(&scene)
}

/// A letter that a clock saw which was ten days ahead is due as of now, and missed when nobody answers it.
#[test]
fn a_letter_that_a_wrong_clock_filed_is_due_by_the_right_one() -> Result<()> {
    let scene = scene()?;
    letter(&scene, 1, march(12, 9, 0))?;
    scene.practice.run_at(march(12, 9, 5), &["run", "--once"])?;
    let due =
        || -> Result<String> { Ok(scene.thread(&scene.c1)?["turn"]["due"].as_str().unwrap_or("never").to_owned()) };
    ensure!(due()? == "2026-03-13T17:00:00Z", "{}", due()?);
    scene.practice.run_at(march(2, 10, 0), &["run", "--once"])?;
    ensure!(due()? == "2026-03-03T17:00:00Z", "{}", due()?);
    Ok(())
}

/// The daemon sees its clock jump while it works: ahead by hours, back by days, and goes on.
#[test]
fn the_daemon_goes_on_when_its_clock_jumps() -> Result<()> {
    let scene = scene()?;
    let alarms = Alarms::of(&scene)?;
    scene.practice.set_time(march(4, 9, 0))?;
    let mut daemon = scene.practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    let arrives = |n: usize, at| -> Result<()> {
        letter(&scene, n, at)?;
        wait(&format!("letter {n}"), PATIENCE, || Ok((filed(&scene)? == n).then_some(())))
    };
    arrives(1, march(4, 9, 0))?;
    scene.practice.set_time(march(4, 14, 0))?;
    arrives(2, march(4, 14, 0))?;
    ensure!(alarms.lines().is_empty(), "a jump ahead may be a machine that slept: {:?}", alarms.lines());
    scene.practice.set_time(march(2, 14, 0))?;
    arrives(3, march(2, 14, 0))?;
    wait("the alarm", PATIENCE, || Ok((alarms.lines() == ["clock"]).then_some(())))?;
    status_says(&scene, &["clock was set back"])?;
    wait("the operator's mail", PATIENCE, || Ok((to(&scene, OPERATOR)?.len() == 1).then_some(())))?;
    scene.practice.set_time(march(2, 14, 0) - TimeDelta::minutes(5))?;
    arrives(4, march(2, 13, 55))?;
    wait("the acknowledgement", PATIENCE, || Ok((!to(&scene, MARIE)?.is_empty()).then_some(())))?;
    ensure!(alarms.lines() == ["clock"], "five minutes are no trouble: {:?}", alarms.lines());
    daemon.end()?;
    ensure!(to(&scene, OPERATOR)?.len() == 1, "the operator is told once");
    ensure!(to(&scene, MARIE)?.len() == 1, "one acknowledgement for the one turn");
    sound(&scene)
}
