//! Four blocks packed into one, for the part of a history that is older than an hour.
//!
//! A value of a block has four bytes; here it has as many as its distance from the smallest one in its
//! column needs, often none or one. Nothing is rounded: the same values are read from both.

use super::block::{BLOCK_TICKS, Block};
use super::byte_column::{ByteColumn, ByteColumns};
use super::metric::Metric;
use super::packed::PackedSample;
use super::packed_times::PackedTimes;
use super::tree_row::{TreeMetric, TreeValues};
use crate::time::{MonoNanos, TimePoint};

/// Blocks in a packed block.
pub(crate) const PACKED_BLOCKS: usize = 4;

/// Ticks in a packed block. Measured: with fewer, bases and widths take a larger part; with more, a
/// value that differs from the others widens more of them.
pub(crate) const PACKED_TICKS: usize = PACKED_BLOCKS * BLOCK_TICKS;

/// One hundred and twenty ticks, by slot and column.
#[derive(Debug, Default)]
pub(crate) struct PackedBlock {
    /// The first of its ticks.
    pub first: u64,
    times: PackedTimes,
    slots: Vec<ByteColumns<{ Metric::COUNT }>>,
    /// The slots with tree columns, ascending: those that have them in one of the four blocks.
    tree_slots: Vec<u32>,
    /// By position in `tree_slots`.
    trees: Vec<ByteColumns<{ TreeMetric::COUNT }>>,
    /// The codes of all columns, and of the times.
    data: Vec<u8>,
    /// The next part to pack.
    next: Step,
}

/// A part of a block that is packed in one piece.
#[derive(Clone, Copy, Debug, Default)]
enum Step {
    /// The times on one clock.
    #[default]
    Mono,
    Wall,
    Boot,
    /// One slot after the other.
    Slots,
}

/// The blocks that are packed: consecutive, oldest first.
pub(crate) type Sources<'a> = [&'a Block; PACKED_BLOCKS];

impl PackedBlock {
    /// Removes the contents, and begins to pack `sources`, by [`push`](Self::push). The codes probably
    /// take `bytes`.
    pub(crate) fn begin(&mut self, sources: &Sources<'_>, bytes: usize) {
        self.first = sources[0].first;
        self.next = Step::Mono;
        self.slots.clear();
        self.tree_slots.clear();
        self.trees.clear();
        self.data.clear();
        self.slots.reserve_exact(slots_of(sources));
        self.data.reserve_exact(bytes);
    }

    /// Packs the next part of `sources`: the times on one clock, or a slot. Returns whether there was
    /// one.
    pub(crate) fn push(&mut self, sources: &Sources<'_>) -> bool {
        let times = || -> [&TimePoint; PACKED_TICKS] {
            std::array::from_fn(|k| &sources[k / BLOCK_TICKS].at[k % BLOCK_TICKS])
        };
        self.next = match self.next {
            Step::Mono => {
                self.times = PackedTimes::pack_mono(&times(), &mut self.data);
                Step::Wall
            }
            Step::Wall => {
                self.times.pack_wall(&times(), &mut self.data);
                Step::Boot
            }
            Step::Boot => {
                self.times.pack_boot(&times(), &mut self.data);
                Step::Slots
            }
            Step::Slots => return self.push_slot(sources),
        };
        true
    }

    /// Packs the next slot of `sources`; returns whether there was one.
    fn push_slot(&mut self, sources: &Sources<'_>) -> bool {
        if self.slots.len() == slots_of(sources) {
            return false;
        }
        let slot = self.slots.len() as u32;
        let mut columns = [[0; PACKED_TICKS]; Metric::COUNT];
        for (i, source) in sources.iter().enumerate() {
            let ticks = i * BLOCK_TICKS..(i + 1) * BLOCK_TICKS;
            for (column, metric) in columns.iter_mut().zip(Metric::ALL) {
                // A block that is older than the slot has no values: zeros are a missing sample.
                let values = source.column(slot, metric);
                column[ticks.clone()][..values.len()].copy_from_slice(values);
            }
        }
        self.slots.push(ByteColumns::pack(&columns, &mut self.data));
        if sources.iter().any(|source| source.has_tree(slot)) {
            let mut columns = [[0; PACKED_TICKS]; TreeMetric::COUNT];
            for k in 0..PACKED_TICKS {
                let (source, k_in_source) = (sources[k / BLOCK_TICKS], k % BLOCK_TICKS);
                let sample = source.sample(slot, k_in_source);
                let values = source.tree(slot, k_in_source, sample);
                for (column, &value) in columns.iter_mut().zip(values.columns()) {
                    column[k] = value;
                }
            }
            self.tree_slots.push(slot);
            self.trees.push(ByteColumns::pack(&columns, &mut self.data));
        }
        true
    }

    /// Releases room that the packed slots do not need; some of it is kept, so that a later use of this
    /// block allocates nothing if it needs a little more.
    pub(crate) fn trim(&mut self) {
        release_room(&mut self.slots);
        release_room(&mut self.tree_slots);
        release_room(&mut self.trees);
        release_room(&mut self.data);
    }

