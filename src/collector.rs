//! The host's side: the collector, which owns the sampler's thread.

mod global;
pub(crate) mod plugin;
pub(crate) mod registry;

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};

pub use self::global::{global, init};
pub use self::plugin::Plugin;
use self::registry::Registry;
use crate::config::Config;
use crate::error::{RegisterError, StartError, StoppedError};
use crate::model::snapshot::{Published, Snapshot};
use crate::os::clock;
use crate::sampler::{self, Running};
use crate::shared::command::{Command, Line};
use crate::shared::publish::{Publisher, Reader};

/// Samples the registered plugins in a thread of its own, until it is stopped or dropped.
///
/// It is `Send` and `Sync`; none of its methods but [`stop`](Self::stop), `drop` and
/// [`sample_now`](Self::sample_now) wait for the sampler. In a child forked from the process that
/// started it there is no sampler: reading and counting works there, all else returns at once.
///
/// ```
/// use plugmeter::{Collector, Config, Window};
/// use std::time::Duration;
///
/// let collector = Collector::start(Config::default().poll_interval(Duration::from_millis(10)))?;
/// let plugin = collector.register("dice")?;
/// plugin.started(std::process::id(), "1.0");
/// plugin.events().increment();
///
/// let snapshot = collector.sample_now()?;
/// let aggregates = snapshot.plugin("dice").unwrap().aggregates(Window::All).unwrap();
/// println!("{aggregates}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Collector {
    line: Arc<Line>,
    reader: Reader,
    registry: Arc<Registry>,
    /// Taken by whoever joins it.
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: Option<ThreadId>,
}

impl Collector {
    /// Checks `config` and starts sampling.
    ///
    /// # Errors
    ///
    /// [`StartError::Config`] if the config asks for what cannot be, [`StartError::Thread`] if the
    /// operating system does not give what is needed. Nothing is left running.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let plan = config.plan()?;
        if !plan.enabled {
            return Ok(Self::without_sampler(&plan));
        }
        let Running { line, reader, thread } = sampler::start(&plan).map_err(StartError::Thread)?;
        log::info!(
            "sampling every {:?}, keeping {} samples of each plugin",
            plan.poll_interval,
            plan.samples,
        );
        Ok(Self {
            registry: Arc::new(Registry::new(Arc::clone(&line), || Some(clock::now()))),
            line,
            reader,
            thread_id: Some(thread.thread().id()),
            thread: Mutex::new(Some(thread)),
        })
    }

    fn without_sampler(plan: &crate::config::Plan) -> Self {
        let (line, _) = Line::new(Box::new(|| ()), false);
        let line = Arc::new(line);
        let first = Published::before_the_first_tick(sampler::origin(plan), true);
        Self {
            registry: Arc::new(Registry::new(Arc::clone(&line), || Some(clock::now()))),
            line,
            reader: Publisher::new(first).reader(),
            thread: Mutex::new(None),
            thread_id: None,
        }
    }

    /// Registers a plugin: from now on it has a history, an event counter and, once it is
    /// [started](Plugin::started), a process. The name is 1 to 128 bytes without control
    /// characters.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`]. What is registered stays as it is.
    pub fn register(&self, name: &str) -> Result<Plugin, RegisterError> {
        self.registry.register(name)
    }

    /// Another handle of the plugin of that name; `None` if none is registered, and in a forked child.
    #[must_use]
    pub fn plugin(&self, name: &str) -> Option<Plugin> {
        self.registry.plugin(name)
    }

    /// What any thread reads snapshots with.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// The newest snapshot; the same as `reader().snapshot()`.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.reader.snapshot()
    }

    /// Samples once more, now, and waits for the snapshot.
    ///
    /// It is a tick like any other, an extra one that moves no deadline. All that this thread has
    /// told the sampler before is in it.
    ///
    /// Its CPU value is `None` if too little time has passed since the last one: less than 1 ms with
    /// the native probe; with the portable one 100 ms on Linux, 157 ms on Windows, 10 ms elsewhere. To
    /// read the newest values that there are without waiting, use [`snapshot`](Self::snapshot).
    ///
    /// # Errors
    ///
    /// [`StoppedError`] if there is no sampler (any more); also when it is called from the sampler's own
    /// thread, as a logger may be, which cannot wait for itself.
    pub fn sample_now(&self) -> Result<Snapshot, StoppedError> {
        if !self.line.is_open() || self.is_sampler() {
            return Err(StoppedError);
        }
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.line.tell(Command::Sample(reply));
        // If the sampler ends before it answers, or was told to end before it was asked, the
        // question is dropped, and `reply` with it.
        answer.recv().map_err(|_| StoppedError)
    }

    /// Stops sampling, and waits until the sampler has ended: at once, but for a read in progress.
    ///
    /// Snapshots stay readable and say [`is_stopped`](Snapshot::is_stopped). Stopping twice, or from
    /// several threads, is the same as stopping once; from the sampler's own thread, as a logger
    /// may, it does not wait.
    pub fn stop(&self) {
        if !self.line.is_home() {
            return;
        }
        if self.registry.close() {
            self.line.close();
            self.line.send(Command::Stop);
        }
        if self.is_sampler() {
            return;
        }
        let joined = {
            // Held while joining: whoever stops second waits here for the first.
            let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
            thread.take().map(JoinHandle::join)
        };
        // And not while logging: the host's logger may stop the collector too.
        match joined {
            Some(Ok(())) => log::info!("sampling has stopped"),
            Some(Err(_)) => log::error!("the sampler has panicked, and does not sample any more"),
            None => {}
        }
    }

    fn is_sampler(&self) -> bool {
        self.thread_id == Some(thread::current().id())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if self.line.is_home() {
            self.stop();
        } else if let Ok(thread) = self.thread.get_mut() {
            // A forked child: the thread that this names does not exist here.
            mem::forget(thread.take());
        }
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Snapshot(published) = self.snapshot();
        f.debug_struct("Collector")
            .field("tick", &published.timeline.newest)
            .field("plugins", &published.table.records.len())
            .field("running", &self.line.is_open())
            .finish()
    }
}
