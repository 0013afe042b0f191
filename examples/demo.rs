//! `make demo`: some days in a practice, on a real Dovecot and a real Postfix, told as a story.
//!
//! Every sentence with a ✓ was checked as it was printed; the exit status is 0 only if all held.
//! `KEEP=1` leaves the servers running and prints how to look around.

#[path = "../tests/common/mod.rs"]
mod common;

#[path = "demo/after.rs"]
mod after;
#[path = "demo/cast.rs"]
mod cast;
#[path = "demo/day.rs"]
mod day;
#[path = "demo/keep.rs"]
mod keep;
#[path = "demo/newcomer.rs"]
mod newcomer;
#[path = "demo/stage.rs"]
mod stage;

use std::process::ExitCode;

use anyhow::Result;

fn main() -> ExitCode {
    match story() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe story ended here: {error:#}");
            if keep::wanted() {
                eprintln!("KEEP=1 left everything in place: the folder D above; $D/stop ends it.");
            }
            ExitCode::FAILURE
        }
    }
}

fn story() -> Result<()> {
    let mut play = cast::Play::prepare()?;
    day::night(&mut play)?;
    day::morning(&mut play)?;
    day::answers(&mut play)?;
    day::evening(&mut play)?;
    after::operator(&mut play)?;
    newcomer::enrolment(&mut play)?;
    after::daemon_and_disk(&mut play)?;
    play.stage.end();
    if keep::wanted() { keep::leave(play) } else { keep::clean(play) }
}
