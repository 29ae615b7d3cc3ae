#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What scripts may rely on: shapes of JSON, exit statuses, where a context is
# looked for, one sentence per refusal, and that output is never lost quietly.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit nbdcopy jq

# shape DOCUMENT JQ-EXPRESSION: the expression is true of it.
shape() {
    jq -e "$2" <<<"$1" >/dev/null || fail "not so: $2 of $1"
}

# status_is N COMMAND...: and stderr is empty for 0, else one line.
status_is() {
    local want=$1 rc=0 lines
    shift
    "$@" >"$work/out" 2>"$work/err" </dev/null || rc=$?
    test $rc = "$want" || fail "exit $rc, not $want: $*: $(cat "$work/err")"
    lines=$(wc -l <"$work/err")
    test "$lines" = $((want > 0)) || fail "$*: $(cat "$work/err")"
}

sandbox_up --nodes 3
k volume create v --size 128M --segment 64M --min-write 1 --durability sync \
    >/dev/null

# C8, and what the manual page promises.
doc=$(k volume inspect v --json)
shape "$doc" '.name == "v" and .size == 134217728 and .pool == "default"'
shape "$doc" '.id | test("^[0-9a-f]{32}$")'
shape "$doc" '.holder == null and .replicas == 3 and .min_write == 1'
shape "$doc" '.durability == "sync" and .segment == 67108864'
shape "$doc" '(.state | type) == "string" and (.chains | length) == 2'
shape "$doc" '.chains | all(.id > 0 and .epoch > 0 and .phase == "active"
    and .vgen > 0 and (.members | length) == 3)'
shape "$doc" '[.chains[].seg] == [0, 1]'
shape "$doc" '.chains[1].first_extent == 16 and .chains[1].extents == 16'
shape "$doc" '[.chains[0].members[].role] == ["head", "middle", "tail"]'
shape "$doc" '.chains[].members | all(.state == "serving"
    and (.applied | has("epoch") and has("seq")) and (.node | test("^n[123]$"))
    and (.store | test("^[0-9a-f]{32}$")))'
doc=$(k volume ls --json)
shape "$doc" '.volumes | length == 1 and (.[0] | .name == "v"
    and .size == 134217728 and .replicas == 3 and has("holder"))'
doc=$(k node ls --json)
shape "$doc" '[.nodes[].name] == ["n1", "n2", "n3"]'
shape "$doc" '.nodes | all(.state == "up" and (.id | length) == 32
    and (.addresses | length) == 2 and (.stores | length) == 1)'
shape "$doc" '.nodes[].stores[0] | (.uuid | length) == 32 and .size > 0
    and .used >= 0 and (.state | type) == "string"'
doc=$(k node inspect n2 --json)
shape "$doc" '.name == "n2" and (.chains | length) == 2'
doc=$(k status --json)
shape "$doc" '.health == "healthy" and .nodes == {"up": 3, "total": 3}
    and .insecure_links == false and .why == []'
doc=$(k volume verify v --json)
shape "$doc" '.ok and .extents == 32 and .replicas == 3 and .differ == []'

# The holder is named while there is one, with its own pid.
serve v volume=v
doc=$(k volume inspect v --json)
shape "$doc" ".holder.pid == $nbdkit_pid and (.holder.node | length) > 0
    and .holder.token > 0 and (.holder.client | length) == 32"
status_is 1 "$kenter" volume rm v
grep -q 'attached\|in use' "$work/err" || fail "rm: $(cat "$work/err")"

# Verify does not disturb, and is not disturbed by, writes.
head -c 96M /dev/urandom >"$work/data"
background nbdcopy "$work/data" "$uri"
copy=$!
for ((i = 0; i < 100; i++)); do
    rc=0
    "$kenter" volume verify v >"$work/verify.out" 2>"$work/verify.err" || rc=$?
    grep -q '0 differ' "$work/verify.out" ||
        fail "verify under load: $(cat "$work/verify.out" "$work/verify.err")"
    kill -0 $copy 2>/dev/null || break
done
wait $copy || fail "nbdcopy"
k volume verify v | grep -q '^32 extents compared on 3 replicas, 0 differ$' ||
    fail "verify afterwards"
unserve "$nbdkit_pid"
shape "$(k volume inspect v --json)" '.holder == null'

# Exit statuses.
status_is 0 "$kenter" volume ls
status_is 0 "$kenter" --help
status_is 0 "$kenter" volume create --help
status_is 1 "$kenter" volume inspect nope
status_is 1 "$kenter" volume verify nope
status_is 1 "$kenter" volume rm nope
status_is 1 "$kenter" node inspect n9
status_is 1 "$kenter" volume create v --size 1G
status_is 1 "$kenter" volume create w --size 1G --pool other
status_is 1 "$kenter" volume create w --size 1G --replicas 4
status_is 2 "$kenter" volume create w
status_is 2 "$kenter" volume create w --size 17E
status_is 2 "$kenter" volume create w/x --size 1G
status_is 2 "$kenter" volume ls --bogus
status_is 2 "$kenter" cluster
shape "$(k volume ls --json)" '.volumes | length == 1'

# Where the context is looked for: option, environment, home.
bad=$work/bad.json
echo '{"version":1,"hub":["tcp:127.0.0.1:1"]}' >"$bad"
status_is 0 env KENTER_CONTEXT="$bad" "$kenter" volume ls \
    --context "$KENTER_CONTEXT"
status_is 1 env KENTER_CONTEXT="$bad" "$kenter" volume ls
mkdir -p "$work/home/.config/kenter"
cp "$KENTER_CONTEXT" "$work/home/.config/kenter/"
status_is 0 env -u KENTER_CONTEXT HOME="$work/home" "$kenter" volume ls
status_is 1 env -u KENTER_CONTEXT HOME="$work" "$kenter" volume ls
grep -q 'kenter sandbox up' "$work/err" || fail "$(cat "$work/err")"

# A hub that accepts and says nothing is given up after five seconds.
from=$SECONDS
sandbox kill hub --signal STOP
status_is 1 timeout 20 "$kenter" volume ls
test $((SECONDS - from)) -le 12 || fail "a hub that hangs held us too long"
sandbox kill hub --signal CONT

# Output that cannot be written is not success; a reader that leaves is quiet.
status_is 1 bash -c "'$kenter' volume ls >/dev/full"
"$kenter" volume ls 2>"$work/err" | head -c 0
test ! -s "$work/err" || fail "a closed pipe: $(cat "$work/err")"

# Watching goes on until it is told to stop, also while the hub is away.
background "$kenter" status --watch 1 >"$work/watch" 2>"$work/watch.err"
watch=$!
sleep 1.5
sandbox kill hub
sleep 2
sandbox start hub
for ((i = 0; i < 100; i++)); do
    test "$(grep -c healthy "$work/watch")" -lt 4 || break
    sleep 0.1
done
kill -0 $watch || fail "the watch ended by itself"
test "$(grep -c healthy "$work/watch")" -ge 4 || fail "the watch is blind"
grep -q hub "$work/watch.err" || fail "the watch is silent about the hub"
kill $watch
wait $watch 2>/dev/null

k volume rm v >/dev/null
shape "$(k volume ls --json)" '.volumes == []'
echo "ok"
