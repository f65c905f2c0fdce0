// SPDX-License-Identifier: GPL-2.0
/*
 * fib(25) in user space, by the same sources of Lua as they are: with a C library,
 * floating-point numbers and no budget.  For the check `speed`.
 */
#include "lapi.c"
#include "lcode.c"
#include "lctype.c"
#include "ldebug.c"
#include "ldo.c"
#include "ldump.c"
#include "lfunc.c"
#include "lgc.c"
#include "llex.c"
#include "lmem.c"
#include "lobject.c"
#include "lopcodes.c"
#include "lparser.c"
#include "lstate.c"
#include "lstring.c"
#include "ltable.c"
#include "ltm.c"
#include "lundump.c"
#include "lvm.c"
#include "lzio.c"
#include "lauxlib.c"

static const char script[] =
	"local function fib(n)\n"
	"    if n < 2 then return n end\n"
	"    return fib(n - 1) + fib(n - 2)\n"
	"end\n"
	"return fib(25)\n";

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(void)
{
	lua_State *L = luaL_newstate();
	long long took = 0, best = 0;

	for (int i = 0; i < 3; i++) {
		if (!L || luaL_loadstring(L, script))
			return 1;
		took = now();
		if (lua_pcall(L, 0, 1, 0) || lua_tointeger(L, -1) != 75025)
			return 1;
		took = now() - took;
		lua_pop(L, 1);
		if (!best || took < best)
			best = took;
	}
	printf("%lld\n", best);
	return 0;
}
