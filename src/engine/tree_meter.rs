//! The values of a process tree, from readings of the process and of its descendants.

use super::cpu_meter::{CpuMeter, ReadingSpan};
use crate::history::packed::PackedSample;
use crate::history::tree_row::TreeValues;
use crate::history::units::{CpuShare, CpuTime, ResidentBytes};
use crate::os::reading::{Reading, TreeReading};
use crate::time::MonoNanos;

/// What a tick found out about the tree of one plugin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeTick {
    /// CPU time of the descendants of all runs so far, also of those that have ended.
    pub others_cpu: CpuTime,
    /// Their share of a core since the last sample with a share; `None` if it is unknown.
    pub others_share: Option<CpuShare>,
    /// Living processes, the reported one included.
    pub processes: Option<u32>,
    /// Those of them that belonged to the process of an earlier run, which has ended; `None` if it is not
    /// known.
    pub survivors: Option<u32>,
    /// Sum of the resident sizes of the processes; `None` if one of them is unknown.
    pub resident: Option<ResidentBytes>,
}

impl TreeTick {
    /// The values of the tree beside the sample of its process: never less than those.
    ///
    /// An unknown value of the process makes that of the tree unknown.
    pub(crate) fn values(&self, own: PackedSample) -> TreeValues {
        let has_run = own.run().is_some();
        let own_share = own.cpu();
        let cpu = match (own_share, self.others_share) {
            (Some(own), Some(others)) => own.0.checked_add(others.0),
            (None, Some(others)) if !has_run => Some(others.0),
            // No descendant is left whose share could be unknown.
            (Some(own), None) if !has_run && self.processes == Some(0) => Some(own.0),
            (_, _) => None,
        };
        let kib = match (own.resident(), self.resident) {
            (Some(own), Some(tree)) => u32::try_from(tree.0.get().max(own) / 1_024).ok(),
            (None, Some(tree)) if !has_run => u32::try_from(tree.0.get() / 1_024).ok(),
            (_, _) => None,
        };
        // A process whose exit was detected by this tick is in the sample, but lives no more.
        let least = u32::from(has_run && !own.is_exited());
        TreeValues::new(cpu, kib, self.processes.map(|processes| processes.max(least)))
    }

    /// The values to store; `None` if they are those of the process alone.
    pub(crate) fn row(&self, own: PackedSample) -> Option<TreeValues> {
        let values = self.values(own);
        (values != TreeValues::of_root(own)).then_some(values)
    }
}

/// Measures the descendants of one plugin's processes, where readings of a process come with
/// readings of its tree.
#[derive(Debug, Default)]
pub(crate) struct TreeMeter {
    meter: CpuMeter,
    /// Of the active run: the CPU time of its descendants.
    span: Option<ReadingSpan>,
    /// The tick's reading, until the tick's values are taken.
    newest: Option<TreeReading>,
    others_cpu: CpuTime,
}

impl TreeMeter {
    /// A run ends. The next one may be of the same process, whose descendants then go on.
    pub(crate) fn end_run(&mut self) {
        if let Some(span) = self.span.take() {
            self.meter.keep(&span);
            self.span = Some(span.continued());
        }
    }

    /// A run of another process begins.
    pub(crate) const fn begin_run(&mut self) {
        self.span = None;
    }

    /// Adds a reading of the active run's tree, taken at `at`; `None` if the process has no
    /// descendants. `since` is when the CPU share of the process began before this reading: at a run's
    /// first reading with descendants, these are younger than that.
    pub(crate) fn push(&mut self, tree: Option<TreeReading>, at: MonoNanos, since: MonoNanos) {
        let none = Reading::new(since, CpuTime::default(), None);
        self.span = self.span.or_else(|| ReadingSpan::starting_with(&none));
        let Some(span) = &mut self.span else { return };
        self.newest = tree;
        let cpu_time = tree.map_or(CpuTime::default(), |tree| tree.others_cpu);
        // Never less than before, also without descendants: those that have ended were counted.
        let CpuTime(more) = span.push_last(&Reading::new(at, cpu_time, None));
        self.others_cpu = CpuTime(self.others_cpu.0.saturating_add(more));
    }

