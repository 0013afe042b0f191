//! Tables: zones, changes of the clock, cutoffs, replies, misses, turns.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};
use chrono_tz::Tz;

use super::*;
use crate::model::{MessageRow, SecondReply};

fn utc(text: &str) -> DateTime<Utc> {
    format!("{}:00Z", text.replace(' ', "T")).parse().unwrap()
}

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn with(tz: Tz, cron: &str, country: &str, absences: &[(&str, &str)]) -> Schedule {
    let calendar = Calendar::for_country(country, None).unwrap();
    let absences = absences.iter().map(|(from, to)| (date(from), date(to))).collect();
    let cutoff = NaiveTime::from_hms_opt(7, 0, 0).unwrap();
    Schedule::new(tz, cron, cutoff, TimeDelta::hours(2), Arc::new(calendar), absences).unwrap()
}

fn paris() -> Schedule {
    with(chrono_tz::Europe::Paris, "0 0 18 * * Mon-Fri", "FR", &[])
}

fn refused(cron: &str, country: &str) -> RhythmError {
    let calendar = Calendar::for_country(country, None).unwrap();
    Schedule::new(chrono_tz::Europe::Paris, cron, NaiveTime::MIN, TimeDelta::hours(2), Arc::new(calendar), Vec::new())
        .unwrap_err()
}

/// The next slots after a moment, as `YYYY-MM-DD HH:MM` in UTC.
fn slots(schedule: &Schedule, after: &str, count: usize) -> Vec<String> {
    schedule.next_slots(utc(after), count).iter().map(|s| s.at.format("%Y-%m-%d %H:%M").to_string()).collect()
}

fn slot(schedule: &Schedule, day: &str) -> Slot {
    schedule.slot_of_day(date(day)).unwrap()
}

#[test]
fn slots_keep_their_local_hour_through_both_changes_of_the_clock() {
    let cases = [
        (chrono_tz::Europe::Paris, "2026-03-27 00:00", vec!["2026-03-27 17:00", "2026-03-30 16:00"]),
        (chrono_tz::Europe::Paris, "2026-10-23 00:00", vec!["2026-10-23 16:00", "2026-10-26 17:00"]),
        (chrono_tz::America::Toronto, "2026-03-06 05:00", vec!["2026-03-06 23:00", "2026-03-09 22:00"]),
        (chrono_tz::America::Toronto, "2026-10-30 05:00", vec!["2026-10-30 22:00", "2026-11-02 23:00"]),
        (chrono_tz::Pacific::Auckland, "2026-09-24 12:00", vec!["2026-09-25 06:00", "2026-09-28 05:00"]),
        (chrono_tz::Asia::Kolkata, "2026-03-27 00:00", vec!["2026-03-27 12:30", "2026-03-30 12:30"]),
    ];
    for (tz, after, wanted) in cases {
        assert_eq!(slots(&with(tz, "0 0 18 * * Mon-Fri", "NZ", &[]), after, 2), wanted, "{tz}");
    }
}

