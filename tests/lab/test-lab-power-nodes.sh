#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Whole machines with the replicators, their disks and the hub lose power, any
# of them and all of them, while a client writes and flushes; in every second
# cut the client is killed too. Nothing that was flushed may be lost, and
# nothing that was never written may appear. `make power-cuts` does many more.
. "${top_srcdir:?}/tests/lab/lib.sh"
. "$lab_src/nodes.sh"
cuts=${KT_LAB_CUTS:-3}
RANDOM=${KT_LAB_SEED:-$$}
flushed=$top_builddir/tests/lab/flushed
record=$work/record
writer=

writer_start() {
    serve client volume=v wait=60
    "$flushed" write "$uri" "$record" >>"$work/writer.log" 2>&1 &
    writer=$!
    started+=("$writer")
}

stuck() {
    nodes_logs
    "$kenter" chain ls >&2
    fail "cut $cut of ${victims[*]}, client $client: $*"
}

# all is flushed at its end
writer_stop() {
    local i
    kill -TERM "$writer"
    for ((i = 0; i < lab_patience * 5; i++)); do
        is_ours "$writer" || break
        sleep 0.2
    done
    ! is_ours "$writer" || stuck "the writer's last requests have no answer"
    wait "$writer" || fail "the writer saw an error, exit $?"
    unserve "$nbdkit_pid"
}

client_kill() {
    kill -KILL "$writer" "$nbdkit_pid"
    wait "$writer" "$nbdkit_pid" 2>/dev/null
}

# A writer that stands still longer than this is stuck.
goes_on() {
    local size i
    size=$(stat -c %s "$record")
    for ((i = 0; i < lab_patience * 5; i++)); do
        is_ours "$writer" || fail "the writer ended: $(cat "$work/writer.log")"
        test "$(stat -c %s "$record")" -le $((size + 3200)) || return 0
        sleep 0.2
    done
    stuck "nothing is written any more"
}

check() {
    serve check volume=v wait=60
    timeout "$lab_patience" "$flushed" check "$uri" "$record" \
        >"$work/check" 2>"$work/check.log" ||
        stuck "the check, exit $?: $(cat "$work/check")"
    unserve "$nbdkit_pid"
}

# Every second cut all of them, else any; $victims, $client.
draw_cut() {
    local m
    victims=()
    client=alive
    test $((cut % 2)) = 0 || client=killed
    while test ${#victims[@]} = 0; do
        for m in m1 m2 m3; do
            test $((RANDOM % 2)) = 0 || victims+=("$m")
        done
    done
    test $((cut % 3)) != 0 || victims=(m1 m2 m3)
}

nodes_up 3
k volume create v --size 16M --segment 8M
machines=0 all=0 killed=0
writer_start
for ((cut = 0; cut < cuts; cut++)); do
    draw_cut
    sleep 0.$((RANDOM % 900 + 100))
    goes_on
    test $client = alive || client_kill
    for m in "${victims[@]}"; do power_cut "$m"; done
    for m in "${victims[@]}"; do lab_boot "$m"; done
    for m in "${victims[@]}"; do lab_wait "$m" && node_on "$m"; done
    machines=$((machines + ${#victims[@]}))
    test ${#victims[@]} != 3 || all=$((all + 1))
    if test $client = alive; then
        goes_on
        writer_stop
    else
        killed=$((killed + 1))
    fi
    check
    wait_healthy 120
    writer_start
done
goes_on
writer_stop
check
k volume verify v >/dev/null
sums=$(sed 's/.*lost; //' "$work/check")
echo "$cuts cuts of $machines machines ($all of all three), client killed in" \
    "$killed; $sums; nothing flushed was lost"
test -z "${KT_LEDGER:-}" ||
    printf 'ledger\t%s\t%s\t%s\t%s\t%s\n' "make power-cuts COUNT=$cuts" \
        "$cuts power cuts, $sums" \
        "$machines machines cut ($all times all three), $killed client kills" \
        0 "replicators and hub in User-Mode Linux, stores on ext4 disks"
