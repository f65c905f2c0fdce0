# SPDX-License-Identifier: GPL-2.0
# Runs the script of `make stage-4 run SCRIPT=path.lua`, and says what it prints.

# lua FILE NAME: runs it, with that name in its messages.  The message of an error, if
# there is one, is left in $error; and all that it says in /tmp/said.
lua() {
	exec 3<> /dev/luadrv || return
	# dd, since it closes what it writes to: that runs the script.
	dd if="$1" bs=64k >&3 2> /dev/null
	cat <&3 > /tmp/said
	exec 3>&-
	# Lines that fit into the log.
	sed "s|^error: luadrv:|error: $2:|" /tmp/said | fold -w 500 | while IFS= read -r line; do
		say "prints: $line"
	done
	error=$(sed -n "s|^error: luadrv:|$2:|p; s|^error: ||p" /tmp/said | tail -n 1)
}

if [ "${1:-}" != only-define ] && load lunatik_rs $ARGS; then
	lua /workshop/script.lua "$(cat /workshop/script.name)"
	[ -z "$error" ] || fail "the script: $error"
	unload lunatik_rs
fi
