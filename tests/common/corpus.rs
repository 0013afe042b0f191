//! Mails of public test suites. They aren't part of the project: `$CADRE_CORPUS`, or `../shared/corpus` beside it, has
//! them.

use std::path::{Path, PathBuf};

/// A suite's folder; None, said on standard error, where there is no corpus.
pub fn corpus(suite: &str) -> Option<PathBuf> {
    let named = std::env::var_os("CADRE_CORPUS").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let found = named.into_iter().chain([beside]).map(|base| base.join(suite)).find(|base| base.is_dir());
    if found.is_none() {
        eprintln!("skipped: there is no corpus of mails; set CADRE_CORPUS to its folder");
    }
    found
}

/// Mail on the wire never has bare line ends; many of these files do.
pub fn crlf(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 20);
    for (at, byte) in raw.iter().enumerate() {
        if *byte == b'\n' && (at == 0 || raw[at - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}
