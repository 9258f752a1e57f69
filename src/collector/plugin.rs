//! The handle of one plugin.

use std::fmt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, Weak};

use super::registry::Registry;
use crate::error::{CgroupError, CounterError, LimitError};
use crate::name::clean_version;
use crate::os::{cgroup, exit_status};
use crate::snapshot::limit::Limits;
use crate::snapshot::run::RunId;
use crate::snapshot::state::PluginState;
use crate::sync::cgroup::CgroupReader;
use crate::sync::command::{
    ChildReading, Command, CommandSender, PluginId, PluginUpdate, ProcessStart,
};
use crate::sync::counter::{EventCounter, next_run_id};
use crate::time::TimePoint;

/// A handle of a registered plugin: for its processes, its state and limits, and its event counters.
///
/// [`Collector::register`](crate::Collector::register) returns it. It is cheap to clone, `Send` and
/// `Sync`. No method waits for the sampler, and the reports of one thread are applied in their order.
/// Snapshots show their effect within about ten milliseconds, before the next tick. Reports after the
/// collector was stopped, or after the plugin was [removed](Self::remove), have no effect; the counters
/// still count. Dropping a handle does not remove the plugin.
///
/// ```
/// use plugmeter::{Collector, Config, PluginState};
/// use std::process::{Command, Stdio};
///
/// let collector = Collector::start(Config::default())?;
/// let plugin = collector.register("cat")?;
/// # #[cfg(unix)] {
///
/// let mut child = plugin.spawn(Command::new("cat").stdin(Stdio::piped()), "9.1")?;
/// child.wait()?; // closes its input: it exits by itself
///
/// let snapshot = collector.sample_now()?;
/// let cat = snapshot.plugin("cat").unwrap();
/// assert_eq!((cat.state(), cat.crash_count()), (PluginState::Stopped, 0));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Plugin(Arc<Handle>);

struct Handle {
    name: Arc<str>,
    id: PluginId,
    events: EventCounter,
    sender: Arc<CommandSender>,
    registry: Weak<Registry>,
    clock: ReportClock,
}

/// The time of a report; `None` in a simulation, where only simulated time passes.
pub(crate) type ReportClock = fn() -> Option<TimePoint>;

impl Plugin {
    pub(crate) fn new(
        name: Arc<str>,
        id: PluginId,
        sender: Arc<CommandSender>,
        registry: Weak<Registry>,
        clock: ReportClock,
        events: EventCounter,
    ) -> Self {
        Self(Arc::new(Handle { name, id, events, sender, registry, clock }))
    }

    pub(crate) fn id(&self) -> PluginId {
        self.0.id
    }

    fn send(&self, update: PluginUpdate) {
        self.0.sender.send(Command::Update(self.0.id, update));
    }

