# SPDX-License-Identifier: GPL-2.0
#
# Lua inside a kernel module: included by the Kbuild of each stage that has it,
# with `klua` as the path of this folder, seen from that Kbuild.
#
# The sources are those of the package lua-src of crates.io (Lua is MIT licensed),
# exactly as they are; Cargo.toml and Cargo.lock beside this file say which.
# They are compiled from where they lie, and nothing is copied or patched: all
# that is ours comes in through headers that stand in front of Lua's own.

# Where the sources are.  The runner gives LUA_SRC=; without it they are
# expected in lua/sources, and this is the command that puts them there.
LUA_SRC ?= $(abspath $(src)/$(klua))/sources/lua-src/lua-5.5.1
ifeq ($(wildcard $(LUA_SRC)/lua.h),)
$(error There is no Lua in $(LUA_SRC).  Fetch it: \
	cargo vendor --locked --manifest-path $(abspath $(src)/$(klua))/Cargo.toml \
	$(abspath $(src)/$(klua))/sources)
endif

# Lua without what needs a floating-point unit, files or an operating system, and
# without the loader of precompiled code: neither lundump nor ldump is here.
klua-lua := lapi lcode lctype ldebug ldo lfunc lgc llex lmem lobject lopcodes \
	    lparser lstate lstring ltable ltm lvm lzio \
	    lauxlib lbaselib lcorolib lstrlib ltablib lutf8lib
# What takes their place.
klua-own := glue instead libs setjmp text

klua-lua-objs := $(patsubst %,$(klua)/src/%.o,$(klua-lua))
klua-own-objs := $(patsubst %,$(klua)/%.o,$(klua-own))
klua-objs     := $(klua-lua-objs) $(klua-own-objs)

ifdef KLUA_BUILT
# Somebody has them already: a build folder of the same stage for the same kernel.
# That saves most of the time where only what is in Rust was changed.
$(addprefix $(obj)/,$(klua-objs)): $(obj)/%: $(KLUA_BUILT)/% FORCE
	$(call if_changed,copy)
# (They are not ours to make.)
$(addprefix $(KLUA_BUILT)/,$(klua-objs)): ;
else
$(addprefix $(obj)/,$(klua-lua-objs)): $(obj)/$(klua)/src/%.o: $(LUA_SRC)/%.c FORCE
	$(call if_changed_rule,cc_o_c)
endif

# libc/ has the headers of a C library that Lua asks for.  The warnings are about
# Lua's style, not about its correctness.
klua-include := -I$(src)/$(klua)/libc -I$(src)/$(klua) -I$(LUA_SRC)
klua-cflags  := $(klua-include) -include $(src)/$(klua)/hooks.h \
		-fstrict-flex-arrays=0 -Wno-implicit-fallthrough \
		-Wno-unused-variable -Wno-unused-but-set-variable \
		$(call cc-disable-warning, tautological-compare)

# longjmp() leaves frames without returning from them: a tracer that counts
# calls and returns must not look at these functions.
$(foreach o,$(klua-lua-objs) $(klua)/instead.o $(klua)/libs.o, \
	$(eval CFLAGS_$(o) := $(klua-cflags)) \
	$(eval CFLAGS_REMOVE_$(o) := $(CC_FLAGS_FTRACE)))

# glue.c stands between: it sees the kernel's headers and Lua's.
CFLAGS_$(klua)/glue.o += $(klua-include)
CFLAGS_REMOVE_$(klua)/glue.o += $(CC_FLAGS_FTRACE)

# Which of the hooks in hooks.h a file of Lua gets.
CFLAGS_$(klua)/src/lvm.o     += -DKLUA_COUNTS_INSTRUCTIONS
CFLAGS_$(klua)/src/lstrlib.o += -DKLUA_COUNTS_MATCHING
CFLAGS_$(klua)/src/ltablib.o += -DKLUA_COUNTS_ELEMENTS
CFLAGS_$(klua)/src/lbaselib.o += -DKLUA_COUNTS_COLLECTING
CFLAGS_$(klua)/src/lutf8lib.o += -DKLUA_COUNTS_LOOPS
CFLAGS_$(klua)/src/lparser.o += -DKLUA_COUNTS_TOKENS
CFLAGS_$(klua)/src/lcode.o   += -DKLUA_COUNTS_JUMPS
CFLAGS_$(klua)/src/ldo.o     += -DKLUA_FINISHES_CALLS
CFLAGS_$(klua)/src/lapi.o    += -DKLUA_CHECKS_MESSAGES

ifdef CONFIG_KASAN_STACK
# The frames that longjmp() leaves would stay poisoned.  Kbuild puts CFLAGS_KASAN
# behind CFLAGS_x.o, so the switch has to be changed where it stands.
CFLAGS_KASAN := $(subst asan-stack=1,asan-stack=0,$(CFLAGS_KASAN))
endif

# --- Rust's view of glue.h, made anew when it changes ------------------------

BINDGEN ?= bindgen
quiet_cmd_klua_bindgen = BINDGEN $@
      cmd_klua_bindgen = $(BINDGEN) $< -o $@ --rust-target 1.85 --use-core \
	--ctypes-prefix ffi --no-layout-tests --with-derive-default --no-debug '.*' \
	--default-enum-style consts \
	-- --target=x86_64-linux-gnu -ffreestanding

klua-bindings := $(obj)/$(klua)/glue.rs
$(klua-bindings): $(src)/$(klua)/glue.h FORCE
	$(call if_changed,klua_bindgen)
targets += $(klua)/glue.rs
clean-files += $(klua)/glue.rs

# For the Kbuild that includes this:
#
#   $(obj)/my_module_main.o: $(klua-bindings)
#   $(obj)/my_module_main.o: export KLUA_BINDINGS = $(abspath $(klua-bindings))
