/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What mybrd needs of the block layer and of the XArray, and the kernel crate
 * does not have.  mybrd_disk.rs declares the same for Rust.
 */
#ifndef RCU_WORKSHOP_MYBRD_DISK_H
#define RCU_WORKSHOP_MYBRD_DISK_H

#include <linux/types.h>

struct gendisk;
struct page;
struct xarray;

/* What the disk asks for.  Both may sleep. */
struct mybrd_ops {
	/* Copies within one page of the disk; a negative errno, or 0. */
	int (*copy)(const void *private, sector_t sector, void *buf, u32 len, bool write);
	/* Forgets whole pages. */
	void (*discard)(const void *private, sector_t sector, u64 sectors);
};

struct gendisk *mybrd_disk_add(const struct mybrd_ops *ops, const void *private, u64 sectors);
void mybrd_disk_remove(struct gendisk *disk);

void mybrd_xa_init(struct xarray *xa);
int mybrd_xa_reserve(struct xarray *xa, unsigned long index);
int mybrd_xa_fill(struct xarray *xa, unsigned long index, void *entry);

unsigned int mybrd_noio_begin(void);
void mybrd_noio_end(unsigned int flags);

void mybrd_zero(void *buf, size_t len);
void mybrd_copy(struct page *page, size_t offset, void *buf, size_t len, bool write);

#endif
