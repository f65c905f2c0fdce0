/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plugin for QEMU (API 1): cache lines that go from one CPU of the guest to
 * another.
 *
 * At each mark of the module (see clock.c and readers.rs) it prints a line with
 * the CPU's number, and how many loads, stores and transfers that CPU has made.
 *
 * The model is the simplest there is: caches that hold everything, lines of 64
 * bytes by virtual address, and for each line the set of CPUs that have it.  A load
 * by a CPU that does not have the line is a transfer; so is a store by one that
 * does not have it alone.
 *
 * Debian ships no qemu-plugin.h, so the few declarations are here.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *,
					    void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *,
				      void (*)(unsigned, uint32_t, uint64_t, void *), int, int,
				      void *);
bool qemu_plugin_mem_is_store(uint32_t);

EXPORT int qemu_plugin_version = 1;

/* The mark: a NOP of eight bytes, as the module has it. */
static const uint8_t mark[8] = { 0x0f, 0x1f, 0x84, 0x00, 0x01, 0x42, 0x52, 0x00 };

#define CPUS 8
#define LINES (1u << 22)

static struct { uint64_t loads, stores, transfers; } __attribute__((aligned(64))) cpus[CPUS];

/* For each line a bit for each CPU that has it.  Two addresses may share one. */
static _Atomic uint8_t have[LINES];

static void on_mark(unsigned cpu, void *data)
{
	(void)data;
	fprintf(stderr, "mark: cpu=%u loads=%lu stores=%lu transfers=%lu\n", cpu,
		cpus[cpu % CPUS].loads, cpus[cpu % CPUS].stores, cpus[cpu % CPUS].transfers);
}

static void on_access(unsigned cpu, uint32_t info, uint64_t address, void *data)
{
	_Atomic uint8_t *line = &have[address / 64 % LINES];
	uint8_t me = 1u << (cpu % CPUS), who = *line;

	(void)data;
	if (qemu_plugin_mem_is_store(info)) {
		cpus[cpu % CPUS].stores++;
		if (who != me) {
			cpus[cpu % CPUS].transfers++;
			*line = me;
		}
	} else {
		cpus[cpu % CPUS].loads++;
		if (!(who & me)) {
			cpus[cpu % CPUS].transfers++;
			*line |= me;
		}
	}
}

static void on_block(plugin_id id, struct qemu_plugin_tb *block)
{
	size_t i, n = qemu_plugin_tb_n_insns(block);

	(void)id;
	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);

		/* Not the inline kind: QEMU 7.2 takes loads for stores there. */
		qemu_plugin_register_vcpu_mem_cb(insn, on_access, 0, 3, NULL);
		if (qemu_plugin_insn_size(insn) == sizeof(mark) &&
		    !memcmp(qemu_plugin_insn_data(insn), mark, sizeof(mark)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, 0, NULL);
	}
}

EXPORT int qemu_plugin_install(plugin_id id, const struct qemu_info_t *info, int argc, char **argv)
{
	(void)info;
	(void)argc;
	(void)argv;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
	return 0;
}
