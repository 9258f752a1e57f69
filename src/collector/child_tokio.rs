//! Children of `tokio::process`, waited for by a task. Feature `tokio`.
//!
//! The functions and methods are those of [`Plugin::spawn`], [`Plugin::spawn_in_group`],
//! [`Plugin::attach`] and [`PluginChild`](crate::PluginChild). None waits for the sampler.
//!
//! Call them by their full path. `use plugmeter::*` would import this module as `tokio`, in place of the
//! crate of that name.
//!
//! ```
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! use plugmeter::{Collector, Config};
//! use tokio::process::Command;
//!
//! let collector = Collector::start(Config::default())?;
//! let plugin = collector.register("dice")?;
//! # #[cfg(unix)] {
//! let mut command = Command::new("sh");
//! command.args(["-c", "exit 3"]).kill_on_drop(true);
//! let mut child = plugmeter::tokio::spawn(&plugin, &mut command, "1.0")?;
//! let status = child.wait().await?; // reported: a crash
//! assert_eq!(status.code(), Some(3));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use ::tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use ::tokio::time;

use super::child::{ChildReports, first_reading};
use super::plugin::Plugin;
use crate::os::child::{self, ChildState, ExitSignal, ProcessGroup};
use crate::snapshot::run::RunId;
use crate::snapshot::state::PluginState;
use crate::sync::command::ChildReading;
use crate::sync::counter::next_run_id;

/// Starts a child process of `plugin`, and reports it, as [`Plugin::spawn`] does.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// # use plugmeter::{Collector, Config};
/// # use std::time::Duration;
/// # use tokio::process::Command;
/// # let collector = Collector::start(Config::default())?;
/// # let plugin = collector.register("true")?;
/// # #[cfg(unix)] {
/// let mut child = plugmeter::tokio::spawn(&plugin, &mut Command::new("true"), "1.0")?;
/// assert!(child.wait().await?.success());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Those of [`Command::spawn`]. Then the state is [`Failed`](PluginState::Failed), and no run is
/// active.
///
/// # Panics
///
/// Outside of a runtime with I/O, as [`Command::spawn`].
pub fn spawn(plugin: &Plugin, command: &mut Command, version: &str) -> io::Result<PluginChild> {
    plugin.set_state(PluginState::Starting);
    let first = child::before_start();
    let spawned = command.spawn().inspect_err(|_| plugin.set_state(PluginState::Failed))?;
    let mut child = PluginChild::new(plugin, spawned, version, Some(first));
    child.on_drop.killed_pid = child.id().filter(|_| command.get_kill_on_drop());
    Ok(child)
}

/// Starts a child process as [`spawn`] does, in a process group of its own: see
/// [`Plugin::spawn_in_group`] for the reasons.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// # use plugmeter::{Collector, Config};
/// # use tokio::process::Command;
/// # let collector = Collector::start(Config::default())?;
/// # let plugin = collector.register("build")?;
/// # #[cfg(unix)] {
/// let mut wrapper = Command::new("sh");
/// wrapper.args(["-c", "(nohup sleep 0.1 >/dev/null &); true"]);
/// let mut child = plugmeter::tokio::spawn_in_group(&plugin, &mut wrapper, "1.0")?;
/// assert!(child.wait().await?.success());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Those of [`spawn`].
///
/// # Panics
///
/// Outside of a runtime with I/O, as [`spawn`].
pub fn spawn_in_group(
    plugin: &Plugin,
    command: &mut Command,
    version: &str,
) -> io::Result<PluginChild> {
    child::set_own_group(command.as_std_mut());
    spawn(plugin, command, version)
}

/// Reports a child process that was started elsewhere, as [`Plugin::attach`] does.
///
/// If the child was waited for before, it has no pid: no run begins, and waiting reports nothing.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// # use plugmeter::{Collector, Config};
/// # let collector = Collector::start(Config::default())?;
/// # let plugin = collector.register("true")?;
/// # #[cfg(unix)] {
/// let child = tokio::process::Command::new("true").spawn()?;
/// let mut child = plugmeter::tokio::attach(&plugin, child, "1.0");
/// assert!(child.wait().await?.success());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn attach(plugin: &Plugin, child: Child, version: &str) -> PluginChild {
    let first = child.id().and_then(first_reading);
    PluginChild::new(plugin, child, version, first)
}

