// SPDX-License-Identifier: GPL-2.0
/*
 * The C side: each operation by the kernel's own inlines, on structures with the
 * layout that the stages' types have.
 *
 * The loops are here as a whole: a loop that calls its operation would be compared
 * with one that has it inlined.
 */
#include <linux/mutex.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "bench.h"

// ANCHOR: layout
/*
 * As Rust's `Node<Value>`; `Cell<Value>`, an `Arc` of it and an `Rcu<Value>`; and
 * `Entry<Value>`.
 */
struct node {
	struct rcu_head rcu;
	void *cap;
	struct value value;
};

struct cell {
	struct node __rcu *current_node;
};

struct shared_cell {
	refcount_t users;
	struct cell cell;
};

struct reader {
	struct shared_cell *shared;
};

struct item {
	struct list_head links;
	struct value value;
};
// ANCHOR_END: layout

const size_t twins_layout[4] = {
	sizeof(struct node),
	offsetof(struct node, value),
	sizeof(struct item),
	offsetof(struct item, value),
};

struct spinlocked {
	spinlock_t lock;
	struct value value;
};

struct rwlocked {
	rwlock_t lock;
	struct value value;
};

struct mutexed {
	struct mutex lock;
	struct value value;
};

struct counted {
	refcount_t count;
	struct value value;
};

/* --- Loops that read ------------------------------------------------------- */

u64 c_nothing(const void *of, u64 n)
{
	return 0;
}

u64 c_loop(const void *of, u64 n)
{
	u64 i;

	for (i = 0; i < n; i++)
		barrier();
	return 0;
}

u64 c_section(const void *of, u64 n)
{
	u64 i;

	for (i = 0; i < n; i++) {
		rcu_read_lock();
		rcu_read_unlock();
	}
	return 0;
}

u64 c_toy(const void *of, u64 n)
{
	u64 i;

	for (i = 0; i < n; i++) {
		preempt_disable();
		preempt_enable();
	}
	return 0;
}

// ANCHOR: deref
u64 c_deref(const void *of, u64 n)
{
	const struct reader *reader = of;
	u64 i, sum = 0;

	for (i = 0; i < n; i++) {
		struct node *node;

		rcu_read_lock();
		node = rcu_dereference(reader->shared->cell.current_node);
		if (node)
			sum += node->value.number;
		rcu_read_unlock();
	}
	return sum;
}
// ANCHOR_END: deref

u64 c_deref_lock(const void *of, u64 n)
{
	const struct cell *cell = of;
	u64 i, sum = 0;

	for (i = 0; i < n; i++) {
		rcu_read_lock();
		sum += rcu_dereference(cell->current_node)->value.number;
		rcu_read_unlock();
	}
	return sum;
}

// ANCHOR: walk
u64 c_walk(const void *of, u64 n)
{
	const struct list_head *head = of;
	u64 i, sum = 0;

	for (i = 0; i < n; i++) {
		struct item *item;

		rcu_read_lock();
		list_for_each_entry_rcu(item, head, links)
			sum += item->value.number;
		rcu_read_unlock();
	}
	return sum;
}
// ANCHOR_END: walk

u64 c_find(const void *of, u64 n)
{
	const struct list_head *head = of;
	u64 i, sum = 0;

	for (i = 0; i < n; i++) {
		u64 key = i % 64;
		struct item *item;

		rcu_read_lock();
		list_for_each_entry_rcu(item, head, links)
			if (item->value.key == key) {
				sum += item->value.number;
				break;
			}
		rcu_read_unlock();
	}
	return sum;
}

/* --- Loops that update ----------------------------------------------------- */

static struct node *filled(struct node *node, u64 number)
{
	if (node) {
		node->cap = NULL;
		node->value.key = number;
		node->value.number = number;
	}
	return node;
}

static struct node *new_node(u64 number)
{
	return filled(kmalloc(sizeof(struct node), GFP_ATOMIC), number);
}

/* By the function that the kernel crate allocates with. */
static struct node *new_node_by_realloc(u64 number)
{
	return filled(krealloc(NULL, sizeof(struct node), GFP_ATOMIC), number);
}

/* There is one updater, as Rust's `RcuWrite` knows by its type. */
static struct node *publish(struct cell *cell, struct node *new)
{
	struct node *old = rcu_dereference_protected(cell->current_node, true);

	rcu_assign_pointer(cell->current_node, new);
	return old;
}

static void free_node(struct rcu_head *rcu)
{
	kfree(container_of(rcu, struct node, rcu));
}

