// SPDX-License-Identifier: GPL-2.0
/*
 * Between Rust and Lua: see glue.h.
 *
 * A function of Lua that may raise is called only inside a function that
 * lua_pcall() calls: those are named `..._protected`, and what scripts call.
 */
#include <linux/atomic.h>
#include <linux/bug.h>
#include <linux/errname.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/random.h>
#include <linux/ratelimit.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>

#include "kluaconf.h"
#include "lua.h"

#include "lauxlib.h"
#include "lualib.h"

#include "glue.h"

/* How many steps a script makes between two longer looks at its budgets. */
#define SLICE		1000LL
#define SLICE_IN_IRQ	100LL
#define NO_LIMIT	(1LL << 62)

/*
 * What of the stack no script gets: Lua may call an allocator that reclaims
 * memory, or print, and interrupts come on top.  KASAN makes frames fat.
 */
#define STACK_RESERVE	(IS_ENABLED(CONFIG_KASAN) ? 12288UL : 6144UL)
/* On an interrupt's stack, as large as a thread's, nobody knows what is left: so a quarter. */
#define STACK_IN_IRQ	(THREAD_SIZE / 4)
/* More for those who handle "C stack overflow". */
#define STACK_GRACE	1536UL

struct klua {
	struct klua_hot hot;	/* the extra space of the lua_State points here */
	lua_State *L;
	struct klua_host host;
	const struct klua_library *const *libraries;
	struct klua_budget budget;
	enum klua_context context;
	bool may_sleep;		/* now: while it is loaded, or in process context */
	unsigned int depth;	/* of runs inside runs */

	unsigned long bytes, bytes_peak;
	long long steps_left;	/* beyond those in `hot` */
	u64 cpu_end;
	bool spent;

	/* What a Rust function has left to be done: see klua_finish(). */
	struct klua_value left;
	unsigned int bad;
	const char *field, *expected;
};

static struct klua *state_of(lua_State *L)
{
	return container_of(klua_hot(L), struct klua, hot);
}

/* --- Memory ------------------------------------------------------------------ */

static atomic_long_t all_bytes = ATOMIC_LONG_INIT(0);

// ANCHOR: fails
static bool fails(void)
{
	return false;	/* the check `no-memory` has another answer */
}
// ANCHOR_END: fails

static bool may_grow(struct klua *k, size_t by)
{
	if (fails() || by > k->budget.bytes || k->bytes > k->budget.bytes - by)
		return false;
	return atomic_long_add_return(by, &all_bytes) <= k->budget.all_bytes ||
	       (atomic_long_sub(by, &all_bytes), false);
}

long klua_all_bytes(void)
{
	return atomic_long_read(&all_bytes);
}

/* In steps: Lua visits all that it has. */
static long cost_of_collecting(const struct klua *k)
{
	return k->bytes / 256;
}

/* Lua's allocator.  When it says no, Lua collects garbage, tries again, and raises. */
static void *allocate(void *data, void *old, size_t old_size, size_t size)
{
	struct klua *k = data;
	// ANCHOR: gfp
	gfp_t gfp = k->may_sleep ? GFP_KERNEL_ACCOUNT : GFP_ATOMIC;
	// ANCHOR_END: gfp
	void *p;

	if (!old)
		old_size = 0;	/* it says what for; nobody wants to know */
	if (size > old_size) {
		if (!may_grow(k, size - old_size)) {
			/* Now Lua collects all its garbage, and tries again. */
			k->hot.steps_left -= cost_of_collecting(k);
			return NULL;
		}
		/* Whoever asks for much is about to copy much. */
		k->hot.steps_left -= size / 256;
	}
	if (size) {
		/* What vmalloc() gave cannot be freed with interrupts off. */
		if (k->context == KLUA_PROCESS)
			p = kvrealloc(old, size, gfp | __GFP_NOWARN);
		else
			p = krealloc(old, size, gfp | __GFP_NOWARN);
		if (!p && size <= old_size)
			p = old;	/* Lua trusts that this cannot fail */
	} else {
		kvfree(old);
		p = NULL;
	}
	if (size && !p) {
		atomic_long_sub(size - old_size, &all_bytes);
		return NULL;
	}
	if (size < old_size)
		atomic_long_sub(old_size - size, &all_bytes);
	k->bytes += size - old_size;
	k->bytes_peak = max(k->bytes_peak, k->bytes);
	return p;
}

