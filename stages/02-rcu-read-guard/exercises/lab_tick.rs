// SPDX-License-Identifier: GPL-2.0

//! What the lab holds the books of 2.6.11's scheme against: two CPUs on paper, whose ticks come
//! when this says so.

use kernel::prelude::*;

mod probe;

/// The toy, as far as it is on paper.
#[path = "../toy"]
pub mod toy {
    use kernel::{
        cpu::CpuId,
        prelude::*,
        sync::{
            Arc,
            Completion, //
        },
    };

    use crate::probe::yes;

    pub mod callback;
    mod tick;

    use callback::Callback;
    use tick::{
        Control,
        PerCpu, //
    };

    /// The books.
    struct Books {
        control: Control,
        cpus: [PerCpu; 2],
    }

    impl Books {
        fn new() -> Result<Self> {
            let cpu = |index| PerCpu::new(CpuId::current(), index);
            Ok(Self {
                control: Control::new(2, GFP_KERNEL)?,
                cpus: [cpu(0), cpu(1)],
            })
        }

        /// A CPU gets a callback.
        fn push(&mut self, cpu: usize) -> Result {
            let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
            self.cpus[cpu].push(Callback::wake(done)?);
            Ok(())
        }

        /// A CPU switches from one thread to another.
        fn switch(&mut self, cpu: usize) {
            self.cpus[cpu].note_context_switch();
        }

        /// A tick of a CPU: how many callbacks are to be called?
        fn tick(&mut self, cpu: usize) -> usize {
            let mut done = self.cpus[cpu].tick(&mut self.control);
            let mut called = 0;
            while done.pop_front().is_some() {
                called += 1;
            }
            called
        }
    }

    /// Fills in the books, page by page.
    pub(crate) fn keep_books(n: u32) -> Result {
        let mut books = Books::new()?;

        // CPU 1 has a quiescent state, and only then the batch begins.
        books.switch(1);
        books.push(0)?;
        let mut called = books.tick(0);
        let mut counted = false;
        for _ in 0..3 {
            called += books.tick(1);
            counted |= books.control.has_reported(1);
        }
        pr_info!(
            "[probe] before the batch: counted={} called={called} n={n}\n",
            yes(counted)
        );

        // CPU 0 has one, and CPU 1 has not.
        books.switch(0);
        called += books.tick(0);
        called += books.tick(0);
        pr_info!(
            "[probe] the first CPU: reported={} called={called} n={n}\n",
            yes(books.control.has_reported(0))
        );

        // Meanwhile CPU 1 gets a callback, for the batch after this.
        books.push(1)?;
        let others = books.tick(1);
        books.switch(1);
        called += books.tick(1);
        called += books.tick(0);
        pr_info!("[probe] the last CPU: called={called} others={others} n={n}\n");

        // All ticks come, again and again.
        let mut others = others;
        for _ in 0..5 {
            for cpu in 0..2 {
                books.switch(cpu);
                others += books.tick(cpu);
            }
        }
        pr_info!("[probe] the next batch: called={others} n={n}\n");
        Ok(())
    }
}

module! {
    type: LabTick,
    name: "lab_tick",
    authors: ["The RCU workshop"],
    description: "What the lab holds the books of 2.6.11's scheme against",
    license: "GPL",
    params: {
        n: u32 {
            default: 0,
            description: "The run's number",
        },
    },
}

struct LabTick;

impl kernel::Module for LabTick {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        toy::keep_books(module_parameters::n.value())?;
        Ok(Self)
    }
}
