//! Random cases: made from a seed, and reduced if they fail.

use std::fmt;

use super::kernel::{Event, EventKind, KernelSettings};

/// What the driver does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Tick,
    /// The host spawns a process and registers it at once, with all its time.
    Spawn {
        slot: u8,
        is_leader: bool,
    },
    /// Registers any process, of those in trees if there are any.
    Register {
        slot: u8,
        pick: u16,
    },
    /// Registers the host itself.
    RegisterHost {
        slot: u8,
    },
    /// The process of the run exits.
    End {
        slot: u8,
    },
    /// The exit of a root is detected between ticks, of this plugin or the next one with such a root.
    Exited {
        slot: u8,
        should_read_others: bool,
    },
    /// The host waits for the child that it has spawned, and the trees do not receive its last times yet.
    Reap {
        slot: u8,
    },
    /// The last times of a child arrive.
    Delivered {
        slot: u8,
        has_children_cpu: bool,
    },
    /// The host reports that the run is over.
    Release {
        slot: u8,
    },
    Remove {
        slot: u8,
    },
}

/// Events, then a call with events between the calls of the source.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub before: Vec<Event>,
    pub call: Call,
    pub during: Vec<(u8, Event)>,
    /// The source panics after so many calls.
    pub panics_after: Option<u8>,
}

#[derive(Clone, Debug)]
pub(super) struct Case {
    pub settings: KernelSettings,
    pub steps: Vec<Step>,
}

/// xorshift64*.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound.max(1)
    }

    fn chance(&mut self, in_thousand: u64) -> bool {
        self.below(1_000) < in_thousand
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}

/// How often what happens.
#[derive(Clone, Copy, Debug)]
struct Weights {
    kinds: [(EventKind, u64); 8],
    largest_run: u64,
}

impl Weights {
    fn event(&self, random: &mut Random) -> Event {
        let sum = self.kinds.iter().map(|(_, weight)| weight).sum();
        let mut roll = random.below(sum);
        let kind = self.kinds.iter().find(|(_, weight)| {
            let is_it = roll < *weight;
            roll = roll.saturating_sub(*weight);
            is_it
        });
        let kind = kind.map_or(EventKind::Run, |(kind, _)| *kind);
        let who = random.below(1 << 16) as u16;
        let amount = random.below(self.largest_run) as u32;
        Event { kind, who, amount }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.settings)?;
        for (number, Step { before, call, during, panics_after }) in self.steps.iter().enumerate() {
            for Event { kind, who, amount } in before {
                writeln!(f, "    {kind:?} {who} {amount}")?;
            }
            writeln!(f, "{number}: {call:?}, panics after {panics_after:?}")?;
            for (after, Event { kind, who, amount }) in during {
                writeln!(f, "    after {after} calls: {kind:?} {who} {amount}")?;
            }
        }
        Ok(())
    }
}

impl Case {
    pub(super) fn new(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let settings = KernelSettings {
            last_pid_of_lap: random.pick(&[50, 120, 400, 30_000]),
            reports_last_pid: random.chance(850),
            lists_children: random.chance(700),
            is_polite: random.chance(150),
            fails_every: random.chance(200).then(|| random.pick(&[7, 31])),
            limits: random
                .chance(300)
                .then(|| [random.pick(&[1, 3, 6]), random.pick(&[4, 10, 40])]),
            is_traced: false,
        };
        let weights = Weights {
            kinds: [
                (EventKind::Fork, random.pick(&[30, 60, 150])),
                (EventKind::Run, 500),
                (EventKind::Exit, random.pick(&[20, 60, 140])),
                (EventKind::Wait, random.pick(&[20, 60, 200])),
                (EventKind::Setsid, random.pick(&[0, 30])),
                (EventKind::Setpgid, random.pick(&[0, 20])),
                (EventKind::IgnoreSigchld, random.pick(&[0, 0, 10])),
                (EventKind::Subreaper, random.pick(&[0, 30])),
            ],
            largest_run: random.pick(&[1_000_000, 40_000_000, 900_000_000]),
        };
        let between = random.pick(&[5, 20, 60]);
        let during = random.pick(&[0, 5, 40]);
        let panics = random.pick(&[0, 0, 0, 100, 300]);
        let steps = 10 + random.below(15);
        let steps = (0..steps)
            .map(|at| {
                let mut step = Self::step(random, &weights, at, between, during);
                let is_panicking = random.chance(panics);
                step.panics_after = is_panicking.then(|| random.below(40) as u8);
                step
            })
            .collect();
        Self { settings, steps }
    }

