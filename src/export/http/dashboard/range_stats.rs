//! The numbers beside the charts.

use super::super::history_range::HistoryRange;
use crate::format::shown::Shown;
use crate::{PluginView, Summary};

/// Aggregates of the shown range.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::export::http) struct RangeStats {
    pub sample_count: u64,
    /// Average, minimum, p95 and maximum, in percent of one core.
    pub cpu: Option<[f64; 4]>,
    /// The same, in bytes.
    pub memory: Option<[f64; 4]>,
    pub events: u64,
    pub events_per_second: f64,
}

impl RangeStats {
    pub(super) fn of(view: PluginView<'_>, range: HistoryRange) -> Self {
        if range.zoom.is_some() { Self::of_zoom(view, range) } else { Self::of_window(view, range) }
    }

    fn of_window(view: PluginView<'_>, range: HistoryRange) -> Self {
        let Some(all) = view.aggregates(range.window) else {
            return Self::default();
        };
        let shown = Shown::of(view.snapshot());
        Self {
            sample_count: all.sample_count as u64,
            cpu: shown.value(all.cpu, all.tree_cpu).map(numbers),
            memory: shown.value(all.memory, all.tree_memory).map(numbers),
            events: all.events,
            events_per_second: all.events_per_second,
        }
    }

    /// As aggregates define them. The library computes these for windows only, which end at the newest
    /// tick.
    fn of_zoom(view: PluginView<'_>, range: HistoryRange) -> Self {
        let shown = Shown::of(view.snapshot());
        let (first, samples) = range.samples(view);
        let (mut cpu, mut memory) = (Vec::new(), Vec::new());
        let mut ends = None;
        let sample_count = samples.len() as u64;
        let seconds =
            view.recorded_time(first, first + sample_count.saturating_sub(1)).as_secs_f64();
        for sample in samples {
            cpu.extend(shown.value(sample.cpu_percent, sample.tree_cpu_percent));
            memory.extend(shown.sample_memory(&sample).map(|bytes| bytes as f64));
            let count = sample.event_count;
            ends = Some((ends.map_or(count, |(before, _)| before), count));
        }
        let events = ends.map_or(0, |(before, count): (u64, u64)| count.saturating_sub(before));
        Self {
            sample_count,
            cpu: summary(cpu),
            memory: summary(memory),
            events,
            events_per_second: if seconds > 0.0 { events as f64 / seconds } else { 0.0 },
        }
    }
}

const fn numbers(all: Summary) -> [f64; 4] {
    [all.avg, all.min, all.p95, all.max]
}

fn summary(mut values: Vec<f64>) -> Option<[f64; 4]> {
    values.sort_unstable_by(f64::total_cmp);
    let (count, (&min, &max)) = (values.len(), values.first().zip(values.last())?);
    let avg = values.iter().sum::<f64>() / count as f64;
    Some([avg, min, values[(count * 95 / 100).min(count - 1)], max])
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::testing::{Simulation, Usage};
    use crate::{Config, Window};

    /// A zoom to the whole history has the numbers of the window.
    #[test]
    fn zoom_has_the_aggregates_of_the_library() {
        let mut sim = Simulation::new(Config::default()).unwrap();
        let dice = sim.register("dice").unwrap();
        dice.started(17, "");
        let mut cpu_time = Duration::ZERO;
        for tick in 0..150_u64 {
            cpu_time += Duration::from_millis(tick * 7_919 % 499);
            dice.events().add(tick % 5);
            sim.tick(|_| Usage { cpu_time, memory_bytes: (10 + tick % 13) << 20 });
        }
        let snapshot = sim.snapshot();
        let view = snapshot.plugin("dice").unwrap();
        let window = HistoryRange { window: Window::All, zoom: None };
        let all = snapshot.sampled_at() + Duration::from_secs(1);
        let zoom = |from, to| HistoryRange { window: Window::All, zoom: Some([from, to]) };
        let (one, other) =
            (RangeStats::of(view, window), RangeStats::of(view, zoom(UNIX_EPOCH, all)));
        assert_eq!((one.sample_count, one.events), (other.sample_count, other.events));
        assert_eq!(one.memory, other.memory);
        let (one_cpu, other_cpu) = (one.cpu.unwrap(), other.cpu.unwrap());
        let percentages = |all: [f64; 4]| all.map(|cpu| (cpu * 10.0).round());
        assert_eq!(percentages(one_cpu), percentages(other_cpu));
        assert!((one.events_per_second - other.events_per_second).abs() < 0.01);

        // The last ten of them, and none.
        let from = snapshot.sampled_at() - Duration::from_secs(45);
        let ten = RangeStats::of(view, zoom(from, snapshot.sampled_at()));
        assert_eq!(ten.sample_count, 10);
        let (tick, samples) = zoom(from, snapshot.sampled_at()).samples(view);
        assert_eq!((tick, samples.len()), (141, 10));
        assert_eq!(
            RangeStats::of(view, zoom(UNIX_EPOCH, from - Duration::from_secs(3_600))).cpu,
            None
        );
    }
}
