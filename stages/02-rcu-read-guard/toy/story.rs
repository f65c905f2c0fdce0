// SPDX-License-Identifier: GPL-2.0

//! The two stories: one reader, one updater, and how the updater's grace period ends.
//!
//! The reader is on the last CPU, the updater begins on the first. The reader stays inside until
//! all other CPUs have done their part, so that it is sure to be the one that is waited for.

use kernel::{
    cpu::CpuId,
    prelude::*,
    processor::cpu_relax,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

use super::{
    batches::Batches,
    callback::Callback,
    cpus,
    every_cpu::EveryCpu,
    guard::ToyRcu,
    pool::{
        Pool,
        Updater, //
    },
};
use crate::{
    event::Event,
    kthread::{
        KThread,
        StopToken, //
    }, //
};

/// How long things overlap at least, so that a person sees it.
const GAP: Delta = Delta::from_millis(200);

/// How long a reader waits before it gives up.
const PATIENCE: Delta = Delta::from_secs(10);

/// What the threads of a story share.
struct Scene<R> {
    toy: Arc<R>,
    pool: Arc<Pool>,
    /// Where the updater begins.
    first_cpu: CpuId,
    /// Where the reader is.
    last_cpu: CpuId,
    /// How many CPUs there are beside that of the reader.
    others: usize,
    /// How many CPUs the updater has visited.
    visits: Atomic<usize>,

    /// The reader is inside, and has said so.
    inside: Event,
    /// The reader has left, or never came.
    reader_is_done: Event,
    /// So has the updater.
    updater_is_done: Event,
}

// --- The classroom toy --------------------------------------------------------------------------

// ANCHOR: story-every-cpu
/// The story of the classroom toy.
pub fn every_cpu(toy: &Arc<EveryCpu>, stop: &StopToken) -> Result {
    // The reader leaves when the updater has been everywhere else. The updater says so before it
    // asks to come here, which is when it begins to wait for the reader.
    tell(
        toy,
        |scene| scene.visits.load(Acquire) >= scene.others,
        visit_all,
        stop,
    )
}

/// Its updater.
fn visit_all(scene: &Scene<EveryCpu>, mut updater: Updater, stop: &StopToken) -> Result {
    let (old, begin) = scene.retire(&mut updater, stop)?;
    scene.toy.visit_all(|cpu| {
        pr_info!("[updater] visit: cpu={}\n", cpu.as_u32());
        scene.visits.fetch_add(1, Release);
    })?;
    scene.grace_period_is_over(begin);
    scene.pool.reclaim(old);
    pr_info!("[updater] reclaim: toy={} element={old}\n", EveryCpu::NAME);
    Ok(())
}
// ANCHOR_END: story-every-cpu

// --- 2.6.11's scheme ----------------------------------------------------------------------------

// ANCHOR: story-batches
/// The story of 2.6.11's scheme.
pub fn batches(toy: &Arc<Batches>, stop: &StopToken) -> Result {
    toy.narrate(true);
    // The reader leaves when the first CPU has reported for the batch, which that CPU does
    // whatever happens on this one.
    let told = tell(
        toy,
        |scene| scene.toy.has_reported(scene.first_cpu),
        call,
        stop,
    );
    toy.narrate(false);
    told
}

/// Its updater.
fn call(scene: &Scene<Batches>, mut updater: Updater, stop: &StopToken) -> Result {
    let (old, begin) = scene.retire(&mut updater, stop)?;
    let reclaimed = Arc::new(Event::new(), GFP_KERNEL)?;
    let old = Retired {
        element: old,
        pool: scene.pool.clone(),
        reclaimed: reclaimed.clone(),
        cpu: scene.first_cpu,
    };
    let callback = Callback::free(KBox::new(old, GFP_KERNEL)?)?;
    pr_info!("[updater] call: toy={}\n", Batches::NAME);
    scene.toy.call(callback);

    // It has nothing left to do. It only waits to be able to say how long it took.
    stop.wait_until(|| reclaimed.reached())?;
    scene.grace_period_is_over(begin);
    Ok(())
}

/// A retired element. It is reclaimed when it is dropped, which is what its callback does with it.
struct Retired {
    element: usize,
    pool: Arc<Pool>,
    reclaimed: Arc<Event>,
    /// Where the callback was left, and so is called.
    cpu: CpuId,
}

impl Drop for Retired {
    fn drop(&mut self) {
        let (cpu, element) = (self.cpu.as_u32(), self.element);
        self.pool.reclaim(element);
        pr_info!(
            "[cpu{cpu}] reclaim: toy={} element={element}\n",
            Batches::NAME
        );
        self.reclaimed.set();
    }
}
// ANCHOR_END: story-batches

// --- What both have -----------------------------------------------------------------------------

// ANCHOR: story-reader
/// The reader.
fn read<R: ToyRcu>(scene: &Scene<R>, until: fn(&Scene<R>) -> bool, stop: &StopToken) -> Result {
    cpus::go_to(scene.last_cpu)?;

    // ANCHOR: enter
    let guard = scene.toy.read();
    let element = scene.pool.current(&guard);
    // ANCHOR_END: enter
    pr_info!(
        "[reader] hit read: toy={} cpu={}\n",
        R::NAME,
        scene.last_cpu.as_u32()
    );
    scene.inside.set();

    // If the updater gave up, there is nothing to stay for.
    let result = stay_inside(|| until(scene) || scene.updater_is_done.reached(), stop);

    // These lines are written inside: then the grace period puts them before what comes after it.
    match result {
        Ok(()) => pr_info!(
            "[reader] end read: toy={} age={} content={}\n",
            R::NAME,
            element.age(),
            element.content().name(),
        ),
        Err(EINTR) => pr_info!("[reader] stopped\n"),
        Err(_) => pr_err!("[reader] gave up\n"),
    }
    drop(guard);
    result
}

/// Keeps this CPU, until a while after `until` holds.
///
/// That must not be something that comes after a grace period: who waits for it waits for us.
fn stay_inside(until: impl Fn() -> bool, stop: &StopToken) -> Result {
    let begin = Instant::<Monotonic>::now();
    let mut reached = None;

    loop {
        if stop.should_stop() {
            return Err(EINTR);
        }
        match reached {
            None if until() => reached = Some(Instant::<Monotonic>::now()),
            None if begin.elapsed() > PATIENCE => return Err(ETIMEDOUT),
            Some(at) if at.elapsed() >= GAP => return Ok(()),
            _ => cpu_relax(),
        }
    }
}
// ANCHOR_END: story-reader

impl<R: ToyRcu> Scene<R> {
    /// What each updater begins with: waits for the reader to be inside, and retires the element
    /// that it reads. [`ECANCELED`] if the reader never comes.
    fn retire(
        &self,
        updater: &mut Updater,
        stop: &StopToken,
    ) -> Result<(usize, Instant<Monotonic>)> {
        // It goes to its place before it waits: later the reader may be on this CPU, and keep it.
        cpus::go_to(self.first_cpu)?;
        stop.wait_until(|| self.inside.reached() || self.reader_is_done.reached())?;
        if !self.inside.reached() {
            return Err(ECANCELED);
        }
        stop.sleep(GAP)?;

        let old = updater.replace()?;
        pr_info!("[updater] retire: toy={} element={old}\n", R::NAME);
        Ok((old, Instant::now()))
    }

    fn grace_period_is_over(&self, begin: Instant<Monotonic>) {
        let ms = begin.elapsed().as_millis();
        pr_info!("[updater] grace period: toy={} ms={ms}\n", R::NAME);
    }
}

/// Tells a story: `until` says when the reader may leave, and `update` is the updater.
fn tell<R: ToyRcu>(
    toy: &Arc<R>,
    until: fn(&Scene<R>) -> bool,
    update: fn(&Scene<R>, Updater, &StopToken) -> Result,
    stop: &StopToken,
) -> Result {
    let first_cpu = cpus::online().next().ok_or(ENODEV)?;
    let last_cpu = cpus::online().last().ok_or(ENODEV)?;
    let (pool, updater) = Pool::new()?;
    let scene = Scene {
        toy: toy.clone(),
        pool,
        first_cpu,
        last_cpu,
        others: cpus::online().count() - 1,
        visits: Atomic::new(0),
        inside: Event::new(),
        reader_is_done: Event::new(),
        updater_is_done: Event::new(),
    };
    let scene = Arc::new(scene, GFP_KERNEL)?;

    let s = scene.clone();
    let updater = KThread::create(c"toy_updater", move |stop| {
        let result = update(&s, updater, stop);
        s.updater_is_done.set();
        result
    })?;
    let s = scene.clone();
    let reader = KThread::create(c"toy_reader", move |stop| {
        let result = read(&s, until, stop);
        s.reader_is_done.set();
        result
    })?;

    pr_info!("[director] begin story: toy={}\n", R::NAME);
    updater.start();
    reader.start();
    let told =
        stop.wait_until(|| scene.reader_is_done.reached() && scene.updater_is_done.reached());

    // The reader first, as the updater may be waiting for it.
    let reader = reader.join();
    let updater = updater.join();
    told.and(updater).and(reader)
}
