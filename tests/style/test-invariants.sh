#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# DESIGN.md's table of assertions: each invariant I1 to I23 stands there once,
# names every source that asserts it and no other, and what else it names is
# there.
#
#   `room/x.c`                holds a line KT_HOLDS(In, ...)
#   `tests/sim/x.c`           the simulator's own look, which cites (In)
#   `tests/unit/test_x.c#c`   a case of a unit test
. "${top_srcdir:?}/tests/style/lib.sh"

cores='replicator/core|hub/control|lib/client'

# "number file", once each.
# shellcheck disable=SC2046 # names without blanks
asserted=$(grep -oE 'KT_HOLDS\(I[0-9]+,' \
    $(files c | grep -E "^($cores)/[a-z_]*\.c$") |
    sed -E 's/(.*):KT_HOLDS\(I([0-9]+),/\2 \1/' | sort -u)

# What is wrong with one thing that row I$1 names, or nothing.
named_lacks() {
    local n=$1 what=$2 file=${2%%#*}
    test -e "$file" || {
        echo "there is no $file"
        return
    }
    case $what in
    tests/unit/*\#*)
        grep -q "^static void ${what#*#}(void" "$file" ||
            echo "$file has no case ${what#*#}"
        ;;
    tests/sim/*.c) grep -qw "I$n" "$file" || echo "$file does not cite I$n" ;;
    *.c)
        grep -q "KT_HOLDS(I$n," "$file" || echo "$file does not assert I$n"
        ;;
    *) echo "\"$what\" is nothing that shows an invariant" ;;
    esac
}

# row_lacks NUMBER < the row
row_lacks() {
    local n=$1 row what
    IFS= read -r row
    while IFS= read -r what; do
        test -z "$what" || named_lacks "$n" "$what"
    done < <(grep -oE '`[^`]+`' <<<"$row" | tr -d '`')
    for what in $(awk -v n="$n" '$1 == n { print $2 }' <<<"$asserted"); do
        grep -qF "\`$what\`" <<<"$row" || echo "$what asserts it too"
    done
    grep -qF '.c`' <<<"$row" || echo "nothing asserts it"
}

# All that is wrong with the table on standard input.
table_lacks() {
    local text n rows
    text=$(cat)
    for n in $(seq 23); do
        rows=$(grep -E "^\| I$n \|" <<<"$text" || true)
        case $(grep -c . <<<"$rows") in
        0) echo "I$n is missing" ;;
        1) row_lacks "$n" <<<"$rows" | sed "s/^/I$n: /" ;;
        *) echo "I$n stands there twice" ;;
        esac
    done
}

# The check itself has to be able to fail.
good=$(grep -E '^\| I[0-9]+ \|' DESIGN.md)
must_find() {
    grep -qF "$1" <<<"$(sed "$2" <<<"$good" | table_lacks)" ||
        verdict "this: $1" "a broken table is noticed"
}
must_find "I7 is missing" '/| I7 /d'
must_find "I9 stands there twice" '/| I9 /p'
must_find "hub/control/act.c asserts it too" '/| I22 /s,act.c,check.c,'
must_find "I15: nothing asserts it" '/| I15 /s,`.*`,-,'
must_find "I3: there is no hub/x.c" '/| I3 /s,`[^`]*`,`hub/x.c`,'
must_find "hub.c does not assert I5" \
    '/| I5 /s,`[^`]*`,`hub/control/hub.c`,'
must_find "does not cite I6" '/| I6 /s,`.*`,`tests/sim/net.c`,'
must_find "has no case zz" '/| I22 /s,#[a-z_]*,#zz,'

verdict "$(table_lacks <DESIGN.md)" "I1 to I23 are asserted as DESIGN.md says"
