//! How far long work has come: a bar on a terminal's standard error, nothing anywhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that takes no longer shows no bar.
const WORTH_IT: Duration = Duration::from_millis(300);

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
        if self.0.elapsed() >= WORTH_IT {
            self.0.set_length(of);
            self.0.set_position(done);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
