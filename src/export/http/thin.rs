//! A history of any length, in so many points at most.
//!
//! The points are buckets of ticks, of a size that is a power of two, and a bucket begins where the
//! number of a tick is a multiple of it. So the same samples are in the same bucket whenever they
//! are asked for, and a chart that is drawn anew moves on, but does not shimmer.

use std::time::SystemTime;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::model::json::{megabytes, timestamp, two};
use crate::{PluginState, RunId, Sample};

/// One bucket. What none of its samples knows is `None`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    /// Of the newest sample in it, and so are events, crashes, state and run.
    pub timestamp: SystemTime,
    /// The largest.
    pub cpu_percent: Option<f64>,
    pub cpu_average: Option<f64>,
    /// The largest.
    pub memory_bytes: Option<u64>,
    pub event_count: u64,
    pub crash_count: u64,
    pub state: PluginState,
    pub run: Option<RunId>,
}

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Point", 8)?;
        out.serialize_field("timestamp", &timestamp(self.timestamp))?;
        out.serialize_field("cpu_percent", &self.cpu_percent.map(two))?;
        out.serialize_field("cpu_average", &self.cpu_average.map(two))?;
        out.serialize_field("memory_mb", &self.memory_bytes.map(megabytes))?;
        out.serialize_field("event_count", &self.event_count)?;
        out.serialize_field("crash_count", &self.crash_count)?;
        out.serialize_field("state", &self.state)?;
        out.serialize_field("run", &self.run)?;
        out.end()
    }
}

/// Takes samples in order of time, and gives points.
#[derive(Debug)]
pub(super) struct Thinner {
    /// Ticks in a bucket: two to the power of this.
    shift: u32,
    /// How many buckets there may be besides those that begin at a multiple.
    room: usize,
    open: Option<Bucket>,
    /// The newest run that was seen.
    run: Option<RunId>,
}

#[derive(Debug)]
struct Bucket {
    /// Its number: that of its ticks over its size.
    number: u64,
    point: Point,
    cpu_sum: f64,
    cpu_count: u32,
}

impl Thinner {
    /// For the ticks from `oldest` to `newest`, in `points` at most. There may be none of them:
    /// `oldest` is one more then.
    pub(super) fn new(oldest: u64, newest: u64, points: usize) -> Self {
        let ticks = newest + 1 - oldest;
        // As many as there are wherever the first tick lies: the size is the same a tick later.
        let most = |shift: u32| match shift {
            0 => ticks,
            _ => ((ticks + (1 << shift) - 2) >> shift) + 1,
        };
        let shift = (0..u64::BITS - 1).find(|&shift| most(shift) <= points as u64);
        // With one point there is no such size: ticks that lie on both sides of a multiple.
        let shift = shift.unwrap_or(u64::BITS - 1);
        let buckets = (newest >> shift) + 1 - (oldest >> shift);
        let room = points.saturating_sub(buckets as usize);
        Self { shift, room, open: None, run: None }
    }

    /// Ticks in a bucket, but for those that a new run begins.
    pub(super) const fn size(&self) -> u64 {
        1 << self.shift
    }

    /// Takes the sample of a tick; gives the bucket that it ends, if it ends one.
    pub(super) fn take(&mut self, tick: u64, sample: &Sample<'_>) -> Option<Point> {
        let number = tick >> self.shift;
        let begins_run = sample.run.is_some() && sample.run != self.run;
        self.run = sample.run.or(self.run);
        match &mut self.open {
            Some(open) if open.number == number => {
                if !begins_run || self.room == 0 {
                    open.take(sample);
                    return None;
                }
                self.room -= 1;
            }
            Some(_) | None => {}
        }
        self.open.replace(Bucket::new(number, sample)).map(Bucket::close)
    }

    /// The last bucket.
    pub(super) fn finish(self) -> Option<Point> {
        self.open.map(Bucket::close)
    }
}

impl Bucket {
    fn new(number: u64, sample: &Sample<'_>) -> Self {
        let mut bucket = Self {
            number,
            point: Point {
                timestamp: sample.timestamp,
                cpu_percent: None,
                cpu_average: None,
                memory_bytes: None,
                event_count: 0,
                crash_count: 0,
                state: sample.state,
                run: None,
            },
            cpu_sum: 0.0,
            cpu_count: 0,
        };
        bucket.take(sample);
        bucket
    }

    fn take(&mut self, sample: &Sample<'_>) {
        let point = &mut self.point;
        point.timestamp = sample.timestamp;
        point.event_count = sample.event_count;
        point.crash_count = sample.crash_count;
        point.state = sample.state;
        point.run = sample.run;
        point.memory_bytes = point.memory_bytes.max(sample.memory_bytes);
        if let Some(cpu) = sample.cpu_percent {
            point.cpu_percent = Some(point.cpu_percent.map_or(cpu, |most| most.max(cpu)));
            self.cpu_sum += cpu;
            self.cpu_count += 1;
        }
    }

    fn close(mut self) -> Point {
        if self.cpu_count > 0 {
            self.point.cpu_average = Some(self.cpu_sum / f64::from(self.cpu_count));
        }
        self.point
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sample(tick: u64, run: Option<u64>, cpu: Option<f64>) -> Sample<'static> {
        Sample {
            timestamp: SystemTime::UNIX_EPOCH + Duration::from_secs(tick),
            plugin_name: "dice",
            version: None,
            pid: None,
            run: run.map(RunId),
            state: if run.is_some() { PluginState::Running } else { PluginState::Stopped },
            cpu_percent: cpu,
            memory_bytes: cpu.map(|cpu| cpu as u64),
            uptime: None,
            event_count: tick,
            crash_count: tick / 10,
        }
    }

