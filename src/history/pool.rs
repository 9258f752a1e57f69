//! Retired values, kept until they can be reused.
//!
//! The sampler does not release an `Arc` that a reader may still hold: the value waits here until
//! the pool is its only owner. So the sampler frees or reuses the value, and a reader's last drop
//! of an old snapshot costs nothing.

use std::collections::VecDeque;
use std::sync::Arc;

/// Values examined in one sweep, so that the cost of a sweep has a bound.
const MAX_SWEPT: usize = 8;

/// Retired values of one kind.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    /// Owned by the pool alone.
    free: Vec<Arc<T>>,
    /// Possibly still owned by readers, with the tick at which they were retired.
    waiting: VecDeque<(u64, Arc<T>)>,
    limits: PoolLimits,
}

/// Bounds on what a pool keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolLimits {
    /// Free values; any beyond this number are freed.
    pub free: usize,
    /// Waiting values; beyond this number the oldest is released to its readers.
    pub waiting: usize,
    /// Ticks that a value waits; then it is released to its readers.
    pub ticks: u64,
}

impl<T> Pool<T> {
    pub(crate) const fn new(limits: PoolLimits) -> Self {
        Self { free: Vec::new(), waiting: VecDeque::new(), limits }
    }

    /// Keeps `value` until no reader owns it.
    pub(crate) fn retire(&mut self, value: Arc<T>, tick: u64) {
        if self.waiting.len() >= self.limits.waiting {
            self.waiting.pop_front();
        }
        self.waiting.push_back((tick, value));
    }

    /// Examines a few waiting values, and calls `clean` on those that no reader owns any more.
    pub(crate) fn sweep(&mut self, tick: u64, mut clean: impl FnMut(&mut T)) {
        for _ in 0..self.waiting.len().min(MAX_SWEPT) {
            let Some((since, mut value)) = self.waiting.pop_front() else {
                return;
            };
            if let Some(unique) = Arc::get_mut(&mut value) {
                clean(unique);
                if self.free.len() < self.limits.free {
                    self.free.push(value);
                }
            } else if tick.saturating_sub(since) <= self.limits.ticks {
                self.waiting.push_back((since, value));
            }
        }
    }

    /// Takes a free value, which has no other owner.
    pub(crate) fn take(&mut self) -> Option<Arc<T>> {
        self.free.pop()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.free.len() + self.waiting.len()
    }

    /// All free values.
    pub(crate) fn free_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.free.iter_mut().filter_map(Arc::get_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PoolLimits = PoolLimits { free: 2, waiting: 3, ticks: 10 };

    #[test]
    fn value_held_by_reader_is_not_reused() {
        let mut pool = Pool::new(LIMITS);
        let value = Arc::new(7);
        let reader = Arc::clone(&value);
        pool.retire(value, 1);
        pool.sweep(2, |_| panic!("the reader still owns it"));
        assert!(pool.take().is_none());
        drop(reader);
        pool.sweep(3, |value| *value = 0);
        assert_eq!(pool.take().as_deref(), Some(&0));
        assert!(pool.take().is_none());
    }

    #[test]
    fn waiting_values_are_bounded_in_number_and_time() {
        let mut pool = Pool::new(LIMITS);
        let readers: Vec<Arc<u64>> = (0..100).map(Arc::new).collect();
        for (tick, value) in readers.iter().enumerate() {
            pool.retire(Arc::clone(value), tick as u64);
        }
        let kept = |readers: &[Arc<u64>]| {
            readers.iter().filter(|value| Arc::strong_count(value) > 1).count()
        };
        assert_eq!(kept(&readers), LIMITS.waiting);
        pool.sweep(99 + LIMITS.ticks, |_| ());
        assert_eq!(kept(&readers), 1, "only the newest has not waited too long");
        pool.sweep(100 + LIMITS.ticks, |_| ());
        assert_eq!(kept(&readers), 0);
    }

    #[test]
    fn free_values_beyond_limit_are_freed() {
        let mut pool = Pool::new(LIMITS);
        for tick in 0..3 {
            pool.retire(Arc::new(()), tick);
        }
        pool.sweep(3, |()| ());
        assert_eq!(pool.free_mut().count(), LIMITS.free);
    }
}
