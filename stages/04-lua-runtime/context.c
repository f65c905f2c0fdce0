// SPDX-License-Identifier: GPL-2.0
/*
 * What context.rs needs of the kernel, and the kernel has only as macros and
 * inline functions; each is documented there.
 */
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>

#include "context.h"

/* The strictest first.  The numbers are those of `Level` in context.rs. */
// ANCHOR: where
int helper_context(void)
{
	if (in_nmi())
		return 3;
	if (in_hardirq() || irqs_disabled())
		return 2;
	if (preempt_count() || rcu_preempt_depth())
		return 1;
	return 0;
}
// ANCHOR_END: where

const char *helper_context_name(void)
{
	if (in_nmi())
		return "nmi";
	if (in_hardirq())
		return "hardirq";
	if (in_serving_softirq())
		return "softirq";
	return "process";
}

void helper_spin_lock_bh(spinlock_t *lock)
{
	// ANCHOR: lock-bh
	spin_lock_bh(lock);
	// ANCHOR_END: lock-bh
}

void helper_spin_unlock_bh(spinlock_t *lock)
{
	// ANCHOR: unlock-bh
	spin_unlock_bh(lock);
	// ANCHOR_END: unlock-bh
}

bool helper_spin_trylock_bh(spinlock_t *lock)
{
	return spin_trylock_bh(lock);
}
