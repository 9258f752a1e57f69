//! The times of a packed block.
//!
//! A time point has forty bytes, as much as two samples. But ticks are nearly regular, and the three
//! clocks advance together: so the monotonic clock is stored as the distance from a straight line, and
//! the other two as their distance from it; each above the smallest one, in the fewest bytes. All
//! times are unchanged to the nanosecond.

use std::time::{Duration, SystemTime};

use super::byte_column::reserve;
use super::packed_block::PACKED_TICKS;
use crate::time::{MonoNanos, TimePoint};

/// Bytes that an integer up to `largest` needs.
const fn width_of(largest: u128) -> usize {
    match largest {
        0 => 0,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        0x1_0000_0000..=0xffff_ffff_ffff_ffff => 8,
        _ => 16,
    }
}

fn chunks<const N: usize>(bytes: &mut [u8]) -> impl Iterator<Item = &mut [u8; N]> {
    bytes.as_chunks_mut().0.iter_mut()
}

/// The most times that are packed together.
const MAX_LEN: usize = PACKED_TICKS;

/// Distances above a base.
#[derive(Clone, Copy, Debug, Default)]
struct Offsets {
    base: i128,
    /// Where the codes begin.
    start: usize,
    width: usize,
}

impl Offsets {
    fn pack(values: impl ExactSizeIterator<Item = i128>, data: &mut Vec<u8>) -> Self {
        // Each value is computed once.
        let mut buffer = [0; MAX_LEN];
        let values = buffer.iter_mut().zip(values).map(|(slot, value)| {
            *slot = value;
            value
        });
        let start = data.len();
        let (len, base, max) = values.fold((0, i128::MAX, i128::MIN), |(len, min, max), value| {
            (len + 1, value.min(min), value.max(max))
        });
        let width = if len == 0 { 0 } else { width_of(max.wrapping_sub(base) as u128) };
        let bytes = width * len;
        reserve(data, bytes);
        data.resize(start + bytes, 0);
        let codes = &mut data[start..];
        let values = buffer[..len].iter().map(|value| value.wrapping_sub(base) as u128);
        match width {
            0 => {}
            1 => codes.iter_mut().zip(values).for_each(|(out, code)| *out = code as u8),
            2 => {
                chunks(codes).zip(values).for_each(|(out, code)| *out = (code as u16).to_le_bytes())
            }
            4 => {
                chunks(codes).zip(values).for_each(|(out, code)| *out = (code as u32).to_le_bytes())
            }
            8 => {
                chunks(codes).zip(values).for_each(|(out, code)| *out = (code as u64).to_le_bytes())
            }
            _ => chunks(codes).zip(values).for_each(|(out, code)| *out = code.to_le_bytes()),
        }
        Self { base, start, width }
    }

    fn codes<'a>(&self, len: usize, data: &'a [u8]) -> &'a [u8] {
        &data[self.start..self.start + len * self.width]
    }

    fn get(&self, k: usize, data: &[u8]) -> i128 {
        let codes = &data[self.start..];
        let code = match self.width {
            0 => 0,
            1 => u128::from(codes[k]),
            2 => u128::from(u16::from_le_bytes(codes.as_chunks().0[k])),
            4 => u128::from(u32::from_le_bytes(codes.as_chunks().0[k])),
            8 => u128::from(u64::from_le_bytes(codes.as_chunks().0[k])),
            _ => u128::from_le_bytes(codes.as_chunks().0[k]),
        };
        self.base.wrapping_add(code as i128)
    }
}

/// The times of consecutive ticks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PackedTimes {
    len: usize,
    /// The line: the time of the first tick, and the time between ticks.
    first: u64,
    step: u64,
    /// Distances of the monotonic clock from the line: at most 64 bits.
    mono: Offsets,
    /// Distances of the other clocks from the monotonic clock.
    wall: Offsets,
    boot: Offsets,
}

