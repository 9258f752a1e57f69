//! The contents of one publication.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::run::RunId;
use super::system::{CollectorStatus, SamplerStats, SystemMetrics};
use crate::history::frame::{NewestTick, TickTotals};
use crate::history::plugin_record::{PluginRecord, PluginTable};
use crate::history::timeline::Timeline;
use crate::time::{MonoNanos, TimePoint};

/// Values that do not change while a collector lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CollectorInfo {
    pub started: TimePoint,
    /// The same time as an `Instant`.
    pub started_instant: Instant,
    pub poll_interval: Duration,
    pub history_duration: Duration,
    /// Whether samples have the values of process trees.
    pub process_trees: bool,
    /// Processors that the collector's process can use.
    pub cpu_cores: usize,
    /// In bytes.
    pub machine_memory: Option<u64>,
    /// `None` if the collector was started without saved values.
    #[cfg_attr(
        not(any(feature = "otlp", feature = "store")),
        expect(dead_code, reason = "read by the recorder and the encoder")
    )]
    pub resumed: Option<Resumed>,
}

/// A collector that was resumed with values of an earlier one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resumed {
    /// The number of ticks in the history that are from before: the first ones.
    #[cfg_attr(
        not(any(feature = "otlp", feature = "store")),
        expect(dead_code, reason = "read by the recorder and the encoder")
    )]
    pub ticks: u64,
    /// The first run id of this collector: lower ones are of runs from before.
    #[cfg_attr(not(feature = "store"), expect(dead_code, reason = "read by the recorder"))]
    pub first_run: RunId,
    /// Whether there were plugins to continue.
    #[cfg_attr(not(feature = "store"), expect(dead_code, reason = "read by the recorder"))]
    pub has_plugins: bool,
}

/// One publication. Nothing in it is atomic, locked or mutable: it is immutable by type.
#[derive(Debug)]
pub(crate) struct SnapshotInner {
    pub info: CollectorInfo,
    pub revision: u64,
    pub status: CollectorStatus,
    pub timeline: Timeline,
    pub newest: Arc<NewestTick>,
    pub table: Arc<PluginTable>,
    pub system: SystemMetrics,
    pub sampler: SamplerStats,
}

impl SnapshotInner {
    /// The snapshot before the first tick; the only one where there is no sampler.
    pub(crate) fn before_first_tick(info: CollectorInfo, status: CollectorStatus) -> Self {
        Self {
            info,
            revision: 0,
            status,
            timeline: Timeline::empty(),
            newest: Arc::default(),
            table: Arc::default(),
            system: SystemMetrics::default(),
            sampler: SamplerStats::default(),
        }
    }

    /// The time of the newest tick; of the start, before the first.
    pub(crate) fn sampled_at(&self) -> TimePoint {
        self.timeline.at(self.timeline.newest).unwrap_or(self.info.started)
    }

    /// The counters of a plugin at the newest tick, if it was registered by then.
    pub(crate) fn totals_of(&self, record: &PluginRecord) -> Option<&TickTotals> {
        let is_sampled = record.first_tick <= self.timeline.newest;
        self.newest.totals.get(record.slot as usize).filter(|_| is_sampled)
    }

    /// The beginning of the history: runs that ended before it are not part of it.
    ///
    /// It lies the configured length before the tick; further back where ticks were late or the
    /// machine was suspended, so that the oldest sample is older. `None`: before the clock's origin.
    pub(crate) fn history_start(&self) -> Option<MonoNanos> {
        let configured = self.sampled_at().mono.checked_sub(self.info.history_duration)?;
        let oldest = self.timeline.mono(self.timeline.oldest);
        Some(oldest.map_or(configured, |oldest| oldest.min(configured)))
    }
}
