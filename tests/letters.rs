//! The path of a letter on a real Dovecot, from what GnuPG users send to what a therapist reads.

mod common;

#[path = "letters/desk.rs"]
mod desk;
#[path = "letters/forms.rs"]
mod forms;
#[path = "letters/odd.rs"]
mod odd;
#[path = "letters/pace.rs"]
mod pace;
#[path = "letters/places.rs"]
mod places;
#[path = "letters/replays.rs"]
mod replays;
#[path = "letters/spoofs.rs"]
mod spoofs;
#[path = "letters/strangers.rs"]
mod strangers;
#[path = "letters/verdicts.rs"]
mod verdicts;
