# SPDX-License-Identifier: BSD-3-Clause
# The rules of the house, as tests. Add one: one line here.

style_tests += \
	%D%/test-banned.sh \
	%D%/test-failures.sh \
	%D%/test-format.sh \
	%D%/test-invariants.sh \
	%D%/test-layers.sh \
	%D%/test-man.sh \
	%D%/test-options.sh \
	%D%/test-pure.sh \
	%D%/test-shell.sh \
	%D%/test-size.sh \
	%D%/test-spdx.sh \
	%D%/test-summary.sh \
	%D%/test-tarball.sh
