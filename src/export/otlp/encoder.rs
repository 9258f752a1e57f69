//! The encoder: requests from snapshots, and what was acknowledged.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::batch::{self, Batch, Point, unix_nanos};
use super::message::{POINT_ATTRIBUTES, append_attribute};
use super::progress::Progress;
use super::source::{Labels, PluginSource, add_ends};
use crate::Snapshot;
use crate::export::catalog::{self, Number, PLUGIN_FAMILIES, SAMPLER_FAMILIES, SamplerSeries};
use crate::export::registration::is_another_registration;

/// The maximum number of ticks in a request.
const MAX_TICKS: u64 = 60;
/// The removed plugins whose unacknowledged ticks are kept. Each keeps a snapshot.
const MAX_DEPARTED: usize = 64;
/// The resolution of most receivers.
const MILLISECOND: Duration = Duration::from_millis(1);

/// Turns snapshots into requests of OTLP: see the [module](crate::otlp).
///
/// ```
/// use plugmeter::otlp::Encoder;
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// collector.register("dice")?;
/// let snapshot = collector.sample_now()?;
/// let mut encoder = Encoder::new([("service.name", "bot")]);
/// let request = encoder.encode(&snapshot).expect("a new tick");
/// assert_eq!(request.content_type(), "application/x-protobuf");
/// // It was not acknowledged: the next request has the same ticks.
/// assert_eq!(encoder.encode(&snapshot).map(|again| again.ticks()), Some(request.ticks()));
/// encoder.acknowledge(request);
/// assert!(encoder.encode(&snapshot).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Encoder {
    /// Encoded attributes.
    resource: Vec<u8>,
    labels: Labels,
    progress: Progress,
    /// The number of the newest request, and of the newest one that was acknowledged.
    requests: u64,
    acknowledged: u64,
    /// The snapshot of the last call.
    last: Option<Snapshot>,
    /// Removed plugins with unacknowledged ticks, each with the last snapshot that contains it.
    departed: Vec<(Arc<str>, Snapshot)>,
}

/// The body of a request, and which ticks it contains. [`Encoder::encode`] returns it.
///
/// ```
/// use plugmeter::otlp::Encoder;
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// collector.register("dice")?;
/// let mut encoder = Encoder::new([("service.name", "bot")]);
/// let request = encoder.encode(&collector.sample_now()?).expect("a new tick");
/// // curl --data-binary @- --header "Content-Type: ..." http://127.0.0.1:4318/v1/metrics
/// println!("{} bytes of {}", request.body().len(), request.content_type());
/// assert!(request.ticks() >= 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Request {
    body: Vec<u8>,
    points: usize,
    ticks: u64,
    number: u64,
    progress: Progress,
}

impl Encoder {
    /// Creates an encoder whose requests have these attributes of the resource. `service.instance.id` has
    /// to differ between hosts, because receivers distinguish their series by it.
    ///
    /// At first no tick is acknowledged, so the first requests contain the whole history.
    #[must_use]
    pub fn new<K: AsRef<str>, V: AsRef<str>>(resource: impl IntoIterator<Item = (K, V)>) -> Self {
        Self {
            resource: batch::resource(resource),
            labels: Labels::new(),
            progress: Progress::default(),
            requests: 0,
            acknowledged: 0,
            last: None,
            departed: Vec::new(),
        }
    }

    /// Returns the next request, with the oldest ticks that were not acknowledged; `None` if all were.
    ///
    /// After the request was acknowledged, further ones may follow from the same snapshot: call it until
    /// it returns `None`.
    ///
    /// # Cost
    ///
    /// Linear in the number of points, and that of [`Snapshot::findings`] if the request contains the
    /// newest tick. It never waits.
    pub fn encode(&mut self, snapshot: &Snapshot) -> Option<Request> {
        self.keep_departed(snapshot);
        let mut progress = self.progress.clone();
        progress.follow(snapshot);
        let newest = snapshot.tick();
        let mut batch = Batch::new(&self.resource);
        let mut ticks = 0;
        if newest > progress.tick {
            ticks = self.add_ticks(snapshot, &mut progress, &mut batch);
        } else if snapshot.is_stopped() {
            // The rest, if there is no room for all of them, is in the next request.
            end_removed(snapshot, &mut progress, &mut batch);
        }
        if ticks == 0 && batch.points() == 0 {
            return None;
        }
        let (points, body) = (batch.points(), batch.encode());
        self.requests += 1;
        Some(Request { body, points, ticks, number: self.requests, progress })
    }

