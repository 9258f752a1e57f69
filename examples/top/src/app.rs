//! What the operator has asked for: order, filter, selection. No terminal and no clock.

use std::cmp::Ordering;
use std::time::Duration;

use plugmeter::Window;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::facts::{Facts, larger_first};

/// What the table is sorted by.
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

    /// How the table says it.
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

    /// `reverse` turns the order of what is known; what is not known stays last.
    fn compare(self, reverse: bool, a: &Facts<'_>, b: &Facts<'_>) -> Ordering {
        let turn = |order: Ordering| if reverse { order.reverse() } else { order };
        let values = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(_), Some(_)) => turn(larger_first(a, b)),
            _ => larger_first(a, b),
        };
        let crashes = |facts: &Facts<'_>| (facts.crashes_lately, facts.view.crash_count());
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

/// What fills the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    #[default]
    Table,
    Detail,
    Help,
}

/// What a key has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Quit,
    GoOn,
}

/// How far back graphs and p95 go, at the operator's choice.
const WINDOWS: [Window; 3] =
    [Window::All, Window::Last(Duration::from_secs(600)), Window::Last(Duration::from_secs(60))];

#[derive(Debug, Default)]
pub struct App {
    pub order: Order,
    pub reverse: bool,
    pub filter: String,
    /// Keys go to the filter.
    pub typing: bool,
    pub pane: Pane,
    /// The first of the runs that the detail pane shows, counted from the newest.
    pub first_run: usize,
    window: usize,
    /// The plugin that is selected, by name: it stays so wherever it moves.
    selected: Option<String>,
    /// Where it was when it was last seen.
    position: usize,
    /// As they were shown last.
    names: Vec<String>,
    /// Rows of the table on the screen.
    page: usize,
}

impl App {
    pub fn window(&self) -> Window {
        WINDOWS[self.window % WINDOWS.len()]
    }

    /// Where the selection is in what [`arrange`](Self::arrange) returned.
    pub const fn position(&self) -> usize {
        self.position
    }

    pub const fn set_page(&mut self, rows: usize) {
        self.page = rows;
    }

    /// The plugins to show, in their order. The selection follows its plugin; where that is gone,
    /// whoever has taken its place is selected.
    pub fn arrange<'a>(&mut self, mut facts: Vec<Facts<'a>>) -> Vec<Facts<'a>> {
        let filter = self.filter.to_lowercase();
        facts.retain(|facts| facts.view.name().to_lowercase().contains(&filter));
        facts.sort_by(|a, b| self.order.compare(self.reverse, a, b));
        self.names = facts.iter().map(|facts| facts.view.name().to_owned()).collect();
        let found = self.names.iter().position(|name| Some(name) == self.selected.as_ref());
        if found.is_none() {
            // Its pane would show another plugin.
            self.first_run = 0;
            if self.pane == Pane::Detail {
                self.pane = Pane::Table;
            }
        }
        // Until somebody selects, the first row is selected, whichever it is.
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
        match key.code {
            code if self.typing => self.type_filter(code, control),
            KeyCode::Char('q') => return After::Quit,
            KeyCode::Esc => return self.back(),
            // Any key ends the help.
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
            // The pane knows how many there are.
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
            // What no name has.
            KeyCode::Char(ch) if !control && !ch.is_control() => self.filter.push(ch),
            _ => {}
        }
    }

    /// One step back; out, where there is none.
    fn back(&mut self) -> After {
        match self.pane {
            Pane::Help | Pane::Detail => self.pane = Pane::Table,
            Pane::Table if !self.filter.is_empty() => self.filter.clear(),
            Pane::Table => return After::Quit,
        }
        After::GoOn
    }
}
