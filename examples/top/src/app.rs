//! The state of the program that keys change: order, filter, selection. No terminal and no clock.

use std::cmp::Ordering;
use std::time::Duration;

use plugmeter::Window;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

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
    /// The index of the first run in the detail pane, counted from the newest.
    pub first_run: usize,
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
            self.first_run = 0;
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
        self.first_run = 0;
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
            KeyCode::PageUp if in_detail => self.first_run = self.first_run.saturating_sub(5),
            // The pane limits it to the number of runs.
            KeyCode::PageDown if in_detail => self.first_run += 5,
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
            KeyCode::Char('t') => self.window = (self.window + 1) % WINDOWS.len(),
            KeyCode::Char(key) => {
                if let Some(order) = Order::of_key(key) {
                    self.order = order;
                }
            }
            _ => {}
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
