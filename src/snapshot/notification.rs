//! Messages from the sampler to subscribers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::limit::LimitStatus;
use super::read_error::ReadError;
use super::run::Run;
use super::state::PluginState;

/// A change of one plugin, as a [`Subscription`](crate::Subscription) receives it.
///
/// ```
/// use plugmeter::{Collector, Config, NotificationKind};
/// use std::time::Duration;
///
/// let collector = Collector::start(Config::default())?;
/// let subscription = collector.subscribe();
/// collector.register("dice")?;
/// let notification = subscription.recv_timeout(Duration::from_secs(10))?;
/// assert_eq!(notification.kind, NotificationKind::Registered);
/// assert_eq!(notification.to_string(), "dice: registered");
/// assert!(collector.snapshot().revision() >= notification.revision);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// The [revision](crate::Snapshot::revision) of the first snapshot that shows the change. It was
    /// published before the notification was sent.
    pub revision: u64,
    /// The wall-clock time at which the sampler processed the change.
    pub at: SystemTime,
    /// The name of the plugin; empty for [`NotificationKind::Lagged`] and [`NotificationKind::StoreReplaced`].
    pub plugin: Arc<str>,
    /// The change.
    pub kind: NotificationKind,
}

/// The change that a [`Notification`] reports.
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::testing::{Observed, Simulation};
/// use plugmeter::{Config, NotificationKind};
/// use std::time::Duration;
///
/// let mut sim = Simulation::new(Config::default())?;
/// let subscription = sim.subscribe();
/// sim.register("dice")?.started(4711, "1.0");
/// sim.tick(|_pid| Observed::Signaled(11));
/// sim.advance(Duration::from_secs(1));
/// let kinds = std::iter::from_fn(|| subscription.try_recv().ok()).map(|n| n.to_string());
/// let expected = [
///     "dice: registered",
///     "dice: run began, pid 4711, version 1.0",
///     "dice: state STOPPED -> RUNNING",
///     "dice: run ended, pid 4711, signal 11, a crash",
///     "dice: state RUNNING -> CRASHED",
///     "dice: crash counted, 1 in all",
/// ];
/// assert_eq!(kinds.collect::<Vec<_>>(), expected);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub enum NotificationKind {
    /// The plugin was registered.
    Registered,
    /// The plugin was removed.
    Removed,
    /// A run has begun.
    RunStarted(
        /// The run.
        Run,
    ),
    /// A run has ended.
    RunEnded {
        /// The run, as known when it ended: a status that arrives later is not part of it.
        run: Run,
        /// Whether its end was unclean. [`CrashCounted`](Self::CrashCounted) follows at most a second
        /// later, unless the host reports in that second that it was no crash.
        crash: bool,
    },
    /// A crash was counted.
    CrashCounted {
        /// Crashes of all runs so far.
        crash_count: u64,
    },
    /// The state has changed.
    StateChanged {
        /// The previous state.
        from: PluginState,
        /// The new state.
        to: PluginState,
    },
    /// The process cannot be read.
    ReadFailed(
        /// The reason.
        ReadError,
    ),
    /// The process can be read again, or the plugin has no process any more.
    ReadRecovered,
    /// A limit is exceeded.
    LimitExceeded(
        /// The limit, with the time of the first violating sample.
        LimitStatus,
    ),
    /// A limit is no longer exceeded. Each follows a [`LimitExceeded`](Self::LimitExceeded).
    LimitCleared {
        /// The limit, with the state that has ended.
        status: LimitStatus,
        /// The time since the first violating sample.
        lasted: Duration,
        /// Why it is no longer exceeded.
        reason: ClearReason,
    },
    /// A store (feature `store`) could not use its file, has renamed it, and has begun a new one.
    StoreReplaced {
        /// The new name of the file.
        moved_to: Arc<str>,
        /// Why the file could not be used.
        reason: Arc<str>,
    },
    /// The subscriber was too slow: this many notifications were lost, between the previous and the
    /// next one that it receives.
    Lagged {
        /// Their number.
        missed: u64,
    },
}

impl NotificationKind {
    /// The name in JSON.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Removed => "removed",
            Self::RunStarted(_) => "run_started",
            Self::RunEnded { .. } => "run_ended",
            Self::CrashCounted { .. } => "crash_counted",
            Self::StateChanged { .. } => "state_changed",
            Self::ReadFailed(_) => "read_failed",
            Self::ReadRecovered => "read_recovered",
            Self::LimitExceeded(_) => "limit_exceeded",
            Self::LimitCleared { .. } => "limit_cleared",
            Self::StoreReplaced { .. } => "store_replaced",
            Self::Lagged { .. } => "lagged",
        }
    }
}

/// Why a limit is no longer exceeded.
///
/// ```
/// assert_eq!(plugmeter::ClearReason::RunEnded.to_string(), "run_ended");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClearReason {
    /// Its values were below [`Limit::clear_below`](crate::Limit::clear_below) for long enough.
    Below,
    /// The run has ended.
    RunEnded,
    /// The limit was replaced by another one of the same metric.
    Changed,
    /// The limit or the plugin was removed.
    Removed,
}

impl ClearReason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Below => "below",
            Self::RunEnded => "run_ended",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}
