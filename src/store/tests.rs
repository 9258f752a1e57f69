//! Tests of the store as a whole, in simulated time.

mod changes;
mod opening;
mod recording;
mod registrations;
mod resumed;
mod retention;
mod sessions;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use super::config::{StoreConfig, StoreSettings};
use super::database::open_or_replace;
use super::feed::{Feed, unix_ms};
use super::reader::StoreReader;

use super::row::TickTime;
use super::seal::{Due, SealSchedule, seal};
use super::writer::{SessionOf, begin_session, write};
use crate::config::Config;
use crate::snapshot::Snapshot;
use crate::snapshot::query::Window;
use crate::sync::subscription::Subscription;
use crate::testing::{Observed, Simulation, Usage};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// A folder of its own, which is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("plugmeter-{name}-{}", std::process::id()));
        let _: Result<(), _> = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("plugmeter.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _: Result<(), _> = std::fs::remove_dir_all(&self.0);
    }
}

fn settings(path: &Path) -> StoreSettings {
    StoreConfig::new(path).validate().unwrap()
}

/// Everything.
fn all() -> std::ops::Range<SystemTime> {
    SystemTime::UNIX_EPOCH..SystemTime::now() + 10_000 * HOUR
}

/// A host whose time is simulated, with its store.
struct Host {
    sim: Simulation,
    subscription: Subscription,
    connection: Connection,
    feed: Feed,
    settings: StoreSettings,
    schedule: SealSchedule,
    /// The boot clock at the start.
    boot: Duration,
    started: std::time::Instant,
}

impl Host {
    fn start(path: &Path, config: Config) -> Self {
        Self::start_at(path, Simulation::new(config).unwrap(), 1_000 * SECOND, Some("boot"))
    }

    fn start_at(path: &Path, sim: Simulation, boot: Duration, boot_id: Option<&str>) -> Self {
        let settings = settings(path);
        let mut connection = open_or_replace(path, false, SystemTime::now()).unwrap().connection;
        let snapshot = sim.snapshot();
        let start =
            TickTime { at_ms: unix_ms(snapshot.started_at()), boot_ms: boot.as_millis() as i64 };
        let of = SessionOf {
            boot_id: boot_id.map(str::to_owned),
            start,
            now: start,
            poll_ms: snapshot.poll_interval().as_millis() as i64,
            resumed: snapshot.resumed(),
            tick: snapshot.tick(),
        };
        let start = begin_session(&mut connection, &settings, &of).unwrap();
        Self {
            subscription: sim.subscribe(),
            started: snapshot.0.info.started_instant,
            sim,
            connection,
            feed: Feed::new(start),
            settings,
            schedule: SealSchedule::default(),
            boot,
        }
    }

    fn receive(&mut self) {
        while let Ok(notification) = self.subscription.try_recv() {
            self.feed.notify(&notification);
        }
    }

    fn look(&mut self) -> Snapshot {
        self.receive();
        self.look_without_notifications()
    }

    fn look_without_notifications(&mut self) -> Snapshot {
        let snapshot = self.sim.snapshot();
        let since_start = snapshot.0.sampled_at().boot.saturating_sub(snapshot.0.info.started.boot);
        self.feed.look(&snapshot, self.boot + since_start);
        snapshot
    }

    fn tick<O: Into<Observed>>(&mut self, observe: impl FnMut(u32) -> O) {
        self.sim.tick(observe);
        self.look();
    }

    /// A write, and what is due after it.
    fn write(&mut self) -> Due {
        let bytes = write(&mut self.connection, &self.feed, false).unwrap();
        self.feed.on_written(false);
        let due = self.schedule.on_written(&self.feed.host, bytes, self.settings.max_bytes);
        self.seal(due);
        due
    }

    fn seal(&mut self, due: Due) {
        seal(&mut self.connection, &self.settings, &mut self.feed.host, due).unwrap();
        self.schedule.on_done(due, &self.feed.host);
    }

    /// The end of a host that stops its recorder.
    fn stop(mut self) -> Simulation {
        self.look();
        write(&mut self.connection, &self.feed, true).unwrap();
        self.sim
    }

    fn reader(&self) -> StoreReader {
        StoreReader::new(self.settings.path.clone())
    }
}

/// A life with changes of all columns.
fn observed(tick: u64, pid: u32) -> Observed {
    let main = Usage {
        cpu_time: Duration::from_millis(
            tick * tick * u64::from(pid % 7 + 1) % 4_000 + tick * 5_000,
        ),
        memory_bytes: (50 << 20) + (tick % 11) * 4_096 * u64::from(pid),
    };
    if pid.is_multiple_of(2) {
        return Observed::Running(main);
    }
    let tree = Usage { cpu_time: main.cpu_time * 2, memory_bytes: main.memory_bytes * 3 };
    Observed::RunningTree { main, tree, processes: 3 + (tick % 2) as u32 }
}
