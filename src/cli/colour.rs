//! How what is printed looks: colours, and the width of the window.

use std::io::IsTerminal;
use std::sync::OnceLock;

use clap::ColorChoice;

static CHOICE: OnceLock<ColorChoice> = OnceLock::new();

/// Keeps what `--color` says, once.
pub fn choose(choice: ColorChoice) {
    let _ = CHOICE.set(choice);
    match choice {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// Whether this stream gets colours: as `--color` says, else on a terminal that has them, unless NO_COLOR is set.
pub fn on(stream: &impl IsTerminal) -> bool {
    match CHOICE.get() {
        Some(ColorChoice::Always) => true,
        Some(ColorChoice::Never) => false,
        _ => {
            let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            stream.is_terminal() && !unwanted && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

/// The columns of this stream's window; none where it is no terminal.
pub fn width(stream: &impl IsTerminal) -> Option<usize> {
    // One column stays free: some terminals begin a new line at the last one.
    stream.is_terminal().then(|| textwrap::termwidth().clamp(40, 121) - 1)
}