/* --- Budgets ------------------------------------------------------------------ */

/* Nanoseconds on a CPU: of this thread, or, in an interrupt, simply now. */
static u64 cpu_clock_of(const struct klua *k)
{
	return k->may_sleep ? READ_ONCE(current->se.sum_exec_runtime) : local_clock();
}

static bool somebody_wants_an_end(void)
{
	return fatal_signal_pending(current) ||
	       ((current->flags & PF_KTHREAD) && kthread_should_stop());
}

/*
 * The slice is used up: is there another?  Once the answer is yes, it is spent, it
 * stays so until the run is over.  A script may catch the error with pcall(); its
 * next step raises again.
 */
// ANCHOR: slice
int klua_budget_is_spent(lua_State *L)
{
	struct klua *k = state_of(L);
	long long slice;

	k->steps_left += k->hot.steps_left;	/* a step may cost more than one */
	slice = min(k->steps_left, k->may_sleep ? SLICE : SLICE_IN_IRQ);
	if (k->may_sleep)
		cond_resched();
	if (slice <= 0 || cpu_clock_of(k) > k->cpu_end ||
	    (k->may_sleep && somebody_wants_an_end()))
		k->spent = true;
	if (k->spent) {
		k->hot.steps_left = 0;
		return 1;
	}
	k->steps_left -= slice;
	k->hot.steps_left = slice;
	return 0;
}
// ANCHOR_END: slice

void klua_count_collecting(lua_State *L)
{
	klua_count(L, cost_of_collecting(state_of(L)));
}

/* How deep may C calls go, on the stack that we are on? */
// ANCHOR: look-at-stack
static void look_at_stack(struct klua *k)
{
	unsigned long sp = current_stack_pointer;
	unsigned long bottom = (unsigned long)task_stack_page(current);
	unsigned long floor;

	if (sp - bottom < THREAD_SIZE)
		floor = bottom + STACK_RESERVE;
	else
		floor = sp - STACK_IN_IRQ;
	if (k->budget.stack)
		floor = max(floor, sp - k->budget.stack);
	k->hot.stack_hard = floor;
	k->hot.stack_soft = floor + STACK_GRACE;
}
// ANCHOR_END: look-at-stack

// ANCHOR: hook
// (Here a break puts a budget by Lua's debug hook.)
// ANCHOR_END: hook

/* A run begins.  One inside another shares its budgets. */
static void begin(struct klua *k)
{
	if (k->depth++)
		return;
	k->steps_left = k->budget.steps;
	k->hot.steps_left = 0;
	k->cpu_end = cpu_clock_of(k) + k->budget.cpu_us * NSEC_PER_USEC;
	k->spent = false;
	look_at_stack(k);
	// ANCHOR: run-begins
	// ANCHOR_END: run-begins
}

static void end(struct klua *k)
{
	k->depth--;
}

void klua_limit_time(struct klua *k, unsigned long cpu_us)
{
	k->budget.cpu_us = cpu_us;
}

void klua_use(const struct klua *k, struct klua_usage *usage)
{
	*usage = (struct klua_usage) {
		.bytes = k->bytes,
		.bytes_peak = k->bytes_peak,
		.steps = k->budget.steps - k->steps_left - max(k->hot.steps_left, 0L),
		.spent = k->spent,
	};
}

/* --- What Lua calls ------------------------------------------------------------- */

void klua_write(lua_State *L, const char *s, size_t n)
{
	struct klua *k = state_of(L);

	klua_count(L, n / 64);
	k->host.print(k->host.data, s, n);
}

void klua_write_line(lua_State *L)
{
	struct klua *k = state_of(L);

	k->host.print(k->host.data, "\n", 1);
}

int klua_may_log(void)
{
	static DEFINE_RATELIMIT_STATE(lines, 5 * HZ, 100);

	return __ratelimit(&lines);
}

/*
 * abort().  Not reached: all that raises is called by lua_pcall().  (The condition
 * keeps the compiler from taking this for a function that does not return, which
 * objtool would have to know.)
 */
void klua_abort(void)
{
	static bool really = true;

	if (READ_ONCE(really))
		BUG();
}

unsigned long long klua_random(void)
{
	return get_random_u64();
}

/* --- Values ------------------------------------------------------------------------ */

