//! The only `now()`. Everything that decides takes the time as an argument.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The latest instant that the wall clock has shown to this process, in microseconds.
static LATEST: AtomicI64 = AtomicI64::new(0);

/// A step back smaller than this is a clock that is being adjusted, in microseconds: what was just made due must not
/// lie in the future of the next look.
const ADJUSTED: i64 = 5_000_000;

use chrono::{DateTime, Utc};

/// Where the time comes from.
#[derive(Clone)]
pub enum Clock {
    /// The machine's wall clock.
    System,
    /// Microseconds since 1970, moved by tests.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `at` until [`Clock::set`] moves it.
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(at.timestamp_micros())))
    }

    /// The current time, UTC, with microseconds.
    pub fn now(&self) -> DateTime<Utc> {
        match self {
            Self::System => {
                let now = Utc::now();
                let micros = now.timestamp_micros();
                let latest = LATEST.swap(micros, Ordering::Relaxed);
                let steady = if latest > micros && latest - micros < ADJUSTED { latest } else { micros };
                LATEST.fetch_max(steady, Ordering::Relaxed);
                DateTime::from_timestamp_micros(steady).unwrap_or(now)
            }
            Self::Fixed(micros) => DateTime::from_timestamp_micros(micros.load(Ordering::Relaxed)).unwrap_or_default(),
        }
    }

    /// Moves a fixed clock; the system clock is left alone.
    pub fn set(&self, at: DateTime<Utc>) {
        if let Self::Fixed(micros) = self {
            micros.store(at.timestamp_micros(), Ordering::Relaxed);
        }
    }
}

/// Microseconds of the system's monotonic clock (CLOCK_MONOTONIC), as systemd counts them; 0 where there is none.
pub fn monotonic_micros() -> i64 {
    use nix::sys::time::TimeValLike;
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(0, |time| time.num_microseconds())
}
