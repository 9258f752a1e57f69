//! The whole screen: a pure function of the snapshot, its age, and the state that keys change.

use plugmeter::Snapshot;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::app::{App, Pane};
use crate::facts::{CPU_LIMIT, Freshness, MEMORY_LIMIT_MB, Scene};
use crate::text::{put, wrap};
use crate::{detail, style, table, verdict};

/// A smaller screen stays empty, because nothing on it would be readable.
const SMALLEST: (u16, u16) = (32, 8);

/// Draws the snapshot.
pub fn draw(buf: &mut Buffer, snapshot: &Snapshot, freshness: Freshness, app: &mut App) {
    let area = buf.area;
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let (width, height) = SMALLEST;
        let message = format!("needs {width} x {height}");
        put(buf, (area.x, area.y), area.width, &message, style::PLAIN);
        return;
    }
    app.places.clear();
    let scene = Scene::new(snapshot, freshness, app.window());
    let facts = scene.facts();
    let rows = app.arrange(facts.clone());
    let foot = Rect::new(area.x, area.bottom() - 1, area.width, 1);
    let finding_lines =
        if app.pane == Pane::Table { verdict::lines(facts.len(), area.height) } else { 0 };
    let top = Rect { height: 1 + finding_lines, ..area };
    verdict::draw(buf, top, &scene, &facts, app);
    let body = Rect { y: top.bottom(), height: foot.y - top.bottom(), ..area };
    match app.pane {
        Pane::Table => table::draw(buf, body, &scene, &rows, app),
        Pane::Detail => {
            let body = Rect { y: body.y + 1, height: body.height - 1, ..body };
            if let Some(facts) = rows.get(app.position()) {
                detail::draw(buf, body, &scene, facts, app);
            }
        }
        Pane::Help => help(buf, body),
    }
    footer(buf, foot, snapshot, app);
}

/// Draws the keys on the left and the sampler's own cost on the right.
fn footer(buf: &mut Buffer, line: Rect, snapshot: &Snapshot, app: &App) {
    let stats = snapshot.sampler();
    let mut cost = match stats.overhead_percent {
        Some(percent) => format!("sampler {percent:.3} % of a core"),
        None => "sampler's cost unknown".to_owned(),
    };
    for (lost, what) in [(stats.missed_ticks, "late ticks"), (stats.failed_reads, "failed reads")] {
        if lost > 0 {
            cost += &format!(", {lost} {what}");
        }
    }
    let keys: &[&str] = match app.pane {
        _ if app.typing => &["type a part of the name", "Enter keeps it", "Esc clears it"],
        Pane::Table => &[
            "q quit",
            "? help",
            "↑↓ select",
            "Enter detail",
            "/ filter",
            "wncmex sort",
            "r reverse",
            "t time",
        ],
        Pane::Detail => {
            &["q quit", "Esc back", "↑↓ next plugin", "p processes", "t time", "PageDown more"]
        }
        Pane::Help => &["q quit", "any other key: back"],
    };
    let width = cost.chars().count() as u16;
    let cost_at = line.right().saturating_sub(width);
    put(buf, (cost_at, line.y), width, &cost, style::DIM);
    let mut x = line.x;
    for key in keys {
        let end = x + key.chars().count() as u16;
        if end + 2 > cost_at {
            break;
        }
        put(buf, (x, line.y), end - x, key, style::PLAIN);
        x = end + 3;
    }
}

fn help(buf: &mut Buffer, area: Rect) {
    let meaning = [
        "✗  down, crashing again and again, or using half the machine".to_owned(),
        format!(
            "▲  CPU over {CPU_LIMIT} % of one core, memory over {MEMORY_LIMIT_MB} MB, or more than \
             ever; silent, unhealthy, not to be measured, or crashed in the last hour"
        ),
        "●  well     ○  well, and does not run     –  not known".to_owned(),
        String::new(),
    ];
    let keys = [
        ("↑ ↓ k j", "select a plugin; so do PageUp, PageDown, Home, End"),
        ("Enter", "its details: limits, graphs, versions, runs and how they ended"),
        ("p", "in the details: the processes of the tree instead of the runs"),
        ("/", "show those with this in their name; Esc: all again"),
        ("w n c m e x", "sort by worst, name, CPU, memory, events, crashes"),
        ("r", "reverse the order"),
        ("t", "graphs and p95 of: the whole history, 10 minutes, 1 minute"),
        ("Esc", "a step back, and out"),
        (
            "mouse",
            "a click selects, opens or sorts, the wheel scrolls, the right button goes back; Shift selects text",
        ),
        ("q, Ctrl-C", "quit; Ctrl-Z: suspend, until fg in the shell"),
    ];
    let words = [
        "",
        "CPU is in percent of one core: four busy threads read 400.",
        "CPU and memory include descendants; shared pages of memory count in each.",
        "EV/S: events per second, last minute. P95: 95 % of samples are below it.",
    ];
    let mut y = area.y + 1;
    let mut lines = |key: &str, message: &str| {
        let indent = if key.is_empty() { 2 } else { 15 };
        put(buf, (area.x + 2, y), 12, key, style::PLAIN);
        for line in wrap(message, area.width.saturating_sub(indent)) {
            if y < area.bottom() {
                put(buf, (area.x + indent, y), area.width, &line, style::PLAIN);
            }
            y += 1;
        }
    };
    meaning.iter().for_each(|message| lines("", message));
    keys.iter().for_each(|(key, what)| lines(key, what));
    words.iter().for_each(|message| lines("", message));
}
