#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A server process is killed with acknowledged writes unflushed, and one is
# started in its place with the same state file (B10): it goes on when all of
# it is still there, and serves nothing when it may not be.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit qemu-io jq unshare

state=$work/v.state

put() { # BYTE: writes it, and (unsafe) no flush follows
    qemu-io -t unsafe -f raw -c "write -P 0x$1 0 64k" "$uri" \
        >"$work/io.log" 2>&1 && ! grep -qi 'failed' "$work/io.log" ||
        fail "write of $1: $(cat "$work/io.log")"
}

holds() { # BYTE
    qemu-io -r -f raw -c "read -P 0x$1 0 64k" "$uri" >"$work/io.log" 2>&1 &&
        ! grep -qi 'failed' "$work/io.log" ||
        fail "the volume does not hold $1: $(cat "$work/io.log")"
}

kill_server() {
    kill -KILL "$nbdkit_pid"
    wait "$nbdkit_pid" 2>/dev/null
}

# refused TEXT NBDKIT-ARGUMENTS: nbdkit does not start, and says so.
refused() {
    local text=$1
    shift
    if env "$(preload)" ASAN_OPTIONS=detect_leaks=0 timeout 60 nbdkit -f \
        -U "$work/no.sock" "$plugin" "$@" >"$work/no.log" 2>&1 </dev/null; then
        fail "nbdkit $* was started"
    fi
    grep -q "$text" "$work/no.log" ||
        fail "no word of '$text' but: $(cat "$work/no.log")"
}

sandbox_up --nodes 3
k volume create v --size 64M --segment 64M

# Nothing but the server process dies: all is there, without steal or wait.
serve one volume=v state="$state"
test "$(stat -c %a "$state")" = 600 || fail "the state file is not private"
put a1
kill_server
begin=$SECONDS
serve two volume=v state="$state"
test $((SECONDS - begin)) -le 5 || fail "it had to wait for its own lease"
holds a1
put a2

# Meanwhile nobody else gets at the file, or under it at the volume.
refused "in use by a process" volume=v state="$state" wait=0

# Orderly: flushed, given back, nothing to hand over.
unserve "$nbdkit_pid"
test ! -e "$state" || fail "the state file is still there after an orderly end"
serve three volume=v state="$state"
holds a2
put a3

# All replicas are started anew as after a loss of power, while nobody who
# could send the writes again is there.
kill_server
for n in n1 n2 n3; do sandbox kill "$n"; done
cat /proc/sys/kernel/random/uuid >"$work/boot"
unshare --mount bash -c "
    mount --bind '$work/boot' /proc/sys/kernel/random/boot_id &&
    for n in n1 n2 n3; do
        '$kenter' sandbox start \$n --dir '$dir' || exit 1
    done" >"$work/boot.log" 2>&1 ||
    skip "a boot id cannot be faked here: $(tail -n 1 "$work/boot.log")"
refused "accept-loss=true" volume=v state="$state"
grep -q 'lost power while nobody served' "$work/no.log" ||
    fail "not the reason: $(cat "$work/no.log")"
refused "accept-loss=true" volume=v state="$state" # and again
serve four volume=v state="$state" accept-loss=true
put a4
kill_server
serve five volume=v state="$state" # what is new is handed over as before
holds a4
put a5

# Another client had it in between.
kill_server
serve thief volume=v steal=true
unserve "$nbdkit_pid"
refused "attached by another client in between" volume=v state="$state"
grep -q 'accept-loss=true' "$work/no.log" || fail "nothing to do about it"
serve six volume=v state="$state" accept-loss=true
holds a5

# Files that will not do.
kill_server
k volume create w --size 64M
refused "belongs to volume v" volume=w state="$state"
cp "$state" "$work/good"
head -c 40 "$work/good" >"$state"
refused "is damaged" volume=v state="$state"
sed 's/"token":[0-9]*/"token":"x"/' "$work/good" >"$state"
refused "is damaged" volume=v state="$state"
sed 's/"volume":"./"volume":"f/; s/"volume":"ff/"volume":"fe/' "$work/good" \
    >"$state"
cmp -s "$state" "$work/good" ||
    refused "another volume that had the name" volume=v state="$state"
cp "$work/good" "$state"
refused "another client-id" volume=v state="$state" \
    client-id=0123456789abcdef0123456789abcdef
refused "needs volume=" state="$state"
refused "needs it" volume=v accept-loss=true
serve seven volume=v state="$state"
unserve "$nbdkit_pid"
test ! -e "$state" || fail "the state file is still there at the end"
