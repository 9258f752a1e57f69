//! The oracle: it keeps every event and searches all of them for each query.
//!
//! Nothing is packed, shared, bounded or cached. Times are relative to the start.

use std::time::{Duration, SystemTime};

use plugmeter::{PluginState, ReadError, RunEnd, RunId, Window};

/// An unreported crash counts after this time.
const GRACE: Duration = Duration::from_secs(1);

/// The most runs that a plugin lists.
const RUNS_SHOWN: usize = 256;

/// A report of the host to a handle.
#[derive(Clone, Debug)]
pub(crate) enum Word {
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
pub(crate) enum Seen {
    /// Alive, with its CPU time and memory.
    Alive(Duration, u64),
    /// Exited.
    Ended(RunEnd),
    /// No reading, with the reason.
    Unread(ReadError),
}

/// One process of a plugin.
#[derive(Clone, Debug)]
struct Run {
    id: RunId,
    pid: u32,
    version: &'static str,
    process_began: Duration,
    reported_at: Duration,
    /// When and how it ended, as far as is known.
    ended: Option<(Duration, RunEnd)>,
    /// The end is classified: later reports do not change whether it is a crash.
    settled: bool,
    /// It counts as a crash unless the host reports otherwise within the grace period.
    suspected: bool,
    counted: bool,
    /// It is another process than the run before.
    new_process: bool,
    /// Time and CPU time of each reading.
    readings: Vec<(Duration, Duration)>,
}

impl Run {
    fn is_open(&self) -> bool {
        self.ended.is_none()
    }

    /// The differences between consecutive readings that do not decrease.
    fn differences(&self) -> Vec<Duration> {
        self.readings.windows(2).filter_map(|pair| pair[1].1.checked_sub(pair[0].1)).collect()
    }

    /// An exit status replaces a report, and a report replaces an unknown end. Otherwise the first
    /// one stays.
    fn learn(&mut self, news: RunEnd) {
        let weight = |end| match end {
            RunEnd::Exited(_) | RunEnd::Signaled(_) => 2,
            RunEnd::Unknown => 0,
            _ => 1,
        };
        if let Some((_, known)) = &mut self.ended
            && weight(news) > weight(*known)
        {
            *known = news;
        }
    }

    fn count(&mut self) {
        self.counted = true;
        self.suspected = false;
        self.settled = true;
    }
}

/// Exit code 0, or a signal that requests a process to exit.
fn is_clean(end: RunEnd) -> bool {
    matches!(end, RunEnd::Exited(0) | RunEnd::Signaled(1 | 2 | 13 | 15))
}

/// The values that a tick recorded.
#[derive(Clone, Debug)]
struct Recorded {
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
struct Life {
    name: String,
    /// It is in the snapshots: its registration was processed, and its removal was not.
    present: bool,
    state: PluginState,
    state_since: Duration,
    problem: Option<ReadError>,
    runs: Vec<Run>,
    samples: Vec<Recorded>,
    /// All events so far, including those since the last tick.
    events: u64,
}

impl Life {
    fn enter(&mut self, state: PluginState, now: Duration) {
        if self.state != state {
            self.state = state;
            self.state_since = now;
        }
    }

    fn open(&mut self) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.is_open())
    }

    /// Ends the active run, if there is one, and returns it.
    fn close(&mut self, end: RunEnd, now: Duration) -> Option<&mut Run> {
        let run = self.runs.iter_mut().find(|run| run.is_open())?;
        run.ended = Some((now, end));
        self.problem = None;
        Some(run)
    }

    fn crashes(&self) -> Vec<Duration> {
        let counted = self.runs.iter().filter(|run| run.counted);
        let mut at: Vec<_> = counted.filter_map(|run| Some(run.ended?.0)).collect();
        at.sort_unstable();
        at
    }

    /// Processes the exit of the run `id`, which the sampler has detected.
    fn notice(&mut self, id: RunId, end: RunEnd, now: Duration) {
        let announced = self.state == PluginState::Stopping;
        let Some(run) = self.runs.iter_mut().find(|run| run.id == id) else {
            return;
        };
        let was_open = run.is_open();
        if was_open {
            run.ended = Some((now, end));
            run.settled = announced;
        } else {
            run.learn(end);
        }
        run.suspected = !run.settled && !is_clean(end);
        let crashed = run.suspected;
        if was_open {
            self.problem = None;
            self.enter(if crashed { PluginState::Crashed } else { PluginState::Stopped }, now);
        }
    }