#[test]
fn a_slot_in_the_skipped_hour_happens_at_its_end_and_in_the_repeated_hour_once() {
    let half_past_two = |tz| with(tz, "0 30 2 * * Mon-Sun", "XX", &[]);
    let cases = [
        (chrono_tz::Europe::Paris, "2026-03-28 12:00", vec!["2026-03-29 01:00", "2026-03-30 00:30"]),
        (chrono_tz::Europe::Paris, "2026-10-24 12:00", vec!["2026-10-25 00:30", "2026-10-26 01:30"]),
        (chrono_tz::America::Toronto, "2026-03-07 12:00", vec!["2026-03-08 07:00", "2026-03-09 06:30"]),
        (chrono_tz::Pacific::Auckland, "2026-09-26 00:00", vec!["2026-09-26 14:00", "2026-09-27 13:30"]),
        (chrono_tz::Pacific::Auckland, "2026-04-04 00:00", vec!["2026-04-04 13:30", "2026-04-05 14:30"]),
        (chrono_tz::Australia::Lord_Howe, "2026-10-03 00:00", vec!["2026-10-03 15:30", "2026-10-04 15:30"]),
    ];
    for (tz, after, wanted) in cases {
        let schedule = half_past_two(tz);
        assert_eq!(slots(&schedule, after, 2), wanted, "{tz}");
        for slot in schedule.next_slots(utc(after), 3) {
            assert_eq!(schedule.local_day(slot.at), slot.day);
            assert_eq!(schedule.slot_of_day(slot.day), Some(slot));
            assert_eq!(schedule.last_slot_at_or_before(slot.at), Some(slot));
        }
    }
    // Toronto repeats 01:00 to 02:00.
    let half_past_one = with(chrono_tz::America::Toronto, "0 30 1 * * Mon-Sun", "XX", &[]);
    assert_eq!(slots(&half_past_one, "2026-10-31 12:00", 2), ["2026-11-01 05:30", "2026-11-02 06:30"]);
    // Between the two passes nothing comes back.
    assert_eq!(slots(&half_past_one, "2026-11-01 06:10", 1), ["2026-11-02 06:30"]);
    assert_eq!(
        half_past_one.last_slot_at_or_before(utc("2026-11-01 06:29")).map(|s| s.at),
        Some(utc("2026-11-01 05:30"))
    );
}

#[test]
fn several_slots_in_one_gap_are_one_slot() {
    let quarters = with(chrono_tz::Europe::Paris, "0 15,30,45 2 * * Sun", "XX", &[]);
    let wanted = ["2026-03-29 01:00", "2026-04-05 00:15", "2026-04-05 00:30"];
    assert_eq!(slots(&quarters, "2026-03-28 00:00", 3), wanted);
}

#[test]
fn a_skipped_midnight_keeps_its_day() {
    let midnight = with(chrono_tz::Africa::Cairo, "0 0 0 * * Mon-Sun", "XX", &[]);
    // Egypt's summer time begins at midnight, Friday 24 April 2026.
    let slot = slot(&midnight, "2026-04-24");
    assert_eq!(slot.at, utc("2026-04-23 22:00"));
    assert_eq!(midnight.local_day(slot.at), date("2026-04-24"));
}

#[test]
fn holidays_absences_and_the_turn_of_the_year_have_no_slots() {
    assert_eq!(slots(&paris(), "2026-12-31 16:59", 3), ["2026-12-31 17:00", "2027-01-04 17:00", "2027-01-05 17:00"]);
    assert_eq!(slots(&paris(), "2026-12-31 17:00", 1), ["2027-01-04 17:00"], "strictly after");
    let away = with(chrono_tz::Europe::Paris, "0 0 18 * * Mon-Fri", "FR", &[("2026-07-13", "2026-08-14")]);
    assert_eq!(slots(&away, "2026-07-10 16:00", 1), ["2026-08-17 16:00"]);
    assert_eq!(away.slot_of_day(date("2026-07-13")), None);
    assert_eq!(away.last_slot_at_or_before(utc("2026-08-17 15:59")).map(|s| s.day), Some(date("2026-07-10")));
}

#[test]
fn a_fraction_of_a_second_skips_no_slot() {
    let just_before = utc("2026-03-02 17:00") - TimeDelta::microseconds(1);
    assert_eq!(paris().next_slot(just_before).unwrap().at, utc("2026-03-02 17:00"));
    let just_after = utc("2026-03-02 17:00") + TimeDelta::microseconds(1);
    assert_eq!(paris().next_slot(just_after).unwrap().at, utc("2026-03-03 17:00"));
}

