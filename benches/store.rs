//! The cost of a store, beside bare inserts of as many bytes into SQLite: a write of ten and of a thousand
//! plugins with twelve ticks each, an hour read back, and the bytes on disk of a sample, after two hours and a day.
//!
//! Prints a table. The CPU time is that of the recorder's thread, from `/proc/self/task/TID/schedstat`: the
//! looks at twelve ticks, the write, a tenth of the rollups of ten minutes, and a sixtieth of an hour's seal.
//! The bytes are those of the log and of the file, with the checkpoints between; those of times are more than
//! elsewhere, because simulated time passes faster than the boot clock. Linux only.

mod peers;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use plugmeter::{Resolution, Store, StoreConfig};
use rusqlite::Connection;
use support::Full;

/// The shortest that a store accepts.
const WRITE_INTERVAL: Duration = Duration::from_millis(100);
/// Ticks of a minute.
const TICKS: usize = 12;
/// Two hours.
const WRITES: u32 = 120;

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("plugmeter-bench-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the folder is new");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// CPU time of the recorder's thread so far.
fn recorder_cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let is_recorder = name.trim() == "plugmeter-store";
        stat.split(' ').next()?.parse::<u64>().ok().filter(|_| is_recorder)
    });
    Duration::from_nanos(nanos.sum())
}

/// Bytes that this process has caused to be written.
fn written_bytes() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// CPU time of this thread so far.
fn own_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Bare inserts of blobs of this size, each in a transaction that is synced. Returns wall and CPU time of each.
fn floor(path: &Path, bytes: usize) -> (Duration, Duration) {
    let connection = Connection::open(path).expect("the path is writable");
    let setup =
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE blob (data BLOB)";
    connection.execute_batch(setup).expect("the file is new");
    let blob = vec![0x5a_u8; bytes];
    let (start, cpu) = (Instant::now(), own_cpu());
    for _ in 0..WRITES {
        connection.execute("INSERT INTO blob VALUES (?1)", [&blob]).expect("there is room");
    }
    (start.elapsed() / WRITES, (own_cpu() - cpu) / WRITES)
}

fn writes(plugins: usize) {
    let folder = Folder::new();
    let path = folder.0.join("plugmeter.db");
    let config = StoreConfig::new(&path).write_interval(WRITE_INTERVAL);
    let store = Store::open(config).expect("the file is new");
    // A history of ten minutes: a recorder that is late on a busy machine loses no tick.
    let mut full = Full::new(plugins, 10 * TICKS);
    let recorder = store.record(full.sim.reader()).expect("a thread starts");
    // The first write has the history.
    std::thread::sleep(WRITE_INTERVAL * 10);
    let (cpu, written) = (recorder_cpu(), written_bytes());
    for _ in 0..WRITES {
        let start = Instant::now();
        (0..TICKS).for_each(|_| full.tick());
        std::thread::sleep(WRITE_INTERVAL.saturating_sub(start.elapsed()));
    }
    let (cpu, written) = (recorder_cpu() - cpu, written_bytes() - written);
    recorder.stop();
    let recorded: i64 = Connection::open(&path)
        .and_then(|file| file.query_row("SELECT sum(samples) FROM sample", [], |row| row.get(0)))
        .expect("samples are sealed");
    let per_write = written / u64::from(WRITES);
    let size = fs::metadata(&path).expect("it exists").len();
    println!("{plugins} plugins, {TICKS} ticks a write, {recorded} samples:");
    println!("  bytes on disk a sample       {:>10.2}", size as f64 / recorded as f64);
    println!("  recorder, CPU time a write   {:>10.3?}", cpu / WRITES);
    println!("  bytes written a write        {per_write:>10}");
    println!("  bytes written a day          {:>10}", per_write * 1_440);
    // The log and the file are written.
    let (wall, bare) = floor(&folder.0.join("bare.db"), per_write as usize / 2);
    println!("  bare insert of half of that  {bare:>10.3?} of CPU time, {wall:.3?} in all");
}

/// Bytes by table, with their free room. The tables of runs and plugins are of a size of their own.
fn tables(path: &Path, samples: u64) {
    let connection = Connection::open(path).expect("it exists");
    let sql = "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 4";
    let mut statement = connection.prepare(sql).expect("SQLite is built with dbstat");
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)));
    for (name, bytes) in rows.expect("it is valid").flatten() {
        println!("  {name:<16} {:>6.2} bytes a sample", bytes as f64 / samples as f64);
    }
}

/// A day, an hour at a time: without the batches of an hour that is not over.
fn day() {
    let folder = Folder::new();
    let path = folder.0.join("plugmeter.db");
    let config = StoreConfig::new(&path).write_interval(WRITE_INTERVAL);
    let store = Store::open(config).expect("the file is new");
    let mut full = Full::new(10, support::HOUR);
    for hour in 0..24 {
        if hour > 0 {
            (0..support::HOUR).for_each(|_| full.tick());
        }
        // The recorder takes the hour from the history.
        store.record(full.sim.reader()).expect("a thread starts").stop();
    }
    let samples: i64 = Connection::open(&path)
        .and_then(|file| file.query_row("SELECT sum(samples) FROM sample", [], |row| row.get(0)))
        .expect("samples are sealed");
    let size = fs::metadata(&path).expect("it exists").len();
    println!(
        "a day of 10 plugins, {samples} samples: {:.2} a sample",
        size as f64 / samples as f64
    );
    tables(&path, samples as u64);
}

fn hour() {
    let folder = Folder::new();
    let path = folder.0.join("plugmeter.db");
    let config = StoreConfig::new(&path).write_interval(WRITE_INTERVAL);
    let store = Store::open(config).expect("the file is new");
    // The history holds the hour, and the recorder takes it from there.
    let full = Full::new(10, support::HOUR);
    let recorder = store.record(full.sim.reader()).expect("a thread starts");
    recorder.stop();
    let size = fs::metadata(&path).expect("it exists").len();
    let samples: u64 = {
        let always = UNIX_EPOCH..SystemTime::now() + Duration::from_secs(1_000_000);
        let reader = store.reader();
        let plugins = reader.plugins();
        plugins.iter().map(|p| reader.aggregates(&p.name, always.clone()).sample_count).sum()
    };
    println!(
        "an hour of 10 plugins, {samples} samples, {size} bytes: {:.2} a sample",
        size as f64 / samples as f64
    );
    let reader = store.reader();
    let (name, to) = (peers::name(3), full.sim.snapshot().sampled_at());
    let range = to - Duration::from_secs(3_500)..to;
    for resolution in [Resolution::Raw, Resolution::Minute, Resolution::Hour] {
        let (start, mut points) = (Instant::now(), 0);
        for _ in 0..20 {
            points = reader.points(&name, range.clone(), resolution).len();
        }
        println!("  points, {resolution:?}: {:.3?} for {points}", start.elapsed() / 20);
    }
    let start = Instant::now();
    for _ in 0..20 {
        std::hint::black_box(reader.aggregates(&name, range.clone()));
    }
    println!("  exact aggregates: {:.3?}", start.elapsed() / 20);
}

fn main() {
    writes(10);
    writes(1_000);
    hour();
    day();
}
