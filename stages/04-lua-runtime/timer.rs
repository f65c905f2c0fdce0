// SPDX-License-Identifier: GPL-2.0

//! Timers that call a function of a script: an example of runtimes that are not for threads.
//!
//! ```text
//!   thread                     softirq or interrupt
//!   ------                     --------------------
//!   Runtime::new()
//!   attach()
//!   start()        ---------->  tick 1: run() -> lend() -> tick(t) in Lua
//!   wait()                      tick 2
//!                  <----------  tick 3: complete_all()
//!   drop: cancels, and waits
//!         for the callback
//! ```

use kernel::{
    impl_has_hr_timer,
    prelude::*,
    str::BStr,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow,
        Completion,
        UniqueArc, //
    },
    time::{
        hrtimer::{
            ArcHrTimerHandle,
            HrTimer,
            HrTimerCallback,
            HrTimerCallbackContext,
            HrTimerMode,
            HrTimerPointer,
            HrTimerRestart,
            RelativeMode,
            RelativeSoftMode, //
        },
        Delta,
        Instant,
        Monotonic, //
    },
};

use super::{
    context::{
        self,
        Anywhere,
        Context,
        HardIrq,
        SoftIrq, //
    },
    lua::{
        Budget,
        Call,
        Class,
        ClassOf,
        Entry,
        Failure,
        Function,
        Message,
        Returned,
        Single,
        Value, //
    },
    object::{
        Attached,
        Lent, //
    },
    params::Params,
    runtime::Runtime,
    LIBRARIES, //
};

// --- What a script gets -------------------------------------------------------------------------

/// One call of a timer.
struct Tick {
    n: u32,
}

/// The object that a timer gives to its script, each time the same.
type TickObject = Lent<Tick, Anywhere>;

static TICK: ClassOf<TickObject> = ClassOf::new(c"tick", &[Entry::of::<TickN>(), Entry::END]);

impl Class for TickObject {
    type Context = Anywhere;
    type Sharing = Single;

    fn class() -> &'static ClassOf<Self> {
        &TICK
    }
}

/// `tick:n()`: which tick is it?
struct TickN;

impl Function for TickN {
    type Context = Anywhere;
    const NAME: &'static CStr = c"n";

    fn call(call: &mut Call<'_, Anywhere>) -> Result<Returned, Failure> {
        let n = call.object::<TickObject>(1)?.with(|tick| tick.n)?;
        Ok(Returned::Integer(n.into()))
    }
}

// --- The timer ----------------------------------------------------------------------------------

// ANCHOR: timer-context
/// A context in which the kernel calls timers.
pub(crate) trait TimerContext: Context {
    /// The kind of timer that calls there.
    type Mode: HrTimerMode<Clock = Monotonic, Expires = Delta>;
}

impl TimerContext for SoftIrq {
    type Mode = RelativeSoftMode<Monotonic>;
}

/// (With `RelativeHardMode` it would be in the interrupt on each kernel, also where spin locks
/// sleep. There nothing may be allocated, which lockdep reports on any kernel.)
impl TimerContext for HardIrq {
    type Mode = RelativeMode<Monotonic>;
}
// ANCHOR_END: timer-context

// ANCHOR: ticker
/// A timer that calls `tick()` of a script, some times.
#[pin_data]
pub(crate) struct Ticker<C: TimerContext> {
    #[pin]
    timer: HrTimer<Self>,
    runtime: Arc<Runtime<C>>,
    object: Attached<TickObject>,
    interval: Delta,
    ticks: u32,
    ticked: Atomic<u32>,
    longest_ns: Atomic<i64>,
    #[pin]
    done: Completion,
}

impl<C: TimerContext> HrTimerCallback for Ticker<C> {
    type Pointer<'a> = Arc<Self>;

    fn run(this: ArcBorrow<'_, Self>, mut ctx: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        let n = this.ticked.load(Relaxed) + 1;
        let began = Instant::<Monotonic>::now();
        let fine = this.tick(&Tick { n });
        let took = began.elapsed().as_nanos();
        this.longest_ns
            .store(this.longest_ns.load(Relaxed).max(took), Relaxed);
        this.ticked.store(n, Relaxed);
        if fine && n < this.ticks {
            ctx.forward_now(this.interval);
            return HrTimerRestart::Restart;
        }
        this.done.complete_all();
        HrTimerRestart::NoRestart
    }
}
// ANCHOR_END: ticker

