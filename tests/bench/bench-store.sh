#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The store alone beside the bare disk it stands on: medians of $RUNS
# interleaved rounds (default 5) of $SECS seconds a figure (default 1), in a
# directory made in $TMPDIR, on $SIZE bytes (default 1 GiB, twice).
# tests/bench/store_bench.c says what each column is. $ONLY: only figures whose
# names contain it.
set -u
bench=${top_builddir:?}/tests/bench/store_bench
runs=${RUNS:-5} secs=${SECS:-1} size=${SIZE:-1073741824}
export KT_BENCH_ONLY=${ONLY:-}

work=$(mktemp -d "${TMPDIR:-/tmp}/kt-bench.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

for ((run = 1; run <= runs; run++)); do
    "$bench" "$work" "$secs" "$size" >>"$work/rounds" || exit 1
    echo "round $run of $runs done" >&2
done

awk -F'\t' '
    function median(values,    v, n, i, j, t) {
        n = split(values, v, " ")
        for (i = 2; i <= n; i++)
            for (j = i; j > 1 && v[j - 1] + 0 > v[j] + 0; j--) {
                t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
            }
        return v[int((n + 1) / 2)]
    }
    function target(name, value, most) {
        if (value != "")
            printf "%s: %.2f (target: %s)\n", name, value, most
    }
    !($1 in ours) { order[++n] = $1 }
    {
        ours[$1] = ours[$1] " " $2; raw[$1] = raw[$1] " " $3
        append[$1] = append[$1] " " $4; own[$1] = own[$1] " " $5
        disk[$1] = disk[$1] " " $6
        to_raw[$1] = to_raw[$1] " " $2 / $3
        to_append[$1] = to_append[$1] " " $2 / $4
        costs[$1] = costs[$1] " " $4 / $2
        seen[$1]++
        if ($1 == "rand-4k-qd1-flush") one = $2
        if ($1 == "rand-4k-qd16-flush" && one) group = group " " $2 / one
    }
    END {
        printf "%-18s %9s %9s %9s %6s %6s %6s %6s\n", "figure", "store/s",
            "raw/s", "dsync/s", "/raw", "/dsync", "own", "disk"
        for (i = 1; i <= n; i++) {
            f = order[i]
            printf "%-18s %9.0f %9.0f %9.0f %6.2f %6.2f %6.2f %6.2f\n", f,
                median(ours[f]), median(raw[f]), median(append[f]),
                median(to_raw[f]), median(to_append[f]), median(own[f]),
                median(disk[f])
        }
        target("flush + 4 KiB at depth 1, in raw appends",
            median(costs["rand-4k-qd1-flush"]), "at most 2")
        target("16 in flight with a flush each, to one", median(group),
            "at least 5")
        target("sequential 1 MiB, to the raw disk",
            median(to_raw["seq-1M-qd16"]), "at least 0.4")
    }' "$work/rounds"
echo "medians of $runs rounds of $secs s; $(nproc) CPUs; raw: pwrite with" \
    "O_DIRECT; dsync: appends with O_DIRECT|O_DSYNC; own, disk: bytes written" \
    "for each one given, by /proc/self/io and by the disk"
