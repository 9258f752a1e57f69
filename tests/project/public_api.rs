//! The public API, spelled out: code of hosts must continue to compile.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{
    Aggregates, Collector, Config, ConfigError, EventCounter, History, InitError, NameError,
    ParseStateError, Plugin, PluginState, PluginView, ProbeKind, ReadError, Reader, RegisterError,
    Run, RunEnd, RunId, Sample, SamplerStats, Snapshot, StartError, StoppedError, Summary,
    SystemMetrics, Window,
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
    value::<ProbeKind>();
    value::<PluginState>();
    value::<Window>();
    value::<Snapshot>();
    value::<PluginView<'_>>();
    value::<Sample<'_>>();
    value::<Summary>();
    value::<Aggregates>();
    value::<SystemMetrics>();
    value::<SamplerStats>();
    value::<Run>();
    value::<RunEnd>();
    value::<RunId>();
    value::<ReadError>();
    value::<Observed>();
    value::<Usage>();

    let _ = Config::default().clone();
    copy::<ProbeKind>();
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

    handle::<Reader>();
    handle::<Plugin>();
    handle::<EventCounter>();
    handle::<Snapshot>();
    threads::<Collector>();
    threads::<Config>();

    error::<ConfigError>();
    error::<StartError>();
    error::<InitError>();
    error::<RegisterError>();
    error::<NameError>();
    error::<StoppedError>();
    error::<ParseStateError>();

    json_both_ways::<Config>();
    json_both_ways::<ProbeKind>();
    json_both_ways::<PluginState>();
    json::<Snapshot>();
    json::<PluginView<'_>>();
    json::<Sample<'_>>();
    json::<Aggregates>();
    json::<SystemMetrics>();
    json::<SamplerStats>();
    json::<Run>();

    fn ordered<T: Ord + Hash>() {}
    ordered::<RunId>();
    fn shown<T: Display>() {}
    shown::<PluginState>();
    shown::<ReadError>();
    shown::<Aggregates>();
    shown::<SystemMetrics>();
    shown::<Snapshot>();
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
