//! The state machine of one plugin in the oracle.

use std::time::Duration;

use plugmeter::{PluginState, ReadError, RunEnd, RunId};

use crate::fields::TreeFields;
use crate::oracle::{Reading, TreeReading};

/// An unreported crash counts after this time.
const CRASH_GRACE_PERIOD: Duration = Duration::from_secs(1);

/// One process of a plugin.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) pid: u32,
    pub(crate) version: &'static str,
    pub(crate) process_started_at: Duration,
    pub(crate) reported_at: Duration,
    /// When and how it ended, as far as is known.
    pub(crate) ended: Option<(Duration, RunEnd)>,
    /// The host has announced the end while the run was active.
    pub(crate) is_announced: bool,
    /// The end is classified: later reports do not change whether it is a crash.
    pub(crate) is_classified: bool,
    /// It counts as a crash unless the host reports otherwise within the grace period.
    pub(crate) is_crash_pending: bool,
    pub(crate) is_counted: bool,
    /// Only the sampler has detected the end, and its status is unknown.
    pub(crate) is_unknown: bool,
    /// It is another process than the run before.
    pub(crate) is_new_process: bool,
    /// Time and CPU time of each reading.
    pub(crate) readings: Vec<(Duration, Duration)>,
    /// Time of each reading since the plugin first had a tree, and CPU time of the descendants. Before
    /// the first of these there were none.
    pub(crate) others: Vec<(Duration, Duration)>,
    /// The reading with which the next share of the descendants begins.
    pub(crate) others_since: usize,
}

impl Run {
    pub(crate) fn is_active(&self) -> bool {
        self.ended.is_none()
    }

    /// The differences between consecutive readings that do not decrease.
    pub(crate) fn increments(&self) -> Vec<Duration> {
        self.readings.windows(2).filter_map(|pair| pair[1].1.checked_sub(pair[0].1)).collect()
    }

    /// CPU time of the descendants.
    pub(crate) fn others_time(&self) -> Duration {
        match (self.others.first(), self.others.last()) {
            (Some(first), Some(last)) => last.1 - first.1,
            _ => Duration::ZERO,
        }
    }

    /// The start, the end and the CPU time of what the next share of the descendants covers.
    fn others_interval(&self) -> Option<(Duration, Duration, Duration)> {
        let (since, last) = (self.others.get(self.others_since)?, self.others.last()?);
        (last.0 > since.0).then(|| (since.0, last.0, last.1 - since.1))
    }

    /// An exit status replaces a report, and a report replaces an unknown end. Otherwise the first
    /// one stays.
    pub(crate) fn refine_end(&mut self, newer: RunEnd) {
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

    pub(crate) fn count(&mut self) {
        self.is_counted = true;
        self.is_crash_pending = false;
        self.is_classified = true;
    }
}

/// A configured exit code that is clean.
pub(crate) const CLEAN_EXIT_CODE: i32 = 75;

/// Exit code 0, a signal that requests a process to exit, or the exit code of a process that handles
/// such a signal.
pub(crate) fn is_clean(end: RunEnd) -> bool {
    matches!(
        end,
        RunEnd::Exited(0 | 129 | 130 | 141 | 143 | CLEAN_EXIT_CODE)
            | RunEnd::Signaled(1 | 2 | 13 | 15)
    )
}

/// The values that a tick recorded.
#[derive(Clone, Debug)]
pub(crate) struct RecordedSample {
    pub(crate) at: Duration,
    pub(crate) run: Option<(RunId, u32, &'static str)>,
    pub(crate) state: PluginState,
    /// In thousandths of a percent.
    pub(crate) cpu: Option<u64>,
    pub(crate) memory: Option<u64>,
    pub(crate) tree: TreeFields,
    pub(crate) uptime: Option<Duration>,
    /// Excess events are carried to the next ticks.
    pub(crate) events: u64,
    /// The counter at the tick, which queries return as long as the sample is the newest.
    pub(crate) exact_events: u64,
    pub(crate) crashes: u64,
}

/// A plugin from its registration on.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) name: String,
    /// It is in the snapshots: its registration was processed, and its removal was not.
    pub(crate) is_present: bool,
    pub(crate) state: PluginState,
    pub(crate) state_since: Duration,
    pub(crate) read_error: Option<ReadError>,
    pub(crate) runs: Vec<Run>,
    pub(crate) samples: Vec<RecordedSample>,
    /// All events so far, including those since the last tick.
    pub(crate) events: u64,
    /// The events of each kind, in the order of their first use; those of the newest tick.
    pub(crate) kinds: Vec<(&'static str, u64)>,
    pub(crate) sampled_kinds: Vec<(&'static str, u64)>,
    /// Runs whose end was unknown when it was detected.
    pub(crate) unknown_ends_detected: u64,
    /// A process has had descendants.
    pub(crate) has_tree: bool,
}

impl Registration {
    pub(crate) fn set_current_state(&mut self, state: PluginState, now: Duration) {
        if self.state != state {
            self.state = state;
            self.state_since = now;
        }
    }

    pub(crate) fn active_run(&mut self) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.is_active())
    }

