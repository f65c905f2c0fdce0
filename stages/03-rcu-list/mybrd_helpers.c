// SPDX-License-Identifier: GPL-2.0
/*
 * Stage 2's helpers, once more: see list_helpers.c.
 */
#include "../02-rcu-read-guard/helpers.c"
