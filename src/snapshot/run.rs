//! One process of a plugin, and how it ended.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

/// Identifies one [`Run`]: one process of one plugin. Ids are unique in the host's process, and ordered
/// by their creation.
///
/// [`Plugin::started`](crate::Plugin::started) returns it;
/// [`Plugin::exited`](crate::Plugin::exited) takes it.
///
/// ```
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// let plugin = collector.register("dice")?;
/// let first = plugin.started(std::process::id(), "1.0");
/// let second = plugin.started(std::process::id(), "1.1");
/// assert!(first < second);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RunId(pub(crate) u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a run ended.
///
/// `Exited` and `Signaled` come from an exit status. `Replaced`, `Stopped` and `Crashed` come from
/// reports of the host, as long as no status is known. A status that arrives later replaces them.
///
/// ```
/// use plugmeter::RunEnd;
///
/// assert_eq!(RunEnd::Exited(3).to_string(), "exit code 3");
/// assert_eq!(RunEnd::Signaled(9).to_string(), "signal 9");
///
/// # #[cfg(unix)] {
/// let status = std::process::Command::new("false").status()?;
/// assert_eq!(RunEnd::from(status), RunEnd::Exited(1));
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunEnd {
    /// The process exited with this code.
    Exited(i32),
    /// This signal terminated the process.
    Signaled(i32),
    /// The host reported another process, or another version, during the run: a hot reload.
    Replaced,
    /// The host reported [`stopped`](crate::Plugin::stopped).
    Stopped,
    /// The host reported [`crashed`](crate::Plugin::crashed).
    Crashed,
    /// Unknown: the process was reaped elsewhere, and the kernel does not report its status any more.
    /// A status that is reported later replaces it.
    Unknown,
    /// The host has ended during the run, and was started again with the values of a store (feature
    /// `store`): how the run ended is not known, and it is no crash.
    HostGone,
}

impl RunEnd {
    /// The name in JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Exited(_) => "exited",
            Self::Signaled(_) => "signaled",
            Self::Replaced => "replaced",
            Self::Stopped => "stopped",
            Self::Crashed => "crashed",
            Self::Unknown => "unknown",
            Self::HostGone => "host_gone",
        }
    }

    /// Whether the process failed: an unclean exit code or signal, or the host's report of a crash.
    ///
    /// Clean are exit code 0, the signals HUP, INT, TERM and PIPE, and the exit codes by which shells
    /// and runtimes report these signals (129, 130, 141, 143). Codes added by
    /// [`Config::clean_exit_codes`](crate::Config::clean_exit_codes) are not considered here, and
    /// neither is whether the host had announced the end: see
    /// [`crash_count`](crate::PluginView::crash_count) for the runs that counted as crashes.
    ///
    /// ```
    /// use plugmeter::RunEnd;
    ///
    /// assert!(RunEnd::Exited(1).is_unclean() && RunEnd::Signaled(11).is_unclean());
    /// assert!(!RunEnd::Exited(0).is_unclean() && !RunEnd::Signaled(15).is_unclean());
    /// ```
    #[must_use]
    pub const fn is_unclean(self) -> bool {
        let exit = match self {
            Self::Exited(code) => ProcessExit::Exited(code),
            Self::Signaled(signal) => ProcessExit::Signaled(signal),
            Self::Crashed => return true,
            Self::Replaced | Self::Stopped | Self::Unknown | Self::HostGone => return false,
        };
        matches!(exit.class(&[]), ExitClass::Unclean)
    }

    /// The better of what is recorded and what is reported next: a status replaces a report of the
    /// host, a report replaces `Unknown`, and otherwise the first stays.
    pub(crate) const fn improved_by(self, next: Self) -> Self {
        match (self, next) {
            (Self::Exited(_) | Self::Signaled(_), _) => self,
            (_, Self::Exited(_) | Self::Signaled(_)) => next,
            (Self::Unknown, Self::Replaced | Self::Stopped | Self::Crashed) => next,
            (Self::Unknown, Self::Unknown | Self::HostGone) => self,
            (Self::Replaced | Self::Stopped | Self::Crashed | Self::HostGone, _) => self,
        }
    }
}

