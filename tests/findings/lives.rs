//! How often what is found is false, and what is true is missed.

use std::time::Duration;

use plugmeter::findings::{FindingKind, RegressionMetric};
use plugmeter_test_support::lives::{
    BURSTY, CpuLife, HEAPS, Heap, MemoryLife, QUIET, Random, Shape,
};

use crate::host::{Alarms, Host, Step};

const INTERVAL: Duration = Duration::from_secs(5);
const HOUR: usize = 720;
const MINUTE: usize = 12;

/// The size of an experiment.
#[derive(Clone, Copy, Debug)]
struct Form {
    seed: u64,
    is_long: bool,
}

impl Form {
    /// The long form, if a seed is given.
    fn of_environment() -> Self {
        let seed = std::env::var("PLUGMETER_LIVES").ok().map(|seed| seed.parse().unwrap());
        Self { seed: seed.unwrap_or(90_001), is_long: seed.is_some() }
    }

    const fn choose(self, short: usize, long: usize) -> usize {
        if self.is_long { long } else { short }
    }

    /// Asserts a bar on what is wrong: a share, or a rate in the same unit. Short experiments have bars
    /// loosened by half, and at least one failure.
    fn at_most(self, what: &str, wrong: usize, of: f64, bar: f64) {
        let loose = if self.is_long { bar * of } else { (1.5 * bar * of).max(1.0) };
        println!("{what}: {wrong} of {of}, at most {:.1}", bar * of);
        assert!(
            wrong as f64 <= loose.max(if self.is_long { 1.0 } else { 0.0 }),
            "{what}: {wrong} of {of}"
        );
    }
}

const fn is_cpu(kind: &FindingKind) -> bool {
    matches!(
        kind,
        FindingKind::CpuShift { .. } | FindingKind::CpuSpike { .. } | FindingKind::Saturated { .. }
    )
}

/// Alarms of lives in which nothing happens, and the hours of them that were judged.
fn false_alarms(form: Form, shape: Shape, lives: usize, hours: usize) -> (usize, f64) {
    let mut host = Host::new(lives, INTERVAL);
    let seed = form.seed * 1_000 + shape as u64 * 100;
    let mut cpu: Vec<_> = (0..lives as u64).map(|i| CpuLife::new(shape, seed + i)).collect();
    let mut alarms: Vec<Alarms> = (0..lives).map(|_| Alarms::default()).collect();
    let each = form.choose(MINUTE, 3);
    for tick in 0..(hours + 1) * HOUR {
        host.tick(|index| Step::of_cpu(cpu[index].tick(1.0)));
        if tick >= HOUR && tick % each == 0 {
            for (index, alarms) in alarms.iter_mut().enumerate() {
                alarms.look(host.now(), &host.findings(index), is_cpu);
            }
        }
    }
    let count = alarms.iter().map(|alarms| alarms.count).sum();
    println!("  {shape:?}: {count} in {} h", hours * lives);
    (count, (hours * lives) as f64)
}

fn sum_of_shapes(form: Form, shapes: &[Shape], lives: usize, hours: usize) -> (usize, f64) {
    let all = shapes.iter().map(|&shape| false_alarms(form, shape, lives, hours));
    all.fold((0, 0.0), |(count, time), (more, hours)| (count + more, time + hours))
}

#[test]
fn quiet_cpu_is_not_found() {
    let form = Form::of_environment();
    let (lives, hours) = (form.choose(6, 25), form.choose(2, 10));
    let (alarms, hours) = sum_of_shapes(form, &QUIET, lives, hours);
    form.at_most("false findings of quiet CPU, hours", alarms, hours, 1.0 / 1_000.0);
}

#[test]
fn bursts_and_cron_are_not_found() {
    let form = Form::of_environment();
    let (lives, hours) = (form.choose(6, 25), form.choose(2, 10));
    let (alarms, hours) = sum_of_shapes(form, &BURSTY, lives, hours);
    form.at_most("false findings of bursts, hours", alarms, hours, 1.0 / 100.0);
}

/// The coefficient of variation of the minutes' means.
fn minute_variation(values: &[f64]) -> f64 {
    let means: Vec<f64> =
        values.chunks_exact(MINUTE).map(|minute| minute.iter().sum::<f64>() / 12.0).collect();
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    let variance = means.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / means.len() as f64;
    variance.sqrt() / mean
}

