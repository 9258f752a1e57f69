//! A limit on readings that are not needed in every tick.

use crate::time::MonoNanos;

/// Checks a second. Each opens and reads a file of `/proc`, about 6 us: at most 0.006 % of a core.
const CHECKS_PER_SECOND: u64 = 10;

/// The most checks that are saved up while none is needed: those of one poll interval of 5 s.
const MAX_CHECKS: u64 = 50;

const NANOS_PER_CHECK: u64 = 1_000_000_000 / CHECKS_PER_SECOND;

/// Limits the checks: a token bucket, from which the processes take in turns.
#[derive(Debug)]
pub(super) struct CheckBudget {
    /// Time that is worth checks.
    saved_nanos: u64,
    updated_at: MonoNanos,
    round: u64,
    /// In this tick a check was not allowed.
    is_exhausted: bool,
}

/// The newest round of a [`CheckBudget`] in which a process was checked; 0 before the first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CheckedRound(u64);

impl Default for CheckBudget {
    fn default() -> Self {
        let saved_nanos = MAX_CHECKS * NANOS_PER_CHECK;
        Self { saved_nanos, updated_at: MonoNanos(0), round: 1, is_exhausted: false }
    }
}

impl CheckBudget {
    /// A tick begins, and with it the next round, unless processes still wait for their check: else
    /// the first processes would take the checks of every tick.
    pub(super) fn begin_tick(&mut self) {
        if !std::mem::take(&mut self.is_exhausted) {
            self.round += 1;
        }
    }

    /// Whether a check of a process is allowed at `now`; takes it from the budget.
    pub(super) fn take(&mut self, now: MonoNanos, checked: &mut CheckedRound) -> bool {
        if checked.0 == self.round {
            return false;
        }
        let elapsed = now.0.saturating_sub(self.updated_at.0);
        self.updated_at = self.updated_at.max(now);
        let saved = self.saved_nanos.saturating_add(elapsed).min(MAX_CHECKS * NANOS_PER_CHECK);
        let is_allowed = saved >= NANOS_PER_CHECK;
        self.saved_nanos = if is_allowed { saved - NANOS_PER_CHECK } else { saved };
        if is_allowed {
            checked.0 = self.round;
        } else {
            self.is_exhausted = true;
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(budget: &mut CheckBudget, millis: u64) -> usize {
        let now = MonoNanos(millis * 1_000_000);
        (0..1_000).take_while(|_| budget.take(now, &mut CheckedRound::default())).count()
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

    #[test]
    fn processes_are_checked_in_turns() {
        let mut budget = CheckBudget::default();
        let mut processes = [CheckedRound::default(); 120];
        let mut counts = [0; 120];
        for tick in 1..=12u64 {
            budget.begin_tick();
            let now = MonoNanos(tick * 5_000_000_000);
            for (checked, count) in processes.iter_mut().zip(&mut counts) {
                *count += u32::from(budget.take(now, checked));
            }
        }
        // Fifty, fifty and twenty in three ticks.
        assert_eq!(counts, [4; 120]);
    }

    #[test]
    fn sufficient_budget_checks_every_process_in_every_tick() {
        let mut budget = CheckBudget::default();
        let mut processes = [CheckedRound::default(); 50];
        for tick in 1..=10u64 {
            budget.begin_tick();
            let now = MonoNanos(tick * 5_000_000_000);
            assert!(processes.iter_mut().all(|checked| budget.take(now, checked)), "tick {tick}");
        }
    }
}
