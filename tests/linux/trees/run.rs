//! A plugin whose tree is in a cgroup, and what each of its ticks must fulfil.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use plugmeter::{Collector, Plugin, ProbeKind, Sample, Snapshot};
use plugmeter_test_support::{ChildGuard, HANG_TIMEOUT, manual_collector, wait_for};

use super::burner::{reported, script};
use super::cgroup::Cgroup;
use crate::test_child::{cpu_time, state_letter};

/// By how much a tree's CPU time may be ahead of the cgroup's, which is in whole microseconds and is
/// read later.
pub(super) const MAX_AHEAD: Duration = Duration::from_micros(10);

/// What `children_cpu` of one process hides: two numbers, each less than a clock tick of 10 ms.
pub(super) const HIDDEN: Duration = Duration::from_millis(20);

/// The time between two ticks of a test, so that members end within a tick, and live for several.
const BETWEEN_TICKS: Duration = Duration::from_millis(15);

pub(super) const NAME: &str = "tree";

/// A script that runs as a plugin's process, in a cgroup of its own.
pub(super) struct TreeRun {
    pub collector: Collector,
    pub plugin: Plugin,
    pub cgroup: Cgroup,
    pub root: ChildGuard,
    /// A process outside of the cgroup that is the plugin's, too.
    pub outside: Option<u32>,
    input: Option<ChildStdin>,
    reports: Receiver<String>,
    /// CPU time that the cgroup had before the first tick, and after it.
    truth_before: Duration,
    truth_after: Duration,
    first_told: Duration,
    last_told: Duration,
}

/// One tick.
pub(super) struct Tick {
    pub snapshot: Snapshot,
    /// Since the first tick.
    pub told: Duration,
}

impl Tick {
    pub(super) fn sample(&self) -> Sample<'_> {
        self.snapshot.plugin(NAME).unwrap().current().unwrap()
    }
}

impl TreeRun {
    /// Starts a script and reports its process; the script has not begun yet. `None` without a
    /// cgroup.
    pub(super) fn start(test: &str, text: &str) -> Option<Self> {
        Self::start_command(test, script(text))
    }

