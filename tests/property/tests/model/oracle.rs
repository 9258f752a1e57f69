//! The oracle: it keeps every event and searches all of them for each query.
//!
//! Nothing is packed, shared, bounded or cached. Times are relative to the start.

use std::time::{Duration, SystemTime};

use plugmeter::{PluginState, ReadError, RunEnd, RunId, Window};

/// An unreported crash counts after this time.
const CRASH_GRACE_PERIOD: Duration = Duration::from_secs(1);

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

/// What a tick reads of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Alive, with its CPU time and memory.
    Alive(Duration, u64),
    /// Exited.
    Ended(RunEnd),
    /// No reading, with the reason.
    Failed(ReadError),
}

/// One process of a plugin.
#[derive(Clone, Debug)]
struct Run {
    id: RunId,
    pid: u32,
    version: &'static str,
    process_started_at: Duration,
    reported_at: Duration,
    /// When and how it ended, as far as is known.
    ended: Option<(Duration, RunEnd)>,
    /// The end is classified: later reports do not change whether it is a crash.
    is_classified: bool,
    /// It counts as a crash unless the host reports otherwise within the grace period.
    is_crash_pending: bool,
    is_counted: bool,
    /// It is another process than the run before.
    is_new_process: bool,
    /// Time and CPU time of each reading.
    readings: Vec<(Duration, Duration)>,
}

impl Run {
    fn is_active(&self) -> bool {
        self.ended.is_none()
    }

    /// The differences between consecutive readings that do not decrease.
    fn increments(&self) -> Vec<Duration> {
        self.readings.windows(2).filter_map(|pair| pair[1].1.checked_sub(pair[0].1)).collect()
    }

    /// An exit status replaces a report, and a report replaces an unknown end. Otherwise the first
    /// one stays.
    fn refine_end(&mut self, newer: RunEnd) {
        let weight = |end| match end {
            RunEnd::Exited(_) | RunEnd::Signaled(_) => 2,
            RunEnd::Unknown => 0,
            _ => 1,
        };
        if let Some((_, known)) = &mut self.ended
            && weight(newer) > weight(*known)
        {
            *known = newer;
        }
    }

    fn count(&mut self) {
        self.is_counted = true;
        self.is_crash_pending = false;
        self.is_classified = true;
    }
}

/// Exit code 0, or a signal that requests a process to exit.
fn is_clean(end: RunEnd) -> bool {
    matches!(end, RunEnd::Exited(0) | RunEnd::Signaled(1 | 2 | 13 | 15))
}

/// The values that a tick recorded.
#[derive(Clone, Debug)]
struct RecordedSample {
    at: Duration,
    run: Option<(RunId, u32, &'static str)>,
    state: PluginState,
    /// In thousandths of a percent.
    cpu: Option<u64>,
    memory: Option<u64>,
    uptime: Option<Duration>,
    events: u64,
    crashes: u64,
}

/// A plugin from its registration on.
#[derive(Clone, Debug)]
struct Registration {
    name: String,
    /// It is in the snapshots: its registration was processed, and its removal was not.
    is_present: bool,
    state: PluginState,
    state_since: Duration,
    read_error: Option<ReadError>,
    runs: Vec<Run>,
    samples: Vec<RecordedSample>,
    /// All events so far, including those since the last tick.
    events: u64,
}

impl Registration {
    fn set_current_state(&mut self, state: PluginState, now: Duration) {
        if self.state != state {
            self.state = state;
            self.state_since = now;
        }
    }

