# SPDX-License-Identifier: GPL-2.0
# Runs each script of hostile.txt, and holds what it says against what it should
# say.  Nothing but an error in Lua may come of any of them.

# The scripts, each in a file of its own.
mkdir -p /tmp/hostile
rm -f /tmp/hostile/*
awk '
	/^== / { n++; file = sprintf("/tmp/hostile/%03d", n); print substr($0, 4) > (file ".name"); next }
	/^--> / { print substr($0, 5) > (file ".want"); next }
	n { print > (file ".lua") }
' /workshop/hostile.txt

# one FILE: a state of its own, the script, and all that can be read.
one() {
	exec 3<> /dev/luadrv || return
	# dd, since it closes what it writes to: that runs the script.
	dd if="$1.lua" bs=64k >&3 2> /dev/null
	cat <&3 > /tmp/said
	exec 3>&-
}

try() {
	local name want said count=0
	for file in /tmp/hostile/*.name; do
		file=${file%.name}
		name=$(cat "$file.name")
		want=$(cat "$file.want")
		one "$file"
		said=$(tail -c 1000 /tmp/said | tr '\n\t' '| ')
		case $said in
		*"$want"*) ;;
		*) fail "$name: it says: $(echo "$said" | cut -c 1-300)" ;;
		esac
		count=$((count + 1))
	done
	say "hostile: scripts=$count"
}

# most NAME: the largest of a field of the log.
most() { dmesg | sed -n "s/.*\[luadrv\] .* $1=\([0-9]*\).*/\1/p" | sort -n | tail -n 1; }

# What no script gets of the stack, but for the frames of whoever finds that it is used up.
if grep -q ' kasan_report$' /proc/kallsyms; then bound=$((32768 - 12288 + 1024)); else bound=$((16384 - 6144 + 1024)); fi

if load lunatik_rs measure=1 $ARGS; then
	try
	say "stack: most=$(most stack) bound=$bound"
	[ "$(most stack)" -le $bound ] || fail "a script has used more of the stack than it may"
	say "memory: most=$(most peak)"
	unload lunatik_rs
fi
