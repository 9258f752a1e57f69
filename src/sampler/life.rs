//! One plugin: its state, its runs, how they ended, what counts.
//!
//! Everything that happens to a plugin happens here, as a call with the moment as an argument:
//! a word of the host ([`Life::hear`]), a tick ([`Life::sample`]), an end that was learnt of before
//! ([`Life::end`]), a crash that is due to be counted ([`Life::settle`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::open::{Look, Open, Read};
use crate::model::frame::Total;
use crate::model::problem::Problem;
use crate::model::reading::{Meter, Reading, Span};
use crate::model::record::Record;
use crate::model::run::{EndKind, Entry, Outcome, Run, RunEnd, RunId};
use crate::model::sample::{Memory, Row, low_bits, next_run};
use crate::model::state::PluginState;
use crate::model::time::Now;
use crate::os::{Identity, Opened, Probe, Unread};
use crate::shared::command::{Named, PluginId, Word};
use crate::shared::counter::EventCounter;

/// A crash that only the sampler has seen is counted when so much time has passed: until then the
/// host may say that it was none.
const GRACE: Duration = Duration::from_secs(1);

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
    pub problem: Problem,
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

/// A plugin, from its registration to its removal.
#[derive(Debug)]
pub(crate) struct Life<P> {
    pub id: PluginId,
    events: EventCounter,
    /// What is shown of it, kept up to date.
    record: Record,
    /// The same as it was published; `None` since something has changed.
    published: Option<Arc<Record>>,
    open: Option<Open<P>>,
    /// The number of the newest run; 0 before the first.
    seq: u64,
    /// What is known of a process that went on when its run was over by the host's word.
    left: Option<Identity>,
    meter: Meter,
    /// What the rows hold so far: never more than the counters say, and less only where a tick had
    /// more to add than a row can hold.
    in_rows: Total,
    /// Memory in the newest row.
    resident: u64,
    /// Problems that were logged.
    logged: Vec<Problem>,
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
        Self {
            id,
            events,
            record,
            published: None,
            open: None,
            seq: 0,
            left: None,
            meter: Meter::default(),
            in_rows: Total::default(),
            resident: 0,
            logged: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.record.name
    }

