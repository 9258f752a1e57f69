//! Memory, threads and descriptors of this process, as Linux reports them in `/proc`.

use std::fmt;
use std::fs;
use std::time::Duration;

use crate::Violation;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Resident memory in KiB.
    kib: u64,
    threads: u64,
    descriptors: u64,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kib, threads, descriptors } = self;
        write!(f, "{kib} KiB, {threads} threads, {descriptors} descriptors")
    }
}

/// Reads the current usage. All zeros on other platforms.
pub(crate) fn now() -> Usage {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    Usage {
        kib: number("VmRSS:"),
        threads: number("Threads:"),
        // One of them is open for the counting.
        descriptors: fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u64 - 1),
    }
}

/// Memory in addition to the maximum of the warm-up: what the allocator keeps, and the page caches of
/// the store's connections, which fill while the file grows. An hour has some hundred thousand children.
const SLACK_KIB: u64 = 16 * 1_024;

/// Checks the usage once a second: after the warm-up it must not grow.
pub(crate) struct UsageMonitor {
    warm_up: Duration,
    last_check: Duration,
    warm_up_max: Usage,
    max: Usage,
    /// Memory, once a second, since the warm-up.
    kib: Vec<u64>,
}

impl UsageMonitor {
    pub(crate) fn new(warm_up: Duration) -> Self {
        let (warm_up_max, max) = (Usage::default(), Usage::default());
        Self { warm_up, last_check: Duration::ZERO, warm_up_max, max, kib: Vec::new() }
    }

    pub(crate) fn check(&mut self, elapsed: Duration) -> Result<(), Violation> {
        if elapsed < self.last_check + Duration::from_secs(1) {
            return Ok(());
        }
        self.last_check = elapsed;
        let now = now();
        let max = if elapsed < self.warm_up { &mut self.warm_up_max } else { &mut self.max };
        max.kib = max.kib.max(now.kib);
        max.threads = max.threads.max(now.threads);
        max.descriptors = max.descriptors.max(now.descriptors);
        if elapsed < self.warm_up {
            return Ok(());
        }
        self.kib.push(now.kib);
        let Usage { kib, threads, .. } = self.warm_up_max;
        if now.kib > kib + SLACK_KIB || now.threads > threads {
            let max = self.warm_up_max;
            return Err(format!("the usage grows: {now}; during the warm-up at most {max}"));
        }
        Ok(())
    }

    /// Returns the usage as text; an error if descriptors were not closed.
    pub(crate) fn summary(&self, before: &Usage, after: &Usage) -> Result<String, Violation> {
        // Threads are not compared: the kernel may still count one that was joined.
        if after.descriptors != before.descriptors {
            return Err(format!("before: {before}; after: {after}"));
        }
        let mean = |part: &[u64]| part.iter().sum::<u64>() / part.len().max(1) as u64;
        let quarter = self.kib.len() / 4;
        Ok(match quarter {
            0 => format!("too short for a trend; before: {before}; after: {after}"),
            _ => format!(
                "at most {} during the warm-up, {} after it; memory {} KiB on average in the first \
                 quarter after it, {} in the last; at the end {after}",
                self.warm_up_max,
                self.max,
                mean(&self.kib[..quarter]),
                mean(&self.kib[self.kib.len() - quarter..]),
            ),
        })
    }
}