    /// Records that the receiver has the request, or that it will never accept it: its ticks are in
    /// no later request.
    ///
    /// A request is ignored if a later one was acknowledged before.
    pub fn acknowledge(&mut self, request: Request) {
        if request.number > self.acknowledged {
            self.acknowledged = request.number;
            self.progress = request.progress;
            let progress = &self.progress;
            let is_pending = |(name, kept): &(Arc<str>, Snapshot)| {
                kept.plugin(name).is_some_and(|view| progress.is_pending(view))
            };
            self.departed.retain(is_pending);
        }
    }

    /// The number of ticks that left the history before they were acknowledged.
    #[must_use]
    pub const fn lost_ticks(&self) -> u64 {
        self.progress.lost_ticks
    }

    /// Keeps the previous snapshot for plugins that the new one does not contain any more.
    fn keep_departed(&mut self, snapshot: &Snapshot) {
        let last = self.last.replace(snapshot.clone());
        let Some(last) = last.filter(|last| {
            last.started_at() == snapshot.started_at() && last.revision() < snapshot.revision()
        }) else {
            return;
        };
        for view in last.plugins() {
            let now = snapshot.plugin(view.name());
            let is_gone = now.is_none_or(|now| is_another_registration(view, now));
            if is_gone && self.progress.is_pending(view) && self.departed.len() < MAX_DEPARTED {
                self.departed.push((view.name().into(), last.clone()));
            }
        }
    }

    /// The plugins with unacknowledged ticks, by name.
    fn sources<'a>(&'a self, snapshot: &'a Snapshot, progress: &Progress) -> Vec<PluginSource<'a>> {
        let departed = self.departed.iter().filter_map(|(name, kept)| kept.plugin(name));
        let departed = departed.filter(|view| progress.is_pending(*view));
        let mut views: Vec<_> = departed.chain(snapshot.plugins()).collect();
        // Stable: an earlier registration of a name comes first.
        views.sort_by_key(|view| view.name());
        let mut before = None;
        let sources = views.into_iter().filter_map(|view| {
            let is_successor = before.replace(view.name()) == Some(view.name());
            PluginSource::new(view, progress, is_successor)
        });
        sources.collect()
    }

    /// Adds ticks to the batch, and returns how many were begun.
    fn add_ticks(
        &self,
        snapshot: &Snapshot,
        progress: &mut Progress,
        batch: &mut Batch<'_>,
    ) -> u64 {
        let newest = snapshot.tick();
        let mut sources = self.sources(snapshot, progress);
        progress.lost_ticks += sources.iter().map(|source| source.lost).max().unwrap_or(0);
        let oldest = sources.iter().map(|source| source.first).min().unwrap_or(newest);
        let last = newest.min(oldest.saturating_add(MAX_TICKS - 1));
        let findings = (last == newest).then(|| snapshot.findings());
        let findings = findings.as_ref().map(catalog::finding_counts);
        for tick in oldest..=last {
            for source in &mut sources {
                if !(source.first..=source.newest).contains(&tick) {
                    continue;
                }
                if !batch.has_room() {
                    return tick - oldest + 1;
                }
                let is_newest = tick == newest && source.view.snapshot() == snapshot;
                let findings = findings.as_ref().filter(|_| is_newest);
                source.add(tick, &self.labels, findings, progress, batch);
            }
            if tick == newest {
                if !end_removed(snapshot, progress, batch) {
                    break;
                }
                add_sampler(snapshot, batch);
            }
            progress.tick = tick;
        }
        last - oldest + 1
    }
}

/// Ends the series of removed plugins. Returns whether there was room for all of them.
fn end_removed(snapshot: &Snapshot, progress: &mut Progress, batch: &mut Batch<'_>) -> bool {
    let is_removed = |name: &str| snapshot.is_stopped() || snapshot.plugin(name).is_none();
    let removed: Vec<_> =
        progress.plugins.keys().filter(|name| is_removed(name)).cloned().collect();
    for name in removed {
        if !batch.has_room() {
            return false;
        }
        if let Some(plugin) = progress.plugins.remove(&name) {
            // Later than its values.
            let time = snapshot.sampled_at().max(plugin.time + MILLISECOND);
            add_ends(&name, &plugin, time, batch);
        }
    }
    true
}

