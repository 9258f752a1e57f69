//! The levels of a series: what its last 9, 27 and 81 samples were at least, on the whole, and on
//! average.
//!
//! All levels are minima, medians of three and sums of shifted slices, so they are the same in every
//! snapshot, and the compiler vectorises them.

/// A series derived from the values, with one number for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// The values.
    Raw,
    /// Medians of medians of three: of 3, 9, 27, 81 values.
    Med3,
    Med9,
    Med27,
    Med81,
    /// The least of three neighbours: of values, and of medians of 3, 9, 27 values. The last of these is
    /// high only if each third of the last 81 values was.
    All3,
    All9,
    All27,
    All81,
    /// Means.
    Mean9,
    Mean27,
    Mean81,
}

const LEVELS: usize = 12;

impl Level {
    /// The values that each number is of.
    pub(super) const fn width(self) -> usize {
        match self {
            Self::Raw => 1,
            Self::Med3 | Self::All3 => 3,
            Self::Med9 | Self::All9 | Self::Mean9 => 9,
            Self::Med27 | Self::All27 | Self::Mean27 => 27,
            Self::Med81 | Self::All81 | Self::Mean81 => 81,
        }
    }
}

/// The levels of one series.
#[derive(Debug, Default)]
pub(super) struct Ladder {
    levels: [Vec<f32>; LEVELS],
    sums: Vec<f64>,
}

impl std::ops::Index<Level> for Ladder {
    type Output = [f32];

    fn index(&self, level: Level) -> &[f32] {
        &self.levels[level as usize]
    }
}

impl Ladder {
    /// Computes the levels of at most `widest` values; means only if they are needed.
    pub(super) fn fill(&mut self, values: &[f32], widest: usize, has_means: bool) {
        let Self { levels, sums } = self;
        // A result must not depend on the series before.
        levels.iter_mut().for_each(Vec::clear);
        let (medians, least) = levels.split_at_mut(Level::All3 as usize);
        medians[0].extend_from_slice(values);
        let mut lag = 1;
        for step in 0..4 {
            if lag * 3 > widest {
                break;
            }
            let (below, above) = medians.split_at_mut(step + 1);
            combine(&below[step], lag, &mut above[0], median_of_three);
            combine(&below[step], lag, &mut least[step], |a, b, c| lower(lower(a, b), c));
            lag *= 3;
        }
        if !has_means {
            return;
        }
        sums.clear();
        sums.push(0.0);
        let mut sum = 0.0;
        sums.extend(values.iter().map(|&value| {
            sum += f64::from(value);
            sum
        }));
        for level in [Level::Mean9, Level::Mean27, Level::Mean81] {
            let (width, out) = (level.width(), &mut levels[level as usize]);
            if width > widest {
                break;
            }
            let part = 1.0 / width as f64;
            out.extend(sums[1..].iter().take(width - 1).map(|&sum| (sum * part) as f32));
            if values.len() >= width {
                let ends = sums.iter().zip(&sums[width..]);
                out.extend(ends.map(|(from, to)| ((to - from) * part) as f32));
            }
        }
    }
}

/// No value is NaN: unlike those of `f32`, these two are one instruction each.
fn lower(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

fn higher(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

fn median_of_three(a: f32, b: f32, c: f32) -> f32 {
    higher(lower(a, b), lower(higher(a, b), c))
}

/// Combines each number of `below` with those one and two lags before it. Where there are not three,
/// the number itself.
fn combine(below: &[f32], lag: usize, out: &mut Vec<f32>, of: impl Fn(f32, f32, f32) -> f32) {
    let n = below.len();
    let first = (2 * lag).min(n);
    out.extend_from_slice(&below[..first]);
    if n > 2 * lag {
        let (a, b, c) = (&below[..n - 2 * lag], &below[lag..n - lag], &below[2 * lag..]);
        out.extend(a.iter().zip(b).zip(c).map(|((&a, &b), &c)| of(a, b, c)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: the median of medians of the value's neighbours.
    fn naive_median(values: &[f32], at: usize, width: usize) -> f32 {
        if width == 1 {
            return values[at];
        }
        let lag = width / 3;
        let mut three = [0, lag, 2 * lag].map(|back| naive_median(values, at - back, lag));
        three.sort_by(f32::total_cmp);
        three[1]
    }

    #[test]
    fn levels_follow_their_definitions() {
        let n = if cfg!(miri) { 120 } else { 400u32 };
        let values: Vec<f32> = (0..n).map(|i| (i.wrapping_mul(7919) % 101) as f32).collect();
        let mut ladder = Ladder::default();
        ladder.fill(&values, 81, true);
        for (median, least, mean) in [
            (Level::Med9, Level::All9, Level::Mean9),
            (Level::Med27, Level::All27, Level::Mean27),
            (Level::Med81, Level::All81, Level::Mean81),
        ] {
            let width = median.width();
            for at in (width - 1..values.len()).step_by(if cfg!(miri) { 11 } else { 1 }) {
                assert_eq!(ladder[median][at], naive_median(&values, at, width));
                let thirds = [0, 1, 2]
                    .map(|third| naive_median(&values, at - third * (width / 3), width / 3));
                assert_eq!(ladder[least][at], thirds.into_iter().fold(f32::MAX, f32::min));
                let sum: f32 = values[at + 1 - width..=at].iter().sum();
                assert!((ladder[mean][at] - sum / width as f32).abs() < 1e-3);
            }
        }
    }

    /// Before a level of means has its width of values, those that are missing count as 0.
    #[test]
    fn short_series_have_all_levels() {
        let mut ladder = Ladder::default();
        for n in (0..90).step_by(if cfg!(miri) { 7 } else { 1 }) {
            let values: Vec<f32> = (0..n).map(|i| (i * 37 % 11) as f32).collect();
            ladder.fill(&values, 81, true);
            for level in [Level::Med3, Level::Med81, Level::All9, Level::All81, Level::Mean81] {
                assert_eq!(ladder[level].len(), values.len(), "{level:?}");
            }
            let mut sum = 0.0;
            for (at, value) in values.iter().enumerate().take(81) {
                sum += value;
                let means = [(Level::Mean27, 27), (Level::Mean81, 81)];
                for (level, width) in means.into_iter().filter(|&(_, width)| at < width) {
                    let expected = sum / width as f32;
                    assert!((ladder[level][at] - expected).abs() < 1e-3, "{level:?}: {at}");
                }
            }
        }
    }

    #[test]
    fn narrow_ladder_has_no_wide_levels() {
        let mut ladder = Ladder::default();
        ladder.fill(&[1.0; 100], 81, true);
        ladder.fill(&[2.0; 100], 9, false);
        assert_eq!(ladder[Level::All9], [2.0; 100]);
        assert!(ladder[Level::All27].is_empty() && ladder[Level::Mean9].is_empty());
    }
}
