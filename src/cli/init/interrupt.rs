//! Ctrl-C, a lost terminal or a stop from outside: nothing is left behind, and the terminal is as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

/// As shells count a process that SIGINT ended.
pub(super) const INTERRUPTED: u8 = 130;

/// Watches as long as it lives; clones watch together.
#[derive(Clone, Default)]
pub(super) struct Interrupt {
    writing: Arc<AtomicBool>,
    wanted: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes the signals from now on. While nothing is written the process ends at once; a terminal whose echo is off for
    /// a password has it back first.
    pub fn watch() -> Self {
        let interrupt = Self::default();
        let before: Option<Termios> = tcgetattr(std::io::stdin()).ok();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let Ok(mut signals) = signal(kind) else { continue };
            let (own, before) = (interrupt.clone(), before.clone());
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    own.wanted.store(true, Ordering::SeqCst);
                    if !own.writing.load(Ordering::SeqCst) {
                        if let Some(before) = &before {
                            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
                        }
                        eprintln!("\ncadre init: interrupted; nothing was made");
                        std::process::exit(INTERRUPTED.into());
                    }
                }
            });
        }
        interrupt
    }

    /// From now on files are written: a signal only says that they are to be taken away again.
    pub fn begin_writing(&self) {
        self.writing.store(true, Ordering::SeqCst);
    }

    /// Whether somebody wants the end.
    pub fn wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst)
    }
}
