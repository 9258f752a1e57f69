//! The samples of a window, one after the other.

use std::fmt;

use super::runs::Entry;
use super::sample::{Row, Sample};
use super::view::PluginView;

/// A plugin's counters at a tick.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub events: u64,
    pub crashes: u64,
}

impl Counts {
    pub(crate) const fn minus(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_sub(other.events),
            crashes: self.crashes.saturating_sub(other.crashes),
        }
    }

    fn plus(self, row: Row) -> Self {
        Self {
            events: self.events + u64::from(row.events),
            crashes: self.crashes + u64::from(row.crashes),
        }
    }
}

/// The samples of a window, oldest first. See [`PluginView::history`].
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
    view: PluginView<'a>,
    /// The ticks that are still to come: from here ...
    from: u64,
    /// ... to here, exclusive.
    end: u64,
    /// The counters at the first of them, and at the last.
    front: Counts,
    back: Counts,
    run: Option<&'a Entry>,
}

impl<'a> History<'a> {
    /// The ticks `from` up to `newest` of the plugin; `back` are the counters at the newest.
    pub(crate) const fn new(
        view: PluginView<'a>,
        from: u64,
        newest: u64,
        front: Counts,
        back: Counts,
    ) -> Self {
        Self { view, from, end: newest + 1, front, back, run: None }
    }

    fn row(&self, tick: u64) -> Row {
        self.view.row(tick)
    }
}

impl<'a> Iterator for History<'a> {
    type Item = Sample<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.from >= self.end {
            return None;
        }
        let row = self.row(self.from);
        let sample = self.view.sample(self.from, row, self.front, &mut self.run)?;
        self.from += 1;
        if self.from < self.end {
            self.front = self.front.plus(self.row(self.from));
        }
        Some(sample)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.from) as usize;
        (left, Some(left))
    }
}

impl DoubleEndedIterator for History<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.from >= self.end {
            return None;
        }
        let last = self.end - 1;
        let row = self.row(last);
        let sample = self.view.sample(last, row, self.back, &mut self.run)?;
        self.end = last;
        let added = Counts { events: u64::from(row.events), crashes: u64::from(row.crashes) };
        self.back = self.back.minus(added);
        Some(sample)
    }
}

impl ExactSizeIterator for History<'_> {}
impl std::iter::FusedIterator for History<'_> {}

impl fmt::Debug for History<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("plugin", &self.view.name())
            .field("samples", &self.len())
            .finish()
    }
}
