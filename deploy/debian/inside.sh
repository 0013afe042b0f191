#!/bin/sh
# The life of a package on a clean Debian; run there by test.sh, as root. /srv/cadre.deb is the package, /srv/next.deb one
# of a higher version.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /

ok() { echo "  ok    $1"; }
bad() { echo "  FAILED $1" >&2; exit 1; }
# is WHAT COMMAND...: the command succeeds.
is() { what=$1; shift; if "$@" >/tmp/said 2>&1; then ok "$what"; else cat /tmp/said >&2; bad "$what"; fi; }
isnt() { what=$1; shift; if "$@" >/tmp/said 2>&1; then cat /tmp/said >&2; bad "$what"; else ok "$what"; fi; }
# same WHAT WANTED FOUND
same() { if [ "$2" = "$3" ]; then ok "$1"; else bad "$1: wanted \`$2\`, found \`$3\`"; fi; }

# What the maintainer's scripts ask of systemd, written down by a stand-in: there is no systemd to ask here.
mkdir -p /run/systemd/system
for tool in deb-systemd-invoke systemctl; do
    printf '#!/bin/sh\necho "%s $*" >> /tmp/asked\n' "$tool" > /usr/local/bin/$tool
    chmod 755 /usr/local/bin/$tool
done
asked() { cat /tmp/asked 2>/dev/null || true; rm -f /tmp/asked; }

echo "-- installed"
is "it installs on what Debian has" dpkg --install /srv/cadre.deb
asked | grep -E 'start|enable' && bad "something was started or enabled before there is a configuration"
ok "nothing was started"
same "its version" "cadre $(dpkg-deb -f /srv/cadre.deb Version)" "$(cadre --version)"
same "the user" "/var/lib/cadre:/usr/sbin/nologin" "$(getent passwd cadre | cut -d: -f6-)"
same "the user's number is a system's" yes "$([ "$(id -u cadre)" -lt 1000 ] && echo yes)"
same "/etc/cadre" "750 root:cadre" "$(stat -c '%a %U:%G' /etc/cadre)"
same "/var/lib/cadre" "700 cadre:cadre" "$(stat -c '%a %U:%G' /var/lib/cadre)"
same "the unit isn't enabled" "disabled" "$(/usr/bin/systemctl --root=/ is-enabled cadre.service || true)"
is "the unit is sound" systemd-analyze verify cadre.service
is "it runs as that user, not as a passing one" sh -c \
    "systemd-analyze security --offline=true --root=/ --no-pager cadre.service | grep 'static non-root user identity'"
is "the unit is closed (under 2.0)" systemd-analyze security --offline=true --root=/ --threshold=20 --no-pager cadre.service
man cadre 2>/tmp/said | grep -q 'cadre-client(1)' || bad "man cadre"
man cadre-client-add 2>/tmp/said | grep -q -e '--consent-note' || bad "man cadre-client-add"
man 5 cadre.toml 2>/tmp/said | grep -q 'max_message' || bad "man cadre.toml"
ok "manual pages"
bash -c '. /usr/share/bash-completion/completions/cadre
    COMP_WORDS=(cadre client a); COMP_CWORD=2; _cadre cadre a client; [ "${COMPREPLY[*]}" = add ]' || bad "completion in bash"
ok "completion in bash"
for file in /usr/share/zsh/vendor-completions/_cadre /usr/share/fish/vendor_completions.d/cadre.fish \
    /usr/share/doc/cadre/README.Debian /usr/share/doc/cadre/copyright /usr/share/doc/cadre/changelog.gz \
    /usr/share/doc/cadre/examples/cadre.example.toml /usr/share/doc/cadre/examples/cadre.schema.json; do
    is "$file" test -s "$file"
done
is "what it is made of" sh -c 'zcat -f /usr/share/doc/cadre/cadre.cdx.json* | grep -q sequoia-openpgp'

echo "-- a practice"
gpg --batch --quiet --passphrase "" --quick-generate-key dr@exemple.example ed25519 sign never 2>/dev/null
gpg --batch --quiet --passphrase '' --quick-add-key "$(gpg --batch --with-colons -k dr@exemple.example | sed -n 's/^fpr:*\([0-9A-F]*\):$/\1/p' | head -n 1)" cv25519 encr never
gpg --batch --armor --export dr@exemple.example > /srv/dr.asc
printf 'secret\n' > /srv/password
mkdir /srv/stick
is "cadre init /etc/cadre" cadre init /etc/cadre --yes --name "Cabinet Exemple" --address ecrire@cabinet.example \
    --channel "Courriel" --price "60 euros" --fallback "SMS" --imap-host 127.0.0.1 --imap-tls none --smtp-host 127.0.0.1 \
    --smtp-tls none --imap-password-file /srv/password --therapist exemple --therapist-name "Dr Exemple" \
    --therapist-title Psychologue --therapist-register "RPPS 1" --therapist-address dr@exemple.example \
    --therapist-certificate /srv/dr.asc --archive-secret /srv/stick
