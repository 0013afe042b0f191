//! Properties of the rhythm, over random days, zones, changes of the clock, holidays, absences,
//! downtime, second replies, cancels, urgent ones and the grace.
//!
//! The simulator below is a practice with one client: what `app` and `store` do in transactions it does
//! in a `Vec`, and after each step it checks what the database's UNIQUE index would.

#![expect(clippy::unwrap_used, reason = "tests may fail loudly")]

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use cadre::domain::delivery::{self, Attempts, Bytes, Next, Outcome};
use cadre::domain::holidays::Calendar;
use cadre::domain::rhythm::{
    AfterCancel, IncomingReply, OpenTurn, Placement, Release, Schedule, Second, Slot, TakenDays, Taker, WaitingReply,
    clamp_arrival, digest_due, missed, on_cancel, place, place_reply, release, reminder_due, second_reply,
};
use cadre::model::{MessageRow, SecondReply};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};
use chrono_tz::Tz;
use proptest::prelude::*;

const ZONES: [Tz; 10] = [
    chrono_tz::Europe::Paris,
    chrono_tz::Europe::London,
    chrono_tz::America::Toronto,
    chrono_tz::America::St_Johns,
    chrono_tz::America::Nuuk,
    chrono_tz::Pacific::Auckland,
    chrono_tz::Pacific::Chatham,
    chrono_tz::Asia::Kolkata,
    chrono_tz::Africa::Cairo,
    chrono_tz::Australia::Lord_Howe,
];

const CRONS: [&str; 8] = [
    "0 0 18 * * Mon-Fri",
    "0 30 2 * * Mon-Sun",
    "0 0 0 * * *",
    "0 59 23 * * Mon-Sat",
    "0 0 12,18 * * Mon-Fri",
    "0 15,45 1,2,3 * * Sat,Sun",
    "0 0 18 * * Tue,Fri",
    "0 0 9 1-7 * *",
];

/// Reading the rules takes longer than a case does, so it is done once.
static CALENDARS: LazyLock<Vec<Arc<Calendar>>> = LazyLock::new(|| {
    [("FR", Some("57")), ("CH", Some("TI")), ("GB", Some("SCT")), ("XX", None)]
        .into_iter()
        .map(|(country, region)| Arc::new(Calendar::for_country(country, region).unwrap()))
        .collect()
});

/// A moment from 2024 on, over six years and to the minute.
fn moment() -> impl Strategy<Value = DateTime<Utc>> {
    (0_i64..6 * 366 * 24 * 60).prop_map(|minutes| DateTime::from_timestamp(1_704_067_200 + minutes * 60, 0).unwrap())
}

/// Every change of the clock in [`ZONES`] from 2024 to 2029, to the quarter of an hour.
static CHANGES: LazyLock<Vec<i64>> = LazyLock::new(|| {
    let offset = |tz: Tz, at: i64| {
        let utc = DateTime::from_timestamp(at, 0).unwrap();
        utc.with_timezone(&tz).naive_local() - utc.naive_utc()
    };
    let quarters = (0..6 * 366 * 96).map(|quarter| 1_704_067_200 + quarter * 900);
    quarters.filter(|at| ZONES.iter().any(|tz| offset(*tz, at - 900) != offset(*tz, *at))).collect()
});

/// A moment within some hours of a change of the clock, in UTC or (read as such) in local time.
fn near_a_change() -> impl Strategy<Value = DateTime<Utc>> {
    (0..CHANGES.len(), proptest::sample::select(vec![0_i64, -5, -4, -3, 1, 2, 11, 13]), -90_i64..90).prop_map(
        |(change, hours, minutes)| DateTime::from_timestamp(CHANGES[change] + hours * 3600 + minutes * 60, 0).unwrap(),
    )
}

fn any_moment() -> impl Strategy<Value = DateTime<Utc>> {
    prop_oneof![moment(), near_a_change()]
}

