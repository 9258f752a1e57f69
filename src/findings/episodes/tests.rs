use std::collections::HashMap;

use super::*;
use crate::findings::random::random;

#[test]
fn stride_selects_multiples_of_sample_numbers() {
    let numbers: Vec<f32> = (0..200u8).map(f32::from).collect();
    let whole: Vec<u32> = (0..200).collect();
    // Without some of the samples.
    let gaps: Vec<u32> = (0..400).filter(|sample| sample % 7 > 2 || sample / 50 == 3).collect();
    for (at, first) in [(&whole, 0), (&whole, 1_000_001), (&gaps, 4), (&gaps, 1 << 40)] {
        for stride in [1, 3, 9, 27] {
            for range in [0..200, 26..199, 80..80, 150..151] {
                let is_taken = |&i: &usize| (first + u64::from(at[i])).is_multiple_of(stride);
                let expected: Vec<f32> =
                    range.clone().filter(is_taken).map(|i| numbers[i]).collect();
                let mut taken = Vec::new();
                extend_by_stride(&numbers, at, first, stride, range, &mut taken);
                assert_eq!(taken, expected, "from {first} by {stride}");
            }
        }
    }
}

/// A level with noise, bursts and a rise in the last part.
fn series(seed: u64, n: usize) -> Series {
    let mut random = random(seed);
    let mut series = Series::default();
    for sample in 0..n {
        let risen = if sample > n * 3 / 4 { 30_000.0 * random() } else { 0.0 };
        let burst = if random() > 0.97 { 45_000.0 } else { 0.0 };
        // One sample in twenty is unknown.
        if random() > 0.05 {
            series.push(sample, (10_000.0 + 4_000.0 * random() + risen + burst) as u32);
        }
    }
    series.ladder.fill(&series.values, 81, true);
    series
}

fn rungs() -> [Rung; MAX_RUNGS] {
    [
        Rung {
            single: 0.995,
            single_ratio: 3.0,
            ..Rung::cpu(Level::All3, Level::Med3, Level::Raw)
        },
        Rung { guard: 18, factor: 1.5, ..Rung::cpu(Level::Med3, Level::All9, Level::Mean9) },
        Rung { single: 0.9, ..Rung::cpu(Level::All9, Level::Med9, Level::Mean9) },
        Rung {
            over_factor: 1.1,
            least: 9_000.0,
            ..Rung::cpu(Level::Med9, Level::Med27, Level::Mean27)
        },
    ]
}

/// By sorting: the value at a share of the ranks.
fn at_share(sorted: &[f32], share: f32) -> f32 {
    sorted[((sorted.len() - 1) as f32 * share + 0.5) as usize]
}

#[test]
fn reference_is_that_of_sorted_values() {
    let cases = [(1, 0), (2, 17), (3, 1 << 33)];
    for (seed, first) in cases.into_iter().take(if cfg!(miri) { 1 } else { 3 }) {
        let series = series(seed, 300);
        for rung in rungs() {
            for end in [27, 40, 90, 200] {
                let width = rung.level.width();
                let sorted = |level: Level, stride: u64, begin: usize| {
                    let taken = (begin..end)
                        .filter(|&i| (first + u64::from(series.at[i])).is_multiple_of(stride));
                    let mut values: Vec<f32> = taken.map(|i| series.ladder[level][i]).collect();
                    values.sort_by(f32::total_cmp);
                    values
                };
                let stride = (width as u64 / 3).max(1);
                let reference = Reference::of(
                    &series.ladder,
                    &series.at,
                    first,
                    &rung,
                    end,
                    5,
                    &mut Vec::new(),
                );
                assert_eq!(reference.minute, 5);
                let values = sorted(rung.level, stride, width - 1);
                if values.len() < 6 {
                    assert_eq!(reference.mean, f32::INFINITY);
                    continue;
                }
                let n = values.len();
                let middle = values[(n - 1) / 2];
                let spread = [
                    at_share(&values, 0.84) - middle,
                    0.6 * (at_share(&values, 0.95) - middle),
                    0.04 * middle,
                    0.03 * rung.least,
                ];
                let for_few = 1.0 + 8.0 / n as f32;
                let spread = spread.into_iter().fold(0.0, f32::max) * for_few;
                assert_eq!((reference.middle, reference.spread), (middle, spread), "{rung:?}");
                let means = sorted(rung.mean, stride, width - 1);
                let center = means[(n - 1) / 2];
                let upper = &means[(n - 1) / 2 + 1..];
                let high = upper[(upper.len() as f32 * 0.68) as usize];
                let mean = match rung.mean {
                    Level::Raw => 0.0,
                    _ => center + 4.0 * (high - center) * for_few,
                };
                assert_eq!(reference.mean, mean, "{rung:?}");
                let raw = sorted(Level::Raw, 1, 0);
                let reached = raw[((raw.len() - 1) as f32 * rung.single) as usize];
                let is_single = rung.single > 0.0 && reached >= rung.single_ratio * middle;
                assert_eq!(reference.single, if is_single { reached } else { 0.0 }, "{rung:?}");
            }
        }
    }
}

