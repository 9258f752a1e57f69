//! Random ticks, gaps and restarts, applied to a simulation with a limit of any metric of a run and to a
//! naive oracle that keeps every sample and searches them all after each step.
//!
//! `PROPTEST_CASES` sets the number of cases.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::time::{Duration, SystemTime};

use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{
    ClearReason, Config, Limit, LimitMetric, LimitState, Limits, NotificationKind, Sample,
    Subscription,
};
use proptest::prelude::*;

const POLL: u64 = 5;

/// A limit's threshold, for the levels of [`step`].
const fn above(metric: LimitMetric) -> f64 {
    match metric {
        // Between the second and the third tick without an event.
        LimitMetric::SilentSeconds => 12.0,
        _ => 100.0,
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A level, of which each metric makes its value; `None` if the process cannot be read.
    Tick(Option<u64>),
    /// Seconds without a tick.
    Advance(u64),
    Start,
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    let level = prop_oneof![Just(101u64), Just(150), Just(100), Just(90), Just(50), Just(89)];
    prop_oneof![
        12 => level.prop_map(|level| Step::Tick(Some(level))),
        8 => Just(Step::Tick(Some(120))),
        8 => Just(Step::Tick(Some(10))),
        4 => Just(Step::Tick(None)),
        1 => (0..20u64).prop_map(Step::Advance),
        1 => Just(Step::Start),
        1 => Just(Step::Stop),
    ]
}

fn limit() -> impl Strategy<Value = Limit> {
    let metric = prop_oneof![
        Just(LimitMetric::CpuPercent),
        Just(LimitMetric::MemoryMb),
        Just(LimitMetric::ProcessCount),
        Just(LimitMetric::EventsPerSecond),
        Just(LimitMetric::SilentSeconds),
    ];
    let time = || prop_oneof![Just(0u64), Just(5), Just(10), Just(13), Just(20), Just(40)];
    let clear_below = prop_oneof![Just(0.0), Just(0.5), Just(0.9), Just(1.0)];
    (metric, time(), clear_below, time(), 0..20u64).prop_map(
        |(metric, lasting, below, clear_after, grace)| {
            Limit::new(metric, above(metric))
                .lasting(Duration::from_secs(lasting))
                .clear_below(below * above(metric))
                .clear_after(Duration::from_secs(clear_after))
                .grace(Duration::from_secs(grace))
        },
    )
}

/// A change of a limit, in seconds since the start.
#[derive(Clone, Copy, Debug)]
enum Entry {
    Sample { at: u64, value: Option<f64>, is_evaluated: bool },
    RunEnd { at: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Exceeded { at: u64, since: u64, peak: f64 },
    Cleared { at: u64, lasted: u64, reason: ClearReason },
}

/// The time of the first sample of a row that ends with the newest of `entries`, if all values in it
/// match, and it has lasted for at least `time`.
fn row_since(entries: &[Entry], matches: impl Fn(f64) -> bool, time: Duration) -> Option<u64> {
    let (mut first, mut newest, mut count, mut missing, mut later) = (None, None, 0, 0, None);
    for entry in entries.iter().rev() {
        let &Entry::Sample { at, value, is_evaluated: true } = entry else { break };
        if later.is_some_and(|later| later - at >= 3 * POLL) {
            break;
        }
        later = Some(at);
        match value {
            Some(value) if matches(value) => {
                (first, count, missing) = (Some(at), count + 1, 0);
                newest = newest.or(Some(at));
            }
            Some(_) => break,
            // The newest sample has to have a value.
            None if newest.is_none() => return None,
            None => missing += 1,
        }
        if missing == 3 {
            break;
        }
    }
    let lasted = Duration::from_secs(newest? - first?);
    first.filter(|_| count >= 2 && lasted >= time)
}

/// Searches all entries for the changes of the limit.
fn changes(limit: &Limit, entries: &[Entry]) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut from = 0;
    let mut exceeded: Option<u64> = None;
    for end in 1..=entries.len() {
        let newest = entries[end - 1];
        match (exceeded, newest) {
            (Some(since), Entry::RunEnd { at }) => {
                let reason = ClearReason::RunEnded;
                changes.push(Change::Cleared { at, lasted: at - since, reason });
                (exceeded, from) = (None, end);
            }
            (None, Entry::RunEnd { .. }) => from = end,
            (None, Entry::Sample { at, .. }) => {
                let row =
                    row_since(&entries[from..end], |value| value > limit.above, limit.lasting);
                if let Some(since) = row {
                    let values = entries[..end].iter().filter_map(|entry| match *entry {
                        Entry::Sample { at, value, .. } if at >= since => value,
                        _ => None,
                    });
                    let peak = values.fold(f64::NEG_INFINITY, f64::max);
                    changes.push(Change::Exceeded { at, since, peak });
                    (exceeded, from) = (Some(since), end);
                }
            }
            (Some(since), Entry::Sample { at, .. }) => {
                // Nothing is below 0: there, 0 clears.
                let is_below = |value: f64| {
                    value < limit.clear_below || value == 0.0 && limit.clear_below == 0.0
                };
                if row_since(&entries[from..end], is_below, limit.clear_after).is_some() {
                    let reason = ClearReason::Below;
                    changes.push(Change::Cleared { at, lasted: at - since, reason });
                    (exceeded, from) = (None, end);
                }
            }
        }
    }
    changes
}

fn received(subscription: &Subscription, start: SystemTime, changes: &mut Vec<Change>) {
    while let Ok(notification) = subscription.try_recv() {
        let at = notification.at.duration_since(start).unwrap().as_secs();
        match notification.kind {
            NotificationKind::LimitExceeded(status) => {
                let since = status.state.since().unwrap().duration_since(start).unwrap().as_secs();
                changes.push(Change::Exceeded { at, since, peak: status.peak.unwrap() });
            }
            NotificationKind::LimitCleared { lasted, reason, .. } => {
                changes.push(Change::Cleared { at, lasted: lasted.as_secs(), reason });
            }
            _ => {}
        }
    }
}

/// What a process with this level is seen to use. Its CPU time grows by the level in percent.
fn observed(level: Option<u64>, cpu_time: &mut Duration) -> Observed {
    let Some(level) = level else { return Observed::Denied };
    *cpu_time += Duration::from_secs(POLL) * level as u32 / 100;
    let usage = Usage { cpu_time: *cpu_time, memory_bytes: level << 20 };
    Observed::RunningTree { main: usage, tree: usage, processes: level as u32 }
}

/// The value of the newest tick. `ticks` are all ticks, with the events until then.
fn value(
    metric: LimitMetric,
    sample: &Sample<'_>,
    ticks: &[(u64, u64)],
    run_since: u64,
) -> Option<f64> {
    let (&(now, events), before) = ticks.split_last().unwrap();
    match metric {
        LimitMetric::CpuPercent => sample.tree_cpu_percent,
        LimitMetric::MemoryMb => sample.tree_memory_mb(),
        LimitMetric::ProcessCount => sample.process_count.map(f64::from),
        LimitMetric::EventsPerSecond => {
            let &(time, previous) = before.last()?;
            Some((events - previous) as f64 / (now - time) as f64)
        }
        LimitMetric::SilentSeconds => {
            let has_counted = |pair: &&[(u64, u64)]| pair[1].1 > pair[0].1;
            // Before the first tick there were none.
            let first = ticks.first().filter(|tick| tick.1 > 0).map(|tick| tick.0);
            let newest = ticks.windows(2).filter(has_counted).map(|pair| pair[1].0).max();
            let newest = newest.or(first);
            Some((now - newest.unwrap_or(0).max(run_since)) as f64)
        }
        _ => unreachable!("it is not generated"),
    }
}

fn check(limit: Limit, steps: &[Step]) -> Result<(), TestCaseError> {
    let config = Config::default().poll_interval(Duration::from_secs(POLL));
    let mut sim = Simulation::new(config.limits(Limits::default().rule(limit))).unwrap();
    let (subscription, start) = (sim.subscribe(), sim.snapshot().sampled_at());
    let plugin = sim.register("dice").unwrap();
    let (mut now, mut pid, mut run_since) = (0, 0, None);
    let (mut entries, mut actual) = (Vec::new(), Vec::new());
    let (mut ticks, mut cpu_time) = (Vec::new(), Duration::ZERO);
    for step in steps {
        match *step {
            Step::Tick(level) => {
                match limit.metric {
                    LimitMetric::EventsPerSecond => plugin.events().add(level.unwrap_or(0) * POLL),
                    LimitMetric::SilentSeconds if level.is_some_and(|level| level < 100) => {
                        plugin.events().increment();
                    }
                    _ => {}
                }
                sim.tick(|_| observed(level, &mut cpu_time));
                now += POLL;
                ticks.push((now, plugin.events().get()));
                let grace = limit.grace.as_secs();
                let is_evaluated = run_since.is_some_and(|since| now - since >= grace);
                let snapshot = sim.snapshot();
                let sample = snapshot.plugin("dice").unwrap().current().unwrap();
                let value = value(limit.metric, &sample, &ticks, run_since.unwrap_or(0));
                entries.push(Entry::Sample { at: now, value, is_evaluated });
            }
            Step::Advance(seconds) => {
                sim.advance(Duration::from_secs(seconds));
                now += seconds;
            }
            Step::Start | Step::Stop => {
                if run_since.take().is_some() {
                    entries.push(Entry::RunEnd { at: now });
                }
                if let Step::Start = step {
                    pid += 1;
                    plugin.started(pid, "");
                    (run_since, cpu_time) = (Some(now), Duration::ZERO);
                } else {
                    plugin.stopped();
                }
                sim.advance(Duration::ZERO);
            }
        }
        received(&subscription, start, &mut actual);
        let expected = changes(&limit, &entries);
        prop_assert_eq!(&actual, &expected, "{:?} {:?}", limit, entries);
        let snapshot = sim.snapshot();
        let status = snapshot.plugin("dice").unwrap().limits().next().unwrap();
        let is_exceeded = matches!(expected.last(), Some(Change::Exceeded { .. }));
        prop_assert_eq!(status.state.is_exceeded(), is_exceeded);
        prop_assert_eq!(status.peak.is_some(), status.state != LimitState::Ok);
    }
    Ok(())
}

proptest! {
    #[test]
    fn limits_agree_with_oracle(
        limit in limit(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut all = vec![Step::Start];
        all.extend(steps);
        check(limit, &all)?;
    }
}
