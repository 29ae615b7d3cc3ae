#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Lines up to 80 columns, files up to 600 lines, functions up to 70 lines.
. "${top_srcdir:?}/tests/style/lib.sh"

bad=$(perl tests/style/size.pl $(files c h sh pl mk am ac)) || true
verdict "$bad" "lines of 80 columns, files of 600 lines, functions of 70"

# The checker must be able to fail.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
{
    echo 'int f(void)'
    echo '{'
    for i in $(seq 71); do echo '    g();'; done
    echo '}'
    printf '%081d\n' 0
    for i in $(seq 600); do echo; done
} >"$tmp/long.c"
n=$(perl tests/style/size.pl "$tmp/long.c" | wc -l) || true
test "$n" = 3 || {
    echo "FAILED: the checker saw $n of 3 planted faults"
    exit 1
}
