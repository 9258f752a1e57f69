//! Values of process trees: samples, current usage, aggregates, totals.

use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Config, CurrentUsage, ReadError, Sample, SystemMetrics, Window};

use crate::fixtures::{POLL, SECOND, exit, keeping, usage};

fn tree(main: Usage, tree: Usage, processes: u32) -> Observed {
    Observed::RunningTree { main, tree, processes }
}

/// Process count, and CPU and MB of the tree.
type Tree = (Option<u32>, Option<f64>, Option<f64>);

fn values(sample: &Sample<'_>) -> Tree {
    (sample.process_count, sample.tree_cpu_percent, sample.tree_memory_mb())
}

fn trees(sim: &Simulation) -> Vec<Tree> {
    let snapshot = sim.snapshot();
    let history = snapshot.plugin("dice").unwrap().history(Window::All);
    history.map(|sample| values(&sample)).collect()
}

#[test]
fn one_process_has_equal_values_in_both() {
    let mut sim = keeping(100);
    sim.register("dice").unwrap().started(1, "");
    for tick in 1..=70 {
        sim.tick(|_| usage(tick * 100 + tick % 7, 1_024 + tick));
    }
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    for sample in view.history(Window::All) {
        assert_eq!(sample.process_count, Some(1));
        assert_eq!(sample.tree_cpu_percent, sample.cpu_percent);
        assert_eq!(sample.tree_memory_bytes, sample.memory_bytes);
    }
    let aggregates = view.aggregates(Window::All).unwrap();
    assert!(aggregates.cpu.is_some() && aggregates.memory.is_some());
    assert_eq!(aggregates.tree_cpu, aggregates.cpu);
    assert_eq!(aggregates.tree_memory, aggregates.memory);
    assert_eq!(view.tree_cpu_time(), view.cpu_time());
    let processes: Vec<_> = view.processes().collect();
    assert_eq!(processes.len(), 1);
    assert_eq!((processes[0].pid, processes[0].parent, &*processes[0].name), (1, None, ""));
    assert_eq!(processes[0].memory_bytes, view.usage().memory_bytes);
}

#[test]
fn tree_values_include_descendants() {
    let mut sim = keeping(10);
    sim.register("dice").unwrap().started(1, "");
    sim.tick(|_| tree(usage(1_000, 1_024), usage(3_500, 4_096), 4));
    sim.tick(|_| tree(usage(1_500, 2_048), usage(9_000, 3_072), 2));
    assert_eq!(trees(&sim), [(Some(4), Some(70.0), Some(4.0)), (Some(2), Some(110.0), Some(3.0))]);
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.cpu_time().as_millis(), 1_500);
    assert_eq!(view.tree_cpu_time().as_millis(), 9_000);
    let CurrentUsage { cpu_percent, memory_bytes, .. } = view.usage();
    assert_eq!((cpu_percent, memory_bytes), (Some(10.0), Some(2 << 20)));
    let CurrentUsage { process_count, tree_cpu_percent, tree_memory_bytes, .. } = view.usage();
    assert_eq!(
        (process_count, tree_cpu_percent, tree_memory_bytes),
        (Some(2), Some(110.0), Some(3 << 20))
    );
    let aggregates = view.aggregates(Window::All).unwrap();
    let (cpu, memory) = (aggregates.tree_cpu.unwrap(), aggregates.tree_memory.unwrap());
    assert_eq!((cpu.count, cpu.avg, cpu.max), (2, 90.0, 110.0));
    assert_eq!((memory.min, memory.max), ((3 << 20) as f64, (4 << 20) as f64));
    let point = &view.points(Window::All, 1)[0];
    assert_eq!(point.tree_cpu_percent.unwrap().max, 110.0);
    assert_eq!(point.tree_memory.unwrap().avg, 3.5 * 1_048_576.0);
    // The descendants of a simulated tree are not listed.
    assert_eq!(view.processes().map(|process| process.pid).collect::<Vec<_>>(), [1]);
}

#[test]
fn tree_values_are_never_less_than_own() {
    let mut sim = keeping(10);
    sim.register("dice").unwrap().started(1, "");
    sim.tick(|_| tree(usage(1_000, 2_048), usage(500, 1_024), 0));
    assert_eq!(trees(&sim), [(Some(1), Some(20.0), Some(2.0))]);
}

