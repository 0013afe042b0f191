#!/bin/sh
# Builds the last commit twice, in two folders of different names, with two homes of cargo, two time zones and two
# languages, and compares the bytes. A release build each: this takes a while.
#
#   deploy/verify-reproducible.sh [FOLDER]      (default: a temporary one; removed afterwards)
set -eu
here=$(cd "$(dirname "$0")/.." && pwd -P)
work=$(mktemp -d "${1:-${TMPDIR:-/tmp}}/cadre-twice.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
home=${CARGO_HOME:-$HOME/.cargo}
# What is compiled is what git has, not what lies about here.
commit=$(git -C "$here" rev-parse HEAD)
epoch=$(git -C "$here" log -1 --format=%ct "$commit")

build() { # NAME ZONE UMASK
    source=$work/$1/sources-of-$1
    mkdir -p "$source" "$work/$1/cargo-home-$1"
    git -C "$here" archive "$commit" | tar -x -C "$source"
    # Another home with the same registry: its path must not be found in the program.
    ln -s "$home/registry" "$work/$1/cargo-home-$1/registry"
    (
        umask "$3"
        export CARGO_HOME="$work/$1/cargo-home-$1" SOURCE_DATE_EPOCH="$epoch" TZ="$2"
        export RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}"
        "$source/deploy/release.sh" "$work/$1/out"
    )
    rm -rf "$work/$1/out/target"
}

build one Europe/Paris 022
build another-with-a-longer-name America/Montreal 077
one=$work/one/out/cadre
other=$work/another-with-a-longer-name/out/cadre
sha256sum "$one" "$other"
if ! cmp "$one" "$other"; then
    echo "not reproducible: the two builds differ" >&2
    exit 1
fi
if grep -a -q -e "$work" -e "$HOME/" "$one"; then
    echo "not reproducible: the program names a folder of this machine" >&2
    exit 1
fi
echo "reproducible: two builds, the same bytes"
