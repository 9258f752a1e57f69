//! The invariants of every snapshot, and of two consecutive ones.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use plugmeter::{PluginState, PluginView, Snapshot, Window};

use crate::Violation;

/// A plugin's values in the previous snapshot.
struct PreviousValues {
    counters: [u64; 5],
    samples: usize,
}

/// Checks the consecutive snapshots of one reader.
pub(crate) struct Checker {
    interval: Duration,
    /// The length of the history in samples.
    max_samples: usize,
    cores: usize,
    last: Option<Last>,
    plugins: HashMap<String, PreviousValues>,
    checked: usize,
}

struct Last {
    tick: u64,
    revision: u64,
    at: Instant,
    deadlines: u64,
    failed_reads: u64,
}

macro_rules! holds {
    ($fact:expr, $($what:tt)+) => {
        let holds: bool = $fact;
        if !holds {
            return Err(format!("{} ({})", format_args!($($what)+), stringify!($fact)));
        }
    };
}

impl Checker {
    pub(crate) fn new(interval: Duration, history: Duration) -> Self {
        let max_samples = (history.as_nanos() / interval.as_nanos()) as usize;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { interval, max_samples, cores, last: None, plugins: HashMap::new(), checked: 0 }
    }

    pub(crate) fn check(&mut self, snapshot: &Snapshot) -> Result<(), Violation> {
        self.checked += 1;
        let ticks = self.check_progress(snapshot)?;
        let system = snapshot.system();
        let (mut events, mut memory, mut running, mut crashed) = (0, 0, 0, 0);
        let mut plugins = HashMap::new();
        for (number, view) in snapshot.plugins().enumerate() {
            let name = view.name();
            let current = view.current();
            events += view.event_count();
            memory += current.and_then(|sample| sample.memory_bytes).unwrap_or(0);
            running += usize::from(view.state() == PluginState::Running && view.run().is_some());
            crashed += usize::from(view.state() == PluginState::Crashed);
            holds!(view.pid() == view.run().map(|run| run.pid), "{name}: pid and run");
            let values = self.check_view(&view, ticks)?;
            // All samples of one plugin per snapshot, in turn, because all of every plugin take too
            // long.
            if self.checked % snapshot.plugins().len() == number {
                self.check_samples(&view)?;
            }
            plugins.insert(name.to_owned(), values);
        }
        // Removed plugins are dropped, because another plugin may be registered under the name.
        self.plugins = plugins;
        holds!(system.total_events == events, "{} of {events} events", system.total_events);
        holds!(system.total_memory_bytes == memory, "{memory} bytes, {system:?}");
        holds!(system.plugins_running == running, "{running} running, {system:?}");
        holds!(system.plugins_crashed == crashed, "{crashed} crashed, {system:?}");
        holds!(system.total_plugins == snapshot.plugins().len(), "{system:?}");
        Ok(())
    }

    /// Ticks and revisions do not decrease; each deadline has a tick or is counted as missed.
    /// Returns the number of ticks since the previous snapshot.
    fn check_progress(&mut self, snapshot: &Snapshot) -> Result<u64, Violation> {
        let stats = snapshot.sampler();
        let now = Last {
            tick: snapshot.tick(),
            revision: snapshot.revision(),
            at: snapshot.sampled_at_instant(),
            deadlines: stats.ticks + stats.missed_ticks,
            failed_reads: stats.failed_reads,
        };
        holds!(stats.ticks == now.tick, "tick {}, {stats:?}", now.tick);
        let Some(last) = self.last.replace(now) else {
            return Ok(0);
        };
        let now = self.last.as_ref().unwrap_or(&last);
        let (tick, revision) = (now.tick, now.revision);
        holds!(tick >= last.tick, "tick {tick} after {}", last.tick);
        holds!(revision >= last.revision, "revision {revision} after {}", last.revision);
        holds!(now.failed_reads >= last.failed_reads, "failed reads");
        if last.tick > 0 {
            holds!(now.at >= last.at, "tick {tick} is earlier than tick {}", last.tick);
            let passed = (now.at - last.at).as_secs_f64() / self.interval.as_secs_f64();
            let counted = (now.deadlines - last.deadlines) as f64;
            holds!((counted - passed).abs() < 1.0, "{counted} of {passed} deadlines were counted");
        }
        Ok(tick - last.tick)
    }

    /// Counters do not decrease, no sample is missing, and aggregates cover all samples.
    fn check_view(&self, view: &PluginView<'_>, ticks: u64) -> Result<PreviousValues, Violation> {
        let name = view.name();
        let counters = [
            view.event_count(),
            view.crash_count(),
            view.restart_count(),
            view.cpu_time().as_nanos() as u64,
            view.tree_cpu_time().as_nanos() as u64,
        ];
        let [.., main, tree] = counters;
        holds!(main <= tree, "{name}: {main} ns of the process, {tree} ns of its tree");
        let samples = view.history(Window::All).len();
        if let Some(before) = self.plugins.get(name) {
            let has_decreased =
                before.counters.iter().zip(counters).any(|(before, now)| *before > now);
            holds!(!has_decreased, "{name}: {counters:?} after {:?}", before.counters);
            let expected = (before.samples + ticks as usize).min(self.max_samples);
            holds!(samples == expected, "{name}: {samples} samples, not {expected}");
        }
        let aggregates = view.aggregates(Window::All);
        holds!(aggregates.is_some() == (samples > 0), "{name}: {samples} samples");
        if let Some(all) = aggregates {
            holds!(all.sample_count == samples, "{name}: {} of {samples}", all.sample_count);
            holds!(all.events <= view.event_count(), "{name}: {all:?}");
            holds!(all.crashes <= view.crash_count(), "{name}: {all:?}");
            for part in [all.cpu, all.memory].into_iter().flatten() {
                let plugmeter::Summary { count, avg, min, max, p95, .. } = part;
                holds!(count > 0 && count <= samples, "{name}: {part:?}");
                holds!(min <= avg && avg <= max && min <= p95 && p95 <= max, "{name}: {part:?}");
            }
        }
        Ok(PreviousValues { counters, samples })
    }

    /// Every sample of a plugin is in order and plausible.
    fn check_samples(&self, view: &PluginView<'_>) -> Result<(), Violation> {
        let name = view.name();
        let (mut events, mut crashes) = (0, 0);
        // The last interval of a run may be as short as a millisecond, and the CPU clock of a
        // process that does not sleep moves in scheduler ticks of up to ten: see
        // `Sample::cpu_percent`.
        let max_percent = 100.0 * (self.cores + 10) as f64;
        for sample in view.history(Window::All) {
            holds!(sample.plugin_name == name, "{name}: {sample:?}");
            holds!(sample.event_count >= events, "{name}: events of {sample:?}, after {events}");
            holds!(sample.crash_count >= crashes, "{name}: crashes of {sample:?}, after {crashes}");
            (events, crashes) = (sample.event_count, sample.crash_count);
            let cpu = sample.cpu_percent.unwrap_or(0.0);
            holds!((0.0..=max_percent).contains(&cpu), "{name}: {sample:?}");
            holds!(sample.pid.is_some() == sample.run.is_some(), "{name}: {sample:?}");
            holds!(sample.run.is_some() || sample.memory_bytes.is_none(), "{name}: {sample:?}");
        }
        holds!(events == view.event_count(), "{name}: {events} in the newest sample");
        holds!(crashes <= view.crash_count(), "{name}: {crashes} in the newest sample");
        Ok(())
    }
}
