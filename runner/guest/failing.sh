# SPDX-License-Identifier: MIT OR Apache-2.0
# failing.sh: from here on a thread can make its own allocations fail, by its
# `fail_nth`.
(
	cd /sys/kernel/debug/failslab || exit
	echo 0 > verbose
	# Else only allocations that may not sleep would fail.
	echo N > ignore-gfp-wait
	# Only those of kmalloc(): what watches the kernel allocates as well, from
	# caches of its own, and does without if it has to.
	echo Y > cache-filter
	for cache in /sys/kernel/slab/kmalloc-*/failslab; do echo 1 > "$cache"; done
)
