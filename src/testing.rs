//! A simulated collector, for the tests of hosts.

mod probe;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::probe::{SimulatedProbe, SimulatedProcess};
use crate::collector::Plugin;
use crate::collector::registry::{Registry, RestoredNames};
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::pass::{Environment, TickCost};
use crate::error::{ConfigError, RegisterError};
use crate::os::tree::NoTrees;
use crate::sampler::collector_info;
use crate::snapshot::Snapshot;
use crate::snapshot::inner::{CollectorInfo, SnapshotInner};
use crate::snapshot::notification::Notification;
use crate::snapshot::system::CollectorStatus;
use crate::sync::command::{Command, CommandReceiver, CommandSender};
use crate::sync::publish::{Publisher, Reader};
use crate::sync::subscription::{Notifier, SubscriberSender, Subscription};
use crate::time::{MonoNanos, TimePoint};

/// A collector with simulated time and processes: a week of a crash loop takes a millisecond.
///
/// It runs the same code as the thread of a [`Collector`](crate::Collector), and returns the same
/// [`Plugin`] and [`Reader`]. Reports are applied, in order, when simulated time next passes: by
/// [`tick`](Self::tick) or by [`advance`](Self::advance). A process starts, with no CPU time used, at the
/// simulated time at which [`started`](Plugin::started) was called; it lives until a tick observes its
/// end, or a report ends it.
///
/// Real clocks are read once, when the simulation is created: from then on
/// [`sampled_at`](Snapshot::sampled_at) and [`sampled_at_instant`](Snapshot::sampled_at_instant)
/// count simulated time. With a config that is not [enabled](Config::enabled) it behaves like a
/// collector with that config: no time passes, and snapshots are empty.
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
    commands: CommandReceiver,
    engine: Engine<SimulatedProcess, NoTrees>,
    publisher: Publisher,
    notifier: Notifier,
    now: TimePoint,
    poll_interval: Duration,
    enabled: bool,
    process_trees: bool,
}

/// What a tick observes of a process.
///
/// ```
/// use plugmeter::testing::{Observed, Usage};
/// use std::time::Duration;
///
/// let usage = Usage { cpu_time: Duration::from_secs(1), memory_bytes: 1 << 20 };
/// assert_eq!(Observed::from(usage), Observed::Running(usage));
/// assert_eq!(Observed::from(None), Observed::Gone);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// It is alive, and has no descendants.
    Running(Usage),
    /// It is alive, and has or had descendants.
    ///
    /// `tree` is the usage of the process and all descendants together: CPU time since the process
    /// started, including descendants that have ended, and the memory of the living ones. A value that
    /// is less than that of `main` counts as that of `main`; a memory of 0 is unknown. `processes` is the
    /// number of the process and its living descendants; 0 counts as 1.
    ///
    /// ```
    /// use plugmeter::Config;
    /// use plugmeter::testing::{Observed, Simulation, Usage};
    /// use std::time::Duration;
    ///
    /// let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(5)))?;
    /// sim.register("build")?.started(4711, "");
    /// sim.tick(|_pid| Observed::RunningTree {
    ///     main: Usage { cpu_time: Duration::from_secs(1), memory_bytes: 8 << 20 },
    ///     tree: Usage { cpu_time: Duration::from_secs(6), memory_bytes: 64 << 20 },
    ///     processes: 9,
    /// });
    /// let snapshot = sim.snapshot();
    /// let sample = snapshot.plugin("build").unwrap().current().unwrap();
    /// assert_eq!((sample.cpu_percent, sample.tree_cpu_percent), (Some(20.0), Some(120.0)));
    /// assert_eq!((sample.memory_mb(), sample.tree_memory_mb()), (Some(8.0), Some(64.0)));
    /// assert_eq!(sample.process_count, Some(9));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    RunningTree {
        /// The reported process.
        main: Usage,
        /// The process and its descendants.
        tree: Usage,
        /// Living processes.
        processes: u32,
    },
    /// It has exited with this code.
    Exited(i32),
    /// This signal has terminated it.
    Signaled(i32),
    /// It is gone, and its exit status is unknown.
    Gone,
    /// There is no permission to read it.
    Denied,
}