#[test]
fn rhythms_that_say_something_else_than_they_mean_are_refused() {
    assert!(matches!(refused("0 0 18 * * 1-5", "FR"), RhythmError::WeekdayNumber(_)));
    assert!(matches!(refused("0 0 18 * * Mon-5", "FR"), RhythmError::WeekdayNumber(_)));
    assert!(matches!(refused("0 18 * * Mon-Fri", "FR"), RhythmError::Fields(_)));
    assert!(matches!(refused("@daily", "FR"), RhythmError::Fields(_)));
    assert!(matches!(refused("0 0 18 * * Mon-Fri 2026", "FR"), RhythmError::Year(_)));
    assert!(matches!(refused("0 0 25 * * Mon-Fri", "FR"), RhythmError::Cron { .. }));
    assert!(matches!(refused("0 0 18 * * lundi", "FR"), RhythmError::Cron { .. }));
    assert!(matches!(refused("", "FR"), RhythmError::Fields(_)));
    assert!(matches!(refused("0 0 18 30 Feb *", "FR"), RhythmError::Never(_)));
    assert!(matches!(refused("0 0 18 25 Dec *", "FR"), RhythmError::Never(_)), "always a holiday");
    assert!(matches!(paris().narrowed(&[Weekday::Sun]), Err(RhythmError::Never(_))));
    assert!(matches!(paris().narrowed(&[]), Err(RhythmError::NoWeekday)));
    with(chrono_tz::Europe::Paris, "0 0 18 29 Feb Sun", "XX", &[]);
}

#[test]
fn ranges_of_weekdays_round_the_end_of_the_week_mean_what_they_say() {
    let days = |cron: &str| -> Vec<String> {
        let schedule = with(chrono_tz::Europe::Paris, cron, "XX", &[]);
        schedule.next_slots(utc("2026-03-01 23:00"), 4).iter().map(|s| s.day.format("%a").to_string()).collect()
    };
    assert_eq!(days("0 0 18 * * Sat-Sun"), ["Sat", "Sun", "Sat", "Sun"]);
    assert_eq!(days("0 0 18 * * Fri-Mon"), ["Mon", "Fri", "Sat", "Sun"]);
    assert_eq!(days("0 0 18 * * mon,Thursday"), ["Mon", "Thu", "Mon", "Thu"]);
    assert_eq!(days("0 0 18 * * Mon-Sun"), ["Mon", "Tue", "Wed", "Thu"]);
}

#[test]
fn a_letter_before_the_cutoff_is_due_the_same_day() {
    let cases = [
        ("2026-03-02 05:59", "2026-03-02", "before 07:00"),
        ("2026-03-02 06:00", "2026-03-03", "at 07:00"),
        ("2026-03-06 06:00", "2026-03-09", "Friday after the cutoff"),
        ("2026-03-07 12:00", "2026-03-09", "Saturday"),
        ("2026-03-09 05:00", "2026-03-09", "Monday early"),
        ("2026-05-01 04:00", "2026-05-04", "a holiday"),
        ("2026-12-31 05:00", "2026-12-31", "the last day"),
        ("2026-12-31 07:00", "2027-01-04", "over the turn of the year"),
    ];
    for (arrival, day, why) in cases {
        assert_eq!(paris().due(utc(arrival), utc(arrival)).unwrap().day, date(day), "{why}");
    }
    assert_eq!(paris().due(utc("2026-03-02 05:00"), utc("2026-03-02 16:59")).unwrap().day, date("2026-03-02"));
    assert_eq!(
        paris().due(utc("2026-03-02 05:00"), utc("2026-03-02 17:00")).unwrap().day,
        date("2026-03-03"),
        "first seen at its slot"
    );
    assert_eq!(paris().due(utc("2026-03-02 05:00"), utc("2026-03-05 09:00")).unwrap().day, date("2026-03-05"));
}

#[test]
fn a_slot_before_the_cutoff_is_never_due_before_the_arrival() {
    let early = with(chrono_tz::Europe::Paris, "0 0 6,20 * * Mon-Fri", "FR", &[]);
    let due = early.due(utc("2026-03-02 05:30"), utc("2026-03-02 05:30")).unwrap();
    assert_eq!(due.at, utc("2026-03-02 19:00"));
}

