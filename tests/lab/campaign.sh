#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Many power cuts of machines; the last line of the output goes into
# tests/ledger.tsv.
#
#   make power-cuts [COUNT=50]
set -u
commit=$(git -C "${top_srcdir:?}" rev-parse --short HEAD 2>/dev/null ||
    echo -)
out=$(KT_LEDGER=1 KT_LAB_CUTS="${COUNT:-50}" \
    bash "$top_srcdir/tests/lab/test-lab-power-nodes.sh")
rc=$?
grep -v ^ledger <<<"$out"
sed -n "s/^ledger/$(date +%F)\t$commit/p" <<<"$out"
exit $rc