#define UPDATES(name, make, retire)					\
u64 name(const void *of, u64 n)						\
{									\
	struct cell *cell = (struct cell *)of;				\
	u64 i;								\
									\
	for (i = 0; i < n; i++) {					\
		struct node *new = make(i), *old;			\
									\
		if (!new)						\
			break;						\
		old = publish(cell, new);				\
		retire;							\
	}								\
	return i;							\
}

UPDATES(c_update_kfree, new_node, kfree_rcu(old, rcu))
UPDATES(c_update_call, new_node, call_rcu(&old->rcu, free_node))
UPDATES(c_update_realloc, new_node_by_realloc, call_rcu(&old->rcu, free_node))

/* --- What readers might do instead ----------------------------------------- */

#define LOCKED(name, type, take, give)					\
u64 name(const void *of, u64 n)						\
{									\
	type *locked = (type *)of;					\
	u64 i, sum = 0;							\
									\
	for (i = 0; i < n; i++) {					\
		take(&locked->lock);					\
		sum += locked->value.number;				\
		give(&locked->lock);					\
	}								\
	return sum;							\
}

LOCKED(c_spin, struct spinlocked, spin_lock, spin_unlock)
LOCKED(c_rwlock, struct rwlocked, read_lock, read_unlock)
LOCKED(c_mutex, struct mutexed, mutex_lock, mutex_unlock)

u64 c_refcount(const void *of, u64 n)
{
	struct counted *counted = (struct counted *)of;
	u64 i, sum = 0;

	for (i = 0; i < n; i++) {
		refcount_inc(&counted->count);
		sum += counted->value.number;
		if (refcount_dec_and_test(&counted->count))
			kfree(counted);
	}
	return sum;
}

/* --- What the loops are of ------------------------------------------------- */

static bool fill(struct cell *cell)
{
	struct node *node = new_node(1);

	RCU_INIT_POINTER(cell->current_node, node);
	return node;
}

static struct cell *new_cell(void)
{
	struct cell *cell = kzalloc(sizeof(*cell), GFP_KERNEL);

	if (!cell || !fill(cell)) {
		kfree(cell);
		return NULL;
	}
	return cell;
}

static struct reader *new_reader(void)
{
	struct reader *reader = kzalloc(sizeof(*reader), GFP_KERNEL);
	struct shared_cell *shared = kzalloc(sizeof(*shared), GFP_KERNEL);

	if (!reader || !shared || !fill(&shared->cell)) {
		kfree(reader);
		kfree(shared);
		return NULL;
	}
	refcount_set(&shared->users, 1);
	reader->shared = shared;
	return reader;
}

static void free_cell(struct cell *cell)
{
	if (cell)
		kfree(rcu_dereference_protected(cell->current_node, true));
	kfree(cell);
}

static void free_reader(struct reader *reader)
{
	if (reader) {
		kfree(rcu_dereference_protected(reader->shared->cell.current_node, true));
		kfree(reader->shared);
	}
	kfree(reader);
}

int twins_new(struct twins *twins)
{
	struct spinlocked *spin = kzalloc(sizeof(*spin), GFP_KERNEL);
	struct rwlocked *rwlock = kzalloc(sizeof(*rwlock), GFP_KERNEL);
	struct mutexed *mutex = kzalloc(sizeof(*mutex), GFP_KERNEL);
	struct counted *counted = kzalloc(sizeof(*counted), GFP_KERNEL);
	struct reader *reader = new_reader();

	*twins = (struct twins) {
		.reader = reader,
		.cell = new_cell(),
		.updated = new_cell(),
		.called = new_cell(),
		.spin = spin,
		.rwlock = rwlock,
		.mutex = mutex,
		.counted = counted,
	};
	if (!reader || !twins->cell || !twins->updated || !twins->called || !spin || !rwlock ||
	    !mutex || !counted) {
		twins_free(twins);
		return -ENOMEM;
	}
	spin_lock_init(&spin->lock);
	rwlock_init(&rwlock->lock);
	mutex_init(&mutex->lock);
	refcount_set(&counted->count, 1);
	spin->value.number = rwlock->value.number = mutex->value.number = counted->value.number = 1;
	return 0;
}

void twins_free(struct twins *twins)
{
	free_reader(twins->reader);
	free_cell(twins->cell);
	free_cell(twins->updated);
	free_cell(twins->called);
	kfree(twins->spin);
	kfree(twins->rwlock);
	kfree(twins->mutex);
	kfree(twins->counted);
	*twins = (struct twins) { };
}
