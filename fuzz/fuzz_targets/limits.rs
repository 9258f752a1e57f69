//! Arbitrary text as the JSON of limits, and what follows its first line as ticks of a plugin with these
//! limits: they are rejected with a reason, or serialize to JSON that parses to the same limits, and are
//! exceeded and cleared in turn.
#![no_main]

use std::collections::HashMap;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Config, Limits, NotificationKind, Subscription};

fuzz_target!(|text: &str| {
    let (json, ticks) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(limits) = serde_json::from_str::<Limits>(json) else { return };
    let json = serde_json::to_string(&limits).expect("limits serialize");
    let back: Limits = serde_json::from_str(&json).expect("their JSON parses");
    // Below a million seconds, adjacent f64 values are less than a nanosecond apart.
    let longest = limits.iter().flat_map(|limit| [limit.lasting, limit.clear_after, limit.grace]);
    if longest.max().unwrap_or_default() < Duration::from_secs(1_000_000) && !has_long_time(&limits)
    {
        assert_eq!(back, limits, "{json}");
    }
    match Simulation::new(Config::default().limits(limits)) {
        Ok(sim) => run(sim, ticks.as_bytes()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

/// Whether crashes are counted for too long for the comparison; such a limit is rejected.
fn has_long_time(limits: &Limits) -> bool {
    let long = |limit: &plugmeter::Limit| match limit.metric {
        plugmeter::LimitMetric::Crashes { within } => within >= Duration::from_secs(1_000_000),
        _ => false,
    };
    limits.iter().any(long)
}

/// A step for each byte: a crash and a new run, an event, a pause, or a tick with a level.
fn run(mut sim: Simulation, steps: &[u8]) {
    let subscription = sim.subscribe();
    let plugin = sim.register("dice").expect("the name is valid");
    let (mut cpu_time, mut exceeded) = (Duration::ZERO, HashMap::new());
    plugin.started(1, "");
    for (number, &step) in (2..).zip(steps.iter().take(500)) {
        match step {
            b'-' => {
                sim.tick(|_| Observed::Exited(1));
                sim.advance(Duration::from_secs(1));
                plugin.started(number, "");
                cpu_time = Duration::ZERO;
            }
            b'+' => plugin.events().increment(),
            b'~' => sim.advance(Duration::from_secs(16)),
            level => {
                cpu_time += Duration::from_millis(u64::from(level) * 50);
                let usage = Usage { cpu_time, memory_bytes: u64::from(level) << 20 };
                sim.tick(|_| Observed::RunningTree { main: usage, tree: usage, processes: 2 });
            }
        }
        check(&subscription, &mut exceeded);
    }
}

/// Each limit is exceeded and cleared in turn.
fn check(subscription: &Subscription, exceeded: &mut HashMap<String, usize>) {
    while let Ok(notification) = subscription.try_recv() {
        let (status, is_exceeded) = match &notification.kind {
            NotificationKind::LimitExceeded(status) => (status, true),
            NotificationKind::LimitCleared { status, .. } => (status, false),
            _ => continue,
        };
        // Limits that are equal are exceeded and cleared at the same ticks.
        let count = exceeded.entry(format!("{:?}", status.limit)).or_default();
        *count =
            if is_exceeded { *count + 1 } else { count.checked_sub(1).expect("it was exceeded") };
    }
}
