/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lua inside the kernel: what stands in the place of Lua's luaconf.h.
 *
 * Lua 5.5 keeps all that depends on the machine in that one header.  This file
 * defines its include guard, so the original becomes empty, and then defines
 * what it would have: numbers that are integers and nothing else, limits that
 * fit a kernel stack, and functions of ours where Lua would call a C library.
 *
 * Everybody who includes "lua.h" includes this first.  What needs the inside of
 * Lua is in hooks.h, for Lua's own files only.
 */
#ifndef KLUACONF_H
#define KLUACONF_H
#define luaconf_h

#include <asm/asm.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>

struct lua_State;

/* --- What Lua calls, and where it is -------------------------------------- */

/* text.c */
int klua_sprintf(char *s, size_t size, const char *format, ...);
int klua_pointer_to_text(char *s, size_t size, const void *p);

/* instead.c */
long long klua_pow(struct lua_State *L, long long base, long long exponent);
long long klua_no_float(struct lua_State *L);
void klua_over_budget(struct lua_State *L);

/* libs.c */
void klua_open_libraries(struct lua_State *L);

/* glue.c */
void klua_abort(void);
void klua_write(struct lua_State *L, const char *s, size_t n);
void klua_write_line(struct lua_State *L);
int klua_budget_is_spent(struct lua_State *L);
void klua_count_collecting(struct lua_State *L);
int klua_finish(struct lua_State *L, int n);

/* --- The budget of steps --------------------------------------------------- */

/*
 * What the interpreter looks at all the time.  Lua reserves a few bytes before
 * each lua_State for its host ("extra space", which a coroutine inherits); ours
 * point to this.
 */
struct klua_hot {
	long steps_left;		/* in this slice; then a longer look */
	unsigned long stack_soft;	/* below it: an error, "C stack overflow" */
	unsigned long stack_hard;	/* below it: also in an error's handler */
};

#define LUA_EXTRASPACE	(sizeof(struct klua_hot *))

static __always_inline struct klua_hot *klua_hot(struct lua_State *L)
{
	return *(struct klua_hot **)((char *)L - LUA_EXTRASPACE);
}

/* Counts steps.  Returns whether the budget is spent; then the caller raises. */
// ANCHOR: count
static __always_inline int klua_steps(struct lua_State *L, long n)
{
	// ANCHOR: steps
	struct klua_hot *hot = klua_hot(L);

	hot->steps_left -= n;
	return __builtin_expect(hot->steps_left < 0, 0) && klua_budget_is_spent(L);
	// ANCHOR_END: steps
}
// ANCHOR_END: count

/* For the loops of libraries: counts, and raises. */
static __always_inline void klua_count(struct lua_State *L, long n)
{
	if (klua_steps(L, n))
		klua_over_budget(L);
}

/* --- The kernel's stack ---------------------------------------------------- */

/*
 * Lua limits the depth of C calls by their number, 200.  That many may need more
 * than 100 KB, and a kernel stack has 16.  So what Lua takes for a constant is a
 * function here, which answers from the stack that is left.
 *
 * Lua compares the depth with it in three ways:
 *
 *   depth >= MAX             look more closely
 *   depth == MAX             an error that a script can catch
 *   depth >= MAX / 10 * 11   an error without a handler
 *
 * so the depth itself as an answer is the first error, and 0 is the second.
 */
// ANCHOR: bound
static __always_inline unsigned int klua_max_calls(struct lua_State *L, unsigned int depth)
{
	// ANCHOR: stack-bound
	struct klua_hot *hot = klua_hot(L);

	if (__builtin_expect(current_stack_pointer > hot->stack_soft, 1))
		return 200;
	return current_stack_pointer > hot->stack_hard ? depth : 0;
	// ANCHOR_END: stack-bound
}
// ANCHOR_END: bound

#define LUAI_MAXCCALLS	((int)klua_max_calls(L, getCcalls(L)))

/* The pattern matcher has a limit of its own; a level of it takes less than this. */
#define KLUA_MATCH_FRAME	256UL

static inline int klua_max_match_depth(struct lua_State *L)
{
	unsigned long left, floor = klua_hot(L)->stack_hard;

	if (current_stack_pointer <= floor)
		return 1;
	left = (current_stack_pointer - floor) / KLUA_MATCH_FRAME;
	return left > 100 ? 100 : (int)left + 1;
}


/* What else lies on the stack. */
#define LUAL_BUFFERSIZE	256
#define LUA_MAXCAPTURES	10
#define LUA_IDSIZE	60

/* Lua's own stack is not on the C stack; its slots are counted with the memory. */
#define LUAI_MAXSTACK	16000

/* --- Numbers: one kind only ------------------------------------------------ */

