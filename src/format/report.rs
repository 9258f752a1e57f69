//! Text that answers a chat command: one plugin in a few lines, and all plugins in one.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::number::{BYTES_PER_MB, counted, human_duration, mebibytes};
use super::shown::Shown;
use super::text::sanitize;
use crate::snapshot::Snapshot;
use crate::snapshot::aggregates::{Aggregates, Summary};
use crate::snapshot::plugin_view::PluginView;
use crate::snapshot::query::Window;
use crate::snapshot::system::CollectorStatus;
use crate::snapshot::versions::VersionUsage;

/// The names in one line of status; the number of others follows.
const MAX_NAMES: usize = 5;

/// The versions and the findings in a report, the newest and the most severe ones.
const MAX_LINES: usize = 8;

/// A comparison of two versions needs that many events of each.
const MIN_COMPARED_EVENTS: u64 = 10;

/// The state of one plugin and its values over a window, in a few lines of text: the answer to a
/// command like `metrics NAME` in a chat. [`Display`](fmt::Display) writes it.
///
/// [`PluginView::report`] returns it. Values are those of the process tree, unless trees are
/// [switched off](crate::Config::process_trees). The text is plain, with a few dozen lines at most, and
/// characters in names that could change the lines around them are replaced. Times are relative to the
/// snapshot's tick: no clock is read.
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::testing::{Simulation, Usage};
/// use plugmeter::{Config, Window};
/// use std::time::Duration;
///
/// let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(5)))?;
/// let plugin = sim.register("dice")?;
/// let commands = plugin.event_counter("command")?;
/// plugin.started(4711, "1.0");
/// for tick in 1..=12 {
///     commands.add(10);
///     sim.tick(|_pid| Usage { cpu_time: Duration::from_millis(250) * tick, memory_bytes: 8 << 20 });
/// }
/// let snapshot = sim.snapshot();
/// let text = snapshot.plugin("dice").unwrap().report(Window::All).to_string();
/// assert_eq!(
///     text,
///     "\
/// dice 1.0: RUNNING for 1m, pid 4711, up 1m
/// 12 samples over 55s
/// CPU: now 5.00 %, avg 5.00 %, p95 5.00 %, max 5.00 % of one core
/// memory: now 8.00 MB, avg 8.00 MB, p95 8.00 MB, max 8.00 MB
/// events: 110 (2.00 per second), 120 in all; CPU per event: 25.00 ms
/// by kind: command 120
/// crashes: 0, 0 in all; runs: 1
/// findings: none"
/// );
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PluginReport<'a> {
    view: PluginView<'a>,
    window: Window,
}

/// All plugins in one line of text: the answer to a command like `status` in a chat.
/// [`Display`](fmt::Display) writes it.
///
/// [`Snapshot::status_line`] returns it.
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::testing::{Simulation, Usage};
/// use plugmeter::Config;
/// use std::time::Duration;
///
/// let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(5)))?;
/// sim.register("dice")?.started(4711, "1.0");
/// sim.register("crawler")?.crashed();
/// sim.tick(|_pid| Usage { cpu_time: Duration::from_secs(1), memory_bytes: 8 << 20 });
/// assert_eq!(
///     sim.snapshot().status_line().to_string(),
///     "2 plugins, 1 running, 1 crashed; 0 events, 8.00 MB resident (sum), up 5s; \
///      CPU 20.00 % of one core; need attention: crawler"
/// );
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct StatusLine<'a>(&'a Snapshot);

impl<'a> PluginView<'a> {
    /// Returns a report of this plugin over `window`, to be shown as text.
    ///
    /// # Cost
    ///
    /// None until it is formatted; then that of [`aggregates`](Self::aggregates),
    /// [`versions`](Self::versions) and [`findings`](Self::findings).
    #[must_use]
    pub fn report(&self, window: impl Into<Window>) -> PluginReport<'a> {
        PluginReport { view: *self, window: window.into() }
    }
}

impl Snapshot {
    /// Returns one line about all plugins, to be shown as text.
    ///
    /// # Cost
    ///
    /// None until it is formatted; then that of [`findings`](Self::findings).
    #[must_use]
    pub const fn status_line(&self) -> StatusLine<'_> {
        StatusLine(self)
    }
}

