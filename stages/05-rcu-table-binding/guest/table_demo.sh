# SPDX-License-Identifier: GPL-2.0
# Loads the module, waits until it has come to its end, unloads it.
load table_demo $ARGS &&
	wait_for '\[director\] end story\|\[director\] gave up\|\[director\] no threads' &&
	unload table_demo
