// SPDX-License-Identifier: GPL-2.0
/*
 * What the modules need of the kernel, and the kernel has only as macros and
 * inline functions; each is documented where it is declared for Rust.
 */
#include <linux/llist.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

#include "helpers.h"

/* The other two flavours of reader. */

void helper_rcu_read_lock_bh(void)
{
	rcu_read_lock_bh();
}

void helper_rcu_read_unlock_bh(void)
{
	rcu_read_unlock_bh();
}

void helper_rcu_read_lock_sched(void)
{
	rcu_read_lock_sched();
}

void helper_rcu_read_unlock_sched(void)
{
	rcu_read_unlock_sched();
}

/*
 * preempt_count() knows of disabled preemption and bottom halves, and of
 * interrupts that are being handled; rcu_preempt_depth() of readers that may be
 * preempted.  Without CONFIG_PREEMPT_COUNT nobody counts readers at all, and
 * this says yes to some of them.
 */
bool helper_may_wait(void)
{
	return !preempt_count() && !irqs_disabled() && !rcu_preempt_depth();
}

/* The state of a task, as a letter. */

char helper_task_state(struct task_struct *task)
{
	return task_state_to_char(task);
}

/*
 * Reclaim in process context.  A callback may not sleep; what it has to reclaim
 * goes from the softirq to a worker.  The object is linked by the same two
 * words that call_rcu() had linked it by, so nothing has to be allocated.
 */

static LLIST_HEAD(reclaim_list);

static void reclaim_worker(struct work_struct *work)
{
	struct llist_node *next, *node = llist_del_all(&reclaim_list);

	for (; node; node = next) {
		struct rcu_head *head = (struct rcu_head *)node;

		next = node->next;
		head->func(head);
		cond_resched();
	}
}

static DECLARE_WORK(reclaim_work, reclaim_worker);

void helper_reclaim_in_process(struct rcu_head *head, rcu_callback_t reclaim)
{
	BUILD_BUG_ON(offsetof(struct rcu_head, next) != offsetof(struct llist_node, next));

	head->func = reclaim;
	llist_add((struct llist_node *)head, &reclaim_list);
	queue_work(system_dfl_wq, &reclaim_work);
}

void helper_reclaim_flush(void)
{
	flush_work(&reclaim_work);
}
