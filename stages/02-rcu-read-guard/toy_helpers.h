/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the toy RCUs need of the kernel, and the kernel has only as macros and
 * inline functions.  toy/helpers.rs declares the same for Rust.
 */
#ifndef RCU_WORKSHOP_TOY_HELPERS_H
#define RCU_WORKSHOP_TOY_HELPERS_H

struct cpumask;

void helper_preempt_disable(void);
void helper_preempt_enable(void);

const struct cpumask *helper_mask_of(unsigned int cpu);
const struct cpumask *helper_mask_of_current(void);

#endif
