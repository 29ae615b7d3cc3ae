#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Twelve faults in two minutes and what follows; `make chaos` goes on longer.
export CHAOS_SECONDS=${KT_CHAOS_SECONDS:-125} CHAOS_HEAL_MAX=12
export SEED=${KT_CHAOS_SEED:-1} NODES=3
exec bash "${top_srcdir:?}/tests/chaos/chaos" run
