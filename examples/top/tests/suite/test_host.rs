//! Plugins with habits, in simulated time, and the screen that shows them.

use std::collections::HashMap;
use std::time::Duration;

use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Config, Plugin};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use plugmeter_top::app::{After, App};
use plugmeter_top::facts::Freshness;
use plugmeter_top::screen;

/// From one sample to the next.
pub(crate) const POLL: Duration = Duration::from_secs(5);

/// What a process does from its first tick on.
#[derive(Clone, Copy)]
struct Habit {
    /// Of one core.
    percent: u64,
    mb: u64,
    /// Percent of one core, MB and number of its descendants.
    descendants: Option<(u64, u64, u32)>,
    cpu_time: Duration,
    tree_cpu_time: Duration,
    end: Option<Observed>,
}

pub(crate) struct TestHost {
    pub sim: Simulation,
    plugins: HashMap<String, Plugin>,
    habits: HashMap<u32, Habit>,
}

impl TestHost {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        let sim = Simulation::new(config.poll_interval(POLL)).unwrap();
        Self { sim, plugins: HashMap::new(), habits: HashMap::new() }
    }

    pub(crate) fn plugin(&mut self, name: &str) -> &Plugin {
        let sim = &self.sim;
        let register = || sim.register(name).unwrap();
        self.plugins.entry(name.to_owned()).or_insert_with(register)
    }

    /// The plugin runs as this process, which uses so much.
    pub(crate) fn run(&mut self, name: &str, pid: u32, percent: u64, mb: u64) -> plugmeter::RunId {
        let habit = Habit {
            percent,
            mb,
            descendants: None,
            cpu_time: Duration::ZERO,
            tree_cpu_time: Duration::ZERO,
            end: None,
        };
        self.habits.insert(pid, habit);
        self.plugin(name).started(pid, &format!("v{pid}"))
    }

    /// From now on it uses so much.
    pub(crate) fn change(&mut self, pid: u32, percent: u64, mb: u64) {
        let habit = self.habits.get_mut(&pid).unwrap();
        (habit.percent, habit.mb) = (percent, mb);
    }

    /// From now on it has descendants that use so much.
    pub(crate) fn set_descendants(&mut self, pid: u32, percent: u64, mb: u64, count: u32) {
        self.habits.get_mut(&pid).unwrap().descendants = Some((percent, mb, count));
    }

    /// The next tick finds this.
    pub(crate) fn end(&mut self, pid: u32, end: Observed) {
        self.habits.get_mut(&pid).unwrap().end = Some(end);
    }

    pub(crate) fn ticks(&mut self, ticks: u32) {
        for _ in 0..ticks {
            let habits = &mut self.habits;
            self.sim.tick(|pid| {
                let habit = habits.get_mut(&pid).unwrap();
                habit.cpu_time += POLL * habit.percent as u32 / 100;
                let usage = Usage { cpu_time: habit.cpu_time, memory_bytes: habit.mb << 20 };
                let alive = match habit.descendants {
                    None => Observed::Running(usage),
                    Some((percent, mb, count)) => {
                        habit.tree_cpu_time += POLL * percent as u32 / 100;
                        let tree = Usage {
                            cpu_time: habit.cpu_time + habit.tree_cpu_time,
                            memory_bytes: (habit.mb + mb) << 20,
                        };
                        Observed::RunningTree { main: usage, tree, processes: count + 1 }
                    }
                };
                habit.end.unwrap_or(alive)
            });
        }
    }

    /// The lines of a screen of that size, `age` after the tick.
    pub(crate) fn lines(&self, app: &mut App, size: (u16, u16), age: Duration) -> Vec<String> {
        let buf = self.buffer(app, size, age);
        let line = |y| (0..size.0).map(|x| buf[(x, y)].symbol()).collect::<String>();
        (0..size.1).map(|y| line(y).trim_end().to_owned()).collect()
    }

    pub(crate) fn buffer(
        &self,
        app: &mut App,
        (width, height): (u16, u16),
        age: Duration,
    ) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let snapshot = self.sim.snapshot();
        // By the definition of stale: three intervals and a second.
        let is_stale = age > 3 * POLL + Duration::from_secs(1);
        let freshness = Freshness { age, is_stale };
        terminal.draw(|frame| screen::draw(frame.buffer_mut(), &snapshot, freshness, app)).unwrap();
        terminal.backend().buffer().clone()
    }

    /// The names in the table, from the top.
    pub(crate) fn order(&self, app: &mut App) -> Vec<String> {
        let lines = self.lines(app, (80, 40), Duration::ZERO);
        let heading = lines.iter().position(|line| line.starts_with("  PLUGIN")).unwrap();
        let rows = lines[heading + 1..].iter().take_while(|line| !line.is_empty());
        rows.map(|row| row.split_whitespace().nth(1).unwrap().to_owned()).collect()
    }
}

/// Presses keys one after the other; the last one's effect.
pub(crate) fn press(app: &mut App, keys: impl IntoIterator<Item = KeyCode>) -> After {
    let mut after = After::GoOn;
    for key in keys {
        after = app.key(KeyEvent::new(key, KeyModifiers::NONE));
    }
    after
}

/// Types a text.
pub(crate) fn type_text(app: &mut App, text: &str) -> After {
    press(app, text.chars().map(KeyCode::Char))
}

/// The words of the line that has `name` in it, below the headings.
pub(crate) fn row<'l>(lines: &'l [String], name: &str) -> Vec<&'l str> {
    let heading = lines.iter().position(|line| line.starts_with("  PLUGIN")).unwrap();
    let row = lines[heading..].iter().find(|line| line.contains(name));
    row.unwrap_or_else(|| panic!("no {name} in {lines:#?}")).split_whitespace().collect()
}
