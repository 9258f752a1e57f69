//! Equality, conversions and `Debug` of public values.

use std::time::Duration;

use plugmeter::testing::{Simulation, Usage};
use plugmeter::{Config, Snapshot, Window};

const POLL: Duration = Duration::from_secs(5);

/// A simulation with one idle and one running plugin after `ticks` ticks.
fn simulation(ticks: u32) -> Simulation {
    let config = Config::default().poll_interval(POLL).history_duration(POLL * 100);
    let mut sim = Simulation::new(config).unwrap();
    sim.register("8ball").unwrap();
    sim.register("dice").unwrap().started(4_711, "1.0");
    for _ in 0..ticks {
        sim.tick(|_pid| Usage { cpu_time: Duration::ZERO, memory_bytes: 1 << 20 });
    }
    sim
}

fn samples(snapshot: &Snapshot, window: impl Into<Window>) -> usize {
    snapshot.plugin("dice").unwrap().history(window).len()
}

#[test]
fn views_compare_by_plugin_and_revision() {
    let mut sim = simulation(1);
    let before = sim.snapshot();
    let same = sim.snapshot();
    assert_eq!(before, same);
    assert_eq!(before.plugin("dice").unwrap(), same.plugin("dice").unwrap());
    assert_ne!(before.plugin("dice").unwrap(), before.plugin("8ball").unwrap());
    sim.tick(|_pid| None);
    let after = sim.snapshot();
    assert_ne!(before, after);
    assert_ne!(before.plugin("8ball").unwrap(), after.plugin("8ball").unwrap());
}

#[test]
fn window_converts_from_duration_and_option() {
    let snapshot = simulation(10).snapshot();
    assert_eq!((snapshot.poll_interval(), snapshot.history_duration()), (POLL, POLL * 100));
    assert_eq!(samples(&snapshot, POLL * 2), 3);
    assert_eq!(samples(&snapshot, Some(POLL * 2)), 3);
    assert_eq!(samples(&snapshot, Window::Last(POLL * 2)), 3);
    assert_eq!(samples(&snapshot, None), 10);
    assert_eq!(samples(&snapshot, Window::All), 10);
}

#[test]
fn debug_of_views_is_short() {
    let sim = simulation(3);
    let snapshot = sim.snapshot();
    let fields = "tick: 3, revision: 3, plugins: 2, stopped: false";
    assert_eq!(format!("{snapshot:?}"), format!("Snapshot {{ {fields} }}"));
    assert_eq!(format!("{sim:?}"), format!("Simulation({snapshot:?})"));
    assert_eq!(format!("{:?}", sim.reader()), format!("Reader({snapshot:?})"));
    let dice = snapshot.plugin("dice").unwrap();
    let fields = r#"name: "dice", state: Running, pid: Some(4711), tick: 3"#;
    assert_eq!(format!("{dice:?}"), format!("PluginView {{ {fields} }}"));
    let history = dice.history(POLL);
    assert_eq!(format!("{history:?}"), r#"History { plugin: "dice", samples: 2 }"#);
}

#[test]
fn megabyte_is_1_048_576_bytes() {
    let snapshot = simulation(1).snapshot();
    let memory = |name| snapshot.plugin(name).unwrap().current().unwrap().memory_mb();
    assert_eq!((memory("dice"), memory("8ball")), (Some(1.0), None));
    let mut sim = simulation(0);
    sim.tick(|_pid| Usage { cpu_time: Duration::ZERO, memory_bytes: 3 << 19 });
    let snapshot = sim.snapshot();
    assert_eq!(snapshot.plugin("dice").unwrap().current().unwrap().memory_mb(), Some(1.5));
}
