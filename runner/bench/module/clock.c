// SPDX-License-Identifier: GPL-2.0
/*
 * The counter.  Where QEMU counts instructions (-icount shift=0), one tick of the
 * TSC is one instruction of the guest.
 */
#include <linux/irqflags.h>
#include <asm/tsc.h>

#include "bench.h"

/*
 * A NOP of eight bytes that does nothing but look special: lines.c, a plugin for
 * QEMU, knows it.  Each window has one, so it cancels.
 */
#define MARK() asm volatile(".byte 0x0f,0x1f,0x84,0x00,0x01,0x42,0x52,0x00" ::: "memory")

static __always_inline u64 window(bench_body body, const void *of, u64 n)
{
	u64 t[3], twice = 2 * n;

	/* Computed here, and not between two looks at the counter. */
	OPTIMIZER_HIDE_VAR(twice);
	/* Everything is where it will be: caches, TLB, the slabs' lists. */
	body(of, 16);
	MARK();
	/* WRITE_ONCE(): each look is kept in the same way, and at once. */
	WRITE_ONCE(t[0], rdtsc_ordered());
	body(of, n);
	MARK();
	WRITE_ONCE(t[1], rdtsc_ordered());
	body(of, twice);
	MARK();
	WRITE_ONCE(t[2], rdtsc_ordered());
	/* What does not depend on n is in both, and goes. */
	return (t[2] - t[1]) - (t[1] - t[0]);
}

/*
 * Ticks of n more operations.  With interrupts disabled nothing else runs, so the
 * count is exact; an operation that may sleep has to have them on.
 *
 * noinline: copies of this that the compiler unrolls differ by an instruction or
 * two.
 */
noinline u64 bench_count(bench_body body, const void *of, u64 n, bool irqs)
{
	unsigned long flags;
	u64 ticks;

	if (irqs)
		return window(body, of, n);
	local_irq_save(flags);
	ticks = window(body, of, n);
	local_irq_restore(flags);
	return ticks;
}
