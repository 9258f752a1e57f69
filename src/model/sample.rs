//! What a tick recorded of one plugin, and the packed row it is kept as.

use std::time::{Duration, SystemTime};

use super::reading::{Bytes, CpuShare};
use super::run::RunId;
use super::state::PluginState;

/// What one tick recorded of one plugin.
///
/// What is not known is `None`, never zero. `version`, `pid`, `run` and `uptime` are `None` where
/// there was no open run.
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::testing::{Simulation, Usage};
/// use plugmeter::Config;
/// use std::time::Duration;
///
/// let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(5)))?;
/// let plugin = sim.register("dice")?;
/// plugin.started(4711, "1.0");
/// plugin.events().add(3);
/// sim.tick(|_pid| Usage { cpu_time: Duration::from_secs(1), memory_bytes: 3 << 20 });
///
/// let snapshot = sim.snapshot();
/// let sample = snapshot.plugin("dice").unwrap().current().unwrap();
/// assert_eq!(sample.cpu_percent, Some(20.0)); // one second of CPU time in five
/// assert_eq!(sample.memory_mb(), Some(3.0));
/// assert_eq!(sample.event_count, 3);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Of the tick, by the wall clock.
    pub timestamp: SystemTime,
    /// The name that the host registered.
    pub plugin_name: &'a str,
    /// Of the open run, if the host gave one.
    pub version: Option<&'a str>,
    /// Of the open run.
    pub pid: Option<u32>,
    /// The open run. A tick may have CPU and no run: that of a process that has ended since the
    /// tick before.
    pub run: Option<RunId>,
    /// What the plugin was doing.
    pub state: PluginState,
    /// CPU time over wall time since the last sample that has a value, in percent of *one* core:
    /// four busy threads read 400. In steps of 0.001. `None` until a process was read twice, where it
    /// could not be read, and where too little time has passed to tell.
    ///
    /// On Linux the kernel counts a process that does not sleep at its scheduler's tick, 1 to 10 ms
    /// apart: a busy thread may read a little over or under 100, the more so the shorter the interval.
    pub cpu_percent: Option<f64>,
    /// Resident memory in bytes, rounded down to a multiple of 1,024. `None` without a process, where
    /// it could not be read, and from 4 TiB on. Pages that processes share count in each.
    pub memory_bytes: Option<u64>,
    /// Since the process started, as the operating system says; `None` where it does not.
    pub uptime: Option<Duration>,
    /// The plugin's event counter at the tick.
    pub event_count: u64,
    /// The plugin's crashes counted up to the tick.
    pub crash_count: u64,
}

impl Sample<'_> {
    /// Resident memory in MB of 1,048,576 bytes; `None` where that is not known.
    #[must_use]
    pub fn memory_mb(&self) -> Option<f64> {
        self.memory_bytes.map(super::mebibytes)
    }
}

/// One sample as it is kept: twenty bytes. All zeros is not a sample of zeros but no sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub cpu: u32,
    pub kib: u32,
    pub events: u32,
    pub crashes: u32,
    pub run_and_state: u32,
}

/// The columns of a row, in the order in which a block keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Cpu = 0,
    Kib = 1,
    Events = 2,
    Crashes = 3,
    RunAndState = 4,
}

/// Columns in a row.
pub(crate) const COLUMNS: usize = 5;

/// In the columns CPU and KiB: not known.
const UNKNOWN: u32 = u32::MAX;
/// In the column KiB: not known because the process was found gone by this very tick.
const NO_PROCESS: u32 = u32::MAX - 1;

/// Values of the columns CPU and KiB from here on are no values.
pub(crate) const FIRST_ABSENT: u32 = NO_PROCESS;

const STATE_BITS: u32 = 3;

/// The bits of a run's number that fit beside the state.
pub(crate) const RUN_MASK: u32 = u32::MAX >> STATE_BITS;

/// What the tick learnt of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    Resident(Bytes),
    Unknown,
    /// The process was found gone.
    NoProcess,
}

impl Row {
    pub(crate) const ABSENT: Self =
        Self { cpu: 0, kib: 0, events: 0, crashes: 0, run_and_state: 0 };

