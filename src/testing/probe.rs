//! The probe of a simulation.

use std::time::Duration;

use super::{Observed, Usage};
use crate::history::units::{CpuTime, ResidentBytes};
use crate::os::reading::{Reading, TreeReading};
use crate::os::tree::NoTrees;
use crate::os::{Attach, FoundProcess, Identity, Probe, ReadFailure};
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::ProcessExit;
use crate::time::TimePoint;

/// A process that consists of a pid.
#[derive(Debug)]
pub(super) struct SimulatedProcess {
    pid: u32,
}

/// The probe of a simulation.
pub(super) struct SimulatedProbe<'a> {
    pub now: TimePoint,
    pub process_trees: bool,
    /// Of the last reading.
    pub tree: Option<TreeReading>,
    pub observe: &'a mut dyn FnMut(u32) -> Observed,
}

impl SimulatedProbe<'_> {
    fn reading(&self, usage: Usage) -> Reading {
        let resident = ResidentBytes::new(usage.memory_bytes);
        Reading::new(self.now.mono, usage.cpu_time.into(), resident)
    }
}

fn tree_reading(main: Usage, tree: Usage, processes: u32) -> TreeReading {
    let resident = match (main.memory_bytes, tree.memory_bytes) {
        (0, _) | (_, 0) => 0,
        (main, tree) => tree.max(main),
    };
    TreeReading {
        others_cpu: tree.cpu_time.saturating_sub(main.cpu_time).into(),
        resident: ResidentBytes::new(resident),
        processes: processes.max(1),
    }
}

impl Probe for SimulatedProbe<'_> {
    type Process = SimulatedProcess;
    type Member = NoTrees;
    type Trees = NoTrees;

    fn trees(&mut self) -> Option<&mut NoTrees> {
        None
    }

    const READS_TREES: bool = true;

    fn attach(
        &mut self,
        pid: u32,
        _reported_at: Option<Duration>,
        _token: u64,
    ) -> Attach<FoundProcess<SimulatedProcess>> {
        let (at, cpu_time) = (self.now.mono, CpuTime::default());
        Attach::Found(FoundProcess {
            process: SimulatedProcess { pid },
            process_start: Some(self.now.boot),
            min_interval: Duration::from_millis(1),
            name: None,
            reading: Ok(Reading::new(at, cpu_time, None)),
        })
    }

    fn begin_tick<'p>(&mut self, _processes: impl Iterator<Item = &'p SimulatedProcess>) {}

    #[inline]
    fn read(&mut self, process: &mut SimulatedProcess) -> Result<Reading, ReadFailure> {
        let exited = |exit| Err(ReadFailure::Exited(exit, None));
        self.tree = None;
        match (self.observe)(process.pid) {
            Observed::Running(usage) => Ok(self.reading(usage)),
            Observed::RunningTree { main, tree, processes } => {
                self.tree = self.process_trees.then(|| tree_reading(main, tree, processes));
                Ok(self.reading(main))
            }
            Observed::Exited(code) => exited(ProcessExit::Exited(code)),
            Observed::Signaled(signal) => exited(ProcessExit::Signaled(signal)),
            Observed::Gone => exited(ProcessExit::Unknown),
            Observed::Denied => Err(ReadFailure::Failed(ReadError::PermissionDenied)),
        }
    }

    fn tree(&self, _process: &SimulatedProcess) -> Option<TreeReading> {
        self.tree
    }

    fn read_between_ticks(
        &mut self,
        _process: &mut SimulatedProcess,
    ) -> Result<Option<Reading>, ReadFailure> {
        Ok(None)
    }

    fn identity(&self, _process: &SimulatedProcess) -> Option<Identity> {
        // A process that is reported without an active run has just started.
        None
    }
}
