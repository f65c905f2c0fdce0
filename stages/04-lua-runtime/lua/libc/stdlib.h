/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KLUA_LIBC_STDLIB_H
#define KLUA_LIBC_STDLIB_H
#include <stddef.h>
/* luaL_alloc (used only by luaL_newstate) always fails */
static inline void *realloc(void *p, size_t n) { return NULL; }
static inline void free(void *p) { }
static inline int abs(int x) { return x < 0 ? -x : x; }
#define abort()	klua_abort()
#endif
