//! The oracle: it keeps every event and searches all of them for each query.
//!
//! Nothing is packed, shared, bounded or cached. Times are relative to the start.

use std::time::{Duration, SystemTime};

use plugmeter::{PluginState, ReadError, RunEnd, RunId, Window};

use crate::fields::{
    PluginFields, RunFields, SampleFields, SnapshotFields, SortedValues, VersionFields,
    WindowFields,
};
use crate::registration::{RecordedSample, Registration, Run};

/// The most runs that a plugin lists.
const MAX_LISTED_RUNS: usize = 256;

/// A report of the host to a handle.
#[derive(Clone, Debug)]
pub(crate) enum Report {
    /// The plugin was registered.
    Registered,
    /// The plugin was removed.
    Removed,
    /// A process was started.
    Started {
        /// The result of the handle's method.
        run: RunId,
        /// The reported PID.
        pid: u32,
        /// Empty for no version.
        version: &'static str,
    },
    /// The exit status of a run's process.
    Exited(RunId, RunEnd),
    /// A state; `stopped()` and `crashed()` set one as well.
    State(PluginState),
}

/// What a tick reads of a process tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeReading {
    /// CPU time of the descendants.
    pub(crate) others: Duration,
    /// Of the whole tree.
    pub(crate) memory: u64,
    pub(crate) processes: u32,
}

/// What a tick reads of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Alive, with its CPU time and memory, and with its tree, if it has descendants.
    Alive(Duration, u64, Option<TreeReading>),
    /// Exited.
    Ended(RunEnd),
    /// No reading, with the reason.
    Failed(ReadError),
}

/// All events since the start.
#[derive(Debug)]
pub(crate) struct Oracle {
    start: SystemTime,
    now: Duration,
    poll_interval: Duration,
    history_duration: Duration,
    ticks: Vec<Duration>,
    failed_reads: u64,
    registrations: Vec<Registration>,
    /// Reports that are not processed yet, with the index of the plugin.
    pending: Vec<(usize, Report)>,
}

