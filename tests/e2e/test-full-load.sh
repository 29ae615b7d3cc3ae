#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A disk that fills up under load, with fio on one volume all the time: reads
# and overwrites never fail and always give what was written, new places are
# refused with ENOSPC, and once somebody gives space back writes there go on by
# themselves.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit fio jq mkfs.ext4
test "$(id -u)" = 0 || skip "mounting a file system needs root"

base=$((32 << 20)) size=$((1 << 30)) # written before; of the volume

truncate -s 1100M "$work/disk" && mkfs.ext4 -q "$work/disk" && mkdir "$dir" &&
    mount -o loop "$work/disk" "$dir" ||
    skip "this machine does not let us mount a loop device"
unmount() {
    local rc=$?
    touch "$work/stop"
    "$kenter" sandbox down --dir "$dir" >/dev/null 2>&1
    umount -l "$dir"
    (exit "$rc")
    cleanup
}
trap unmount EXIT

# job NAME OPTIONS: one run of fio; its result is NAME.json.
job() {
    local name=$1
    shift
    fio --name="$name" --ioengine=nbd --uri="$uri" --output-format=json \
        --output="$work/$name.json" "$@" 2>"$work/$name.err"
}

error_of() {
    sed -n '/^{/,$p' "$work/$1.json" | jq '.jobs[0].error'
}

# Overwrites what is there already, in random order, and reads it back, until it
# is told to stop. Says in `rounds` how often; ends at the first error.
steady() {
    while ! test -e "$work/stop"; do
        job steady --rw=randwrite --bs=16k --iodepth=8 --size="$base" \
            --verify=crc32c --verify_fatal=1 --verify_state_save=0 || return 1
        echo ok >>"$work/rounds"
    done
}

rounds() {
    wc -l <"$work/rounds"
}

# another COUNT: the steady load gets through so many rounds more.
another() {
    local until=$(($(rounds) + $1)) i
    for ((i = 0; i < 1200; i++)); do
        is_ours "$steady" || fail "overwrites or reads failed: $(tail -n 3 \
            "$work/steady.err"; error_of steady)"
        test "$(rounds)" -lt "$until" || return 0
        sleep 0.1
    done
    fail "the load stands still: $(rounds) rounds, not $until"
}

dd if=/dev/zero of="$dir/filler" bs=1M count=150 status=none
sandbox_up --nodes 3
k volume create v --size "$size"
serve v volume=v
: >"$work/rounds"
job lay --rw=write --bs=1M --size="$base" || fail "fio: $(cat "$work/lay.err")"
background steady
steady=$!
another 1

# New places, until there are none.
if job grow --rw=write --bs=1M --iodepth=4 --offset="$base" \
    --size=$((size - base)); then
    fail "a volume of $size bytes fitted on a disk of 1100M, three times"
fi
test "$(error_of grow)" = 28 ||
    fail "expected ENOSPC (28), not $(error_of grow): $(cat "$work/grow.err")"
grown=$(sed -n '/^{/,$p' "$work/grow.json" | jq '.jobs[0].write.io_bytes')
test "$grown" -ge $((32 << 20)) || fail "only $grown bytes fitted"
another 2
# What the logs gave back may hold a little more.
job again --rw=write --bs=1M --offset=$((size - (256 << 20))) --size=128M &&
    fail "writes to new places on a full disk were not refused"
test "$(error_of again)" = 28 || fail "expected ENOSPC again"
another 1

# Somebody else gives space back.
rm "$dir/filler"
from=$SECONDS
until job resume --rw=write --bs=1M --offset=$((size - (8 << 20))) \
    --size=8M; do
    test "$(error_of resume)" = 28 || fail "$(cat "$work/resume.err")"
    test $((SECONDS - from)) -lt 120 ||
        fail "no write went on in two minutes after space returned"
    sleep 0.2
done
took=$((SECONDS - from))
another 1
touch "$work/stop"
wait "$steady" || fail "overwrites or reads failed: $(cat "$work/steady.err")"
k volume verify v || fail "the replicas differ"
unserve "$nbdkit_pid"
echo "$((grown >> 20)) MiB fitted; $(rounds) rounds of overwrites and reads" \
    "without an error; writes went on $took s after space returned"
