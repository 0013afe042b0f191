use std::collections::{BTreeSet, HashSet};

use proptest::prelude::*;

use super::*;

/// All that can happen in a state, one row an allowed triple; everything else is forbidden.
fn allowed() -> Vec<(ClientState, Event, Actor)> {
    let mut all = Vec::new();
    for &state in ClientState::ALL {
        for &event in Event::ALL {
            for &actor in Actor::ALL {
                if next(state, event, actor).is_ok() {
                    all.push((state, event, actor));
                }
            }
        }
    }
    all
}

#[test]
fn a_record_is_proposed_for_erasure_once_its_years_are_over_and_nothing_holds_it() {
    let ended = DateTime::from_timestamp(1_772_000_000, 0).unwrap();
    let years = |n: u32| ended + chrono::Months::new(12 * n);
    let over = |state, consented, held, now| retention_over(state, ended, consented, held, 5, now);
    assert!(over(Archived, true, false, years(5)));
    assert!(!over(Archived, true, false, years(5) - TimeDelta::seconds(1)), "a second too early");
    assert!(!over(Archived, true, true, years(9)), "legal hold");
    assert!(over(Declined, true, false, years(5)), "after the assessment");
    assert!(!over(Declined, false, false, years(5)), "forgotten sooner, by itself");
    for state in ClientState::ALL.iter().copied().filter(|state| !matches!(state, Archived | Declined)) {
        assert!(!over(state, true, false, years(90)), "{state}");
    }
    assert!(!retention_over(Archived, DateTime::<Utc>::MAX_UTC, true, false, 100, years(5)));
}

#[test]
fn each_state_event_and_actor_is_decided_by_one_row_at_most() {
    for &state in ClientState::ALL {
        for &event in Event::ALL {
            for &actor in Actor::ALL {
                let rows = TABLE
                    .iter()
                    .filter(|row| row.event == event && row.from.contains(&state) && row.by.contains(&actor));
                let rows = rows.count();
                assert!(rows <= 1, "{state} {event:?} {actor:?}: {rows} rows");
                assert_eq!(rows == 1, next(state, event, actor).is_ok());
            }
        }
    }
}

#[test]
fn every_state_is_reached_and_every_event_and_actor_used() {
    let mut reached: HashSet<ClientState> = HashSet::from([Request]);
    loop {
        let before = reached.len();
        for row in TABLE {
            for from in row.from {
                if reached.contains(from) {
                    reached.extend(targets(row, *from));
                }
            }
        }
        if reached.len() == before {
            break;
        }
    }
    assert_eq!(reached.len(), ClientState::ALL.len(), "reached only {reached:?}");
    for event in Event::ALL {
        assert!(TABLE.iter().any(|row| row.event == *event), "{event:?} is in no row");
    }
    for actor in Actor::ALL {
        assert!(TABLE.iter().any(|row| row.by.contains(actor)), "{actor:?} is in no row");
    }
}

#[test]
fn what_nobody_may_do_is_forbidden() {
    let no = |state, event, actor| assert!(next(state, event, actor).is_err(), "{state} {event:?} {actor:?}");
    // The client can't undo what the therapist decided, nor consent for the therapist.
    no(Suspended, Event::Resume, Client);
    no(Archived, Event::Unstop, Client);
    no(Assessment, Event::Accept, Client);
    no(Active, Event::Discharge, Client);
    // Nobody but the client consents or stops.
    for &actor in &[Therapist, Operator, Clock] {
        no(ConsentPending, Event::Consent, actor);
        no(ConsentPending, Event::ConsentKnown, actor);
        no(Active, Event::Stop, actor);
        no(Discharged, Event::Unstop, actor);
    }
    // The clock forgets and archives, and nothing else.
    let clock: BTreeSet<&str> =
        allowed().iter().filter(|(_, _, by)| *by == Clock).map(|(_, event, _)| event.as_str()).collect();
    assert_eq!(clock, BTreeSet::from(["archive", "forget"]));
    // Nothing happens to somebody who is erased.
    assert!(allowed().iter().all(|(state, _, _)| *state != Erased));
    // A decision about the assessment comes in the assessment, once.
    no(Active, Event::Accept, Therapist);
    no(Active, Event::Decline, Therapist);
    no(Discharged, Event::Discharge, Therapist);
    no(Paused, Event::Pause, Therapist);
    no(Active, Event::Resume, Therapist);
    assert_eq!(
        next(Suspended, Event::Resume, Client).err(),
        Some(Forbidden::Actor { state: Suspended, event: Event::Resume, actor: Client })
    );
    assert_eq!(
        next(Active, Event::Resume, Client).err(),
        Some(Forbidden::State { state: Active, event: Event::Resume })
    );
}

