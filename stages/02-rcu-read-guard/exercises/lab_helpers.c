// SPDX-License-Identifier: GPL-2.0
/*
 * The C of this stage, as a module of its own: the lab's other modules have it
 * in common.
 */
#include <linux/module.h>

#include "../helpers.c"
#include "../toy_helpers.c"

EXPORT_SYMBOL_GPL(helper_may_wait);
EXPORT_SYMBOL_GPL(helper_task_state);
EXPORT_SYMBOL_GPL(helper_reclaim_in_process);
EXPORT_SYMBOL_GPL(helper_reclaim_flush);
EXPORT_SYMBOL_GPL(helper_preempt_disable);
EXPORT_SYMBOL_GPL(helper_preempt_enable);
EXPORT_SYMBOL_GPL(helper_mask_of);
EXPORT_SYMBOL_GPL(helper_mask_of_current);

MODULE_AUTHOR("The RCU workshop");
MODULE_DESCRIPTION("What the lab's modules need of the kernel's inline functions");
MODULE_LICENSE("GPL");
