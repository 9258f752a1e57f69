//! Lives of made-up plugins of which the truth is known: what is normal, and what is not.
//!
//! A tick is 5 s. CPU is in percent of one core, memory in KiB.

/// A generator of random numbers that is the same on every platform: splitmix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Different seeds give independent numbers.
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03)
    }

    /// Any number.
    pub const fn integer(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    pub fn share(&mut self) -> f64 {
        (self.integer() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From `from` to below `to`.
    pub const fn between(&mut self, from: usize, to: usize) -> usize {
        from + (self.integer() % (to - from) as u64) as usize
    }

    /// One of these.
    pub const fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.between(0, of.len())]
    }

    /// Normally distributed.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.share()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.share()).cos()
    }

    /// The time until the next of random moments.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.share()).ln() * mean
    }

    /// A heavy-tailed cost with this median.
    pub fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    /// A size with a very heavy tail.
    pub fn pareto(&mut self, least: f64, alpha: f64) -> f64 {
        least / (1.0 - self.share()).powf(1.0 / alpha)
    }

    /// How many random moments fall into a tick.
    pub fn poisson(&mut self, mean: f64) -> u32 {
        if mean > 40.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u32;
        }
        let limit = (-mean).exp();
        let (mut count, mut product) = (0, self.share());
        while product > limit {
            count += 1;
            product *= self.share();
        }
        count
    }
}

/// What the CPU of a plugin looks like when nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing, and now and then next to nothing.
    Idle,
    /// A level with noise that has a memory.
    Noise,
    /// Many commands in each tick, each of a heavy-tailed cost.
    Commands,
    /// The same, with a rate that doubles or halves in about two hours.
    Daily,
    /// Fewer than one command a tick.
    Rare,
    /// Jobs at random moments, 7 to 58 an hour, of about the same size: 1 to 10 s.
    Bursts,
    /// A burst each minute.
    CronMinute,
    /// A burst each five or ten minutes, of up to a minute and a half.
    CronTen,
    /// The load changes between two levels at random, and the events with it.
    Regimes,
}

/// Shapes without bursts.
pub const QUIET: [Shape; 4] = [Shape::Idle, Shape::Noise, Shape::Commands, Shape::Daily];
/// Shapes of bursts, at random and by the clock.
pub const BURSTY: [Shape; 4] = [Shape::Rare, Shape::Bursts, Shape::CronMinute, Shape::CronTen];

/// The CPU and the events of one plugin.
#[derive(Clone, Debug)]
pub struct CpuLife {
    shape: Shape,
    random: Random,
    base: f64,
    noise: f64,
    memory: f64,
    state: f64,
    rate: f64,
    remaining: f64,
    height: f64,
    chance: f64,
    job_ticks: f64,
    period: usize,
    length: usize,
    phase: f64,
    jitter: usize,
    cap: f64,
    tick: usize,
    is_high: bool,
    factor: f64,
}

