#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Rare paths (lib/base/rule.h) are taken by random seeds, or by schedules.
set -eu
sim=${top_builddir:?}/tests/sim/sim-mutants

test "${KT_SANITIZERS:-no}" = no || {
    echo "skipped: the build without sanitizers counts"
    exit 77
}
# No seed and no schedule has led there so far.
not_here='eq_refused eq_gap seal_refused feed_again fenced_by_nak quarantined'
# More is under way, for longer, than fits in here: unit tests of the core do.
# recount_again: two rare failures in a row, a_full_store_ends_the_resync there.
not_here+=' suffix_again brake recount_again'
set -o pipefail
lacking=$({
    "$sim" --seeds 1 2000 --keep-going --quiet --reach &&
        "$sim" --direct all --reach &&
        "$sim" --file "${top_srcdir:?}/tests/sim/seeds" --reach
} | awk -F '\t' -v not="$not_here" '
    BEGIN { split(not, a, " "); for (i in a) skip[a[i]] = 1 }
    $1 == "reach" { n[$2] += $3 }
    END { for (p in n) if (!n[p] && !(p in skip)) print p }') || {
    echo "FAILED: a seed or a schedule on the way"
    exit 1
}
test -z "$lacking" || {
    echo "FAILED: nobody went along: $lacking"
    exit 1
}
echo "ok: every rare path but $not_here"
