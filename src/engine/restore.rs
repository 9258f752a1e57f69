//! Values of an earlier collector, which a new one continues: counters, runs, and the end of the history.
//!
//! A plugin with samples gets its slot before the first tick, and a tracker that is in no table until the
//! host registers the name. In the ticks between, as in those of earlier sessions of the host in which it
//! was not registered, it has no process and no values. A plugin that is not registered again loses its
//! slot when its samples have left the history.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Engine;
use super::tracker::PluginTracker;
use crate::history::command_name::CommandName;
use crate::history::frame::{KindCount, TickTotals};
use crate::history::metric::Metric;
use crate::history::packed::{Memory, PackedSample};
use crate::history::run_log::{RunLog, RunRecord};
use crate::history::timeline::Gap;
use crate::history::tree_row::{TreeRow, TreeValues};
use crate::snapshot::inner::Resumed;
use crate::snapshot::notification::NotificationKind;
use crate::snapshot::run::{Run, RunEnd, RunId};
use crate::snapshot::state::PluginState;
use crate::snapshot::system::CollectorStatus;
use crate::sync::command::PluginId;
use crate::sync::counter::EventCounter;
use crate::sync::publish::Publisher;
use crate::time::{MonoNanos, TimePoint};

/// The values of earlier sessions of the host.
#[derive(Clone, Debug, Default)]
pub(crate) struct SavedState {
    /// Oldest first.
    pub sessions: Vec<SavedSession>,
    /// Oldest first: the end of the history.
    pub ticks: Vec<SavedTick>,
    pub plugins: Vec<SavedPlugin>,
}

/// A session of the host: from a start to the newest tick.
#[derive(Clone, Debug)]
pub(crate) struct SavedSession {
    /// Whether the machine was not started since: the boot clock is the same.
    pub is_same_boot: bool,
    pub start: SystemTime,
    pub start_boot: Duration,
    pub poll_interval: Duration,
}

/// A tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SavedTick {
    /// Its session: an index.
    pub session: usize,
    pub wall: SystemTime,
    pub boot: Duration,
}

/// A plugin.
#[derive(Clone, Debug)]
pub(crate) struct SavedPlugin {
    pub name: Arc<str>,
    pub counters: SavedCounters,
    /// The counts of kinds, in the order of their creation. A part of the events.
    pub kinds: Vec<(Arc<str>, u64)>,
    /// Oldest first; all have ended.
    pub runs: Vec<SavedRun>,
    /// By tick, each with its index.
    pub samples: Vec<(usize, SavedSample)>,
}

/// The counters of a plugin.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SavedCounters {
    pub events: u64,
    pub crashes: u64,
    /// Those of them that were counted after the newest sample, which is restored with them: see
    /// [`sample_crashes`].
    pub unsampled_crashes: u64,
    pub restarts: u64,
    pub unknown_ends: u64,
    pub unknown_ends_detected: u64,
    pub last_crash: Option<SystemTime>,
    pub cpu_time: Duration,
    /// Of the descendants.
    pub others_cpu: Duration,
}

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct SavedRun {
    /// By which samples refer to it.
    pub number: u64,
    /// Its session: an index; `None` if that is not known.
    pub session: Option<usize>,
    pub run: Run,
    /// Whether it has counted as a crash, by the configuration at that time.
    pub is_crash: bool,
}

/// One sample. Gauges are in the units of the history; the largest integers are unknown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SavedSample {
    pub cpu: u32,
    pub kib: u32,
    pub tree_cpu: u32,
    pub tree_kib: u32,
    pub processes: u32,
    pub events: u64,
    pub crashes: u64,
    /// The number of the run; 0 for none.
    pub run: u64,
    pub state: PluginState,
}

/// A saved plugin with what its future handles and its tracker share.
#[derive(Debug)]
pub(crate) struct RestoredPlugin {
    pub id: PluginId,
    pub events: EventCounter,
    pub saved: SavedPlugin,
}

