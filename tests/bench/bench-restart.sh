#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A replicator with $SIZE GiB of data (default 10) is killed with SIGKILL while
# fio writes all over them as fast as it can, and started again: how long until
# it has its store back, and the most memory it had, before and after. The last
# line goes into tests/ledger.tsv.
#
#   make bench-restart [SIZE=10] [RUNS=3] [SECS=20]
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit fio jq

gib=${SIZE:-10} runs=${RUNS:-3} secs=${SECS:-20}
log=$dir/n1/log

# count TEXT: lines of the log with it.
count() {
    grep -c -- "$1" "$log"
}

# hwm NODE: the most memory its process ever had, in MiB.
hwm() {
    awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$(pid_of "$1")/status"
}

sandbox_up --nodes 1 --replicas 1
k volume create v --size "${gib}G"
serve v volume=v
job=(fio --name=f --ioengine=nbd --uri="$uri" --size="${gib}G")
"${job[@]}" --rw=write --bs=1M --iodepth=4 >"$work/fio.log" 2>&1 ||
    fail "fio: $(cat "$work/fio.log")"
most=0 worst=0
for ((run = 1; run <= runs; run++)); do
    background "${job[@]}" --rw=randwrite --bs=4k --iodepth=32 --time_based \
        --runtime=$((secs + 60)) --randrepeat=0 >"$work/fio.log" 2>&1
    load=$!
    sleep "$secs"
    before=$(hwm n1)
    had=$(count event=started)
    killed=$(pid_of n1)
    sandbox kill n1
    # In a sync it ends when that is over, and has the lock until then.
    while test -e "/proc/$killed"; do sleep 0.01; done
    jrnl=$(du -cm "$dir"/n1/store/log.* | awk 'END { print $1 }')
    from=$(date +%s%N)
    sandbox start n1
    for ((i = 0; i < 6000; i++)); do
        test "$(count event=started)" = "$had" || break
        sleep 0.01
    done
    ms=$((($(date +%s%N) - from) / 1000000))
    test "$(count event=started)" -gt "$had" || fail "n1 does not start"
    after=$(hwm n1)
    kill -INT "$load"
    wait "$load"
    echo "restart in $ms ms; log $jrnl MiB; memory at most $before MiB" \
        "before, $after MiB just after"
    test "$ms" -le $worst || worst=$ms
    for m in $before $after "$(hwm n1)"; do
        test "$m" -le $most || most=$m
    done
    wait_healthy 60
done
used=$(k node ls --json | jq '.nodes[0].stores[0].used / 1048576 | floor')
k volume verify v
unserve "$nbdkit_pid"
printf '%s\t%s\tmake bench-restart SIZE=%s\t%s restarts, %s MiB of slots\t' \
    "$(date +%F)" "$(git -C "$top_srcdir" rev-parse --short HEAD)" \
    "$gib" "$runs" "$used"
printf '%s SIGKILL under load\t0\tslowest %s ms (target 5000), ' \
    "$runs" "$worst"
printf 'memory at most %s MiB (target 256); log %s MiB\n' "$most" "$jrnl"