    /// A process is reported; `dead` is the run whose process was found gone, if there is one.
    fn started(
        &mut self,
        id: RunId,
        pid: u32,
        version: &'static str,
        dead: Option<RunId>,
        now: Duration,
    ) {
        let announced = self.state == PluginState::Stopping;
        // A dead process cannot be replaced.
        let dead = self.open().is_some_and(|run| Some(run.id) == dead);
        let word = if dead { RunEnd::Unknown } else { RunEnd::Replaced };
        let replaced = self.close(word, now).and_then(|run| {
            run.settled = !dead || announced;
            (!dead).then(|| run.clone())
        });
        if pid == 0 || i32::try_from(pid).is_err() {
            self.problem = Some(ReadError::InvalidPid);
            self.enter(PluginState::Failed, now);
            return;
        }
        let same = replaced.filter(|run| run.pid == pid);
        self.runs.push(Run {
            id,
            pid,
            version,
            process_began: same.as_ref().map_or(now, |run| run.process_began),
            reported_at: now,
            ended: None,
            settled: false,
            suspected: false,
            counted: false,
            new_process: same.is_none(),
            readings: same
                .and_then(|run| run.readings.last().copied())
                .map_or_else(|| vec![(now, Duration::ZERO)], |last| vec![last]),
        });
        self.problem = None;
        self.state = PluginState::Running;
        self.state_since = now;
    }

    fn exited(&mut self, id: RunId, end: RunEnd, now: Duration) {
        let newest = self.runs.last().map(|run| run.id);
        let announced = newest == Some(id) && self.state == PluginState::Stopping;
        let Some(run) = self.runs.iter_mut().find(|run| run.id == id) else {
            return;
        };
        if run.is_open() {
            run.ended = Some((now, end));
            self.problem = None;
        } else {
            run.learn(end);
        }
        if run.settled {
            return;
        }
        let crashed = !announced && !is_clean(end);
        run.settled = true;
        run.suspected = false;
        if crashed {
            run.count();
        }
        if newest == Some(id) {
            let state = if crashed { PluginState::Crashed } else { PluginState::Stopped };
            self.enter(state, now);
        }
    }

    fn set_state(&mut self, state: PluginState, now: Duration) {
        match state {
            PluginState::Stopped | PluginState::Crashed => {
                let crashed = state == PluginState::Crashed;
                let word = if crashed { RunEnd::Crashed } else { RunEnd::Stopped };
                self.close(word, now);
                if let Some(run) = self.runs.last_mut().filter(|run| !run.settled) {
                    run.learn(word);
                    run.settled = true;
                    run.suspected = false;
                    if crashed {
                        run.count();
                    }
                }
                self.problem = None;
            }
            PluginState::Failed => {
                if let Some(run) = self.close(RunEnd::Unknown, now) {
                    run.settled = true;
                }
            }
            _ => {}
        }
        self.enter(state, now);
    }

    fn settle(&mut self, now: Duration) {
        for run in &mut self.runs {
            if run.suspected && run.ended.is_some_and(|(at, _)| at + GRACE <= now) {
                run.count();
            }
        }
    }