/*
 * An object as Lua has it.  All userdata of a script are of this kind: none of the
 * libraries makes another.
 */
struct box {
	const void *object;	/* NULL: it is closed, or there never was one */
	const struct klua_class *class;
};

/* Reads a value from Lua's stack.  Does not raise, and does not change it. */
static void read_value(lua_State *L, int i, struct klua_value *value)
{
	*value = (struct klua_value){ .type = KLUA_OTHER };
	switch (lua_type(L, i)) {
	case LUA_TNONE:
	case LUA_TNIL:
		value->type = KLUA_NIL;
		break;
	case LUA_TBOOLEAN:
		value->type = KLUA_BOOLEAN;
		value->integer = lua_toboolean(L, i);
		break;
	case LUA_TNUMBER:
		value->type = KLUA_INTEGER;
		value->integer = lua_tointeger(L, i);
		break;
	case LUA_TSTRING: {
		size_t length;

		value->type = KLUA_STRING;
		value->pointer = lua_tolstring(L, i, &length);
		value->length = length;
		break;
	}
	case LUA_TUSERDATA: {
		const struct box *box = lua_touserdata(L, i);

		value->type = KLUA_OBJECT;
		value->pointer = box->object;
		value->class = box->class;
		break;
	}
	}
}

static const char *context_name(const struct klua *k)
{
	static const char *const names[] = {
		[KLUA_PROCESS] = "process",
		[KLUA_SOFTIRQ] = "softirq",
		[KLUA_HARDIRQ] = "hardirq",
	};

	return names[k->context];
}

static void push_metatable(lua_State *L, const struct klua_class *class);

/* An empty box; what is put into it is released with it. */
static struct box *push_box(lua_State *L, const struct klua_class *class)
{
	struct box *box = lua_newuserdatauv(L, sizeof(*box), 0);

	*box = (struct box){ .class = class };
	push_metatable(L, class);
	lua_setmetatable(L, -2);
	return box;
}

/* Raises if there is no memory. */
static void push_value(lua_State *L, const struct klua_value *value)
{
	struct box *box;

	switch (value->type) {
	case KLUA_BOOLEAN:
		lua_pushboolean(L, value->integer != 0);
		break;
	case KLUA_INTEGER:
		lua_pushinteger(L, value->integer);
		break;
	case KLUA_STRING:
		lua_pushlstring(L, value->pointer, value->length);
		break;
	case KLUA_PINNED:
		lua_rawgetp(L, LUA_REGISTRYINDEX, value->pointer);
		break;
	case KLUA_OBJECT:
		if (value->class->context < state_of(L)->context)
			luaL_error(L, "'%s' is not for a runtime of %s context",
				   value->class->name, context_name(state_of(L)));
		box = push_box(L, value->class);
		value->class->acquire(value->pointer);
		box->object = value->pointer;
		break;
	default:
		lua_pushnil(L);
	}
}

/* --- A script calls Rust -------------------------------------------------------------- */

void *klua_data(struct lua_State *L)
{
	return state_of(L)->host.data;
}

struct klua *klua_of(struct lua_State *L)
{
	return state_of(L);
}

/* Other numbers have a meaning for Lua, which is not that of an argument. */
static bool is_argument(unsigned int i)
{
	return i - 1 < LUAI_MAXSTACK;
}

void klua_argument(struct lua_State *L, unsigned int i, struct klua_value *value)
{
	if (is_argument(i))
		read_value(L, i, value);
	else
		value->type = KLUA_NIL;
}

int klua_integer(struct lua_State *L, unsigned int i, long long *integer)
{
	if (!is_argument(i) || lua_type(L, i) != LUA_TNUMBER)
		return 0;
	*integer = lua_tointeger(L, i);
	return 1;
}

/* Lua keeps room for twenty values in each call, so pushing these does not raise. */
void klua_push_nil(struct lua_State *L)
{
	lua_pushnil(L);
}

void klua_push_boolean(struct lua_State *L, int boolean)
{
	lua_pushboolean(L, boolean);
}

void klua_push_integer(struct lua_State *L, long long integer)
{
	lua_pushinteger(L, integer);
}

void klua_leave(struct lua_State *L, const struct klua_value *value)
{
	state_of(L)->left = *value;
}

void klua_bad_argument(struct lua_State *L, unsigned int i, const char *expected)
{
	struct klua *k = state_of(L);

	k->bad = i;
	k->expected = expected;
}

