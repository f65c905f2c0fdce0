// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel crate's helpers as functions that are called: what a kernel without
 * CONFIG_RUST_INLINE_HELPERS has.  These are its own sources; each helper that
 * this module's Rust refers to is in one of them.
 */
#include <linux/cred.h>
#include <linux/pid.h>

#define __rust_helper

#include "atomic.c"
#include "atomic_ext.c"
#include "barrier.c"
#include "bitops.c"
#include "completion.c"
#include "cpu.c"
#include "cpumask.c"
#include "err.c"
#include "mutex.c"
#include "processor.c"
#include "rcu.c"
#include "refcount.c"
#include "slab.c"
#include "spinlock.c"
#include "sync.c"
#include "task.c"
