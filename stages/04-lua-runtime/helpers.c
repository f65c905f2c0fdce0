// SPDX-License-Identifier: GPL-2.0
/*
 * What the module needs of the kernel, and the kernel has only as macros and
 * inline functions; helpers.rs documents each for its users.
 */
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "helpers.h"

bool helper_dies_of_signal(void)
{
	struct signal_struct *signal = current->signal;

	if (fatal_signal_pending(current))
		return true;
	/* Closing its files, it has taken the signal already. */
	return (current->flags & PF_EXITING) && (signal->flags & SIGNAL_GROUP_EXIT) &&
	       (READ_ONCE(signal->group_exit_code) & 0x7f);
}
