//! The times of a packed block.
//!
//! A time point has forty bytes, as much as two samples. But ticks are nearly regular, and the three
//! clocks advance together: so the monotonic clock is stored as the distance from a straight line, and
//! the other two as their distance from it; each above the smallest one, in the fewest bytes. All
//! times are unchanged to the nanosecond.

use std::time::{Duration, SystemTime};

use super::byte_column::reserve;
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

/// Distances above a base.
#[derive(Clone, Copy, Debug, Default)]
struct Offsets {
    base: i128,
    /// Where the codes begin.
    start: usize,
    width: usize,
}

impl Offsets {
    fn pack(values: impl Iterator<Item = i128> + Clone, data: &mut Vec<u8>) -> Self {
        let base = values.clone().min().unwrap_or_default();
        let codes = values.map(|value| value.wrapping_sub(base) as u128);
        let width = width_of(codes.clone().max().unwrap_or_default());
        let start = data.len();
        reserve(data, width * codes.clone().count());
        for code in codes {
            data.extend_from_slice(&code.to_le_bytes()[..width]);
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
    /// Packs the times, and appends the codes to `data`.
    pub(super) fn pack<'a>(
        times: impl ExactSizeIterator<Item = &'a TimePoint> + DoubleEndedIterator + Clone,
        data: &mut Vec<u8>,
    ) -> Self {
        let len = times.len();
        let first = times.clone().next().map_or(0, |at| at.mono.0);
        let last = times.clone().next_back().map_or(0, |at| at.mono.0);
        let step = last.saturating_sub(first) / (len as u64).saturating_sub(1).max(1);
        let line = Self { len, first, step, ..Self::default() };
        let mono = times.clone().enumerate().map(|(k, at)| {
            let distance = at.mono.0.wrapping_sub(line.on_line(k));
            i128::from(distance.cast_signed())
        });
        let wall = times.clone().map(|at| wall_nanos(at.wall) - i128::from(at.mono.0));
        let boot = times.map(|at| boot_nanos(at.boot) - i128::from(at.mono.0));
        Self {
            mono: Offsets::pack(mono, data),
            wall: Offsets::pack(wall, data),
            boot: Offsets::pack(boot, data),
            ..line
        }
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
        let packed = PackedTimes::pack(times.iter(), &mut data);
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
