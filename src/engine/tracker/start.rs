//! How a run begins: the host reports a process.

use std::time::Duration;

use super::active_run::{ActiveRun, Liveness};
use super::{PluginTracker, TrackerContext};
use crate::engine::cpu_meter::ReadingSpan;
use crate::history::packed::{next_run_number, run_key};
use crate::history::run_log::RunRecord;
use crate::os::reading::Reading;
use crate::os::{Attach, Probe};
use crate::snapshot::run::{Run, RunEnd};
use crate::snapshot::state::PluginState;
use crate::sync::command::{ChildReading, ProcessStart};
use crate::time::{MonoNanos, TimePoint};

impl<P> PluginTracker<P> {
    /// A process was reported: it is the next run, and the active one ends.
    pub(super) fn start_run<Pr: Probe<Process = P>>(
        &mut self,
        start: ProcessStart,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let active = self.next_run(&start, context.tick);
        self.start_active(active, start, context);
    }

    /// A process was reported for which the crate waits, with its first reading.
    pub(super) fn start_child<Pr: Probe<Process = P>>(
        &mut self,
        start: ProcessStart,
        first: Option<ChildReading>,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let mut active = self.next_run(&start, context.tick);
        active.start_with_child(first.map(Reading::from).as_ref());
        self.start_active(active, start, context);
    }

    /// The run after the newest one.
    fn next_run(&self, start: &ProcessStart, tick: u64) -> ActiveRun<P> {
        let key = run_key(next_run_number(self.run_number));
        let token = (u64::from(self.details.record.slot) << 32) | u64::from(key);
        ActiveRun::new(start.run, start.pid, start.reported_at, token, tick)
    }

    fn start_active<Pr: Probe<Process = P>>(
        &mut self,
        mut active: ActiveRun<P>,
        start: ProcessStart,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        if self.awaits_status {
            // Between two ticks more runs may begin than are held.
            self.request_late_statuses(context);
        }
        let number = next_run_number(self.run_number);
        let attach = active.attach(context.probe);
        // The new process is attached first: if the old one lives after that and has the same pid,
        // the two are one process.
        let previous = self.active.take().map(|old| self.replace(old, start.pid, context));
        match attach {
            Attach::Rejected(error) => {
                if let Some(Previous::SameProcess { span, .. }) = previous {
                    let counted = span.as_ref().map(ReadingSpan::last_cpu);
                    context.trees.lose(self.details.record.slot, counted);
                }
                self.set_state(PluginState::Failed, context.now.wall);
                self.set_read_error(Some(error), context.effects);
                return;
            }
            Attach::Exited(exit) => self.queue_exit(start.run, exit, context),
            Attach::Found(()) | Attach::Failed(_) => {}
        }
        let survivor = self.details.take_surviving_process();
        let was_replaced_by_itself = matches!(previous, Some(Previous::SameProcess { .. }));
        let is_same_process = match previous {
            Some(Previous::SameProcess { span, process_start }) => {
                if span.is_some() {
                    // Counted by the run that ends, up to its last reading.
                    (active.span, active.cpu_used) = (span, None);
                }
                active.about.process_start = process_start.or(active.about.process_start);
                true
            }
            Some(Previous::OtherProcess) => false,
            None => survivor.is_some() && survivor == active.identity(context.probe),
        };
        // The first run after the host was gone may be of the process that it has left behind.
        let newest = self.details.record.runs.last();
        let was_host_gone = newest.is_some_and(|run| run.run.end == Some(RunEnd::HostGone));
        if self.run_number != 0 && !is_same_process && !was_host_gone {
            self.change().restart_count += 1;
        }
        if !is_same_process && let Some(rare) = &mut self.details.rare {
            rare.tree.begin_run();
        }
        self.run_number = number;
        let now = context.now;
        let process_start = active.about.process_start;
        let record = RunRecord {
            run: Run {
                id: start.run,
                pid: start.pid,
                version: start.version,
                started_at: process_start.and_then(|start| now.wall_of(start)),
                reported_at: now.wall,
                ended_at: None,
                end: None,
                cpu_time: None,
                peak_memory_bytes: None,
                oom_killed: None,
            },
            number,
            process_start,
            name: active.about.name,
            began: active.span.as_ref().map_or(now.mono, ReadingSpan::first_at),
            last_read: MonoNanos::default(),
            ended_mono: MonoNanos::default(),
            last_tick: 0,
            is_read_since_share: false,
            missed_first_share: false,
            classified: false,
            crash_pending: false,
            counts_as_crash: false,
            counts_as_unknown: false,
            start_noticed: false,
            end_noticed: false,
        };
        let slot = self.details.record.slot;
        if was_replaced_by_itself {
            context.trees.continue_root(slot, start.run);
        } else {
            Self::follow_tree(slot, &mut active, context);
        }
        let error = active.about.read_error;
        self.active = Some(active);
        let own = || self.own_cpu();
        context.trees.begin_run(slot, start.cgroup, was_replaced_by_itself, now.mono, own);
        let plugin = self.change();
        plugin.runs.push(record);
        plugin.state_since = now.wall;
        self.state = PluginState::Running;
        self.set_read_error(error, context.effects);
    }

