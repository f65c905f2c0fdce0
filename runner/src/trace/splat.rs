// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's own complaints, found in its log.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use super::log::LogLine;

/// One complaint of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splat {
    /// A short name, which a variant's expectation can ask for: `kasan`, `rcu-stall` ...
    pub kind: &'static str,
    /// What it means, in one sentence.
    pub meaning: &'static str,
    /// Index of the line in the log.
    pub line: usize,
}

/// What to look for: pattern, kind, meaning. The first row that matches names the line, so the
/// particular stands before the general. Patterns are those of kernel 7.x and a little wider.
#[rustfmt::skip]
pub const KINDS: &[(&str, &str, &str)] = &[
    (r"KASAN: ", "kasan",
     "Memory was touched that is not there for it: freed already, or out of bounds (the address sanitizer)."),
    (r"suspicious RCU usage|RCU used illegally", "rcu-usage",
     "An RCU-protected pointer was read, or RCU was used, where no read-side critical section or lock protects it."),
    (r"Voluntary context switch within RCU|WARNING: .*rcu_note_context_switch", "rcu-context-switch",
     "A thread went to sleep inside a read-side critical section."),
    (r"INFO: rcu\w* (?:self-)?detected (?:expedited )?stall|rcu\w* kthread starved for", "rcu-stall",
     "A grace period does not end: some reader stays in its critical section, or a CPU never passes a quiescent state."),
    (r"Double-freed CB", "double-call-rcu",
     "The same object was handed to call_rcu() a second time before its grace period ended."),
    (r"ODEBUG: .*object type: rcu_head", "odebug-rcu",
     "An object was handed to call_rcu() twice, or freed while its callback was still waiting."),
    (r"ODEBUG: .*(?:object type: |NOT annotated)", "odebug",
     "A kernel object was used against its life cycle, such as freeing it while it is active."),
    (r"INFO: task .+ blocked for more than", "hung-task",
     "A thread waits for so long that it probably waits for ever."),
    (r"possible circular locking", "lock-order",
     "Two locks were taken in opposite orders: two threads could block each other for ever."),
    (r"possible recursive locking", "lock-recursion",
     "A thread takes a lock, or one of the same class, that it already holds."),
    (r"inconsistent lock state|possible irq lock inversion|-unsafe lock order detected", "lock-irq",
     "A lock is taken with interrupts on in one place and inside an interrupt in another: it could block itself."),
    (r"Invalid wait context", "lock-context",
     "A lock that may sleep was taken where sleeping is not allowed."),
    (r"trying to register non-static key", "lock-unregistered",
     "A lock was used before it was initialised."),
    (r"sleeping function called from invalid context", "sleep-in-atomic",
     "A function that may sleep was called where sleeping is not allowed, such as under a spinlock or the read guard."),
    (r"scheduling while atomic", "schedule-in-atomic",
     "The scheduler was entered where sleeping is not allowed."),
    (r"soft lockup - CPU|Watchdog detected hard LOCKUP", "lockup",
     "A CPU ran kernel code for many seconds without letting anybody else run."),
    (r"rust_kernel: panicked", "rust-panic",
     "Rust code panicked: an index out of bounds, an overflow, an unwrap() of nothing."),
    (r"refcount_t: ", "refcount",
     "A reference count went below zero, overflowed, or came back from zero: probably a use after free."),
    (r"list_(?:add|del)(?:_valid)?(?: corruption|.*LIST_POISON)", "list-corruption",
     "A linked list is damaged: an element was added or removed twice, or freed while it was linked."),
    (r"UBSAN: ", "ubsan",
     "An operation without a defined result, such as a shift or an index out of range."),
    (r"kmemleak: [1-9]\d* new suspected memory leaks?", "memory-leak",
     "Memory was allocated that nothing points to any more: it was never freed."),
    (r"\bBUG \S+ \((?:Not tainted|Tainted)", "slab-corruption",
     "The allocator found its memory damaged: written after it was freed, freed twice, or left behind."),
    (r"kernel BUG at", "kernel-bug",
     "The kernel met a state that its authors held to be impossible, and stopped the thread."),
    (r"[Uu]nable to handle (?:kernel |page fault)|kernel NULL pointer dereference", "bad-pointer",
     "An address was used that points to nothing: a null, freed or made-up pointer."),
    (r"general protection fault[,:]", "protection-fault",
     "An impossible address was used, often a pointer read out of freed memory."),
    (r"Kernel panic - ", "panic",
     "The kernel gave up; the machine has stopped."),
    (r"\bOops: ", "oops",
     "The kernel killed the running thread after an error that it could not handle."),
    // WARN() and lockdep begin a line with it. Anywhere else it is a remark of the boot, such as
    // "Spectre V2 : WARNING: Unprivileged eBPF is enabled ...".
    (r"^WARNING: ", "warning",
     "A check in the kernel failed; the lines that follow say where."),
    (r"\bBUG: ", "bug",
     "The kernel found a mistake in its own code or in a module; the lines that follow say where."),
];

