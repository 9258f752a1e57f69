//! The public fields of snapshots, and comparisons of query results with the oracle's.

use std::time::Duration;

use plugmeter::{
    CurrentUsage, PluginView, Point, Run, Sample, Snapshot, Summary, ValueRange, VersionUsage,
    Window,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::Checked;
use crate::fields::{
    PluginFields, RunFields, SampleFields, SnapshotFields, SortedValues, TreeFields, VersionFields,
    WindowFields,
};
use crate::steps::NAMES;

fn run(run: &Run) -> RunFields {
    RunFields {
        id: run.id,
        pid: run.pid,
        version: run.version.as_deref().map(str::to_owned),
        started_at: run.started_at,
        reported_at: run.reported_at,
        ended_at: run.ended_at,
        end: run.end,
        cpu_time: run.cpu_time,
    }
}

/// Converts a percentage to thousandths. It must be a whole number of them.
fn thousandths(percent: f64) -> Result<u64, TestCaseError> {
    let thousandths = (percent * 1_000.0).round();
    prop_assert!(
        close(percent, thousandths / 1_000.0),
        "{percent} is no whole number of thousandths"
    );
    Ok(thousandths as u64)
}

fn sample(view: PluginView<'_>, sample: Sample<'_>) -> Result<SampleFields, TestCaseError> {
    prop_assert_eq!(sample.plugin_name, view.name());
    Ok(SampleFields {
        timestamp: sample.timestamp,
        version: sample.version.map(str::to_owned),
        pid: sample.pid,
        run: sample.run,
        state: sample.state,
        cpu: sample.cpu_percent.map(thousandths).transpose()?,
        memory_bytes: sample.memory_bytes,
        tree: TreeFields {
            process_count: sample.process_count,
            cpu: sample.tree_cpu_percent.map(thousandths).transpose()?,
            memory_bytes: sample.tree_memory_bytes,
        },
        uptime: sample.uptime,
        event_count: sample.event_count,
        crash_count: sample.crash_count,
    })
}

fn plugin(view: PluginView<'_>) -> Result<PluginFields, TestCaseError> {
    let current = view.current();
    Ok(PluginFields {
        name: view.name().to_owned(),
        version: view.version().map(str::to_owned),
        pid: view.pid(),
        state: view.state(),
        state_since: view.state_since(),
        run: view.run().map(run),
        runs: view.runs().map(run).collect(),
        event_count: view.event_count(),
        event_counts: view.event_counts().map(|(kind, count)| (kind.to_owned(), count)).collect(),
        crash_count: view.crash_count(),
        unknown_end_count: view.unknown_end_count(),
        unknown_ends_detected: view.unknown_ends_detected(),
        last_crash: view.last_crash(),
        restarts: view.restart_count(),
        cpu_time: view.cpu_time(),
        tree_cpu_time: view.tree_cpu_time(),
        read_error: view.read_error().copied(),
        current: current.map(|of_tick| sample(view, of_tick)).transpose()?,
    })
}

pub(crate) fn snapshot_fields(snapshot: &Snapshot) -> Result<SnapshotFields, TestCaseError> {
    let system = snapshot.system();
    let sampler = snapshot.sampler();
    let plugins = snapshot.plugins().map(plugin).collect::<Result<Vec<_>, _>>()?;
    for actual in &plugins {
        let found = snapshot.plugin(&actual.name).map(|view| view.name());
        prop_assert_eq!(found, Some(actual.name.as_str()));
    }
    let nameless = NAMES.iter().filter(|name| snapshot.plugin(name).is_none());
    prop_assert_eq!(nameless.count(), NAMES.len() - plugins.len());
    prop_assert_eq!(system.total_plugins, plugins.len());
    prop_assert_eq!(sampler.ticks, snapshot.tick());
    prop_assert_eq!(sampler.missed_ticks, 0);
    prop_assert!(!snapshot.is_stopped());
    Ok(SnapshotFields {
        tick: snapshot.tick(),
        sampled_at: snapshot.sampled_at(),
        failed_reads: sampler.failed_reads,
        plugins_running: system.plugins_running,
        plugins_crashed: system.plugins_crashed,
        total_events: system.total_events,
        total_memory_bytes: system.total_memory_bytes,
        tree_cpu: thousandths(system.cpu_percent)?,
        total_tree_memory_bytes: system.total_tree_memory_bytes,
        process_count: system.process_count,
        plugins,
    })
}

pub(crate) fn samples(
    snapshot: &Snapshot,
    window: Window,
) -> Result<Vec<Vec<SampleFields>>, TestCaseError> {
    let of_plugin = |view: PluginView<'_>| {
        let history = view.history(window);
        history.map(|of_tick| sample(view, of_tick)).collect()
    };
    snapshot.plugins().map(of_plugin).collect()
}

