/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the modules need of the kernel, and the kernel has only as macros and
 * inline functions.  For Rust, helpers.rs, flavours.rs and tasks.rs declare the
 * same.
 */
#ifndef RCU_WORKSHOP_HELPERS_H
#define RCU_WORKSHOP_HELPERS_H

#include <linux/types.h>

struct task_struct;

void helper_rcu_read_lock_bh(void);
void helper_rcu_read_unlock_bh(void);
void helper_rcu_read_lock_sched(void);
void helper_rcu_read_unlock_sched(void);

bool helper_may_wait(void);

char helper_task_state(struct task_struct *task);

void helper_reclaim_in_process(struct rcu_head *head, rcu_callback_t reclaim);
void helper_reclaim_flush(void);

#endif
