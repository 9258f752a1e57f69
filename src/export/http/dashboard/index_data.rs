//! The data with which the script updates the page of all plugins.

use axum::body::Bytes;
use serde::Serialize;
use tokio::task::yield_now;

use super::super::notifications::RecentNotifications;
use super::super::plugin_findings::PluginFindings;
use super::super::to_json::{append_json, to_json};
use super::display_time::unix_millis;
use super::finding_message::FindingMessage;
use super::overview::{Overview, Verdict};
use super::sparklines::Sparklines;
use super::timeline::Timeline;
use super::work_budget::WorkBudget;
use crate::{PluginView, Snapshot};

/// Rows that are written before other tasks of the thread can run.
const ROWS_PER_YIELD: usize = 128;

/// The start of the document: what changes within a revision.
pub(super) fn head(snapshot: &Snapshot) -> Bytes {
    let age = snapshot.age().as_secs_f64();
    format!("{{\"age\":{age:.2},").into()
}

/// The rest of the document. Rows are in order of their names, as for [`sparklines`].
pub(super) async fn rest(
    snapshot: &Snapshot,
    findings: &PluginFindings,
    recent: &RecentNotifications,
) -> Bytes {
    #[derive(Serialize)]
    struct Document<'a> {
        started: u64,
        revision: u64,
        tick: u64,
        now: u64,
        stopped: bool,
        verdict: &'a Verdict,
        findings: Vec<FindingMessage<'a>>,
        more: Vec<FindingMessage<'a>>,
        more_count: usize,
        totals: &'a [String],
        timeline: Timeline<'a>,
    }
    let overview = Overview::new(snapshot, findings).await;
    let messages = Overview::messages(snapshot, findings);
    let document = Document {
        started: unix_millis(snapshot.started_at()),
        revision: snapshot.revision(),
        tick: snapshot.tick(),
        now: unix_millis(snapshot.sampled_at()),
        stopped: snapshot.is_stopped(),
        verdict: &overview.verdict,
        findings: messages.listed,
        more: messages.more,
        more_count: messages.more_count,
        totals: &overview.totals,
        timeline: Timeline::new(recent, snapshot),
    };
    let mut out = to_json(&document);
    // The opening brace is in the head; the closing one follows the rows.
    out.remove(0);
    out.pop();
    out.extend_from_slice(b",\"rows\":[");
    for (index, row) in overview.rows.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if index % ROWS_PER_YIELD == ROWS_PER_YIELD - 1 {
            yield_now().await;
        }
        append_json(&mut out, row);
    }
    out.extend_from_slice(b"]}");
    out.into()
}

/// The sparklines of the plugins at these indexes in the order of names. Each has its plugin's name,
/// because the order may have changed since the request was made.
pub(super) async fn sparklines(snapshot: &Snapshot, indexes: &[usize]) -> Bytes {
    #[derive(Serialize)]
    struct Document<'a> {
        tick: u64,
        lines: Vec<(&'a str, Sparklines)>,
    }
    let views: Vec<PluginView<'_>> = snapshot.plugins().collect();
    let (mut lines, mut budget) = (Vec::with_capacity(indexes.len()), WorkBudget::default());
    for view in indexes.iter().filter_map(|&index| views.get(index)) {
        budget.spend(*view).await;
        lines.push((view.name(), Sparklines::new(*view)));
    }
    let document = Document { tick: snapshot.tick(), lines };
    to_json(&document).into()
}
