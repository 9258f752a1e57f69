//! One sample as it is stored.

use super::metric::{EXITED, FIRST_MISSING, Metric, UNKNOWN};
use super::units::{CpuShare, ResidentBytes};
use crate::snapshot::state::PluginState;

/// One plugin's values of one tick, packed into four bytes a column. All zeros is not a sample of
/// zeros but no sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PackedSample([u32; Metric::COUNT]);

const STATE_BITS: u32 = 3;

/// The bits of a run's number that fit beside the state.
pub(crate) const RUN_KEY_MASK: u32 = u32::MAX >> STATE_BITS;

/// What a tick found out about the memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    Resident(ResidentBytes),
    Unknown,
    /// The process has exited.
    Exited,
}

impl PackedSample {
    /// No sample: the plugin was not registered at that tick.
    pub(crate) const MISSING: Self = Self([0; Metric::COUNT]);

    /// Packs the values of a tick; `run` is the number of the active run, from 1, or 0 without one.
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
            // 4 TiB and more do not fit: unknown, not truncated.
            Memory::Resident(ResidentBytes(bytes)) => {
                u32::try_from(bytes.get() / 1_024).ok().filter(|&kib| kib < FIRST_MISSING)
            }
            Memory::Unknown => None,
            Memory::Exited => Some(EXITED),
        };
        let mut packed = Self::MISSING;
        packed.set(Metric::Cpu, cpu.map_or(UNKNOWN, |share| share.0));
        packed.set(Metric::Memory, kib.unwrap_or(UNKNOWN));
        packed.set(Metric::Events, events);
        packed.set(Metric::Crashes, crashes);
        packed.set(Metric::RunAndState, (run_key(run) << STATE_BITS) | state.code());
        packed
    }

    /// Collects the columns of one sample.
    #[inline]
    pub(crate) fn from_columns(mut column: impl FnMut(Metric) -> u32) -> Self {
        let mut columns = [0; Metric::COUNT];
        // A loop over references is unrolled; `map` of an array is not.
        for (value, &metric) in columns.iter_mut().zip(&Metric::ALL) {
            *value = column(metric);
        }
        Self(columns)
    }

    /// All columns, in order.
    #[inline]
    pub(crate) const fn columns(&self) -> &[u32; Metric::COUNT] {
        &self.0
    }

    /// The integer in one column.
    #[inline]
    pub(crate) const fn get(self, metric: Metric) -> u32 {
        self.0[metric as usize]
    }

    #[inline]
    const fn set(&mut self, metric: Metric, value: u32) {
        self.0[metric as usize] = value;
    }

    /// `None` where there is no sample.
    pub(crate) const fn state(self) -> Option<PluginState> {
        PluginState::from_code(self.get(Metric::RunAndState) & ((1 << STATE_BITS) - 1))
    }

    /// Key of the active run; `None` without one.
    pub(crate) const fn run(self) -> Option<u32> {
        match run_key_of(self.get(Metric::RunAndState)) {
            0 => None,
            key => Some(key),
        }
    }

    pub(crate) const fn cpu(self) -> Option<CpuShare> {
        let share = self.get(Metric::Cpu);
        if share >= FIRST_MISSING { None } else { Some(CpuShare(share)) }
    }

    /// Resident memory in bytes.
    pub(crate) const fn resident(self) -> Option<u64> {
        let kib = self.get(Metric::Memory);
        if kib >= FIRST_MISSING { None } else { Some(kib as u64 * 1_024) }
    }

    /// Whether this tick's own reading found that the process has exited.
    pub(crate) const fn is_exited(self) -> bool {
        self.get(Metric::Memory) == EXITED
    }
}

/// Key of the run in an integer of the column of run and state; 0 without a run.
#[inline]
pub(crate) const fn run_key_of(run_and_state: u32) -> u32 {
    run_and_state >> STATE_BITS
}

/// The low bits of a run's number, by which samples refer to a run. Zero stands for "no run".
///
/// Numbers whose low bits are all zero are never assigned: see [`next_run_number`].
pub(crate) const fn run_key(run: u64) -> u32 {
    (run & RUN_KEY_MASK as u64) as u32
}

/// The number of the run after the run `last`: one more, or two more where the key would be zero.
pub(crate) const fn next_run_number(last: u64) -> u64 {
    if run_key(last + 1) == 0 { last + 2 } else { last + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident(bytes: u64) -> Memory {
        Memory::Resident(ResidentBytes::new(bytes).unwrap())
    }

    #[test]
    fn packed_sample_returns_what_was_packed() {
        for state in PluginState::ALL {
            for run in [0, 1, 77, u64::from(RUN_KEY_MASK)] {
                let share = Some(CpuShare(123_456));
                let packed = PackedSample::pack(share, resident(5 << 20), 7, 2, run, state);
                assert_eq!(packed.state(), Some(state));
                assert_eq!(packed.run(), (run != 0).then_some(run as u32));
                assert_eq!(packed.cpu(), share);
                assert_eq!(packed.resident(), Some(5 << 20));
                assert_eq!((packed.get(Metric::Events), packed.get(Metric::Crashes)), (7, 2));
                assert!(!packed.is_exited());
                assert_eq!(PackedSample::from_columns(|metric| packed.get(metric)), packed);
            }
        }
    }

    #[test]
    fn missing_sample_differs_from_sample_of_zeros() {
        assert_eq!(PackedSample::MISSING.state(), None);
        assert_eq!(PackedSample::default(), PackedSample::MISSING);
        let zero = Some(CpuShare(0));
        let zeros = PackedSample::pack(zero, resident(1), 0, 0, 0, PluginState::Stopped);
        assert_ne!(zeros, PackedSample::MISSING);
        assert_eq!(zeros.cpu(), zero);
    }

    #[test]
    fn memory_of_exited_process_differs_from_any_size() {
        let packed = |memory| PackedSample::pack(None, memory, 0, 0, 1, PluginState::Running);
        assert!(packed(Memory::Exited).is_exited());
        assert_eq!(packed(Memory::Exited).resident(), None);
        for kib in [1, u32::MAX - 2, u32::MAX - 1, u32::MAX] {
            assert!(!packed(resident(1_024 * u64::from(kib))).is_exited());
        }
        assert!(!packed(Memory::Unknown).is_exited());
    }

    #[test]
    fn memory_is_rounded_down_to_kib() {
        let stored = |bytes| {
            PackedSample::pack(None, resident(bytes), 0, 0, 1, PluginState::Running).resident()
        };
        assert_eq!(stored(1_023), Some(0));
        assert_eq!(stored(4_097), Some(4_096));
        // Sizes that do not fit are unknown.
        assert_eq!(stored(u64::MAX), None);
        assert_eq!(stored(1_024 * u64::from(u32::MAX - 1)), None);
        assert_eq!(stored(1_024 * u64::from(u32::MAX - 2)), Some(1_024 * u64::from(u32::MAX - 2)));
    }

    #[test]
    fn run_number_never_has_key_zero() {
        assert_eq!(next_run_number(0), 1);
        assert_eq!(run_key(next_run_number(u64::from(RUN_KEY_MASK))), 1);
        assert_eq!(next_run_number(u64::from(RUN_KEY_MASK) - 1), u64::from(RUN_KEY_MASK));
    }
}
