// SPDX-License-Identifier: GPL-2.0

//! Processes and their threads, as a reader finds them: valid while the section lasts, never more.
//!
//! [`for_each_process`] and [`for_each_thread`] walk the kernel's own lists and stop nobody:
//! processes begin, run another program and end meanwhile. [`TaskExt`] is what can be asked of a
//! [`Task`] on the way. Whoever wants to keep a task beyond the section takes a reference to it, as
//! [`find_process`] does; there is no other way out.
//!
//! # What a walk promises
//!
//! - What is on the list from the walk's beginning to its end is found, and is found once.
//! - What comes or goes meanwhile is found once, or not at all.
//! - What is found need not be on the list any more; its memory is there all the same.
//!
//! It is no snapshot: there may never have been a moment at which just these processes existed.
//! And what is asked of a task are several questions at several moments. Two answers need not fit
//! each other, such as the number of threads and the threads that a walk finds.
//!
//! # What else it stands on
//!
//! All here is sound except for the holes named in [`guard`](super::guard): a guard that was
//! leaked, slept under or waited under is no evidence, and a task found by it may be freed.
//!
//! Whoever is given a [`Task`] can call all that the kernel crate has for it. Two of its functions
//! were made for tasks that one knows, and are no good for those that are found: [`Task::pid`] is a
//! plain load of a number that does change, when a thread that is not the leader calls `execve()`;
//! here it is `tgid()` that is asked for. And [`Task::wake_up`] wakes anybody, also a kernel thread
//! that waits to be started: see [`kthread`](super::kthread).
//!
//! Some of what is read here is written by C with plain stores, under locks that readers do not
//! take. A load here is a `READ_ONCE()` of one byte, one `int` or one pointer, all of them aligned.
//! That compilers do not tear the stores of those is what the kernel relies on everywhere, and so
//! do we.
//!
//! C header: [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)

use core::{
    fmt::Write,
    iter::FusedIterator,
    marker::PhantomData,
    ptr, //
};

use kernel::{
    bindings,
    container_of,
    ffi::{
        c_char,
        c_void, //
    },
    fmt,
    sync::{
        aref::ARef,
        atomic::{
            atomic_load,
            Relaxed, //
        },
    },
    task::{
        Pid,
        Task, //
    }, //
};

use super::guard::{
    rcu_read,
    ReadSide, //
};

extern "C" {
    /// Returns the letter that stands for the state of a task. Any context.
    ///
    /// `task` must be a valid `task_struct`. (It is opaque here: the real type has parts that
    /// rustc does not trust with C.)
    ///
    /// In C it is an inline function: `helpers.c` calls it.
    fn helper_task_state(task: *mut c_void) -> c_char;
}

// --- The walk -----------------------------------------------------------------------------------

// ANCHOR: walk
/// A walk along a list of the kernel that only ever changes by the functions of `rculist.h`.
///
/// # Invariants
///
/// - For `'g`, this thread is in a read-side critical section.
/// - `head` is the head of such a list. It is valid for `'g`, and is on the list for ever.
/// - `at` is `head`, or a node that was on the list in this section; or null when the walk is over.
struct Walk<'g> {
    head: *mut bindings::list_head,
    at: *mut bindings::list_head,
    section: PhantomData<&'g ()>,
}

impl<'g> Walk<'g> {
    /// Begins before the first node.
    ///
    /// # Safety
    ///
    /// `head` must be as the type invariants say.
    unsafe fn new(head: *mut bindings::list_head, _guard: &'g impl ReadSide) -> Self {
        // INVARIANT: The guard is evidence of the section; the rest is for the caller to see to.
        Self {
            head,
            at: head,
            section: PhantomData,
        }
    }

