#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Switches off each rule of lib/base/rule.h and shows who notices: a schedule
# written by hand, or random seeds from several starting points. A rule whose
# breach nobody sees must be covered by others, and be seen with them off too.
#
#   mutants.sh            the table, with the median of seeds it took
#   mutants.sh --quick    each rule once, the first way that works
#
# LIMIT=n: the most seeds from one starting point.
set -u
sim=${top_builddir:?}/tests/sim/sim-mutants
limit=${LIMIT:-300} starts="1 200001 400001 600001 800001" quick=false
if test "${1:-}" = --quick; then
    quick=true limit=${LIMIT:-1500} starts=1
fi
# Covered by others, where no schedule says so: rule and all that are off.
covered='ack_vgen ack_vgen,fresh_wseq
row_partial row_partial,row_id
skip_partial skip_partial,row_sum'

said=''
fails() { # rules, then options of sim: true when it notices
    local rules=$1 out
    shift
    out=$("$sim" --mutant "$rules" --quiet "$@" 2>&1) && return 1
    said=$(grep -m1 ^FAILED <<<"$out")
}

schedules() { # those for exactly these rules
    "$sim" --direct list | awk -F '\t' -v r="$1" '{
        n = split($2, a, " ")
        for (i = 1; i <= n; i++) if (a[i] == r) print $1 }'
}

together() { # sets of rules that have this one in them
    { "$sim" --direct list | awk -F '\t' '{
        n = split($2, a, " ")
        for (i = 1; i <= n; i++) if (a[i] ~ /,/) print a[i] }'
        awk '{ print $2 }' <<<"$covered"; } |
        awk -v r="$1" 'index("," $1 ",", "," r ",")'
}

by_schedule() { # rules
    local name
    for name in $(schedules "$1"); do
        fails "$1" --direct "$name" --seeds 1 5 && {
            by=$name
            return 0
        }
    done
    return 1
}

# Seeds until it is noticed, from each starting point.
by_seeds() { # rules
    local from list='' found=1 last
    for from in $starts; do
        if fails "$1" --seeds "$from" "$limit"; then
            last=$(sed -n 's/^FAILED seed \([0-9]*\).*/\1/p' <<<"$said")
            list+="$((last - from + 1))"$'\n'
            found=0 text=$said
        else
            list+="$((limit + 1))"$'\n'
        fi
    done
    n=$(printf %s "$list" | sort -n |
        awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }')
    test "$n" -le "$limit" || n=">$limit"
    test $found = 1 || said=$text
    return $found
}

row() {
    printf '%-14s %-22s %-24s %6s  %s\n' "$@"
}

one() { # rule, from
    local rule=$1 from=$2 set n=- by='' mark
    if by_schedule "$rule"; then
        mark=$said
        $quick || by_seeds "$rule" || true
        row "$rule" "$from" "$by" "$n" "${mark#FAILED }"
        return 0
    fi
    # Quick: what is covered by others would take all seeds.
    if { ! $quick || test -z "$(together "$rule")"; } && by_seeds "$rule"; then
        row "$rule" "$from" seeds "$n" "${said#FAILED }"
        return 0
    fi
    for set in $(together "$rule"); do
        if by_schedule "$set" || { by=seeds && by_seeds "$set"; }; then
            row "$rule" "$from" "$by" "$n" "with ${set}: ${said#FAILED }"
            return 0
        fi
    done
    row "$rule" "$from" NOBODY "$n" ""
    return 1
}

bad=0 all=0
row rule from "noticed by" seeds violation
while IFS=$'\t' read -r rule from _; do
    test "$rule" != self_check || continue
    all=$((all + 1))
    # A force-promotion takes the attachment first, and members know no token
    # then: the schedule "promoted" cannot tell. Tests of the engine do.
    if test "$rule" = history_fence; then
        row "$rule" "$from" "(the token is gone)" - ""
        all=$((all - 1))
        continue
    fi
    one "$rule" "$from" || bad=$((bad + 1))
done < <("$sim" --rules)
echo "$all rules, $((all - bad)) of them noticed when off"
test $bad = 0
