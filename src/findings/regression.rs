//! The newest version of a plugin against the one before it.

use std::sync::Arc;

use super::columns::{Columns, MINUTE, is_known};
use super::finding::{Finding, FindingKind, Onset, RegressionMetric};
use super::stats::median;

/// The first samples of a run, which do not count.
const WARM_UP: usize = MINUTE;
/// Whole minutes of each version, at least.
const LEAST_MINUTES: usize = 6;
/// Events in a minute from which its cost per event follows.
const LEAST_EVENTS: u64 = 10;
const COST_RATIO: f32 = 1.5;
/// More CPU than the events explain, in thousandths of a percent.
const COST_CPU: f32 = 1_000.0;
/// Where the new version has this share of the events of the old one, fixed costs do not explain it; or
/// where its CPU has risen by this.
const SIMILAR_EVENTS: f32 = 0.6;
const RISEN_CPU: f32 = 1.3;
const CPU_RATIO: f32 = 1.7;
const CPU_RISE: f32 = 2_000.0;
const MEMORY_MINUTES: usize = 5;
const MEMORY_RATIO: f32 = 1.3;
const MEMORY_RISE: f32 = 16_384.0;
/// The least of the new version's over the most of the old one's newest ten minutes.
const MEMORY_MARGIN: f32 = 1.15;
const CRASHES: u64 = 3;
/// The chance of so many crashes of the new version, if both crash alike.
const CRASH_CHANCE: f64 = 1e-4;
/// Running samples of the old version.
const CRASH_SAMPLES: usize = 5 * MINUTE;