#[test]
fn arrival_is_clamped_between_the_last_scan_and_the_first_sight() {
    let (scan, seen) = (utc("2026-03-02 06:00"), utc("2026-03-02 06:10"));
    let at = |internal: Option<&str>| clamp_arrival(internal.map(utc), Some(scan), seen);
    assert_eq!(at(Some("2026-03-02 06:05")), utc("2026-03-02 06:05"));
    assert_eq!(at(Some("2026-03-01 00:00")), scan, "a date set back by a copying program");
    assert_eq!(at(Some("2030-01-01 00:00")), seen, "a date in the future");
    assert_eq!(at(None), seen);
    assert_eq!(clamp_arrival(Some(utc("2026-01-01 00:00")), None, seen), utc("2026-01-01 00:00"));
    assert_eq!(clamp_arrival(Some(seen), Some(utc("2026-03-03 00:00")), seen), seen, "a clock set back");
}

fn taken(days: &[(&str, Taker)]) -> TakenDays {
    days.iter().map(|(day, taker)| (date(day), *taker)).collect()
}

#[test]
fn a_reply_takes_the_next_free_day_or_leaves_within_the_grace() {
    let schedule = paris();
    let monday = slot(&schedule, "2026-03-02");
    let place = |now: &str, due, days: &[(&str, Taker)]| place_reply(&schedule, utc(now), due, &taken(days), false);
    let at = |day| Placement::At(slot(&schedule, day));
    let sent = ("2026-03-02", Taker::Sent);
    assert_eq!(place("2026-03-02 10:00", None, &[]), at("2026-03-02"));
    assert_eq!(place("2026-03-02 10:00", None, &[("2026-03-02", Taker::Waiting)]), at("2026-03-03"));
    assert_eq!(place("2026-03-02 18:30", None, &[]), at("2026-03-03"), "not due: no grace");
    assert_eq!(
        place("2026-03-02 19:00", Some(monday), &[]),
        Placement::AtOnce { day: date("2026-03-02"), missed: monday },
        "two hours exactly"
    );
    assert_eq!(place("2026-03-02 19:01", Some(monday), &[]), at("2026-03-03"), "the grace is over");
    assert_eq!(place("2026-03-02 18:00", Some(monday), &[sent]), at("2026-03-03"), "the day is used");
    assert_eq!(place("2026-03-02 16:00", Some(monday), &[]), at("2026-03-02"), "the slot is ahead");
    assert_eq!(place_reply(&schedule, utc("2026-03-02 10:00"), None, &taken(&[sent]), true), Placement::Outside);
}

#[test]
fn grace_over_midnight_uses_the_day_it_leaves_on() {
    let late = with(chrono_tz::Europe::Paris, "0 0 23 * * Mon-Fri", "FR", &[]);
    let monday = slot(&late, "2026-03-02");
    let now = utc("2026-03-02 23:30"); // Half past midnight on Tuesday in Paris.
    let leave = place_reply(&late, now, Some(monday), &TakenDays::new(), false);
    assert_eq!(leave, Placement::AtOnce { day: date("2026-03-03"), missed: monday });
    let held = taken(&[("2026-03-03", Taker::Waiting)]);
    assert_eq!(place_reply(&late, now, Some(monday), &held, false), Placement::At(slot(&late, "2026-03-04")));
}

fn waiting(slot: Slot, newest: Option<i64>, signed: &str, leaving: bool) -> WaitingReply {
    WaitingReply { newest_answered: newest.map(MessageRow), signed_at: utc(signed), leaving, slot }
}

