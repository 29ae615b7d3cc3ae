#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The simulator: seeds that once failed, fresh ones, each twice for a few.
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