impl CpuLife {
    /// A plugin of this shape, with parameters by the seed.
    pub fn new(shape: Shape, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let r = &mut random;
        let base = match shape {
            Shape::Idle => 0.0,
            Shape::CronMinute | Shape::CronTen | Shape::Bursts => {
                r.pick(&[0.0, 0.1, 0.5, 2.0, 8.0])
            }
            Shape::Daily => r.pick(&[0.3, 1.2, 3.0, 5.0, 12.0, 20.0, 30.0]),
            Shape::Noise | Shape::Commands | Shape::Rare | Shape::Regimes => {
                r.pick(&[0.3, 1.2, 3.0, 5.0, 12.0, 20.0, 45.0])
            }
        };
        let is_each_minute = shape == Shape::CronMinute;
        Self {
            shape,
            base,
            noise: r.pick(&[0.05, 0.15, 0.3, 0.45]),
            memory: r.pick(&[0.0, 0.5, 0.8, 0.9]),
            state: 0.0,
            rate: match shape {
                Shape::Rare => r.pick(&[0.05, 0.2, 0.6]),
                Shape::Regimes => r.pick(&[5.0, 20.0, 100.0]),
                _ => r.pick(&[2.0, 5.0, 20.0, 100.0, 400.0]),
            },
            remaining: 0.0,
            height: r.pick(&[5.0, 20.0, 60.0, 95.0]),
            chance: r.pick(&[0.01, 0.03, 0.08]),
            job_ticks: r.pick(&[0.2, 0.7, 2.0]),
            period: if is_each_minute { 12 } else { r.pick(&[60, 120]) },
            length: if is_each_minute { r.between(1, 4) } else { r.between(1, 19) },
            phase: r.share(),
            jitter: r.between(0, 3),
            cap: r.pick(&[100.0, 100.0, 400.0]),
            tick: r.between(0, 1_000),
            is_high: false,
            factor: r.pick(&[1.5, 2.0, 3.0, 4.0]),
            random,
        }
    }

    /// The level around which it varies, in percent.
    pub const fn base(&self) -> f64 {
        self.base
    }

    /// The CPU of the next tick in percent, and its events. `factor` multiplies the work.
    pub fn tick(&mut self, factor: f64) -> (f64, u32) {
        self.tick += 1;
        let (work, events) = self.work();
        ((work * factor).min(self.cap), events)
    }

    fn work(&mut self) -> (f64, u32) {
        let (base, tick) = (self.base, self.tick);
        match self.shape {
            Shape::Idle => {
                let is_active = self.random.share() < 0.02;
                (if is_active { 0.02 * self.random.share() } else { 0.0 }, 0)
            }
            Shape::Noise => {
                let new = (1.0 - self.memory * self.memory).sqrt() * self.random.normal();
                self.state = self.memory * self.state + new;
                ((base * (1.0 + self.noise * self.state)).max(0.0), 0)
            }
            Shape::Commands => self.commands(self.rate, base, self.rate),
            Shape::Daily => {
                let hour = std::f64::consts::TAU * (tick as f64 / 17_280.0 + self.phase);
                self.commands(self.rate * 2f64.powf(1.3 * hour.sin()), base, self.rate)
            }
            Shape::Rare => self.commands(self.rate, base * 0.5, self.rate),
            Shape::Regimes => {
                if self.random.share() < 1.0 / 90.0 {
                    self.is_high = !self.is_high;
                }
                let factor = if self.is_high { self.factor } else { 1.0 };
                self.commands(self.rate * factor, base.min(20.0), self.rate)
            }
            Shape::Bursts => {
                if self.random.share() < self.chance {
                    self.remaining += self.random.lognormal(self.job_ticks, 0.5);
                }
                let part = self.remaining.clamp(0.0, 1.0);
                self.remaining -= part;
                let idle = base * (1.0 + 0.2 * self.random.normal()).max(0.0);
                (idle + part * self.height * (1.0 + 0.1 * self.random.normal()), 0)
            }
            Shape::CronMinute | Shape::CronTen => {
                let late = (tick / self.period * 7_919) % (self.jitter + 1);
                let is_on = (tick + self.period - late) % self.period < self.length;
                let noise = (1.0 + 0.15 * self.random.normal()).max(0.0);
                ((base + if is_on { self.height } else { 0.0 }) * noise, 0)
            }
        }
    }

    /// `rate` commands, of which `usual` would cost `base` percent.
    fn commands(&mut self, rate: f64, base: f64, usual: f64) -> (f64, u32) {
        const MAX: u32 = 400;
        // The mean of this distribution is its median times the root of e.
        let each = base / usual / 0.5f64.exp();
        let count = self.random.poisson(rate);
        let sum: f64 = (0..count.min(MAX)).map(|_| self.random.lognormal(each, 1.0)).sum();
        (sum * f64::from(count) / f64::from(count.clamp(1, MAX)), count)
    }
}

