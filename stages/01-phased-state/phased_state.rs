// SPDX-License-Identifier: GPL-2.0

//! A phased state change: RCU makes sure that everybody has seen a new state.
//!
//! There is an operation that happens all the time, `cco` (the *common-case operation*), and
//! there is maintenance, which happens rarely. While there is no maintenance, the operation is
//! done quickly; during maintenance it has to be done carefully. A flag says which: `be_careful`.
//!
//! To set the flag is not enough. An operation that read it a moment ago may be at its quick work
//! still. So each operation reads the flag in an RCU read-side critical section and stays in
//! there until it is done, and maintenance waits for a grace period after it has set the flag:
//! then each operation that did not see it is over. In the same way it waits before it clears the
//! flag, for the careful ones.
//!
//! | state       | `be_careful` | operations        | maintenance works |
//! |-------------|--------------|-------------------|-------------------|
//! | normal      | `false`      | quick             | no                |
//! | first wait  | `true`       | quick and careful | no                |
//! | maintenance | `true`       | careful           | yes               |
//! | second wait | `true`       | careful           | no                |
//!
//! The module tells this as a story with two operations, `cco1` and `cco2`, one `maint`, and a
//! `director` who starts them, each a kernel thread. It writes down in the kernel log what
//! happens, and at the end whether the two promises were kept.

use kernel::{
    prelude::*,
    processor::cpu_relax,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu::{
            self,
            synchronize_rcu, //
        },
        Arc, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

use event::Event;
use kthread::{
    outcome,
    KThread,
    StopToken, //
};

#[path = "cpus.rs"]
pub mod cpus;
#[path = "event.rs"]
pub mod event;
#[path = "kthread.rs"]
pub mod kthread;

module! {
    type: PhasedState,
    name: "phased_state",
    authors: ["The RCU workshop"],
    description: "Phased state change with RCU",
    license: "GPL",
    params: {
        cco_ms: u32 {
            default: 1000,
            description: "How long an operation takes at least, in ms",
        },
        maint_ms: u32 {
            default: 1000,
            description: "How long the maintenance work takes at least, in ms",
        },
        gap_ms: u32 {
            default: 400,
            description: "How long things overlap at least, in ms",
        },
    },
}

// --- The state ----------------------------------------------------------------------------------

// ANCHOR: story
/// All that the threads share.
struct Story {
    /// The phase. Read with `READ_ONCE()` and written with `WRITE_ONCE()`, as C says: `Relaxed`.
    be_careful: Atomic<bool>,

    /// The first promise: no quick operation overlaps the maintenance work.
    quick: Invariant,
    /// Whether the maintenance work is going on.
    maintaining: Atomic<bool>,

    /// The second promise: when the flag is cleared, no careful operation is left that began
    /// before the second wait.
    careful: Invariant,
    /// Whether the second wait has begun.
    second_wait: Atomic<bool>,

    /// What the threads wait for, so that the story takes its course on any machine.
    cco1: Reader,
    cco2: Reader,
    hit_maint: Event,
    hit_do_maint: Event,
    end_do_maint: Event,
    end_maint: Event,

    cco_time: Delta,
    maint_time: Delta,
    gap: Delta,
    /// How long a reader waits for its event before it gives up.
    patience: Delta,
}
// ANCHOR_END: story

/// One common-case operation of the story.
struct Reader {
    name: &'static str,
    /// It is in its critical section, and has said so in the log.
    inside: Event,
    /// It has left it.
    left: Event,
}

impl Story {
    /// Makes a story of the module's parameters, or says in the log what is wrong with them.
    fn new() -> Result<Self> {
        let cco_time = duration("cco_ms", module_parameters::cco_ms.value())?;
        let maint_time = duration("maint_ms", module_parameters::maint_ms.value())?;
        let gap = duration("gap_ms", module_parameters::gap_ms.value())?;

        Ok(Self {
            be_careful: Atomic::new(false),
            quick: Invariant::new("no_quick_in_maintenance", 1),
            maintaining: Atomic::new(false),
            careful: Invariant::new("no_early_careful_at_clear", 2),
            second_wait: Atomic::new(false),
            cco1: Reader::new("cco1"),
            cco2: Reader::new("cco2"),
            hit_maint: Event::new(),
            hit_do_maint: Event::new(),
            end_do_maint: Event::new(),
            end_maint: Event::new(),
            cco_time,
            maint_time,
            gap,
            patience: maint_time + gap + Delta::from_secs(10),
        })
    }
}

impl Reader {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            inside: Event::new(),
            left: Event::new(),
        }
    }
}

