-- What the timers call.  This part runs once, in process context; it may sleep.
local kernel = require("kernel")
local sum = 0
local kept

-- This runs in the timer's callback, and may not.  `t` is lent for the call.
function tick(t)
    kept = t
    sum = sum + t:n()
    return sum, kernel.context()
end

-- And this later, when nothing is lent any more.
function late()
    return kept:n()
end
