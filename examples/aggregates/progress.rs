//! A progress line for the terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use plugmeter::{Sample, Snapshot};

/// The width of the line in characters: a wrapped line could not be overwritten.
const MAX_WIDTH: usize = 79;

/// A line on standard error that each new snapshot overwrites, and that is erased on drop. Nothing
/// is written if standard error is not a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    is_visible: bool,
    start: Instant,
    length: Duration,
    /// The revision of the snapshot that is shown.
    revision: Option<u64>,
}

impl Progress {
    pub(crate) fn new(length: Duration) -> Self {
        let is_visible = io::stderr().is_terminal();
        Self { is_visible, start: Instant::now(), length, revision: None }
    }

    pub(crate) fn show(&mut self, snapshot: &Snapshot) {
        if !self.is_visible || self.revision == Some(snapshot.revision()) {
            return;
        }
        self.revision = Some(snapshot.revision());
        let line = self.line(snapshot);
        let line: String = line.chars().take(MAX_WIDTH).collect();
        overwrite_line(&line);
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
        if self.is_visible {
            overwrite_line("");
        }
    }
}

/// The plugin whose process tree has the highest CPU percentage.
fn busiest(snapshot: &Snapshot) -> Option<String> {
    let cpu = |sample: &Sample<'_>| sample.tree_cpu_percent.or(sample.cpu_percent);
    let share = |sample: Sample<'_>| Some((cpu(&sample)?, sample.plugin_name.to_owned()));
    snapshot
        .plugins()
        .filter_map(|view| view.current().and_then(share))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(cpu, name)| format!("busiest {name} {cpu:.0} %"))
}

fn overwrite_line(line: &str) {
    // Ignored: the progress is optional.
    let mut out = io::stderr().lock();
    let _ = write!(out, "\r\x1b[K{line}").and_then(|()| out.flush());
}