    /// The registered name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Reports that a process of this plugin is running: a new run begins, and the state becomes
    /// [`Running`](PluginState::Running).
    ///
    /// `version` is shown with the run; `""` is none. It is cut to 128 bytes, and control characters are
    /// replaced. Report a process *before* it is reaped: afterwards its pid may belong to another one.
    ///
    /// If a run is active and its process lives, that run ends as
    /// [replaced](crate::RunEnd::Replaced), which is not a crash: a hot reload. The same process may
    /// be reported again under a new version.
    ///
    /// A pid that cannot be a process (0, the id of a thread, above `i32::MAX`), or whose process
    /// started after this call, is rejected: an active run ends, none begins, the state becomes
    /// [`Failed`](PluginState::Failed), and [`read_error`](crate::PluginView::read_error) has the
    /// reason.
    ///
    /// Returns the id of the run, for [`exited`](Self::exited). If no run begins, because the pid is
    /// rejected, the plugin was removed, or the collector was stopped, reports about that id have no
    /// effect.
    ///
    /// [`spawn`](Self::spawn) and [`attach`](Self::attach) include this report, and that of the exit.
    ///
    /// ```
    /// use plugmeter::{Collector, Config, PluginState};
    /// # #[cfg(unix)] {
    /// use std::process::Command;
    ///
    /// let collector = Collector::start(Config::default())?;
    /// let plugin = collector.register("true")?;
    /// let mut child = Command::new("true").spawn()?;
    /// let run = plugin.started(child.id(), "1.0");
    /// plugin.exited(run, child.wait()?);
    /// assert_eq!(collector.sample_now()?.plugin("true").unwrap().state(), PluginState::Stopped);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn started(&self, pid: u32, version: &str) -> RunId {
        self.report_start(pid, version, None, PluginUpdate::Started)
    }

    /// Reports a process as [`started`](Self::started) does, if it has a cgroup of its own: the CPU time
    /// of its tree is read from the cgroup.
    ///
    /// [`tree_cpu_time`](crate::PluginView::tree_cpu_time) and
    /// [`tree_cpu_percent`](crate::Sample::tree_cpu_percent) then include every descendant, however
    /// short its life: also children of a process that ignores `SIGCHLD`, and daemons that were forked
    /// twice and have called `setsid`, which cannot be attributed to the plugin without a cgroup. The
    /// number of processes and the memory of the tree are read as without one.
    ///
    /// `cgroup` is the folder of a cgroup of version 2. The process has to enter it before it starts
    /// others, and no other process may enter it: all CPU time that is used in it, and in the cgroups
    /// below it, counts as the plugin's.
    ///
    /// The cgroup is opened by this call, and stays open until the next run begins, or until the plugin
    /// or the cgroup is removed. A new cgroup of the same name has no effect. If the cgroup is removed
    /// while the run is active, a warning is logged once, and the tree is read as without a cgroup. Its
    /// CPU time grows again as soon as the time that is read so exceeds the time that the cgroup had
    /// counted. So no CPU time counts twice.
    ///
    /// ```no_run
    /// use plugmeter::{Collector, Config};
    /// use std::fs;
    /// use std::path::Path;
    /// use std::process::Command;
    ///
    /// let collector = Collector::start(Config::default())?;
    /// let plugin = collector.register("build")?;
    ///
    /// let cgroup = Path::new("/sys/fs/cgroup/my-host/build");
    /// fs::create_dir_all(cgroup)?;
    /// // The shell enters the cgroup, and becomes the program.
    /// let mut child = Command::new("sh")
    ///     .args(["-c", r#"echo $$ >"$0/cgroup.procs" && exec make -j8"#])
    ///     .arg(cgroup)
    ///     .spawn()?;
    /// let run = plugin.started_in_cgroup(child.id(), "1.0", cgroup)?;
    /// plugin.exited(run, child.wait()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CgroupError`] if the path is not a cgroup of version 2 or cannot be opened, or if the collector
    /// does not read cgroups. Then nothing was reported, and the host may call `started` instead.
    ///
    /// # Cost
    ///
    /// Opens two files; in each tick it costs about as much as reading one more process.
    pub fn started_in_cgroup(
        &self,
        pid: u32,
        version: &str,
        cgroup: &Path,
    ) -> Result<RunId, CgroupError> {
        let Handle { sender, .. } = &*self.0;
        let cgroup = match sender.is_open() {
            true if sender.reads_cgroups() => Some(cgroup::open(cgroup)?),
            true => return Err(CgroupError::Unsupported),
            // As `started`: a report without effect.
            false => None,
        };
        Ok(self.report_start(pid, version, cgroup, PluginUpdate::Started))
    }

    /// Reports a child for which the crate waits, with its first reading.
    pub(super) fn child_started(
        &self,
        pid: u32,
        version: &str,
        first: Option<ChildReading>,
    ) -> RunId {
        let first = self.if_real(first);
        self.report_start(pid, version, None, |start| PluginUpdate::ChildStarted(start, first))
    }

    fn report_start(
        &self,
        pid: u32,
        version: &str,
        cgroup: Option<Box<dyn CgroupReader>>,
        update: impl FnOnce(ProcessStart) -> PluginUpdate,
    ) -> RunId {
        let run = next_run_id();
        if self.0.sender.is_open() {
            let reported_at = (self.0.clock)();
            let version = clean_version(version);
            self.send(update(ProcessStart { run, pid, version, reported_at, cgroup }));
        }
        run
    }

    /// The reading; `None` in a simulation, whose time is not that of real processes.
    fn if_real(&self, reading: Option<ChildReading>) -> Option<ChildReading> {
        reading.filter(|_| (self.0.clock)().is_some())
    }

    /// Reports that the process of `run` has exited, with the status that waiting for it returned.
    ///
    /// Exit code 0, the signals that request termination (HUP, INT, TERM, PIPE), the exit codes by
    /// which shells and runtimes report these (129, 130, 141, 143), and those of
    /// [`Config::clean_exit_codes`](crate::Config::clean_exit_codes) are a clean end. Every other end
    /// counts as a crash immediately, unless the plugin was [`Stopping`](PluginState::Stopping) or that
    /// run was announced to end.
    ///
    /// If the sampler had detected the exit without a status, this report decides whether it was a
    /// crash. If that was decided already, only the exit status is recorded, and the crash count does
    /// not change. The state changes only if `run` is the plugin's newest run. The id of a run of another
    /// plugin is ignored, which is logged once for each plugin.
    pub fn exited(&self, run: RunId, status: ExitStatus) {
        self.send(PluginUpdate::Exited(run, exit_status::process_exit(status)));
    }

    /// Reports that the host ends the child of `run`.
    pub(super) fn child_stopping(&self, run: RunId) {
        self.send(PluginUpdate::ChildStopping(run));
    }

    /// Reports that the child of `run` was waited for, with its last reading.
    pub(super) fn child_exited(&self, run: RunId, status: ExitStatus, last: Option<ChildReading>) {
        let (exit, last) = (exit_status::process_exit(status), self.if_real(last));
        self.send(PluginUpdate::ChildExited(run, exit, last));
    }

    /// Reports that the newest run has ended as intended: for hosts that have no exit status. The state
    /// becomes [`Stopped`](PluginState::Stopped).
    pub fn stopped(&self) {
        self.send(PluginUpdate::Stopped);
    }

    /// Reports that the newest run has crashed: for hosts that have no exit status. The state becomes
    /// [`Crashed`](PluginState::Crashed). The crash is counted, unless it was already decided whether the
    /// end of that run is a crash.
    pub fn crashed(&self) {
        self.send(PluginUpdate::Crashed);
    }

    /// Sets the state.
    ///
    /// With `Starting`, `Running`, `Unhealthy` and `Stopping` the run continues; after `Stopping`, its
    /// end is never a crash, whatever state is set after that: one of `Starting` may be about the next
    /// process. `Stopped` and `Crashed` are the reports [`stopped`](Self::stopped) and
    /// [`crashed`](Self::crashed). `Failed` ends the active run without counting a crash.
    pub fn set_state(&self, state: PluginState) {
        self.send(PluginUpdate::State(state));
    }

    /// Sets the limits of this plugin, in place of those of [`Config::limits`](crate::Config::limits)
    /// or of an earlier call. A limit that stays the same keeps its state.
    ///
    /// # Errors
    ///
    /// [`LimitError`] if a limit is invalid; then nothing changes.
    ///
    /// ```
    /// use plugmeter::{Collector, Config, Limit, LimitMetric, Limits};
    ///
    /// let collector = Collector::start(Config::default())?;
    /// let plugin = collector.register("dice")?;
    /// plugin.set_limits(Limits::default().rule(Limit::new(LimitMetric::CpuPercent, 80.0)))?;
    /// let snapshot = collector.sample_now()?;
    /// assert_eq!(snapshot.plugin("dice").unwrap().limits().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_limits(&self, limits: Limits) -> Result<(), LimitError> {
        self.send(PluginUpdate::Limits(limits.validate()?));
        Ok(())
    }

    /// Returns the counter of all events of this plugin. Clone it into the code that handles them.
    ///
    /// Its value includes the events that the counters of [kinds](Self::event_counter) have counted.
    #[must_use]
    pub fn events(&self) -> &EventCounter {
        &self.0.events
    }

    /// Returns the counter of the events of one kind, for example of commands beside messages.
    ///
    /// The first call with a name creates the kind, which stays until the plugin is removed; later calls
    /// return the same counter. A plugin has at most 32 kinds. Call this once for each kind, and clone the
    /// counter into the code that handles the events.
    ///
    /// [`PluginView::event_counts`](crate::PluginView::event_counts) returns the values of a tick.
    ///
    /// ```
    /// use plugmeter::{Collector, Config};
    ///
    /// let collector = Collector::start(Config::default())?;
    /// let plugin = collector.register("bot")?;
    /// let commands = plugin.event_counter("command")?;
    /// let messages = plugin.event_counter("message")?;
    /// commands.increment();
    /// messages.add(3);
    ///
    /// let snapshot = collector.sample_now()?;
    /// let bot = snapshot.plugin("bot").unwrap();
    /// let counts: Vec<_> = bot.event_counts().collect();
    /// assert_eq!(counts, [("command", 1), ("message", 3)]);
    /// assert_eq!(bot.event_count(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CounterError::InvalidName`] for a name that is empty, longer than 128 bytes, or contains a
    /// control character; [`CounterError::TooManyKinds`] for the 33rd kind of a plugin.
    ///
    /// # Cost
    ///
    /// A linear search among the kinds. Counting costs one atomic addition, as without a kind.
    pub fn event_counter(&self, kind: &str) -> Result<EventCounter, CounterError> {
        self.0.events.of_kind(kind)
    }

    /// Removes the plugin: the next snapshot does not contain it; older snapshots keep it.
    ///
    /// Its process goes on, and is not sampled any more. The name is free immediately: registering it
    /// again creates a new plugin, with its own history and counters from 0. Other handles of this
    /// plugin have no effect any more.
    pub fn remove(&self) {
        if let Some(registry) = self.0.registry.upgrade() {
            registry.remove(&self.0.name, self.0.id);
        }
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.0.name)
            .field("events", &self.0.events.get())
            .finish()
    }
}
