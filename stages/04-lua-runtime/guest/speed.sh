# SPDX-License-Identifier: GPL-2.0
# What a few things cost, in nanoseconds, or in instructions where the clock counts
# those.  `make stage-4 run SCRIPT=speed`, and the check `speed`.

# measure: what each thing costs, as name=value, in hundredths.
measure() {
	dd of=/dev/luadrv bs=64k 2> /dev/null <<- 'END'
	local now = require("kernel").time_ns

	-- The least of five, for one of `count`, in hundredths.
	local function time(count, work)
	    local least = math.maxinteger
	    for i = 1, 5 do
	        local began = now()
	        work(count)
	        least = math.min(least, now() - began)
	    end
	    return least * 100 // count
	end

	local function fib(n)
	    if n < 2 then return n end
	    return fib(n - 1) + fib(n - 2)
	end

	local kernel = require("kernel")
	local rust, c, add, lua = kernel.nothing, math.nothing or math.type, kernel.add, function() end
	local N = 20000
	local loop = time(N, function(n) for i = 1, n do local x = lua end end)
	local function call(name, work)
	    print("speed: " .. name .. "=" .. time(N, work) - loop)
	end
	call("c", function(n) for i = 1, n do c(i) end end)
	call("rust", function(n) for i = 1, n do rust(i) end end)
	call("lua", function(n) for i = 1, n do lua(i) end end)
	call("add", function(n) for i = 1, n do add(i, 1) end end)
	print("speed: fib=" .. time(1, function() fib(25) end) // 100)
	END
}

# value NAME: of the last line that has it.
value() { dmesg | sed -n "s/.*print: speed: $1=//p" | tail -n 1; }

if load lunatik_rs steps=4000000000 cpu_ms=100000 $ARGS; then
	measure
	unload lunatik_rs
	say "an empty function: in C $(value c), in Rust $(value rust), in Lua $(value lua) hundredths"
	say "Rust is $(($(value rust) * 100 / $(value c)))% of C"
	say "a sum by Rust: $(value add) hundredths"
	with=$(value fib)
	say "fib(25): $with"
fi
if [ -e /workshop/no-budget ]; then
	FROM=no-budget load lunatik_rs && measure && unload lunatik_rs
	without=$(value fib)
	say "fib(25) without a budget: $without"
	say "with the budget it is $((with * 100 / without))%"
fi
if [ -e /workshop/fib ]; then
	user=$(/workshop/fib)
	say "fib(25) in user space: $user"
	say "in the kernel it is $((with * 100 / user))%"
fi
