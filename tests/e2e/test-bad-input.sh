#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Bad input gets a clear sentence and changes nothing.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit nbdinfo jq

# refused PATTERN COMMAND...: exit 1 or 2, and the sentence says why.
refused() {
    local pattern=$1 rc=0
    shift
    timeout 60 "$@" >"$work/refused.out" 2>&1 </dev/null || rc=$?
    test $rc -ne 0 -a $rc -lt 124 || fail "exit $rc: $*"
    grep -qiE -- "$pattern" "$work/refused.out" ||
        fail "$* says: $(cat "$work/refused.out")"
}

# Without a cluster.
refused 'kenter sandbox up|context' "$kenter" volume ls
cat >"$work/dead.json" <<'J'
{"version":1,"node":"x","hub":["tcp:127.0.0.1:1"]}
J
refused 'hub' "$kenter" volume ls --context "$work/dead.json"
begin=$SECONDS
refused 'hub' nbdkit -f -U "$work/x.sock" "$plugin" volume=v \
    context="$work/dead.json"
test $((SECONDS - begin)) -le 8 || fail "an unreachable hub took too long"
echo '{' >"$work/broken.json"
refused 'broken.json' "$kenter" volume ls --context "$work/broken.json"

sandbox_up --nodes 3
k volume create v --size 64M
before=$(k volume inspect v --json)

refused 'no (such )?volume|does not exist|no volume' nbdkit -f \
    -U "$work/x.sock" "$plugin" volume=nope
refused 'name' nbdkit -f -U "$work/x.sock" "$plugin" volume=a/b
refused 'size' "$kenter" volume create w --size 0
refused 'size' "$kenter" volume create w --size 17E
refused 'size' "$kenter" volume create w --size banana
refused 'size' "$kenter" volume create w --size 5000
refused 'name' "$kenter" volume create a/b --size 1G
refused 'name' "$kenter" volume create .. --size 1G
refused 'exists|taken|already' "$kenter" volume create v --size 64M
refused 'nodes' "$kenter" volume create w --size 64M --replicas 5
refused 'no (such )?volume|does not exist' "$kenter" volume rm nope
refused 'no (such )?node|does not exist|not in' "$kenter" node inspect nope
refused '.' "$kenter" volume frobnicate
refused '.' "$kenter" volume create w
test "$before" = "$(k volume inspect v --json)" || fail "something changed"
test "$(k volume ls --json | jq '.volumes | length')" = 1 || fail "volume ls"

# The daemons' own refusals.
hub=$top_builddir/kenter-hub
repl=$top_builddir/kenter-replicator
refused 'insecure-links' "$hub" --dir "$work/h" --init --listen tcp:0.0.0.0:0
refused 'insecure-links' "$repl" --store "$work/s" --create \
    --hub "tcp:127.0.0.1:1" --listen tcp:192.0.2.1:0
refused '--init' "$hub" --dir "$work/empty" --listen tcp:127.0.0.1:0
refused '.' "$repl" --store "$work/s" --frobnicate
refused 'in use|another|lock' "$repl" --store "$dir/n1/store" \
    --hub tcp:127.0.0.1:1 --listen tcp:127.0.0.1:0
if test "$(id -u)" = 0; then
    mkdir -p "$work/ro" && mount -t tmpfs -o ro,size=1m none "$work/ro" && {
        refused 'read-only|read only' "$repl" --store "$work/ro/s" --create \
            --hub tcp:127.0.0.1:1 --listen tcp:127.0.0.1:0
        umount "$work/ro"
    }
    chmod 755 "$work"
    mkdir "$work/foreign" && chmod 700 "$work/foreign"
    # The program itself must be readable by nobody: a copy.
    cp "$repl" "$work/repl" 2>/dev/null
    real=$(dirname "$repl")/.libs/kenter-replicator
    test ! -e "$real" || cp "$real" "$work/repl"
    chmod 755 "$work/repl"
    refused 'permission|owner|denied' setpriv --reuid 65534 --regid 65534 \
        --clear-groups "$work/repl" --store "$work/foreign" --create \
        --hub tcp:127.0.0.1:1 --listen tcp:127.0.0.1:0
fi
echo "every refusal says why"
