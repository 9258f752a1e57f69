//! The displayed facts about each plugin: a pure function of a snapshot and its age.

use std::cmp::Ordering;
use std::time::{Duration, SystemTime};

use plugmeter::{PluginState, PluginView, RunEnd, Sample, Snapshot, Window};

use crate::text::{ago, count, last, spoken};

/// CPU, in percent of one core, above which a plugin needs attention.
pub const CPU_PERCENT: f64 = 50.0;
/// Memory, in MB, above which a plugin needs attention.
pub const MEMORY_MB: f64 = 100.0;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// How urgently a plugin needs attention; the most urgent is the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is crashed or failed.
    Error,
    /// It runs, with a problem.
    Warning,
    /// It has no problem.
    Fine,
}

/// A snapshot, its age, and the displayed window of its history.
#[derive(Debug)]
pub struct Scene<'a> {
    pub snapshot: &'a Snapshot,
    /// The time since the snapshot's tick.
    pub age: Duration,
    /// The window of graphs and p95.
    pub window: Window,
    /// The current time by the clock of the snapshot's times.
    pub now: SystemTime,
}

impl<'a> Scene<'a> {
    pub fn new(snapshot: &'a Snapshot, age: Duration, window: Window) -> Self {
        Self { snapshot, age, window, now: snapshot.sampled_at() + age }
    }

    /// Returns the time since `at`, or zero if the clock was set back since then.
    pub fn since(&self, at: SystemTime) -> Duration {
        self.now.duration_since(at).unwrap_or_default()
    }

    /// The age from which data is late: the tick is overdue by more than two intervals.
    pub fn patience(&self) -> Duration {
        self.snapshot.poll_interval().saturating_mul(3).max(Duration::from_secs(2))
    }

    pub fn is_late(&self) -> bool {
        self.age > self.patience()
    }

    /// An hour, or the length of the history if that is shorter.
    pub fn lately(&self) -> Duration {
        HOUR.min(self.snapshot.history_duration())
    }

    /// The time that the graphs of all plugins cover, beginning with the interval of the oldest
    /// sample.
    pub fn span(&self) -> Duration {
        let first = |view: PluginView<'a>| view.history(self.window).next();
        let oldest = self.snapshot.plugins().filter_map(first).map(|sample| sample.timestamp).min();
        let taken = self.snapshot.sampled_at();
        let long = oldest.and_then(|oldest| taken.duration_since(oldest).ok()).unwrap_or_default();
        long + self.snapshot.poll_interval()
    }

    /// The facts about all plugins.
    pub fn facts(&self) -> Vec<Facts<'a>> {
        self.snapshot.plugins().map(|view| Facts::of(view, self)).collect()
    }
}

/// The facts about one plugin.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub view: PluginView<'a>,
    pub severity: Severity,
    /// The problems, the worst first; empty if `Fine`.
    pub complaints: Vec<String>,
    /// Of the process that runs now; `None` if unknown.
    pub cpu: Option<f64>,
    pub memory_mb: Option<f64>,
    pub uptime: Option<Duration>,
    /// Over the last minute, or two intervals if they are longer.
    pub events_per_second: Option<f64>,
    /// In the last hour, as far as the history reaches.
    pub crashes_lately: u64,
    /// The time since it entered its state.
    pub since: Duration,
}

impl<'a> Facts<'a> {
    fn of(view: PluginView<'a>, scene: &Scene<'a>) -> Self {
        let live = live(view);
        let recently = MINUTE.max(scene.snapshot.poll_interval().saturating_mul(2));
        let rate = view.aggregates(recently).filter(|all| !all.time_span.is_zero());
        let mut facts = Self {
            view,
            severity: Severity::Fine,
            complaints: Vec::new(),
            cpu: live.and_then(|sample| sample.cpu_percent),
            memory_mb: live.and_then(|sample| sample.memory_mb()),
            uptime: live.and_then(|sample| sample.uptime),
            events_per_second: rate.map(|all| all.events_per_second),
            crashes_lately: crashes(view, scene, scene.lately()),
            since: scene.since(view.state_since()),
        };
        facts.complain(scene);
        facts
    }