impl fmt::Display for StatusLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(snapshot) = self;
        match snapshot.status() {
            CollectorStatus::Running => {}
            status => write!(f, "collector {status}; ")?,
        }
        let system = snapshot.system();
        write!(f, "{system}; CPU {:.2} % of one core; ", system.cpu_percent)?;
        let findings = snapshot.findings().items;
        let mut names: Vec<&str> = Vec::new();
        for finding in findings.iter().filter(|finding| finding.severity.needs_attention()) {
            // A plugin may have several.
            if !names.contains(&&*finding.plugin) {
                names.push(&finding.plugin);
            }
        }
        let Some((first, rest)) = names.split_first() else {
            return f.write_str("none needs attention");
        };
        let verb = if rest.is_empty() && system.total_plugins == 1 { "needs" } else { "need" };
        write!(f, "{verb} attention: {}", sanitize(first))?;
        for name in rest.iter().take(MAX_NAMES - 1) {
            write!(f, ", {}", sanitize(name))?;
        }
        match names.len().saturating_sub(MAX_NAMES) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for PluginReport<'_> {
    /// A line each for the state, the window, CPU, memory, events, and crashes with runs; then the
    /// versions, if there are several, and the findings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.view;
        write_state(f, view)?;
        match view.aggregates(self.window) {
            Some(aggregates) => write_aggregates(f, view, &aggregates)?,
            None => f.write_str("\nno samples yet")?,
        }
        let mut kinds = view.event_counts();
        if let Some((kind, count)) = kinds.next() {
            write!(f, "\nby kind: {} {count}", sanitize(kind))?;
            kinds.try_for_each(|(kind, count)| write!(f, ", {} {count}", sanitize(kind)))?;
        }
        write!(f, "\ncrashes: {}, {} in all", view.crashes(self.window), view.crash_count())?;
        if let Some(last) = view.last_crash() {
            write!(f, ", last {} ago", human_duration(since(view, last)))?;
        }
        match view.runs().count() {
            0 => f.write_str("; no runs")?,
            runs => write!(f, "; runs: {runs}")?,
        }
        match view.restart_count() {
            0 => {}
            restarts => write!(f, "; restarts: {restarts} in all")?,
        }
        write_versions(f, &view.versions(self.window))?;
        write_findings(f, view)
    }
}

/// From `time` to the tick.
fn since(view: PluginView<'_>, time: SystemTime) -> Duration {
    view.snapshot().sampled_at().duration_since(time).unwrap_or_default()
}

fn write_state(f: &mut fmt::Formatter<'_>, view: PluginView<'_>) -> fmt::Result {
    f.write_str(&sanitize(view.name()))?;
    if let Some(version) = view.version() {
        write!(f, " {}", sanitize(version))?;
    }
    let in_state = human_duration(since(view, view.state_since()));
    write!(f, ": {} for {in_state}", view.state())?;
    let usage = view.usage();
    if let Some(pid) = view.pid() {
        write!(f, ", pid {pid}")?;
    }
    match usage.process_count {
        Some(1) if view.pid().is_none() => f.write_str(", 1 process")?,
        None | Some(0 | 1) => {}
        Some(count) => write!(f, ", {count} processes")?,
    }
    if let Some(uptime) = usage.uptime {
        write!(f, ", up {}", human_duration(uptime))?;
    }
    Ok(())
}

fn write_aggregates(
    f: &mut fmt::Formatter<'_>,
    view: PluginView<'_>,
    aggregates: &Aggregates,
) -> fmt::Result {
    let (shown, usage) = (Shown::of(view.snapshot()), view.usage());
    let span = human_duration(aggregates.time_span);
    let samples = counted(aggregates.sample_count as u64, "sample", "samples");
    write!(f, "\n{samples} over {span}")?;
    let cpu = shown.value(aggregates.cpu, aggregates.tree_cpu);
    write_values(f, "CPU", shown.cpu(&usage), cpu.as_ref(), 1.0, "%")?;
    if cpu.is_some() {
        f.write_str(" of one core")?;
    }
    let memory = shown.value(aggregates.memory, aggregates.tree_memory);
    let now = shown.memory(&usage).map(mebibytes);
    write_values(f, "memory", now, memory.as_ref(), BYTES_PER_MB, "MB")?;
    if usage.process_count > Some(1) {
        f.write_str(" (sum of the processes)")?;
    }
    let Aggregates { events, events_per_second, cpu_per_event, .. } = *aggregates;
    write!(f, "\nevents: {events} ({events_per_second:.2} per second), ")?;
    write!(f, "{} in all", view.event_count())?;
    match cpu_per_event {
        Some(cost) => write!(f, "; CPU per event: {}", Cost(cost)),
        None => Ok(()),
    }
}

