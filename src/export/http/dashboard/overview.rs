//! All plugins: the verdict, the findings, the totals and the table.

use serde::Serialize;

use super::super::plugin_findings::PluginFindings;
use super::super::plugin_status::PluginStatus;
use super::finding_message::FindingMessage;
use super::format;
use super::row::Row;
use super::work_budget::WorkBudget;
use crate::findings::Finding;
use crate::{PluginState, Severity, Snapshot};

/// Findings that are listed under the verdict. The others are shown on request.
const MAX_MESSAGES: usize = 8;
/// Those among them that need no attention.
const MAX_NOTES: usize = 3;
/// Findings that are shown on request. All are in `/api/findings`.
const MAX_MORE: usize = 100;

/// The findings of all plugins, in sentences.
#[derive(Debug)]
pub(super) struct Messages<'a> {
    pub listed: Vec<FindingMessage<'a>>,
    pub more: Vec<FindingMessage<'a>>,
    /// How many findings are not listed.
    pub more_count: usize,
}

/// The values of a snapshot, formatted for the page of all plugins.
#[derive(Debug)]
pub(super) struct Overview<'a> {
    pub rows: Vec<Row<'a>>,
    pub verdict: Verdict,
    /// In the order of [`TOTALS`].
    pub totals: Vec<String>,
}

/// How many plugins need attention.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Verdict {
    /// The most urgent status; `note` without plugins.
    pub level: &'static str,
    pub text: String,
}

/// The labels of the totals.
pub(super) const TOTALS: [&str; 7] = [
    "Running",
    "Crashed or failed",
    "CPU, of one core",
    "Resident memory (sum)",
    "Events/s",
    "Events",
    "Sampler\u{2019}s CPU",
];

impl<'a> Overview<'a> {
    /// Other tasks of the thread can run in between.
    pub(super) async fn new(snapshot: &'a Snapshot, findings: &PluginFindings) -> Self {
        let plugins = snapshot.plugins();
        let (mut rows, mut budget) = (Vec::with_capacity(plugins.len()), WorkBudget::default());
        for view in plugins {
            budget.spend(view).await;
            rows.push(Row::new(view, findings.of_plugin(view.name())));
        }
        let verdict = Verdict::new(snapshot, &rows);
        let totals = totals(snapshot, &rows);
        Self { rows, verdict, totals }
    }

    /// The findings in their order, by severity and impact: first those that are listed under the
    /// verdict, then at most [`MAX_MORE`] others.
    pub(super) fn messages(snapshot: &Snapshot, findings: &'a PluginFindings) -> Messages<'a> {
        let now = snapshot.sampled_at();
        let items = &findings.all.items;
        let is_urgent = |finding: &&Finding| finding.severity > Severity::Notice;
        let urgent = items.iter().take_while(is_urgent).count();
        let shown = urgent.min(MAX_MESSAGES);
        let notes = (items.len() - urgent).min(MAX_NOTES).min(MAX_MESSAGES - shown);
        let message = |finding| FindingMessage::new(finding, now);
        let listed = items[..shown].iter().chain(&items[urgent..urgent + notes]);
        let others = items[shown..urgent].iter().chain(&items[urgent + notes..]);
        Messages {
            listed: listed.map(message).collect(),
            more: others.take(MAX_MORE).map(message).collect(),
            more_count: items.len() - shown - notes,
        }
    }
}

impl Verdict {
    fn new(snapshot: &Snapshot, rows: &[Row<'_>]) -> Self {
        let urgent = rows.iter().filter(|row| row.status != PluginStatus::Ok).count();
        let level = rows.iter().map(|row| row.status).max().map_or("note", PluginStatus::as_str);
        let (all, running) = (rows.len(), snapshot.system().plugins_running);
        let text = match urgent {
            _ if all == 0 => "No plugin is registered.".to_owned(),
            0 if running == all => match all {
                1 => "All is well: the one plugin is running.".to_owned(),
                _ => format!("All is well: {all} plugins are running."),
            },
            0 => format!("All is well: {running} of {all} plugins running."),
            1 => format!("1 of {all} needs attention."),
            _ => format!("{urgent} of {all} need attention."),
        };
        Self { level, text }
    }
}

fn totals(snapshot: &Snapshot, rows: &[Row<'_>]) -> Vec<String> {
    let (system, sampler) = (snapshot.system(), snapshot.sampler());
    let is_down = |state| matches!(state, PluginState::Crashed | PluginState::Failed);
    let down = snapshot.plugins().filter(|view| is_down(view.state())).count();
    let cpu = rows.iter().filter_map(|row| row.sort_keys.cpu).reduce(|sum, cpu| sum + cpu);
    let has_memory = rows.iter().any(|row| row.sort_keys.memory.is_some());
    let none = || format::NONE.to_owned();
    vec![
        format!("{} of {}", system.plugins_running, system.total_plugins),
        down.to_string(),
        cpu.map_or_else(none, format::percent),
        if has_memory { format::memory(system.total_tree_memory_bytes) } else { none() },
        format::rate(rows.iter().map(|row| row.sort_keys.rate).sum()),
        format::count(system.total_events),
        sampler.overhead_percent.map_or_else(none, |cost| format!("{cost:.3}\u{a0}%")),
    ]
}
