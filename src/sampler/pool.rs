//! What was retired, kept until it can be used again.
//!
//! The sampler never lets go of an `Arc` that a reader may still hold: it waits here until it is
//! the only owner. So it is the sampler that frees, or uses again, and a reader's last drop of an
//! old snapshot costs nothing.

use std::collections::VecDeque;
use std::sync::Arc;

/// As many are looked at in one sweep, so that a sweep's cost has a bound.
const SWEEP: usize = 8;

/// Retired values of one kind.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    /// Owned by nobody else.
    free: Vec<Arc<T>>,
    /// Perhaps owned by readers still, with the tick at which they were retired.
    waiting: VecDeque<(u64, Arc<T>)>,
    limits: Limits,
}

/// What a pool keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Free values, for use again; what is beyond is freed.
    pub free: usize,
    /// Values that wait for their readers; what is beyond is left to these.
    pub waiting: usize,
    /// Ticks that a value waits; then it is left to its readers.
    pub ticks: u64,
}

impl<T> Pool<T> {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self { free: Vec::new(), waiting: VecDeque::new(), limits }
    }

    /// Keeps `value` until it is ours again.
    pub(crate) fn retire(&mut self, value: Arc<T>, tick: u64) {
        if self.waiting.len() >= self.limits.waiting {
            self.waiting.pop_front();
        }
        self.waiting.push_back((tick, value));
    }

    /// Looks at a few of those that wait. What is ours again lets go of what it holds, by `clean`.
    pub(crate) fn sweep(&mut self, tick: u64, mut clean: impl FnMut(&mut T)) {
        for _ in 0..self.waiting.len().min(SWEEP) {
            let Some((since, mut value)) = self.waiting.pop_front() else {
                return;
            };
            if let Some(ours) = Arc::get_mut(&mut value) {
                clean(ours);
                if self.free.len() < self.limits.free {
                    self.free.push(value);
                }
            } else if tick.saturating_sub(since) <= self.limits.ticks {
                self.waiting.push_back((since, value));
            }
        }
    }

    /// One that is ours, for use again.
    pub(crate) fn take(&mut self) -> Option<Arc<T>> {
        self.free.pop()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.free.len() + self.waiting.len()
    }

    /// All that are ours.
    pub(crate) fn free_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.free.iter_mut().filter_map(Arc::get_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { free: 2, waiting: 3, ticks: 10 };

    #[test]
    fn what_a_reader_holds_is_not_used_again_until_the_reader_lets_go() {
        let mut pool = Pool::new(LIMITS);
        let value = Arc::new(7);
        let reader = Arc::clone(&value);
        pool.retire(value, 1);
        pool.sweep(2, |_| panic!("it is not ours"));
        assert!(pool.take().is_none());
        drop(reader);
        pool.sweep(3, |value| *value = 0);
        assert_eq!(pool.take().as_deref(), Some(&0));
        assert!(pool.take().is_none());
    }

    #[test]
    fn what_is_kept_has_a_bound_in_number_and_in_time() {
        let mut pool = Pool::new(LIMITS);
        let readers: Vec<Arc<u64>> = (0..100).map(Arc::new).collect();
        for (tick, value) in readers.iter().enumerate() {
            pool.retire(Arc::clone(value), tick as u64);
        }
        let held = |readers: &[Arc<u64>]| {
            readers.iter().filter(|value| Arc::strong_count(value) > 1).count()
        };
        assert_eq!(held(&readers), LIMITS.waiting);
        pool.sweep(99 + LIMITS.ticks, |_| ());
        assert_eq!(held(&readers), 1, "only the youngest has not waited too long");
        pool.sweep(100 + LIMITS.ticks, |_| ());
        assert_eq!(held(&readers), 0);
    }

    #[test]
    fn what_is_free_beyond_need_is_freed() {
        let mut pool = Pool::new(LIMITS);
        for tick in 0..3 {
            pool.retire(Arc::new(()), tick);
        }
        pool.sweep(3, |()| ());
        assert_eq!(pool.free_mut().count(), LIMITS.free);
    }
}
