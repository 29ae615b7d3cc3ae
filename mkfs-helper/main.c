/* SPDX-License-Identifier: BSD-3-Clause */
#include "mkfs-helper/mkfs.h"

int main(int argc, char **argv)
{
    return mkfs_main(argc, argv);
}
