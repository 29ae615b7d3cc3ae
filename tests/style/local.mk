# SPDX-License-Identifier: BSD-3-Clause
# The rules of the house, as tests.

shell_tests += $(style_tests)
style_tests =
