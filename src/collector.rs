//! The host's side: the collector, which owns the sampler's thread, and the plugins' handles.

mod child;
#[cfg(feature = "tokio")]
pub mod child_tokio;
mod freshness;
mod global;
pub(crate) mod plugin;
pub(crate) mod registry;
#[cfg(feature = "store")]
pub(crate) mod saved;

use std::fmt;
use std::sync::Arc;

pub use self::child::PluginChild;
pub use self::global::{global, init};
pub use self::plugin::Plugin;
use self::registry::{Registry, RestoredNames};
use crate::config::{Config, Settings};
use crate::engine::restore::Restored;
use crate::error::{RegisterError, StartError, StoppedError};
use crate::os::clock;
use crate::sampler::{self, RunningSampler};
use crate::snapshot::Snapshot;
use crate::snapshot::inner::SnapshotInner;
use crate::snapshot::system::CollectorStatus;
use crate::sync::command::{Command, CommandSender, SampleRequest};
use crate::sync::publish::{Publisher, Reader};
use crate::sync::subscription::{SubscriberSender, Subscription};
use crate::sync::worker::Worker;

/// Samples the registered plugins on its own thread, until it is stopped or dropped.
///
/// It is `Send` and `Sync`. Only [`stop`](Self::stop), `drop` and [`sample_now`](Self::sample_now)
/// wait for the sampler, the collector's thread. In a child that was forked from the process that
/// started the collector there is no sampler: reading and counting work there, and every other call
/// returns immediately without an effect.
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
#[must_use = "dropping it ends the sampling"]
pub struct Collector {
    sender: Arc<CommandSender>,
    reader: Reader,
    registry: Arc<Registry>,
    /// The sampler's thread; `None` if the collector is disabled.
    worker: Option<Worker>,
}

impl Collector {
    /// Checks `config` and starts sampling.
    ///
    /// # Errors
    ///
    /// [`StartError::Config`] if a value of the config is out of range, [`StartError::Thread`] if
    /// the operating system does not provide the thread or the descriptors. Nothing is left running.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, RestoredNames::default(), None)
    }

    /// Starts a collector that continues these values.
    fn start_with(
        config: Config,
        names: RestoredNames,
        restored: Option<Restored>,
    ) -> Result<Self, StartError> {
        let settings = config.validate()?;
        if !settings.enabled {
            return Ok(Self::disabled(&settings, names));
        }
        let RunningSampler { sender, reader, worker } =
            sampler::start(&settings, restored).map_err(StartError::Thread)?;
        log::info!(
            "sampling every {:?}, keeping {} samples of each plugin",
            settings.poll_interval,
            settings.samples,
        );
        let clock = || Some(clock::now());
        let registry = Arc::new(Registry::new(Arc::clone(&sender), clock, names));
        Ok(Self { sender, reader, registry, worker: Some(worker) })
    }

    fn disabled(settings: &Settings, names: RestoredNames) -> Self {
        let sender = Arc::new(CommandSender::disabled());
        let info = sampler::collector_info(settings);
        let only = SnapshotInner::before_first_tick(info, CollectorStatus::Disabled);
        Self {
            registry: Arc::new(Registry::new(Arc::clone(&sender), || Some(clock::now()), names)),
            sender,
            reader: Publisher::new(only, SubscriberSender::disabled()).reader(),
            worker: None,
        }
    }

    /// Registers a plugin: from the next tick on it has a history and event counts, and, once a process
    /// is [spawned](Plugin::spawn) or [reported](Plugin::started), its CPU and memory. The name has 1 to
    /// 128 bytes and no control characters.
    ///
    /// The returned handle may be dropped; [`plugin`](Self::plugin) returns it again.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] if the name is invalid or in use, if 65,536 plugins are registered, or if the
    /// collector has stopped. Registered plugins are not affected.
    pub fn register(&self, name: &str) -> Result<Plugin, RegisterError> {
        self.registry.register(name)
    }

    /// Returns another handle of the plugin with that name; `None` if none is registered, and in a
    /// forked child.
    #[must_use]
    pub fn plugin(&self, name: &str) -> Option<Plugin> {
        self.registry.plugin(name)
    }

    /// Returns a reader of snapshots, for any thread.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Returns the newest snapshot without waiting, as [`Reader::snapshot`] does.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.reader.snapshot()
    }

    /// Returns a subscription to the notifications from now on: registrations, runs, crashes, states,
    /// read errors, and limits. See [`Subscription`].
    ///
    /// There may be any number of subscribers. There is no notification of a tick: for that, see
    /// [`Reader::wait_for_newer`] and [`Reader::changed`]. A notification is sent after the snapshot
    /// that shows its change was published, also for the last snapshot, which [`stop`](Self::stop)
    /// publishes.
    ///
    /// ```
    /// use plugmeter::{Collector, Config, NotificationKind};
    /// use std::time::Duration;
    ///
    /// let collector = Collector::start(Config::default())?;
    /// let subscription = collector.subscribe();
    /// collector.register("dice")?.started(std::process::id(), "1.0");
    /// let mut next = || subscription.recv_timeout(Duration::from_secs(10));
    /// assert_eq!(next()?.kind, NotificationKind::Registered);
    /// assert!(matches!(next()?.kind, NotificationKind::RunStarted(run) if run.pid == std::process::id()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.reader.subscribe()
    }

    /// Takes an extra sample now, and waits for its snapshot.
    ///
    /// It is a full tick, in addition to the regular ones, whose times do not change. All earlier
    /// reports of the calling thread are applied before it.
    ///
    /// A plugin's CPU value is `None` if too little time has passed since the previous one: less than
    /// 1 ms with the native probe (100 ms if it is not permitted to read CPU clocks); with the portable
    /// probe less than 100 ms on Linux, 157 ms on Windows, and 10 ms elsewhere. For the newest values
    /// without waiting, use [`snapshot`](Self::snapshot).
    ///
    /// # Errors
    ///
    /// [`StoppedError`] if the collector has stopped or is disabled, in a forked child, and on the
    /// sampler's own thread (for example in the host's logger), which cannot wait for itself.
    pub fn sample_now(&self) -> Result<Snapshot, StoppedError> {
        let is_sampler = self.worker.as_ref().is_some_and(Worker::is_current);
        if !self.sender.is_open() || is_sampler {
            return Err(StoppedError);
        }
        let (request, reply) = SampleRequest::new();
        self.sender.send(Command::SampleNow(request));
        // A sampler that ends first drops the request.
        reply.wait().ok_or(StoppedError)
    }

    /// Stops sampling, and waits until the sampler has ended: immediately, unless a read is in
    /// progress.
    ///
    /// Snapshots stay readable; the newest one has the [`status`](Snapshot::status) `Stopped`. Stopping
    /// twice, or from several threads, is the same as stopping once. On the sampler's own thread, for
    /// example in the host's logger, it does not wait. The processes of plugins go on.
    pub fn stop(&self) {
        if !self.sender.in_owner_process() {
            return;
        }
        // First, so that every successful registration lies before the Stop command.
        self.registry.close();
        // No lock is held while logging: the host's logger may stop the collector too.
        match self.worker.as_ref().and_then(Worker::stop) {
            Some(Ok(())) => log::info!("sampling has stopped"),
            Some(Err(_)) => log::error!("the sampler has panicked: no further samples"),
            None => {}
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Snapshot(inner) = self.snapshot();
        f.debug_struct("Collector")
            .field("tick", &inner.timeline.newest)
            .field("plugins", &inner.table.records.len())
            .field("running", &self.sender.is_open())
            .finish()
    }
}
