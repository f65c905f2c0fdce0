# SPDX-License-Identifier: MIT OR Apache-2.0
# What a guest script may use.  Everything goes through /dev/kmsg, so that the
# kernel's words and ours stand in one log, in the order in which they came.

# say TEXT: a line of ours in the kernel's log.
say() { echo "guest: $*" > /dev/kmsg; }

# fail TEXT: the run has failed, whatever comes after.
fail() { say "FAIL $*"; }

# ko MODULE: its file; in the folder FROM, where a variant of it is wanted.
ko() { echo "/workshop/${FROM:+$FROM/}$1.ko"; }

# load MODULE [param=value ...]
load() {
	local module=$1 said
	shift
	say "loading $module"
	if said=$(insmod "$(ko "$module")" "$@" 2>&1); then
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
