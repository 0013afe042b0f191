#!/bin/sh
# How the keys in this folder were made (GnuPG 2.2 and OpenPGP.js 6), for whoever needs another kind:
#
#   tests/data/interop/generate.sh FOLDER [PEERS]
#
# They are throw-away keys, without passphrase, published with the sources. Every run makes new ones.
set -eu

out=$1
peers=${2:-$(dirname "$0")/../../../target/peers}
mkdir -p "$out"
GNUPGHOME=$(mktemp -d)
export GNUPGHOME
trap 'gpgconf --kill all; rm -rf "$GNUPGHOME"' EXIT

at() { time=$1; shift; gpg --batch --no-tty --yes --quiet --pinentry-mode loopback --passphrase "" --faked-system-time "$time" "$@" 2>/dev/null; }
g() { at 20240101T000000 "$@"; }
fingerprints() { gpg --with-colons --list-secret-keys "=$1@interop.example" 2>/dev/null | awk -F: '/^fpr/{print $10}'; }
primary() { fingerprints "$1" | head -n 1; }
# key NAME PRIMARY ENCRYPTION...
key() {
    name=$1
    g --quick-generate-key "$name@interop.example" "$2" cert,sign never
    shift 2
    for algorithm in "$@"; do g --quick-add-key "$(primary "$name")" "$algorithm" encr never; done
}

for bits in 2048 3072 4096; do key "rsa$bits" "rsa$bits" "rsa$bits"; done
key curve25519 ed25519 cv25519
for bits in 256 384 521; do key "nistp$bits" "nistp$bits" "nistp$bits"; done
for bits in 256 384 512; do key "brainpool$bits" "brainpoolP${bits}r1" "brainpoolP${bits}r1"; done
# Several keys to encrypt to, of different algorithms: a mail program takes any or all of them.
key several ed25519 cv25519 nistp256 rsa2048
# A primary key that only certifies, with a subkey for signing.
g --quick-generate-key certonly@interop.example ed25519 cert never
g --quick-add-key "$(primary certonly)" ed25519 sign never
g --quick-add-key "$(primary certonly)" cv25519 encr never
# Expired on 1 June 2024, prolonged by its owner on 1 July.
g --quick-generate-key extended@interop.example ed25519 cert,sign 2024-06-01
g --quick-add-key "$(primary extended)" cv25519 encr 2024-06-01
# shellcheck disable=SC2046 # two words: the primary and its subkey
set -- $(fingerprints extended)
at 20240701T000000 --quick-set-expire "$1" 0
at 20240701T000000 --quick-set-expire "$1" 0 "$2"
# Refused by the policy: nothing can be encrypted to it, or it is too weak.
key signonly ed25519
key dsa dsa2048 elg2048

for name in rsa2048 rsa3072 rsa4096 curve25519 nistp256 nistp384 nistp521 brainpool256 brainpool384 brainpool512 \
    several certonly extended signonly dsa; do
    g --armor --export-secret-keys "=$name@interop.example" >"$out/$name.key.asc"
    g --armor --export "=$name@interop.example" >"$out/$name.cert.asc"
done

# What GnuPG 2.2 can't make: the algorithms of RFC 9580, in version 4 and in version 6.
node - "$peers" "$out" <<'JS'
const [, , peers, out] = process.argv;
const openpgp = require(`${require('node:path').resolve(peers)}/js/node_modules/openpgp`);
const fs = require('node:fs');
const date = new Date('2024-01-01T00:00:00Z');
const kinds = {
  new25519: { type: 'curve25519' },
  v6: { type: 'curve25519', config: { v6Keys: true } },
  v6448: { type: 'curve448', config: { v6Keys: true } },
};
(async () => {
  for (const [name, options] of Object.entries(kinds)) {
    const userIDs = [{ email: `${name}@interop.example` }];
    const made = await openpgp.generateKey({ userIDs, date, format: 'armored', ...options });
    fs.writeFileSync(`${out}/${name}.key.asc`, made.privateKey);
    fs.writeFileSync(`${out}/${name}.cert.asc`, made.publicKey);
  }
})();
JS