/// The delays in ticks with which steps by a factor were found (`None`: not within five minutes), and how
/// far off their onset was then; of lives with a variation of at most 0.2.
fn steps(form: Form, factor: f64, lives: usize) -> Vec<Option<(usize, usize)>> {
    let shapes = [Shape::Noise, Shape::Commands, Shape::Daily];
    let mut out = Vec::new();
    for (number, shape) in shapes.into_iter().enumerate() {
        let seed = form.seed * 7_000 + number as u64 * 1_000 + factor as u64;
        let mut host = Host::new(lives, INTERVAL);
        let mut random = Random::new(seed);
        let mut cpu: Vec<_> = (0..lives as u64)
            .map(|i| (0..).map(move |k| CpuLife::new(shape, seed + 31 * i + 7_777 * k)))
            // A step has about six points or more, and stays below the cap.
            .map(|mut all| {
                all.find(|life| (6.0 / (factor - 1.0)..30.0).contains(&life.base())).unwrap()
            })
            .collect();
        let starts: Vec<usize> = (0..lives).map(|_| HOUR + random.between(0, 60)).collect();
        let mut before = vec![Vec::new(); lives];
        let mut told: Vec<Option<(usize, usize)>> = vec![None; lives];
        for tick in 0..HOUR + 60 + 5 * MINUTE + 1 {
            host.tick(|index| {
                let is_raised = tick >= starts[index];
                let step = cpu[index].tick(if is_raised { factor } else { 1.0 });
                if !is_raised {
                    before[index].push(step.0);
                }
                // Events would explain it.
                Step::of_cpu((step.0, 0))
            });
            for index in 0..lives {
                let delay = (tick + 1).saturating_sub(starts[index]);
                if !(1..=5 * MINUTE).contains(&delay) || told[index].is_some() {
                    continue;
                }
                let findings = host.findings(index);
                let shift =
                    findings.iter().find(|f| matches!(f.kind, FindingKind::CpuShift { .. }));
                if let Some(shift) = shift {
                    let age = host.now().duration_since(shift.since.time()).unwrap();
                    let told_tick = (age.as_secs_f64() / 5.0).round() as usize;
                    told[index] = Some((delay, (told_tick + 1).abs_diff(delay)));
                }
            }
        }
        // A daily rhythm may be far below its base then.
        let is_clear = |index: &usize| {
            let before = &before[*index];
            let mean = before.iter().sum::<f64>() / before.len() as f64;
            (factor - 1.0) * mean >= 6.0 && minute_variation(before) <= 0.2
        };
        out.extend((0..lives).filter(is_clear).map(|index| told[index]));
    }
    out
}

fn assert_steps(factor: f64, minutes: usize, missed_bar: f64) {
    let form = Form::of_environment();
    let steps = steps(form, factor, form.choose(20, 400));
    let total = steps.len() as f64;
    for minutes in [1, 2, 3, 5] {
        let told = steps.iter().flatten().filter(|(delay, _)| *delay <= minutes * MINUTE).count();
        println!(
            "x{factor} told in {minutes} min: {told} of {total} ({:.1} %)",
            told as f64 / total * 100.0
        );
    }
    let mut off: Vec<usize> = steps.iter().flatten().map(|(_, off)| *off).collect();
    off.sort_unstable();
    let p95 = off[off.len() * 95 / 100];
    println!("x{factor} onset off by p95 {p95} samples");
    assert!(p95 <= 12, "the onset of x{factor} is off by {p95} samples");
    let missed =
        steps.iter().filter(|s| s.is_none_or(|(delay, _)| delay > minutes * MINUTE)).count();
    form.at_most(&format!("x{factor} missed in {minutes} min"), missed, total, missed_bar);
}

#[test]
fn threefold_cpu_is_found_in_a_minute() {
    assert_steps(3.0, 1, 0.06);
}

#[test]
fn twofold_cpu_is_found_in_three_minutes() {
    assert_steps(2.0, 3, 0.1);
}

const fn is_growth(kind: &FindingKind) -> bool {
    matches!(kind, FindingKind::MemoryGrowth { .. })
}

