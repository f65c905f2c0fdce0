// SPDX-License-Identifier: GPL-2.0
/*
 * The disk of mybrd, and the raw XArray: what the kernel crate lacks in 7.3.
 *
 * It has an abstraction for disks, but one that gives a driver neither the data
 * of a request, nor a place to sleep while it allocates, nor a module that is in
 * use as long as the disk is.  It has one for the XArray, but no load without
 * the lock.
 *
 * What is here decides nothing: where a page is, when there is one, and how long
 * it lives, is Rust's.
 */
#include <linux/blkdev.h>
#include <linux/highmem.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "mybrd_disk.h"

struct mybrd {
	const struct mybrd_ops *ops;
	const void *private;
};

// ANCHOR: submit
/* One part of a request, in memory that is contiguous; page for page of ours. */
static int mybrd_copy_bvec(struct mybrd *brd, struct bio_vec *bvec, sector_t sector, bool write)
{
	char *buf = bvec_kmap_local(bvec);
	u32 done = 0;
	int err = 0;

	while (done < bvec->bv_len && !err) {
		u32 offset = (sector << SECTOR_SHIFT) & ~PAGE_MASK;
		u32 len = min_t(u32, bvec->bv_len - done, PAGE_SIZE - offset);

		err = brd->ops->copy(brd->private, sector, buf + done, len, write);
		done += len;
		sector += len >> SECTOR_SHIFT;
	}
	kunmap_local(buf);
	if (!write)
		flush_dcache_page(bvec->bv_page);
	return err;
}

static void mybrd_submit_bio(struct bio *bio)
{
	struct mybrd *brd = bio->bi_bdev->bd_disk->private_data;
	sector_t sector = bio->bi_iter.bi_sector;
	struct bvec_iter iter;
	struct bio_vec bvec;
	int err;

	if (bio_op(bio) == REQ_OP_DISCARD) {
		brd->ops->discard(brd->private, sector, bio_sectors(bio));
		bio_endio(bio);
		return;
	}
	bio_for_each_segment(bvec, bio, iter) {
		err = mybrd_copy_bvec(brd, &bvec, sector, op_is_write(bio_op(bio)));
		if (err) {
			bio->bi_status = errno_to_blk_status(err);
			break;
		}
		sector += bvec.bv_len >> SECTOR_SHIFT;
	}
	bio_endio(bio);
}
// ANCHOR_END: submit

/* The owner: as long as the disk is open, so is the module in use. */
static const struct block_device_operations mybrd_fops = {
	.owner = THIS_MODULE,
	.submit_bio = mybrd_submit_bio,
};

struct gendisk *mybrd_disk_add(const struct mybrd_ops *ops, const void *private, u64 sectors)
{
	struct queue_limits limits = {
		.physical_block_size = PAGE_SIZE,
		.max_hw_discard_sectors = UINT_MAX,
		.max_discard_segments = 1,
		.discard_granularity = PAGE_SIZE,
		.features = BLK_FEAT_SYNCHRONOUS,
	};
	struct gendisk *disk;
	struct mybrd *brd;
	int err;

	brd = kmalloc(sizeof(*brd), GFP_KERNEL);
	if (!brd)
		return ERR_PTR(-ENOMEM);
	brd->ops = ops;
	brd->private = private;

	disk = blk_alloc_disk(&limits, NUMA_NO_NODE);
	if (IS_ERR(disk)) {
		kfree(brd);
		return disk;
	}
	disk->fops = &mybrd_fops;
	disk->private_data = brd;
	/* Nobody looks for partitions, so the first to read is a user. */
	disk->flags |= GENHD_FL_NO_PART;
	strscpy(disk->disk_name, "mybrd", DISK_NAME_LEN);
	set_capacity(disk, sectors);

	err = add_disk(disk);
	if (err) {
		put_disk(disk);
		kfree(brd);
		return ERR_PTR(err);
	}
	return disk;
}

/* When this returns, nobody asks for anything any more. */
void mybrd_disk_remove(struct gendisk *disk)
{
	struct mybrd *brd = disk->private_data;

	del_gendisk(disk);
	put_disk(disk);
	kfree(brd);
}

void mybrd_xa_init(struct xarray *xa)
{
	xa_init(xa);
}

// ANCHOR: reserve
/* Makes room for an entry, if there is none: filling it needs no memory then. */
int mybrd_xa_reserve(struct xarray *xa, unsigned long index)
{
	return xa_reserve(xa, index, GFP_NOIO);
}

/*
 * Stores an entry where there is room for it.  -EBUSY if there is another one,
 * -EAGAIN if the room was given away meanwhile.  Does not allocate.
 */
int mybrd_xa_fill(struct xarray *xa, unsigned long index, void *entry)
{
	XA_STATE(xas, xa, index);
	void *now;
	int err;

	xas_lock(&xas);
	now = xas_load(&xas);
	if (!xa_is_zero(now)) {
		err = now ? -EBUSY : -EAGAIN;
	} else {
		xas_store(&xas, entry);
		err = xas_error(&xas);
	}
	xas_unlock(&xas);
	return err;
}
// ANCHOR_END: reserve

/* Until the end, what this thread allocates is allocated without I/O. */
unsigned int mybrd_noio_begin(void)
{
	return memalloc_noio_save();
}

void mybrd_noio_end(unsigned int flags)
{
	memalloc_noio_restore(flags);
}

void mybrd_zero(void *buf, size_t len)
{
	memset(buf, 0, len);
}

/*
 * Copies to or from a page, which others may be copying to or from as well: who
 * writes to the same sectors at the same time gets a mixture, as on any disk.
 */
void mybrd_copy(struct page *page, size_t offset, void *buf, size_t len, bool write)
{
	if (write)
		memcpy_to_page(page, offset, buf, len);
	else
		memcpy_from_page(buf, page, offset, len);
}
