//! One plugin's stored samples in a snapshot: the common ground of views and histories.

use std::ops::Range;

use crate::history::frame::TickTotals;
use crate::history::metric::Metric;
use crate::history::packed::{PackedSample, RUN_KEY_MASK, run_key};
use crate::history::plugin_record::PluginRecord;
use crate::history::run_log::RunRecord;
use crate::history::tree_row::TreeValues;
use crate::history::units::CpuShare;
use crate::snapshot::inner::SnapshotInner;
use crate::snapshot::limit::{LimitState, LimitStatus};
use crate::snapshot::sample::Sample;

/// A plugin's counters at a tick.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub events: u64,
    pub crashes: u64,
}

impl From<&TickTotals> for Counters {
    fn from(totals: &TickTotals) -> Self {
        Self { events: totals.events, crashes: totals.crashes }
    }
}

impl Counters {
    /// The increments of one tick.
    pub(super) const fn increments_of(sample: PackedSample) -> Self {
        Self {
            events: sample.get(Metric::Events) as u64,
            crashes: sample.get(Metric::Crashes) as u64,
        }
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self { events: self.events + other.events, crashes: self.crashes + other.crashes }
    }

    pub(super) const fn minus(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_sub(other.events),
            crashes: self.crashes.saturating_sub(other.crashes),
        }
    }
}

/// The samples of one plugin in one snapshot.
#[derive(Clone, Copy)]
pub(super) struct PluginRows<'a> {
    pub inner: &'a SnapshotInner,
    pub record: &'a PluginRecord,
}

impl<'a> PluginRows<'a> {
    /// The plugin's counters at the newest tick; `None` before its first sample.
    pub(super) fn counters(&self) -> Option<Counters> {
        self.inner.totals_of(self.record).map(Counters::from)
    }

    /// The name and the count of each kind of events at the newest tick.
    pub(super) fn kind_counts(
        &self,
    ) -> impl ExactSizeIterator<Item = (&'a str, u64)> + Clone + use<'a> {
        let names = self.record.event_kinds.as_deref().map_or(&[][..], Vec::as_slice);
        // The tick that records a kind's name counts it: a name without a count does not occur.
        let counts = self.inner.newest.kind_counts(self.record.slot);
        names.iter().zip(counts).map(|(name, row)| (&**name, row.count))
    }

    #[inline]
    pub(super) fn packed(&self, tick: u64) -> PackedSample {
        self.inner.timeline.sample(tick, self.record.slot)
    }

    /// The packed sample of the newest tick; `None` before the plugin's first.
    pub(super) fn newest_packed(&self) -> Option<PackedSample> {
        let newest = self.inner.timeline.newest;
        // A restored sample is not one of this collector.
        (self.record.registered_tick() <= newest).then(|| self.packed(newest))
    }

    /// The increments of a tick, including those of the newest tick that did not fit into its sample.
    pub(super) fn increments(&self, tick: u64, packed: PackedSample) -> Counters {
        let mut increments = Counters::increments_of(packed);
        if tick == self.inner.timeline.newest {
            increments.events += self.unrecorded_events();
        }
        increments
    }

    pub(super) fn unrecorded_events(&self) -> u64 {
        self.inner.totals_of(self.record).map_or(0, |totals| totals.unrecorded_events)
    }

    /// The sum of a counter's increments in the ticks after `tick`.
    pub(super) fn increments_after(&self, tick: u64, metric: Metric) -> u64 {
        self.increments_in(tick + 1..self.inner.timeline.newest + 1, metric)
    }

    /// The sum of a counter's increments in these ticks.
    fn increments_in(&self, ticks: Range<u64>, metric: Metric) -> u64 {
        let has_newest = ticks.contains(&self.inner.timeline.newest);
        let sum = self.inner.timeline.sum(self.record.slot, metric, ticks);
        match metric {
            Metric::Events if has_newest => sum + self.unrecorded_events(),
            _ => sum,
        }
    }

    /// The sums of the increments in these ticks.
    pub(super) fn counters_in(&self, ticks: Range<u64>) -> Counters {
        Counters {
            events: self.increments_in(ticks.clone(), Metric::Events),
            crashes: self.increments_in(ticks, Metric::Crashes),
        }
    }

    /// Whether the process of `run` was suspended at `tick`: known of the newest tick only.
    #[inline]
    fn is_suspended_at(&self, tick: u64, run: Option<&RunRecord>) -> Option<bool> {
        if tick != self.inner.timeline.newest {
            return None;
        }
        let is_suspended = self.record.is_suspended?;
        let active = self.record.active_run()?;
        run.is_some_and(|run| run.number == active.number).then_some(is_suspended)
    }

    /// The limits with their states; `is_current`: the values of the tick are those of the active run.
    pub(super) fn limits(
        &self,
        is_current: bool,
    ) -> impl ExactSizeIterator<Item = LimitStatus> + Clone + use<'a> {
        let slot = self.record.slot;
        let rows = &self.inner.newest.limits;
        let first = rows.partition_point(|row| row.slot < slot);
        let rows = rows.get(first..).unwrap_or_default();
        let records = self.record.limits.as_deref().map_or(&[][..], Vec::as_slice);
        records.iter().map(move |record| {
            // Limits may have been added and removed since the tick.
            let mut of_plugin = rows.iter().take_while(|row| row.slot == slot);
            let row = of_plugin.find(|row| row.id == record.id).filter(|_| is_current);
            let value = record.crashes.or(row.and_then(|row| row.value));
            let peak =
                row.and_then(|row| row.peak).into_iter().chain(record.crashes).reduce(f64::max);
            let peak = peak.filter(|_| record.state != LimitState::Ok);
            LimitStatus { limit: record.limit, state: record.state, value, peak }
        })
    }

    /// Unpacks a sample. `last_run` caches the run of the previous call: usually it is the same.
    pub(super) fn unpack(
        &self,
        tick: u64,
        packed: PackedSample,
        counters: Counters,
        last_run: &mut Option<&'a RunRecord>,
    ) -> Option<Sample<'a>> {
        let timeline = &self.inner.timeline;
        let (at, tree) = timeline.at_with_tree(tick, self.record.slot, packed)?;
        let state = packed.state()?;
        let tree = self.inner.info.process_trees.then_some(tree);
        let run = packed.run().and_then(|key| match last_run {
            Some(record) if run_key(record.number) == key => Some(*record),
            _ => {
                *last_run = self.record.runs.by_key(key, RUN_KEY_MASK);
                *last_run
            }
        });
        let process_start =
            run.and_then(|record| record.process_start).filter(|_| !packed.is_exited());
        Some(Sample {
            timestamp: at.wall,
            plugin_name: &self.record.name,
            version: run.and_then(|record| record.run.version.as_deref()),
            pid: run.map(|record| record.run.pid),
            run: run.map(|record| record.run.id),
            state,
            cpu_percent: packed.cpu().map(CpuShare::percent),
            memory_bytes: packed.resident(),
            process_count: tree.and_then(TreeValues::process_count),
            tree_cpu_percent: tree.and_then(TreeValues::cpu).map(CpuShare::percent),
            tree_memory_bytes: tree.and_then(TreeValues::resident),
            is_suspended: self.is_suspended_at(tick, run),
            // Where two clocks disagree, a process may seem to start in the future.
            uptime: process_start.map(|start| at.boot.saturating_sub(start)),
            event_count: counters.events,
            crash_count: counters.crashes,
        })
    }
}