#[test]
fn a_second_reply_replaces_waits_or_stands_back() {
    use Second::{Hold, IgnoreOlder, NextSlot, Refuse, Replace};
    use SecondReply as P;
    let monday = slot(&paris(), "2026-03-02");
    let (early, late) = ("2026-03-02 09:00", "2026-03-02 10:00");
    // policy, newest answered (first, new), new signed later, first leaving
    let cases = [
        (P::Auto, (Some(1), Some(1)), true, false, Replace),
        (P::Auto, (Some(1), Some(1)), false, false, IgnoreOlder),
        (P::Auto, (Some(1), Some(1)), true, true, NextSlot),
        (P::Auto, (Some(1), Some(1)), false, true, IgnoreOlder),
        (P::Auto, (Some(1), Some(2)), true, false, NextSlot),
        (P::Auto, (Some(1), Some(2)), false, false, NextSlot),
        (P::Auto, (Some(2), Some(1)), true, false, NextSlot),
        (P::Auto, (None, None), true, false, Replace),
        (P::Auto, (None, Some(1)), true, false, NextSlot),
        (P::Replace, (Some(1), Some(2)), true, false, Replace),
        (P::Replace, (Some(1), Some(2)), false, false, IgnoreOlder),
        (P::Replace, (Some(1), Some(2)), true, true, NextSlot),
        (P::Hold, (Some(1), Some(1)), true, false, Hold),
        (P::Hold, (Some(1), Some(1)), false, true, Hold),
        (P::Refuse, (Some(1), Some(2)), true, false, Refuse),
    ];
    for (policy, (first, new), later, leaving, wanted) in cases {
        let (first_at, new_at) = if later { (early, late) } else { (late, early) };
        let incoming = IncomingReply { newest_answered: new.map(MessageRow), signed_at: utc(new_at) };
        let got = second_reply(policy, &waiting(monday, first, first_at, leaving), &incoming);
        assert_eq!(got, wanted, "{policy} {first:?} {new:?} later {later} leaving {leaving}");
    }
}

#[test]
fn a_waiting_reply_leaves_moves_or_moves_another() {
    let schedule = paris();
    let monday = slot(&schedule, "2026-03-02");
    let reply = waiting(monday, Some(1), "2026-03-02 09:00", false);
    let at = |now: &str, days: &[(&str, Taker)]| release(&schedule, utc(now), &reply, &taken(days));
    let (mon, tue) = (date("2026-03-02"), date("2026-03-03"));
    assert_eq!(at("2026-03-02 16:59", &[]), Release::NotYet);
    assert_eq!(at("2026-03-02 17:00", &[]), Release::Leave { day: mon });
    assert_eq!(at("2026-03-03 02:00", &[]), Release::Leave { day: tue }, "after downtime, the day it leaves on");
    let tuesday = slot(&schedule, "2026-03-03");
    for taker in [Taker::Sent, Taker::Leaving] {
        assert_eq!(at("2026-03-02 17:00", &[("2026-03-02", taker)]), Release::Move(tuesday));
    }
    assert_eq!(
        at("2026-03-03 02:00", &[("2026-03-03", Taker::Waiting), ("2026-03-04", Taker::Waiting)]),
        Release::LeaveAndMoveOther { day: tue, other_to: slot(&schedule, "2026-03-05") }
    );
    let leaving = waiting(monday, Some(1), "2026-03-02 09:00", true);
    assert_eq!(release(&schedule, utc("2026-03-02 17:00"), &leaving, &TakenDays::new()), Release::NotYet);
}

