# SPDX-License-Identifier: MIT OR Apache-2.0
# any-moment.sh MODULE DELAY ...: loads the module and unloads it after each
# delay in turn, wherever its story is then.
module=$1
shift
for delay; do
	say "unload after $delay s"
	load "$module" $ARGS || break
	sleep "$delay"
	unload "$module" || break
done
