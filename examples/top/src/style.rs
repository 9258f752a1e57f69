//! Colours, and shapes with the same meaning for readers who do not see colours.

use plugmeter::findings::Severity;
use ratatui::style::{Color, Modifier, Style};

use crate::facts::Facts;

pub const PLAIN: Style = Style::new();
pub const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
pub const DIM: Style = Style::new().add_modifier(Modifier::DIM);
pub const ERROR: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
pub const WARNING: Style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);
pub const FINE: Style = Style::new().fg(Color::Green);
pub const CPU: Style = Style::new().fg(Color::Cyan);
pub const MEMORY: Style = Style::new().fg(Color::Magenta);
pub const SELECTED: Style = Style::new().fg(Color::Reset).add_modifier(Modifier::REVERSED);

/// The colour of a plugin.
pub const fn of(attention: Option<Severity>) -> Style {
    match attention {
        Some(Severity::Critical) => ERROR,
        Some(_) => WARNING,
        None => FINE,
    }
}

/// A shape for each severity, and one for a plugin without problems that does not run.
pub fn shape(facts: &Facts<'_>) -> &'static str {
    match facts.attention {
        Some(Severity::Critical) => "✗",
        Some(_) => "▲",
        None if facts.view.run().is_some() => "●",
        None => "○",
    }
}