/// Asserts that the history is the same in both directions.
pub(crate) fn iteration_agrees(
    view: PluginView<'_>,
    window: Window,
    expected: &[SampleFields],
) -> Checked {
    let moments: Vec<_> = expected.iter().map(|sample| sample.timestamp).collect();
    let mut backwards: Vec<_> = view.history(window).rev().map(|sample| sample.timestamp).collect();
    backwards.reverse();
    prop_assert_eq!(&backwards, &moments);

    // One from the front, two from the back, and so on, until they meet.
    let mut history = view.history(window);
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for left in (0..moments.len()).rev() {
        if left % 3 == 0 {
            front.extend(history.next());
        } else {
            back.extend(history.next_back());
        }
        prop_assert_eq!(history.len(), left);
    }
    prop_assert!(history.next().is_none());
    prop_assert!(history.next_back().is_none());
    prop_assert!(history.next().is_none());
    let met = front.iter().chain(back.iter().rev());
    let met: Vec<_> = met.map(|sample| sample.timestamp).collect();
    prop_assert_eq!(&met, &moments);

    let fields = |found: Option<Sample<'_>>| found.map(|found| sample(view, found)).transpose();
    for nth in [0, 1, moments.len() / 2, moments.len()] {
        let skipped = fields(view.history(window).nth(nth))?;
        prop_assert_eq!(skipped.as_ref(), expected.get(nth));
        let from_end = expected.len().checked_sub(1 + nth).map(|index| &expected[index]);
        let skipped = fields(view.history(window).nth_back(nth))?;
        prop_assert_eq!(skipped.as_ref(), from_end);
    }
    let newest = fields(view.history(window).last())?;
    prop_assert_eq!(newest.as_ref(), expected.last());
    prop_assert_eq!(view.history(window).count(), expected.len());

    // Jumps of different lengths from both ends.
    let (mut history, mut rest) = (view.history(window), expected);
    for nth in [0, 2, 29, 0, 61, 1, 130].into_iter().cycle() {
        let jumped = fields(history.nth(nth))?;
        prop_assert_eq!(jumped.as_ref(), rest.get(nth));
        rest = rest.get(nth + 1..).unwrap_or(&[]);
        let back = nth / 2;
        let jumped = fields(history.nth_back(back))?;
        let at = rest.len().checked_sub(1 + back);
        prop_assert_eq!(jumped.as_ref(), at.map(|at| &rest[at]));
        rest = &rest[..at.unwrap_or(0)];
        prop_assert_eq!(history.len(), rest.len());
        if rest.is_empty() {
            break;
        }
    }
    Ok(())
}

fn close(actual: f64, expected: f64) -> bool {
    (actual - expected).abs() <= 1e-12 * expected.abs().max(1.0)
}

