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

/// From this size on, memory is asked of the system by itself and given back when it is freed. OpenPGP's writers take
/// buffers of 4 MiB for the smallest letter: asking the system for those takes a tenth of all time.
#[cfg(target_env = "gnu")]
const GIVEN_BACK: libc::c_int = 5 << 20;
/// So much that is free at the end of a heap is kept: giving it back after each letter takes as long again.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 8 << 20;

/// Has freed memory of large letters given back at once, and that of small ones kept.
///
/// glibc raises that size to the largest that was freed (up to 32 MiB): then buffers of 20 MiB lie in the heaps of several
/// threads, each with holes that no other fits into, and four letters of 25 MB leave 570 MiB resident instead of 200.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "glibc offers no other way but the environment, which is read before the program runs")]
pub(super) fn give_back() {
    for (what, bytes) in [(libc::M_MMAP_THRESHOLD, GIVEN_BACK), (libc::M_TRIM_THRESHOLD, KEPT)] {
        // SAFETY: it only sets a number, before there is a second thread. Where it is refused the default stays.
        unsafe { libc::mallopt(what, bytes) };
    }
}

#[cfg(not(target_env = "gnu"))]
pub(super) fn give_back() {}
