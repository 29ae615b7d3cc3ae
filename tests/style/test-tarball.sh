#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The tarball holds every file git tracks and, beside them, only what
# autoreconf makes.
. "${top_srcdir:?}/tests/style/lib.sh"

test -e .git || skip "not a git checkout: this tree is the tarball"
dir=kenter-style-test.$$
trap 'cd "$top_builddir"; chmod -R u+w "$dir" 2>/dev/null; rm -rf "$dir"' EXIT
log=$(env -u MAKEFLAGS -u MFLAGS make -C "$top_builddir" distdir \
    distdir="$dir" top_distdir="$dir" 2>&1) || {
    echo "$log"
    echo "FAILED: make distdir"
    exit 1
}
bad=$(diff <(our_git ls-files | sort) \
    <(cd "$top_builddir/$dir" && find . -type f | sed 's|^\./||' |
        grep -vE '^(build-aux/|configure$|Makefile\.in$|aclocal\.m4$)' |
        grep -vxF .tarball-files | sort)) || true
verdict "$bad" "the tarball is what git knows (< only git, > only tarball)"