/// Checks a parameter that is a duration in milliseconds.
///
/// One that is refused is [`EINVAL`], and a line in the log says why.
fn duration(param: &str, value: u32) -> Result<Delta> {
    // Shorter than 10 ms, and the threads would not overlap on a slow machine. A minute is what
    // the original took; the kernel's watchdogs bark at less, unless they are told to wait.
    const MIN: u32 = 10;
    const MAX: u32 = 60_000;

    if !(MIN..=MAX).contains(&value) {
        pr_err!("[init] refused: param={param} value={value} min={MIN} max={MAX}\n");
        return Err(EINVAL);
    }
    Ok(Delta::from_millis(value.into()))
}

// --- The common-case operation ------------------------------------------------------------------

// ANCHOR: reader
/// The common-case operation, as a thread of its own.
///
/// `until` is the event that it waits for in its critical section.
fn cco(story: &Story, me: &Reader, until: &Event, stop: &StopToken) -> Result {
    pr_info!("[{}] hit cco\n", me.name);

    // ANCHOR: reader-section
    // The flag is read inside, and what is done about it is done inside.
    let guard = rcu::read_lock();
    let result = if story.be_careful.load(Relaxed) {
        cco_carefully(story, me, until, stop, &guard)
    } else {
        cco_quickly(story, me, until, stop, &guard)
    };
    drop(guard);
    // ANCHOR_END: reader-section

    // From here on, a grace period does not wait for us any more. So nothing says whether this
    // line comes before or after what `maint` does next.
    match result {
        Ok(()) => pr_info!("[{}] left cco\n", me.name),
        Err(EINTR) => pr_info!("[{}] stopped\n", me.name),
        Err(_) => pr_err!("[{}] gave up\n", me.name),
    }
    me.left.set();
    result
}
// ANCHOR_END: reader

// ANCHOR: cco-quickly
/// The operation without maintenance around. The guard says that it runs inside.
fn cco_quickly(
    story: &Story,
    me: &Reader,
    until: &Event,
    stop: &StopToken,
    _inside: &rcu::Guard,
) -> Result {
    story.quick.begin();
    story.quick_looks_for_maintenance();
    pr_info!("[{}] hit cco_quickly\n", me.name);
    me.inside.set();

    let result = work_inside(story, until, stop);

    // The line is written inside: then the grace period puts it before what `maint` does next.
    if result.is_ok() {
        pr_info!("[{}] end cco_quickly\n", me.name);
    }
    story.quick_looks_for_maintenance();
    story.quick.end();
    result
}
// ANCHOR_END: cco-quickly

// ANCHOR: cco-carefully
/// The operation during maintenance. The guard says that it runs inside.
fn cco_carefully(
    story: &Story,
    me: &Reader,
    until: &Event,
    stop: &StopToken,
    _inside: &rcu::Guard,
) -> Result {
    // Maintenance has to wait for those that began before its second wait, not for later ones.
    let early = !story.second_wait.load(Relaxed);
    if early {
        story.careful.begin();
    }
    pr_info!("[{}] hit cco_carefully\n", me.name);
    me.inside.set();

    let result = work_inside(story, until, stop);

    if result.is_ok() {
        pr_info!("[{}] end cco_carefully\n", me.name);
    }
    if early {
        story.careful.end();
    }
    result
}
// ANCHOR_END: cco-carefully

