/* SPDX-License-Identifier: BSD-3-Clause */
/* What every cmocka program of the tree includes, in the order cmocka wants. */
#ifndef KT_TESTS_UNIT_UNIT_H
#define KT_TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
