//! Applies the steps of a case to the simulation and to the oracle, and compares them.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Config, ReadError, RegisterError, RunEnd, Snapshot, Subscription, Window};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::Checked;
use crate::agreement::{
    aggregates_agree, iteration_agrees, points_agree, sample_ages_agree, samples, snapshot_fields,
    usage_agrees, versions_agree,
};
use crate::fields::{PluginFields, SampleFields, SnapshotFields};
use crate::host::{Host, HostPlugin};
use crate::notified::Notified;
use crate::oracle::{Oracle, Reading, TreeReading};
use crate::registration::CLEAN_EXIT_CODE;
use crate::steps::{
    HostReport, NAMES, PIDS, Pid, PlannedReading, PlannedTree, ReportKind, Step, VERSIONS,
    WindowSpec,
};

/// A snapshot that is held, and its content when it was new.
struct Held {
    snapshot: Snapshot,
    fields: SnapshotFields,
    samples: Vec<Vec<SampleFields>>,
}

/// The simulation, the oracle, and the host that reports to both.
pub(crate) struct Harness {
    sim: Simulation,
    oracle: Oracle,
    host: Host,
    start: Instant,
    expected: SnapshotFields,
    revision: u64,
    published_at: Duration,
    held: Vec<Held>,
    subscription: Subscription,
    notified: Notified,
}

impl Harness {
    pub(crate) fn new((poll_interval, history_duration): (Duration, Duration)) -> Self {
        let config =
            Config::default().poll_interval(poll_interval).history_duration(history_duration);
        let config = config.clean_exit_codes(&[CLEAN_EXIT_CODE]);
        let sim = Simulation::new(config).expect("the durations are valid");
        let first = sim.snapshot();
        let oracle = Oracle::new(first.started_at(), poll_interval, history_duration);
        Self {
            subscription: sim.subscribe(),
            notified: Notified::default(),
            sim,
            host: Host::default(),
            start: first.sampled_at_instant(),
            expected: oracle.snapshot_fields(),
            oracle,
            revision: first.revision(),
            published_at: Duration::ZERO,
            held: Vec::new(),
        }
    }

    pub(crate) fn run(&mut self, steps: &[Step]) -> Checked {
        self.check(&[Window::All])?;
        for step in steps {
            self.run_step(step)?;
        }
        self.check_held()
    }