/// Of 148 values without a spread of their own.
#[test]
fn spread_of_equal_values_is_a_share_of_the_level_or_the_least_rise() {
    let mut series = Series::default();
    (0..200).for_each(|sample| series.push(sample, 1_000));
    series.ladder.fill(&series.values, 81, true);
    for (least, expected) in [(9_000.0, 270.0), (1_000.0, 40.0)] {
        let rung = Rung { least, ..Rung::cpu(Level::All3, Level::Med3, Level::Raw) };
        let Series { ladder, at, .. } = &series;
        let spread = Reference::of(ladder, at, 0, &rung, 150, 5, &mut Vec::new()).spread;
        let expected = expected * (1.0 + 8.0 / 148.0);
        assert!((spread - expected).abs() < 0.01, "{least}: {spread}, not {expected}");
    }
}

/// The definition of a record: what a value of the rung's level exceeds, if it is one.
fn naive_record(series: &Series, rung: &Rung, now: usize) -> Option<f32> {
    let [level, over, mean] = [rung.level, rung.over, rung.mean].map(|level| &series.ladder[level]);
    if now < rung.guard + rung.reference {
        return None;
    }
    let before = rung.over.width() - 1..=now - rung.guard;
    let most = |of: &[f32]| of[before.clone()].iter().copied().fold(f32::MIN, f32::max);
    let highest = (rung.factor * most(level)).max(rung.over_factor * most(over));
    let is_record = level[now] > highest
        && level[now] >= rung.least
        && (rung.mean == Level::Raw || mean[now] >= 1.2 * most(mean));
    is_record.then_some(highest)
}

#[test]
fn records_exceed_all_values_before_the_guard() {
    let mut found = 0;
    for seed in 0..if cfg!(miri) { 1 } else { 12 } {
        let mut series = series(seed, if cfg!(miri) { 200 } else { 400 });
        if seed % 4 == 3 {
            // The first value of a level is a record as well.
            series.values[..3].fill(90_000.0);
            series.ladder.fill(&series.values, 81, true);
        }
        let rungs = rungs();
        let is_any = series.mark_records(&rungs);
        assert_eq!(is_any, series.marks.iter().any(|&marks| marks > 0));
        for (index, rung) in rungs.iter().enumerate() {
            let mut records = Vec::new();
            for now in 0..series.values.len() {
                let record = naive_record(&series, rung, now);
                records.extend(record);
                let is_marked = series.marks[now] & 1 << index > 0;
                assert_eq!(is_marked, record.is_some(), "seed {seed}, rung {index}, value {now}");
            }
            assert_eq!(series.records[index], records);
            found += records.len();
        }
    }
    assert!(found > if cfg!(miri) { 0 } else { 100 }, "{found}");
}

