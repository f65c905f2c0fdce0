// SPDX-License-Identifier: GPL-2.0
/*
 * Kbuild makes one object of each source; two modules cannot share it.
 */
#include "helpers.c"
