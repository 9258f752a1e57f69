//! Which snapshot a callback reads: one for all callbacks of a collection; and totals that do not
//! decrease over collections.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::ThreadId;

use crate::export::catalog::{Number, PLUGIN_FAMILIES, PluginRow};
use crate::export::registration::{is_another_registration, total};
use crate::findings::Findings;
use crate::{PluginView, Reader, Snapshot};

/// The families of plugins that are counters, at most.
const MAX_COUNTERS: usize = PLUGIN_FAMILIES.len();
/// The threads whose collections are told apart. A host has one or two.
const MAX_THREADS: usize = 16;

/// The values that the callbacks of one collection share.
pub(super) struct Collection {
    /// Increases with each collection, and so does the snapshot's revision.
    number: u64,
    pub snapshot: Snapshot,
    pub findings: Findings,
    /// Of names that were registered again.
    bases: HashMap<Box<str>, Base>,
}

/// The totals of the earlier registrations of a name.
#[derive(Clone, Default)]
struct Base {
    totals: [Option<Number>; MAX_COUNTERS],
    kinds: HashMap<Box<str>, u64>,
    /// The number of the first collection in which the name was absent, if it is still absent.
    absent_since: Option<u64>,
}

impl Base {
    /// Adds the totals of a registration that has ended.
    fn add(&mut self, view: PluginView<'_>) {
        let row = PluginRow::new(view);
        for (family, base) in self.totals.iter_mut().enumerate() {
            if let Some(total) = total(family, &row) {
                *base = Some(base.map_or(total, |base| sum(base, total)));
            }
        }
        for (kind, count) in view.event_counts() {
            match self.kinds.get_mut(kind) {
                Some(base) => *base = base.saturating_add(count),
                None => _ = self.kinds.insert(kind.into(), count),
            }
        }
    }
}

fn sum(one: Number, other: Number) -> Number {
    match (one, other) {
        (Number::Integer(one), Number::Integer(other)) => {
            Number::Integer(one.saturating_add(other))
        }
        (
            Number::Seconds { negative: false, size: one },
            Number::Seconds { negative: false, size: other },
        ) => Number::from(one.saturating_add(other)),
        (one, other) => Number::Float(one.as_f64() + other.as_f64()),
    }
}

impl Collection {
    /// The total of a family that is continued over registrations.
    pub(super) fn continued(&self, plugin: &str, family: usize, total: Number) -> Number {
        let base = self.bases.get(plugin).and_then(|base| *base.totals.get(family)?);
        base.map_or(total, |base| sum(base, total))
    }

    /// The same for a part of a family.
    pub(super) fn continued_part(&self, plugin: &str, part: &str, total: Number) -> Number {
        let base = self.bases.get(plugin).and_then(|base| base.kinds.get(part));
        base.map_or(total, |base| sum(Number::Integer(*base), total))
    }
}

/// One thread that collects.
struct Progress {
    thread: ThreadId,
    collection: Arc<Collection>,
    /// The number of the thread's collection before this one; 0 for none.
    previous: u64,
    /// Which of the callbacks have read the collection.
    read: Vec<bool>,
}

/// The state that all callbacks share.
pub(super) struct Collections {
    reader: Reader,
    /// The number of callbacks.
    callbacks: usize,
    newest: Option<Arc<Collection>>,
    /// The threads, the one that collected last at the end.
    threads: Vec<Progress>,
    /// The newest collection that each callback has observed. A thread that was overtaken by another
    /// one observes that one's values, because the SDK hands observations to all its readers.
    observed: Vec<Option<Arc<Collection>>>,
}

impl Collections {
    pub(super) fn new(reader: Reader, callbacks: usize) -> Self {
        let observed = vec![None; callbacks];
        Self { reader, callbacks, newest: None, threads: Vec::new(), observed }
    }

    /// The collection that `callback` observes on this thread.
    pub(super) fn enter(&mut self, callback: usize, thread: ThreadId) -> Arc<Collection> {
        let known = self.threads.iter().position(|progress| progress.thread == thread);
        let current = known.filter(|at| !self.threads[*at].read[callback]);
        let at = current.unwrap_or_else(|| self.begin(thread, known));
        let progress = &mut self.threads[at];
        progress.read[callback] = true;
        let mine = Arc::clone(&progress.collection);
        let last = &mut self.observed[callback];
        let newest = last.take().filter(|last| last.number > mine.number).unwrap_or(mine);
        *last = Some(Arc::clone(&newest));
        newest
    }

    /// Begins a collection on this thread, and returns the thread's position.
    fn begin(&mut self, thread: ThreadId, known: Option<usize>) -> usize {
        let previous = known.map(|at| self.threads.remove(at).collection.number);
        if self.threads.len() == MAX_THREADS {
            self.threads.remove(0);
        }
        let previous = previous.unwrap_or(0);
        let collection = Arc::new(self.collect(previous));
        self.newest = Some(Arc::clone(&collection));
        let read = vec![false; self.callbacks];
        self.threads.push(Progress { thread, collection, previous, read });
        self.threads.len() - 1
    }

    /// `previous`: the number of this thread's last collection.
    fn collect(&self, previous: u64) -> Collection {
        let snapshot = self.reader.snapshot();
        let findings = snapshot.findings();
        let Some(last) = &self.newest else {
            return Collection { number: 1, snapshot, findings, bases: HashMap::new() };
        };
        let number = last.number + 1;
        let mut bases = last.bases.clone();
        for old in last.snapshot.plugins() {
            match snapshot.plugin(old.name()) {
                Some(new) if is_another_registration(old, new) => {
                    bases.entry(old.name().into()).or_default().add(old);
                }
                Some(_) => {}
                None => {
                    let base = bases.entry(old.name().into()).or_default();
                    base.add(old);
                    base.absent_since = Some(number);
                }
            }
        }
        // Where one thread collects, a name that is absent has ended. Where several do, the SDK hands
        // observations to the readers of all of them, so that a series ends in the second collection
        // of each without the name.
        let is_alone = self.threads.is_empty();
        let others = self.threads.iter().map(|progress| progress.previous);
        let ended = if is_alone { number } else { others.fold(previous, u64::min) };
        bases.retain(|name, base| {
            if snapshot.plugin(name).is_some() {
                base.absent_since = None;
            }
            base.absent_since.is_none_or(|since| ended < since)
        });
        Collection { number, snapshot, findings, bases }
    }
}