fn summary_agrees(actual: Option<Summary>, sorted: Option<&SortedValues>, unit: f64) -> Checked {
    prop_assert_eq!(actual.is_some(), sorted.is_some());
    if let Some((actual, sorted)) = actual.zip(sorted) {
        let values = &sorted.0;
        let in_unit = |value: u64| value as f64 / unit;
        prop_assert_eq!(actual.count, values.len());
        let avg = in_unit(sorted.sum()) / values.len() as f64;
        prop_assert!(close(actual.avg, avg), "average {} is not {avg}", actual.avg);
        for (which, actual, expected) in [
            ("minimum", actual.min, values[0]),
            ("maximum", actual.max, values[values.len() - 1]),
            ("p95", actual.p95, sorted.p95()),
        ] {
            let expected = in_unit(expected);
            prop_assert!(close(actual, expected), "{which} {actual} is not {expected}");
        }
    }
    Ok(())
}

pub(crate) fn aggregates_agree(
    view: PluginView<'_>,
    window: Window,
    expected: Option<WindowFields>,
) -> Checked {
    let actual = view.aggregates(window);
    let rate = actual.as_ref().map_or(0.0, |all| all.events_per_second);
    prop_assert_eq!(actual.is_some(), expected.is_some(), "{:?}", window);
    if let Some((actual, expected)) = actual.zip(expected) {
        prop_assert_eq!(&*actual.plugin_name, view.name());
        prop_assert_eq!(actual.sample_count, expected.sample_count);
        prop_assert_eq!(actual.time_span, expected.time_span);
        summary_agrees(actual.cpu, expected.cpu.as_ref(), 1_000.0)?;
        summary_agrees(actual.memory, expected.memory.as_ref(), 1.0)?;
        summary_agrees(actual.tree_cpu, expected.tree_cpu.as_ref(), 1_000.0)?;
        summary_agrees(actual.tree_memory, expected.tree_memory.as_ref(), 1.0)?;
        prop_assert_eq!(actual.events, expected.events);
        let per_second = if expected.sample_count == 1 {
            0.0
        } else {
            expected.events as f64 / expected.time_span.as_secs_f64()
        };
        let rate = actual.events_per_second;
        prop_assert!(close(rate, per_second), "{rate} events per second, not {per_second}");
        prop_assert_eq!(actual.crashes, expected.crashes);
        let cpu_time = expected.cpu_time.unwrap_or(actual.cpu_time);
        prop_assert_eq!(actual.cpu_time, cpu_time, "{:?}", window);
        prop_assert_eq!(actual.cpu_per_event, per_event(cpu_time, expected.events));
    }
    prop_assert_eq!(view.event_rate(window), rate);
    Ok(())
}

fn per_event(cpu_time: Duration, events: u64) -> Option<Duration> {
    let nanos = cpu_time.as_nanos().checked_div(u128::from(events))?;
    Some(Duration::from_nanos(u64::try_from(nanos).expect("not more than the sum")))
}

pub(crate) fn versions_agree(
    view: PluginView<'_>,
    window: Window,
    expected: &[VersionFields],
) -> Checked {
    let versions = view.versions(window);
    let name = |usage: &VersionUsage| usage.version.as_deref().map(str::to_owned);
    let names: Vec<_> = versions.iter().map(name).collect();
    let expected_names: Vec<_> = expected.iter().map(|usage| usage.version.clone()).collect();
    // Of pruned runs a version may be missing that no sample refers to.
    let is_seen =
        |usage: &&VersionFields| usage.runs_and_crashes.is_some() || usage.sample_count > 0;
    if expected.iter().all(|usage| is_seen(&usage)) {
        prop_assert_eq!(&names, &expected_names, "{:?}", window);
    }
    for usage in &versions {
        let expected = expected.iter().find(|expected| expected.version == name(usage));
        let Some(expected) = expected else {
            return Err(TestCaseError::fail(format!("{:?} is not expected", usage.version)));
        };
        if let Some((runs, crashes)) = expected.runs_and_crashes {
            prop_assert_eq!((usage.runs, usage.crashes), (runs, crashes), "{:?}", window);
        }
        prop_assert_eq!(usage.sample_count, expected.sample_count);
        prop_assert_eq!(usage.time, expected.time);
        summary_agrees(usage.cpu, expected.cpu.as_ref(), 1_000.0)?;
        summary_agrees(usage.memory, expected.memory.as_ref(), 1.0)?;
        let events = expected.events.unwrap_or(usage.events);
        prop_assert_eq!(usage.events, events, "{:?}", window);
        let cpu_time = expected.cpu_time.unwrap_or(usage.cpu_time);
        prop_assert_eq!(usage.cpu_time, cpu_time, "{:?}", window);
        prop_assert_eq!(usage.cpu_per_event, per_event(cpu_time, events));
    }
    Ok(())
}