/// A child process of a plugin: a [`Child`] of tokio, with reports of how it ends.
///
/// Created by [`spawn`], [`spawn_in_group`] and [`attach`]. The first [`wait`](Self::wait),
/// [`try_wait`](Self::try_wait), [`stop`](Self::stop), [`stop_group`](Self::stop_group) or
/// [`kill`](Self::kill) that obtains a status reports it, once, with the process's final CPU time on
/// Linux.
///
/// Dropping it does what dropping a [`Child`] does: the process goes on, and the sampler continues to
/// sample it; or the process is killed, if the command was set to
/// [`kill_on_drop`](Command::kill_on_drop). That kill is not a crash for a child of [`spawn`]; an exit
/// before it may be. For a child of [`attach`] the setting is not available, so the kill may count as a
/// crash.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// use plugmeter::{Collector, Config, PluginState};
/// use std::time::Duration;
/// use tokio::process::Command;
///
/// let collector = Collector::start(Config::default())?;
/// let plugin = collector.register("sleep")?;
/// # #[cfg(unix)] {
/// let mut child = plugmeter::tokio::spawn(&plugin, Command::new("sleep").arg("1000"), "1.0")?;
/// assert_eq!(child.try_wait()?, None);
/// child.stop(Duration::from_secs(2)).await?;
/// assert_eq!(collector.sample_now()?.plugin("sleep").unwrap().state(), PluginState::Stopped);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PluginChild {
    /// The pipe to the child's standard input, if the command has one. Waiting closes it.
    pub stdin: Option<ChildStdin>,
    /// The pipe from the child's standard output, if the command has one.
    pub stdout: Option<ChildStdout>,
    /// The pipe from the child's standard error, if the command has one.
    pub stderr: Option<ChildStderr>,
    /// Before the child, because fields are dropped in this order: the kill is announced first.
    on_drop: OnDrop,
    child: Child,
    exit_signal: Option<ExitSignal>,
}

/// Announces the kill by tokio at the drop of a child.
struct OnDrop {
    reports: ChildReports,
    /// Of a child that tokio kills.
    killed_pid: Option<u32>,
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        // An earlier exit is not by the kill.
        if let Some(pid) = self.killed_pid.filter(|_| !self.reports.has_exited)
            && let state = self.reports.check(pid)
            && !matches!(state, ChildState::Exited(_))
            && !state.is_reaped_elsewhere()
        {
            self.reports.stopping();
        }
    }
}