#[test]
fn the_operator_sends_no_words_of_the_therapists() {
    let own = [Kind::Declined, Kind::Suspended, Kind::Ending, Kind::Farewell];
    for row in TABLE.iter().filter(|row| row.letter.is_some_and(|letter| own.contains(&letter))) {
        assert_eq!(row.by, &[Therapist], "{row:?}");
    }
}

#[test]
fn the_letter_of_a_transition_may_leave_in_the_state_it_leads_to() {
    for row in TABLE {
        let Some(letter) = row.letter else { continue };
        for &from in row.from {
            for to in targets(row, from) {
                // Back in a suspension, the client is told by the state's own notice.
                let quiet = row.event == Event::Unstop && to == Suspended;
                assert!(quiet || may_leave(to, letter), "{row:?} leads to {to}");
            }
        }
        let staff = row.by.contains(&Clock);
        assert!(!staff, "the clock sends nothing: {row:?}");
    }
}

#[test]
fn little_leaves_where_no_treatment_is() {
    let list = |state: ClientState| -> Vec<&str> {
        Kind::ALL.iter().filter(|kind| may_leave(state, **kind)).map(|kind| kind.as_str()).collect()
    };
    assert_eq!(list(Erased), ["erasure"]);
    assert_eq!(list(Request), Vec::<&str>::new());
    let known = ["undecryptable", "too-large", "safety", "safety-violence"];
    let beyond = |state: ClientState| -> BTreeSet<&str> {
        list(state).into_iter().filter(|kind| !known.contains(kind)).collect()
    };
    assert_eq!(
        beyond(Discharged),
        BTreeSet::from([
            "farewell",
            "stopped",
            "after-discharge",
            "guide",
            "internet-policy",
            "practice-key",
            "about-words"
        ])
    );
    assert_eq!(beyond(Archived), BTreeSet::from(["farewell", "stopped", "after-discharge"]));
    assert_eq!(beyond(Declined), BTreeSet::from(["declined", "invitation-declined", "after-discharge"]));
    // No reply without consent, and none in a forbidden state.
    for &state in ClientState::ALL {
        for kind in [Kind::Reply, Kind::Urgent, Kind::Closed, Kind::Acknowledgement, Kind::MissedDay] {
            assert_eq!(may_leave(state, kind), matches!(state, Assessment | Active | Ending), "{state} {kind}");
        }
    }
}

#[test]
fn a_pause_leads_back_to_what_it_interrupted() {
    let discharged = step(Active, Event::Discharge, Therapist, Memory::default()).unwrap();
    assert!(step(discharged.to, Event::Unstop, Client, discharged.memory).is_err());
    let paused = step(Active, Event::Pause, Therapist, Memory::default()).unwrap();
    assert!(step(paused.to, Event::Resume, Client, paused.memory).is_err());
    let walk = |steps: &[(Event, Actor)], from: ClientState| {
        let (mut state, mut memory) = (from, Memory::default());
        for &(event, actor) in steps {
            let step = step(state, event, actor, memory).unwrap_or_else(|error| panic!("{error}"));
            (state, memory) = (step.to, step.memory);
        }
        state
    };
    let pause = (Event::Pause, Client);
    let resume = (Event::Resume, Therapist);
    let stop = (Event::Stop, Client);
    let unstop = (Event::Unstop, Client);
    let suspend = (Event::Suspend, Therapist);
    for state in [Assessment, Active, Ending] {
        assert_eq!(walk(&[pause, resume], state), state);
        assert_eq!(walk(&[pause, (Event::Resume, Client)], state), state);
        assert_eq!(walk(&[suspend, resume], state), state);
        assert_eq!(walk(&[pause, suspend, resume], state), state);
        assert_eq!(walk(&[stop, unstop], state), state);
        assert_eq!(walk(&[pause, stop, unstop], state), state);
        // STOP and its undoing don't lift a suspension.
        assert_eq!(walk(&[suspend, stop, unstop], state), Suspended);
        assert_eq!(walk(&[suspend, stop, unstop, resume], state), state);
    }
}

