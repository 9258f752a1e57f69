//! A simulation with a full history.
#![allow(dead_code)] // each bench uses its part

use std::time::Duration;

use plugmeter::Config;
use plugmeter::testing::{Simulation, Usage};

pub(crate) const HOUR: usize = 720;
pub(crate) const DAY: usize = 17_280;

const POLL: Duration = Duration::from_secs(5);

/// A simulation of running plugins, and their usage so far.
pub(crate) struct Full {
    pub(crate) sim: Simulation,
    cpu_time: Duration,
    tick: u64,
}

impl Full {
    /// Simulates `plugins` until their history of `samples` is full and the oldest samples are retired.
    pub(crate) fn new(plugins: usize, samples: usize) -> Self {
        let history = POLL * u32::try_from(samples).expect("a window of a day or less");
        let config = Config::default().poll_interval(POLL).history_duration(history);
        let sim = Simulation::new(config).expect("the config is good");
        for i in 0..plugins {
            let plugin = sim.register(&super::peers::name(i)).expect("the name is good");
            plugin.started(i as u32 + 1, "1.0");
        }
        let mut full = Self { sim, cpu_time: Duration::ZERO, tick: 0 };
        for _ in 0..samples + 61 {
            full.tick();
        }
        full
    }

    /// Runs one tick, in which reading a process costs nothing.
    pub(crate) fn tick(&mut self) {
        self.tick += 1;
        self.cpu_time += Duration::from_micros(self.tick * 7_919 % 4_999_999);
        let memory_bytes = (10_000 + self.tick * 104_729 % 50_021) * 1_024;
        let usage = Usage { cpu_time: self.cpu_time, memory_bytes };
        self.sim.tick(|_pid| usage);
    }
}
