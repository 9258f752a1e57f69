//! What this process needs: memory, threads, descriptors. Known on Linux, where `/proc` says it.

use std::fmt;
use std::fs;
use std::time::Duration;

use crate::Broken;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Resident memory.
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

/// All zeros where nothing says it.
pub(crate) fn now() -> Usage {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    Usage {
        kib: number("VmRSS:"),
        threads: number("Threads:"),
        // One of them is that of counting them.
        descriptors: fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u64 - 1),
    }
}

/// Memory that may come on top of what the warm-up has needed: the allocator's, not ours.
const SLACK_KIB: u64 = 4 * 1_024;

/// Looks once a second; after the warm-up, nothing may grow.
pub(crate) struct Watch {
    warm_up: Duration,
    looked: Duration,
    warm: Usage,
    most: Usage,
    /// Memory, once a second, since it was warm.
    kib: Vec<u64>,
}

impl Watch {
    pub(crate) fn new(warm_up: Duration) -> Self {
        let (warm, most) = (Usage::default(), Usage::default());
        Self { warm_up, looked: Duration::ZERO, warm, most, kib: Vec::new() }
    }

    pub(crate) fn look(&mut self, elapsed: Duration) -> Result<(), Broken> {
        if elapsed < self.looked + Duration::from_secs(1) {
            return Ok(());
        }
        self.looked = elapsed;
        let now = now();
        let most = if elapsed < self.warm_up { &mut self.warm } else { &mut self.most };
        most.kib = most.kib.max(now.kib);
        most.threads = most.threads.max(now.threads);
        most.descriptors = most.descriptors.max(now.descriptors);
        if elapsed < self.warm_up {
            return Ok(());
        }
        self.kib.push(now.kib);
        let Usage { kib, threads, .. } = self.warm;
        if now.kib > kib + SLACK_KIB || now.threads > threads {
            return Err(format!("it grows: {now}, and when it was warm at most {}", self.warm));
        }
        Ok(())
    }

    /// What was needed, and whether all of it was given back.
    pub(crate) fn verdict(&self, before: &Usage, after: &Usage) -> Result<String, Broken> {
        // A thread that was joined may still be counted for a moment; a descriptor is not.
        if after.descriptors != before.descriptors {
            return Err(format!("before it all: {before}; after it: {after}"));
        }
        let mean = |part: &[u64]| part.iter().sum::<u64>() / part.len().max(1) as u64;
        let quarter = self.kib.len() / 4;
        Ok(match quarter {
            0 => format!("too short to say whether it grows; before it {before}, after it {after}"),
            _ => format!(
                "at most {} while it got warm, {} since; memory {} KiB on average in the first \
                 quarter since, {} in the last; after it {after}",
                self.warm,
                self.most,
                mean(&self.kib[..quarter]),
                mean(&self.kib[self.kib.len() - quarter..]),
            ),
        })
    }
}
