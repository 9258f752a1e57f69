//! The samples of a window, as an iterator.

use std::fmt;

use super::rows::{Counters, PluginRows};
use super::sample::Sample;
use crate::history::run_log::RunRecord;

/// The samples of a window, oldest first. See [`PluginView::history`](crate::PluginView::history).
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::testing::Simulation;
/// use plugmeter::{Config, Window};
/// use std::time::Duration;
///
/// let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(5)))?;
/// let plugin = sim.register("dice")?;
/// for _ in 0..10 {
///     plugin.events().increment();
///     sim.tick(|_pid| None);
/// }
/// let snapshot = sim.snapshot();
/// let dice = snapshot.plugin("dice").unwrap();
/// assert_eq!(dice.history(Window::All).len(), 10);
/// let counts = dice.history(Duration::from_secs(10)).map(|sample| sample.event_count);
/// assert!(counts.eq([8, 9, 10]));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "iterators are lazy"]
pub struct History<'a> {
    rows: PluginRows<'a>,
    /// The first of the remaining ticks.
    from: u64,
    /// The tick after the last of them.
    end: u64,
    /// The counters at the tick before the first of them, once a sample was taken from the front.
    front: Option<Counters>,
    /// The counters at the last of them.
    back: Counters,
    run: Option<&'a RunRecord>,
}

impl<'a> History<'a> {
    /// The plugin's ticks from `from` to `newest`; `back` are the counters at the latter.
    pub(super) const fn new(rows: PluginRows<'a>, from: u64, newest: u64, back: Counters) -> Self {
        Self { rows, from, end: newest + 1, front: None, back, run: None }
    }
}

impl<'a> Iterator for History<'a> {
    type Item = Sample<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.from >= self.end {
            return None;
        }
        let packed = self.rows.packed(self.from);
        let counters = match self.front {
            Some(before) => before.plus(self.rows.increments(self.from, packed)),
            None => self.back.minus(self.rows.counters_in(self.from + 1..self.end)),
        };
        let sample = self.rows.unpack(self.from, packed, counters, &mut self.run)?;
        self.front = Some(counters);
        self.from += 1;
        Some(sample)
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        let target = self.from.saturating_add(n as u64).min(self.end);
        if let Some(before) = self.front {
            self.front = Some(before.plus(self.rows.counters_in(self.from..target)));
        }
        self.from = target;
        self.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let remaining = self.end.saturating_sub(self.from) as usize;
        (remaining, Some(remaining))
    }

    fn count(self) -> usize {
        self.len()
    }

    fn last(mut self) -> Option<Self::Item> {
        self.next_back()
    }
}

impl DoubleEndedIterator for History<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.from >= self.end {
            return None;
        }
        let last = self.end - 1;
        let packed = self.rows.packed(last);
        let sample = self.rows.unpack(last, packed, self.back, &mut self.run)?;
        self.end = last;
        self.back = self.back.minus(self.rows.increments(last, packed));
        Some(sample)
    }

    fn nth_back(&mut self, n: usize) -> Option<Self::Item> {
        let end = self.end.saturating_sub(n as u64).max(self.from);
        self.back = self.back.minus(self.rows.counters_in(end..self.end));
        self.end = end;
        self.next_back()
    }
}

impl ExactSizeIterator for History<'_> {}
impl std::iter::FusedIterator for History<'_> {}

impl fmt::Debug for History<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("plugin", &self.rows.record.name)
            .field("samples", &self.len())
            .finish()
    }
}