#[test]
fn a_miss_is_told_once_a_slot_and_never_while_a_reply_waits() {
    let schedule = paris();
    let due = slot(&schedule, "2026-03-02");
    let turn = OpenTurn { due, reply_waiting: false, last_missed: None, misses_running: 0 };
    let look = |now: &str, turn: &OpenTurn| missed(&schedule, utc(now), utc(now), turn, &TakenDays::new());
    assert_eq!(look("2026-03-02 18:59", &turn), None, "within the grace");
    let first = look("2026-03-02 19:00", &turn).unwrap();
    assert_eq!((first.slot, first.next.day, first.running), (due, date("2026-03-03"), 1));
    assert!(!first.second_running);
    assert_eq!(look("2026-03-02 19:00", &OpenTurn { reply_waiting: true, ..turn }), None);
    let told = OpenTurn { last_missed: Some(due), misses_running: 1, ..turn };
    assert_eq!(look("2026-03-03 10:00", &told), None, "once a slot");
    let second = look("2026-03-03 19:00", &told).unwrap();
    assert!(second.second_running);
    assert_eq!(second.next.day, date("2026-03-04"));
    let long_down = look("2026-03-06 12:00", &turn).unwrap();
    assert_eq!((long_down.slot.day, long_down.running), (date("2026-03-05"), 1), "one letter, not four");
    let unread = missed(&schedule, utc("2026-03-02 20:00"), utc("2026-03-02 18:00"), &turn, &TakenDays::new());
    assert_eq!(unread, None, "the answer may lie unread in the mailbox");
    let got_one = taken(&[("2026-03-02", Taker::Sent)]);
    assert_eq!(missed(&schedule, utc("2026-03-02 20:00"), utc("2026-03-02 20:00"), &turn, &got_one), None);
}

#[test]
fn absences_stop_the_clock() {
    let away = with(chrono_tz::Europe::Paris, "0 0 18 * * Mon-Fri", "FR", &[("2026-03-03", "2026-03-13")]);
    let due = slot(&away, "2026-03-02");
    let turn = OpenTurn { due, reply_waiting: false, last_missed: Some(due), misses_running: 1 };
    let look = |now: &str| missed(&away, utc(now), utc(now), &turn, &TakenDays::new());
    assert_eq!(look("2026-03-13 23:00"), None);
    assert_eq!(look("2026-03-16 19:00").unwrap().slot.day, date("2026-03-16"));
}

#[test]
fn one_reminder_a_slot_late_rather_than_lost_never_after_it() {
    let schedule = paris();
    let monday = slot(&schedule, "2026-03-02");
    let remind = |now: &str, last| reminder_due(&schedule, utc(now), TimeDelta::hours(3), last);
    assert_eq!(remind("2026-03-02 13:59", None), None);
    assert_eq!(remind("2026-03-02 14:00", None), Some(monday));
    assert_eq!(remind("2026-03-02 16:59", None), Some(monday));
    assert_eq!(remind("2026-03-02 16:59", Some(monday)), None);
    assert_eq!(remind("2026-03-02 17:00", None), None);
}

#[test]
fn one_digest_a_slot_day_and_one_after_downtime() {
    let digest = with(chrono_tz::Europe::Paris, "0 0 7 * * Mon-Fri", "FR", &[]);
    let due = |now: &str, last: Option<&str>| digest_due(&digest, utc(now), last.map(utc)).map(|s| s.day.to_string());
    assert_eq!(due("2026-03-02 05:59", Some("2026-02-27 06:00")), None);
    assert_eq!(due("2026-03-02 06:00", Some("2026-02-27 06:00")).as_deref(), Some("2026-03-02"));
    assert_eq!(due("2026-03-02 06:01", Some("2026-03-02 06:00")), None);
    assert_eq!(due("2026-03-08 12:00", Some("2026-03-02 06:00")).as_deref(), Some("2026-03-06"), "one, the latest");
    assert_eq!(due("2026-03-02 12:00", None).as_deref(), Some("2026-03-02"));
    assert_eq!(due("2026-03-08 12:00", None), None, "a new installation sends no old digest");
}

