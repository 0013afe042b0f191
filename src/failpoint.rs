//! Places where tests kill or break the program. Debug builds only; a release build has none.

/// Ends the process at once, as `kill -9` would, when `CADRE_FAILPOINT` names this place.
/// `name:3` means the third time it is passed.
#[inline]
pub fn failpoint(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Panics when `CADRE_POISON` is a word of these octets, as a parser would that one message breaks; aborts the process
/// when `CADRE_ABORT` is one, as a stack that overflows would.
#[inline]
pub fn poison(bytes: &[u8]) {
    #[cfg(debug_assertions)]
    {
        let has = |name: &str| {
            let word = std::env::var(name).unwrap_or_default();
            !word.is_empty() && bytes.windows(word.len()).any(|window| window == word.as_bytes())
        };
        assert!(!has("CADRE_POISON"), "poisoned for a test");
        if has("CADRE_ABORT") {
            std::process::abort();
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = bytes;
}

/// Whether what is named so is to fail with its own error: `CADRE_REFUSE` names it.
#[inline]
pub fn refuses(name: &str) -> bool {
    #[cfg(debug_assertions)]
    return std::env::var("CADRE_REFUSE").is_ok_and(|refused| refused == name);
    #[cfg(not(debug_assertions))]
    {
        let _ = name;
        false
    }
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static ARMED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);

    fn armed() -> Option<&'static (String, u32)> {
        let read = || {
            let text = std::env::var("CADRE_FAILPOINT").ok()?;
            let (place, times) = text.split_once(':').unwrap_or((&text, "1"));
            Some((place.to_owned(), times.parse().unwrap_or(1)))
        };
        ARMED.get_or_init(read).as_ref()
    }

    pub(super) fn pass(name: &str) {
        if let Some((place, times)) = armed()
            && place == name
            && PASSED.fetch_add(1, Ordering::SeqCst) + 1 >= *times
        {
            // The nearest a program can come to being killed: nothing is flushed, nothing unwinds.
            let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL);
        }
    }
}
