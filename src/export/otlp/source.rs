//! One plugin of a request: its ticks that were not acknowledged, and their series.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::batch::{Batch, Point, unix_nanos};
use super::cpu_totals::CpuTotals;
use super::message::{POINT_ATTRIBUTES, append_attribute};
use super::progress::{PluginProgress, Progress, Series, Succession};
use crate::export::catalog::{
    self, Number, PLUGIN_FAMILIES, PluginRow, PluginSeries, Source, TickRow,
};
use crate::{History, PluginState, PluginView, RunId, Sample, Severity, Window};

/// A plugin, and a position in its history.
pub(super) struct PluginSource<'a> {
    pub view: PluginView<'a>,
    pub name: Arc<str>,
    /// The plugin's name as an attribute, encoded.
    attribute: Vec<u8>,
    /// The first and the newest tick of the history that were not acknowledged.
    pub first: u64,
    pub newest: u64,
    /// How many ticks before the first were lost.
    pub lost: u64,
    /// From the next tick on.
    history: History<'a>,
    next: u64,
    cpu: CpuTotals,
    tree_cpu: Option<CpuTotals>,
    runs: Vec<(RunId, Option<SystemTime>)>,
    /// How the totals follow the acknowledged ones; taken by the first tick that is added.
    succession: Succession,
    /// The progress of a name that has none.
    initial: PluginProgress,
}

impl<'a> PluginSource<'a> {
    /// `None` if the plugin has no sample after the acknowledged ones. `is_successor`: the source of an
    /// earlier registration of the name precedes this one.
    pub(super) fn new(
        view: PluginView<'a>,
        acknowledged: &Progress,
        is_successor: bool,
    ) -> Option<Self> {
        let known = acknowledged.plugins.get(view.name()).map(|known| &**known);
        let snapshot = view.snapshot();
        let (newest, mut history) = (snapshot.tick(), view.history(Window::All));
        let oldest = newest + 1 - history.len() as u64;
        let succession = match known {
            _ if is_successor => Succession::Restarted,
            Some(known) => known.succession(view),
            None => Succession::Continued,
        };
        let last = known.map_or(0, |known| known.tick).max(acknowledged.tick);
        let first = oldest.max(last + 1);
        if first > newest {
            return None;
        }
        let is_continued =
            succession == Succession::Continued && known.is_some_and(|known| known.tick > 0);
        let lost = if is_continued { first - last - 1 } else { 0 };
        let skipped = usize::try_from(first - oldest).ok()?;
        let before = skipped.checked_sub(1).and_then(|last| history.nth(last));
        let initial = PluginProgress::first(view, &history.clone().next()?);
        let before = before.map_or(initial.time, |sample| sample.timestamp);
        let totals = |known, newest, percent: fn(&Sample<'a>) -> Option<f64>| {
            CpuTotals::new(known, newest, before, history.clone(), percent)
        };
        // A registration begins at 0. Of an unknown plugin, the history may have lost the beginning.
        let [known_cpu, known_tree_cpu] = match (succession, known) {
            (Succession::Lost, _) => [None; 2],
            (Succession::Restarted, Some(_)) => [Some(Duration::ZERO); 2],
            (Succession::Continued, Some(known)) => {
                [Some(known.cpu_time), Some(known.tree_cpu_time)]
            }
            (Succession::Restarted | Succession::Continued, None) => [None; 2],
        };
        let cpu = totals(known_cpu, view.cpu_time(), |sample| sample.cpu_percent);
        let tree_cpu = snapshot.has_process_trees().then(|| {
            totals(known_tree_cpu, view.tree_cpu_time(), |sample| sample.tree_cpu_percent)
        });
        Some(Self {
            view,
            name: view.name().into(),
            attribute: attribute("plugin", view.name()),
            first,
            newest,
            lost,
            history,
            next: first,
            cpu,
            tree_cpu,
            runs: view.kept_runs().map(|run| (run.id, run.started_at)).collect(),
            succession,
            initial,
        })
    }

