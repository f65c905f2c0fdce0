// SPDX-License-Identifier: GPL-2.0
/*
 * What the module needs of the kernel, and the kernel has only as macros and
 * inline functions; helpers.rs documents each for its users.
 */
#include <linux/kernel_read_file.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/vmalloc.h>

#include "helpers.h"

/* The macro of Rust's modules has no strings. */
static char script[64];
module_param_string(script, script, sizeof(script), 0444);
MODULE_PARM_DESC(script, "Run /lib/modules/lua/<script>.lua when the module is loaded");

const char *helper_script(void)
{
	return script;
}

bool helper_is_exiting(void)
{
	return current->flags & PF_EXITING;
}

// ANCHOR: dies
bool helper_dies_of_signal(void)
{
	struct signal_struct *signal = current->signal;

	if (fatal_signal_pending(current))
		return true;
	/* Closing its files, it has taken the signal already. */
	return (current->flags & PF_EXITING) && (signal->flags & SIGNAL_GROUP_EXIT) &&
	       (READ_ONCE(signal->group_exit_code) & 0x7f);
}
// ANCHOR_END: dies

ssize_t helper_read_file(const char *path, size_t max, void **text)
{
	*text = NULL;
	return kernel_read_file_from_path(path, 0, text, max, NULL, READING_UNKNOWN);
}

void helper_free_file(void *text)
{
	vfree(text);
}
