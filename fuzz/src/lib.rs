//! Attacks and fuzzing without servers: a practice in memory, a forger's tool box, seeds, and what each target does.
//!
//! `cargo fuzz` runs the targets; `tests/threats.rs` and `tests/fuzz_short.rs` include the same files, so that the
//! attacks that are written by hand and those that a fuzzer finds go through one door.

pub mod forge;
pub mod seeds;
pub mod targets;
pub mod world;