/// A line with the current value and those of the window.
fn write_values(
    f: &mut fmt::Formatter<'_>,
    label: &str,
    now: Option<f64>,
    summary: Option<&Summary>,
    scale: f64,
    unit: &str,
) -> fmt::Result {
    write!(f, "\n{label}: ")?;
    let Some(&Summary { avg, p95, max, .. }) = summary else {
        return f.write_str("unknown");
    };
    if let Some(now) = now {
        write!(f, "now {now:.2} {unit}, ")?;
    }
    let [avg, p95, max] = [avg, p95, max].map(|value| value / scale);
    write!(f, "avg {avg:.2} {unit}, p95 {p95:.2} {unit}, max {max:.2} {unit}")
}

/// The versions, if there are several, and the newest one compared with the one before.
fn write_versions(f: &mut fmt::Formatter<'_>, versions: &[VersionUsage]) -> fmt::Result {
    let [.., old, new] = versions else { return Ok(()) };
    f.write_str("\nversions:")?;
    let hidden = versions.len().saturating_sub(MAX_LINES);
    if hidden > 0 {
        write!(f, " the newest {MAX_LINES} of {}", versions.len())?;
    }
    versions[hidden..].iter().try_for_each(|version| write!(f, "\n- {version}"))?;
    let (Some(before), Some(now)) = (old.cpu_per_event, new.cpu_per_event) else { return Ok(()) };
    let is_comparable = old.events.min(new.events) >= MIN_COMPARED_EVENTS && !before.is_zero();
    if !is_comparable {
        return Ok(());
    }
    let ratio = now.as_secs_f64() / before.as_secs_f64();
    let [old, new] = [old, new].map(version_name);
    let [before, now] = [before, now].map(Cost);
    if (0.95..1.05).contains(&ratio) {
        write!(f, "\n{new} uses as much CPU per event as {old} ({now}, {before})")
    } else {
        write!(f, "\n{new} uses {ratio:.1} times the CPU per event of {old} ({now}, {before})")
    }
}

fn write_findings(f: &mut fmt::Formatter<'_>, view: PluginView<'_>) -> fmt::Result {
    let findings = view.findings();
    if findings.is_empty() {
        return f.write_str("\nfindings: none");
    }
    f.write_str("\nfindings:")?;
    let prefix = format!("{}: ", sanitize(view.name()));
    for finding in findings.iter().take(MAX_LINES) {
        let text = finding.to_string();
        // The report begins with the name.
        let text = text.strip_prefix(&prefix).unwrap_or(&text);
        write!(f, "\n- {}: {text}", finding.severity)?;
    }
    Ok(())
}

fn version_name(usage: &VersionUsage) -> String {
    usage.version.as_deref().map_or_else(|| "no version".to_owned(), sanitize)
}

impl fmt::Display for VersionUsage {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = counted(self.runs as u64, "run", "runs");
        write!(f, "{}: {runs}, {}", version_name(self), human_duration(self.time))?;
        if let Some(cpu) = &self.cpu {
            write!(f, "; CPU avg {:.2} %, p95 {:.2} %", cpu.avg, cpu.p95)?;
        }
        if let Some(memory) = &self.memory {
            let [avg, p95] = [memory.avg, memory.p95].map(|bytes| bytes / BYTES_PER_MB);
            write!(f, "; memory avg {avg:.2} MB, p95 {p95:.2} MB")?;
        }
        write!(f, "; {}", counted(self.events, "event", "events"))?;
        if let Some(cost) = self.cpu_per_event {
            write!(f, ", {} CPU each", Cost(cost))?;
        }
        write!(f, "; {}", counted(self.crashes, "crash", "crashes"))
    }
}

/// The CPU time of one event: `12.30 µs`, `25.00 ms`, `1.25 s`.
pub(crate) struct Cost(pub Duration);

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds >= 1.0 {
            write!(f, "{seconds:.2} s")
        } else if seconds >= 1e-3 {
            write!(f, "{:.2} ms", seconds * 1e3)
        } else {
            write!(f, "{:.2} µs", seconds * 1e6)
        }
    }
}