fn schedules() -> impl Strategy<Value = Schedule> {
    (
        proptest::sample::select(ZONES.to_vec()),
        proptest::sample::select(CRONS.to_vec()),
        0..CALENDARS.len(),
        prop::option::of((any_moment(), 0_u64..40)),
        0_i64..5,
        0_u32..24,
    )
        .prop_map(|(tz, cron, calendar, absence, grace, cutoff)| {
            let calendar = Arc::clone(&CALENDARS[calendar]);
            let absences = absence
                .map(|(from, days)| {
                    let from = from.date_naive();
                    vec![(from, from.checked_add_days(Days::new(days)).unwrap())]
                })
                .unwrap_or_default();
            let cutoff = NaiveTime::from_hms_opt(cutoff, 0, 0).unwrap();
            Schedule::new(tz, cron, cutoff, TimeDelta::hours(grace), calendar, absences).unwrap()
        })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Leaving,
    Sent,
    Gone,
}

#[derive(Debug, Clone)]
struct Reply {
    newest: i64,
    signed_at: DateTime<Utc>,
    slot: Slot,
    day: NaiveDate,
    state: State,
    outside: bool,
    times_claimed: u32,
    /// Whether it was claimed before its slot: only the grace and `/urgent` do that.
    at_once: bool,
}

#[derive(Debug, Clone)]
enum Step {
    /// The program runs on, a tick every twenty minutes.
    Run { ticks: u8 },
    /// It is down.
    Down { minutes: u16 },
    /// The therapist answers; the turn may have been due.
    Reply { newest: i64, delay_in_mail: u16, urgent: bool, was_due: bool },
    /// `/cancel` of the last waiting one.
    Cancel,
    /// The server takes what is leaving.
    Delivered,
    /// The server refuses it for good: the day becomes free.
    Refused,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u8..80).prop_map(|ticks| Step::Run { ticks }),
        2 => (1_u16..6_000).prop_map(|minutes| Step::Down { minutes }),
        5 => (0_i64..4, 0_u16..600, prop::bool::weighted(0.1), any::<bool>())
            .prop_map(|(newest, delay_in_mail, urgent, was_due)| Step::Reply { newest, delay_in_mail, urgent, was_due }),
        1 => Just(Step::Cancel),
        3 => Just(Step::Delivered),
        1 => Just(Step::Refused),
    ];
    proptest::collection::vec(step, 1..60)
}

fn policies() -> impl Strategy<Value = SecondReply> {
    proptest::sample::select(SecondReply::ALL.to_vec())
}

struct Practice {
    schedule: Schedule,
    policy: SecondReply,
    now: DateTime<Utc>,
    replies: Vec<Reply>,
}

impl Practice {
    fn taken_beside(&self, index: Option<usize>) -> TakenDays {
        let others = self.replies.iter().enumerate().filter(|(i, r)| Some(*i) != index && !r.outside);
        others
            .filter_map(|(_, reply)| match reply.state {
                State::Waiting => Some((reply.day, Taker::Waiting)),
                State::Leaving => Some((reply.day, Taker::Leaving)),
                State::Sent => Some((reply.day, Taker::Sent)),
                State::Gone => None,
            })
            .collect()
    }

    fn claim(&mut self, index: usize, day: NaiveDate) {
        let reply = &mut self.replies[index];
        assert_eq!(reply.state, State::Waiting);
        assert!(reply.at_once || self.now >= reply.slot.at, "left before its slot");
        assert!(reply.outside || day == self.schedule.local_day(self.now));
        reply.day = day;
        reply.state = State::Leaving;
        reply.times_claimed += 1;
    }

    fn tick(&mut self) {
        let mut due: Vec<usize> =
            (0..self.replies.len()).filter(|i| self.replies[*i].state == State::Waiting).collect();
        due.sort_by_key(|i| (self.replies[*i].slot, self.replies[*i].signed_at));
        for index in due {
            let reply = &self.replies[index];
            let waiting = WaitingReply {
                newest_answered: Some(MessageRow(reply.newest)),
                signed_at: reply.signed_at,
                leaving: false,
                slot: reply.slot,
            };
            match release(&self.schedule, self.now, &waiting, &self.taken_beside(Some(index))) {
                Release::NotYet => {}
                Release::Leave { day } => self.claim(index, day),
                Release::LeaveAndMoveOther { day, other_to } => {
                    let other = self
                        .replies
                        .iter()
                        .position(|r| r.state == State::Waiting && r.day == day && !r.outside)
                        .unwrap();
                    assert_ne!(other, index);
                    self.replies[other].slot = other_to;
                    self.replies[other].day = other_to.day;
                    self.claim(index, day);
                }
                Release::Move(slot) => {
                    assert!(slot.at > self.now);
                    self.replies[index].slot = slot;
                    self.replies[index].day = slot.day;
                }
                Release::NoSlot => panic!("the calendar ended"),
            }
            self.unique();
        }
    }

