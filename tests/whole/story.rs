//! What happened, to be told when a promise breaks.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

static STORY: Mutex<Vec<(Option<usize>, String)>> = Mutex::new(Vec::new());
/// Lines that are kept.
const KEPT: usize = 20_000;

/// Notes one event, with the program's clock, of one client or of nobody.
pub fn note(clock: DateTime<Utc>, client: Option<usize>, text: &str) {
    let mut story = STORY.lock().unwrap_or_else(PoisonError::into_inner);
    if story.len() >= KEPT * 2 {
        story.drain(..KEPT);
    }
    story.push((client, format!("{} {text}", clock.format("%Y-%m-%d %H:%M:%S"))));
}

/// Broken promises so far.
static BROKEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// After so many broken promises only the count is of interest.
const TOLD: usize = 200;

/// A promise that must hold; the story goes on, and fails at its end.
macro_rules! promise {
    ($holds:expr, $($words:tt)*) => {
        if !$holds {
            $crate::story::broken(format!($($words)*));
        }
    };
}

/// Notes that a promise was broken, with what the one concerned has lived through.
pub fn broken(what: String) {
    // Each sort of broken promise is told once with what came before.
    let sort = |text: &str| text.chars().filter(char::is_ascii_lowercase).collect::<String>();
    let new = {
        let mut broken = BROKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let new = broken.len() < TOLD && broken.iter().all(|known| sort(known) != sort(&what));
        broken.push(what.clone());
        new
    };
    if new {
        println!("BROKEN: {what}");
        tell();
    }
}

/// All broken promises, for the end.
pub fn all_broken() -> Vec<String> {
    BROKEN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Prints the last events of the client that the last line is about, and of all others that concern everybody.
pub fn tell() {
    let story = STORY.lock().unwrap_or_else(PoisonError::into_inner);
    let who = story.iter().rev().find_map(|(client, _)| *client);
    let lines: Vec<&String> =
        story.iter().filter(|(client, _)| client.is_none() || *client == who).map(|(_, line)| line).collect();
    println!("the last of client {who:?}:");
    for line in lines.iter().skip(lines.len().saturating_sub(45)) {
        println!("  {line}");
    }
}
