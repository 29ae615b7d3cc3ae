#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The whole happy path and one fail-over, with every program watched: under
# valgrind, or as built with the sanitizers. Not one report.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit nbdcopy fio jq

reports=$work/reports
mkdir "$reports" "$work/bin"
case ${KT_SANITIZERS:-no} in
no)
    need valgrind
    watch="valgrind -q --error-exitcode=99 --leak-check=full
        --show-leak-kinds=definite --errors-for-leak-kinds=definite
        --child-silent-after-fork=yes --log-file=$reports/%p"
    watch=$(echo $watch)
    export KT_NBDKIT_WRAP="$watch"
    ;;
*)
    watch=
    export ASAN_OPTIONS="log_path=$reports/asan:detect_leaks=1"
    export UBSAN_OPTIONS="print_stacktrace=1:log_path=$reports/ubsan"
    export TSAN_OPTIONS="log_path=$reports/tsan"
    ;;
esac
for program in kenter-hub kenter-replicator; do
    printf '#!/bin/sh\nexec %s "%s" "$@"\n' "$watch" \
        "$top_builddir/$program" >"$work/bin/$program"
    chmod +x "$work/bin/$program"
done
export KENTER_BINDIR=$work/bin

sandbox_up --nodes 3
k volume create v --size 256M --segment 64M
serve v volume=v
dd if=/dev/urandom of="$work/in" bs=1M count=32 status=none
truncate -s 256M "$work/in"
nbdcopy "$work/in" "$uri" || fail "nbdcopy in"
background "$pacer" "$uri" --stop "$work/stop" --offset $((128 << 20)) \
    --sectors 512 >"$work/pacer.json"
pacer_pid=$!
fio --name=f --ioengine=nbd --uri="$uri" --rw=randrw --bs=4k --iodepth=16 \
    --offset=64m --size=8m --verify=crc32c --verify_fatal=1 --time_based \
    --runtime=5 >"$work/fio.log" 2>&1 || fail "$(tail -n 20 "$work/fio.log")"
node=$(member v middle)
sandbox kill "$node"
sleep 6
sandbox start "$node"
wait_healthy 120
touch "$work/stop"
wait "$pacer_pid" || fail "pacer: $(cat "$work/pacer.json")"
nbdcopy "$uri" "$work/out" || fail "nbdcopy out"
cmp -n $((32 << 20)) "$work/in" "$work/out" || fail "what came back differs"
k volume verify v
unserve "$nbdkit_pid"
k volume rm v
k sandbox down --dir "$dir" >/dev/null
for report in "$reports"/*; do
    test -s "$report" || continue
    head -n 60 "$report" >&2
    fail "a program was reported: $(basename "$report")"
done
echo "no report"