impl Oracle {
    /// Creates an oracle without plugins.
    pub(crate) fn new(
        start: SystemTime,
        poll_interval: Duration,
        history_duration: Duration,
    ) -> Self {
        Self {
            start,
            now: Duration::ZERO,
            poll_interval,
            history_duration,
            ticks: Vec::new(),
            failed_reads: 0,
            registrations: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// Registers a plugin and returns its index.
    pub(crate) fn register(&mut self, name: &str) -> usize {
        self.registrations.push(Registration {
            name: name.to_owned(),
            is_present: false,
            state: PluginState::Stopped,
            state_since: self.now,
            read_error: None,
            runs: Vec::new(),
            samples: Vec::new(),
            events: 0,
            kinds: Vec::new(),
            sampled_kinds: Vec::new(),
            unknown_ends_detected: 0,
            has_tree: false,
        });
        self.queue(self.registrations.len() - 1, Report::Registered);
        self.registrations.len() - 1
    }

    /// Queues a report.
    pub(crate) fn queue(&mut self, registration: usize, report: Report) {
        self.pending.push((registration, report));
    }

    /// Adds events to a plugin.
    pub(crate) fn add_events(
        &mut self,
        registration: usize,
        events: u64,
        kind: Option<&'static str>,
    ) {
        let registration = &mut self.registrations[registration];
        registration.events += events;
        if let Some(kind) = kind {
            match registration.kinds.iter_mut().find(|(name, _)| *name == kind) {
                Some((_, count)) => *count += events,
                None => registration.kinds.push((kind, events)),
            }
        }
    }

    /// All events of a plugin, including those since the last tick.
    pub(crate) fn events(&self, registration: usize) -> u64 {
        self.registrations[registration].events
    }

    /// The PIDs that a tick would read, sorted.
    pub(crate) fn active_pids(&self) -> Vec<u32> {
        let present = self.registrations.iter().filter(|registration| registration.is_present);
        let runs = present.flat_map(|registration| &registration.runs);
        let mut pids: Vec<_> = runs.filter(|run| run.is_active()).map(|run| run.pid).collect();
        pids.sort_unstable();
        pids
    }

    /// Processes the queued reports, then the detected exits.
    fn process_reports(&mut self, detected: &[(usize, RunId, RunEnd)]) {
        for (index, report) in std::mem::take(&mut self.pending) {
            let now = self.now;
            let registration = &mut self.registrations[index];
            if matches!(report, Report::Registered) {
                registration.is_present = true;
                registration.state_since = now;
            }
            if !registration.is_present {
                continue;
            }
            match report {
                Report::Registered => {}
                Report::Removed => registration.is_present = false,
                Report::Started { run, pid, version } => {
                    let mut mine = detected.iter().filter(|(of, ..)| *of == index);
                    let gone = mine.next().map(|(_, id, _)| *id);
                    registration.started(run, pid, version, gone, now);
                }
                Report::Exited(run, end) => registration.exited(run, end, now),
                Report::State(state) => registration.set_state(state, now),
            }
        }
        for &(index, run, end) in detected {
            if self.registrations[index].is_present {
                self.registrations[index].process_exit(run, end, self.now);
            }
        }
        self.confirm_crashes();
    }

    fn confirm_crashes(&mut self) {
        for registration in
            self.registrations.iter_mut().filter(|registration| registration.is_present)
        {
            registration.confirm_crashes(self.now);
        }
    }

    /// Returns whether no report is queued.
    pub(crate) fn has_no_pending_reports(&self) -> bool {
        self.pending.is_empty()
    }

    /// Ages of the samples at the newest tick, newest first.
    pub(crate) fn sample_ages(&self) -> Vec<Duration> {
        let newest = self.ticks.last().copied().unwrap_or_default();
        self.ticks.iter().rev().map(|&at| newest - at).collect()
    }

    /// Processes the queued reports, before time advances.
    pub(crate) fn process_pending(&mut self) {
        self.process_reports(&[]);
    }

    /// Advances the time.
    pub(crate) fn advance(&mut self, time: Duration) {
        self.process_pending();
        self.now += time;
        self.confirm_crashes();
    }

    /// Advances the time by one interval and reads every process. `during_tick` is queued after the
    /// reads.
    pub(crate) fn tick(
        &mut self,
        read: &dyn Fn(u32) -> Reading,
        during_tick: Vec<(usize, Report)>,
    ) {
        self.advance(self.poll_interval);
        self.ticks.push(self.now);
        let mut detected = Vec::new();
        for (index, registration) in self.registrations.iter_mut().enumerate() {
            if !registration.is_present {
                continue;
            }
            let unread = |pid| matches!(read(pid), Reading::Failed(_));
            self.failed_reads +=
                registration.active_run().map_or(0, |run| u64::from(unread(run.pid)));
            if let Some((run, end)) = registration.sample(read, self.now) {
                detected.push((index, run, end));
            }
        }
        self.pending.extend(during_tick);
        self.process_reports(&detected);
    }
}

fn some(version: &str) -> Option<String> {
    (!version.is_empty()).then(|| version.to_owned())
}

impl Oracle {
    fn wall(&self, at: Duration) -> SystemTime {
        self.start + at
    }

    fn registered(&self) -> Vec<&Registration> {
        let mut registrations: Vec<_> =
            self.registrations.iter().filter(|registration| registration.is_present).collect();
        registrations.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        registrations
    }

    /// The times of the ticks that are in the history.
    fn history(&self) -> &[Duration] {
        let most = self.history_duration.as_nanos() / self.poll_interval.as_nanos();
        let most = usize::try_from(most).expect("tests use short histories").max(1);
        &self.ticks[self.ticks.len().saturating_sub(most)..]
    }

    fn within<'a>(
        &self,
        registration: &'a Registration,
        window: Window,
    ) -> Vec<&'a RecordedSample> {
        let kept = self.history();
        let Some((first, newest)) = kept.first().zip(kept.last()) else {
            return Vec::new();
        };
        let inside = |at: Duration| match window {
            Window::All => true,
            Window::Last(length) => *newest - at <= length,
        };
        let samples = registration.samples.iter();
        samples.filter(|sample| sample.at >= *first && inside(sample.at)).collect()
    }

    /// Only the sampler has detected the end of this run, and it was clean or unknown.
    pub(crate) fn is_uncounted_and_unclassified(&self, registration: usize, id: RunId) -> bool {
        let run = self.registrations[registration].runs.iter().find(|run| run.id == id);
        run.is_some_and(|run| !run.is_active() && !run.is_classified && !run.is_crash_pending)
    }

    /// The end is uncounted and unclassified, and the run is too old to be listed.
    pub(crate) fn may_be_pruned(&self, registration: usize, id: RunId) -> bool {
        let listed = self.listed_runs(&self.registrations[registration]);
        self.is_uncounted_and_unclassified(registration, id)
            && listed.iter().all(|run| run.id != id)
    }

