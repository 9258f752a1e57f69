//! One plugin: its state, its runs, how they ended, what counts.
//!
//! Everything that happens to a plugin happens here, as a call with the moment as an argument:
//! a word of the host ([`Life::hear`]), a tick ([`Life::sample`]), an end that was learnt of before
//! ([`Life::end`]), a crash that is due to be counted ([`Life::settle`]).

mod begin;
mod end;
pub(super) mod open;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use self::open::{NoReading, Open, Read};
use crate::model::frame::Total;
use crate::model::problem::ReadError;
use crate::model::reading::{CpuTime, Meter};
use crate::model::record::Record;
use crate::model::run::{Outcome, RunId};
use crate::model::runs::Entry;
use crate::model::sample::{Memory, Row};
use crate::model::state::PluginState;
use crate::model::time::Now;
use crate::os::{Identity, Probe};
use crate::shared::command::{PluginId, Word};
use crate::shared::counter::EventCounter;

/// The end of a process, listed where it is learnt of, to be acted on once the host was heard.
#[derive(Debug)]
pub(crate) struct End {
    pub plugin: PluginId,
    run: RunId,
    outcome: Outcome,
    /// When it was noticed.
    at: Now,
}

/// A crash to be counted, unless the run is settled by then.
#[derive(Debug)]
pub(crate) struct Due {
    pub at: Instant,
    pub plugin: PluginId,
    run: RunId,
}

/// Something for the log.
#[derive(Debug)]
pub(crate) struct Notice {
    pub name: Arc<str>,
    pub problem: ReadError,
}

/// What plugins leave behind for the roster to see to.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub ends: Vec<End>,
    /// In order of time.
    pub due: VecDeque<Due>,
    pub notices: Vec<Notice>,
    pub failed_reads: u64,
}

/// What surrounds a plugin while something happens to it.
pub(crate) struct Scene<'a, P> {
    pub probe: &'a mut P,
    pub desk: &'a mut Desk,
    pub now: Now,
    /// The newest tick.
    pub tick: u64,
}

/// What a tick records, plugin by plugin.
#[derive(Debug)]
pub(crate) struct Tick<'a> {
    pub rows: &'a mut Vec<Row>,
    pub totals: &'a mut Vec<Total>,
    /// Some plugin is not what was published of it.
    pub changed: bool,
}

impl Tick<'_> {
    /// Nobody has this slot.
    pub(crate) fn skip(&mut self) {
        self.rows.push(Row::ABSENT);
        self.totals.push(Total::default());
    }
}

/// A plugin, from its registration to its removal. First what a tick needs of it.
#[derive(Debug)]
pub(crate) struct Life<P> {
    open: Option<Open<P>>,
    events: EventCounter,
    /// What the rows hold so far: never more than the counters say, and less only where a tick had
    /// more to add than a row can hold.
    in_rows: Total,
    /// The number of the newest run; 0 before the first.
    seq: u64,
    crash_count: u64,
    state: PluginState,
    problem: Option<ReadError>,
    /// What is shown is not what was published.
    changed: bool,
    meter: Meter,
    cold: Box<Cold>,
}

/// What a tick does not need of a plugin.
#[derive(Debug)]
struct Cold {
    id: PluginId,
    /// What is shown of it: state, crash count and problem as of the last publication, the rest
    /// kept up to date.
    record: Record,
    published: Option<Arc<Record>>,
    /// What is known of a process that went on when its run was over by the host's word.
    left: Option<Identity>,
    /// Problems that were logged.
    logged: Vec<ReadError>,
    /// When the youngest of the runs ended that were counted as crashes.
    last_crash: Option<Instant>,
}

impl<P> Life<P> {
    pub(crate) fn new(
        id: PluginId,
        name: Arc<str>,
        events: EventCounter,
        slot: u32,
        first_tick: u64,
        now: &Now,
    ) -> Self {
        let record = Record {
            name,
            slot,
            first_tick,
            state: PluginState::Stopped,
            since: now.wall,
            runs: Default::default(),
            crash_count: 0,
            last_crash: None,
            restarts: 0,
            ended_cpu: Duration::ZERO,
            problem: None,
        };
        let cold =
            Cold { id, record, published: None, left: None, logged: Vec::new(), last_crash: None };
        Self {
            open: None,
            events,
            in_rows: Total::default(),
            seq: 0,
            crash_count: 0,
            state: PluginState::Stopped,
            problem: None,
            changed: true,
            meter: Meter::default(),
            cold: Box::new(cold),
        }
    }

    pub(crate) const fn id(&self) -> PluginId {
        self.cold.id
    }

    pub(crate) const fn first_tick(&self) -> u64 {
        self.cold.record.first_tick
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.cold.record.name
    }