#define LUA_INT_INT		1
#define LUA_INT_LONG		2
#define LUA_INT_LONGLONG	3
#define LUA_FLOAT_FLOAT		1
#define LUA_FLOAT_DOUBLE	2
#define LUA_FLOAT_LONGDOUBLE	3
#define LUA_INT_TYPE		LUA_INT_LONGLONG
#define LUA_FLOAT_TYPE		0
#define LUAI_IS32INT		1

#define LUA_INTEGER		long long
#define LUA_UNSIGNED		unsigned long long
#define LUAI_UACINT		LUA_INTEGER
#define LUA_INTEGER_FRMLEN	"ll"
#define LUA_INTEGER_FMT		"%lld"
#define LUA_MAXINTEGER		LLONG_MAX
#define LUA_MININTEGER		LLONG_MIN
#define LUA_MAXUNSIGNED		ULLONG_MAX

/*
 * Lua's second type of number has a name still, and the same C type.  hooks.h
 * sees to it that no value has that type, so this is for the compiler alone.
 */
#define LUA_NUMBER		long long
#define LUAI_UACNUMBER		LUA_NUMBER
#define LUA_NUMBER_FRMLEN	"ll"
#define LUA_NUMBER_FMT		"%lld"
#define LUA_NUMBER_FMT_N	"%lld"
#define l_floatatt(n)		(KLUA_FLOAT_##n)
#define KLUA_FLOAT_MANT_DIG	64
#define KLUA_FLOAT_MAX_10_EXP	1
#define KLUA_FLOAT_DIG		1
#define l_mathop(op)		(lua_Number)op
#define l_floor(x)		(x)
#define floor(x)		(x)
#define frexp(x, e)		(*(e) = 0, (x))
#define ldexp(x, e)		(x)
#define HUGE_VAL		0
#define l_hashfloat(n)		((int)(n))

/* No text is such a number: 1.5 and 1e3 are "malformed numbers". */
static inline long long klua_is_no_number(const char *s, char **end)
{
	*end = (char *)s;
	return 0;
}

#define lua_str2number(s, end)	klua_is_no_number(s, end)
#define lua_strx2number(s, end)	klua_is_no_number(s, end)
#define lua_integer2str(s, size, n)	klua_sprintf(s, size, LUA_INTEGER_FMT, (LUAI_UACINT)(n))
#define lua_number2str(s, size, n)	lua_integer2str(s, size, n)
#define lua_number2strx(L, s, size, format, n)	lua_integer2str(s, size, n)

/* `/` is `//`, the division that rounds down; Lua's own function raises for 0. */
#define luai_numidiv(L, a, b)	luaV_idiv(L, a, b)
#define luai_numdiv(L, a, b)	luaV_idiv(L, a, b)
#define luai_nummod(L, a, b, m)	{ (m) = luaV_mod(L, a, b); }
#define luai_numpow(L, a, b)	klua_pow(L, a, b)

/* --- Text and output ------------------------------------------------------- */

#define l_sprintf			klua_sprintf
#define lua_pointer2str(s, size, p)	klua_pointer_to_text(s, size, p)
#define lua_getlocaledecpoint()		('.')
#define lua_writestring(s, n)		klua_write(L, s, n)
#define lua_writeline()			klua_write_line(L)
#define lua_writestringerror(s, p)	((void)(p))

/* --- The rest -------------------------------------------------------------- */

#define LUA_PATH_SEP	";"
#define LUA_PATH_MARK	"?"
#define LUA_EXEC_DIR	"!"
#define LUA_DIRSEP	"/"
#define LUA_IGMARK	"-"
#define LUA_API		extern
#define LUALIB_API	LUA_API
#define LUAMOD_API	LUA_API
#define LUAI_FUNC	extern
#define LUAI_DDEC(dec)	LUAI_FUNC dec
#define LUAI_DDEF
#define LUA_KCONTEXT	long
#define LUAI_MAXALIGN	void *pointer; long long integer
#define luai_likely(x)		(__builtin_expect(((x) != 0), 1))
#define luai_unlikely(x)	(__builtin_expect(((x) != 0), 0))

/* Scripts may go on using "global" as a name; in 5.5 it is a keyword otherwise. */
#define LUA_COMPAT_GLOBAL	1

/* Seeds come from glue.c: this is for luaL_newstate(), which nobody calls. */
#define luai_makeseed()		0u
#define l_randomizePivot(L)	0u

/* objtool cannot follow a computed goto. */
#define LUA_USE_JUMPTABLE	0

/*
 * Lua marks functions that always raise as `noreturn`.  objtool knows such
 * functions by a list of names, and takes the code behind a call of any other
 * for reachable: so they are not marked.
 */
#define l_noret			void

#endif