    fn run_fields(&self, run: &Run) -> RunFields {
        let increments = run.increments();
        let known = !run.is_active() && !increments.is_empty();
        RunFields {
            id: run.id,
            pid: run.pid,
            version: some(run.version),
            started_at: Some(self.wall(run.process_started_at)),
            reported_at: self.wall(run.reported_at),
            ended_at: run.ended.map(|(at, _)| self.wall(at)),
            end: run.ended.map(|(_, end)| end),
            cpu_time: known.then(|| increments.iter().sum()),
        }
    }

    fn sample_fields(&self, of: &Registration, sample: &RecordedSample) -> SampleFields {
        let is_newest = of.samples.last().is_some_and(|newest| newest.at == sample.at);
        SampleFields {
            timestamp: self.wall(sample.at),
            version: sample.run.and_then(|(_, _, version)| some(version)),
            pid: sample.run.map(|(_, pid, _)| pid),
            run: sample.run.map(|(id, ..)| id),
            state: sample.state,
            cpu: sample.cpu,
            memory_bytes: sample.memory,
            tree: sample.tree,
            uptime: sample.uptime,
            event_count: if is_newest { sample.exact_events } else { sample.events },
            crash_count: sample.crashes,
        }
    }

    /// The listed runs, oldest first.
    fn listed_runs<'a>(&self, registration: &'a Registration) -> Vec<&'a Run> {
        let oldest = self.history().first().copied();
        let since = self
            .ticks
            .last()
            .zip(oldest)
            .map(|(newest, oldest)| oldest.min(newest.saturating_sub(self.history_duration)));
        let listed = |run: &&Run| match (run.ended, since) {
            (Some((ended, _)), Some(since)) => ended >= since,
            (None, _) | (_, None) => true,
        };
        let listed: Vec<_> = registration.runs.iter().filter(listed).collect();
        listed[listed.len().saturating_sub(MAX_LISTED_RUNS)..].to_vec()
    }

    fn plugin_fields(&self, registration: &Registration) -> PluginFields {
        let active_run = registration.runs.iter().find(|run| run.is_active());
        let crashes = registration.crashes();
        let restarts = registration.runs.iter().skip(1).filter(|run| run.is_new_process);
        PluginFields {
            name: registration.name.clone(),
            version: registration.runs.last().and_then(|run| some(run.version)),
            pid: active_run.map(|run| run.pid),
            state: registration.state,
            state_since: self.wall(registration.state_since),
            run: active_run.map(|run| self.run_fields(run)),
            runs: self
                .listed_runs(registration)
                .into_iter()
                .map(|run| self.run_fields(run))
                .collect(),
            event_count: registration.samples.last().map_or(0, |sample| sample.exact_events),
            event_counts: registration
                .sampled_kinds
                .iter()
                .map(|&(kind, count)| (kind.to_owned(), count))
                .collect(),
            crash_count: crashes.len() as u64,
            unknown_end_count: registration.runs.iter().filter(|run| run.is_unknown).count() as u64,
            unknown_ends_detected: registration.unknown_ends_detected,
            last_crash: crashes.last().map(|&at| self.wall(at)),
            restarts: restarts.count() as u64,
            cpu_time: registration.runs.iter().flat_map(Run::increments).sum(),
            tree_cpu_time: {
                let own = registration.runs.iter().flat_map(Run::increments);
                own.chain(registration.runs.iter().map(Run::others_time)).sum()
            },
            read_error: registration.read_error,
            current: registration
                .samples
                .last()
                .map(|sample| self.sample_fields(registration, sample)),
        }
    }

    /// The content of the current snapshot.
    pub(crate) fn snapshot_fields(&self) -> SnapshotFields {
        let registrations = self.registered();
        let in_state =
            |state| registrations.iter().filter(move |registration| registration.state == state);
        let active_run =
            |registration: &&&Registration| registration.runs.iter().any(Run::is_active);
        let newest = || registrations.iter().filter_map(|registration| registration.samples.last());
        SnapshotFields {
            tick: self.ticks.len() as u64,
            sampled_at: self.wall(self.ticks.last().copied().unwrap_or_default()),
            failed_reads: self.failed_reads,
            plugins_running: in_state(PluginState::Running).filter(active_run).count(),
            plugins_crashed: in_state(PluginState::Crashed).count(),
            total_events: newest().map(|sample| sample.exact_events).sum(),
            total_memory_bytes: newest().filter_map(|sample| sample.memory).sum(),
            tree_cpu: newest().filter_map(|sample| sample.tree.cpu).sum(),
            total_tree_memory_bytes: newest().filter_map(|sample| sample.tree.memory_bytes).sum(),
            process_count: newest()
                .filter_map(|sample| sample.tree.process_count)
                .map(|count| count as usize)
                .sum(),
            plugins: registrations
                .iter()
                .map(|registration| self.plugin_fields(registration))
                .collect(),
        }
    }

    /// The samples of each plugin in `window`, oldest first; plugins sorted by name.
    pub(crate) fn samples(&self, window: Window) -> Vec<Vec<SampleFields>> {
        let samples = |registration: &&Registration| {
            let within = self.within(registration, window).into_iter();
            within.map(|sample| self.sample_fields(registration, sample)).collect()
        };
        self.registered().iter().map(samples).collect()
    }

    /// The crashes of each plugin in `window`; plugins sorted by name. A window that reaches back to the
    /// first tick, or to a tick before the plugin's first sample, includes those before its first
    /// sample.
    pub(crate) fn crashes(&self, window: Window) -> Vec<u64> {
        let newest = self.ticks.last().copied().unwrap_or_default();
        let inside = |at: &Duration| match window {
            Window::All => true,
            Window::Last(length) => newest - *at <= length,
        };
        let start = self.history().iter().copied().find(inside);
        let crashes = |registration: &&Registration| {
            let all = registration.crashes().len() as u64;
            let first = registration.samples.first();
            let oldest = self.within(registration, window).into_iter().next();
            match (start, first, oldest) {
                (Some(start), Some(first), Some(oldest))
                    if start >= first.at && start > self.ticks[0] =>
                {
                    all - oldest.crashes
                }
                _ => all,
            }
        };
        self.registered().iter().map(crashes).collect()
    }

    /// The aggregates of each plugin over `window`; plugins sorted by name.
    pub(crate) fn windows(&self, window: Window) -> Vec<Option<WindowFields>> {
        let sum_up = |registration: &&Registration| {
            let samples = self.within(registration, window);
            let (oldest, newest) = samples.first().zip(samples.last())?;
            Some(WindowFields {
                sample_count: samples.len(),
                time_span: newest.at - oldest.at,
                cpu: SortedValues::of(samples.iter().filter_map(|sample| sample.cpu)),
                memory: SortedValues::of(samples.iter().filter_map(|sample| sample.memory)),
                tree_cpu: SortedValues::of(samples.iter().filter_map(|sample| sample.tree.cpu)),
                tree_memory: SortedValues::of(
                    samples.iter().filter_map(|sample| sample.tree.memory_bytes),
                ),
                cpu_time: are_recorded(registration).then(|| {
                    let shares =
                        (0..samples.len()).map(|at| share_nanos(registration, &samples, at));
                    cpu_time(shares.sum())
                }),
                events: match samples.len() {
                    1 => 0,
                    _ => newest.exact_events - oldest.events,
                },
                crashes: registration.crashes().len() as u64 - oldest.crashes,
            })
        };
        self.registered().iter().map(sum_up).collect()
    }

    /// The usage of each version over `window`, by plugin; plugins sorted by name.
    pub(crate) fn versions(&self, window: Window) -> Vec<Vec<VersionFields>> {
        let of_plugin = |registration: &&Registration| {
            let samples = self.within(registration, window);
            versions(registration, &samples)
        };
        self.registered().iter().map(of_plugin).collect()
    }
}

