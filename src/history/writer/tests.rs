use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::history::metric::Metric;
use crate::history::tree_row::TreeRow;
use crate::history::units::CpuShare;
use crate::snapshot::Snapshot;
use crate::time::MonoNanos;

struct Harness {
    writer: HistoryWriter,
    published: Arc<SnapshotInner>,
    info: CollectorInfo,
}

impl Harness {
    /// Of a tick a second: the history is shorter than an hour.
    fn new(max_samples: usize) -> Self {
        Self::with_poll_interval(max_samples, Duration::from_secs(1))
    }

    /// With an hour of 120 ticks, the shortest part of a history that is not packed.
    fn packing(max_samples: usize) -> Self {
        Self::with_poll_interval(max_samples, Duration::from_secs(30))
    }

    fn with_poll_interval(max_samples: usize, poll_interval: Duration) -> Self {
        let started =
            TimePoint { mono: MonoNanos(0), wall: SystemTime::UNIX_EPOCH, boot: Duration::ZERO };
        let info = CollectorInfo {
            started,
            started_instant: Instant::now(),
            poll_interval,
            history_duration: poll_interval * max_samples as u32,
            process_trees: true,
            cpu_cores: 1,
            machine_memory: None,
            resumed: None,
        };
        let first = SnapshotInner::before_first_tick(info, CollectorStatus::Running);
        Self {
            writer: HistoryWriter::new(max_samples, poll_interval),
            published: Arc::new(first),
            info,
        }
    }

    /// One tick of `slots` samples, whose CPU column holds the tick.
    fn tick(&mut self, slots: usize) {
        let tick = self.writer.tick() + 1;
        let at = self.info.started.after(self.info.poll_interval * tick as u32);
        let mut pending = self.writer.begin_tick(at, slots);
        let (frame, newest) = pending.parts();
        let sample = PackedSample::from_columns(|metric| match metric {
            Metric::Cpu => tick as u32,
            Metric::RunAndState => 3,
            Metric::Memory | Metric::Events | Metric::Crashes => 0,
        });
        frame.samples.resize(slots, sample);
        newest.totals.resize(slots, TickTotals { events: tick, ..TickTotals::default() });
        // A tree in half of the ticks.
        if tick.is_multiple_of(2) {
            let values = TreeValues::new(Some(tick as u32 + 1), None, Some(2));
            frame.trees.push(TreeRow { slot: 0, values });
        }
        self.writer.commit(pending);
        self.publish();
    }

    fn publish(&mut self) {
        let next = self.writer.build_snapshot(SnapshotHeader {
            info: self.info,
            revision: self.writer.tick(),
            status: CollectorStatus::Running,
            system: SystemMetrics::default(),
            sampler: SamplerStats::default(),
        });
        let old = std::mem::replace(&mut self.published, next);
        self.writer.retire_snapshot(old);
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot(Arc::clone(&self.published))
    }
}

