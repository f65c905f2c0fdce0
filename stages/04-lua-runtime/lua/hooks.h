/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where we reach into Lua without changing it.  The compiler includes this file
 * before the first line of each of Lua's own (-include), and what is defined here
 * changes the meaning of macros and functions that they use.
 *
 * Each hook says what in Lua it depends on.  If another version of Lua does
 * without that, the hook is gone without a word from the compiler: the scripts
 * of guest/hostile.txt, and the torture, are what notices.
 */
#ifndef KLUA_HOOKS_H
#define KLUA_HOOKS_H

#include "kluaconf.h"

/* --- Errors: our own setjmp() and longjmp(), see setjmp.S ------------------- */

// ANCHOR: errors
#define LUAI_TRY(L, c, f, ud)	if (klua_setjmp((c)->b) == 0) ((f)(L, ud))
#define LUAI_THROW(L, c)	klua_longjmp((c)->b)
// ANCHOR_END: errors

/* --- No value is a floating-point number ------------------------------------ */

/*
 * Lua makes such values with this one macro.  Here it makes an integer, so no
 * value carries the other tag, and all code for it is never reached.
 */
#include "lobject.h"
// ANCHOR: no-float
#undef setfltvalue
#define setfltvalue(o, x)	setivalue(o, (lua_Integer)(x))
// ANCHOR_END: no-float
#undef lua_numbertointeger
#define lua_numbertointeger(n, p)	(*(p) = (n), 1)

/* --- Steps ------------------------------------------------------------------- */

/*
 * Each step is counted where it happens, not by a debug hook (lua_sethook()): a
 * hook is off while an error's handler or a finalizer runs, which then run for
 * as long as they like, and it belongs to one coroutine.
 *
 * The macros below use the names that Lua's functions have for their state (L,
 * ci, pc, ms, fs).  For functions without such a variable there is a constant of
 * the same name, and the compiler removes the counting.  It has a type of its own,
 * so that nothing but the counting can take it for the real one.
 */
struct klua_nobody;
#define KLUA_STATE(L)		((struct lua_State *)(L))
#define klua_count_if(L, n)	(KLUA_STATE(L) ? klua_count(KLUA_STATE(L), (n)) : (void)0)
#define KLUA_IS(text, wanted)	(__builtin_strcmp(text, wanted) == 0)

#ifdef KLUA_COUNTS_INSTRUCTIONS
/*
 * lvm.c: vmfetch(), with which each instruction begins, asks l_unlikely(trap).
 * `L->top` must be touched only when raising: below it may lie the results of a
 * call whose number is not known yet.
 */
#include "lstate.h"
static struct klua_nobody *const L __maybe_unused;
static struct klua_nobody *const ci __maybe_unused;
static struct klua_nobody *const pc __maybe_unused;

static __always_inline void klua_spent(struct lua_State *L, CallInfo *ci, const Instruction *pc)
{
	ci->u.l.savedpc = pc + 1;	/* it is always one ahead */
	L->top.p = ci->top.p;
	klua_over_budget(L);
}

