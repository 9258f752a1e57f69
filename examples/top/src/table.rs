//! The table of all plugins, with as many columns as fit.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::app::{App, Order, Place};
use crate::chart::{self, Axis};
use crate::facts::{Facts, Scene, of_tree};
use crate::style;
use crate::text::{UNKNOWN, count, last, long, megabytes, percent, put, rate, short, width};

/// The minimum for the top of memory graphs, so that they do not magnify the noise of a small
/// process.
const LOWEST_TOP_MB: f64 = 16.0;

/// The width of the graphs below which less important columns are left out.
const GRAPHS: u16 = 14;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Shape,
    Name,
    State,
    Since,
    Cpu,
    CpuGraph,
    CpuP95,
    Memory,
    MemoryGraph,
    Events,
    Crashes,
    Uptime,
    Version,
    Pid,
    Processes,
}

impl Column {
    /// All columns, from left to right.
    const ALL: [Self; 15] = [
        Self::Shape,
        Self::Name,
        Self::State,
        Self::Since,
        Self::Cpu,
        Self::CpuGraph,
        Self::CpuP95,
        Self::Memory,
        Self::MemoryGraph,
        Self::Events,
        Self::Crashes,
        Self::Uptime,
        Self::Version,
        Self::Pid,
        Self::Processes,
    ];

    /// The optional columns, the most important first.
    const WANTED: [Self; 15] = [
        Self::Shape,
        Self::Name,
        Self::State,
        Self::Cpu,
        Self::Since,
        Self::Memory,
        Self::Crashes,
        Self::CpuGraph,
        Self::Events,
        Self::MemoryGraph,
        Self::CpuP95,
        Self::Uptime,
        Self::Version,
        Self::Pid,
        Self::Processes,
    ];

    const fn narrowest(self) -> u16 {
        match self {
            Self::Shape => 1,
            Self::Since => 4,
            Self::Cpu | Self::CpuP95 | Self::Processes => 5,
            Self::Memory | Self::Events | Self::CpuGraph | Self::MemoryGraph => 6,
            Self::Pid | Self::Crashes | Self::Uptime => 7,
            Self::State => 9,
            Self::Version => 10,
            Self::Name => 12,
        }
    }

    const fn heading(self) -> &'static str {
        match self {
            Self::Shape => "",
            Self::Name => "PLUGIN",
            Self::State => "STATE",
            Self::Since => "FOR",
            Self::Cpu => "CPU %",
            Self::CpuGraph | Self::MemoryGraph => "",
            Self::CpuP95 => "P95",
            Self::Memory => "MEM MB",
            Self::Events => "EV/S",
            Self::Crashes => "CRASHES",
            Self::Uptime => "UPTIME",
            Self::Version => "VERSION",
            Self::Pid => "PID",
            Self::Processes => "PROCS",
        }
    }

    /// Numbers are aligned right, text left.
    const fn is_number(self) -> bool {
        !matches!(self, Self::Shape | Self::Name | Self::State | Self::Version)
    }

    const fn is_graph(self) -> bool {
        matches!(self, Self::CpuGraph | Self::MemoryGraph)
    }

    const fn order(self) -> Option<Order> {
        Some(match self {
            Self::Shape => Order::Worst,
            Self::Name => Order::Name,
            Self::Cpu => Order::Cpu,
            Self::Memory => Order::Memory,
            Self::Events => Order::Events,
            Self::Crashes => Order::Crashes,
            _ => return None,
        })
    }
}

/// Returns the columns that fit into `room`, from left to right, with their widths; a blank
/// separates two.
pub fn columns(room: u16, longest_name: u16) -> Vec<(Column, u16)> {
    // The last column has no blank after it.
    let mut left = room + 1;
    let mut fits = |column: &Column| {
        let kept = if matches!(column, Column::Version | Column::Pid | Column::Processes) {
            GRAPHS
        } else {
            0
        };
        let rest = left.checked_sub(column.narrowest() + 1).filter(|&rest| rest >= kept);
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    let chosen: Vec<_> = Column::WANTED.into_iter().take_while(&mut fits).collect();
    let mut columns: Vec<_> = Column::ALL
        .into_iter()
        .filter(|column| chosen.contains(column))
        .map(|column| (column, column.narrowest()))
        .collect();
    // The rest goes to the names, as far as they need it, and then to the graphs.
    let mut widen = |wanted: Column, most: u16, left: &mut u16| {
        if let Some((_, width)) = columns.iter_mut().find(|(column, _)| *column == wanted) {
            let more = most.saturating_sub(*width).min(*left);
            (*width, *left) = (*width + more, *left - more);
        }
    };
    widen(Column::Name, longest_name.min(32), &mut left);
    let third = left / 3;
    widen(Column::CpuGraph, Column::CpuGraph.narrowest() + (left - third).min(44), &mut left);
    widen(Column::MemoryGraph, 30, &mut left);
    columns
}

/// Draws the table: its description, the headings, a line for each plugin.
pub fn draw(buf: &mut Buffer, area: Rect, scene: &Scene<'_>, rows: &[Facts<'_>], app: &mut App) {
    let span = scene.span();
    caption(buf, area, scene, app, rows.len());
    let longest = rows.iter().map(|facts| width(facts.view.name())).max().unwrap_or(0);
    let columns = columns(area.width, longest);
    let room = usize::from(area.height.saturating_sub(2));
    app.set_page(room);
    headings(buf, Rect::new(area.x, area.y + 1, area.width, 1), &columns, app);
    if rows.is_empty() && area.height > 2 {
        let message =
            if app.filter.is_empty() { "" } else { "No name has this in it: Esc clears it." };
        buf.set_stringn(area.x + 2, area.y + 2, message, area.width.into(), style::DIM);
    }
    // The selected row is in the middle if there are rows on both sides.
    let first = app.position().saturating_sub(room / 2).min(rows.len().saturating_sub(room));
    let axis = Axis { span, interval: scene.snapshot.poll_interval() };
    for (nth, facts) in rows.iter().enumerate().skip(first).take(room) {
        let y = area.y + 2 + (nth - first) as u16;
        app.places.push((Rect::new(area.x, y, area.width, 1), Place::Row(nth)));
        let mut x = area.x;
        for &(column, width) in &columns {
            cell(buf, Rect::new(x, y, width, 1), column, facts, scene, axis);
            // In reverse video a graph would show the opposite.
            if nth == app.position() && !column.is_graph() {
                let gap = u16::from(x + width < area.right());
                buf.set_style(Rect::new(x, y, width + gap, 1), style::SELECTED);
            }
            x += width + 1;
        }
    }
}

