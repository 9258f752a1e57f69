//! Frames and blocks, and what was retired, kept until it can be used again.
//!
//! The way of a tick: a frame is drafted from a used one, filled by the roster, and committed;
//! every thirty of them are regrouped into a block. A publication is a used snapshot that is brought
//! up to date: it gets the frames that it does not have yet, and pointers to the rest.

use std::sync::Arc;

use super::pool::{Limits, Pool};
use crate::model::block::{Block, TICKS};
use crate::model::frame::{Frame, Total};
use crate::model::record::Table;
use crate::model::sample::Row;
use crate::model::snapshot::{Origin, Published};
use crate::model::system::{SamplerStats, SystemMetrics};
use crate::model::time::Now;
use crate::model::timeline::{BlockList, Timeline};
use crate::shared::publish::Publisher;

/// Retired snapshots, lists and tables that are kept for readers; a host that leaks more of them
/// pays for them itself.
const HELD: usize = 64;

/// The history as the sampler has it, and the current pieces of a publication.
#[derive(Debug)]
pub(crate) struct Store {
    /// Samples that are kept of each plugin.
    samples: u64,
    tick: u64,
    frames: Vec<Arc<Frame>>,
    blocks: Arc<BlockList>,
    totals: Arc<Vec<Total>>,
    table: Arc<Table>,
    nothing: Nothing,
    retired: Retired,
}

/// What a snapshot that is ours again holds in the place of what it held.
#[derive(Debug, Default)]
struct Nothing {
    blocks: Arc<BlockList>,
    totals: Arc<Vec<Total>>,
    table: Arc<Table>,
}

#[derive(Debug)]
struct Retired {
    snapshots: Pool<Published>,
    lists: Pool<BlockList>,
    tables: Pool<Table>,
    totals: Pool<Vec<Total>>,
    frames: Pool<Frame>,
    blocks: Pool<Block>,
}

/// A tick that is being written.
#[derive(Debug)]
pub(crate) struct Draft {
    frame: Arc<Frame>,
    totals: Arc<Vec<Total>>,
}

impl Draft {
    /// The rows and totals to fill, by slot.
    pub(crate) fn parts(&mut self) -> (&mut Frame, &mut Vec<Total>) {
        let ours = "a draft is taken from what is ours and shared by nobody";
        (Arc::get_mut(&mut self.frame).expect(ours), Arc::get_mut(&mut self.totals).expect(ours))
    }
}

/// Empties `values` and makes room for `len` of them, letting go of room that was needed once.
fn make_room<T>(values: &mut Vec<T>, len: usize) {
    values.clear();
    if values.capacity() > 4 * len + 64 {
        values.shrink_to(len);
    }
    values.reserve_exact(len);
}

impl Store {
    pub(crate) fn new(samples: usize) -> Self {
        let nothing = Nothing::default();
        let small = Limits { free: 2, waiting: HELD, ticks: samples as u64 };
        // What left the window waits for one window more; then it is its readers' to free.
        let frames = Limits { free: TICKS + 4, waiting: samples.max(TICKS) + TICKS, ..small };
        // One leaves the window where one is needed.
        let blocks = Limits { free: 1, waiting: samples / TICKS + 2, ..small };
        Self {
            samples: samples as u64,
            tick: 0,
            frames: Vec::new(),
            blocks: Arc::clone(&nothing.blocks),
            totals: Arc::clone(&nothing.totals),
            table: Arc::clone(&nothing.table),
            nothing,
            retired: Retired {
                snapshots: Pool::new(small),
                lists: Pool::new(small),
                tables: Pool::new(small),
                totals: Pool::new(small),
                frames: Pool::new(frames),
                blocks: Pool::new(blocks),
            },
        }
    }

    /// The newest tick; 0 before the first.
    pub(crate) const fn tick(&self) -> u64 {
        self.tick
    }

    /// The oldest tick that is part of the history.
    pub(crate) fn oldest(&self) -> u64 {
        (self.tick + 1).saturating_sub(self.samples).max(1)
    }

    /// What the newest tick recorded in `slot`, unless that was before `first_tick`.
    pub(crate) fn newest(&self, slot: u32, first_tick: u64) -> Option<(Row, Total)> {
        if self.tick < first_tick {
            return None;
        }
        let row = match (self.frames.last(), self.blocks.back()) {
            (Some(frame), _) => frame.row(slot),
            (None, Some(block)) => block.row(slot, TICKS - 1),
            (None, None) => return None,
        };
        Some((row, *self.totals.get(slot as usize)?))
    }