/// CPU time and memory of a living process, or of a process tree.
///
/// ```
/// use plugmeter::testing::Usage;
/// use std::time::Duration;
///
/// let usage = Usage { cpu_time: Duration::from_secs(1), memory_bytes: 1 << 20 };
/// assert_eq!(usage, usage.clone());
/// ```
#[allow(clippy::exhaustive_structs)] // constructed by hosts, in literals
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since the process started.
    pub cpu_time: Duration,
    /// Resident memory in bytes; 0 is unknown.
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
    /// Creates a simulation of a collector with this config.
    ///
    /// # Errors
    ///
    /// Those of [`Collector::start`](crate::Collector::start) for the config.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::start(config, RestoredNames::default(), |_| ())
    }

    /// Creates a simulation of a collector that continues the values of a store, as
    /// [`Collector::resume`](crate::Collector::resume) does.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    #[cfg(feature = "store")]
    pub fn resume(
        config: Config,
        saved: crate::collector::saved::Saved,
    ) -> Result<Self, ConfigError> {
        Self::resume_at(config, saved, |started| started)
    }

    /// The same, with other clocks at the start.
    #[cfg(feature = "store")]
    pub(crate) fn resume_at(
        config: Config,
        saved: crate::collector::saved::Saved,
        clocks: impl FnOnce(TimePoint) -> TimePoint,
    ) -> Result<Self, ConfigError> {
        let (names, restored) = saved.prepare();
        let history_duration = config.validate()?.history_duration;
        let mut sim = Self::start(config, names, |started| *started = clocks(*started))?;
        if sim.enabled {
            sim.engine.restore(restored, history_duration);
            sim.engine.publish_restored(&mut sim.publisher);
        }
        Ok(sim)
    }

    fn start(
        config: Config,
        names: RestoredNames,
        set_clocks: impl FnOnce(&mut TimePoint),
    ) -> Result<Self, ConfigError> {
        let settings = config.with_linux_defaults().validate()?;
        let mut info = CollectorInfo {
            // The same on every machine, so that a test of findings gives the same result.
            cpu_cores: 4,
            machine_memory: Some(16 << 30),
            resumed: None,
            ..collector_info(&settings)
        };
        set_clocks(&mut info.started);
        let (sender, commands) = CommandSender::new(Box::new(|| ()));
        let (sender, status) = if settings.enabled {
            (sender, CollectorStatus::Running)
        } else {
            (CommandSender::disabled(), CollectorStatus::Disabled)
        };
        let (notifier, subscribers) = Notifier::new();
        let subscribers = if settings.enabled { subscribers } else { SubscriberSender::disabled() };
        Ok(Self {
            registry: Arc::new(Registry::new(Arc::new(sender), || None, names)),
            commands,
            engine: Engine::new(info, &settings),
            publisher: Publisher::new(SnapshotInner::before_first_tick(info, status), subscribers),
            notifier,
            now: info.started,
            poll_interval: settings.poll_interval,
            enabled: settings.enabled,
            process_trees: settings.process_trees,
        })
    }

    /// Registers a plugin, as [`Collector::register`](crate::Collector::register) does.
    ///
    /// # Errors
    ///
    /// Those of [`Collector::register`](crate::Collector::register).
    pub fn register(&self, name: &str) -> Result<Plugin, RegisterError> {
        self.registry.register(name)
    }

    /// Lets one poll interval pass, and samples. `observe` is called once for each active run, with its
    /// pid, and returns what the tick observes of that process: an [`Observed`], a [`Usage`], or an
    /// `Option<Usage>` whose `None` is [`Observed::Gone`].
    ///
    /// A panic in `observe` is a failed read of that plugin: its sample has no values, and
    /// [`failed_reads`](crate::SamplerStats::failed_reads) counts it.
    pub fn tick<O: Into<Observed>>(&mut self, mut observe: impl FnMut(u32) -> O) {
        if !self.enabled {
            return;
        }
        let mut observe = |pid| observe(pid).into();
        // Reports belong to the time before this interval.
        self.run_pass(Pass::ApplyReports, &mut |_| Observed::Gone);
        self.now = self.now.after(self.poll_interval);
        self.run_pass(Pass::Tick, &mut observe);
    }

    /// Lets time pass without a tick, as when the sampler is late or the machine sleeps. Crashes are
    /// counted when they are due. No tick counts as missed, because the following ticks move by the same
    /// time.
    pub fn advance(&mut self, time: Duration) {
        if !self.enabled {
            return;
        }
        self.run_pass(Pass::ApplyReports, &mut |_| Observed::Gone);
        self.now = self.now.after(time);
        self.run_pass(Pass::Publish, &mut |_| Observed::Gone);
    }

    /// The machine sleeps: the monotonic clock stands still.
    #[cfg(all(test, feature = "store", not(miri)))]
    pub(crate) fn sleep(&mut self, time: Duration) {
        self.now.wall += time;
        self.now.boot += time;
    }

    /// The wall clock is set back.
    #[cfg(all(test, feature = "store", not(miri)))]
    pub(crate) fn set_clock_back(&mut self, by: Duration) {
        self.now.wall -= by;
    }

    /// Returns a reader of snapshots, for any thread.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.publisher.reader()
    }

    /// Returns the newest snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.reader().snapshot()
    }

    /// Returns a subscription, as [`Collector::subscribe`](crate::Collector::subscribe) does.
    /// Notifications are sent when simulated time passes.
    ///
    /// ```
    /// use plugmeter::testing::Simulation;
    /// use plugmeter::{Config, NotificationKind};
    /// use std::time::Duration;
    ///
    /// let mut sim = Simulation::new(Config::default())?;
    /// let subscription = sim.subscribe();
    /// sim.register("dice")?;
    /// sim.advance(Duration::ZERO);
    /// assert_eq!(subscription.try_recv()?.kind, NotificationKind::Registered);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.publisher.reader().subscribe()
    }

    fn run_pass(&mut self, pass: Pass, observe: &mut dyn FnMut(u32) -> Observed) {
        let mut env = SimulatedEnvironment {
            now: self.now,
            pass,
            commands: &self.commands,
            publisher: &mut self.publisher,
            notifier: &mut self.notifier,
            probe: SimulatedProbe {
                now: self.now,
                process_trees: self.process_trees,
                tree: None,
                observe,
            },
        };
        // No handle of a simulation sends Stop or SampleNow, so the result is empty.
        self.engine.run_pass(&mut env);
        for warning in self.engine.take_warnings() {
            log::warn!("plugin {:?}: {}", warning.plugin, warning.cause);
        }
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Simulation").field(&self.snapshot()).finish()
    }
}

