//! One plugin at one revision, and the table of all of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::problem::ReadError;
use super::runs::{Entry, RunLog};
use super::state::PluginState;

/// What is known of one plugin between ticks. What a tick knows is in the rows of `slot`.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub name: Arc<str>,
    pub slot: u32,
    /// The first tick whose row of `slot` is this plugin's; rows before it are another's.
    pub first_tick: u64,
    pub state: PluginState,
    pub since: SystemTime,
    pub runs: RunLog,
    pub crash_count: u64,
    pub last_crash: Option<SystemTime>,
    pub restarts: u64,
    /// CPU time of the runs that have ended.
    pub ended_cpu: Duration,
    pub problem: Option<ReadError>,
}

impl Record {
    /// The open run: it can only be the newest.
    pub(crate) fn open(&self) -> Option<&Entry> {
        self.runs.last().filter(|entry| entry.ended.is_none())
    }
}

/// Where each name is in a [`Table`].
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<Arc<str>, u32, foldhash::fast::RandomState>);

impl Names {
    pub(crate) fn of(sorted: impl Iterator<Item = Arc<str>>) -> Self {
        Self(sorted.zip(0..).collect())
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.0.get(name).map(|&at| at as usize)
    }
}

/// All plugins at one revision, by name. Changes of state make a new list but share the names.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub records: Vec<Arc<Record>>,
    pub names: Arc<Names>,
}
