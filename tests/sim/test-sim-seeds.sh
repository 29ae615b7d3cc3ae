#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The simulator: seeds that once failed, fresh ones, each twice for a few, and
# with rules switched off, which it must notice.
set -u
sim=${top_builddir:?}/tests/sim/sim
fresh=400 seconds=40
test "${KT_SANITIZERS:-no}" = no || fresh=40
# Other seeds with every commit, the same ones on one.
from=$(git -C "${top_srcdir:?}" rev-parse --short=7 HEAD 2>/dev/null) ||
    from=5eed
from=$((16#$from % 900000000 + 100000000))

fail() {
    echo "FAILED: $*"
    exit 1
}

echo "== seeds that once failed"
"$sim" --file "$top_srcdir/tests/sim/seeds" || fail "a known seed"
echo "== up to $fresh seeds from $from"
"$sim" --seeds "$from" $fresh --seconds $seconds || fail "a fresh seed"
echo "== the same seed twice"
"$sim" --again "$from" 10 || fail "runs differ"

echo "== rules switched off"
for mutant in ack-early succ-ignored no-sync no-vgen no-dedup no-eq no-prev \
    no-replay no-promise eq-unsynced; do
    out=$("$sim" --mutant $mutant --seeds 1 400 --quiet 2>&1) &&
        fail "nobody noticed $mutant"
    echo "$mutant: $(grep -m1 ^FAILED <<<"$out")"
done
