//! A column of integers in whole bytes: a base, and the distance of each value from it.

use std::ops::Range;

use super::metric::FIRST_MISSING;

/// Bytes of one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// All values are the base.
    Zero,
    One,
    Two,
    Four,
}

impl Width {
    /// Bits that hold a width.
    const BITS: usize = 2;

    /// The narrowest width for codes up to `largest`.
    const fn of(largest: u32) -> Self {
        match largest {
            0 => Self::Zero,
            1..=0xff => Self::One,
            0x100..=0xffff => Self::Two,
            _ => Self::Four,
        }
    }

    const fn bytes(self) -> usize {
        (1 << self as usize) >> 1
    }
}

/// The widths of up to eight columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Widths(u16);

impl Widths {
    const fn get(self, n: usize) -> Width {
        match (self.0 >> (n * Width::BITS)) & 3 {
            0 => Width::Zero,
            1 => Width::One,
            2 => Width::Two,
            _ => Width::Four,
        }
    }

    const fn set(&mut self, n: usize, width: Width) {
        self.0 |= (width as u16) << (n * Width::BITS);
    }
}

/// `N` columns of the same length: their codes lie one after the other in a vector of bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByteColumns<const N: usize> {
    /// Where the codes begin.
    start: u32,
    widths: Widths,
    bases: [u32; N],
}

impl<const N: usize> ByteColumns<N> {
    /// Packs `columns`, and appends the codes to `data`.
    pub(super) fn pack<const LEN: usize>(columns: &[[u32; LEN]; N], data: &mut Vec<u8>) -> Self {
        let start = data.len() as u32;
        let mut packed = Self { start, widths: Widths::default(), bases: [0; N] };
        for (n, values) in columns.iter().enumerate() {
            let (base, width) = pack(values, data);
            packed.bases[n] = base;
            packed.widths.set(n, width);
        }
        packed
    }

    /// The `n`th column, of `len` values.
    pub(super) fn column<'a>(&self, n: usize, len: usize, data: &'a [u8]) -> ByteColumn<'a> {
        let bytes_before: usize = (0..n).map(|n| self.widths.get(n).bytes()).sum();
        let width = self.widths.get(n);
        let start = self.start as usize + bytes_before * len;
        let codes = &data[start..start + width.bytes() * len];
        ByteColumn { base: self.bases[n], width, len, codes }
    }

    /// The `k`th value of each column, of `len` values each.
    #[inline]
    pub(super) fn values(&self, k: usize, len: usize, data: &[u8]) -> [u32; N] {
        let mut start = self.start as usize;
        let mut values = self.bases;
        for (n, value) in values.iter_mut().enumerate() {
            let width = self.widths.get(n);
            *value = value.wrapping_add(code(width, &data[start..], k));
            start += width.bytes() * len;
        }
        values
    }
}

/// One packed column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteColumn<'a> {
    base: u32,
    width: Width,
    len: usize,
    codes: &'a [u8],
}

impl ByteColumn<'_> {
    /// Writes the values in `range` to `out`, which has room for exactly these.
    pub(crate) fn decode(&self, range: Range<usize>, out: &mut [u32]) {
        debug_assert!(range.len() == out.len() && range.end <= self.len);
        let (base, bytes) = (self.base, self.width.bytes());
        let codes = &self.codes[range.start * bytes..range.end * bytes];
        // Simple loops, which the compiler vectorizes.
        match self.width {
            Width::Zero => out.fill(base),
            Width::One => {
                for (value, &code) in out.iter_mut().zip(codes) {
                    *value = base.wrapping_add(u32::from(code));
                }
            }
            Width::Two => {
                for (value, &code) in out.iter_mut().zip(codes.as_chunks().0) {
                    *value = base.wrapping_add(u32::from(u16::from_le_bytes(code)));
                }
            }
            Width::Four => {
                for (value, &code) in out.iter_mut().zip(codes.as_chunks().0) {
                    *value = base.wrapping_add(u32::from_le_bytes(code));
                }
            }
        }
    }

    /// Appends the values in `range` to `out`.
    pub(crate) fn append(&self, range: Range<usize>, out: &mut Vec<u32>) {
        let start = out.len();
        out.resize(start + range.len(), self.base);
        if self.width != Width::Zero {
            self.decode(range, &mut out[start..]);
        }
    }

    /// The sum of the values in `range`.
    pub(crate) fn sum(&self, range: Range<usize>) -> u64 {
        let (base, bytes) = (self.base, self.width.bytes());
        let codes = &self.codes[range.start * bytes..range.end * bytes];
        let value = |code: u32| u64::from(base.wrapping_add(code));
        match self.width {
            Width::Zero => u64::from(base) * range.len() as u64,
            Width::One => codes.iter().map(|&code| value(code.into())).sum(),
            Width::Two => {
                let codes = codes.as_chunks().0.iter();
                codes.map(|&code| value(u16::from_le_bytes(code).into())).sum()
            }
            Width::Four => {
                codes.as_chunks().0.iter().map(|&code| value(u32::from_le_bytes(code))).sum()
            }
        }
    }
}

/// The `k`th of the codes that `codes` begins with.
#[inline]
fn code(width: Width, codes: &[u8], k: usize) -> u32 {
    match width {
        Width::Zero => 0,
        Width::One => u32::from(codes[k]),
        Width::Two => u32::from(u16::from_le_bytes(codes.as_chunks().0[k])),
        Width::Four => u32::from_le_bytes(codes.as_chunks().0[k]),
    }
}