static PATTERNS: LazyLock<RegexSet> =
    LazyLock::new(|| RegexSet::new(KINDS.iter().map(|row| row.0)).unwrap());

/// The kernel's answer to the boot parameters, which quotes whatever they say.
static QUOTE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:Kernel command line|Command line|Unknown kernel command line parameters|Booting paravirtualized)\b").unwrap()
});

/// All complaints in a log, in its order. One accident usually gives several lines.
pub fn find(lines: &[LogLine]) -> Vec<Splat> {
    let indexed = lines.iter().enumerate();
    indexed
        .filter_map(|(line, LogLine { text, .. })| {
            let row = PATTERNS.matches(text).iter().next()?;
            let (_, kind, meaning) = KINDS[row];
            (!QUOTE.is_match(text)).then_some(Splat { kind, meaning, line })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::log;
    use super::*;

    #[rustfmt::skip]
    const LINES: &[(&str, &str)] = &[
        ("kasan", "BUG: KASAN: slab-use-after-free in rcu_list_lookup+0x91/0xc0 [rcu_list]"),
        ("kasan", "KASAN: null-ptr-deref in range [0x0000000000000010-0x0000000000000017]"),
        ("rcu-usage", "WARNING: suspicious RCU usage"),
        ("rcu-usage", "RCU used illegally from idle CPU!"),
        ("rcu-context-switch", "Voluntary context switch within RCU read-side critical section!"),
        ("rcu-context-switch", "WARNING: kernel/rcu/tree_plugin.h:332 at rcu_note_context_switch+0x5d3/0x7a0, CPU#1: cco1/87"),
        ("rcu-context-switch", "WARNING: CPU: 1 PID: 87 at kernel/rcu/tree_plugin.h:331 rcu_note_context_switch+0x5d3/0x7a0"),
        ("rcu-stall", "rcu: INFO: rcu_preempt self-detected stall on CPU"),
        ("rcu-stall", "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"),
        ("rcu-stall", "rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 1-...D } 21 jiffies s: 97 root: 0x2/."),
        ("rcu-stall", "INFO: rcu_tasks detected stalls on tasks:"),
        ("rcu-stall", "rcu: rcu_preempt kthread starved for 5252 jiffies! g1021 f0x0 RCU_GP_WAIT_FQS(5) ->state=0x0 ->cpu=1"),
        ("double-call-rcu", "rcu: call_rcu(): Double-freed CB ffff888003a1c200->free_node+0x0/0x40()!!!  slab kmalloc-64 start ffff888003a1c200"),
        ("odebug-rcu", "ODEBUG: activate active (active state 1) object: ffff888004d5c010 object type: rcu_head hint: 0x0"),
        ("odebug", "ODEBUG: free active (active state 0) object: ffff888004d5c010 object type: timer_list hint: tick+0x0/0x20"),
        ("odebug", "ODEBUG: object ffffc900001d7d88 is on stack ffffc900001d0000, but NOT annotated."),
        ("hung-task", "INFO: task rmmod:112 blocked for more than 20 seconds."),
        ("lock-order", "WARNING: possible circular locking dependency detected"),
        ("lock-recursion", "WARNING: possible recursive locking detected"),
        ("lock-irq", "WARNING: inconsistent lock state"),
        ("lock-irq", "WARNING: possible irq lock inversion dependency detected"),
        ("lock-irq", "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected"),
        ("lock-context", "[ BUG: Invalid wait context ]"),
        ("lock-unregistered", "INFO: trying to register non-static key."),
        ("sleep-in-atomic", "BUG: sleeping function called from invalid context at include/linux/sched/mm.h:321"),
        ("schedule-in-atomic", "BUG: scheduling while atomic: insmod/91/0x00000002"),
        ("lockup", "watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [cco1:87]"),
        ("lockup", "watchdog: Watchdog detected hard LOCKUP on cpu 0"),
        ("rust-panic", "rust_kernel: panicked at /work/stages/03-rcu-list/rcu_list.rs:12:5:"),
        ("refcount", "refcount_t: underflow; use-after-free."),
        ("list-corruption", "list_add corruption. next->prev should be prev (ffff888003a1c200), but was 0000000000000000. (next=ffff888003a1c240)."),
        ("list-corruption", "list_del corruption, ffff888003a1c200->next is LIST_POISON1 (dead000000000100)"),
        ("ubsan", "UBSAN: array-index-out-of-bounds in helpers.c:31:9"),
        ("memory-leak", "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)"),
        ("memory-leak", "kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)"),
        ("slab-corruption", "BUG kmalloc-64 (Tainted: G           O       ): Poison overwritten"),
        ("slab-corruption", "BUG rcu_node (Not tainted): Objects remaining on __kmem_cache_shutdown()"),
        ("kernel-bug", "kernel BUG at mm/slub.c:546!"),
        ("bad-pointer", "BUG: unable to handle page fault for address: ffffffffc0a01f20"),
        ("bad-pointer", "BUG: kernel NULL pointer dereference, address: 0000000000000010"),
        ("bad-pointer", "Unable to handle kernel paging request at virtual address dead000000000100"),
        ("protection-fault", "Oops: general protection fault, probably for non-canonical address 0xdffffc0000000002: 0000 [#1] SMP PTI"),
        ("panic", "Kernel panic - not syncing: Fatal exception"),
        ("panic", "---[ end Kernel panic - not syncing: hung_task: blocked tasks ]---"),
        ("oops", "Oops: Oops: 0002 [#1] SMP PTI"),
        ("oops", "Internal error: Oops: 0000000096000004 [#1] SMP"),
        ("warning", "WARNING: CPU: 0 PID: 84 at lib/debugobjects.c:615 debug_print_object+0x1a2/0x2b0"),
        ("warning", "WARNING: bad unlock balance detected!"),
        ("bug", "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!"),
        ("bug", "BUG: Bad page state in process insmod  pfn:03a1c"),
    ];

    fn kinds(text: &str) -> Vec<&'static str> {
        let stamped = format!("[   12.345678] {text}\r\n");
        let found = find(&log::parse(&stamped));
        found.iter().map(|splat| splat.kind).collect()
    }

    #[test]
    fn finds_each_kind() {
        for (kind, line) in LINES {
            assert_eq!(kinds(line), [*kind], "{line}");
        }
        for (_, kind, _) in KINDS {
            let tested = LINES.iter().any(|(k, _)| k == kind);
            assert!(tested, "no line tests {kind}");
        }
    }

    #[test]
    fn each_row_is_a_whole_one() {
        for (_, kind, meaning) in KINDS {
            assert!(meaning.ends_with('.') && meaning.len() < 130, "{kind}");
            let twice = KINDS.iter().filter(|row| row.1 == *kind).count();
            assert_eq!(twice, 1, "{kind}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn leaves_an_ordinary_boot_alone() {
        for line in [
            "Linux version 7.3.0 (root@vm) (clang version 22.1.0, LLD 22.1.0) #1 SMP PREEMPT_DYNAMIC KASAN",
            "Command line: console=ttyS0 oops=panic panic=-1 panic_on_warn=0 x=\"BUG: WARNING: KASAN: \"",
            "Kernel command line: console=ttyS0 earlyprintk=serial panic=-1 oops=panic hung_task_panic=0 BUG: x",
            "rcu: Preemptible hierarchical RCU implementation.",
            "rcu: \tRCU lockdep checking is enabled.",
            "rcu: \tRCU CPU stall warnings timeout set to 60 (rcu_cpu_stall_timeout).",
            "rcu: \tRCU callback double-/use-after-free debug is enabled.",
            "rcu: RCU calculated value of scheduler-enlistment delay is 100 jiffies.",
            "rcu: Hierarchical SRCU implementation.",
            "kasan: KernelAddressSanitizer initialized (generic)",
            "Running RCU self tests",
            "Running RCU synchronous self tests",
            "Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
            " memory used by lock dependency info: 24493 kB",
            "ODEBUG: selftest passed",
            "ODEBUG: Out of memory. ODEBUG disabled",
            "kmemleak: Kernel memory leak detector initialized (mem pool available: 15679)",
            "kmemleak: Automatic memory scanning thread started",
            "Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on, data leaks possible via Spectre v2 BHB attacks!",
            "RETBleed: WARNING: Spectre v2 mitigation leaves CPU vulnerable to RETBleed attacks, data leaks possible!",
            "x86/fpu: Supporting XSAVE feature 0x001: 'x87 floating point registers'",
            "NMI watchdog: Perf NMI watchdog permanently disabled",
            "watchdog: Delayed init of the lockup detector failed: -19",
            "list_test: passed",
            "debug: unmapping init memory",
            "DEBUG: verbose",
            "sched: RT throttling activated",
            "FAULT_INJECTION: forcing a failure.",
            "phased_state: loading out-of-tree module taints kernel.",
            "phased_state: [maint] grace period: which=1 ms=516",
            "reboot: Power down",
        ] {
            assert_eq!(kinds(line), [""; 0], "{line}");
        }
    }

    #[test]
    fn gives_the_index_of_each_line() {
        let log = log::parse("a\n[    1.000000] BUG: KASAN: x\nb\nKernel panic - not syncing: y");
        let found = find(&log);
        assert_eq!(found.iter().map(|s| s.line).collect::<Vec<_>>(), [1, 3]);
        assert!(found[0].meaning.contains("freed already"));
    }
}