void klua_bad_field(struct lua_State *L, const char *name, const char *expected)
{
	struct klua *k = state_of(L);

	k->field = name;
	k->expected = expected;
}

static bool is_closed(lua_State *L, int i)
{
	const struct box *box = lua_touserdata(L, i);

	return lua_type(L, i) == LUA_TUSERDATA && !box->object;
}

/*
 * Lua calls this when a function has returned a negative number: see hooks.h.  The
 * function was one in Rust, and it is not on the stack any more, so this may raise.
 */
// ANCHOR: finish
int klua_finish(lua_State *L, int n)
{
	struct klua *k = state_of(L);
	const char *name;

	switch (n) {
	case KLUA_LEFT:
		/* A string; it is copied before anything else can be left there. */
		lua_pushlstring(L, k->left.pointer, k->left.length);
		return 1;
	case KLUA_BAD_ARGUMENT:
		if (is_closed(L, k->bad))
			return luaL_argerror(L, k->bad, "the object is closed");
		return luaL_typeerror(L, k->bad, k->expected);
	case KLUA_BAD_FIELD:
		return luaL_error(L, "bad field '%s' (%s expected)", k->field, k->expected);
	default:
		name = errname(-n);
		return luaL_error(L, "%s", name ? name : "EINVAL");
	}
}
// ANCHOR_END: finish

/*
 * Calls a Rust function that makes an object.  The box for it comes first: to make
 * one may raise, and the object must not be lost then.  It lies behind the
 * arguments, of which there are as many as there can be.
 */
// ANCHOR: make-object
static int make_object(lua_State *L)
{
	struct klua *k = state_of(L);
	const struct klua_function *function = lua_touserdata(L, lua_upvalueindex(1));
	struct box *box;
	int n;

	lua_settop(L, KLUA_MAX_VALUES);
	box = push_box(L, function->makes);
	n = function->call(L);
	if (n != KLUA_LEFT)
		return n;
	box->object = k->left.pointer;
	return 1;
}
// ANCHOR_END: make-object

/*
 * __gc, __close and close(): this state has no reference to the object any more.
 * Scripts can call it, with anything.
 */
static int close_object(lua_State *L)
{
	struct box *box = lua_touserdata(L, 1);
	const void *object;

	if (lua_type(L, 1) != LUA_TUSERDATA)
		return luaL_typeerror(L, 1, "object");
	object = box->object;
	box->object = NULL;
	if (object)
		box->class->release(object);
	return 0;
}

/* What stands in the place of a function that is not for the state's context. */
static int refuse_call(lua_State *L)
{
	const struct klua_function *function = lua_touserdata(L, lua_upvalueindex(1));

	return luaL_error(L, "'%s' is not for a runtime of %s context", function->name,
			  context_name(state_of(L)));
}

/* The state's context never changes, so it is looked at here, and not with each call. */
static void push_function(lua_State *L, const struct klua_function *function)
{
	if (function->context < state_of(L)->context) {
		lua_pushlightuserdata(L, (void *)function);
		lua_pushcclosure(L, refuse_call, 1);
		return;
	}
	if (!function->makes) {
		lua_pushcfunction(L, function->call);
		return;
	}
	lua_pushlightuserdata(L, (void *)function);
	lua_pushcclosure(L, make_object, 1);
}

static void add_functions(lua_State *L, const struct klua_function *function)
{
	for (; function->name; function++) {
		push_function(L, function);
		lua_setfield(L, -2, function->name);
	}
}

/* The metatable of a class, which a state makes when it needs it. */
static void push_metatable(lua_State *L, const struct klua_class *class)
{
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, class) == LUA_TTABLE)
		return;
	lua_pop(L, 1);
	lua_newtable(L);
	lua_pushstring(L, class->name);
	lua_setfield(L, -2, "__name");
	lua_newtable(L);
	add_functions(L, class->methods);
	lua_pushcfunction(L, close_object);
	lua_setfield(L, -2, "close");
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, close_object);
	lua_setfield(L, -2, "__gc");
	lua_pushcfunction(L, close_object);
	lua_setfield(L, -2, "__close");
	/* What a script gets of it. */
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pushvalue(L, -1);
	lua_rawsetp(L, LUA_REGISTRYINDEX, class);
}

