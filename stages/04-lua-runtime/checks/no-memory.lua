-- For the check `no-memory`: something of each kind that allocates.
local kernel = require("kernel")
function called() return 1 end

local t = {1, 2, 3, x = {}, [kernel] = "y"}
for i = 1, 20 do t[#t + 1] = i t["k" .. i] = {i} end
local s = table.concat(t, ",", 1, 3) .. ("x"):rep(300)
s = s:gsub("x", function(c) return c:upper() end):gsub("(%d)", "<%1>"):reverse():lower()
local f = load("local a, b = ... return function() a = a + 1 return a, b end")(1, {})
f()
local co = coroutine.wrap(function(a) local x <close> = setmetatable({}, {__close = function() end}) return coroutine.yield(a) end)
co(1)
co(2)
local ok, m = pcall(error, {})
ok, m = pcall(kernel.add, "x")
ok, m = pcall(string.rep)
ok, m = xpcall(function() local x = nil + 1 end, function(m) return m .. "!" end)
local c = kernel.counter()
c:add(1)
do local d <close> = kernel.counter() end
setmetatable({}, {__gc = function() called() end})
collectgarbage()
s = kernel.upper(s) .. tostring(t) .. string.format("%5d %q %s", 5, "\n", c)
kernel.hold("call")
pcall(kernel.hold, "error")
table.sort(t, function(a, b) return a > b end)
table.insert(t, 1, 0)
t = table.pack(table.unpack(t))
for a in s:gmatch("%w+") do t[a] = utf8.char(0x20ac, 65) end
s = string.pack("s2i4z", "abc", 1, "z")
local _, _, z = string.unpack("s2i4z", s)
goto done
::done::
print(z, math.max(1, 2), select("#", table.unpack(t)))
return s