/// The minutes of one version.
#[derive(Debug, Default)]
struct Version {
    /// CPU per event.
    cost: Vec<f32>,
    events: Vec<f32>,
    cpu: Vec<f32>,
    memory: Vec<f32>,
    running: usize,
    crashes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Versions {
    old: Version,
    new: Version,
    buffer: Vec<f32>,
}

pub(super) fn judge(columns: &Columns<'_>, versions: &mut Versions, out: &mut Vec<Finding>) {
    let Some((old_name, new_name, start)) = newest_two(columns) else { return };
    versions.fill(columns, &old_name, &new_name);
    // The newest version is older than what the window shows, if its first run is.
    let since = columns.run_of(start).map_or_else(
        || columns.onset(start),
        |run| Onset::At(run.reported_at.min(columns.time(start))),
    );
    let mut push = |metric, before: f32, now: f32, unit: f64, minutes| {
        let kind = FindingKind::Regression {
            metric,
            old: Arc::clone(&old_name),
            new: Arc::clone(&new_name),
            before: f64::from(before) * unit,
            now: f64::from(now) * unit,
            minutes,
        };
        out.push(Finding::new(columns.view(), since, kind));
    };
    let Versions { old, new, buffer } = versions;
    if old.cpu.len() >= LEAST_MINUTES && new.cpu.len() >= LEAST_MINUTES {
        let mut both =
            |of: fn(&Version) -> &[f32]| (median(of(old), buffer), median(of(new), buffer));
        let (old_cpu, new_cpu) = both(|version| &version.cpu);
        let grown = new_cpu / old_cpu.max(1.0);
        if old.cost.len() >= LEAST_MINUTES && new.cost.len() >= LEAST_MINUTES {
            let (old_cost, new_cost) = both(|version| &version.cost);
            let (old_events, new_events) = both(|version| &version.events);
            let explained = old_cpu * (new_events / old_events.max(1.0)).min(1.0);
            let is_alike = new_events >= SIMILAR_EVENTS * old_events || grown >= RISEN_CPU;
            if new_cost >= COST_RATIO * old_cost
                && new_cpu - explained >= COST_CPU
                && is_alike
                && is_above(&old.cost, &new.cost)
            {
                // Thousandths of a percent of a sample's length, in milliseconds.
                let unit = columns.seconds / 1e5 * 1e3;
                let minutes = [old.cost.len(), new.cost.len()];
                push(RegressionMetric::CpuPerEvent, old_cost, new_cost, unit, minutes);
            }
        } else if grown >= CPU_RATIO
            && new_cpu - old_cpu >= CPU_RISE
            && is_above(&old.cpu, &new.cpu)
        {
            let minutes = [old.cpu.len(), new.cpu.len()];
            push(RegressionMetric::Cpu, old_cpu, new_cpu, 1e-3, minutes);
        }
        if let Some((before, now)) = memory(&old.memory, &new.memory, buffer) {
            let minutes = [old.memory.len(), new.memory.len()];
            push(RegressionMetric::Memory, before, now, 1_024.0, minutes);
        }
    }
    if new.crashes >= CRASHES && old.running >= CRASH_SAMPLES {
        let share = new.running as f64 / (old.running + new.running).max(1) as f64;
        if chance_of_at_least(new.crashes, old.crashes + new.crashes, share) < CRASH_CHANCE {
            let per_hour = |version: &Version| {
                version.crashes as f64 * 3_600.0 / (version.running.max(1) as f64 * columns.seconds)
            };
            let minutes = [old.running, new.running].map(|samples| samples / MINUTE);
            let rates = [&*old, &*new].map(|version| per_hour(version) as f32);
            push(RegressionMetric::Crashes, rates[0], rates[1], 1.0, minutes);
        }
    }
}

/// The newest version in the window, the one before it, and the first sample of the newest.
fn newest_two(columns: &Columns<'_>) -> Option<(Arc<str>, Arc<str>, usize)> {
    let mut newest: Option<(u32, Arc<str>, usize)> = None;
    for sample in (0..columns.len()).rev() {
        let key = columns.run[sample];
        if key == 0 {
            continue;
        }
        if let Some((run, _, start)) = &mut newest
            && *run == key
        {
            *start = sample;
            continue;
        }
        // Versions that are unknown cannot be compared.
        let version = columns.run_of(sample)?.version.as_ref()?;
        match &mut newest {
            Some((run, name, start)) if name == version => (*run, *start) = (key, sample),
            Some((_, name, start)) => return Some((Arc::clone(version), Arc::clone(name), *start)),
            None => newest = Some((key, Arc::clone(version), sample)),
        }
    }
    None
}

impl Version {
    fn clear(&mut self) {
        let Self { cost, events, cpu, memory, running, crashes } = self;
        [cost, events, cpu, memory].into_iter().for_each(Vec::clear);
        (*running, *crashes) = (0, 0);
    }
}

impl Versions {
    /// Whole minutes that lie in one run, after its first.
    fn fill(&mut self, columns: &Columns<'_>, old: &str, new: &str) {
        self.old.clear();
        self.new.clear();
        let is_newer = |run: u32| {
            let version = columns.view().run_with_key(run)?.version.as_deref()?;
            [(old, false), (new, true)].iter().find(|(name, _)| *name == version).map(|&(_, is)| is)
        };
        let (mut last, mut age) = (None, columns.age);
        // Of the run, and of the newest one: a crash may be counted after its end.
        let (mut of_run, mut owner) = (None, None);
        let (mut cpu, mut events, mut len) = (0f64, 0u64, 0);
        for sample in 0..columns.len() {
            let run = columns.run[sample];
            if last != Some(run) {
                if last.is_some() {
                    age = 0;
                }
                (cpu, events, len) = (0.0, 0, 0);
                last = Some(run);
                of_run = if run > 0 { is_newer(run) } else { None };
                if run > 0 {
                    owner = of_run;
                }
            }
            if let Some(version) = owner.map(|is_newer| self.version(is_newer)) {
                version.crashes += u64::from(columns.crashes[sample]);
                version.running += usize::from(run > 0);
            }
            age += 1;
            if age <= WARM_UP || !is_known(columns.cpu[sample]) {
                continue;
            }
            let Some(version) = of_run.map(|is_newer| self.version(is_newer)) else { continue };
            cpu += f64::from(columns.cpu[sample]);
            events += u64::from(columns.events[sample]);
            len += 1;
            if len < MINUTE {
                continue;
            }
            version.cpu.push((cpu / MINUTE as f64) as f32);
            version.events.push(events as f32);
            if events >= LEAST_EVENTS {
                version.cost.push((cpu / events as f64) as f32);
            }
            if is_known(columns.kib[sample]) {
                version.memory.push(columns.kib[sample] as f32);
            }
            (cpu, events, len) = (0.0, 0, 0);
        }
    }