/// What a pass may do besides processing commands, exits and crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// Nothing.
    ApplyReports,
    /// Publish changes.
    Publish,
    /// Tick, and publish.
    Tick,
}

/// One simulated time, and a script.
struct SimulatedEnvironment<'a> {
    now: TimePoint,
    pass: Pass,
    commands: &'a CommandReceiver,
    publisher: &'a mut Publisher,
    notifier: &'a mut Notifier,
    probe: SimulatedProbe<'a>,
}

impl<'a> Environment for SimulatedEnvironment<'a> {
    type Probe = SimulatedProbe<'a>;

    fn now(&mut self) -> TimePoint {
        self.now
    }

    fn probe(&mut self) -> &mut Self::Probe {
        &mut self.probe
    }

    fn drain_exits(&mut self, _each: impl FnMut(u64)) {
        // Exits of simulated processes are observed by ticks.
    }

    fn queued_commands(&self) -> usize {
        self.commands.len()
    }

    fn next_command(&mut self) -> Option<Command> {
        self.commands.try_next()
    }

    fn is_tick_due(&self, _now: MonoNanos) -> bool {
        self.pass == Pass::Tick
    }

    fn begin_tick(&mut self, _now: MonoNanos) -> u64 {
        0
    }

    fn tick_cost(&mut self, _began: MonoNanos) -> Option<TickCost> {
        None
    }

    fn may_publish(&self, _now: MonoNanos) -> bool {
        self.pass == Pass::Publish
    }

    fn publish(&mut self, next: Arc<SnapshotInner>, _now: MonoNanos) -> Arc<SnapshotInner> {
        self.publisher.publish(next)
    }

    fn notify(&mut self, notifications: &mut Vec<Notification>) -> u64 {
        self.notifier.send(notifications)
    }
}
