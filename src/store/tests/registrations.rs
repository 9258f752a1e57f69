//! Registrations, removals and runs, of which notifications and looks come in any order.

use super::recording::config;
use super::sessions::{PLAIN, kill, restart, ticks};
use super::*;
use crate::store::values::Resolution;

/// A recorder may end before it looks again.
#[test]
fn removal_is_recorded_without_a_look() {
    let folder = Folder::new("removed-without-look");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    host.tick(|_| None);
    plugin.remove();
    host.sim.advance(SECOND);
    host.receive();
    host.write();
    let removed: Vec<_> = host.reader().plugins().iter().map(|it| it.removed_at).collect();
    assert_eq!(removed.len(), 1);
    assert!(removed[0].is_some());
}

/// The notifications of an earlier registration come after a look at the next one of the same name.
#[test]
fn late_notifications_of_an_earlier_registration_change_nothing() {
    let folder = Folder::new("late-notifications");
    let mut host = Host::start(&folder.file(), config());
    host.tick(|_| None);
    let first = host.sim.register("dice").unwrap();
    first.started(1, "1.0");
    host.sim.advance(SECOND);
    first.remove();
    let second = host.sim.register("dice").unwrap();
    second.started(2, "2.0");
    second.events().increment();
    host.sim.tick(|_| None);
    host.look_without_notifications();
    host.receive();
    second.events().increment();
    host.tick(|_| None);
    host.write();
    let plugins = host.reader().plugins();
    let in_file: Vec<_> = plugins.iter().map(|it| (it.event_count, it.removed_at)).collect();
    assert_eq!(in_file, [(2, None)]);
    let pids: Vec<_> = host.reader().runs("dice").iter().map(|run| run.pid).collect();
    assert_eq!(pids, [2]);
}

/// A recorder that begins late hears of a run before it has looked at those before.
#[test]
fn runs_before_the_first_look_are_in_order() {
    let folder = Folder::new("runs-in-order");
    let mut sim = Simulation::new(config()).unwrap();
    let plugin = sim.register("dice").unwrap();
    for pid in 1..=3 {
        plugin.started(pid, "1.0");
        sim.tick(|_| None);
    }
    let mut host = Host::start_at(&folder.file(), sim, 20_000 * SECOND, Some("boot"));
    plugin.started(4, "1.0");
    host.tick(|_| None);
    host.write();
    let mut statement = host.connection.prepare("SELECT pid, number FROM run ORDER BY id").unwrap();
    let runs = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let runs: Vec<(u32, u32)> = runs.map(Result::unwrap).collect();
    assert_eq!(runs, [(1, 1), (2, 2), (3, 3), (4, 4)]);
}

/// After a restart of the host as before it.
#[test]
fn samples_are_those_of_their_runs() {
    let folder = Folder::new("runs-of-samples");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    for (pid, version) in [(2, "1.0"), (4, "2.0"), (6, "3.0")] {
        plugin.started(pid, version);
        ticks(&mut host, &plugin, u64::from(pid) * 10);
    }
    host.write();
    let versions = |host: &Host| {
        let snapshot = host.sim.snapshot();
        let versions = snapshot.plugin("dice").unwrap().versions(Window::All);
        let samples = |usage: &crate::VersionUsage| (usage.version.clone(), usage.sample_count);
        versions.iter().map(samples).collect::<Vec<_>>()
    };
    let before = versions(&host);
    assert_eq!(before.len(), 3);
    let mut host = restart(&kill(host), config(), PLAIN);
    host.sim.register("dice").unwrap();
    host.sim.advance(Duration::ZERO);
    assert_eq!(versions(&host), before);
    let points = host.reader().points("dice", all(), Resolution::Raw);
    assert_eq!(points.len(), 120);
}
