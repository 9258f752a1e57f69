//! What holds of every history.

use std::time::Duration;

use plugmeter::findings::{Finding, FindingKind};
use plugmeter_test_support::lives::{CpuLife, Heap, MemoryLife, Random, Shape};

use crate::host::{Host, Step};

const INTERVAL: Duration = Duration::from_secs(5);

/// Restarts, crashes, gaps, leaks, silences and versions, at random.
struct Mess {
    random: Random,
    cpu: CpuLife,
    memory: MemoryLife,
    factor: f64,
    leaked: f64,
    leak: f64,
    is_silent: bool,
}

impl Mess {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let shape = random.pick(&[Shape::Noise, Shape::Commands, Shape::Bursts, Shape::Regimes]);
        let heap = random.pick(&[Heap::Flat, Heap::Saw, Heap::Logarithmic]);
        Self {
            cpu: CpuLife::new(shape, seed),
            memory: MemoryLife::new(heap, seed),
            random,
            factor: 1.0,
            leaked: 0.0,
            leak: 0.0,
            is_silent: false,
        }
    }

    fn step(&mut self) -> Step {
        let r = &mut self.random;
        if r.share() < 0.01 {
            self.factor = r.pick(&[1.0, 1.0, 3.0, 20.0]);
            self.leak = r.pick(&[0.0, 0.0, 300.0]);
            self.is_silent = r.share() < 0.2;
        }
        self.leaked += self.leak;
        let (cpu, events) = self.cpu.tick(self.factor);
        Step {
            cpu: (r.share() > 0.03).then_some(cpu),
            kib: self.memory.tick(self.leaked),
            events: if self.is_silent { 0 } else { events },
            crashes: r.share() < 0.004,
            starts: (r.share() < 0.01).then(|| r.pick(&["1.0", "2.0", "3.0"])),
        }
    }
}

#[track_caller]
fn assert_sound(finding: &Finding) {
    assert!(finding.impact.is_finite() && finding.impact >= 0.0, "{finding:?}");
    let json = serde_json::to_value(finding).unwrap();
    let details = json["details"].as_object().unwrap();
    for (key, value) in details {
        // These may be unknown; no number may be infinite, which JSON cannot say.
        let may_be_null = ["end", "per_event_ratio", "limit_in_seconds", "cpu_percent"];
        assert!(!value.is_null() || may_be_null.contains(&key.as_str()), "{key} of {finding:?}");
    }
    assert!(!finding.to_string().contains("NaN"), "{finding}");
}

#[test]
fn every_prefix_of_window_is_answered() {
    let mut host = Host::new(6, INTERVAL);
    let mut lives: Vec<Mess> = (0..6).map(Mess::new).collect();
    let mut found = 0;
    for tick in 1..=760 {
        host.tick(|index| lives[index].step());
        // The first samples are where an index may be out of range.
        if tick < 200 || tick % 4 == 0 {
            let findings = host.sim.snapshot().findings();
            findings.items.iter().for_each(assert_sound);
            assert_eq!(findings.judged, 6);
            found += findings.items.len();
        }
    }
    assert!(found > 100, "{found} findings: the lives are too quiet to test anything");
}

/// A thread that has judged other plugins before has the same answer as one that has not.
#[test]
fn used_and_fresh_buffers_agree() {
    let mut host = Host::new(12, INTERVAL);
    let mut lives: Vec<Mess> = (100..112).map(Mess::new).collect();
    for tick in 1..=720 {
        host.tick(|index| lives[index].step());
        if tick % 90 != 0 {
            continue;
        }
        for index in 0..12 {
            let used = host.findings(index);
            let snapshot = host.sim.snapshot();
            let fresh =
                std::thread::spawn(move || snapshot.plugin(&index.to_string()).unwrap().findings());
            assert_eq!(used, fresh.join().unwrap());
        }
        let all = host.sim.snapshot().findings();
        assert_eq!(all, host.sim.snapshot().findings());
    }
}

