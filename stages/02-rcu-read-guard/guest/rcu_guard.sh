# SPDX-License-Identifier: GPL-2.0
# Loads the module, lets it tell its story, holds its list of processes against
# what /proc shows, unloads it.
ended='\[director\] end story\|\[director\] gave up'

# threads FILE: makes a program of three threads, by hand, since busybox has none.
threads() {
	{
		# An ELF header, and one segment: all of the file, at 0x10000.
		printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\76\0\1\0\0\0\170\0\1\0\0\0\0\0'
		printf '\100\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\100\0\70\0\1\0\0\0\0\0\0\0'
		printf '\1\0\0\0\5\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0'
		printf '\235\0\0\0\0\0\0\0\235\0\0\0\0\0\0\0\0\20\0\0\0\0\0\0'
		printf '\273\2\0\0\0'              #    mov ebx, 2
		printf '\270\70\0\0\0'             # 1: mov eax, 56 (clone)
		printf '\277\0\17\1\0'             #    mov edi, 0x10f00 (a thread, all shared)
		printf '\110\211\346\17\5'         #    mov rsi, rsp; syscall
		printf '\205\300\164\4'            #    test eax, eax; jz 2f
		printf '\377\313\165\351'          #    dec ebx; jnz 1b
		printf '\270\42\0\0\0\17\5\353\367' # 2: mov eax, 34 (pause); syscall; jmp 2b
	} > "$1"
	chmod +x "$1"
}

# company: processes that are not alike.  `$company` has their pids.
company() {
	mkfifo hold
	# One whose name has about everything that a name can have.
	sh -c 'printf "a) [b]\\\\ \n\033\303\266" > /proc/self/comm; read -r line < hold' &
	company=$!
	# A zombie, and its parent, which does not ask for the exit code.
	sh -c ': & exec sleep 1000' &
	company="$company $!"
	# One that is stopped.
	sleep 1000 &
	company="$company $!"
	kill -STOP $!
	# One that has several threads.
	threads three
	./three &
	company="$company $!"

	for sign in 'Name:.a) ' State:.Z State:.T Threads:.3; do
		until grep -qs "^$sign" /proc/[0-9]*/status; do sleep 0.02; done
	done
}

# look FILE: what /proc shows of each process.  That is no snapshot either.
look() { grep -Hs -E '^(Name|State|PPid|Threads|Kthread):' /proc/[0-9]*/status > "$1"; }

# last_pid: the last pid that was given to anybody.
last_pid() {
	local load running last
	read -r load load load running last < /proc/loadavg
	echo "$last"
}