impl PackedTimes {
    /// Packs the times on the monotonic clock, and appends the codes to `data`. The other two clocks
    /// follow, by [`pack_wall`](Self::pack_wall) and [`pack_boot`](Self::pack_boot): each is a part of a
    /// tick's work.
    pub(super) fn pack_mono(times: &[&TimePoint], data: &mut Vec<u8>) -> Self {
        let len = times.len();
        let [first, last] = [times.first(), times.last()].map(|at| at.map_or(0, |at| at.mono.0));
        let step = last.saturating_sub(first) / (len as u64).saturating_sub(1).max(1);
        let line = Self { len, first, step, ..Self::default() };
        let mono = times.iter().enumerate().map(|(k, at)| {
            let distance = at.mono.0.wrapping_sub(line.on_line(k));
            i128::from(distance.cast_signed())
        });
        Self { mono: Offsets::pack(mono, data), ..line }
    }

    /// Packs the times on the wall clock.
    pub(super) fn pack_wall(&mut self, times: &[&TimePoint], data: &mut Vec<u8>) {
        let wall = times.iter().map(|at| wall_nanos(at.wall) - i128::from(at.mono.0));
        self.wall = Offsets::pack(wall, data);
    }

    /// Packs the times on the boot clock.
    pub(super) fn pack_boot(&mut self, times: &[&TimePoint], data: &mut Vec<u8>) {
        let boot = times.iter().map(|at| boot_nanos(at.boot) - i128::from(at.mono.0));
        self.boot = Offsets::pack(boot, data);
    }

    fn on_line(&self, k: usize) -> u64 {
        self.first.wrapping_add(self.step.wrapping_mul(k as u64))
    }

    /// The `k`th time on the monotonic clock.
    pub(super) fn mono(&self, k: usize, data: &[u8]) -> MonoNanos {
        MonoNanos(self.on_line(k).wrapping_add(self.mono.get(k, data) as u64))
    }

    /// The `k`th time.
    pub(super) fn at(&self, k: usize, data: &[u8]) -> TimePoint {
        let mono = self.mono(k, data);
        let nanos = |offsets: &Offsets| offsets.get(k, data) + i128::from(mono.0);
        let boot = nanos(&self.boot).unsigned_abs();
        TimePoint { mono, wall: wall_of(nanos(&self.wall)), boot: duration_of(boot) }
    }

    /// Writes all times on the monotonic clock to `out`, which has room for exactly these.
    pub(super) fn decode_mono(&self, data: &[u8], out: &mut [MonoNanos]) {
        let codes = self.mono.codes(self.len, data);
        let base = self.first.wrapping_add(self.mono.base as u64);
        let line = (0u64..).map(|k| base.wrapping_add(self.step.wrapping_mul(k)));
        let line = out.iter_mut().zip(line);
        match self.mono.width {
            0 => line.for_each(|(out, at)| *out = MonoNanos(at)),
            1 => line.zip(codes).for_each(|((out, at), &code)| {
                *out = MonoNanos(at.wrapping_add(u64::from(code)));
            }),
            2 => line.zip(codes.as_chunks().0).for_each(|((out, at), &code)| {
                *out = MonoNanos(at.wrapping_add(u64::from(u16::from_le_bytes(code))));
            }),
            4 => line.zip(codes.as_chunks().0).for_each(|((out, at), &code)| {
                *out = MonoNanos(at.wrapping_add(u64::from(u32::from_le_bytes(code))));
            }),
            _ => line.zip(codes.as_chunks().0).for_each(|((out, at), &code)| {
                *out = MonoNanos(at.wrapping_add(u64::from_le_bytes(code)));
            }),
        }
    }
}

/// Nanoseconds since 1970. The range of `SystemTime` is less than 2^64 seconds in both directions.
fn wall_nanos(wall: SystemTime) -> i128 {
    match wall.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => boot_nanos(after),
        Err(before) => -boot_nanos(before.duration()),
    }
}

fn wall_of(nanos: i128) -> SystemTime {
    let distance = duration_of(nanos.unsigned_abs());
    if nanos < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}

const NANOS: u128 = 1_000_000_000;

fn boot_nanos(boot: Duration) -> i128 {
    boot.as_nanos().cast_signed()
}