    /// Adds the points of this tick to the batch. `findings`: the plugin's snapshot is the newest one,
    /// and this is its newest tick.
    pub(super) fn add(
        &mut self,
        tick: u64,
        labels: &Labels,
        findings: Option<&FindingCounts<'_>>,
        progress: &mut Progress,
        batch: &mut Batch<'_>,
    ) {
        let Some(skipped) = tick.checked_sub(self.next).and_then(|n| usize::try_from(n).ok())
        else {
            return;
        };
        let Some(sample) = self.history.nth(skipped) else { return };
        self.next = tick + 1;
        let position = usize::try_from(tick - self.first).unwrap_or(usize::MAX);
        let started_at = sample.run.and_then(|run| self.runs.iter().find(|(id, _)| *id == run)?.1);
        let row = TickRow {
            cpu_time: self.cpu.at(position),
            tree_cpu_time: self.tree_cpu.as_ref().map(|totals| totals.at(position)),
            sample,
            started_at,
        };
        let Progress { plugins, usual_series, .. } = progress;
        let progress = plugins.entry(Arc::clone(&self.name));
        let progress = Arc::make_mut(progress.or_insert_with(|| Arc::new(self.initial.clone())));
        match std::mem::replace(&mut self.succession, Succession::Continued) {
            Succession::Continued => {}
            Succession::Restarted => progress.restart(self.view.snapshot().started_at()),
            Succession::Lost => {
                let live = std::mem::take(&mut progress.live);
                *progress = PluginProgress { live, ..self.initial.clone() };
            }
        }
        let [start, time] = [progress.start, row.sample.timestamp].map(unix_nanos);
        // Usually the series are those of the tick before, at first those of other plugins: only a
        // difference is a new list.
        let is_new = progress.live.is_empty();
        let before = Arc::clone(if is_new { usual_series } else { &progress.live });
        let (mut equal, mut changed) = (0, None::<Vec<Series>>);
        let mut series = |family, labels: &[u8], number| {
            let attributes = [&self.attribute, labels];
            batch.add(&Point { family, attributes, start, time, value: Some(number) });
            let is_equal = |known: &Series| known.family == family && *known.labels == *labels;
            match &mut changed {
                None if before.get(equal).is_some_and(is_equal) => equal += 1,
                changed => changed
                    .get_or_insert_with(|| before[..equal].to_vec())
                    .push(Series { family, labels: labels.into() }),
            }
        };
        self.recorded_series(&row, labels, &mut series);
        if let Some(findings) = findings {
            self.current_series(findings, &mut series);
        }
        let missing = if is_new { &[] } else { &before[equal..] };
        // The other families are known at the newest tick only.
        let is_known =
            |series: &Series| findings.is_some() || is_recorded(series.family, &series.labels);
        let is_equal = changed.is_none() && equal + missing.len() == before.len();
        if is_equal && !missing.iter().any(is_known) {
            progress.live = before;
        } else {
            let mut live = changed.unwrap_or_else(|| before[..equal].to_vec());
            for series in missing {
                if live.contains(series) {
                    continue;
                }
                if is_known(series) {
                    batch.add(&end_of(series, &self.attribute, start, time));
                } else {
                    live.push(series.clone());
                }
            }
            progress.live = Arc::new(live);
        }
        usual_series.clone_from(&progress.live);
        progress.tick = tick;
        progress.time = row.sample.timestamp;
        progress.cpu_time = row.cpu_time;
        progress.tree_cpu_time = row.tree_cpu_time.unwrap_or_default();
        progress.events = row.sample.event_count;
        progress.crashes = row.sample.crash_count;
    }

    /// The series whose values the history contains.
    fn recorded_series(&self, row: &TickRow<'_>, labels: &Labels, series: &mut AddSeries<'_>) {
        for (family, metadata) in PLUGIN_FAMILIES.iter().enumerate() {
            match metadata.series {
                PluginSeries::Value(source) | PluginSeries::Parts { total: source, .. } => {
                    if let Source { at_tick: Some(at_tick), .. } = source
                        && let Some(number) = at_tick(row)
                    {
                        series(family, &[], number);
                    }
                }
                PluginSeries::States => {
                    for (state, label) in PluginState::ALL.into_iter().zip(&labels.states) {
                        let is = u64::from(state == row.sample.state);
                        series(family, label, Number::Integer(is));
                    }
                }
                PluginSeries::Limits | PluginSeries::Version | PluginSeries::Findings => {}
            }
        }
    }

