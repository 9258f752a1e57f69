//! The acknowledged ticks, and for each plugin its acknowledged series and totals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::export::registration;
use crate::{PluginView, Sample, Snapshot};

/// One series of a plugin: the family, and the labels besides the plugin's name, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Series {
    pub family: usize,
    pub labels: Arc<[u8]>,
}

/// The acknowledged series and totals of one plugin.
#[derive(Clone, Debug)]
pub(super) struct PluginProgress {
    /// The beginning of its totals.
    pub start: SystemTime,
    /// The newest tick, and its time; tick 0: none of this collector.
    pub tick: u64,
    pub time: SystemTime,
    /// Totals at that tick.
    pub cpu_time: Duration,
    pub tree_cpu_time: Duration,
    pub events: u64,
    pub crashes: u64,
    /// The series that had values.
    pub live: Arc<Vec<Series>>,
}

/// The acknowledged ticks and plugins of a collector.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// When the collector was started: another time is another collector.
    pub collector: Option<SystemTime>,
    /// All ticks up to this one. Of the next one, some plugins may have been acknowledged.
    pub tick: u64,
    pub plugins: BTreeMap<Arc<str>, Arc<PluginProgress>>,
    /// Ticks that the history did not contain any more.
    pub lost_ticks: u64,
    /// The series of the plugin that was added last: usually another plugin has the same.
    pub usual_series: Arc<Vec<Series>>,
}

impl Progress {
    /// Begins again if the snapshot is of another collector. The series of the previous one remain
    /// known, so that they are ended; and their totals, because the new collector may continue them.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) {
        let started = snapshot.started_at();
        if self.collector != Some(started) {
            self.collector = Some(started);
            // Restored ticks were those of an earlier host.
            self.tick = snapshot.restored_ticks();
            for plugin in self.plugins.values_mut() {
                Arc::make_mut(plugin).tick = 0;
            }
        }
    }

    /// Whether the plugin has a sample that was not acknowledged.
    pub(super) fn is_pending(&self, view: PluginView<'_>) -> bool {
        let acknowledged = self.plugins.get(view.name()).map_or(0, |plugin| plugin.tick);
        let snapshot = view.snapshot();
        self.collector.is_none_or(|started| started == snapshot.started_at())
            && view.current().is_some()
            && snapshot.tick() > acknowledged.max(self.tick)
    }
}

/// How the totals of a plugin follow those that were acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Succession {
    /// They go on.
    Continued,
    /// They are of another registration of the name, and begin at 0.
    Restarted,
    /// They are those of an earlier collector, of which the end was lost: less than what was acknowledged.
    Lost,
}

impl PluginProgress {
    /// That of a plugin of which nothing was acknowledged. `oldest` is its first sample that will be
    /// sent.
    pub(super) fn first(view: PluginView<'_>, oldest: &Sample<'_>) -> Self {
        let snapshot = view.snapshot();
        let before = oldest.timestamp.checked_sub(snapshot.poll_interval());
        let before = before.unwrap_or(oldest.timestamp);
        let started = snapshot.started_at();
        // The plugin was registered after the tick before its first sample.
        let start = if view.is_restored() {
            // When its totals began is not known. Counted from the first point, increments are right: see
            // "Cumulative streams: handling unknown start time" in the data model of OpenTelemetry.
            oldest.timestamp
        } else if registration::is_history_whole(view) {
            before.max(started)
        } else {
            started
        };
        Self {
            start,
            tick: 0,
            time: before,
            cpu_time: Duration::ZERO,
            tree_cpu_time: Duration::ZERO,
            events: 0,
            crashes: 0,
            live: Arc::default(),
        }
    }

    /// How the totals of a view that has samples follow those that were acknowledged. The view may be of
    /// another collector: then no tick of this one was acknowledged.
    pub(super) fn succession(&self, view: PluginView<'_>) -> Succession {
        let is_less = view.event_count() < self.events
            || view.crash_count() < self.crashes
            || view.cpu_time() < self.cpu_time
            || (view.snapshot().has_process_trees() && view.tree_cpu_time() < self.tree_cpu_time);
        if self.tick > 0 {
            let is_other = is_less || registration::is_newer_than(view, self.tick);
            if is_other { Succession::Restarted } else { Succession::Continued }
        } else if !view.is_restored() {
            Succession::Restarted
        } else if is_less {
            Succession::Lost
        } else {
            Succession::Continued
        }
    }

    /// Begins the totals of another registration, in a collector that was started at this time.
    pub(super) fn restart(&mut self, started: SystemTime) {
        self.start = self.time.max(started);
        (self.cpu_time, self.tree_cpu_time) = Default::default();
        (self.events, self.crashes) = (0, 0);
    }
}
