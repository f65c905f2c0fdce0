-- SPDX-License-Identifier: MIT OR Apache-2.0
-- A coroutine that gives one prime number after the other.
local function primes()
    local found = {}
    for n = 2, math.maxinteger do
        local prime = true
        for _, p in ipairs(found) do
            if n % p == 0 then prime = false break end
            if p * p > n then break end
        end
        if prime then
            found[#found + 1] = n
            coroutine.yield(n)
        end
    end
end

local line = {}
for p in coroutine.wrap(primes) do
    line[#line + 1] = p
    if #line == 15 then break end
end
print(table.concat(line, " "))
-- prints: 2 3 5 7 11 13 17 19 23 29 31 37 41 43 47
