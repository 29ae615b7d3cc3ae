#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The schedules written by hand; the hub dead around each of its commits; then
# each rule of lib/base/rule.h is switched off once, and somebody must notice.
set -eu
sim=${top_builddir:?}/tests/sim/sim

test "${KT_SANITIZERS:-no}" = no || seeds=1
echo "== schedules"
"$sim" --direct all --seeds 1 "${seeds:-5}"
echo "== the hub dies around each of its commits"
"$sim" --sweep --seeds 1 "${seeds:-5}"
if test "${KT_SANITIZERS:-no}" != no; then
    echo "rules are switched off in the build without sanitizers"
    exit 0
fi
echo "== rules switched off"
bash "${top_srcdir:?}/tests/sim/mutants.sh" --quick
