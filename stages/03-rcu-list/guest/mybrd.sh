# SPDX-License-Identifier: GPL-2.0
# Loads the module and uses the disk: first step by step, for the log; then by
# several processes at once, with discards in between; then with a file system.
disk=/dev/mybrd
workers=3
rounds=2

# put FILE PAGE, take FILE PAGE PAGES, discard PAGE PAGES; past the page cache.
put() { dd if="$1" of=$disk bs=4096 seek="$2" oflag=direct conv=notrunc 2> /dev/null; }
take() { dd if=$disk of="$1" bs=4096 skip="$2" count="$3" iflag=direct 2> /dev/null; }

# One at a time, since blkdiscard opens the disk for itself alone: who has read the
# line from the pipe may, and puts it back.
discard() {
	local turn
	read -r turn <&9
	blkdiscard -o $(($1 * 4096)) -l $(($2 * 4096)) $disk 2> /dev/null || fail "blkdiscard"
	echo >&9
}

# same A B WHAT
same() { cmp "$1" "$2" > /dev/null 2>&1 || fail "$3 is not what it should be"; }

# first_steps: what expected.trace tells.
first_steps() {
	head -c 4096 /dev/urandom > page
	head -c 4096 /dev/zero > zeros
	put page 0
	take back 0 1
	same page back "the page that was written"
	take back 1 1
	same zeros back "a page that was never written"
	discard 0 1
	take back 0 1
	same zeros back "a page that was discarded"
	put page 1
}

# ANCHOR: worker
# worker N: its own 32 pages, and 8 pages that all workers write the same to.
worker() {
	local first=$((64 + $1 * 32)) round
	for round in $(seq $rounds); do
		head -c 131072 /dev/urandom > own.$1
		put own.$1 $first
		put common 0
		take back.$1 $first 32
		same own.$1 back.$1 "what worker $1 wrote"
		discard $((first + 8)) 8
		discard 0 8
		{
			head -c 32768 own.$1
			head -c 32768 /dev/zero
			tail -c 65536 own.$1
		} > holes.$1
		take back.$1 $first 32
		same holes.$1 back.$1 "what worker $1 discarded"
		# Of these each byte is as it was written, or it is 0: another worker may
		# have discarded its page, or be half-way through writing it again.
		take common.$1 0 8
		[ -z "$(cmp -l common.$1 common | awk '$2 != 0')" ] || fail "a common page"
	done
	say "worker $1 is done"
}
# ANCHOR_END: worker

at_once() {
	local all= n page
	for page in 0 1 2 3 4 5 6 7; do cat page; done > common
	for n in $(seq $workers); do
		worker "$n" &
		all="$all $!"
	done
	wait $all
	rm -f own.* back.* holes.* common*
}

# ANCHOR: file-system
# file_system: made, mounted, filled, unmounted, mounted again, compared.
file_system() {
	local said
	mke2fs -F $disk > /dev/null 2>&1 || { fail "mke2fs"; return; }
	mkdir -p here
	mount -t ext2 $disk here || { fail "mount"; return; }
	mkdir here/sub
	for n in 1 2 3 4 5 6; do
		head -c $((n * 50000)) /dev/urandom > here/sub/$n
	done
	cp /workshop/*.sh here
	rm here/sub/3
	(cd here && find . -type f | sort | xargs sha256sum) > before
	# As long as it is mounted, the module cannot go.
	if said=$(rmmod mybrd 2>&1); then
		fail "the module was unloaded under a file system"
		return
	fi
	case $said in
	*"temporarily unavailable"*) say "refused while it is mounted" ;;
	*) fail "rmmod: $said" ;;
	esac
	umount here || fail "umount"
	mount -t ext2 $disk here || { fail "mount again"; return; }
	(cd here && find . -type f | sort | xargs sha256sum) > after
	same before after "the file system"
	say "files: $(wc -l < after) the same"
	umount here || fail "umount again"
	rmdir here
}
# ANCHOR_END: file-system

mkfifo turns
exec 9<> turns
echo >&9
if load mybrd $ARGS; then
	first_steps
	at_once
	file_system
	unload mybrd
fi
exec 9>&-
rm turns