    /// Packs what a tick recorded; `run` is the number of the open run, from 1, or 0 for none.
    #[inline]
    pub(crate) fn pack(
        cpu: Option<CpuShare>,
        memory: Memory,
        events: u32,
        crashes: u32,
        run: u64,
        state: PluginState,
    ) -> Self {
        let kib = match memory {
            // 4 TiB and more do not fit: unknown is truer than cut off.
            Memory::Resident(Bytes(bytes)) => {
                u32::try_from(bytes.get() / 1_024).ok().filter(|&kib| kib < FIRST_ABSENT)
            }
            Memory::Unknown => None,
            Memory::NoProcess => Some(NO_PROCESS),
        };
        Self {
            cpu: cpu.map_or(UNKNOWN, |share| share.0),
            kib: kib.unwrap_or(UNKNOWN),
            events,
            crashes,
            run_and_state: (low_bits(run) << STATE_BITS) | state.code(),
        }
    }

    /// `None` where there is no row.
    pub(crate) const fn state(self) -> Option<PluginState> {
        PluginState::from_code(self.run_and_state & ((1 << STATE_BITS) - 1))
    }

    /// Low bits of the number of the open run; `None` without one.
    pub(crate) const fn run(self) -> Option<u32> {
        match self.run_and_state >> STATE_BITS {
            0 => None,
            low => Some(low),
        }
    }

    pub(crate) const fn cpu(self) -> Option<CpuShare> {
        if self.cpu >= FIRST_ABSENT { None } else { Some(CpuShare(self.cpu)) }
    }

    /// Resident memory in bytes.
    pub(crate) const fn resident(self) -> Option<u64> {
        if self.kib >= FIRST_ABSENT { None } else { Some(self.kib as u64 * 1_024) }
    }

    /// The tick itself found the process gone.
    pub(crate) const fn found_gone(self) -> bool {
        self.kib == NO_PROCESS
    }
}

/// The low bits of a run's number, in which zero stands for "no run".
///
/// Numbers whose low bits are all zero are never given out: see [`next_run`].
pub(crate) const fn low_bits(run: u64) -> u32 {
    (run & RUN_MASK as u64) as u32
}

/// The number of the run after the run `last`: one more, or two where its low bits were zero.
pub(crate) const fn next_run(last: u64) -> u64 {
    if low_bits(last + 1) == 0 { last + 2 } else { last + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident(bytes: u64) -> Memory {
        Memory::Resident(Bytes::known(bytes).unwrap())
    }

    #[test]
    fn a_row_gives_back_what_was_packed() {
        for state in PluginState::ALL {
            for run in [0, 1, 77, u64::from(RUN_MASK)] {
                let row = Row::pack(Some(CpuShare(123_456)), resident(5 << 20), 7, 2, run, state);
                assert_eq!(row.state(), Some(state));
                assert_eq!(row.run(), (run != 0).then_some(run as u32));
                assert_eq!(row.cpu(), Some(CpuShare(123_456)));
                assert_eq!(row.resident(), Some(5 << 20));
                assert!(!row.found_gone());
            }
        }
    }

    #[test]
    fn an_absent_row_is_not_a_row_of_zeros() {
        assert_eq!(Row::ABSENT.state(), None);
        assert_eq!(Row::default(), Row::ABSENT);
        let zeros = Row::pack(Some(CpuShare(0)), resident(1), 0, 0, 0, PluginState::Stopped);
        assert_ne!(zeros, Row::ABSENT);
        assert_eq!(zeros.cpu(), Some(CpuShare(0)));
    }

    #[test]
    fn memory_is_rounded_down_to_kib_and_unknown_where_it_does_not_fit() {
        let kept =
            |bytes| Row::pack(None, resident(bytes), 0, 0, 1, PluginState::Running).resident();
        assert_eq!(kept(1_023), Some(0));
        assert_eq!(kept(4_097), Some(4_096));
        assert_eq!(kept(u64::MAX), None);
        assert_eq!(kept(1_024 * u64::from(u32::MAX - 1)), None);
        assert_eq!(kept(1_024 * u64::from(u32::MAX - 2)), Some(1_024 * u64::from(u32::MAX - 2)));
    }

    #[test]
    fn no_run_has_a_number_that_a_row_takes_for_none() {
        assert_eq!(next_run(0), 1);
        assert_eq!(low_bits(next_run(u64::from(RUN_MASK))), 1);
        assert_eq!(next_run(u64::from(RUN_MASK) - 1), u64::from(RUN_MASK));
    }
}
