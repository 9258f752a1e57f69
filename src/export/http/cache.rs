//! What is the same for everybody who asks, made once for each revision.
//!
//! A page of 10,000 plugins is megabytes: a hundred clients that are slow to take it hold one copy.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use tokio::sync::OnceCell;

use crate::Snapshot;

/// What is kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kept {
    OpenMetrics,
    Prometheus,
    /// All plugins as JSON, from what does not change within a revision.
    Metrics,
    /// The page, likewise, and what its script asks for.
    Page,
    Rows,
}

const KINDS: usize = 5;

#[derive(Debug)]
struct Revision {
    number: u64,
    made: [OnceCell<Bytes>; KINDS],
}

/// The newest revision that somebody has asked for.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Option<Arc<Revision>>>);

impl Cache {
    /// What `make` makes of the snapshot, or what it has made of it already. Whoever asks while it
    /// is being made waits for it.
    pub(super) async fn get(
        &self,
        snapshot: &Snapshot,
        kind: Kept,
        make: impl Future<Output = Bytes>,
    ) -> Bytes {
        let revision = self.of(snapshot.revision());
        revision.made[kind as usize].get_or_init(|| make).await.clone()
    }

    /// Nobody holds this lock while anything is made.
    fn of(&self, number: u64) -> Arc<Revision> {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some(kept) if kept.number == number => return Arc::clone(kept),
            _ => {}
        }
        let made = Arc::new(Revision { number, made: Default::default() });
        // One thread of a host's may be a revision behind another: the newer one stays.
        if newest.as_ref().is_none_or(|kept| kept.number < number) {
            *newest = Some(Arc::clone(&made));
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_revision_is_kept_the_newest() {
        let cache = Cache::default();
        let first = cache.of(7);
        assert!(Arc::ptr_eq(&first, &cache.of(7)));
        let second = cache.of(8);
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &cache.of(7)), "what is late is made for itself");
        assert!(Arc::ptr_eq(&second, &cache.of(8)));
        assert_eq!(Arc::strong_count(&first), 1, "an old one is let go");
    }
}
