// SPDX-License-Identifier: GPL-2.0
// Where C finds the fields of task_struct that the workshop's modules read.
#include <linux/sched.h>

const size_t offsets_c[] = {
	offsetof(struct task_struct, tasks),
	offsetof(struct task_struct, pid),
	offsetof(struct task_struct, tgid),
	offsetof(struct task_struct, real_parent),
	offsetof(struct task_struct, group_leader),
	offsetof(struct task_struct, thread_node),
	offsetof(struct task_struct, comm),
	offsetof(struct task_struct, signal),
	sizeof(struct task_struct),
};
static_assert(ARRAY_SIZE(offsets_c) == 9); /* as the Rust half declares it */