fn shift(host: &Host, index: usize) -> Option<Finding> {
    host.findings(index).into_iter().find(|f| matches!(f.kind, FindingKind::CpuShift { .. }))
}

/// A step by four in a steady life, found by each snapshot of the half hour after.
#[test]
fn later_snapshots_replay_to_the_same() {
    let mut host = Host::new(8, INTERVAL);
    let mut random = Random::new(7);
    let mut told: Vec<Option<Finding>> = vec![None; 8];
    let mut missing = 0;
    for tick in 0..760 {
        host.tick(|_| {
            let level = if tick >= 400 { 40.0 } else { 10.0 };
            Step::of_cpu((level * (0.9 + 0.2 * random.share()), 0))
        });
        for (index, told) in told.iter_mut().enumerate() {
            let now = shift(&host, index);
            if let (Some(now), Some(earlier)) = (&now, &told) {
                assert!(now.is_same(earlier), "{earlier} became {now}");
            }
            missing += usize::from(told.is_some() && now.is_none());
            *told = now.or_else(|| told.take());
        }
    }
    assert!(told.iter().all(Option::is_some) && missing == 0, "{missing} gaps: {told:?}");
}

#[test]
fn gaps_move_no_onset() {
    let mut whole = Host::new(6, INTERVAL);
    let mut holes = Host::new(6, INTERVAL);
    let mut random = Random::new(11);
    let mut levels = vec![0.0; 6];
    for tick in 0..480 {
        for level in &mut levels {
            *level = if tick >= 440 { 40.0 } else { 10.0 } * (0.9 + 0.2 * random.share());
        }
        whole.tick(|index| Step::of_cpu((levels[index], 0)));
        holes.tick(|index| {
            let step = Step::of_cpu((levels[index], 0));
            if random.share() < 0.03 { Step { cpu: None, ..step } } else { step }
        });
    }
    let mut compared = 0;
    for index in 0..6 {
        // A value is unknown where the process is not read, also at the newest tick.
        let (Some(whole_shift), Some(with_holes)) = (shift(&whole, index), shift(&holes, index))
        else {
            continue;
        };
        let ago = |host: &Host, finding: &Finding| {
            host.now().duration_since(finding.since.time()).unwrap().as_secs()
        };
        let (one, other) = (ago(&whole, &whole_shift), ago(&holes, &with_holes));
        assert!(one.abs_diff(other) <= 10, "{whole_shift} and {with_holes}");
        compared += 1;
    }
    assert!(compared >= 5, "only {compared} of 6 were told with gaps");
}

/// The same life in samples of at least five seconds is found alike, whatever the interval.
#[test]
fn intervals_from_10_ms_to_a_day_are_judged() {
    let second = Duration::from_secs(1);
    let intervals =
        [second / 2, second, second * 2, second * 5, second * 60, second * 3_600, second * 86_400];
    for interval in intervals {
        let per_sample = second.saturating_mul(5).as_nanos().div_ceil(interval.as_nanos()) as usize;
        let mut host = Host::new(1, interval);
        for tick in 0..340 * per_sample {
            let level = if tick >= 300 * per_sample { 40.0 } else { 10.0 };
            host.tick(|_| Step::of_cpu((level * if tick % 2 == 0 { 1.05 } else { 0.95 }, 0)));
        }
        let told = shift(&host, 0).unwrap_or_else(|| panic!("no shift at {interval:?}"));
        let age = host.now().duration_since(told.since.time()).unwrap();
        let samples = age.as_secs_f64() / interval.as_secs_f64() / per_sample as f64;
        assert!((38.0..=40.0).contains(&samples), "{samples} samples at {interval:?}");
    }
    let mut host = Host::new(1, Duration::from_millis(10));
    for tick in 0..3_000 {
        host.tick(|_| Step::of_cpu((50.0, 1)));
        if tick < 20 || tick % 499 < 2 {
            host.findings(0).iter().for_each(assert_sound);
        }
    }
}
