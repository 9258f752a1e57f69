//! Crash loops.

use super::columns::Columns;
use super::finding::{Finding, FindingKind, Onset};

/// A loop begins with this many crashes within this time.
const CRASHES: usize = 3;
const WITHIN_SECONDS: f64 = 600.0;
/// It lasts until there was none for so many times its last gap, which lets a backoff double, and at
/// least for this time.
const GAPS: usize = 3;
const PAUSE_SECONDS: f64 = 120.0;

/// A loop in progress.
#[derive(Clone, Copy)]
struct Loop {
    /// The index of the tick with its first crash.
    first: usize,
    /// Times, in intervals.
    first_at: usize,
    last_at: usize,
    gap: usize,
    count: u64,
}

pub(super) fn judge(columns: &Columns<'_>) -> Option<Finding> {
    let (view, crashes) = (columns.view(), columns.tick_crashes);
    let last_crash = view.last_crash()?;
    let interval = view.snapshot().poll_interval().as_secs_f64();
    // Crashes of the same tick may be hours apart.
    if interval * 2.0 > WITHIN_SECONDS {
        return None;
    }
    let intervals = |seconds: f64| (seconds / interval).round() as usize;
    // Crashes that were counted after the tick belong to the next one, which is not recorded yet.
    let extra = u32::try_from(view.crashes_since_tick()).unwrap_or(u32::MAX);
    let recorded = crashes.iter().copied().chain([extra]);
    let newest = crashes.len().saturating_sub(1);
    // By the clock: the ticks before and after a time without a collector are neighbours.
    let age = |tick: usize| {
        let age = newest.checked_sub(tick).and_then(|back| view.sample_age(back));
        intervals(age.unwrap_or_default().as_secs_f64())
    };
    let oldest = age(0);
    let time = |tick: usize| oldest - age(tick).min(oldest) + usize::from(tick > newest);
    let pause = intervals(PAUSE_SECONDS);
    let found = find(recorded, time, intervals(WITHIN_SECONDS), pause, time(newest))?;
    let judged: u64 = crashes.iter().copied().chain([extra]).map(u64::from).sum();
    let first = columns.crash_time(found.first).min(last_crash);
    // An earlier crash may be a part of it, as far as the window shows: three crashes within this time are a
    // loop, and a loop goes on for three times its last gap.
    let is_older = view.crash_count() > judged
        && found.first_at <= intervals(WITHIN_SECONDS).max(GAPS * found.gap);
    // The time is that of its first crash in the window either way, so that it stays when this changes.
    let since = if is_older { Onset::Before(first) } else { Onset::At(first) };
    let kind = FindingKind::CrashLoop { count: found.count, last: last_crash };
    Some(Finding::new(view, since, kind))
}

/// The loop that lasts at the time `now`. `time` returns that of a tick.
fn find(
    crashes: impl Iterator<Item = u32>,
    time: impl Fn(usize) -> usize,
    within: usize,
    pause: usize,
    now: usize,
) -> Option<Loop> {
    let is_over = |gap: usize, quiet: usize| quiet > (GAPS * gap).max(pause);
    let mut recent: [Option<(usize, usize, u64)>; CRASHES] = [None; CRASHES];
    let (mut total, mut found): (u64, Option<Loop>) = (0, None);
    for (tick, crashes) in crashes.enumerate().filter(|&(_, crashes)| crashes > 0) {
        let at = time(tick);
        if let Some(known) = &mut found {
            if is_over(known.gap, at - known.last_at) {
                found = None;
                recent = [None; CRASHES];
            } else {
                // One short gap does not make the next long one the end.
                known.gap = (at - known.last_at).max(known.gap / 2);
                known.last_at = at;
                known.count += u64::from(crashes);
                continue;
            }
        }
        for _ in 0..crashes.min(CRASHES as u32) {
            recent = [recent[1], recent[2], Some((tick, at, total))];
        }
        total += u64::from(crashes);
        if let Some((first, first_at, before)) = recent[0]
            && at - first_at <= within
        {
            let (gap, count) = ((at - first_at) / 2, total - before);
            found = Some(Loop { first, first_at, last_at: at, gap, count });
        }
    }
    found.filter(|found| !is_over(found.gap, now.saturating_sub(found.last_at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At 5 s.
    fn found(ticks: &[usize], newest: usize) -> Option<(usize, u64)> {
        let crashes = (0..=newest).map(|tick| u32::from(ticks.contains(&tick)));
        find(crashes, |tick| tick, 120, 24, newest).map(|found| (found.first, found.count))
    }

    #[test]
    fn loop_begins_with_third_crash_and_ends_after_three_gaps() {
        let crashes = [10, 50, 90];
        assert_eq!(found(&crashes, 89), None);
        assert_eq!(found(&crashes, 90), Some((10, 3)));
        assert_eq!(found(&crashes, 210), Some((10, 3)));
        assert_eq!(found(&crashes, 211), None);
        // Two minutes at least.
        assert_eq!(found(&[10, 12, 14], 38), Some((10, 3)));
        assert_eq!(found(&[10, 12, 14], 39), None);
    }

    #[test]
    fn slow_crashes_are_no_loop() {
        assert_eq!(found(&[0, 100, 200, 300], 300), None);
        assert_eq!(found(&[0, 60, 120], 120), Some((0, 3)));
    }

    #[test]
    fn doubling_backoff_stays_one_loop() {
        let crashes = [0, 2, 6, 14, 30, 62, 122, 182];
        let step = if cfg!(miri) { 37 } else { 1 };
        for newest in (6..=300).step_by(step) {
            let count = crashes.iter().filter(|&&tick| tick <= newest).count() as u64;
            assert_eq!(found(&crashes, newest), Some((0, count)), "tick {newest}");
        }
    }

    #[test]
    fn crashes_of_one_tick_are_a_loop() {
        let found = find([0, 5].into_iter(), |tick| tick, 120, 24, 1);
        assert_eq!(found.map(|found| found.count), Some(5));
    }

    /// Fifty minutes without a collector after the sixth tick.
    #[test]
    fn gap_between_two_ticks_counts_as_time() {
        let found = |ticks: &[usize], newest: usize| {
            let crashes = (0..=newest).map(|tick| u32::from(ticks.contains(&tick)));
            let time = |tick: usize| if tick > 6 { tick + 600 } else { tick };
            find(crashes, time, 120, 24, time(newest)).map(|found| found.count)
        };
        assert_eq!(found(&[0, 6, 12], 12), None);
        assert_eq!(found(&[0, 3, 6], 6), Some(3));
        assert_eq!(found(&[0, 3, 6], 7), None);
        assert_eq!(found(&[0, 3, 6, 8, 9, 10], 10), Some(3));
    }

    #[test]
    fn loop_is_counted_from_its_first_crash() {
        // A single crash long before is no part of it.
        assert_eq!(found(&[0, 300, 310, 320], 320), Some((300, 3)));
        // After a pause three crashes are needed again.
        assert_eq!(found(&[10, 50, 90, 250, 300], 300), None);
        assert_eq!(found(&[10, 50, 90, 250, 300, 301], 301), Some((250, 3)));
        // One short gap halves the pause.
        let crashes = [0, 40, 80, 85];
        assert_eq!(found(&crashes, 85 + 60), Some((0, 4)));
        assert_eq!(found(&crashes, 85 + 61), None);
    }
}