/* require(): libraries of this state, and nothing else; each is made once. */
// ANCHOR: require
static int require(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	const struct klua_library *const *library = state_of(L)->libraries;

	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	if (lua_getfield(L, -1, name) != LUA_TNIL)
		return 1;
	for (; *library; library++) {
		if (strcmp((*library)->name, name) != 0)
			continue;
		lua_newtable(L);
		add_functions(L, (*library)->functions);
		lua_pushvalue(L, -1);
		lua_setfield(L, 2, name);
		return 1;
	}
	return luaL_error(L, "there is no library '%s'", name);
}
// ANCHOR_END: require

/* --- Rust calls a script ----------------------------------------------------------------- */

/*
 * Calls a protected function with one argument, and, if `with` is not 0, with what is
 * there on the stack.  Returns 0 with `wanted` values on the stack, or 1 with the
 * message.
 */
// ANCHOR: protected
static int protected(struct klua *k, lua_State *L, lua_CFunction f, void *argument,
		     int with, int wanted, struct klua_value *message)
{
	int status = LUA_ERRMEM;

	begin(k);
	if (lua_checkstack(L, wanted + 3)) {
		/* None of these allocates, so nothing raises before lua_pcall(). */
		lua_pushcfunction(L, f);
		lua_pushlightuserdata(L, argument);
		if (with)
			lua_pushvalue(L, with);
		status = lua_pcall(L, with ? 2 : 1, wanted, 0);
	} else {
		lua_pushnil(L);
	}
	end(k);
	if (status == LUA_OK)
		return 0;
	read_value(L, -1, message);
	if (message->type != KLUA_STRING) {
		static const char text[] = "(the error is not a string)";

		*message = (struct klua_value) {
			.type = KLUA_STRING,
			.pointer = text,
			.length = sizeof(text) - 1,
		};
	}
	return 1;
}
// ANCHOR_END: protected

struct text {
	const char *name;
	const void *text;
	unsigned long length;
};

// ANCHOR: run-text
static int run_text_protected(lua_State *L)
{
	const struct text *text = lua_touserdata(L, 1);

	if (luaL_loadbufferx(L, text->text, text->length, text->name, "t") != LUA_OK)
		return lua_error(L);
	lua_call(L, 0, 1);
	return 1;
}
// ANCHOR_END: run-text

int klua_run_text(struct klua *k, const char *name, const void *text, unsigned long length,
		  struct klua_value *result, struct klua_value *message)
{
	struct text argument = { .name = name, .text = text, .length = length };

	if (protected(k, k->L, run_text_protected, &argument, 0, 1, message))
		return 1;
	read_value(k->L, -1, result);
	return 0;
}

struct function_call {
	const char *name;
	const void *key;
	const struct klua_value *arguments;
	unsigned int count, wanted;
};

static int call_function_protected(lua_State *L)
{
	const struct function_call *call = lua_touserdata(L, 1);

	if (call->name)
		lua_getglobal(L, call->name);
	else
		lua_rawgetp(L, LUA_REGISTRYINDEX, call->key);
	for (unsigned int i = 0; i < call->count; i++)
		push_value(L, &call->arguments[i]);
	lua_call(L, call->count, call->wanted);
	return call->wanted;
}

int klua_call_function(struct klua *k, struct lua_State *thread, const char *name,
		       const void *key,
		       const struct klua_value *arguments, unsigned int count,
		       struct klua_value *results, unsigned int wanted,
		       struct klua_value *message)
{
	struct function_call call = {
		.name = name, .key = key,
		.arguments = arguments, .count = count, .wanted = wanted,
	};
	lua_State *L = thread ? thread : k->L;

	if (protected(k, L, call_function_protected, &call, 0, wanted, message))
		return 1;
	for (unsigned int i = 0; i < wanted; i++)
		read_value(L, (int)i - (int)wanted, &results[i]);
	return 0;
}

struct pin {
	const struct klua_value *object;
	const void *key;
};

static int pin_protected(lua_State *L)
{
	const struct pin *pin = lua_touserdata(L, 1);

	if (pin->object)
		push_value(L, pin->object);
	lua_rawsetp(L, LUA_REGISTRYINDEX, pin->key);
	return 0;
}

int klua_pin(struct klua *k, struct lua_State *thread, int index,
	     const struct klua_value *object, const void *key)
{
	struct pin pin = { .object = object, .key = key };
	lua_State *L = thread ? thread : k->L;
	struct klua_value message;
	int top = lua_gettop(L), failed;

	failed = protected(k, L, pin_protected, &pin, object ? 0 : index, 0, &message);
	lua_settop(L, top);
	return failed;
}

