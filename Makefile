# SPDX-License-Identifier: MIT OR Apache-2.0
# The front door, and nothing else: every goal is handed to the runner, which
# knows what it means.  `make` alone prints the goals.
#
# Goals are words, not files: `make stage-1 run` is one call of the runner with
# two words, made by the first goal; the other words only have to exist.
# That is also why `make -j` changes nothing.  Variables (KERNEL=fast,
# ARGS="cco_ms=2000") reach the runner through the environment.

WORDS := $(or $(MAKECMDGOALS),help)
FIRST := $(firstword $(WORDS))

# For the shell's completion; the runner explains all others.
STAGES    := stage-1 stage-2 stage-3 stage-4 stage-5
VERBS     := run shell debug timeline bless break refuse torture test
LABS      := lab check watch hint solution reset review rust-analyzer
EVERYBODY := help doctor progress kernel kernel-pack book serve test torture litmus bench bench-compare bench-bless clean uninstall

.PHONY: all $(WORDS) $(STAGES) $(VERBS) $(LABS) $(EVERYBODY)
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

$(FIRST):
	@sh runner/bootstrap.sh $(WORDS)

$(filter-out $(FIRST),$(sort $(WORDS) $(STAGES) $(VERBS) $(LABS) $(EVERYBODY))):
	@:

# Keeps GNU make from looking for a way to remake this file.
Makefile: ;
