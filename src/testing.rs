//! The sampler without thread, clock and operating system, for the tests of hosts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::collector::Plugin;
use crate::collector::registry::Registry;
use crate::config::Config;
use crate::error::{ConfigError, RegisterError};
use crate::model::problem::ReadError;
use crate::model::reading::{Bytes, CpuTime, Mono, Reading};
use crate::model::run::Outcome;
use crate::model::snapshot::{Published, Snapshot};
use crate::model::time::Now;
use crate::os::{Found, Identity, Opened, Probe, Unread};
use crate::sampler::origin;
use crate::sampler::roster::Roster;
use crate::shared::command::{Command, Commands, Line};
use crate::shared::publish::{Publisher, Reader};

/// A collector whose time and processes are yours: a week of a crash loop takes a millisecond.
///
/// It drives the very code that the sampler's thread drives, and its handles are the same. What is
/// said to them is applied, in order, when time next moves: by a [`tick`](Self::tick) or by
/// [`advance`](Self::advance). A process starts, with no CPU time used, at the simulated moment at
/// which [`started`](Plugin::started) was called; it lives until a tick's answer, or the host, says
/// otherwise.
///
/// No real clock is asked but once, when the simulation is made: from then
/// [`sampled_at`](Snapshot::sampled_at) and [`sampled_at_instant`](Snapshot::sampled_at_instant) count. Of a config that is
/// not [enabled](Config::enabled) it is the same as of a collector: no time passes, and nothing is seen.
///
/// ```
/// use plugmeter::testing::{Observed, Simulation, Usage};
/// use plugmeter::{Config, PluginState};
/// use std::time::Duration;
///
/// let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(5)))?;
/// let plugin = sim.register("dice")?;
///
/// // Half a core for five seconds, and then it crashes.
/// plugin.started(4711, "1.0");
/// sim.tick(|_pid| Usage { cpu_time: Duration::from_millis(2_500), memory_bytes: 8 << 20 });
/// let snapshot = sim.snapshot();
/// assert_eq!(snapshot.plugin("dice").unwrap().current().unwrap().cpu_percent, Some(50.0));
///
/// sim.tick(|_pid| Observed::Signaled(11));
/// sim.advance(Duration::from_secs(1));
/// let snapshot = sim.snapshot();
/// let dice = snapshot.plugin("dice").unwrap();
/// assert_eq!((dice.state(), dice.crash_count()), (PluginState::Crashed, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Simulation {
    registry: Arc<Registry>,
    commands: Commands,
    roster: Roster<Simulated>,
    publisher: Publisher,
    now: Now,
    poll_interval: Duration,
    enabled: bool,
}

/// What a tick finds of a process.
///
/// ```
/// use plugmeter::testing::{Observed, Usage};
/// use std::time::Duration;
///
/// let usage = Usage { cpu_time: Duration::from_secs(1), memory_bytes: 1 << 20 };
/// assert_eq!(Observed::from(usage), Observed::Running(usage));
/// assert_eq!(Observed::from(None), Observed::Gone);
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// It lives.
    Running(Usage),
    /// It has ended with this exit code.
    Exited(i32),
    /// This signal has ended it.
    Signaled(i32),
    /// It is gone, and nobody knows how.
    Gone,
    /// It may not be read.
    Denied,
}

/// What a living process has used.
///
/// ```
/// use plugmeter::testing::Usage;
/// use std::time::Duration;
///
/// let usage = Usage { cpu_time: Duration::from_secs(1), memory_bytes: 1 << 20 };
/// assert_eq!(usage, usage.clone());
/// ```
#[allow(clippy::exhaustive_structs)] // made by hosts, in literals
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since the process started.
    pub cpu_time: Duration,
    /// Resident memory; 0 is unknown.
    pub memory_bytes: u64,
}

impl From<Usage> for Observed {
    fn from(usage: Usage) -> Self {
        Self::Running(usage)
    }
}

impl From<Option<Usage>> for Observed {
    fn from(usage: Option<Usage>) -> Self {
        usage.map_or(Self::Gone, Self::Running)
    }
}

