//! One line of progress on a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use plugmeter::{Sample, Snapshot};

/// The width of a narrow terminal: a line that wraps cannot be overwritten.
const WIDTH: usize = 79;

/// A line on standard error, overwritten at each new snapshot and erased on drop. If standard error
/// is not a terminal, nothing is written.
#[derive(Debug)]
pub(crate) struct Progress {
    visible: bool,
    start: Instant,
    length: Duration,
    /// The revision of the snapshot that is shown.
    revision: Option<u64>,
}

impl Progress {
    pub(crate) fn of(length: Duration) -> Self {
        Self { visible: io::stderr().is_terminal(), start: Instant::now(), length, revision: None }
    }

    pub(crate) fn show(&mut self, snapshot: &Snapshot) {
        if !self.visible || self.revision == Some(snapshot.revision()) {
            return;
        }
        self.revision = Some(snapshot.revision());
        let line = self.line(snapshot);
        let line: String = line.chars().take(WIDTH).collect();
        write_over(&line);
    }

    fn line(&self, snapshot: &Snapshot) -> String {
        let system = snapshot.system();
        let crashes: u64 = snapshot.plugins().map(|view| view.crash_count()).sum();
        format!(
            "{:.1} of {} s   running {} of {}   events {}   crashes {crashes}   {}",
            self.start.elapsed().as_secs_f64(),
            self.length.as_secs_f64(),
            system.plugins_running,
            system.total_plugins,
            system.total_events,
            busiest(snapshot).unwrap_or_default(),
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.visible {
            write_over("");
        }
    }
}

/// The plugin with the highest CPU usage.
fn busiest(snapshot: &Snapshot) -> Option<String> {
    let share = |sample: Sample<'_>| Some((sample.cpu_percent?, sample.plugin_name.to_owned()));
    snapshot
        .plugins()
        .filter_map(|view| view.current().and_then(share))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(cpu, name)| format!("busiest {name} {cpu:.0} %"))
}

fn write_over(line: &str) {
    // Errors are ignored: the line is only informative.
    let mut out = io::stderr().lock();
    let _ = write!(out, "\r\x1b[K{line}").and_then(|()| out.flush());
}
