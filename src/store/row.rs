//! The values of one plugin at one tick, as they are stored.

use super::codec::{Decoder, Encoder};
use crate::snapshot::sample::Sample;
use crate::snapshot::state::PluginState;

/// An unknown value.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// One plugin at one tick. CPU is in thousandths of a percent, memory in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub cpu: u32,
    pub kib: u32,
    pub tree: TreeRow,
    /// Since the tick before.
    pub events: u64,
    /// Since the tick before.
    pub crashes: u64,
    /// The number of the plugin's run; 0 for none.
    pub run: u64,
    pub state: PluginState,
    /// The time that the shares cover, in microseconds; `None` if it is the time since the tick before. It
    /// is shorter where a run has begun or ended in between.
    pub covered_us: Option<u64>,
}

/// The values of the process tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TreeRow {
    pub cpu: u32,
    pub kib: u32,
    pub processes: u32,
}

/// The number of a state in the file.
const fn state_code(state: PluginState) -> u64 {
    match state {
        PluginState::Stopped => 0,
        PluginState::Starting => 1,
        PluginState::Running => 2,
        PluginState::Unhealthy => 3,
        PluginState::Stopping => 4,
        PluginState::Crashed => 5,
        PluginState::Failed => 6,
    }
}

const fn state_of(code: u64) -> Option<PluginState> {
    Some(match code {
        0 => PluginState::Stopped,
        1 => PluginState::Starting,
        2 => PluginState::Running,
        3 => PluginState::Unhealthy,
        4 => PluginState::Stopping,
        5 => PluginState::Crashed,
        6 => PluginState::Failed,
        _ => return None,
    })
}

/// Exact: a sample's percentage is a number of thousandths.
fn thousandths(percent: Option<f64>) -> u32 {
    percent.map_or(UNKNOWN, |percent| (percent * 1_000.0).round() as u32)
}

fn kib(bytes: Option<u64>) -> u32 {
    bytes.and_then(|bytes| u32::try_from(bytes / 1_024).ok()).unwrap_or(UNKNOWN)
}

/// `None` if it is unknown.
pub(super) const fn known(value: u32) -> Option<u32> {
    if value == UNKNOWN { None } else { Some(value) }
}

impl Row {
    /// The values of a sample; counters and run are the caller's.
    pub(super) fn of(sample: &Sample<'_>, events: u64, crashes: u64, run: u64) -> Self {
        Self {
            cpu: thousandths(sample.cpu_percent),
            kib: kib(sample.memory_bytes),
            tree: TreeRow {
                cpu: thousandths(sample.tree_cpu_percent),
                kib: kib(sample.tree_memory_bytes),
                processes: sample.process_count.unwrap_or(UNKNOWN),
            },
            events,
            crashes,
            run,
            state: sample.state,
            covered_us: None,
        }
    }

    /// The values of a tree that consists of the process alone.
    pub(super) const fn tree_of_process(&self) -> TreeRow {
        let processes = if self.run == 0 {
            0
        } else if self.cpu != UNKNOWN || self.kib != UNKNOWN {
            1
        } else {
            UNKNOWN
        };
        TreeRow { cpu: self.cpu, kib: self.kib, processes }
    }
}

/// Trees that are those of the processes.
const OF_PROCESS: u8 = 0;
/// All values of trees are unknown.
const NO_TREES: u8 = 1;
/// Columns of their own.
const OWN_COLUMNS: u8 = 2;

/// Encodes rows; the reader has to know their number.
pub(super) fn encode_rows(rows: &[Row], out: &mut Encoder) {
    // An unknown value is 0, and the others are one more than they are.
    let mut gauge = |get: fn(&Row) -> u32| {
        out.column(rows.iter().map(|row| u64::from(get(row).wrapping_add(1))));
    };
    gauge(|row| row.cpu);
    gauge(|row| row.kib);
    let is_of_process = rows.iter().all(|row| row.tree == row.tree_of_process());
    let unknown = TreeRow { cpu: UNKNOWN, kib: UNKNOWN, processes: UNKNOWN };
    let is_unknown = rows.iter().all(|row| row.tree == unknown);
    out.int(u64::from(match (is_of_process, is_unknown) {
        (true, _) => OF_PROCESS,
        (false, true) => NO_TREES,
        (false, false) => OWN_COLUMNS,
    }));
    if !is_of_process && !is_unknown {
        let mut gauge = |get: fn(&Row) -> u32| {
            out.column(rows.iter().map(|row| u64::from(get(row).wrapping_add(1))));
        };
        gauge(|row| row.tree.cpu);
        gauge(|row| row.tree.kib);
        gauge(|row| row.tree.processes);
    }
    out.column(rows.iter().map(|row| row.events));
    out.column(rows.iter().map(|row| row.crashes));
    out.column(rows.iter().map(|row| row.run));
    out.column(rows.iter().map(|row| state_code(row.state)));
    out.column(rows.iter().map(|row| row.covered_us.map_or(0, |us| us.saturating_add(1))));
}