#[test]
fn an_order_in_own_words_is_taken_back_until_its_letter_leaves_and_by_nothing_else() {
    let walk = |steps: &[(Event, Actor)], from: ClientState| {
        let (mut state, mut memory) = (from, Memory::default());
        for &(event, actor) in steps {
            let step = step(state, event, actor, memory).unwrap_or_else(|error| panic!("{error}"));
            (state, memory) = (step.to, step.memory);
        }
        (state, memory)
    };
    let undo = (Event::Undo, Therapist);
    let mut orders = 0;
    for row in TABLE.iter().filter(|row| row.sends_own_words()) {
        for &from in row.from {
            let (state, memory) = walk(&[(row.event, Therapist), undo], from);
            assert_eq!((state, memory), (from, Memory::default()), "{row:?}");
            orders += 1;
        }
    }
    assert_eq!(orders, 14);
    // With all that was remembered: a pause of the client's own stays theirs, and leads back to where it began.
    let paused = walk(&[(Event::Pause, Client)], Ending);
    for event in [Event::Suspend, Event::Discharge] {
        assert_eq!(walk(&[(Event::Pause, Client), (event, Therapist), undo], Ending), paused);
    }
    // Whatever happens in between ends it; so does the letter, once it has left.
    let (state, memory) = walk(&[(Event::Suspend, Therapist), (Event::Discharge, Therapist), undo], Active);
    assert_eq!((state, memory.previous, memory.undo), (Suspended, Some(Active), None));
    let ended = walk(&[(Event::Discharge, Therapist)], Active).1;
    assert!(step(Discharged, Event::Undo, Therapist, ended).is_ok());
    for actor in [Client, Operator, Clock] {
        assert!(step(Discharged, Event::Undo, actor, ended).is_err());
    }
    assert!(step(Discharged, Event::Undo, Therapist, Memory { undo: None, ..ended }).is_err());
    assert!(step(Archived, Event::Undo, Therapist, ended).is_err());
    let left_alone = [(Event::Stop, Client), (Event::Pause, Client), (Event::Discharge, Operator)];
    for (event, actor) in left_alone {
        let (_, memory) = walk(&[(Event::End, Therapist), (event, actor)], Active);
        assert_eq!(memory.undo, None, "{event:?}");
    }
}

#[test]
fn own_words_wait_for_a_slot_within_two_weeks() {
    let at = |day: u32| DateTime::parse_from_rfc3339(&format!("2026-03-{day:02}T10:00:00Z")).unwrap().to_utc();
    assert_eq!(words_leave(Some(at(3)), at(2)), Some(at(3)));
    assert_eq!(words_leave(Some(at(16)), at(2)), Some(at(16)));
    assert_eq!(words_leave(Some(at(17)), at(2)), None);
    assert_eq!(words_leave(None, at(2)), None);
}

#[test]
fn a_farewell_is_open_for_two_weeks_after_stop_only() {
    let at = |day: u32| DateTime::parse_from_rfc3339(&format!("2026-03-{day:02}T10:00:00Z")).unwrap().to_utc();
    let since = Some(at(1));
    assert!(farewell_open(Discharged, true, since, at(1)));
    assert!(farewell_open(Discharged, true, since, at(15)));
    assert!(!farewell_open(Discharged, true, since, at(16)));
    assert!(!farewell_open(Discharged, false, since, at(2)));
    assert!(!farewell_open(Active, true, since, at(2)));
    assert!(!farewell_open(Discharged, true, None, at(2)));
}

proptest! {
    /// Whatever is tried in whatever order: no treatment without consent (or the operator's paper), nothing after
    /// the erasure, and a resumed pause is always a state in which the rhythm runs.
    #[test]
    fn no_way_leads_around_consent(steps in proptest::collection::vec((0..Event::ALL.len(), 0..Actor::ALL.len()), 0..60)) {
        let (mut state, mut memory, mut agreed) = (Request, Memory::default(), false);
        for (event, actor) in steps {
            let (event, actor) = (Event::ALL[event], Actor::ALL[actor]);
            let Ok(step) = step(state, event, actor, memory) else { continue };
            prop_assert_ne!(state, Erased);
            let to = step.to;
            memory = step.memory;
            agreed = match event {
                Event::Consent | Event::ConsentKnown | Event::Admit => true,
                Event::Return | Event::Invite => false,
                _ => agreed,
            };
            if event == Event::Resume {
                prop_assert!(to.in_treatment(), "{} led to {}", state, to);
            }
            prop_assert!(agreed || !(to.in_treatment() || matches!(to, Paused | Suspended)));
            state = to;
        }
    }
}

/// The part of ARCHITECTURE.md between the markers is what the table says. `UPDATE_GOLDEN=1` writes it.
#[test]
fn architecture_has_the_figure_of_this_table() {
    const BEGIN: &str = "<!-- life of a client: generated from src/domain/lifecycle.rs -->\n";
    const END: &str = "<!-- end of the life of a client -->\n";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("ARCHITECTURE.md has the first marker");
    let (_, after) = rest.split_once(END).expect("ARCHITECTURE.md has the second marker");
    let expected = format!("{before}{BEGIN}\n{}\n{END}{after}", diagram());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &expected).unwrap();
    } else {
        assert!(text == expected, "ARCHITECTURE.md is behind the table: run this test with UPDATE_GOLDEN=1");
    }
}