    /// The series whose values only the newest snapshot has.
    fn current_series(&self, findings: &FindingCounts<'_>, series: &mut AddSeries<'_>) {
        let row = PluginRow::new(self.view);
        let mut labels = Vec::new();
        for (family, metadata) in PLUGIN_FAMILIES.iter().enumerate() {
            match metadata.series {
                PluginSeries::Value(source) => {
                    if source.at_tick.is_none()
                        && let Some(number) = (source.now)(&row)
                    {
                        series(family, &[], number);
                    }
                }
                PluginSeries::Parts { label, parts, .. } => {
                    let mut each = |part: &str, number| {
                        set_labels([(label, part)], &mut labels);
                        series(family, &labels, number);
                        Ok(())
                    };
                    // The visitor does not fail.
                    let _ = parts(&row, &mut each);
                }
                PluginSeries::Limits => {
                    let mut limits = Vec::new();
                    catalog::exceeded_limits(self.view, &mut limits);
                    for (metric, is_exceeded) in limits {
                        let number = Number::Integer(u64::from(is_exceeded));
                        set_labels([("metric", metric)], &mut labels);
                        series(family, &labels, number);
                    }
                }
                PluginSeries::Version => {
                    if let Some(version) = self.view.version().filter(|text| !text.is_empty()) {
                        set_labels([("version", version)], &mut labels);
                        series(family, &labels, Number::Integer(1));
                    }
                }
                PluginSeries::Findings => {
                    // The keys are in the order of plugins.
                    let name = self.view.name();
                    let of_plugin = findings.range((name, "", Severity::Notice)..);
                    let of_plugin = of_plugin.take_while(|((plugin, ..), _)| *plugin == name);
                    for ((_, kind, severity), &count) in of_plugin {
                        let severity = severity.to_string();
                        set_labels([("kind", kind), ("severity", &severity)], &mut labels);
                        series(family, &labels, Number::Integer(count));
                    }
                }
                PluginSeries::States => {}
            }
        }
    }
}

/// The number of findings by plugin, kind and severity.
pub(super) type FindingCounts<'a> = BTreeMap<(&'a str, &'static str, Severity), u64>;

/// Adds a series: family, encoded labels, value.
type AddSeries<'a> = dyn FnMut(usize, &[u8], Number) + 'a;

/// Whether the history contains the values of a series.
fn is_recorded(family: usize, labels: &[u8]) -> bool {
    match PLUGIN_FAMILIES[family].series {
        PluginSeries::Value(source) => source.at_tick.is_some(),
        // Of the total, not of its parts.
        PluginSeries::Parts { total, .. } => total.at_tick.is_some() && labels.is_empty(),
        PluginSeries::States => true,
        PluginSeries::Limits | PluginSeries::Version | PluginSeries::Findings => false,
    }
}

/// The end of a series.
fn end_of<'a>(series: &'a Series, plugin: &'a [u8], start: u64, time: u64) -> Point<'a> {
    let attributes = [plugin, &series.labels];
    Point { family: series.family, attributes, start, time, value: None }
}

/// One encoded attribute of a point.
fn attribute(key: &str, value: &str) -> Vec<u8> {
    let mut encoded = Vec::new();
    append_attribute(POINT_ATTRIBUTES, key, value, &mut encoded);
    encoded
}

/// Replaces the encoded attributes in `out` by these.
fn set_labels<const N: usize>(labels: [(&str, &str); N], out: &mut Vec<u8>) {
    out.clear();
    for (key, value) in labels {
        append_attribute(POINT_ATTRIBUTES, key, value, out);
    }
}

/// Ends all series of a plugin.
pub(super) fn add_ends(
    name: &str,
    progress: &PluginProgress,
    time: SystemTime,
    batch: &mut Batch<'_>,
) {
    let plugin = attribute("plugin", name);
    let [start, time] = [progress.start, time].map(unix_nanos);
    for series in progress.live.iter() {
        batch.add(&end_of(series, &plugin, start, time));
    }
}

/// Labels that many plugins have.
pub(super) struct Labels {
    /// Encoded.
    states: [Vec<u8>; PluginState::ALL.len()],
}

impl Labels {
    pub(super) fn new() -> Self {
        let family = PLUGIN_FAMILIES.iter().find(|f| matches!(f.series, PluginSeries::States));
        let label = family.map_or("", |family| family.name);
        let states = PluginState::ALL.map(|state| attribute(label, &state.to_string()));
        Self { states }
    }
}
