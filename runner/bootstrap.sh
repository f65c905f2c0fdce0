#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Gets cargo and a linker on a bare machine, builds the runner, and hands the
# goals of `make` over to it.  All else is the runner's.
set -eu

minimum=85 # cargo 1.$minimum

fail() {
	printf 'error: %s\n' "$1" >&2
	shift
	printf '  %s\n' "$@" >&2
	exit 1
}

[ -n "${HOME:-}${XDG_CACHE_HOME:-}" ] || fail "HOME is not set" "The kernel is built in a cache below it." "help: set HOME"
case $PWD in
*[[:space:]:\#\(\)\'\"\&\$\;\%\*\?\<\>\|\!]*)
	fail "the workshop lies in a folder with an odd character in its path: $PWD" \
		"The kernel's build system cannot work there." \
		"help: move it to a path of letters, digits and dashes, for example ~/rcu-workshop"
	;;
esac
[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] ||
	fail "this is $(uname -s) on $(uname -m)" "The workshop's kernel and VM are for Linux on x86-64." \
		"help: use a Linux machine or VM of that kind"

# The first cargo in PATH that is new enough, else the distribution's.
find_cargo() {
	for cargo in "$(command -v cargo || true)" "${HOME:-/nonexistent}/.cargo/bin/cargo" /usr/bin/cargo; do
		[ -x "$cargo" ] || continue
		version=$("$cargo" --version 2> /dev/null) || continue
		version=${version#cargo 1.}
		[ "${version%%.*}" -ge $minimum ] 2> /dev/null || continue
		echo "$cargo"
		return
	done
}

# The values of a key in tools.toml, as words.
values() { printf '%s' "$1" | sed 's/^[^=]*= *//; s/[]["]//g; s/,/ /g'; }

# What the runner's doctor shows, as far as it can be told without it.
bare_doctor() {
	echo "Without the runner this is the short form; every tool that the workshop wants:"
	echo
	while read -r line; do
		case $line in
		name*) name=$(values "$line") ;;
		why*)
			why=${line#*= ?}
			why=${why%?}
			;;
		probe*) probe=$(values "$line") ;;
		debian*)
			packages=$(values "$line")
			state=MISSING
			case $probe in
			*'{llvm}'*) for found in $(echo "$probe" | sed 's/ | .*//; s/{llvm}/[0-9]*/g; s|^[^/]|/usr/bin/&|'); do [ ! -e "$found" ] || state='have   '; done ;;
			/*) [ ! -e "$probe" ] || state='have   ' ;;
			*) ! $probe --version > /dev/null 2>&1 || state='have   ' ;;
			esac
			[ "$name" = cargo ] && state=MISSING
			printf '  %s  %-12s %s\n           %-12s on Debian: %s\n' "$state" "$name" "$why" '' "$packages"
			;;
		esac
	done < runner/tools.toml
	echo
	echo "memory:  $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
	echo "disk:    $(df -h . | awk 'NR == 2 { print $4 }') free here; all of the workshop takes about 5 GB"
	if [ -w /dev/kvm ]; then echo "KVM:     /dev/kvm can be opened; the first run tries whether it works"; else echo "KVM:     no access to /dev/kvm, guests will run under TCG"; fi
	echo "proxies: http_proxy=${http_proxy:-} https_proxy=${https_proxy:-}"
	echo
	echo "next: \`make stage-1 run\` installs what is missing ({llvm} is the LLVM of the chosen rustc)."
}

install() {
	if command -v apt-get > /dev/null; then
		# A broken source of somebody else's is no reason not to try.
		update='apt-get update || true'
		# Debian 12 has a new cargo under another name.
		cargo_package='$(apt-cache show cargo-web > /dev/null 2>&1 && echo cargo-web || echo cargo)'
		command="apt-get install -y --no-install-recommends --no-remove $cargo_package gcc libc6-dev"
		# For `make uninstall`: what was not here before.
		for package in cargo-web cargo gcc libc6-dev; do
			dpkg -s $package > /dev/null 2>&1 || new="${new:-} $package"
		done
	elif command -v dnf > /dev/null; then
		update=true
		command='dnf install -y cargo gcc glibc-devel'
	elif command -v pacman > /dev/null; then
		update=true
		command='pacman -S --needed --noconfirm rust gcc'
	else
		fail "cargo 1.$minimum or newer and a C linker are missing" \
			"help: install them (https://rustup.rs has cargo), then give the same command again"
	fi
	run=sh
	if [ "$(id -u)" -ne 0 ]; then
		if [ -t 0 ] && command -v sudo > /dev/null; then
			printf 'cargo 1.%s or newer and a C linker are missing.\ninstall them with `sudo %s`? [Y/n] ' $minimum "$command"
			read -r answer || answer=n
			case $answer in '' | y | Y | yes) run='sudo sh' ;; *) run= ;; esac
		else
			run=
		fi
		[ -n "$run" ] || fail "cargo 1.$minimum or newer and a C linker are missing" \
			"help: sudo sh -c '{ $update; } && $command'"
	fi
	echo "installing: cargo, a C linker"
	log=build/bootstrap.log
	$run -c "export DEBIAN_FRONTEND=noninteractive; { $update; } && $command" > $log 2>&1 < /dev/null ||
		fail "\`$command\` failed" "$(tail -n 5 $log)" "help: is this machine on the network?  Then give the same command again"
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/rcu-workshop
	mkdir -p "$cache"
	for package in ${new:-}; do
		! dpkg -s "$package" > /dev/null 2>&1 || echo "$package" >> "$cache/installed-packages"
	done
}

mkdir -p build 2> /dev/null || fail "cannot write to $PWD" "help: use a copy of the workshop that is yours"
cargo=$(find_cargo)
if [ -z "$cargo" ] || ! command -v cc > /dev/null; then
	if [ "${1:-}" = doctor ]; then
		bare_doctor
		exit
	fi
	install
	cargo=$(find_cargo)
	[ -n "$cargo" ] || fail "the cargo of this distribution is older than 1.$minimum" \
		"help: get one from https://rustup.rs, or put a newer one first in PATH"
fi
export CARGO="$cargo"

# RUSTC= names the kernel's compiler, not the runner's.
quiet=--quiet
runner=build/runner/debug/runner
if [ ! -x $runner ]; then
	echo "building the runner (once, about a minute) ..."
	[ -t 2 ] && quiet=
fi
env -u RUSTC "$cargo" build --manifest-path runner/Cargo.toml --target-dir build/runner --locked $quiet || {
	[ "${1:-}" != doctor ] || { bare_doctor && exit; }
	fail "the runner could not be built" "help: cargo's message is above; without network, its crates cannot be fetched the first time"
}
exec $runner "$@"