/// Whether growth was found half an hour after a leak began, and the found rate by the true one.
fn leaks(form: Form, heap: Heap, lives: usize) -> Vec<Option<f64>> {
    let seed = form.seed * 5_000 + heap as u64 * 500;
    let mut host = Host::new(lives, INTERVAL);
    let mut memory: Vec<_> = (0..lives as u64).map(|i| MemoryLife::new(heap, seed + i)).collect();
    let begin = HOUR;
    let half_hour = HOUR / 2;
    let mut per_tick = vec![0.0; lives];
    for tick in 0..begin + half_hour {
        host.tick(|index| {
            let leaked = per_tick[index] * tick.saturating_sub(begin) as f64;
            let kib = memory[index].tick(leaked);
            if tick == begin {
                // 5 % of what it has, and at least 5 MB, in half an hour.
                per_tick[index] = (0.05 * kib as f64).max(5_120.0) / half_hour as f64;
            }
            Step { cpu: Some(1.0), kib, ..Step::default() }
        });
    }
    let of = |index: usize| {
        host.findings(index).iter().find_map(|finding| match finding.kind {
            FindingKind::MemoryGrowth { per_hour, .. } => {
                Some(per_hour / 1_024.0 / (per_tick[index] * HOUR as f64))
            }
            _ => None,
        })
    };
    (0..lives).map(of).collect()
}

#[test]
fn leak_is_found_in_half_an_hour() {
    let form = Form::of_environment();
    let lives = form.choose(12, 300);
    let (mut missed, mut total) = (0, 0.0);
    for heap in HEAPS {
        let told = leaks(form, heap, lives);
        let mut ratios: Vec<f64> = told.iter().flatten().copied().collect();
        ratios.sort_by(f64::total_cmp);
        let median = ratios.get(ratios.len() / 2);
        println!("  {heap:?}: {} of {lives}, rate / truth {median:.2?}", ratios.len());
        // Where the tooth or the walk exceeds the leak, it takes longer.
        if !matches!(heap, Heap::Saw | Heap::Walk) {
            missed += lives - ratios.len();
            total += lives as f64;
        }
    }
    form.at_most("leaks missed", missed, total, 0.1);
}

#[test]
fn heap_without_leak_is_not_found() {
    let form = Form::of_environment();
    let (lives, hours) = (form.choose(4, 50), form.choose(2, 6));
    for heap in [
        Heap::Flat,
        Heap::WarmUp,
        Heap::Saw,
        Heap::Ratchet,
        Heap::Bounded,
        Heap::Logarithmic,
        Heap::Walk,
    ] {
        let seed = form.seed * 3_000 + heap as u64 * 300;
        let mut host = Host::new(lives, INTERVAL);
        let mut memory: Vec<_> =
            (0..lives as u64).map(|i| MemoryLife::new(heap, seed + i)).collect();
        let mut first: Vec<Alarms> = (0..lives).map(|_| Alarms::default()).collect();
        let mut later: Vec<Alarms> = (0..lives).map(|_| Alarms::default()).collect();
        for tick in 0..hours * HOUR {
            host.tick(|index| Step {
                cpu: Some(1.0),
                kib: memory[index].tick(0.0),
                ..Step::default()
            });
            if tick % form.choose(2 * MINUTE, 6) == 0 {
                for index in 0..lives {
                    let alarms = if tick < HOUR { &mut first } else { &mut later };
                    alarms[index].look(host.now(), &host.findings(index), is_growth);
                }
            }
        }
        let [first, later] = [&first, &later].map(|all| all.iter().map(|a| a.count).sum::<usize>());
        println!(
            "  {heap:?}: {first} in the first {lives} h, {later} in {} h later",
            lives * (hours - 1)
        );
        match heap {
            // A cache that fills at a constant rate is a leak until it stops; the others do grow.
            Heap::Bounded => assert_eq!(later, 0, "{heap:?}"),
            Heap::Logarithmic | Heap::Walk => {}
            Heap::Flat | Heap::WarmUp | Heap::Saw | Heap::Ratchet => {
                let bar = 1.0 / 100.0;
                form.at_most(
                    &format!("false growth, {heap:?}"),
                    first + later,
                    (lives * hours) as f64,
                    bar,
                );
            }
        }
    }
}

