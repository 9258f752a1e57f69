//! Children that the crate waits for, so that their exit and their whole CPU time are reported.

use std::fmt;
use std::io;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::time::{Duration, Instant};

use super::plugin::Plugin;
use crate::os::child::{self, ChildState, ProcessGroup};
use crate::snapshot::run::RunId;
use crate::snapshot::state::PluginState;
use crate::sync::command::ChildReading;

impl Plugin {
    /// Starts a child process of this plugin, and reports it: the state becomes
    /// [`Starting`](PluginState::Starting), and once there is a process,
    /// [`Running`](PluginState::Running).
    ///
    /// `version` is shown with the run; `""` is none: see [`started`](Self::started). The run includes
    /// all CPU time of the process from its start; with [`PluginChild::wait`] or
    /// [`PluginChild::try_wait`] also to its end, however short the run is. If a run is active, it ends
    /// as [replaced](crate::RunEnd::Replaced), also if its process goes on: a hot reload.
    ///
    /// ```
    /// use plugmeter::{Collector, Config};
    /// use std::process::Command;
    ///
    /// let collector = Collector::start(Config::default())?;
    /// let plugin = collector.register("true")?;
    /// # #[cfg(unix)] {
    /// let mut child = plugin.spawn(&mut Command::new("true"), "1.0")?;
    /// assert!(child.wait()?.success());
    ///
    /// let snapshot = collector.sample_now()?;
    /// let run = snapshot.plugin("true").unwrap().runs().next().unwrap();
    /// assert_eq!((run.id, run.pid), (child.run(), child.id()));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Command::spawn`]. Then the state is [`Failed`](PluginState::Failed), and no run is
    /// active.
    ///
    /// # Cost
    ///
    /// That of [`Command::spawn`], and reading a clock.
    pub fn spawn(&self, command: &mut Command, version: &str) -> io::Result<PluginChild> {
        self.set_state(PluginState::Starting);
        let first = child::before_start();
        let spawned = command.spawn().inspect_err(|_| self.set_state(PluginState::Failed))?;
        Ok(PluginChild::new(self, spawned, version, Some(first)))
    }

    /// Starts a child process as [`spawn`](Self::spawn) does, in a process group of its own, which proves
    /// that orphans belong to the plugin.
    ///
    /// A process whose parent exits before a tick has found the process is a child of init: only its
    /// process group or session shows where it came from. A wrapper that runs `(nohup x &)` leaves such
    /// an orphan. If the plugin's process leads the group, the orphan belongs to its
    /// [process tree](crate::Config::process_trees), as long as the plugin's process lives.
    ///
    /// The child is then not in the host's group: Ctrl+C on the terminal does not reach it, and it cannot
    /// read from the terminal. [`PluginChild::stop_group`] ends all processes of the group;
    /// [`PluginChild::stop`] and [`PluginChild::kill`] send signals to the child alone.
    ///
    /// It calls `process_group(0)` of the command, which stays set. On platforms other than Unix it is
    /// the same as `spawn`.
    ///
    /// ```
    /// use plugmeter::{Collector, Config};
    /// use std::process::Command;
    ///
    /// let collector = Collector::start(Config::default())?;
    /// let plugin = collector.register("build")?;
    /// # #[cfg(unix)] {
    /// let mut wrapper = Command::new("sh");
    /// wrapper.args(["-c", "(nohup sleep 0.1 >/dev/null &); true"]);
    /// let mut child = plugin.spawn_in_group(&mut wrapper, "1.0")?;
    /// assert!(child.wait()?.success());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn).
    ///
    /// # Cost
    ///
    /// That of [`spawn`](Self::spawn).
    pub fn spawn_in_group(&self, command: &mut Command, version: &str) -> io::Result<PluginChild> {
        child::set_own_group(command);
        self.spawn(command, version)
    }

    /// Reports a child process that was started elsewhere: a run begins, and the state becomes
    /// [`Running`](PluginState::Running).
    ///
    /// Attach a child before it is waited for: afterwards its pid may belong to another process. On
    /// Linux the run includes the CPU time from this call on; elsewhere from the first tick.
    ///
    /// ```
    /// use plugmeter::{Collector, Config};
    /// use std::process::Command;
    ///
    /// let collector = Collector::start(Config::default())?;
    /// let plugin = collector.register("true")?;
    /// # #[cfg(unix)] {
    /// let child = Command::new("true").spawn()?;
    /// let mut child = plugin.attach(child, "1.0");
    /// assert!(child.wait()?.success());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn attach(&self, child: Child, version: &str) -> PluginChild {
        let first = first_reading(child.id());
        PluginChild::new(self, child, version, first)
    }
}

