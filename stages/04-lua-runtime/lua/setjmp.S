/* SPDX-License-Identifier: GPL-2.0 */
/*
 * setjmp() and longjmp() for Lua's errors, on x86-64.
 *
 * klua_setjmp() remembers what a function has to find as it was when it is
 * returned to: six registers, the stack pointer and the return address.
 *
 * klua_longjmp() builds the frame again that klua_setjmp() was called with, and
 * returns from it.  It leaves through RET and not through an indirect jump: so the
 * place where it lands needs no ENDBR (IBT), no retpoline is needed, and where the
 * kernel returns through a thunk, RET is that thunk.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/nospec-branch.h>
#include <asm/unwind_hints.h>

/* int klua_setjmp(jmp_buf b): 0, and 1 when klua_longjmp() comes back */
SYM_FUNC_START(klua_setjmp)
	movq	(%rsp), %rax		/* the return address */
	leaq	8(%rsp), %rdx		/* %rsp once we have returned */
	movq	%rbx, 0(%rdi)
	movq	%rbp, 8(%rdi)
	movq	%r12, 16(%rdi)
	movq	%r13, 24(%rdi)
	movq	%r14, 32(%rdi)
	movq	%r15, 40(%rdi)
	movq	%rdx, 48(%rdi)
	movq	%rax, 56(%rdi)
	xorl	%eax, %eax
	RET
SYM_FUNC_END(klua_setjmp)

/* void klua_longjmp(jmp_buf b): does not return */
SYM_FUNC_START(klua_longjmp)
	movq	56(%rdi), %rax
	movq	48(%rdi), %rdx
	movq	0(%rdi), %rbx
	movq	8(%rdi), %rbp
	movq	16(%rdi), %r12
	movq	24(%rdi), %r13
	movq	32(%rdi), %r14
	movq	40(%rdi), %r15
	/*
	 * The slot is below the frame that we go back to, but above %rsp still: an
	 * interrupt that comes before the next instruction does not overwrite it.
	 */
	movq	%rax, -8(%rdx)
	leaq	-8(%rdx), %rsp
	UNWIND_HINT_FUNC		/* for the unwinder: as if just called */
	movl	$1, %eax
	RET
SYM_FUNC_END(klua_longjmp)