    /// Goes to the next node. Each that is returned is valid for `'g`.
    #[doc(alias = "list_for_each_entry_rcu")]
    fn next(&mut self) -> Option<*mut bindings::list_head> {
        // ANCHOR: walk-next
        if self.at.is_null() {
            return None;
        }

        // Ordering: whoever put a node on the list initialised it first and published it with a
        // release. What is read through `next` depends on this load by its address, which orders
        // the two; `Relaxed` is what C's `READ_ONCE()` is.
        //
        // SAFETY: By the type invariants, `at` is valid. A node that has been taken off since has
        // its `next` still: `list_del_rcu()` leaves it, for readers such as this one. Stores to
        // it are atomic: `rcu_assign_pointer()` and `WRITE_ONCE()`.
        let next = unsafe { atomic_load(&raw mut (*self.at).next, Relaxed) };

        // Only what is *not* the head is dereferenced. After a comparison that says "equal" the
        // compiler may use the one address for the other, and the dependency would be gone.
        if ptr::eq(next, self.head) {
            self.at = ptr::null_mut();
            return None;
        }

        // INVARIANT: `next` was on the list when the node before it was, or has come since; and it
        // can only have been taken off since this section began:
        //
        //   CPU 0: reader                    CPU 1: the end of B, on the list A, B, C
        //   -------------------------        ----------------------------------------
        //   rcu_read_lock()
        //   finds A
        //   loads A.next: it is B            A.next = C
        //   ... uses B ...                   call_rcu()
        //   loads B.next: it is C
        //   rcu_read_unlock()  ----------->  B is freed
        //
        // Had the grace period not waited for this section, the section would have begun after
        // `A.next = C`, and have found C. And if A itself is off the list, then it went before B
        // did, or else it would lead to C: A was found in this section, so both have gone since.
        self.at = next;
        Some(next)
        // ANCHOR_END: walk-next
    }
}
// ANCHOR_END: walk

// ANCHOR: for-each-process
/// The processes that are found on the kernel's list of them, each as the task that leads it.
///
/// The walk begins with the process that has been there longest, the first of user space, and ends
/// with the one that came last. The idle tasks, whose pid is 0, are no processes. See the
/// [module](self) for what is promised.
///
/// A process that has ended is on the list until its parent has asked for its exit code. If
/// another thread of a process calls `execve()`, that one becomes the leader and takes the other's
/// place on the list: it is the same process still, with the same `tgid`, and is found once.
///
/// Any context; does not sleep.
#[doc(alias = "next_task")]
pub fn for_each_process<'g>(guard: &'g impl ReadSide) -> Processes<'g> {
    let init_task = &raw mut bindings::init_task;

    // SAFETY: The list of processes begins and ends at `init_task`, which is a static. Under
    // `tasklist_lock`, fork puts a process on it with `list_add_tail_rcu()`, exec puts one in the
    // place of another with `list_replace_rcu()`, and `release_task()` takes one off with
    // `list_del_rcu()`.
    // INVARIANT: That is the list of processes.
    Processes(unsafe { Walk::new(&raw mut (*init_task).tasks, guard) })
}

/// The iterator of [`for_each_process`].
///
/// # Invariants
///
/// The walk is along the list of processes, whose nodes are the `tasks` of the leaders.
#[must_use = "nobody walks until it is asked for the next process"]
pub struct Processes<'g>(Walk<'g>);

impl<'g> Iterator for Processes<'g> {
    type Item = &'g Task;

    fn next(&mut self) -> Option<&'g Task> {
        // ANCHOR: processes-next
        let node = self.0.next()?;

        // SAFETY: The node is valid, and by the type invariants it is the `tasks` of a task.
        let task = unsafe { container_of!(node, bindings::task_struct, tasks) };
        // SAFETY: It was on the list in this section.
        Some(unsafe { found(task) })
        // ANCHOR_END: processes-next
    }
}
// ANCHOR_END: for-each-process

// ANCHOR: for-each-thread
/// The threads that are found on the list of `process`, which may be any of its threads.
///
/// There is at least the leader, until the process is over and its parent has asked for the exit
/// code: then there is none. See the [module](self) for what is promised.
///
/// The walk always comes to its end. Its head is in the `signal_struct`, which all the threads have
/// in common and which is there as long as any task of them is. (C once walked from a thread until
/// it came back to that thread. If that one was taken off meanwhile, nobody came back to it.)
///
/// Any context; does not sleep.
pub fn for_each_thread<'g>(process: &'g Task, guard: &'g impl ReadSide) -> Threads<'g> {
    // SAFETY: The task is valid. Its `signal` was set before others knew of it, and never changes.
    let signal = unsafe { (*process.as_ptr()).signal };

    // SAFETY: A task has a reference to its `signal_struct`, which `__put_task_struct()` gives up
    // when the task itself is about to be freed; this task is borrowed for `'g`. Its list has the
    // leader from the beginning, before others know of either; then it changes under
    // `tasklist_lock`, with `list_add_tail_rcu()` and `list_del_rcu()`.
    // INVARIANT: That is the list of the threads of a process.
    Threads(unsafe { Walk::new(&raw mut (*signal).thread_head, guard) })
}

