//! What is worth somebody's attention.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::CurrentUsage;
use crate::format::number::mebibytes;
use crate::{PluginState, PluginView, ReadError, Run, RunEnd, Sample, Snapshot, Window};

/// A crash is worth a warning for so long.
const RECENT: Duration = Duration::from_secs(60 * 60);
/// Several crashes within so long are told as that.
const SOON: Duration = Duration::from_secs(10 * 60);
/// Rates are of this window.
const MINUTE: Duration = Duration::from_secs(60);

/// From where on a plugin is worth a warning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thresholds {
    pub cpu_percent: f64,
    pub memory_mb: f64,
}

/// How a plugin is, in order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Ok,
    /// Over a threshold, unhealthy, not to be read, or crashed in the last hour.
    Warning,
    /// Crashed or failed.
    Error,
}

impl Status {
    pub(crate) fn of(snapshot: &Snapshot, view: PluginView<'_>, thresholds: &Thresholds) -> Self {
        let Thresholds { cpu_percent, memory_mb } = *thresholds;
        let state = match view.state() {
            PluginState::Crashed | PluginState::Failed => return Self::Error,
            PluginState::Unhealthy => Self::Warning,
            PluginState::Stopped
            | PluginState::Starting
            | PluginState::Running
            | PluginState::Stopping => Self::Ok,
        };
        let CurrentUsage { cpu_percent: cpu, memory_bytes, .. } = view.usage();
        let memory = memory_bytes.map(mebibytes);
        let warned = state == Self::Warning
            || cpu.is_some_and(|cpu| cpu > cpu_percent)
            || memory.is_some_and(|mb| mb > memory_mb)
            || view.read_error().is_some()
            || crashed_lately(snapshot, view);
        if warned { Self::Warning } else { Self::Ok }
    }
}

/// Whether the plugin crashed in the last hour before the tick, or after it.
fn crashed_lately(snapshot: &Snapshot, view: PluginView<'_>) -> bool {
    view.last_crash().is_some_and(|crash| {
        // Also where the clock was set back meanwhile.
        snapshot.sampled_at().duration_since(crash).map_or(true, |ago| ago <= RECENT)
    })
}

/// Events per second over the last minute, at least two intervals; 0 with fewer than two samples.
pub(crate) fn events_per_second(snapshot: &Snapshot, view: PluginView<'_>) -> f64 {
    view.event_rate(MINUTE.max(snapshot.poll_interval().saturating_mul(2)))
}

/// How long the crashes are counted that are shown as recent: an hour, or as long as the history is.
pub(crate) fn recent(snapshot: &Snapshot) -> Duration {
    RECENT.min(snapshot.history_duration())
}

/// Since when something holds, as far as the history tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    At(SystemTime),
    /// It held in the oldest sample already.
    Before(SystemTime),
}

/// One thing that is worth a sentence.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Concern {
    /// It is down; how its newest run ended.
    Down {
        state: PluginState,
        since: SystemTime,
        end: Option<RunEnd>,
    },
    Problem(ReadError),
    Unhealthy {
        since: SystemTime,
    },
    /// So many crashes within so long, those before the first sample among them; none where the
    /// last one is older than the history.
    Crashes {
        count: u64,
        within: Duration,
        last: SystemTime,
    },
    Cpu {
        percent: f64,
        limit: f64,
        since: Since,
    },
    Memory {
        bytes: u64,
        limit_mb: f64,
        since: Since,
    },
    /// No warning by itself: it may be a leak.
    Growth(Growth),
}

/// What is to be said of a plugin, the gravest first. Empty where it is well.
pub(crate) fn concerns(
    snapshot: &Snapshot,
    view: PluginView<'_>,
    thresholds: &Thresholds,
    growth: Option<Growth>,
) -> Vec<Concern> {
    let mut out = Vec::new();
    let (state, since) = (view.state(), view.state_since());
    match state {
        PluginState::Crashed | PluginState::Failed => {
            let end = view.runs().next_back().and_then(|run| run.end);
            out.push(Concern::Down { state, since, end });
        }
        PluginState::Unhealthy => out.push(Concern::Unhealthy { since }),
        PluginState::Stopped
        | PluginState::Starting
        | PluginState::Running
        | PluginState::Stopping => {}
    }
    if let Some(problem) = view.read_error() {
        out.push(Concern::Problem(*problem));
    }
    if crashed_lately(snapshot, view)
        && let Some(last) = view.last_crash()
    {
        let soon = SOON.min(snapshot.history_duration());
        let within = if view.crashes(soon) > 1 { soon } else { recent(snapshot) };
        let count = view.crashes(within);
        let is_told = state == PluginState::Crashed && count <= 1;
        if !is_told {
            out.push(Concern::Crashes { count, within, last });
        }
    }
    let CurrentUsage { cpu_percent, memory_bytes, .. } = view.usage();
    let limit = thresholds.cpu_percent;
    if let Some(percent) = cpu_percent.filter(|&percent| percent > limit) {
        let over = |sample: &Sample<'_>| sample.cpu_percent.is_some_and(|cpu| cpu > limit);
        out.push(Concern::Cpu { percent, limit, since: over_since(snapshot, view, over) });
    }
    let limit_mb = thresholds.memory_mb;
    let is_over = |bytes: u64| mebibytes(bytes) > limit_mb;
    if let Some(bytes) = memory_bytes.filter(|&bytes| is_over(bytes)) {
        let over = |sample: &Sample<'_>| sample.memory_bytes.is_some_and(is_over);
        out.push(Concern::Memory { bytes, limit_mb, since: over_since(snapshot, view, over) });
    }
    out.extend(growth.filter(Growth::is_worth_a_sentence).map(Concern::Growth));
    out
}

