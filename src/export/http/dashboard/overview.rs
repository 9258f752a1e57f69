//! All plugins: the verdict, the findings, the totals and the table.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::super::plugin_findings::PluginFindings;
use super::super::plugin_status::PluginStatus;
use super::finding_message::FindingMessage;
use super::format;
use super::row::Row;
use super::work_budget::WorkBudget;
use crate::{PluginState, Snapshot};

/// Plugins whose findings are listed under the verdict. Those of the others are shown on request.
const MAX_MESSAGES: usize = 8;
/// Plugins among them that need no attention.
const MAX_NOTES: usize = 3;
/// Plugins whose findings are shown on request. The others are at the top of the table.
const MAX_MORE: usize = 100;

/// The findings of all plugins, in sentences.
#[derive(Debug)]
pub(super) struct Messages<'a> {
    pub listed: Vec<FindingMessage<'a>>,
    pub more: Vec<FindingMessage<'a>>,
    /// How many plugins have findings that are not listed.
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

    /// The plugins with findings, ranked by their most urgent one: first those that are listed under the
    /// verdict, then at most [`MAX_MORE`] others.
    pub(super) fn messages(&self, findings: &PluginFindings) -> Messages<'a> {
        let rows: HashMap<&str, &Row<'a>> = self.rows.iter().map(|row| (row.name, row)).collect();
        let mut seen = HashSet::new();
        let plugins = findings.all.items.iter().map(|finding| &*finding.plugin);
        let ranked = plugins.filter(|plugin| seen.insert(*plugin));
        let ranked: Vec<_> = ranked.filter_map(|plugin| rows.get(plugin)).collect();
        let urgent = ranked.iter().filter(|row| row.status != PluginStatus::Ok).count();
        let shown = urgent.min(MAX_MESSAGES);
        let notes = (ranked.len() - urgent).min(MAX_NOTES).min(MAX_MESSAGES - shown);
        let is_shown = |index: usize| index < shown || (index >= urgent && index < urgent + notes);
        let messages = |is_listed: bool, max: usize| -> Vec<_> {
            let rows = ranked.iter().enumerate().filter(|(index, _)| is_shown(*index) == is_listed);
            rows.take(max).filter_map(|(_, row)| row.message()).collect()
        };
        Messages {
            listed: messages(true, MAX_MESSAGES),
            more: messages(false, MAX_MORE),
            more_count: ranked.len() - shown - notes,
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
