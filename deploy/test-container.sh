#!/bin/sh
# Builds the image of deploy/Containerfile on a base that is made here from Debian's packages (so that no registry of
# images is needed), and sees a practice begin in it. It runs by chroot, which works where nothing can be confined too:
# what a runtime confines (networks, capabilities, read-only roots) is not tried.
#
#   deploy/test-container.sh FOLDER         where deploy/package.sh has made cadre_VERSION_ARCH.deb
#
# As root, with buildah and mmdebstrap. Everything it makes is in a temporary folder.
set -eu
folder=$(cd "${1:?usage: $0 FOLDER}" && pwd -P)
here=$(cd "$(dirname "$0")" && pwd -P)
work=$(mktemp -d "${TMPDIR:-/tmp}/cadre-container.XXXXXX")
box() { command="$1"; shift; buildah --root "$work/store" --runroot "$work/run" --storage-driver vfs "$command" "$@"; }
made=
end() { [ -z "$made" ] || box rm "$made" >/dev/null; box rmi --all --force >/dev/null 2>&1 || true; rm -rf "$work"; }
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
bad() { echo "  FAILED $1" >&2; exit 1; }
ok() { echo "  ok    $1"; }

mkdir "$work/context" "$work/base"
# One package, the newest: what lies beside it is no part of an image.
cp "$(ls -t "$folder"/cadre_*.deb | head -n 1)" "$work/context"
mmdebstrap --quiet --variant=minbase "${SUITE:-bookworm}" "$work/base.tar" ${MIRROR:+"$MIRROR"}
base=$(box from scratch)
box add --quiet "$base" "$work/base.tar" / >/dev/null
box commit --quiet --rm "$base" localhost/base >/dev/null
rm "$work/base.tar"

box build --quiet --isolation chroot --network host --format docker --build-arg BASE=localhost/base \
    --tag cadre --file "$here/Containerfile" "$work/context" >/dev/null
ok "it is built"
box inspect --type image localhost/cadre > "$work/image.json"
for said in '"User": "10001:10001"' '"cadre",' '"/var/lib/cadre": {}' '"/etc/cadre": {}' '"CREDENTIALS_DIRECTORY=/run/secrets"' '"StopSignal": "SIGTERM"' '--healthy'; do
    grep -q -e "$said" "$work/image.json" || bad "the image doesn't say $said"
done
ok "it says who it is, what it keeps and how it is"

made=$(box from localhost/cadre)
run() { box run --isolation chroot --user 10001:10001 "$made" -- "$@"; }
[ "$(run id -u)" = 10001 ] || bad "it runs as root"
run cadre --version
run sh -c '! touch /usr/bin/x 2>/dev/null' || bad "its user may write into the system"
run sh -c 'printf "secret\n" > /var/lib/cadre/p && cadre init /etc/cadre --yes --no-archive --name "Cabinet Exemple" --address ecrire@cabinet.example \
    --channel Courriel --price "60 euros" --fallback SMS --imap-host 127.0.0.1 --imap-tls none --smtp-host 127.0.0.1 --smtp-tls none \
    --imap-password-file /var/lib/cadre/p --therapist exemple --therapist-name "Dr Exemple" --therapist-title Psychologue \
    --therapist-register "RPPS 1" --therapist-address dr@exemple.example' > "$work/said" || { cat "$work/said" >&2; bad "init"; }
ok "a practice begins"
run grep -q 'sqlite:/var/lib/cadre/cadre.db' /etc/cadre/cadre.toml || bad "the database isn't in its volume"
ok "its database is in its volume"
# A secret as podman gives it: a file of root's that everybody in the container may read.
box run --isolation chroot --user 0:0 "$made" -- sh -c 'mkdir -p /run/secrets && mv /etc/cadre/imap.password /run/secrets/ \
    && chown 0:0 /run/secrets/imap.password && chmod 444 /run/secrets/imap.password \
    && sed -i "s/^password_file = \"imap.password\"/password_file = \"credential:imap.password\"/" /etc/cadre/cadre.toml'
run cadre check > "$work/said" 2>&1 && bad "check found a mailbox where there is none"
grep -q 'imap.password' "$work/said" && { cat "$work/said" >&2; bad "the secret isn't read"; }
ok "secrets are read from /run/secrets"
echo "the image is as it should be"
