# SPDX-License-Identifier: BSD-3-Clause
# Tests with real processes: test-<feature>-<case>.sh. Each finds the tree in
# $top_srcdir and the build in $top_builddir, and exits 0, 1 or, with the
# reason as its last line, 77. Add a test: one line here.

e2e_tests +=