impl fmt::Display for RunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signaled(signal) => write!(f, "signal {signal}"),
            Self::Replaced | Self::Stopped | Self::Crashed | Self::Unknown => f.pad(self.as_str()),
            Self::HostGone => f.pad("the host was gone"),
        }
    }
}

/// How a process exited, as far as its status is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessExit {
    Exited(i32),
    Signaled(i32),
    /// The process is gone and its status is not available.
    Unknown,
}

/// What a [`ProcessExit`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitClass {
    Clean,
    Unclean,
    Unknown,
}

impl ProcessExit {
    /// Clean is exit code 0 or a signal that requests termination. The rule is systemd's:
    /// systemd.service(5), `SuccessExitStatus=`: "the exit status 0 and the signals SIGHUP,
    /// SIGINT, SIGTERM, and SIGPIPE". Their numbers are the same on every Unix.
    ///
    /// A process that handles such a signal usually exits with 128 plus its number, as a shell
    /// reports it (POSIX.1-2017, Shell Command Language, 2.8.2): that is clean too, and so are the
    /// exit codes in `clean_codes`.
    pub(crate) const fn class(self, clean_codes: &[i32]) -> ExitClass {
        const HUP: i32 = 1;
        const INT: i32 = 2;
        const PIPE: i32 = 13;
        const TERM: i32 = 15;
        match self {
            Self::Exited(0) | Self::Signaled(HUP | INT | PIPE | TERM) => ExitClass::Clean,
            Self::Exited(code) => match code.wrapping_sub(128) {
                HUP | INT | PIPE | TERM => ExitClass::Clean,
                _ if contains(clean_codes, code) => ExitClass::Clean,
                _ => ExitClass::Unclean,
            },
            Self::Signaled(_) => ExitClass::Unclean,
            Self::Unknown => ExitClass::Unknown,
        }
    }

    pub(crate) const fn run_end(self) -> RunEnd {
        match self {
            Self::Exited(code) => RunEnd::Exited(code),
            Self::Signaled(signal) => RunEnd::Signaled(signal),
            Self::Unknown => RunEnd::Unknown,
        }
    }
}

/// `slice::contains` in a `const fn`.
const fn contains(mut codes: &[i32], code: i32) -> bool {
    while let [first, rest @ ..] = codes {
        if *first == code {
            return true;
        }
        codes = rest;
    }
    false
}

