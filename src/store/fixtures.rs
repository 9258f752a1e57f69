//! Made-up values for unit tests.

use super::batch::{Batch, PluginBatch, StoredCounters};
use super::row::{Row, TickTime, TreeRow, UNKNOWN};
use crate::snapshot::state::PluginState;

/// Rows of several shapes.
pub(super) fn rows(seed: u64, count: usize) -> Vec<Row> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    (0..count)
        .map(|_| {
            let mut row = Row {
                cpu: if next(5) == 0 { UNKNOWN } else { next(200_000) as u32 },
                kib: if next(9) == 0 { UNKNOWN } else { 50_000 + next(100) as u32 },
                tree: TreeRow { cpu: UNKNOWN, kib: UNKNOWN, processes: UNKNOWN },
                events: if next(20) == 0 { u64::MAX - next(9) } else { next(30) },
                crashes: next(2),
                run: next(4),
                state: PluginState::ALL[next(7) as usize],
                covered_us: (next(6) == 0).then(|| next(1 << 40)),
            };
            match seed % 3 {
                0 => row.tree = row.tree_of_process(),
                1 => {}
                _ => {
                    row.tree.cpu = next(u64::from(UNKNOWN) + 1) as u32;
                    row.tree.processes = next(70) as u32;
                }
            }
            row
        })
        .collect()
}

/// Batches of several shapes.
pub(super) fn batch(seed: u64) -> Batch {
    let ticks = seed as usize % 14;
    let time = |i: usize| TickTime {
        at_ms: 1_700_000_000_000 + 5_000 * i as i64 + (i % 3) as i64,
        boot_ms: 77_000 + 5_000 * i as i64,
    };
    let plugin = |plugin: usize| {
        let first = plugin.min(ticks);
        let kinds = (0..plugin).map(|kind| (format!("kind {kind}"), 7 * kind as u64)).collect();
        PluginBatch {
            plugin: plugin as i64 + 3,
            first,
            rows: rows(seed + plugin as u64, ticks - first),
            counters: StoredCounters {
                events: u64::MAX - seed,
                last_crash_ms: plugin.is_multiple_of(2).then_some(-4),
                kinds,
                ..StoredCounters::default()
            },
        }
    };
    Batch {
        host: 2,
        poll_ms: 5_000,
        previous_ms: seed.is_multiple_of(2).then_some(12),
        times: (0..ticks).map(time).collect(),
        breaks: (1..ticks).filter(|tick| (seed + *tick as u64).is_multiple_of(4)).collect(),
        plugins: (0..seed as usize % 4).map(plugin).collect(),
    }
}
