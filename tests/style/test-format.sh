#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# C sources are as clang-format 14 writes them.
. "${top_srcdir:?}/tests/style/lib.sh"

format=${KT_CLANG_FORMAT:-clang-format}
command -v "$format" >/dev/null || skip "clang-format is not installed"
case $("$format" --version) in
*"version 14."*) ;;
*) skip "$format is not version 14, which the tree is written with" ;;
esac
bad=$(files c h | xargs -r -d '\n' "$format" --style=file --dry-run -Werror \
    2>&1 | grep 'error:') || true
verdict "$bad" "formatted by clang-format"
