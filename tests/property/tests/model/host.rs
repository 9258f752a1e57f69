//! The host: the handles of its plugins, and the reports that it sends to them.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use plugmeter::{Plugin, PluginState, RunEnd, RunId};

use crate::oracle::{Oracle, Report};
use crate::steps::{HostReport, Pid, ReportKind};

/// A plugin as the host knows it.
pub(crate) struct HostPlugin {
    pub(crate) plugin: Plugin,
    pub(crate) name: usize,
    /// Its index in the oracle.
    pub(crate) registration: usize,
    pub(crate) removed: bool,
    pub(crate) runs: Vec<RunId>,
    pub(crate) last_pid: u32,
}

/// All handles that the host has ever had, and the CPU time of each PID.
#[derive(Default)]
pub(crate) struct Host {
    pub(crate) all: Vec<HostPlugin>,
    pub(crate) cpu: BTreeMap<u32, Duration>,
    /// CPU time of its descendants.
    pub(crate) others: BTreeMap<u32, Duration>,
}

impl Host {
    pub(crate) fn of(&mut self, name: usize, removed: bool) -> Option<&mut HostPlugin> {
        let mut newest_first = self.all.iter_mut().rev();
        newest_first.find(|host| host.name == name && host.removed == removed)
    }

    /// Sends a report to the handle and returns the report for the oracle.
    pub(crate) fn send(
        &mut self,
        host_report: &HostReport,
        oracle: &Oracle,
        in_tick: bool,
    ) -> Option<(usize, Report)> {
        let another = self.all.iter().filter(|host| host.name != host_report.name);
        let another = another.filter_map(|host| host.runs.last().copied()).next_back();
        let host = self.of(host_report.name, host_report.stale)?;
        let registration = host.registration;
        let report = match host_report.kind {
            ReportKind::Started { pid, version, fresh } => {
                let pid = match pid {
                    Pid::Same => host.last_pid,
                    Pid::One(pid) => pid,
                };
                let run = host.plugin.started(pid, version);
                host.runs.push(run);
                host.last_pid = pid;
                if fresh {
                    self.cpu.remove(&pid);
                    self.others.remove(&pid);
                }
                Report::Started { run, pid, version }
            }
            ReportKind::Exited { back, status } => {
                let run = host.runs[host.runs.len().checked_sub(1 + back)?];
                // The tracker may forget a clean or unknown exit that only the sampler has detected,
                // once the run is not listed any more. Whether a later report about it has an effect is
                // unspecified.
                let newer = if in_tick { 0 } else { 200 };
                if back > newer && oracle.is_uncounted_and_unclassified(registration, run)
                    || oracle.may_be_pruned(registration, run)
                {
                    return None;
                }
                host.exited(run, status)
            }
            ReportKind::ExitedOfAnother { status } => host.exited(another?, status),
            ReportKind::State(state) => {
                host.plugin.set_state(state);
                Report::State(state)
            }
            ReportKind::Method(true) => {
                host.plugin.crashed();
                Report::State(PluginState::Crashed)
            }
            ReportKind::Method(false) => {
                host.plugin.stopped();
                Report::State(PluginState::Stopped)
            }
            ReportKind::Remove => {
                host.plugin.remove();
                host.removed = true;
                Report::Removed
            }
        };
        Some((registration, report))
    }
}

impl HostPlugin {
    fn exited(&self, run: RunId, status: i32) -> Report {
        let status = ExitStatus::from_raw(status);
        self.plugin.exited(run, status);
        let end = status.signal().map(RunEnd::Signaled);
        let code = status.code().map(RunEnd::Exited);
        Report::Exited(run, end.or(code).expect("a status is a code or a signal"))
    }
}
