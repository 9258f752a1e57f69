//! A sketch of values from which ranks can be told: DDSketch.
//!
//! Masson, Rim, Lee: "DDSketch: A fast and fully-mergeable quantile sketch with relative-error guarantees",
//! VLDB 2019. Values are counted in buckets whose bounds grow by a constant factor; the value of a bucket
//! is within [`RELATIVE_ERROR`] of each value in it. Two sketches are merged by adding their counts, which
//! loses nothing. Ranks are counted by this crate's definition, which interpolates nothing.

use std::sync::LazyLock;

use super::bits::{BitReader, BitWriter};

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
const ZERO: i16 = -1;

/// The number of octaves: powers of two.
const OCTAVES: usize = u64::BITS as usize;

/// The upper bounds of buckets.
struct Bounds {
    /// By key.
    bounds: Vec<f64>,
    /// The first key of each octave, and one more than the last of all.
    octaves: [usize; OCTAVES + 1],
}

/// Multiplied one by one: logarithms and powers are not rounded equally on all platforms, and keys are derived
/// from values that are read.
static BOUNDS: LazyLock<Bounds> = LazyLock::new(|| {
    let mut bounds = vec![1.0];
    let mut octaves = [0; OCTAVES + 1];
    let mut begin = 1.0;
    for first in &mut octaves {
        while bounds.last().is_some_and(|&bound| bound < begin) {
            let last = bounds.last().copied().unwrap_or(1.0);
            bounds.push(last * GAMMA);
        }
        *first = bounds.len() - 1;
        begin *= 2.0;
    }
    Bounds { bounds, octaves }
});

/// The key of the lowest bucket whose bound is not below the value.
fn key_of(value: u64) -> i16 {
    let Some(octave) = value.checked_ilog2() else { return ZERO };
    let Bounds { bounds, octaves } = &*BOUNDS;
    let (first, last) = (octaves[octave as usize], octaves[octave as usize + 1]);
    let value = value as f64;
    // At most 2,218 for the largest integer.
    (first + bounds[first..last].partition_point(|&bound| bound < value)) as i16
}

/// The value of a bucket: between its bounds, with the same relative distance from both.
fn value_of(key: i16) -> f64 {
    let bound = usize::try_from(key).ok().and_then(|key| BOUNDS.bounds.get(key));
    bound.map_or(0.0, |bound| 2.0 * bound / (1.0 + GAMMA))
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

    pub(super) fn clear(&mut self) {
        self.counts.clear();
    }

    /// Writes the number of buckets, the keys between the first and the last, and the counts. The reader has
    /// the number of values, and computes the outer keys from the smallest and the largest value.
    pub(super) fn encode(&self, out: &mut BitWriter) {
        let (Some(&(first, _)), Some(&(last, _))) = (self.counts.first(), self.counts.last())
        else {
            return;
        };
        if first == last {
            return;
        }
        let mut values = self.count();
        let mut buckets = self.counts.len() as u64;
        out.put_up_to(buckets - 2, max_buckets(values, first, last) - 2);
        let inner = &self.counts[1..self.counts.len() - 1];
        put_keys(out, inner, i64::from(first) + 1, i64::from(last) - 1);
        for &(_, count) in &self.counts[..self.counts.len() - 1] {
            buckets -= 1;
            // Each of the others has at least one.
            out.put_gamma(count, values - buckets);
            values -= count;
        }
    }

    /// The opposite of [`encode`](Self::encode).
    pub(super) fn decode(
        input: &mut BitReader<'_>,
        mut values: u64,
        min: u64,
        max: u64,
    ) -> Option<Self> {
        if values == 0 {
            return Some(Self::default());
        }
        let (first, last) = (key_of(min), key_of(max));
        if first == last {
            return Some(Self { counts: vec![(first, values)] });
        }
        let most = max_buckets(values, first, last).checked_sub(2)?;
        let mut buckets = input.take_up_to(most)? + 2;
        let mut counts = Vec::with_capacity(usize::try_from(buckets).ok()?);
        counts.push((first, 0));
        let inner = usize::try_from(buckets).ok()? - 2;
        take_keys(input, inner, i64::from(first) + 1, i64::from(last) - 1, &mut counts)?;
        for (_, count) in &mut counts {
            buckets -= 1;
            *count = input.take_gamma(values - buckets)?;
            values -= *count;
        }
        counts.push((last, values));
        Some(Self { counts })
    }
}

/// How many buckets there can be between two different ones, with these: as many as values, and as keys. Less
/// than 2 if there are none.
fn max_buckets(values: u64, first: i16, last: i16) -> u64 {
    u64::try_from(i64::from(last) - i64::from(first) + 1).unwrap_or(0).min(values)
}

/// Keys in ascending order, from `low` to `high`: the middle one, in as many bits as there is room for it
/// between the others, then those on both sides of it.
///
/// Moffat, Stuiver: "Binary interpolative coding for effective index compression", Information Retrieval 3, 2000.
fn put_keys(out: &mut BitWriter, keys: &[(i16, u64)], low: i64, high: i64) {
    let at = keys.len() / 2;
    let Some(&(key, _)) = keys.get(at) else { return };
    let key = i64::from(key);
    let (lowest, highest) = room(keys.len(), low, high);
    out.put_up_to((key - lowest) as u64, (highest - lowest) as u64);
    put_keys(out, &keys[..at], low, key - 1);
    put_keys(out, &keys[at + 1..], key + 1, high);
}

