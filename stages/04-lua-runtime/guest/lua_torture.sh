# SPDX-License-Identifier: GPL-2.0
# Loads the module, waits until it has its verdict, unloads it.
load lua_torture $ARGS &&
	wait_for '\[director\] end story\|\[director\] no threads' &&
	unload lua_torture
