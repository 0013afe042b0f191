#!/bin/sh
# Judges a package: lintian, then its whole life on a clean Debian, made for it and thrown away: installed, configured,
# used, upgraded, removed, purged with each answer.
#
#   deploy/debian/test.sh FOLDER        where deploy/package.sh has made cadre_VERSION_ARCH.deb
#
# As root, or as a user who may have namespaces (mmdebstrap decides). Nothing is installed on this machine. SUITE names
# another release than bookworm, MIRROR another archive than the one that this machine uses.
set -eu
folder=$(cd "${1:?usage: $0 FOLDER}" && pwd -P)
here=$(cd "$(dirname "$0")" && pwd -P)
deb=$(ls -t "$folder"/cadre_*.deb | head -n 1)
next=$(mktemp -d "${TMPDIR:-/tmp}/cadre-next.XXXXXX")
trap 'rm -rf "$next"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "== the same program makes the same package, and one of a higher version"
again() { # VERSION
    cp "$folder/cadre" "$next"
    [ ! -d "$folder/tools" ] || [ -e "$next/tools" ] || ln -s "$folder/tools" "$next/tools"
    VERSION=$1 "$here/../package.sh" "$next" >/dev/null
}
version=$(dpkg-deb -f "$deb" Version)
again "$version"
cmp "$deb" "$next/$(basename "$deb")"
rm "$next"/cadre_*.deb
again "$version+next"

echo "== lintian"
# What Cadre's own sources can't mend: the changelog of a package that no archive has has no bug number.
lintian --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs "$deb"

echo "== a clean ${SUITE:-bookworm}"
# shellcheck disable=SC2016 # $1 is mmdebstrap's
mmdebstrap --quiet --variant=minbase \
    --include=systemd,man-db,bash-completion,gpg,gpg-agent,libssl3,libgcc-s1,ca-certificates,adduser,debconf,procps \
    --customize-hook="copy-in $here/inside.sh /srv" \
    --customize-hook="cp $deb \$1/srv/cadre.deb && cp $next/cadre_*.deb \$1/srv/next.deb" \
    --customize-hook='chroot "$1" sh /srv/inside.sh' \
    "${SUITE:-bookworm}" /dev/null ${MIRROR:+"$MIRROR"}
echo "== the package is as it should be"