static int unpin_protected(lua_State *L)
{
	lua_pushnil(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, lua_touserdata(L, 1));
	return 0;
}

void klua_unpin(struct klua *k, const void *key)
{
	struct klua_value message;
	int top = lua_gettop(k->L);

	/* It is there, so to take it away needs no memory; and if it stays, it stays. */
	protected(k, k->L, unpin_protected, (void *)key, 0, 0, &message);
	lua_settop(k->L, top);
}

static int field_protected(lua_State *L)
{
	luaL_checktype(L, 2, LUA_TTABLE);
	lua_pushstring(L, lua_touserdata(L, 1));
	lua_rawget(L, 2);
	return 1;
}

int klua_field(struct klua *k, struct lua_State *thread, int index, const char *name,
	       struct klua_value *value)
{
	lua_State *L = thread ? thread : k->L;
	struct klua_value message;

	if (protected(k, L, field_protected, (void *)name, index, 1, &message))
		return 1;
	read_value(L, -1, value);
	return 0;
}

int klua_top(struct klua *k, struct lua_State *thread)
{
	return lua_gettop(thread ? thread : k->L);
}

void klua_forget(struct klua *k, struct lua_State *thread, int top)
{
	/* Shortening the stack does not raise: nothing on it is to be closed. */
	lua_settop(thread ? thread : k->L, top);
}

/* --- The life of a state ------------------------------------------------------------------- */

static int open_protected(lua_State *L)
{
	luaL_checkversion(L);
	klua_open_libraries(L);
	lua_pushcfunction(L, require);
	lua_setglobal(L, "require");
	return 0;
}

/* NULL if there is no memory. */
struct klua *klua_open(const struct klua_budget *budget, const struct klua_host *host,
		       const struct klua_library *const *libraries,
		       enum klua_context context)
{
	struct klua *k = kzalloc_obj(*k, GFP_KERNEL_ACCOUNT);
	struct klua_value message;

	if (!k)
		return NULL;
	k->budget = *budget;
	k->budget.bytes = k->budget.bytes ?: LONG_MAX;
	k->budget.all_bytes = k->budget.all_bytes ?: LONG_MAX;
	k->budget.steps = k->budget.steps ?: NO_LIMIT;
	k->budget.cpu_us = k->budget.cpu_us ?: NO_LIMIT / NSEC_PER_USEC;
	k->host = *host;
	k->libraries = libraries;
	k->context = context;
	/* Whatever it is for, it is opened where sleeping is allowed. */
	k->may_sleep = true;
	k->L = lua_newstate(allocate, k, get_random_u32());
	if (!k->L) {
		kfree(k);
		return NULL;
	}
	*(struct klua_hot **)lua_getextraspace(k->L) = &k->hot;
	if (protected(k, k->L, open_protected, NULL, 0, 0, &message)) {
		klua_close(k);
		return NULL;
	}
	return k;
}

void klua_loaded(struct klua *k)
{
	k->may_sleep = k->context == KLUA_PROCESS;
}

/* No run is going on, and none begins. */
void klua_close(struct klua *k)
{
	/* Finalizers of the script get no step; those of objects are not scripts. */
	k->spent = true;
	k->hot.steps_left = 0;
	look_at_stack(k);
	lua_close(k->L);
	WARN_ON_ONCE(k->bytes);		/* it has given back each byte */
	kfree(k);
}

/* --- For tests: how much stack is used ------------------------------------------------------ */

#define PAINT	0xa5a5a5a5a5a5a5a5UL

/* From the end of the stack (whose first word the kernel checks) up to here. */
static unsigned long *lowest(void)
{
	return end_of_stack(current) + 1;
}

noinline void klua_paint_stack(void)
{
	unsigned long *p, *here = (unsigned long *)(current_stack_pointer - 256);

	for (p = lowest(); p < here; p++)
		WRITE_ONCE(*p, PAINT);
}

unsigned long klua_painted_stack_used(void)
{
	unsigned long *p = lowest();

	while (READ_ONCE(*p) == PAINT)
		p++;
	return (unsigned long)task_stack_page(current) + THREAD_SIZE - (unsigned long)p;
}
