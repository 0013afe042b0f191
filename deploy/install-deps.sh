#!/bin/sh
# Installs from Debian's archive what this repository needs and this machine lacks.
#
#   deploy/install-deps.sh [build|test|all|package]     (default: all)
#
#   build    what compiling takes (`make build`, `make check`)
#   test     what the laboratory takes: real mail servers, OpenPGP programs, a clock to turn
#   all      both
#   package  what Debian's package takes, beside build: to make it and to judge it (`make deb`, `make test-deb`)
#
# Runs twice in a row, and does nothing where everything is there. No mail server is started or
# reconfigured: the laboratory runs its own, from a temporary folder, on free loopback ports.
set -eu

group=${1:-all}
case $group in
    build|test|all|package) ;;
    *) echo "usage: $0 [build|test|all|package]" >&2; exit 2 ;;
esac

missing=
# need PACKAGE WHY TEST...: notes the package unless the test succeeds.
need() {
    package=$1 why=$2
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        missing="$missing $package"
        echo "missing: $package ($why)"
    fi
}
has() { command -v "$1" || [ -x "/usr/sbin/$1" ]; }
# Debian's own Python before whichever stands first in PATH.
has_venv() { for p in /usr/bin/python3 python3; do "$p" -c 'import venv, ensurepip' && return 0; done; return 1; }
file() { for f in "$@"; do [ -e "$f" ] && return 0; done; return 1; }

if [ "$group" != test ]; then
    need build-essential "a C compiler, for SQLite and the cryptography of TLS" has cc
    need pkg-config "finds OpenSSL" has pkg-config
    need libssl-dev "OpenSSL, with which sequoia-openpgp encrypts" file /usr/include/openssl/ssl.h
    need libclang-dev "reads OpenSSL's headers for Rust" file /usr/lib/llvm-*/lib/libclang.so /usr/lib/*/libclang-[0-9]*.so*
fi
if [ "$group" = package ]; then
    need dpkg-dev "makes packages" has dpkg-buildpackage
    need debhelper "puts a package's files in their places" has dh
    need po-debconf "puts the translations of a package's questions together" has po2debconf
    need lintian "judges packages" has lintian
    need mmdebstrap "makes the clean Debian on which a package is tried" has mmdebstrap
fi
if [ "$group" != build ] && [ "$group" != package ]; then
    need dovecot-imapd "the IMAP server of the laboratory" file /usr/lib/dovecot/imap
    need dovecot-lmtpd "takes mail from Postfix there" file /usr/lib/dovecot/lmtp
    need postfix "the SMTP server of the laboratory" file /usr/lib/postfix/sbin/master
    need gnupg "the correspondents' OpenPGP" has gpg
    need gpg-agent "keeps the correspondents' keys" has gpg-agent
    need sq "a second OpenPGP program to check ours against" has sq
    need sqop "Sequoia's stateless interface, another correspondent" has sqop
    need rnp "Thunderbird's OpenPGP, another correspondent" has rnp
    need nodejs "runs OpenPGP.js, another correspondent" has node
    need npm "fetches OpenPGP.js (tests/peers/install.sh)" has npm
    need python3-venv "holds PGPy and a Delta Chat core (tests/peers/install.sh)" has_venv
    need faketime "turns the clock for whole programs" file /usr/lib/*/faketime/libfaketimeMT.so.1
    need gpg-wks-client "names the file of a key in a Web Key Directory, to compare" sh -c 'command -v gpg-wks-client || [ -x /usr/lib/gnupg/gpg-wks-client ]'
    need systemd "judges how closed deploy/cadre.service is; nothing of it is started" has systemd-analyze
    need openssl "makes the laboratory's TLS certificate" has openssl
    need neomutt "a mail program: a correspondent, and to look around with (make demo KEEP=1)" has neomutt
    need sqlite3 "looks into a database by hand" has sqlite3
    need postgresql "the other database; the tests run a server of their own" file /usr/lib/postgresql/*/bin/initdb
    need qpdf "checks the encryption of sealed letters" has qpdf
    need poppler-utils "reads sealed letters as many desktop programs do" has pdftotext
    need mupdf-tools "another reader of sealed letters" has mutool
    need chromium "shows sealed letters as a browser does" has chromium
    need man-db "shows manual pages" has man
    need mandoc "judges manual pages" has mandoc
    need groff "sets manual pages, and judges them" has groff
    need zsh "judges its completions" has zsh
    need fish "judges its completions" has fish
    need python3-jsonschema "judges configurations by the schema that editors get" /usr/bin/python3 -c 'import jsonschema'
    need procps "ends what a test left" has ps
fi

if ! command -v cargo >/dev/null 2>&1 && ! [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    echo "Rust isn't here. Cadre needs Rust 1.92 or newer, with clippy and rustfmt. rustup brings it:" >&2
    echo "  Debian 13: apt-get install rustup && rustup default stable     elsewhere: rust-lang.org/tools/install" >&2
    echo "Then run this again." >&2
    exit 1
fi

[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "This is no Debian: install the equivalents of$missing by hand." >&2
    exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "Run as root:  apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    as_root=sudo
fi

# A mail server that arrives with these packages must not start on this machine. Debian asks
# policy-rc.d before it starts a service; one that the machine already has is left as it is.
guard=/usr/sbin/policy-rc.d
ours=
clusters=/etc/postgresql-common/createcluster.conf
undo() {
    if [ -n "$ours" ]; then $as_root rm -f "$guard"; fi
    if [ -e "$clusters.cadre" ]; then $as_root mv "$clusters.cadre" "$clusters"; fi
}
trap undo EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if ! [ -e "$guard" ]; then
    ours=yes
    printf '#!/bin/sh\n# Temporary, from Cadre: start nothing while packages are installed.\nexit 101\n' | $as_root tee "$guard" >/dev/null
    $as_root chmod 755 "$guard"
fi
case $missing in
    *postfix*)
        echo "postfix postfix/main_mailer_type select No configuration" | $as_root debconf-set-selections
        ;;
esac
# The package lists may be absent (a fresh container) or old: only then ask for new ones.
install() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}
fetch() {
    if ! install "$@" >/dev/null 2>&1; then
        $as_root apt-get update -qq
        install "$@"
    fi
}
echo "installing:$missing"
case $missing in
    *postgresql*)
        # Debian makes a cluster when the server arrives; this machine is to have none of ours. What decides that
        # belongs to postgresql-common, so that comes first; its file is put back as it was.
        fetch postgresql-common
        if [ -e "$clusters" ]; then
            $as_root cp -p "$clusters" "$clusters.cadre"
            echo "create_main_cluster = false" | $as_root tee -a "$clusters" >/dev/null
        fi
        ;;
esac
# shellcheck disable=SC2086 # a list of words
fetch $missing
echo "installed:$missing"
