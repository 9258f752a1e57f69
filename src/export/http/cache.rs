//! Response bodies that are the same for every client, made and compressed once for each revision.
//!
//! A page of 10,000 plugins is megabytes: a hundred slow clients share one copy.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use tokio::sync::OnceCell;

use super::content::Content;
use super::plugin_findings::PluginFindings;
use crate::Snapshot;
use crate::findings::Judgements;

/// A cached body.
#[derive(Clone, Copy, Debug)]
pub(super) enum CacheKey {
    OpenMetrics,
    Prometheus,
    /// `/api/metrics`, without the part that changes within a revision.
    ApiMetrics,
    /// The dashboard's page of all plugins, likewise.
    IndexPage,
    /// The data with which the script updates that page, likewise.
    IndexData,
    /// `/api/findings`.
    ApiFindings,
}

const KEYS: usize = 6;

#[derive(Debug)]
struct Revision {
    number: Version,
    bodies: [OnceCell<Content>; KEYS],
    /// Most bodies contain some of them.
    findings: OnceCell<Arc<PluginFindings>>,
    /// Those of an earlier revision.
    earlier: Option<Arc<Judgements>>,
}

impl Revision {
    /// The newest judgements.
    fn judgements(&self) -> Option<Arc<Judgements>> {
        let findings = self.findings.get();
        findings.map(|findings| Arc::clone(&findings.judgements)).or_else(|| self.earlier.clone())
    }
}

/// The revision, and the version of what else the bodies show.
pub(super) type Version = (u64, u64);

/// The bodies of the newest requested revision.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Option<Arc<Revision>>>);

impl Cache {
    /// Returns the body of `key` for this version, made by `make` unless it exists. Concurrent
    /// requests wait for the first one's.
    pub(super) async fn get(
        &self,
        version: Version,
        key: CacheKey,
        make: impl Future<Output = Bytes>,
    ) -> Content {
        let revision = self.revision(version);
        let make = async || Content::new(make.await);
        revision.bodies[key as usize].get_or_init(make).await.clone()
    }

    /// Returns the findings of the snapshot, judged unless they were before: of a plugin that has not
    /// changed since an earlier revision of the same tick, that judgement is returned.
    pub(super) async fn findings(&self, snapshot: &Snapshot) -> Arc<PluginFindings> {
        let revision = self.revision((snapshot.revision(), 0));
        let earlier = || revision.earlier.clone();
        let judge = async || Arc::new(PluginFindings::of(snapshot, earlier()).await);
        Arc::clone(revision.findings.get_or_init(judge).await)
    }

    /// The lock is not held while a body is made.
    fn revision(&self, number: Version) -> Arc<Revision> {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some(cached) if cached.number == number => return Arc::clone(cached),
            _ => {}
        }
        let revision = Arc::new(Revision {
            number,
            bodies: Default::default(),
            findings: OnceCell::new(),
            earlier: newest.as_ref().and_then(|cached| cached.judgements()),
        });
        // The router may run on several threads, and one may have an older snapshot than another:
        // the newer revision stays.
        if newest.as_ref().is_none_or(|cached| cached.number < number) {
            *newest = Some(Arc::clone(&revision));
        }
        revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_revision_is_cached() {
        let cache = Cache::default();
        let first = cache.revision((7, 0));
        assert!(Arc::ptr_eq(&first, &cache.revision((7, 0))));
        let second = cache.revision((7, 1));
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &cache.revision((7, 0))), "an older revision is not cached");
        assert!(Arc::ptr_eq(&second, &cache.revision((7, 1))));
        assert_eq!(Arc::strong_count(&first), 1, "the older revision is released");
    }
}
