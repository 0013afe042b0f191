//! `status --watch`: the screen again every two seconds, in the same place.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{failed, read};
use crate::config::Config;
use crate::store::{Store, StoreError};

const REFRESH: Duration = Duration::from_secs(2);
/// The other screen of a terminal, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// A line of JSON each time, for programs, until they end it.
pub(super) async fn lines(config: &Config, store: &Store) -> Result<(), StoreError> {
    loop {
        let state = read(config, store).await?;
        let line = serde_json::to_string(&state).unwrap_or_default();
        if writeln!(std::io::stdout(), "{line}").is_err() {
            // Whoever read it has gone.
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(REFRESH) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// The screen, until q, Ctrl-C or SIGTERM.
pub(super) async fn screen(config: &Config, store: &Store) -> ExitCode {
    if !std::io::stdout().is_terminal() {
        eprintln!("cadre status --watch refreshes a terminal, and this is none: leave --watch out, or add --json");
        return ExitCode::from(2);
    }
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return ExitCode::FAILURE };
    let (terminal, mut pressed) = Terminal::take();
    let outcome = loop {
        let state = match read(config, store).await {
            Ok(state) => state,
            Err(error) => break Err(error),
        };
        let mut text = super::screen::screen(&state, config.practice.timezone);
        if anstream::AutoStream::choice(&std::io::stdout()) == anstream::ColorChoice::Never {
            text = anstream::adapter::strip_str(&text).to_string();
        }
        // Line by line over the old one, so that nothing flickers; what is left of it goes.
        print!("\x1b[H{}\x1b[K\n  q ends this\x1b[J", text.replace('\n', "\x1b[K\n"));
        let _ = std::io::stdout().flush();
        tokio::select! {
            () = tokio::time::sleep(REFRESH) => {}
            Some(()) = pressed.recv() => break Ok(()),
            _ = tokio::signal::ctrl_c() => break Ok(()),
            _ = terminate.recv() => break Ok(()),
        }
    };
    drop(terminal);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// The terminal while it is ours: put back as it was when dropped.
struct Terminal {
    before: Option<Termios>,
}

impl Terminal {
    /// Takes it; a message comes when q is pressed.
    fn take() -> (Self, mpsc::Receiver<()>) {
        let (press, pressed) = mpsc::channel(1);
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut single = before.clone();
            // Keys come one by one and aren't shown; Ctrl-C stays a signal.
            single.local_flags &= !(LocalFlags::ICANON | LocalFlags::ECHO);
            let _ = tcsetattr(&stdin, SetArg::TCSANOW, &single);
            // A thread of its own, which ends with the program: reading a terminal can't be given up.
            std::thread::spawn(move || {
                let keys = std::io::stdin().lock().bytes();
                let _ = keys.map_while(Result::ok).find(|key| b"qQ".contains(key)).map(|_| press.blocking_send(()));
            });
        }
        print!("{ENTER}");
        (Self { before }, pressed)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        print!("{LEAVE}");
        let _ = std::io::stdout().flush();
        if let Some(before) = &self.before {
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}
