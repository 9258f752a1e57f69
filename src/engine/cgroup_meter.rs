//! The CPU time of a plugin's tree in a cgroup that the host has named.
//!
//! The cgroup counts the process itself, too, which the tracker counts by its clock. So the CPU time
//! of the descendants is the growth of the cgroup's CPU time minus the growth of the process's. In each
//! tick the cgroup is read *before* the process, so that the difference is never too large.
//!
//! Both the cgroup and the rule of process trees count the descendants from the report of the run on,
//! and neither counts more than was used. Therefore the larger of the two is correct at any time: also
//! after the cgroup was removed, when the rule may still learn of CPU time that the cgroup had counted
//! before.

use crate::history::units::{CpuShare, CpuTime};
use crate::sync::cgroup::{CgroupReadError, CgroupReader, CgroupReading};
use crate::time::MonoNanos;

/// Measures the descendants of one plugin's processes from the report of a run on.
#[derive(Debug)]
pub(super) struct CgroupMeter {
    /// `None`: the host has named none for this run, or it has failed.
    cgroup: Option<Box<dyn CgroupReader>>,
    failure: Option<CgroupReadError>,
    /// The newest reading that was not counted yet.
    pending: Option<CgroupReading>,
    /// At the report of the run.
    start: Start,
    /// CPU time of the descendants by the cgroup, since the report of the run.
    counted: CpuTime,
    counted_at: MonoNanos,
    /// When the last share was taken, and the total then.
    taken: (MonoNanos, CpuTime),
}

/// CPU times at the report of a run.
#[derive(Clone, Copy, Debug)]
struct Start {
    cgroup: CpuTime,
    /// Of the plugin's own processes.
    own: CpuTime,
    /// Of the descendants, by the rule: what is above that belongs to the run.
    rule: CpuTime,
    /// Of the descendants, as shown.
    total: CpuTime,
}

/// A run that begins.
#[derive(Debug)]
pub(super) struct NewRun {
    pub cgroup: Option<Box<dyn CgroupReader>>,
    /// CPU time of the plugin's processes so far.
    pub own: CpuTime,
    /// CPU time of their descendants so far, by the rule.
    pub rule: CpuTime,
    /// Processes of the previous run live.
    pub has_survivors: bool,
    pub now: MonoNanos,
}

impl CgroupMeter {
    /// `previous` is the meter of the run before.
    pub(super) fn new(run: NewRun, previous: Option<Self>) -> Self {
        let NewRun { cgroup, own, mut rule, has_survivors, now } = run;
        let (mut total, mut taken) = (rule, None);
        if let Some(mut previous) = previous {
            previous.count(own);
            total = previous.total(rule);
            taken = Some(previous.taken);
            if has_survivors {
                // The rule may learn later what the cgroup has counted of them.
                rule = rule.max(sum(previous.start.rule, previous.counted));
            }
        }
        let start = Start { cgroup: CpuTime(0), own, rule, total };
        let mut meter = Self {
            cgroup,
            failure: None,
            pending: None,
            start,
            counted: CpuTime(0),
            counted_at: now,
            taken: taken.unwrap_or((now, total)),
        };
        meter.read();
        if let Some(first) = meter.pending.take() {
            meter.start.cgroup = first.cpu_time;
        }
        meter
    }

    /// Reads the cgroup. The process is read after it.
    pub(super) fn read(&mut self) {
        let Some(cgroup) = &self.cgroup else { return };
        match cgroup.read() {
            Ok(reading) => self.pending = Some(reading),
            Err(error) => (self.cgroup, self.failure) = (None, Some(error)),
        }
    }

    /// Why the cgroup is not read any more. Only the first call returns it.
    pub(super) const fn take_failure(&mut self) -> Option<CgroupReadError> {
        self.failure.take()
    }

    /// Counts the newest reading. The CPU time of the plugin's processes, `own`, was read after it.
    pub(super) fn count(&mut self, own: CpuTime) {
        let Some(reading) = self.pending.take() else { return };
        let all = difference(reading.cpu_time, self.start.cgroup);
        self.counted = self.counted.max(difference(all, difference(own, self.start.own)));
        self.counted_at = reading.at;
    }

    /// The CPU time of the descendants in all, `rule` of it by the rule.
    pub(super) fn total(&self, rule: CpuTime) -> CpuTime {
        sum(self.start.total, self.counted.max(difference(rule, self.start.rule)))
    }

    /// The share of the descendants since the last one; `by_rule` if the cgroup is not read.
    pub(super) fn take_share(
        &mut self,
        total: CpuTime,
        by_rule: Option<CpuShare>,
        now: MonoNanos,
        min_nanos: u64,
    ) -> Option<CpuShare> {
        let (from, before) = self.taken;
        if self.cgroup.is_none() {
            if by_rule.is_some() {
                self.taken = (now, total);
            }
            return by_rule;
        }
        let wall = self.counted_at.0.saturating_sub(from.0);
        if wall == 0 || wall < min_nanos {
            return None;
        }
        self.taken = (self.counted_at, total);
        CpuShare::from_times(difference(total, before), wall)
    }
}

fn sum(CpuTime(a): CpuTime, CpuTime(b): CpuTime) -> CpuTime {
    CpuTime(a.saturating_add(b))
}

fn difference(CpuTime(a): CpuTime, CpuTime(b): CpuTime) -> CpuTime {
    CpuTime(a.saturating_sub(b))
}