    const fn version(&mut self, is_newer: bool) -> &mut Version {
        if is_newer { &mut self.new } else { &mut self.old }
    }
}

/// The newest minutes of both: the old version has had the longest time to reach its memory.
fn memory(old: &[f32], new: &[f32], buffer: &mut Vec<f32>) -> Option<(f32, f32)> {
    let newest = |values: &'_ [f32]| values.len().checked_sub(MEMORY_MINUTES);
    let (old_newest, new_newest) = (&old[newest(old)?..], &new[newest(new)?..]);
    let (before, now) = (median(old_newest, buffer), median(new_newest, buffer));
    let most = old.iter().rev().take(2 * MEMORY_MINUTES).copied().fold(0f32, f32::max);
    let least = new_newest.iter().copied().fold(f32::MAX, f32::min);
    let is_more = now >= MEMORY_RATIO * before && now - before >= MEMORY_RISE;
    (is_more && least >= MEMORY_MARGIN * most).then_some((before, now))
}

/// Whether the new values are above the old ones in 85 % of all pairs, and by more ranks than chance
/// explains.
fn is_above(old: &[f32], new: &[f32]) -> bool {
    let mut wins = 0.0;
    for new in new {
        for old in old {
            wins += if new > old {
                1.0
            } else if new < old {
                0.0
            } else {
                0.5
            };
        }
    }
    let (m, n) = (old.len() as f64, new.len() as f64);
    let deviations = (wins - m * n / 2.0) / (m * n * (m + n + 1.0) / 12.0).sqrt();
    wins >= 0.85 * m * n && deviations >= 2.6
}

/// The chance that at least `k` of `n` fall into a part, each with the chance `share`.
fn chance_of_at_least(k: u64, n: u64, share: f64) -> f64 {
    if share >= 1.0 {
        return 1.0;
    }
    // By logarithms, because the first terms of many are below the least number.
    let odds = (share / (1.0 - share)).ln();
    let mut term = n as f64 * (1.0 - share).ln();
    let mut sum = 0.0;
    for i in 0..=n {
        if i >= k {
            sum += term.exp();
        }
        term += ((n - i) as f64 / (i + 1) as f64).ln() + odds;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_that_of_binomial_distribution() {
        assert!((chance_of_at_least(3, 3, 0.5) - 0.125).abs() < 1e-12);
        assert!((chance_of_at_least(1, 2, 0.5) - 0.75).abs() < 1e-12);
        assert!((chance_of_at_least(0, 100_000, 0.3) - 1.0).abs() < 1e-6);
        assert_eq!(chance_of_at_least(2, 5, 1.0), 1.0);
        assert!(chance_of_at_least(900, 1_000, 0.5) < 1e-100);
    }

    #[test]
    fn overlapping_values_are_not_above() {
        let old: Vec<f32> = (0..10).map(|i| i as f32).collect();
        let shifted = |by: f32| old.iter().map(|value| value + by).collect::<Vec<_>>();
        assert!(!is_above(&old, &shifted(2.0)));
        assert!(is_above(&old, &shifted(9.0)));
        assert!(!is_above(&old[..2], &shifted(90.0)[..2]), "too few to tell");
    }

    #[test]
    fn memory_is_more_by_its_ratio_its_rise_and_its_margin() {
        let more = |old: &[f32], new: &[f32]| memory(old, new, &mut Vec::new());
        let level = |kib: f32| [kib; 6];
        assert_eq!(more(&level(1e5), &level(1.31e5)), Some((1e5, 1.31e5)));
        assert_eq!(more(&level(1e5), &level(1.29e5)), None);
        // By 16 MiB at least.
        assert_eq!(more(&level(20_000.0), &level(36_400.0)), Some((20_000.0, 36_400.0)));
        assert_eq!(more(&level(20_000.0), &level(36_300.0)), None);
        // Five minutes of both.
        assert_eq!(more(&level(1e5)[..4], &level(2e5)), None);
        assert_eq!(more(&level(1e5), &level(2e5)[..4]), None);
        assert_eq!(more(&level(1e5)[..5], &level(2e5)[..5]), Some((1e5, 2e5)));
        // The medians of the newest five.
        let old = [9e4, 1e5, 1e5, 9e4, 1.1e5, 1.05e5];
        let new = [9e5, 1.4e5, 1.5e5, 1.6e5, 1.5e5, 1.7e5];
        assert_eq!(more(&old, &new), Some((1e5, 1.5e5)));
        // The least of the newest five above the most of the newest ten.
        let mut old = vec![1e5; 12];
        old[2] = 1.4e5;
        assert_eq!(more(&old, &level(1.6e5)), None);
        assert_eq!(more(&old, &level(1.62e5)), Some((1e5, 1.62e5)));
        old.rotate_left(1);
        assert_eq!(more(&old, &level(1.5e5)), Some((1e5, 1.5e5)));
        let new = [1e5, 1.5e5, 1.5e5, 1.5e5, 1.16e5, 1.5e5];
        assert_eq!(more(&level(1e5), &new), Some((1e5, 1.5e5)));
        let new = [1e5, 1.5e5, 1.5e5, 1.5e5, 1.14e5, 1.5e5];
        assert_eq!(more(&level(1e5), &new), None);
    }

    /// 85 % of all pairs, of which equal ones count half.
    #[test]
    fn values_are_above_in_most_pairs() {
        let old: Vec<f32> = (0..20).map(|i| i as f32).collect();
        for (value, expected) in [(16.0, false), (16.5, true), (17.0, true)] {
            assert_eq!(is_above(&old, &[value; 20]), expected, "{value}");
        }
        assert!(!is_above(&[5.0; 20], &[5.0; 20]));
        // 2.6 deviations of the sum of ranks: all of five and five values, not of four and five.
        assert!(!is_above(&[1.0; 4], &[2.0; 5]));
        assert!(is_above(&[1.0; 5], &[2.0; 5]));
        assert!(!is_above(&[1.0; 2], &[2.0; 10]));
        assert!(!is_above(&[1.0; 3], &[2.0; 12]));
        assert!(is_above(&[1.0; 3], &[2.0; 13]));
    }
}
