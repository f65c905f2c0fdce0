/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KLUA_LIBC_SETJMP_H
#define KLUA_LIBC_SETJMP_H
typedef unsigned long jmp_buf[8];
int klua_setjmp(jmp_buf b) __attribute__((returns_twice));
void klua_longjmp(jmp_buf b);	/* deliberately not noreturn: objtool */
#endif
