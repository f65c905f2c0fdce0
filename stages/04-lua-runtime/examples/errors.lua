-- SPDX-License-Identifier: MIT OR Apache-2.0
-- What goes wrong in a script, and in a function in Rust, is an error that a script can catch.
local kernel = require("kernel")

-- An error of the kernel has the kernel's name.
print(pcall(kernel.add, math.maxinteger, 1))

-- An error of a script has the name of the script, and the line.
local fine, message = pcall(function() local x = nil + 1 end)
print((message:gsub("^[^:]*:%d+: ", "line N: ")))

-- What is open is closed, whatever happens.
local function guarded()
    local guard <close> = setmetatable({}, {__close = function() print("closed") end})
    kernel.add("one", 1)
end
print((select(2, pcall(guarded)):match("bad argument.*")))
-- prints: false	EOVERFLOW
-- prints: line N: attempt to perform arithmetic on a nil value
-- prints: closed
-- prints: bad argument #1 to 'add' (integer expected, got string)