// ANCHOR: work-inside
/// The work of an operation: it loops, for `cco_ms`, and until `gap_ms` after an event.
///
/// It runs in a read-side critical section, so it must not sleep; on a kernel with
/// non-preemptible RCU it keeps its CPU to itself all that time. It polls for the stop request,
/// as nothing else ends it early.
///
/// A reader that waits for somebody who waits for a grace period waits for itself. So the event
/// must be one that `maint` sets *before* it calls `synchronize_rcu()`:
///
/// - `cco1` waits for `hit_maint`, which comes before the first call,
/// - `cco2` waits for `end_do_maint`, which comes before the second.
///
/// And the wait is bounded, because a mistake here should cost seconds, not the machine. It need
/// not even be ours: `stop_machine()` holds each CPU until it has them all. Where readers are not
/// preemptible it waits for this one, while `maint` waits for a CPU. The kernel does that when it
/// changes its clock source, which it does a second after boot.
fn work_inside(story: &Story, until: &Event, stop: &StopToken) -> Result {
    // ANCHOR: work-inside-body
    let begin = Instant::<Monotonic>::now();
    let mut reached = None;

    loop {
        if stop.should_stop() {
            return Err(EINTR);
        }
        match reached {
            None if until.reached() => reached = Some(Instant::<Monotonic>::now()),
            None if begin.elapsed() > story.patience => return Err(ETIMEDOUT),
            Some(at) if at.elapsed() >= story.gap && begin.elapsed() >= story.cco_time => {
                return Ok(());
            }
            // ANCHOR: work-inside-wait
            _ => cpu_relax(),
            // ANCHOR_END: work-inside-wait
        }
    }
    // ANCHOR_END: work-inside-body
}
// ANCHOR_END: work-inside

// --- Maintenance --------------------------------------------------------------------------------

// ANCHOR: maint
/// Maintenance, as a thread of its own.
///
/// If it is stopped in the middle, the flag stays set: to be careful is never wrong.
fn maint(story: &Story, stop: &StopToken) -> Result {
    pr_info!("[maint] hit maint\n");

    // ANCHOR: phase-one
    // Operations that begin from now on are careful. Those that are at it may be quick ones.
    story.be_careful.store(true, Relaxed);
    let wait = story.quick.wait_begins();
    story.hit_maint.set();

    // ANCHOR: first-grace-period
    // Whoever may have read `false` is in a critical section that began before this call. When
    // it returns, they have all left.
    synchronize_rcu();
    // ANCHOR_END: first-grace-period
    story.quick.wait_is_over(wait);
    // ANCHOR_END: phase-one

    if let Err(e) = do_maint(story, stop) {
        pr_info!("[maint] stopped\n");
        return Err(e);
    }

    // ANCHOR: phase-two
    // Nothing is being maintained any more, but careful operations are still at it, and must not
    // meet the next quick one.
    story.second_wait.store(true, Relaxed);
    let wait = story.careful.wait_begins();
    story.end_do_maint.set();

    // ANCHOR: second-grace-period
    // Each careful operation that began before this call is over when it returns.
    synchronize_rcu();
    // ANCHOR_END: second-grace-period
    story.careful.wait_is_over(wait);

    story.flag_is_about_to_clear();
    story.be_careful.store(false, Relaxed);
    // ANCHOR_END: phase-two

    pr_info!("[maint] end maint\n");
    story.end_maint.set();
    Ok(())
}

/// The maintenance work. It may sleep: here is no critical section.
fn do_maint(story: &Story, stop: &StopToken) -> Result {
    let begin = Instant::<Monotonic>::now();

    story.maintenance_begins();
    pr_info!("[maint] hit do_maint\n");
    story.hit_do_maint.set();

    // ANCHOR: do-maint-wait
    stop.wait_until(|| story.cco2.inside.reached() && begin.elapsed() >= story.maint_time)?;
    // ANCHOR_END: do-maint-wait

    story.maintenance_ends();
    pr_info!("[maint] end do_maint\n");
    Ok(())
}
// ANCHOR_END: maint

// --- The two promises ---------------------------------------------------------------------------

/// Operations of one kind, of which none may be left when a grace period is over.
///
/// All its accesses are `Relaxed`: RCU gives the ordering, as said where it matters. (Except for
/// what the director reads at the end, which [`Event`] orders.)
struct Invariant {
    name: &'static str,
    which: u32,
    /// Operations of that kind: how many are at it just now.
    running: Atomic<u32>,
    /// How many were when the wait began. If none, then the wait has proved nothing.
    waited_for: Atomic<u32>,
    /// How many were found where none may be.
    violations: Atomic<u32>,
    /// How long the grace period took.
    wait_ms: Atomic<i64>,
}

