#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# PostgreSQL on a mounted volume (nbdfuse and a loop device): pgbench while a
# replicator is killed every ten seconds and started again. KT_PG_SECONDS says
# for how long (default: 20; the ledger has a minute).
. "${top_srcdir:?}/tests/docker/lib.sh"
need setpriv
pg=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)
test -x "$pg/postgres" -a -x "$pg/pgbench" || skip "PostgreSQL is missing"
id postgres >/dev/null 2>&1 || skip "there is no user postgres"
fuse_need
seconds=${KT_PG_SECONDS:-20}

at_end() {
    local rc=$?
    set +e
    test -z "${data:-}" || pg_ctl -m immediate -w stop >/dev/null 2>&1
    (exit $rc)
    fuse_gone
}
trap at_end EXIT

as_pg() {
    (cd / && exec setpriv --reuid postgres --regid postgres --clear-groups \
        env -u TMPDIR LC_ALL=C "$@")
}

pg_ctl() { # OPTION... VERB
    as_pg "$pg/pg_ctl" -D "$data" -l "$work/pg/log" -t 120 \
        -o "-k $work/pg -c listen_addresses=" "$@"
}

sql() {
    as_pg "$pg/psql" -h "$work/pg" -d postgres -v ON_ERROR_STOP=1 -Atqc "$1" ||
        fail "$1"
}

sandbox_up --nodes 3
plugin_up
id=$(printf '%064d' 1)
good Create "{\"Name\":\"pg\",\"Opts\":{\"size\":\"1G\",
    \"uid\":\"$(id -u postgres)\",\"mode\":\"0700\"}}"
good Mount "{\"Name\":\"pg\",\"ID\":\"$id\"}"
data=$(field .Mountpoint)
chmod 711 "$work" "$mounts"
install -d -o postgres "$work/pg"
as_pg "$pg/initdb" -k -A trust -D "$data" >"$work/initdb.log" 2>&1 ||
    fail "initdb: $(tail -n 5 "$work/initdb.log")"
pg_ctl -w start >"$work/start.log" || fail "PostgreSQL does not start"
as_pg "$pg/pgbench" -h "$work/pg" -i -q -s 5 postgres >"$work/fill.log" 2>&1 ||
    fail "pgbench -i: $(tail -n 5 "$work/fill.log")"

as_pg "$pg/pgbench" -h "$work/pg" -n -c 4 -T "$seconds" postgres \
    >"$work/bench.log" 2>&1 &
bench=$!
started+=("$bench")
kills=0
until ((kills * 10 + 10 >= seconds + 5)); do
    sleep $((kills == 0 ? 5 : 8)) # the pace is the test
    is_ours "$bench" || break
    roles=(head middle tail)
    victim=$(member pg "${roles[kills % 3]}")
    sandbox kill "$victim"
    kills=$((kills + 1))
    sleep 2
    sandbox start "$victim"
done
wait "$bench" || fail "pgbench: $(tail -n 5 "$work/bench.log")"
grep -q 'failed transactions: 0 ' "$work/bench.log" ||
    fail "$(cat "$work/bench.log")"
test "$kills" -ge $((seconds / 10)) || fail "only $kills kills"

# What every transaction keeps equal, and each index against its table.
balanced() {
    sql "select (select sum(abalance) from pgbench_accounts) =
        (select sum(bbalance) from pgbench_branches) and
        (select sum(bbalance) from pgbench_branches) =
        (select sum(tbalance) from pgbench_tellers) and
        (select sum(bbalance) from pgbench_branches) =
        (select coalesce(sum(delta), 0) from pgbench_history)"
}
test "$(balanced)" = t || fail "the balances differ"
rows=$(sql "select count(*) from pgbench_history")
pg_ctl -w -m fast stop >/dev/null || fail "PostgreSQL does not stop"

# Mounted anew, so that nothing comes from memory; checksums are verified.
good Unmount "{\"Name\":\"pg\",\"ID\":\"$id\"}"
settled pg 'not mounted'
good Mount "{\"Name\":\"pg\",\"ID\":\"$id\"}"
as_pg "$pg/pg_checksums" -c -D "$data" >"$work/sums.log" 2>&1 ||
    fail "checksums: $(tail -n 5 "$work/sums.log")"
pg_ctl -w start >"$work/start.log" || fail "PostgreSQL does not start again"
test "$(balanced)" = t || fail "the balances differ afterwards"
test "$(sql "select count(*) from pgbench_history")" = "$rows" ||
    fail "not $rows rows any more"
as_pg "$pg/pg_amcheck" -h "$work/pg" --install-missing --heapallindexed \
    postgres >"$work/amcheck.log" 2>&1 || fail "$(cat "$work/amcheck.log")"
pg_ctl -w -m fast stop >/dev/null
! grep -E 'ERROR|PANIC|FATAL|WARNING|could not' "$work/pg/log" ||
    fail "in PostgreSQL's log"
good Unmount "{\"Name\":\"pg\",\"ID\":\"$id\"}"
settled pg 'not mounted'
plugin_kill TERM
echo "$rows transactions, $kills kills in $seconds s," \
    "$(sed -n 's/^latency average = //p' "$work/bench.log") on average"
