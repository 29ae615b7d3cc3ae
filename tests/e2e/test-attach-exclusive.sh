#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# One writer: a second nbdkit is refused with the holder's name; with
# steal=true it takes over and the first one gets errors only.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit qemu-io jq

sandbox_up --nodes 3
k volume create v --size 64M
serve first volume=v
first=$nbdkit_pid first_uri=$uri first_sock=$sock
holder=$(k volume inspect v --json | jq -r .holder.node)
qemu-io -f raw -t none -c 'write -P 0x11 0 1M' -c flush "$first_uri" \
    >/dev/null || fail "first write"

if nbdkit -f -U "$work/no.sock" "$plugin" volume=v wait=1 \
    >"$work/second.log" 2>&1 </dev/null; then
    fail "a second nbdkit was let in"
fi
grep -q "$holder" "$work/second.log" && grep -q "$first" "$work/second.log" ||
    fail "the refusal does not name the holder: $(cat "$work/second.log")"

serve thief volume=v steal=true
qemu-io -f raw -t none -c 'read -P 0x11 0 1M' -c 'write -P 0x22 0 4k' \
    -c flush "$uri" >"$work/io.log" 2>&1 || fail "$(cat "$work/io.log")"
! grep -qi failed "$work/io.log" || fail "thief: $(cat "$work/io.log")"
for i in 1 2 3; do
    timeout 20 qemu-io -f raw -t none -c 'write -P 0x33 0 4k' "$first_uri" \
        >"$work/io.log" 2>&1 && ! grep -qiE 'failed|error' "$work/io.log" &&
        fail "the first holder still writes"
done
qemu-io -f raw -c 'read -P 0x22 0 4k' "$uri" >"$work/io.log" 2>&1
! grep -qi "verification failed" "$work/io.log" ||
    fail "the fenced writer had an effect"
k volume verify v
unserve "$nbdkit_pid"

# A killed holder's lease runs out by itself.
serve again volume=v
kill -KILL "$nbdkit_pid"
serve heir volume=v wait=20
test -S "$sock" -a "$first_sock" != "$sock"
unserve "$nbdkit_pid"
# Detached: the next one does not wait.
begin=$SECONDS
serve next volume=v
test $((SECONDS - begin)) -le 3 || fail "a detached volume made us wait"
unserve "$nbdkit_pid"