impl_has_hr_timer! {
    impl{C: TimerContext} HasHrTimer<Self> for Ticker<C> {
        mode: C::Mode, field: self.timer
    }
}

impl<C: TimerContext> Ticker<C> {
    // ANCHOR: tick
    /// Calls the script. Returns whether to go on.
    fn tick(&self, tick: &Tick) -> bool {
        let (runtime, here, n) = (C::LEVEL.name(), context::here(), tick.n);
        let result = self.runtime.run(|lua| {
            self.object.lend(tick, || {
                lua.call(c"tick", &[self.object.value()], |result| match result {
                    Ok([Value::Integer(sum), Value::Bytes(context)]) => {
                        let context = BStr::from_bytes(context);
                        pr_info!("[timer] tick: runtime={runtime} here={here} n={n} sum={sum} context={context}\n");
                        true
                    }
                    Ok(_) => false,
                    Err(Message(text)) => {
                        let text = BStr::from_bytes(text);
                        pr_info!("[timer] error: runtime={runtime} here={here} n={n} message={text}\n");
                        false
                    }
                })
            })
        });
        matches!(result, Ok(Ok(true)))
    }
    // ANCHOR_END: tick
}

/// A timer that runs. Dropping it ends it.
pub(crate) struct Ticking<C: TimerContext> {
    ticker: Arc<Ticker<C>>,
    _handle: ArcHrTimerHandle<Ticker<C>>,
}

impl<C: TimerContext> Ticking<C> {
    /// Loads a script and has its `tick()` called `ticks` times.
    pub(crate) fn start(
        name: &CStr,
        script: &[u8],
        budget: &Budget,
        interval: Delta,
        ticks: u32,
    ) -> Result<Self>
    where
        Anywhere: super::context::Covers<C>,
    {
        let runtime = Runtime::<C>::new(name, script, budget, &LIBRARIES)?;
        let object = UniqueArc::pin_init(TickObject::new(), GFP_KERNEL)?;
        let object = runtime.run(|lua| lua.attach(object))??;
        pr_info!("[timer] loaded: runtime={}\n", C::LEVEL.name());
        let ticker = Arc::pin_init(
            pin_init!(Ticker {
                timer <- HrTimer::new(),
                runtime,
                object,
                interval,
                ticks,
                ticked: Atomic::new(0),
                longest_ns: Atomic::new(0),
                done <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;
        let handle = ticker.clone().start(interval);
        Ok(Self {
            ticker,
            _handle: handle,
        })
    }

    /// Waits until it has ticked that many times, or its script has failed. Then the script is
    /// called once more, from this thread.
    pub(crate) fn wait(&self) -> Result {
        let Ticker {
            done,
            runtime,
            ticked,
            longest_ns,
            ..
        } = &*self.ticker;
        done.wait_for_completion();
        let of = C::LEVEL.name();
        runtime.run(|lua| {
            lua.call(c"late", &[], |result| match result {
                Ok([Value::Integer(n)]) => pr_info!("[timer] late: runtime={of} n={n}\n"),
                Ok([_]) => (),
                Err(Message(text)) => {
                    let text = BStr::from_bytes(text);
                    pr_info!("[timer] late: runtime={of} error={text}\n");
                }
            })
        })?;
        let ticked = ticked.load(Relaxed);
        let longest = longest_ns.load(Relaxed) / 1000;
        pr_info!("[timer] end: runtime={of} ticks={ticked} longest_us={longest}\n");
        Ok(())
    }
}

// ANCHOR: example
/// Runs the example in both contexts, if the parameter `ticks` says so. Sleeps until it is over.
pub(crate) fn example(params: &Params) -> Result {
    if params.ticks == 0 {
        return Ok(());
    }
    let budget = Budget {
        bytes: 64 << 10,
        steps: 10_000,
        // Of a tick. On a machine of one's own it would be 500; an emulated CPU may stand still for
        // much longer than that, because its host has other things to do.
        cpu_us: 200_000,
        ..params.budget
    };
    let interval = Delta::from_millis(10);
    let script = include_bytes!("tick.lua");
    Ticking::<SoftIrq>::start(c"=tick", script, &budget, interval, params.ticks)?.wait()?;
    Ticking::<HardIrq>::start(c"=tick", script, &budget, interval, params.ticks)?.wait()
}
// ANCHOR_END: example
