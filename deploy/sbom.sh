#!/bin/sh
# What the program is made of: OUT/cadre.cdx.json (CycloneDX 1.5: every crate with version, licence and the checksum of
# Cargo.lock), OUT/third-party-licences.txt (the crates' and fonts' licence texts, as the licences ask for).
#
#   deploy/sbom.sh OUT
#
# cargo-cyclonedx is compiled from crates.io the first time, into OUT/tools.
set -eu
out=${1:?usage: $0 OUT}
here=$(cd "$(dirname "$0")/.." && pwd -P)
out=$(mkdir -p "$out" && cd "$out" && pwd -P)
cargo=${CARGO:-cargo}
known=0.5.9
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || stat -c %Y "$here/Cargo.lock")}"
export PATH="$out/tools/bin:$PATH"
# Debian's names of architectures are not Rust's.
target=$(rustc -vV | sed -n 's/^host: //p')

if ! cargo-cyclonedx cyclonedx --version 2>/dev/null | grep -q "$known"; then
    echo "installing cargo-cyclonedx $known into $out/tools"
    "$cargo" install --quiet --locked --debug --root "$out/tools" --target-dir "$out/tools/target" --version "$known" cargo-cyclonedx
    rm -rf "$out/tools/target"
fi

cd "$here"
# It writes beside Cargo.toml, whatever it is told.
made=cadre-sbom-in-the-making
trap 'rm -f "$here/$made.json"' EXIT
"$cargo" cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --override-filename "$made"
# The folder in which it was made is nobody's affair, and would differ from machine to machine.
sed "s|path+file://$here|path+file:///src|g" "$made.json" > "$out/cadre.cdx.json"
"$cargo" metadata --locked --format-version 1 --filter-platform "$target" \
    | perl deploy/third-party.pl "$out/cadre.cdx.json" config/fonts config/words/SOURCES.md > "$out/third-party-licences.txt"
