# SPDX-License-Identifier: GPL-2.0
# Loads the module, lets it tell its story, unloads it.
load rcu_list $ARGS &&
	wait_for '\[director\] end story\|\[director\] gave up' &&
	unload rcu_list
