//! The rows to write, collected from snapshots: each tick once, runs, notifications and counters.
//! No thread, no clock and no file.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::batch::{Batch, PluginBatch, StoredCounters};
use super::changes::{Changes, NewPlugin};
use super::live_plugin::{LivePlugin, run_row};
use super::row::Row;
use super::run_rows::{NotificationRow, RunRow};
use super::stored_clock::StoredClock;
use super::tables::HostRow;
use crate::snapshot::Snapshot;
use crate::snapshot::inner::Resumed;
use crate::snapshot::notification::{Notification, NotificationKind};
use crate::snapshot::plugin_view::PluginView;
use crate::snapshot::query::Window;
use crate::snapshot::run::{Run, RunEnd};

/// Milliseconds since 1970.
pub(super) fn unix_ms(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(error) => i64::try_from(error.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

/// The opposite of [`unix_ms`].
pub(super) fn from_unix_ms(ms: i64) -> SystemTime {
    let distance = Duration::from_millis(ms.unsigned_abs());
    let time =
        if ms < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The number of ticks that the history of a snapshot can hold.
pub(super) fn capacity(snapshot: &Snapshot) -> u128 {
    snapshot.history_duration().as_nanos() / snapshot.poll_interval().as_nanos().max(1)
}

/// A plugin of an earlier session.
#[derive(Clone, Debug)]
pub(super) struct KnownPlugin {
    pub id: i64,
    pub counters: StoredCounters,
    /// The number of its newest run; 0 without one.
    pub last_run: u64,
}

/// The beginning of a session: what the file holds already.
#[derive(Debug)]
pub(super) struct SessionStart {
    pub host: HostRow,
    pub clock: StoredClock,
    pub known: HashMap<String, KnownPlugin>,
    pub next_plugin: i64,
    pub next_run: i64,
    /// If the counters of the collector continue those of the file.
    pub resumed: Option<Resumed>,
    /// The newest tick that is not to be recorded.
    pub last_tick: u64,
}

/// A session that is being recorded.
#[derive(Debug)]
pub(super) struct Feed {
    pub host: HostRow,
    clock: StoredClock,
    known: HashMap<String, KnownPlugin>,
    /// By the names of their registrations: another registration of a name has another pointer.
    live: HashMap<Arc<str>, LivePlugin, foldhash::fast::RandomState>,
    next_plugin: i64,
    next_run: i64,
    resumed: Option<Resumed>,
    /// The collector continues values that are not in the file: it has replaced another one.
    is_replacement: bool,
    is_first_look: bool,
    last_tick: u64,
    /// Of the newest look.
    last_revision: u64,
    /// The tick before the batch.
    previous_ms: Option<i64>,
    /// Ticks after that of the newest row were not recorded.
    has_missed_ticks: bool,
    /// Runs that have ended by the removal of their plugins, since the newest write.
    closed_runs: Vec<(Run, RunRow)>,
    pub changes: Changes,
    /// The row of the session differs from that in the file in more than its end.
    pub is_host_changed: bool,
}

impl Feed {
    pub(super) fn new(start: SessionStart) -> Self {
        let SessionStart { host, clock, known, next_plugin, next_run, resumed, last_tick } = start;
        let is_replacement = resumed.is_some_and(|resumed| resumed.has_plugins) && known.is_empty();
        let mut feed = Self {
            host,
            clock,
            known,
            live: HashMap::default(),
            next_plugin,
            next_run,
            resumed,
            is_replacement,
            is_first_look: true,
            last_tick,
            last_revision: 0,
            previous_ms: None,
            has_missed_ticks: false,
            closed_runs: Vec::new(),
            changes: Changes::default(),
            is_host_changed: false,
        };
        feed.begin_batch();
        feed
    }

    fn begin_batch(&mut self) {
        self.changes = Changes {
            batch: Batch {
                host: self.host.id,
                poll_ms: self.host.poll_ms,
                previous_ms: self.previous_ms,
                ..Batch::default()
            },
            ..Changes::default()
        };
        self.closed_runs.clear();
        self.live.values_mut().for_each(|plugin| plugin.entry = None);
    }

    /// The changes were written. `is_end`: everything was sealed, and the session marked as ended.
    pub(super) fn on_written(&mut self, is_end: bool) {
        self.is_host_changed = is_end;
        if is_end {
            self.host.rolled_up_ms = self.host.end.at_ms + 1;
        }
        self.previous_ms = self.changes.batch.times.last().map(|at| at.at_ms).or(self.previous_ms);
        self.begin_batch();
    }

    /// The newest tick that was taken.
    pub(super) const fn last_tick(&self) -> u64 {
        self.last_tick
    }

    /// Adds a notification.
    pub(super) fn notify(&mut self, notification: &Notification) {
        match &notification.kind {
            // If it comes late, a look has found that already, and perhaps a new registration.
            NotificationKind::Removed if !self.has_other_registration(&notification.plugin) => {
                self.remove(&notification.plugin);
            }
            // The newest look has found the runs of its revision.
            NotificationKind::RunStarted(run) if notification.revision > self.last_revision => {
                self.start_run(&notification.plugin, run);
            }
            NotificationKind::RunEnded { run, crash } => {
                self.end_run(&notification.plugin, run, *crash);
            }
            _ => {}
        }
        let at_ms = self.clock.stored(unix_ms(notification.at));
        self.changes.notifications.push(NotificationRow {
            at_ms,
            plugin: notification.plugin.to_string(),
            kind: notification.kind.as_str().to_owned(),
            text: notification.kind.to_string(),
            json: serde_json::to_string(notification).unwrap_or_default(),
        });
    }

    /// Whether the live plugin of this name is another registration than that of the name.
    fn has_other_registration(&self, name: &Arc<str>) -> bool {
        self.live.get_key_value(name).is_some_and(|(live, _)| !Arc::ptr_eq(live, name))
    }

    /// Adds a run that perhaps no look will find, because a view shows the newest 256.
    fn start_run(&mut self, name: &Arc<str>, run: &Run) {
        if self.has_other_registration(name) {
            // The notification of its removal was lost.
            self.remove(name);
        }
        let mut plugin = match self.live.remove(name) {
            Some(plugin) => plugin,
            // A look adds the plugin, which may have runs before this one.
            None if self.is_first_look => return,
            None => self.new_plugin(name),
        };
        if plugin.runs.iter().rev().all(|(known, _)| known.id != run.id) {
            let row = self.add_run(&mut plugin, run, false);
            plugin.runs.push((run.clone(), row));
        }
        self.live.insert(Arc::clone(name), plugin);
    }

    /// Ends a run whose end perhaps no snapshot shows: the plugin was removed after it, or many runs have
    /// followed.
    fn end_run(&mut self, plugin: &Arc<str>, run: &Run, is_crash: bool) {
        let Self { live, closed_runs, clock, host, changes, .. } = self;
        let live = live.get_mut(plugin).into_iter().flat_map(|plugin| &mut plugin.runs);
        // A look may come before the notification.
        let mut runs = live.chain(closed_runs);
        let Some((known, row)) = runs.find(|(known, _)| known.id == run.id) else { return };
        let ended = run_row(run, row.id, row.number, row.plugin, host.id, clock);
        *row = RunRow { is_crash, ..ended };
        *known = run.clone();
        changes.runs.insert(row.id, row.clone());
    }

    fn remove(&mut self, name: &Arc<str>) {
        let at_ms = self.clock.last().at_ms;
        let removed = self.live.remove(name).map(|plugin| {
            // Its process may go on, and nobody will see its end.
            for (run, row) in plugin.runs.into_iter().filter(|(_, row)| row.ended_ms.is_none()) {
                let ended_ms = Some(at_ms.max(row.reported_ms));
                let row = RunRow { ended_ms, end: Some(RunEnd::Unknown), ..row };
                self.changes.runs.insert(row.id, row.clone());
                self.closed_runs.push((run, row));
            }
            plugin.id
        });
        let known = self.known.remove(&**name).map(|known| known.id);
        if let Some(id) = removed.or(known) {
            self.changes.removed.push((id, at_ms));
        }
    }

    /// Takes what is new in a snapshot. `boot` is the time of its tick on the boot clock.
    pub(super) fn look(&mut self, snapshot: &Snapshot, boot: Duration) {
        if snapshot.tick() < self.last_tick {
            return;
        }
        let new_ticks = snapshot.tick().saturating_sub(self.last_tick);
        let new_ticks = usize::try_from(new_ticks).unwrap_or(usize::MAX);
        // Those that are in the history of a plugin; the others have no rows.
        let longest = snapshot.plugins().max_by_key(|view| view.history(Window::All).len());
        let longest_len = longest.map_or(0, |view| view.history(Window::All).len());
        let count = longest_len.min(new_ticks);
        let is_cut =
            longest_len as u64 != snapshot.tick() && longest_len as u128 >= capacity(snapshot);
        let cut = Some(longest_len).filter(|_| is_cut);
        let first = self.changes.batch.times.len();
        // Without plugins there are no rows, and the history may have lost ticks.
        self.has_missed_ticks |= new_ticks > count;
        if count > 0 && std::mem::take(&mut self.has_missed_ticks) {
            self.changes.batch.begin_after_a_break();
        }
        if longest.is_some() {
            self.add_times(snapshot, count, boot);
        }
        let is_gone = |name: &&Arc<str>| match snapshot.plugin(name) {
            Some(view) => !Arc::ptr_eq(view.shared_name(), name),
            None => !snapshot.is_stopped(),
        };
        let gone: Vec<_> = self.live.keys().filter(is_gone).cloned().collect();
        gone.iter().for_each(|name| self.remove(name));
        for view in snapshot.plugins() {
            self.add_plugin(&view, first, count, cut);
        }
        self.is_first_look = false;
        (self.last_tick, self.last_revision) = (snapshot.tick(), snapshot.revision());
        self.host.end = self.clock.last();
        self.is_host_changed |= self.host.step_ms != self.clock.step_ms();
        self.host.step_ms = self.clock.step_ms();
        self.changes.limit_rows();
    }

    /// Adds the times of the newest `count` ticks. `boot` is that of the newest.
    fn add_times(&mut self, snapshot: &Snapshot, count: usize, boot: Duration) {
        let (timeline, newest) = (&snapshot.0.timeline, snapshot.tick());
        let newest_boot = timeline.at(newest).map_or(boot, |at| at.boot);
        for back in (0..count as u64).rev() {
            let Some(at) = timeline.at(newest - back) else { continue };
            // By the boot clock: the monotonic clock stands still while the machine sleeps.
            let boot = boot.saturating_sub(newest_boot.saturating_sub(at.boot));
            let boot_ms = i64::try_from(boot.as_millis()).unwrap_or(i64::MAX);
            self.changes.batch.times.push(self.clock.tick(unix_ms(at.wall), boot_ms));
        }
    }

    /// `count` is the number of new ticks, the first of them the batch's tick `first`; `cut` the length of a
    /// history that has lost its oldest samples.
    fn add_plugin(
        &mut self,
        view: &PluginView<'_>,
        first: usize,
        count: usize,
        cut: Option<usize>,
    ) {
        let name = view.shared_name();
        let mut plugin = self.live.remove(name).unwrap_or_else(|| self.new_plugin(name));
        self.add_runs(view, &mut plugin);
        let history = view.history(Window::All);
        if plugin.continues_file && history.len() > 0 {
            // The counters of a view with a sample include those of the file.
            (plugin.continues_file, plugin.base) = (false, StoredCounters::default());
        }
        let samples = history.len().min(count);
        // The newest samples, oldest first.
        let skipped = history.len() - samples;
        if plugin.is_count_unknown && samples > 0 {
            plugin.is_count_unknown = false;
            let before = match skipped.checked_sub(1) {
                Some(newest) => history.clone().nth(newest),
                // Its samples before are gone, or in another file.
                None if self.is_replacement || Some(history.len()) == cut => history.clone().next(),
                None => None,
            };
            if let Some(before) = before {
                (plugin.events, plugin.crashes) = (before.event_count, before.crash_count);
            }
        }
        let mut rows = Vec::with_capacity(samples);
        for sample in history.skip(skipped) {
            let events = plugin.base.events.saturating_add(sample.event_count);
            let crashes = plugin.base.crashes.saturating_add(sample.crash_count);
            let run = sample.run.map_or(0, |id| plugin.run_number(id));
            rows.push(Row::of(
                &sample,
                events.saturating_sub(plugin.events),
                crashes.saturating_sub(plugin.crashes),
                run,
            ));
            (plugin.events, plugin.crashes) =
                (plugin.events.max(events), plugin.crashes.max(crashes));
        }
        let counters = if plugin.continues_file {
            plugin.base.clone()
        } else {
            plugin.counters(view, &self.clock)
        };
        let first = first + count - samples;
        let batch = &mut self.changes.batch;
        let mut row = rows.iter_mut().zip(first..);
        view.covered_times(samples, |covered| {
            if let (Some(covered), Some((row, tick))) = (covered, row.next()) {
                row.covered_us = unusual_us(covered, batch.covered_ms(tick));
            }
        });
        let entry = plugin.entry.and_then(|entry| batch.plugins.get_mut(entry));
        match entry {
            Some(entry) if rows.is_empty() || entry.first + entry.rows.len() == first => {
                entry.rows.append(&mut rows);
                entry.counters = counters;
            }
            _ => {
                plugin.entry = Some(batch.plugins.len());
                batch.plugins.push(PluginBatch { plugin: plugin.id, first, rows, counters });
            }
        }
        self.live.insert(Arc::clone(name), plugin);
    }

    fn new_plugin(&mut self, name: &Arc<str>) -> LivePlugin {
        let known = self.known.remove(&**name);
        let is_new = known.is_none();
        let (id, base, last_run) = match known {
            Some(KnownPlugin { id, counters, last_run }) => (id, counters, last_run),
            None => {
                let id = self.next_plugin;
                self.next_plugin += 1;
                let first_ms = self.clock.last().at_ms;
                self.changes.new_plugins.push(NewPlugin { id, name: Arc::clone(name), first_ms });
                (id, StoredCounters::default(), 0)
            }
        };
        let (events, crashes) = (base.events, base.crashes.saturating_sub(base.unsampled_crashes));
        // A collector that could not read the saved values does not continue them.
        let continues_file = self.resumed.is_some_and(|resumed| resumed.has_plugins);
        LivePlugin {
            id,
            base,
            continues_file,
            events,
            crashes,
            last_run,
            runs: Vec::new(),
            entry: None,
            is_count_unknown: is_new && self.is_first_look,
        }
    }

    /// Adds the runs that are new, and those that have changed.
    fn add_runs(&mut self, view: &PluginView<'_>, plugin: &mut LivePlugin) {
        let resumed = self.resumed;
        let is_of_session =
            |(run, _): &(&Run, bool)| resumed.is_none_or(|resumed| run.id >= resumed.first_run);
        let mut runs = Vec::with_capacity(plugin.runs.len());
        for (run, is_crash) in view.judged_runs().filter(is_of_session) {
            let known = plugin.runs.iter().find(|(known, _)| known.id == run.id);
            let row = match known {
                Some((known, row)) if known == run && row.is_crash == is_crash => row.clone(),
                _ => self.add_run(plugin, run, is_crash),
            };
            runs.push((run.clone(), row));
        }
        plugin.runs = runs;
    }

    /// The row of a run that is new, or has changed.
    fn add_run(&mut self, plugin: &mut LivePlugin, run: &Run, is_crash: bool) -> RunRow {
        let known = plugin.runs.iter().find(|(known, _)| known.id == run.id);
        let (id, number) = match known {
            Some((_, row)) => (row.id, row.number),
            None => {
                plugin.last_run += 1;
                self.next_run += 1;
                (self.next_run - 1, plugin.last_run)
            }
        };
        let row = run_row(run, id, number, plugin.id, self.host.id, &self.clock);
        let row = RunRow { is_crash, ..row };
        self.changes.runs.insert(id, row.clone());
        row
    }
}

/// The time that a share covers, in microseconds; `None` if it is the time since the tick before. The times
/// of ticks are in milliseconds.
fn unusual_us(covered: Duration, usual_ms: u64) -> Option<u64> {
    let us = u64::try_from(covered.as_micros()).unwrap_or(u64::MAX);
    let is_usual = us.abs_diff(usual_ms.saturating_mul(1_000)) <= 2_000;
    if is_usual { None } else { Some(us) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_are_negative() {
        for ms in [-1_500, -1, 0, 1, 1_700_000_000_123] {
            assert_eq!(unix_ms(from_unix_ms(ms)), ms);
        }
        assert_eq!(from_unix_ms(-1_500), UNIX_EPOCH - Duration::from_millis(1_500));
        assert_eq!((nanos(Duration::from_micros(3)), nanos(Duration::MAX)), (3_000, u64::MAX));
    }

    /// Two milliseconds are the rounding of two times.
    #[test]
    fn usual_time_of_a_share_is_not_stored() {
        let of = |us: u64| unusual_us(Duration::from_micros(us), 5_000);
        assert_eq!([of(4_998_000), of(5_000_000), of(5_002_000)], [None; 3]);
        assert_eq!([of(4_997_999), of(5_002_001)], [Some(4_997_999), Some(5_002_001)]);
        assert_eq!(of(7_200_000_000), Some(7_200_000_000), "more than an hour");
    }
}
