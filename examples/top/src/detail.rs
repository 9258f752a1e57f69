//! One plugin: aggregates, graphs, and its runs.

use std::collections::HashSet;
use std::time::Duration;

use plugmeter::{Run, Sample, Summary};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::app::{App, Lower};
use crate::chart::{self, Axis};
use crate::facts::{Facts, Scene, of_tree};
use crate::style;
use crate::text::{
    UNKNOWN, ago, count, last, long, megabytes, percent, put, rate, spoken, time_of_day, wrap,
};

/// The width from which the two graphs are side by side.
const WIDE: u16 = 120;
/// The width of the numbers beside a graph.
const GUTTER: u16 = 8;
/// The number of versions that are compared.
const MAX_VERSIONS: usize = 2;
const MB: f64 = 1_048_576.0;

pub fn draw(buf: &mut Buffer, area: Rect, scene: &Scene<'_>, facts: &Facts<'_>, app: &mut App) {
    let mut y = head(buf, area, facts);
    // Half of the height is for the graphs and the runs.
    let bottom = area.y + area.height / 2;
    let mut text = |message: &str| {
        for line in wrap(message, area.width.saturating_sub(2)) {
            if y < bottom {
                put(buf, (area.x + 2, y), area.width.saturating_sub(2), &line, style::PLAIN);
                y += 1;
            }
        }
    };
    facts.messages.iter().take(3).for_each(|message| text(message));
    text(&counts(scene, facts));
    kinds(facts).iter().for_each(|kinds| text(kinds));
    limits(facts).iter().for_each(|limits| text(limits));
    versions(scene, facts).iter().for_each(|version| text(version));
    let left = area.bottom().saturating_sub(y);
    // A third of the height is for the runs and their heading.
    let graphs = left - (left / 3).clamp(3.min(left), 12.min(left));
    if area.width >= WIDE {
        let height = graphs.min(20);
        let half = (area.width - 2) / 2;
        cpu(buf, Rect::new(area.x, y, half, height), scene, facts);
        memory(buf, Rect::new(area.x + half + 2, y, half, height), scene, facts);
        y += height;
    } else {
        let height = graphs / 2;
        cpu(buf, Rect::new(area.x, y, area.width, height), scene, facts);
        memory(buf, Rect::new(area.x, y + height, area.width, height), scene, facts);
        y += 2 * height;
    }
    let left = area.bottom().saturating_sub(y);
    let lower = Rect::new(area.x, y, area.width, left);
    match app.lower {
        Lower::Runs => runs(buf, lower, scene, facts, app),
        Lower::Processes => processes(buf, lower, facts, app),
    }
}

/// Draws name, state and problems; returns the line below.
fn head(buf: &mut Buffer, area: Rect, facts: &Facts<'_>) -> u16 {
    let view = facts.view;
    let severity = style::of(facts.attention);
    buf.set_stringn(area.x, area.y, style::shape(facts), 1, severity);
    // A long name is cut, so that the state fits beside it.
    let most = (area.width / 2).max(12);
    let x = put(buf, (area.x + 2, area.y), most, view.name(), style::BOLD);
    let (x, _) = buf.set_stringn(x + 2, area.y, view.state().to_string(), 9, severity);
    let mut message = format!(" for {}", long(facts.since));
    if let Some(pid) = view.pid() {
        message += &format!(" · pid {pid}");
    }
    match facts.processes {
        Some(1) if view.pid().is_none() => message += " · 1 process",
        None | Some(0 | 1) => {}
        Some(count) => message += &format!(" · {count} processes"),
    }
    if let Some(uptime) = facts.uptime {
        message += &format!(" · up {}", long(uptime));
    }
    if let Some(version) = view.version() {
        message += &format!(" · version {version}");
    }
    put(buf, (x, area.y), area.right().saturating_sub(x), &message, style::PLAIN);
    area.y + 1
}

fn counts(scene: &Scene<'_>, facts: &Facts<'_>) -> String {
    let view = facts.view;
    let mut message = format!(
        "events {} ({}/s) · crashes {} in the {}, {} in all · restarts {}",
        count(view.event_count()),
        rate(facts.events_per_second),
        count(facts.recent_crashes),
        last(scene.crash_window()),
        count(view.crash_count()),
        count(view.restart_count()),
    );
    // Where it is one of several, the process's own values.
    let usage = view.usage();
    if facts.processes > Some(1) && view.pid().is_some() {
        let memory = usage.memory_bytes.map(|bytes| bytes as f64 / MB);
        let (cpu, memory) = (percent(usage.cpu_percent), megabytes(memory));
        message += &format!(" · main process: CPU {cpu} %, {memory} MB");
    }
    if let Some(crash) = view.last_crash() {
        message += &format!(" · last crash {} ({})", ago(scene.since(crash)), time_of_day(crash));
    }
    message
}

