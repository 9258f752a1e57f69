//! The state machine of one plugin: its state, its runs, how they ended, and the crash count.
//!
//! Inputs are calls with the time as an argument: a report of the host ([`PluginTracker::apply`]), a
//! tick ([`PluginTracker::sample`]), an exit that was detected before
//! ([`PluginTracker::process_exit`]), the end of a crash grace period
//! ([`PluginTracker::confirm_crash`]).

pub(crate) mod active_run;
mod exit;
pub(crate) mod notify;
pub(crate) mod record;
mod start;
mod tree;
pub(crate) mod unreported;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::active_run::{ActiveRun, MIN_CPU_NANOS};
use super::cpu_meter::CpuMeter;
use super::effects::{Cause, Effects, PendingCrash, Warning};
use super::limits::LimitSet;
use super::plugin_trees::PluginTrees;
use super::tree_meter::TreeMeter;
use crate::history::plugin_record::PluginRecord;
use crate::history::run_log::RunRecord;
use crate::history::units::CpuTime;
use crate::os::{Identity, Probe};
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::RunId;
use crate::snapshot::state::PluginState;
use crate::sync::command::{PluginId, PluginUpdate};
use crate::sync::counter::EventCounter;
use crate::time::{MonoNanos, TimePoint};

/// The surroundings of a tracker while it processes an input.
pub(crate) struct TrackerContext<'a, Pr: Probe> {
    pub probe: &'a mut Pr,
    pub trees: &'a mut PluginTrees<Pr::Member>,
    pub effects: &'a mut Effects,
    pub now: TimePoint,
    /// The newest tick.
    pub tick: u64,
    /// Exit codes that count as clean besides the usual ones.
    pub clean_exit_codes: &'a [i32],
}

/// A plugin, from its registration to its removal. The fields that a tick needs come first.
#[derive(Debug)]
pub(crate) struct PluginTracker<P> {
    active: Option<ActiveRun<P>>,
    events: EventCounter,
    /// The counters as recorded in samples so far: never more than the counters themselves, and
    /// less only where a tick's increment did not fit into a sample.
    recorded: Recorded,
    /// The number of the newest run; 0 before the first.
    run_number: u64,
    crash_count: u64,
    state: PluginState,
    read_error: Option<ReadError>,
    /// Something differs from the published record.
    is_changed: bool,
    meter: CpuMeter,
    /// The shortest interval that gives a CPU share, in nanoseconds, of the newest process that was
    /// read.
    min_nanos: u64,
    /// Whether the process of the active run is suspended; `None` if unknown.
    is_suspended: Option<bool>,
    /// [`RareDetails::unreported`] holds processes.
    awaits_status: bool,
    /// Readings of a process have come with readings of its tree.
    has_tree_readings: bool,
    /// CPU time of the descendants of all runs, as of the newest tick that had their values.
    others_cpu: CpuTime,
    details: Box<TrackerDetails<P>>,
}

/// The sums of the increments that samples hold.
#[derive(Clone, Copy, Debug, Default)]
struct Recorded {
    events: u64,
    crashes: u64,
}

/// The parts of a tracker that a tick does not need.
#[derive(Debug)]
struct TrackerDetails<P> {
    id: PluginId,
    /// The public values. State, crash count and read error are updated after each input, when
    /// the notifications about them are made, the rest immediately.
    record: PluginRecord,
    published: Option<Arc<PluginRecord>>,
    rare: Option<Box<RareDetails<P>>>,
}

/// The parts of a tracker that most plugins never need.
#[derive(Debug)]
struct RareDetails<P> {
    /// Identity of a process that lives on although its run ended by a report of the host.
    surviving_process: Option<Identity>,
    /// When the newest run that counted as a crash ended.
    last_crash: Option<MonoNanos>,
    /// Read errors that were logged.
    logged: Vec<ReadError>,
    /// A report of the exit of an unknown run was logged.
    has_warned_of_unknown_run: bool,
    /// Children whose exit was detected before the host's report of it, oldest first. The report
    /// has their last reading.
    exited_children: Vec<exit::ExitedChild>,
    /// The processes of runs that have exited without a known status, oldest first, while the kernel
    /// may still report one.
    unreported: Vec<(RunId, P)>,
    /// Used where readings of a process come with readings of its tree.
    tree: TreeMeter,
    /// `None` without limits.
    limits: Option<Box<LimitSet>>,
    /// The id of the next limit, while there are none.
    next_limit_id: u32,
}

impl<P> TrackerDetails<P> {
    fn rare(&mut self) -> &mut RareDetails<P> {
        self.rare.get_or_insert_with(|| {
            Box::new(RareDetails {
                surviving_process: None,
                last_crash: None,
                logged: Vec::new(),
                has_warned_of_unknown_run: false,
                exited_children: Vec::new(),
                unreported: Vec::new(),
                tree: TreeMeter::default(),
                limits: None,
                next_limit_id: 0,
            })
        })
    }