    /// The next tick, to be filled with `rows` rows and handed to [`commit`](Self::commit).
    pub(crate) fn draft(&mut self, at: Now, rows: usize) -> Draft {
        let tick = self.tick + 1;
        let new = || Arc::new(Frame { tick, at, rows: Vec::new() });
        let frame = self.retired.frames.take().unwrap_or_else(new);
        let totals = self.retired.totals.take().unwrap_or_default();
        let mut draft = Draft { frame, totals };
        let (frame, totals) = draft.parts();
        (frame.tick, frame.at) = (tick, at);
        make_room(&mut frame.rows, rows);
        make_room(totals, rows);
        draft
    }

    /// Makes `draft` the newest tick.
    pub(crate) fn commit(&mut self, draft: Draft) {
        self.tick = draft.frame.tick;
        self.frames.push(draft.frame);
        let old = std::mem::replace(&mut self.totals, draft.totals);
        self.retired.totals.retire(old, self.tick);
        // A history shorter than a block never gets to one: its frames leave one by one.
        let oldest = self.oldest();
        let left = self.frames.iter().take_while(|frame| frame.tick < oldest).count();
        for frame in self.frames.drain(..left) {
            self.retired.frames.retire(frame, self.tick);
        }
        if self.frames.len() == TICKS {
            self.regroup();
        }
    }

    /// Turns the thirty frames into a block, and lets the blocks go that have left the window.
    fn regroup(&mut self) {
        let now = self.frames[0].at;
        let mut block = self.retired.blocks.take().unwrap_or_else(|| Arc::new(Block::new(now)));
        Arc::get_mut(&mut block).expect("what a pool gives is ours").regroup(&self.frames);

        let mut list = self.retired.lists.take().unwrap_or_default();
        let blocks = Arc::get_mut(&mut list).expect("what a pool gives is ours");
        follow(blocks, &self.blocks);
        blocks.push_back(block);
        let oldest = self.oldest();
        while blocks.front().is_some_and(|block| block.end() <= oldest) {
            if let Some(block) = blocks.pop_front() {
                self.retired.blocks.retire(block, self.tick);
            }
        }
        let old = std::mem::replace(&mut self.blocks, list);
        self.retired.lists.retire(old, self.tick);
        for frame in self.frames.drain(..) {
            self.retired.frames.retire(frame, self.tick);
        }
        // What is free must not hold what has just been retired, or it would never be ours.
        for list in self.retired.lists.free_mut() {
            drop_left(list, &self.blocks);
        }
        for snapshot in self.retired.snapshots.free_mut() {
            snapshot.timeline.frames.clear();
        }
    }

    /// Makes a new table the current one. `fill` gets one that is ours: perhaps empty, perhaps an
    /// old one of which most is still true. It also gets the current one.
    pub(crate) fn change_table(&mut self, fill: impl FnOnce(&mut Table, &Table)) {
        let mut table = self.retired.tables.take().unwrap_or_default();
        let ours = Arc::get_mut(&mut table).expect("what a pool gives is ours");
        fill(ours, &self.table);
        let old = std::mem::replace(&mut self.table, table);
        self.retired.tables.retire(old, self.tick);
    }

    /// Publishes what is current, and takes back what readers no longer see.
    pub(crate) fn publish(&mut self, header: Header, publisher: &mut Publisher) {
        let Header { origin, revision, stopped, system, sampler } = header;
        let mut next = self
            .retired
            .snapshots
            .take()
            .unwrap_or_else(|| Arc::new(Published::before_the_first_tick(origin, stopped)));
        let snapshot = Arc::get_mut(&mut next).expect("what a pool gives is ours");
        let mut frames = std::mem::take(&mut snapshot.timeline.frames);
        follow_frames(&mut frames, &self.frames);
        *snapshot = Published {
            origin,
            revision,
            stopped,
            timeline: Timeline {
                blocks: Arc::clone(&self.blocks),
                frames,
                oldest: self.oldest(),
                newest: self.tick,
            },
            totals: Arc::clone(&self.totals),
            table: Arc::clone(&self.table),
            system,
            sampler,
        };
        let old = publisher.publish(next);
        self.retired.snapshots.retire(old, self.tick);
        self.sweep();
    }