    /// Bytes of the codes.
    pub(crate) const fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The tick after its last one.
    pub(crate) const fn end(&self) -> u64 {
        self.first + PACKED_TICKS as u64
    }

    /// The time of the `k`th tick.
    #[inline(never)]
    pub(crate) fn at(&self, k: usize) -> TimePoint {
        self.times.at(k, &self.data)
    }

    /// The same on the monotonic clock alone.
    pub(crate) fn mono(&self, k: usize) -> MonoNanos {
        self.times.mono(k, &self.data)
    }

    /// Writes the times of all ticks on the monotonic clock to `out`.
    pub(crate) fn decode_mono(&self, out: &mut [MonoNanos; PACKED_TICKS]) {
        self.times.decode_mono(&self.data, out);
    }

    /// One column of one plugin; `None` where the block is older than the slot.
    pub(crate) fn column(&self, slot: u32, metric: Metric) -> Option<ByteColumn<'_>> {
        let columns = self.slots.get(slot as usize)?;
        Some(columns.column(metric as usize, PACKED_TICKS, &self.data))
    }

    /// The sample of `slot` at the `k`th tick.
    #[inline(never)] // the newest samples, which are read most often, are not packed
    pub(crate) fn sample(&self, slot: u32, k: usize) -> PackedSample {
        match self.slots.get(slot as usize) {
            Some(columns) => {
                let values = columns.values(k, PACKED_TICKS, &self.data);
                PackedSample::from_columns(|metric| values[metric as usize])
            }
            None => PackedSample::MISSING,
        }
    }

    fn tree_columns(&self, slot: u32) -> Option<&ByteColumns<{ TreeMetric::COUNT }>> {
        // Most blocks of most hosts have none.
        if self.tree_slots.is_empty() {
            return None;
        }
        self.trees.get(self.tree_slots.binary_search(&slot).ok()?)
    }

    /// Whether a tick of the block may have tree values of `slot` that are not those of its root.
    pub(crate) fn has_tree(&self, slot: u32) -> bool {
        self.tree_columns(slot).is_some()
    }

    /// One column of a plugin's tree: of its root if no tick has other values.
    pub(crate) fn tree_column(&self, slot: u32, metric: Metric) -> Option<ByteColumn<'_>> {
        match (TreeMetric::of(metric), self.tree_columns(slot)) {
            (Some(tree), Some(columns)) => {
                Some(columns.column(tree as usize, PACKED_TICKS, &self.data))
            }
            (_, _) => self.column(slot, metric),
        }
    }

    /// The tree values of `slot` at the `k`th tick; `sample` is its sample.
    pub(crate) fn tree(&self, slot: u32, k: usize, sample: PackedSample) -> TreeValues {
        match self.tree_columns(slot) {
            Some(columns) => {
                let values = columns.values(k, PACKED_TICKS, &self.data);
                TreeValues::from_columns(|metric| values[metric as usize])
            }
            None => TreeValues::of_root(sample),
        }
    }
}

/// The number of slots of the blocks together.
pub(crate) fn slots_of(sources: &Sources<'_>) -> usize {
    sources.iter().map(|source| source.slots()).max().unwrap_or_default()
}

