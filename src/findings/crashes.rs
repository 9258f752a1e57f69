//! Recent crashes.

use std::time::{Duration, SystemTime};

use super::finding::FindingKind;
use crate::{PluginState, PluginView, Snapshot};

/// A crash is recent for this long.
const RECENT_CRASH: Duration = Duration::from_secs(60 * 60);
/// Several crashes within this time are reported as such, rather than as those of the last hour.
const CRASH_BURST: Duration = Duration::from_secs(10 * 60);

/// The length of the window in which crashes are [recent](FindingKind::Crashed): an hour, or that of the
/// history if it is shorter.
///
/// ```
/// use plugmeter::{Collector, Config, findings};
/// use std::time::Duration;
///
/// let half_hour = Duration::from_secs(1_800);
/// let collector = Collector::start(Config::default().history_duration(half_hour))?;
/// assert_eq!(findings::crash_window(&collector.snapshot()), half_hour);
/// # Ok::<(), plugmeter::StartError>(())
/// ```
#[must_use]
pub fn crash_window(snapshot: &Snapshot) -> Duration {
    RECENT_CRASH.min(snapshot.history_duration())
}

/// The last crash, if it was at most an hour before the tick, or after it.
pub(super) fn recent_crash(view: PluginView<'_>) -> Option<SystemTime> {
    let is_recent = |&crash: &SystemTime| {
        // An error: the crash is later than the tick, also because the clock was set back.
        let age = view.snapshot().sampled_at().duration_since(crash);
        age.map_or(true, |age| age <= RECENT_CRASH)
    };
    view.last_crash().filter(is_recent)
}

/// The finding for recent crashes; `None` if [`FindingKind::Down`] states the only one already.
pub(super) fn crashed(view: PluginView<'_>, last: SystemTime) -> Option<FindingKind> {
    let snapshot = view.snapshot();
    let interval = snapshot.poll_interval();
    // A window counts from its oldest tick on: a short one may have only the newest.
    let window = |within: Duration| {
        if interval * 2 > within { within.saturating_add(interval) } else { within }
    };
    let burst = window(CRASH_BURST.min(snapshot.history_duration()));
    let within = if view.crashes(burst) > 1 { burst } else { window(crash_window(snapshot)) };
    let count = view.crashes(within);
    let is_stated = view.state() == PluginState::Crashed && count <= 1;
    (!is_stated).then_some(FindingKind::Crashed { count, within, last })
}