/// The series of the sampler, at the newest tick.
fn add_sampler(snapshot: &Snapshot, batch: &mut Batch<'_>) {
    for (i, family) in SAMPLER_FAMILIES.iter().enumerate() {
        let mut version = Vec::new();
        let value = match family.series {
            SamplerSeries::Value(value) => value(snapshot),
            SamplerSeries::Version => {
                append_attribute(POINT_ATTRIBUTES, "version", catalog::VERSION, &mut version);
                Some(Number::Integer(1))
            }
        };
        if value.is_some() {
            let family = PLUGIN_FAMILIES.len() + i;
            let [start, time] = [snapshot.started_at(), snapshot.sampled_at()].map(unix_nanos);
            batch.add(&Point { family, attributes: [&version, &[]], start, time, value });
        }
    }
}

impl Request {
    /// The body: a message `ExportMetricsServiceRequest` of protobuf.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The value of the header `Content-Type`.
    #[must_use]
    pub const fn content_type(&self) -> &'static str {
        "application/x-protobuf"
    }

    /// The number of data points, those of ended series included.
    #[must_use]
    pub const fn points(&self) -> usize {
        self.points
    }

    /// The number of ticks of which the request contains plugins.
    #[must_use]
    pub const fn ticks(&self) -> u64 {
        self.ticks
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("acknowledged_tick", &self.progress.tick)
            .field("plugins", &self.progress.plugins.len())
            .field("lost_ticks", &self.progress.lost_ticks)
            .finish()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("bytes", &self.body.len())
            .field("points", &self.points)
            .field("ticks", &self.ticks)
            .finish()
    }
}

#[cfg(all(test, feature = "store", feature = "testing"))]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::Config;
    use crate::collector::saved::{Saved, SavedCounters, SavedPlugin, SavedState};
    use crate::testing::{Simulation, Usage};

    /// Acknowledges all, and returns the start of the totals, the events and the CPU time of "dice".
    fn deliver(encoder: &mut Encoder, sim: &Simulation) -> (SystemTime, u64, Duration) {
        while let Some(request) = encoder.encode(&sim.snapshot()) {
            encoder.acknowledge(request);
        }
        let plugin = &encoder.progress.plugins["dice"];
        (plugin.start, plugin.events, plugin.cpu_time)
    }

    fn saved(events: u64, cpu_time: Duration) -> Saved {
        let counters = SavedCounters { events, cpu_time, ..SavedCounters::default() };
        let plugin = SavedPlugin {
            name: "dice".into(),
            counters,
            kinds: Vec::new(),
            runs: Vec::new(),
            samples: Vec::new(),
        };
        Saved(SavedState { plugins: vec![plugin], ..SavedState::default() })
    }

    fn tick(sim: &mut Simulation, millis: u64) {
        sim.tick(|_pid| Usage { cpu_time: Duration::from_millis(millis), memory_bytes: 1 });
    }

    /// An encoder that is kept while the collector is stopped and resumed: totals that go on are the same
    /// series; with less, of which the end was lost, a new one begins, from its first point on.
    #[test]
    fn totals_go_on_with_a_resumed_collector() {
        let second = Duration::from_secs(1);
        for (events, cpu, goes_on) in [(7, second, true), (9, 2 * second, true), (5, second, false)]
        {
            let mut encoder = Encoder::new([("service.name", "bot")]);
            let mut sim = Simulation::new(Config::default()).unwrap();
            let plugin = sim.register("dice").unwrap();
            plugin.started(1, "");
            plugin.events().add(7);
            tick(&mut sim, 400);
            tick(&mut sim, 1_000);
            let (start, before, _) = deliver(&mut encoder, &sim);
            assert_eq!(before, 7);
            drop(sim);
            let mut sim = Simulation::resume(Config::default(), saved(events, cpu)).unwrap();
            // Not registered yet.
            assert!(encoder.encode(&sim.snapshot()).is_none());
            let plugin = sim.register("dice").unwrap();
            plugin.events().add(1);
            tick(&mut sim, 0);
            let first = sim.snapshot().sampled_at();
            let resumed = deliver(&mut encoder, &sim);
            assert_eq!(resumed, (if goes_on { start } else { first }, events + 1, cpu), "{events}");
            tick(&mut sim, 0);
            assert_eq!(deliver(&mut encoder, &sim), resumed);
        }
    }

    /// A collector that continues nothing begins at 0, also if its totals are higher.
    #[test]
    fn totals_restart_with_another_collector() {
        let mut encoder = Encoder::new([("service.name", "bot")]);
        for events in [7, 20] {
            let mut sim = Simulation::new(Config::default()).unwrap();
            sim.register("dice").unwrap().events().add(events);
            tick(&mut sim, 0);
            let (start, counted, _) = deliver(&mut encoder, &sim);
            assert_eq!(counted, events);
            assert!(start >= sim.snapshot().started_at());
        }
    }
}
