//! Descriptors: how many are open, who has them, and what happens if there are too few.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};

use log::{Level, LevelFilter, Log, Metadata, Record};
use plugmeter::{Collector, Plugin, PluginState, ProbeKind, RunEnd};
use plugmeter_test_support::isolated_process::{descriptors, enter_isolated, own_descriptors};
use plugmeter_test_support::{
    ChildGuard, manual_collector, probes, shell, sleeper, wait_for, wait_for_plugin,
};

use crate::test_child::kill_and_wait_for_end;

fn is_open_for_process(name: &str) -> bool {
    name.contains("pidfd") || name.ends_with("/statm")
}

/// Number of descriptors that are open for processes.
fn open_for_processes() -> usize {
    own_descriptors().iter().filter(|name| is_open_for_process(name)).count()
}

/// Two thousand, or ten thousand with `PLUGMETER_LONG`.
fn restarts() -> usize {
    if std::env::var_os("PLUGMETER_LONG").is_some() { 10_000 } else { 2_000 }
}

#[test]
fn restarts_leak_no_descriptors() {
    if !enter_isolated(restarts_leak_no_descriptors, &[]) {
        return;
    }
    for probe in probes() {
        let without = own_descriptors();
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        // The file for process trees is opened with the first process.
        let first = sleeper();
        plugin.started(first.pid(), "");
        collector.sample_now().unwrap();
        plugin.stopped();
        drop(first);
        collector.sample_now().unwrap();
        let before = own_descriptors();
        for number in 0..restarts() {
            let mut child = shell("exit 3");
            let run = plugin.started(child.pid(), "");
            match number % 4 {
                0 => plugin.exited(run, child.wait()),
                1 => {
                    child.wait();
                }
                2 => {
                    collector.sample_now().unwrap();
                    child.kill();
                }
                _ => plugin.stopped(),
            }
        }
        let child = sleeper();
        plugin.started(child.pid(), "");
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!(view.restart_count(), restarts() as u64 + 1, "{probe}");
        if probe == ProbeKind::Native {
            assert_eq!(own_descriptors().len(), before.len() + 2, "two for the running process");
        }
        plugin.stopped();
        // As long as it lives it is a descendant.
        drop(child);
        collector.sample_now().unwrap();
        if probe == ProbeKind::Native {
            assert_eq!(own_descriptors(), before, "{probe}");
        }
        collector.stop();
        drop((collector, plugin));
        if probe == ProbeKind::Native {
            assert_eq!(own_descriptors(), without, "{probe}");
        }
    }
}

#[test]
fn child_inherits_no_descriptors() {
    if !enter_isolated(child_inherits_no_descriptors, &[]) {
        return;
    }
    let before = sleeper();
    let collector = manual_collector(ProbeKind::Native);
    let plugin = collector.register("dice").unwrap();
    plugin.started(before.pid(), "");
    collector.sample_now().unwrap();
    assert_eq!(open_for_processes(), 2);
    let after = sleeper();
    let inherited = |child: &ChildGuard| {
        crate::test_child::wait_for_command_name(child.pid(), "sleep");
        // Before it sleeps, the program opens files of its own, such as the locale.
        crate::test_child::wait_for_state(child.pid(), 'S');
        descriptors(child.pid())
    };
    assert_eq!(inherited(&after), inherited(&before));
}

const LIMIT: usize = 64;

/// Opens as many files as possible.
pub(crate) fn open_all() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

fn start_all(collector: &Collector, children: &[ChildGuard]) -> Vec<Plugin> {
    let name = |number| format!("plugin {number}");
    let register = |number| collector.register(&name(number)).unwrap();
    let plugins: Vec<Plugin> = (0..children.len()).map(register).collect();
    for (plugin, child) in plugins.iter().zip(children) {
        plugin.started(child.pid(), "");
    }
    plugins
}

/// Waits until each plugin has had a CPU value. All other values must be present at every tick.
#[track_caller]
fn assert_all_have_values(collector: &Collector, plugins: &[Plugin], what: &str) {
    let mut without: BTreeSet<&str> = plugins.iter().map(Plugin::name).collect();
    wait_for("intervals that are long enough", || {
        let snapshot = collector.sample_now().unwrap();
        for plugin in plugins {
            let view = snapshot.plugin(plugin.name()).unwrap();
            assert_eq!(view.state(), PluginState::Running, "{what}: {}", plugin.name());
            assert_eq!(view.read_error(), None, "{what}: {}", plugin.name());
            let sample = view.current().unwrap();
            assert!(sample.memory_bytes.is_some(), "{what}: {}", plugin.name());
            assert!(sample.uptime.is_some(), "{what}: {}", plugin.name());
            if sample.cpu_percent.is_some() {
                without.remove(plugin.name());
            }
        }
        without.is_empty().then_some(())
    });
}

/// With 64 descriptors, three hundred plugins have values, and half of the descriptors are left to
/// the host.
#[test]
fn plugins_beyond_descriptor_limit_have_values() {
    if !enter_isolated(plugins_beyond_descriptor_limit_have_values, &["prlimit", "--nofile=64"]) {
        return;
    }
    let before = own_descriptors().len();
    let children: Vec<ChildGuard> = (0..300).map(|_| sleeper()).collect();
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugins = start_all(&collector, &children);
        assert_all_have_values(&collector, &plugins, &format!("{probe}"));
        if probe == ProbeKind::Native {
            // Half of the limit, less three for the probe and three for its process trees, holds two
            // descriptors for each process that fits.
            assert_eq!(open_for_processes(), (LIMIT / 2 - 3 - 3) / 2 * 2);
        }
        // Descriptors that the host can open, with those that it had open before.
        let host = open_all().len() + before;
        assert!(
            host >= LIMIT / 2,
            "{probe}: only {host} are left to the host: {:?}",
            own_descriptors()
        );
    }
}