    pub(crate) const fn state(&self) -> PluginState {
        self.record.state
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Events and bytes in the newest row.
    pub(crate) const fn in_newest_row(&self) -> (u64, u64) {
        (self.in_rows.events, self.resident)
    }

    /// Whether something has changed since it was published.
    pub(crate) const fn is_changed(&self) -> bool {
        self.published.is_none()
    }

    /// What to publish of it.
    pub(crate) fn publish(&mut self) -> &Arc<Record> {
        self.published.get_or_insert_with(|| Arc::new(self.record.clone()))
    }

    /// The process to be read in a tick.
    pub(crate) fn process(&self) -> Option<&P> {
        self.open.as_ref()?.process.as_ref()
    }

    /// Forgets runs that neither rows refer to nor queries show.
    pub(crate) fn forget(&mut self, oldest_tick: u64, horizon: Option<Instant>) {
        // It shows nothing else than before: no need to publish it.
        self.record.runs.prune(oldest_tick, horizon);
    }

    fn change(&mut self) -> &mut Record {
        self.published = None;
        &mut self.record
    }

    fn set_state(&mut self, state: PluginState, at: SystemTime) {
        if self.record.state != state {
            let record = self.change();
            (record.state, record.since) = (state, at);
        }
    }

    fn set_problem(&mut self, problem: Option<Problem>, desk: &mut Desk) {
        if self.record.problem == problem {
            return;
        }
        self.change().problem = problem;
        if let Some(problem) = problem
            && !self.logged.contains(&problem)
        {
            self.logged.push(problem);
            desk.notices.push(Notice { name: Arc::clone(self.name()), problem });
        }
    }

    /// Counts the run as a crash.
    fn count(&mut self, ended_at: Option<SystemTime>) {
        let record = self.change();
        record.crash_count += 1;
        // An older run may be counted after a younger one.
        record.last_crash = record.last_crash.max(ended_at);
    }

    fn is_newest(&self, run: RunId) -> bool {
        self.record.runs.last().is_some_and(|entry| entry.run.id == run)
    }

    /// The run, to be changed.
    fn entry(&mut self, run: RunId) -> Option<&mut Entry> {
        let entry = self.record.runs.get_mut(run);
        if entry.is_some() {
            self.published = None;
        }
        entry
    }

    /// Counts a crash that is due, unless the run was settled meanwhile.
    pub(crate) fn settle(&mut self, due: &Due) {
        let run = self.record.runs.get(due.run);
        if run.is_some_and(|entry| !entry.settled)
            && let Some(entry) = self.entry(due.run)
        {
            entry.settled = true;
            let ended_at = entry.run.ended_at;
            self.count(ended_at);
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

    /// A process was named: it is the next run, and the open one makes room for it.
    fn started<Pr: Probe<Process = P>>(&mut self, named: Named, scene: &mut Scene<'_, Pr>) {
        let seq = next_run(self.seq);
        let token = (u64::from(self.record.slot) << 32) | u64::from(low_bits(seq));
        let opened = Open::find(named.run, named.pid, named.called, token, scene);
        // The new one is opened first: if the old one lives after that and has the same number,
        // the two are one process.
        let before = self.open.take().map(|old| self.replace(old, named.pid, scene));
        let unread = Open::unread(named.run, named.pid, named.called, token, scene.tick);
        let mut open = match opened {
            Opened::Refused(problem) => {
                self.set_state(PluginState::Failed, scene.now.wall);
                self.set_problem(Some(problem), scene.desk);
                return;
            }
            Opened::Gone(outcome) => {
                self.list(named.run, outcome, scene);
                unread.known_to_be_gone()
            }
            Opened::Found(open) => open,
            Opened::Failed(problem) => unread.with(problem),
        };
        let left = self.left.take();
        let same_process = match before {
            Some(Before::SameProcess { last }) => {
                open.span = last.map(Span::starting_with).or(open.span);
                true
            }
            Some(Before::Another) => false,
            None => left.is_some() && left == open.identity(scene.probe),
        };
        if self.seq != 0 && !same_process {
            self.change().restarts += 1;
        }
        self.seq = seq;
        let now = scene.now;
        let entry = Entry {
            run: Run {
                id: named.run,
                pid: named.pid,
                version: named.version,
                started_at: open.began.and_then(|began| now.wall_of(began)),
                seen_at: now.wall,
                ended_at: None,
                end: None,
                cpu_time: None,
            },
            seq,
            began: open.began,
            ended: None,
            last_row: 0,
            settled: false,
        };
        let problem = open.problem;
        self.open = Some(open);
        let record = self.change();
        record.runs.push(entry);
        (record.state, record.since) = (PluginState::Running, now.wall);
        self.set_problem(problem, scene.desk);
    }

    /// The run `old` makes room for a process with the number `pid`. Its own is asked whether it
    /// lives: then it was replaced.
    fn replace<Pr: Probe<Process = P>>(
        &mut self,
        mut old: Open<P>,
        pid: u32,
        scene: &mut Scene<'_, Pr>,
    ) -> Before {
        let announced = self.state() == PluginState::Stopping;
        let look = old.look(scene.probe);
        let (run, old_pid) = (old.run, old.pid);
        let last = old.span.map(|span| *span.last());
        let entry = self.close(old, scene.now, scene.tick);
        match look {
            Look::Alive => {
                entry.learn(RunEnd::Replaced);
                entry.settled = true;
                if pid == old_pid { Before::SameProcess { last } } else { Before::Another }
            }
            // How it ended is acted on when the host has been heard; whether that was announced
            // can only be told now, since the next run begins in a state of its own.
            Look::Gone(outcome) => {
                entry.settled = announced;
                self.list(run, outcome, scene);
                Before::Another
            }
            Look::ListedBefore => {
                entry.settled = announced;
                Before::Another
            }
        }
    }

    /// The host has waited for the process of `run`.
    fn exited<Pr: Probe<Process = P>>(
        &mut self,
        run: RunId,
        outcome: Outcome,
        scene: &mut Scene<'_, Pr>,
    ) {
        let newest = self.is_newest(run);
        let announced = newest && self.state() == PluginState::Stopping;
        let clean = outcome.kind() == EndKind::Clean;
        // It was waited for, so there is nothing left to be read: the number may be another's.
        let entry = match self.open.take_if(|open| open.run == run) {
            Some(open) => self.close(open, scene.now, scene.tick),
            None => match self.entry(run) {
                Some(entry) => entry,
                None => return,
            },
        };
        entry.learn(outcome.end());
        let ended_at = entry.run.ended_at;
        if std::mem::replace(&mut entry.settled, true) {
            return;
        }
        if newest {
            let state =
                if announced || clean { PluginState::Stopped } else { PluginState::Crashed };
            self.set_state(state, scene.now.wall);
        }
        if !announced && !clean {
            self.count(ended_at);
        }
    }

    fn stopped<Pr: Probe<Process = P>>(&mut self, scene: &mut Scene<'_, Pr>) {
        self.settle_newest(RunEnd::Stopped, scene);
        self.set_state(PluginState::Stopped, scene.now.wall);
        self.set_problem(None, scene.desk);
    }

    fn crashed<Pr: Probe<Process = P>>(&mut self, scene: &mut Scene<'_, Pr>) {
        if let Some(ended_at) = self.settle_newest(RunEnd::Crashed, scene) {
            self.count(Some(ended_at));
        }
        self.set_state(PluginState::Crashed, scene.now.wall);
        self.set_problem(None, scene.desk);
    }

    /// It is over, and that is not counted. A crash that is due already stays due.
    fn failed<Pr: Probe<Process = P>>(&mut self, scene: &mut Scene<'_, Pr>) {
        if let Some(open) = self.open.take() {
            self.end_by_word(open, RunEnd::Unknown, scene);
        }
        self.set_state(PluginState::Failed, scene.now.wall);
    }

    /// Settles the newest run by a word of the host, and returns when it ended; `None` if there is
    /// none, or if it was settled before.
    fn settle_newest<Pr: Probe<Process = P>>(
        &mut self,
        word: RunEnd,
        scene: &mut Scene<'_, Pr>,
    ) -> Option<SystemTime> {
        if let Some(open) = self.open.take() {
            self.end_by_word(open, word, scene);
            return Some(scene.now.wall);
        }
        let newest = self.record.runs.last().filter(|entry| !entry.settled)?.run.id;
        let entry = self.entry(newest)?;
        entry.settled = true;
        entry.learn(word);
        entry.run.ended_at
    }

    /// Ends the open run because the host says so.
    fn end_by_word<Pr: Probe<Process = P>>(
        &mut self,
        mut open: Open<P>,
        word: RunEnd,
        scene: &mut Scene<'_, Pr>,
    ) {
        let look = open.look(scene.probe);
        if let Look::Alive = look {
            self.left = open.identity(scene.probe);
        }
        let entry = self.close(open, scene.now, scene.tick);
        entry.settled = true;
        entry.learn(word);
        if let Look::Gone(outcome) = look {
            entry.learn(outcome.end());
        }
    }

    /// Closes the run's books: its CPU time, its end.
    fn close(&mut self, open: Open<P>, at: Now, tick: u64) -> &mut Entry {
        if let Some(span) = &open.span {
            self.meter.keep(span);
        }
        let record = self.change();
        record.ended_cpu += open.used.unwrap_or_default();
        // A problem with reading it goes with it.
        record.problem = None;
        let entry = record.runs.get_mut(open.run).expect("an open run is in the log");
        let last_row = if tick >= open.first_tick { tick } else { 0 };
        entry.close(at.wall, at.mono, last_row);
        entry.run.cpu_time = open.used;
        entry
    }

    /// The process of the open run was found, a while after it was named.
    fn begin_late(&mut self, run: RunId, now: &Now) {
        let Some(began) = self.open.as_ref().and_then(|open| open.began) else {
            return;
        };
        let Some(entry) = self.entry(run) else { return };
        entry.began = Some(began);
        entry.run.started_at = now.wall_of(began);
    }

    /// Puts an end on the list. Nothing acts on it where it is learnt of.
    fn list<Pr>(&self, run: RunId, outcome: Outcome, scene: &mut Scene<'_, Pr>) {
        scene.desk.ends.push(End { plugin: self.id, run, outcome, at: scene.now });
    }

    /// The process of the open run is said to have ended: finds out how, and lists it. `low` are
    /// the low bits of the run's number, since the word may be late.
    pub(crate) fn learn_end<Pr: Probe<Process = P>>(
        &mut self,
        low: u32,
        scene: &mut Scene<'_, Pr>,
    ) {
        if low_bits(self.seq) != low {
            return;
        }
        let Some(open) = &mut self.open else { return };
        let run = open.run;
        if let Look::Gone(outcome) = open.look(scene.probe) {
            self.list(run, outcome, scene);
        }
    }

    /// Acts on an end that was listed.
    pub(crate) fn end(&mut self, end: &End, desk: &mut Desk, tick: u64) {
        let kind = end.outcome.kind();
        let announced = self.state() == PluginState::Stopping;
        let entry = match self.open.take_if(|open| open.run == end.run) {
            Some(open) => {
                self.set_state(self.state().after_end(kind), end.at.wall);
                let entry = self.close(open, end.at, tick);
                entry.settled = announced;
                entry
            }
            // The host has ended it, or named the next one, since the end was listed.
            None => match self.entry(end.run) {
                Some(entry) => entry,
                None => return,
            },
        };
        entry.learn(end.outcome.end());
        if !entry.settled && kind != EndKind::Clean {
            let at = end.at.mono.checked_add(GRACE).unwrap_or(end.at.mono);
            desk.due.push_back(Due { at, plugin: self.id, run: end.run });
        }
    }

    /// What a tick records: a row, and the totals it brings the plugin to.
    pub(crate) fn sample<Pr: Probe<Process = P>>(
        &mut self,
        scene: &mut Scene<'_, Pr>,
    ) -> (Row, Total) {
        let mut memory = Memory::Unknown;
        let mut cpu = None;
        let shortest = scene.probe.shortest_interval();
        let read = self.open.as_mut().map(|open| (open.run, open.read(scene.probe)));
        match read {
            Some((run, Ok(Read { reading, found_now }))) => {
                memory = reading.resident.map_or(Memory::Unknown, Memory::Resident);
                self.set_problem(None, scene.desk);
                if found_now {
                    self.begin_late(run, &scene.now);
                }
            }
            Some((run, Err(Unread::Ended(outcome, _)))) => {
                memory = Memory::NoProcess;
                self.list(run, outcome, scene);
            }
            Some((_, Err(Unread::Failed(problem)))) => {
                scene.desk.failed_reads += 1;
                self.set_problem(Some(problem), scene.desk);
            }
            None => {}
        }
        // An end that the tick itself found leaves no values; its interval goes on.
        if memory != Memory::NoProcess {
            let span = self.open.as_mut().and_then(|open| open.span.as_mut());
            cpu = self.meter.take(span, shortest);
        }
        let added =
            |now: u64, then: u64| u32::try_from(now.saturating_sub(then)).unwrap_or(u32::MAX);
        let events = added(self.events.get(), self.in_rows.events);
        let crashes = added(self.record.crash_count, self.in_rows.crashes);
        self.in_rows.events += u64::from(events);
        self.in_rows.crashes += u64::from(crashes);
        let run = if self.open.is_some() { self.seq } else { 0 };
        let row = Row::pack(cpu, memory, events, crashes, run, self.record.state);
        self.resident = row.resident().map_or(0, |bytes| bytes.0);
        let used = self.open.as_ref().and_then(|open| open.used).unwrap_or_default();
        self.in_rows.run_cpu = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        (row, self.in_rows)
    }
}

/// What the open run was when the next one was named.
#[derive(Clone, Copy, Debug)]
enum Before {
    /// The very process of the next one: its readings go on from this one.
    SameProcess {
        last: Option<Reading>,
    },
    Another,
}