/// A tree of one process is a plugin like any other, with the time of those that have ended.
#[test]
fn ended_descendants_stay_in_cpu_time() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    let run = plugin.started(1, "");
    sim.tick(|_| usage(100, 1_024));
    sim.tick(|_| tree(usage(200, 1_024), usage(1_200, 1_024), 1));
    sim.tick(|_| usage(300, 1_024));
    let cpu = |sim: &Simulation| trees(sim).iter().map(|tree| tree.1).collect::<Vec<_>>();
    assert_eq!(cpu(&sim), [Some(2.0), Some(22.0), Some(2.0)]);
    let total =
        |sim: &Simulation| sim.snapshot().plugin("dice").unwrap().tree_cpu_time().as_millis();
    assert_eq!(total(&sim), 1_300);
    plugin.exited(run, exit(0));
    sim.advance(SECOND);
    assert_eq!(total(&sim), 1_300, "the same between ticks");
    sim.tick(|_| usage(0, 1));
    assert_eq!(total(&sim), 1_300, "without a run");
    plugin.started(2, "");
    sim.tick(|_| tree(usage(100, 1_024), usage(350, 1_024), 2));
    assert_eq!(total(&sim), 1_650, "of both runs");
}

#[test]
fn replaced_run_of_same_process_continues_tree() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "1.0");
    sim.tick(|_| tree(usage(500, 1_024), usage(1_000, 2_048), 2));
    plugin.started(1, "2.0");
    sim.tick(|_| tree(usage(500, 1_024), usage(2_000, 2_048), 2));
    assert_eq!(trees(&sim)[1], (Some(2), Some(20.0), Some(2.0)));
    assert_eq!(sim.snapshot().plugin("dice").unwrap().tree_cpu_time().as_millis(), 2_000);
}

#[test]
fn tree_memory_with_unknown_part_is_unknown() {
    let mut sim = keeping(10);
    sim.register("dice").unwrap().started(1, "");
    sim.tick(|_| tree(usage(0, 1_024), usage(0, 0), 3));
    sim.tick(|_| tree(usage(0, 0), usage(0, 1_024), 3));
    assert_eq!(trees(&sim), [(Some(3), Some(0.0), None), (Some(3), Some(0.0), None)]);
    let aggregates = sim.snapshot().plugin("dice").unwrap().aggregates(Window::All).unwrap();
    assert_eq!(aggregates.memory.unwrap().count, 1);
    assert_eq!(aggregates.tree_memory, None);
}

/// What a failed read missed is part of the next share, as for the process itself.
#[test]
fn tree_of_unreadable_process_is_unknown() {
    let mut sim = keeping(10);
    sim.register("dice").unwrap().started(1, "");
    sim.tick(|_| tree(usage(0, 1_024), usage(500, 2_048), 2));
    sim.tick(|_| Observed::Denied);
    sim.tick(|_| tree(usage(1_000, 1_024), usage(4_500, 2_048), 2));
    let cpu = Some(40.0); // four seconds in ten
    assert_eq!(
        trees(&sim),
        [(Some(2), Some(10.0), Some(2.0)), (None, None, None), (Some(2), cpu, Some(2.0))]
    );
    sim.tick(|_| Observed::Denied);
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.read_error(), Some(&ReadError::PermissionDenied));
    assert_eq!(view.processes().count(), 0);
}

#[test]
fn plugin_without_run_has_no_processes() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    sim.tick(|_| usage(0, 1));
    let run = plugin.started(1, "");
    sim.tick(|_| tree(usage(0, 1_024), usage(500, 2_048), 2));
    plugin.exited(run, exit(0));
    sim.advance(SECOND);
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    // The newest sample belongs to the run that has ended.
    assert_eq!(view.usage(), CurrentUsage::default());
    assert_eq!(view.processes().count(), 0);
    sim.tick(|_| usage(0, 1));
    let expected = [(Some(0), None, None), (Some(2), Some(10.0), Some(2.0)), (Some(0), None, None)];
    assert_eq!(trees(&sim), expected);
    let snapshot = sim.snapshot();
    let usage = snapshot.plugin("dice").unwrap().usage();
    assert_eq!((usage.process_count, usage.tree_cpu_percent), (Some(0), None));
}

#[test]
fn values_of_trees_that_are_off_are_unknown() {
    let config = Config::default().poll_interval(POLL).process_trees(false);
    let mut sim = Simulation::new(config).unwrap();
    let plugin = sim.register("dice").unwrap();
    sim.tick(|_| usage(0, 1));
    plugin.started(1, "");
    sim.tick(|_| tree(usage(1_000, 1_024), usage(4_000, 4_096), 3));
    assert_eq!(trees(&sim), [(None, None, None), (None, None, None)]);
    let snapshot = sim.snapshot();
    assert!(!snapshot.has_process_trees() && keeping(1).snapshot().has_process_trees());
    let view = snapshot.plugin("dice").unwrap();
    let aggregates = view.aggregates(Window::All).unwrap();
    assert_eq!((aggregates.tree_cpu, aggregates.tree_memory), (None, None));
    assert_eq!(view.usage().cpu_percent, Some(20.0));
    assert_eq!((view.usage().process_count, view.processes().count()), (None, 0));
    assert_eq!(view.tree_cpu_time(), view.cpu_time());
    // The sums are those of the reported processes.
    let SystemMetrics { cpu_percent, total_tree_memory_bytes, process_count, .. } =
        snapshot.system();
    assert_eq!((cpu_percent, total_tree_memory_bytes, process_count), (20.0, 1 << 20, 1));
}