/// Releases room beyond a quarter.
fn release_room<T>(values: &mut Vec<T>) {
    let len = values.len();
    if values.capacity() > len + len / 4 + 64 {
        values.shrink_to(len + len / 16);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::history::frame::Frame;
    use crate::history::metric::{EXITED, UNKNOWN};
    use crate::history::tree_row::TreeRow;

    /// A xorshift generator.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u32 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 32) as u32
        }

        fn below(&mut self, bound: u32) -> u32 {
            self.next() % bound
        }

        /// A value of a column whose values span `bits` bits; sometimes a missing one, or an extreme.
        fn value(&mut self, bits: u32) -> u32 {
            match self.below(40) {
                0 => UNKNOWN,
                1 => EXITED,
                2 if bits > 20 => [0, EXITED - 1, 1 << 31][self.below(3) as usize],
                _ => 1_000 + (self.next() & ((1_u64 << bits) - 1) as u32) / 2,
            }
        }
    }

    /// Blocks of random columns and times. The number of slots changes, and so does who has a tree.
    fn random_blocks(random: &mut Random) -> [Block; PACKED_BLOCKS] {
        let bits: Vec<u32> =
            (0..40).map(|_| [0, 3, 9, 16, 22, 32][random.below(6) as usize]).collect();
        let first = 1 + u64::from(random.below(1_000));
        let mut at = TimePoint {
            mono: MonoNanos(u64::from(random.next())),
            wall: SystemTime::UNIX_EPOCH + Duration::from_millis(random.next().into()),
            boot: Duration::from_millis(random.next().into()),
        };
        let jitter = 1 + random.below(1_000_000);
        std::array::from_fn(|block| {
            let slots = random.below(8) as usize;
            let frames: Vec<_> = (0..BLOCK_TICKS)
                .map(|k| {
                    let nanos = u64::from(5_000_000 + random.below(jitter));
                    at = at.after(Duration::from_nanos(nanos));
                    at.wall += Duration::from_nanos(random.below(jitter).into());
                    at.boot += Duration::from_nanos(random.below(3).into());
                    let sample = |slot: usize, random: &mut Random| {
                        PackedSample::from_columns(|metric| {
                            random.value(bits[slot * Metric::COUNT + metric as usize])
                        })
                    };
                    let slots = slots + usize::from(k > 20 && random.below(3) == 0);
                    let samples = (0..slots).map(|slot| sample(slot.min(7), random)).collect();
                    let row = |slot: usize, random: &mut Random| {
                        let mut value = || Some(random.value(bits[slot]));
                        let values = TreeValues::new(value(), value(), value());
                        TreeRow { slot: slot as u32, values }
                    };
                    let with_tree: Vec<_> =
                        (0..slots).filter(|slot| slot % 3 == 1 && random.below(4) > 2).collect();
                    let trees = with_tree.into_iter().map(|slot| row(slot, random)).collect();
                    let tick = first + (block * BLOCK_TICKS + k) as u64;
                    Arc::new(Frame { tick, at, samples, trees })
                })
                .collect();
            let mut block = Block::new(at);
            block.fill(&frames);
            block
        })
    }

    fn pack(packed: &mut PackedBlock, blocks: &[Block; PACKED_BLOCKS]) {
        let sources = blocks.each_ref();
        packed.begin(&sources, 0);
        while packed.push(&sources) {}
        packed.trim();
    }

    fn assert_equal(packed: &PackedBlock, blocks: &[Block; PACKED_BLOCKS]) {
        assert_eq!((packed.first, packed.end()), (blocks[0].first, blocks[3].end()));
        let mut mono = [MonoNanos(0); PACKED_TICKS];
        packed.decode_mono(&mut mono);
        let slots = slots_of(&blocks.each_ref()) as u32;
        for k in 0..PACKED_TICKS {
            let (block, position) = (&blocks[k / BLOCK_TICKS], k % BLOCK_TICKS);
            assert_eq!(packed.at(k), block.at[position]);
            assert_eq!((packed.mono(k), mono[k]), (block.mono[position], block.mono[position]));
            for slot in 0..slots + 2 {
                let sample = block.sample(slot, position);
                assert_eq!(packed.sample(slot, k), sample, "slot {slot} at {k}");
                let tree = block.tree(slot, position, sample);
                assert_eq!(packed.tree(slot, k, sample), tree, "slot {slot} at {k}");
            }
        }
        for slot in 0..slots {
            let has_tree = blocks.iter().any(|block| block.has_tree(slot));
            assert_eq!(packed.has_tree(slot), has_tree);
            for metric in Metric::ALL {
                let mut column = [1; PACKED_TICKS];
                packed.column(slot, metric).unwrap().decode(0..PACKED_TICKS, &mut column);
                for (k, &value) in column.iter().enumerate() {
                    assert_eq!(value, packed.sample(slot, k).get(metric));
                }
                packed.tree_column(slot, metric).unwrap().decode(0..PACKED_TICKS, &mut column);
                for (k, &value) in column.iter().enumerate() {
                    let expected = match TreeMetric::of(metric) {
                        Some(tree) if has_tree => {
                            packed.tree(slot, k, packed.sample(slot, k)).get(tree)
                        }
                        Some(_) | None => packed.sample(slot, k).get(metric),
                    };
                    assert_eq!(value, expected);
                }
            }
        }
        assert!(packed.column(slots, Metric::Cpu).is_none());
        assert!(packed.tree_column(slots, Metric::Cpu).is_none());
        assert!(!packed.has_tree(slots));
    }

    /// The same block is reused for all, so that it also holds nothing of what it held before.
    #[test]
    #[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
    fn packed_block_holds_what_its_blocks_held() {
        let (mut random, mut packed) = (Random(0x9e37_79b9_7f4a_7c15), PackedBlock::default());
        for _ in 0..if cfg!(miri) { 2 } else { 100 } {
            let blocks = random_blocks(&mut random);
            pack(&mut packed, &blocks);
            assert_equal(&packed, &blocks);
        }
    }

    #[test]
    fn reused_block_of_same_size_keeps_its_room() {
        let blocks = random_blocks(&mut Random(77));
        let mut packed = PackedBlock::default();
        pack(&mut packed, &blocks);
        let room = |packed: &PackedBlock| {
            let data = (packed.data.as_ptr() as usize, packed.data.capacity());
            (data, packed.slots.capacity(), packed.trees.capacity(), packed.tree_slots.capacity())
        };
        let before = room(&packed);
        pack(&mut packed, &blocks);
        assert_eq!(room(&packed), before);
        let most = packed.data.len() * 5 / 4 + 64;
        assert!(packed.data.capacity() <= most, "{} of {most}", packed.data.capacity());
        // Room for many slots is released by a block of few.
        packed.data.reserve(1 << 20);
        pack(&mut packed, &blocks);
        assert!(packed.data.capacity() <= most, "{} of {most}", packed.data.capacity());
    }
}
