// SPDX-License-Identifier: GPL-2.0
/*
 * Stage 2's helpers, once more: see table_demo_helpers.c.
 */
#include "../02-rcu-read-guard/helpers.c"
