# SPDX-License-Identifier: GPL-2.0
# fail-nth.sh MODULE PARAM ...: loads the module with PARAM=1, PARAM=2 and so on,
# each time unloading it again, until nothing fails any more; for each PARAM.
#
# The variant in checks/ has made such a parameter the number of the allocation
# that fails.  What follows has to be an error, which says that it is ENOMEM.
module=$1
shift

# Without the second, only allocations that may not sleep would fail.
echo 0 > /sys/kernel/debug/failslab/verbose
echo N > /sys/kernel/debug/failslab/ignore-gfp-wait

# once PARAM N: loads it, and waits until it is known what became of the N-th.
once() {
	# The log is as long as it is: only this round's lines are kept.
	dmesg -c > /dev/null
	if insmod "/workshop/$module.ko" $ARGS "$1=$2" 2> said; then
		until dmesg | grep -q "fail-nth: $1=$2 "; do sleep 0.02; done
		rmmod "$module" || fail "rmmod after $1=$2"
	fi
	dmesg > now
}

for param; do
	failed=0
	while once "$param" $((failed + 1)) && grep -q "fail-nth: .* left=0\$" now; do
		failed=$((failed + 1))
		# The one of an update among many is told by a count.
		grep -q 'no_memory=1$' now && break
		grep -q 'Cannot allocate memory' said || grep -q 'errno=-12$' now ||
			fail "$param=$failed: an allocation failed, and nobody said so"
		[ $failed -lt 500 ] || break
	done
	say "$param: $failed allocations failed, one at a time"
done
