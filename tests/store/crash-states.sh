#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Many crash states; the last line goes into tests/ledger.tsv.
#
#   make crash-states [COUNT=100000] [SEED=1]
set -u
run=${top_builddir:?}/tests/store/test_crash_states
commit=$(git -C "${top_srcdir:?}" rev-parse --short HEAD 2>/dev/null ||
    echo -)
out=$(KT_CRASH_LEDGER=1 KT_CRASH_STATES="${COUNT:-100000}" \
    KT_CRASH_SEED="${SEED:-1}" "$run")
rc=$?
grep -v ^ledger <<<"$out"
sed -n "s/^ledger/$(date +%F)\t$commit/p" <<<"$out"
exit $rc
