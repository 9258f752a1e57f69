//! Starts a collector that continues the values of an earlier one.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::Collector;
use super::registry::RestoredNames;
use crate::config::Config;
pub(crate) use crate::engine::restore::{
    Restored, RestoredPlugin, SavedCounters, SavedPlugin, SavedRun, SavedSample, SavedSession,
    SavedState, SavedTick,
};
use crate::error::StartError;
use crate::sync::command::PluginId;
use crate::sync::counter::{EventCounter, next_run_id};

/// The counters and runs of all plugins as of the newest write of a store, and the last hour of samples.
///
/// [`Store::saved`](crate::Store::saved) returns it, and [`Collector::resume`] continues from it. The
/// default has no plugins.
///
/// ```
/// use plugmeter::{Collector, Config, Saved};
///
/// let collector = Collector::resume(Config::default(), Saved::default())?; // as `Collector::start`
/// # Ok::<(), plugmeter::StartError>(())
/// ```
#[derive(Clone, Default)]
pub struct Saved(pub(crate) SavedState);

impl fmt::Debug for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saved")
            .field("plugins", &self.0.plugins.len())
            .field("ticks", &self.0.ticks.len())
            .finish()
    }
}

impl Saved {
    /// Creates the counters: those for handles, and those for the engine, which are the same.
    pub(crate) fn prepare(self) -> (RestoredNames, Restored) {
        let SavedState { sessions, ticks, plugins } = self.0;
        let (mut names, mut restored) = (HashMap::default(), Vec::new());
        for (id, saved) in (1..).map(PluginId).zip(plugins) {
            let events = EventCounter::restored(saved.counters.events, &saved.kinds);
            names.insert(Arc::clone(&saved.name), (id, events.clone()));
            restored.push(RestoredPlugin { id, events, saved });
        }
        // Runs of earlier collectors have ids too, lower than those of this one.
        for run in restored.iter_mut().flat_map(|plugin| &mut plugin.saved.runs) {
            run.run.id = next_run_id();
        }
        let first_run = next_run_id();
        (names, Restored { plugins: restored, sessions, ticks, first_run })
    }
}

impl Collector {
    /// Starts a collector that continues the values of a store, which
    /// [`Store::saved`](crate::Store::saved) returns.
    ///
    /// - A plugin that is registered again continues its counters: events, also by kind, crashes,
    ///   restarts, CPU time. What came after the newest write is lost. A plugin that is not registered
    ///   again is not shown; one that was [removed](crate::Plugin::remove) begins at 0.
    /// - A run that was active ends as [`HostGone`](crate::RunEnd::HostGone), at the newest tick that
    ///   was written. That is no crash, and the next run is no restart.
    /// - The last hour of samples is in the history before the first tick, or less if the history is
    ///   shorter; none if the poll interval has changed. Between them and the first tick is a gap, which
    ///   no rate spans. In ticks before it is registered again, a plugin has no process and no values.
    /// - The length of the gap is measured by the boot clock, or by the wall clock if the machine was
    ///   booted since.
    ///
    /// ```
    /// use plugmeter::{Collector, Config, Store, StoreConfig};
    ///
    /// # let folder = std::env::temp_dir().join(format!("plugmeter-resume-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("plugmeter.db");
    /// for _ in 0..2 {
    ///     let store = Store::open(StoreConfig::new(&path))?;
    ///     let collector = Collector::resume(Config::default(), store.saved())?;
    ///     let recorder = store.record(collector.reader())?;
    ///     let dice = collector.register("dice")?;
    ///     dice.events().increment();
    ///     println!("{} events so far", dice.events().get()); // 1, then 2
    ///     collector.sample_now()?;
    ///     recorder.stop();
    /// }
    /// # let store = Store::open(StoreConfig::new(&path))?;
    /// # assert_eq!(store.reader().plugins()[0].event_count, 2);
    /// # drop(store);
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start).
    pub fn resume(config: Config, saved: Saved) -> Result<Self, StartError> {
        let (names, restored) = saved.prepare();
        Self::start_with(config, names, Some(restored))
    }
}
