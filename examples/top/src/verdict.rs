//! The first lines of the screen: whether there is a problem, which plugin has it, and since when.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::app::{App, Place};
use crate::facts::{Facts, Scene};
use crate::style;
use crate::text::{put, spoken, time_of_day};

/// The width of a name in a sentence.
const NAME: u16 = 24;

/// Returns the verdict in one or two sentences.
pub fn sentence(scene: &Scene<'_>, facts: &[Facts<'_>]) -> (String, Style) {
    let age = spoken(scene.freshness.age);
    if scene.snapshot.is_stopped() {
        return (format!("The collector has stopped. Data {age} old."), style::ERROR);
    }
    if scene.freshness.is_stale {
        let interval = scene.snapshot.poll_interval();
        let message =
            format!("The collector is late: data {age} old, a sample is due every {interval:?}.");
        return (message, style::ERROR);
    }
    if scene.snapshot.tick() == 0 {
        return ("The first sample is still to come.".to_owned(), style::BOLD);
    }
    let bad = facts.iter().filter(|facts| facts.attention.is_some()).count();
    let worst = facts.iter().filter_map(|facts| facts.attention).max();
    let (message, style) = match (bad, facts.len()) {
        (_, 0) => ("No plugin is registered.".to_owned(), style::BOLD),
        (0, 1) => ("The one plugin is well.".to_owned(), style::of(worst)),
        (0, all) => (format!("All {all} plugins are well."), style::of(worst)),
        (1, all) => (format!("1 of {all} needs attention."), style::of(worst)),
        (bad, all) => (format!("{bad} of {all} need attention."), style::of(worst)),
    };
    (format!("{message} Data {age} old."), style)
}

/// The number of lines for problems. It does not depend on their number, so that the lines below do
/// not move.
pub fn lines(plugins: usize, height: u16) -> u16 {
    let most = if height < 20 { height / 6 } else { height / 5 };
    most.min(u16::try_from(plugins).unwrap_or(u16::MAX))
}

/// Draws the sentence in the first line of `area`, and below it the problems, the worst first.
pub fn draw(buf: &mut Buffer, area: Rect, scene: &Scene<'_>, facts: &[Facts<'_>], app: &mut App) {
    let (message, style) = sentence(scene, facts);
    let shape = if style == style::ERROR {
        "✗"
    } else if style == style::WARNING {
        "▲"
    } else {
        "●"
    };
    buf.set_stringn(area.x, area.y, shape, 1, style);
    let bold = style.patch(style::BOLD);
    let (end, _) =
        buf.set_stringn(area.x + 2, area.y, message, area.width.saturating_sub(2).into(), bold);
    let clock = time_of_day(scene.now);
    let width = clock.len() as u16;
    if end + 2 + width <= area.right() {
        buf.set_stringn(area.right() - width, area.y, clock, width.into(), style::DIM);
    }
    let mut bad: Vec<_> = facts.iter().filter(|facts| facts.attention.is_some()).collect();
    bad.sort_by(|a, b| a.by_need(b).then_with(|| a.view.name().cmp(b.view.name())));
    let lines = usize::from(area.height.saturating_sub(1));
    let listed = if bad.len() > lines { lines.saturating_sub(1) } else { bad.len() };
    for (y, facts) in (area.y + 1..).zip(&bad[..listed]) {
        let line = Rect::new(area.x, y, area.width, 1);
        messages_line(buf, line, facts);
        app.places.push((line, Place::Problem(facts.view.name().to_owned())));
    }
    let rest = bad.len() - listed;
    if rest > 0 && lines > 0 {
        let y = area.y + 1 + listed as u16;
        let message =
            if listed > 0 { format!("and {rest} more") } else { format!("{rest} in the table") };
        buf.set_stringn(area.x + 2, y, message, area.width.into(), style::DIM);
    }
}

/// The problems of one plugin, in one line.
fn messages_line(buf: &mut Buffer, line: Rect, facts: &Facts<'_>) {
    let Rect { x, y, width, .. } = line;
    buf.set_stringn(x, y, style::shape(facts), 1, style::of(facts.attention));
    let end =
        put(buf, (x + 2, y), NAME.min(width.saturating_sub(2)), facts.view.name(), style::BOLD);
    let left = width.saturating_sub(end - x);
    put(buf, (end, y), left, &format!(": {}", facts.messages.join("; ")), style::PLAIN);
}