    fn set_surviving_process(&mut self, identity: Option<Identity>) {
        if identity.is_some() || self.rare.is_some() {
            self.rare().surviving_process = identity;
        }
    }

    fn take_surviving_process(&mut self) -> Option<Identity> {
        self.rare.as_mut()?.surviving_process.take()
    }
}

impl<P> PluginTracker<P> {
    pub(crate) fn new(
        id: PluginId,
        name: Arc<str>,
        events: EventCounter,
        slot: u32,
        first_tick: u64,
        now: &TimePoint,
    ) -> Self {
        let record = PluginRecord {
            name,
            slot,
            first_tick,
            restored: None,
            state: PluginState::Stopped,
            state_since: now.wall,
            runs: Default::default(),
            crash_count: 0,
            event_kinds: None,
            unknown_end_count: 0,
            unknown_ends_detected: 0,
            last_crash: None,
            restart_count: 0,
            ended_cpu: Duration::ZERO,
            is_suspended: None,
            suspended_since: None,
            survivors: None,
            read_error: None,
            limits: None,
        };
        let details = TrackerDetails { id, record, published: None, rare: None };
        Self {
            active: None,
            events,
            recorded: Recorded::default(),
            run_number: 0,
            crash_count: 0,
            state: PluginState::Stopped,
            read_error: None,
            is_changed: true,
            meter: CpuMeter::default(),
            min_nanos: MIN_CPU_NANOS,
            is_suspended: None,
            awaits_status: false,
            has_tree_readings: false,
            others_cpu: CpuTime::default(),
            details: Box::new(details),
        }
    }

    /// Continues the counters of an earlier collector. `crashes_before` are the crashes that are in none of
    /// the restored samples.
    ///
    /// All events and crashes of the earlier collector count as recorded, because the next sample may be days
    /// later than they are.
    #[cfg(feature = "store")]
    pub(crate) fn continue_from(
        &mut self,
        saved: &super::restore::SavedCounters,
        crashes_before: u64,
        runs: crate::history::run_log::RunLog,
    ) {
        self.recorded = Recorded { events: saved.events, crashes: saved.crashes };
        self.run_number = runs.last().map_or(0, |run| run.number);
        self.crash_count = saved.crashes;
        let others_cpu = CpuTime::from(saved.others_cpu);
        self.others_cpu = others_cpu;
        let kinds: Vec<_> = self.events.kinds().map(|kind| Arc::clone(&kind.name)).collect();
        let record = self.change();
        record.crash_count = saved.crashes;
        record.restored = Some(Arc::new(crate::history::plugin_record::RestoredRecord {
            registered_tick: record.first_tick,
            crashes_before,
            others_cpu,
        }));
        record.runs = runs;
        record.event_kinds = (!kinds.is_empty()).then(|| Arc::new(kinds));
        record.unknown_end_count = u32::try_from(saved.unknown_ends).unwrap_or(u32::MAX);
        record.unknown_ends_detected =
            u32::try_from(saved.unknown_ends_detected).unwrap_or(u32::MAX);
        record.last_crash = saved.last_crash;
        record.restart_count = saved.restarts;
        record.ended_cpu = saved.cpu_time;
    }

    /// The host has registered a plugin that was restored. Its next sample is the first one of its own.
    #[cfg(feature = "store")]
    pub(crate) fn register_restored(&mut self, next_tick: u64, now: &TimePoint) {
        let record = self.change();
        record.state_since = now.wall;
        if let Some(restored) = &mut record.restored {
            Arc::make_mut(restored).registered_tick = next_tick;
        }
    }

    /// The counters, as a tick records them.
    #[cfg(feature = "store")]
    pub(crate) const fn totals(&self) -> crate::history::frame::TickTotals {
        crate::history::frame::TickTotals {
            events: self.recorded.events,
            unrecorded_events: 0,
            crashes: self.recorded.crashes,
            run_cpu: CpuTime(0),
            others_cpu: self.others_cpu,
        }
    }

    #[cfg(feature = "store")]
    pub(crate) const fn events(&self) -> &EventCounter {
        &self.events
    }

    pub(crate) const fn id(&self) -> PluginId {
        self.details.id
    }

    /// The first tick after the registration.
    pub(crate) fn registered_tick(&self) -> u64 {
        self.details.record.registered_tick()
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.details.record.name
    }

    pub(crate) const fn state(&self) -> PluginState {
        self.state
    }

    pub(crate) const fn has_active_run(&self) -> bool {
        self.active.is_some()
    }

