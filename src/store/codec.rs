//! The encoding of blobs: integers of variable length, columns of packed integers, and a CRC.
//!
//! Decoding never panics: bytes that were not encoded here give `None`. A column holds the differences to
//! its minimum in as many bits as most of them need; few larger ones follow as exceptions.

use super::bits::{BitReader, BitWriter, width_of};

/// The largest number of values in a column. No blob has more; a damaged one must not allocate more.
const MAX_VALUES: usize = 1 << 20;

/// A column with exceptions: a flag in the byte of its bits.
const HAS_EXCEPTIONS: u8 = 0x80;

/// Columns of fewer values have no exceptions: finding them would take longer than is gained.
const MIN_VALUES_WITH_EXCEPTIONS: usize = 32;

/// Bytes that are being encoded.
#[derive(Debug, Default)]
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    /// Seven bits a byte, the lowest first.
    pub(super) fn int(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Small absolute values are short.
    pub(super) fn signed(&mut self, value: i64) {
        self.int(((value << 1) ^ (value >> 63)) as u64);
    }

    pub(super) fn option(&mut self, value: Option<i64>) {
        self.int(u64::from(value.is_some()));
        value.into_iter().for_each(|value| self.signed(value));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.int(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Other bytes, which the reader may skip.
    pub(super) fn section(&mut self, section: &Self) {
        self.int(section.0.len() as u64);
        self.0.extend_from_slice(&section.0);
    }

    /// A column; the reader has to know the number of its values.
    pub(super) fn column(&mut self, values: impl Iterator<Item = u64> + Clone) {
        let (mut count, mut min, mut max) = (0, u64::MAX, 0);
        for value in values.clone() {
            (count, min, max) = (count + 1, value.min(min), value.max(max));
        }
        if count == 0 {
            return;
        }
        let differences = values.map(|value| value - min);
        let widest = width_of(max - min);
        let bits = if count < MIN_VALUES_WITH_EXCEPTIONS || widest == 0 {
            widest
        } else {
            best_bits(count, differences.clone())
        };
        self.int(min);
        self.0.push(bits as u8 | if bits < widest { HAS_EXCEPTIONS } else { 0 });
        let is_exception = |difference: u64| width_of(difference) > bits;
        if bits != 0 {
            let mut packed = BitWriter::after(std::mem::take(&mut self.0));
            for difference in differences.clone() {
                packed.put(if is_exception(difference) { 0 } else { difference }, bits);
            }
            self.0 = packed.finish();
        }
        if bits < widest {
            let exceptions = differences.enumerate().filter(|&(_, value)| is_exception(value));
            self.int(exceptions.clone().count() as u64);
            let mut next = 0;
            for (at, value) in exceptions {
                self.int((at - next) as u64);
                self.int(value);
                next = at + 1;
            }
        }
    }

    /// Bits, of which the reader has to know the number.
    pub(super) fn bits(&mut self, bits: BitWriter) {
        self.section(&Self(bits.finish()));
    }

    /// The bytes alone, for a row with a CRC of its own.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The bytes, followed by their CRC.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let crc = crc32fast::hash(&self.0);
        self.0.extend_from_slice(&crc.to_le_bytes());
        self.0
    }
}

/// The width of the values of a column that takes the fewest bytes.
fn best_bits(count: usize, differences: impl Iterator<Item = u64>) -> u32 {
    let mut counts = [0_usize; u64::BITS as usize + 1];
    for difference in differences {
        counts[width_of(difference) as usize] += 1;
    }
    let (mut best, mut best_bytes) = (u64::BITS, usize::MAX);
    // With each width less there are more exceptions: about two bytes for its place, and its value.
    let mut exceptions = 0;
    for bits in (0..=u64::BITS).rev() {
        let bytes = (count * bits as usize).div_ceil(8) + exceptions;
        if bytes <= best_bytes {
            (best, best_bytes) = (bits, bytes);
        }
        exceptions += counts[bits as usize] * (2 + bits.div_ceil(7) as usize);
    }
    best
}

/// The rest of the bytes that are being decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// `None` if the CRC at the end is another one.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (bytes, crc) = bytes.split_last_chunk()?;
        (crc32fast::hash(bytes) == u32::from_le_bytes(*crc)).then_some(Self(bytes))
    }

    /// Of bytes whose CRC was checked with their row.
    pub(super) const fn of_checked(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    pub(super) fn int(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let value = self.int()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(super) fn option(&mut self) -> Option<Option<i64>> {
        match self.int()? {
            0 => Some(None),
            1 => self.signed().map(Some),
            _ => None,
        }
    }

    /// A number of values that is not larger than any that is encoded.
    pub(super) fn count(&mut self) -> Option<usize> {
        usize::try_from(self.int()?).ok().filter(|&count| count <= MAX_VALUES)
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    /// The bytes of a section.
    pub(super) fn section(&mut self) -> Option<Self> {
        let len = usize::try_from(self.int()?).ok()?;
        self.bytes(len).map(Self)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let len = self.count()?;
        std::str::from_utf8(self.bytes(len)?).ok()
    }

    /// A column of this many values.
    pub(super) fn column(&mut self, count: usize) -> Option<Column<'a>> {
        if count == 0 {
            return Some(Column::default());
        }
        let min = self.int()?;
        let head = self.byte()?;
        let bits = u32::from(head & !HAS_EXCEPTIONS);
        if bits > u64::BITS {
            return None;
        }
        let bytes = self.bytes((count * bits as usize).div_ceil(8))?;
        let packed = BitReader::new(bytes);
        let mut column = Column { min, bits, packed, ..Column::default() };
        if head & HAS_EXCEPTIONS != 0 {
            column.exceptions_left = self.count()?;
            column.exceptions = self.0;
            // They are read one by one with the values.
            for _ in 0..column.exceptions_left {
                self.int()?;
                self.int()?;
            }
            column.next_exception()?;
        }
        Some(column)
    }

    /// Bits of a section.
    pub(super) fn bits(&mut self) -> Option<BitReader<'a>> {
        let Self(bytes) = self.section()?;
        Some(BitReader::new(bytes))
    }

    /// `value` if all bytes were read.
    pub(super) fn end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

/// The values of a column, unpacked one by one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Column<'a> {
    min: u64,
    bits: u32,
    packed: BitReader<'a>,
    /// The values until the next exception, and that; `None` after the last one.
    exception: Option<(u64, u64)>,
    exceptions_left: usize,
    exceptions: &'a [u8],
}

