-- SPDX-License-Identifier: MIT OR Apache-2.0
-- An object in Rust: a counter.  It is closed when it is not needed any more.
local kernel = require("kernel")
local counter = kernel.counter()
for i = 1, 10 do counter:add(i) end
print("counted", counter:get())

do
    local short <close> = kernel.counter()
    short:add(1)
    kept = short
end
print(pcall(kept.get, kept))
-- prints: counted	55
-- prints: false	bad argument #1 to 'get' (counter expected, got counter)
