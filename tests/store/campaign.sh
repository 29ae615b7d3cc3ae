#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Many crash states, or many flipped bits; the last line of the output goes
# into tests/ledger.tsv.
#
#   make crash-states [COUNT=100000] [SEED=1]
#   make flips [COUNT=10000] [SEED=1]
set -u
commit=$(git -C "${top_srcdir:?}" rev-parse --short HEAD 2>/dev/null ||
    echo -)
case $1 in
crash-states)
    name=test_crash_states
    export KT_CRASH_STATES="${COUNT:-100000}" KT_CRASH_SEED="${SEED:-1}"
    ;;
flips)
    name=test_flips
    export KT_FLIPS="${COUNT:-10000}" KT_FLIPS_SEED="${SEED:-1}"
    ;;
esac
out=$(KT_LEDGER=1 "${top_builddir:?}/tests/store/$name")
rc=$?
grep -v ^ledger <<<"$out"
sed -n "s/^ledger/$(date +%F)\t$commit/p" <<<"$out"
exit $rc
