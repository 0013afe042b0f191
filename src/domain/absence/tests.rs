use std::sync::Arc;

use chrono::{TimeZone as _, Weekday};
use proptest::prelude::*;

use super::*;
use crate::domain::holidays::Calendar;
use crate::domain::rhythm::Taker;

fn day(month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, month, day).expect("a real day")
}

/// A moment in Paris.
fn at(month: u32, d: u32, hour: u32, minute: u32) -> DateTime<Utc> {
    let naive = day(month, d).and_hms_opt(hour, minute, 0).expect("a real time");
    place(chrono_tz::Europe::Paris, naive).expect("within the calendar")
}

fn schedule(absences: &[Days]) -> Schedule {
    let calendar = Calendar::for_country("FR", None).expect("France is known");
    let cutoff = NaiveTime::from_hms_opt(7, 0, 0).expect("an hour");
    let ranges = absences.iter().map(|days| days.range()).collect();
    Schedule::new(
        chrono_tz::Europe::Paris,
        "0 0 18 * * Mon-Fri",
        cutoff,
        TimeDelta::hours(2),
        Arc::new(calendar),
        ranges,
    )
    .expect("a sound rhythm")
}

fn days(first: NaiveDate, last: impl Into<Option<NaiveDate>>) -> Days {
    Days { first, last: last.into() }
}

fn course(days: Days) -> Course {
    Course { days, unplanned: days.last.is_none(), announced: false, started: false }
}

#[test]
fn what_may_be_entered() {
    let today = day(3, 10);
    let new = |first, last| entered(days(first, last), &[days(day(4, 1), day(4, 10))], today);
    assert_eq!(new(day(3, 12), day(3, 20)), Ok(Entry::New(days(day(3, 12), day(3, 20)))));
    assert_eq!(new(day(3, 10), day(3, 10)), Ok(Entry::New(days(day(3, 10), day(3, 10)))));
    // One that began before today begins today.
    assert_eq!(new(day(3, 2), day(3, 12)), Ok(Entry::New(days(day(3, 10), day(3, 12)))));
    assert_eq!(new(day(3, 1), day(3, 9)), Err(Wrong::Past));
    assert_eq!(new(day(3, 20), day(3, 12)), Err(Wrong::UpsideDown));
    assert_eq!(new(day(3, 20), day(4, 1)), Err(Wrong::Overlap));
    assert_eq!(new(day(4, 10), day(4, 12)), Err(Wrong::Overlap));
    assert_eq!(entered(days(day(3, 12), None), &[days(day(4, 1), day(4, 10))], today), Err(Wrong::Overlap));
    // The end of one that runs without a known end.
    let open = [days(day(3, 3), None)];
    assert_eq!(entered(days(day(3, 10), day(3, 20)), &open, today), Ok(Entry::Ends { last: day(3, 20) }));
    assert_eq!(entered(days(day(3, 3), day(3, 20)), &open, today), Ok(Entry::Ends { last: day(3, 20) }));
    assert_eq!(entered(days(day(3, 12), day(3, 20)), &open, today), Err(Wrong::Overlap));
    assert_eq!(entered(days(day(3, 10), None), &open, today), Err(Wrong::Overlap));
}

#[test]
fn a_planned_absence_has_three_letters() {
    let absence = days(day(5, 4), day(5, 15));
    let schedule = schedule(&[absence]);
    let mut course = course(absence);
    assert_eq!(step(&course, &schedule, &[], at(4, 20, 6, 59)), None);
    assert_eq!(step(&course, &schedule, &[], at(4, 20, 7, 0)), Some(Step::Announce));
    course.announced = true;
    assert_eq!(step(&course, &schedule, &[], at(5, 4, 6, 59)), None);
    assert_eq!(step(&course, &schedule, &[], at(5, 4, 7, 0)), Some(Step::Start));
    course.started = true;
    assert_eq!(step(&course, &schedule, &[], at(5, 15, 23, 59)), None);
    // The 15th is a Friday: the therapist is back on Monday.
    assert_eq!(step(&course, &schedule, &[], at(5, 18, 6, 59)), None);
    assert_eq!(step(&course, &schedule, &[], at(5, 18, 7, 0)), Some(Step::Return { tell: true }));
}

