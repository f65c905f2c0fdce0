# SPDX-License-Identifier: GPL-2.0
# Loads the module, lets it tell its story, unloads it.
load phased_state $ARGS &&
	wait_for '\[director\] end story\|\[director\] no threads' &&
	unload phased_state