    /// Ends the run `old` because the process `pid` was reported. The run counts as replaced if its
    /// own process still lives.
    fn replace<Pr: Probe<Process = P>>(
        &mut self,
        mut old: ActiveRun<P>,
        pid: u32,
        context: &mut TrackerContext<'_, Pr>,
    ) -> Previous {
        let is_announced = old.about.is_announced;
        let slot = self.details.record.slot;
        let liveness = Self::check_with_tree(slot, &mut old, context);
        let (run, old_pid) = (old.about.run, old.about.pid);
        if !(matches!(liveness, Liveness::Alive) && pid == old_pid) {
            Self::release_tree(slot, &mut old, context);
        }
        let (span, process_start) =
            (old.span.map(|span| span.continued()), old.about.process_start);
        if let Liveness::Alive = liveness {
            // For the run after the next, in case the reported process is rejected.
            self.details.set_surviving_process(old.identity(context.probe));
        }
        if liveness.has_exited_without_status() {
            self.hold_unreported(run, old.process.take());
        }
        let record = self.finish_run(old, context.now, context.tick);
        match liveness {
            Liveness::Alive => {
                record.update_end(RunEnd::Replaced);
                record.classified = true;
                if pid == old_pid {
                    Previous::SameProcess { span, process_start }
                } else {
                    Previous::OtherProcess
                }
            }
            // The exit is processed after the host's earlier reports. Whether it was announced is
            // decided now, because that is recorded with the active run only.
            Liveness::Exited(exit) => {
                record.update_end(exit.run_end());
                (record.classified, record.crash_pending) = (is_announced, !is_announced);
                self.queue_exit(run, exit, context);
                Previous::OtherProcess
            }
            Liveness::AlreadyExited => {
                record.update_end(RunEnd::Unknown);
                (record.classified, record.crash_pending) = (is_announced, !is_announced);
                Previous::OtherProcess
            }
        }
    }

    /// Records name and start of the active run's process, which could not be attached at its report.
    pub(super) fn set_process_start(&mut self, now: &TimePoint) {
        let Some(about) = self.active.as_ref().map(|active| &active.about) else { return };
        let (run, start, name) = (about.run, about.process_start, about.name);
        let Some(record) = self.run_mut(run) else { return };
        record.name = name;
        if let Some(start) = start {
            record.process_start = Some(start);
            record.run.started_at = now.wall_of(start);
        }
    }
}

/// The active run at the report of the next one.
#[derive(Clone, Copy, Debug)]
enum Previous {
    /// Its process is the reported one: readings continue, and the start is the same.
    SameProcess {
        span: Option<ReadingSpan>,
        process_start: Option<Duration>,
    },
    OtherProcess,
}
