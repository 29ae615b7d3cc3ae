#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The cores' own assertions (KT_HOLDS) are able to fail: with a rule off, and
# they alone left to notice, the one that cites the number does.
set -eu
sim=${top_builddir:?}/tests/sim/sim-mutants

test "${KT_SANITIZERS:-no}" = no || {
    echo "skipped: rules are switched off in the build without sanitizers"
    exit 77
}
# number, rules that are off, how the simulator is led there
table='
I1  prepare_first                   seeds
I2  old_epoch                       seeds
I2  fwd_epoch                       record-of-the-past
I3  promise_saved                   seeds
I4  promise,act_sealed              late-activate
I5  commit_first                    seeds
I6  in_last                         f10-stale-returns
I8  resume_first                    seeds
I9  eq_all                          seeds
I23 ack_logged                      seeds
I12 ack_succ                        seeds
I13 flush_synced                    seeds
I13 flush_all                       seeds
I14 eq_durable                      seeds
I14 sync_durable                    seeds
I15 vgen                            seeds
I15 cont_acked                      seeds
I16 replay                          seeds
I16 fresh_wseq                      seeds
I17 eio                             seeds
I18 token_dies                      seeds
I19 dedup                           seeds
I19 wstable                         f19-late-duplicate
I21 whole                           seeds
I21 row_partial,row_id              seeds
B11 replay_quiet                    seeds
'
cited() {
    echo "Assertion .* && \"$1\""
}
bad=0 n=0
while read -r number rules way; do
    test -n "$number" || continue
    case $way in
    seeds) set -- --seeds 1 400 ;;
    *) set -- --direct "$way" --seeds 1 5 ;;
    esac
    out=$("$sim" --mutant "+$rules" --quiet "$@" 2>&1) || true
    # Another may have been the first to notice.
    grep -q "$(cited "$number")" <<<"$out" ||
        out+=$("$sim" --mutant "+$rules" --quiet --keep-going "$@" 2>&1) || true
    if grep -q "$(cited "$number")" <<<"$out"; then
        n=$((n + 1))
    else
        echo "FAILED: $rules is off and $number is not asserted:"
        grep -m1 -E 'FAILED|Assertion' <<<"$out" || echo "nobody minds"
        bad=$((bad + 1))
    fi
done <<<"$table"
test $bad = 0
echo "ok: $n assertions have failed when they should"
