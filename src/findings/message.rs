//! The parts of a finding's sentence, in which times stay times.

use std::time::{Duration, SystemTime};

use super::finding::{Finding, FindingKind, Onset, RegressionMetric};
use super::weight::BUSY_PERCENT;
use crate::format::display::{length, span, times};
use crate::format::notification::{NewestValue, OverLimit};
use crate::format::text::sanitize;
use crate::{PluginState, RunEnd};

/// A part of a finding's sentence: see [`Finding::message`].
///
/// ```
/// use plugmeter::findings::{MessagePart, Onset};
/// use std::time::SystemTime;
///
/// let part = MessagePart::Since(Onset::At(SystemTime::UNIX_EPOCH));
/// assert_eq!(part.to_string(), "since 1970-01-01T00:00:00Z");
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessagePart {
    /// Text, including the spaces before and after it.
    Text(String),
    /// The onset: to be shown as `since` and a time, or as `for` and a duration.
    Since(Onset),
    /// A time: to be shown as `at` and the time, or as a duration and `ago`.
    At(SystemTime),
}

/// Beside the signal by which a process was killed.
const OOM_KILLED: &str = ", killed by the OOM killer";

impl Finding {
    /// Returns the sentence without the plugin's name, in parts, so that a host can format the times in
    /// its own way. [`Display`](std::fmt::Display) writes the whole sentence, with times in UTC.
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use plugmeter::findings::MessagePart;
    /// use plugmeter::testing::Simulation;
    /// use plugmeter::{Config, PluginState};
    ///
    /// let mut sim = Simulation::new(Config::default())?;
    /// sim.register("dice")?.set_state(PluginState::Unhealthy);
    /// sim.tick(|_pid| None);
    /// let finding = &sim.snapshot().findings().items[0];
    /// let expected = [MessagePart::Text("unhealthy ".to_owned()), MessagePart::Since(finding.since)];
    /// assert_eq!(finding.message(), expected);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn message(&self) -> Vec<MessagePart> {
        let mut out = Message::default();
        out.kind(&self.kind, Some(self.since), self.oom_killed);
        // A loop states the crashes.
        let is_stated = |kind: &&FindingKind| matches!(kind, FindingKind::Crashed { .. });
        for kind in self.evidence.iter().filter(|kind| !is_stated(kind)) {
            out.text("; ");
            out.kind(kind, None, self.oom_killed);
        }
        out.0
    }
}

#[derive(Default)]
struct Message(Vec<MessagePart>);

impl Message {
    fn text(&mut self, text: impl AsRef<str>) {
        match self.0.last_mut() {
            Some(MessagePart::Text(last)) => last.push_str(text.as_ref()),
            _ => self.0.push(MessagePart::Text(text.as_ref().to_owned())),
        }
    }

    /// Nothing for evidence, which has no onset of its own.
    fn since(&mut self, since: Option<Onset>) {
        if let Some(since) = since {
            self.text(" ");
            self.0.push(MessagePart::Since(since));
        }
    }

    fn at(&mut self, at: SystemTime) {
        self.text(" ");
        self.0.push(MessagePart::At(at));
    }

