# SPDX-License-Identifier: BSD-3-Clause
# libFuzzer targets, by clang: `make fuzz FUZZ_SECONDS=30`.

PHONY_TARGETS += fuzz
fuzz:
	bash $(top_srcdir)/%D%/run.sh
CLEANFILES += fuzz_msg seed_msg
clean-local:
	rm -rf fuzz-corpus-msg
