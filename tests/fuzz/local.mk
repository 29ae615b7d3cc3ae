# SPDX-License-Identifier: BSD-3-Clause
# libFuzzer targets, by clang: `make fuzz FUZZ_SECONDS=30`.

PHONY_TARGETS += fuzz
fuzz:
	bash $(top_srcdir)/%D%/run.sh
CLEANFILES += fuzz_msg fuzz_record fuzz_pages fuzz_store seed_msg seed_store \
	seed_store.log
clean-local:
	rm -rf fuzz-corpus-msg fuzz-corpus-record fuzz-corpus-pages \
	    fuzz-corpus-store fuzz-store fuzz-objects
