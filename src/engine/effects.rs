//! What leaves the trackers: exits and crashes to process later, notifications to send, warnings to
//! log.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::snapshot::notification::Notification;
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::{ProcessExit, RunId};
use crate::sync::cgroup::CgroupReadError;
use crate::sync::command::PluginId;
use crate::time::{MonoNanos, TimePoint};

/// A detected exit that is not processed yet. It is queued where it is detected and processed once
/// the commands that were sent before it are applied.
#[derive(Debug)]
pub(crate) struct PendingExit {
    pub plugin: PluginId,
    pub run: RunId,
    pub exit: ProcessExit,
    /// When it was detected.
    pub at: TimePoint,
}

/// A crash that will be counted at the end of its grace period, unless the run is classified by
/// then.
#[derive(Debug)]
pub(crate) struct PendingCrash {
    pub due: MonoNanos,
    pub plugin: PluginId,
    pub run: RunId,
}

/// A condition to log once per cause.
#[derive(Debug)]
pub(crate) struct Warning {
    pub plugin: Arc<str>,
    pub cause: Cause,
}

/// The cause of a [`Warning`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The process cannot be read.
    Process(ReadError),
    /// The cgroup of its tree cannot be read any more.
    Cgroup(CgroupReadError),
    /// The exit of a run was reported that is not known.
    UnknownRun(RunId),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(error) => error.fmt(f),
            Self::Cgroup(error) => write!(
                f,
                "the CPU time of its cgroup cannot be read any more ({error}): its process tree is \
                 measured without it"
            ),
            Self::UnknownRun(run) => write!(
                f,
                "the reported exit of run {run} is ignored: its process was rejected, or it is a run of \
                 another plugin, or so old that it is not kept any more"
            ),
        }
    }
}

/// What the trackers hand to the engine.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub pending_exits: Vec<PendingExit>,
    /// In order of time.
    pub pending_crashes: VecDeque<PendingCrash>,
    /// In order. Their revision is set when they are sent, after the publication.
    pub notifications: Vec<Notification>,
    pub warnings: Vec<Warning>,
    pub failed_reads: u64,
}