    fn active_run(&mut self) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.is_active())
    }

    /// Ends the active run, if there is one, and returns it.
    fn end_active_run(&mut self, end: RunEnd, now: Duration) -> Option<&mut Run> {
        let run = self.runs.iter_mut().find(|run| run.is_active())?;
        run.ended = Some((now, end));
        self.read_error = None;
        Some(run)
    }

    fn crashes(&self) -> Vec<Duration> {
        let is_counted = self.runs.iter().filter(|run| run.is_counted);
        let mut at: Vec<_> = is_counted.filter_map(|run| Some(run.ended?.0)).collect();
        at.sort_unstable();
        at
    }

    /// Processes the exit of the run `id`, which the sampler has detected.
    fn process_exit(&mut self, id: RunId, end: RunEnd, now: Duration) {
        let was_stopping = self.state == PluginState::Stopping;
        let Some(run) = self.runs.iter_mut().find(|run| run.id == id) else {
            return;
        };
        let was_open = run.is_active();
        if was_open {
            run.ended = Some((now, end));
            run.is_classified = was_stopping;
        } else {
            run.refine_end(end);
        }
        run.is_crash_pending = !run.is_classified && !is_clean(end);
        let crashed = run.is_crash_pending;
        if was_open {
            self.read_error = None;
            self.set_current_state(
                if crashed { PluginState::Crashed } else { PluginState::Stopped },
                now,
            );
        }
    }

    /// A process is reported; `gone` is the run whose process was found gone, if there is one.
    fn started(
        &mut self,
        id: RunId,
        pid: u32,
        version: &'static str,
        gone: Option<RunId>,
        now: Duration,
    ) {
        let was_stopping = self.state == PluginState::Stopping;
        // A dead process cannot be replaced.
        let gone = self.active_run().is_some_and(|run| Some(run.id) == gone);
        let report = if gone { RunEnd::Unknown } else { RunEnd::Replaced };
        let replaced = self.end_active_run(report, now).and_then(|run| {
            run.is_classified = !gone || was_stopping;
            (!gone).then(|| run.clone())
        });
        if pid == 0 || i32::try_from(pid).is_err() {
            self.read_error = Some(ReadError::InvalidPid);
            self.set_current_state(PluginState::Failed, now);
            return;
        }
        let same = replaced.filter(|run| run.pid == pid);
        self.runs.push(Run {
            id,
            pid,
            version,
            process_started_at: same.as_ref().map_or(now, |run| run.process_started_at),
            reported_at: now,
            ended: None,
            is_classified: false,
            is_crash_pending: false,
            is_counted: false,
            is_new_process: same.is_none(),
            readings: same
                .and_then(|run| run.readings.last().copied())
                .map_or_else(|| vec![(now, Duration::ZERO)], |last| vec![last]),
        });
        self.read_error = None;
        self.state = PluginState::Running;
        self.state_since = now;
    }

    fn exited(&mut self, id: RunId, end: RunEnd, now: Duration) {
        let newest = self.runs.last().map(|run| run.id);
        let was_stopping = newest == Some(id) && self.state == PluginState::Stopping;
        let Some(run) = self.runs.iter_mut().find(|run| run.id == id) else {
            return;
        };
        if run.is_active() {
            run.ended = Some((now, end));
            self.read_error = None;
        } else {
            run.refine_end(end);
        }
        if run.is_classified {
            return;
        }
        let crashed = !was_stopping && !is_clean(end);
        run.is_classified = true;
        run.is_crash_pending = false;
        if crashed {
            run.count();
        }
        if newest == Some(id) {
            let state = if crashed { PluginState::Crashed } else { PluginState::Stopped };
            self.set_current_state(state, now);
        }
    }

    fn set_state(&mut self, state: PluginState, now: Duration) {
        match state {
            PluginState::Stopped | PluginState::Crashed => {
                let crashed = state == PluginState::Crashed;
                let report = if crashed { RunEnd::Crashed } else { RunEnd::Stopped };
                self.end_active_run(report, now);
                if let Some(run) = self.runs.last_mut().filter(|run| !run.is_classified) {
                    run.refine_end(report);
                    run.is_classified = true;
                    run.is_crash_pending = false;
                    if crashed {
                        run.count();
                    }
                }
                self.read_error = None;
            }
            PluginState::Failed => {
                if let Some(run) = self.end_active_run(RunEnd::Unknown, now) {
                    run.is_classified = true;
                }
            }
            _ => {}
        }
        self.set_current_state(state, now);
    }

    fn confirm_crashes(&mut self, now: Duration) {
        for run in &mut self.runs {
            if run.is_crash_pending
                && run.ended.is_some_and(|(at, _)| at + CRASH_GRACE_PERIOD <= now)
            {
                run.count();
            }
        }
    }

    /// Takes the sample of a tick and returns the exit that it detected.
    fn sample(&mut self, read: &dyn Fn(u32) -> Reading, now: Duration) -> Option<(RunId, RunEnd)> {
        let mut detected = None;
        let mut recorded = RecordedSample {
            at: now,
            run: None,
            state: self.state,
            cpu: None,
            memory: None,
            uptime: None,
            events: self.events,
            crashes: self.crashes().len() as u64,
        };
        // Excess events are carried to the next tick.
        let before = self.samples.last().map_or(0, |sample| sample.events);
        recorded.events = recorded.events.min(before + u64::from(u32::MAX));
        if let Some(run) = self.runs.iter_mut().find(|run| run.is_active()) {
            recorded.run = Some((run.id, run.pid, run.version));
            match read(run.pid) {
                Reading::Alive(cpu, memory) => {
                    let (since, before) =
                        *run.readings.last().expect("the first reading is at the start");
                    recorded.cpu = cpu.checked_sub(before).map(|busy| {
                        let wall = (now - since).as_nanos();
                        u64::try_from((busy.as_nanos() * 100_000 + wall / 2) / wall)
                            .expect("no test uses that much CPU")
                    });
                    let kib = memory / 1_024;
                    let fits = memory > 0 && kib < u64::from(u32::MAX) - 1;
                    recorded.memory = fits.then_some(kib * 1_024);
                    recorded.uptime = Some(now - run.process_started_at);
                    run.readings.push((now, cpu));
                    self.read_error = None;
                }
                Reading::Ended(end) => detected = Some((run.id, end)),
                Reading::Failed(read_error) => {
                    recorded.uptime = Some(now - run.process_started_at);
                    self.read_error = Some(read_error);
                }
            }
        }
        self.samples.push(recorded);
        detected
    }
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
        });
        self.queue(self.registrations.len() - 1, Report::Registered);
        self.registrations.len() - 1
    }

    /// Queues a report.
    pub(crate) fn queue(&mut self, registration: usize, report: Report) {
        self.pending.push((registration, report));
    }

    /// Adds events to a plugin.
    pub(crate) fn add_events(&mut self, registration: usize, events: u64) {
        self.registrations[registration].events += events;
    }

    /// All events of a plugin, including those since the last tick.
    pub(crate) fn events(&self, registration: usize) -> u64 {
        self.registrations[registration].events
    }

    /// The PIDs that a tick would read, sorted.
    pub(crate) fn active_pids(&self) -> Vec<u32> {
        let is_present = self.registrations.iter().filter(|registration| registration.is_present);
        let runs = is_present.flat_map(|registration| &registration.runs);
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

/// The public fields of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunFields {
    pub(crate) id: RunId,
    pub(crate) pid: u32,
    pub(crate) version: Option<String>,
    pub(crate) started_at: Option<SystemTime>,
    pub(crate) reported_at: SystemTime,
    pub(crate) ended_at: Option<SystemTime>,
    pub(crate) end: Option<RunEnd>,
    pub(crate) cpu_time: Option<Duration>,
}

