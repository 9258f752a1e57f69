//! Findings of recordings of real programs, whose truth is in `data/README.md`.

use std::time::Duration;

use plugmeter::findings::FindingKind;

use crate::host::{Host, Step};

const RECORDINGS: [(&str, &str); 12] = [
    ("bot", include_str!("data/bot.csv")),
    ("cron", include_str!("data/cron.csv")),
    ("gc", include_str!("data/gc.csv")),
    ("java", include_str!("data/java.csv")),
    ("leak", include_str!("data/leak.csv")),
    ("lru", include_str!("data/lru.csv")),
    ("node-cache", include_str!("data/node-cache.csv")),
    ("node-idle", include_str!("data/node-idle.csv")),
    ("shell", include_str!("data/shell.csv")),
    ("sleep", include_str!("data/sleep.csv")),
    ("sqlite", include_str!("data/sqlite.csv")),
    ("step", include_str!("data/step.csv")),
];

/// One sample a line: CPU in percent and memory in KiB, which are empty if they are unknown.
fn read(csv: &str) -> Vec<Step> {
    let lines = csv.lines().skip(1).filter_map(|line| line.split_once(','));
    lines
        .map(|(cpu, kib)| Step {
            cpu: cpu.parse().ok(),
            kib: kib.parse().unwrap_or(0),
            ..Step::default()
        })
        .collect()
}

#[test]
fn recordings_are_found_by_their_truth() {
    for (name, csv) in RECORDINGS {
        let series = read(csv);
        assert!(series.len() > 720, "{name}");
        let mut host = Host::new(1, Duration::from_secs(5));
        let mut first_told = None;
        for (sample, step) in series.iter().enumerate() {
            host.tick(|_| step.clone());
            let findings = if sample % 6 == 0 { host.findings(0) } else { Vec::new() };
            for finding in findings {
                // The first sample of a program has no CPU yet.
                if matches!(finding.kind, FindingKind::Unreadable(_)) {
                    continue;
                }
                println!("{name} {sample}: {finding}");
                let is_true = match name {
                    // The heap of Java fills at a constant rate for 40 minutes: growth until it stops, and
                    // for the quarter of an hour in which that is not plain yet.
                    "leak" | "java" => finding.kind.name() == "memory_growth",
                    "sqlite" => finding.kind.name() == "cpu_shift",
                    _ => false,
                };
                assert!(is_true, "{name} {sample}: {finding}");
                first_told.get_or_insert(sample);
            }
        }
        let newest = host.findings(0);
        if name != "leak" {
            assert_eq!(newest, [], "{name}");
            continue;
        }
        // Told half an hour after it began.
        assert!(first_told.is_some_and(|sample| (300..660).contains(&sample)), "{first_told:?}");
        let FindingKind::MemoryGrowth { per_hour, .. } = newest[0].kind else {
            panic!("{newest:?}")
        };
        // The truth, from the recording's own ends of the leak.
        let grown = (series[790].kib - series[430].kib) as f64 * 1_024.0;
        let ratio = per_hour / (grown * 2.0);
        assert!((0.85..1.15).contains(&ratio), "{ratio}");
    }
}