    fn run_step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Register(name) => self.register(*name)?,
            Step::Report(host_report) => {
                if let Some((registration, report)) =
                    self.host.send(host_report, &self.oracle, false)
                {
                    self.oracle.queue(registration, report);
                }
            }
            Step::Events(name, events, kind) => {
                if let Some(host) = self.host.of(*name, false) {
                    match kind {
                        None => host.plugin.events().clone().add(*events),
                        Some(kind) => {
                            let counter = host.plugin.event_counter(kind);
                            counter.expect("the kinds are few").add(*events);
                        }
                    }
                    self.oracle.add_events(host.registration, *events, *kind);
                    let all = self.oracle.events(host.registration);
                    prop_assert_eq!(host.plugin.events().get(), all);
                }
            }
            Step::Reloads(name, count) => {
                for nth in 0..usize::from(*count) {
                    let host_report = HostReport {
                        name: *name,
                        stale: false,
                        kind: ReportKind::Started {
                            pid: Pid::One(PIDS[nth % PIDS.len()]),
                            version: VERSIONS[nth % VERSIONS.len()],
                            fresh: true,
                        },
                    };
                    self.run_step(&Step::Report(host_report))?;
                }
            }
            Step::Tick { planned, during_tick, windows } => {
                self.tick(planned, during_tick)?;
                self.check_windows(windows)?;
            }
            Step::Ticks { count, seed, windows } => {
                for nth in 0..*count {
                    let random = seed.wrapping_add(nth).wrapping_mul(2_654_435_761) >> 8;
                    let planned_reading = PlannedReading::Alive {
                        permille: random % 2_000,
                        nanos: u64::from(random % 997),
                        memory: u64::from(random),
                        tree: None,
                    };
                    self.tick(&[planned_reading; PIDS.len()], &[])?;
                    // Checks each of these ticks, but not the whole history.
                    self.check(&[Window::Last(self.sim.snapshot().poll_interval())])?;
                }
                self.check_windows(windows)?;
            }
            Step::Advance(time, windows) => {
                let is_idle = self.oracle.has_no_pending_reports();
                let before = self.oracle.snapshot_fields();
                self.sim.advance(*time);
                self.oracle.advance(*time);
                if is_idle && self.oracle.snapshot_fields() == before {
                    let revision = self.sim.snapshot().revision();
                    prop_assert_eq!(revision, self.revision, "nothing has changed");
                }
                self.check_windows(windows)?;
            }
            Step::Hold => {
                self.check_held()?;
                let snapshot = self.sim.snapshot();
                self.held.push(Held {
                    fields: snapshot_fields(&snapshot)?,
                    samples: samples(&snapshot, Window::All)?,
                    snapshot,
                });
            }
        }
        Ok(())
    }

    fn register(&mut self, name: usize) -> Checked {
        let registered = self.sim.register(NAMES[name]);
        if self.host.of(name, false).is_some() {
            let rejected = matches!(registered, Err(RegisterError::AlreadyRegistered { .. }));
            prop_assert!(rejected, "the name {:?} is taken", NAMES[name]);
            return Ok(());
        }
        let plugin = registered.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(plugin.name(), NAMES[name]);
        prop_assert_eq!(plugin.events().get(), 0);
        self.host.all.push(HostPlugin {
            plugin,
            name,
            registration: self.oracle.register(NAMES[name]),
            removed: false,
            runs: Vec::new(),
            last_pid: PIDS[name],
        });
        Ok(())
    }

    fn tick(
        &mut self,
        planned: &[PlannedReading; PIDS.len()],
        during_tick: &[HostReport],
    ) -> Checked {
        let interval = self.sim.snapshot().poll_interval();
        let mut readings = BTreeMap::new();
        for (&pid, &planned_reading) in PIDS.iter().zip(planned) {
            let cpu = self.host.cpu.entry(pid).or_default();
            let others = self.host.others.entry(pid).or_default();
            let tree_reading = |PlannedTree { permille, memory, processes }| {
                match permille {
                    Some(permille) => *others += interval * permille / 1_000,
                    None => *others /= 3,
                }
                TreeReading { others: *others, memory, processes }
            };
            let read = match planned_reading {
                PlannedReading::Alive { permille, nanos, memory, tree } => {
                    *cpu += interval * permille / 1_000 + Duration::from_nanos(nanos);
                    Reading::Alive(*cpu, memory, tree.map(tree_reading))
                }
                PlannedReading::Down(tree) => {
                    *cpu /= 3;
                    Reading::Alive(*cpu, 1 << 20, tree.map(tree_reading))
                }
                PlannedReading::Ended(end) => Reading::Ended(end),
                PlannedReading::Denied => Reading::Failed(ReadError::PermissionDenied),
                PlannedReading::Panics => Reading::Failed(ReadError::Io(std::io::ErrorKind::Other)),
            };
            readings.insert(pid, read);
        }

        let mut read_pids = Vec::new();
        let mut reports = Vec::new();
        let (host, oracle) = (&mut self.host, &self.oracle);
        self.sim.tick(|pid| {
            if read_pids.is_empty() {
                reports.extend(
                    during_tick
                        .iter()
                        .filter_map(|host_report| host.send(host_report, oracle, true)),
                );
            }
            read_pids.push(pid);
            match readings[&pid] {
                Reading::Alive(cpu_time, memory_bytes, tree) => {
                    let main = Usage { cpu_time, memory_bytes };
                    match tree {
                        None => Observed::Running(main),
                        Some(TreeReading { others, memory, processes }) => {
                            let tree = Usage { cpu_time: cpu_time + others, memory_bytes: memory };
                            Observed::RunningTree { main, tree, processes }
                        }
                    }
                }
                Reading::Ended(RunEnd::Exited(code)) => Observed::Exited(code),
                Reading::Ended(RunEnd::Signaled(signal)) => Observed::Signaled(signal),
                Reading::Ended(_) => Observed::Gone,
                Reading::Failed(ReadError::PermissionDenied) => Observed::Denied,
                // Unlike `panic!`, this prints nothing.
                Reading::Failed(_) => resume_unwind(Box::new("a read that panics")),
            }
        });
        self.oracle.process_pending();
        let mut active = self.oracle.active_pids();
        read_pids.sort_unstable();
        active.sort_unstable();
        prop_assert_eq!(read_pids, active, "each active run is read once");
        self.oracle.tick(&|pid| readings[&pid], reports);
        let revision = self.sim.snapshot().revision();
        prop_assert!(revision > self.revision, "every tick is published");
        Ok(())
    }

    /// Compares all queries, over the whole history and over `windows`.
    fn check_windows(&mut self, windows: &[WindowSpec]) -> Checked {
        let snapshot = self.sim.snapshot();
        let ages: Vec<_> = self.oracle.sample_ages();
        let mut lengths = vec![Window::All];
        lengths.extend(windows.iter().map(|window_spec| match *window_spec {
            WindowSpec::Zero => Window::from(Duration::ZERO),
            WindowSpec::Longer => Window::from(Some(Duration::MAX)),
            WindowSpec::Intervals(count, more) => {
                let interval = snapshot.poll_interval();
                Window::Last(interval * count + interval * more / 1_000)
            }
            WindowSpec::Sample(nth, nanos) => ages.get(nth).map_or(Window::from(None), |&age| {
                let more = Duration::from_nanos(nanos.unsigned_abs());
                Window::Last(if nanos < 0 { age.saturating_sub(more) } else { age + more })
            }),
        }));
        drop(snapshot);
        self.check(&lengths)
    }

    fn check(&mut self, windows: &[Window]) -> Checked {
        let snapshot = self.sim.snapshot();
        let expected = self.oracle.snapshot_fields();
        prop_assert!(snapshot.revision() >= self.revision);
        if snapshot.revision() > self.revision {
            self.revision = snapshot.revision();
            self.published_at = self.oracle.now();
        } else {
            prop_assert_eq!(&expected, &self.expected, "a change is published");
        }
        let actual = snapshot_fields(&snapshot)?;
        // Compares part by part, for readable differences.
        for (actual, expected) in actual.plugins.iter().zip(&expected.plugins) {
            let ids =
                |plugin: &PluginFields| plugin.runs.iter().map(|run| run.id).collect::<Vec<_>>();
            prop_assert_eq!(ids(actual), ids(expected), "runs");
            for (actual, expected) in actual.runs.iter().zip(&expected.runs) {
                prop_assert_eq!(actual, expected);
            }
            let brief = |plugin: &PluginFields| PluginFields { runs: Vec::new(), ..plugin.clone() };
            prop_assert_eq!(brief(actual), brief(expected));
        }
        prop_assert_eq!(&actual, &expected);
        prop_assert_eq!(snapshot.system().uptime, self.published_at);
        let ticked = expected
            .sampled_at
            .duration_since(snapshot.started_at())
            .expect("ticks come after the start");
        prop_assert_eq!(snapshot.sampled_at_instant(), self.start + ticked);
        let all = self.oracle.samples(Window::All);
        for ((view, plugin), samples) in snapshot.plugins().zip(&expected.plugins).zip(all) {
            usage_agrees(view, plugin)?;
            sample_ages_agree(view, samples.len(), &self.oracle.sample_ages())?;
        }
        self.notified.check(&self.subscription, self.revision, &expected.plugins)?;
        self.expected = expected;

        for &window in windows {
            let expected = self.oracle.samples(window);
            let actual = samples(&snapshot, window)?;
            for (actual, expected) in actual.iter().zip(&expected) {
                let lengths = (actual.len(), expected.len());
                prop_assert_eq!(lengths.0, lengths.1, "samples in {:?}", window);
                for (actual, expected) in actual.iter().zip(expected) {
                    prop_assert_eq!(actual, expected, "in {:?}", window);
                }
            }
            prop_assert_eq!(actual.len(), expected.len());
            for (view, expected) in snapshot.plugins().zip(expected) {
                iteration_agrees(view, window, &expected)?;
                points_agree(view, window, &expected)?;
            }
            for (view, expected) in snapshot.plugins().zip(self.oracle.crashes(window)) {
                prop_assert_eq!(view.crashes(window), expected, "crashes in {:?}", window);
            }
            for (view, expected) in snapshot.plugins().zip(self.oracle.windows(window)) {
                aggregates_agree(view, window, expected)?;
            }
            for (view, expected) in snapshot.plugins().zip(self.oracle.versions(window)) {
                versions_agree(view, window, &expected)?;
            }
        }
        Ok(())
    }

    fn check_held(&self) -> Checked {
        for held in &self.held {
            prop_assert_eq!(&snapshot_fields(&held.snapshot)?, &held.fields);
            prop_assert_eq!(&samples(&held.snapshot, Window::All)?, &held.samples);
        }
        Ok(())
    }
}
