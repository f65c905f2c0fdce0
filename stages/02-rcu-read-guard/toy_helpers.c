// SPDX-License-Identifier: GPL-2.0
/*
 * What the toy RCUs need of the kernel, and the kernel has only as macros and
 * inline functions; toy/helpers.rs documents each for its users.
 */
#include <linux/cpumask.h>
#include <linux/preempt.h>
#include <linux/sched.h>

#include "toy_helpers.h"

void helper_preempt_disable(void)
{
	preempt_disable();
}

void helper_preempt_enable(void)
{
	preempt_enable();
}

const struct cpumask *helper_mask_of(unsigned int cpu)
{
	return cpumask_of(cpu);
}

const struct cpumask *helper_mask_of_current(void)
{
	return &current->cpus_mask;
}