impl Column<'_> {
    /// The next value. `None` if none was encoded, or if it is larger than any integer.
    pub(super) fn next(&mut self) -> Option<u64> {
        let packed = self.packed.take(self.bits)?;
        let difference = match &mut self.exception {
            None => packed,
            Some((0, exception)) => {
                let exception = *exception;
                self.next_exception()?;
                exception
            }
            Some((values, _)) => {
                *values -= 1;
                packed
            }
        };
        self.min.checked_add(difference)
    }

    fn next_exception(&mut self) -> Option<()> {
        self.exception = None;
        if let Some(left) = self.exceptions_left.checked_sub(1) {
            self.exceptions_left = left;
            let mut input = Decoder(self.exceptions);
            self.exception = Some((input.int()?, input.int()?));
            self.exceptions = input.0;
        }
        Some(())
    }

    /// The next value of a gauge: 0 is an unknown one.
    pub(super) fn next_gauge(&mut self) -> Option<u32> {
        Some(u32::try_from(self.next()?).ok()?.wrapping_sub(1))
    }
}

/// The CRC of a row, over all of its values.
#[derive(Debug, Default)]
pub(super) struct RowCrc(crc32fast::Hasher);

impl RowCrc {
    pub(super) fn int(mut self, value: i64) -> Self {
        self.0.update(&value.to_le_bytes());
        self
    }

    pub(super) fn option(self, value: Option<i64>) -> Self {
        match value {
            Some(value) => self.int(1).int(value),
            None => self.int(0),
        }
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let mut this = self.int(bytes.len() as i64);
        this.0.update(bytes);
        this
    }