/// Decodes this many rows.
pub(super) fn decode_rows(count: usize, input: &mut Decoder<'_>) -> Option<Vec<Row>> {
    let (mut cpu, mut kib) = (input.column(count)?, input.column(count)?);
    let form = input.byte()?;
    let mut trees = match form {
        OF_PROCESS | NO_TREES => None,
        OWN_COLUMNS => Some([input.column(count)?, input.column(count)?, input.column(count)?]),
        _ => return None,
    };
    let (mut events, mut crashes) = (input.column(count)?, input.column(count)?);
    let (mut runs, mut states) = (input.column(count)?, input.column(count)?);
    let mut covered = input.column(count)?;
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        let mut row = Row {
            cpu: cpu.next_gauge()?,
            kib: kib.next_gauge()?,
            tree: TreeRow { cpu: UNKNOWN, kib: UNKNOWN, processes: UNKNOWN },
            events: events.next()?,
            crashes: crashes.next()?,
            run: runs.next()?,
            state: state_of(states.next()?)?,
            covered_us: covered.next()?.checked_sub(1),
        };
        match &mut trees {
            Some([cpu, kib, processes]) => {
                row.tree = TreeRow {
                    cpu: cpu.next_gauge()?,
                    kib: kib.next_gauge()?,
                    processes: processes.next_gauge()?,
                };
            }
            None if form == OF_PROCESS => row.tree = row.tree_of_process(),
            None => {}
        }
        rows.push(row);
    }
    Some(rows)
}

/// When a tick was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TickTime {
    /// Milliseconds since 1970. Never decreases in a store.
    pub at_ms: i64,
    /// Milliseconds on the boot clock.
    pub boot_ms: i64,
}

/// Encodes times; the reader has to know their number.
pub(super) fn encode_times(times: &[TickTime], out: &mut Encoder) {
    let Some(&first) = times.first() else { return };
    out.signed(first.at_ms);
    out.signed(first.boot_ms);
    let steps = times.windows(2);
    out.column(steps.clone().map(|pair| (pair[1].at_ms - pair[0].at_ms).max(0) as u64));
    // The two clocks go equally fast, apart from changes of one of them.
    let drift = |pair: &[TickTime]| {
        let of = |time: TickTime| time.boot_ms.wrapping_sub(time.at_ms);
        let drift = of(pair[1]).wrapping_sub(of(pair[0]));
        ((drift << 1) ^ (drift >> 63)) as u64
    };
    out.column(steps.map(drift));
}