/// Asserts that the current usage is the newest sample's if that belongs to the active run.
pub(crate) fn usage_agrees(view: PluginView<'_>, plugin: &PluginFields) -> Checked {
    let active = plugin.run.as_ref().map(|run| run.id);
    let newest = plugin.current.as_ref().filter(|sample| active.is_some() && sample.run == active);
    let CurrentUsage { cpu_percent, memory_bytes, uptime, .. } = view.usage();
    let cpu = cpu_percent.map(thousandths).transpose()?;
    prop_assert_eq!(cpu, newest.and_then(|sample| sample.cpu));
    prop_assert_eq!(memory_bytes, newest.and_then(|sample| sample.memory_bytes));
    prop_assert_eq!(uptime, newest.and_then(|sample| sample.uptime));
    tree_usage_agrees(view, plugin)
}

/// Asserts that the current usage of the tree is the newest sample's if that belongs to the active
/// run, or neither has one; and that its processes are the run's process, if it is known.
fn tree_usage_agrees(view: PluginView<'_>, plugin: &PluginFields) -> Checked {
    let active = plugin.run.as_ref().map(|run| run.id);
    let newest = plugin.current.as_ref().filter(|sample| sample.run == active);
    let tree = newest.map_or(TreeFields::default(), |sample| sample.tree);
    let CurrentUsage { process_count, tree_cpu_percent, tree_memory_bytes, .. } = view.usage();
    prop_assert_eq!(process_count, tree.process_count);
    let cpu = tree_cpu_percent.map(thousandths).transpose()?;
    // Without a process nothing uses CPU now: the sample's was used before.
    prop_assert_eq!(cpu, tree.cpu.filter(|_| tree.process_count != Some(0)));
    prop_assert_eq!(tree_memory_bytes, tree.memory_bytes);

    let pids: Vec<_> = view.processes().map(|process| (process.pid, process.parent)).collect();
    // The descendants of a simulated process are not listed.
    let pid = plugin.pid.filter(|_| tree.process_count.is_some());
    prop_assert_eq!(pids, pid.map(|pid| (pid, None)).into_iter().collect::<Vec<_>>());
    let values = view.processes().next().map(|root| (root.cpu_percent, root.memory_bytes));
    let usage = view.usage();
    prop_assert_eq!(values, pid.map(|_| (usage.cpu_percent, usage.memory_bytes)));
    Ok(())
}

/// Asserts the ages of samples. `ages` are those of the ticks, newest first.
pub(crate) fn sample_ages_agree(
    view: PluginView<'_>,
    samples: usize,
    ages: &[Duration],
) -> Checked {
    for back in [0, 1, samples / 2, samples.saturating_sub(1)] {
        let age = ages.get(back).filter(|_| back < samples);
        prop_assert_eq!(view.sample_age(back), age.copied());
    }
    prop_assert_eq!(view.sample_age(samples), None);
    prop_assert_eq!(view.sample_age(usize::MAX), None);
    Ok(())
}

