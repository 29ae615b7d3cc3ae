#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Builds the fuzz targets with clang in the current directory and runs each
# for FUZZ_SECONDS (30). The corpus stays in ./fuzz-corpus-NAME.
set -euo pipefail
src=$(cd "$(dirname "$0")/../.." && pwd)
seconds=${FUZZ_SECONDS:-30}

command -v clang >/dev/null || {
    echo 'fuzz: clang is missing, install it' >&2
    exit 77
}
flags=(-g -O1 -std=c11 -D_GNU_SOURCE "-I$src" -fno-strict-aliasing)
lib=("$src"/lib/base/{addr,err,errtext,id,idnew,os,sum,text}.c
    "$src"/lib/wire/*.c "$src/lib/link/framer.c")

clang "${flags[@]}" -fsanitize=fuzzer,address,undefined -o fuzz_msg \
    "$src/tests/fuzz/fuzz_msg.c" "${lib[@]}" -ljansson -lpthread
clang "${flags[@]}" -o seed_msg "$src/tests/fuzz/seed_msg.c" \
    "$src/tests/unit/gen_msg.c" "${lib[@]}" -ljansson -lpthread
mkdir -p fuzz-corpus-msg
./seed_msg fuzz-corpus-msg
./fuzz_msg -max_len=20000 "-max_total_time=$seconds" -print_final_stats=1 \
    fuzz-corpus-msg
