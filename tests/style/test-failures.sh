#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# DESIGN.md's table of failures: each row F1 to F36 stands there once and names
# what shows it, and what it names exists and is run. A row may wait for a
# capability that is still to come, if it is one of those known here.
#
#   `tests/x/test-y.sh`       a script, listed in its room's local.mk
#   `tests/unit/test_x.c#c`   a case of a unit test
#   `direct:NAME`             a directed schedule of the simulator
#   waits for CAPABILITY      etcd, rebalance, snapshots or kernel devices
. "${top_srcdir:?}/tests/style/lib.sh"

# What one proof lacks, or nothing.
proof_lacks() {
    local proof=$1 file case
    case $proof in
    direct:*)
        grep -qsF "\"${proof#direct:}\"" tests/sim/direct*.c ||
            echo "no directed schedule is called ${proof#direct:}"
        ;;
    tests/unit/*.c\#*)
        file=${proof%%#*} case=${proof#*#}
        test -e "$file" || {
            echo "there is no $file"
            return
        }
        grep -q "^static void $case(void" "$file" ||
            echo "$file has no case $case"
        ;;
    tests/*.sh)
        test -e "$proof" || {
            echo "there is no $proof"
            return
        }
        grep -qsF "${proof##*/}" "$(dirname "$proof")/local.mk" ||
            echo "$proof is in no local.mk, so nothing runs it"
        ;;
    *) echo "\"$proof\" is no kind of proof" ;;
    esac
}

# row_lacks NUMBER < the row's last cell
row_lacks() {
    local n=$1 cell proofs proof waits
    IFS= read -r cell
    waits=$(sed -nE 's/.*waits for ([a-z ]*[a-z]).*/\1/p' <<<"$cell")
    proofs=$(grep -oE '`[^`]+`' <<<"$cell" | tr -d '`')
    test -n "$waits$proofs" || echo "F$n names nothing that shows it"
    case $waits in
    '' | etcd | rebalance | snapshots | 'kernel devices') ;;
    *) echo "F$n waits for \"$waits\", which nobody plans" ;;
    esac
    while IFS= read -r proof; do
        test -z "$proof" || proof_lacks "$proof" | sed "s/^/F$n: /"
    done <<<"$proofs"
}

# All that is wrong with the table on standard input.
table_lacks() {
    local text n rows
    text=$(cat)
    for n in $(seq 36); do
        rows=$(grep -E "^\| F$n \|" <<<"$text" || true)
        case $(grep -c . <<<"$rows") in
        0) echo "F$n is missing" ;;
        1) awk -F'|' '{print $(NF - 1)}' <<<"$rows" | row_lacks "$n" ;;
        *) echo "F$n stands there twice" ;;
        esac
    done
}

# The check itself has to be able to fail.
shown='`tests/style/test-size.sh`'
good=$(for n in $(seq 36); do echo "| F$n | x | $shown |"; done)
must_find() {
    grep -qF "$1" <<<"$(sed "$2" <<<"$good" | table_lacks)" ||
        verdict "this: $1" "a broken table is noticed"
}
test -z "$(table_lacks <<<"$good")" || verdict "$good" "a whole table is fine"
must_find "F7 is missing" '/| F7 /d'
must_find "F9 stands there twice" '/| F9 /p'
must_find "F3 names nothing" '/| F3 /s/`.*`/later/'
must_find "there is no tests/x.sh" '/| F3 /s,`.*`,`tests/x.sh`,'
must_find "waits for \"luck\"" '/| F3 /s/`.*`/waits for luck/'
must_find "no directed schedule is called zz" '/| F3 /s/`.*`/`direct:zz`/'
must_find "has no case zz" \
    '/| F3 /s,`.*`,`tests/unit/test_cfg.c#zz`,'

verdict "$(table_lacks <DESIGN.md)" "F1 to F36 are shown or wait for a reason"