    pub(super) fn start_command(test: &str, mut command: Command) -> Option<Self> {
        let cgroup = Cgroup::new(test)?;
        command.env("ENTRANCE", cgroup.entrance());
        let mut root = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = root.stdin.take();
        let output = BufReader::new(root.stdout.take().unwrap());
        let (sender, reports) = channel();
        thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            for line in lines {
                if let Some(report) = reported(&line) {
                    let _ = sender.send(report.to_owned());
                }
            }
        });
        let root = ChildGuard(root);
        wait_for("the script to wait in its cgroup", || {
            let is_inside = cgroup.pids() == [root.pid()];
            (is_inside && state_letter(root.pid()) == Some('S')).then_some(())
        });
        let collector = manual_collector(ProbeKind::Native);
        let plugin = collector.register(NAME).unwrap();
        let truth_before = cgroup.cpu_time();
        plugin.started(root.pid(), "");
        let snapshot = collector.sample_now().unwrap();
        assert!(snapshot.has_process_trees());
        let view = snapshot.plugin(NAME).unwrap();
        assert_eq!((view.pid(), view.read_error()), (Some(root.pid()), None));
        assert_eq!(view.current().unwrap().process_count, Some(1));
        let (first_told, truth_after) = (view.tree_cpu_time(), cgroup.cpu_time());
        Some(Self {
            collector,
            plugin,
            cgroup,
            root,
            outside: None,
            input,
            reports,
            truth_before,
            truth_after,
            first_told,
            last_told: Duration::ZERO,
        })
    }

    /// Lets the script begin.
    pub(super) fn go(&self) {
        writeln!(self.input.as_ref().unwrap(), "go").unwrap();
    }

    pub(super) fn reports(&self) -> &Receiver<String> {
        &self.reports
    }

    /// What the crate had at the first tick.
    pub(super) fn first_told(&self) -> Duration {
        self.first_told
    }

    /// What the cgroup had before the first tick.
    pub(super) fn truth_before(&self) -> Duration {
        self.truth_before
    }

    /// Ends the control pipe.
    pub(super) fn end_input(&mut self) {
        drop(self.input.take());
    }

    /// Samples, and checks what holds at each tick.
    #[track_caller]
    pub(super) fn tick(&mut self) -> Tick {
        let snapshot = self.collector.sample_now().unwrap();
        let outside = self.outside.map_or(Duration::ZERO, cpu_time);
        let truth = self.cgroup.cpu_time() - self.truth_before + outside;
        let view = snapshot.plugin(NAME).unwrap();
        let told = view.tree_cpu_time() - self.first_told;
        assert!(told <= truth + MAX_AHEAD, "{told:?}, but the cgroup has only {truth:?}");
        assert!(told >= self.last_told, "{told:?} after {:?}", self.last_told);
        assert!(view.tree_cpu_time() >= view.cpu_time(), "{view:?}");
        let sample = view.current().unwrap();
        // The share of the descendants may be unknown in a tick that follows another within 1 ms.
        let is_less = sample.tree_cpu_percent.is_some_and(|tree| Some(tree) < sample.cpu_percent);
        assert!(!is_less, "{sample:?}");
        if let Some(tree) = sample.tree_memory_bytes {
            assert!(tree >= sample.memory_bytes.unwrap_or(0), "{sample:?}");
        }
        // The exit of a process without memory was detected by this tick.
        if let (Some(_), Some(count)) = (sample.memory_bytes, sample.process_count) {
            assert!(count >= 1, "{sample:?}");
        }
        self.last_told = told;
        Tick { snapshot, told }
    }

    /// Ticks until the tree has reported this `count` times.
    #[track_caller]
    pub(super) fn tick_until_reported(&mut self, count: usize) -> Vec<String> {
        let start = Instant::now();
        let mut reports = Vec::new();
        while reports.len() < count {
            assert!(start.elapsed() < HANG_TIMEOUT, "{} of {count} reports", reports.len());
            self.tick();
            thread::sleep(BETWEEN_TICKS);
            reports.extend(self.reports.try_iter());
        }
        reports
    }

    /// Ticks until a tick fulfils `fact`.
    #[track_caller]
    pub(super) fn tick_until(&mut self, what: &str, fact: impl Fn(&Tick) -> bool) -> Tick {
        wait_for(what, || Some(self.tick()).filter(&fact))
    }

    /// Waits until no process of the tree runs, so that the cgroup's CPU time does not change.
    #[track_caller]
    pub(super) fn wait_until_asleep(&self) {
        wait_for("all processes to sleep", || {
            let before = self.cgroup.cpu_time();
            let is_asleep = |&pid: &u32| state_letter(pid).is_none_or(|state| state == 'S');
            thread::sleep(BETWEEN_TICKS);
            let pids = self.cgroup.pids();
            (pids.iter().all(is_asleep) && before == self.cgroup.cpu_time()).then_some(())
        });
    }

    /// The CPU time of the cgroup since the first tick.
    pub(super) fn truth(&self) -> Duration {
        self.cgroup.cpu_time() - self.truth_after
    }

    /// Asserts that the CPU time until now is known: 99.5 % of it, apart from what `waiters`
    /// processes that have waited hide.
    #[track_caller]
    pub(super) fn assert_complete(&mut self, waiters: u32) -> Tick {
        self.complete(waiters).unwrap_or_else(|text| panic!("{text}"))
    }

    /// The same, with a text about what is missing.
    pub(super) fn complete(&mut self, waiters: u32) -> Result<Tick, String> {
        let truth = self.truth();
        // What ended during a tick is known at the next one.
        self.tick();
        let tick = self.tick();
        // As much may have been hidden when the root was reported, and does not count then.
        let at_start = if waiters > 0 { HIDDEN } else { Duration::ZERO };
        let least = truth.mul_f64(0.995).saturating_sub(HIDDEN * waiters + at_start);
        if tick.told < least {
            return Err(format!("{:?} of {truth:?}, at least {least:?}", tick.told));
        }
        println!("{:?} of {truth:?} ({waiters} have waited)", tick.told);
        Ok(tick)
    }

    /// Asserts that the processes are those of the cgroup.
    #[track_caller]
    pub(super) fn assert_processes(&mut self) {
        self.wait_until_asleep();
        let mut expected = self.cgroup.pids();
        let tick = self.tick();
        let view = tick.snapshot.plugin(NAME).unwrap();
        let mut listed: Vec<u32> = view.processes().map(|process| process.pid).collect();
        expected.sort_unstable();
        listed.sort_unstable();
        assert_eq!(tick.sample().process_count, Some(expected.len() as u32));
        assert_eq!(listed, expected);
    }

    /// Ends the script and its burners, and waits for the root: the run has ended.
    #[track_caller]
    pub(super) fn end(&mut self) {
        self.end_input();
        wait_for("the exit of the root", || {
            self.tick();
            self.root.0.try_wait().unwrap()
        });
        self.tick_until("the end of the run", |tick| tick.sample().pid.is_none());
    }
}
