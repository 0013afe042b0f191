//! THREATS: every way in which systems like this one have failed, each as a test that bears its row's number, and
//! the standards with what each asks. `cargo test row_07` runs a row wherever its tests stand: those of one module
//! alone are unit tests in `src/`, those on other ground stand in `letters`, `impersonation`, `failures`,
//! `replies` and `net_servers`.
//!
//! The attacker here owns the mail server, writes under any name, has every certificate and no secret key but their
//! own. What is accepted must be words that were signed, as their signer's, and nothing else.

mod common;
#[expect(dead_code, reason = "the fuzzer's part is used by `fuzz_short`")]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

#[path = "threats/addresses.rs"]
mod addresses;
#[path = "threats/bombs.rs"]
mod bombs;
#[path = "threats/headers.rs"]
mod headers;
#[path = "threats/packets.rs"]
mod packets;
#[path = "threats/replays.rs"]
mod replays;
#[path = "threats/signers.rs"]
mod signers;
#[path = "threats/standards.rs"]
mod standards;
#[path = "threats/structures.rs"]
mod structures;
#[path = "threats/told.rs"]
mod told;
#[path = "threats/tools.rs"]
mod tools;