/// Runs that no sample refers to are removed once there are more.
fn are_recorded(registration: &Registration) -> bool {
    registration.runs.len() <= MAX_LISTED_RUNS
}

fn cpu_time(share_nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(share_nanos / 100_000).expect("tests use little CPU"))
}

/// The share of a sample times the nanoseconds that it covers. `samples` are those of a window.
fn share_nanos(registration: &Registration, samples: &[&RecordedSample], at: usize) -> u128 {
    let sample = samples[at];
    let Some(share) = sample.tree.cpu.filter(|_| at > 0) else { return 0 };
    // The newest sample before it that has a share; at least the oldest.
    let before = (1..at).rev().find(|&at| samples[at].tree.cpu.is_some()).unwrap_or(0);
    let before = samples[before].at;
    let began = |run: &Run| run.readings[0].0;
    let last_read = |run: &Run| run.readings[run.readings.len() - 1].0;
    let overlaps =
        |run: &&Run| began(run) < sample.at && (run.is_active() || last_read(run) > before);
    // A run that was not read again since its last share has no part in the next one.
    let last_share = |run: &Run| {
        let fallen = run.readings.windows(2).filter(|pair| pair[1].1 < pair[0].1);
        let own = registration.samples.iter().filter(|sample| {
            sample.cpu.is_some() && sample.run.is_some_and(|(id, ..)| id == run.id)
        });
        let times = fallen.map(|pair| pair[1].0).chain(own.map(|sample| sample.at));
        times.fold(began(run), Duration::max)
    };
    // Nor has an active run that the tick did not read. A run may end at the time of a sample that it has.
    let is_over = |run: &Run| {
        run.ended.is_some_and(|(ended, _)| {
            ended < sample.at || (ended == sample.at && sample.run.is_none())
        })
    };
    let is_measured = |run: &&Run| match is_over(run) {
        true => last_read(run) > last_share(run),
        false => run.readings.iter().any(|&(at, _)| at == sample.at),
    };
    let runs: Vec<_> =
        registration.runs.iter().filter(overlaps).filter(|run| is_measured(run)).collect();
    let start = runs.first().map_or(before, |run| began(run).max(before));
    let end = match runs.last() {
        Some(run) if is_over(run) => last_read(run).min(sample.at),
        _ => sample.at,
    };
    u128::from(share) * (end.saturating_sub(start)).as_nanos()
}

