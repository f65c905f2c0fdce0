// SPDX-License-Identifier: GPL-2.0
/*
 * The toys' helpers, once more: see stage_helpers.c.
 */
#include "../../../stages/02-rcu-read-guard/toy_helpers.c"
