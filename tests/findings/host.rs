//! A simulated host, whose plugins live made-up lives.

use std::time::{Duration, SystemTime};

use plugmeter::findings::{Finding, FindingKind};
use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Config, Plugin};

/// What a plugin does in a tick.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step {
    /// In percent of one core; `None` is unknown, as memory then is.
    pub(crate) cpu: Option<f64>,
    pub(crate) kib: u64,
    pub(crate) events: u32,
    /// It crashes in this tick.
    pub(crate) crashes: bool,
    /// A new run begins before this tick, of this version.
    pub(crate) starts: Option<&'static str>,
}

impl Step {
    pub(crate) fn of_cpu((cpu, events): (f64, u32)) -> Self {
        Self { cpu: Some(cpu), kib: 20_480, events, ..Self::default() }
    }
}

struct Process {
    plugin: Plugin,
    pid: u32,
    cpu_time: Duration,
}

/// A host with plugins of the names `0`, `1`, ...
pub(crate) struct Host {
    pub(crate) sim: Simulation,
    processes: Vec<Process>,
    interval: Duration,
    next_pid: u32,
}

impl Host {
    pub(crate) fn new(plugins: usize, interval: Duration) -> Self {
        let history = interval.saturating_mul(720).max(Duration::from_secs(3_600));
        let config = Config::default().poll_interval(interval).history_duration(history);
        let sim = Simulation::new(config).unwrap();
        let mut host = Self { sim, processes: Vec::new(), interval, next_pid: 0 };
        for index in 0..plugins {
            let plugin = host.sim.register(&index.to_string()).unwrap();
            host.processes.push(Process { plugin, pid: 0, cpu_time: Duration::ZERO });
            host.start(index, "1.0");
        }
        host
    }

    fn start(&mut self, index: usize, version: &str) {
        self.next_pid += 1;
        let process = &mut self.processes[index];
        (process.pid, process.cpu_time) = (self.next_pid, Duration::ZERO);
        process.plugin.started(process.pid, version);
    }

    /// One tick of all plugins.
    pub(crate) fn tick(&mut self, mut step: impl FnMut(usize) -> Step) {
        let mut observed = Vec::new();
        for index in 0..self.processes.len() {
            let step = step(index);
            if let Some(version) = step.starts {
                self.start(index, version);
            }
            let process = &mut self.processes[index];
            process.plugin.events().add(step.events.into());
            process.cpu_time += self.interval.mul_f64(step.cpu.unwrap_or(0.0).max(0.0) / 100.0);
            let usage = Usage { cpu_time: process.cpu_time, memory_bytes: step.kib * 1_024 };
            let seen = match step.cpu {
                _ if step.crashes => Observed::Exited(3),
                Some(_) => Observed::Running(usage),
                None => Observed::Denied,
            };
            observed.push((process.pid, seen));
        }
        self.sim.tick(|pid| {
            let seen = observed.iter().find(|(other, _)| *other == pid);
            seen.map_or(Observed::Gone, |&(_, seen)| seen)
        });
    }

    /// The findings of the plugin with this index.
    pub(crate) fn findings(&self, index: usize) -> Vec<Finding> {
        let snapshot = self.sim.snapshot();
        snapshot.plugin(&index.to_string()).unwrap().findings()
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.sim.snapshot().sampled_at()
    }
}

/// Counts what is found, at most once in ten minutes.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    pub(crate) count: usize,
    last: Option<SystemTime>,
}

impl Alarms {
    pub(crate) fn look(
        &mut self,
        at: SystemTime,
        findings: &[Finding],
        is_alarm: fn(&FindingKind) -> bool,
    ) {
        if !findings.iter().any(|finding| is_alarm(&finding.kind)) {
            return;
        }
        let quiet = self.last.and_then(|last| at.duration_since(last).ok());
        if quiet.is_none_or(|quiet| quiet > Duration::from_secs(600)) {
            self.count += 1;
            if std::env::var_os("PLUGMETER_SHOW").is_some() {
                findings.iter().for_each(|finding| eprintln!("    {finding}"));
            }
        }
        self.last = Some(at);
    }
}
