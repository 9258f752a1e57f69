//! The state of the program that keys change: order, filter, selection. No terminal and no clock.

use std::cmp::Ordering;
use std::time::Duration;

use plugmeter::Window;
use ratatui::crossterm::event::{
    KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::{Position, Rect};

use crate::facts::{Facts, larger_first};

/// The sort order of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Worst,
    Name,
    Cpu,
    Memory,
    Events,
    Crashes,
}

impl Order {
    const fn of_key(key: char) -> Option<Self> {
        Some(match key {
            'w' => Self::Worst,
            'n' => Self::Name,
            'c' => Self::Cpu,
            'm' => Self::Memory,
            'e' => Self::Events,
            'x' => Self::Crashes,
            _ => return None,
        })
    }

    /// Its description above the table.
    pub const fn words(self, reverse: bool) -> &'static str {
        match (self, reverse) {
            (Self::Worst, false) => "worst first",
            (Self::Worst, true) => "worst last",
            (Self::Name, false) => "by name",
            (Self::Name, true) => "by name, reversed",
            (Self::Cpu, false) => "most CPU first",
            (Self::Cpu, true) => "least CPU first",
            (Self::Memory, false) => "most memory first",
            (Self::Memory, true) => "least memory first",
            (Self::Events, false) => "most events first",
            (Self::Events, true) => "fewest events first",
            (Self::Crashes, false) => "most crashes first",
            (Self::Crashes, true) => "fewest crashes first",
        }
    }

    /// `reverse` inverts the order of known values; unknown values stay last.
    fn compare(self, reverse: bool, a: &Facts<'_>, b: &Facts<'_>) -> Ordering {
        let turn = |order: Ordering| if reverse { order.reverse() } else { order };
        let values = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(_), Some(_)) => turn(larger_first(a, b)),
            _ => larger_first(a, b),
        };
        let crashes = |facts: &Facts<'_>| (facts.recent_crashes, facts.view.crash_count());
        let order = match self {
            Self::Worst => turn(a.by_need(b)),
            Self::Name => turn(a.view.name().cmp(b.view.name())),
            Self::Cpu => values(a.cpu, b.cpu),
            Self::Memory => values(a.memory_mb, b.memory_mb),
            Self::Events => values(a.events_per_second, b.events_per_second),
            Self::Crashes => turn(crashes(b).cmp(&crashes(a))),
        };
        order.then_with(|| a.view.name().cmp(b.view.name()))
    }
}

/// The part of the program that fills the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    #[default]
    Table,
    Detail,
    Help,
}

/// The lower part of the detail pane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lower {
    #[default]
    Runs,
    Processes,
}

/// What a click acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The row of the table at this position.
    Row(usize),
    /// The heading of a column.
    Heading(Order),
    /// The problems of the plugin with this name.
    Problem(String),
}

/// The effect of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Quit,
    Suspend,
    GoOn,
}

/// The windows of graphs and p95 that a key selects.
const WINDOWS: [Window; 3] =
    [Window::All, Window::Last(Duration::from_secs(600)), Window::Last(Duration::from_secs(60))];

#[derive(Debug, Default)]
pub struct App {
    pub order: Order,
    pub reverse: bool,
    pub filter: String,
    /// Whether keys edit the filter.
    pub typing: bool,
    pub pane: Pane,
    pub lower: Lower,
    /// The index of the first line in the lower part of the detail pane: a run, counted from the
    /// newest, or a process.
    pub first_line: usize,
    /// The parts of the screen that a click acts on, as last drawn.
    pub places: Vec<(Rect, Place)>,
    window: usize,
    /// The name of the selected plugin: the selection follows it when the order changes.
    selected: Option<String>,
    /// Its last known position.
    position: usize,
    /// The names in the order last shown.
    names: Vec<String>,
    /// The number of table rows on the screen.
    page: usize,
}

impl App {
    pub fn window(&self) -> Window {
        WINDOWS[self.window % WINDOWS.len()]
    }

    /// The position of the selection in the result of [`arrange`](Self::arrange).
    pub const fn position(&self) -> usize {
        self.position
    }

    pub const fn set_page(&mut self, rows: usize) {
        self.page = rows;
    }