/// The events of each kind; `None` without kinds.
fn kinds(facts: &Facts<'_>) -> Option<String> {
    let kinds: Vec<_> = facts
        .view
        .event_counts()
        .map(|(kind, events)| format!("{kind} {}", count(events)))
        .collect();
    (!kinds.is_empty()).then(|| format!("events by kind: {}", kinds.join(" · ")))
}

/// The limits with their newest values, the exceeded ones first; `None` without limits.
fn limits(facts: &Facts<'_>) -> Option<String> {
    let mut limits: Vec<_> = facts.view.limits().collect();
    limits.sort_by_key(|status| !status.state.is_exceeded());
    let limits: Vec<_> = limits.iter().map(ToString::to_string).collect();
    (!limits.is_empty()).then(|| format!("limits: {}", limits.join(" · ")))
}

/// The newest versions, if there are several, and what they have used in the window.
fn versions(scene: &Scene<'_>, facts: &Facts<'_>) -> Vec<String> {
    let versions = facts.view.versions(scene.window);
    if versions.len() < 2 {
        return Vec::new();
    }
    versions.iter().rev().take(MAX_VERSIONS).map(|usage| format!("version {usage}")).collect()
}

fn cpu(buf: &mut Buffer, area: Rect, scene: &Scene<'_>, facts: &Facts<'_>) {
    let all = facts.view.aggregates(scene.window);
    let all = all.and_then(|all| of_tree(scene.snapshot, all.cpu, all.tree_cpu));
    let title = format!("CPU % of one core  now {}", percent(facts.cpu));
    let title = title + &four(all.as_ref(), 1.0, percent);
    let graph = Graph { title, lowest_top: 10.0, label: percent, style: style::CPU };
    graph.draw(buf, area, scene, facts, |sample| {
        of_tree(scene.snapshot, sample.cpu_percent, sample.tree_cpu_percent)
    });
}

fn memory(buf: &mut Buffer, area: Rect, scene: &Scene<'_>, facts: &Facts<'_>) {
    let all = facts.view.aggregates(scene.window);
    let all = all.and_then(|all| of_tree(scene.snapshot, all.memory, all.tree_memory));
    let title = format!("Memory MB  now {}", megabytes(facts.memory_mb));
    let title = title + &four(all.as_ref(), MB, megabytes);
    let graph = Graph { title, lowest_top: 1.0, label: megabytes, style: style::MEMORY };
    graph.draw(buf, area, scene, facts, |sample| {
        of_tree(scene.snapshot, sample.memory_mb(), sample.tree_memory_mb())
    });
}

type Label = fn(Option<f64>) -> String;

/// Draws average, minimum, maximum and p95.
fn four(summary: Option<&Summary>, unit: f64, label: Label) -> String {
    let show = |of: fn(&Summary) -> f64| label(summary.map(|all| of(all) / unit));
    format!(
        "  avg {}  min {}  max {}  p95 {}",
        show(|all| all.avg),
        show(|all| all.min),
        show(|all| all.max),
        show(|all| all.p95),
    )
}

struct Graph {
    title: String,
    /// The minimum for the top of the scale.
    lowest_top: f64,
    label: Label,
    style: Style,
}

impl Graph {
    fn draw<'a>(
        &self,
        buf: &mut Buffer,
        area: Rect,
        scene: &Scene<'a>,
        facts: &Facts<'a>,
        value: impl Fn(&Sample<'a>) -> Option<f64>,
    ) {
        if area.height == 0 || area.width <= GUTTER {
            return;
        }
        put(buf, (area.x, area.y), area.width, &self.title, style::BOLD);
        let rows = area.height.saturating_sub(2);
        if rows == 0 {
            return;
        }
        let plot = Rect::new(area.x + GUTTER, area.y + 1, area.width - GUTTER, rows);
        let axis = Axis { span: scene.span(), interval: scene.snapshot.poll_interval() };
        let columns = axis.columns(facts.view.history(scene.window), plot.width, value);
        let top = chart::scale(&columns, self.lowest_top);
        chart::draw(buf, plot, &columns, top, self.style);
        let mut label = |y: u16, value: f64| {
            let message = format!("{:>6} ", (self.label)(Some(value)));
            put(buf, (area.x, y), GUTTER - 1, &message, style::DIM);
        };
        label(plot.y, top);
        if rows > 1 {
            label(plot.bottom() - 1, 0.0);
        }
        let y = plot.bottom();
        put(buf, (plot.x, y), plot.width, &format!("{} ago", spoken(axis.span)), style::DIM);
        put(buf, (plot.right().saturating_sub(3), y), 3, "now", style::DIM);
    }
}

