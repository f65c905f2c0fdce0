# SPDX-License-Identifier: MIT OR Apache-2.0
# leaks.sh begin|middle|end: what the modules left behind in between.
# leaks.sh again: another begin, right behind an end.
#
# With kmemleak, `end` asks for unreferenced objects.  Without it, each prints
# the objects that each slab cache has; the runner compares.

kmemleak=/sys/kernel/debug/kmemleak

if [ -e $kmemleak ]; then
	case $1 in
	begin | again) echo clear > $kmemleak ;;
	end)
		# An object is suspected only when it is older than five seconds and
		# two scans find no pointer to it.
		sleep 6
		echo scan > $kmemleak
		sleep 1
		echo scan > $kmemleak
		say "kmemleak: $(grep -c '^unreferenced object' $kmemleak) unreferenced objects"
		head -n 40 $kmemleak | while read -r line; do say "kmemleak: $line"; done
		;;
	esac
elif [ "$1" != again ]; then
	# What is freed after a grace period comes late: kvfree_rcu() gathers it for
	# some seconds.
	sleep 8
	# Twice: what a cache keeps for the next grace period is given to it by the first
	# of these, and comes back behind it, sixty objects at a time.
	for pass in 1 2; do
		for cache in /sys/kernel/slab/*/shrink; do echo 1 > "$cache" 2> /dev/null; done
		sleep 1
	done
	sed '1,2d' /proc/slabinfo | while read -r name active rest; do
		say "slab $1 $name $active"
	done
fi
