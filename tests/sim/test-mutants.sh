#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The simulator with one rule switched off (lib/base/rule.h): it must notice.
set -u
sim=${top_builddir:?}/tests/sim/sim-mutants

fail() {
    echo "FAILED: $*"
    exit 1
}

for rule in ack_logged ack_succ flush_synced vgen dedup eq_all prev replay \
    sealed_quiet; do
    out=$("$sim" --mutant $rule --seeds 1 400 --quiet 2>&1) &&
        fail "nobody noticed that $rule is off"
    echo "$rule: $(grep -m1 ^FAILED <<<"$out")"
done
