//! Arbitrary sequences of a host's reports and a probe's observations, applied to a simulation: its
//! snapshots are consistent, and keep the crate's guarantees.
#![no_main]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use plugmeter::prometheus::{self, Format};
use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{
    Config, Plugin, PluginState, PluginView, RegisterError, RunId, Sample, Snapshot, Summary,
    Window,
};

#[derive(Arbitrary, Debug)]
struct Input {
    poll: Poll,
    samples: u8,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Poll {
    Shortest,
    Second,
    Odd,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Register(Name),
    Remove(Name),
    Started { name: Name, pid: Pid, version: Box<str> },
    Exited { name: Name, run: u8, status: u16 },
    Stopped(Name),
    Crashed(Name),
    State(Name, u8),
    Events(Name, u16),
    Tick([Observation; 4]),
    Ticks(u8, Observation),
    Advance(u32),
    Hold,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Dice,
    EightBall,
    Quoted,
    Umlaut,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Pid {
    Few(u8),
    Any(u32),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Observation {
    /// CPU time that increases with the number of the tick, as it does for real processes.
    Busy(u16, u16),
    Any {
        cpu_ns: u64,
        memory: u64,
    },
    /// A busy process, and its descendants.
    Tree {
        main: (u16, u16),
        others: (u16, u16),
        processes: u32,
    },
    Exited(i8),
    Signaled(u8),
    Gone,
    Denied,
}

const STATES: [PluginState; 7] = [
    PluginState::Stopped,
    PluginState::Starting,
    PluginState::Running,
    PluginState::Unhealthy,
    PluginState::Stopping,
    PluginState::Crashed,
    PluginState::Failed,
];

impl Name {
    const fn text(self) -> &'static str {
        match self {
            Self::Dice => "dice",
            Self::EightBall => "8ball",
            Self::Quoted => "a \"quoted\\\" name",
            Self::Umlaut => "würfel",
        }
    }
}

impl Observation {
    fn at(self, tick: u64) -> Observed {
        match self {
            Self::Busy(ms, kib) => Observed::Running(Usage {
                cpu_time: Duration::from_millis(tick * u64::from(ms)),
                memory_bytes: u64::from(kib) << 10,
            }),
            Self::Any { cpu_ns, memory } => Observed::Running(Usage {
                cpu_time: Duration::from_nanos(cpu_ns),
                // A multiple of 1,024, because memory is recorded in KiB, rounded down.
                memory_bytes: memory & !1_023,
            }),
            Self::Tree { main, others, processes } => {
                let busy = |ms: u64, kib: u64| Usage {
                    cpu_time: Duration::from_millis(tick * ms),
                    memory_bytes: kib << 10,
                };
                let [main, others] = [main, others].map(|(ms, kib)| [u64::from(ms), kib.into()]);
                Observed::RunningTree {
                    main: busy(main[0], main[1]),
                    tree: busy(main[0] + others[0], main[1] + others[1]),
                    processes,
                }
            }
            Self::Exited(code) => Observed::Exited(code.into()),
            Self::Signaled(signal) => Observed::Signaled(i32::from(signal % 64) + 1),
            Self::Gone => Observed::Gone,
            Self::Denied => Observed::Denied,
        }
    }
}

/// A registered plugin, and its expected values.
struct Expected {
    handle: Plugin,
    runs: Vec<RunId>,
    events: u64,
    /// Ticks since it was registered.
    ticks: u64,
    crash_count: u64,
    restarts: u64,
    cpu_time: Duration,
    tree_cpu_time: Duration,
}

struct Harness {
    sim: Simulation,
    poll: Duration,
    samples: u64,
    plugins: BTreeMap<Name, Expected>,
    tick: u64,
    revision: u64,
    held: Vec<(Snapshot, String)>,
}

impl Harness {
    fn new(input: &Input) -> Self {
        let poll = match input.poll {
            Poll::Shortest => Duration::from_millis(10),
            Poll::Second => Duration::from_secs(1),
            Poll::Odd => Duration::from_nanos(3_333_333_333),
        };
        let samples = u32::from(input.samples % 100) + 1;
        let config = Config::default().poll_interval(poll).history_duration(poll * samples);
        let sim = Simulation::new(config).expect("the config is valid");
        let samples = samples.into();
        let plugins = BTreeMap::new();
        Self { sim, poll, samples, plugins, tick: 0, revision: 0, held: Vec::new() }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Register(name) => self.register(*name),
            Step::Remove(name) => {
                if let Some(plugin) = self.plugins.remove(name) {
                    plugin.handle.remove();
                    // A report through the handle of a removed plugin has no effect.
                    plugin.handle.crashed();
                }
            }
            Step::Started { name, pid, version } => {
                if let Some(plugin) = self.plugins.get_mut(name) {
                    let pid = match pid {
                        Pid::Few(pid) => u32::from(*pid % 8),
                        Pid::Any(pid) => *pid,
                    };
                    plugin.runs.push(plugin.handle.started(pid, version));
                }
            }
            Step::Exited { name, run, status } => {
                if let Some(plugin) = self.plugins.get(name)
                    && let Some(run) = plugin.runs.iter().rev().nth(usize::from(*run % 4))
                {
                    // The wait status of an exit or a signal; 0x7f would be that of a stopped
                    // process.
                    let status = i32::from(if status & 0x7f == 0x7f { 0 } else { *status });
                    plugin.handle.exited(*run, ExitStatus::from_raw(status));
                }
            }
            Step::Stopped(name) => self.report(*name, Plugin::stopped),
            Step::Crashed(name) => self.report(*name, Plugin::crashed),
            Step::State(name, state) => {
                self.report(*name, |plugin| plugin.set_state(STATES[usize::from(*state) % 7]));
            }
            Step::Events(name, events) => {
                if let Some(plugin) = self.plugins.get_mut(name) {
                    plugin.handle.events().add((*events).into());
                    plugin.events += u64::from(*events);
                    assert_eq!(plugin.handle.events().get(), plugin.events);
                }
            }
            Step::Tick(observations) => self.tick(observations),
            Step::Ticks(times, observation) => {
                (0..times % 40).for_each(|_| self.tick(&[*observation]));
            }
            Step::Advance(ms) => self.sim.advance(Duration::from_millis((*ms % 100_000).into())),
            Step::Hold => {
                let snapshot = self.sim.snapshot();
                let all = render(&snapshot);
                self.held.push((snapshot, all));
            }
        }
    }

    fn register(&mut self, name: Name) {
        match self.sim.register(name.text()) {
            Ok(handle) => {
                let plugin = Expected {
                    handle,
                    runs: Vec::new(),
                    events: 0,
                    ticks: 0,
                    crash_count: 0,
                    restarts: 0,
                    cpu_time: Duration::ZERO,
                    tree_cpu_time: Duration::ZERO,
                };
                assert!(self.plugins.insert(name, plugin).is_none(), "two plugins with one name");
            }
            Err(RegisterError::AlreadyRegistered { .. }) => {
                assert!(self.plugins.contains_key(&name), "a free name is rejected");
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn report(&self, name: Name, report: impl FnOnce(&Plugin)) {
        if let Some(plugin) = self.plugins.get(&name) {
            report(&plugin.handle);
        }
    }

    fn tick(&mut self, observations: &[Observation]) {
        self.tick += 1;
        let tick = self.tick;
        self.sim.tick(|pid| observations[pid as usize % observations.len()].at(tick));
        for plugin in self.plugins.values_mut() {
            plugin.ticks += 1;
        }
        self.check();
    }

    /// Checks the invariants after a tick.
    fn check(&mut self) {
        let snapshot = self.sim.snapshot();
        assert_eq!((snapshot.tick(), snapshot.sampler().ticks), (self.tick, self.tick));
        assert!(snapshot.revision() > self.revision, "a tick without a publication");
        self.revision = snapshot.revision();

        let names: Vec<_> = snapshot.plugins().map(|view| view.name()).collect();
        let mut expected: Vec<_> = self.plugins.keys().map(|name| name.text()).collect();
        expected.sort_unstable();
        assert_eq!(names, expected, "the snapshot has all registered plugins");

        let (mut events, mut memory, mut running, mut crashed) = (0, 0u64, 0, 0);
        for (name, plugin) in &mut self.plugins {
            let view = snapshot.plugin(name.text()).expect("it is registered");
            plugin.check(view, &snapshot, self.samples);
            check_windows(view, &snapshot, self.poll);
            let current = view.current().expect("it was sampled");
            events += current.event_count;
            memory = memory.saturating_add(current.memory_bytes.unwrap_or(0));
            running += usize::from(view.state() == PluginState::Running && view.run().is_some());
            crashed += usize::from(view.state() == PluginState::Crashed);
        }
        let system = snapshot.system();
        assert_eq!((system.total_plugins, system.total_events), (self.plugins.len(), events));
        assert_eq!(system.total_memory_bytes, memory);
        assert_eq!((system.plugins_running, system.plugins_crashed), (running, crashed));
    }
}

impl Expected {
    fn check(&mut self, view: PluginView<'_>, snapshot: &Snapshot, samples: u64) {
        assert_eq!(view.history(Window::All).len() as u64, self.ticks.min(samples));
        let current = view.current().expect("it was sampled");
        assert_eq!(current.timestamp, snapshot.sampled_at(), "the sample belongs to another tick");
        assert_eq!((view.event_count(), current.event_count), (self.events, self.events));
        assert!(current.crash_count <= view.crash_count());

        assert!(view.crash_count() >= self.crash_count, "a counter decreased");
        assert!(view.restart_count() >= self.restarts && view.cpu_time() >= self.cpu_time);
        (self.crash_count, self.restarts) = (view.crash_count(), view.restart_count());
        self.cpu_time = view.cpu_time();
        assert!(view.tree_cpu_time() >= self.tree_cpu_time.max(view.cpu_time()));
        self.tree_cpu_time = view.tree_cpu_time();
        let runs = self.runs.len() as u64;
        assert!(view.crash_count() <= runs && view.restart_count() <= runs.saturating_sub(1));
        assert_eq!(view.last_crash().is_some(), view.crash_count() > 0);
        assert!(view.runs().map(|run| run.id).is_sorted());
        assert!(view.runs().all(|run| self.runs.contains(&run.id)), "a run of another plugin");
        assert!(view.runs().rev().skip(1).all(|run| run.ended_at.is_some()), "two active runs");
    }
}

/// Compares queries of windows with the samples of the whole history.
fn check_windows(view: PluginView<'_>, snapshot: &Snapshot, poll: Duration) {
    let all: Vec<Sample<'_>> = view.history(Window::All).collect();
    let mut backwards: Vec<_> = view.history(Window::All).rev().collect();
    backwards.reverse();
    assert_eq!(all, backwards);
    for pair in all.windows(2) {
        assert!(pair[0].timestamp < pair[1].timestamp);
        assert!(pair[0].event_count <= pair[1].event_count, "a counter decreased");
        assert!(pair[0].crash_count <= pair[1].crash_count, "a counter decreased");
    }
    for sample in &all {
        let cpu = sample.cpu_percent.unwrap_or(0.0);
        assert!(cpu.is_finite() && cpu >= 0.0, "{cpu} %");
        assert_ne!(sample.memory_bytes, Some(0), "zero in place of an unknown value");
        assert_eq!(sample.pid.is_some(), sample.run.is_some());
        let cpu = sample.cpu_percent.zip(sample.tree_cpu_percent);
        assert!(cpu.is_none_or(|(own, tree)| own <= tree), "a tree uses less than its process");
        let memory = sample.memory_bytes.zip(sample.tree_memory_bytes);
        assert!(memory.is_none_or(|(own, tree)| own <= tree), "a tree has less than its process");
    }
    for window in [Window::All, poll.into(), (poll * 7).into(), Duration::ZERO.into()] {
        let within = |sample: &&Sample<'_>| match window {
            Window::All => true,
            Window::Last(last) => {
                snapshot.sampled_at().duration_since(sample.timestamp).expect("older") <= last
            }
        };
        let samples: Vec<_> = all.iter().filter(within).copied().collect();
        assert!(view.history(window).eq(samples.iter().copied()), "{window:?}");
        check_aggregates(view, window, &samples);
    }
}

/// Compares aggregates with their definitions, applied to the samples.
fn check_aggregates(view: PluginView<'_>, window: Window, samples: &[Sample<'_>]) {
    let found = view.aggregates(window);
    let [first, .., last] = samples else {
        assert_eq!(found.map_or(0, |found| found.sample_count), samples.len());
        return;
    };
    let found = found.expect("there are samples");
    let span = last.timestamp.duration_since(first.timestamp).expect("the first sample is older");
    assert_eq!((found.sample_count, found.time_span), (samples.len(), span));
    assert_eq!(found.events, last.event_count - first.event_count);
    assert_eq!(found.events_per_second, found.events as f64 / span.as_secs_f64());
    assert_eq!(found.crashes, view.crash_count() - first.crash_count);
    check_summary(found.cpu, samples.iter().filter_map(|sample| sample.cpu_percent));
    check_summary(found.memory, samples.iter().filter_map(|s| s.memory_bytes).map(|b| b as f64));
    check_summary(found.tree_cpu, samples.iter().filter_map(|sample| sample.tree_cpu_percent));
    let memory = samples.iter().filter_map(|sample| sample.tree_memory_bytes);
    check_summary(found.tree_memory, memory.map(|bytes| bytes as f64));
}

fn check_summary(found: Option<Summary>, values: impl Iterator<Item = f64>) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else {
        assert_eq!(found, None);
        return;
    };
    let found = found.expect("there are values");
    assert_eq!((found.count, found.min, found.max), (values.len(), values[0], values[last]));
    assert_eq!(found.p95, values[(values.len() * 95 / 100).min(last)]);
    let avg = values.iter().sum::<f64>() / values.len() as f64;
    assert!((found.avg - avg).abs() <= avg * 1e-9, "{} is not {avg}", found.avg);
}

/// Renders all contents of a snapshot.
fn render(snapshot: &Snapshot) -> String {
    let mut text = serde_json::to_string(snapshot).expect("a snapshot serializes");
    for view in snapshot.plugins() {
        text +=
            &serde_json::to_string(&view.aggregates(Window::All)).expect("aggregates serialize");
        for sample in view.history(Window::All) {
            text += &serde_json::to_string(&sample).expect("a sample serializes");
        }
        for run in view.runs() {
            text += &serde_json::to_string(run).expect("a run serializes");
        }
    }
    text += &prometheus::render(snapshot, Format::OpenMetrics);
    assert!(text.ends_with("\n# EOF\n"));
    text + &snapshot.to_string()
}

fuzz_target!(|input: Input| {
    let mut harness = Harness::new(&input);
    for step in &input.steps {
        harness.step(step);
    }
    harness.tick(&[Observation::Busy(7, 7)]);
    render(&harness.sim.snapshot());
    for (snapshot, all) in &harness.held {
        assert_eq!(&render(snapshot), all, "a held snapshot has changed");
    }
});
