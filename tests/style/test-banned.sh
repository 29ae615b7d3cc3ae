#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Calls that cannot be used safely, words that mark unfinished work, and
# paths of the machine the author happened to sit at.
. "${top_srcdir:?}/tests/style/lib.sh"

calls='strcpy|strcat|sprintf|vsprintf|atoi|atol|alloca|rand|srand|gets'
# Written apart, so that this file does not find itself.
words='TO''DO|FIX''ME|X''XX|HA''CK'
paths='/ho''me/[a-z]|/ro''ot/|/wo''rk/|/Us''ers/'

# Comments may name a banned call; code may not.
bad=$(for f in $(files c h); do
    sed 's|//.*||; s|/\*.*\*/||; s|^ \* .*||; s|"[^"]*"||g' "$f" |
        grep -nE "\b($calls) *\(" | sed "s|^|$f:|"
done) || true
verdict "$bad" "no banned call"

bad=$(files | xargs -d '\n' grep -nIE "\b($words)\b") || true
verdict "$bad" "no marker of unfinished work"

bad=$(files | xargs -d '\n' grep -nIE "(^|[^a-zA-Z0-9_.~}])($paths)") || true
verdict "$bad" "no path of one machine"

# Assertions are the product's, not the debug build's.
bad=$(files c h mk am |
    xargs -d '\n' grep -nE '(define|-D) *NDEBUG') || true
verdict "$bad" "NDEBUG is set nowhere"