    fn complain(&mut self, scene: &Scene<'a>) {
        let view = self.view;
        let how_long = spoken(self.since);
        let mut problem = view.read_error();
        match view.state() {
            PluginState::Crashed => {
                let end = view.runs().next_back().and_then(|run| run.end);
                let how = match end {
                    Some(end @ (RunEnd::Exited(_) | RunEnd::Signaled(_))) => format!(": {end}"),
                    // The crash is listed already, or nothing more is known.
                    _ => String::new(),
                };
                let said = format!("crashed {}, and is down{how}", ago(self.since));
                self.worst(Severity::Error, said);
            }
            PluginState::Failed => {
                let why = problem.take().map(|why| format!(": {why}")).unwrap_or_default();
                self.worst(Severity::Error, format!("failed {}{why}", ago(self.since)));
            }
            PluginState::Unhealthy => {
                self.worst(Severity::Warning, format!("unhealthy for {how_long}"));
            }
            // Stopped, Starting, Running and Stopping are what the host intends.
            _ => {}
        }
        if let Some(problem) = problem {
            self.worst(Severity::Warning, format!("not measured: {problem}"));
        }
        self.complain_of_crashes(scene);
        let cpu = |sample: &Sample<'_>| sample.cpu_percent;
        if let Some(now) = self.cpu.filter(|&now| now > CPU_PERCENT) {
            let how_long = for_how_long(view, scene, |s| cpu(s).is_some_and(|v| v > CPU_PERCENT));
            self.worst(Severity::Warning, format!("CPU {now:.0} % of one core{how_long}"));
        }
        let memory = |sample: &Sample<'_>| sample.memory_mb();
        if let Some(now) = self.memory_mb.filter(|&now| now > MEMORY_MB) {
            let above = |s: &Sample<'_>| memory(s).is_some_and(|v| v > MEMORY_MB);
            let how_long = for_how_long(view, scene, above);
            let said = format!("memory {now:.0} MB, above {MEMORY_MB:.0} MB{how_long}");
            self.worst(Severity::Warning, said);
        }
    }

    fn complain_of_crashes(&mut self, scene: &Scene<'a>) {
        let Some(crash) = self.view.last_crash().map(|at| scene.since(at)) else { return };
        if crash > HOUR {
            return;
        }
        // The shorter window is more specific, if there was a crash in it.
        let ten_minutes = scene.lately().min(10 * MINUTE);
        let within = if crash <= ten_minutes { ten_minutes } else { scene.lately() };
        let crashes = crashes(self.view, scene, within);
        let when = ago(crash);
        let said = match (crashes, self.view.state()) {
            // That one is listed already.
            (0 | 1, PluginState::Crashed) => return,
            (0 | 1, _) => format!("crashed {when}"),
            (many, PluginState::Crashed) => {
                format!("{} crashes in the {}", count(many), last(within))
            }
            (many, _) => {
                format!("crashed {} times in the {}, last {when}", count(many), last(within))
            }
        };
        self.worst(Severity::Warning, said);
    }

    fn worst(&mut self, severity: Severity, complaint: String) {
        self.severity = self.severity.min(severity);
        self.complaints.push(complaint);
    }

    /// Orders by urgency: errors, then warnings, then by CPU.
    pub fn by_need(&self, other: &Self) -> Ordering {
        self.severity.cmp(&other.severity).then_with(|| larger_first(self.cpu, other.cpu))
    }
}

/// Orders the larger value first, and unknown values last.
pub fn larger_first(a: Option<f64>, b: Option<f64>) -> Ordering {
    b.unwrap_or(f64::NEG_INFINITY).total_cmp(&a.unwrap_or(f64::NEG_INFINITY))
}

/// Returns the newest sample if it belongs to the current run. After a publication between two
/// ticks it may belong to a run that has ended.
fn live(view: PluginView<'_>) -> Option<Sample<'_>> {
    let open = view.run()?.id;
    view.current().filter(|sample| sample.run == Some(open))
}

/// Counts the crashes in the last `time`, as far as the history reaches.
fn crashes(view: PluginView<'_>, scene: &Scene<'_>, within: Duration) -> u64 {
    let (recent, held) = (view.history(within).len(), view.history(Window::All).len());
    let (long, interval) = (scene.snapshot.history_duration(), scene.snapshot.poll_interval());
    let is_full = held as u128 >= long.as_nanos() / interval.as_nanos();
    if recent == held && !is_full {
        // The history is complete: crashes before its first sample, which no difference between
        // samples contains, are in the window too.
        return view.crash_count();
    }
    let by_history = view.aggregates(within).map_or(0, |all| all.crashes);
    // A crash before the first sample of the history is in no difference between samples either.
    let lately = view.last_crash().is_some_and(|at| scene.since(at) <= within);
    by_history.max(u64::from(lately))
}

/// Returns for how long all newest samples have met the condition; zero if only the newest does.
fn for_how_long(
    view: PluginView<'_>,
    scene: &Scene<'_>,
    is_so: impl Fn(&Sample<'_>) -> bool,
) -> String {
    let first = view.history(Window::All).rev().take_while(is_so).last();
    let long = first.map(|sample| scene.since(sample.timestamp).saturating_sub(scene.age));
    match long {
        Some(long) if long >= scene.snapshot.poll_interval() => format!(" for {}", spoken(long)),
        Some(_) | None => String::new(),
    }
}