    /// Ends the active run, if there is one, and returns it.
    pub(crate) fn end_active_run(&mut self, end: RunEnd, now: Duration) -> Option<&mut Run> {
        let run = self.runs.iter_mut().find(|run| run.is_active())?;
        run.ended = Some((now, end));
        self.read_error = None;
        Some(run)
    }

    pub(crate) fn crashes(&self) -> Vec<Duration> {
        let counted = self.runs.iter().filter(|run| run.is_counted);
        let mut at: Vec<_> = counted.filter_map(|run| Some(run.ended?.0)).collect();
        at.sort_unstable();
        at
    }

    /// Processes the exit of the run `id`, which the sampler has detected.
    pub(crate) fn process_exit(&mut self, id: RunId, end: RunEnd, now: Duration) {
        let Some(run) = self.runs.iter_mut().find(|run| run.id == id) else {
            return;
        };
        let was_active = run.is_active();
        if was_active {
            run.ended = Some((now, end));
            run.is_classified = run.is_announced;
        } else {
            run.refine_end(end);
        }
        run.is_unknown = !run.is_classified && end == RunEnd::Unknown;
        run.is_crash_pending = !run.is_classified && !run.is_unknown && !is_clean(end);
        self.unknown_ends_detected += u64::from(run.is_unknown);
        let crashed = run.is_crash_pending;
        if was_active {
            self.read_error = None;
            self.set_current_state(
                if crashed { PluginState::Crashed } else { PluginState::Stopped },
                now,
            );
        }
    }

    /// A process is reported; `gone` is the run whose process was found gone, if there is one.
    pub(crate) fn started(
        &mut self,
        id: RunId,
        pid: u32,
        version: &'static str,
        gone: Option<RunId>,
        now: Duration,
    ) {
        // A dead process cannot be replaced.
        let gone = self.active_run().is_some_and(|run| Some(run.id) == gone);
        let end = if gone { RunEnd::Unknown } else { RunEnd::Replaced };
        let replaced = self.end_active_run(end, now).and_then(|run| {
            run.is_classified = !gone || run.is_announced;
            (!gone).then(|| run.clone())
        });
        if pid == 0 || i32::try_from(pid).is_err() {
            self.read_error = Some(ReadError::InvalidPid);
            self.set_current_state(PluginState::Failed, now);
            return;
        }
        let same = replaced.filter(|run| run.pid == pid);
        let others = same.as_ref().and_then(|run| run.others.last().copied());
        self.runs.push(Run {
            id,
            pid,
            version,
            process_started_at: same.as_ref().map_or(now, |run| run.process_started_at),
            reported_at: now,
            ended: None,
            is_announced: false,
            is_classified: false,
            is_crash_pending: false,
            is_counted: false,
            is_unknown: false,
            is_new_process: same.is_none(),
            readings: same
                .as_ref()
                .and_then(|run| run.readings.last().copied())
                .map_or_else(|| vec![(now, Duration::ZERO)], |last| vec![last]),
            others: others.into_iter().collect(),
            others_since: 0,
        });
        self.read_error = None;
        self.state = PluginState::Running;
        self.state_since = now;
    }

    pub(crate) fn exited(&mut self, id: RunId, end: RunEnd, now: Duration) {
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
        let crashed = !run.is_announced && !was_stopping && !is_clean(end);
        run.is_classified = true;
        (run.is_crash_pending, run.is_unknown) = (false, false);
        if crashed {
            run.count();
        }
        if newest == Some(id) {
            let state = if crashed { PluginState::Crashed } else { PluginState::Stopped };
            self.set_current_state(state, now);
        }
    }