/// Saved values of which the counters are in place.
#[derive(Debug)]
pub(crate) struct Restored {
    pub plugins: Vec<RestoredPlugin>,
    pub sessions: Vec<SavedSession>,
    pub ticks: Vec<SavedTick>,
    /// All runs of this collector have this id or a later one.
    pub first_run: RunId,
}

/// Plugins that are restored, and not registered yet.
#[derive(Debug, Default)]
pub(super) struct Unregistered {
    plugins: HashMap<PluginId, RestoredPlugin>,
    /// The slots of those that are in the history.
    slots: Vec<(PluginId, u32)>,
    /// The newest tick in the history that is from before.
    last_tick: u64,
}

/// Places times of earlier sessions on the clocks of this one.
struct Placement<'a> {
    now: &'a TimePoint,
    /// The wall clock, which must not be earlier than the newest saved time.
    wall: SystemTime,
    sessions: &'a [SavedSession],
}

impl Placement<'_> {
    /// On the monotonic clock; `None` before its origin. In the same boot, distances are those of the boot
    /// clock; otherwise those of the wall clock.
    fn mono(&self, session: usize, wall: SystemTime, boot: Duration) -> Option<MonoNanos> {
        let is_same_boot = self.sessions.get(session).is_some_and(|session| session.is_same_boot);
        let age = if is_same_boot {
            self.now.boot.saturating_sub(boot)
        } else {
            self.wall.duration_since(wall).unwrap_or_default()
        };
        self.now.mono.checked_sub(age)
    }

    /// The time on the boot clock of a time in a session.
    fn boot(&self, session: usize, wall: SystemTime) -> Option<Duration> {
        let session = self.sessions.get(session)?;
        match wall.duration_since(session.start) {
            Ok(since) => session.start_boot.checked_add(since),
            Err(error) => session.start_boot.checked_sub(error.duration()),
        }
    }

    fn mono_of(&self, session: Option<usize>, wall: SystemTime) -> MonoNanos {
        let session = session.unwrap_or(usize::MAX);
        let boot = self.boot(session, wall).unwrap_or_default();
        self.mono(session, wall, boot).unwrap_or_default().min(self.now.mono)
    }
}

/// The ticks that fit into the history, with their times.
struct PlacedTicks {
    /// The index of the first of them.
    first: usize,
    times: Vec<TimePoint>,
    gaps: Vec<Gap>,
}

/// Places the newest ticks of sessions with the same poll interval that are not older than the history is
/// long. In another interval, samples cover other times than the rest of the history would.
fn place_ticks(
    ticks: &[SavedTick],
    placement: &Placement<'_>,
    poll_interval: Duration,
    history_duration: Duration,
    max_ticks: usize,
) -> PlacedTicks {
    let oldest = placement.now.mono.checked_sub(history_duration).unwrap_or_default();
    let mut next = placement.now.mono;
    let mut times = Vec::new();
    for tick in ticks.iter().rev().take(max_ticks) {
        let session = placement.sessions.get(tick.session);
        let is_like = session.is_some_and(|session| session.poll_interval == poll_interval);
        let Some(mono) = placement.mono(tick.session, tick.wall, tick.boot) else { break };
        // Times ascend, whatever the clocks have shown.
        let Some(before) = next.checked_sub(Duration::from_nanos(1)) else { break };
        let mono = mono.min(before);
        if !is_like || mono < oldest {
            break;
        }
        times.push(TimePoint { mono, wall: tick.wall, boot: tick.boot });
        next = mono;
    }
    times.reverse();
    let first = ticks.len() - times.len();
    let mut gaps = Vec::new();
    for (at, pair) in ticks[first..].windows(2).enumerate() {
        if pair[0].session != pair[1].session {
            let start = placement.sessions.get(pair[1].session).map(|session| session.start);
            let until = start.map(|start| placement.mono_of(Some(pair[1].session), start));
            let (from, to) = (times[at].mono, times[at + 1].mono);
            gaps.push(Gap { from, until: until.unwrap_or(to).clamp(from, to) });
        }
    }
    if let Some(last) = times.last() {
        gaps.push(Gap { from: last.mono, until: placement.now.mono });
    }
    PlacedTicks { first, times, gaps }
}

