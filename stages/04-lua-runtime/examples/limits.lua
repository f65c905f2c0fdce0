-- SPDX-License-Identifier: MIT OR Apache-2.0
-- Three ways to ask for too much.  Each ends with an error, and the kernel goes on.
print(pcall(function()
    local s = "x"
    while true do s = s .. s end
end))
print((select(2, pcall(function()
    local function f(s) return (s:gsub(".", f)) end
    f("a")
end)):match("C stack overflow")))

-- This one cannot be caught: the next step of whoever catches it raises it again.
pcall(function() while true do end end)
print("never printed")
-- prints: false	not enough memory
-- prints: C stack overflow
-- prints: error: limits.lua:14: the budget is spent
