#!/bin/sh
# Licences, sources and known faults of the crates, by deny.toml, without a network: with what is on this machine, and it
# says what isn't. The database of known faults (RustSec's) is a git repository: `cargo deny fetch` brings it, where one may.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
# RustSec's database, as cargo-deny or cargo-audit keep it.
home=${CARGO_HOME:-$HOME/.cargo}
known() { for folder in "$home"/advisory-dbs/*/ "$home"/advisory-db/; do [ -d "$folder" ] && return 0; done; return 1; }

if "$cargo" deny --version >/dev/null 2>&1; then
    "$cargo" deny --offline check bans licenses sources
    if [ -d "$home/advisory-dbs" ]; then
        "$cargo" deny --offline check advisories
        exit 0
    fi
else
    echo "cargo-deny isn't installed: licences and sources not checked (cargo install --locked cargo-deny)"
fi
if ! known; then
    echo "RustSec's database isn't on this machine: known faults not checked (cargo deny fetch)"
elif "$cargo" audit --version >/dev/null 2>&1; then
    "$cargo" audit --no-fetch --deny warnings
else
    echo "RustSec's database is here, but no program that reads it (cargo install --locked cargo-deny): known faults not checked"
fi
