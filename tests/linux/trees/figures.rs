//! Measures the error of `tree_cpu_percent` against the tree's cgroup, and how much of the CPU time is
//! told. Asserts only what holds on a busy machine, too: that the crate is never ahead of the cgroup.
//!
//! `PLUGMETER_LONG=1 cargo test --release --all-features --test linux trees::figures -- --nocapture`

use std::os::unix::process::CommandExt as _;
use std::time::{Duration, Instant};

use plugmeter::{Collector, ProbeKind};
use plugmeter_test_support::isolated_process::enter_isolated;
use plugmeter_test_support::manual_collector;

use super::burner::script;
use super::cgroup::Cgroup;
use super::run::{NAME, TreeRun};

/// Scripts that run until they are killed.
const SHAPES: [(&str, &str); 14] = [
    ("sh -c and a child", "(share 3000 7000); :"),
    ("exec", "share 3000 7000"),
    ("pool of 8", "for worker in 1 2 3 4 5 6 7 8; do (share 2000 38000) & done; wait"),
    ("chain of 5", "((((share 3000 7000; :); (:); :); :); :); :"),
    ("16 threads", "become threads 16 1000 39000 <&3 >/dev/null"),
    ("setsid, parent lives", "export PLUGMETER_TEST_ROLE='share 3000 7000'; in_session <&3; :"),
    ("double fork, group kept", "((share 3000 7000) & ); hold"),
    (
        "double fork and setsid",
        "
        export PLUGMETER_TEST_ROLE='share 3000 7000'; (in_session <&3 & ); share 1000 9000",
    ),
    (
        "jobs of 5 to 50 ms, two at a time",
        "
        jobs() { while :; do for ms in $*; do burn $ms; sleep 0.03; done; done; }
        jobs 5 12 50 7 33 21 & jobs 44 9 17 26 38 & wait",
    ),
    (
        "jobs of 300 to 900 ms",
        "while :; do for ms in 300 900 600; do burn $ms; sleep 0.5; done; done",
    ),
    ("children of 0.3 ms", "while :; do (:); (:); (:); sleep 0.01; done"),
    ("SIGCHLD ignored, 5 to 50 ms", "exec python3 -c \"$IGNORING\" 3<&-"),
    // More than the limit of a tree: the others count when they are waited for.
    (
        "bomb of 2,000",
        "while :; do i=0; while [ $i -lt 2000 ]; do sleep 2 & i=$((i + 1)); done; wait; done",
    ),
    ("node that spawns tools", "exec node -e \"$NODE_SCRIPT\" >/dev/null"),
];

const NODE_SCRIPT: &str = "
    const { spawn } = require('child_process');
    const args = ['--exact', 'trees::burner::burner_runs_its_role'];
    const next = () => {
        const role = 'burn ' + (5 + Math.floor(Math.random() * 45));
        const env = { ...process.env, PLUGMETER_TEST_ROLE: role };
        const tool = spawn(process.env.BURNER, args, { env, stdio: 'ignore' });
        tool.on('exit', () => setTimeout(next, 40));
    };
    next();
    next();";

/// Ticks at 1 s, of which each fifth one is also a tick at 5 s.
const TICKS: u32 = 25;

/// A collector that is sampled at one interval, and its errors.
struct Sampled<'a> {
    collector: &'a Collector,
    cgroup: &'a Cgroup,
    interval: Duration,
    /// Since its first tick: the crate's CPU time and the cgroup's.
    start: (Duration, Duration),
    last: Instant,
    last_truth: Duration,
    errors: Vec<f64>,
    ahead: Duration,
    share: f64,
}

impl<'a> Sampled<'a> {
    fn new(collector: &'a Collector, cgroup: &'a Cgroup, interval: Duration) -> Self {
        let mut sampled = Self {
            collector,
            cgroup,
            interval,
            start: (Duration::ZERO, Duration::ZERO),
            last: Instant::now(),
            last_truth: Duration::ZERO,
            errors: Vec::new(),
            ahead: Duration::ZERO,
            share: 0.0,
        };
        sampled.start = (sampled.told(), cgroup.cpu_time());
        sampled
    }

