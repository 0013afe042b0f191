#!/bin/sh
# Builds the program for other machines: the same sources with the same compiler give the same bytes, wherever they lie.
#
#   deploy/release.sh OUT            OUT/cadre, OUT/cadre.sha256
#
# Nothing of this machine gets into it: paths are written as /src, /cargo, /rust and /build, the date is that of the
# last commit (or SOURCE_DATE_EPOCH), versions are those of Cargo.lock. What it was built with stands in OUT/cadre.sha256's
# neighbour OUT/build.txt, for whoever wants the same bytes. TARGET (default OUT/target) keeps what was compiled.
set -eu
out=${1:?usage: $0 OUT}
here=$(cd "$(dirname "$0")/.." && pwd -P)
mkdir -p "$out"
out=$(cd "$out" && pwd -P)
target=${TARGET:-$out/target}
mkdir -p "$target"
target=$(cd "$target" && pwd -P)
cargo=${CARGO:-cargo}
cd "$here"

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.lock)}
cargo_home=${CARGO_HOME:-$HOME/.cargo}
maps="$target=/build $here=/src $cargo_home=/cargo $(rustc --print sysroot)=/rust"
rust= c=
for map in $maps; do
    rust="$rust --remap-path-prefix=$map"
    c="$c -ffile-prefix-map=$map"
done

# A clean environment: what is set elsewhere for this machine's own builds must not reach this one.
unset RUSTC_WRAPPER RUSTDOCFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 TZ=UTC
export RUSTFLAGS="${rust# }" CFLAGS="-O2 ${c# }" CXXFLAGS="-O2 ${c# }" CARGO_INCREMENTAL=0
export CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_PROFILE_RELEASE_DEBUG=0
"$cargo" build --locked --release --bin cadre --target-dir "$target"

install -m 755 "$target/release/cadre" "$out/cadre"
(cd "$out" && sha256sum cadre > cadre.sha256)
{
    rustc --version --verbose
    cc --version | head -n 1
    ld --version | head -n 1
    echo "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH"
    dpkg-query -W -f '${Package} ${Version}\n' libssl-dev libc6-dev 2>/dev/null || true
} > "$out/build.txt"
cat "$out/cadre.sha256"
