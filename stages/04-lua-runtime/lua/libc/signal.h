/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KLUA_LIBC_SIGNAL_H
#define KLUA_LIBC_SIGNAL_H
typedef int sig_atomic_t;
#endif
