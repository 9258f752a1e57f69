//! The findings of a snapshot, by plugin.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::yield_now;

use crate::Snapshot;
use crate::findings::{Finding, Findings, FindingsBuilder, Judgements};

/// Plugins that are judged before other tasks of the thread can run.
const PLUGINS_PER_YIELD: usize = 64;

/// The findings of a snapshot, and where those of each plugin are.
#[derive(Debug)]
pub(super) struct PluginFindings {
    pub all: Findings,
    /// Indexes of items.
    of_plugin: HashMap<Arc<str>, Vec<usize>>,
    pub judgements: Arc<Judgements>,
}

impl PluginFindings {
    /// `earlier`: the judgements of an earlier snapshot, if there are some.
    pub(super) async fn of(snapshot: &Snapshot, earlier: Option<Arc<Judgements>>) -> Self {
        let mut builder = FindingsBuilder::since(earlier);
        for (index, view) in snapshot.plugins().enumerate() {
            if index % PLUGINS_PER_YIELD == PLUGINS_PER_YIELD - 1 {
                yield_now().await;
            }
            builder.judge(view);
        }
        let (all, judgements) = builder.finish_with_judgements(snapshot);
        let mut of_plugin: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
        for (index, finding) in all.items.iter().enumerate() {
            of_plugin.entry(Arc::clone(&finding.plugin)).or_default().push(index);
        }
        Self { all, of_plugin, judgements: Arc::new(judgements) }
    }

    /// Those of one plugin, the most urgent first.
    pub(super) fn of_plugin(&self, name: &str) -> Vec<Finding> {
        let indexes = self.of_plugin.get(name).map(Vec::as_slice).unwrap_or_default();
        indexes.iter().map(|&index| self.all.items[index].clone()).collect()
    }
}