fn caption(buf: &mut Buffer, area: Rect, scene: &Scene<'_>, app: &App, shown: usize) {
    let span = long(scene.span());
    let all = scene.snapshot.plugins().len();
    let order = app.order.words(app.reverse);
    let crashes = last(scene.crash_window());
    let mut message = format!("{order} · graphs, p95: last {span} · crashes: {crashes}/all");
    if app.typing || !app.filter.is_empty() {
        let caret = if app.typing { "▏" } else { "" };
        message = format!("filter /{}{caret}   {shown} of {all} · {message}", app.filter);
    }
    let style = if app.typing { style::BOLD } else { style::DIM };
    put(buf, (area.x, area.y), area.width, &message, style);
}

fn headings(buf: &mut Buffer, line: Rect, columns: &[(Column, u16)], app: &mut App) {
    let mut x = line.x;
    for &(column, width) in columns {
        let heading = column.heading();
        let pad = if column.is_number() { width.saturating_sub(heading.len() as u16) } else { 0 };
        let style = if column.order() == Some(app.order) {
            style::BOLD.add_modifier(ratatui::style::Modifier::UNDERLINED)
        } else {
            style::BOLD
        };
        buf.set_stringn(x + pad, line.y, heading, width.into(), style);
        if let Some(order) = column.order() {
            app.places.push((Rect::new(x, line.y, width, 1), Place::Heading(order)));
        }
        x += width + 1;
    }
}

fn cell(
    buf: &mut Buffer,
    area: Rect,
    column: Column,
    facts: &Facts<'_>,
    scene: &Scene<'_>,
    axis: Axis,
) {
    let view = facts.view;
    let highlight = |is_high| if is_high { style::WARNING } else { style::PLAIN };
    let history = || view.history(scene.window);
    let (message, style) = match column {
        Column::CpuGraph => {
            let columns = axis.columns(history(), area.width, |sample| {
                of_tree(scene.snapshot, sample.cpu_percent, sample.tree_cpu_percent)
            });
            let top = chart::scale(&columns, 100.0);
            return chart::draw(buf, area, &columns, top, style::CPU);
        }
        Column::MemoryGraph => {
            let columns = axis.columns(history(), area.width, |sample| {
                of_tree(scene.snapshot, sample.memory_mb(), sample.tree_memory_mb())
            });
            let top = chart::scale(&columns, LOWEST_TOP_MB);
            return chart::draw(buf, area, &columns, top, style::MEMORY);
        }
        Column::Shape => (style::shape(facts).to_owned(), style::of(facts.attention)),
        Column::Name => (view.name().to_owned(), style::BOLD),
        Column::State => (view.state().to_string(), style::of(facts.attention)),
        Column::Since => (short(facts.since), style::PLAIN),
        Column::Cpu => (percent(facts.cpu), highlight(facts.is_cpu_high())),
        Column::CpuP95 => {
            let all = view.aggregates(scene.window);
            let cpu = all.and_then(|all| of_tree(scene.snapshot, all.cpu, all.tree_cpu));
            (percent(cpu.map(|cpu| cpu.p95)), style::PLAIN)
        }
        Column::Memory => (megabytes(facts.memory_mb), highlight(facts.is_memory_high())),
        Column::Events => (rate(facts.events_per_second), style::PLAIN),
        Column::Crashes => {
            let style = highlight(facts.recent_crashes > 0);
            let (recent, all) = (count(facts.recent_crashes), count(view.crash_count()));
            (if all == "0" { all } else { format!("{recent}/{all}") }, style)
        }
        Column::Uptime => (facts.uptime.map_or_else(|| UNKNOWN.to_owned(), long), style::PLAIN),
        Column::Version => (view.version().unwrap_or(UNKNOWN).to_owned(), style::PLAIN),
        Column::Processes => {
            let count = facts.processes.map(|count| count.to_string());
            (count.unwrap_or_else(|| UNKNOWN.to_owned()), style::PLAIN)
        }
        Column::Pid => {
            (view.pid().map_or_else(|| UNKNOWN.to_owned(), |pid| pid.to_string()), style::PLAIN)
        }
    };
    let pad = if column.is_number() { area.width.saturating_sub(width(&message)) } else { 0 };
    put(buf, (area.x + pad, area.y), area.width - pad, &message, style);
}