impl Invariant {
    fn new(name: &'static str, which: u32) -> Self {
        Self {
            name,
            which,
            running: Atomic::new(0),
            waited_for: Atomic::new(0),
            violations: Atomic::new(0),
            wait_ms: Atomic::new(0),
        }
    }

    /// An operation begins. Must be called in its critical section.
    fn begin(&self) {
        self.running.add(1, Relaxed);
    }

    /// An operation ends. Must be called in the same critical section.
    fn end(&self) {
        let _ = self.running.fetch_sub(1, Relaxed);
    }

    /// `maint` is about to wait for a grace period.
    fn wait_begins(&self) -> Instant<Monotonic> {
        self.waited_for.store(self.running.load(Relaxed), Relaxed);
        Instant::now()
    }

    /// `maint` has waited for a grace period.
    fn wait_is_over(&self, since: Instant<Monotonic>) {
        let ms = since.elapsed().as_millis();
        self.wait_ms.store(ms, Relaxed);
        pr_info!("[maint] grace period: which={} ms={}\n", self.which, ms);
    }

    /// All operations of that kind must be over: those that are not are violations.
    fn must_be_over(&self) {
        self.violations.add(self.running.load(Relaxed), Relaxed);
    }

    /// Writes down how it went.
    fn report(&self) {
        let waited_for = self.waited_for.load(Relaxed);
        let violations = self.violations.load(Relaxed);
        let verdict = match (violations, waited_for) {
            (0, 0) => "unproven",
            (0, _) => "held",
            _ => "VIOLATED",
        };
        pr_info!(
            "[director] invariant: name={} verdict={} waited_for={} violations={} gp_ms={}\n",
            self.name,
            verdict,
            waited_for,
            violations,
            self.wait_ms.load(Relaxed),
        );
    }
}

impl Story {
    // ANCHOR: invariant-quick
    // No quick operation overlaps the maintenance work. Both sides look for the other:
    //
    //   CPU 0: cco                       CPU 1: maint
    //   -------------------------        ----------------------------
    //   rcu_read_lock()
    //   be_careful?  no: quick
    //   running += 1                     be_careful = true
    //   maintaining? no                  synchronize_rcu()
    //   ... works ...                      |
    //   maintaining? no                    | waits
    //   running -= 1                       |
    //   rcu_read_unlock()  ----------->  it returns
    //                                    maintaining = true
    //                                    running? 0
    //
    // A critical section that began after `synchronize_rcu()` was called sees what was written
    // before the call, so an operation that read `false` began earlier, and the call waits for
    // it. When the call returns, CPU 1 sees all that the section wrote, `running -= 1` too; and
    // the section has seen nothing of what CPU 1 writes afterwards, so no `maintaining`.
    //
    // The way back is the same: `maintaining = false` comes before the second wait, and
    // `be_careful = false` after it. An operation that reads that `false` cannot be one that the
    // second wait waited for, so it began after the call, and does not see `maintaining` any more.

    /// The maintenance work begins.
    fn maintenance_begins(&self) {
        self.maintaining.store(true, Relaxed);
        self.quick.must_be_over();
    }

    /// The maintenance work ends.
    fn maintenance_ends(&self) {
        self.quick.must_be_over();
        self.maintaining.store(false, Relaxed);
    }

    /// A quick operation looks whether it overlaps the maintenance work.
    fn quick_looks_for_maintenance(&self) {
        if self.maintaining.load(Relaxed) {
            self.quick.violations.add(1, Relaxed);
        }
    }
    // ANCHOR_END: invariant-quick

    // ANCHOR: invariant-careful
    // When the flag is cleared, no careful operation is left that began before the second wait:
    //
    //   CPU 0: cco                       CPU 1: maint
    //   -------------------------        ----------------------------
    //   rcu_read_lock()
    //   be_careful?  yes: carefully
    //   second_wait? no: early
    //   running += 1                     second_wait = true
    //   ... works ...                    synchronize_rcu()
    //   running -= 1                       | waits
    //   rcu_read_unlock()  ----------->  it returns
    //                                    running? 0
    //                                    be_careful = false
    //
    // It is the argument of above, with another flag: an operation that read `second_wait` as
    // `false` began before the call, so the call waits for it. One that read `true` may still be
    // running, and is not counted.

    /// No careful operation may be left, of those that `maint` has waited for.
    fn flag_is_about_to_clear(&self) {
        self.careful.must_be_over();
    }
    // ANCHOR_END: invariant-careful
}

