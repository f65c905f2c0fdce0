// SPDX-License-Identifier: GPL-2.0
/*
 * The libraries of a state: Lua's own without what has no place here, and an
 * integer `math` in the place of Lua's.
 */
#include <string.h>

#include "lua.h"

#include "lauxlib.h"
#include "lualib.h"

#include "glue.h"

/* --- math -------------------------------------------------------------------- */

static int math_abs(lua_State *L)
{
	lua_Integer n = luaL_checkinteger(L, 1);

	lua_pushinteger(L, n < 0 ? (lua_Integer)(0ULL - (lua_Unsigned)n) : n);
	return 1;
}

/* Any integer is its own floor, and its own ceiling. */
static int math_same(lua_State *L)
{
	lua_pushinteger(L, luaL_checkinteger(L, 1));
	return 1;
}

/* The remainder of a division that rounds towards zero. */
static int math_fmod(lua_State *L)
{
	lua_Integer a = luaL_checkinteger(L, 1), b = luaL_checkinteger(L, 2);

	luaL_argcheck(L, b != 0, 2, "zero");
	/* The processor traps for the smallest integer by -1. */
	lua_pushinteger(L, b == -1 ? 0 : a % b);
	return 1;
}

static int math_max(lua_State *L)
{
	lua_Integer most = luaL_checkinteger(L, 1);

	for (int i = 2; i <= lua_gettop(L); i++) {
		lua_Integer n = luaL_checkinteger(L, i);

		most = n > most ? n : most;
	}
	lua_pushinteger(L, most);
	return 1;
}

static int math_min(lua_State *L)
{
	lua_Integer least = luaL_checkinteger(L, 1);

	for (int i = 2; i <= lua_gettop(L); i++) {
		lua_Integer n = luaL_checkinteger(L, i);

		least = n < least ? n : least;
	}
	lua_pushinteger(L, least);
	return 1;
}

static int math_tointeger(lua_State *L)
{
	int is_integer;
	lua_Integer n = lua_tointegerx(L, 1, &is_integer);

	luaL_checkany(L, 1);
	if (is_integer)
		lua_pushinteger(L, n);
	else
		luaL_pushfail(L);
	return 1;
}

static int math_type(lua_State *L)
{
	luaL_checkany(L, 1);
	if (lua_type(L, 1) == LUA_TNUMBER)
		lua_pushliteral(L, "integer");
	else
		luaL_pushfail(L);
	return 1;
}

static int math_ult(lua_State *L)
{
	lua_pushboolean(L, (lua_Unsigned)luaL_checkinteger(L, 1) <
			   (lua_Unsigned)luaL_checkinteger(L, 2));
	return 1;
}

/* random(): any integer; random(n): 1 to n; random(m, n): m to n. */
static int math_random(lua_State *L)
{
	lua_Unsigned random = klua_random(), span;
	lua_Integer low = 1, high;

	if (lua_gettop(L) == 0) {
		lua_pushinteger(L, (lua_Integer)random);
		return 1;
	}
	high = luaL_checkinteger(L, 1);
	if (lua_gettop(L) > 1) {
		low = high;
		high = luaL_checkinteger(L, 2);
	}
	luaL_argcheck(L, low <= high, lua_gettop(L), "interval is empty");
	span = (lua_Unsigned)high - (lua_Unsigned)low + 1;
	/* Not quite even for a large span; it is not for secrets. */
	lua_pushinteger(L, (lua_Integer)((lua_Unsigned)low + (span ? random % span : random)));
	return 1;
}

// ANCHOR: math-more
#define MATH_MORE
// ANCHOR_END: math-more

static const luaL_Reg math_functions[] = {
	MATH_MORE
	{ "abs", math_abs },
	{ "ceil", math_same },
	{ "floor", math_same },
	{ "fmod", math_fmod },
	{ "max", math_max },
	{ "min", math_min },
	{ "random", math_random },
	{ "tointeger", math_tointeger },
	{ "type", math_type },
	{ "ult", math_ult },
	{ NULL, NULL },
};

static int open_math(lua_State *L)
{
	luaL_newlib(L, math_functions);
	lua_pushinteger(L, LUA_MAXINTEGER);
	lua_setfield(L, -2, "maxinteger");
	lua_pushinteger(L, LUA_MININTEGER);
	lua_setfield(L, -2, "mininteger");
	return 1;
}

/* --- string.find without a pattern --------------------------------------------- */

static int has_specials(const char *p, size_t n)
{
	static const char specials[] = "^$*+?.([%-";

	for (; n; n--, p++)
		if (memchr(specials, *p, sizeof(specials) - 1))
			return 1;
	return 0;
}

/*
 * Lua searches for plain text in one go: up to the product of both lengths, and
 * no step is counted.  So that is done here.  What is a pattern goes to Lua's own
 * find(), the upvalue.
 */
static int string_find(lua_State *L)
{
	size_t length, wanted_length;
	const char *s = luaL_checklstring(L, 1, &length);
	const char *wanted = luaL_checklstring(L, 2, &wanted_length);
	lua_Integer from = luaL_optinteger(L, 3, 1);
	const char *at, *end = s + length;

	if (!lua_toboolean(L, 4) && has_specials(wanted, wanted_length))
		return lua_tocfunction(L, lua_upvalueindex(1))(L);

	if (from < 0)	/* counted from the end */
		from = from < -(lua_Integer)length ? 1 : (lua_Integer)length + from + 1;
	if (from == 0)
		from = 1;
	if (from > (lua_Integer)length + 1) {
		luaL_pushfail(L);
		return 1;
	}
	for (at = s + from - 1; wanted_length <= (size_t)(end - at); at++) {
		const char *begin = at;

		if (wanted_length) {
			at = memchr(begin, *wanted, end - begin - wanted_length + 1);
			if (!at)
				break;
		}
		klua_count(L, 1 + (at - begin + wanted_length) / 64);
		if (memcmp(at, wanted, wanted_length) == 0) {
			lua_pushinteger(L, at - s + 1);
			lua_pushinteger(L, at - s + wanted_length);
			return 2;
		}
	}
	luaL_pushfail(L);
	return 1;
}

/* ------------------------------------------------------------------------------- */

static void remove(lua_State *L, const char *name)
{
	lua_pushnil(L);
	lua_setfield(L, -2, name);
}

/* Opens them all.  Raises if there is no memory. */
void klua_open_libraries(lua_State *L)
{
	luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
	remove(L, "dofile");
	remove(L, "loadfile");
	lua_pop(L, 1);

	luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
	remove(L, "dump");
	lua_getfield(L, -1, "find");
	lua_pushcclosure(L, string_find, 1);
	lua_setfield(L, -2, "find");
	lua_pop(L, 1);

	luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 1);
	luaL_requiref(L, LUA_COLIBNAME, luaopen_coroutine, 1);
	luaL_requiref(L, LUA_UTF8LIBNAME, luaopen_utf8, 1);
	luaL_requiref(L, LUA_MATHLIBNAME, open_math, 1);
	lua_pop(L, 4);
}
