//! Descriptors: how many, whose, and what happens when there are too few.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};

use log::{Level, LevelFilter, Log, Metadata, Record};
use plugmeter::{Collector, Plugin, PluginState, ProbeKind, RunEnd};

use crate::support::{Reaped, on_demand, probes, shell, sleeper, wait_for, wait_for_plugin};
use crate::world::{descriptors, entered, own_descriptors};

fn is_held_of_a_process(name: &str) -> bool {
    name.contains("pidfd") || name.ends_with("/statm")
}

/// Descriptors that are held of processes.
fn held() -> usize {
    own_descriptors().iter().filter(|name| is_held_of_a_process(name)).count()
}

/// Two thousand, or more if there is time.
fn restarts() -> usize {
    if std::env::var_os("PLUGMETER_LONG").is_some() { 10_000 } else { 2_000 }
}

#[test]
fn restarts_leave_no_descriptors_behind() {
    if !entered(restarts_leave_no_descriptors_behind, &[]) {
        return;
    }
    for probe in probes() {
        let without = own_descriptors();
        let collector = on_demand(probe);
        let plugin = collector.register("dice").unwrap();
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
        assert_eq!(view.restart_count(), restarts() as u64, "{probe}");
        if probe == ProbeKind::Native {
            assert_eq!(own_descriptors().len(), before.len() + 2, "two of the one that runs");
        }
        plugin.stopped();
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
fn a_child_of_the_host_inherits_none_of_them() {
    if !entered(a_child_of_the_host_inherits_none_of_them, &[]) {
        return;
    }
    let before = sleeper();
    let collector = on_demand(ProbeKind::Native);
    let plugin = collector.register("dice").unwrap();
    plugin.started(before.pid(), "");
    collector.sample_now().unwrap();
    assert_eq!(held(), 2);
    let after = sleeper();
    let inherited = |child: &Reaped| {
        crate::child::wait_for_name(child.pid(), "sleep");
        // Before it sleeps it opens files of its own, such as that of the locale.
        crate::child::wait_for_letter(child.pid(), 'S');
        descriptors(child.pid())
    };
    assert_eq!(inherited(&after), inherited(&before));
}

const LIMIT: usize = 64;

/// As many files as can be opened.
pub(crate) fn open_all() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

fn starting(collector: &Collector, children: &[Reaped]) -> Vec<Plugin> {
    let name = |number| format!("plugin {number}");
    let register = |number| collector.register(&name(number)).unwrap();
    let plugins: Vec<Plugin> = (0..children.len()).map(register).collect();
    for (plugin, child) in plugins.iter().zip(children) {
        plugin.started(child.pid(), "");
    }
    plugins
}

/// Waits until each has had a CPU value; the rest they have all the time.
#[track_caller]
fn all_have_values(collector: &Collector, plugins: &[Plugin], what: &str) {
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

#[test]
fn three_hundred_plugins_have_values_where_there_are_64_descriptors_and_the_host_keeps_half() {
    if !entered(
        three_hundred_plugins_have_values_where_there_are_64_descriptors_and_the_host_keeps_half,
        &["prlimit", "--nofile=64"],
    ) {
        return;
    }
    let before = own_descriptors().len();
    let children: Vec<Reaped> = (0..300).map(|_| sleeper()).collect();
    for probe in probes() {
        let collector = on_demand(probe);
        let plugins = starting(&collector, &children);
        all_have_values(&collector, &plugins, &format!("{probe}"));
        if probe == ProbeKind::Native {
            // Of one half it has three for itself, and two for each of as many as there is room for.
            assert_eq!(held(), (LIMIT / 2 - 3) / 2 * 2);
        }
        // What the host may open, with what it had open before.
        let host = open_all().len() + before;
        assert!(host >= LIMIT / 2, "{probe}: {host} are left to the host: {:?}", own_descriptors());
    }
}

#[test]
fn no_plugin_is_lost_when_the_host_takes_all_descriptors_and_what_is_held_comes_back() {
    if !entered(
        no_plugin_is_lost_when_the_host_takes_all_descriptors_and_what_is_held_comes_back,
        &["prlimit", "--nofile=64"],
    ) {
        return;
    }
    let mut children: Vec<Reaped> = (0..40).map(|_| sleeper()).collect();
    let collector = on_demand(ProbeKind::Native);
    let taken = open_all();
    let fewer = taken.len() - 4;
    drop(taken);
    let taken: Vec<File> = (0..fewer).map(|_| File::open("/dev/null").unwrap()).collect();
    // Some are named while there is room for one or two, and all are read while there is none.
    let plugins = starting(&collector, &children);
    all_have_values(&collector, &plugins, "with four left");
    let rest = open_all();
    all_have_values(&collector, &plugins, "with none left");
    // An end is found all the same, at a tick at the latest, whether somebody has reaped it or not.
    for reap in [false, true] {
        let mut last = children.pop().unwrap();
        last.kill();
        if reap {
            last.wait();
        }
        wait_for("its end", || {
            let snapshot = collector.sample_now().unwrap();
            let view = snapshot.plugin(plugins[children.len()].name()).unwrap();
            (view.state() == PluginState::Crashed).then_some(())
        });
    }
    drop((taken, rest));
    all_have_values(&collector, &plugins[..children.len()], "with room again");
    assert!(held() > 20, "{} are held", held());

    // When most have gone, there is room for two of each.
    for plugin in &plugins[5..] {
        plugin.remove();
    }
    all_have_values(&collector, &plugins[..5], "with few left");
    assert_eq!(held(), 10);
    // Whoever is held again is told of again.
    let name = plugins[4].name();
    children[4].kill();
    wait_for_plugin(&collector, name, "its end", |view| view.state() == PluginState::Crashed);
}

/// Counts the lines that say that descriptors are few.
struct Complaints(AtomicUsize);

impl Log for Complaints {
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
fn that_there_is_not_enough_room_to_hold_all_is_said_once() {
    static COMPLAINTS: Complaints = Complaints(AtomicUsize::new(0));

    let commands = ["prlimit", "--nofile=64"];
    if !entered(that_there_is_not_enough_room_to_hold_all_is_said_once, &commands) {
        return;
    }
    log::set_logger(&COMPLAINTS).unwrap();
    log::set_max_level(LevelFilter::Warn);
    let collector = on_demand(ProbeKind::Native);
    let children: Vec<Reaped> = (0..20).map(|_| sleeper()).collect();
    // There is room for fourteen.
    for (number, child) in children.iter().enumerate() {
        collector.register(&format!("plugin {number}")).unwrap().started(child.pid(), "");
        collector.sample_now().unwrap();
        let said = COMPLAINTS.0.load(Ordering::Relaxed);
        assert_eq!(said, usize::from(number >= 14), "of {} processes", number + 1);
    }
}

#[test]
fn a_status_is_known_where_the_last_descriptor_is_spent_on_asking_for_it() {
    let commands = ["prlimit", "--nofile=64"];
    if !entered(a_status_is_known_where_the_last_descriptor_is_spent_on_asking_for_it, &commands) {
        return;
    }
    let collector = on_demand(ProbeKind::Native);
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
fn a_process_is_read_where_there_is_one_descriptor_left() {
    let commands = ["prlimit", "--nofile=64"];
    if !entered(a_process_is_read_where_there_is_one_descriptor_left, &commands) {
        return;
    }
    let collector = on_demand(ProbeKind::Native);
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