    pub(crate) fn set_state(&mut self, state: PluginState, now: Duration) {
        match state {
            PluginState::Stopped | PluginState::Crashed => {
                let crashed = state == PluginState::Crashed;
                let end = if crashed { RunEnd::Crashed } else { RunEnd::Stopped };
                self.end_active_run(end, now);
                if let Some(run) = self.runs.last_mut().filter(|run| !run.is_classified) {
                    run.refine_end(end);
                    run.is_classified = true;
                    (run.is_crash_pending, run.is_unknown) = (false, false);
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
            PluginState::Stopping => {
                if let Some(run) = self.active_run() {
                    run.is_announced = true;
                }
            }
            _ => {}
        }
        self.set_current_state(state, now);
    }

    pub(crate) fn confirm_crashes(&mut self, now: Duration) {
        for run in &mut self.runs {
            if run.is_crash_pending
                && run.ended.is_some_and(|(at, _)| at + CRASH_GRACE_PERIOD <= now)
            {
                run.count();
            }
        }
    }

    /// Takes the sample of a tick and returns the exit that it detected.
    pub(crate) fn sample(
        &mut self,
        read: &dyn Fn(u32) -> Reading,
        now: Duration,
    ) -> Option<(RunId, RunEnd)> {
        let (mut detected, mut tree_reading) = (None, None);
        let mut recorded = RecordedSample {
            at: now,
            run: None,
            state: self.state,
            cpu: None,
            memory: None,
            tree: TreeFields::default(),
            uptime: None,
            events: self.events,
            exact_events: self.events,
            crashes: self.crashes().len() as u64,
        };
        self.sampled_kinds.clone_from(&self.kinds);
        let before = self.samples.last().map_or(0, |sample| sample.events);
        recorded.events = recorded.events.min(before + u64::from(u32::MAX));
        if let Some(run) = self.runs.iter_mut().find(|run| run.is_active()) {
            recorded.run = Some((run.id, run.pid, run.version));
            match read(run.pid) {
                Reading::Alive(cpu, memory, tree) => {
                    let (since, before) =
                        *run.readings.last().expect("the first reading is at the start");
                    recorded.cpu = cpu.checked_sub(before).map(|busy| share(busy, now - since));
                    recorded.memory = recorded_size(memory);
                    self.has_tree |= tree.is_some();
                    if self.has_tree {
                        let last = *run.others.last().unwrap_or(&(since, Duration::ZERO));
                        if run.others.is_empty() {
                            run.others.push(last);
                        }
                        let others = tree.map_or(last.1, |tree| tree.others.max(last.1));
                        run.others.push((now, others));
                    }
                    tree_reading = tree;
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
        recorded.tree = self.tree(&recorded, tree_reading);
        self.samples.push(recorded);
        detected
    }

    /// The values of the tree beside the sample of the process. A share of the descendants ends with
    /// one of the process, and covers all runs since the one before.
    fn tree(&mut self, own: &RecordedSample, tree: Option<TreeReading>) -> TreeFields {
        if own.run.is_some() && own.cpu.is_none() {
            // No share, and the next one covers this interval too.
            let is_known = own.memory.is_some();
            return TreeFields {
                process_count: tree.map(count).or_else(|| is_known.then_some(1)),
                cpu: None,
                memory_bytes: tree_memory(own, tree),
            };
        }
        let intervals: Vec<_> = self.runs.iter().filter_map(Run::others_interval).collect();
        for run in &mut self.runs {
            run.others_since = run.others.len().saturating_sub(1);
        }
        let start = intervals.iter().map(|interval| interval.0).min();
        let end = intervals.iter().map(|interval| interval.1).max();
        let busy = intervals.iter().map(|interval| interval.2).sum();
        let others = start.zip(end).map(|(start, end)| share(busy, end - start));
        let cpu = match (own.cpu, others) {
            (None, None) => None,
            (own, others) => Some(own.unwrap_or(0) + others.unwrap_or(0)),
        };
        let process_count = match own.run {
            None => Some(0),
            Some(_) => Some(tree.map_or(1, count)),
        };
        TreeFields { process_count, cpu, memory_bytes: tree_memory(own, tree) }
    }
}

/// `busy` over `wall` in thousandths of a percent, to the nearest one.
fn share(busy: Duration, wall: Duration) -> u64 {
    let wall = wall.as_nanos();
    u64::try_from((busy.as_nanos() * 100_000 + wall / 2) / wall)
        .expect("no test uses that much CPU")
}

/// The size as a sample has it: whole KiB below 4 TiB. Zero is unknown.
fn recorded_size(bytes: u64) -> Option<u64> {
    let kib = bytes / 1_024;
    (bytes > 0 && kib < u64::from(u32::MAX) - 1).then_some(kib * 1_024)
}

/// With the process itself.
fn count(tree: TreeReading) -> u32 {
    tree.processes.max(1)
}

/// Not less than that of the process, and unknown without that.
fn tree_memory(own: &RecordedSample, tree: Option<TreeReading>) -> Option<u64> {
    let of_process = own.memory?;
    match tree {
        None => Some(of_process),
        Some(TreeReading { memory: 0, .. }) => None,
        Some(tree) => recorded_size(tree.memory.max(of_process)),
    }
}
