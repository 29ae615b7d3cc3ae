#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
segment=16G
. "${top_srcdir:?}/tests/e2e/tools.sh"