/// The public fields of a sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SampleFields {
    pub(crate) timestamp: SystemTime,
    pub(crate) version: Option<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) run: Option<RunId>,
    pub(crate) state: PluginState,
    /// In thousandths of a percent.
    pub(crate) cpu: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) uptime: Option<Duration>,
    pub(crate) event_count: u64,
    pub(crate) crash_count: u64,
}

/// The public fields of a plugin, without its history.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PluginFields {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) state: PluginState,
    pub(crate) state_since: SystemTime,
    pub(crate) run: Option<RunFields>,
    pub(crate) runs: Vec<RunFields>,
    pub(crate) event_count: u64,
    pub(crate) crash_count: u64,
    pub(crate) last_crash: Option<SystemTime>,
    pub(crate) restarts: u64,
    pub(crate) cpu_time: Duration,
    pub(crate) read_error: Option<ReadError>,
    pub(crate) current: Option<SampleFields>,
}

/// The public fields of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SnapshotFields {
    pub(crate) tick: u64,
    pub(crate) sampled_at: SystemTime,
    pub(crate) failed_reads: u64,
    pub(crate) plugins_running: usize,
    pub(crate) plugins_crashed: usize,
    pub(crate) total_events: u64,
    pub(crate) total_memory_bytes: u64,
    pub(crate) plugins: Vec<PluginFields>,
}

