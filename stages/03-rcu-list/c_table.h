/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A sorted list of pairs in C, by the kernel's own inlines.  c_table.rs declares
 * the same for Rust.
 */
#ifndef RCU_WORKSHOP_C_TABLE_H
#define RCU_WORKSHOP_C_TABLE_H

#include <linux/types.h>

struct c_table;

struct c_table *c_table_new(void);
void c_table_free(struct c_table *table);

int c_table_insert(struct c_table *table, u32 key, u32 value);
int c_table_replace(struct c_table *table, u32 key, u32 value);
int c_table_remove(struct c_table *table, u32 key);

bool c_table_lookup(struct c_table *table, u32 key, u32 *value);
size_t c_table_copy(struct c_table *table, u32 (*pairs)[2], size_t max);

struct list_head *c_table_head(struct c_table *table);
long c_ring_count(struct list_head *head);

#endif