/// The samples of each point, by the definition of `PluginView::points`.
fn naive_points(samples: &[SampleFields], newest_tick: u64, max: usize) -> Vec<&[SampleFields]> {
    let Some(ticks_after_first) = samples.len().checked_sub(1).filter(|_| max > 0) else {
        return Vec::new();
    };
    // At worst a bucket begins with the second tick, so that the first needs one of its own.
    let fits = |size: &usize| ticks_after_first.div_ceil(*size) < max;
    let mut sizes = std::iter::successors(Some(1), |size| Some(size * 2));
    let size = match max {
        1 => return vec![samples],
        _ => sizes.find(fits).expect("two buckets always fit"),
    };
    let oldest_tick = newest_tick - ticks_after_first as u64;
    let is_boundary = |at: &usize| (oldest_tick + *at as u64).is_multiple_of(size as u64);
    let mut starts: Vec<_> = (1..samples.len()).filter(is_boundary).collect();
    // Runs begin in order of time, each a bucket of its own while there is room.
    let mut run = samples[0].run;
    for (at, sample) in samples.iter().enumerate().skip(1) {
        let begins_run = sample.run.is_some() && sample.run != run;
        run = sample.run.or(run);
        if begins_run && !starts.contains(&at) && starts.len() + 1 < max {
            starts.push(at);
        }
    }
    starts.sort_unstable();
    let ends = starts.iter().copied().chain([samples.len()]);
    [0].into_iter().chain(starts.iter().copied()).zip(ends).map(|(a, b)| &samples[a..b]).collect()
}

fn range_agrees(actual: Option<ValueRange>, values: &[f64]) -> Checked {
    prop_assert_eq!(actual.is_some(), !values.is_empty());
    if let Some(ValueRange { min, avg, max, .. }) = actual {
        let fold = |pick: fn(f64, f64) -> f64| values.iter().copied().reduce(pick);
        prop_assert!(close(min, fold(f64::min).expect("a value")), "minimum {min}: {values:?}");
        prop_assert!(close(max, fold(f64::max).expect("a value")), "maximum {max}: {values:?}");
        let expected = values.iter().sum::<f64>() / values.len() as f64;
        prop_assert!(close(avg, expected), "average {avg}: {values:?}");
    }
    Ok(())
}

/// Asserts that the points agree with the naive ones of these samples.
pub(crate) fn points_agree(
    view: PluginView<'_>,
    window: Window,
    samples: &[SampleFields],
) -> Checked {
    let tick = view.snapshot().tick();
    // One maximum for each call, for speed.
    let max = [0, 1, 2, 5, 40][(samples.len() + tick as usize) % 5];
    let points = view.points(window, max);
    let expected = naive_points(samples, tick, max);
    prop_assert!(points.len() <= max);
    let counts: Vec<_> = points.iter().map(|point| point.sample_count).collect();
    let expected_counts: Vec<_> = expected.iter().map(|samples| samples.len()).collect();
    prop_assert_eq!(counts, expected_counts, "at most {} of {:?}", max, window);
    for (point, samples) in points.iter().zip(expected) {
        let Point { timestamp, event_count, crash_count, state, run, .. } = *point;
        let newest = &samples[samples.len() - 1];
        prop_assert_eq!(
            (timestamp, event_count, crash_count, state, run),
            (newest.timestamp, newest.event_count, newest.crash_count, newest.state, newest.run)
        );
        let cpu = samples.iter().filter_map(|sample| sample.cpu);
        range_agrees(point.cpu_percent, &cpu.map(|cpu| cpu as f64 / 1e3).collect::<Vec<_>>())?;
        let memory = samples.iter().filter_map(|sample| sample.memory_bytes);
        range_agrees(point.memory, &memory.map(|bytes| bytes as f64).collect::<Vec<_>>())?;
        let cpu = samples.iter().filter_map(|sample| sample.tree.cpu);
        range_agrees(point.tree_cpu_percent, &cpu.map(|cpu| cpu as f64 / 1e3).collect::<Vec<_>>())?;
        let memory = samples.iter().filter_map(|sample| sample.tree.memory_bytes);
        range_agrees(point.tree_memory, &memory.map(|bytes| bytes as f64).collect::<Vec<_>>())?;
    }
    Ok(())
}