/// How the memory of a plugin behaves when it does not leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heap {
    /// A level, and allocations that come and go.
    Flat,
    /// Fills to a level within minutes and stays.
    WarmUp,
    /// A cache that fills ever more slowly.
    Logarithmic,
    /// A cache that fills at a constant rate up to a bound.
    Bounded,
    /// Rises and falls with the garbage collector, every 20 s to 12 min.
    Saw,
    /// Now and then a larger peak than ever, of which a part stays.
    Ratchet,
    /// A random walk within bounds.
    Walk,
}

/// All heaps.
pub const HEAPS: [Heap; 7] = [
    Heap::Flat,
    Heap::WarmUp,
    Heap::Logarithmic,
    Heap::Bounded,
    Heap::Saw,
    Heap::Ratchet,
    Heap::Walk,
];

/// The memory of one plugin.
#[derive(Clone, Debug)]
pub struct MemoryLife {
    heap: Heap,
    random: Random,
    base: f64,
    noise: f64,
    amplitude: f64,
    filling: f64,
    period: f64,
    tooth: f64,
    next_collection: f64,
    kept: f64,
    walk: f64,
    tick: f64,
}

impl MemoryLife {
    /// A heap with parameters by the seed.
    pub fn new(heap: Heap, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let r = &mut random;
        let base = r.pick(&[8.0, 25.0, 60.0, 150.0, 400.0]) * 1_024.0 * (0.8 + 0.4 * r.share());
        let period = r.pick(&[4.0, 12.0, 40.0, 90.0, 144.0]);
        Self {
            heap,
            base,
            noise: r.pick(&[0.0, 0.002, 0.01, 0.03]),
            amplitude: base * r.pick(&[0.1, 0.3, 0.8]),
            filling: r.pick(&[24.0, 60.0, 150.0]),
            period,
            tooth: 0.0,
            next_collection: period,
            kept: 0.0,
            walk: 0.0,
            tick: 0.0,
            random,
        }
    }

    /// Its size at first, in KiB.
    pub const fn base(&self) -> f64 {
        self.base
    }

    /// The memory of the next tick in KiB; `leaked` comes on top.
    pub fn tick(&mut self, leaked: f64) -> u64 {
        self.tick += 1.0;
        let base = self.base;
        let has_peak = self.random.share() < 0.1;
        let peak = if has_peak { self.random.exponential(self.noise * base * 2.0) } else { 0.0 };
        let wobble = (self.noise * 0.3 * base * self.random.normal()).abs();
        let own = self.own();
        (base + own + peak + wobble + leaked).max(1_024.0) as u64 / 4 * 4
    }

    fn own(&mut self) -> f64 {
        let (base, tick) = (self.base, self.tick);
        match self.heap {
            Heap::Flat => 0.0,
            Heap::WarmUp => self.amplitude * (1.0 - (-tick / self.filling).exp()),
            Heap::Logarithmic => self.amplitude * 0.25 * (1.0 + tick / 12.0).ln(),
            Heap::Bounded => self.amplitude * (tick / (self.filling * 2.0)).min(1.0),
            Heap::Saw => {
                self.tooth += 1.0;
                if self.tooth >= self.next_collection {
                    self.tooth = 0.0;
                    self.next_collection = self.period * (0.7 + 0.6 * self.random.share());
                }
                self.amplitude * self.tooth / self.period
            }
            Heap::Ratchet => {
                if self.random.share() < 0.01 {
                    let high = self.random.pareto(0.02, 1.5).min(0.6) * base;
                    self.kept = self.kept.max(high * 0.6);
                }
                self.kept
            }
            Heap::Walk => {
                let step = 0.004 * base * self.random.normal();
                self.walk = (self.walk + step).clamp(-0.15 * base, 0.15 * base);
                self.walk
            }
        }
    }
}