// --- The director -------------------------------------------------------------------------------

/// The threads of the story. They are created together, before it begins.
struct Cast {
    cco1: KThread,
    cco2: KThread,
    maint: KThread,
}

impl Cast {
    // ANCHOR: cast
    /// Creates the threads; none runs yet. If one cannot be had, those before it are dropped.
    fn new(story: &Arc<Story>) -> Result<Self> {
        // ANCHOR: cast-cco1
        let s = story.clone();
        let cco1 = KThread::create(c"cco1", move |stop| cco(&s, &s.cco1, &s.hit_maint, stop))?;
        // ANCHOR_END: cast-cco1

        let s = story.clone();
        let cco2 = KThread::create(c"cco2", move |stop| cco(&s, &s.cco2, &s.end_do_maint, stop))?;

        let s = story.clone();
        let maint = KThread::create(c"maint", move |stop| maint(&s, stop))?;

        Ok(Self { cco1, cco2, maint })
    }
    // ANCHOR_END: cast
}

// ANCHOR: director
/// The director, as a thread of its own: it has the cast, and no thread outlives it.
fn director(story: &Arc<Story>, stop: &StopToken) -> Result {
    let cast = match Cast::new(story) {
        Ok(cast) => cast,
        Err(e) => {
            pr_err!("[director] no threads: errno={}\n", e.to_errno());
            return Err(e);
        }
    };

    let told = tell(story, &cast, stop);

    // If the story is over, so are they. If not, the readers are stopped first: `maint` may be
    // waiting for a grace period, that is, for them, and nobody can stop it then. All that is
    // left to wait for is the end of that grace period, which is why `rmmod` may take a moment.
    // ANCHOR: joins
    let cco1 = cast.cco1.join();
    let cco2 = cast.cco2.join();
    let maint = cast.maint.join();
    // ANCHOR_END: joins

    if let Err(e) = told {
        pr_info!(
            "[director] stopped: cco1={} cco2={} maint={}\n",
            outcome(cco1),
            outcome(cco2),
            outcome(maint),
        );
        return Err(e);
    }

    story.quick.report();
    story.careful.report();
    pr_info!("[director] end story\n");
    cco1.and(cco2).and(maint)
}

/// Tells the story: starts each thread when the one before is where it should be.
fn tell(story: &Story, cast: &Cast, stop: &StopToken) -> Result {
    // Each "start" line is written before the thread is woken, so it comes before its lines.
    pr_info!("[director] start cco1\n");
    cast.cco1.start();

    // `cco1` is at its quick work when maintenance wants to begin ...
    stop.wait_until(|| story.cco1.inside.reached())?;
    stop.sleep(story.gap)?;
    pr_info!("[director] start maint\n");
    cast.maint.start();

    // ... and maintenance is at work when `cco2` comes.
    stop.wait_until(|| story.hit_do_maint.reached())?;
    stop.sleep(story.gap)?;
    pr_info!("[director] start cco2\n");
    cast.cco2.start();

    stop.wait_until(|| {
        story.cco1.left.reached() && story.cco2.left.reached() && story.end_maint.reached()
    })
}
// ANCHOR_END: director

// --- The module ---------------------------------------------------------------------------------

// ANCHOR: module
/// The module: as long as it is loaded, the director has a handle.
struct PhasedState {
    director: Option<KThread>,
}

impl kernel::Module for PhasedState {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        cpus::refuse_lone_cpu()?;
        let story = Arc::new(Story::new()?, GFP_KERNEL)?;
        let director = KThread::create(c"director", move |stop| director(&story, stop))
            .inspect_err(|e| pr_err!("[init] no director: errno={}\n", e.to_errno()))?;

        // The story takes seconds, so it is told by a thread, and `insmod` returns at once.
        pr_info!("[init] init\n");
        director.start();
        Ok(Self {
            director: Some(director),
        })
    }
}

impl Drop for PhasedState {
    fn drop(&mut self) {
        // The director ends the others. When this returns, no thread is left in our code.
        if let Some(director) = self.director.take() {
            pr_info!("[exit] exit: director={}\n", outcome(director.join()));
        }
    }
}
// ANCHOR_END: module