/// The records of the runs, numbered from 1 on, and the new number of each old one.
fn place_runs(
    saved: &SavedPlugin,
    placement: &Placement<'_>,
    first_sample: usize,
    first_tick: usize,
) -> (RunLog, HashMap<u64, u64>) {
    let mut last_ticks = HashMap::new();
    for (tick, sample) in &saved.samples[first_sample..] {
        last_ticks.insert(sample.run, (tick - first_tick) as u64 + 1);
    }
    let (mut log, mut numbers) = (RunLog::default(), HashMap::new());
    let mut earliest = MonoNanos::default();
    for (number, SavedRun { number: old, session, run, is_crash }) in (1..).zip(&saved.runs) {
        numbers.insert(*old, number);
        let began = placement.mono_of(*session, run.reported_at).max(earliest);
        // Runs end in order.
        let ended = run.ended_at.unwrap_or(run.reported_at);
        let ended_mono = placement.mono_of(*session, ended).max(began);
        earliest = ended_mono;
        let started = run.started_at.zip(*session);
        log.push(RunRecord {
            run: Run {
                ended_at: Some(ended),
                end: Some(run.end.unwrap_or(RunEnd::HostGone)),
                ..run.clone()
            },
            number,
            process_start: started.and_then(|(at, session)| placement.boot(session, at)),
            name: CommandName::default(),
            began,
            last_read: ended_mono,
            ended_mono,
            last_tick: last_ticks.get(old).copied().unwrap_or(0),
            is_read_since_share: ended_mono > began,
            missed_first_share: false,
            classified: true,
            crash_pending: false,
            counts_as_crash: *is_crash,
            counts_as_unknown: false,
            start_noticed: true,
            end_noticed: true,
        });
    }
    (log, numbers)
}

/// The crashes of each restored sample.
///
/// Crashes that were counted after the newest sample are in that one. They happened within a poll interval of
/// it, unless a session had no tick. In the first sample of this collector they would be as recent as that is:
/// crashes of days ago would be a crash loop. Without restored samples they are in none.
fn sample_crashes(samples: &[(usize, SavedSample)], counters: &SavedCounters) -> Vec<u64> {
    let mut crashes: Vec<u64> = samples.iter().map(|(_, sample)| sample.crashes).collect();
    if let Some(newest) = crashes.last_mut() {
        *newest = newest.saturating_add(counters.unsampled_crashes.min(counters.crashes));
    }
    crashes
}

/// Packs a sample. An increment that does not fit is cut: it is part of the counters nevertheless.
fn pack(sample: &SavedSample, run: u64) -> (PackedSample, TreeValues) {
    let cut = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let own = PackedSample::pack(
        None,
        Memory::Unknown,
        cut(sample.events),
        cut(sample.crashes),
        run,
        sample.state,
    );
    let own = PackedSample::from_columns(|metric| match metric {
        Metric::Cpu => sample.cpu,
        Metric::Memory => sample.kib,
        Metric::Events | Metric::Crashes | Metric::RunAndState => own.get(metric),
    });
    let known = |value: u32| (value != u32::MAX).then_some(value);
    let (cpu, kib) = (known(sample.tree_cpu), known(sample.tree_kib));
    (own, TreeValues::new(cpu, kib, known(sample.processes)))
}

/// The sample of a tick at which the plugin was not registered.
fn unregistered_sample() -> PackedSample {
    PackedSample::pack(None, Memory::Unknown, 0, 0, 0, PluginState::Stopped)
}