    pub(crate) const fn state(&self) -> PluginState {
        self.state
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether something has changed since it was published.
    pub(crate) const fn is_changed(&self) -> bool {
        self.changed
    }

    /// What to publish of it.
    pub(crate) fn publish(&mut self) -> &Arc<Record> {
        let Cold { record, published, .. } = &mut *self.cold;
        if std::mem::replace(&mut self.changed, false) {
            record.state = self.state;
            record.crash_count = self.crash_count;
            record.problem = self.problem;
            *published = None;
        }
        published.get_or_insert_with(|| Arc::new(record.clone()))
    }

    /// The process to be read in a tick.
    pub(crate) fn process(&self) -> Option<&P> {
        self.open.as_ref()?.process.as_ref()
    }

    /// Forgets runs that neither rows refer to nor queries show.
    pub(crate) fn forget(&mut self, oldest_tick: u64) {
        // It shows nothing else than before: no need to publish it.
        self.cold.record.runs.prune(oldest_tick);
    }

    fn change(&mut self) -> &mut Record {
        self.changed = true;
        &mut self.cold.record
    }

    fn set_state(&mut self, state: PluginState, at: SystemTime) {
        if self.state != state {
            self.state = state;
            self.change().since = at;
        }
    }

    fn set_problem(&mut self, problem: Option<ReadError>, desk: &mut Desk) {
        if self.problem == problem {
            return;
        }
        self.problem = problem;
        self.changed = true;
        if let Some(problem) = problem
            && !self.cold.logged.contains(&problem)
        {
            self.cold.logged.push(problem);
            desk.notices.push(Notice { name: Arc::clone(self.name()), problem });
        }
    }

    /// Counts the run that has ended so as a crash.
    fn count(&mut self, end: Option<(Instant, SystemTime)>) {
        self.crash_count += 1;
        self.changed = true;
        // An older run may be counted after a younger one; and the wall clock may have been set
        // back between the two.
        if let Some((mono, wall)) = end
            && self.cold.last_crash.is_none_or(|last| last <= mono)
        {
            self.cold.last_crash = Some(mono);
            self.cold.record.last_crash = Some(wall);
        }
    }

    fn is_newest(&self, run: RunId) -> bool {
        self.cold.record.runs.last().is_some_and(|entry| entry.run.id == run)
    }

    /// The run, to be changed.
    fn entry(&mut self, run: RunId) -> Option<&mut Entry> {
        let entry = self.cold.record.runs.get_mut(run);
        self.changed |= entry.is_some();
        entry
    }

    /// Counts a crash that is due, unless the run was settled meanwhile.
    pub(crate) fn settle(&mut self, due: &Due) {
        let Some(entry) = self.cold.record.runs.get_mut(due.run) else { return };
        entry.awaited = false;
        if !std::mem::replace(&mut entry.settled, true) {
            let end = entry.end();
            self.count(end);
        }
    }
}

impl<P> Life<P> {
    /// Takes in what the host says.
    pub(crate) fn hear<Pr: Probe<Process = P>>(&mut self, word: Word, scene: &mut Scene<'_, Pr>) {
        match word {
            Word::Started(named) => self.started(named, scene),
            Word::Exited(run, outcome) => self.exited(run, outcome, scene),
            Word::Stopped | Word::State(PluginState::Stopped) => self.stopped(scene),
            Word::Crashed | Word::State(PluginState::Crashed) => self.crashed(scene),
            Word::State(PluginState::Failed) => self.failed(scene),
            Word::State(
                state @ (PluginState::Starting
                | PluginState::Running
                | PluginState::Unhealthy
                | PluginState::Stopping),
            ) => self.set_state(state, scene.now.wall),
        }
    }

    /// Reads the process and records a row, and the totals it brings the plugin to.
    #[inline]
    pub(crate) fn sample<Pr: Probe<Process = P>>(
        &mut self,
        scene: &mut Scene<'_, Pr>,
        tick: &mut Tick<'_>,
    ) {
        let read = self.open.as_mut().map(|open| open.read(scene.probe));
        self.record(read, scene, tick);
    }

    /// Records a row where the read has panicked.
    pub(crate) fn sample_of_panic<Pr: Probe<Process = P>>(
        &mut self,
        scene: &mut Scene<'_, Pr>,
        tick: &mut Tick<'_>,
    ) {
        let read = self.open.as_ref().map(|_| Err(NoReading::Failed(ReadError::UNREAD)));
        self.record(read, scene, tick);
    }

    #[inline]
    fn record<Pr: Probe<Process = P>>(
        &mut self,
        read: Option<Result<Read, NoReading>>,
        scene: &mut Scene<'_, Pr>,
        tick: &mut Tick<'_>,
    ) {
        let mut memory = Memory::Unknown;
        let mut cpu = None;
        let shortest = scene.probe.shortest_interval();
        if let (Some(open), Some(read)) = (&mut self.open, read) {
            match read {
                Ok(Read { reading, found_now }) => {
                    memory = reading.resident.map_or(Memory::Unknown, Memory::Resident);
                    cpu = self.meter.take(open.span.as_mut(), shortest);
                    self.set_problem(None, scene.desk);
                    if found_now {
                        self.begin_late(&scene.now);
                    }
                }
                // It leaves no values; its interval goes on.
                Err(NoReading::Gone(outcome)) => {
                    memory = Memory::NoProcess;
                    let run = open.about.run;
                    self.list(run, outcome, scene);
                }
                Err(NoReading::ListedBefore) => memory = Memory::NoProcess,
                Err(NoReading::Failed(problem)) => {
                    cpu = self.meter.take(open.span.as_mut(), shortest);
                    scene.desk.failed_reads += 1;
                    self.set_problem(Some(problem), scene.desk);
                }
            }
        } else {
            cpu = self.meter.take(None, shortest);
        }
        let added =
            |now: u64, then: u64| u32::try_from(now.saturating_sub(then)).unwrap_or(u32::MAX);
        let events = added(self.events.get(), self.in_rows.events);
        let crashes = added(self.crash_count, self.in_rows.crashes);
        let (run, run_cpu) = match &self.open {
            Some(open) => (self.seq, open.used.unwrap_or_default()),
            None => (0, CpuTime::default()),
        };
        tick.rows.push(Row::pack(cpu, memory, events, crashes, run, self.state));
        let total = Total {
            events: self.in_rows.events + u64::from(events),
            crashes: self.in_rows.crashes + u64::from(crashes),
            run_cpu,
        };
        self.in_rows = total;
        tick.totals.push(total);
        tick.changed |= self.changed;
    }
}