fn duration_of(nanos: u128) -> Duration {
    match u64::try_from(nanos) {
        Ok(nanos) => Duration::from_nanos(nanos),
        // From 584 years on: a slow division.
        Err(_) => Duration::new((nanos / NANOS) as u64, (nanos % NANOS) as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 120;
    const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

    /// Returns the bytes of the times, after checking them.
    fn round_trip(times: &[TimePoint]) -> usize {
        let mut data = vec![0xa5; 5];
        let all: Vec<&TimePoint> = times.iter().collect();
        let mut packed = PackedTimes::pack_mono(&all, &mut data);
        packed.pack_wall(&all, &mut data);
        packed.pack_boot(&all, &mut data);
        let mut mono = vec![MonoNanos(1); times.len()];
        packed.decode_mono(&data, &mut mono);
        for (k, &at) in times.iter().enumerate() {
            assert_eq!(packed.at(k, &data), at, "{k}");
            assert_eq!((packed.mono(k, &data), mono[k]), (at.mono, at.mono), "{k}");
        }
        data.len() - 5
    }

    fn times(at: impl Fn(u64) -> (u64, i64, u64)) -> Vec<TimePoint> {
        let time = |k| {
            let (mono, wall, boot) = at(k);
            let distance = Duration::from_nanos(wall.unsigned_abs());
            let wall = if wall < 0 { EPOCH - distance } else { EPOCH + distance };
            TimePoint { mono: MonoNanos(mono), wall, boot: Duration::from_nanos(boot) }
        };
        (0..LEN as u64).map(time).collect()
    }

    const SECOND: u64 = 1_000_000_000;
    const NOW: i64 = 1_764_000_000_000_000_123;

    #[test]
    fn regular_times_take_no_bytes() {
        let regular = times(|k| (77 + k * SECOND, NOW + (k * SECOND) as i64, 999 + k * SECOND));
        assert_eq!(round_trip(&regular), 0);
        assert_eq!(round_trip(&[regular[3]; LEN]), 0);
        assert_eq!(round_trip(&regular[..1]), 0);
    }

    #[test]
    fn times_of_every_width_are_unchanged() {
        // The last one is on the line, so that the distances are those of the others.
        let jitter = |k: u64, most: u64| if k % 7 == 3 { most } else { 0 };
        for (most, width) in [
            (1, 1),
            (0xff, 1),
            (0x100, 2),
            (0xffff, 2),
            (0x1_0000, 4),
            (0xffff_ffff, 4),
            (0x1_0000_0000, 8),
        ] {
            let mono = times(|k| {
                let at = 1_000 + 100 * k * SECOND + jitter(k, most);
                (at, NOW + at as i64, at)
            });
            assert_eq!(round_trip(&mono), width * LEN, "mono {most}");
            let wall = times(|k| (k, NOW + k as i64 + jitter(k, most) as i64, k));
            assert_eq!(round_trip(&wall), width * LEN, "wall {most}");
            let boot = times(|k| (k, NOW + k as i64, 5 + k + jitter(k, most)));
            assert_eq!(round_trip(&boot), width * LEN, "boot {most}");
        }
    }

    #[test]
    fn extreme_times_are_unchanged() {
        // Clocks that are set to both ends, backwards, and that stand still.
        round_trip(&times(|k| (k, if k % 2 == 0 { i64::MIN } else { i64::MAX }, k)));
        round_trip(&times(|k| (k, -1 - k as i64, u64::MAX - k)));
        round_trip(&times(|k| (if k < 60 { k } else { u64::MAX - 200 + k }, NOW, 0)));
        round_trip(&times(|k| (u64::MAX - 1_000 + k * 3, 0, k * k * k)));
        let mut far = times(|k| (k, 0, k));
        far[7].boot = Duration::MAX;
        far[8].wall = EPOCH + Duration::from_secs(1 << 40);
        far[9].wall = EPOCH - Duration::from_secs(1 << 40);
        assert_eq!(round_trip(&far), 2 * 16 * LEN);
    }
}