impl Simulation {
    /// A simulation of a collector with this config.
    ///
    /// # Errors
    ///
    /// What [`Collector::start`](crate::Collector::start) would refuse.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let plan = config.plan()?;
        let (line, commands) = Line::new(Box::new(|| ()), plan.enabled);
        let origin = origin(&plan);
        Ok(Self {
            registry: Arc::new(Registry::new(Arc::new(line), || None)),
            commands,
            roster: Roster::new(origin, plan.samples.get()),
            publisher: Publisher::new(Published::before_the_first_tick(origin, !plan.enabled)),
            now: origin.started,
            poll_interval: plan.poll_interval,
            enabled: plan.enabled,
        })
    }

    /// Registers a plugin, as [`Collector::register`](crate::Collector::register) does.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn register(&self, name: &str) -> Result<Plugin, RegisterError> {
        self.registry.register(name)
    }

    /// Lets one poll interval pass, and samples. `observe` is called with the pid of each open run,
    /// once a run, and answers what the tick is to see of that process.
    ///
    /// If it panics, that plugin's read has failed, as a real one would have: the sample has no
    /// values, and [`failed_reads`](crate::SamplerStats::failed_reads) counts it.
    pub fn tick<O: Into<Observed>>(&mut self, mut observe: impl FnMut(u32) -> O) {
        if !self.enabled {
            return;
        }
        let mut observe = |pid| observe(pid).into();
        self.hear();
        self.now = self.now.after(self.poll_interval);
        self.roster.settle(Some(self.now.mono));
        let mut world = World::new(self.now, &mut observe);
        self.roster.tick(self.now, &mut world);
        // An end that the tick found is acted on when the host has been heard.
        self.hear();
        self.publish();
    }

    /// Lets time pass without a tick: a late one, a sleeping machine. Crashes that are due by then
    /// are counted. No tick is missed by it: the schedule moves with it.
    pub fn advance(&mut self, time: Duration) {
        if !self.enabled {
            return;
        }
        self.hear();
        self.now = self.now.after(time);
        self.roster.settle(Some(self.now.mono));
        if self.roster.is_changed() {
            self.publish();
        }
    }

    /// What reads snapshots, from any thread.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.publisher.reader()
    }

    /// The newest snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.reader().snapshot()
    }

    /// Applies what was said, and acts on the ends that are known.
    fn hear(&mut self) {
        let mut unseen = |_| Observed::Gone;
        let mut world = World::new(self.now, &mut unseen);
        // Once more for the ends that are learnt of in applying what was said.
        for _ in 0..2 {
            let (known, queued) = (self.roster.listed(), self.commands.len());
            for command in self.commands.try_iter().take(queued) {
                match command {
                    Command::Change(change) => self.roster.apply(change, self.now, &mut world),
                    // Nobody has a collector to ask for these with.
                    Command::Sample(_) | Command::Stop => {}
                }
            }
            self.roster.act_on_ends(known);
        }
        self.roster.settle(Some(self.now.mono));
    }

    fn publish(&mut self) {
        self.roster.publish(&self.now, false, &mut self.publisher);
        for notice in self.roster.notices() {
            log::warn!("plugin {:?}: {}", notice.name, notice.problem);
        }
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Simulation").field(&self.snapshot()).finish()
    }
}

/// A process that is nothing but a number.
#[derive(Debug)]
struct Simulated {
    pid: u32,
}

/// The probe of a simulation: one moment, and a script.
struct World<'a> {
    now: Now,
    /// The same moment, for readings.
    at: Mono,
    observe: &'a mut dyn FnMut(u32) -> Observed,
}

impl<'a> World<'a> {
    fn new(now: Now, observe: &'a mut dyn FnMut(u32) -> Observed) -> Self {
        // All simulated clocks go alike; this one counts in nanoseconds anyway.
        Self { now, at: Mono(CpuTime::from(now.boot).0), observe }
    }
}

impl Probe for World<'_> {
    type Process = Simulated;

    fn shortest_interval(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn open(&mut self, pid: u32, _called: Option<&Now>, _token: u64) -> Opened<Found<Simulated>> {
        Opened::Found(Found {
            process: Simulated { pid },
            began: Some(self.now.boot),
            reading: Ok(Reading { at: self.at, cpu_time: CpuTime::default(), resident: None }),
        })
    }

    fn prepare<'p>(&mut self, _processes: impl Iterator<Item = &'p Simulated>) {}

    #[inline]
    fn read(&mut self, process: &mut Simulated) -> Result<Reading, Unread> {
        match (self.observe)(process.pid) {
            Observed::Running(usage) => Ok(Reading {
                at: self.at,
                cpu_time: usage.cpu_time.into(),
                resident: Bytes::known(usage.memory_bytes),
            }),
            Observed::Exited(code) => Err(Unread::Ended(Outcome::Exited(code), None)),
            Observed::Signaled(signal) => Err(Unread::Ended(Outcome::Signaled(signal), None)),
            Observed::Gone => Err(Unread::Ended(Outcome::Unknown, None)),
            Observed::Denied => Err(Unread::Failed(ReadError::PermissionDenied)),
        }
    }

    fn check(&mut self, _process: &mut Simulated) -> Result<Option<Reading>, Unread> {
        Ok(None)
    }

    fn identity(&self, _process: &Simulated) -> Option<Identity> {
        // A process that is named when none is open has just started.
        None
    }
}
