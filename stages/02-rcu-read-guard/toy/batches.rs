// SPDX-License-Identifier: GPL-2.0

//! How Linux 2.6.11 did it: an RCU whose CPUs report by themselves.
//!
//! No updater goes anywhere. It leaves a callback with its CPU, and goes on, or sleeps. The CPUs
//! find out together when a grace period is over; how they keep the books is in
//! [`tick`](super::tick).
//!
//! In 2.6.11 a CPU's tick is its timer interrupt, with a tasklet for the longer part. Quiescent
//! states are noted in two places: in `schedule()`, where one thread gives way to another, and in
//! the timer interrupt, if what it has interrupted is user mode or the idle loop. A module can get
//! into neither. So here the tick is a thread for each CPU, which sleeps a little, and then
//! looks. It runs on its CPU, so its CPU has switched to it, which no reader lets happen: that it
//! runs at all is a quiescent state.
//!
//! There callbacks are called in a softirq, and must not sleep. Here they may, but should not: the
//! tick waits for them, and all grace periods for the tick.

use kernel::{
    cpu::CpuId,
    list::ListArc,
    new_spinlock,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Completion,
        SpinLock, //
    },
    task::might_sleep,
    time::{
        delay::fsleep,
        Delta, //
    },
};

use super::{
    callback::Callback,
    cpus::{
        self,
        NoHotplug, //
    },
    guard::ToyRcu,
    tick::{
        Control,
        PerCpu, //
    },
};
use crate::kthread::{
    KThread,
    StopToken, //
};

// ANCHOR: state
/// What the ticks work on.
#[pin_data]
struct State {
    /// Each CPU that is online.
    cpus: KVec<Cpu>,
    /// Locked after that of a CPU, where both are.
    #[pin]
    control: SpinLock<Control>,
}

struct Cpu {
    id: CpuId,
    data: Pin<KBox<SpinLock<PerCpu>>>,
}
// ANCHOR_END: state

impl State {
    fn index_of(&self, id: CpuId) -> Option<usize> {
        self.cpus.iter().position(|cpu| cpu.id == id)
    }
}

/// The time between two ticks. (On x86, 2.6.11 had 1000 timer interrupts in a second, too.)
const TICK: Delta = Delta::from_millis(1);

// ANCHOR: ticks
/// The thread of a CPU: its ticks, one after the other.
fn ticks(state: &State, cpu: &Cpu, stop: &StopToken) -> Result {
    // A timer interrupt does not queue up for the CPU either.
    cpus::run_first();

    while !stop.should_stop() {
        fsleep(TICK);
        // It is there already, unless it is new, or somebody moved it: a report from elsewhere
        // would be about the wrong CPU. (An error says that the CPU is off, while the machine is
        // suspended. Grace periods wait until it is back.)
        if cpus::go_to(cpu.id).is_err() {
            continue;
        }

        let mut done = {
            let mut mine = cpu.data.lock();
            // It has just switched to this thread.
            mine.note_context_switch();
            mine.tick(&mut state.control.lock())
        };
        // No lock is held: a callback may leave another one.
        while let Some(callback) = done.pop_front() {
            Callback::invoke(callback);
        }
    }
    Ok(())
}
// ANCHOR_END: ticks

// ANCHOR: batches
/// 2.6.11's scheme.
///
/// When it is dropped, it waits until the last callback was called. Nobody can be waiting by then:
/// who waits borrows it. Dropping it sleeps.
pub struct Batches {
    /// Fields are dropped in this order: the threads are joined first.
    _ticks: KVec<KThread>,
    state: Arc<State>,
    _cpus_are_final: NoHotplug,
}
// ANCHOR_END: batches

impl Batches {
    /// Makes one, with a thread for each CPU. Sleeps.
    pub fn new() -> Result<Arc<Self>> {
        let cpus_are_final = NoHotplug::new();

        let mut cpus = KVec::new();
        for (index, id) in cpus::online().enumerate() {
            let data = KBox::pin_init(new_spinlock!(PerCpu::new(id, index)), GFP_KERNEL)?;
            cpus.push(Cpu { id, data }, GFP_KERNEL)?;
        }
        let control = Control::new(cpus.len(), GFP_KERNEL)?;
        let state = pin_init!(State {
            cpus,
            control <- new_spinlock!(control),
        });
        let state = Arc::pin_init(state, GFP_KERNEL)?;

        let mut threads = KVec::new();
        for (index, cpu) in state.cpus.iter().enumerate() {
            let name = CString::try_from_fmt(fmt!("toy_tick/{}", cpu.id.as_u32()))?;
            let s = state.clone();
            let thread = KThread::spawn(&name, move |stop| ticks(&s, &s.cpus[index], stop))?;
            threads.push(thread, GFP_KERNEL)?;
        }

        let toy = Self {
            _ticks: threads,
            state,
            _cpus_are_final: cpus_are_final,
        };
        Ok(Arc::new(toy, GFP_KERNEL)?)
    }

    // ANCHOR: call
    /// Has `callback` called when a grace period is over that begins after this.
    ///
    /// Does not sleep, and cannot fail. Not in an interrupt; but in a critical section it may be.
    #[doc(alias = "call_rcu")]
    pub fn call(&self, callback: ListArc<Callback>) {
        let cpus = &self.state.cpus;
        // This thread may move meanwhile: then it is another CPU that has the callback, which is
        // as well. (A CPU that is not there does not run us.)
        let here = self.state.index_of(CpuId::current()).unwrap_or(0);
        cpus[here].data.lock().push(callback);
    }
    // ANCHOR_END: call

    /// Whether a batch was ever begun, and `cpu` does not owe anything for the last one. Not in an
    /// interrupt.
    pub fn has_reported(&self, cpu: CpuId) -> bool {
        let index = self.state.index_of(cpu);
        index.is_some_and(|index| self.state.control.lock().has_reported(index))
    }

    /// Begins or ends to write into the log what happens. Not in an interrupt.
    pub fn narrate(&self, narrate: bool) {
        self.state.control.lock().narrate = narrate;
    }
}

// ANCHOR: synchronize
impl ToyRcu for Batches {
    const NAME: &'static str = "batches";

    fn synchronize(&self) -> Result {
        might_sleep();
        let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        self.call(Callback::wake(done.clone())?);
        done.wait_for_completion();
        Ok(())
    }
}
// ANCHOR_END: synchronize

impl Drop for Batches {
    fn drop(&mut self) {
        // No callback comes any more, as `call` needs a reference to this. One that is off its
        // list is called by its tick, which is joined after this.
        let cpus = &self.state.cpus;
        while cpus.iter().any(|cpu| cpu.data.lock().has_callbacks()) {
            fsleep(TICK);
        }
    }
}
