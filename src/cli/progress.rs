//! How far long work has come: a bar on a terminal's standard error, nothing anywhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that takes no longer shows no bar.
const WORTH_IT: Duration = Duration::from_millis(300);

/// Between two steps of a spinner.
const TURN: Duration = Duration::from_millis(120);

/// [`WORTH_IT`]; no time at all with a test's `CADRE_PROGRESS_AT_ONCE`, whose work is small.
fn worth_it() -> Duration {
    #[cfg(debug_assertions)]
    if std::env::var_os("CADRE_PROGRESS_AT_ONCE").is_some() {
        return Duration::ZERO;
    }
    WORTH_IT
}

/// One bar; it is cleared when it is dropped.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar over `what` (a plural: `rows`). Nothing is shown where `json` is printed or standard error is no terminal.
    pub fn new(json: bool, what: &'static str) -> Self {
        let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} {msg}, {eta} left") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// So many of so many are done; with the last the bar goes.
    pub fn at(&self, done: u64, of: u64) {
        if done >= of {
            return self.0.finish_and_clear();
        }
        if self.0.elapsed() >= worth_it() {
            self.0.set_length(of);
            self.0.set_position(done);
        }
    }
}

/// A turning sign beside a word, for work whose end nobody knows; it is cleared when it is dropped.
pub struct Spinner(ProgressBar);

impl Spinner {
    /// A spinner beside `what` ("asking the mailbox"). Nothing is shown where `json` is printed or standard error is no
    /// terminal.
    pub fn new(json: bool, what: &'static str) -> Self {
        let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let spinner = ProgressBar::with_draw_target(None, target).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} … {elapsed}") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(TURN);
        Self(spinner)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
