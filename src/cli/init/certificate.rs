//! The therapist's certificate, looked at when it is named.

use std::path::Path;

use zeroize::Zeroizing;

use super::ask::Screen;
use crate::clock::Clock;
use crate::pgp::{Certificate, KeyError, PracticeKey, Purpose};

/// Why this file can't be used, and what to do.
pub(super) fn judge(path: &Path) -> Result<(), (String, String)> {
    let wrong = |cause: String, remedy: &str| Err((cause, remedy.to_owned()));
    let bytes = match std::fs::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return wrong("there is no such file".to_owned(), "write its whole path, such as /media/usb/exemple.asc");
        }
        Err(error) => return wrong(format!("the file can't be read ({})", error.kind()), "let this user read it"),
    };
    if matches!(PracticeKey::load(&bytes, None), Ok(_) | Err(KeyError::Locked | KeyError::WrongPassphrase)) {
        let remedy = "export the public key alone, and take the secret one away from this machine";
        return wrong("the file holds a SECRET key, which must stay with the therapist".to_owned(), remedy);
    }
    let certificate = match Certificate::from_bytes(&bytes) {
        Ok(certificate) => certificate,
        Err(error) => return wrong(error.to_string(), "export the therapist's public key again, as a file"),
    };
    for purpose in [Purpose::Encrypt, Purpose::Sign] {
        if let Err(problem) = certificate.usable_for(purpose, Clock::System.now()) {
            let problem = problem.to_string();
            let (cause, remedy) =
                problem.split_once("; ").unwrap_or((&problem, "its owner has to mend it and export it"));
            return wrong(cause.to_owned(), remedy);
        }
    }
    Ok(())
}

/// Shows the fingerprint, to be compared, and what a person should look at.
pub(super) fn show(path: &Path, address: Option<&str>, screen: &Screen) {
    let Some(certificate) = std::fs::read(path).ok().and_then(|bytes| Certificate::from_bytes(&bytes).ok()) else {
        return;
    };
    screen.good(&format!("fingerprint {}", super::spaced(&certificate.fingerprint())));
    if let Some(expires) = certificate.expires_at(Clock::System.now()) {
        screen.say(&format!("It expires on {}.", expires.format("%Y-%m-%d")));
    }
    let known = certificate.user_ids_addresses();
    if address.is_some_and(|address| !known.iter().any(|own| own.eq_ignore_ascii_case(address))) {
        screen.wrong("no user ID of it has the therapist's address", "make sure that it is the therapist's own");
    }
}
