//! One plugin at one revision, and the table of all plugins.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::limit_row::LimitRecord;
use super::run_log::{RunLog, RunRecord};
use super::units::CpuTime;
use crate::snapshot::read_error::ReadError;
use crate::snapshot::state::PluginState;

/// A plugin's values that change between ticks. The values of ticks are in the samples of `slot`.
#[derive(Clone, Debug)]
pub(crate) struct PluginRecord {
    pub name: Arc<str>,
    pub slot: u32,
    /// The first tick whose sample in `slot` belongs to this plugin; earlier samples belong to the
    /// slot's previous owner.
    pub first_tick: u64,
    /// `None` unless it continues the plugin of an earlier collector.
    pub restored: Option<Arc<RestoredRecord>>,
    pub state: PluginState,
    pub state_since: SystemTime,
    pub runs: RunLog,
    pub crash_count: u64,
    /// The names of its kinds of events, in the order of their creation; `None` without one.
    pub event_kinds: Option<Arc<Vec<Arc<str>>>>,
    /// Runs whose end is unknown.
    pub unknown_end_count: u32,
    /// Runs whose end was unknown when it was detected: never decreases.
    pub unknown_ends_detected: u32,
    pub last_crash: Option<SystemTime>,
    pub restart_count: u64,
    /// CPU time of the runs that have ended.
    pub ended_cpu: Duration,
    /// Whether the process of the active run is stopped; `None` if unknown.
    pub is_suspended: Option<bool>,
    /// When the suspension was detected.
    /// Boxed, as what follows, because few plugins have it.
    pub suspended_since: Option<Box<SystemTime>>,
    /// Living processes of ended processes of this plugin, and since when there were any.
    pub survivors: Option<Box<(u32, SystemTime)>>,
    pub read_error: Option<ReadError>,
    /// `None` without limits.
    pub limits: Option<Arc<Vec<LimitRecord>>>,
}

/// The values of a plugin that continue those of an earlier collector.
#[derive(Clone, Debug, Default)]
pub(crate) struct RestoredRecord {
    /// The first tick since the registration. Samples before it were restored.
    pub registered_tick: u64,
    /// Crashes before the first sample, of which no run is known.
    pub crashes_before: u64,
    /// CPU time of the descendants of all runs.
    pub others_cpu: CpuTime,
}

impl PluginRecord {
    /// The first tick since the registration.
    pub(crate) fn registered_tick(&self) -> u64 {
        self.restored.as_ref().map_or(self.first_tick, |restored| restored.registered_tick)
    }

    /// Crashes before the first sample, of which no run is known.
    pub(crate) fn crashes_before(&self) -> u64 {
        self.restored.as_ref().map_or(0, |restored| restored.crashes_before)
    }

    /// The active run: only the newest run can be active.
    pub(crate) fn active_run(&self) -> Option<&RunRecord> {
        self.runs.last().filter(|record| record.ended().is_none())
    }
}

/// The position of each name in a [`PluginTable`].
#[derive(Debug, Default)]
pub(crate) struct NameIndex(HashMap<Arc<str>, u32, foldhash::fast::RandomState>);

impl NameIndex {
    pub(crate) fn from_sorted(names: impl Iterator<Item = Arc<str>>) -> Self {
        Self(names.zip(0..).collect())
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.0.get(name).map(|&at| at as usize)
    }
}

/// All plugins at one revision, by name. Changes of state make a new list but share the index.
#[derive(Debug, Default)]
pub(crate) struct PluginTable {
    pub records: Vec<Arc<PluginRecord>>,
    pub names: Arc<NameIndex>,
}
