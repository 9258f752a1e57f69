//! Texts of errors, run ends and handles: they state the fact and the value.

use std::error::Error;
use std::io;
use std::time::Duration;

use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{
    Collector, Config, ConfigError, InitError, NameError, PluginState, ProbeKind, ReadError,
    RegisterError, RunEnd, StartError, StoppedError,
};

#[track_caller]
fn assert_text(error: &dyn Error, text: &str) {
    assert_eq!(error.to_string(), text);
}

#[test]
fn config_error_names_value_and_bound() {
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    let min = Duration::from_millis(10);
    let error = Simulation::new(Config::default().poll_interval(second / 1_000)).unwrap_err();
    assert_eq!(error, ConfigError::PollInterval { value: second / 1_000, min, max: day });
    assert_text(&error, "poll interval 1ms is not between 10ms and 86400s");
    let error = Simulation::new(Config::default().history_duration(second)).unwrap_err();
    assert_text(&error, "history of 1s is shorter than the poll interval 5s");
    let error = Simulation::new(Config::default().history_duration(day * 100_000)).unwrap_err();
    assert_text(&error, "history of 1728000000 samples is longer than 1048576 samples");
    let error = ConfigError::ProbeNotBuilt(ProbeKind::Portable);
    assert_text(&error, "the portable probe is not part of this build (see the crate's features)");
}

#[test]
fn wrapped_error_prints_source_once() {
    let config = ConfigError::HistoryTooLong { samples: 9, max: 8 };
    let start = StartError::from(config);
    assert_text(&start, "history of 9 samples is longer than 8 samples");
    assert!(start.source().is_none(), "its text is already included");
    let init = InitError::Start(start);
    assert_text(&init, "history of 9 samples is longer than 8 samples");
    assert!(init.source().is_none());

    let start = StartError::Thread(io::Error::other("no threads left"));
    assert_text(&start, "the sampler could not be started: no threads left");
    assert_text(start.source().unwrap(), "no threads left");
    assert_text(InitError::Start(start).source().unwrap(), "no threads left");
    assert_text(&InitError::AlreadyInitialized, "the process-wide collector exists already");
    assert!(InitError::AlreadyInitialized.source().is_none());
}

#[test]
fn register_error_names_name_and_reason() {
    let sim = Simulation::new(Config::default()).unwrap();
    let rejected = |name: &str| sim.register(name).unwrap_err();
    assert_text(&rejected(""), "\"\" cannot be the name of a plugin: it is empty");
    assert_text(
        &rejected("a\nb"),
        "\"a\\nb\" cannot be the name of a plugin: it has a control character",
    );
    let too_long = matches!(
        rejected(&"x".repeat(129)),
        RegisterError::InvalidName { reason: NameError::TooLong { max: 128 }, .. }
    );
    assert!(too_long);
    assert_text(&NameError::TooLong { max: 128 }, "it is longer than 128 bytes");
    sim.register("dice").unwrap();
    assert_text(&rejected("dice"), "a plugin named \"dice\" is registered already");
    assert_text(&RegisterError::TooManyPlugins { max: 7 }, "there are 7 plugins already");
    assert_text(&RegisterError::Stopped, "the collector is not running");
    assert_text(&StoppedError, "the collector is not running");
}

#[test]
fn read_errors_and_run_ends_have_text() {
    assert_text(&ReadError::InvalidPid, "the pid is not the id of a process");
    assert_text(&ReadError::PidReused, "the process with this pid started after it was reported");
    assert_text(&ReadError::PermissionDenied, "no permission to read the process");
    let unreadable = ReadError::Io(io::ErrorKind::NotFound);
    assert_text(&unreadable, "reading the process failed: entity not found");
    for (end, text) in [
        (RunEnd::Exited(3), "exit code 3"),
        (RunEnd::Signaled(9), "signal 9"),
        (RunEnd::Replaced, "replaced"),
        (RunEnd::Stopped, "stopped"),
        (RunEnd::Crashed, "crashed"),
        (RunEnd::Unknown, "unknown"),
    ] {
        assert_eq!(end.to_string(), text);
    }
    let unknown = "running".parse::<PluginState>().unwrap_err();
    assert_text(&unknown, "\"running\" is not a plugin state");
}

#[test]
fn run_id_is_number_and_memory_mebibytes() {
    let mut sim = Simulation::new(Config::default()).unwrap();
    let plugin = sim.register("dice").unwrap();
    let run = plugin.started(1, "");
    sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: 5 << 19 });
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.current().unwrap().memory_mb(), Some(2.5));
    let json = serde_json::to_string(view.run().unwrap()).unwrap();
    assert!(json.starts_with(&format!("{{\"id\":{run},")), "{json}");
    sim.tick(|_| Observed::Denied);
    assert_eq!(sim.snapshot().plugin("dice").unwrap().current().unwrap().memory_mb(), None);
}

#[test]
fn debug_of_handles_is_short() {
    let hour = Duration::from_secs(3_600);
    let config = Config::default().poll_interval(hour).history_duration(hour);
    let collector = Collector::start(config).unwrap();
    let plugin = collector.register("dice").unwrap();
    plugin.events().add(3);
    let tick = collector.sample_now().unwrap().tick();
    let expected = format!("Collector {{ tick: {tick}, plugins: 1, running: true }}");
    assert_eq!(format!("{collector:?}"), expected);
    assert_eq!(format!("{plugin:?}"), "Plugin { name: \"dice\", events: 3 }");
    assert_eq!(format!("{:?}", plugin.events()), "EventCounter(3)");
    collector.stop();
    assert!(format!("{collector:?}").ends_with("running: false }"), "{collector:?}");
}
