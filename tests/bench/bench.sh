#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Seven figures of a Kenter volume (three replicas on this machine) and of
# `nbdkit file` with ONE copy, in turn, and their ratio: medians of $RUNS
# interleaved rounds (default 5) of $SECS seconds each (default 4).
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit fio jq

runs=${RUNS:-5} secs=${SECS:-4} size=${SIZE:-1G}
names=(randwrite-4k-qd1 randwrite-4k-qd32 randwrite-4k-flush
    randread-4k-qd1 randread-4k-qd32 write-1M-qd4 read-1M-qd4)
options=("--bs=4k --rw=randwrite --iodepth=1"
    "--bs=4k --rw=randwrite --iodepth=32"
    "--bs=4k --rw=randwrite --iodepth=1 --fsync=1"
    "--bs=4k --rw=randread --iodepth=1"
    "--bs=4k --rw=randread --iodepth=32"
    "--bs=1M --rw=write --iodepth=4"
    "--bs=1M --rw=read --iodepth=4")

# figure URI OPTIONS: I/O operations per second.
figure() {
    local target=$1
    shift
    fio --name=f --ioengine=nbd --uri="$target" --size="$size" \
        --output-format=json "$@" 2>"$work/fio.err" |
        sed -n '/^{/,$p' |
        jq '.jobs[0] | if .error != 0 then error("fio failed")
            elif .write.io_bytes > 0 then .write.iops else .read.iops end' ||
        fail "fio $*: $(cat "$work/fio.err")"
}

median() {
    sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

sandbox_up --nodes 3
k volume create bench --size "$size"
serve kenter volume=bench
ours=$uri
truncate -s "$size" "$work/one-copy"
nbdkit -f -t 16 -U "$work/file.sock" file "$work/one-copy" &
started+=($!)
file="nbd+unix:///?socket=$work/file.sock"
while ! test -S "$work/file.sock"; do sleep 0.05; done

for target in "$ours" "$file"; do
    figure "$target" --bs=1M --rw=write --iodepth=4 >/dev/null
done
for ((run = 1; run <= runs; run++)); do
    for i in "${!names[@]}"; do
        # shellcheck disable=SC2086
        a=$(figure "$ours" --runtime="$secs" --time_based ${options[$i]})
        b=$(figure "$file" --runtime="$secs" --time_based ${options[$i]})
        echo "$a" >>"$work/ours.$i"
        echo "$b" >>"$work/file.$i"
        awk -v a="$a" -v b="$b" 'BEGIN { print a / b }' >>"$work/ratio.$i"
    done
    echo "round $run of $runs done" >&2
done

printf '%-20s %12s %12s %7s\n' figure kenter/s one-copy/s ratio
low=0
for i in "${!names[@]}"; do
    r=$(median <"$work/ratio.$i")
    printf '%-20s %12.0f %12.0f %7.2f\n' "${names[$i]}" \
        "$(median <"$work/ours.$i")" "$(median <"$work/file.$i")" "$r"
    awk -v r="$r" 'BEGIN { exit !(r < 0.1) }' && low=1
done
echo "medians of $runs rounds of $secs s; $(nproc) CPUs; three replicas," \
    "hub, nbdkit and fio on one machine and one disk"
test $low = 0 || echo "a ratio is below 0.1" >&2
unserve "$nbdkit_pid"
exit $low