fn assert_holds(snapshot: &Snapshot, samples: u64) {
    let timeline = &snapshot.0.timeline;
    assert_eq!(timeline.newest - timeline.oldest + 1, samples.min(timeline.newest));
    for tick in timeline.oldest..=timeline.newest {
        assert_eq!(timeline.sample(tick, 0).get(Metric::Cpu), tick as u32, "{timeline:?}");
        let more = u32::from(tick % 2 == 0);
        let (_, tree) = timeline.at_with_tree(tick, 0, timeline.sample(tick, 0)).unwrap();
        assert_eq!(tree.cpu(), Some(CpuShare(tick as u32 + more)));
    }
    let mut column = Vec::new();
    timeline.values(0, Metric::Cpu, true, timeline.oldest..timeline.newest + 1, &mut column);
    let expected =
        (timeline.oldest..=timeline.newest).map(|tick| tick as u32 + u32::from(tick % 2 == 0));
    assert!(column.into_iter().eq(expected));
    let has_row = (timeline.oldest..=timeline.newest).any(|tick| tick % 2 == 0);
    // A block that begins before the window may have a row there.
    assert!(timeline.has_tree(0, timeline.oldest) || !has_row);
    assert_eq!(snapshot.0.newest.totals[0].events, timeline.newest);
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn history_of_any_length_holds_newest_samples() {
    for samples in [1, 2, 10, 29, 30, 31, 59, 60, 61, 95] {
        let mut harness = Harness::new(samples);
        for _ in 0..4 * BLOCK_TICKS + 7 {
            harness.tick(2);
            assert_holds(&harness.snapshot(), samples as u64);
        }
    }
}

#[test]
fn held_snapshot_is_unchanged_by_later_ticks() {
    let mut harness = Harness::new(70);
    for _ in 0..45 {
        harness.tick(1);
    }
    let held = harness.snapshot();
    for _ in 0..500 {
        harness.tick(1);
    }
    assert_eq!(held.tick(), 45);
    assert_holds(&held, 45);
    assert_holds(&harness.snapshot(), 70);
}

#[test]
fn retired_values_without_readers_are_reused() {
    let mut harness = Harness::new(60);
    let mut addresses = std::collections::HashSet::new();
    for tick in 0..if cfg!(miri) { 300 } else { 1_000 } {
        harness.tick(1);
        if tick >= 200 {
            let snapshot = harness.snapshot();
            addresses.insert(Arc::as_ptr(&snapshot.0) as usize);
            let timeline = &snapshot.0.timeline;
            addresses.insert(Arc::as_ptr(&timeline.blocks) as usize);
            addresses.insert(Arc::as_ptr(&snapshot.0.newest) as usize);
            addresses.extend(timeline.blocks.raw.iter().map(|block| Arc::as_ptr(block) as usize));
            addresses.extend(timeline.frames.iter().map(|frame| Arc::as_ptr(frame) as usize));
        }
    }
    // Two snapshots, three lists, three totals; three or four blocks, and frames for thirty
    // ticks and for those that the last snapshots before a seal still held.
    assert!(addresses.len() <= 2 + 3 + 3 + 5 + BLOCK_TICKS + 8, "{}", addresses.len());
}

#[test]
fn reader_is_never_last_owner_of_old_snapshot() {
    let mut harness = Harness::new(60);
    for _ in 0..100 {
        harness.tick(1);
    }
    let held = harness.snapshot();
    let frames: Vec<_> = held.0.timeline.frames.iter().map(Arc::downgrade).collect();
    let blocks: Vec<_> = held.0.timeline.blocks.raw.iter().map(Arc::downgrade).collect();
    for _ in 0..50 {
        harness.tick(1);
    }
    drop(held);
    assert!(frames.iter().all(|frame| frame.strong_count() > 0));
    assert!(blocks.iter().all(|block| block.strong_count() > 0));
}

#[test]
fn snapshot_held_for_a_window_leaves_pools_bounded() {
    let window = if cfg!(miri) { 150 } else { 600 };
    let mut harness = Harness::new(window);
    for _ in 0..window + 100 {
        harness.tick(1);
    }
    let kept = |harness: &Harness| {
        let RecyclePools { snapshots, lists, frames, blocks, .. } = &harness.writer.pools;
        (snapshots.len(), lists.len(), frames.len(), blocks.len())
    };
    let held = harness.snapshot();
    for _ in 0..window {
        harness.tick(1);
    }
    let (.., blocks) = kept(&harness);
    assert!(blocks >= window / BLOCK_TICKS - 1, "blocks held by a reader are kept: {blocks}");
    drop(held);
    for _ in 0..100 {
        harness.tick(1);
    }
    let (snapshots, lists, frames, blocks) = kept(&harness);
    assert!(snapshots <= 3 && lists <= 3 && blocks <= 3, "{snapshots} {lists} {blocks}");
    assert!(frames <= 2 * BLOCK_TICKS + 4, "{frames} frames");
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn unused_room_of_frames_is_released() {
    let mut harness = Harness::new(60);
    for _ in 0..40 {
        harness.tick(1_000);
    }
    for _ in 0..200 {
        harness.tick(1);
    }
    let snapshot = harness.snapshot();
    let room = snapshot.0.timeline.frames.iter().map(|frame| frame.samples.capacity());
    assert!(room.max().unwrap_or(0) < 100);
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn packed_history_holds_newest_samples() {
    // Lengths around those of blocks, and the shortest ones that are packed and that are not.
    for samples in [240, 359, 360, 361, 389, 390, 400, 480, 481, 599, 700] {
        let mut harness = Harness::packing(samples);
        for _ in 0..samples + 4 * PACKED_TICKS + 7 {
            harness.tick(2);
            let tick = harness.writer.tick();
            // Every tick where something changes, and some of the others.
            if tick % 30 < 2 || tick.is_multiple_of(7) {
                assert_holds(&harness.snapshot(), samples as u64);
            }
        }
        let packed = harness.snapshot().0.timeline.blocks.packed.len();
        assert_eq!(packed > 0, samples >= 360, "{packed} packed blocks of {samples} samples");
    }
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn newest_hour_is_not_packed() {
    let mut harness = Harness::packing(600);
    for _ in 0..2_000 {
        harness.tick(3);
        let snapshot = harness.snapshot();
        let Timeline { blocks, newest, .. } = &snapshot.0.timeline;
        let packed = blocks.packed.back().map_or(0, |block| block.end());
        assert!(packed <= newest + 1 - 120.min(*newest), "{packed} at {newest}");
        // Two packed blocks are due in twice their ticks, and each is ready before the next is due.
        let raw = blocks.raw.len();
        assert!(raw <= 4 + PACKED_BLOCKS + 3, "{raw} blocks at {newest}");
        assert!(blocks.packed.len() <= 600 / PACKED_TICKS, "at {newest}");
    }
}

/// Slots are added and removed at any tick, also while blocks with them are being packed.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn packed_blocks_follow_number_of_slots() {
    let mut harness = Harness::packing(700);
    let slots_at = |tick: u64| match tick / 100 % 5 {
        0 => 1,
        1 => 200,
        2 => 3 + (tick % 50) as usize,
        3 => 2,
        _ => 90,
    };
    for _ in 0..2_000 {
        harness.tick(slots_at(harness.writer.tick() + 1));
        let tick = harness.writer.tick();
        if tick.is_multiple_of(40) {
            let snapshot = harness.snapshot();
            assert_holds(&snapshot, 700);
            let timeline = &snapshot.0.timeline;
            for tick in timeline.oldest..=timeline.newest {
                let slots = slots_at(tick) as u32;
                let has = |slot| timeline.sample(tick, slot) != PackedSample::MISSING;
                assert!(has(slots - 1) && !has(slots) && !has(slots + 100), "tick {tick}");
            }
        }
    }
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn held_snapshot_is_unchanged_by_packing() {
    let mut harness = Harness::packing(500);
    for _ in 0..310 {
        harness.tick(70);
    }
    // Before a block is packed, while one is, and after.
    let held: Vec<_> = (0..200)
        .map(|_| {
            harness.tick(70);
            harness.snapshot()
        })
        .collect();
    for _ in 0..1_500 {
        harness.tick(70);
    }
    for snapshot in held {
        assert_holds(&snapshot, 500);
    }
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn packed_blocks_without_readers_are_reused() {
    let mut harness = Harness::packing(600);
    let mut addresses = std::collections::HashSet::new();
    for tick in 0..6_000 {
        harness.tick(2);
        if tick >= 1_500 {
            let snapshot = harness.snapshot();
            let BlockList { packed, raw } = &*snapshot.0.timeline.blocks;
            addresses.extend(packed.iter().map(|block| Arc::as_ptr(block) as usize));
            addresses.extend(raw.iter().map(|block| Arc::as_ptr(block) as usize));
        }
    }
    // At most five packed blocks at once and one being packed; at most eleven others, and four that
    // wait to be filled.
    assert!(addresses.len() <= 6 + 15, "{}", addresses.len());
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn reader_is_never_last_owner_of_packed_block() {
    let mut harness = Harness::packing(400);
    for _ in 0..900 {
        harness.tick(1);
    }
    let held = harness.snapshot();
    let packed: Vec<_> = held.0.timeline.blocks.packed.iter().map(Arc::downgrade).collect();
    let raw: Vec<_> = held.0.timeline.blocks.raw.iter().map(Arc::downgrade).collect();
    for _ in 0..350 {
        harness.tick(1);
    }
    drop(held);
    assert!(!packed.is_empty() && packed.iter().all(|block| block.strong_count() > 0));
    assert!(raw.iter().all(|block| block.strong_count() > 0));
    drop((packed, raw)); // weak references are owners as well, for the pools
    // The sampler frees what it does not need.
    for _ in 0..100 {
        harness.tick(1);
    }
    let RecyclePools { blocks, packed, .. } = &harness.writer.pools;
    let (blocks, packed) = (blocks.len(), packed.len());
    assert!(blocks <= 2 * PACKED_BLOCKS && packed <= 1, "{blocks} blocks, {packed} packed");
}
