//! The columns of a plugin beside a naive merge of its history.

use std::time::Duration;

use super::super::Onset;
use super::super::columns::{ColumnBuffers, Columns, is_known};
use super::super::growth::{WARM_UP, run_start};
use super::{MB, idle};
use crate::testing::{Observed, Simulation, Usage};
use crate::{Config, Sample, Window};

/// A plugin with events, crashes, unknown values and runs, at this interval in milliseconds.
fn simulation(interval: u64, late: usize, ticks: u64) -> Simulation {
    let interval = Duration::from_millis(interval);
    let history = (interval * 5_000).max(Duration::from_secs(7_200));
    let config = Config::default().poll_interval(interval).history_duration(history);
    let mut sim = Simulation::new(config).unwrap();
    (0..late).for_each(|_| sim.tick(idle));
    let dice = sim.register("dice").unwrap();
    let mut cpu_time = Duration::ZERO;
    let mut pid = 0;
    for tick in 0..ticks {
        match tick % 97 {
            0 | 50 => {
                pid += 1;
                cpu_time = Duration::ZERO;
                dice.started(pid, "1.0");
            }
            40 => dice.crashed(),
            _ => {}
        }
        dice.events().add(tick * 7_919 % 13);
        cpu_time += interval.mul_f64((tick * 31 % 100) as f64 / 100.0);
        let usage = Usage { cpu_time, memory_bytes: (tick * 17 % 90 + 5) * MB };
        let is_denied = tick * 7 % 23 < 3 || (300..320).contains(&tick);
        sim.tick(|_| if is_denied { Observed::Denied } else { Observed::Running(usage) });
    }
    sim
}

#[test]
fn samples_are_merged_ticks() {
    let cases = [
        (5_000, 0, 60),
        (5_000, 7, 800),
        (60_000, 0, 50),
        (2_500, 1, 301),
        (2_000, 2, 400),
        (1_000, 0, 500),
        (1_000, 3, 501),
        (1_000, 1, 3_702),
        (1_000, 0, 3_701),
    ];
    for (interval, late, ticks) in cases.into_iter().take(if cfg!(miri) { 1 } else { 9 }) {
        let sim = simulation(interval, late, ticks);
        let snapshot = sim.snapshot();
        let view = snapshot.plugin("dice").unwrap();
        let mut buffers = ColumnBuffers::default();
        let columns = Columns::read(view, &mut buffers);
        let len = 5_000_u64.div_ceil(interval) as usize;
        let seconds = (interval * len as u64) as f64 / 1e3;
        assert!((columns.seconds - seconds).abs() < 1e-9);
        let history: Vec<Sample<'_>> = view.history(Window::All).collect();
        // The number of the newest tick, which is that of all ticks.
        let newest = late as u64 + ticks;
        let first_tick = newest + 1 - history.len() as u64;
        // Whole samples begin at multiples of their length; the newest 720.
        let numbers: Vec<u64> = (first_tick.div_ceil(len as u64)..)
            .take_while(|number| (number + 1) * len as u64 <= newest + 1)
            .collect();
        let numbers = &numbers[numbers.len().saturating_sub(720)..];
        let context = format!("{interval} ms, {late} ticks before {ticks}");
        assert_eq!((columns.len(), columns.first), (numbers.len(), numbers[0]), "{context}");
        for (i, number) in numbers.iter().enumerate() {
            let from = (number * len as u64 - first_tick) as usize;
            let merged = &history[from..from + len];
            assert_eq!(columns.time(i), merged[0].timestamp, "{context} {i}");
            let known: Vec<f64> = merged.iter().filter_map(|sample| sample.cpu_percent).collect();
            let cpu = known.iter().sum::<f64>() / known.len().max(1) as f64;
            assert_eq!(is_known(columns.cpu[i]), !known.is_empty(), "{context} {i}");
            if !known.is_empty() {
                let read = f64::from(columns.cpu[i]) / 1e3;
                assert!((read - cpu).abs() < 0.01, "{context} {i}: {read} {cpu}");
            }
            let kib = merged.iter().rev().find_map(|sample| sample.memory_bytes);
            let read = Some(columns.kib[i]).filter(|&kib| is_known(kib));
            assert_eq!(read.map(u64::from), kib.map(|bytes| bytes / 1_024), "{context} {i}");
            let before = from.checked_sub(1).map_or(0, |before| history[before].event_count);
            let events = merged[len - 1].event_count - before;
            assert_eq!(u64::from(columns.events[i]), events, "{context} {i}");
            let run = columns.run_of(i).map(|run| run.id);
            assert_eq!(run, merged[len - 1].run, "{context} {i}");
        }
        let crashes: u32 = columns.tick_crashes.iter().sum();
        assert!(crashes > 0 && columns.crashes.iter().sum::<u32>() <= crashes);
        let read = columns.tick_crashes.len();
        let interval = Duration::from_millis(interval);
        assert_eq!(columns.span(), interval * (read as u32 - 1), "{context}");
        let oldest = history.len() - read;
        assert_eq!(columns.crash_time(0), history[oldest].timestamp, "{context}");
        assert_eq!(columns.crash_time(3), history[oldest + 3].timestamp, "{context}");
    }
}

#[test]
fn highest_two_integers_are_unknown() {
    let known = [0, u32::MAX - 2, u32::MAX - 1, u32::MAX].map(is_known);
    assert_eq!(known, [true, true, false, false]);
}

/// Two minutes after the start of the active run, whose first sample is one interval after it.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn run_has_settled_after_two_minutes() {
    let start = |ticks: &[(u32, usize)], history: u64| {
        let config = Config::default().history_duration(Duration::from_secs(history));
        let mut sim = Simulation::new(config).unwrap();
        let dice = sim.register("dice").unwrap();
        for &(pid, count) in ticks {
            if pid == 0 {
                dice.stopped();
            } else {
                dice.started(pid, "");
            }
            (0..count).for_each(|_| sim.tick(idle));
        }
        let snapshot = sim.snapshot();
        let mut buffers = ColumnBuffers::default();
        let columns = Columns::read(snapshot.plugin("dice").unwrap(), &mut buffers);
        let onset = columns.onset(0);
        assert_eq!(columns.onset(1), Onset::At(columns.time(1)));
        assert_eq!(onset.is_exact(), columns.age == 0);
        (run_start(&columns), columns.age, columns.len())
    };
    assert_eq!(WARM_UP, 24);
    assert_eq!(start(&[(1, 60)], 3_600), (Some(23), 1, 60));
    assert_eq!(start(&[(1, 23)], 3_600), (None, 1, 23));
    assert_eq!(start(&[(1, 24)], 3_600), (Some(23), 1, 24));
    assert_eq!(start(&[(1, 50), (2, 30)], 3_600), (Some(74), 1, 80));
    assert_eq!(start(&[(1, 50), (2, 24)], 3_600), (None, 1, 74));
    assert_eq!(start(&[(1, 50), (2, 25)], 3_600), (Some(74), 1, 75));
    assert_eq!(start(&[(1, 50), (0, 40)], 3_600), (None, 1, 90));
    assert_eq!(start(&[(0, 10), (1, 40)], 3_600), (Some(34), 0, 50));
    // A run that is older than the history.
    assert_eq!(start(&[(1, 200)], 600), (Some(0), 81, 120));
    assert_eq!(start(&[(1, 130)], 600), (Some(13), 11, 120));
}
