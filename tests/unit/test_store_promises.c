/* SPDX-License-Identifier: BSD-3-Clause */
/* The cases of store_cases.c, for the store this program is linked with. */
#include "tests/unit/store_model.h"

int main(void)
{
    return store_cases();
}
