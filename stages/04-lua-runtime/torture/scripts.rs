// SPDX-License-Identifier: GPL-2.0

//! The scripts of the torture.

/// What has to come of a script.
pub(crate) enum Want {
    /// It returns this.
    Integer(i64),
    /// Its message has this in it.
    Error(&'static str),
}

/// A script.
pub(crate) struct Script {
    /// Its text.
    pub(crate) text: &'static str,
    /// What has to come of it.
    pub(crate) want: Want,
}

const fn gives(text: &'static str, n: i64) -> Script {
    Script {
        text,
        want: Want::Integer(n),
    }
}

const fn fails(text: &'static str, message: &'static str) -> Script {
    Script {
        text,
        want: Want::Error(message),
    }
}

/// All of them.
pub(crate) static SCRIPTS: [Script; 18] = [
    gives(
        "local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end return fib(10)",
        55,
    ),
    fails(
        "while true do pcall(function() while true do end end) end",
        "the budget is spent",
    ),
    fails("local t = {} while true do t[#t + 1] = {} end", "not enough memory"),
    gives(
        "local n = 0 for w in ('a bc def'):gmatch('%a+') do n = n + #w end return n",
        6,
    ),
    fails("error('no')", "torture:1: no"),
    gives(
        "local co = coroutine.wrap(function() for i = 1, 9 do coroutine.yield(i) end end) \
         local n = 0 for i = 1, 9 do n = n + co() end return n",
        45,
    ),
    fails("return (' '):rep(1 << 40)", "not enough memory"),
    gives(
        "local k = require('kernel') local c = k.counter() for i = 1, 50 do c:add(i) end return c:get()",
        1275,
    ),
    fails(
        "local function f() return coroutine.wrap(f)() end f()",
        "C stack overflow",
    ),
    fails("return assert(load(('('):rep(500)))", "C stack overflow"),
    gives(
        "local t = {} for i = 1, 100 do t[i] = i * 7919 % 101 end table.sort(t) return t[50]",
        50,
    ),
    fails("require('kernel').add(1, {})", "bad argument #2 to 'add'"),
    fails(
        "xpcall(function() while true do end end, function() while true do end end)",
        "the budget is spent",
    ),
    fails(
        "require('kernel').add(math.maxinteger, 1)",
        "EOVERFLOW",
    ),
    gives(
        "for i = 1, 20 do setmetatable({}, {__gc = function() KEEP = 1 end}) end collectgarbage() return KEEP or 1",
        1,
    ),
    gives(
        "local s = require('kernel').upper(('x'):rep(3000)) return #s:gsub('X', '%%')",
        3000,
    ),
    fails(
        "local s = 'x' while true do s = s .. s end",
        "not enough memory",
    ),
    fails(
        "return ('a'):rep(40):find(('a*'):rep(20) .. 'b')",
        "the budget is spent",
    ),
];
