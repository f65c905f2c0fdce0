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
local _, message = pcall(function() return kept:get() end)
print((message:gsub("^[^:]*:%d+: ", "")))
-- prints: counted	55
-- prints: calling 'get' on bad self (the object is closed)