/// Sorted integers, from which all values of a summary follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SortedValues(pub(crate) Vec<u64>);

impl SortedValues {
    fn of(values: impl Iterator<Item = u64>) -> Option<Self> {
        let mut values: Vec<_> = values.collect();
        values.sort_unstable();
        (!values.is_empty()).then_some(Self(values))
    }

    /// The value at the rank of the definition.
    pub(crate) fn p95(&self) -> u64 {
        self.0[(self.0.len() * 95 / 100).min(self.0.len() - 1)]
    }

    /// The exact sum.
    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// The public fields of an aggregate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WindowFields {
    pub(crate) sample_count: usize,
    pub(crate) time_span: Duration,
    /// In thousandths of a percent.
    pub(crate) cpu: Option<SortedValues>,
    /// In bytes.
    pub(crate) memory: Option<SortedValues>,
    pub(crate) events: u64,
    pub(crate) crashes: u64,
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

    /// Only the sampler has detected the end of this run, and it was clean.
    pub(crate) fn is_clean_and_unclassified(&self, registration: usize, id: RunId) -> bool {
        let run = self.registrations[registration].runs.iter().find(|run| run.id == id);
        run.is_some_and(|run| !run.is_active() && !run.is_classified && !run.is_crash_pending)
    }

    /// The end is clean and unclassified, and the run is too old to be listed.
    pub(crate) fn may_be_pruned(&self, registration: usize, id: RunId) -> bool {
        let listed = self.listed_runs(&self.registrations[registration]);
        self.is_clean_and_unclassified(registration, id) && listed.iter().all(|run| run.id != id)
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

    fn sample_fields(&self, sample: &RecordedSample) -> SampleFields {
        SampleFields {
            timestamp: self.wall(sample.at),
            version: sample.run.and_then(|(_, _, version)| some(version)),
            pid: sample.run.map(|(_, pid, _)| pid),
            run: sample.run.map(|(id, ..)| id),
            state: sample.state,
            cpu: sample.cpu,
            memory_bytes: sample.memory,
            uptime: sample.uptime,
            event_count: sample.events,
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
            event_count: registration.samples.last().map_or(0, |sample| sample.events),
            crash_count: crashes.len() as u64,
            last_crash: crashes.last().map(|&at| self.wall(at)),
            restarts: restarts.count() as u64,
            cpu_time: registration.runs.iter().flat_map(Run::increments).sum(),
            read_error: registration.read_error,
            current: registration.samples.last().map(|sample| self.sample_fields(sample)),
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
            total_events: newest().map(|sample| sample.events).sum(),
            total_memory_bytes: newest().filter_map(|sample| sample.memory).sum(),
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
            within.map(|sample| self.sample_fields(sample)).collect()
        };
        self.registered().iter().map(samples).collect()
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
                events: newest.events - oldest.events,
                crashes: registration.crashes().len() as u64 - oldest.crashes,
            })
        };
        self.registered().iter().map(sum_up).collect()
    }
}