#undef l_unlikely
#define l_unlikely(x)							\
	((KLUA_IS(#x, "trap") && klua_steps(KLUA_STATE(L), 1) ?		\
	  klua_spent(KLUA_STATE(L), (CallInfo *)(ci), (const Instruction *)(pc)) : (void)0), \
	 luai_unlikely(x))

/* Not a step, but in this file, too: the bounds of a `for` are integers, not text. */
#include "lvm.h"
#undef tonumber
#define tonumber(o, n)	(ttisinteger(o) ? (*(n) = ivalue(o), 1) : (*(n) = 0, 0))
#endif

#ifdef KLUA_COUNTS_MATCHING
/*
 * lstrlib.c: the pattern matcher.  match() and the loop over a [set] ask
 * l_unlikely(); singlematch(), which is what `*`, `+` and `-` repeat, has a
 * `switch`, and p and ep are the set that it looks through.
 */
#include "lua.h"
struct klua_no_match {
	struct lua_State *L;
	const char *src_end;
};
static const struct klua_no_match klua_no_match, *const ms __maybe_unused = &klua_no_match;
static struct klua_nobody *const L __maybe_unused;
static const char *const s __maybe_unused, *const p __maybe_unused, *const ep __maybe_unused;

#define klua_count_match(n)	klua_count_if((ms)->L, n)

/* Functions that prepare a match have a state, or a match that has one. */
#undef MAXCCALLS
#define MAXCCALLS	klua_max_match_depth(KLUA_STATE(L) ? KLUA_STATE(L) : (ms)->L)

/* For %b: a search for the closing character, which asks only once. */
#define klua_match_cost(text)						\
	((KLUA_IS(text, "p >= ms->p_end - 1") && *s == *p) ?		\
	 1 + ((ms)->src_end - s) / 16 : 1)

#undef l_unlikely
#define l_unlikely(x)	(klua_count_match(klua_match_cost(#x)), luai_unlikely(x))
#define switch(x)	switch (klua_count_match(ep > p ? 1 + (ep - p) / 8 : 1), (x))

/* %f and the like in formats, and `f`, `d`, `n` of string.pack() and unpack(). */
#define luaL_checknumber(L, arg)	klua_no_float(L)
#define lua_pushnumber(L, n)		((void)(n), klua_no_float(L))
#endif

#ifdef KLUA_COUNTS_ELEMENTS
/* ltablib.c: each element that is read or written. */
#include "lua.h"
#define lua_geti(L, t, n)	(klua_count(L, 1), (lua_geti)(L, t, n))
#define lua_seti(L, t, n)	(klua_count(L, 1), (lua_seti)(L, t, n))
#endif

#if defined(KLUA_COUNTS_LOOPS) || defined(KLUA_COUNTS_MATCHING)
/* Each turn of a `while`. */
#ifndef KLUA_COUNTS_MATCHING
static struct klua_nobody *const L __maybe_unused;
#endif
#define while(x)	while (klua_count_if(L, 1), (x))
#endif

#ifdef KLUA_COUNTS_TOKENS
/* lparser.c: each word of a script. */
#include "llex.h"
#define luaX_next(ls)	(klua_count((ls)->L, 1), (luaX_next)(ls))
#endif

#ifdef KLUA_COUNTS_JUMPS
/* lcode.c: the list of jumps out of an `if` with many branches is walked for each. */
#include "lparser.h"
#include "llex.h"
#define while(x)	while (klua_count(fs->ls->L, 1), (x))
#endif

#ifdef KLUA_COUNTS_COLLECTING
/* lbaselib.c: collectgarbage() and load() of a string, as one call each. */
#include "lua.h"
#include "lauxlib.h"
#define lua_gc(L, ...)		(klua_count_collecting(L), (lua_gc)(L, __VA_ARGS__))
#define luaL_loadbufferx(L, s, n, name, mode)				\
	(klua_count(L, (n) / 64), (luaL_loadbufferx)(L, s, n, name, mode))
#endif

/* --- Functions in Rust ----------------------------------------------------------- */

#ifdef KLUA_FINISHES_CALLS
/*
 * ldo.c: precallC() calls a function in C, has the number of its results in `n`, and
 * then asks api_checknelems(), an assertion that is off.  The number is negative
 * where the function was one in Rust, and something is left to do that may raise.
 */
#include "lapi.h"
static int n __maybe_unused;
// ANCHOR: finishes
#undef api_checknelems
#define api_checknelems(L, x)						\
	(KLUA_IS(#x, "n") && luai_unlikely(n < 0) ? (void)(n = klua_finish(L, n)) : (void)0)
// ANCHOR_END: finishes
#endif

#ifdef KLUA_CHECKS_MESSAGES
/*
 * lapi.c: lua_pushvfstring() gives NULL, and pushes nothing, where there is no memory
 * for its string.  luaL_error() does not look at that, and would make a message of
 * what happens to lie on the stack.  So that raises here, as lua_pushfstring() does.
 */
#include "ldo.h"
static const char *klua_pushvfstring(lua_State *L, const char *fmt, va_list args)
{
	const char *text = luaO_pushvfstring(L, fmt, args);

	if (!text)
		luaD_throw(L, LUA_ERRMEM);
	return text;
}
#define luaO_pushvfstring	klua_pushvfstring
#endif

/* For the fields `f` and `d` of string.pack(): nothing else uses the words. */
#define float	int
#define double	long long

#endif
