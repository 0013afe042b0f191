//! The few words that systemd wants to hear (sd_notify): READY, RELOADING, WATCHDOG, STOPPING.

use std::os::unix::net::UnixDatagram;

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

/// The work goes on.
pub fn watchdog() {
    tell("WATCHDOG=1");
}

/// The end has begun.
pub fn stopping() {
    tell("STOPPING=1");
}