# compare: `before` and `after` are /proc, `log` is the kernel's log.
#
# Pids are given in turn, so one between `first` and `last` is of a process that
# began after the first look; it may have ended before the second.
compare() {
	awk -v first="$first" -v last="$last" '
	function differs(pid, what) {
		print "pid " pid " (" comm[pid] "): " what
		wrong++
	}
	# The name as the module would write it.  /proc has escaped as much as a
	# newline and a backslash.
	function escaped(name,  i, c, out) {
		if (name !~ /[^ -~]/)
			return name
		for (i = 1; i <= length(name); i++) {
			c = substr(name, i, 1)
			out = out (c in code ? code[c] : c)
		}
		return out
	}
	# Kernel threads are in brackets.  /proc gives their full names, of which
	# comm has 15 bytes, and says of a worker what it works at.
	function fits(comm, name, kernel,  rest) {
		if (kernel != 1)
			return comm == escaped(name)
		if (comm !~ /^\[.*\]$/)
			return 0
		comm = substr(comm, 2, length(comm) - 2)
		rest = substr(name, length(comm) + 1)
		return index(name, comm) == 1 && (length(comm) == 15 || rest ~ /^([-+]|$)/)
	}
	BEGIN {
		for (i = 1; i < 256; i++)
			if (i < 32 || i > 126)
				code[sprintf("%c", i)] = sprintf("\\x%02x", i)
	}
	FILENAME == "log" {
		sub(/^(\[[^]]*\])* */, "")
		if (index($0, "rcu_guard: [lister] ") != 1)
			next
		if ($3 == "begin") {
			split("", comm)
			listed = sum = brackets = 0
		} else if ($3 == "process:") {
			pid = substr($4, 5)
			if (pid in comm)
				differs(pid, "is in the list twice")
			ppid[pid] = substr($5, 6)
			threads[pid] = substr($6, 9)
			state[pid] = substr($7, 7)
			comm[pid] = substr($0, index($0, " comm=") + 6)
			listed++
			sum += threads[pid]
			brackets += comm[pid] ~ /^\[/
		} else if ($3 == "end") {
			end = $0
		}
		next
	}
	{
		split($0, part, "/")
		pid = part[3]
		split(part[4], part, ":")
		look[FILENAME, pid, part[2]] = substr($0, index($0, "\t") + 1)
		there[FILENAME, pid] = 1
		known[pid] = 1
	}
	END {
		for (pid in comm) {
			self += comm[pid] == "[director]"
			passing = !(("before", pid) in there && ("after", pid) in there)
			passed += passing
			if (!passing || ("before", pid) in there || ("after", pid) in there)
				continue
			n = pid + 0
			if (first <= last ? n <= first || n > last : n <= first && n > last)
				differs(pid, "is in the list, and was never in /proc")
		}
		for (pid in known) {
			if (!(("before", pid) in there && ("after", pid) in there))
				continue
			if (!(pid in comm)) {
				comm[pid] = look["before", pid, "Name"]
				differs(pid, "is in /proc, and not in the list")
				continue
			}
			same++
			if (!fits(comm[pid], look["before", pid, "Name"], look["before", pid, "Kthread"]) &&
			    !fits(comm[pid], look["after", pid, "Name"], look["after", pid, "Kthread"]))
				differs(pid, "the name in /proc is " escaped(look["before", pid, "Name"]) \
					", kernel thread: " look["before", pid, "Kthread"])
			if (ppid[pid] != look["before", pid, "PPid"] && ppid[pid] != look["after", pid, "PPid"])
				differs(pid, "ppid=" ppid[pid] ", in /proc " look["before", pid, "PPid"])
			if (look["before", pid, "Threads"] == look["after", pid, "Threads"] &&
			    threads[pid] != look["before", pid, "Threads"])
				differs(pid, "threads=" threads[pid] ", in /proc " look["before", pid, "Threads"])
			# Of the states only these two are sure to last.
			letter = substr(look["before", pid, "State"], 1, 1)
			if (letter ~ /[ZT]/ && letter == substr(look["after", pid, "State"], 1, 1)) {
				lasting[letter] = 1
				if (state[pid] != letter)
					differs(pid, "state=" state[pid] ", in /proc " letter)
			}
			three += threads[pid] == 3
		}
		# What was found by the walk along the threads, and what each process says
		# of itself, may differ for those that were coming or going.
		split(end, part, /[= ]/)
		if (part[6] != listed || part[10] != brackets ||
		    part[8] - sum > passed || sum - part[8] > passed) {
			print "the list has " listed " processes, " sum " threads, " brackets \
				" kernel threads; its last line: " end
			wrong++
		}
		# It is the last one, most likely, and /proc does not know it.
		if (self != 1) {
			print "the thread that made the list is not in it"
			wrong++
		}
		# What is not there has not been compared.
		if (!("Z" in lasting) || !("T" in lasting) || !three) {
			print "no zombie, nobody who is stopped, or none with three threads"
			wrong++
		}
		if (!wrong)
			print "agrees: " same " processes"
	}' before after log > said

	if grep -q '^agrees: ' said; then
		say "/proc $(cat said)"
	else
		fail "/proc and the list differ in $(wc -l < said) lines"
		head -n 20 said | while read -r line; do fail "$line"; done
	fi
}

company
first=$(last_pid)
look before
if load rcu_guard $ARGS; then
	wait_for "$ended"
	look after
	last=$(last_pid)
	dmesg > log
	compare
	unload rcu_guard
fi
kill -KILL $company
wait 2> /dev/null
rm hold three
