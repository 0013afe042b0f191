//! When an alert that nobody has answered is repeated (SPEC section 7).

use chrono::{DateTime, Days, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// How long after the first alert it is repeated day and night.
const DENSE: TimeDelta = TimeDelta::hours(4);
const DENSE_PACE: TimeDelta = TimeDelta::minutes(30);
const PACE: TimeDelta = TimeDelta::hours(2);
/// Local hours between which it is repeated later.
const MORNING: NaiveTime = NaiveTime::from_hms_opt(7, 0, 0).expect("a constant time");
const EVENING: NaiveTime = NaiveTime::from_hms_opt(22, 0, 0).expect("a constant time");

/// When the alert first sent at `first` and last sent at `last` is due again, while nobody has answered.
pub fn next_alert(first: DateTime<Utc>, last: DateTime<Utc>, tz: Tz) -> DateTime<Utc> {
    if last.signed_duration_since(first) < DENSE {
        return last + DENSE_PACE;
    }
    let due = last + PACE;
    let local = due.with_timezone(&tz).naive_local();
    if (MORNING..=EVENING).contains(&local.time()) {
        return due;
    }
    let day = if local.time() < MORNING { local.date() } else { local.date() + Days::new(1) };
    // Where the clock skips 07:00, an hour later is morning too.
    let morning = tz.from_local_datetime(&day.and_time(MORNING)).earliest();
    let morning = morning.or_else(|| tz.from_local_datetime(&(day.and_time(MORNING) + TimeDelta::hours(1))).earliest());
    morning.map_or(due, |m| m.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ZONES: [Tz; 6] = [
        chrono_tz::Europe::Paris,
        chrono_tz::Europe::London,
        chrono_tz::America::Toronto,
        chrono_tz::America::St_Johns,
        chrono_tz::Pacific::Chatham,
        chrono_tz::Australia::Lord_Howe,
    ];

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn first_every_half_hour_for_four_hours_then_every_two_hours_by_day() {
        let first: DateTime<Utc> = "2026-03-02T13:10:00Z".parse().unwrap();
        let mut all = vec![first];
        for _ in 0..14 {
            all.push(next_alert(first, all[all.len() - 1], chrono_tz::Europe::Paris));
        }
        let shown: Vec<String> =
            all.iter().map(|t| t.with_timezone(&chrono_tz::Europe::Paris).format("%d %H:%M").to_string()).collect();
        assert_eq!(shown[..3], ["02 14:10", "02 14:40", "02 15:10"]);
        assert_eq!(shown[8..12], ["02 18:10", "02 20:10", "03 07:00", "03 09:00"]);
    }

    proptest! {
        #[test]
        fn repeats_keep_their_pace_and_their_hours(
            first in 1_700_000_000_i64..2_000_000_000, zone in 0_usize..ZONES.len(), delay in 0_i64..900
        ) {
            let (first, tz) = (at(first), ZONES[zone]);
            let mut last = first;
            for _ in 0..40 {
                let next = next_alert(first, last, tz);
                let gap = next - last;
                if last - first < DENSE {
                    prop_assert_eq!(gap, DENSE_PACE);
                } else {
                    let local = next.with_timezone(&tz).time();
                    prop_assert!((MORNING..=EVENING).contains(&local), "{}", local);
                    // The longest night: after 22:00 until 07:00, and an hour of the clock.
                    prop_assert!(gap >= TimeDelta::hours(2) && gap <= TimeDelta::hours(12), "{}", gap);
                }
                // The loop that sends may be late.
                last = next + TimeDelta::seconds(delay);
            }
        }
    }
}