/// Draws the newest runs and how they ended.
fn runs(buf: &mut Buffer, area: Rect, scene: &Scene<'_>, facts: &Facts<'_>, app: &mut App) {
    if area.height == 0 {
        return;
    }
    let all: Vec<&Run> = facts.view.runs().rev().collect();
    let room = usize::from(area.height - 1);
    app.first_line = app.first_line.min(all.len().saturating_sub(room));
    let shown = all.iter().skip(app.first_line).take(room);
    let (from, to) = (app.first_line + 1, app.first_line + shown.len());
    let title = match all.len() {
        0 => "No run in the history".to_owned(),
        many if many == shown.len() => format!("Runs, the newest first ({many})"),
        many => format!("Runs, the newest first ({from} to {to} of {many}, PageDown for more)"),
    };
    put(buf, (area.x, area.y), area.width, &title, style::BOLD);
    for (y, run) in (area.y + 1..).zip(shown) {
        let version = run.version.as_deref().unwrap_or(UNKNOWN);
        put(buf, (area.x + 2, y), 12, version, style::PLAIN);
        let x = area.x + 15;
        put(buf, (x, y), area.right().saturating_sub(x), &line_of(run, scene), style::PLAIN);
    }
}

/// Draws the processes of the tree at the newest tick, children below their parents.
fn processes(buf: &mut Buffer, area: Rect, facts: &Facts<'_>, app: &mut App) {
    if area.height == 0 {
        return;
    }
    let all: Vec<_> = facts.view.processes().collect();
    let parents: Vec<_> = all.iter().map(|process| (process.pid, process.parent)).collect();
    let order = tree_order(&parents);
    let room = usize::from(area.height - 1);
    app.first_line = app.first_line.min(all.len().saturating_sub(room));
    let title = match all.len() {
        0 => "No process at the newest tick".to_owned(),
        many => format!("Processes at the newest tick ({many})     PID  CPU %  MEM MB  NAME"),
    };
    put(buf, (area.x, area.y), area.width, &title, style::BOLD);
    for (y, &(depth, index)) in (area.y + 1..).zip(order.iter().skip(app.first_line).take(room)) {
        let process = &all[index];
        let memory = process.memory_bytes.map(|bytes| bytes as f64 / MB);
        let indent = "  ".repeat(depth.min(8));
        let name = if process.name.is_empty() { UNKNOWN } else { &*process.name };
        let (cpu, memory) = (percent(process.cpu_percent), megabytes(memory));
        let line = format!("{:>8} {cpu:>6} {memory:>7}  {indent}{name}", process.pid);
        put(buf, (area.x + 2, y), area.width.saturating_sub(2), &line, style::PLAIN);
    }
}

/// The order of a list of pids and parents in which each follows its parent: the depth and the index of
/// each. Those whose parent is not listed are roots.
pub fn tree_order(processes: &[(u32, Option<u32>)]) -> Vec<(usize, usize)> {
    let pids: HashSet<u32> = processes.iter().map(|&(pid, _)| pid).collect();
    let is_child = |&index: &usize| {
        let (pid, parent) = processes[index];
        parent.is_some_and(|parent| pids.contains(&parent) && parent != pid)
    };
    let (mut waiting, roots): (Vec<_>, Vec<_>) = (0..processes.len()).partition(is_child);
    let mut stack: Vec<_> = roots.into_iter().rev().map(|root| (0, root)).collect();
    let mut ordered = Vec::new();
    while let Some((depth, index)) = stack.pop() {
        let is_mine = |&child: &usize| processes[child].1 == Some(processes[index].0);
        let (children, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_mine);
        waiting = others;
        stack.extend(children.into_iter().rev().map(|child| (depth + 1, child)));
        ordered.push((depth, index));
    }
    // Pids that were given again can form a circle.
    ordered.extend(waiting.into_iter().map(|index| (0, index)));
    ordered
}

fn line_of(run: &Run, scene: &Scene<'_>) -> String {
    let until = run.ended_at.unwrap_or(scene.now);
    let lasted =
        until.duration_since(run.started_at.unwrap_or(run.reported_at)).unwrap_or_default();
    let lasted = if lasted < Duration::from_secs(10) {
        format!("{:.1}s", lasted.as_secs_f64())
    } else {
        long(lasted)
    };
    let end = match (run.end, run.ended_at) {
        (Some(end), Some(at)) => format!("{end}, {}", ago(scene.since(at))),
        (Some(end), None) => end.to_string(),
        (None, _) => "is running".to_owned(),
    };
    let cpu = run.cpu_time.map(|cpu| format!("{:.2} s CPU", cpu.as_secs_f64()));
    let cpu = cpu.unwrap_or_default();
    format!("pid {:<7}  ran {lasted:>8}  {cpu:>14}  {end}", run.pid)
}