/// The reading of a child that was started elsewhere.
pub(super) fn first_reading(pid: u32) -> Option<ChildReading> {
    match child::check(pid) {
        ChildState::Running => child::read(pid),
        ChildState::Exited(reading) => reading,
        // Not a child any more: its pid may belong to another process.
        ChildState::Unknown => None,
    }
}

/// A child process of a plugin: [`std::process::Child`], with reports of how it ends.
///
/// Created by [`Plugin::spawn`], [`Plugin::spawn_in_group`] and [`Plugin::attach`]. It is `Send`, and
/// its methods never wait for the sampler. They affect the process also after the collector was stopped
/// or the plugin was removed.
///
/// The first [`wait`](Self::wait), [`try_wait`](Self::try_wait) or [`stop`](Self::stop) that returns
/// a status reports it as [`Plugin::exited`] does, once. On Linux it reads the process's CPU time
/// between exit and reaping, so that the run's [`cpu_time`](crate::Run::cpu_time) is complete.
///
/// Dropping it neither kills nor reaps the process, as with [`std::process::Child`]. The sampler
/// continues to sample it, and detects its exit.
///
/// It is optional: a host that waits for its processes in another way reports them with
/// [`Plugin::started`], [`Plugin::set_state`] and [`Plugin::exited`]. For children of tokio see the module
/// [`tokio`](tokio/index.html) (feature `tokio`).
///
/// ```
/// use plugmeter::{Collector, Config, PluginState};
/// use std::process::{Command, Stdio};
/// use std::time::Duration;
///
/// let collector = Collector::start(Config::default())?;
/// let plugin = collector.register("cat")?;
/// # #[cfg(unix)] {
/// let mut child = plugin.spawn(Command::new("cat").stdin(Stdio::piped()), "9.1")?;
/// assert_eq!(child.try_wait()?, None);
/// child.stop(Duration::from_secs(2))?;
///
/// let snapshot = collector.sample_now()?;
/// let cat = snapshot.plugin("cat").unwrap();
/// assert_eq!((cat.state(), cat.crash_count()), (PluginState::Stopped, 0));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[allow(clippy::exhaustive_structs)] // it has private fields
pub struct PluginChild {
    /// The pipe to the child's standard input, if the command has one. Waiting closes it.
    pub stdin: Option<ChildStdin>,
    /// The pipe from the child's standard output, if the command has one.
    pub stdout: Option<ChildStdout>,
    /// The pipe from the child's standard error, if the command has one.
    pub stderr: Option<ChildStderr>,
    child: Child,
    reports: ChildReports,
}

impl PluginChild {
    fn new(plugin: &Plugin, mut child: Child, version: &str, first: Option<ChildReading>) -> Self {
        let run = plugin.child_started(child.id(), version, first);
        Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            child,
            reports: ChildReports::new(plugin, run),
        }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The run that began with this child.
    #[must_use]
    pub const fn run(&self) -> RunId {
        self.reports.run
    }

