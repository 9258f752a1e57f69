//! The encoding of blobs: integers of variable length, columns of packed integers, and a CRC.
//!
//! Decoding never panics: bytes that were not encoded here give `None`. A column holds the differences to
//! its minimum in as many bits as the largest of them needs.

/// The largest number of values in a column. No blob has more; a damaged one must not allocate more.
const MAX_VALUES: usize = 1 << 20;

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

    pub(super) fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    /// Other bytes, which the reader may skip.
    pub(super) fn section(&mut self, section: &Self) {
        self.int(section.0.len() as u64);
        self.0.extend_from_slice(&section.0);
    }

    /// A column; the reader has to know the number of its values.
    pub(super) fn column(&mut self, values: impl Iterator<Item = u64> + Clone) {
        let (min, max) = values
            .clone()
            .fold((u64::MAX, 0), |(min, max), value| (value.min(min), value.max(max)));
        if max < min {
            return; // no values
        }
        let bits = u64::BITS - (max - min).leading_zeros();
        self.int(min);
        self.0.push(bits as u8);
        let (mut pending, mut filled) = (0_u128, 0);
        for value in values {
            pending |= u128::from(value - min) << filled;
            filled += bits;
            while filled >= 8 {
                self.0.push(pending as u8);
                pending >>= 8;
                filled -= 8;
            }
        }
        if filled > 0 {
            self.0.push(pending as u8);
        }
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
        let bits = u32::from(self.byte()?);
        if bits > u64::BITS {
            return None;
        }
        let packed = self.bytes((count * bits as usize).div_ceil(8))?;
        Some(Column { min, bits, packed, pending: 0, filled: 0 })
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
    /// The bytes from which no value was unpacked yet.
    packed: &'a [u8],
    pending: u128,
    filled: u32,
}

impl Column<'_> {
    /// The next value. `None` if none was encoded, or if it is larger than any integer.
    pub(super) fn next(&mut self) -> Option<u64> {
        while self.filled < self.bits {
            let (&byte, rest) = self.packed.split_first()?;
            self.pending |= u128::from(byte) << self.filled;
            self.filled += 8;
            self.packed = rest;
        }
        let mask = (1_u128 << self.bits) - 1;
        let value = self.min.checked_add((self.pending & mask) as u64)?;
        self.pending >>= self.bits;
        self.filled -= self.bits;
        Some(value)
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
        // Equal values take two bytes.
        let mut encoder = Encoder::default();
        encoder.column([5; 1_000].into_iter());
        assert_eq!(encoder.finish().len(), 2 + 4);
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