/// The iterator of [`for_each_thread`].
///
/// # Invariants
///
/// The walk is along the threads of a process, whose nodes are the `thread_node` of each.
#[must_use = "nobody walks until it is asked for the next thread"]
pub struct Threads<'g>(Walk<'g>);

impl<'g> Iterator for Threads<'g> {
    type Item = &'g Task;

    fn next(&mut self) -> Option<&'g Task> {
        let node = self.0.next()?;

        // SAFETY: The node is valid, and by the type invariants it is the `thread_node` of a task.
        let task = unsafe { container_of!(node, bindings::task_struct, thread_node) };
        // SAFETY: It was on the list in this section.
        Some(unsafe { found(task) })
    }
}
// ANCHOR_END: for-each-thread

// When a walk is over, it stays so.
impl FusedIterator for Processes<'_> {}
impl FusedIterator for Threads<'_> {}

// ANCHOR: found
/// Makes a reference of what a reader has found.
///
/// # Safety
///
/// For `'g`, this thread must be in a read-side critical section, and in this section `task` must
/// have been on the list of processes, or on its process's list of threads.
unsafe fn found<'g>(task: *mut bindings::task_struct) -> &'g Task {
    // SAFETY: It was initialised before it was put on the list. Being on the list goes with a
    // reference, which is given up in a callback only, a grace period after it was taken off:
    //
    //   CPU 0: reader                    CPU 1: release_task()
    //   -------------------------        -----------------------------
    //   rcu_read_lock()
    //   finds the task                   list_del_rcu()
    //   ... uses it ...                  put_task_struct_rcu_user()
    //   ... uses it ...                    call_rcu()
    //   rcu_read_unlock()  ----------->  delayed_put_task_struct()
    //                                      put_task_struct()
    //
    // So for all of `'g` the task is not just memory that is there: its reference count is not
    // zero, which is the invariant of `Task`, and what allows a reader to take another reference.
    // `Task` is a transparent wrapper of `task_struct`.
    unsafe { &*task.cast::<Task>() }
}
// ANCHOR_END: found

// ANCHOR: find-process
/// Finds a process by its pid, and keeps it: who has the reference has the task, in no section.
///
/// What is kept is a task, not a process that runs: it may end at any time, and then it is a task
/// that has ended. The pid is that of the initial namespace, which all of this file deals in. Any
/// context; does not sleep. (It walks the whole list. C has a table for this:
/// `find_pid_ns()`.)
pub fn find_process(pid: Pid) -> Option<ARef<Task>> {
    rcu_read(|guard| {
        let task = for_each_process(guard).find(|task| task.tgid() == pid)?;
        // This takes the reference, and has to be in here.
        Some(ARef::from(task))
    })
}
// ANCHOR_END: find-process

// --- What can be asked of a task ----------------------------------------------------------------

// ANCHOR: task-ext
/// What can be asked of a task, beyond what the kernel crate's [`Task`] has.
///
/// Each answer was right at some moment while it was asked for, and may be out of date at once.
/// [`Task::tgid`] is the one that stays.
pub trait TaskExt: sealed::Sealed {
    /// Returns a copy of the task's name. Any context.
    #[doc(alias = "get_task_comm")]
    fn comm(&self) -> Comm;

    /// Returns the parent's pid, its `tgid`, or `None` if the task is not alive any more. Any
    /// context.
    ///
    /// It is 0 for the two that the kernel itself started: the first process of user space, and
    /// `kthreadd`.
    #[doc(alias = "task_ppid_nr")]
    fn parent_pid(&self, guard: &impl ReadSide) -> Option<Pid>;

    /// Returns the letter that `ps` shows for the task's state. Any context.
    #[doc(alias = "task_state_to_char")]
    fn state(&self) -> char;

    /// Returns how many threads the task's process has: none if it is over. Any context.
    #[doc(alias = "get_nr_threads")]
    fn threads(&self) -> u32;

