#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# tests/run-summary counts every result and tells why a test was skipped.
. "${top_srcdir:?}/tests/style/lib.sh"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

mkdir "$dir/sub"
printf ':test-result: PASS 1 - one\n:test-result: FAIL 2 - two\n' >"$dir/a.trs"
printf '1..2\nok 1 - one\nnot ok 2 - two\n' >"$dir/a.log"
printf ':test-result: SKIP\n:global-test-result: SKIP\n' >"$dir/sub/b.trs"
printf 'skipped: no moon\nSKIP b.sh (exit status: 77)\n' >"$dir/sub/b.log"
printf ':test-result: ERROR - missing test plan\n' >"$dir/sub/c.trs"
printf 'crashed\n' >"$dir/sub/c.log"
printf ':test-result: PASS\n' >"$dir/sub/d.trs"

out=$(tests/run-summary "$dir")
want='FAIL a 2 - two
    1..2
    ok 1 - one
    not ok 2 - two
SKIP sub/b
    skipped: no moon
ERROR sub/c - missing test plan
    crashed
sum 2 2 1'
verdict "$(diff <(echo "$want") <(echo "$out") || true)" "run-summary counts"

rm -rf "$dir"/*
test "$(tests/run-summary "$dir")" = "sum 0 0 0"
