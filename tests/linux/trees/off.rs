//! Collectors without process trees claim nothing of them.

use std::sync::Mutex;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use plugmeter::{Collector, Config, PluginView, ProbeKind, Window};
use plugmeter_test_support::{probes, wait_for};

use super::burner::GroupGuard;

/// Keeps the lines that are logged.
pub(super) struct LogLines(pub Mutex<Vec<String>>);

pub(super) static LOG: LogLines = LogLines(Mutex::new(Vec::new()));

impl LogLines {
    /// Needs a process of its own.
    pub(super) fn install(&'static self) {
        log::set_logger(self).unwrap();
        log::set_max_level(LevelFilter::Debug);
    }

    pub(super) fn count(&self, text: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }
}

impl Log for LogLines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[track_caller]
pub(super) fn assert_no_tree(view: PluginView<'_>) {
    assert!(!view.snapshot().has_process_trees());
    assert_eq!(view.tree_cpu_time(), view.cpu_time());
    assert_eq!(view.processes().count(), 0);
    let usage = view.usage();
    let of_usage = (usage.process_count, usage.tree_cpu_percent, usage.tree_memory_bytes);
    assert_eq!(of_usage, (None, None, None));
    for sample in view.history(Window::All) {
        let values = (sample.process_count, sample.tree_cpu_percent, sample.tree_memory_bytes);
        assert_eq!(values, (None, None, None), "{sample:?}");
    }
}

#[test]
fn without_process_trees_nothing_is_claimed() {
    let hour = Duration::from_secs(3_600);
    let base = Config::default().poll_interval(hour).history_duration(hour * 1_000);
    let mut configs = vec![base.clone().process_trees(false)];
    if probes().contains(&ProbeKind::Portable) {
        configs.push(base.probe(ProbeKind::Portable));
    }
    for config in configs {
        let collector = Collector::start(config.clone()).unwrap();
        // A shell that has a child.
        let child =
            GroupGuard::shell("i=0; (while [ $i -lt 5000 ]; do i=$((i + 1)); done); sleep 1000; :");
        collector.register("shell").unwrap().started(child.pid(), "");
        wait_for("a value", || {
            let snapshot = collector.sample_now().unwrap();
            let view = snapshot.plugin("shell").unwrap();
            assert_no_tree(view);
            view.current().unwrap().cpu_percent
        });
    }
}

/// On request, as long as they live.
#[test]
fn portable_probe_reads_living_descendants() {
    if !probes().contains(&ProbeKind::Portable) {
        return;
    }
    let config = Config::default().probe(ProbeKind::Portable).process_trees(true);
    let collector = Collector::start(
        config
            .poll_interval(Duration::from_secs(3_600))
            .history_duration(Duration::from_secs(36_000)),
    )
    .unwrap();
    let child = GroupGuard::shell("(while :; do :; done) & sleep 1000");
    collector.register("shell").unwrap().started(child.pid(), "");
    wait_for("values of three processes", || {
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("shell").unwrap();
        let sample = view.current().unwrap();
        assert!(sample.tree_cpu_percent >= sample.cpu_percent || sample.tree_cpu_percent.is_none());
        assert!(view.tree_cpu_time() >= view.cpu_time());
        let is_complete = sample.process_count == Some(3)
            && sample.tree_memory_bytes > sample.memory_bytes
            && view.tree_cpu_time() > view.cpu_time() + Duration::from_millis(50);
        is_complete.then_some(())
    });
    let snapshot = collector.snapshot();
    let pids: Vec<_> = snapshot.plugin("shell").unwrap().processes().map(|it| it.pid).collect();
    assert_eq!((pids.len(), pids[0]), (3, child.pid()));
}
