//! A limit on readings that are not needed in every tick.

use crate::time::MonoNanos;

/// Checks a second. Each opens and reads a file of `/proc`, about 6 us: at most 0.006 % of a core.
const CHECKS_PER_SECOND: u64 = 10;

/// The most checks that are saved up while none is needed: those of one poll interval of 5 s.
const MAX_CHECKS: u64 = 50;

const NANOS_PER_CHECK: u64 = 1_000_000_000 / CHECKS_PER_SECOND;

/// Limits the checks: a token bucket.
#[derive(Debug)]
pub(super) struct CheckBudget {
    /// Time that is worth checks.
    saved_nanos: u64,
    updated_at: MonoNanos,
}

impl Default for CheckBudget {
    fn default() -> Self {
        Self { saved_nanos: MAX_CHECKS * NANOS_PER_CHECK, updated_at: MonoNanos(0) }
    }
}

impl CheckBudget {
    /// Whether a check is allowed at `now`; takes it from the budget.
    pub(super) fn take(&mut self, now: MonoNanos) -> bool {
        let elapsed = now.0.saturating_sub(self.updated_at.0);
        self.updated_at = self.updated_at.max(now);
        let saved = self.saved_nanos.saturating_add(elapsed).min(MAX_CHECKS * NANOS_PER_CHECK);
        let is_allowed = saved >= NANOS_PER_CHECK;
        self.saved_nanos = if is_allowed { saved - NANOS_PER_CHECK } else { saved };
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(budget: &mut CheckBudget, millis: u64) -> usize {
        let now = MonoNanos(millis * 1_000_000);
        (0..1_000).take_while(|_| budget.take(now)).count()
    }

    #[test]
    fn checks_are_limited_per_second_and_in_bursts() {
        let mut budget = CheckBudget::default();
        assert_eq!(allowed(&mut budget, 1_000), 50);
        assert_eq!(allowed(&mut budget, 1_000), 0);
        assert_eq!(allowed(&mut budget, 1_099), 0);
        assert_eq!(allowed(&mut budget, 1_100), 1);
        assert_eq!(allowed(&mut budget, 6_100), 50);
        assert_eq!(allowed(&mut budget, 600_000), 50);
    }
}
