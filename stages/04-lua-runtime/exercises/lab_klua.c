// SPDX-License-Identifier: GPL-2.0
/*
 * What this stage has in C, Lua itself included, as a module of its own: the
 * lab's other module uses it.  So Lua is compiled once, and not with each answer.
 */
#include <linux/module.h>
#include <linux/spinlock.h>

#include "../context.h"
#include "../helpers.h"
#include "../lua/glue.h"

EXPORT_SYMBOL_GPL(helper_context);
EXPORT_SYMBOL_GPL(helper_context_name);
EXPORT_SYMBOL_GPL(helper_spin_lock_bh);
EXPORT_SYMBOL_GPL(helper_spin_unlock_bh);
EXPORT_SYMBOL_GPL(helper_spin_trylock_bh);
EXPORT_SYMBOL_GPL(helper_script);
EXPORT_SYMBOL_GPL(helper_is_exiting);
EXPORT_SYMBOL_GPL(helper_dies_of_signal);
EXPORT_SYMBOL_GPL(helper_read_file);
EXPORT_SYMBOL_GPL(helper_free_file);

EXPORT_SYMBOL_GPL(klua_data);
EXPORT_SYMBOL_GPL(klua_of);
EXPORT_SYMBOL_GPL(klua_argument);
EXPORT_SYMBOL_GPL(klua_integer);
EXPORT_SYMBOL_GPL(klua_push_nil);
EXPORT_SYMBOL_GPL(klua_push_boolean);
EXPORT_SYMBOL_GPL(klua_push_integer);
EXPORT_SYMBOL_GPL(klua_leave);
EXPORT_SYMBOL_GPL(klua_bad_argument);
EXPORT_SYMBOL_GPL(klua_bad_field);
EXPORT_SYMBOL_GPL(klua_open);
EXPORT_SYMBOL_GPL(klua_loaded);
EXPORT_SYMBOL_GPL(klua_close);
EXPORT_SYMBOL_GPL(klua_run_text);
EXPORT_SYMBOL_GPL(klua_call_function);
EXPORT_SYMBOL_GPL(klua_pin);
EXPORT_SYMBOL_GPL(klua_unpin);
EXPORT_SYMBOL_GPL(klua_field);
EXPORT_SYMBOL_GPL(klua_forget);
EXPORT_SYMBOL_GPL(klua_top);
EXPORT_SYMBOL_GPL(klua_limit_time);
EXPORT_SYMBOL_GPL(klua_use);
EXPORT_SYMBOL_GPL(klua_all_bytes);
EXPORT_SYMBOL_GPL(klua_may_log);
EXPORT_SYMBOL_GPL(klua_paint_stack);
EXPORT_SYMBOL_GPL(klua_painted_stack_used);

MODULE_AUTHOR("The RCU workshop");
MODULE_DESCRIPTION("What the lab of stage 4 has in C");
MODULE_LICENSE("GPL");
