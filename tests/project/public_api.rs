//! The public API, spelled out: code of hosts must continue to compile.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::io;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use plugmeter::findings::{
    Finding, FindingKind, Findings, MemoryChange, MessagePart, Onset, RegressionMetric, Severity,
    crash_window,
};
use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{
    Aggregates, ClearReason, Collector, CollectorStatus, Config, ConfigError, CurrentUsage,
    Downsampler, EventCounter, History, InitError, Limit, LimitError, LimitMetric, LimitState,
    LimitStatus, Limits, NameError, Notification, NotificationKind, ParseStateError, Plugin,
    PluginChild, PluginState, PluginView, Point, ProbeKind, ProcessInfo, ReadError, Reader,
    RecvError, RegisterError, Run, RunEnd, RunId, Sample, SamplerStats, Snapshot, StartError,
    StoppedError, Subscription, Summary, SystemMetrics, ValueRange, Window,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn value<T: Debug + Clone + PartialEq>() {}
fn copy<T: Copy>() {}
fn threads<T: Send + Sync>() {}
fn json<T: Serialize>() {}
fn json_both_ways<T: Serialize + DeserializeOwned>() {}
fn error<T: Error + Send + Sync + 'static>() {}
fn handle<T: Clone + Send + Sync + Debug + 'static>() {}

#[test]
fn public_types_implement_expected_traits() {
    value::<Config>();
    value::<Limit>();
    value::<Limits>();
    value::<LimitMetric>();
    value::<LimitState>();
    value::<LimitStatus>();
    value::<Notification>();
    value::<NotificationKind>();
    value::<ClearReason>();
    value::<RecvError>();
    value::<ProbeKind>();
    value::<PluginState>();
    value::<Window>();
    value::<Snapshot>();
    value::<PluginView<'_>>();
    value::<Sample<'_>>();
    value::<Summary>();
    value::<Aggregates>();
    value::<SystemMetrics>();
    value::<ProcessInfo<'_>>();
    value::<SamplerStats>();
    value::<Run>();
    value::<RunEnd>();
    value::<RunId>();
    value::<ReadError>();
    value::<CollectorStatus>();
    value::<CurrentUsage>();
    value::<Point>();
    value::<ValueRange>();
    value::<Finding>();
    value::<FindingKind>();
    value::<Findings>();
    value::<MemoryChange>();
    value::<Onset>();
    value::<Severity>();
    value::<MessagePart>();
    value::<RegressionMetric>();
    value::<Observed>();
    value::<Usage>();

    let _ = Config::default().clone();
    copy::<ProbeKind>();
    copy::<Limit>();
    copy::<LimitMetric>();
    copy::<LimitState>();
    copy::<LimitStatus>();
    copy::<ClearReason>();
    copy::<PluginState>();
    copy::<Window>();
    copy::<PluginView<'_>>();
    copy::<Sample<'_>>();
    copy::<Summary>();
    copy::<SystemMetrics>();
    copy::<SamplerStats>();
    copy::<RunEnd>();
    copy::<RunId>();
    copy::<ReadError>();
    copy::<CollectorStatus>();
    copy::<CurrentUsage>();
    copy::<ValueRange>();
    copy::<MemoryChange>();
    copy::<Onset>();
    copy::<Severity>();
    copy::<RegressionMetric>();

    handle::<Reader>();
    handle::<Plugin>();
    handle::<EventCounter>();
    handle::<Snapshot>();
    threads::<Collector>();
    threads::<Subscription>();
    threads::<Config>();
    threads::<Downsampler>();
    threads::<Findings>();

    error::<ConfigError>();
    error::<StartError>();
    error::<InitError>();
    error::<RegisterError>();
    error::<NameError>();
    error::<StoppedError>();
    error::<LimitError>();
    error::<RecvError>();
    error::<ParseStateError>();

    json_both_ways::<Config>();
    json_both_ways::<ProbeKind>();
    json_both_ways::<Limits>();
    json_both_ways::<Limit>();
    json::<LimitStatus>();
    json::<Notification>();
    json_both_ways::<PluginState>();
    json::<Snapshot>();
    json::<PluginView<'_>>();
    json::<Sample<'_>>();
    json::<Aggregates>();
    json::<SystemMetrics>();
    json::<SamplerStats>();
    json::<Run>();
    json::<Summary>();
    json::<Point>();
    json::<ValueRange>();
    json::<CollectorStatus>();
    json::<Finding>();
    json::<Findings>();
    json::<Severity>();

    fn ordered<T: Ord + Hash>() {}
    ordered::<RunId>();
    ordered::<Severity>();
    fn shown<T: Display>() {}
    shown::<PluginState>();
    shown::<ReadError>();
    shown::<Aggregates>();
    shown::<SystemMetrics>();
    shown::<Snapshot>();
    shown::<CollectorStatus>();
    shown::<RunEnd>();
    shown::<Finding>();
    shown::<Findings>();
    shown::<Severity>();
    shown::<Limit>();
    shown::<LimitStatus>();
    shown::<Notification>();
    shown::<NotificationKind>();
}

#[test]
fn calls_have_expected_signatures() {
    let config: Config = Config::default()
        .enabled(true)
        .poll_interval(Duration::from_secs(5))
        .history_duration(Duration::from_secs(3_600))
        .probe(ProbeKind::Native);
    let collector: Collector = Collector::start(config).unwrap();
    let plugin: Plugin = collector.register("dice").unwrap();
    let _: Option<Plugin> = collector.plugin("dice");
    let reader: Reader = collector.reader();
    let subscription: Subscription = collector.subscribe();
    let _: Result<Notification, RecvError> = subscription.try_recv();
    let _: Result<Notification, RecvError> = subscription.recv_timeout(Duration::ZERO);
    fn future<T>(_: impl Future<Output = T> + Send + 'static) {}
    future::<Option<Snapshot>>(reader.changed(&reader.snapshot()));
    let _: Option<Snapshot> = reader.wait_for_newer(&reader.snapshot(), Duration::ZERO);
    let _: Result<(), LimitError> = plugin.set_limits(Limits::default());
    let _: Snapshot = collector.snapshot();
    let _: &str = plugin.name();
    let run: RunId = plugin.started(std::process::id(), "1.0");
    let events: &EventCounter = plugin.events();
    events.increment();
    events.add(2);
    let _: u64 = events.get();
    plugin.set_state(PluginState::Unhealthy);
    let snapshot: Snapshot = collector.sample_now().unwrap();

    let _: u64 = snapshot.tick();
    let _: u64 = snapshot.revision();
    let _: SystemTime = snapshot.sampled_at();
    let _: Instant = snapshot.sampled_at_instant();
    let _: Duration = snapshot.poll_interval();
    let _: Duration = snapshot.history_duration();
    let _: SystemTime = snapshot.started_at();
    let _: bool = snapshot.is_stopped();
    let _: CollectorStatus = snapshot.status();
    let _: Duration = snapshot.age();
    let _: bool = snapshot.is_stale();
    let _: SystemMetrics = snapshot.system();
    let _: SamplerStats = snapshot.sampler();
    let _: Vec<PluginView<'_>> = snapshot.plugins().collect();

    // Values from a view borrow the snapshot, not the view.
    let (name, version, run_of_view, problem): (
        &str,
        Option<&str>,
        Option<&Run>,
        Option<&ReadError>,
    );
    let (sample, mut history): (Option<Sample<'_>>, History<'_>);
    {
        let view: PluginView<'_> = snapshot.plugin("dice").unwrap();
        (name, version, run_of_view, problem) =
            (view.name(), view.version(), view.run(), view.read_error());
        (sample, history) = (view.current(), view.history(Window::All));
        let _: Option<u32> = view.pid();
        let _: PluginState = view.state();
        let _: SystemTime = view.state_since();
        let _: Vec<&Run> = view.runs().collect();
        let _: (u64, u64, u64) = (view.event_count(), view.crash_count(), view.restart_count());
        let _: Option<SystemTime> = view.last_crash();
        let _: Duration = view.cpu_time();
        let all: Aggregates = view.aggregates(Window::All).unwrap();
        let _: Option<Aggregates> = view.aggregates(Duration::from_secs(60));
        let _: Option<Aggregates> = view.aggregates(Some(Duration::from_secs(60)));
        let _: Option<Aggregates> = view.aggregates(None);
        let _: (Arc<str>, usize, Duration) = (all.plugin_name, all.sample_count, all.time_span);
        let _: (Option<Summary>, Option<Summary>) = (all.cpu, all.memory);
        let _: (Option<Summary>, Option<Summary>) = (all.tree_cpu, all.tree_memory);
        let _: (u64, f64, u64) = (all.events, all.events_per_second, all.crashes);
    }
    assert_eq!((name, version, problem), ("dice", Some("1.0"), None));
    assert_eq!(run_of_view.map(|run| run.id), Some(run));
    assert_eq!(history.len(), history.clone().rev().count());
    assert_eq!(history.next_back(), sample);
    let sample = sample.unwrap();
    let _: (Option<f64>, Option<u64>, Option<Duration>) =
        (sample.cpu_percent, sample.memory_bytes, sample.uptime);
    let _: Option<f64> = sample.memory_mb();
    let _: (Option<u32>, Option<f64>, Option<u64>) =
        (sample.process_count, sample.tree_cpu_percent, sample.tree_memory_bytes);
    let _: Option<f64> = sample.tree_memory_mb();

    plugin.exited(run, ExitStatus::default());
    plugin.stopped();
    plugin.crashed();
    plugin.remove();
    collector.stop();
    let _: bool = reader.snapshot().is_stopped();
    let _: Option<&'static Collector> = plugmeter::global();
    let _: fn(Config) -> Result<&'static Collector, InitError> = plugmeter::init;
}

#[test]
fn children_have_expected_signatures() {
    fn child<T: Debug + Send + Sync + 'static>() {}
    child::<PluginChild>();
    let _: fn(&Plugin, &mut Command, &str) -> io::Result<PluginChild> = Plugin::spawn;
    let _: fn(&Plugin, Child, &str) -> PluginChild = Plugin::attach;
    let _: fn(&PluginChild) -> u32 = PluginChild::id;
    let _: fn(&PluginChild) -> RunId = PluginChild::run;
    let _: fn(&mut PluginChild) -> io::Result<ExitStatus> = PluginChild::wait;
    let _: fn(&mut PluginChild) -> io::Result<Option<ExitStatus>> = PluginChild::try_wait;
    let _: fn(&mut PluginChild, Duration) -> io::Result<ExitStatus> = PluginChild::stop;
    let _: fn(&mut PluginChild) -> io::Result<()> = PluginChild::terminate;
    let _: fn(&mut PluginChild) -> io::Result<()> = PluginChild::kill;
    let _: fn(PluginChild) -> Child = PluginChild::into_inner;
    let _ = |child: PluginChild| -> Pipes { (child.stdin, child.stdout, child.stderr) };
}

type Pipes = (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>);

#[cfg(feature = "tokio")]
#[test]
fn children_of_tokio_have_expected_signatures() {
    use tokio::process;

    fn child<T: Debug + Send + Sync + 'static>() {}
    fn task<T>(_: impl Future<Output = io::Result<T>> + Send) {}
    child::<plugmeter::tokio::PluginChild>();
    let _: fn(&Plugin, &mut process::Command, &str) -> io::Result<plugmeter::tokio::PluginChild> =
        plugmeter::tokio::spawn;
    let _: fn(&Plugin, process::Child, &str) -> plugmeter::tokio::PluginChild =
        plugmeter::tokio::attach;
    let _ = |mut child: plugmeter::tokio::PluginChild| {
        let _: (Option<u32>, RunId) = (child.id(), child.run());
        task::<ExitStatus>(child.wait());
        task::<ExitStatus>(child.stop(Duration::ZERO));
        task::<()>(child.kill());
        let _: io::Result<Option<ExitStatus>> = child.try_wait();
        let _: io::Result<()> = child.terminate();
        let _: process::Child = child.into_inner();
    };
}

#[test]
fn queries_have_expected_signatures() {
    let mut sim = Simulation::new(Config::default()).unwrap();
    sim.register("dice").unwrap().started(1, "");
    sim.tick(|_pid| Usage { cpu_time: Duration::ZERO, memory_bytes: 1 << 20 });
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    let _: &Snapshot = view.snapshot();
    let CurrentUsage { cpu_percent, memory_bytes, uptime, .. } = view.usage();
    let _: (Option<f64>, Option<u64>, Option<Duration>) = (cpu_percent, memory_bytes, uptime);
    let CurrentUsage { process_count, tree_cpu_percent, tree_memory_bytes, .. } = view.usage();
    let _: (Option<u32>, Option<f64>, Option<u64>) =
        (process_count, tree_cpu_percent, tree_memory_bytes);
    let _: (bool, Duration) = (snapshot.has_process_trees(), view.tree_cpu_time());
    let ProcessInfo { pid, parent, name, cpu_percent, memory_bytes, .. } =
        view.processes().next().unwrap();
    let _: (u32, Option<u32>, Cow<'_, str>) = (pid, parent, name);
    let _: (Option<f64>, Option<u64>) = (cpu_percent, memory_bytes);
    let system: SystemMetrics = snapshot.system();
    let _: (f64, u64, usize) =
        (system.cpu_percent, system.total_tree_memory_bytes, system.process_count);
    let _: (f64, f64) = (view.event_rate(Window::All), view.event_rate(Duration::from_secs(60)));
    let _: (u64, u64) = (view.crashes(Window::All), view.crashes(Duration::from_secs(60)));
    let _: Option<Duration> = view.sample_age(0);
    let _: bool = RunEnd::Exited(0).is_unclean();

    let points: Vec<Point> = view.points(Window::All, 10);
    let _: Vec<Point> = view.points(Duration::from_secs(60), 10);
    let point = points[0].clone();
    let _: (SystemTime, usize) = (point.timestamp, point.sample_count);
    let _: (u64, u64) = (point.event_count, point.crash_count);
    let _: (PluginState, Option<RunId>) = (point.state, point.run);
    let _: Option<ValueRange> = point.cpu_percent;
    let _: [Option<ValueRange>; 2] = [point.tree_cpu_percent, point.tree_memory];
    let ValueRange { min, avg, max, .. } = point.memory.unwrap();
    let _: [f64; 3] = [min, avg, max];
    let mut downsampler: Downsampler = Downsampler::new(1, 1, 10);
    let _: u64 = downsampler.bucket_ticks();
    let _: Option<Point> = downsampler.push(1, &view.current().unwrap());
    assert_eq!(downsampler.finish(), Some(point));
}

/// The fields of every kind, by their types.
fn evidence(kind: FindingKind) -> Option<f64> {
    match kind {
        FindingKind::Down { state, end } => {
            let _: (PluginState, Option<RunEnd>) = (state, end);
        }
        FindingKind::Unreadable(error) => {
            let _: ReadError = error;
        }
        FindingKind::EndedUnknown | FindingKind::Suspended | FindingKind::Unhealthy => {}
        FindingKind::Survivors { processes } => {
            let _: u32 = processes;
        }
        FindingKind::CpuShift {
            before,
            now,
            samples_before,
            samples_since,
            per_event,
            margin,
            ..
        } => {
            let _: ([f64; 3], [usize; 2]) =
                ([before, now, margin], [samples_before, samples_since]);
            let _: Option<f64> = per_event;
        }
        FindingKind::Busier { before, now } | FindingKind::EventSurge { before, now } => {
            let _: [f64; 2] = [before, now];
        }
        FindingKind::CpuSpike { before, peak, cpu_time } => {
            let _: ([f64; 2], Duration) = ([before, peak], cpu_time);
        }
        FindingKind::Saturated { percent } => return Some(percent),
        FindingKind::MemoryGrowth { from, now, per_hour, low, high, limit_in, .. } => {
            let _: ([u64; 2], [f64; 3]) = ([from, now], [per_hour, low, high]);
            let _: Option<Duration> = limit_in;
        }
        FindingKind::MemoryStep { before, now } => {
            let _: [u64; 2] = [before, now];
        }
        FindingKind::CrashLoop { count, last } => {
            let _: (u64, SystemTime) = (count, last);
        }
        FindingKind::Crashed { count, within, last } => {
            let _: (u64, Duration, SystemTime) = (count, within, last);
        }
        FindingKind::Silence { per_second, cpu_percent } => {
            let _: (f64, Option<f64>) = (per_second, cpu_percent);
        }
        FindingKind::LimitExceeded(status) => {
            let _: LimitStatus = status;
        }
        FindingKind::Regression { metric, old, new, before, now, minutes, .. } => {
            let _: (RegressionMetric, [Arc<str>; 2]) = (metric, [old, new]);
            let _: ([f64; 2], [usize; 2]) = ([before, now], minutes);
        }
        _ => {}
    }
    None
}

#[test]
fn findings_have_expected_signatures() {
    let mut sim = Simulation::new(Config::default()).unwrap();
    sim.register("dice").unwrap().started(1, "");
    for tick in 1..=60 {
        let cpu_time = Duration::from_secs(5 * tick);
        sim.tick(|_pid| Usage { cpu_time, memory_bytes: 1 << 20 });
    }
    let snapshot = sim.snapshot();
    let _: Duration = crash_window(&snapshot);
    let _: (usize, Option<u64>) = (snapshot.cpu_cores(), snapshot.machine_memory_bytes());
    let findings: Findings = snapshot.findings();
    let _: (usize, Duration) = (findings.judged, findings.over);
    let _: &Vec<Arc<str>> = &findings.too_young;
    let finding: &Finding = &findings.items[0];
    let _: (&Arc<str>, Option<RunId>) = (&finding.plugin, finding.run);
    let _: (Severity, f64, Option<SystemTime>) = (finding.severity, finding.impact, finding.until);
    let _: (&Vec<FindingKind>, Option<bool>) = (&finding.evidence, finding.oom_killed);
    let _: (SystemTime, bool) = (finding.since.time(), finding.since.is_exact());
    let _: &str = finding.kind.name();
    let _: Vec<MessagePart> = finding.message();
    assert!(finding.is_same(finding));
    assert_eq!(evidence(finding.kind.clone()), Some(100.0));
    let _: [fn(SystemTime) -> Onset; 2] = [Onset::At, Onset::Before];
    let _: [Severity; 3] = [Severity::Notice, Severity::Warning, Severity::Critical];
    let _: [CollectorStatus; 4] = [
        CollectorStatus::Running,
        CollectorStatus::Stopped,
        CollectorStatus::Disabled,
        CollectorStatus::Failed,
    ];

    let view = snapshot.plugin("dice").unwrap();
    let _: Vec<Finding> = view.findings();
    let _: Option<MemoryChange> = view.memory_change(Duration::from_secs(60));
    let change = view.memory_change(Window::All).unwrap();
    let _: (u64, u64, SystemTime, Duration) = (change.from, change.now, change.since, change.over);
    let _: i64 = change.bytes();
}

#[test]
fn simulation_accepts_every_observation() {
    let mut sim: Simulation = Simulation::new(Config::default()).unwrap();
    let usage = Usage { cpu_time: Duration::ZERO, memory_bytes: 0 };
    sim.register("dice").unwrap().started(1, "");
    sim.tick(|_pid: u32| usage);
    sim.tick(|_pid| Some(usage));
    sim.tick(|_pid| Observed::Running(usage));
    sim.advance(Duration::from_secs(1));
    let _: Reader = sim.reader();
    let _: Snapshot = sim.snapshot();
    for last in [Observed::Exited(0), Observed::Signaled(9), Observed::Gone, Observed::Denied] {
        sim.tick(|_pid| last);
    }
}

/// Stores, and collectors that continue them.
#[cfg(feature = "store")]
#[test]
fn stores_have_expected_signatures() {
    use std::ops::Range;
    use std::path::Path;

    use plugmeter::{
        Quantile, Recorder, Resolution, Saved, Store, StoreConfig, StoreConfigError, StoreError,
        StoreReader, StoredAggregates, StoredNotification, StoredPlugin, StoredPoint,
        StoredSummary,
    };

    value::<StoreConfig>();
    value::<StoreReader>();
    value::<StoredPlugin>();
    value::<StoredPoint>();
    value::<StoredAggregates>();
    value::<StoredSummary>();
    value::<StoredNotification>();
    copy::<Quantile>();
    copy::<Resolution>();
    copy::<StoredSummary>();
    json_both_ways::<StoreConfig>();
    json::<StoredPlugin>();
    json::<StoredPoint>();
    json::<StoredAggregates>();
    json::<StoredNotification>();
    error::<StoreError>();
    error::<StoreConfigError>();
    handle::<StoreReader>();
    threads::<Store>();
    threads::<Recorder>();
    threads::<Saved>();

    let _: fn(&Path) -> StoreConfig = |path| StoreConfig::new(path);
    let _: fn(StoreConfig, Duration) -> StoreConfig = StoreConfig::retention;
    let _: fn(StoreConfig, Duration) -> StoreConfig = StoreConfig::minutes;
    let _: fn(StoreConfig, Duration) -> StoreConfig = StoreConfig::hours;
    let _: fn(StoreConfig, u64) -> StoreConfig = StoreConfig::max_bytes;
    let _: fn(StoreConfig, Duration) -> StoreConfig = StoreConfig::write_interval;
    let _: fn(StoreConfig) -> Result<Store, StoreError> = Store::open;
    let _: fn(&Store) -> Saved = Store::saved;
    let _: fn(Config, Saved) -> Result<Collector, StartError> = Collector::resume;
    let _: fn(&Store, Reader) -> io::Result<Recorder> = Store::record;
    let _: fn(&Recorder) = Recorder::stop;
    let _: fn(&Recorder) -> Option<StoreError> = Recorder::error;
    let _: fn(&Store) -> StoreReader = Store::reader;
    let _: fn(&Path) -> Result<StoreReader, StoreError> = |path| StoreReader::open(path);
    let _: fn(&StoreReader) -> Vec<StoredPlugin> = StoreReader::plugins;
    let _: fn(&StoreReader, &str) -> Vec<Run> = StoreReader::runs;
    let _: fn(&StoreReader, &str, Range<SystemTime>, Resolution) -> Vec<StoredPoint> =
        StoreReader::points;
    let _: fn(&StoreReader, &str, Range<SystemTime>) -> StoredAggregates = StoreReader::aggregates;
    let _: fn(&StoreReader, Range<SystemTime>) -> Vec<StoredNotification> =
        StoreReader::notifications;
    let _: fn(Config, Saved) -> Result<Simulation, ConfigError> = Simulation::resume;
    let of = |error: StoreError| match error {
        StoreError::InUse { pid } => pid,
        StoreError::Newer { version } => version,
        StoreError::Config(StoreConfigError::NoPath) => 0,
        StoreError::Io(error) => u32::from(error.raw_os_error().is_some()),
        StoreError::Database(text) => text.len() as u32,
        _ => 0,
    };
    assert_eq!(of(StoreError::InUse { pid: 7 }), 7);
}