#[test]
fn crash_loop_is_found_at_third_crash() {
    let form = Form::of_environment();
    for (number, pause) in [1usize, 3, 12, 36, 48].into_iter().enumerate() {
        let mut random = Random::new(form.seed + number as u64);
        for _ in 0..form.choose(3, 40) {
            let mut host = Host::new(1, INTERVAL);
            let alive = Step { cpu: Some(1.0), kib: 10_240, ..Step::default() };
            (0..random.between(1, 300)).for_each(|_| host.tick(|_| alive.clone()));
            let mut crashes = 0;
            for crash in 0..6 {
                let life = random.between(1, 4);
                if crash > 0 {
                    host.tick(|_| Step { starts: Some("1.0"), ..alive.clone() });
                }
                (0..life).for_each(|_| host.tick(|_| alive.clone()));
                host.tick(|_| Step { crashes: true, ..alive.clone() });
                // The crash grace period.
                host.sim.advance(Duration::from_secs(1));
                crashes += 1;
                for _ in 0..pause {
                    let findings = host.findings(0);
                    let is_told =
                        |kind: &FindingKind| matches!(kind, FindingKind::CrashLoop { .. });
                    let is_told = findings.iter().any(|finding| is_told(&finding.kind));
                    // Two crashes are none, and four minutes between them are a loop.
                    assert_eq!(
                        is_told,
                        crashes >= 3,
                        "{crashes} crashes, a pause of {pause}: {findings:?}"
                    );
                    host.tick(|_| Step { cpu: None, ..Step::default() });
                }
            }
        }
    }
}

#[test]
fn dearer_version_is_found_in_eight_minutes() {
    let form = Form::of_environment();
    for (ratio, should_tell) in [(1.0, false), (2.0, true), (3.4, true)] {
        let lives = form.choose(10, 200);
        let mut host = Host::new(lives, INTERVAL);
        let mut random = Random::new(form.seed + ratio as u64);
        let rates: Vec<f64> = (0..lives).map(|_| random.pick(&[5.0, 20.0, 100.0])).collect();
        let cost: Vec<f64> =
            (0..lives).map(|i| random.pick(&[5.0, 12.0, 20.0]) / rates[i]).collect();
        let change = HOUR / 2;
        // Eight whole minutes after the first minute of the run.
        for tick in 0..change + 9 * MINUTE + 2 {
            host.tick(|index| {
                let events = random.poisson(rates[index]);
                let ratio = if tick >= change { ratio } else { 1.0 };
                let cpu = f64::from(events) * cost[index] * ratio * (0.8 + 0.4 * random.share());
                let starts = (tick == change).then_some("2.0");
                Step { cpu: Some(cpu), kib: 20_480, events, starts, ..Step::default() }
            });
        }
        let is_told = |index: &usize| {
            host.findings(*index).iter().any(|finding| {
                matches!(
                    finding.kind,
                    FindingKind::Regression { metric: RegressionMetric::CpuPerEvent, .. }
                )
            })
        };
        let told = (0..lives).filter(is_told).count();
        println!("version of {ratio} times the cost told: {told} of {lives}");
        let wrong = if should_tell { lives - told } else { told };
        form.at_most(&format!("versions of {ratio} times the cost"), wrong, lives as f64, 0.01);
    }
}

#[test]
fn silence_is_found_and_pauses_are_not() {
    let form = Form::of_environment();
    let (mut missed, mut false_alarms, mut total) = (0, 0, 0.0);
    for (number, rate) in [0.2, 1.0, 5.0, 40.0].into_iter().enumerate() {
        let lives = form.choose(5, 100);
        let mut random = Random::new(form.seed + 77 * number as u64);
        let mut host = Host::new(lives, INTERVAL);
        let mut alarms: Vec<Alarms> = (0..lives).map(|_| Alarms::default()).collect();
        let is_silence = |kind: &FindingKind| matches!(kind, FindingKind::Silence { .. });
        for tick in 0..HOUR {
            host.tick(|_| Step::of_cpu((1.0, random.poisson(rate))));
            if tick % 6 == 0 {
                for (index, alarms) in alarms.iter_mut().enumerate() {
                    alarms.look(host.now(), &host.findings(index), is_silence);
                }
            }
        }
        // So long that thirty events were due, and a minute at least.
        let quiet = ((40.0 / rate) as usize).max(MINUTE + 2);
        (0..quiet).for_each(|_| host.tick(|_| Step::of_cpu((1.0, 0))));
        let is_told = |index: &usize| host.findings(*index).iter().any(|f| is_silence(&f.kind));
        missed += (0..lives).filter(|index| !is_told(index)).count();
        false_alarms += alarms.iter().map(|alarms| alarms.count).sum::<usize>();
        total += lives as f64;
    }
    form.at_most("silences missed", missed, total, 0.05);
    form.at_most("false silences, hours", false_alarms, total, 1.0 / 1_000.0);
}
