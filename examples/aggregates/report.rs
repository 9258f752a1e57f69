//! The report at the end, as text or as JSON.

use std::fmt;
use std::time::SystemTime;

use plugmeter::{
    Aggregates, PluginView, Run, Sample, SamplerStats, Snapshot, SystemMetrics, VersionUsage,
    Window,
};
use plugmeter_demo::Role;
use serde::Serialize;

use crate::options::Options;

/// Runs listed per plugin in the text: the newest ones.
const MAX_RUNS: usize = 8;

/// The text before the run.
pub(crate) fn introduction(options: &Options) -> String {
    let Options { length, interval, .. } = options;
    let time = format!("for {length:?}, with a sample every {interval:?}");
    match options.processes.len() {
        0 => {
            let habits = Role::ALL.map(|role| format!("  {:<7}  {}\n", role.name(), role.habit()));
            format!("Six plugins, each a child process, {time}:\n\n{}", habits.concat())
        }
        1 => format!("One process, {time}.\n"),
        many => format!("{many} processes, {time}.\n"),
    }
}

/// The report of two snapshots: one taken while all processes were alive, for the values, and one
/// taken after the stop, for the ends of the runs.
pub(crate) struct Report {
    closing: Snapshot,
    ended: Snapshot,
    window: Window,
}

impl Report {
    pub(crate) fn new(closing: Snapshot, ended: Snapshot, window: Window) -> Self {
        Self { closing, ended, window }
    }

    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&self.document())
    }

    fn document(&self) -> Document<'_> {
        Document {
            plugins: self.closing.plugins().map(|view| self.plugin(view)).collect(),
            system: self.closing.system(),
            sampler: self.closing.sampler(),
        }
    }

    fn plugin<'a>(&'a self, view: PluginView<'a>) -> PluginDocument<'a> {
        PluginDocument {
            current: view.current(),
            aggregates: view.aggregates(self.window),
            versions: view.versions(self.window),
            runs: self.runs(view.name()).collect(),
        }
    }

    /// The runs of a plugin, oldest first.
    fn runs(&self, name: &str) -> impl Iterator<Item = &Run> {
        self.ended.plugin(name).into_iter().flat_map(|view| view.runs())
    }
}

/// The report as text.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The newest values before the stop:\n")?;
        writeln!(f, "{}\n", self.closing)?;
        match self.window {
            Window::All => writeln!(f, "Each plugin over the whole run:\n")?,
            Window::Last(last) => writeln!(f, "Each plugin over the last {last:?}:\n")?,
        }
        for view in self.closing.plugins() {
            self.write_plugin(f, view)?;
        }
        writeln!(f, "Findings:\n\n{}\n", self.closing.findings())?;
        self.write_reload(f)?;
        self.write_maxima(f)?;
        writeln!(f, "Totals           {}", self.closing.system())?;
        write!(f, "Sampler          {}", cost(&self.closing.sampler()))
    }
}

impl Report {
    fn write_plugin(&self, f: &mut fmt::Formatter<'_>, view: PluginView<'_>) -> fmt::Result {
        match view.aggregates(self.window) {
            Some(aggregates) => writeln!(f, "{aggregates}")?,
            None => writeln!(f, "{}: no sample", view.name())?,
        }
        if let Some(error) = view.read_error() {
            writeln!(f, "  read error  {error}")?;
        }
        let runs: Vec<&Run> = self.runs(view.name()).collect();
        let hidden = runs.len().saturating_sub(MAX_RUNS);
        if hidden > 0 {
            writeln!(f, "  runs    {hidden} earlier, not listed")?;
        }
        for run in &runs[hidden..] {
            writeln!(f, "  run     {}", run_line(run, self.ended.sampled_at()))?;
        }
        // The CPU time of a run is that of its process alone.
        let descendants = view.tree_cpu_time().saturating_sub(view.cpu_time());
        if !descendants.is_zero() {
            let cpu = descendants.as_secs_f64();
            writeln!(f, "  descendants {cpu:>35.2} s of CPU, also of those that have ended")?;
        }
        writeln!(f)
    }

    /// The report of the plugin that was reloaded: its second version costs more per event.
    fn write_reload(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.closing.plugin(Role::Events.name()) {
            Some(view) => {
                writeln!(f, "A plugin that was reloaded, as a message for a chat:\n")?;
                writeln!(f, "{}\n", view.report(self.window))
            }
            None => Ok(()),
        }
    }

    /// The plugins with the largest aggregates.
    fn write_maxima(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((cpu, name)) =
            self.largest(|_, all| all.tree_cpu.or(all.cpu).map(|cpu| cpu.avg))
        {
            writeln!(f, "Most CPU         {name}: {cpu:.1} % of a core on average")?;
        }
        let increase = |view: PluginView<'_>, _: &Aggregates| {
            Some(view.memory_change(self.window)?.bytes() as f64 / 1_048_576.0)
        };
        if let Some((mb, name)) = self.largest(increase) {
            writeln!(f, "Memory increase  {name}: {mb:.1} MB in its current run")?;
        }
        if let Some((rate, name)) = self.largest(|_, all| Some(all.events_per_second)) {
            writeln!(f, "Most events      {name}: {rate:.0} per second")?;
        }
        if let Some((crashes, name)) = self.largest(|_, all| Some(all.crashes as f64)) {
            writeln!(f, "Most crashes     {name}: {crashes}")?;
        }
        Ok(())
    }

    /// The plugin with the largest `value`, and that value; `None` if none is above 0.
    fn largest(
        &self,
        value: impl Fn(PluginView<'_>, &Aggregates) -> Option<f64>,
    ) -> Option<(f64, &str)> {
        self.closing
            .plugins()
            .filter_map(|view| {
                let value = value(view, &view.aggregates(self.window)?)?;
                (value > 0.0).then_some((value, view.name()))
            })
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
    }
}

/// One run, in one line.
fn run_line(run: &Run, now: SystemTime) -> String {
    let version = run.version.as_deref().unwrap_or("-");
    let until = run.ended_at.unwrap_or(now);
    // The wall clock may have been set back since the report.
    let length = until.duration_since(run.reported_at).unwrap_or_default().as_secs_f64();
    let cpu = match run.cpu_time {
        Some(cpu) => format!("{:6.2} s of CPU", cpu.as_secs_f64()),
        None => format!("{:>6}", "-"),
    };
    let end = run.end.map_or_else(|| "still running".to_owned(), |end| end.to_string());
    format!("{version:<4}  pid {:<7}  for {length:6.2} s  {cpu}  {end}", run.pid)
}

/// The cost of sampling.
fn cost(sampler: &SamplerStats) -> String {
    let SamplerStats {
        ticks, missed_ticks, last_tick_duration, cpu_time, overhead_percent, ..
    } = *sampler;
    let cpu = match (cpu_time, overhead_percent) {
        (Some(time), Some(percent)) => {
            format!("{time:.1?} of CPU time, {percent:.2} % of one core")
        }
        _ => "CPU time unknown".to_owned(),
    };
    format!("{cpu}; {ticks} ticks, {missed_ticks} missed, the last took {last_tick_duration:.1?}")
}

/// The report as JSON.
#[derive(Serialize)]
struct Document<'a> {
    plugins: Vec<PluginDocument<'a>>,
    system: SystemMetrics,
    sampler: SamplerStats,
}

#[derive(Serialize)]
struct PluginDocument<'a> {
    current: Option<Sample<'a>>,
    aggregates: Option<Aggregates>,
    versions: Vec<VersionUsage>,
    runs: Vec<&'a Run>,
}