    pub(super) fn text(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.int(1).bytes(text.as_bytes()),
            None => self.int(0),
        }
    }

    pub(super) fn finish(self) -> i64 {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of all sizes.
    fn values(seed: u64) -> impl Iterator<Item = u64> + Clone {
        let mut state = seed | 1;
        std::iter::from_fn(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            Some(state >> (state % 64))
        })
    }

    #[test]
    fn integers_are_decoded_as_encoded() {
        let mut encoder = Encoder::default();
        let edges = [0, 1, 127, 128, u64::MAX - 1, u64::MAX];
        let all: Vec<u64> = edges.into_iter().chain(values(7).take(200)).collect();
        for &value in &all {
            encoder.int(value);
            encoder.signed(value as i64);
            encoder.option((value % 3 != 0).then_some(value as i64));
        }
        encoder.text("Grüße");
        let bytes = encoder.finish();
        let mut decoder = Decoder::new(&bytes).unwrap();
        for &value in &all {
            assert_eq!(decoder.int(), Some(value));
            assert_eq!(decoder.signed(), Some(value as i64));
            assert_eq!(decoder.option(), Some((value % 3 != 0).then_some(value as i64)));
        }
        assert_eq!(decoder.text(), Some("Grüße"));
        assert_eq!(decoder.end(()), Some(()));
    }

    #[test]
    fn columns_are_decoded_as_encoded() {
        for count in [0, 1, 2, 7, 8, 9, 100] {
            for seed in 0..40 {
                let shift = seed as u32 * 64 / 40;
                let column: Vec<u64> = values(seed).take(count).map(|v| v >> shift).collect();
                let mut encoder = Encoder::default();
                encoder.column(column.iter().copied());
                encoder.int(77);
                let bytes = encoder.finish();
                let mut decoder = Decoder::new(&bytes).unwrap();
                let mut decoded = decoder.column(count).unwrap();
                assert!(column.iter().all(|&value| decoded.next() == Some(value)));
                assert_eq!(decoder.int(), Some(77));
                assert!(decoder.end(()).is_some());
            }
        }
        let len = |values: &[u64]| {
            let mut encoder = Encoder::default();
            encoder.column(values.iter().copied());
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes).unwrap();
            let mut decoded = decoder.column(values.len()).unwrap();
            assert!(values.iter().all(|&value| decoded.next() == Some(value)));
            assert!(decoder.end(()).is_some());
            bytes.len() - 4
        };
        // Equal values take two bytes, and the value that differs two or more.
        let mut values = [5; 1_000];
        assert_eq!(len(&values), 2);
        values[3] = 6;
        assert_eq!(len(&values), 2 + 1 + 2);
        values[999] = u64::MAX;
        assert_eq!(len(&values), 2 + 1 + 2 + 2 + 10);
        values[0] = 0;
        assert_eq!(len(&values), 2 + 375 + 1 + 2 + 10);
    }

    /// The width that takes the fewest bytes, and of equal ones the smallest: by trying all of them.
    fn naive_bits(values: &[u64]) -> u32 {
        let min = values.iter().min().copied().unwrap_or(0);
        let bytes = |bits: u32| {
            let exceptions = values.iter().map(|value| width_of(value - min)).filter(|&w| w > bits);
            let exceptions: usize = exceptions.map(|width| 2 + width.div_ceil(7) as usize).sum();
            (values.len() * bits as usize).div_ceil(8) + exceptions
        };
        (0..=64).min_by_key(|&bits| bytes(bits)).unwrap_or(0)
    }

    #[test]
    fn column_has_the_best_width() {
        let mut widths = [0; 65];
        for seed in 0..if cfg!(miri) { 2 } else { 130 } {
            let (shift, rare) = (seed as u32 % 64, 2 + seed % 13);
            for count in [31, 32, 33, 64, 200] {
                let column: Vec<u64> = values(seed)
                    .zip(values(seed + 1))
                    .take(count)
                    .map(|(value, other)| if other % rare == 0 { value } else { value >> shift })
                    .collect();
                let mut encoder = Encoder::default();
                encoder.column(column.iter().copied());
                let bytes = encoder.into_bytes();
                let mut input = Decoder::of_checked(&bytes);
                let min = column.iter().min().copied().unwrap();
                assert_eq!(input.int(), Some(min));
                let head = input.byte().unwrap();
                let widest = column.iter().map(|value| width_of(value - min)).max().unwrap();
                let best = if count < 32 { widest } else { naive_bits(&column) };
                let flag = if best < widest { 0x80 } else { 0 };
                assert_eq!(head, best as u8 | flag, "{count} values of seed {seed}");
                widths[best as usize] += 1;
                let mut decoded = Decoder::of_checked(&bytes).column(count).unwrap();
                assert!(column.iter().all(|&value| decoded.next() == Some(value)));
            }
        }
        assert!(
            widths.iter().filter(|&&columns| columns > 0).count() > if cfg!(miri) { 0 } else { 30 },
            "{widths:?}"
        );
    }

    /// The layout of a file that earlier versions have written.
    #[test]
    fn encoding_has_exact_bytes() {
        let of = |encode: &dyn Fn(&mut Encoder)| {
            let mut encoder = Encoder::default();
            encode(&mut encoder);
            encoder.into_bytes()
        };
        assert_eq!(of(&|out| out.int(0x7f)), [0x7f]);
        assert_eq!(of(&|out| out.int(0x80)), [0x80, 1]);
        assert_eq!(of(&|out| out.signed(-1)), [1]);
        assert_eq!(of(&|out| out.signed(64)), [0x80, 1]);
        assert_eq!(of(&|out| out.option(None)), [0]);
        assert_eq!(of(&|out| out.option(Some(-2))), [1, 3]);
        assert_eq!(of(&|out| out.text("ab")), [2, b'a', b'b']);
        // The minimum, three bits each, the lowest first.
        assert_eq!(of(&|out| out.column([9, 10, 14].into_iter())), [9, 3, 0b0100_1000, 1]);
        // Two words of 33 bits: the lower 32 and the one above.
        assert_eq!(
            of(&|out| out.column([0, 1 << 32, 1].into_iter())),
            [0, 33, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0]
        );
        // An exception at the second of 32, another one after 29 others.
        let mut column = [3; 32];
        (column[1], column[31]) = (4, 203);
        assert_eq!(of(&|out| out.column(column.into_iter())), [3, 0x80, 2, 1, 1, 29, 200, 1]);
        // The same without exceptions: one value less.
        assert_eq!(of(&|out| out.column(column[..31].iter().copied())), [3, 1, 2, 0, 0, 0]);
        let gamma = |value, max| {
            let mut bits = BitWriter::default();
            bits.put_gamma(value, max);
            of(&|out| out.section(&Encoder(bits_of(&bits))))
        };
        assert_eq!(gamma(1, 1), [0]);
        assert_eq!(gamma(1, 2), [1, 1]);
        assert_eq!(gamma(5, 9), [1, 0b0000_1100]);
        // Eight bits are one byte, nine are two.
        let mut bits = BitWriter::default();
        bits.put_up_to(255, 255);
        assert_eq!(bits_of(&bits), [255]);
        bits.put_up_to(1, 1);
        assert_eq!(bits_of(&bits), [255, 1]);
    }

    fn bits_of(bits: &BitWriter) -> Vec<u8> {
        bits.clone().finish()
    }

    #[test]
    fn values_above_the_largest_are_refused() {
        fn decoder(bytes: &[u8]) -> Decoder<'_> {
            Decoder::of_checked(bytes)
        }
        let mut largest = [0xff_u8; 10];
        largest[9] = 1;
        assert_eq!(decoder(&largest).int(), Some(u64::MAX));
        largest[9] = 2;
        assert_eq!(decoder(&largest).int(), None);
        largest[9] = 0x81;
        assert_eq!(decoder(&[&largest[..], &[0]].concat()).int(), None);
        assert_eq!(decoder(&[2, 0]).option(), None);
        assert_eq!(decoder(&[1, 1]).option(), Some(Some(-1)));
        assert_eq!(decoder(&[0x80, 0x80, 0x40]).count(), Some(1 << 20));
        assert_eq!(decoder(&[0x81, 0x80, 0x40]).count(), None);
        assert!(decoder(&[0]).end(()).is_none());
        assert_eq!(decoder(&[1, 0xff]).text(), None);
        assert_eq!(decoder(&[2, b'a']).text(), None);
        // A width of 64 bits, and of 65.
        let wide = [&[0, 64][..], &[0xff; 8]].concat();
        assert_eq!(decoder(&wide).column(1).unwrap().next(), Some(u64::MAX));
        assert!(decoder(&[&[0, 65][..], &[0; 9]].concat()).column(1).is_none());
        // With the minimum it is larger than any integer.
        let above = [&[1, 64][..], &[0xff; 8]].concat();
        assert_eq!(decoder(&above).column(1).unwrap().next(), None);
        // Fewer bytes than the values need, or than the exceptions.
        assert!(decoder(&[0, 3, 0]).column(3).is_none());
        assert!(decoder(&[0, 0x80, 1, 0]).column(2).is_none());
        // A gauge of 32 bits, of which 0 is unknown.
        let gauge = |value: u64| {
            let mut encoder = Encoder::default();
            encoder.column([value].into_iter());
            Decoder::of_checked(&encoder.into_bytes()).column(1)?.next_gauge()
        };
        assert_eq!(
            [0, 1, u64::from(u32::MAX), 1 << 32].map(gauge),
            [Some(u32::MAX), Some(0), Some(u32::MAX - 1), None]
        );
    }

    #[test]
    fn bits_are_read_as_written() {
        let mut state = values(5);
        let all: Vec<(u64, u64)> =
            state.by_ref().zip(values(8)).take(500).map(|(a, b)| (a.min(b), a.max(b))).collect();
        let mut bits = BitWriter::default();
        for &(value, max) in &all {
            bits.put_up_to(value, max);
            bits.put_gamma(value.max(1), max.max(1));
        }
        let mut encoder = Encoder::default();
        encoder.bits(bits);
        let bytes = encoder.into_bytes();
        let mut input = Decoder::of_checked(&bytes);
        let mut bits = input.bits().unwrap();
        for &(value, max) in &all {
            assert_eq!(bits.take_up_to(max), Some(value));
            assert_eq!(bits.take_gamma(max.max(1)), Some(value.max(1)));
        }
        assert!(bits.end(()).is_some() && input.end(()).is_some());
        // Values above the bound, and bits that are left, are refused.
        let reader = |bytes| BitReader::new(bytes);
        assert_eq!(reader(&[7]).take_up_to(6), None);
        assert_eq!(reader(&[6]).take_up_to(6), Some(6));
        assert_eq!(reader(&[]).take(1), None);
        assert!(reader(&[0]).end(()).is_none());
        // 5: two zeros, a one, and its two lower bits.
        assert_eq!(reader(&[0b0000_1100]).take_gamma(5), Some(5));
        assert_eq!(reader(&[0b0000_1100]).take_gamma(4), None);
        assert_eq!(reader(&[0; 40]).take_gamma(u64::MAX), None);
        assert_eq!(reader(&[]).take_gamma(1), Some(1));
        assert_eq!(reader(&[1]).take_gamma(0), None);
        let mut left = reader(&[0, 0, 0, 0]);
        assert_eq!(left.take(24), Some(0));
        assert!(left.end(()).is_none());
        let mut left = reader(&[0x18]);
        assert_eq!(left.take(3), Some(0));
        assert!(left.end(()).is_none());
    }

    #[test]
    fn changed_bit_is_detected() {
        let mut encoder = Encoder::default();
        encoder.column(values(3).take(20));
        let bytes = encoder.finish();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Decoder::new(&changed).is_none(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Decoder::new(&bytes[..len]).is_none(), "{len} bytes");
        }
    }

    #[test]
    fn row_crc_depends_on_each_value() {
        let crc =
            |n: Option<i64>, text: Option<&str>| RowCrc::default().option(n).text(text).finish();
        let all = [
            crc(None, None),
            crc(Some(0), None),
            crc(None, Some("")),
            crc(Some(1), Some("")),
            crc(Some(1), Some("a")),
            crc(Some(2), Some("a")),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }
}
