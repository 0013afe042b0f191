#!/bin/sh
# A PostgreSQL server to throw away: made from nothing in a temporary folder, reached by a Unix socket in it. No cluster of
# the machine is touched. It syncs as any server does.
#
#   postgres.sh serve          prints "FOLDER PROGRAMS" when it answers; ends when standard input closes
#   postgres.sh run COMMAND…   runs the command with CADRE_TEST_POSTGRES, the URL of the server's owner
set -eu

# The newest of Debian's versions, or what another system has in its PATH.
programs=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$programs" ] || programs=$(dirname "$(command -v initdb)") 2>/dev/null || programs=
if ! [ -x "$programs/initdb" ]; then
    echo "initdb isn't there: \`make deps\` installs the package postgresql" >&2
    exit 1
fi

# Short, because the path of a Unix socket ends at 108 bytes.
folder=$(mktemp -d /tmp/cpXXXXXX)
server=
end() {
    trap '' EXIT INT TERM
    if [ -n "$server" ]; then
        kill -QUIT "$server" 2>/dev/null || :
        wait "$server" 2>/dev/null || :
    fi
    rm -rf "$folder"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

chmod 711 "$folder"
mkdir "$folder/s"
# PostgreSQL refuses to be root.
unprivileged=
if [ "$(id -u)" = 0 ]; then
    chown -R nobody "$folder"
    unprivileged="setpriv --reuid=nobody --regid=nogroup --clear-groups"
fi
cd "$folder"
export LC_ALL=C.UTF-8
# Only the making isn't synced.
if ! $unprivileged "$programs/initdb" -D "$folder/d" -U owner -A trust -E UTF8 --locale=C.UTF-8 --wal-segsize=1 --no-sync \
    >"$folder/initdb.log" 2>&1; then
    cat "$folder/initdb.log" >&2
    exit 1
fi
cat >>"$folder/d/postgresql.conf" <<SETTINGS
listen_addresses = ''
unix_socket_directories = '$folder/s'
max_connections = 200
shared_buffers = 32MB
min_wal_size = 2MB
max_wal_size = 8MB
log_timezone = UTC
timezone = UTC
SETTINGS
$unprivileged "$programs/postgres" -D "$folder/d" </dev/null >"$folder/log" 2>&1 &
server=$!
psql() { "$programs/psql" -X -q -h "$folder/s" -U owner -d postgres "$@"; }
tries=0
until psql -c 'SELECT 1' >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 1800 ] || ! kill -0 "$server" 2>/dev/null; then
        cat "$folder/log" >&2
        exit 1
    fi
    sleep 0.1
done
# An ordinary user, who may make schemas and nothing else.
psql -c 'CREATE ROLE practice LOGIN; GRANT CREATE ON DATABASE postgres TO practice'

case ${1:-} in
    serve)
        # An interrupt from the keyboard ends the test, and that closes the pipe.
        trap '' INT
        echo "$folder $programs"
        cat >/dev/null
        ;;
    run)
        shift
        cd "$OLDPWD"
        socket=$(echo "$folder/s" | sed 's|/|%2F|g')
        CADRE_TEST_POSTGRES="postgres://owner@$socket/postgres" "$@"
        ;;
    *)
        echo "usage: $0 serve | run COMMAND…" >&2
        exit 2
        ;;
esac
