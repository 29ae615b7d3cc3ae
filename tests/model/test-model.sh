#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The models of the protocol hold, and without any one of their guards they
# do not.
exec "${top_srcdir:?}/tests/model/run"
