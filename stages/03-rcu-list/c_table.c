// SPDX-License-Identifier: GPL-2.0
/*
 * A sorted list of pairs in C: what list.rs does, by the kernel's own inlines.
 *
 * The loops are here as a whole, and not only their steps: a loop whose steps
 * are calls would be compared with something else.
 */
#include <linux/mutex.h>
#include <linux/rculist.h>
#include <linux/slab.h>

#include "c_table.h"

// ANCHOR: pair
struct pair {
	struct list_head list;
	u32 key;
	u32 value;
	struct rcu_head rcu;
};

struct c_table {
	struct list_head head;
	struct mutex lock;
};
// ANCHOR_END: pair

struct c_table *c_table_new(void)
{
	struct c_table *table = kmalloc(sizeof(*table), GFP_KERNEL);

	if (table) {
		INIT_LIST_HEAD_RCU(&table->head);
		mutex_init(&table->lock);
	}
	return table;
}

/* Nobody else has the table any more; readers may still be at what they found. */
void c_table_free(struct c_table *table)
{
	struct pair *pair, *next;

	list_for_each_entry_safe(pair, next, &table->head, list)
		kfree_rcu(pair, rcu);
	mutex_destroy(&table->lock);
	kfree(table);
}

// ANCHOR: find
/*
 * The first pair with this key or a greater one.  It has to be called with the
 * lock held, and says so to lockdep; no type does.
 */
static struct pair *find(struct c_table *table, u32 key)
{
	struct pair *pair;

	list_for_each_entry_rcu(pair, &table->head, list, lockdep_is_held(&table->lock))
		if (pair->key >= key)
			return pair;
	return NULL;
}
// ANCHOR_END: find

static struct pair *new_pair(u32 key, u32 value)
{
	struct pair *pair = kmalloc(sizeof(*pair), GFP_KERNEL);

	if (pair) {
		pair->key = key;
		pair->value = value;
	}
	return pair;
}

// ANCHOR: insert
int c_table_insert(struct c_table *table, u32 key, u32 value)
{
	struct pair *new = new_pair(key, value), *pair;

	if (!new)
		return -ENOMEM;
	mutex_lock(&table->lock);
	pair = find(table, key);
	/* Before a node is behind the one before it; at the end, before the head. */
	list_add_tail_rcu(&new->list, pair ? &pair->list : &table->head);
	mutex_unlock(&table->lock);
	return 0;
}
// ANCHOR_END: insert

// ANCHOR: replace
int c_table_replace(struct c_table *table, u32 key, u32 value)
{
	struct pair *new = new_pair(key, value), *pair;
	int err = -ENOENT;

	if (!new)
		return -ENOMEM;
	mutex_lock(&table->lock);
	pair = find(table, key);
	if (pair && pair->key == key) {
		list_replace_rcu(&pair->list, &new->list);
		kfree_rcu(pair, rcu);
		err = 0;
	}
	mutex_unlock(&table->lock);
	if (err)
		kfree(new);
	return err;
}
// ANCHOR_END: replace

// ANCHOR: remove
int c_table_remove(struct c_table *table, u32 key)
{
	struct pair *pair;
	int err = -ENOENT;

	mutex_lock(&table->lock);
	pair = find(table, key);
	if (pair && pair->key == key) {
		list_del_rcu(&pair->list);
		kfree_rcu(pair, rcu);
		err = 0;
	}
	mutex_unlock(&table->lock);
	return err;
}
// ANCHOR_END: remove

// ANCHOR: lookup
bool c_table_lookup(struct c_table *table, u32 key, u32 *value)
{
	struct pair *pair;
	bool found = false;

	rcu_read_lock();
	list_for_each_entry_rcu(pair, &table->head, list)
		if (pair->key == key) {
			*value = pair->value;
			found = true;
			break;
		}
	rcu_read_unlock();
	return found;
}
// ANCHOR_END: lookup

/* Copies at most max pairs; returns how many there are. */
size_t c_table_copy(struct c_table *table, u32 (*pairs)[2], size_t max)
{
	struct pair *pair;
	size_t n = 0;

	rcu_read_lock();
	list_for_each_entry_rcu(pair, &table->head, list) {
		if (n < max) {
			pairs[n][0] = pair->key;
			pairs[n][1] = pair->value;
		}
		n++;
	}
	rcu_read_unlock();
	return n;
}

struct list_head *c_table_head(struct c_table *table)
{
	return &table->head;
}

// ANCHOR: ring
/*
 * Counts the nodes of a ring that nobody changes, forwards and backwards; less
 * than 0 if the two do not agree.  It does not matter who made the ring: Rust's
 * links are those of C.
 */
long c_ring_count(struct list_head *head)
{
	struct list_head *at;
	long count = 0;

	list_for_each(at, head) {
		if (at->next->prev != at || at->prev->next != at)
			return -1;
		count++;
	}
	list_for_each_prev(at, head)
		count--;
	return count ? -1 : list_count_nodes(head);
}
// ANCHOR_END: ring