/// The definition, value by value: of each rung at each value, with nothing skipped.
fn naive_episodes(series: &Series, rungs: &[Rung], first: u64) -> Vec<Episode> {
    let ladder = &series.ladder;
    let (mut ended, mut open) = (Vec::new(), None::<(Episode, Level, f32)>);
    let mut references = HashMap::new();
    for now in 0..series.values.len() {
        if let Some((episode, level, below)) = open {
            let is_low = |level: Level| ladder[level].get(now).is_none_or(|&value| value < below);
            let is_long = now - episode.entry >= 27;
            if is_low(level) && (!is_long || is_low(Level::Med27)) {
                ended.push(Episode { to: now, ..episode });
                open = None;
            }
        }
        for (index, rung) in rungs.iter().enumerate() {
            let Some(record) = naive_record(series, rung, now) else { continue };
            let is_replaceable =
                open.is_none_or(|(episode, ..)| episode.is_brief && !rung.is_brief);
            if !is_replaceable {
                continue;
            }
            let minute = (first + u64::from(series.at[now])) / 12;
            let before = now - rung.guard;
            let Reference { middle, spread, single, mean, .. } =
                *references.entry((index, minute)).or_insert_with(|| {
                    let (at, buffer) = (&series.at, &mut Vec::new());
                    Reference::of(ladder, at, first, rung, before, minute, buffer)
                });
            let by_spread = middle + rung.spreads * spread;
            let limits = [by_spread, rung.ratio * middle, middle + rung.least, record, single];
            let limit = limits.into_iter().fold(f32::MIN, f32::max);
            let level = ladder[rung.level][now];
            if level <= limit || ladder[rung.mean][now] <= mean {
                continue;
            }
            let lasting = match rung.level {
                Level::All3 => Level::Med3,
                Level::All9 => Level::Med9,
                _ => Level::Med27,
            };
            let episode = Episode {
                from: open.map_or(now, |(episode, ..)| episode.from),
                to: series.values.len(),
                entry: now,
                before: middle,
                reference: before,
                width: rung.level.width(),
                is_brief: rung.is_brief,
                margin: level / limit,
            };
            let below = (middle + 0.4 * (limit - middle)).max(1.2 * middle);
            open = Some((episode, lasting, below));
        }
    }
    ended.extend(open.map(|(episode, ..)| episode));
    ended
}

/// A level that rises at times, for a few values or many, and falls again, with noise.
fn stairs(seed: u64, n: usize) -> Series {
    let mut random = random(seed);
    let mut series = Series::default();
    let (mut level, mut until) = (10_000.0, 150 + (40.0 * random()) as usize);
    for sample in 0..n {
        if sample == until {
            let is_high = level < 20_000.0 || random() < 0.3;
            level = if is_high { 16_000.0 + 90_000.0 * random() } else { 10_000.0 };
            until +=
                if random() < 0.4 { 3.0 + 6.0 * random() } else { 20.0 + 70.0 * random() } as usize;
        }
        // A dip now and then.
        let share = if random() < 0.02 { 0.2 } else { 1.0 - 0.1 * random() };
        if random() > 0.03 {
            series.push(sample, (level * share) as u32);
        }
    }
    series
}

#[test]
fn replay_finds_the_episodes_of_the_definition() {
    let brief = Rung {
        is_brief: true,
        guard: 18,
        spreads: 8.0,
        ratio: 2.0,
        least: 8_000.0,
        ..Rung::cpu(Level::All3, Level::Med3, Level::Raw)
    };
    let [_, _, third, fourth] = rungs();
    let widest = Rung { guard: 81, ..Rung::cpu(Level::All27, Level::Med27, Level::Mean27) };
    let sets =
        [&[brief, third, fourth, widest][..], &[brief, third], &[widest, brief], &[third, brief]];
    let (mut ended, mut lasting, mut brief, mut extended, mut long) = (0, 0, 0, 0, 0);
    for seed in 0..if cfg!(miri) { 1 } else { 60 } {
        for (set, first) in sets.into_iter().zip([0, 7, 1 << 40, 3]) {
            let mut series = stairs(seed, if cfg!(miri) { 150 } else { 420 });
            let episodes = series.episodes(set, first);
            assert_eq!(episodes, naive_episodes(&series, set, first), "seed {seed}, {set:?}");
            for episode in episodes {
                let is_over = episode.to < series.values.len();
                ended += usize::from(is_over);
                lasting += usize::from(!is_over);
                brief += usize::from(episode.is_brief);
                extended += usize::from(episode.from < episode.entry);
                long += usize::from(is_over && episode.to - episode.entry > 27);
            }
        }
    }
    let counts = [ended, lasting, brief, extended, long];
    assert!(cfg!(miri) || counts.iter().all(|&count| count >= 20), "{counts:?}");
}

fn of_values(values: &[u32]) -> Series {
    let mut series = Series::default();
    values.iter().enumerate().for_each(|(sample, &value)| series.push(sample, value));
    series
}

