# SPDX-License-Identifier: MIT OR Apache-2.0
# What a guest script may use.  Everything goes through /dev/kmsg, so that the
# kernel's words and ours stand in one log, in the order in which they came.

# say TEXT: a line of ours in the kernel's log.
say() { echo "guest: $*" > /dev/kmsg; }

# fail TEXT: the run has failed, whatever comes after.
fail() { say "FAIL $*"; }

# load MODULE [param=value ...]; FILE names another file than MODULE.ko.
load() {
	local module=$1 said
	shift
	say "loading $module"
	if said=$(insmod "/workshop/${FILE:-$module}.ko" "$@" 2>&1); then
		say "loaded $module"
	else
		fail "insmod $module: $said"
		return 1
	fi
}

# unload MODULE
unload() {
	local said
	say "unloading $1"
	if said=$(rmmod "$1" 2>&1); then
		say "unloaded $1"
	else
		fail "rmmod $1: $said"
		return 1
	fi
}

# wait_for PATTERN: until a line of the kernel's log since the section's begin
# matches.  There is no limit here: the runner has one, and knows what to say.
wait_for() {
	until dmesg | sed -n "/guest: begin $SECTION\$/,\$p" | grep -q -e "$1"; do
		sleep 0.05
	done
}

# section NAME SCRIPT [ARG ...]: runs a script between two marks.
section() {
	SECTION=$1
	export SECTION
	shift
	say "begin $SECTION"
	( . "$@" )
	say "end $SECTION"
}