    /// Closes the child's standard input, waits until the child has exited, and reports its status.
    ///
    /// Returns the status immediately if the child was waited for before.
    ///
    /// ```
    /// # use plugmeter::{Collector, Config};
    /// # use std::process::{Command, Stdio};
    /// # use std::time::Duration;
    /// # let collector = Collector::start(Config::default())?;
    /// # let plugin = collector.register("cat")?;
    /// # #[cfg(unix)] {
    /// let mut child = plugin.spawn(Command::new("cat").stdin(Stdio::piped()), "")?;
    /// assert!(child.wait()?.success()); // `cat` exits at the end of its input
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Child::wait`], for example if the process was reaped elsewhere. Then nothing is
    /// reported, and the sampler detects the exit.
    ///
    /// # Cost
    ///
    /// On Linux about fifteen system calls more than [`Child::wait`], all but one of them after the exit.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        let last = if self.reports.has_exited { None } else { child::wait(self.id()) };
        let status = self.child.wait()?;
        self.reports.exited(status, last);
        Ok(status)
    }

    /// Returns and reports the status if the child has exited; `None` if it runs. Does not wait.
    ///
    /// ```
    /// # use plugmeter::{Collector, Config};
    /// # use std::process::{Command, Stdio};
    /// # use std::time::Duration;
    /// # let collector = Collector::start(Config::default())?;
    /// # let plugin = collector.register("sleep")?;
    /// # #[cfg(unix)] {
    /// let mut child = plugin.spawn(Command::new("sleep").arg("1000"), "")?;
    /// assert_eq!(child.try_wait()?, None);
    /// # child.kill()?;
    /// # child.wait()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Child::try_wait`].
    ///
    /// # Cost
    ///
    /// One system call while the child runs, as [`Child::try_wait`].
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let last = match self.reports.check(self.id()) {
            // Not by the standard library: the child may exit before that call, which would reap it
            // without a reading.
            ChildState::Running => return Ok(None),
            ChildState::Exited(last) => last,
            ChildState::Unknown => None,
        };
        let status = self.child.try_wait()?;
        if let Some(status) = status {
            self.reports.exited(status, last);
        }
        Ok(status)
    }

    /// Requests the child to terminate: the state becomes [`Stopping`](PluginState::Stopping), and
    /// the child is sent SIGTERM. On platforms without signals it is killed.
    ///
    /// However the child ends after that, it is not a crash. If it has already exited, its status is
    /// reported, and no signal is sent. The state does not change if the plugin has a newer run.
    ///
    /// ```
    /// # use plugmeter::{Collector, Config};
    /// # use std::process::{Command, Stdio};
    /// # use std::time::Duration;
    /// # let collector = Collector::start(Config::default())?;
    /// # let plugin = collector.register("sleep")?;
    /// # #[cfg(unix)] {
    /// let mut child = plugin.spawn(Command::new("sleep").arg("1000"), "")?;
    /// child.terminate()?;
    /// assert!(!child.wait()?.success());
    /// assert_eq!(collector.sample_now()?.plugin("sleep").unwrap().crash_count(), 0);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the host is not permitted to send a signal to the child: then the state stays `Stopping`. Those
    /// of [`try_wait`](Self::try_wait).
    pub fn terminate(&mut self) -> io::Result<()> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        self.reports.stopping();
        match child::terminate(self.id()) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.child.kill(),
            result => result,
        }
    }

    /// Kills the child: the state becomes [`Stopping`](PluginState::Stopping), and the child is sent
    /// SIGKILL. Does not wait for it.
    ///
    /// Not a crash: see [`terminate`](Self::terminate).
    ///
    /// ```
    /// # use plugmeter::{Collector, Config};
    /// # use std::process::Command;
    /// # let collector = Collector::start(Config::default())?;
    /// # let plugin = collector.register("sleep")?;
    /// # #[cfg(unix)] {
    /// let mut child = plugin.spawn(Command::new("sleep").arg("1000"), "")?;
    /// child.kill()?;
    /// child.wait()?;
    /// assert_eq!(collector.sample_now()?.plugin("sleep").unwrap().crash_count(), 0);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Child::kill`] and of [`try_wait`](Self::try_wait).
    pub fn kill(&mut self) -> io::Result<()> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        self.reports.stopping();
        self.child.kill()
    }

    /// Stops the child: [terminates](Self::terminate) it, closes its standard input, waits up to
    /// `grace` for its exit, kills it if it still runs, and returns its status.
    ///
    /// Its descendants are not sent a signal: those of a wrapper may go on, in the plugin's process tree.
    /// [`stop_group`](Self::stop_group) ends them too.
    ///
    /// Not a crash: see [`terminate`](Self::terminate).
    ///
    /// ```
    /// # use plugmeter::{Collector, Config};
    /// # use std::process::{Command, Stdio};
    /// # use std::time::Duration;
    /// # let collector = Collector::start(Config::default())?;
    /// # let plugin = collector.register("sleep")?;
    /// # #[cfg(unix)] {
    /// let mut child = plugin.spawn(Command::new("sleep").arg("1000"), "")?;
    /// child.stop(Duration::from_secs(2))?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`terminate`](Self::terminate), [`kill`](Self::kill) and [`wait`](Self::wait).
    pub fn stop(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        self.terminate()?;
        drop(self.stdin.take());
        let deadline = Instant::now().checked_add(grace);
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            let left = time_left(deadline);
            if left.is_zero() {
                break;
            }
            child::sleep_until_exit(self.id(), left);
        }
        self.kill()?;
        self.wait()
    }

    /// Stops all processes of the group that the child leads: for a child of
    /// [`Plugin::spawn_in_group`].
    ///
    /// It sends SIGTERM to each of them, closes the child's standard input, waits up to `grace` for the
    /// child to exit, kills the processes that are left in the group, and returns the child's status.
    /// When the child exits earlier, the others are killed then. A descendant that has left the group,
    /// for example by `setsid`, is not sent a signal. On platforms without process groups this is
    /// [`stop`](Self::stop).
    ///
    /// Not a crash: see [`terminate`](Self::terminate). If the child has exited by itself, its status is
    /// reported, and the rest of the group is killed. If the child was waited for before, no signal is
    /// sent, because its group id may have been reused.
    ///
    /// ```
    /// # use plugmeter::{Collector, Config};
    /// # use std::process::Command;
    /// # use std::time::Duration;
    /// # let collector = Collector::start(Config::default())?;
    /// # let plugin = collector.register("wrapper")?;
    /// # #[cfg(unix)] {
    /// let mut wrapper = Command::new("sh");
    /// wrapper.args(["-c", "sleep 1000 & wait"]);
    /// let mut child = plugin.spawn_in_group(&mut wrapper, "")?;
    /// child.stop_group(Duration::from_secs(2))?; // `sleep` has ended, too
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the child does not lead a group: then nothing is
    /// done. If the host is not permitted to send a signal to the group: then the state stays `Stopping`.
    /// Those of [`wait`](Self::wait).
    pub fn stop_group(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        if self.reports.has_exited {
            return self.wait();
        }
        let group = match ProcessGroup::led_by(self.id()) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return self.stop(grace),
            group => group?,
        };
        let state = self.reports.check(self.id());
        // An error if somebody else has reaped it: then its number may be another group's.
        if let ChildState::Unknown = state
            && let Some(status) = self.try_wait()?
        {
            group.kill()?;
            return Ok(status);
        }
        if !matches!(state, ChildState::Exited(_)) {
            self.reports.stopping();
            group.terminate()?;
        }
        drop(self.stdin.take());
        let deadline = Instant::now().checked_add(grace);
        loop {
            match self.reports.check(self.id()) {
                ChildState::Exited(_) => break,
                ChildState::Running => {}
                // It cannot be waited for without reaping it.
                ChildState::Unknown => {
                    if let Some(status) = self.try_wait()? {
                        group.kill()?;
                        return Ok(status);
                    }
                }
            }
            let left = time_left(deadline);
            if left.is_zero() {
                break;
            }
            child::sleep_until_exit(self.id(), left);
        }
        // Before the child is reaped: until then no other group has this number.
        group.kill()?;
        self.wait()
    }

    /// Returns the [`std::process::Child`], with the pipes that were not taken. The host has to wait for
    /// it: nothing further is reported, and the sampler continues to sample it and detects its exit.
    ///
    /// ```
    /// # use plugmeter::{Collector, Config};
    /// # use std::process::Command;
    /// # let collector = Collector::start(Config::default())?;
    /// # let plugin = collector.register("true")?;
    /// # #[cfg(unix)] {
    /// let child = plugin.spawn(&mut Command::new("true"), "")?;
    /// let run = child.run();
    /// let mut child = child.into_inner();
    /// plugin.exited(run, child.wait()?);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn into_inner(self) -> Child {
        let Self { stdin, stdout, stderr, mut child, reports: _ } = self;
        (child.stdin, child.stdout, child.stderr) = (stdin, stdout, stderr);
        child
    }
}

