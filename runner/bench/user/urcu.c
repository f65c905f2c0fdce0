// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The loops of liburcu, with its readers inlined.  Its licence (LGPL) wants a
 * program that does that to be one that is distributed as source, which it is.
 */
#define _LGPL_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <urcu/urcu-memb.h>

struct value {
	struct rcu_head rcu;
	uint64_t key, number;
};

static struct value *shared;

static struct value *new_value(uint64_t number)
{
	struct value *value = malloc(sizeof(*value));

	if (!value)
		abort();
	value->key = value->number = number;
	return value;
}

void urcu_begin(void)
{
	urcu_memb_register_thread();
	shared = new_value(1);
}

uint64_t urcu_section(uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++) {
		urcu_memb_read_lock();
		urcu_memb_read_unlock();
	}
	return 0;
}

uint64_t urcu_deref(uint64_t n)
{
	uint64_t i, sum = 0;

	for (i = 0; i < n; i++) {
		struct value *value;

		urcu_memb_read_lock();
		value = rcu_dereference(shared);
		if (value)
			sum += value->number;
		urcu_memb_read_unlock();
	}
	return sum;
}

static void free_value(struct rcu_head *rcu)
{
	free(caa_container_of(rcu, struct value, rcu));
}

uint64_t urcu_update(uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++) {
		struct value *old = rcu_xchg_pointer(&shared, new_value(i));

		urcu_memb_call_rcu(&old->rcu, free_value);
	}
	return n;
}

/* Until all of it is freed. */
void urcu_settle(void)
{
	urcu_memb_barrier();
}