    /// All children are waited for, by living parents.
    pub(super) fn polite(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        // Without the last pid, it is not known whether a process without room was born in the tree.
        let reports_last_pid = !seed.is_multiple_of(5);
        let settings = KernelSettings {
            last_pid_of_lap: 30_000,
            reports_last_pid,
            lists_children: true,
            is_polite: true,
            fails_every: None,
            limits: (reports_last_pid && random.chance(300))
                .then(|| [random.pick(&[1, 3, 6]), random.pick(&[4, 10, 40])]),
            is_traced: false,
        };
        let weights = Weights {
            kinds: [
                (EventKind::Fork, 60),
                (EventKind::Run, 500),
                (EventKind::Exit, 60),
                (EventKind::Wait, 150),
                (EventKind::Setsid, 10),
                (EventKind::Setpgid, 0),
                (EventKind::IgnoreSigchld, 0),
                (EventKind::Subreaper, 10),
            ],
            largest_run: 40_000_000,
        };
        let during = random.pick(&[0, 5, 40]);
        let ends = random.chance(500);
        let step = |random: &mut Random, at| {
            let mut step = Self::step(random, &weights, at, 120, during);
            let slot = random.below(2) as u8;
            step.call = match random.below(100) {
                _ if at < 2 => Call::Spawn { slot: at as u8, is_leader: at == 0 },
                0..12 if ends => Call::End { slot },
                12..20 if ends => Call::Exited { slot, should_read_others: false },
                20..26 if ends => Call::Reap { slot },
                26..36 if ends => Call::Delivered { slot, has_children_cpu: true },
                _ => Call::Tick,
            };
            step
        };
        let steps = (0..20).map(|at| step(random, at)).collect();
        Self { settings, steps }
    }

    fn step(random: &mut Random, weights: &Weights, at: u64, between: u64, during: u64) -> Step {
        let count = random.below(2 * between);
        let before = (0..count).map(|_| weights.event(random)).collect();
        let count = random.below(2 * during + 1);
        let during = (0..count).map(|_| (random.below(4) as u8, weights.event(random))).collect();
        let slot = random.below(5) as u8;
        let call = match random.below(100) {
            _ if at < 2 => Call::Spawn { slot: at as u8, is_leader: random.chance(500) },
            0..58 => Call::Tick,
            58..66 => Call::Spawn { slot, is_leader: random.chance(500) },
            66..76 => Call::Register { slot, pick: random.below(1 << 16) as u16 },
            76..77 => Call::RegisterHost { slot },
            77..81 => Call::End { slot },
            81..85 => Call::Exited { slot, should_read_others: random.chance(300) },
            85..88 => Call::Reap { slot },
            88..93 => Call::Delivered { slot, has_children_cpu: random.chance(800) },
            93..97 => Call::Release { slot },
            _ => Call::Remove { slot },
        };
        Step { before, call, during, panics_after: None }
    }

    /// Drops what is not needed for the failure: whole steps, then events.
    pub(super) fn reduce(mut self, fails: &dyn Fn(&Self) -> bool) -> Self {
        loop {
            let before = self.len();
            self.drop_pieces(fails, |case| &mut case.steps);
            for at in 0..self.steps.len() {
                self.drop_pieces(fails, |case| &mut case.steps[at].before);
                self.drop_pieces(fails, |case| &mut case.steps[at].during);
            }
            if self.len() == before {
                return self;
            }
        }
    }

    fn len(&self) -> usize {
        self.steps.iter().map(|step| 1 + step.before.len() + step.during.len()).sum()
    }

    fn drop_pieces<T>(
        &mut self,
        fails: &dyn Fn(&Self) -> bool,
        list: impl Fn(&mut Self) -> &mut Vec<T>,
    ) {
        let mut size = list(self).len();
        while size > 0 {
            let mut at = 0;
            while at < list(self).len() {
                let mut shorter = self.clone();
                let end = (at + size).min(list(&mut shorter).len());
                list(&mut shorter).drain(at..end);
                if fails(&shorter) {
                    *self = shorter;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
    }
}
