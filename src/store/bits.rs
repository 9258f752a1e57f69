//! Integers of any number of bits. Reading never panics: there may be other bits than were written here.

/// The bits that are needed for a value.
pub(super) const fn width_of(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// Integers of any number of bits, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Fewer bits than a word.
    pending: u64,
    filled: u32,
}

/// The bits that are written and read together.
const WORD_BITS: u32 = u32::BITS;

impl BitWriter {
    /// Appends to these bytes.
    pub(super) fn after(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// The lowest `bits` of a value that has no others.
    pub(super) fn put(&mut self, value: u64, bits: u32) {
        if bits > WORD_BITS {
            self.put_word(value & u64::from(u32::MAX), WORD_BITS);
            self.put_word(value >> WORD_BITS, bits - WORD_BITS);
        } else {
            self.put_word(value, bits);
        }
    }

    #[inline]
    fn put_word(&mut self, value: u64, bits: u32) {
        self.pending |= value << self.filled;
        self.filled += bits;
        if self.filled >= WORD_BITS {
            self.bytes.extend_from_slice(&(self.pending as u32).to_le_bytes());
            self.pending >>= WORD_BITS;
            self.filled -= WORD_BITS;
        }
    }

    /// A value up to a bound that the reader knows.
    pub(super) fn put_up_to(&mut self, value: u64, max: u64) {
        self.put(value, width_of(max));
    }

    /// A value from 1 up to a bound that the reader knows: few bits for small ones. None where 1 is the bound.
    ///
    /// Elias: "Universal codeword sets and representations of the integers", 1975 (gamma).
    pub(super) fn put_gamma(&mut self, value: u64, max: u64) {
        if max > 1 {
            let bits = width_of(value) - 1;
            // That many zeros, a one, and the bits below the highest.
            self.put(0, bits);
            self.put(1, 1);
            self.put(value & !(1 << bits), bits);
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let rest = self.pending.to_le_bytes();
        self.bytes.extend_from_slice(&rest[..self.filled.div_ceil(8) as usize]);
        self.bytes
    }
}

/// Reads what a [`BitWriter`] has written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BitReader<'a> {
    /// The bytes from which no bit was read yet.
    bytes: &'a [u8],
    pending: u64,
    filled: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// The next value of at most 64 bits.
    pub(super) fn take(&mut self, bits: u32) -> Option<u64> {
        if bits > WORD_BITS {
            let low = self.take_word(WORD_BITS)?;
            return Some(self.take_word(bits - WORD_BITS)? << WORD_BITS | low);
        }
        self.take_word(bits)
    }

    #[inline]
    fn take_word(&mut self, bits: u32) -> Option<u64> {
        while self.filled < bits {
            if let Some((word, rest)) = self.bytes.split_first_chunk() {
                self.pending |= u64::from(u32::from_le_bytes(*word)) << self.filled;
                (self.filled, self.bytes) = (self.filled + WORD_BITS, rest);
            } else {
                let (&byte, rest) = self.bytes.split_first()?;
                self.pending |= u64::from(byte) << self.filled;
                (self.filled, self.bytes) = (self.filled + 8, rest);
            }
        }
        let value = self.pending & ((1 << bits) - 1);
        self.pending >>= bits;
        self.filled -= bits;
        Some(value)
    }

    /// The opposite of [`BitWriter::put_up_to`].
    pub(super) fn take_up_to(&mut self, max: u64) -> Option<u64> {
        self.take(width_of(max)).filter(|&value| value <= max)
    }

    /// The opposite of [`BitWriter::put_gamma`].
    pub(super) fn take_gamma(&mut self, max: u64) -> Option<u64> {
        if max <= 1 {
            return (max == 1).then_some(1);
        }
        let mut bits = 0;
        while self.take(1)? == 0 {
            bits += 1;
        }
        if bits >= u64::BITS {
            return None;
        }
        Some(1 << bits | self.take(bits)?).filter(|&value| value <= max)
    }

    /// `value` if all bytes were read, and the bits that fill the last one are zeros.
    pub(super) fn end<T>(self, value: T) -> Option<T> {
        (self.bytes.is_empty() && self.filled < 8 && self.pending == 0).then_some(value)
    }
}