    /// Takes back what is ours again. Holders come before what they hold.
    fn sweep(&mut self) {
        let Self { tick, retired, nothing, frames, blocks, table, .. } = self;
        retired.snapshots.sweep(*tick, |snapshot| {
            snapshot.timeline.blocks = Arc::clone(&nothing.blocks);
            snapshot.totals = Arc::clone(&nothing.totals);
            snapshot.table = Arc::clone(&nothing.table);
            drop_left_frames(&mut snapshot.timeline.frames, frames);
        });
        retired.lists.sweep(*tick, |list| drop_left(list, blocks));
        retired.tables.sweep(*tick, |old| {
            // One of nearly the same set will be true again but for a few; another is ballast.
            if !Arc::ptr_eq(&old.names, &table.names) {
                *old = Table::default();
            }
        });
        retired.totals.sweep(*tick, |_| ());
        retired.frames.sweep(*tick, |_| ());
        retired.blocks.sweep(*tick, |_| ());
    }
}

/// What a publication says beside history and table.
#[derive(Debug)]
pub(crate) struct Header {
    pub origin: Origin,
    pub revision: u64,
    pub stopped: bool,
    pub system: SystemMetrics,
    pub sampler: SamplerStats,
}

/// Drops from `list` the blocks that are before those of `current`.
fn drop_left(list: &mut BlockList, current: &BlockList) {
    let first = current.front().map_or(u64::MAX, |block| block.first);
    while list.front().is_some_and(|block| block.first < first) {
        list.pop_front();
    }
}

/// Makes `list`, which was current a while ago, the same as `current`: what differs is at the ends,
/// so that it costs what has happened since, not the length of the history.
fn follow(list: &mut BlockList, current: &BlockList) {
    drop_left(list, current);
    list.extend(current.iter().skip(list.len()).cloned());
}

/// The same for frames, of which there are thirty at most.
fn follow_frames(frames: &mut Vec<Arc<Frame>>, current: &[Arc<Frame>]) {
    drop_left_frames(frames, current);
    frames.extend(current.iter().skip(frames.len()).cloned());
}

