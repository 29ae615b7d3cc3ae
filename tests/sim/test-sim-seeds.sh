#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The simulator: seeds that once failed, fresh ones, longer ones, some twice.
set -u
sim=${top_builddir:?}/tests/sim/sim
fresh=20000 long=200 jobs=2 seconds=600
test "${KT_SANITIZERS:-no}" = no || fresh=600 long=10
# A campaign proves something for one build; another compiler need not.
test -z "${KT_SIM_SEEDS:-}" || fresh=$KT_SIM_SEEDS
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
echo "== $fresh seeds from $from"
"$sim" --seeds "$from" $fresh --jobs $jobs --seconds $seconds --campaign |
    grep -v ^ledger
test "${PIPESTATUS[0]}" = 0 || fail "a fresh seed"
echo "== $long longer ones"
"$sim" --long --seeds "$from" $long --jobs $jobs || fail "a long seed"
echo "== the same seed twice"
"$sim" --again "$from" 20 || fail "runs differ"
