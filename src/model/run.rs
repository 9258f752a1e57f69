//! One process of a plugin, and how it ended.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

/// Names one run: one process of one plugin. Unique in this process, and in the order of creation.
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
/// `Exited` and `Signaled` are facts. `Replaced`, `Stopped` and `Crashed` are the host's word,
/// where there is no status. A fact that is learnt later takes the place of a word.
///
/// ```
/// use plugmeter::RunEnd;
///
/// assert_eq!(RunEnd::Exited(3).to_string(), "exit code 3");
/// assert_eq!(RunEnd::Signaled(9).to_string(), "signal 9");
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunEnd {
    /// By itself, with this exit code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// The host named another process, or another version, while it ran: a hot reload.
    Replaced,
    /// The host said [`stopped`](crate::Plugin::stopped).
    Stopped,
    /// The host said [`crashed`](crate::Plugin::crashed).
    Crashed,
    /// Nobody knows: the process was gone, and its status with it.
    Unknown,
}

impl RunEnd {
    /// The word for it, as in JSON.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Exited(_) => "exited",
            Self::Signaled(_) => "signaled",
            Self::Replaced => "replaced",
            Self::Stopped => "stopped",
            Self::Crashed => "crashed",
            Self::Unknown => "unknown",
        }
    }

    /// Neither with 0 nor by a signal that asks to end: wanted or not, it was not clean.
    #[cfg(feature = "http")]
    pub(crate) const fn is_unclean(self) -> bool {
        let outcome = match self {
            Self::Exited(code) => Outcome::Exited(code),
            Self::Signaled(signal) => Outcome::Signaled(signal),
            Self::Crashed => return true,
            Self::Replaced | Self::Stopped | Self::Unknown => return false,
        };
        matches!(outcome.kind(), EndKind::Unclean)
    }

    /// What is known after `self` was known and `news` came: facts before words, words before
    /// ignorance, and of two that weigh the same the first.
    pub(crate) const fn improved_by(self, news: Self) -> Self {
        match (self, news) {
            (Self::Exited(_) | Self::Signaled(_), _) => self,
            (_, Self::Exited(_) | Self::Signaled(_)) => news,
            (Self::Unknown, Self::Replaced | Self::Stopped | Self::Crashed) => news,
            (Self::Unknown, Self::Unknown) => self,
            (Self::Replaced | Self::Stopped | Self::Crashed, _) => self,
        }
    }
}

impl fmt::Display for RunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signaled(signal) => write!(f, "signal {signal}"),
            Self::Replaced | Self::Stopped | Self::Crashed | Self::Unknown => f.pad(self.word()),
        }
    }
}

/// How a process ended, as far as its status tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Exited(i32),
    Signaled(i32),
    /// The process is gone and nobody can say how.
    Unknown,
}

/// What an [`Outcome`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndKind {
    Clean,
    Unclean,
    Unknown,
}

impl Outcome {
    /// Exit code 0, or one of the signals that ask a process to end. The rule is systemd's:
    /// systemd.service(5), `SuccessExitStatus=`: "the exit status 0 and the signals SIGHUP,
    /// SIGINT, SIGTERM, and SIGPIPE". Their numbers are the same on every Unix.
    pub(crate) const fn kind(self) -> EndKind {
        const HUP: i32 = 1;
        const INT: i32 = 2;
        const PIPE: i32 = 13;
        const TERM: i32 = 15;
        match self {
            Self::Exited(0) | Self::Signaled(HUP | INT | PIPE | TERM) => EndKind::Clean,
            Self::Exited(_) | Self::Signaled(_) => EndKind::Unclean,
            Self::Unknown => EndKind::Unknown,
        }
    }

    pub(crate) const fn end(self) -> RunEnd {
        match self {
            Self::Exited(code) => RunEnd::Exited(code),
            Self::Signaled(signal) => RunEnd::Signaled(signal),
            Self::Unknown => RunEnd::Unknown,
        }
    }
}

/// One process of a plugin, from the moment the host named it.
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
    /// Which run it is.
    pub id: RunId,
    /// Of the process.
    pub pid: u32,
    /// As the host gave it; `None` where it gave none.
    pub version: Option<Arc<str>>,
    /// When the process started, as the operating system says; `None` where it does not.
    /// Computed once, so that it does not jitter. With the portable probe it is to the second.
    pub started_at: Option<SystemTime>,
    /// When the sampler heard of the process.
    pub reported_at: SystemTime,
    /// When the end was noticed or told; `None` while the run is open.
    pub ended_at: Option<SystemTime>,
    /// How it ended; `None` while the run is open.
    pub end: Option<RunEnd>,
    /// CPU time that the process is known to have used in this run, once the run has ended.
    /// `None` where there were not two readings.
    pub cpu_time: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_is_exit_code_zero_and_the_four_signals_that_ask_to_end() {
        assert_eq!(Outcome::Exited(0).kind(), EndKind::Clean);
        assert_eq!(Outcome::Exited(1).kind(), EndKind::Unclean);
        for signal in 1..=64 {
            let clean = [1, 2, 13, 15].contains(&signal);
            let expected = if clean { EndKind::Clean } else { EndKind::Unclean };
            assert_eq!(Outcome::Signaled(signal).kind(), expected, "signal {signal}");
        }
        assert_eq!(Outcome::Unknown.kind(), EndKind::Unknown);
    }

    #[cfg(feature = "http")]
    #[test]
    fn an_end_is_unclean_by_the_same_rule_or_by_the_hosts_word() {
        for end in [RunEnd::Exited(1), RunEnd::Signaled(9), RunEnd::Crashed] {
            assert!(end.is_unclean(), "{end}");
        }
        let clean = [RunEnd::Exited(0), RunEnd::Signaled(15), RunEnd::Replaced, RunEnd::Stopped];
        for end in clean.into_iter().chain([RunEnd::Unknown]) {
            assert!(!end.is_unclean(), "{end}");
        }
    }

    #[test]
    fn an_end_is_told_in_words_and_an_id_by_its_number() {
        assert_eq!(RunId(12).to_string(), "12");
        for (end, words) in [
            (RunEnd::Exited(-1), "exit code -1"),
            (RunEnd::Signaled(11), "signal 11"),
            (RunEnd::Replaced, "replaced"),
            (RunEnd::Unknown, "unknown"),
        ] {
            assert_eq!(end.to_string(), words);
        }
    }

    #[test]
    fn a_fact_takes_the_place_of_a_word_and_a_word_that_of_ignorance() {
        use RunEnd::{Exited, Replaced, Signaled, Stopped, Unknown};
        for (known, news, expected) in [
            (Unknown, Stopped, Stopped),
            (Stopped, Unknown, Stopped),
            (Replaced, Exited(0), Exited(0)),
            (Stopped, Signaled(9), Signaled(9)),
            (Signaled(9), Stopped, Signaled(9)),
            (Signaled(9), Unknown, Signaled(9)),
        ] {
            assert_eq!(known.improved_by(news), expected, "{known:?} then {news:?}");
        }
    }
}