#[test]
fn a_reply_covers_the_letters_it_could_have_seen() {
    let letter = |row, at: &str| Forwarded { row: MessageRow(row), since: utc(at), at: utc(at) };
    let rows = |rows: &[i64]| rows.iter().map(|r| MessageRow(*r)).collect::<Vec<_>>();
    // Letter 5 was held and passed on last.
    let letters = [letter(4, "2026-03-02 06:00"), letter(6, "2026-03-02 06:00"), letter(5, "2026-03-02 12:00")];
    let signed = utc("2026-03-02 10:00");
    assert_eq!(covered(&letters, Some(MessageRow(6)), signed), rows(&[4, 6]));
    assert_eq!(covered(&letters, Some(MessageRow(4)), signed), rows(&[4]));
    assert_eq!(covered(&letters, Some(MessageRow(5)), signed), rows(&[4, 6, 5]));
    assert_eq!(covered(&letters, None, signed), rows(&[4, 6]));
    assert_eq!(covered(&letters, Some(MessageRow(2)), signed), rows(&[]), "a forward of an earlier turn");
    assert_eq!(covered(&[], None, signed), rows(&[]));
    // Two gateways passed them on in another order than they came in; a server put the last but one off for a day.
    let letter = |row, since: &str, at: &str| Forwarded { row: MessageRow(row), since: utc(since), at: utc(at) };
    let letters = [
        letter(1, "2026-03-02 06:00", "2026-03-02 06:03"),
        letter(2, "2026-03-02 06:01", "2026-03-02 06:02"),
        letter(3, "2026-03-02 06:02", "2026-03-03 06:02"),
        letter(4, "2026-03-02 06:03", "2026-03-02 06:03"),
    ];
    assert_eq!(covered(&letters, Some(MessageRow(1)), signed), rows(&[1]), "the second came later");
    assert_eq!(covered(&letters, Some(MessageRow(2)), signed), rows(&[1, 2]), "both lay before the therapist");
    assert_eq!(covered(&letters, Some(MessageRow(4)), signed), rows(&[1, 2, 4]), "the third did not");
    assert_eq!(covered(&letters, Some(MessageRow(2)), utc("2026-03-02 06:02")), rows(&[2]), "nor did the first");
    assert_eq!(covered(&letters, None, signed), rows(&[1, 2, 4]));
}

#[test]
fn turns_open_end_and_reopen_with_one_acknowledgement() {
    let schedule = paris();
    let (mon, tue) = (slot(&schedule, "2026-03-02"), slot(&schedule, "2026-03-03"));
    assert_eq!(on_letter(false, Some(mon)), OnLetter::Open { due: Some(mon), acknowledge: true });
    assert_eq!(on_letter(true, Some(tue)), OnLetter::Join);
    assert_eq!(on_reply(true, 2, None), AfterReply::Ends);
    assert_eq!(on_reply(true, 1, Some(tue)), AfterReply::EndsAndOpens { due: tue, acknowledge: true });
    assert_eq!(on_reply(true, 0, Some(tue)), AfterReply::StaysOpen);
    assert_eq!(on_reply(false, 0, None), AfterReply::Unprompted);
    let cancel = |now: &str, ended, next| on_cancel(&schedule, utc(now), ended, next);
    assert_eq!(cancel("2026-03-02 10:00", Some(mon), None), AfterCancel::Reopen { due: mon });
    assert_eq!(cancel("2026-03-03 10:00", Some(mon), None), AfterCancel::Reopen { due: tue });
    assert_eq!(cancel("2026-03-02 10:00", Some(mon), Some(tue)), AfterCancel::Merge { due: mon });
    assert_eq!(cancel("2026-03-02 10:00", None, Some(tue)), AfterCancel::Nothing);
}

#[test]
fn a_narrowed_client_has_some_of_the_slots_and_a_due_day_that_moves_on() {
    let narrow = paris().narrowed(&parse_weekdays("mar, ven").unwrap().to_vec()).unwrap();
    assert_eq!(narrow.weekdays().to_string(), "Tue,Fri");
    let (mon, tue) = (slot(&paris(), "2026-03-02"), slot(&paris(), "2026-03-03"));
    assert!(!narrow.has_slot(mon) && narrow.has_slot(tue) && paris().has_slot(mon));
    assert_eq!(narrow.due(utc("2026-03-02 05:00"), utc("2026-03-02 05:00")), Some(tue));
    assert_eq!(narrow.due_as_of(utc("2026-03-03 18:59"), tue), tue);
    assert_eq!(narrow.due_as_of(utc("2026-03-03 19:00"), tue).day, date("2026-03-06"));
}
