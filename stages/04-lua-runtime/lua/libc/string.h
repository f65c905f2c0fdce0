/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Plain prototypes instead of <linux/string.h>: FORTIFY_SOURCE would report a
 * "field-spanning write" for Lua's short strings (bytes stored from a pointer
 * field on) and one-element trailing arrays.
 */
#ifndef KLUA_LIBC_STRING_H
#define KLUA_LIBC_STRING_H
#include <stddef.h>
void *memcpy(void *d, const void *s, size_t n);
void *memset(void *d, int c, size_t n);
void *memchr(const void *s, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
char *strchr(const char *s, int c);
char *strpbrk(const char *s, const char *set);
char *strstr(const char *h, const char *n);
size_t strspn(const char *s, const char *set);
int strncmp(const char *a, const char *b, size_t n);
static inline char *klua_strcpy(char *d, const char *s)
{
	return memcpy(d, s, strlen(s) + 1);
}
#define strcpy(d, s)	klua_strcpy(d, s)
#define strcoll(a, b)	strcmp(a, b)
#define strerror(e)	"error"
#endif