#[test]
fn what_was_slept_through_is_not_made_up_for() {
    let absence = days(day(5, 4), day(5, 15));
    let schedule = schedule(&[absence]);
    let course = course(absence);
    // Nobody was told of it: nobody is told of the return.
    assert_eq!(step(&course, &schedule, &[], at(5, 20, 12, 0)), Some(Step::Return { tell: false }));
    // In the middle of it: its letter, and not the one before it.
    assert_eq!(step(&course, &schedule, &[], at(5, 8, 12, 0)), Some(Step::Start));
    // The next one follows at once: no return in between.
    let told = Course { announced: true, started: true, ..course };
    let next = days(day(5, 18), day(5, 20));
    assert_eq!(step(&told, &schedule, &[next], at(5, 16, 0, 1)), Some(Step::Return { tell: false }));
    assert_eq!(step(&told, &schedule, &[days(day(6, 1), None)], at(5, 18, 7, 0)), Some(Step::Return { tell: true }));
}

#[test]
fn an_unplanned_absence_begins_at_once() {
    let absence = days(day(3, 10), None);
    let course = course(absence);
    let schedule = schedule(&[absence]);
    assert_eq!(step(&course, &schedule, &[], at(3, 9, 23, 59)), None);
    assert_eq!(step(&course, &schedule, &[], at(3, 10, 0, 0)), Some(Step::Start));
    let started = Course { started: true, ..course };
    assert_eq!(step(&started, &schedule, &[], at(9, 1, 12, 0)), None);
    assert_eq!(schedule.next_slot(at(3, 10, 0, 0)), None);
    assert_eq!(schedule.next_slot(at(3, 9, 12, 0)).map(|slot| slot.day), Some(day(3, 9)));
}

#[test]
fn letters_leave_at_seven_by_the_clock_on_the_wall() {
    // Clocks go forward on 29 March 2026, a Sunday.
    let absence = days(day(3, 30), day(4, 3));
    let schedule = schedule(&[absence]);
    let course = course(absence);
    assert_eq!(announces(&course, &schedule), Some(Utc.with_ymd_and_hms(2026, 3, 16, 6, 0, 0).unwrap()));
    assert_eq!(starts(&course, &schedule), Some(Utc.with_ymd_and_hms(2026, 3, 30, 5, 0, 0).unwrap()));
    // The 6th is Easter Monday.
    assert_eq!(returns(absence, &schedule), Some(at(4, 7, 7, 0)));
}

#[test]
fn what_is_due_moves_out_and_back() {
    let absence = days(day(3, 9), day(3, 13));
    let (free, absent) = (schedule(&[]), schedule(&[absence]));
    let arrived = at(3, 9, 6, 0);
    let owed = Owed { due: free.due(arrived, arrived), arrived, first_seen: arrived };
    assert_eq!(owed.due.map(|slot| slot.day), Some(day(3, 9)));
    let moved = moved_due(&absent, &owed, Change::Added, at(3, 9, 10, 0));
    assert_eq!(moved.map(|slot| slot.day), Some(day(3, 16)));
    // Withdrawn before the slot: as if it had never been.
    let out = Owed { due: moved, ..owed };
    assert_eq!(moved_due(&free, &out, Change::Withdrawn, at(3, 9, 11, 0)), owed.due);
    // Back on Wednesday in the afternoon: what came meanwhile is due at Thursday's slot, as if it came now.
    let due = moved_due(&free, &out, Change::Withdrawn, at(3, 11, 15, 0));
    assert_eq!(due.map(|slot| slot.day), Some(day(3, 12)));
    // Overdue stays overdue.
    let late = Owed { due: free.slot_of_day(day(3, 6)), ..owed };
    assert_eq!(moved_due(&absent, &late, Change::Added, at(3, 9, 10, 0)), late.due);
    // Without an end there is no slot; with one there is.
    let open = schedule(&[days(day(3, 9), None)]);
    assert_eq!(moved_due(&open, &owed, Change::Added, at(3, 9, 10, 0)), None);
    let unknown = Owed { due: None, ..owed };
    let known = moved_due(&absent, &unknown, Change::EndKnown, at(3, 10, 10, 0));
    assert_eq!(known.map(|slot| slot.day), Some(day(3, 16)));
}

#[test]
fn a_waiting_reply_moves_to_a_day_that_is_free() {
    let absence = days(day(3, 9), day(3, 13));
    let (free, absent) = (schedule(&[]), schedule(&[absence]));
    let slot = free.slot_of_day(day(3, 10)).expect("a Tuesday");
    let taken = TakenDays::from([(day(3, 16), Taker::Waiting)]);
    let now = at(3, 6, 12, 0);
    let moved = moved_reply(&absent, slot, &taken, Change::Added, now);
    assert_eq!(moved.map(|slot| slot.day), Some(day(3, 17)));
    let back = moved_reply(&free, moved.expect("it moved"), &taken, Change::Withdrawn, now);
    assert_eq!(back.map(|slot| slot.day), Some(day(3, 6)));
    let before = free.slot_of_day(day(3, 6)).expect("a Friday");
    assert_eq!(moved_reply(&absent, before, &taken, Change::Added, now), None);
    let open = schedule(&[days(day(3, 9), None)]);
    assert_eq!(moved_reply(&open, slot, &taken, Change::Added, now), None, "there is nowhere to go");
}

