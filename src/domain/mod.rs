//! The rules, pure and synchronous: facts in, decisions out, `now` is an argument.

pub mod commands;
pub mod delivery;
pub mod digest;
pub mod holidays;
pub mod intake;
pub mod rhythm;
