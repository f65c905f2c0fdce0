# SPDX-License-Identifier: GPL-2.0
# Runs each script of hostile.txt, and holds what it says against what it should
# say.  Nothing but an error in Lua may come of any of them.

# The scripts, each in a file of its own.
mkdir -p /tmp/hostile
rm -f /tmp/hostile/*
awk '
	/^== / { n++; file = sprintf("/tmp/hostile/%03d", n); print substr($0, 4) > (file ".name"); next }
	/^--> / { print substr($0, 5) > (file ".want"); next }
	/hold\(|held\(/ { print > (file ".held") }
	n { print > (file ".lua") }
' /workshop/hostile.txt

# try WHICH: one of two halves of the scripts.  Each has a state of its own.
try() {
	local name want said half number=0
	for file in /tmp/hostile/*.name; do
		file=${file%.name}
		number=$((number + 1))
		half=$((number % 2))
		# What is held is counted for all states: those who look at it do so in turn.
		[ ! -e "$file.held" ] || half=1
		[ $half = "$1" ] || continue
		IFS= read -r name < "$file.name"
		IFS= read -r want < "$file.want"
		exec 3<> /dev/luadrv || { fail "$name: no device"; return; }
		# dd, since it closes what it writes to: that runs the script.
		dd if="$file.lua" bs=64k >&3 2> /dev/null
		said=$(tail -c 1000 <&3 | tr '\n\t' '| ')
		exec 3>&-
		case $said in
		*"$want"*) ;;
		*) fail "$name: it says: $(echo "$said" | cut -c 1-300)" ;;
		esac
	done
}

# most NAME: the largest of a field of the log.
most() { dmesg | sed -n "s/.*\[luadrv\] .* $1=\([0-9]*\).*/\1/p" | sort -n | tail -n 1; }

# A quarter of the stack is left, whatever a script does, and whatever the kernel does for it:
# 4096 bytes of 16384, or, where KASAN makes frames fat, 8192 of 32768.
if grep -q ' kasan_report$' /proc/kallsyms; then bound=24576; else bound=12288; fi

if load lunatik_rs measure=1 $ARGS; then
	# On both CPUs.
	try 0 &
	try 1
	wait
	say "hostile: scripts=$(ls /tmp/hostile/*.name | wc -l)"
	say "stack: most=$(most stack) bound=$bound"
	[ "$(most stack)" -le $bound ] || fail "a script has used more of the stack than it may"
	say "memory: most=$(most peak)"
	unload lunatik_rs
fi