fn any_days() -> impl Strategy<Value = Days> {
    (0_i64..500, prop::option::weighted(0.9, 0_i64..60)).prop_map(|(first, length)| {
        let first = day(1, 1) + TimeDelta::days(first);
        Days { first, last: length.map(|length| first + TimeDelta::days(length)) }
    })
}

fn any_moment() -> impl Strategy<Value = DateTime<Utc>> {
    (0_i64..600 * 24 * 4).prop_map(|quarters| at(1, 1, 0, 0) + TimeDelta::minutes(15 * quarters))
}

proptest! {
    /// Walking through time in uneven steps, no letter is made twice, none in the wrong order, and it ends.
    #[test]
    fn each_letter_is_made_once_and_in_order(absence in any_days(), steps in prop::collection::vec(1_i64..400, 1..200)) {
        let schedule = schedule(&[absence]);
        let mut course = course(absence);
        let mut now = at(1, 1, 0, 0);
        let mut made = Vec::new();
        for hours in steps {
            now += TimeDelta::hours(hours);
            let Some(step) = step(&course, &schedule, &[], now) else { continue };
            match step {
                Step::Announce => {
                    prop_assert!(!course.announced && !course.started && !course.unplanned);
                    prop_assert!(schedule.local_day(now) <= absence.first);
                    course.announced = true;
                }
                Step::Start => {
                    prop_assert!(!course.started && absence.covers(schedule.local_day(now)));
                    course.started = true;
                }
                Step::Return { tell } => {
                    prop_assert!(absence.is_over(schedule.local_day(now)));
                    prop_assert_eq!(tell, course.announced || course.started);
                    made.push(step);
                    break;
                }
            }
            made.push(step);
        }
        prop_assert!(made.len() <= 3);
    }

    /// Nothing is due in an absence, whatever was due before; what moved back is never earlier than now.
    #[test]
    fn nothing_is_owed_in_an_absence(
        absence in any_days(),
        arrived in any_moment(),
        later in 0_i64..20 * 24,
        narrowed in any::<bool>(),
    ) {
        let (mut free, mut absent) = (schedule(&[]), schedule(&[absence]));
        if narrowed {
            free = free.narrowed(&[Weekday::Tue]).expect("Tuesdays");
            absent = absent.narrowed(&[Weekday::Tue]).expect("Tuesdays");
        }
        let now = arrived + TimeDelta::hours(later);
        let owed = Owed { due: free.due(arrived, arrived), arrived, first_seen: arrived };
        let moved = moved_due(&absent, &owed, Change::Added, now);
        if let (Some(before), Some(after)) = (owed.due, moved) {
            prop_assert!(!absent.is_absent(after.day));
            prop_assert!(after.at >= before.at);
            prop_assert!(absent.has_slot(after));
            let back = moved_due(&free, &Owed { due: moved, ..owed }, Change::Withdrawn, now).expect("a slot");
            prop_assert!(back.at <= after.at);
            // Withdrawn at once, it is as if it had never been, unless its slot has passed.
            prop_assert!(back.at == before.at || before.at <= now);
        } else {
            prop_assert!(absence.last.is_none());
        }
    }

    /// A reply that moves out of an absence never takes a day that is held, and lands on a slot.
    #[test]
    fn a_moved_reply_holds_a_day_of_its_own(
        absence in any_days(),
        now in any_moment(),
        held in prop::collection::btree_set(0_i64..40, 0..10),
        change in prop::sample::select(vec![Change::Added, Change::EndKnown, Change::Withdrawn]),
    ) {
        let (free, absent) = (schedule(&[]), schedule(&[absence]));
        let taken: TakenDays =
            held.iter().map(|n| (free.local_day(now) + TimeDelta::days(*n), Taker::Waiting)).collect();
        let slot = next_free(&free, now, &taken).expect("a slot");
        if let Some(to) = moved_reply(&absent, slot, &taken, change, now) {
            prop_assert!(!taken.contains_key(&to.day));
            prop_assert!(!absent.is_absent(to.day) && absent.has_slot(to) && to.at > now);
        }
    }
}
