/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the module needs of the kernel, and the kernel has only as macros and
 * inline functions.  helpers.rs declares the same for Rust.
 */
#ifndef RCU_WORKSHOP_LUA_HELPERS_H
#define RCU_WORKSHOP_LUA_HELPERS_H

#include <linux/types.h>

const char *helper_script(void);
bool helper_is_exiting(void);
bool helper_dies_of_signal(void);

ssize_t helper_read_file(const char *path, size_t max, void **text);
void helper_free_file(void *text);

#endif
