//! A sketch of values from which ranks can be told: DDSketch.
//!
//! Masson, Rim, Lee: "DDSketch: A fast and fully-mergeable quantile sketch with relative-error guarantees",
//! VLDB 2019. Values are counted in buckets whose bounds grow by a constant factor; the value of a bucket
//! is within [`RELATIVE_ERROR`] of each value in it. Two sketches are merged by adding their counts, which
//! loses nothing. Ranks are counted by this crate's definition, which interpolates nothing.

use super::codec::{Decoder, Encoder};

/// The largest error of a value that a sketch returns, as a part of it.
pub(super) const RELATIVE_ERROR: f64 = 0.01;

/// The ratio of the bounds of a bucket.
const GAMMA: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);

/// How often values occurred, by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sketch {
    /// Each bucket's key and count, by key. Zero has a key of its own.
    counts: Vec<(i16, u64)>,
}

/// The key of values that are zero.
const ZERO: i16 = i16::MIN;

fn key_of(value: u64) -> i16 {
    if value == 0 {
        return ZERO;
    }
    // At most 2,219 for the largest integer.
    ((value as f64).ln() / GAMMA.ln()).ceil() as i16
}

/// The value of a bucket: between its bounds, with the same relative distance from both.
fn value_of(key: i16) -> f64 {
    if key == ZERO { 0.0 } else { 2.0 * GAMMA.powi(i32::from(key)) / (1.0 + GAMMA) }
}

impl Sketch {
    pub(super) fn add(&mut self, value: u64) {
        let key = key_of(value);
        match self.counts.binary_search_by_key(&key, |&(key, _)| key) {
            Ok(at) => self.counts[at].1 += 1,
            Err(at) => {
                if self.counts.is_empty() {
                    // As many as a minute usually has samples.
                    self.counts.reserve(12);
                }
                self.counts.insert(at, (key, 1));
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let merged = Vec::with_capacity(self.counts.len() + other.counts.len());
        let own = std::mem::replace(&mut self.counts, merged);
        let (mut own, mut others) =
            (own.into_iter().peekable(), other.counts.iter().copied().peekable());
        let next_key = |next: Option<&(i16, u64)>| next.map_or(i32::MAX, |&(key, _)| key.into());
        loop {
            let key = next_key(own.peek()).min(next_key(others.peek()));
            let take = |from: Option<(i16, u64)>| from.map_or(0, |(_, count)| count);
            let count = take(own.next_if(|&(own, _)| i32::from(own) == key))
                .saturating_add(take(others.next_if(|&(other, _)| i32::from(other) == key)));
            match i16::try_from(key) {
                Ok(key) => self.counts.push((key, count)),
                Err(_) => break,
            }
        }
    }

    fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, &(_, count)| sum.saturating_add(count))
    }

    /// The value at the rank of [`p95`](crate::Summary::p95); `None` without values.
    pub(super) fn p95(&self) -> Option<f64> {
        let count = self.count();
        let rank = (u128::from(count) * 95 / 100).min(u128::from(count.checked_sub(1)?));
        let mut before = 0_u128;
        let at_rank = |(_, count): &&(i16, u64)| {
            before += u128::from(*count);
            before > rank
        };
        self.counts.iter().find(at_rank).map(|&(key, _)| value_of(key))
    }

    /// Each bucket as the distance of its key to the one before, and its count unless that is 1.
    pub(super) fn encode(&self, out: &mut Encoder) {
        out.int(self.counts.len() as u64);
        let mut previous = i64::from(ZERO);
        for &(key, count) in &self.counts {
            let step = (i64::from(key) - previous) as u64;
            out.int(step << 1 | u64::from(count != 1));
            if count != 1 {
                out.int(count);
            }
            previous = key.into();
        }
    }

    pub(super) fn decode(input: &mut Decoder<'_>) -> Option<Self> {
        let mut counts = Vec::new();
        let mut key = i64::from(ZERO);
        for nth in 0..input.count()? {
            let head = input.int()?;
            let step = i64::try_from(head >> 1).ok()?;
            // Keys ascend.
            if step < i64::from(nth > 0) {
                return None;
            }
            key = key.checked_add(step)?;
            let count = if head & 1 == 0 { 1 } else { input.int()? };
            counts.push((i16::try_from(key).ok()?, count));
        }
        Some(Self { counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut values: Vec<u64>) {
        let mut sketch = Sketch::default();
        let mut halves = [Sketch::default(), Sketch::default()];
        for (i, &value) in values.iter().enumerate() {
            sketch.add(value);
            halves[i % 2].add(value);
        }
        values.sort_unstable();
        let exact = values[(values.len() * 95 / 100).min(values.len() - 1)] as f64;
        let p95 = sketch.p95().unwrap();
        let error = (p95 - exact).abs();
        assert!(error <= exact * RELATIVE_ERROR * (1.0 + 1e-9), "{p95} for {exact}");
        let [mut merged, other] = halves;
        merged.merge(&other);
        assert_eq!(merged, sketch);
        let mut out = Encoder::default();
        sketch.encode(&mut out);
        let bytes = out.finish();
        let mut input = Decoder::new(&bytes).unwrap();
        assert_eq!(Sketch::decode(&mut input).unwrap(), sketch);
        assert!(input.end(()).is_some());
    }

    #[test]
    fn p95_is_within_relative_error_of_exact_rank() {
        check(vec![0]);
        check(vec![7]);
        check(vec![0, 0, 0, u64::MAX]);
        for len in [2, 19, 20, 21, 40, 1_000] {
            check((0..len).collect());
            check((0..len).map(|i| i * i * i + 1).collect());
            check((0..len).map(|i| 1 << (i % 60)).collect());
        }
    }

    #[test]
    fn empty_sketch_has_no_rank() {
        assert_eq!(Sketch::default().p95(), None);
    }
}
