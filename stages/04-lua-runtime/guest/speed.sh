# SPDX-License-Identifier: GPL-2.0
# What a few things cost, in nanoseconds; for comparison with each other only.
if load lunatik_rs steps=4000000000 cpu_ms=100000 $ARGS; then
	cat > /dev/luadrv <<- 'END'
	local kernel = require("kernel")
	local now = kernel.time_ns

	-- The middle of five.
	local function time(name, count, work)
	    local all = {}
	    for i = 1, 5 do
	        local began = now()
	        work(count)
	        all[i] = (now() - began) // count
	    end
	    table.sort(all)
	    print(name .. ": ns=" .. all[3])
	end

	local function fib(n)
	    if n < 2 then return n end
	    return fib(n - 1) + fib(n - 2)
	end

	local nothing, c = kernel.nothing, math.random
	local function lua() end
	time("nothing in a loop", 100000, function(n) for i = 1, n do end end)
	time("a Lua function that does nothing", 100000, function(n) for i = 1, n do lua() end end)
	time("a Rust function that does nothing", 100000, function(n) for i = 1, n do nothing() end end)
	local tointeger = math.tointeger
	time("a C function that does next to nothing", 100000, function(n) for i = 1, n do tointeger(i) end end)
	time("fib(20)", 1, function() fib(20) end)
	time("fib(25)", 1, function() fib(25) end)
	END
	unload lunatik_rs
fi