/// Since when `over` has held without a break in the process that is running.
fn over_since(
    snapshot: &Snapshot,
    view: PluginView<'_>,
    over: impl Fn(&Sample<'_>) -> bool,
) -> Since {
    let run = view.run();
    let id = run.map(|run| run.id);
    let mut history = view.history(Window::All).rev().peekable();
    let mut oldest = snapshot.sampled_at();
    while let Some(sample) = history.next_if(|sample| sample.run == id && over(sample)) {
        oldest = sample.timestamp;
    }
    // The first sample of a run is of the first tick after its beginning.
    let interval = snapshot.poll_interval();
    let is_older =
        |run: &Run| oldest.duration_since(run.reported_at).is_ok_and(|ago| ago > interval);
    let was_over_before = history.peek().is_none() && run.is_some_and(is_older);
    if was_over_before { Since::Before(oldest) } else { Since::At(oldest) }
}

/// What the memory of the process that is running has grown by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Growth {
    /// Negative where it has shrunk.
    pub bytes: i64,
    /// Of its oldest sample in the window that knows its memory.
    pub from: u64,
    pub over: Duration,
}

impl Growth {
    /// Between the first and the last sample of the window that are of the process running now;
    /// `None` with fewer than two. Processes are not compared with each other.
    pub(crate) fn of(view: PluginView<'_>, window: impl Into<Window>) -> Option<Self> {
        let now = view.usage().memory_bytes?;
        let run = view.run()?.id;
        let mut samples = view.history(window);
        let mut of_run = samples.by_ref().filter(|sample| sample.run == Some(run));
        let from = of_run.find_map(|sample| sample.memory_bytes)?;
        // By the clock that nobody sets; of the newest sample it is zero.
        let over = view.sample_age(samples.len()).filter(|over| !over.is_zero())?;
        let bytes = i64::try_from(now).ok()?.checked_sub(i64::try_from(from).ok()?)?;
        Some(Self { bytes, from, over })
    }

    /// More than 10 %, and more than 10 MB.
    pub(crate) fn is_worth_a_sentence(&self) -> bool {
        self.bytes > 10 << 20 && self.bytes.unsigned_abs() > self.from / 10
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Config;
    use crate::history::frame::Frame;
    use crate::history::timeline::Timeline;
    use crate::snapshot::inner::SnapshotInner;
    use crate::testing::{Simulation, Usage};
    use crate::time::TimePoint;

    /// The same, but for what the wall clock says at the newest tick.
    fn with_newest_at(snapshot: &Snapshot, wall: SystemTime) -> Snapshot {
        let SnapshotInner { info, revision, status, timeline, totals, table, system, sampler } =
            &*snapshot.0;
        let frame = |frame: &Arc<Frame>| {
            let newest = frame.tick == timeline.newest;
            let at = TimePoint { wall: if newest { wall } else { frame.at.wall }, ..frame.at };
            Arc::new(Frame { tick: frame.tick, at, samples: frame.samples.clone() })
        };
        let frames: Vec<_> = timeline.frames.iter().map(frame).collect();
        assert_eq!(frames.len() as u64, timeline.newest, "none is in a block yet");
        let timeline = Timeline { blocks: Arc::clone(&timeline.blocks), frames, ..*timeline };
        Snapshot(Arc::new(SnapshotInner {
            info: *info,
            revision: *revision,
            status: *status,
            timeline,
            totals: Arc::clone(totals),
            table: Arc::clone(table),
            system: *system,
            sampler: *sampler,
        }))
    }

    #[test]
    fn how_long_memory_has_grown_does_not_depend_on_the_wall_clock() {
        let interval = Duration::from_secs(10);
        let mut sim = Simulation::new(Config::default().poll_interval(interval)).unwrap();
        sim.register("dice").unwrap().started(1, "");
        // Not known at first: it is of the three that are.
        for mb in [0, 50, 60, 70] {
            sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: mb << 20 });
        }
        let snapshot = sim.snapshot();
        let expected = Growth { bytes: 20 << 20, from: 50 << 20, over: interval * 2 };
        let hour = Duration::from_secs(3_600);
        let newest = snapshot.sampled_at();
        for wall in [newest, newest - hour, newest + hour] {
            let snapshot = with_newest_at(&snapshot, wall);
            assert_eq!(snapshot.sampled_at(), wall);
            let view = snapshot.plugin("dice").unwrap();
            assert_eq!(Growth::of(view, Window::All), Some(expected));
            assert_eq!(Growth::of(view, Duration::ZERO), None, "one sample is no growth");
        }
    }
}
