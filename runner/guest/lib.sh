# SPDX-License-Identifier: MIT OR Apache-2.0
# What a guest script may use.  Everything goes through /dev/kmsg, so that the
# kernel's words and ours stand in one log, in the order in which they came.

# say TEXT: a line of ours in the kernel's log.
say() { echo "guest: $*" > /dev/kmsg; }

# fail TEXT: the run has failed, whatever comes after.
fail() { say "FAIL $*"; }

# named MODULE: the module's name here.  Several builds of one module may be at
# hand, told apart by what stands in front of their names: PREFIX.
named() {
	if [ -e "/workshop/${PREFIX:-}$1.ko" ]; then echo "${PREFIX:-}$1"; else echo "$1"; fi
}

# ko MODULE: its file; in the folder FROM, where a variant of it is wanted.
ko() { echo "/workshop/${FROM:+$FROM/}$(named "$1").ko"; }

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
	if said=$(rmmod "$(named "$1")" 2>&1); then
		say "unloaded $1"
	else
		fail "rmmod $1: $said"
		return 1
	fi
}

# section_log: the kernel's log since the section's begin.
section_log() { dmesg | sed -n "/guest: begin $SECTION\$/,\$p"; }

# seen PATTERN: has a line of it matched?
seen() { section_log | grep -q -e "$1"; }

# wait_for PATTERN: until such a line is seen.  There is no limit here: the runner
# has one, and knows what to say.
wait_for() { until seen "$1"; do sleep 0.05; done; }

# within SECONDS COMMAND ...: until it succeeds, but not for longer than that; a slow
# machine has more time, since each look takes longer there.  And looks cost: so few.
within() {
	local looks=$(($1 * 5))
	shift
	until "$@"; do
		looks=$((looks - 1))
		[ $looks -gt 0 ] || return 1
		sleep 0.2
	done
}

# await SECONDS PATTERN: wait_for, but not for longer than that.
await() { within "$1" seen "$2"; }

# before FIRST SECOND: did a line that matches the one come before one for the other?
before() { section_log | grep -e "$1" -e "$2" | head -n 1 | grep -q -e "$1"; }

# again: what this section has shown does not count, as the machine was too slow for
# it: its lines begin here.
again() {
	SECTION=$SECTION+
	say "begin $SECTION"
}

# state NAME: prints the state of the thread of that name, as ps does; nothing
# where there is none.
state() {
	local process comm stat
	for process in /proc/[0-9]*; do
		{ read -r comm < "$process/comm"; } 2> /dev/null || continue
		[ "$comm" = "$1" ] || continue
		{ read -r stat < "$process/stat"; } 2> /dev/null || continue
		stat=${stat##*) }
		echo "${stat%% *}"
	done
}

# no_thread NAME: is there none of that name?
no_thread() { [ -z "$(state "$1")" ]; }

# gone NAME SECONDS: until there is no such thread any more, but not for longer.
gone() { within "$2" no_thread "$1"; }

# section NAME SCRIPT [ARG ...]: runs a script between two marks.
section() {
	SECTION=$1
	export SECTION
	shift
	say "begin $SECTION"
	( . "$@" )
	say "end $SECTION"
}
