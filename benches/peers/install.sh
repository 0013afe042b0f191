#!/bin/sh
# Installs the programs that the bench measures beside Cadre: mbsync (isync) and notmuch, and Schleuder, from Debian;
# a Delta Chat core from PyPI.
#
#   benches/peers/install.sh          the Delta Chat core goes into target/peers, or into $CADRE_PEERS
#
# A peer that can't be installed is left out, with the reason; the bench then says so in its table. No service is
# started: Debian's are kept from it, and the bench runs what it measures from a temporary folder.
set -u

here=$(cd "$(dirname "$0")" && pwd)
peers=${CADRE_PEERS:-$here/../../target/peers}

skipped() { echo "bench: $1 is left out: $2"; }
has() { command -v "$1" >/dev/null 2>&1; }

as_root=
if [ "$(id -u)" != 0 ]; then as_root=sudo; fi

# Asked before a package starts a service. One that the machine has already is left as it is.
guard=/usr/sbin/policy-rc.d
ours=
undo() { if [ -n "$ours" ]; then $as_root rm -f "$guard"; fi; }
trap undo EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
keep_quiet() {
    if [ -n "$ours" ] || [ -e "$guard" ]; then return; fi
    ours=yes
    printf '#!/bin/sh\n# Temporary, from Cadre: start nothing while packages are installed.\nexit 101\n' |
        $as_root tee "$guard" >/dev/null && $as_root chmod 755 "$guard"
}

# debian NAME PROGRAM PACKAGE...: installs the packages unless the program is there.
debian() {
    name=$1 program=$2
    shift 2
    if has "$program"; then return; fi
    if ! has apt-get; then skipped "$name" "this is no Debian"; return; fi
    if [ -n "$as_root" ] && ! has sudo; then skipped "$name" "installing takes root"; return; fi
    keep_quiet
    echo "bench: installing $* (to measure $name)"
    for again in no yes; do
        if [ "$again" = yes ]; then $as_root apt-get update -qq >/dev/null 2>&1; fi
        if $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1; then
            return
        fi
    done
    skipped "$name" "apt-get can't install $*"
}

debian "mbsync with notmuch" mbsync isync
debian "mbsync with notmuch" notmuch notmuch
debian Schleuder schleuder schleuder

if ! [ -x "$peers/py/bin/deltachat-rpc-server" ]; then
    echo "bench: fetching the Delta Chat core (to measure it)"
    python=
    for one in /usr/bin/python3 python3; do
        if "$one" -c 'import venv, ensurepip' >/dev/null 2>&1; then python=$one && break; fi
    done
    wanted=$(grep '^deltachat-rpc-server' "$here/../../tests/peers/requirements.txt")
    if [ -z "$python" ]; then
        skipped "Delta Chat core" "Python has no venv (Debian: python3-venv)"
    elif ! { "$python" -m venv "$peers/py" && "$peers/py/bin/pip" install --quiet --disable-pip-version-check "$wanted"; }; then
        skipped "Delta Chat core" "pip can't install $wanted"
    fi
fi
exit 0