#[test]
fn totals_are_sums_over_registered_plugins() {
    let mut sim = keeping(10);
    let plugins = ["a", "b", "c"].map(|name| sim.register(name).unwrap());
    plugins[0].started(1, "");
    plugins[1].started(2, "");
    sim.tick(|pid| match pid {
        1 => tree(usage(1_000, 1_024), usage(4_000, 4_096), 3),
        _ => Observed::from(usage(500, 2_048)),
    });
    let totals = |sim: &Simulation| {
        let system = sim.snapshot().system();
        let SystemMetrics { cpu_percent, total_tree_memory_bytes, process_count, .. } = system;
        (cpu_percent, total_tree_memory_bytes >> 20, process_count, system.total_memory_bytes >> 20)
    };
    assert_eq!(totals(&sim), (90.0, 6, 4, 3));
    plugins[0].remove();
    sim.advance(SECOND);
    assert_eq!(totals(&sim), (10.0, 2, 1, 2));
}

/// A slot is given to the next plugin, in the middle of a block in which the previous one has rows.
#[test]
fn reused_slot_has_no_tree_of_previous_plugin() {
    let mut sim = keeping(100);
    let first = sim.register("first").unwrap();
    first.started(1, "");
    for tick in 1..=10 {
        sim.tick(|_| tree(usage(tick * 100, 1_024), usage(tick * 1_000, 4_096), 3));
    }
    first.remove();
    sim.register("dice").unwrap().started(2, "");
    for tick in 11..=70 {
        sim.tick(|_| usage((tick - 10) * 50, 2_048));
    }
    assert_eq!(trees(&sim), [(Some(1), Some(1.0), Some(2.0)); 60]);
    let snapshot = sim.snapshot();
    let aggregates = snapshot.plugin("dice").unwrap().aggregates(Window::All).unwrap();
    assert_eq!(aggregates.tree_cpu, aggregates.cpu);
    assert_eq!(aggregates.tree_memory, aggregates.memory);
}

/// Trees come and go within blocks, in frames, and at both ends of windows that cut a block.
#[test]
fn windows_over_blocks_have_tree_values_of_their_ticks() {
    let mut sim = keeping(75);
    sim.register("dice").unwrap().started(1, "");
    let (mut own, mut all) = (0, 0);
    let mut expected = Vec::new();
    for tick in 1..=100_u64 {
        let more = if matches!(tick, 20..=25 | 64 | 95..) { tick * 3 } else { 0 };
        own += 10 + tick % 5;
        all += 10 + tick % 5 + more;
        let (main, tree_usage) = (usage(own, 1_024), usage(all, 1_024 + more));
        sim.tick(|_| if more > 0 { tree(main, tree_usage, 2) } else { Observed::from(main) });
        let percent = |ms: u64| (ms * 20) as f64 / 1_000.0;
        expected.push((percent(10 + tick % 5 + more), (1_024 + more) * 1_024));
        if tick % 9 != 0 && tick < 90 {
            continue;
        }
        let snapshot = sim.snapshot();
        let view = snapshot.plugin("dice").unwrap();
        for samples in [1, 5, 29, 30, 31, 40, 75] {
            let window = Window::Last(POLL * (samples - 1));
            let kept = &expected[expected.len().saturating_sub(samples as usize)..];
            let history = view.history(window);
            let found: Vec<_> = history
                .map(|s| (s.tree_cpu_percent.unwrap(), s.tree_memory_bytes.unwrap()))
                .collect();
            assert_eq!(found, kept, "tick {tick}, {samples} samples");
            let aggregates = view.aggregates(window).unwrap();
            let memory = aggregates.tree_memory.unwrap();
            let max = kept.iter().map(|values| values.1).max().unwrap();
            assert_eq!((memory.count, memory.max), (kept.len(), max as f64));
            let sum: f64 = kept.iter().map(|values| values.0 * 1_000.0).sum::<f64>().round();
            let avg = aggregates.tree_cpu.unwrap().avg;
            assert!((avg - sum / 1_000.0 / kept.len() as f64).abs() < 1e-9, "{avg}");
        }
    }
}