fn levels(parts: &[(usize, u32)]) -> Series {
    let values: Vec<u32> =
        parts.iter().flat_map(|&(n, value)| std::iter::repeat_n(value, n)).collect();
    of_values(&values)
}

const ONE: [Rung; 1] = [Rung::cpu(Level::All3, Level::Med3, Level::Raw)];

/// A middle of 10 % and a limit of 15 %.
#[test]
fn episode_has_its_entry_reference_and_margin() {
    let episodes = levels(&[(200, 10_000), (40, 30_000)]).episodes(&ONE, 0);
    let expected = Episode {
        from: 202,
        to: 240,
        entry: 202,
        before: 10_000.0,
        reference: 202 - 36,
        width: 3,
        is_brief: false,
        margin: 2.0,
    };
    assert_eq!(episodes, [expected]);
    for (value, count) in [(15_000, 0), (15_001, 1)] {
        let found = levels(&[(200, 10_000), (40, value)]).episodes(&ONE, 0);
        assert_eq!(found.len(), count, "{value}");
    }
}

/// 156 values at least, and a rise of the least of the rung.
#[test]
fn short_or_flat_series_have_no_episode() {
    for (before, after, count) in [(156, 3, 1), (153, 3, 0), (154, 3, 1)] {
        let found = levels(&[(before, 1_000), (after, 30_000)]).episodes(&ONE, 0);
        assert_eq!(found.len(), count, "{before} and {after}");
    }
    for (value, count) in [(5_499, 0), (5_501, 1)] {
        let found = levels(&[(200, 500), (40, value)]).episodes(&ONE, 0);
        assert_eq!(found.len(), count, "{value}");
    }
}

/// Below 40 % of the way from the middle to the limit, which are 12 %.
#[test]
fn episode_ends_below_share_of_its_limit() {
    for (value, to) in [(12_100, 300), (11_900, 211)] {
        let found = levels(&[(200, 10_000), (10, 30_000), (90, value)]).episodes(&ONE, 0);
        assert_eq!(found[0].to, to, "{value}");
    }
    // 20 % above a middle of 40 %, where 40 % of the way to the limit of 60 % are 48 %.
    for (value, to) in [(48_100, 300), (47_900, 211)] {
        let found = levels(&[(200, 40_000), (10, 90_000), (90, value)]).episodes(&ONE, 0);
        assert_eq!(found[0].to, to, "{value}");
    }
}

/// Needs the medians of 27 values, and so a rung of that width.
#[test]
fn long_episode_outlasts_a_dip_of_half_a_minute() {
    let rungs = [ONE[0], Rung::cpu(Level::All27, Level::Med27, Level::Raw)];
    for (high, to) in [(60, 276), (20, 221)] {
        let found =
            levels(&[(200, 10_000), (high, 30_000), (6, 10_000), (10, 30_000)]).episodes(&rungs, 0);
        assert_eq!(found[0].to, to, "{high} {found:?}");
    }
}

#[test]
fn onset_is_where_values_become_those_after() {
    let mut series = levels(&[(200, 10_000), (40, 30_000)]);
    let episode = series.episodes(&ONE, 0)[0];
    assert_eq!(series.level_at_entry(&episode), 30_000.0);
    assert_eq!(series.onset(&episode, 30_000.0), 200);
    // Values that are nearer to those before are not part of it, nor is what lies farther back than
    // three lengths of the rung.
    let mut values = vec![10_000; 200];
    values.extend([19_000, 21_000, 30_000, 30_000, 30_000, 30_000, 30_000]);
    let mut series = of_values(&values);
    let episode = series.episodes(&ONE, 0)[0];
    assert_eq!(episode.entry, 202);
    assert_eq!(series.onset(&episode, 30_000.0), 201);
    let long = Episode { entry: 230, from: 230, to: 234, ..episode };
    let mut series = levels(&[(200, 10_000), (40, 30_000)]);
    assert_eq!(series.onset(&long, 30_000.0), 230 - 9);
    // About the entry: one value before it, and three from it on.
    let mut values = vec![10_000; 229];
    values.extend([40_000, 30_000, 20_000, 50_000, 90_000]);
    series = of_values(&values);
    assert_eq!(series.level_at_entry(&long), 30_000.0);
}
