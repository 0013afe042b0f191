#!/bin/sh
# Installs the OpenPGP programs that the interoperability tests write to and read from, and that Debian
# doesn't have: rsop (rPGP) from crates.io, OpenPGP.js from npm, PGPy and a Delta Chat core from PyPI; and two
# readers of sealed letters, pdf.js from npm and PDFium from PyPI.
#
#   tests/peers/install.sh            into target/peers, or into $CADRE_PEERS
#
# Exact versions, nothing outside of that folder. Runs twice in a row, and does nothing where all is there.
# The first time takes a few minutes, for rsop is compiled.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
peers=${CADRE_PEERS:-$here/../../target/peers}
mkdir -p "$peers"
peers=$(cd "$peers" && pwd)

RSOP=0.12.0

# What was installed is written down last, so that an installation that was cut short is begun again.
have() { [ -e "$peers/$1.installed" ] && [ "$(cat "$peers/$1.installed")" = "$2" ]; }
done_with() { printf '%s' "$2" >"$peers/$1.installed"; echo "peers: $1 is installed"; }
sum() { cat "$@" | cksum | tr -d '\n'; }
fail() {
    echo "peers: $1 can't be installed: $2" >&2
    echo "peers: the registry of $1 has to be reachable once; run tests/peers/install.sh again then" >&2
    exit 1
}

if ! { have rsop "$RSOP" && [ -x "$peers/bin/rsop" ]; }; then
    echo "peers: compiling rsop $RSOP, the OpenPGP of Delta Chat (some minutes, once)"
    # A build folder of its own, so that neither this workspace's lock file nor its artefacts are touched;
    # little optimisation: it handles a few letters.
    (
        cd "$peers"
        CARGO_TARGET_DIR=$peers/build CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
            CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
            "${CARGO:-cargo}" install rsop --version "$RSOP" --locked --quiet --force --root "$peers" \
            --no-default-features --features cli
    ) || fail rsop "cargo install failed"
    rm -rf "$peers/build"
    done_with rsop "$RSOP"
fi

lock=$(sum "$here/package.json" "$here/package-lock.json")
if ! { have openpgpjs "$lock" && [ -d "$peers/js/node_modules/openpgp" ] && [ -d "$peers/js/node_modules/pdfjs-dist" ]; }; then
    command -v npm >/dev/null 2>&1 || fail OpenPGP.js "npm isn't there (deploy/install-deps.sh test installs it)"
    echo "peers: fetching OpenPGP.js and pdf.js"
    mkdir -p "$peers/js"
    cp "$here/package.json" "$here/package-lock.json" "$peers/js/"
    (cd "$peers/js" && npm ci --omit=optional --ignore-scripts --no-audit --no-fund --silent) || fail OpenPGP.js "npm ci failed"
    done_with openpgpjs "$lock"
fi

wanted=$(sum "$here/requirements.txt")
if ! { have python "$wanted" && [ -x "$peers/py/bin/python" ]; }; then
    # Debian's own Python before whichever stands first in PATH.
    python=
    for one in /usr/bin/python3 python3; do
        if "$one" -c 'import venv, ensurepip' >/dev/null 2>&1; then python=$one && break; fi
    done
    [ -n "$python" ] || fail PGPy "Python has no venv (deploy/install-deps.sh test installs python3-venv)"
    echo "peers: fetching PGPy, the Delta Chat core and PDFium"
    rm -rf "$peers/py"
    "$python" -m venv "$peers/py" || fail PGPy "the virtual environment can't be made"
    "$peers/py/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" ||
        fail PGPy "pip install failed"
    done_with python "$wanted"
fi
