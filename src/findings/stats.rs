//! Order statistics.

/// The value at a share of the ranks of values in ascending order.
pub(super) fn quantile(sorted: &[f32], share: f32) -> f32 {
    sorted[((sorted.len() - 1) as f32 * share + 0.5) as usize]
}

/// The lower median, by way of a buffer; 0 without values.
pub(super) fn median(values: &[f32], buffer: &mut Vec<f32>) -> f32 {
    buffer.clear();
    buffer.extend_from_slice(values);
    median_in_place(buffer)
}

/// The lower median; 0 without values.
pub(super) fn median_in_place(values: &mut [f32]) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = (values.len() - 1) / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// 0 without values.
pub(super) fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len().max(1) as f64
}

/// The highest value; `f32::MIN` without values.
pub(super) fn max(values: &[f32]) -> f32 {
    reduce(values, f32::MIN, |a, b| if b > a { b } else { a })
}

/// The lowest value; `f32::MAX` without values.
pub(super) fn min(values: &[f32]) -> f32 {
    reduce(values, f32::MAX, |a, b| if b < a { b } else { a })
}

/// In eight lanes, because the compiler may not reorder comparisons of floats.
fn reduce(values: &[f32], nothing: f32, pick: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [nothing; 8];
    let (chunks, rest) = values.as_chunks::<8>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = pick(*lane, value);
        }
    }
    rest.iter().chain(&lanes).fold(nothing, |best, &value| pick(best, value))
}

/// The sums of points from which the squared distances of a line of least squares follow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineFit {
    n: f64,
    t: f64,
    x: f64,
    tt: f64,
    tx: f64,
    xx: f64,
}

impl LineFit {
    pub(super) fn add(&mut self, t: f64, x: f64) {
        self.n += 1.0;
        self.t += t;
        self.x += x;
        self.tt += t * t;
        self.tx += t * x;
        self.xx += x * x;
    }

    /// The sum of the squared distances of the points from their line.
    pub(super) fn residuals(&self) -> f64 {
        let Self { n, t, x, tt, tx, xx } = *self;
        let (tt, tx, xx) = (tt - t * t / n, tx - t * x / n, xx - x * x / n);
        xx - tx * tx / tt.max(1e-12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_of_sorted_values() {
        for n in 1..40u32 {
            let mut values: Vec<f32> =
                (0..n).map(|i| (i.wrapping_mul(7_919) % 31) as f32 - 12.0).collect();
            let found = (min(&values), max(&values), median(&values, &mut vec![9.0]));
            values.sort_by(f32::total_cmp);
            let last = values.len() - 1;
            assert_eq!(found, (values[0], values[last], values[last / 2]), "{n}");
            assert_eq!((quantile(&values, 0.0), quantile(&values, 1.0)), (values[0], values[last]));
        }
        assert_eq!((min(&[]), max(&[]), median(&[], &mut Vec::new())), (f32::MAX, f32::MIN, 0.0));
        let ranks: Vec<f32> = (0..11u8).map(f32::from).collect();
        // The nearest rank.
        let found = [0.04, 0.06, 0.5, 0.54, 0.56, 0.94, 0.96].map(|share| quantile(&ranks, share));
        assert_eq!(found, [0.0, 1.0, 5.0, 5.0, 6.0, 9.0, 10.0]);
    }
}
