# SPDX-License-Identifier: GPL-2.0
# Loads the module, gives it a few scripts, unloads it.

# run: a script from here to the device, as anybody would do it.
run() { cat > /dev/luadrv || :; }

if load lunatik_rs trace=1 ticks=3 steps=1000000 $ARGS; then
	run <<- 'END'
	print("hello from " .. _VERSION, 7 / 2, 2 ^ 10)
	END

	run <<- 'END'
	local kernel = require("kernel")
	print(kernel.add(40, 2), kernel.upper("rcu"))
	local fine, message = pcall(kernel.add, math.maxinteger, 1)
	print(fine, message)
	END

	run <<- 'END'
	local kernel = require("kernel")
	kernel.add(1, "two")
	END

	run <<- 'END'
	while true do
	    pcall(function() while true do end end)
	end
	END

	unload lunatik_rs
fi