    /// The tree's values of a tick. `own` is the sample of the process, whose share begins anew if it
    /// has one: then that of the descendants does too.
    pub(crate) fn take(&mut self, own: PackedSample, min_nanos: u64) -> TreeTick {
        let tree = self.newest.take();
        let others_share = match (own.run(), own.cpu()) {
            // The interval continues, as that of the process does.
            (Some(_), None) => None,
            (Some(_), Some(_)) => self.meter.take(self.span.as_mut(), min_nanos),
            (None, _) => self.meter.take(None, min_nanos),
        };
        // A size below 1 KiB is recorded as 0, and known.
        let own_resident = own.resident().and_then(|bytes| ResidentBytes::new(bytes.max(1)));
        let is_known = own.cpu().is_some() || own_resident.is_some();
        let processes = match (own.run(), tree) {
            (None, _) => Some(0),
            (Some(_), Some(tree)) => Some(tree.processes),
            (Some(_), None) => is_known.then_some(1),
        };
        let resident = tree.map_or(own_resident, |tree| tree.resident);
        let others_cpu = self.others_cpu;
        TreeTick { others_cpu, others_share, processes, survivors: None, resident }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::packed::Memory;
    use crate::snapshot::state::PluginState;

    const KIB: u64 = 1_024;

    fn resident(kib: u64) -> Option<ResidentBytes> {
        ResidentBytes::new(kib * KIB)
    }

    fn own(cpu: Option<u32>, kib: u64, run: u64) -> PackedSample {
        let memory = resident(kib).map_or(Memory::Unknown, Memory::Resident);
        PackedSample::pack(cpu.map(CpuShare), memory, 0, 0, run, PluginState::Running)
    }

    fn tick(others_share: Option<u32>, processes: u32, kib: u64) -> TreeTick {
        TreeTick {
            others_cpu: CpuTime(1),
            others_share: others_share.map(CpuShare),
            processes: Some(processes),
            survivors: None,
            resident: resident(kib),
        }
    }

    fn shown(tree: &TreeTick, own: PackedSample) -> (Option<u32>, Option<u64>, Option<u32>) {
        let values = tree.values(own);
        let kib = values.resident().map(|bytes| bytes / KIB);
        (values.cpu().map(|share| share.0), kib, values.process_count())
    }

    #[test]
    fn tree_share_is_own_share_and_that_of_others() {
        assert_eq!(shown(&tick(Some(30), 3, 9), own(Some(12), 4, 1)), (Some(42), Some(9), Some(3)));
        // An unknown part makes the sum unknown.
        assert_eq!(shown(&tick(None, 3, 9), own(Some(12), 4, 1)), (None, Some(9), Some(3)));
        assert_eq!(shown(&tick(Some(30), 3, 9), own(None, 4, 1)), (None, Some(9), Some(3)));
        assert_eq!(shown(&tick(Some(30), 3, 9), own(Some(12), 0, 1)), (Some(42), None, Some(3)));
        assert_eq!(shown(&tick(Some(30), 3, 0), own(Some(12), 4, 1)), (Some(42), None, Some(3)));
        // A sum that does not fit is unknown, too.
        assert_eq!(shown(&tick(Some(u32::MAX), 1, 9), own(Some(12), 4, 1)).0, None);
    }

    #[test]
    fn tree_is_never_less_than_its_process() {
        assert_eq!(shown(&tick(Some(0), 0, 1), own(Some(12), 4, 1)), (Some(12), Some(4), Some(1)));
    }

    #[test]
    fn survivors_have_values_without_a_run() {
        assert_eq!(shown(&tick(Some(30), 2, 9), own(None, 0, 0)), (Some(30), Some(9), Some(2)));
        // With the CPU of the root, which has ended since the previous tick.
        assert_eq!(shown(&tick(Some(30), 2, 9), own(Some(5), 0, 0)), (Some(35), Some(9), Some(2)));
        assert_eq!(shown(&tick(None, 2, 9), own(Some(5), 0, 0)), (None, Some(9), Some(2)));
        assert_eq!(shown(&tick(None, 0, 0), own(Some(5), 0, 0)), (Some(5), None, Some(0)));
    }

    #[test]
    fn tree_with_values_of_its_process_has_no_row() {
        for (tree, own) in [
            (tick(Some(0), 1, 4), own(Some(12), 4, 1)),
            (tick(None, 1, 4), own(None, 4, 1)),
            (tick(None, 0, 0), own(None, 0, 0)),
            (tick(None, 0, 0), own(Some(12), 0, 0)),
        ] {
            assert_eq!(tree.row(own), None, "{tree:?}");
        }
        for (tree, own) in [
            (tick(Some(1), 1, 4), own(Some(12), 4, 1)),
            (tick(Some(0), 2, 4), own(Some(12), 4, 1)),
            (tick(Some(0), 1, 5), own(Some(12), 4, 1)),
            (tick(None, 1, 4), own(Some(12), 4, 1)),
            (tick(Some(1), 0, 0), own(None, 0, 0)),
        ] {
            assert_eq!(tree.row(own), Some(tree.values(own)), "{tree:?}");
        }
    }

    #[test]
    fn process_whose_exit_was_detected_is_not_counted() {
        let exited = PackedSample::pack(None, Memory::Exited, 0, 0, 1, PluginState::Running);
        assert_eq!(shown(&tick(Some(3), 2, 9), exited), (None, None, Some(2)));
        assert_eq!(shown(&tick(Some(3), 0, 0), exited), (None, None, Some(0)));
    }

    #[test]
    fn time_of_others_never_goes_down() {
        let at = |seconds: u64| MonoNanos(seconds * 1_000_000_000);
        let reading = |others: u64| TreeReading {
            others_cpu: CpuTime(others * 1_000_000_000),
            resident: None,
            processes: 2,
        };
        let mut meter = TreeMeter::default();
        let take = |meter: &mut TreeMeter, reading: Option<TreeReading>, seconds| {
            meter.push(reading, at(seconds), at(seconds - 1));
            let tick = meter.take(own(Some(0), 1, 1), 1_000_000);
            (tick.others_share.map(|share| share.0), tick.others_cpu.0 / 1_000_000_000)
        };
        assert_eq!(take(&mut meter, Some(reading(1)), 11), (Some(100_000), 1));
        assert_eq!(take(&mut meter, Some(reading(3)), 12), (Some(200_000), 3));
        assert_eq!(take(&mut meter, Some(reading(2)), 13), (Some(0), 3));
        assert_eq!(take(&mut meter, None, 14), (Some(0), 3));
        assert_eq!(take(&mut meter, Some(reading(4)), 15), (Some(100_000), 4));
        // Another process, and its first reading with descendants.
        meter.end_run();
        meter.begin_run();
        assert_eq!(take(&mut meter, Some(reading(1)), 21), (Some(100_000), 5));
    }
}