/// Without a deadline: forever.
fn time_left(deadline: Option<Instant>) -> Duration {
    deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()))
}

impl fmt::Debug for PluginChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginChild")
            .field("plugin", &self.reports.plugin.name())
            .field("run", &self.reports.run)
            .field("pid", &self.id())
            .field("has_exited", &self.reports.has_exited)
            .finish()
    }
}

/// The reports about one child.
pub(super) struct ChildReports {
    pub plugin: Plugin,
    pub run: RunId,
    /// It was reaped, and that was reported.
    pub has_exited: bool,
}

impl ChildReports {
    pub(super) fn new(plugin: &Plugin, run: RunId) -> Self {
        Self { plugin: plugin.clone(), run, has_exited: false }
    }

    /// Checks a child without reaping it; `Unknown` if it was reaped.
    pub(super) fn check(&self, pid: u32) -> ChildState {
        if self.has_exited { ChildState::Unknown } else { child::check(pid) }
    }

    /// The host ends the child.
    pub(super) fn stopping(&self) {
        self.plugin.child_stopping(self.run);
    }

    /// The child was reaped. Only the first call reports it.
    pub(super) fn exited(&mut self, status: ExitStatus, last: Option<ChildReading>) {
        if !std::mem::replace(&mut self.has_exited, true) {
            self.plugin.child_exited(self.run, status, last);
        }
    }
}