    /// Takes the sample of a tick and returns the exit that it detected.
    fn sample(&mut self, see: &dyn Fn(u32) -> Seen, now: Duration) -> Option<(RunId, RunEnd)> {
        let mut found = None;
        let mut recorded = Recorded {
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
        if let Some(run) = self.runs.iter_mut().find(|run| run.is_open()) {
            recorded.run = Some((run.id, run.pid, run.version));
            match see(run.pid) {
                Seen::Alive(cpu, memory) => {
                    let (since, before) = *run.readings.last().expect("one was taken at its start");
                    recorded.cpu = cpu.checked_sub(before).map(|busy| {
                        let wall = (now - since).as_nanos();
                        u64::try_from((busy.as_nanos() * 100_000 + wall / 2) / wall)
                            .expect("no test is that busy")
                    });
                    let kib = memory / 1_024;
                    let fits = memory > 0 && kib < u64::from(u32::MAX) - 1;
                    recorded.memory = fits.then_some(kib * 1_024);
                    recorded.uptime = Some(now - run.process_began);
                    run.readings.push((now, cpu));
                    self.problem = None;
                }
                Seen::Ended(end) => found = Some((run.id, end)),
                Seen::Unread(problem) => {
                    recorded.uptime = Some(now - run.process_began);
                    self.problem = Some(problem);
                }
            }
        }
        self.samples.push(recorded);
        found
    }
}

/// All events since the start.
#[derive(Debug)]
pub(crate) struct World {
    began: SystemTime,
    now: Duration,
    poll_interval: Duration,
    history_duration: Duration,
    ticks: Vec<Duration>,
    failed_reads: u64,
    lives: Vec<Life>,
    /// Reports that are not processed yet, with the index of the plugin.
    said: Vec<(usize, Word)>,
}

impl World {
    /// Creates an oracle without plugins.
    pub(crate) fn new(
        began: SystemTime,
        poll_interval: Duration,
        history_duration: Duration,
    ) -> Self {
        Self {
            began,
            now: Duration::ZERO,
            poll_interval,
            history_duration,
            ticks: Vec::new(),
            failed_reads: 0,
            lives: Vec::new(),
            said: Vec::new(),
        }
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// Registers a plugin and returns its index.
    pub(crate) fn register(&mut self, name: &str) -> usize {
        self.lives.push(Life {
            name: name.to_owned(),
            present: false,
            state: PluginState::Stopped,
            state_since: self.now,
            problem: None,
            runs: Vec::new(),
            samples: Vec::new(),
            events: 0,
        });
        self.say(self.lives.len() - 1, Word::Registered);
        self.lives.len() - 1
    }

    /// Queues a report.
    pub(crate) fn say(&mut self, life: usize, word: Word) {
        self.said.push((life, word));
    }

    /// Adds events to a plugin.
    pub(crate) fn add_events(&mut self, life: usize, events: u64) {
        self.lives[life].events += events;
    }

    /// All events of a plugin, including those since the last tick.
    pub(crate) fn events(&self, life: usize) -> u64 {
        self.lives[life].events
    }

    /// The PIDs that a tick would read, sorted.
    pub(crate) fn open_pids(&self) -> Vec<u32> {
        let present = self.lives.iter().filter(|life| life.present);
        let runs = present.flat_map(|life| &life.runs);
        let mut pids: Vec<_> = runs.filter(|run| run.is_open()).map(|run| run.pid).collect();
        pids.sort_unstable();
        pids
    }

    /// Processes the queued reports, then the detected exits.
    fn hear(&mut self, found: &[(usize, RunId, RunEnd)]) {
        for (index, word) in std::mem::take(&mut self.said) {
            let now = self.now;
            let life = &mut self.lives[index];
            if matches!(word, Word::Registered) {
                life.present = true;
                life.state_since = now;
            }
            if !life.present {
                continue;
            }
            match word {
                Word::Registered => {}
                Word::Removed => life.present = false,
                Word::Started { run, pid, version } => {
                    let mut mine = found.iter().filter(|(of, ..)| *of == index);
                    let dead = mine.next().map(|(_, id, _)| *id);
                    life.started(run, pid, version, dead, now);
                }
                Word::Exited(run, end) => life.exited(run, end, now),
                Word::State(state) => life.set_state(state, now),
            }
        }
        for &(index, run, end) in found {
            if self.lives[index].present {
                self.lives[index].notice(run, end, self.now);
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        for life in self.lives.iter_mut().filter(|life| life.present) {
            life.settle(self.now);
        }
    }

    /// Returns whether no report is queued.
    pub(crate) fn is_silent(&self) -> bool {
        self.said.is_empty()
    }

    /// Ages of the samples at the newest tick, newest first.
    pub(crate) fn sample_ages(&self) -> Vec<Duration> {
        let newest = self.ticks.last().copied().unwrap_or_default();
        self.ticks.iter().rev().map(|&at| newest - at).collect()
    }

    /// Processes the queued reports, before time advances.
    pub(crate) fn hear_the_host(&mut self) {
        self.hear(&[]);
    }

    /// Advances the time.
    pub(crate) fn advance(&mut self, time: Duration) {
        self.hear_the_host();
        self.now += time;
        self.settle();
    }

    /// Advances the time by one interval and reads every process. `during_tick` is queued after the
    /// reads.
    pub(crate) fn tick(&mut self, see: &dyn Fn(u32) -> Seen, meanwhile: Vec<(usize, Word)>) {
        self.advance(self.poll_interval);
        self.ticks.push(self.now);
        let mut found = Vec::new();
        for (index, life) in self.lives.iter_mut().enumerate() {
            if !life.present {
                continue;
            }
            let unread = |pid| matches!(see(pid), Seen::Unread(_));
            self.failed_reads += life.open().map_or(0, |run| u64::from(unread(run.pid)));
            if let Some((run, end)) = life.sample(see, self.now) {
                found.push((index, run, end));
            }
        }
        self.said.extend(meanwhile);
        self.hear(&found);
    }
}

/// The public fields of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunSeen {
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
pub(crate) struct SampleSeen {
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
pub(crate) struct PluginSeen {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) state: PluginState,
    pub(crate) state_since: SystemTime,
    pub(crate) run: Option<RunSeen>,
    pub(crate) runs: Vec<RunSeen>,
    pub(crate) event_count: u64,
    pub(crate) crash_count: u64,
    pub(crate) last_crash: Option<SystemTime>,
    pub(crate) restarts: u64,
    pub(crate) cpu_time: Duration,
    pub(crate) problem: Option<ReadError>,
    pub(crate) current: Option<SampleSeen>,
}

/// The public fields of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Overview {
    pub(crate) tick: u64,
    pub(crate) sampled_at: SystemTime,
    pub(crate) failed_reads: u64,
    pub(crate) plugins_running: usize,
    pub(crate) plugins_crashed: usize,
    pub(crate) total_events: u64,
    pub(crate) total_memory_bytes: u64,
    pub(crate) plugins: Vec<PluginSeen>,
}

/// Sorted integers, from which all values of a summary follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sorted(pub(crate) Vec<u64>);

impl Sorted {
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
pub(crate) struct WindowSeen {
    pub(crate) sample_count: usize,
    pub(crate) time_span: Duration,
    /// In thousandths of a percent.
    pub(crate) cpu: Option<Sorted>,
    /// In bytes.
    pub(crate) memory: Option<Sorted>,
    pub(crate) events: u64,
    pub(crate) crashes: u64,
}

fn some(version: &str) -> Option<String> {
    (!version.is_empty()).then(|| version.to_owned())
}

impl World {
    fn wall(&self, at: Duration) -> SystemTime {
        self.began + at
    }

    fn registered(&self) -> Vec<&Life> {
        let mut lives: Vec<_> = self.lives.iter().filter(|life| life.present).collect();
        lives.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        lives
    }

    /// The times of the ticks that are in the history.
    fn history(&self) -> &[Duration] {
        let most = self.history_duration.as_nanos() / self.poll_interval.as_nanos();
        let most = usize::try_from(most).expect("histories are short here").max(1);
        &self.ticks[self.ticks.len().saturating_sub(most)..]
    }

    fn within<'a>(&self, life: &'a Life, window: Window) -> Vec<&'a Recorded> {
        let kept = self.history();
        let Some((first, newest)) = kept.first().zip(kept.last()) else {
            return Vec::new();
        };
        let inside = |at: Duration| match window {
            Window::All => true,
            Window::Last(length) => *newest - at <= length,
        };
        let samples = life.samples.iter();
        samples.filter(|sample| sample.at >= *first && inside(sample.at)).collect()
    }

    /// Only the sampler has detected the end of this run, and it was clean.
    pub(crate) fn is_clean_and_unsettled(&self, life: usize, id: RunId) -> bool {
        let run = self.lives[life].runs.iter().find(|run| run.id == id);
        run.is_some_and(|run| !run.is_open() && !run.settled && !run.suspected)
    }

    /// As above, and the run is so old that it is not listed any more.
    pub(crate) fn may_be_forgotten(&self, life: usize, id: RunId) -> bool {
        let shown = self.runs_shown(&self.lives[life]);
        self.is_clean_and_unsettled(life, id) && shown.iter().all(|run| run.id != id)
    }

    fn run_seen(&self, run: &Run) -> RunSeen {
        let differences = run.differences();
        let known = !run.is_open() && !differences.is_empty();
        RunSeen {
            id: run.id,
            pid: run.pid,
            version: some(run.version),
            started_at: Some(self.wall(run.process_began)),
            reported_at: self.wall(run.reported_at),
            ended_at: run.ended.map(|(at, _)| self.wall(at)),
            end: run.ended.map(|(_, end)| end),
            cpu_time: known.then(|| differences.iter().sum()),
        }
    }

    fn sample_seen(&self, sample: &Recorded) -> SampleSeen {
        SampleSeen {
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
    fn runs_shown<'a>(&self, life: &'a Life) -> Vec<&'a Run> {
        let oldest = self.history().first().copied();
        let since = self
            .ticks
            .last()
            .zip(oldest)
            .map(|(newest, oldest)| oldest.min(newest.saturating_sub(self.history_duration)));
        let shown = |run: &&Run| match (run.ended, since) {
            (Some((ended, _)), Some(since)) => ended >= since,
            (None, _) | (_, None) => true,
        };
        let shown: Vec<_> = life.runs.iter().filter(shown).collect();
        shown[shown.len().saturating_sub(RUNS_SHOWN)..].to_vec()
    }

    fn plugin_seen(&self, life: &Life) -> PluginSeen {
        let open = life.runs.iter().find(|run| run.is_open());
        let crashes = life.crashes();
        let restarts = life.runs.iter().skip(1).filter(|run| run.new_process);
        PluginSeen {
            name: life.name.clone(),
            version: life.runs.last().and_then(|run| some(run.version)),
            pid: open.map(|run| run.pid),
            state: life.state,
            state_since: self.wall(life.state_since),
            run: open.map(|run| self.run_seen(run)),
            runs: self.runs_shown(life).into_iter().map(|run| self.run_seen(run)).collect(),
            event_count: life.samples.last().map_or(0, |sample| sample.events),
            crash_count: crashes.len() as u64,
            last_crash: crashes.last().map(|&at| self.wall(at)),
            restarts: restarts.count() as u64,
            cpu_time: life.runs.iter().flat_map(Run::differences).sum(),
            problem: life.problem,
            current: life.samples.last().map(|sample| self.sample_seen(sample)),
        }
    }

    /// The content of the current snapshot.
    pub(crate) fn overview(&self) -> Overview {
        let lives = self.registered();
        let in_state = |state| lives.iter().filter(move |life| life.state == state);
        let open = |life: &&&Life| life.runs.iter().any(Run::is_open);
        let newest = || lives.iter().filter_map(|life| life.samples.last());
        Overview {
            tick: self.ticks.len() as u64,
            sampled_at: self.wall(self.ticks.last().copied().unwrap_or_default()),
            failed_reads: self.failed_reads,
            plugins_running: in_state(PluginState::Running).filter(open).count(),
            plugins_crashed: in_state(PluginState::Crashed).count(),
            total_events: newest().map(|sample| sample.events).sum(),
            total_memory_bytes: newest().filter_map(|sample| sample.memory).sum(),
            plugins: lives.iter().map(|life| self.plugin_seen(life)).collect(),
        }
    }

    /// The samples of each plugin in `window`, oldest first; plugins sorted by name.
    pub(crate) fn samples(&self, window: Window) -> Vec<Vec<SampleSeen>> {
        let samples = |life: &&Life| {
            let within = self.within(life, window).into_iter();
            within.map(|sample| self.sample_seen(sample)).collect()
        };
        self.registered().iter().map(samples).collect()
    }

    /// The aggregates of each plugin over `window`; plugins sorted by name.
    pub(crate) fn windows(&self, window: Window) -> Vec<Option<WindowSeen>> {
        let sum_up = |life: &&Life| {
            let samples = self.within(life, window);
            let (oldest, newest) = samples.first().zip(samples.last())?;
            Some(WindowSeen {
                sample_count: samples.len(),
                time_span: newest.at - oldest.at,
                cpu: Sorted::of(samples.iter().filter_map(|sample| sample.cpu)),
                memory: Sorted::of(samples.iter().filter_map(|sample| sample.memory)),
                events: newest.events - oldest.events,
                crashes: life.crashes().len() as u64 - oldest.crashes,
            })
        };
        self.registered().iter().map(sum_up).collect()
    }
}
