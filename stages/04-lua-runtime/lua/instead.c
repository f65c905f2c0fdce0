// SPDX-License-Identifier: GPL-2.0
/*
 * Parts of Lua that are not compiled, and what takes their place.  This file sees
 * the inside of Lua, as Lua's own files do, and nothing of <linux/>.
 */
#define LUA_CORE
#include "lprefix.h"
#include "lua.h"

#include "lauxlib.h"
#include "ldebug.h"
#include "ldo.h"
#include "lobject.h"
#include "lstate.h"
#include "lundump.h"

/*
 * lundump.c and ldump.c: precompiled code.  Lua does not check it, and wrong code
 * is a way into the memory of whoever runs it.  So there is none, by no path.
 */
// ANCHOR: undump
LClosure *luaU_undump(lua_State *L, ZIO *z, Table *anchor, const char *name, int fixed)
{
	luaG_runerror(L, "precompiled code is refused");
	return NULL;
}
// ANCHOR_END: undump

int luaU_dump(lua_State *L, const Proto *f, lua_Writer writer, void *data, int strip)
{
	/* Nobody would look at a status that says no. */
	luaG_runerror(L, "functions cannot be dumped");
	return 1;
}

/* pow() of integers; what is too large wraps around, as with `*`. */
long long klua_pow(struct lua_State *L, long long base, long long exponent)
{
	unsigned long long result = 1, square = (unsigned long long)base;

	if (exponent < 0)
		luaG_runerror(L, "negative exponent");
	for (; exponent > 0; exponent >>= 1) {
		if (exponent & 1)
			result *= square;
		square *= square;
	}
	return (long long)result;
}

/* Where Lua would read or write a floating-point number. */
long long klua_no_float(struct lua_State *L)
{
	return luaL_error(L, "there are no floating-point numbers here");
}

/*
 * Raises for a budget that is spent.  No handler is called: that of xpcall() is
 * code of the script, which would have to run without a budget.
 */
// ANCHOR: over-budget
void klua_over_budget(struct lua_State *L)
{
	static const char text[] = "the budget is spent";
	CallInfo *ci = L->ci;

	if (isLua(ci)) {
		const Proto *f = ci_func(ci)->p;
		int line = luaG_getfuncline(f, pcRel(ci->u.l.savedpc, f));

		luaG_addinfo(L, text, f->source, line);
	} else {
		lua_pushstring(L, text);
	}
	luaD_throw(L, LUA_ERRRUN);
}
// ANCHOR_END: over-budget
