//! CPU time, compared with getrusage(2), `RUSAGE_CHILDREN`.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use plugmeter::{Collector, Plugin};
use plugmeter_test_support::isolated_process::enter_isolated;
use plugmeter_test_support::reaped::{assert_reaped_cpu_time, reaped_cpu_time};
use plugmeter_test_support::{probes, ticking_collector};
use tokio::process::Command;
use tokio::runtime::{Builder, Runtime};

async fn run_busy_child(plugin: &Plugin) {
    let mut command = Command::new("sh");
    command.args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 3"]);
    let mut child = plugmeter::tokio::spawn(plugin, command.stdin(Stdio::null()), "1.0").unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(3));
}

/// Asserts that the CPU time of all plugins, and that of their runs, is `expected`.
#[track_caller]
fn assert_cpu_time(collector: &Collector, runs: usize, expected: Duration) {
    let snapshot = collector.sample_now().unwrap();
    let all: Vec<_> = snapshot.plugins().flat_map(|view| view.runs()).collect();
    assert_eq!(all.len(), runs);
    let of_runs: Duration = all.iter().map(|run| run.cpu_time.unwrap()).sum();
    let of_plugins: Duration = snapshot.plugins().map(|view| view.cpu_time()).sum();
    assert_eq!(of_plugins, of_runs);
    assert_reaped_cpu_time(of_runs, runs, expected);
}

pub(super) fn runtimes() -> [Runtime; 2] {
    [Builder::new_current_thread(), Builder::new_multi_thread()]
        .map(|mut builder| builder.enable_all().build().unwrap())
}

#[test]
fn crash_loop_between_ticks_keeps_cpu_time() {
    if !enter_isolated(crash_loop_between_ticks_keeps_cpu_time, &[]) {
        return;
    }
    for (probe, runtime) in probes().into_iter().zip(runtimes()) {
        let collector = ticking_collector(probe, Duration::from_secs(5));
        let plugin = collector.register("dice").unwrap();
        let before = reaped_cpu_time();
        runtime.block_on(async {
            for _ in 0..100 {
                run_busy_child(&plugin).await;
            }
        });
        assert_cpu_time(&collector, 100, reaped_cpu_time() - before);
    }
}

#[test]
fn concurrent_waits_keep_cpu_time() {
    if !enter_isolated(concurrent_waits_keep_cpu_time, &[]) {
        return;
    }
    for runtime in runtimes() {
        let collector = Arc::new(ticking_collector(probes()[0], Duration::from_millis(50)));
        let before = reaped_cpu_time();
        runtime.block_on(async {
            let loops = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| {
                let plugin = collector.register(name).unwrap();
                tokio::spawn(async move {
                    for _ in 0..5 {
                        run_busy_child(&plugin).await;
                    }
                })
            });
            for task in loops {
                task.await.unwrap();
            }
        });
        assert_cpu_time(&collector, 40, reaped_cpu_time() - before);
    }
}
