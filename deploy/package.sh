#!/bin/sh
# Makes Debian's package: cadre_VERSION_ARCH.deb, from the program that `deploy/release.sh` built.
#
#   deploy/package.sh OUT            OUT/cadre_VERSION_ARCH.deb, OUT/cadre.cdx.json, …
#
# The program writes its own pages, completions, example and schema (`cadre shipping`), so that the package says what this
# program does. The same program and the same commit give the same package, byte for byte.
#   VERSION        of the package; else that of Cargo.toml
#   DEBFULLNAME, DEBEMAIL   who packages it
set -eu
out=${1:?usage: $0 OUT}
here=$(cd "$(dirname "$0")/.." && pwd -P)
out=$(mkdir -p "$out" && cd "$out" && pwd -P)
cargo=${CARGO:-cargo}
[ -x "$out/cadre" ] || { echo "$0: $out/cadre is missing: deploy/release.sh $out makes it" >&2; exit 1; }
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/Cargo.toml" | head -n 1)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || stat -c %Y "$here/Cargo.lock")}
maintainer="${DEBFULLNAME:-Cadre} <${DEBEMAIL:-cadre@packages.invalid}>"
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 TZ=UTC
umask 022

"$here/deploy/sbom.sh" "$out"

tree=$out/debian-tree
rm -rf "$tree"
mkdir -p "$tree/files/examples"
trap 'rm -rf "$tree"' EXIT
cp -R "$here/deploy/debian" "$tree/debian"
rm -f "$tree/debian/test.sh" "$tree/debian/inside.sh" "$tree/debian/10-debian.conf"
cp "$here/deploy/cadre.service" "$tree/debian/cadre.service"
sed -i "s|@MAINTAINER@|$maintainer|" "$tree/debian/control"
{
    printf 'cadre (%s) unstable; urgency=medium\n\n' "$version"
    printf '  * What is new is told in /usr/share/doc/cadre/changelog.gz.\n\n'
    printf ' -- %s  %s\n' "$maintainer" "$(date -R -u -d "@$SOURCE_DATE_EPOCH")"
} > "$tree/debian/changelog"

files=$tree/files
cp "$out/cadre" "$out/cadre.cdx.json" "$out/third-party-licences.txt" "$here/README.md" "$here/CHANGELOG.md" "$files"
cp "$here/deploy/debian/10-debian.conf" "$files"
cp -R "$here/config/guides" "$files/guides"
"$out/cadre" shipping "$files"
mv "$files/completions/cadre.bash" "$files/completions/cadre"
mv "$files/cadre.example.toml" "$files/cadre.schema.json" "$files/examples"
# What an operator may want beside the program, where it is there.
for extra in prometheus grafana Containerfile; do
    if [ -e "$here/deploy/$extra" ]; then cp -R "$here/deploy/$extra" "$files/examples/"; fi
done

(cd "$tree" && dpkg-buildpackage --build=binary --no-check-builddeps --unsigned-changes --unsigned-buildinfo) > "$out/package.log" 2>&1 || {
    cat "$out/package.log" >&2
    exit 1
}
ls "$out/cadre_${version}_$(dpkg --print-architecture).deb"
