//! What is in this process's memory stays there: no core dumps, no other process of the same user that looks in.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Closes the process, before anything secret is read. Every command does.
///
/// `PR_SET_DUMPABLE` 0 takes `/proc/PID/mem` and ptrace away from the same user and forbids core dumps, also to a
/// program that the system pipes them to; `RLIMIT_CORE` 0 says it a second time. Children inherit the limit.
pub(super) fn close() -> Result<(), String> {
    let undumpable = prctl::set_dumpable(false);
    // A filter of system calls may forbid it where the limit is 0 already: what counts is how it stands.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let limit = getrlimit(Resource::RLIMIT_CORE).map_or(u64::MAX, |(soft, _)| soft);
    match (undumpable, limit) {
        (Ok(()), 0) => Ok(()),
        (Err(error), _) => Err(format!("this system can't keep a process from being dumped ({error})")),
        (Ok(()), _) => Err("the limit on core dumps can't be set to 0".to_owned()),
    }
}