    /// Whether something differs from the published record.
    pub(crate) const fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// The record to publish.
    pub(crate) fn record(&mut self) -> &Arc<PluginRecord> {
        let TrackerDetails { record, published, rare, .. } = &mut *self.details;
        if std::mem::replace(&mut self.is_changed, false) {
            record.state = self.state;
            record.crash_count = self.crash_count;
            record.read_error = self.read_error;
            if let Some(limits) = rare.as_mut().and_then(|rare| rare.limits.as_mut())
                && limits.take_changed()
            {
                record.limits = Some(limits.records());
            }
            *published = None;
        }
        published.get_or_insert_with(|| Arc::new(record.clone()))
    }

    /// The process to be read in a tick.
    pub(crate) fn process(&self) -> Option<&P> {
        self.active.as_ref()?.process.as_ref()
    }

    /// Removes runs that neither a sample refers to nor a query shows.
    pub(crate) fn prune_runs(&mut self, oldest_tick: u64) {
        // Queries show the same as before: no publication is needed.
        self.details.record.runs.prune(oldest_tick);
    }

    fn change(&mut self) -> &mut PluginRecord {
        self.is_changed = true;
        &mut self.details.record
    }

    fn set_state(&mut self, state: PluginState, at: SystemTime) {
        if self.state != state {
            self.state = state;
            self.change().state_since = at;
        }
    }

    fn set_suspended(&mut self, is_suspended: Option<bool>, at: SystemTime) {
        if self.is_suspended != is_suspended {
            self.is_suspended = is_suspended;
            let record = self.change();
            record.is_suspended = is_suspended;
            record.suspended_since = (is_suspended == Some(true)).then(|| Box::new(at));
        }
    }

    fn set_survivors(&mut self, count: u32, at: SystemTime) {
        let before = self.details.record.survivors.as_deref();
        if before.map_or(0, |(count, _)| *count) != count {
            let since = before.map_or(at, |(_, since)| *since);
            self.change().survivors = (count > 0).then(|| Box::new((count, since)));
        }
    }

    fn set_read_error(&mut self, error: Option<ReadError>, effects: &mut Effects) {
        if self.read_error == error {
            return;
        }
        self.read_error = error;
        self.is_changed = true;
        if let Some(error) = error
            && !self.details.rare().logged.contains(&error)
        {
            self.details.rare().logged.push(error);
            effects
                .warnings
                .push(Warning { plugin: Arc::clone(self.name()), cause: Cause::Process(error) });
        }
    }

    /// Counts the run as a crash; `end` is when it ended.
    fn count_crash(&mut self, run: RunId, end: Option<(MonoNanos, SystemTime)>) {
        self.crash_count += 1;
        if let Some(record) = self.details.record.runs.get_mut(run) {
            record.counts_as_crash = true;
        }
        self.is_changed = true;
        // An older run may be counted after a newer one, and the wall clock may have been set back
        // between the two.
        if let Some((mono, wall)) = end
            && self.details.rare().last_crash.is_none_or(|last| last <= mono)
        {
            self.details.rare().last_crash = Some(mono);
            self.details.record.last_crash = Some(wall);
        }
    }

    fn is_newest(&self, run: RunId) -> bool {
        self.details.record.runs.last().is_some_and(|record| record.run.id == run)
    }

    /// The run, mutable.
    fn run_mut(&mut self, run: RunId) -> Option<&mut RunRecord> {
        let record = self.details.record.runs.get_mut(run);
        self.is_changed |= record.is_some();
        record
    }

    /// Counts a crash that is due, unless its run was classified during the grace period.
    pub(crate) fn confirm_crash(&mut self, crash: &PendingCrash) {
        let Some(record) = self.details.record.runs.get_mut(crash.run) else { return };
        record.crash_pending = false;
        if !std::mem::replace(&mut record.classified, true) {
            let end = record.end_times();
            self.count_crash(crash.run, end);
        }
    }

    /// Applies a report of the host.
    pub(crate) fn apply<Pr: Probe<Process = P>>(
        &mut self,
        update: PluginUpdate,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        match update {
            PluginUpdate::Started(start) => self.start_run(start, context),
            PluginUpdate::Exited(run, exit) => self.exited(run, exit, context),
            PluginUpdate::ChildStarted(start, first) => self.start_child(start, first, context),
            PluginUpdate::ChildStopping(run) => self.child_stopping(run, context),
            PluginUpdate::ChildExited(run, exit, last) => {
                self.child_exited(run, exit, last, context);
            }
            PluginUpdate::Stopped | PluginUpdate::State(PluginState::Stopped) => {
                self.stopped(context);
            }
            PluginUpdate::Crashed | PluginUpdate::State(PluginState::Crashed) => {
                self.crashed(context);
            }
            PluginUpdate::Limits(limits) => {
                self.set_limits(&limits, &context.now, context.effects);
            }
            PluginUpdate::State(PluginState::Failed) => self.failed(context),
            PluginUpdate::State(PluginState::Stopping) => self.stopping(context),
            PluginUpdate::State(
                state @ (PluginState::Starting | PluginState::Running | PluginState::Unhealthy),
            ) => self.set_state(state, context.now.wall),
        }
    }
}
