//! Straightforward implementations of a history: the same samples in collections of `std`.
#![allow(dead_code)] // each bench uses its part

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, RwLock};

use arc_swap::ArcSwap;

/// One plugin's sample of one tick.
#[derive(Clone, Copy)]
pub(crate) struct PeerSample {
    pub(crate) cpu_percent: f64,
    pub(crate) memory_bytes: u64,
    pub(crate) events: u64,
    pub(crate) state: u8,
}

type History = HashMap<String, VecDeque<PeerSample>>;

fn full(plugins: usize, samples: usize) -> History {
    let history = (0..samples).map(peer_sample).collect::<VecDeque<_>>();
    (0..plugins).map(|i| (name(i), history.clone())).collect()
}

pub(crate) fn name(i: usize) -> String {
    format!("plugin-{i}")
}

/// The sample number `i` of a series that a branch predictor does not predict.
pub(crate) fn peer_sample(i: usize) -> PeerSample {
    PeerSample {
        cpu_percent: (i * 7_919 % 100_003) as f64 / 1_000.0,
        memory_bytes: (10_000 + i * 104_729 % 50_021) as u64 * 1_024,
        events: i as u64,
        state: 2,
    }
}

fn push(history: &mut History, samples: usize, tick: usize) {
    for ring in history.values_mut() {
        if ring.len() == samples {
            ring.pop_front();
        }
        ring.push_back(peer_sample(tick));
    }
}

/// Readers and the writer share a lock; a reader copies one sample.
pub(crate) struct Locked {
    pub(crate) history: RwLock<History>,
    samples: usize,
}

impl Locked {
    pub(crate) fn full(plugins: usize, samples: usize) -> Self {
        Self { history: RwLock::new(full(plugins, samples)), samples }
    }

    pub(crate) fn tick(&self, tick: usize) {
        push(&mut self.history.write().expect("no writer panics"), self.samples, tick);
    }

    pub(crate) fn current(&self, name: &str) -> Option<PeerSample> {
        self.history.read().expect("no writer panics").get(name)?.back().copied()
    }
}

/// Every tick publishes a deep copy, so that readers need no lock.
pub(crate) struct Cloned {
    history: ArcSwap<History>,
    samples: usize,
}

impl Cloned {
    pub(crate) fn full(plugins: usize, samples: usize) -> Self {
        Self { history: ArcSwap::from_pointee(full(plugins, samples)), samples }
    }

    pub(crate) fn tick(&self, tick: usize) {
        let mut next = History::clone(&self.history.load());
        push(&mut next, self.samples, tick);
        self.history.store(Arc::new(next));
    }
}