    /// Returns whether the task is a kernel thread, one that has no user space. Any context.
    #[doc(alias = "PF_KTHREAD")]
    fn is_kernel_thread(&self) -> bool;
}
// ANCHOR_END: task-ext

mod sealed {
    /// Keeps [`TaskExt`](super::TaskExt) to [`Task`](super::Task).
    pub trait Sealed {}
    impl Sealed for super::Task {}
}

impl TaskExt for Task {
    // ANCHOR: comm
    fn comm(&self) -> Comm {
        // SAFETY: The task is valid.
        let first = unsafe { &raw mut (*self.as_ptr()).comm }.cast::<i8>();

        // A task can be renamed at any time, by `execve()`, by `prctl()` or in /proc; C copies
        // over the old name with no lock, and readers take none. So this reads byte by byte, and
        // may get a part of either name. A reference to the field, such as a `&CStr`, would say
        // that it does not change: that is why nothing here borrows it.
        let mut bytes = [0; COMM_LEN];
        for (i, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: It is within the field. Nobody tears a byte.
            *byte = unsafe { atomic_load(first.add(i), Relaxed) } as u8;
            // What comes after the end may be the rest of the other name.
            if *byte == 0 {
                break;
            }
        }
        Comm(bytes)
    }
    // ANCHOR_END: comm

    // ANCHOR: parent-pid
    fn parent_pid(&self, _guard: &impl ReadSide) -> Option<Pid> {
        let task = self.as_ptr();

        // This is `pid_alive()`: the task has lost its `struct pid` when it was released.
        //
        // SAFETY: The task is valid.
        let pid = unsafe { atomic_load(&raw mut (*task).thread_pid, Relaxed) };
        if pid.is_null() {
            return None;
        }
        // SAFETY: As above.
        let parent = unsafe { atomic_load(&raw mut (*task).real_parent, Relaxed) };

        // A parent that ends gives its children to another one. But a task that was released is
        // nobody's child any more, and keeps the pointer to the parent that it had last. That one
        // may be long gone if this is not a task that was found just now, but one that was kept.
        //
        // SAFETY: The parent is valid, for this section. Suppose that it was freed. Then a grace
        // period has passed since it was released, one that did not wait for this section. So the
        // section has begun after that, and sees what was stored before. If the task was alive
        // when its parent was released, that is another `real_parent`. If it was not, that is a
        // `thread_pid` of null. Neither was seen here.
        //
        // A parent's `tgid` does not change.
        let parent = unsafe { &*parent.cast::<Task>() };
        Some(parent.tgid())
    }
    // ANCHOR_END: parent-pid

    fn state(&self) -> char {
        // SAFETY: The task is valid.
        let letter = unsafe { helper_task_state(self.as_ptr().cast()) };
        letter.into()
    }

    fn threads(&self) -> u32 {
        // SAFETY: The task is valid, and so is its `signal`: see `for_each_thread()`.
        let threads = unsafe {
            let signal = (*self.as_ptr()).signal;
            atomic_load(&raw mut (*signal).nr_threads, Relaxed)
        };
        threads.try_into().unwrap_or(0)
    }

    fn is_kernel_thread(&self) -> bool {
        // SAFETY: The task is valid.
        let flags = unsafe { atomic_load(&raw mut (*self.as_ptr()).flags, Relaxed) };
        flags & bindings::PF_KTHREAD != 0
    }
}

// --- A name -------------------------------------------------------------------------------------

/// How long a task's name can be, with the NUL byte at its end.
const COMM_LEN: usize = bindings::TASK_COMM_LEN as usize;

// ANCHOR: comm-type
/// A copy of a task's name, which its owner is free to choose: any bytes, but for NUL.
///
/// It is shown so that it stays on its line and can be told from any other name: what is not
/// printable ASCII as `\x1b`, a newline as `\n`, a backslash as `\\`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Comm([u8; COMM_LEN]);

impl Comm {
    /// Returns the name, without the NUL byte.
    pub fn as_bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|&byte| byte == 0);
        &self.0[..end.unwrap_or(COMM_LEN)]
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.as_bytes() {
            match byte {
                b'\n' => f.write_str("\\n")?,
                b'\\' => f.write_str("\\\\")?,
                b' '..=b'~' => f.write_char(byte.into())?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}
// ANCHOR_END: comm-type