impl PluginChild {
    fn new(plugin: &Plugin, mut child: Child, version: &str, first: Option<ChildReading>) -> Self {
        let (run, has_exited) = match child.id() {
            Some(pid) => (plugin.child_started(pid, version, first), false),
            None => (next_run_id(), true),
        };
        let mut reports = ChildReports::new(plugin, run);
        reports.has_exited = has_exited;
        Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            on_drop: OnDrop { reports, killed_pid: None },
            child,
            exit_signal: None,
        }
    }

    /// The process id; `None` once it was waited for, as [`Child::id`].
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The run that began with this child.
    #[must_use]
    pub const fn run(&self) -> RunId {
        self.on_drop.reports.run
    }

    /// Closes the child's standard input, waits until the child has exited, and reports its status.
    ///
    /// Cancel safe: a wait that was dropped has reported nothing, and `wait` may be called again.
    ///
    /// # Errors
    ///
    /// Those of [`Child::wait`], for example if the process was reaped elsewhere.
    ///
    /// # Panics
    ///
    /// On Linux, if the task runs on a runtime of tokio without I/O.
    ///
    /// # Cost
    ///
    /// On Linux a descriptor that is registered with the runtime until the child is dropped, and
    /// about thirty system calls more than [`Child::wait`].
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        let mut last = None;
        if let Some(pid) = self.child.id() {
            if self.exit_signal.is_none() {
                self.exit_signal = ExitSignal::new(pid);
            }
            if let Some(signal) = &self.exit_signal {
                // tokio reaps in its own wait only.
                signal.exited().await;
            }
            if let ChildState::Exited(reading) = self.on_drop.reports.check(pid) {
                last = reading;
            }
        }
        let status = self.child.wait().await?;
        self.exit_signal = None;
        self.on_drop.reports.exited(status, last);
        Ok(status)
    }

    /// Returns and reports the status if the child has exited, `None` if it runs. Does not wait.
    ///
    /// # Errors
    ///
    /// Those of [`Child::try_wait`].
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let state = self.child.id().map(|pid| self.on_drop.reports.check(pid));
        let last = match state {
            Some(ChildState::Running) => return Ok(None),
            Some(ChildState::Exited(last)) => last,
            Some(ChildState::Unknown) | None => None,
        };
        let status = self.child.try_wait()?;
        if let Some(status) = status {
            self.on_drop.reports.exited(status, last);
        }
        Ok(status)
    }

    /// Requests the child to terminate, as
    /// [`PluginChild::terminate`](crate::PluginChild::terminate) does.
    ///
    /// # Errors
    ///
    /// If the child may not be sent a signal. Those of [`try_wait`](Self::try_wait).
    pub fn terminate(&mut self) -> io::Result<()> {
        let Some(pid) = self.running()? else { return Ok(()) };
        self.on_drop.reports.stopping();
        match child::terminate(pid) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.child.start_kill(),
            result => result,
        }
    }

    /// Kills the child, and waits for its exit, as [`Child::kill`]. Not a crash: the state becomes
    /// [`Stopping`](PluginState::Stopping) first.
    ///
    /// # Errors
    ///
    /// Those of [`Child::kill`].
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub async fn kill(&mut self) -> io::Result<()> {
        if self.running()?.is_some() {
            self.on_drop.reports.stopping();
            self.child.start_kill()?;
        }
        self.wait().await.map(drop)
    }

    /// Stops the child: [terminates](Self::terminate) it, closes its standard input, waits up to
    /// `grace` for its exit, kills it if it still runs, and returns its status.
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// # use plugmeter::{Collector, Config};
    /// # use std::time::Duration;
    /// # use tokio::process::Command;
    /// # let collector = Collector::start(Config::default())?;
    /// # let plugin = collector.register("sleep")?;
    /// # #[cfg(unix)] {
    /// let mut sleep = Command::new("sleep");
    /// let mut child = plugmeter::tokio::spawn(&plugin, sleep.arg("1000"), "1.0")?;
    /// child.stop(Duration::from_secs(2)).await?;
    /// assert_eq!(collector.sample_now()?.plugin("sleep").unwrap().crash_count(), 0);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`terminate`](Self::terminate), [`kill`](Self::kill) and [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// If the runtime has no timer. As [`wait`](Self::wait).
    pub async fn stop(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        self.terminate()?;
        match time::timeout(grace, self.wait()).await {
            Ok(status) => status,
            Err(_) => {
                self.kill().await?;
                self.wait().await
            }
        }
    }

    /// Stops all processes of the group that the child leads, as
    /// [`PluginChild::stop_group`](crate::PluginChild::stop_group) does: for a child of
    /// [`spawn_in_group`].
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// # use plugmeter::{Collector, Config};
    /// # use std::time::Duration;
    /// # use tokio::process::Command;
    /// # let collector = Collector::start(Config::default())?;
    /// # let plugin = collector.register("wrapper")?;
    /// # #[cfg(unix)] {
    /// let mut wrapper = Command::new("sh");
    /// wrapper.args(["-c", "sleep 1000 & wait"]);
    /// let mut child = plugmeter::tokio::spawn_in_group(&plugin, &mut wrapper, "")?;
    /// child.stop_group(Duration::from_secs(2)).await?; // `sleep` has ended, too
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the child does not lead a group: then nothing is
    /// done. If the group may not be sent a signal. Those of [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// If the runtime has no timer. As [`wait`](Self::wait).
    pub async fn stop_group(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        let Some(pid) = self.child.id() else { return self.wait().await };
        let group = match ProcessGroup::led_by(pid) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                return self.stop(grace).await;
            }
            group => group?,
        };
        let state = self.on_drop.reports.check(pid);
        // An error if somebody else has reaped it: then its number may be another group's.
        if let ChildState::Unknown = state
            && let Some(status) = self.try_wait()?
        {
            group.kill()?;
            return Ok(status);
        }
        if !matches!(state, ChildState::Exited(_)) {
            self.on_drop.reports.stopping();
            group.terminate()?;
        }
        drop(self.stdin.take());
        if self.exit_signal.is_none() {
            self.exit_signal = ExitSignal::new(pid);
        }
        let status = match &self.exit_signal {
            // Before the child is reaped: until then no other group has its number.
            Some(signal) => {
                let _: Result<(), _> = time::timeout(grace, signal.exited()).await;
                None
            }
            None => time::timeout(grace, self.wait()).await.ok(),
        };
        match status {
            Some(Ok(status)) => {
                group.kill()?;
                Ok(status)
            }
            // It was reaped elsewhere during the grace period: its number may be another group's.
            Some(Err(error)) => Err(error),
            None if self.on_drop.reports.check(pid).is_reaped_elsewhere() => self.wait().await,
            None => {
                group.kill()?;
                self.wait().await
            }
        }
    }

    /// Returns the [`Child`] of tokio, with the pipes that were not taken. The host has to wait for it:
    /// nothing further is reported, and the sampler continues to sample it and detects its exit.
    #[must_use]
    pub fn into_inner(self) -> Child {
        let Self { stdin, stdout, stderr, mut on_drop, mut child, exit_signal: _ } = self;
        on_drop.killed_pid = None;
        (child.stdin, child.stdout, child.stderr) = (stdin, stdout, stderr);
        child
    }

    /// The pid of the child if it runs. If it has exited, its status is reported.
    fn running(&mut self) -> io::Result<Option<u32>> {
        Ok(if self.try_wait()?.is_some() { None } else { self.child.id() })
    }
}

impl fmt::Debug for PluginChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ChildReports { plugin, run, has_exited } = &self.on_drop.reports;
        f.debug_struct("PluginChild")
            .field("plugin", &plugin.name())
            .field("run", run)
            .field("pid", &self.id())
            .field("has_exited", has_exited)
            .finish()
    }
}
