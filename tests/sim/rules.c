/* SPDX-License-Identifier: BSD-3-Clause */
/* The switches of lib/base/rule.h, and their names. Only sim-mutants is
 * compiled with them. */
#include "lib/base/rule.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static const struct {
    const char *name, *what, *from;
} rules[] = {
#define ROW(name, what, from) {#name, what, from},
    KT_RULES(ROW)
#undef ROW
};

/* Name, where it is from, what it says. */
void rules_print(void)
{
    for (size_t i = 0; i < KT_RULE_END; i++)
        printf("%s\t%s\t%s\n", rules[i].name, rules[i].from, rules[i].what);
}

#ifdef KT_MUTANTS
bool kt_rule_off[KT_RULE_END];
uint64_t kt_reached[KT_REACH_END];

static void rule_off(const char *name, size_t len)
{
    for (size_t i = 0; i < KT_RULE_END; i++) {
        if (strlen(rules[i].name) == len && !memcmp(rules[i].name, name, len)) {
            kt_rule_off[i] = true;
            return;
        }
    }
    fprintf(stderr, "sim: there is no rule %.*s; see --rules\n", (int)len,
            name);
    exit(2);
}

void rules_off(const char *list)
{
    /* +NAME: and the cores go on looking at themselves. */
    kt_rule_off[KT_M_self_check] = *list != '+';
    list += *list == '+';
    for (;;) {
        size_t len = strcspn(list, ",");
        rule_off(list, len);
        if (!list[len])
            return;
        list += len + 1;
    }
}

void reach_print(void)
{
    static const char *const names[][2] = {
#define ROW(name, what) {#name, what},
        KT_REACHES(ROW)
#undef ROW
    };
    for (size_t i = 0; i < KT_REACH_END; i++)
        printf("reach\t%s\t%" PRIu64 "\t%s\n", names[i][0], kt_reached[i],
               names[i][1]);
}
#else
void rules_off(const char *list)
{
    (void)list;
    fprintf(stderr, "sim: only sim-mutants can switch rules off\n");
    exit(2);
}

void reach_print(void)
{
    fprintf(stderr, "sim: only sim-mutants counts what it reaches\n");
    exit(2);
}
#endif
