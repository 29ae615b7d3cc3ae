/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "lib/base/text.h"
#include "mkfs-helper/mkfs.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

#define UUID_CHARS 36

enum verb { FORMAT, PROBE, CHECK, GROW };

static const char help[] =
    "usage: kenter-mkfs [OPTIONS] DEVICE\n"
    "\n"
    "Formats DEVICE, a block device or a file, when nothing at all is on it.\n"
    "\n"
    "  --never-formatted  who calls knows that DEVICE was never written;\n"
    "                     without it nothing is formatted\n"
    "  --fs FS            ext4 (default) or xfs\n"
    "  --uuid UUID        of the new file system, or of the one to check\n"
    "  --label LABEL      of the new file system\n"
    "  --options WORDS    more words for mkfs.ext4 or mkfs.xfs\n"
    "  --size BYTES       refuse DEVICE when its size is another\n"
    "  --nbd URI          the NBD server of DEVICE: it tells what was never\n"
    "                     written, so that all the rest can be read\n"
    "\n"
    "instead of formatting:\n"
    "  --probe            say what is on DEVICE\n"
    "  --check            check what is there before a mount, and grow it\n"
    "                     when DEVICE is larger\n"
    "  --grow             DEVICE is a directory where xfs is mounted: grow it\n"
    "\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 done, 1 refused or failed, 2 usage.\n";

static const struct option options[] = {
    {"never-formatted", no_argument, NULL, 'n'},
    {"fs", required_argument, NULL, 'f'},
    {"uuid", required_argument, NULL, 'u'},
    {"label", required_argument, NULL, 'l'},
    {"options", required_argument, NULL, 'o'},
    {"size", required_argument, NULL, 's'},
    {"nbd", required_argument, NULL, 'b'},
    {"probe", no_argument, NULL, 'p'},
    {"check", no_argument, NULL, 'c'},
    {"grow", no_argument, NULL, 'g'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'v'},
    {NULL, 0, NULL, 0},
};

struct call {
    enum verb verb;
    struct mkfs_target target;
    struct mkfs_wish wish;
};

static int usage(const char *what, const char *value)
{
    fprintf(stderr, "kenter-mkfs: %s%s%s; see kenter-mkfs --help.\n", what,
            value ? ": " : "", value ? value : "");
    return 2;
}

static bool uuid_valid(const char *s)
{
    if (strlen(s) != UUID_CHARS)
        return false;
    for (unsigned i = 0; i < UUID_CHARS; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s[i] != '-' : !strchr("0123456789abcdefABCDEF", s[i]))
            return false;
    }
    return true;
}

/* 0, or 2 after a sentence. */
static int take(struct call *c, int opt, const char *arg)
{
    switch (opt) {
    case 'n':
        c->wish.never_formatted = true;
        return 0;
    case 'f':
        c->wish.fs = arg;
        if (strcmp(arg, "ext4") != 0 && strcmp(arg, "xfs") != 0)
            return usage("--fs is ext4 or xfs", arg);
        return 0;
    case 'u':
        c->wish.uuid = arg;
        return uuid_valid(arg) ? 0 : usage("--uuid is no UUID", arg);
    case 'l':
        c->wish.label = arg;
        if (strlen(arg) > 12 || arg[0] == '-')
            return usage("--label has 12 characters at most", arg);
        return 0;
    case 'o':
        c->wish.options = arg;
        return strlen(arg) < 512 ? 0 : usage("--options is too long", NULL);
    case 's':
        if (kt_size_parse(arg, &c->target.size_bytes) < 0 ||
            c->target.size_bytes == 0)
            return usage("--size is no size", arg);
        return 0;
    case 'b':
        c->target.nbd = arg;
        return 0;
    default:
        c->verb = opt == 'p' ? PROBE : opt == 'c' ? CHECK : GROW;
        return 0;
    }
}

static void print_found(const struct mkfs_found *f)
{
    if (f->kind == MKFS_BLANK)
        printf("blank%s\n", f->whole ? "" : " by samples");
    else if (f->kind == MKFS_FS)
        printf("%s %s\n", f->type, f->uuid);
    else
        printf("other %s\n", f->what);
}

static int run(const struct call *c)
{
    char why[MKFS_WHY_BYTES] = "memory is out", uuid[MKFS_UUID_BYTES];
    struct mkfs_found f;
    int err = 0;

    switch (c->verb) {
    case FORMAT:
        err = mkfs_format(&c->target, &c->wish, uuid, why);
        if (err == 0)
            printf("%s %s\n", c->wish.fs, uuid);
        break;
    case PROBE:
        err = mkfs_probe(&c->target, &f, why);
        if (err == 0)
            print_found(&f);
        break;
    case CHECK:
        err = mkfs_check(&c->target, c->wish.uuid, why);
        if (err == 0)
            printf("%s\n", why);
        break;
    case GROW:
        err = mkfs_grow_mounted(c->target.path, why);
        break;
    }
    if (err == 0)
        return fflush(stdout) == 0 ? 0 : 1;
    fprintf(stderr, "kenter-mkfs: %s.\n", why);
    return 1;
}

int mkfs_main(int argc, char **argv)
{
    struct call c = {.verb = FORMAT, .wish.fs = "ext4"};
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (opt == 'v') {
            printf("kenter-mkfs %s\n", PACKAGE_VERSION);
            return 0;
        }
        if (opt == '?')
            return 2;
        int r = take(&c, opt, optarg);
        if (r != 0)
            return r;
    }
    if (argc - optind != 1)
        return usage("one DEVICE is needed", NULL);
    c.target.path = argv[optind];
    if (c.target.path[0] == '-')
        return usage("this is no DEVICE", c.target.path);
    kt_path_widen();
    return run(&c);
}
