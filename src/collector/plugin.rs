//! The handle of one plugin.

use std::fmt;
use std::process::ExitStatus;
use std::sync::{Arc, Weak};

use super::registry::{Registry, clean_version};
use crate::model::run::RunId;
use crate::model::state::PluginState;
use crate::model::time::Now;
use crate::os::exit;
use crate::shared::command::{Change, Command, Line, Named, PluginId, Word};
use crate::shared::counter::{EventCounter, next_run_id};

/// A registered plugin: what the host says of it, and its event counter.
///
/// It is cheap to clone, `Send` and `Sync`. Nothing that is said to it waits for the sampler, and
/// what one thread says is applied in that order. Readers see it within about ten milliseconds; it
/// takes no tick. What is said after the collector was stopped, or
/// after the plugin was [removed](Self::remove), does nothing; the counter goes on. Dropping handles
/// removes nothing.
///
/// ```
/// use plugmeter::{Collector, Config, PluginState};
/// use std::process::{Command, Stdio};
///
/// let collector = Collector::start(Config::default())?;
/// let plugin = collector.register("cat")?;
/// # #[cfg(unix)] {
///
/// let mut child = Command::new("cat").stdin(Stdio::piped()).spawn()?;
/// let run = plugin.started(child.id(), "9.1");
/// drop(child.stdin.take()); // end of input: it ends by itself
/// plugin.exited(run, child.wait()?);
///
/// let snapshot = collector.sample_now()?;
/// let cat = snapshot.plugin("cat").unwrap();
/// assert_eq!((cat.state(), cat.crash_count()), (PluginState::Stopped, 0));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Plugin(Arc<Handle>);

struct Handle {
    name: Arc<str>,
    id: PluginId,
    events: EventCounter,
    line: Arc<Line>,
    registry: Weak<Registry>,
    clock: Clock,
}

/// Tells when a process was named; `None` in a simulation, where no time passes but the simulated.
pub(crate) type Clock = fn() -> Option<Now>;

impl Plugin {
    pub(crate) fn new(
        name: Arc<str>,
        id: PluginId,
        line: Arc<Line>,
        registry: Weak<Registry>,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Handle { name, id, events: EventCounter::new(), line, registry, clock }))
    }

    pub(crate) fn id(&self) -> PluginId {
        self.0.id
    }

    fn say(&self, word: Word) {
        self.0.line.tell(Command::Change(Change::Plugin(self.0.id, word)));
    }

    /// The name that was registered.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A process of this plugin runs: a new run begins, and the state is
    /// [`Running`](PluginState::Running).
    ///
    /// `version` is shown with it, `""` where there is none; over 128 bytes it is cut, and control
    /// characters are replaced. Call it *before* you reap the process: afterwards its pid may be
    /// another one's.
    ///
    /// If a run is open and its process lives, this ends it as [replaced](crate::RunEnd::Replaced),
    /// which is no crash: a hot reload. The same process may be named again under a new version.
    ///
    /// A pid that cannot be a process (0, the id of a thread, above `i32::MAX`), or whose process
    /// began after this call, is refused: an open run ends, none begins, the state becomes
    /// [`Failed`](PluginState::Failed), and [`problem`](crate::PluginView::read_error) says why.
    ///
    /// Returns the id of the run, for [`exited`](Self::exited). There is one also where no run begins,
    /// because the pid is refused, the plugin was removed, or the collector was stopped: what is said
    /// of it does nothing.
    pub fn started(&self, pid: u32, version: &str) -> RunId {
        let run = next_run_id();
        if self.0.line.is_open() {
            let called = (self.0.clock)();
            self.say(Word::Started(Named { run, pid, version: clean_version(version), called }));
        }
        run
    }

    /// The process of `run` has ended, and this is what waiting for it returned.
    ///
    /// Exit code 0, and the signals that ask a process to end (HUP, INT, TERM, PIPE), are a clean
    /// end; everything else is counted as a crash, at once, unless the plugin was
    /// [`Stopping`](PluginState::Stopping). The state changes only if `run` is the newest one. Of a
    /// run whose end was settled before this tells how it ended, and counts nothing.
    pub fn exited(&self, run: RunId, status: ExitStatus) {
        self.say(Word::Exited(run, exit::outcome(status)));
    }

    /// The newest run has ended as it should: for hosts that have no exit status.
    pub fn stopped(&self) {
        self.say(Word::Stopped);
    }

    /// The newest run has crashed: for hosts that have no exit status. It is counted, unless its
    /// end was settled before; without such a run only the state changes.
    pub fn crashed(&self) {
        self.say(Word::Crashed);
    }

    /// Says what the plugin is doing.
    ///
    /// With `Starting`, `Running`, `Unhealthy` and `Stopping` the run goes on. `Stopped` and
    /// `Crashed` are [`stopped`](Self::stopped) and [`crashed`](Self::crashed). `Failed` ends the
    /// open run, uncounted.
    pub fn set_state(&self, state: PluginState) {
        self.say(Word::State(state));
    }

    /// The counter of this plugin's events; clone it to wherever they happen.
    #[must_use]
    pub fn events(&self) -> &EventCounter {
        &self.0.events
    }

    /// Removes the plugin: it is in no snapshot from the next one on; those before keep it.
    ///
    /// The name is free at once. Whoever registers it again gets a new plugin, with a history of its
    /// own and counters that begin at 0. Other handles of this one do nothing any more.
    pub fn remove(&self) {
        if let Some(registry) = self.0.registry.upgrade() {
            registry.remove(&self.0.name, self.0.id);
        }
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.0.name)
            .field("events", &self.0.events.get())
            .finish()
    }
}
