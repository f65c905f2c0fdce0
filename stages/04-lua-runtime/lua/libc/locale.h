/* SPDX-License-Identifier: GPL-2.0 */
/* nothing needed: see ../kluaconf.h */
