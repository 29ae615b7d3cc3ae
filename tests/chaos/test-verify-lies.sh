#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The verifier says nothing about an honest disk, and names each kind of lie:
# a disk in memory tells one now and then.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit
lie=$top_builddir/tests/chaos/.libs/nbdkit-lie-plugin.so
verify=$top_builddir/tests/chaos/verify
test -e "$lie" || skip "the plugin that lies is not built here"

# disk TAG KIND [nbdkit arguments]: a disk that lies -> $sock
disk() {
    local tag=$1 kind=$2 i
    shift 2
    sock=$work/$tag.sock
    env "$(preload)" ASAN_OPTIONS=detect_leaks=0 nbdkit -f -t 32 -U "$sock" \
        "$@" "$lie" size=4M lie="$kind" every=100 2>"$work/$tag.log" &
    started+=($!)
    for ((i = 0; i < 200; i++)); do
        test ! -S "$sock" || return 0
        sleep 0.05
    done
    fail "the disk does not listen"
}

# watch SECONDS: what the verifier says of $sock -> $out, $rc
watch() {
    out=$work/out rc=0
    { echo "open $sock"; sleep "$1"; echo end; } |
        "$verify" --bytes 4194304 --threads 12 --pause-us 200 --end-s 4 \
            >"$out" 2>"$work/verify.log" || rc=$?
}

# caught KIND: exit 1, and that is what it was called.
caught() {
    test $rc = 1 || fail "$1: exit $rc: $(cat "$out")"
    grep -q "^violations.* $1=[1-9]" "$out" ||
        fail "$1: $(grep '^violations' "$out")"
}

disk honest none
watch 2
test $rc = 0 || fail "an honest disk: $(cat "$out" "$work/verify.log")"
grep '^totals' "$out"
test "$(sed -n 's/^totals writes=\([0-9]*\).*/\1/p' "$out")" -gt 500 ||
    fail "too little was written"

for pair in lost:lost stale:stale corrupt:corrupt torn:corrupt \
    misplaced:corrupt stuck:stuck; do
    kind=${pair%:*}
    disk "$kind" "$kind"
    watch 2
    caught "${pair#*:}"
    echo "$kind: $(grep '^violations' "$out")"
done

# A write that a fenced holder was answered: the first disk, still alive, after
# the verifier was told that another one holds it now.
disk old none
first=$sock
disk new none
out=$work/out rc=0
{ echo "open $first"; sleep 1; echo "open $sock"; sleep 4; echo end; } |
    "$verify" --bytes 4194304 --threads 12 --pause-us 200 >"$out" \
        2>"$work/verify.log" || rc=$?
test $rc = 1 && grep -q 'fence=[1-9]' "$out" ||
    fail "a fenced writer: $(cat "$out")"
echo "fenced: $(grep '^violations' "$out")"
