//! The newest hour of one plugin as columns, in samples of at least five seconds.

use std::time::{Duration, SystemTime};

use super::finding::Onset;
use crate::{PluginView, Run};

/// Samples that are judged: the newest hour at the default interval.
const MAX_SAMPLES: usize = 720;
/// Shorter intervals are merged into samples of at least this length, so that the rules' spans, which
/// are counted in samples, stay the same times.
const SHORTEST_SAMPLE: Duration = Duration::from_secs(5);
/// From here on an integer in the columns of CPU and memory is not a value.
const UNKNOWN: u32 = u32::MAX - 1;

/// Samples in a minute, at the default interval.
pub(super) const MINUTE: usize = 12;

/// Buffers for the columns of a plugin.
#[derive(Debug, Default)]
pub(super) struct ColumnBuffers {
    ticks: [Vec<u32>; 5],
    samples: [Vec<u32>; 5],
}

/// The judged samples of one plugin, oldest first.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    view: PluginView<'a>,
    /// Thousandths of a percent of one core.
    pub cpu: &'a [u32],
    pub kib: &'a [u32],
    /// In this sample.
    pub events: &'a [u32],
    /// Of each tick, not of each sample.
    pub tick_crashes: &'a [u32],
    pub crashes: &'a [u32],
    /// The key of the run; 0 without one.
    pub run: &'a [u32],
    /// Number of the oldest sample since the collector's start. What is thinned out or summed by the
    /// minute goes by these numbers, so that it is the same in every snapshot.
    pub first: u64,
    /// Samples of the run of the oldest sample before it.
    pub age: usize,
    /// Seconds per sample.
    pub seconds: f64,
    first_tick: u64,
    ticks: usize,
    ticks_per_sample: u64,
}

/// Whether an integer of the columns of CPU or memory is a value.
pub(super) const fn is_known(value: u32) -> bool {
    value < UNKNOWN
}

impl<'a> Columns<'a> {
    pub(super) fn read(view: PluginView<'a>, buffers: &'a mut ColumnBuffers) -> Self {
        let interval = view.snapshot().poll_interval();
        let nanos = interval.as_nanos().max(1);
        let per_sample = u64::try_from(SHORTEST_SAMPLE.as_nanos().div_ceil(nanos)).unwrap_or(1);
        let ColumnBuffers { ticks, samples } = buffers;
        ticks.iter_mut().for_each(Vec::clear);
        let max = (MAX_SAMPLES as u64 + 1).saturating_mul(per_sample) - 1;
        let first_tick = view.append_columns(max, ticks);
        let tick_count = ticks[0].len();
        let first = if per_sample == 1 {
            std::mem::swap(ticks, samples);
            first_tick
        } else {
            merge(ticks, samples, first_tick, per_sample)
        };
        let tick_crashes = if per_sample == 1 { &samples[3] } else { &ticks[3] };
        let [cpu, kib, events, crashes, run] = &*samples;
        let seconds = interval.as_secs_f64() * per_sample as f64;
        let mut columns = Self {
            view,
            cpu,
            kib,
            events,
            tick_crashes,
            crashes,
            run,
            first,
            age: 0,
            seconds,
            first_tick,
            ticks: tick_count,
            ticks_per_sample: per_sample,
        };
        columns.age = columns.age_of_first_run();
        columns
    }

    fn age_of_first_run(&self) -> usize {
        let run = self.run.first().and_then(|&key| self.view.run_with_key(key));
        let Some(run) = run else { return 0 };
        let age = self.time(0).duration_since(run.reported_at).unwrap_or_default();
        (age.as_secs_f64() / self.seconds) as usize
    }

    pub(super) const fn view(&self) -> PluginView<'a> {
        self.view
    }

    pub(super) const fn len(&self) -> usize {
        self.run.len()
    }

    pub(super) fn run_of(&self, sample: usize) -> Option<&'a Run> {
        let key = *self.run.get(sample)?;
        self.view.run_with_key(key).filter(|_| key > 0)
    }

    /// The time from the oldest tick that was read to the newest, short intervals included that do not
    /// make a sample yet.
    pub(super) fn span(&self) -> Duration {
        let intervals = self.ticks.saturating_sub(1) as f64 / self.ticks_per_sample as f64;
        Duration::try_from_secs_f64(intervals * self.seconds).unwrap_or_default()
    }

    /// The time of the first tick of a sample.
    pub(super) fn time(&self, sample: usize) -> SystemTime {
        self.tick_time((self.first + sample as u64) * self.ticks_per_sample)
    }

    /// The time of an element of [`tick_crashes`](Self::tick_crashes).
    pub(super) fn crash_time(&self, index: usize) -> SystemTime {
        self.tick_time(self.first_tick + index as u64)
    }

    fn tick_time(&self, tick: u64) -> SystemTime {
        let newest = self.view.snapshot().sampled_at();
        self.view.time_of_tick(tick).unwrap_or(newest)
    }

    /// The onset of what holds from this sample on. What holds from the oldest one on began earlier, if
    /// the run did.
    pub(super) fn onset(&self, sample: usize) -> Onset {
        let at = self.time(sample);
        if sample == 0 && self.age > 0 { Onset::Before(at) } else { Onset::At(at) }
    }
}

/// Merges ticks into samples: the mean of CPU, the last known memory, the sums of counters, the last
/// run. Samples begin at multiples of their length, and incomplete ones are left out, so that a tick
/// belongs to the same sample in every snapshot. Returns the number of the first sample.
fn merge(
    ticks: &[Vec<u32>; 5],
    samples: &mut [Vec<u32>; 5],
    first_tick: u64,
    per_sample: u64,
) -> u64 {
    samples.iter_mut().for_each(Vec::clear);
    let [cpu, kib, events, crashes, run] = ticks;
    let [out_cpu, out_kib, out_events, out_crashes, out_run] = samples;
    let first = first_tick.div_ceil(per_sample);
    let skipped = (first * per_sample - first_tick) as usize;
    let len = per_sample as usize;
    for start in (skipped..).step_by(len).take_while(|start| start + len <= run.len()) {
        let ticks = start..start + len;
        let (mut sum, mut count) = (0u64, 0u64);
        for &share in cpu[ticks.clone()].iter().filter(|&&share| is_known(share)) {
            sum += u64::from(share);
            count += 1;
        }
        out_cpu.push(sum.checked_div(count).map_or(u32::MAX, |mean| mean as u32));
        let newest = kib[ticks.clone()].iter().rfind(|&&kib| is_known(kib));
        out_kib.push(newest.copied().unwrap_or(u32::MAX));
        let total = |column: &[u32]| {
            column[ticks.clone()].iter().fold(0u32, |sum, &added| sum.saturating_add(added))
        };
        out_events.push(total(events));
        out_crashes.push(total(crashes));
        out_run.push(run[ticks.end - 1]);
    }
    first
}
