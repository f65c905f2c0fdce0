/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between Rust and Lua.  bindgen makes Rust of this file while the module is
 * built, so that both sides have one description; it has no #include, so that
 * there is nothing else in it.
 *
 * Lua reports an error by longjmp(), which leaves functions in the middle.  A Rust
 * function that is left like that does not drop what it holds.  So
 *
 *   - no function here raises: what may do so inside is caught inside;
 *   - what Rust gives to Lua, and Lua to Rust, is a struct of plain data.
 *
 * Lua's own functions are not bound: Rust cannot call them.
 */
#ifndef KLUA_GLUE_H
#define KLUA_GLUE_H

struct klua;			/* a state, with its budgets */
struct lua_State;

/* Where a state is used, from the mildest to the strictest. */
enum klua_context {
	KLUA_PROCESS,		/* may sleep */
	KLUA_SOFTIRQ,		/* bottom halves are off */
	KLUA_HARDIRQ,		/* interrupts are off */
};

/* What a state may use.  A zero is no limit of that kind. */
struct klua_budget {
	unsigned long bytes;	/* of memory, at any time */
	unsigned long all_bytes;	/* of memory, all states together */
	long long steps;	/* of the interpreter and in libraries, each run */
	unsigned long cpu_us;	/* of CPU time, each run */
	unsigned long stack;	/* of the kernel's stack; it never gets the last part */
};

struct klua_usage {
	unsigned long bytes;	/* now */
	unsigned long bytes_peak;
	long long steps;	/* in the last run */
	int spent;		/* its steps or its time were spent */
};

enum klua_type {
	KLUA_NIL,
	KLUA_BOOLEAN,
	KLUA_INTEGER,
	KLUA_STRING,
	KLUA_OBJECT,
	KLUA_PINNED,		/* what klua_pin() keeps: `pointer` is its key */
	KLUA_OTHER,
};

// ANCHOR: value
/* A value on its way.  It does not own what it points to. */
struct klua_value {
	enum klua_type type;
	long long integer;		/* also of a boolean */
	const void *pointer;		/* the bytes, the object, or the key */
	unsigned long length;		/* of the bytes */
	const struct klua_class *class;	/* of the object */
};
// ANCHOR_END: value

/* A class of objects.  Its address is what identifies it. */
struct klua_class {
	const char *name;
	/* Lua takes one more reference, and gives one back. */
	void (*acquire)(const void *object);
	void (*release)(const void *object);
	const struct klua_function *methods;	/* the last has no name */
	enum klua_context context;	/* the strictest that its objects are for */
	int shared;			/* its objects may go from one state to another */
};

#define KLUA_MAX_VALUES	8

/*
 * A Rust function.  Lua calls it as it calls a function in C, with nothing in
 * between.  It returns how many values it has pushed, or a negative number: then
 * C does the rest, when the function is gone, since what is left to do may raise.
 */
// ANCHOR: function
struct klua_function {
	const char *name;
	int (*call)(struct lua_State *thread);
	enum klua_context context;	/* the strictest that it is for */
	/*
	 * Where the result is an object: its class.  Rust gives a reference away
	 * with it.
	 */
	const struct klua_class *makes;
};
// ANCHOR_END: function

/* The negative numbers: an errno of the kernel, and these. */
enum klua_left {
	KLUA_BAD_ARGUMENT = -10000,	/* see klua_bad_argument() */
	KLUA_LEFT,			/* see klua_leave() */
	KLUA_BAD_FIELD,			/* see klua_bad_field() */
};

/*
 * For such a function, about its own call.  Each is short, and none raises.
 * Arguments are counted from 1; beyond the last one, they are nil.
 */
void *klua_data(struct lua_State *L);
struct klua *klua_of(struct lua_State *L);
void klua_argument(struct lua_State *L, unsigned int i, struct klua_value *value);
int klua_integer(struct lua_State *L, unsigned int i, long long *integer);
void klua_push_nil(struct lua_State *L);
void klua_push_boolean(struct lua_State *L, int boolean);
void klua_push_integer(struct lua_State *L, long long integer);
/*
 * It returns KLUA_LEFT, and this is its result: an object, if the function is one
 * that makes objects, and else a string.
 */
void klua_leave(struct lua_State *L, const struct klua_value *value);
/* It returns KLUA_BAD_ARGUMENT, and this is what is wrong. */
void klua_bad_argument(struct lua_State *L, unsigned int i, const char *expected);
/* It returns KLUA_BAD_FIELD, and this is what is wrong. */
void klua_bad_field(struct lua_State *thread, const char *name, const char *expected);

/* A library: what require() of its name gives. */
struct klua_library {
	const char *name;
	const struct klua_function *functions;		/* the last has no name */
	const struct klua_class *const *classes;	/* the last is NULL */
};

/* Rust's side of a state. */
struct klua_host {
	void *data;			/* the first argument of all that is called */
	void (*print)(void *data, const char *text, unsigned long length);
};

/*
 * Sleeps.  What runs in the state sleeps, too, whatever its context, until
 * klua_loaded().
 */
struct klua *klua_open(const struct klua_budget *budget, const struct klua_host *host,
		       const struct klua_library *const *libraries,
		       enum klua_context context);
void klua_loaded(struct klua *k);
void klua_close(struct klua *k);

/*
 * Each of these runs Lua.  0 if that ends well; else there are no results, and a
 * message, a string.  What these point to is there until klua_forget().
 */
int klua_run_text(struct klua *k, const char *name, const void *text, unsigned long length,
		  struct klua_value *result, struct klua_value *message);
/* The function is the global of that name; or, without a name, what `key` pins. */
int klua_call_function(struct klua *k, struct lua_State *thread, const char *name,
		       const void *key,
		       const struct klua_value *arguments, unsigned int count,
		       struct klua_value *results, unsigned int wanted,
		       struct klua_value *message);

/*
 * Keeps a value of the state under a key, an address, so that it is not collected:
 * an object, or, without one, what is at `index` of the stack.
 */
int klua_pin(struct klua *k, struct lua_State *thread, int index,
	     const struct klua_value *object, const void *key);
void klua_unpin(struct klua *k, const void *key);

/*
 * Reads a field of the table at `index`; no metamethod is called.  Nonzero: it is no
 * table, or there is no memory.
 */
int klua_field(struct klua *k, struct lua_State *thread, int index, const char *name,
	       struct klua_value *value);
void klua_forget(struct klua *k, struct lua_State *thread, int top);
int klua_top(struct klua *k, struct lua_State *thread);

/* From the next run on: microseconds on a CPU. */
void klua_limit_time(struct klua *k, unsigned long cpu_us);
void klua_use(const struct klua *k, struct klua_usage *usage);

/* Bytes of memory that all states together have. */
long klua_all_bytes(void);

unsigned long long klua_random(void);

/* May a script write one more line into the kernel's log?  Any context. */
int klua_may_log(void);

/* For tests: how much of its stack has the current thread used since klua_paint_stack()? */
void klua_paint_stack(void);
unsigned long klua_painted_stack_used(void);

#endif