/// Decodes this many times.
pub(super) fn decode_times(count: usize, input: &mut Decoder<'_>) -> Option<Vec<TickTime>> {
    let Some(steps) = count.checked_sub(1) else { return Some(Vec::new()) };
    let mut time = TickTime { at_ms: input.signed()?, boot_ms: input.signed()? };
    let (mut at, mut drifts) = (input.column(steps)?, input.column(steps)?);
    let mut times = Vec::with_capacity(count);
    times.push(time);
    for _ in 0..steps {
        let step = i64::try_from(at.next()?).ok()?;
        let drift = drifts.next()?;
        let drift = (drift >> 1) as i64 ^ -((drift & 1) as i64);
        time = TickTime {
            at_ms: time.at_ms.checked_add(step)?,
            boot_ms: time.boot_ms.checked_add(step)?.checked_add(drift)?,
        };
        times.push(time);
    }
    Some(times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::rows;

    #[test]
    fn rows_are_decoded_as_encoded() {
        for seed in (0..60).step_by(if cfg!(miri) { 13 } else { 1 }) {
            let rows = rows(seed, seed as usize);
            let mut out = Encoder::default();
            encode_rows(&rows, &mut out);
            let bytes = out.finish();
            let mut input = Decoder::new(&bytes).unwrap();
            assert_eq!(decode_rows(rows.len(), &mut input).unwrap(), rows);
            assert!(input.end(()).is_some());
        }
    }

    /// The layout of a file that earlier versions have written, by the form of trees.
    #[test]
    fn rows_have_exact_bytes() {
        let unknown = TreeRow { cpu: UNKNOWN, kib: UNKNOWN, processes: UNKNOWN };
        let row = Row {
            cpu: 9,
            kib: UNKNOWN,
            tree: unknown,
            events: 3,
            crashes: 1,
            run: 2,
            state: PluginState::Running,
            covered_us: Some(4),
        };
        let bytes = |tree: TreeRow| {
            let mut out = Encoder::default();
            encode_rows(&[Row { tree, ..row }], &mut out);
            out.into_bytes()
        };
        let rest = [3, 0, 1, 0, 2, 0, 2, 0, 5, 0];
        assert_eq!(bytes(row.tree_of_process()), [&[10, 0, 0, 0, 0][..], &rest].concat());
        assert_eq!(bytes(unknown), [&[10, 0, 0, 0, 1][..], &rest].concat());
        let own = TreeRow { cpu: 11, kib: 12, processes: 13 };
        assert_eq!(bytes(own), [&[10, 0, 0, 0, 2, 12, 0, 13, 0, 14, 0][..], &rest].concat());
        let of_form = |form: u8| {
            let bytes = [&[10, 0, 0, 0, form][..], &rest].concat();
            decode_rows(1, &mut Decoder::of_checked(&bytes))
        };
        assert_eq!(of_form(1), Some(vec![row]));
        assert_eq!(of_form(3), None);
    }

    #[test]
    fn tree_of_process_has_its_process() {
        let of = |run, cpu, kib| {
            let row = Row { run, cpu, kib, ..rows(0, 1)[0] };
            let TreeRow { cpu: tree_cpu, kib: tree_kib, processes } = row.tree_of_process();
            assert_eq!((tree_cpu, tree_kib), (cpu, kib));
            processes
        };
        assert_eq!((of(0, UNKNOWN, UNKNOWN), of(0, 1, 1)), (0, 0));
        assert_eq!((of(1, 0, UNKNOWN), of(1, UNKNOWN, 0), of(1, 0, 0)), (1, 1, 1));
        assert_eq!(of(1, UNKNOWN, UNKNOWN), UNKNOWN);
        assert_eq!((known(UNKNOWN), known(UNKNOWN - 1)), (None, Some(UNKNOWN - 1)));
    }

    #[test]
    fn units_are_thousandths_and_kib() {
        assert_eq!((thousandths(None), kib(None)), (UNKNOWN, UNKNOWN));
        assert_eq!((thousandths(Some(12.345)), thousandths(Some(0.0))), (12_345, 0));
        assert_eq!((kib(Some(2_047)), kib(Some(2_048))), (1, 2));
        assert_eq!(kib(Some(1 << 42)), UNKNOWN);
    }

    #[test]
    fn times_are_decoded_as_encoded() {
        let time = |at_ms, boot_ms| TickTime { at_ms, boot_ms };
        let lists = [
            vec![],
            vec![time(-5, 7)],
            vec![time(1_000, 50), time(6_000, 5_050), time(6_001, 5_049), time(20_000, 1 << 40)],
            vec![time(0, 1 << 60), time(1, 0)],
        ];
        for times in lists {
            let mut out = Encoder::default();
            encode_times(&times, &mut out);
            let bytes = out.finish();
            let mut input = Decoder::new(&bytes).unwrap();
            assert_eq!(decode_times(times.len(), &mut input).unwrap_or_default(), times);
        }
    }

    #[test]
    fn states_have_codes_of_their_own() {
        for state in PluginState::ALL {
            assert_eq!(state_of(state_code(state)), Some(state));
        }
        assert_eq!(state_of(7), None);
    }
}
