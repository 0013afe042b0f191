//! A bad network between the program and a server: cuts a connection in mid-answer, or falls silent.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;

#[derive(Default)]
struct State {
    /// What a connection may bring from the server before it is cut, bytes; 0: as much as it likes.
    cut_after: AtomicU64,
    silent: AtomicBool,
    ended: AtomicBool,
    connections: AtomicU32,
    cuts: AtomicU32,
}

/// Passes bytes on between a port of its own and a server's.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// In front of a server on 127.0.0.1.
    pub fn before(target: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let (Ok(up_from), Ok(up_to)) = (client.try_clone(), server.try_clone()) else { continue };
                let (one, two) = (Arc::clone(&shared), Arc::clone(&shared));
                std::thread::spawn(move || pump(up_from, up_to, &one, false));
                std::thread::spawn(move || pump(server, client, &two, true));
            }
        });
        Ok(Self { port, state })
    }

    /// Cuts each connection once the server has said this many bytes; 0 ends that.
    pub fn cut_after(&self, bytes: u64) {
        self.state.cut_after.store(bytes, Ordering::SeqCst);
    }

    /// The server's answers don't come through any more, but no connection ends.
    pub fn silent(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::SeqCst);
    }

    pub fn connections(&self) -> u32 {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How often a connection was cut.
    pub fn cuts(&self) -> u32 {
        self.state.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, state: &State, answers: bool) {
    let mut buffer = [0; 16 * 1024];
    let mut total = 0;
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 {
            break;
        }
        while answers && state.silent.load(Ordering::SeqCst) && !state.ended.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
        }
        total += n as u64;
        let limit = state.cut_after.load(Ordering::SeqCst);
        if answers && limit > 0 && total > limit {
            let kept = n.saturating_sub(usize::try_from(total - limit).unwrap_or(n));
            let _ = to.write_all(&buffer[..kept]);
            state.cuts.fetch_add(1, Ordering::SeqCst);
            break;
        }
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