/// The opposite of [`put_keys`].
fn take_keys(
    input: &mut BitReader<'_>,
    count: usize,
    low: i64,
    high: i64,
    keys: &mut Vec<(i16, u64)>,
) -> Option<()> {
    if count == 0 {
        return Some(());
    }
    let (lowest, highest) = room(count, low, high);
    let key = lowest + input.take_up_to(u64::try_from(highest - lowest).ok()?)? as i64;
    let at = count / 2;
    take_keys(input, at, low, key - 1, keys)?;
    keys.push((i16::try_from(key).ok()?, 0));
    take_keys(input, count - at - 1, key + 1, high, keys)
}

/// Where the middle one of so many keys can be.
const fn room(count: usize, low: i64, high: i64) -> (i64, i64) {
    let at = count / 2;
    (low + at as i64, high - (count - at - 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::codec::{Decoder, Encoder};

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
        let (min, max) = (values[0], values[values.len() - 1]);
        let bytes = encode(&sketch);
        let mut input = Decoder::of_checked(&bytes).bits().unwrap();
        let decoded = Sketch::decode(&mut input, values.len() as u64, min, max);
        assert_eq!(decoded.unwrap(), sketch);
        assert!(input.end(()).is_some());
    }

    fn encode(sketch: &Sketch) -> Vec<u8> {
        let mut bits = BitWriter::default();
        sketch.encode(&mut bits);
        let mut out = Encoder::default();
        out.bits(bits);
        out.into_bytes()
    }

    /// The definition: the bound of a bucket is a power of the factor.
    #[test]
    fn key_is_of_the_bucket_with_the_value() {
        let powers = (0..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1_u64 << bit) + 1]);
        for value in (1..3_000).chain(powers).chain([u64::MAX - 1, u64::MAX]).filter(|&v| v > 0) {
            let key = key_of(value);
            let exact = (value as f64).ln() / GAMMA.ln();
            let (low, high) = (f64::from(key) - 1.0 - 1e-9, f64::from(key) + 1e-9);
            assert!(low < exact && exact <= high, "{value}: {key} for {exact}");
            let error = (value_of(key) - value as f64).abs() / value as f64;
            assert!(error <= RELATIVE_ERROR * (1.0 + 1e-9), "{value}: {error}");
        }
        assert_eq!((key_of(0), key_of(1), key_of(u64::MAX)), (ZERO, 0, 2_218));
        assert_eq!((value_of(ZERO), value_of(i16::MAX)), (0.0, 0.0));
    }

    #[test]
    fn few_buckets_take_few_bytes() {
        let len = |values: &[u64]| {
            let mut sketch = Sketch::default();
            values.iter().for_each(|&value| sketch.add(value));
            encode(&sketch).len() - 1
        };
        assert_eq!(len(&[]), 0);
        assert_eq!(len(&[50_000; 700]), 0);
        // Four bits for the number of buckets, and seven for the count of the first.
        assert_eq!(len(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]), 2);
        // Each value in a bucket of its own.
        let spread: Vec<u64> = (1..=12).map(|i| i * 8_000).collect();
        assert_eq!(len(&spread), 8);
    }

    /// The layout of a file that earlier versions have written.
    #[test]
    fn keys_have_exact_bits() {
        let mut sketch = Sketch::default();
        [0, 1, 2, 3, 13].iter().for_each(|&value| sketch.add(value));
        let keys: Vec<i16> = sketch.counts.iter().map(|&(key, _)| key).collect();
        assert_eq!(keys, [ZERO, 0, 35, 55, 129]);
        // Five buckets of five values: 3 more than two, in two bits. The middle key from 1 to 127, the one
        // below it from 0 to 34, the one above it from 36 to 128. Each count is 1, which takes no bits.
        let bits = 3 | (35 - 1) << 2 | (55 - 36) << (2 + 7 + 6);
        assert_eq!(encode(&sketch), [&[3], &u32::to_le_bytes(bits)[..3]].concat());
    }

    /// No bits lead to a panic, and those that are accepted are of as many values.
    #[test]
    fn other_bits_are_refused_or_a_sketch() {
        let mut state = 1_u64;
        let mut refused = 0;
        for round in 0..if cfg!(miri) { 100 } else { 20_000_u64 } {
            let bytes: [u8; 12] = std::array::from_fn(|_| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(round | 1);
                (state >> 56) as u8
            });
            let mut out = Encoder::default();
            let mut bits = BitWriter::default();
            bytes.iter().for_each(|&byte| bits.put(byte.into(), 8));
            out.bits(bits);
            let bytes = out.into_bytes();
            let mut input = Decoder::of_checked(&bytes).bits().unwrap();
            let (values, min) = (round % 40, round % 7 * 300);
            let max = min + round % 11 * 500;
            match Sketch::decode(&mut input, values, min, max) {
                Some(sketch) => {
                    assert_eq!(sketch.count(), values);
                    assert!(sketch.counts.windows(2).all(|pair| pair[0].0 < pair[1].0));
                    assert!(sketch.counts.iter().all(|&(_, count)| count > 0));
                }
                None => refused += 1,
            }
        }
        assert!(refused > if cfg!(miri) { 10 } else { 1_000 }, "{refused}");
        // The largest below the smallest; two values in no two buckets.
        let none = || BitReader::default();
        assert_eq!(Sketch::decode(&mut none(), 5, 9_000, 3), None);
        assert_eq!(Sketch::decode(&mut none(), 1, 3, 9_000), None);
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
