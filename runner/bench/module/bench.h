/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the C of this module and its Rust know of each other; bodies.rs and
 * world.rs declare the same.
 */
#ifndef RCU_WORKSHOP_BENCH_H
#define RCU_WORKSHOP_BENCH_H

#include <linux/types.h>

/* Does an operation n times; returns something that depends on what was read. */
typedef u64 (*bench_body)(const void *of, u64 n);

/* How many ticks n more operations take: see clock.c. */
u64 bench_count(bench_body body, const void *of, u64 n, bool irqs);

/* What is read and written. */
struct value {
	u64 key;
	u64 number;
};

/* Where it is, for each of the bodies below: Rust's `Twins`. */
struct twins {
	void *reader;
	void *cell;
	void *updated;
	void *called;
	void *spin;
	void *rwlock;
	void *mutex;
	void *counted;
};

int twins_new(struct twins *twins);
void twins_free(struct twins *twins);

/* Where Rust has what stands behind it. */
extern const size_t twins_layout[4];

/* Loops without anything, and with as little as there is. */
u64 c_nothing(const void *of, u64 n);
u64 c_loop(const void *of, u64 n);
u64 c_section(const void *of, u64 n);
u64 c_toy(const void *of, u64 n);

/* Of a struct reader, and of a struct cell. */
u64 c_deref(const void *of, u64 n);
u64 c_deref_lock(const void *of, u64 n);

/* Of the head of a list, Rust's or C's. */
u64 c_walk(const void *of, u64 n);
u64 c_find(const void *of, u64 n);

/* Of a struct cell. */
u64 c_update_kfree(const void *of, u64 n);
u64 c_update_call(const void *of, u64 n);
u64 c_update_realloc(const void *of, u64 n);

/* Of one of the structs with a lock or a count. */
u64 c_spin(const void *of, u64 n);
u64 c_rwlock(const void *of, u64 n);
u64 c_mutex(const void *of, u64 n);
u64 c_refcount(const void *of, u64 n);

#endif
