//! Letters that speak of danger, on a real Dovecot: alerts, safety letters, and what must not be said.

mod common;

#[path = "crisis/alarms.rs"]
mod alarms;
#[expect(dead_code, reason = "these tests use a part of the desk")]
#[path = "letters/desk.rs"]
mod desk;
#[path = "crisis/flood.rs"]
mod flood;
#[path = "crisis/forms.rs"]
mod forms;
#[path = "crisis/people.rs"]
mod people;
#[path = "crisis/story.rs"]
mod story;
