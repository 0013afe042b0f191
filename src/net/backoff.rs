//! How often we may try: jittered doubling waits, and a limit on log-ins. Pure: the time and the
//! random number are arguments.

use chrono::{DateTime, TimeDelta, Utc};

/// Doubling waits with jitter, for one thing that fails.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: TimeDelta,
    max: TimeDelta,
    failures: u32,
    not_before: Option<DateTime<Utc>>,
}

impl Backoff {
    /// The first wait is about `base`, the longest `max`.
    pub fn new(base: TimeDelta, max: TimeDelta) -> Self {
        let base = base.max(TimeDelta::milliseconds(1));
        Self { base, max: max.max(base), failures: 0, not_before: None }
    }

    /// Notes a failure and returns when to try again: `now` plus half to all of the doubled wait.
    /// `random` is uniform in `[0, 1)`; anything else is clamped.
    pub fn failed(&mut self, now: DateTime<Utc>, random: f64) -> DateTime<Utc> {
        let doubled = 2_i64.checked_pow(self.failures).unwrap_or(i64::MAX);
        let wait = self.base.num_milliseconds().saturating_mul(doubled).min(self.max.num_milliseconds());
        self.failures = self.failures.saturating_add(1);
        let random = if random.is_finite() { random.clamp(0.0, 1.0) } else { 1.0 };
        // Millisecond counts are far below 2^52, so the conversions are exact enough.
        let jittered = wait / 2 + ((wait - wait / 2) as f64 * random) as i64;
        let at = TimeDelta::try_milliseconds(jittered).and_then(|d| now.checked_add_signed(d)).unwrap_or(now);
        self.not_before = Some(at);
        at
    }

    /// Forgets the failures.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.not_before = None;
    }

    /// How many failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// How long to wait still; zero when it may be tried. A clock set back never makes the wait
    /// longer than `max`.
    pub fn wait(&self, now: DateTime<Utc>) -> TimeDelta {
        match self.not_before {
            Some(at) if at > now => (at - now).min(self.max),
            _ => TimeDelta::zero(),
        }
    }
}

/// A token bucket on log-ins: `burst` at once, then one each `every`.
#[derive(Debug, Clone)]
pub struct LoginLimiter {
    burst: u32,
    every: TimeDelta,
    tokens: u32,
    since: Option<DateTime<Utc>>,
}

impl LoginLimiter {
    pub fn new(burst: u32, every: TimeDelta) -> Self {
        let burst = burst.max(1);
        Self { burst, every: every.max(TimeDelta::milliseconds(1)), tokens: burst, since: None }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// How long to wait until there is one.
    pub fn take(&mut self, now: DateTime<Utc>) -> Result<(), TimeDelta> {
        let since = *self.since.get_or_insert(now);
        if now < since {
            // The clock was set back: count from here, give nothing.
            self.since = Some(now);
        } else {
            let earned = (now - since).num_milliseconds() / self.every.num_milliseconds();
            let missing = i64::from(self.burst - self.tokens);
            if earned >= missing {
                self.tokens = self.burst;
                self.since = Some(now);
            } else {
                self.tokens += u32::try_from(earned).unwrap_or(0);
                self.since = Some(since + self.every * i32::try_from(earned).unwrap_or(0));
            }
        }
        if self.tokens > 0 {
            self.tokens -= 1;
            return Ok(());
        }
        let next = self.since.unwrap_or(now) + self.every;
        Err((next - now).max(TimeDelta::milliseconds(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn waits_double_up_to_the_longest_and_are_forgotten_on_success() {
        let mut backoff = Backoff::new(TimeDelta::seconds(10), TimeDelta::seconds(60));
        let waits: Vec<i64> = (0..5).map(|_| (backoff.failed(at(0), 1.0) - at(0)).num_seconds()).collect();
        assert_eq!(waits, [10, 20, 40, 60, 60]);
        assert_eq!(backoff.wait(at(20)), TimeDelta::seconds(40));
        backoff.succeeded();
        assert_eq!(backoff.wait(at(0)), TimeDelta::zero());
        assert_eq!(backoff.failed(at(0), 0.0), at(5), "jitter takes away at most half");
    }

    #[test]
    fn a_hundred_failures_and_odd_randoms_do_not_overflow() {
        let mut backoff = Backoff::new(TimeDelta::seconds(1), TimeDelta::hours(1));
        for random in [0.5, f64::NAN, -3.0, 7.0, f64::INFINITY].into_iter().cycle().take(100) {
            let wait = backoff.failed(at(0), random) - at(0);
            assert!(wait > TimeDelta::zero() && wait <= TimeDelta::hours(1));
        }
    }

    #[test]
    fn a_clock_set_back_does_not_prolong_the_wait() {
        let mut backoff = Backoff::new(TimeDelta::seconds(10), TimeDelta::seconds(10));
        backoff.failed(at(100_000), 1.0);
        assert_eq!(backoff.wait(at(0)), TimeDelta::seconds(10));
    }

    #[test]
    fn log_ins_come_in_a_burst_and_then_one_by_one() {
        let mut limiter = LoginLimiter::new(3, TimeDelta::seconds(60));
        for _ in 0..3 {
            assert_eq!(limiter.take(at(0)), Ok(()));
        }
        assert_eq!(limiter.take(at(10)), Err(TimeDelta::seconds(50)));
        assert_eq!(limiter.take(at(60)), Ok(()));
        assert_eq!(limiter.take(at(61)), Err(TimeDelta::seconds(59)));
        for _ in 0..3 {
            assert_eq!(limiter.take(at(10_000)), Ok(()));
        }
        assert!(limiter.take(at(10_000)).is_err(), "the bucket never holds more than the burst");
        assert!(limiter.take(at(0)).is_err(), "a clock set back gives nothing");
    }
}