fn drop_left_frames(frames: &mut Vec<Arc<Frame>>, current: &[Arc<Frame>]) {
    let first = current.first().map_or(u64::MAX, |frame| frame.tick);
    let left = frames.iter().take_while(|frame| frame.tick < first).count();
    frames.drain(..left);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::*;
    use crate::model::snapshot::Snapshot;

    struct Bench {
        store: Store,
        publisher: Publisher,
        origin: Origin,
    }

    impl Bench {
        fn new(samples: usize) -> Self {
            let started =
                Now { mono: Instant::now(), wall: SystemTime::UNIX_EPOCH, boot: Duration::ZERO };
            let second = Duration::from_secs(1);
            let origin = Origin {
                started,
                poll_interval: second,
                history_duration: second * samples as u32,
            };
            let publisher = Publisher::new(Published::before_the_first_tick(origin, false));
            Self { store: Store::new(samples), publisher, origin }
        }

        /// One tick of `rows` rows, whose CPU column is the tick.
        fn tick(&mut self, rows: usize) {
            let tick = self.store.tick() + 1;
            let at = self.origin.started.after(Duration::from_secs(tick));
            let mut draft = self.store.draft(at, rows);
            let (frame, totals) = draft.parts();
            let row = Row { cpu: tick as u32, run_and_state: 3, ..Row::ABSENT };
            frame.rows.resize(rows, row);
            totals.resize(rows, Total { events: tick, ..Total::default() });
            self.store.commit(draft);
            self.publish();
        }

        fn publish(&mut self) {
            let header = Header {
                origin: self.origin,
                revision: self.store.tick(),
                stopped: false,
                system: SystemMetrics::default(),
                sampler: SamplerStats::default(),
            };
            self.store.publish(header, &mut self.publisher);
        }

        fn snapshot(&self) -> Snapshot {
            self.publisher.reader().snapshot()
        }
    }

    fn assert_holds(snapshot: &Snapshot, samples: u64) {
        let timeline = &snapshot.0.timeline;
        assert_eq!(timeline.newest - timeline.oldest + 1, samples.min(timeline.newest));
        for tick in timeline.oldest..=timeline.newest {
            assert_eq!(timeline.row(tick, 0).cpu, tick as u32, "{timeline:?}");
        }
        assert_eq!(snapshot.0.totals[0].events, timeline.newest);
    }

    #[test]
    fn the_history_holds_the_newest_samples_whatever_its_length() {
        for samples in [1, 2, 10, 29, 30, 31, 59, 60, 61, 95] {
            let mut bench = Bench::new(samples);
            for _ in 0..4 * TICKS + 7 {
                bench.tick(2);
                assert_holds(&bench.snapshot(), samples as u64);
            }
        }
    }

    #[test]
    fn a_snapshot_that_is_held_does_not_change_while_the_window_turns_over() {
        let mut bench = Bench::new(70);
        for _ in 0..45 {
            bench.tick(1);
        }
        let held = bench.snapshot();
        for _ in 0..500 {
            bench.tick(1);
        }
        assert_eq!(held.tick(), 45);
        assert_holds(&held, 45);
        assert_holds(&bench.snapshot(), 70);
    }

    #[test]
    fn without_readers_everything_that_is_retired_is_used_again() {
        let mut bench = Bench::new(60);
        let mut seen = std::collections::HashSet::new();
        let address = |snapshot: &Snapshot| Arc::as_ptr(&snapshot.0) as usize;
        for tick in 0..1_000 {
            bench.tick(1);
            if tick >= 200 {
                let snapshot = bench.snapshot();
                seen.insert(address(&snapshot));
                let timeline = &snapshot.0.timeline;
                seen.insert(Arc::as_ptr(&timeline.blocks) as usize);
                seen.insert(Arc::as_ptr(&snapshot.0.totals) as usize);
                seen.extend(timeline.blocks.iter().map(|block| Arc::as_ptr(block) as usize));
                seen.extend(timeline.frames.iter().map(|frame| Arc::as_ptr(frame) as usize));
            }
        }
        // Two snapshots, three lists, three totals; three or four blocks, and frames for thirty
        // ticks and for what the last snapshots before a regrouping still held.
        assert!(seen.len() <= 2 + 3 + 3 + 5 + TICKS + 8, "{} places", seen.len());
    }

    #[test]
    fn a_reader_that_lets_go_of_an_old_snapshot_is_not_its_last_owner() {
        let mut bench = Bench::new(60);
        for _ in 0..100 {
            bench.tick(1);
        }
        let held = bench.snapshot();
        let frames: Vec<_> = held.0.timeline.frames.iter().map(Arc::downgrade).collect();
        let blocks: Vec<_> = held.0.timeline.blocks.iter().map(Arc::downgrade).collect();
        for _ in 0..50 {
            bench.tick(1);
        }
        drop(held);
        assert!(frames.iter().all(|frame| frame.strong_count() > 0));
        assert!(blocks.iter().all(|block| block.strong_count() > 0));
    }

    #[test]
    fn a_snapshot_that_was_held_for_a_window_leaves_nothing_with_the_sampler() {
        let mut bench = Bench::new(600);
        for _ in 0..700 {
            bench.tick(1);
        }
        let kept = |bench: &Bench| {
            let Retired { snapshots, lists, frames, blocks, .. } = &bench.store.retired;
            (snapshots.len(), lists.len(), frames.len(), blocks.len())
        };
        let held = bench.snapshot();
        for _ in 0..600 {
            bench.tick(1);
        }
        let (.., blocks) = kept(&bench);
        assert!(blocks >= 19, "what a reader holds is kept: {blocks} blocks");
        drop(held);
        for _ in 0..100 {
            bench.tick(1);
        }
        let (snapshots, lists, frames, blocks) = kept(&bench);
        assert!(snapshots <= 3 && lists <= 3 && blocks <= 3, "{snapshots} {lists} {blocks}");
        assert!(frames <= 2 * TICKS + 4, "{frames} frames");
    }

    #[test]
    fn rooms_that_were_needed_once_are_given_back() {
        let mut bench = Bench::new(60);
        for _ in 0..40 {
            bench.tick(1_000);
        }
        for _ in 0..200 {
            bench.tick(1);
        }
        let snapshot = bench.snapshot();
        let rooms = snapshot.0.timeline.frames.iter().map(|frame| frame.rows.capacity());
        assert!(rooms.max().unwrap_or(0) < 100);
    }
}