    fn kind(&mut self, kind: &FindingKind, since: Option<Onset>, oom_killed: Option<bool>) {
        match kind {
            FindingKind::Down { state, end } => {
                let has_failed = *state == PluginState::Failed;
                self.text(if has_failed { "failed, down" } else { "crashed, down" });
                self.since(since);
                // The other ends add nothing to that.
                if let Some(end @ (RunEnd::Exited(_) | RunEnd::Signaled(_))) = end
                    && !has_failed
                {
                    let oom = if oom_killed == Some(true) { OOM_KILLED } else { "" };
                    self.text(format!(" ({end}{oom})"));
                }
            }
            FindingKind::EndedUnknown => {
                self.text("ended");
                if let Some(since) = since {
                    self.at(since.time());
                }
                self.text(", and no exit status was reported");
            }
            FindingKind::Suspended => {
                self.text("suspended (SIGSTOP)");
                self.since(since);
            }
            FindingKind::Unreadable(error) => {
                self.text(error.to_string());
                self.since(since);
            }
            FindingKind::Unhealthy => {
                self.text("unhealthy");
                self.since(since);
            }
            FindingKind::Survivors { processes } => {
                let live = match processes {
                    1 => "process lives on without its",
                    _ => "processes live on without their",
                };
                self.text(format!("{processes} {live} main process"));
                self.since(since);
            }
            FindingKind::CpuShift { before, now, per_event, .. } => {
                self.text(format!("CPU {}", percent(*now)));
                self.since(since);
                self.text(format!(" (normally {})", percent(*before)));
                if let Some(ratio) = per_event.filter(|&ratio| ratio >= 2.0) {
                    self.text(format!(", {} times as much for each event", number(ratio)));
                }
            }
            FindingKind::Busier { before, now } => {
                self.text(format!("CPU {}", percent(*now)));
                self.since(since);
                self.text(format!(" (normally {}), as there are more events", percent(*before)));
            }
            FindingKind::CpuSpike { before, peak, cpu_time } => {
                self.text(format!("CPU up to {}", percent(*peak)));
                if let Some(since) = since {
                    self.at(since.time());
                }
                let (normal, cost) = (percent(*before), length(*cpu_time));
                self.text(format!(" (normally {normal}), {cost} of CPU time more; it is over"));
            }
            FindingKind::Saturated { percent: full } => {
                self.text(format!("a whole core ({})", percent(*full)));
                self.since(since);
                self.text(", it may be at its limit");
            }
            FindingKind::MemoryGrowth { now, per_hour, limit_in, .. } => {
                self.text(format!("memory grows by {} an hour", megabytes(*per_hour)));
                self.since(since);
                self.text(format!(", now {}", megabytes(*now as f64)));
                if let Some(limit_in) = limit_in {
                    self.text(format!(", reaches its limit in about {}", about(*limit_in)));
                }
            }
            FindingKind::MemoryStep { before, now } => {
                self.text(format!("memory {}", megabytes(*now as f64)));
                self.since(since);
                self.text(format!(" (before {})", megabytes(*before as f64)));
            }
            FindingKind::CrashLoop { count, last } => {
                self.text(format!("crash loop, {count} crashes"));
                self.since(since);
                self.text(", last");
                self.at(*last);
            }
            FindingKind::Crashed { count, within, last } => {
                if *count > 1 {
                    let (times, within) = (times(*count), span(*within));
                    self.text(format!("crashed {times} in the last {within}, last"));
                } else {
                    self.text("crashed");
                }
                self.at(*last);
            }
            FindingKind::Silence { per_second, cpu_percent } => {
                self.text("no events");
                self.since(since);
                self.text(format!(" (normally {})", rate(*per_second)));
                if cpu_percent.is_some_and(|cpu| cpu >= BUSY_PERCENT) {
                    self.text(", while it keeps a core busy");
                }
            }
            FindingKind::EventSurge { before, now } => {
                self.text(format!("{} events", rate(*now)));
                self.since(since);
                self.text(format!(" (normally {})", rate(*before)));
            }
            FindingKind::Regression { metric, old, new, before, now, .. } => {
                let (old, new) = (sanitize(old), sanitize(new));
                let ratio = number(now / before.max(1e-9));
                self.text(match metric {
                    RegressionMetric::CpuPerEvent => format!(
                        "version {new} uses {ratio} times the CPU per event of {old} ({} ms, {} ms)",
                        number(*now),
                        number(*before)
                    ),
                    RegressionMetric::Cpu => format!(
                        "version {new} uses {ratio} times the CPU of {old} ({}, {})",
                        percent(*now),
                        percent(*before)
                    ),
                    RegressionMetric::Memory => format!(
                        "version {new} uses {ratio} times the memory of {old} ({}, {})",
                        megabytes(*now),
                        megabytes(*before)
                    ),
                    RegressionMetric::Crashes => format!(
                        "version {new} crashes {} times an hour ({old}: {})",
                        number(*now),
                        number(*before)
                    ),
                });
            }
            FindingKind::LimitExceeded(status) => {
                self.text(format!("{}, now {},", OverLimit(status), NewestValue(status)));
                self.since(since);
            }
        }
    }
}

/// Two digits say enough.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        9.95.. => 0,
        0.095.. => 1,
        0.0 => 0,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

fn percent(value: f64) -> String {
    format!("{} %", number(value))
}

fn megabytes(bytes: f64) -> String {
    format!("{} MB", number(bytes / 1_048_576.0))
}

/// Per second, or where that is little, per minute or per hour.
fn rate(per_second: f64) -> String {
    match per_second {
        0.5.. | 0.0 => format!("{} a second", number(per_second)),
        0.01.. => format!("{} a minute", number(per_second * 60.0)),
        _ => format!("{} an hour", number(per_second * 3_600.0)),
    }
}

fn about(time: Duration) -> String {
    let hours = time.as_secs_f64() / 3_600.0;
    if hours < 1.5 { format!("{:.0} min", hours * 60.0) } else { format!("{hours:.1} h") }
}
