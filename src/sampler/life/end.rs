//! How a run ends, and whether that counts.

use std::time::{Duration, Instant, SystemTime};

use super::open::{Look, Open};
use super::{Desk, Due, End, Life, Scene};
use crate::model::run::{EndKind, Outcome, RunEnd, RunId};
use crate::model::runs::Entry;
use crate::model::sample::low_bits;
use crate::model::state::PluginState;
use crate::model::time::Now;
use crate::os::Probe;

/// A crash that only the sampler has seen is counted when so much time has passed: until then the
/// host may say that it was none.
const GRACE: Duration = Duration::from_secs(1);

impl<P> Life<P> {
    /// The host has waited for the process of `run`.
    pub(super) fn exited<Pr: Probe<Process = P>>(
        &mut self,
        run: RunId,
        outcome: Outcome,
        scene: &mut Scene<'_, Pr>,
    ) {
        let newest = self.is_newest(run);
        let announced = newest && self.state() == PluginState::Stopping;
        let clean = outcome.kind() == EndKind::Clean;
        // It was waited for, so there is nothing left to be read: the number may be another's.
        if newest {
            self.cold.left = None;
        }
        let entry = match self.open.take_if(|open| open.about.run == run) {
            Some(open) => self.close(open, scene.now, scene.tick),
            None => match self.entry(run) {
                Some(entry) => entry,
                None => return,
            },
        };
        entry.learn(outcome.end());
        let end = entry.end();
        if std::mem::replace(&mut entry.settled, true) {
            return;
        }
        if newest {
            let state =
                if announced || clean { PluginState::Stopped } else { PluginState::Crashed };
            self.set_state(state, scene.now.wall);
        }
        if !announced && !clean {
            self.count(end);
        }
    }

    pub(super) fn stopped<Pr: Probe<Process = P>>(&mut self, scene: &mut Scene<'_, Pr>) {
        self.settle_newest(RunEnd::Stopped, scene);
        self.set_state(PluginState::Stopped, scene.now.wall);
        self.set_problem(None, scene.desk);
    }

    pub(super) fn crashed<Pr: Probe<Process = P>>(&mut self, scene: &mut Scene<'_, Pr>) {
        if let Some(end) = self.settle_newest(RunEnd::Crashed, scene) {
            self.count(Some(end));
        }
        self.set_state(PluginState::Crashed, scene.now.wall);
        self.set_problem(None, scene.desk);
    }

    /// It is over, and that is not counted. A crash that is due already stays due.
    pub(super) fn failed<Pr: Probe<Process = P>>(&mut self, scene: &mut Scene<'_, Pr>) {
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
    ) -> Option<(Instant, SystemTime)> {
        if let Some(open) = self.open.take() {
            self.end_by_word(open, word, scene);
            return Some((scene.now.mono, scene.now.wall));
        }
        let newest = self.cold.record.runs.last().filter(|entry| !entry.settled)?.run.id;
        let entry = self.entry(newest)?;
        entry.settled = true;
        entry.learn(word);
        entry.end()
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
            self.cold.left = open.identity(scene.probe);
        }
        let entry = self.close(open, scene.now, scene.tick);
        entry.settled = true;
        entry.learn(word);
        if let Look::Gone(outcome) = look {
            entry.learn(outcome.end());
        }
    }

    /// Closes the run's books: its CPU time, its end.
    pub(super) fn close(&mut self, open: Open<P>, at: Now, tick: u64) -> &mut Entry {
        if let Some(span) = &open.span {
            self.meter.keep(span);
        }
        // A problem with reading it goes with it.
        self.problem = None;
        let record = self.change();
        record.ended_cpu += open.used.map_or(Duration::ZERO, Duration::from);
        let entry = record.runs.get_mut(open.about.run).expect("an open run is in the log");
        let last_row = if tick >= open.about.first_tick { tick } else { 0 };
        entry.close(at.wall, at.mono, last_row);
        entry.run.cpu_time = open.used.map(Duration::from);
        entry
    }

    /// Puts an end on the list. Nothing acts on it where it is learnt of.
    pub(super) fn list<Pr>(&self, run: RunId, outcome: Outcome, scene: &mut Scene<'_, Pr>) {
        scene.desk.ends.push(End { plugin: self.cold.id, run, outcome, at: scene.now });
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
        let run = open.about.run;
        if let Look::Gone(outcome) = open.look(scene.probe) {
            self.list(run, outcome, scene);
        }
    }

    /// Acts on an end that was listed.
    pub(crate) fn end(&mut self, end: &End, desk: &mut Desk, tick: u64) {
        let kind = end.outcome.kind();
        let announced = self.state() == PluginState::Stopping;
        let entry = match self.open.take_if(|open| open.about.run == end.run) {
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
        entry.awaited = !entry.settled && kind != EndKind::Clean;
        if entry.awaited {
            let at = end.at.mono.checked_add(GRACE).unwrap_or(end.at.mono);
            desk.due.push_back(Due { at, plugin: self.cold.id, run: end.run });
        }
    }
}