    /// Begins the measurement.
    fn begin(&mut self) {
        self.tick();
        self.errors.clear();
    }

    fn told(&self) -> Duration {
        self.collector.snapshot().plugin(NAME).unwrap().tree_cpu_time()
    }

    fn tick(&mut self) {
        let begin = (Instant::now(), self.cgroup.cpu_time());
        let snapshot = self.collector.sample_now().unwrap();
        let end = (Instant::now(), self.cgroup.cpu_time());
        // The reading is somewhere between the two.
        let at = begin.0 + (end.0 - begin.0) / 2;
        let truth = begin.1 + (end.1 - begin.1) / 2;
        let elapsed = (at - self.last).as_secs_f64();
        let expected = (truth - self.last_truth).as_secs_f64() / elapsed * 100.0;
        let sample = snapshot.plugin(NAME).unwrap().current().unwrap();
        if let Some(percent) = sample.tree_cpu_percent {
            self.errors.push((percent - expected).abs());
        }
        (self.last, self.last_truth) = (at, truth);
        let (told, truth) = (self.told().saturating_sub(self.start.0), end.1 - self.start.1);
        self.ahead = self.ahead.max(told.saturating_sub(truth));
        self.share = told.as_secs_f64() / (begin.1 - self.start.1).as_secs_f64().max(1e-9) * 100.0;
    }

    fn is_due(&self) -> bool {
        self.last.elapsed() >= self.interval
    }

    fn summary(&self) -> String {
        let mean = self.errors.iter().sum::<f64>() / self.errors.len() as f64;
        let worst = self.errors.iter().copied().fold(0.0, f64::max);
        format!("{mean:.3} / {worst:.3}, {:.1} %, {:?} ahead", self.share.min(100.0), self.ahead)
    }
}

#[test]
fn errors_against_cgroup_are_printed() {
    if std::env::var_os("PLUGMETER_LONG").is_none() {
        return;
    }
    if !enter_isolated(errors_against_cgroup_are_printed, &[]) {
        return;
    }
    let only = std::env::var("PLUGMETER_SHAPE").unwrap_or_default();
    eprintln!("shape: error of tree_cpu_percent in points, mean / worst; share that is told");
    for (name, text) in SHAPES.iter().filter(|(name, _)| name.contains(&only)) {
        let mut command = script(text);
        command.env("NODE_SCRIPT", NODE_SCRIPT);
        command.env("IGNORING", super::shapes::IGNORING).env("ROUNDS", "1000000");
        command.process_group(0);
        let Some(run) = TreeRun::start_command("figures", command) else { return };
        let slow = manual_collector(ProbeKind::Native);
        slow.register(NAME).unwrap().started(run.root.pid(), "");
        slow.sample_now().unwrap();
        // Before the shape begins: what is hidden at a later moment would surface after it.
        let second = Duration::from_secs(1);
        let mut fast = Sampled::new(&run.collector, &run.cgroup, second);
        let mut slow = Sampled::new(&slow, &run.cgroup, second * 5);
        run.go();
        // The start of the shape is no part of the measurement.
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(100));
            fast.tick();
        }
        fast.begin();
        slow.begin();
        for _ in 0..TICKS {
            std::thread::sleep(second.saturating_sub(fast.last.elapsed()));
            fast.tick();
            if slow.is_due() {
                slow.tick();
            }
        }
        eprintln!("{name}: at 1 s {}; at 5 s {}", fast.summary(), slow.summary());
        for sampled in [fast, slow] {
            assert!(sampled.ahead <= Duration::from_micros(10), "{name}: {:?}", sampled.ahead);
        }
    }
}