/// Two collectors in one process do not have half of the limit each.
#[test]
fn collectors_share_the_descriptor_limit() {
    if !enter_isolated(collectors_share_the_descriptor_limit, &["prlimit", "--nofile=64"]) {
        return;
    }
    let before = own_descriptors().len();
    let children: Vec<ChildGuard> = (0..40).map(|_| sleeper()).collect();
    let collectors = [(); 2].map(|()| manual_collector(ProbeKind::Native));
    for (number, collector) in collectors.iter().enumerate() {
        let plugins = start_all(collector, &children);
        assert_all_have_values(collector, &plugins, &format!("collector {number}"));
    }
    let host = open_all().len() + before;
    assert!(host >= LIMIT / 2, "only {host} are left to the host: {:?}", own_descriptors());
}

#[test]
fn plugins_survive_exhausted_descriptors() {
    if !enter_isolated(plugins_survive_exhausted_descriptors, &["prlimit", "--nofile=64"]) {
        return;
    }
    let mut children: Vec<ChildGuard> = (0..40).map(|_| sleeper()).collect();
    let collector = manual_collector(ProbeKind::Native);
    let taken = open_all();
    let fewer = taken.len() - 4;
    drop(taken);
    let taken: Vec<File> = (0..fewer).map(|_| File::open("/dev/null").unwrap()).collect();
    // Some are attached while one or two descriptors are free, and all are read while none is.
    let plugins = start_all(&collector, &children);
    assert_all_have_values(&collector, &plugins, "with four free");
    let rest = open_all();
    assert_all_have_values(&collector, &plugins, "with none free");
    // An exit is still detected, by a tick at the latest, whether the process was reaped or not.
    for reap in [false, true] {
        let last = children.pop().unwrap();
        kill_and_wait_for_end(&collector, plugins[children.len()].name(), last, reap);
    }
    drop((taken, rest));
    assert_all_have_values(&collector, &plugins[..children.len()], "with free descriptors again");
    assert!(open_for_processes() > 20, "{} are open for processes", open_for_processes());

    // After most plugins are removed, each of the rest gets two descriptors.
    for plugin in &plugins[5..] {
        plugin.remove();
    }
    assert_all_have_values(&collector, &plugins[..5], "with few plugins");
    assert_eq!(open_for_processes(), 10);
    // The exit of a process that has descriptors again is notified again.
    let name = plugins[4].name();
    children[4].kill();
    wait_for_plugin(&collector, name, "its exit", |view| view.state() == PluginState::Crashed);
}

/// Counts the warnings about too few descriptors.
struct WarningCounter(AtomicUsize);

impl Log for WarningCounter {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.level() == Level::Warn && record.args().to_string().contains("descriptors") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

#[test]
fn descriptor_shortage_is_logged_once() {
    static WARNINGS: WarningCounter = WarningCounter(AtomicUsize::new(0));

    let commands = ["prlimit", "--nofile=64"];
    if !enter_isolated(descriptor_shortage_is_logged_once, &commands) {
        return;
    }
    log::set_logger(&WARNINGS).unwrap();
    log::set_max_level(LevelFilter::Warn);
    let collector = manual_collector(ProbeKind::Native);
    let children: Vec<ChildGuard> = (0..20).map(|_| sleeper()).collect();
    // There are descriptors for thirteen processes.
    for (number, child) in children.iter().enumerate() {
        collector.register(&format!("plugin {number}")).unwrap().started(child.pid(), "");
        collector.sample_now().unwrap();
        let logged = WARNINGS.0.load(Ordering::Relaxed);
        assert_eq!(logged, usize::from(number >= 13), "with {} processes", number + 1);
    }
}

#[test]
fn last_descriptor_yields_exit_status() {
    let commands = ["prlimit", "--nofile=64"];
    if !enter_isolated(last_descriptor_yields_exit_status, &commands) {
        return;
    }
    let collector = manual_collector(ProbeKind::Native);
    let plugin = collector.register("dice").unwrap();
    let child = shell("exit 3");
    let stat = File::open(format!("/proc/{}/stat", child.pid())).unwrap();
    wait_for("a zombie", || {
        let mut text = [0; 512];
        let len = std::os::unix::fs::FileExt::read_at(&stat, &mut text, 0).unwrap();
        String::from_utf8_lossy(&text[..len]).contains(") Z ").then_some(())
    });
    let mut taken = open_all();
    taken.pop();
    plugin.started(child.pid(), "");
    let snapshot = collector.sample_now().unwrap();
    drop(taken);
    let run = snapshot.plugin("dice").unwrap().runs().next().unwrap();
    assert_eq!(run.end, Some(RunEnd::Exited(3)));
}

#[test]
fn one_free_descriptor_is_enough_to_read() {
    let commands = ["prlimit", "--nofile=64"];
    if !enter_isolated(one_free_descriptor_is_enough_to_read, &commands) {
        return;
    }
    let collector = manual_collector(ProbeKind::Native);
    let plugin = collector.register("dice").unwrap();
    let child = sleeper();
    let mut taken = open_all();
    taken.pop();
    plugin.started(child.pid(), "");
    let snapshot = collector.sample_now().unwrap();
    drop(taken);
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.pid(), view.read_error()), (Some(child.pid()), None));
    assert!(view.current().unwrap().memory_bytes.is_some());
}