impl<P, M> Engine<P, M> {
    /// Continues the values of earlier sessions. Called before everything else.
    pub(crate) fn restore(&mut self, restored: Restored, history_duration: Duration) {
        let Restored { plugins, sessions, ticks, first_run } = restored;
        let now = self.info.started;
        let newest = ticks.last().map_or(now.wall, |tick| tick.wall + Duration::from_millis(1));
        let placement = Placement { now: &now, wall: now.wall.max(newest), sessions: &sessions };
        let PlacedTicks { first, times, gaps } = place_ticks(
            &ticks,
            &placement,
            self.info.poll_interval,
            history_duration,
            self.history.max_ticks(),
        );
        let has_plugins = !plugins.is_empty();
        self.info.resumed = Some(Resumed { ticks: times.len() as u64, first_run, has_plugins });
        self.unregistered.last_tick = times.len() as u64;
        let mut columns = Vec::new();
        for mut plugin in plugins {
            let saved = &plugin.saved;
            let first_sample = saved.samples.partition_point(|(tick, _)| *tick < first);
            let (runs, numbers) = place_runs(saved, &placement, first_sample, first);
            let samples = &saved.samples[first_sample..];
            if let Some((tick, _)) = samples.first() {
                let first_tick = (tick - first) as u64 + 1;
                let slot = self.slots.allocate(plugin.id);
                let crashes = sample_crashes(samples, &saved.counters);
                let in_history = crashes.iter().fold(0, |sum: u64, more| sum.saturating_add(*more));
                let crashes_before = saved.counters.crashes.saturating_sub(in_history);
                let mut tracker =
                    PluginTracker::restored(&plugin, slot, first_tick, crashes_before, runs, &now);
                // It differs from what is published by nothing that anybody sees.
                let _: &Arc<_> = tracker.record();
                if self.trackers.len() <= slot as usize {
                    self.trackers.resize_with(slot as usize + 1, || None);
                }
                self.trackers[slot as usize] = Some(tracker);
                self.unregistered.slots.push((plugin.id, slot));
                let run_of = |sample: &SavedSample| numbers.get(&sample.run).copied().unwrap_or(0);
                let packed = samples.iter().zip(&crashes).map(|((tick, sample), &crashes)| {
                    let (own, tree) = pack(&SavedSample { crashes, ..*sample }, run_of(sample));
                    (tick - first, own, tree)
                });
                columns.push((slot, first_tick, packed.collect::<Vec<_>>()));
            }
            // They are in the history now, or too old for it.
            plugin.saved.samples = Vec::new();
            self.unregistered.plugins.insert(plugin.id, plugin);
        }
        columns.sort_unstable_by_key(|(slot, ..)| *slot);
        self.restore_history(&times, &columns);
        self.history.set_gaps(gaps);
    }

    /// Publishes the restored history, before the first tick.
    pub(crate) fn publish_restored(&mut self, publisher: &mut Publisher) {
        let now = self.info.started;
        let next = self.build_snapshot(&now, CollectorStatus::Running);
        let old = publisher.publish(next);
        self.retire_snapshot(old);
    }

    fn restore_history(&mut self, times: &[TimePoint], columns: &[RestoredColumn]) {
        let has_trees = self.info.process_trees;
        let mut next = vec![0; columns.len()];
        for (index, &at) in times.iter().enumerate() {
            let mut pending = self.history.begin_tick(at, columns.len());
            let (frame, newest) = pending.parts();
            for ((slot, first_tick, samples), next) in columns.iter().zip(&mut next) {
                let sample = samples.get(*next).filter(|(tick, ..)| *tick == index);
                *next += usize::from(sample.is_some());
                let (own, tree) = match sample {
                    Some((_, own, tree)) => (*own, *tree),
                    None if *first_tick > index as u64 => {
                        (PackedSample::MISSING, TreeValues::of_root(PackedSample::MISSING))
                    }
                    None => (unregistered_sample(), TreeValues::of_root(unregistered_sample())),
                };
                frame.samples.push(own);
                if has_trees && tree != TreeValues::of_root(own) {
                    frame.trees.push(TreeRow { slot: *slot, values: tree });
                }
                let tracker = self.trackers.get(*slot as usize).and_then(Option::as_ref);
                newest.totals.push(tracker.map_or(TickTotals::default(), PluginTracker::totals));
                if index + 1 == times.len()
                    && let Some(tracker) = tracker
                {
                    let kinds = tracker.events().kinds();
                    newest.kind_counts.extend(
                        kinds.map(|kind| KindCount { slot: *slot, count: kind.counter.own() }),
                    );
                }
            }
            self.history.commit(pending);
            // No publication does it.
            self.history.sweep();
        }
    }