fn versions(registration: &Registration, samples: &[&RecordedSample]) -> Vec<VersionFields> {
    let Some((oldest, newest)) = samples.first().zip(samples.last()) else { return Vec::new() };
    let overlaps = |run: &Run| {
        run.readings[0].0 < newest.at && run.ended.is_none_or(|(ended, _)| ended >= oldest.at)
    };
    // The run to which CPU time and events of a sample belong.
    let owner = |at: usize| {
        let sample = samples[at];
        let before = if at == 0 { sample.at } else { samples[at - 1].at };
        let ended_since =
            |run: &&Run| run.ended.is_some_and(|(ended, _)| ended > before && ended <= sample.at);
        match sample.run {
            Some((id, ..)) => registration.runs.iter().find(|run| run.id == id),
            None => registration.runs.iter().rfind(ended_since).or_else(|| {
                // The tick before has detected the end.
                let (id, ..) = samples[at.checked_sub(1)?].run?;
                let is_over = |run: &&Run| {
                    run.id == id && run.ended.is_some_and(|(ended, _)| ended == before)
                };
                registration.runs.iter().find(is_over)
            }),
        }
    };
    let owners: Vec<_> = (0..samples.len()).map(owner).collect();
    // Versions in the order of their newest runs that overlap, or own a sample.
    let is_owner = |run: &Run| owners.iter().flatten().any(|owner| owner.id == run.id);
    let mut names: Vec<&str> = Vec::new();
    for run in registration.runs.iter().filter(|run| overlaps(run) || is_owner(run)) {
        names.retain(|name| *name != run.version);
        names.push(run.version);
    }
    let usage = |version: &&str| {
        let owned: Vec<usize> = (0..samples.len())
            .filter(|&at| owners[at].is_some_and(|run| run.version == *version))
            .collect();
        let seen: Vec<usize> =
            owned.iter().copied().filter(|&at| samples[at].run.is_some()).collect();
        let runs = registration.runs.iter().filter(|run| run.version == *version);
        let runs: Vec<_> = runs.filter(|run| overlaps(run)).collect();
        let are_recorded = are_recorded(registration);
        let events = |at: usize| match at {
            0 => 0,
            _ if at + 1 == samples.len() => samples[at].exact_events - samples[at - 1].events,
            _ => samples[at].events - samples[at - 1].events,
        };
        VersionFields {
            version: some(version),
            runs_and_crashes: are_recorded
                .then(|| (runs.len(), runs.iter().filter(|run| run.is_counted).count() as u64)),
            sample_count: seen.len(),
            time: seen
                .iter()
                .filter(|&&at| at > 0)
                .map(|&at| samples[at].at - samples[at - 1].at)
                .sum(),
            cpu: SortedValues::of(seen.iter().filter_map(|&at| samples[at].tree.cpu)),
            memory: SortedValues::of(seen.iter().filter_map(|&at| samples[at].tree.memory_bytes)),
            cpu_time: are_recorded.then(|| {
                cpu_time(owned.iter().map(|&at| share_nanos(registration, samples, at)).sum())
            }),
            events: are_recorded.then(|| owned.iter().map(|&at| events(at)).sum()),
        }
    };
    names.iter().map(usage).collect()
}
