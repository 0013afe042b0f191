//! The few words that systemd wants to hear (sd_notify): READY, RELOADING, WATCHDOG, STOPPING.

use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Tells the service manager, where there is one that listens; otherwise nothing happens.
fn tell(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let Ok(socket) = UnixDatagram::unbound() else { return };
    let bytes = path.as_encoded_bytes();
    let sent = match bytes.split_first() {
        Some((b'@', name)) => {
            use std::os::linux::net::SocketAddrExt;
            std::os::unix::net::SocketAddr::from_abstract_name(name)
                .and_then(|address| socket.send_to_addr(state.as_bytes(), &address))
        }
        _ => socket.send_to(state.as_bytes(), &path),
    };
    if sent.is_err() {
        tracing::debug!("the service manager doesn't listen");
    }
}

/// Everything that is needed is open; work begins.
pub fn ready() {
    tell("READY=1");
}

/// The configuration is being read again; [`ready`] follows. The time tells systemd which request this answers
/// (`Type=notify-reload`).
pub fn reloading() {
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", crate::clock::monotonic_micros()));
}

/// How long systemd waits for a sign of life (`WATCHDOG_USEC`, sd_watchdog_enabled(3)).
static PATIENCE: LazyLock<Duration> = LazyLock::new(|| {
    let micros = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
    micros.map_or(Duration::from_secs(120), Duration::from_micros)
});

static PULSES: Mutex<Vec<Weak<Pulse>>> = Mutex::new(Vec::new());

/// One practice's signs of life. systemd gets them while every practice of this process gives some: none hides another
/// one that stands still.
#[derive(Debug)]
pub struct Pulse(Mutex<Instant>);

impl Pulse {
    /// Counts from now on, for as long as it is kept.
    pub fn start() -> Arc<Self> {
        let pulse = Arc::new(Self(Mutex::new(Instant::now())));
        let mut pulses = PULSES.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.retain(|other| other.strong_count() > 0);
        pulses.push(Arc::downgrade(&pulse));
        pulse
    }

    /// The work goes on.
    pub fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let pulses = PULSES.lock().unwrap_or_else(PoisonError::into_inner);
        if pulses.iter().filter_map(Weak::upgrade).all(|pulse| pulse.silent_for() < *PATIENCE / 2) {
            tell("WATCHDOG=1");
        }
    }

    /// Since the last sign of life.
    pub fn silent_for(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Beats while this goes on, which may take longer than systemd waits and ends by itself.
    pub async fn while_it_takes<T>(&self, work: impl Future<Output = T>) -> T {
        // On the heap: what waits for it holds it too, and a stack has its end.
        let mut work = Box::pin(work);
        let mut every = tokio::time::interval(*PATIENCE / 8);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = every.tick() => self.beat(),
            }
        }
    }
}

/// The end has begun.
pub fn stopping() {
    tell("STOPPING=1");
}
