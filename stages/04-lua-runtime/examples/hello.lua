-- SPDX-License-Identifier: MIT OR Apache-2.0
-- The first script: make stage-4 run SCRIPT=stages/04-lua-runtime/examples/hello.lua
local kernel = require("kernel")
print("hello from " .. _VERSION .. " in the kernel")
print("there are only integers here: 7 / 2 is " .. 7 / 2)
print("Rust says: " .. kernel.upper("this comes from a function in Rust"))
-- prints: hello from Lua 5.5 in the kernel
-- prints: there are only integers here: 7 / 2 is 3
-- prints: Rust says: THIS COMES FROM A FUNCTION IN RUST