    /// Registers a plugin that was restored. False if `id` is none.
    pub(super) fn register_restored(
        &mut self,
        id: PluginId,
        name: &Arc<str>,
        now: &TimePoint,
    ) -> bool {
        let Some(plugin) = self.unregistered.plugins.remove(&id) else { return false };
        let next_tick = self.history.tick() + 1;
        let slots = &mut self.unregistered.slots;
        let at = slots.iter().position(|(restored, _)| *restored == id);
        let slot = match at {
            Some(at) => slots.swap_remove(at).1,
            None => {
                let sessions: &[SavedSession] = &[];
                let placement = Placement { now, wall: now.wall, sessions };
                // No sample refers to a run.
                let (runs, _) = place_runs(&plugin.saved, &placement, 0, 0);
                let slot = self.slots.allocate(id);
                let end = self.slots.end() as usize;
                if self.trackers.len() < end {
                    self.trackers.resize_with(end, || None);
                }
                let crashes = plugin.saved.counters.crashes;
                let tracker = PluginTracker::restored(&plugin, slot, next_tick, crashes, runs, now);
                self.trackers[slot as usize] = Some(tracker);
                slot
            }
        };
        self.name_order.insert(self.name_position(name), slot);
        if let Some(tracker) = &mut self.trackers[slot as usize] {
            tracker.register_restored(next_tick, now);
            tracker.notify(NotificationKind::Registered, now, &mut self.effects);
            tracker.set_limits(&self.limits, now, &mut self.effects);
        }
        (self.is_changed, self.is_set_changed) = (true, true);
        true
    }

    /// After a tick: takes the values of plugins that are not registered out of the sums, and releases
    /// their slots once they are not in the history any more.
    pub(super) fn update_unregistered(&mut self) {
        if self.unregistered.slots.is_empty() {
            return;
        }
        for &(_, slot) in &self.unregistered.slots {
            if let Some(newest) = self.history.newest(slot, 0) {
                self.sums.remove(&newest, self.info.process_trees);
            }
        }
        self.sums.write_to(&mut self.system);
        if self.history.oldest() > self.unregistered.last_tick {
            for (id, slot) in std::mem::take(&mut self.unregistered.slots) {
                self.slots.release(id);
                self.trackers[slot as usize] = None;
            }
            self.trackers.truncate(self.slots.end() as usize);
        }
    }
}

/// The slot of a plugin, its first tick, and its samples by the index of the tick.
type RestoredColumn = (u32, u64, Vec<(usize, PackedSample, TreeValues)>);

impl<P> PluginTracker<P> {
    /// The tracker of a plugin of an earlier session, without a process.
    fn restored(
        plugin: &RestoredPlugin,
        slot: u32,
        first_tick: u64,
        crashes_before: u64,
        runs: RunLog,
        now: &TimePoint,
    ) -> Self {
        let RestoredPlugin { id, events, saved } = plugin;
        let name = Arc::clone(&saved.name);
        let mut tracker = Self::new(*id, name, events.clone(), slot, first_tick, now);
        tracker.continue_from(&saved.counters, crashes_before, runs);
        tracker
    }
}