    fn accept(&mut self, newest: i64, signed_at: DateTime<Utc>, urgent: bool, was_due: bool) {
        let open = |r: &&Reply| matches!(r.state, State::Waiting | State::Leaving) && !r.outside;
        let first = self
            .replies
            .iter()
            .rposition(|r| open(&r) && r.newest == newest)
            .or_else(|| self.replies.iter().rposition(|r| open(&r)));
        if let Some(first) = first.filter(|_| !urgent) {
            let old = &self.replies[first];
            let waiting = WaitingReply {
                newest_answered: Some(MessageRow(old.newest)),
                signed_at: old.signed_at,
                leaving: old.state == State::Leaving,
                slot: old.slot,
            };
            let new = IncomingReply { newest_answered: Some(MessageRow(newest)), signed_at };
            match second_reply(self.policy, &waiting, &new) {
                Second::Replace => {
                    assert_eq!(old.state, State::Waiting, "what is leaving can't be replaced");
                    assert!(signed_at >= old.signed_at);
                    let place_of_old = Reply { newest, signed_at, ..old.clone() };
                    self.replies[first].state = State::Gone;
                    self.replies.push(place_of_old);
                    return self.unique();
                }
                Second::NextSlot => {}
                Second::Hold | Second::Refuse | Second::IgnoreOlder => return,
            }
        }
        let due = if was_due { self.schedule.last_slot_at_or_before(self.now) } else { None };
        let any_slot = self.schedule.next_slot(self.now).unwrap();
        let mut reply = Reply {
            newest,
            signed_at,
            slot: any_slot,
            day: any_slot.day,
            state: State::Waiting,
            outside: urgent,
            times_claimed: 0,
            at_once: false,
        };
        let placed = place_reply(&self.schedule, self.now, due, &self.taken_beside(None), urgent);
        match placed {
            Placement::Outside => reply.at_once = true,
            Placement::AtOnce { day, missed } => {
                assert!(self.now - missed.at <= self.schedule.grace());
                reply.day = day;
                reply.at_once = true;
            }
            Placement::At(slot) => {
                reply.slot = slot;
                reply.day = slot.day;
            }
            Placement::NoSlot => panic!("the calendar ended"),
        }
        let (day, at_once) = (reply.day, reply.at_once);
        self.replies.push(reply);
        if at_once {
            self.claim(self.replies.len() - 1, day);
        }
        self.unique();
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Run { ticks } => {
                for _ in 0..ticks {
                    self.now += TimeDelta::minutes(20);
                    self.tick();
                }
            }
            Step::Down { minutes } => {
                self.now += TimeDelta::minutes(i64::from(minutes)); // The mail is fetched before the first tick.
            }
            Step::Reply { newest, delay_in_mail, urgent, was_due } => {
                let signed_at = self.now - TimeDelta::minutes(i64::from(delay_in_mail));
                self.accept(newest, signed_at, urgent, was_due);
            }
            Step::Cancel => {
                if let Some(reply) = self.replies.iter_mut().rev().find(|r| r.state == State::Waiting) {
                    reply.state = State::Gone;
                    let back = on_cancel(&self.schedule, self.now, Some(reply.slot), None);
                    assert!(matches!(back, AfterCancel::Reopen { .. }));
                }
            }
            Step::Delivered => self.end_leaving(State::Sent),
            Step::Refused => self.end_leaving(State::Gone),
        }
    }

    fn end_leaving(&mut self, state: State) {
        for reply in self.replies.iter_mut().filter(|r| r.state == State::Leaving) {
            reply.state = state;
        }
    }

    /// What the partial UNIQUE index on (client, leave day) holds.
    fn unique(&self) {
        let mut days = BTreeSet::new();
        for reply in self.replies.iter().filter(|r| r.state != State::Gone && !r.outside) {
            assert!(days.insert(reply.day), "two replies hold {}", reply.day);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_replies_of_one_client_leave_on_one_local_day_and_each_leaves_once(
        schedule in schedules(), policy in policies(), start in any_moment(), steps in steps(),
    ) {
        let mut practice = Practice { schedule, policy, now: start, replies: Vec::new() };
        for step in &steps {
            practice.step(step);
        }
        // The practice runs on until nothing waits.
        for _ in 0..200 {
            practice.end_leaving(State::Sent);
            let next = practice.replies.iter().filter(|r| r.state == State::Waiting).map(|r| r.slot.at).min();
            let Some(next) = next else { break };
            practice.now = practice.now.max(next);
            practice.tick();
        }
        for reply in &practice.replies {
            prop_assert!(matches!(reply.state, State::Sent | State::Gone), "one never left");
            prop_assert!(reply.times_claimed <= 1);
            prop_assert!(reply.state != State::Sent || reply.times_claimed == 1);
        }
    }

    #[test]
    fn slots_are_strictly_monotone_and_bear_their_local_date(schedule in schedules(), start in any_moment()) {
        let mut before = start;
        for slot in schedule.next_slots(start, 12) {
            prop_assert!(slot.at > before);
            prop_assert_eq!(slot.day, schedule.local_day(slot.at));
            prop_assert_eq!(schedule.last_slot_at_or_before(slot.at), Some(slot));
            prop_assert_eq!(schedule.next_slot(slot.at - TimeDelta::nanoseconds(1)), Some(slot));
            prop_assert!(schedule.slot_of_day(slot.day).is_some_and(|first| first <= slot));
            before = slot.at;
        }
    }

    #[test]
    fn last_and_next_slot_have_nothing_between_them(schedule in schedules(), now in any_moment()) {
        let last = schedule.last_slot_at_or_before(now).unwrap();
        prop_assert!(last.at <= now);
        prop_assert_eq!(schedule.next_slot(last.at), schedule.next_slot(now));
    }

    #[test]
    fn a_local_time_is_placed_at_the_first_instant_that_shows_it(
        tz in proptest::sample::select(ZONES.to_vec()), naive in any_moment(),
    ) {
        let naive = naive.naive_utc();
        let at = place(tz, naive).unwrap();
        let shown = |t: DateTime<Utc>| t.with_timezone(&tz).naive_local();
        prop_assert!(shown(at) >= naive);
        for earlier in [1, 60, 1800, 3599, 3600, 7200, 86_400] {
            prop_assert!(shown(at - TimeDelta::seconds(earlier)) < naive);
        }
    }

    #[test]
    fn a_narrowed_rhythm_is_a_subset(schedule in schedules(), start in any_moment(), bits in 1_u8..128) {
        let days: Vec<Weekday> = (0..7).filter(|d| bits >> d & 1 == 1).map(|d| Weekday::try_from(d).unwrap()).collect();
        if let Ok(narrow) = schedule.narrowed(&days) {
            for slot in narrow.next_slots(start, 5) {
                prop_assert_eq!(schedule.next_slot(slot.at - TimeDelta::nanoseconds(1)), Some(slot));
            }
            prop_assert!(narrow.narrowed(&days).is_ok());
        }
    }

    #[test]
    fn due_is_after_arrival_and_first_sight_and_never_past_the_slot_it_should_be(
        schedule in schedules(), arrival in any_moment(), seen_after in 0_i64..10_000,
    ) {
        let seen = arrival + TimeDelta::minutes(seen_after);
        let due = schedule.due(arrival, seen).unwrap();
        prop_assert!(due.at > arrival && due.at > seen);
        let prompt = schedule.due(arrival, arrival).unwrap();
        prop_assert!(due.at >= prompt.at);
        prop_assert!(schedule.cutoff_of(prompt.day).is_some_and(|cutoff| arrival < cutoff));
        let later = schedule.due(arrival + TimeDelta::minutes(1), arrival + TimeDelta::minutes(1)).unwrap();
        prop_assert!(later.at >= prompt.at, "a later letter is never due earlier");
    }

    #[test]
    fn arrival_lies_between_the_last_scan_and_the_first_sight(
        internal in prop::option::of(any_moment()), scan in prop::option::of(any_moment()), seen in any_moment(),
    ) {
        let arrival = clamp_arrival(internal, scan, seen);
        prop_assert!(arrival <= seen);
        prop_assert!(scan.is_none_or(|scan| arrival >= scan || scan > seen));
    }

    #[test]
    fn misses_are_told_once_a_day_and_name_a_day_ahead(
        schedule in schedules(), arrival in any_moment(), steps in proptest::collection::vec(1_i64..4_000, 1..60),
    ) {
        let due = schedule.due(arrival, arrival).unwrap();
        let mut turn = OpenTurn { due, reply_waiting: false, last_missed: None, misses_running: 0 };
        let mut now = arrival;
        let mut days = BTreeSet::new();
        for minutes in steps {
            now += TimeDelta::minutes(minutes);
            while let Some(miss) = missed(&schedule, now, now, &turn, &TakenDays::new()) {
                prop_assert!(miss.slot.at + schedule.grace() <= now && miss.slot.at >= due.at);
                prop_assert!(miss.next.at > now);
                prop_assert!(days.insert(miss.slot.day), "twice for one day");
                prop_assert_eq!(miss.second_running, days.len() == 2);
                turn.last_missed = Some(miss.slot);
                turn.misses_running = miss.running;
            }
        }
        prop_assert_eq!(usize::try_from(turn.misses_running).unwrap(), days.len());
    }

    #[test]
    fn reminders_come_once_a_slot_before_it_and_digests_once_a_time(
        schedule in schedules(), start in any_moment(), steps in proptest::collection::vec(1_i64..2_000, 1..60),
    ) {
        let (mut now, mut reminded, mut digest) = (start, None::<Slot>, Some(start));
        for minutes in steps {
            now += TimeDelta::minutes(minutes);
            if let Some(slot) = reminder_due(&schedule, now, TimeDelta::hours(3), reminded) {
                prop_assert!(slot.at > now && slot.at - now <= TimeDelta::hours(3));
                prop_assert!(reminded.is_none_or(|last| last.at < slot.at));
                reminded = Some(slot);
            }
            if let Some(slot) = digest_due(&schedule, now, digest) {
                prop_assert!(slot.at <= now && digest.is_none_or(|last| last < slot.at));
                digest = Some(now);
                prop_assert_eq!(digest_due(&schedule, now, digest), None);
            }
        }
    }

    #[test]
    fn bytes_once_past_the_dot_never_change_and_every_mail_ends(
        outcomes in proptest::collection::vec((0_u8..3, 0.0_f64..=1.0), 1..200), start in any_moment(),
    ) {
        let (mut now, mut attempts, mut frozen) = (start, Attempts::default(), false);
        prop_assert_eq!(delivery::bytes(attempts, false), Bytes::Compose);
        for (outcome, jitter) in outcomes {
            let outcome = [Outcome::Temporary { code: 451 }, Outcome::Unreachable, Outcome::MaybeDelivered][usize::from(outcome)];
            let (begun, retry) = delivery::begin_attempt(now, attempts);
            prop_assert!(retry > now);
            frozen |= outcome == Outcome::MaybeDelivered;
            match delivery::after_attempt(now, begun, outcome, jitter) {
                Next::Retry { at, attempts: after } => {
                    prop_assert!(at > now && at - now <= delivery::LONGEST_WAIT * 6 / 5);
                    prop_assert_eq!(delivery::bytes(after, false) == Bytes::Frozen, frozen);
                    prop_assert!(delivery::bytes(after, false) != Bytes::Compose);
                    (now, attempts) = (at, after);
                }
                Next::Failed { .. } => {
                    prop_assert!(now - start >= delivery::GIVE_UP_AFTER);
                    break;
                }
                Next::Sent => prop_assert!(false, "nothing was delivered"),
            }
        }
    }
}