    /// Returns the plugins to show, in order. The selection follows its plugin; if that is gone,
    /// the plugin at its position is selected.
    pub fn arrange<'a>(&mut self, mut facts: Vec<Facts<'a>>) -> Vec<Facts<'a>> {
        let filter = self.filter.to_lowercase();
        facts.retain(|facts| facts.view.name().to_lowercase().contains(&filter));
        facts.sort_by(|a, b| self.order.compare(self.reverse, a, b));
        self.names = facts.iter().map(|facts| facts.view.name().to_owned()).collect();
        let found = self.names.iter().position(|name| Some(name) == self.selected.as_ref());
        if found.is_none() {
            // Otherwise the pane would show another plugin.
            self.first_line = 0;
            if self.pane == Pane::Detail {
                self.pane = Pane::Table;
            }
        }
        // Until a key moves the selection, the first row is selected.
        self.select(found.unwrap_or(self.position), self.selected.is_some());
        facts
    }

    fn select(&mut self, position: usize, by_name: bool) {
        self.position = position.min(self.names.len().saturating_sub(1));
        if by_name {
            self.selected = self.names.get(self.position).cloned().or(self.selected.take());
        }
    }

    fn go(&mut self, to: usize) {
        self.first_line = 0;
        self.select(to, true);
    }

    pub fn key(&mut self, key: KeyEvent) -> After {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'C')) {
            return After::Quit;
        }
        // In raw mode the terminal sends the key rather than a signal.
        if control && matches!(key.code, KeyCode::Char('z' | 'Z')) {
            return After::Suspend;
        }
        match key.code {
            code if self.typing => self.type_filter(code, control),
            KeyCode::Char('q') => return After::Quit,
            KeyCode::Esc => return self.back(),
            // Any key closes the help.
            _ if self.pane == Pane::Help => self.pane = Pane::Table,
            KeyCode::Char('?') => self.pane = Pane::Help,
            code => self.command(code),
        }
        After::GoOn
    }

    fn command(&mut self, key: KeyCode) {
        let page = self.page.max(1);
        let in_detail = self.pane == Pane::Detail;
        match key {
            KeyCode::Up | KeyCode::Char('k') => self.go(self.position.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.go(self.position + 1),
            KeyCode::PageUp if in_detail => self.first_line = self.first_line.saturating_sub(5),
            // The pane limits it to the number of lines.
            KeyCode::PageDown if in_detail => self.first_line += 5,
            KeyCode::PageUp => self.go(self.position.saturating_sub(page)),
            KeyCode::PageDown => self.go(self.position + page),
            KeyCode::Home => self.go(0),
            KeyCode::End => self.go(usize::MAX),
            KeyCode::Enter if in_detail => self.pane = Pane::Table,
            KeyCode::Enter if !self.names.is_empty() => {
                self.go(self.position);
                self.pane = Pane::Detail;
            }
            KeyCode::Char('/') => (self.pane, self.typing) = (Pane::Table, true),
            KeyCode::Char('r') => self.reverse = !self.reverse,
            KeyCode::Char('p') if in_detail => {
                self.first_line = 0;
                self.lower = match self.lower {
                    Lower::Runs => Lower::Processes,
                    Lower::Processes => Lower::Runs,
                };
            }
            KeyCode::Char('t') => self.window = (self.window + 1) % WINDOWS.len(),
            KeyCode::Char(key) => {
                if let Some(order) = Order::of_key(key) {
                    self.order = order;
                }
            }
            _ => {}
        }
    }

    /// A click selects a row, opens the selected one, sorts by a column, or opens a problem; the right
    /// button goes back; the wheel moves the selection, or the lines of the detail pane. Returns
    /// whether the screen may have changed.
    pub fn mouse(&mut self, event: MouseEvent) -> bool {
        let in_detail = self.pane == Pane::Detail;
        match event.kind {
            MouseEventKind::ScrollUp if in_detail => {
                self.first_line = self.first_line.saturating_sub(1);
            }
            MouseEventKind::ScrollDown if in_detail => self.first_line += 1,
            MouseEventKind::ScrollUp => self.go(self.position.saturating_sub(1)),
            MouseEventKind::ScrollDown => self.go(self.position + 1),
            MouseEventKind::Down(MouseButton::Right) => self.pane = Pane::Table,
            MouseEventKind::Down(MouseButton::Left) => {
                self.typing = false;
                let at = Position::new(event.column, event.row);
                let place = self.places.iter().find(|(area, _)| area.contains(at));
                match place.map(|(_, place)| place.clone()) {
                    Some(place) => self.click(place),
                    None if self.pane == Pane::Help => self.pane = Pane::Table,
                    None => {}
                }
            }
            _ => return false,
        }
        true
    }

    fn click(&mut self, place: Place) {
        match place {
            Place::Row(position) if position == self.position && self.selected.is_some() => {
                self.first_line = 0;
                self.pane = Pane::Detail;
            }
            Place::Row(position) => self.go(position),
            Place::Heading(order) => {
                self.reverse = order == self.order && !self.reverse;
                self.order = order;
            }
            Place::Problem(name) => {
                // The filter may hide it.
                if !name.to_lowercase().contains(&self.filter.to_lowercase()) {
                    self.filter.clear();
                }
                self.selected = Some(name);
                self.first_line = 0;
                self.pane = Pane::Detail;
            }
        }
    }

    fn type_filter(&mut self, key: KeyCode, control: bool) {
        match key {
            KeyCode::Esc => {
                self.filter.clear();
                self.typing = false;
            }
            KeyCode::Enter => self.typing = false,
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char('u') if control => self.filter.clear(),
            // Names contain no control characters.
            KeyCode::Char(ch) if !control && !ch.is_control() => self.filter.push(ch),
            _ => {}
        }
    }

    /// Goes one step back, or quits from the table.
    fn back(&mut self) -> After {
        match self.pane {
            Pane::Help | Pane::Detail => self.pane = Pane::Table,
            Pane::Table if !self.filter.is_empty() => self.filter.clear(),
            Pane::Table => return After::Quit,
        }
        After::GoOn
    }
}