    fn thinned(samples: &[(u64, Sample<'_>)], points: usize) -> Vec<Point> {
        let ends = samples.first().zip(samples.last());
        let Some(((oldest, _), (newest, _))) = ends else {
            return Vec::new();
        };
        let mut thinner = Thinner::new(*oldest, *newest, points);
        let mut out: Vec<_> =
            samples.iter().filter_map(|(tick, sample)| thinner.take(*tick, sample)).collect();
        out.extend(thinner.finish());
        out
    }

    fn ticks(from: u64, to: u64) -> Vec<(u64, Sample<'static>)> {
        (from..=to).map(|tick| (tick, sample(tick, Some(1), Some(tick as f64)))).collect()
    }

    /// The last tick of each point.
    fn ends(points: &[Point]) -> Vec<u64> {
        points.iter().map(|point| point.event_count).collect()
    }

    #[test]
    fn a_history_that_fits_is_left_as_it_is() {
        let samples = ticks(5, 14);
        let points = thinned(&samples, 10);
        assert_eq!(points.len(), 10);
        for ((_, sample), point) in samples.iter().zip(&points) {
            assert_eq!(point.timestamp, sample.timestamp);
            assert_eq!(point.cpu_percent, sample.cpu_percent);
            assert_eq!(point.cpu_average, sample.cpu_percent);
            assert_eq!(point.memory_bytes, sample.memory_bytes);
            assert_eq!((point.event_count, point.run), (sample.event_count, sample.run));
        }
    }

    #[test]
    fn a_history_without_a_sample_has_no_points() {
        for newest in [0, 7] {
            assert_eq!(Thinner::new(newest + 1, newest, 720).finish(), None);
        }
    }

    #[test]
    fn a_bucket_begins_at_a_multiple_of_its_size_which_is_the_smallest_power_of_two_that_fits() {
        // In twos there would be six of them: 5, 6-7, 8-9, 10-11, 12-13, 14.
        let points = thinned(&ticks(5, 14), 5);
        assert_eq!(ends(&points), [7, 11, 14]);
        let six = thinned(&ticks(5, 14), 6);
        assert_eq!(ends(&six), [5, 7, 9, 11, 13, 14]);
        let (first, last) = (&points[0], &points[2]);
        assert_eq!((first.cpu_percent, first.cpu_average), (Some(7.0), Some(6.0)));
        assert_eq!((last.memory_bytes, last.cpu_average), (Some(14), Some(13.0)));
    }

    #[test]
    fn a_tick_later_the_same_samples_are_in_the_same_buckets() {
        for points in [199, 200, 201, 202, 400] {
            let [now, later] = [100, 101].map(|first| thinned(&ticks(first, first + 799), points));
            let shared = &now[1..now.len() - 1];
            assert!(later.windows(shared.len()).any(|window| window == shared), "in {points}");
        }
    }

    #[test]
    fn there_are_never_more_points_than_asked_for_and_none_is_lost() {
        for (from, to) in [(1, 1), (1, 2), (7, 8), (1_023, 1_024), (1, 1_000), (999, 4_097)] {
            for most in [1, 2, 3, 10, 720] {
                let mut samples = ticks(from, to);
                for (tick, sample) in &mut samples {
                    sample.run = (*tick % 3 != 0).then_some(RunId(*tick / 5));
                }
                let points = thinned(&samples, most);
                assert!((1..=most).contains(&points.len()), "{from}..={to} in {most}");
                assert_eq!(points.last().unwrap().event_count, to);
                let largest = points.iter().filter_map(|point| point.memory_bytes).max();
                assert_eq!(largest, Some(to));
            }
        }
    }

    #[test]
    fn one_point_is_one_bucket_wherever_the_ticks_lie() {
        let most = u64::from(u32::MAX);
        for (from, to) in [(1, 1), (1_023, 1_024), (most, most + 1), (1, 1 << 62)] {
            let thinner = Thinner::new(from, to, 1);
            assert_eq!((from >> thinner.shift, thinner.room), (to >> thinner.shift, 0));
        }
    }

    #[test]
    fn a_new_run_begins_a_new_bucket_while_there_is_room() {
        // Buckets of four: 0-3, 4-7, 8-11; there may be five.
        let run = |tick| match tick {
            0..=4 => Some(1),
            5 => None,
            6 => Some(2),
            7..=9 => Some(3),
            _ => Some(4),
        };
        let samples: Vec<_> =
            (0..12).map(|tick| (tick, sample(tick, run(tick), Some(tick as f64)))).collect();
        assert_eq!(ends(&thinned(&samples, 5)), [3, 5, 6, 7, 11]);
        let four = thinned(&samples, 4);
        assert_eq!(ends(&four), [3, 5, 7, 11]);
        assert_eq!(four[1].run, None, "the newest sample of it has none");
        assert_eq!(four[2].run, Some(RunId(3)));
    }

    #[test]
    fn all_null_stays_null_and_what_is_unknown_enters_no_average() {
        let cpu = [None, None, None, Some(3.0), Some(6.0), None, None, Some(0.0)];
        let samples: Vec<_> =
            (0..8).zip(cpu).map(|(tick, cpu)| (tick, sample(tick, Some(1), cpu))).collect();
        let points = thinned(&samples, 5);
        let cpu: Vec<_> =
            points.iter().map(|point| (point.cpu_percent, point.cpu_average)).collect();
        assert_eq!(
            cpu,
            [(None, None), (Some(3.0), Some(3.0)), (Some(6.0), Some(6.0)), (Some(0.0), Some(0.0))]
        );
        assert_eq!(points[0].memory_bytes, None);
    }
}
