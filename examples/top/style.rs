//! Colours, and the shapes that say the same to who does not see them.

use ratatui::style::{Color, Modifier, Style};

use crate::facts::{Facts, Severity};

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
pub(crate) const DIM: Style = Style::new().add_modifier(Modifier::DIM);
pub(crate) const ERROR: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
pub(crate) const WARNING: Style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);
pub(crate) const FINE: Style = Style::new().fg(Color::Green);
pub(crate) const CPU: Style = Style::new().fg(Color::Cyan);
pub(crate) const MEMORY: Style = Style::new().fg(Color::Magenta);
pub(crate) const SELECTED: Style = Style::new().fg(Color::Reset).add_modifier(Modifier::REVERSED);

pub(crate) const fn of(severity: Severity) -> Style {
    match severity {
        Severity::Error => ERROR,
        Severity::Warning => WARNING,
        Severity::Fine => FINE,
    }
}

/// Each severity has a shape of its own, and so has a plugin that is well but does not run.
pub(crate) fn shape(facts: &Facts<'_>) -> &'static str {
    match facts.severity {
        Severity::Error => "✗",
        Severity::Warning => "▲",
        Severity::Fine if facts.view.run().is_some() => "●",
        Severity::Fine => "○",
    }
}
