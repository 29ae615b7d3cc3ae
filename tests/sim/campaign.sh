#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Many fresh seeds; the last line goes into tests/ledger.tsv.
#
#   make sim-campaign [SEEDS=1000000] [FROM=1] [JOBS=2] [LIMIT_S=...]
set -u
sim=${top_builddir:?}/tests/sim/sim
commit=$(git -C "${top_srcdir:?}" rev-parse --short HEAD 2>/dev/null || echo -)
out=$("$sim" --seeds "${FROM:-1}" "${SEEDS:-1000000}" --jobs "${JOBS:-2}" \
    ${LIMIT_S:+--seconds "$LIMIT_S"} --campaign)
rc=$?
grep -v ^ledger <<<"$out"
sed -n "s/^ledger/$(date +%F)\t$commit/p" <<<"$out"
exit $rc
