//! The report at the end, as text or as JSON.

use std::fmt;
use std::time::SystemTime;

use plugmeter::{
    Aggregates, PluginView, Run, Sample, SamplerStats, Snapshot, SystemMetrics, Window,
};
use plugmeter_demo::Role;
use serde::Serialize;

use crate::options::Options;

/// The number of runs listed for each plugin, the newest ones.
const RUNS: usize = 8;

/// Describes what the program is about to do.
pub(crate) fn introduction(options: &Options) -> String {
    let Options { length, interval, .. } = options;
    let time = format!("for {length:?}, with a sample every {interval:?}");
    match options.processes.len() {
        0 => {
            let habits = Role::ALL.map(|role| format!("  {:<6}  {}\n", role.name(), role.habit()));
            format!("Five plugins, each a process of its own, {time}:\n\n{}", habits.concat())
        }
        1 => format!("One process, {time}.\n"),
        many => format!("{many} processes, {time}.\n"),
    }
}

/// Two snapshots: one while all processes ran, for the values, and one after all children were
/// stopped, for how their runs ended.
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
        writeln!(f, "Just before the end:\n")?;
        writeln!(f, "{}\n", self.closing)?;
        match self.window {
            Window::All => writeln!(f, "Each plugin over the whole time:\n")?,
            Window::Last(last) => writeln!(f, "Each plugin over the last {last:?}:\n")?,
        }
        for view in self.closing.plugins() {
            self.write_plugin(f, view)?;
        }
        self.write_superlatives(f)?;
        writeln!(f, "All in all    {}", self.closing.system())?;
        write!(f, "Sampling      {}", cost(&self.closing.sampler()))
    }
}

impl Report {
    fn write_plugin(&self, f: &mut fmt::Formatter<'_>, view: PluginView<'_>) -> fmt::Result {
        match view.aggregates(self.window) {
            Some(aggregates) => writeln!(f, "{aggregates}")?,
            None => writeln!(f, "{}: no sample", view.name())?,
        }
        if let Some(problem) = view.read_error() {
            writeln!(f, "  problem {problem}")?;
        }
        let runs: Vec<&Run> = self.runs(view.name()).collect();
        let hidden = runs.len().saturating_sub(RUNS);
        if hidden > 0 {
            writeln!(f, "  runs    {hidden} earlier ones")?;
        }
        for run in &runs[hidden..] {
            writeln!(f, "  run     {}", line_of(run, self.ended.sampled_at()))?;
        }
        writeln!(f)
    }

    /// Writes the answers to the usual questions: the busiest plugin, the largest growth, the most
    /// crashes.
    fn write_superlatives(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((cpu, name)) = self.largest(|_, all| all.cpu.map(|cpu| cpu.avg)) {
            writeln!(f, "Most CPU      {name}: {cpu:.1} % of a core on average")?;
        }
        if let Some((mb, name)) = self.largest(|view, _| self.growth(view)) {
            writeln!(f, "Most growth   {name}: {mb:.1} MB more than at first")?;
        }
        if let Some((rate, name)) = self.largest(|_, all| Some(all.events_per_second)) {
            writeln!(f, "Most events   {name}: {rate:.0} per second")?;
        }
        if let Some((crashes, name)) = self.largest(|_, all| Some(all.crashes as f64)) {
            writeln!(f, "Most crashes  {name}: {crashes}")?;
        }
        Ok(())
    }

    /// Returns the plugin with the largest `value`, if that is above 0.
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

    /// The growth from the first memory value to the last, in MB.
    fn growth(&self, view: PluginView<'_>) -> Option<f64> {
        let mut memory = view.history(self.window).filter_map(|sample| sample.memory_mb());
        let first = memory.next()?;
        Some(memory.next_back()? - first)
    }
}

/// One run, in one line.
fn line_of(run: &Run, now: SystemTime) -> String {
    let version = run.version.as_deref().unwrap_or("-");
    let until = run.ended_at.unwrap_or(now);
    // The wall clock may have been set back in between.
    let seen = until.duration_since(run.reported_at).unwrap_or_default();
    let cpu = match run.cpu_time {
        Some(cpu) => format!("{:6.2} s of CPU", cpu.as_secs_f64()),
        None => format!("{:>6}", "-"),
    };
    let end = run.end.map_or_else(|| "still running".to_owned(), |end| end.to_string());
    format!("{version:<4}  pid {:<7}  seen for {:6.2} s  {cpu}  {end}", run.pid, seen.as_secs_f64(),)
}

/// The sampler's own cost.
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
    runs: Vec<&'a Run>,
}
