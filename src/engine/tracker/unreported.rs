//! Processes whose exit was detected without a status, while the kernel may still report one: it does
//! when their parent, which is not the host, has reaped them.

use super::active_run::{catch_probe_panic, oom_kill};
use super::{PluginTracker, TrackerContext};
use crate::os::Probe;
use crate::snapshot::run::{ProcessExit, RunId};

/// The number of processes that are held of one plugin. Each has two descriptors, and is a request to
/// the kernel in every tick. Fewer in Miri, where so many runs take minutes.
pub(crate) const MAX_UNREPORTED: usize = if cfg!(miri) { 8 } else { 64 };

impl<P> PluginTracker<P> {
    /// Holds the process of a run whose exit was detected without a status.
    pub(super) fn hold_unreported(&mut self, run: RunId, process: Option<P>) {
        let Some(process) = process else { return };
        let unreported = &mut self.details.rare().unreported;
        if unreported.len() == MAX_UNREPORTED {
            // The oldest: its parent reaps none of its children, or reaps them late.
            unreported.remove(0);
        }
        unreported.push((run, process));
        self.awaits_status = true;
    }

    /// Releases the process of a run whose status is known.
    pub(super) fn release_unreported(&mut self, run: RunId) {
        let unreported = &mut self.details.rare().unreported;
        unreported.retain(|(held, _)| *held != run);
        self.awaits_status = !unreported.is_empty();
    }

    /// Requests the status of each held process, and queues the exits with those that are known.
    pub(super) fn request_late_statuses<Pr: Probe<Process = P>>(
        &mut self,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let mut unreported = std::mem::take(&mut self.details.rare().unreported);
        unreported.retain(|(run, process)| {
            match catch_probe_panic(|| context.probe.late_status(process)) {
                Ok(Some(exit @ (ProcessExit::Exited(_) | ProcessExit::Signaled(_)))) => {
                    self.record_late_oom_kill(*run, oom_kill(exit, process, context.probe));
                    self.queue_exit(*run, exit, context);
                    false
                }
                Ok(Some(ProcessExit::Unknown)) => false,
                Ok(None) | Err(_) => true,
            }
        });
        self.awaits_status = !unreported.is_empty();
        self.details.rare().unreported = unreported;
    }

    /// The host reports the exit of a run whose process is held: releases it, and finds out whether
    /// the exit was a kill by the OOM killer.
    pub(super) fn on_unreported_exit<Pr: Probe<Process = P>>(
        &mut self,
        run: RunId,
        exit: ProcessExit,
        probe: &Pr,
    ) {
        let held = self.details.rare().unreported.iter().find(|(held, _)| *held == run);
        let oom_killed = held.and_then(|(_, process)| oom_kill(exit, process, probe));
        self.record_late_oom_kill(run, oom_killed);
        self.release_unreported(run);
    }

    fn record_late_oom_kill(&mut self, run: RunId, oom_killed: Option<bool>) {
        if oom_killed.is_some()
            && let Some(record) = self.run_mut(run)
        {
            record.run.oom_killed = oom_killed;
        }
    }
}
