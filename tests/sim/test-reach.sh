#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Rare paths (lib/base/rule.h) are taken by random seeds, or by schedules.
set -eu
sim=${top_builddir:?}/tests/sim/sim-mutants

test "${KT_SANITIZERS:-no}" = no || {
    echo "skipped: the build without sanitizers counts"
    exit 77
}
set -o pipefail

# A member refuses a client as fenced only at the client's own epoch, and whose
# that is the client knew when it took it over (I1): it is fenced by then. So
# the refusal is a second guard, for when the first one is off.
second_guard() {
    "$sim" --mutant token_dies --direct fenced-late --reach 2>/dev/null |
        grep $'^reach\tfenced_by_nak\t'
}
lacking=$({
    "$sim" --seeds 1 2000 --keep-going --quiet --reach &&
        "$sim" --direct all --reach &&
        "$sim" --file "${top_srcdir:?}/tests/sim/seeds" --reach &&
        second_guard
} | awk -F '\t' '
    $1 == "reach" { n[$2] += $3 }
    END { for (p in n) if (!n[p]) print p }') || {
    echo "FAILED: a seed or a schedule on the way"
    exit 1
}
test -z "$lacking" || {
    echo "FAILED: nobody went along: $lacking"
    exit 1
}
echo "ok: every rare path"
