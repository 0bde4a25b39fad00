# What run and stop share: where the demo lives, and how its servers are reached.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$("${PG_CONFIG:-/usr/bin/pg_config}" --bindir 2>/dev/null || echo /usr/lib/postgresql/15/bin)
unset RUST_BACKTRACE PGHOST PGPORT PGUSER PGDATABASE PGSERVICE PGOPTIONS

# PostgreSQL refuses to run as root: its programs then run as postgres.
as_postgres=()
if [ "$(id -u)" = 0 ]; then
    as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups)
fi

# The demo's folder: .demo, or one under /tmp when postgres may not enter this one (a clone under /root).
demo=$repo/.demo
if [ "$(id -u)" = 0 ] && ! "${as_postgres[@]}" test -x "$repo" 2>/dev/null; then
    demo=/tmp/pgrelay-demo
fi

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# Ends a process that this demo has started, by the id that it wrote down.
end_process() {
    local file=$1 name=$2 pid
    [ -f "$file" ] || return 0
    pid=$(cat "$file")
    # The id may belong to another process by now.
    if grep -q "$name" "/proc/$pid/comm" 2>/dev/null; then
        kill "$pid"
        for _ in $(seq 100); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
    fi
    rm -f "$file"
}

# Ends what a demo has started and removes its databases; what was built stays.
stop_demo() {
    end_process "$demo/load.pid" pgbench
    end_process "$demo/applier.pid" pgrelay-applier
    for side in source peer; do
        if [ -f "$demo/servers/$side/postmaster.pid" ]; then
            (cd / && "${as_postgres[@]}" "$bin/pg_ctl" -s -m immediate -D "$demo/servers/$side" stop) || true
        fi
    done
    rm -rf "$demo/servers"
}
