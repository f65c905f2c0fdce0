/* SPDX-License-Identifier: GPL-2.0 */
/* What context.rs needs of the kernel; it declares the same for Rust. */
#ifndef RCU_WORKSHOP_LUA_CONTEXT_H
#define RCU_WORKSHOP_LUA_CONTEXT_H

#include <linux/spinlock_types.h>
#include <linux/types.h>

int helper_context(void);
const char *helper_context_name(void);

void helper_spin_lock_bh(spinlock_t *lock);
void helper_spin_unlock_bh(spinlock_t *lock);
bool helper_spin_trylock_bh(spinlock_t *lock);

#endif
