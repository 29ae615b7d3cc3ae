/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/base/err.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "lib/base/kt.h"
#include "tests/unit/unit.h"

static void every_error_of_ours_has_its_own_text_name_and_class(void **state)
{
    static const struct {
        int err;
        enum kt_err_class cls;
        const char *name, *text;
    } all[] = {
#define X(n, name, cls, text) {KT_E_##name, KT_##cls, #name, text},
        KT_ERRORS(X)
#undef X
    };
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(all); i++) {
        assert_string_equal(kt_strerror(all[i].err), all[i].text);
        assert_string_equal(kt_errname(all[i].err), all[i].name);
        assert_int_equal(kt_err_class(all[i].err), all[i].cls);
    }
}

static void the_numbers_on_the_wire_never_change(void **state)
{
    (void)state;
    assert_int_equal(KT_E_OLD_EPOCH, -20000);
    assert_int_equal(KT_E_FENCED, -20005);
    assert_int_equal(KT_E_NOSPC, -20009);
    assert_int_equal(KT_E_PROTO, -20014);
    assert_int_equal(KT_E_HELD, -20018);
    assert_int_equal(KT_E_UNREACHABLE, -20022);
    assert_int_equal(KT_E_REFUSED, -20027);
}

static void an_errno_has_the_texts_of_the_c_library(void **state)
{
    (void)state;
    assert_string_equal(kt_strerror(-EIO), strerror(EIO));
    assert_string_equal(kt_errname(-EIO), "EIO");
    assert_string_equal(kt_errname(-ECONNREFUSED), "ECONNREFUSED");
    assert_int_equal(kt_err_class(-EIO), KT_FATAL);
}

static void an_unknown_number_has_a_text_too(void **state)
{
    static const int odd[] = {-19999, -20099, -3000, 5, INT_MIN, INT_MAX};
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(odd); i++) {
        assert_string_equal(kt_strerror(odd[i]), "unknown error");
        assert_string_equal(kt_errname(odd[i]), "UNKNOWN");
        assert_int_equal(kt_err_class(odd[i]), KT_FATAL);
    }
    assert_string_equal(kt_strerror(0), "success");
    assert_string_equal(kt_errname(-4095), "EOF");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_of_ours_has_its_own_text_name_and_class),
        cmocka_unit_test(the_numbers_on_the_wire_never_change),
        cmocka_unit_test(an_errno_has_the_texts_of_the_c_library),
        cmocka_unit_test(an_unknown_number_has_a_text_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
