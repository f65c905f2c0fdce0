// SPDX-License-Identifier: GPL-2.0
/*
 * Stage 2's helpers.  Kbuild makes one object of each source; two modules cannot
 * share it.
 */
#include "../../../stages/02-rcu-read-guard/helpers.c"
