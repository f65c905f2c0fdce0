# SPDX-License-Identifier: GPL-2.0
# Loads the module, lets it tell its stories and torture its toys, unloads it.
load toy_rcu $ARGS &&
	wait_for '\[director\] end story\|\[director\] gave up' &&
	unload toy_rcu