/// Makes room for `bytes` more. A vector that grows by itself doubles, and half of it stays unused.
pub(super) fn reserve(data: &mut Vec<u8>, bytes: usize) {
    if data.capacity() - data.len() < bytes {
        data.reserve_exact(bytes + data.len() / 8);
    }
}

/// Appends the codes of `values` to `data`; returns their base and width.
///
/// The base is the smallest value where integers are ordered from [`FIRST_MISSING`] on and wrap
/// around: then the codes of a missing value, 0 and 1, are next to those of small values, and a gap
/// does not widen the column.
fn pack(values: &[u32], data: &mut Vec<u8>) -> (u32, Width) {
    let (min, max) = values.iter().fold((u32::MAX, 0), |(min, max), value| {
        let rank = value.wrapping_sub(FIRST_MISSING);
        (rank.min(min), rank.max(max))
    });
    let (base, width) = (min.wrapping_add(FIRST_MISSING), Width::of(max.wrapping_sub(min)));
    let (start, bytes) = (data.len(), width.bytes() * values.len());
    reserve(data, bytes);
    data.resize(start + bytes, 0);
    let (codes, values) = (&mut data[start..], values.iter().map(|value| value.wrapping_sub(base)));
    match width {
        Width::Zero => {}
        Width::One => {
            for (bytes, code) in codes.iter_mut().zip(values) {
                *bytes = code as u8;
            }
        }
        Width::Two => {
            for (bytes, code) in codes.as_chunks_mut().0.iter_mut().zip(values) {
                *bytes = (code as u16).to_le_bytes();
            }
        }
        Width::Four => {
            for (bytes, code) in codes.as_chunks_mut().0.iter_mut().zip(values) {
                *bytes = code.to_le_bytes();
            }
        }
    }
    (base, width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::metric::{EXITED, UNKNOWN};

    const LEN: usize = 120;

    /// Packs the values between two other columns; returns the width after checking every access.
    fn round_trip(values: [u32; LEN]) -> Width {
        let mut data = vec![0xa5; 7];
        let others = [[3; LEN], std::array::from_fn(|k| (k as u32).wrapping_mul(0x9e37_79b9))];
        let columns = [others[1], values, others[0]];
        let packed = ByteColumns::pack(&columns, &mut data);
        assert_eq!(packed.start, 7);
        for (n, values) in columns.iter().enumerate() {
            let column = packed.column(n, LEN, &data);
            for range in [0..LEN, 0..0, LEN..LEN, 1..LEN, 0..LEN - 1, 17..18, 30..91] {
                let expected = &values[range.clone()];
                let mut decoded = vec![1; range.len()];
                column.decode(range.clone(), &mut decoded);
                assert_eq!(decoded, expected);
                let mut appended = vec![9, 9];
                column.append(range.clone(), &mut appended);
                assert_eq!((&appended[..2], &appended[2..]), (&[9, 9][..], expected));
                let sum: u64 = expected.iter().map(|&value| u64::from(value)).sum();
                assert_eq!(column.sum(range), sum);
            }
            for (k, &value) in values.iter().enumerate() {
                assert_eq!(packed.values(k, LEN, &data)[n], value);
            }
        }
        let width = packed.widths.get(1);
        assert_eq!(data.len(), 7 + LEN * (4 + width.bytes()));
        width
    }

    #[test]
    #[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
    fn values_of_every_width_are_unchanged() {
        let two = |low: u32, high: u32| std::array::from_fn(|k| if k == 50 { high } else { low });
        for base in [0, 1, 1_000, u32::MAX / 2, u32::MAX / 2 + 1] {
            assert_eq!(round_trip(two(base, base)), Width::Zero);
            for (range, width) in [
                (1, Width::One),
                (0xff, Width::One),
                (0x100, Width::Two),
                (0xffff, Width::Two),
                (0x1_0000, Width::Four),
                (0x7fff_fffe, Width::Four),
            ] {
                assert_eq!(round_trip(two(base, base + range)), width, "{base} {range}");
                assert_eq!(round_trip(two(base + range, base)), width, "{base} {range}");
            }
        }
        for constant in [UNKNOWN, EXITED, EXITED - 1] {
            assert_eq!(round_trip([constant; LEN]), Width::Zero);
        }
        // The whole range.
        assert_eq!(round_trip(two(0, u32::MAX)), Width::One, "one apart where they wrap around");
        assert_eq!(round_trip(two(EXITED, EXITED - 1)), Width::Four);
        let scattered = |k: usize| (k as u32).wrapping_mul(2_654_435_761);
        assert_eq!(round_trip(std::array::from_fn(scattered)), Width::Four);
    }

    #[test]
    fn missing_values_do_not_widen_small_values() {
        let with_gaps = |largest: u32| {
            std::array::from_fn(|k| match k {
                3 => UNKNOWN,
                40..=44 => EXITED,
                _ => largest - k as u32,
            })
        };
        assert_eq!(round_trip(with_gaps(0xff - 2)), Width::One);
        assert_eq!(round_trip(with_gaps(0x100 - 2)), Width::Two);
        assert_eq!(round_trip(with_gaps(0xffff - 2)), Width::Two);
        assert_eq!(round_trip(with_gaps(0x1_0000 - 2)), Width::Four);
    }
}