grep -q 'runuser -u cadre -- cadre check' /tmp/said || bad "init doesn't say how it goes on under Debian"
is "the files go to the service" systemd-tmpfiles --create cadre.conf
same "the configuration" "640 root:cadre" "$(stat -c '%a %U:%G' /etc/cadre/cadre.toml)"
for file in practice.key.pgp record.key imap.password archive.pgp exemple.pgp; do
    same "$file" "600 cadre:cadre" "$(stat -c '%a %U:%G' /etc/cadre/$file)"
done
same "the folder again" "750 root:cadre" "$(stat -c '%a %U:%G' /etc/cadre)"
is "a client is added as the service's user" runuser -u cadre -- cadre client add --address marie@example.org --therapist exemple
code=$(runuser -u cadre -- cadre client list | grep -o 'C-[0-9A-Z]*' | head -n 1)
same "the database is in /var/lib/cadre" "600 cadre:cadre" "$(stat -c '%a %U:%G' /var/lib/cadre/cadre.db)"
is "the unit is sound with it" systemd-analyze verify cadre.service
isnt "nobody else reads the keys" runuser -u nobody -- cat /etc/cadre/cadre.toml
asked > /dev/null

echo "-- upgraded"
is "a newer one installs over it" dpkg --install /srv/next.deb
said=$(asked)
echo "$said" | grep -q 'deb-systemd-invoke try-restart cadre.service' || bad "an upgrade must restart it where it runs: $said"
echo "$said" | grep -qE 'invoke (start|restart|stop)' && bad "an upgrade starts or stops it: $said"
ok "it is restarted where it runs, and only there"
is "the client is there" sh -c "runuser -u cadre -- cadre client show $code"

echo "-- removed"
asked > /dev/null
is "it is removed" dpkg --remove cadre
asked | grep -q 'deb-systemd-invoke stop cadre.service' || bad "it must be stopped before it goes"
isnt "the program is gone" test -e /usr/bin/cadre
is "keys and configuration stay" test -s /etc/cadre/practice.key.pgp
is "the database stays" test -s /var/lib/cadre/cadre.db
is "the user stays" getent passwd cadre

echo "-- purged, and nobody answers"
is "it is purged" dpkg --purge cadre
is "the keys stay" test -s /etc/cadre/record.key
is "the database stays" test -s /var/lib/cadre/cadre.db
is "it comes back" dpkg --install /srv/next.deb
is "and finds everything" sh -c "runuser -u cadre -- cadre client show $code"

# As a person at a terminal answers it.
purge() { echo "$1" | timeout 60 script -qec "env DEBIAN_FRONTEND=teletype dpkg --purge cadre" /dev/null; }
echo "-- purged with a no, then with a yes, at a terminal"
is "purged with a no" purge no
grep -q "Erase the practice's keys and database?" /tmp/said || bad "nobody was asked"
is "the keys stay" test -s /etc/cadre/practice.key.pgp
is "it comes back" dpkg --install /srv/next.deb
is "purged with a yes" purge yes
isnt "no key is left" test -e /etc/cadre
isnt "no database is left" test -e /var/lib/cadre
is "the user stays, locked" sh -c 'getent shadow cadre | cut -d: -f2 | grep -q "^[!*]"'
is "nothing else is left" sh -c '! find / -xdev -path /proc -prune -o \( -name "*cadre*" \) -print | grep -v -e ^/srv -e ^/tmp -e ^/usr/local -e ^/var/cache -e ^/sys | grep .'
is "it can be installed anew" dpkg --install /srv/cadre.deb
is "and asks anew: the answer of the last purge is forgotten" sh -c 'debconf-show cadre | grep -q "erase-records: false"'

echo "-- purged with a yes that was given beforehand"
is "there is something to lose" sh -c 'echo x > /etc/cadre/record.key'
echo "cadre cadre/erase-records boolean true" | debconf-set-selections
is "purged" dpkg --purge cadre
isnt "no key is left" test -e /etc/cadre
