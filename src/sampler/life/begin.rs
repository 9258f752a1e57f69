//! How a run begins: the host names a process.

use std::time::Duration;

use super::open::{Look, Open};
use super::{Life, Scene};
use crate::model::reading::Span;
use crate::model::run::{Run, RunEnd};
use crate::model::runs::Entry;
use crate::model::sample::{low_bits, next_run};
use crate::model::state::PluginState;
use crate::model::time::Now;
use crate::os::{Opened, Probe};
use crate::shared::command::Named;

impl<P> Life<P> {
    /// A process was named: it is the next run, and the open one makes room for it.
    pub(super) fn started<Pr: Probe<Process = P>>(
        &mut self,
        named: Named,
        scene: &mut Scene<'_, Pr>,
    ) {
        let seq = next_run(self.seq);
        let token = (u64::from(self.cold.record.slot) << 32) | u64::from(low_bits(seq));
        let mut open = Open::unread(named.run, named.pid, named.called, token, scene.tick);
        let opened = open.find(scene.probe);
        // The new one is opened first: if the old one lives after that and has the same number,
        // the two are one process.
        let before = self.open.take().map(|old| self.replace(old, named.pid, scene));
        match opened {
            Opened::Refused(problem) => {
                self.set_state(PluginState::Failed, scene.now.wall);
                self.set_problem(Some(problem), scene.desk);
                return;
            }
            Opened::Gone(outcome) => self.list(named.run, outcome, scene),
            Opened::Found(()) | Opened::Failed(_) => {}
        }
        let left = self.cold.left.take();
        let same_process = match before {
            Some(Before::SameProcess { span, began }) => {
                open.span = span.or(open.span);
                open.about.began = began.or(open.about.began);
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
                started_at: open.about.began.and_then(|began| now.wall_of(began)),
                reported_at: now.wall,
                ended_at: None,
                end: None,
                cpu_time: None,
            },
            seq,
            began: open.about.began,
            ended: None,
            last_row: 0,
            settled: false,
            awaited: false,
        };
        let problem = open.about.problem;
        self.open = Some(open);
        let record = self.change();
        record.runs.push(entry);
        record.since = now.wall;
        self.state = PluginState::Running;
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
        let (run, old_pid) = (old.about.run, old.about.pid);
        let (span, began) = (old.span.map(|span| span.continued()), old.about.began);
        if let Look::Alive = look {
            // For the run after the next, where what was named now is refused.
            self.cold.left = old.identity(scene.probe);
        }
        let entry = self.close(old, scene.now, scene.tick);
        match look {
            Look::Alive => {
                entry.learn(RunEnd::Replaced);
                entry.settled = true;
                if pid == old_pid { Before::SameProcess { span, began } } else { Before::Another }
            }
            // How it ended is acted on when the host has been heard; whether that was announced
            // can only be told now, since the next run begins in a state of its own.
            Look::Gone(outcome) => {
                entry.learn(outcome.end());
                (entry.settled, entry.awaited) = (announced, !announced);
                self.list(run, outcome, scene);
                Before::Another
            }
            Look::ListedBefore => {
                entry.learn(RunEnd::Unknown);
                (entry.settled, entry.awaited) = (announced, !announced);
                Before::Another
            }
        }
    }

    /// The process of the open run was found, a while after it was named.
    pub(super) fn begin_late(&mut self, now: &Now) {
        let Some(about) = self.open.as_ref().map(|open| &open.about) else { return };
        let (run, Some(began)) = (about.run, about.began) else { return };
        let Some(entry) = self.entry(run) else { return };
        entry.began = Some(began);
        entry.run.started_at = now.wall_of(began);
    }
}

/// What the open run was when the next one was named.
#[derive(Clone, Copy, Debug)]
enum Before {
    /// The very process of the next one: its readings go on from here, and it began when it did.
    SameProcess {
        span: Option<Span>,
        began: Option<Duration>,
    },
    Another,
}