/// One process of a plugin, from the host's report to its end.
///
/// A restart is a new run of the same plugin, and so is the same process under a new version.
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::testing::{Observed, Simulation, Usage};
/// use plugmeter::{Config, RunEnd};
/// use std::time::Duration;
///
/// let mut sim = Simulation::new(Config::default())?;
/// let plugin = sim.register("dice")?;
/// plugin.started(4711, "1.0");
/// sim.tick(|_pid| Usage { cpu_time: Duration::from_secs(1), memory_bytes: 1 << 20 });
/// sim.tick(|_pid| Observed::Exited(3));
///
/// let snapshot = sim.snapshot();
/// let run = snapshot.plugin("dice").unwrap().runs().next().unwrap();
/// assert_eq!(run.pid, 4711);
/// assert_eq!(run.end, Some(RunEnd::Exited(3)));
/// assert_eq!(run.cpu_time, Some(Duration::from_secs(1)));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Identifies the run.
    pub id: RunId,
    /// Process id.
    pub pid: u32,
    /// The version that the host reported; `None` if it reported none.
    pub version: Option<Arc<str>>,
    /// When the process started, as the operating system reports it; `None` if it does not. It does not
    /// change during the run. With the portable probe its resolution is one second.
    pub started_at: Option<SystemTime>,
    /// When the sampler processed the host's report of the process.
    pub reported_at: SystemTime,
    /// When the end was detected or reported; `None` while the run is active.
    pub ended_at: Option<SystemTime>,
    /// How it ended; `None` while the run is active.
    pub end: Option<RunEnd>,
    /// CPU time that the process is known to have used in this run. `None` while the run is active, and
    /// if the process was read less than twice.
    pub cpu_time: Option<Duration>,
    /// The largest known resident size of the process, in bytes. `None` while the run is active, and
    /// without a reading of memory.
    ///
    /// It is the largest of the readings, and on Linux of the kernel's high-water mark (`VmHWM`,
    /// proc_pid_status(5)), which includes peaks between ticks. The mark is read again at a tick if the
    /// process has used CPU time since. At most ten marks a second are read on average: at a poll
    /// interval of 5 s those of fifty processes in each tick; with more processes they take turns.
    ///
    /// A process that has exited has no memory to read, even before it is reaped. So a peak between the
    /// newest reading and the exit is missing, and a run that ends before its second reading may have
    /// only the size with which it began. The kernel's own value at the wait, `ru_maxrss` of
    /// getrusage(2), includes that, but is only available to the caller that reaps the process.
    pub peak_memory_bytes: Option<u64>,
    /// Whether the kernel's OOM killer has killed the process: it was terminated by signal 9, and the
    /// number of OOM kills of its cgroup has risen since it was reported. `None` after any other end,
    /// and if the kernel does not report it.
    pub oom_killed: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(is_clean: bool) -> ExitClass {
        if is_clean { ExitClass::Clean } else { ExitClass::Unclean }
    }

    #[test]
    fn clean_exit_is_code_zero_or_termination_signal() {
        for signal in 1..=64 {
            let expected = class_of([1, 2, 13, 15].contains(&signal));
            assert_eq!(ProcessExit::Signaled(signal).class(&[]), expected, "signal {signal}");
        }
        for code in i32::MIN..i32::MIN + 200 {
            assert_eq!(ProcessExit::Exited(code).class(&[]), ExitClass::Unclean, "{code}");
        }
        for code in -1..=256 {
            let expected = class_of([0, 129, 130, 141, 143].contains(&code));
            assert_eq!(ProcessExit::Exited(code).class(&[]), expected, "exit code {code}");
        }
        assert_eq!(ProcessExit::Unknown.class(&[]), ExitClass::Unknown);
    }

    #[test]
    fn configured_exit_codes_are_clean() {
        for code in -1..=256 {
            let expected = class_of([0, 3, 75, 129, 130, 141, 143].contains(&code));
            assert_eq!(ProcessExit::Exited(code).class(&[75, 3]), expected, "exit code {code}");
        }
        assert_eq!(ProcessExit::Signaled(9).class(&[9]), ExitClass::Unclean);
    }

    #[test]
    fn unclean_run_end_follows_exit_class_or_report() {
        for end in [RunEnd::Exited(1), RunEnd::Signaled(9), RunEnd::Crashed] {
            assert!(end.is_unclean(), "{end}");
        }
        let clean = [RunEnd::Exited(0), RunEnd::Signaled(15), RunEnd::Replaced, RunEnd::Stopped];
        for end in clean.into_iter().chain([RunEnd::Unknown, RunEnd::HostGone]) {
            assert!(!end.is_unclean(), "{end}");
        }
    }

    #[test]
    fn run_end_and_run_id_display() {
        assert_eq!(RunId(12).to_string(), "12");
        for (end, text) in [
            (RunEnd::Exited(-1), "exit code -1"),
            (RunEnd::Signaled(11), "signal 11"),
            (RunEnd::Replaced, "replaced"),
            (RunEnd::Unknown, "unknown"),
            (RunEnd::HostGone, "the host was gone"),
        ] {
            assert_eq!(end.to_string(), text);
        }
    }

    #[test]
    fn status_replaces_report_and_report_replaces_unknown() {
        use RunEnd::{Exited, Replaced, Signaled, Stopped, Unknown};
        for (recorded, next, expected) in [
            (Unknown, Stopped, Stopped),
            (Stopped, Unknown, Stopped),
            (Replaced, Exited(0), Exited(0)),
            (Stopped, Signaled(9), Signaled(9)),
            (Signaled(9), Stopped, Signaled(9)),
            (Signaled(9), Unknown, Signaled(9)),
        ] {
            assert_eq!(recorded.improved_by(next), expected, "{recorded:?} then {next:?}");
        }
    }
}
