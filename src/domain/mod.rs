//! The rules, pure and synchronous: facts in, decisions out, `now` is an argument.

pub mod absence;
pub mod answer_words;
pub mod code_words;
pub mod commands;
pub mod crisis;
pub mod delivery;
pub mod digest;
pub mod enrolment;
pub mod holidays;
pub mod intake;
pub mod keywords;
pub mod lifecycle;
pub mod notice;
pub mod passphrase;
pub mod rhythm;
