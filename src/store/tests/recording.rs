//! The reader returns the recorded values.

use super::*;
use crate::snapshot::aggregates::Summary;
use crate::snapshot::run::RunEnd;
use crate::store::measures::{RollupTable, SampleRow};
use crate::store::run_rows::{NotificationRow, RunRow};
use crate::store::tables::{HostRow, PluginRow};
use crate::store::values::{Quantile, Resolution, StoredSummary};

pub(super) fn config() -> Config {
    Config::default().poll_interval(5 * SECOND).history_duration(4 * HOUR)
}

/// Three plugins for this many ticks, and a write each minute.
pub(super) fn record(path: &Path, ticks: u64) -> Host {
    let mut host = Host::start(path, config());
    let plugins = ["cat", "dice", "idle"].map(|name| host.sim.register(name).unwrap());
    plugins[0].started(100, "1.0");
    plugins[1].started(101, "");
    for tick in 0..ticks {
        plugins[0].events().add(tick % 5);
        plugins[1].event_counter("command").unwrap().add(tick % 3);
        if tick == 50 {
            plugins[1].crashed();
            plugins[1].started(103, "2.0");
        }
        host.tick(|pid| observed(tick, pid));
        if tick % 12 == 11 {
            host.write();
        }
    }
    host
}

fn assert_summary(stored: Option<StoredSummary>, summary: Option<Summary>) {
    let (stored, summary) = match (stored, summary) {
        (Some(stored), Some(summary)) => (stored, summary),
        (None, None) => return,
        other => panic!("{other:?}"),
    };
    assert_eq!(stored.count, summary.count as u64);
    assert_eq!((stored.min, stored.max), (summary.min, summary.max));
    assert!((stored.avg - summary.avg).abs() <= summary.avg.abs() * 1e-12);
    match stored.p95 {
        Quantile::Exact(p95) => assert_eq!(p95, summary.p95),
        Quantile::Within { value, relative_error } => {
            assert!((value - summary.p95).abs() <= relative_error * summary.p95 * (1.0 + 1e-9));
        }
    }
}

/// So that a seal needs no more memory than for the longest poll intervals.
#[test]
fn blocks_of_short_poll_intervals_are_bounded() {
    const TICKS: u64 = 10_000;
    let folder = Folder::new("blocks");
    let config = Config::default().poll_interval(SECOND / 10).history_duration(HOUR);
    let mut host = Host::start(&folder.file(), config);
    let dice = host.sim.register("dice").unwrap();
    dice.started(101, "");
    for tick in 0..TICKS {
        dice.events().add(tick % 3);
        host.tick(|pid| observed(tick, pid));
        // At last an hour that has several blocks' samples is sealed at once.
        match tick % 1_000 {
            199 | 399 if tick < 5_000 => drop(host.write()),
            999 => {
                host.write();
                if tick < 5_000 {
                    host.seal(Due::SealAll);
                }
            }
            _ => {}
        }
    }
    host.seal(Due::SealAll);
    let sizes: Vec<i64> = {
        let mut statement = host.connection.prepare("SELECT samples FROM sample").unwrap();
        let sizes = statement.query_map([], |row| row.get(0)).unwrap();
        sizes.map(Result::unwrap).collect()
    };
    assert!(sizes.iter().all(|&size| size <= 4_096), "{sizes:?}");
    // Each of seven seals would leave one or two more. An hour may begin in between.
    assert!(sizes.len() <= 5, "blocks of the same hour are joined: {sizes:?}");
    let points = host.reader().points("dice", all(), Resolution::Raw);
    let snapshot = host.sim.snapshot();
    let history = snapshot.plugin("dice").unwrap().history(Window::All);
    let stored =
        points.iter().map(|point| (unix_ms(point.timestamp), point.cpu_percent.map(|cpu| cpu.avg)));
    let sampled = history.map(|sample| (unix_ms(sample.timestamp), sample.cpu_percent));
    assert!(stored.eq(sampled));
    assert_eq!(points.len(), TICKS as usize);
    assert_eq!(
        points.iter().map(|point| point.events).sum::<u64>(),
        (0..TICKS).map(|tick| tick % 3).sum::<u64>()
    );
}

#[test]
fn samples_are_read_as_recorded() {
    let folder = Folder::new("samples");
    // Sealed, written, and in between.
    for ticks in [12, 131, 132, 840] {
        let _: Result<(), _> = std::fs::remove_file(folder.file());
        let host = record(&folder.file(), ticks);
        let snapshot = host.sim.snapshot();
        let written = (ticks - ticks % 12) as usize;
        let reader = host.reader();
        for view in snapshot.plugins() {
            let points = reader.points(view.name(), all(), Resolution::Raw);
            assert_eq!(points.len(), written, "{}: {:?}", view.name(), reader.error());
            let mut events = 0;
            for (point, sample) in points.iter().zip(view.history(Window::All)) {
                assert_eq!(unix_ms(point.timestamp), unix_ms(sample.timestamp));
                assert_eq!(point.cpu_percent.map(|cpu| cpu.avg), sample.cpu_percent);
                let bytes = sample.memory_bytes.map(|bytes| bytes as f64);
                assert_eq!(point.memory.map(|memory| memory.avg), bytes);
                assert_eq!(point.tree_cpu_percent.map(|cpu| cpu.avg), sample.tree_cpu_percent);
                let bytes = sample.tree_memory_bytes.map(|bytes| bytes as f64);
                assert_eq!(point.tree_memory.map(|memory| memory.avg), bytes);
                assert_eq!((point.state, point.sample_count), (Some(sample.state), 1));
                events += point.events;
                assert_eq!(events, sample.event_count);
            }
        }
    }
}

#[test]
fn aggregates_are_those_of_samples() {
    let folder = Folder::new("aggregates");
    let host = record(&folder.file(), 1_440);
    let (snapshot, reader) = (host.sim.snapshot(), host.reader());
    for view in snapshot.plugins() {
        let stored = reader.aggregates(view.name(), all());
        // Of hours, because "all" is longer than samples are kept.
        assert_eq!(stored.resolution, Resolution::Hour, "{:?}", reader.error());
        let exact =
            reader.aggregates(view.name(), snapshot.started_at()..snapshot.started_at() + 3 * HOUR);
        assert_eq!(exact.resolution, Resolution::Raw);
        let week = snapshot.started_at()..snapshot.started_at() + 50 * HOUR;
        let minutes = reader.aggregates(view.name(), week);
        assert_eq!(minutes.resolution, Resolution::Minute);
        let expected = view.aggregates(Window::All).unwrap();
        for stored in [stored, minutes, exact] {
            assert_eq!(stored.sample_count, expected.sample_count as u64);
            assert_summary(stored.cpu, expected.cpu);
            assert_summary(stored.memory, expected.memory);
            assert_summary(stored.tree_cpu, expected.tree_cpu);
            assert_summary(stored.tree_memory, expected.tree_memory);
            assert_eq!(stored.events, view.event_count());
            assert_eq!(stored.crashes, view.crash_count());
            // The first sample counts too.
            assert_eq!(stored.time_span, expected.time_span + 5 * SECOND);
            let rate = stored.events as f64 / stored.time_span.as_secs_f64();
            assert_eq!(stored.events_per_second, rate);
        }
    }
}

/// Shares of runs that begin between two ticks cover less than the time since the tick before.
#[test]
fn cpu_time_is_that_of_the_counter() {
    let folder = Folder::new("recorded-cpu-time");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    for run in 1..40 {
        host.sim.advance(Duration::from_millis(700 * u64::from(run % 7)));
        plugin.started(run, "1.0");
        let mut cpu_time = Duration::ZERO;
        for _ in 0..1 + run % 3 {
            cpu_time += Duration::from_millis(130);
            let main = Usage { cpu_time, memory_bytes: 1 << 20 };
            let tree = Usage { cpu_time: 2 * cpu_time, ..main };
            host.tick(|_| Observed::RunningTree { main, tree, processes: 2 });
        }
        plugin.stopped();
        host.sim.advance(Duration::ZERO);
        if run % 4 == 0 {
            host.write();
        }
    }
    host.write();
    let counter = host.sim.snapshot().plugin("dice").unwrap().tree_cpu_time();
    let start = host.sim.snapshot().started_at();
    let stored = host.reader().aggregates("dice", start..start + HOUR);
    assert_eq!(stored.resolution, Resolution::Raw);
    let difference = stored.cpu_time.abs_diff(counter);
    assert!(difference < Duration::from_millis(5), "{:?}, not {counter:?}", stored.cpu_time);
    host.stop();
    let reader = StoreReader::open(folder.file()).unwrap();
    let hours = reader.aggregates("dice", all()).cpu_time;
    assert!(hours.abs_diff(counter) < Duration::from_millis(5), "{hours:?}, not {counter:?}");
}

#[test]
fn rollups_are_those_of_their_samples() {
    let folder = Folder::new("rollups");
    let host = record(&folder.file(), 1_500);
    for name in ["cat", "dice"] {
        assert_rollups(&host.reader(), name, [3, 3]);
    }
}

/// A batch of 25 minutes, as after an error.
#[test]
fn late_write_has_rollups_of_all_minutes() {
    let folder = Folder::new("late-write");
    let mut host = Host::start(&folder.file(), config());
    for (name, pid) in [("cat", 100), ("dice", 101)] {
        host.sim.register(name).unwrap().started(pid, "1.0");
    }
    (0..300).for_each(|tick| host.tick(|pid| observed(tick, pid)));
    host.write();
    host.seal(Due::SealAll);
    for name in ["cat", "dice"] {
        assert_rollups(&host.reader(), name, [25, 1]);
    }
}

/// The minutes and hours of a plugin, of which there are `least`, are those of its samples.
fn assert_rollups(reader: &StoreReader, name: &str, least: [usize; 2]) {
    let raw = reader.points(name, all(), Resolution::Raw);
    let resolutions = [(Resolution::Minute, 60_000), (Resolution::Hour, 3_600_000)];
    for ((resolution, length_ms), least) in resolutions.into_iter().zip(least) {
        let rollups = reader.points(name, all(), resolution);
        assert!(rollups.len() >= least, "{resolution:?}: {}", rollups.len());
        let mut samples = 0;
        for rollup in &rollups {
            let begin = unix_ms(rollup.timestamp);
            assert_eq!(begin % length_ms, 0);
            let within: Vec<_> = raw
                .iter()
                .filter(|point| (begin..begin + length_ms).contains(&unix_ms(point.timestamp)))
                .collect();
            assert_eq!(rollup.sample_count, within.len() as u64);
            assert_eq!(rollup.events, within.iter().map(|point| point.events).sum::<u64>());
            let cpu = within.iter().filter_map(|point| point.cpu_percent);
            let max = cpu.map(|cpu| cpu.max).fold(f64::MIN, f64::max);
            assert_eq!(rollup.cpu_percent.unwrap().max, max);
            samples += rollup.sample_count;
        }
        assert_eq!(samples, raw.len() as u64);
    }
}

#[test]
fn runs_counters_and_notifications_are_recorded() {
    let folder = Folder::new("runs");
    let host = record(&folder.file(), 120);
    let (snapshot, reader) = (host.sim.snapshot(), host.reader());
    let runs = reader.runs("dice");
    let expected: Vec<_> = snapshot.plugin("dice").unwrap().runs().collect();
    assert_eq!(runs.len(), 2);
    for (run, expected) in runs.iter().zip(expected) {
        assert_eq!(
            (run.pid, run.end, &run.version),
            (expected.pid, expected.end, &expected.version)
        );
        assert_eq!(run.cpu_time, expected.cpu_time);
        assert_eq!(unix_ms(run.reported_at), unix_ms(expected.reported_at));
    }
    assert_eq!((runs[0].end, runs[1].end), (Some(RunEnd::Crashed), None));
    for (plugin, view) in reader.plugins().iter().zip(snapshot.plugins()) {
        assert_eq!(&*plugin.name, view.name());
        assert_eq!(plugin.event_count, view.event_count());
        assert_eq!(plugin.crash_count, view.crash_count());
        assert_eq!(plugin.restart_count, view.restart_count());
        assert_eq!(plugin.cpu_time, view.cpu_time());
        assert_eq!(plugin.tree_cpu_time, view.tree_cpu_time());
        let kinds = plugin.event_counts.iter().map(|(kind, count)| (&**kind, *count));
        assert!(kinds.eq(view.event_counts()));
    }
    let texts: Vec<_> = reader.notifications(all()).into_iter().map(|n| n.text).collect();
    let crash = texts.iter().filter(|text| text.starts_with("crash counted")).count();
    let registered = texts.iter().filter(|text| *text == "registered").count();
    assert_eq!((registered, crash), (3, 1), "{texts:?}");
}

/// The views have names, percent, MB and times.
#[test]
fn views_are_for_people() {
    let folder = Folder::new("views");
    let host = record(&folder.file(), 1_440);
    let row = |sql: &str| {
        let read = |row: &rusqlite::Row<'_>| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, f64>(2)?))
        };
        host.connection.query_row(sql, [], read).unwrap()
    };
    let (name, at, mb) = row(
        "SELECT plugin, at, memory_max_mb FROM minutes WHERE plugin = 'cat' ORDER BY at LIMIT 1",
    );
    assert_eq!((&*name, at.len(), &at[19..]), ("cat", 20, "Z"));
    assert!((50.0..60.0).contains(&mb), "{mb}");
    let (name, at, cpu) =
        row("SELECT plugin, at, tree_cpu_percent FROM hours WHERE plugin = 'dice'");
    assert_eq!((&*name, &at[14..]), ("dice", "00:00Z"));
    assert!(cpu > 0.0);
    // A plugin without a process has samples without values.
    let mut idle = Host::start(&folder.0.join("idle.db"), config());
    idle.sim.register("idle").unwrap();
    idle.tick(|_| None);
    let idle_path = idle.settings.path.clone();
    idle.stop();
    let gauges = "coalesce(cpu_min_percent, cpu_percent, cpu_max_percent, memory_min_mb, memory_mb, memory_max_mb,
        tree_cpu_percent, tree_cpu_max_percent, tree_memory_mb, tree_memory_max_mb)";
    for view in ["minutes", "hours"] {
        let sql = format!("SELECT samples, {gauges} FROM {view}");
        let connection = Connection::open(&idle_path).unwrap();
        let row = connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(row, (1, None::<f64>), "{view}");
    }
    for view in ["plugins", "runs", "notifications", "sessions", "event_kinds"] {
        let sql = format!("SELECT count(*) FROM {view}");
        let count: i64 = host.connection.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert!(count > 0, "{view}");
    }
}

#[test]
fn removed_plugin_and_its_successor_are_two() {
    let folder = Folder::new("removed");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("job").unwrap();
    plugin.events().add(7);
    host.tick(|_| None);
    plugin.remove();
    let next = host.sim.register("job").unwrap();
    next.events().add(2);
    host.tick(|_| None);
    host.tick(|_| None);
    host.write();
    let plugins = host.reader().plugins();
    assert_eq!(plugins.iter().map(|p| p.event_count).collect::<Vec<_>>(), [7, 2]);
    assert!(plugins[0].removed_at.is_some() && plugins[1].removed_at.is_none());
    let points = host.reader().points("job", all(), Resolution::Raw);
    assert_eq!(points.iter().map(|point| point.events).collect::<Vec<_>>(), [7, 2, 0]);
}

/// A recorder that is late takes the ticks from the history.
#[test]
fn late_look_takes_all_ticks() {
    let folder = Folder::new("late");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    for tick in 0..500_u64 {
        plugin.events().add(tick);
        host.sim.tick(|pid| observed(tick, pid));
        if tick.is_multiple_of(37) {
            host.look();
        }
        if tick.is_multiple_of(100) {
            host.write();
        }
    }
    host.look();
    host.write();
    let points = host.reader().points("dice", all(), Resolution::Raw);
    assert!(points.iter().map(|point| point.events).eq(0..500));
    let snapshot = host.sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    let times = view.history(Window::All).map(|sample| unix_ms(sample.timestamp));
    assert!(points.iter().map(|point| unix_ms(point.timestamp)).eq(times));
}

/// Also where two sessions are in the same minute.
#[test]
fn views_have_the_values_of_points() {
    let folder = Folder::new("views-points");
    record(&folder.file(), 1_439).stop();
    let host = record(&folder.file(), 30);
    let (reader, path) = (host.reader(), folder.file());
    host.stop();
    let connection = Connection::open(&path).unwrap();
    for (view, resolution) in [("minutes", Resolution::Minute), ("hours", Resolution::Hour)] {
        for (name, mut left) in [("cat", 1_469_u64), ("dice", 1_469), ("idle", 1_469)] {
            let sql = format!(
                "SELECT unix_time * 1000, samples, events, crashes, cpu_min_percent, cpu_percent, cpu_max_percent,
                     memory_min_mb, memory_mb, memory_max_mb, tree_cpu_percent, tree_cpu_max_percent,
                     tree_memory_mb, tree_memory_max_mb
                 FROM {view} WHERE plugin = ?1 ORDER BY 1"
            );
            let mut statement = connection.prepare(&sql).unwrap();
            let mut rows = statement.query([name]).unwrap();
            for point in reader.points(name, all(), resolution) {
                let row = rows.next().unwrap().unwrap();
                let int = |at: usize| row.get::<_, i64>(at).unwrap();
                assert_eq!(int(0), unix_ms(point.timestamp));
                let counts = [point.sample_count, point.events, point.crashes];
                assert_eq!([1, 2, 3].map(|at| int(at) as u64), counts, "{name} in {view}");
                left -= point.sample_count;
                let mb = 1_048_576.0;
                let of = |range: Option<crate::ValueRange>, unit: f64| {
                    let range = range.map(|range| [range.min, range.avg, range.max]);
                    range.map_or([None; 3], |range| range.map(|value| Some(value / unit)))
                };
                let (tree_cpu, tree_memory) =
                    (of(point.tree_cpu_percent, 1.0), of(point.tree_memory, mb));
                let expected = of(point.cpu_percent, 1.0).into_iter().chain(of(point.memory, mb));
                let expected =
                    expected.chain(tree_cpu[1..].to_vec()).chain(tree_memory[1..].to_vec());
                for (at, expected) in (4..).zip(expected) {
                    let value: Option<f64> = row.get(at).unwrap();
                    match (value, expected) {
                        (Some(value), Some(expected)) => {
                            assert!(
                                (value - expected).abs() <= expected * 1e-12,
                                "{value} {expected}"
                            );
                        }
                        (value, expected) => assert_eq!(value, expected, "{name}: {at} in {view}"),
                    }
                }
            }
            assert!(rows.next().unwrap().is_none());
            assert_eq!(left, 0, "{name} in {view}");
        }
    }
}

/// A row of which one value is another one is not used, because its CRC does not fit.
#[test]
fn changed_row_is_not_used() {
    let folder = Folder::new("changed-rows");
    let Host { connection, .. } = record(&folder.file(), 1_440);
    let dice = PluginRow::named(&connection, "dice").unwrap()[0].id;
    let rows = |table: &str| {
        let (db, end) = (&connection, i64::MAX);
        let count = match table {
            "host" => HostRow::all(db).map(|rows| rows.len()),
            "plugin" => PluginRow::all(db).map(|rows| rows.len()),
            "run" => RunRow::of_plugin(db, dice).map(|rows| rows.len()),
            "notification" => NotificationRow::between(db, 0, end).map(|rows| rows.len()),
            "sample" => SampleRow::between(db, dice, 0, end).map(|rows| rows.len()),
            "minute" => RollupTable::Minute.between(db, dice, 0, end).map(|rows| rows.len()),
            _ => RollupTable::Hour.between(db, dice, 0, end).map(|rows| rows.len()),
        };
        count.unwrap_or(0)
    };
    for table in ["host", "plugin", "run", "notification", "sample", "minute", "hour"] {
        let intact = rows(table);
        assert!(intact > 0, "{table}");
        // The counters of a plugin are read from the blob: their columns are for SQL. Some ids are only an order.
        let is_read = match table {
            "plugin" => "name IN ('id', 'name', 'first_seen_ms', 'removed_ms', 'counters', 'crc')",
            "notification" | "sample" => "name <> 'id'",
            _ => "true",
        };
        let sql = format!("SELECT name, type FROM pragma_table_info('{table}') WHERE {is_read}");
        let mut statement = connection.prepare(&sql).unwrap();
        let columns = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let columns: Vec<(String, String)> = columns.map(Result::unwrap).collect();
        for (column, kind) in columns {
            let of_null = match (&*column, &*kind) {
                ("end_kind", _) => "'stopped'",
                (_, "BLOB") => "x'00'",
                _ => "1",
            };
            let change = format!(
                "UPDATE {table} SET {column} = CASE
                     WHEN {column} IS NULL THEN {of_null}
                     WHEN typeof({column}) = 'blob' THEN CAST({column} || x'00' AS BLOB)
                     WHEN typeof({column}) = 'text' THEN {column} || 'x'
                     WHEN {column} IN (0, 1) THEN 1 - {column}
                     ELSE {column} + 1000000 END"
            );
            connection.execute_batch("SAVEPOINT intact").unwrap();
            // SQLite refuses a change that gives two rows the same key.
            let is_changed = connection.execute(&change, []).is_ok();
            assert!(!is_changed || rows(table) < intact, "{column} of {table}");
            connection.execute_batch("ROLLBACK TO intact; RELEASE intact").unwrap();
            assert_eq!(rows(table), intact, "{column} of {table}");
        }
    }
}

/// The samples of the first and of the second seal are in the same block, which has their times.
#[test]
fn hour_that_is_sealed_twice_has_one_block() {
    let folder = Folder::new("sealed-twice");
    let mut host = record(&folder.file(), 60);
    host.seal(Due::SealAll);
    // A gap, which the next sample covers.
    host.sim.advance(SECOND * 17);
    for tick in 60..120 {
        host.tick(|pid| observed(tick, pid));
    }
    host.write();
    host.seal(Due::SealAll);
    let sql = "SELECT count(*), count(DISTINCT plugin || ' ' || (from_ms / 3600000)), sum(samples)
               FROM sample";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (blocks, hours, samples): (i64, i64, i64) =
        host.connection.query_row(sql, [], read).unwrap();
    assert_eq!((blocks, samples), (hours, 3 * 120));
    let recent: i64 =
        host.connection.query_row("SELECT count(*) FROM recent", [], |row| row.get(0)).unwrap();
    assert_eq!(recent, 0);
}

#[test]
fn runs_are_read_as_written() {
    let folder = Folder::new("run-rows");
    let host = Host::start(&folder.file(), config());
    let ends = [
        None,
        Some(RunEnd::Exited(-3)),
        Some(RunEnd::Signaled(9)),
        Some(RunEnd::Replaced),
        Some(RunEnd::Stopped),
        Some(RunEnd::Crashed),
        Some(RunEnd::Unknown),
        Some(RunEnd::HostGone),
    ];
    let run = |(id, end): (i64, Option<RunEnd>)| RunRow {
        id,
        plugin: 7,
        number: id as u64 + 1,
        host: 2,
        pid: u32::MAX,
        version: (id > 2).then(|| "1.0".to_owned()),
        started_ms: (id > 3).then_some(-5),
        reported_ms: 10 * id,
        ended_ms: end.map(|_| 10 * id + 1),
        end,
        cpu_ns: (id > 4).then_some(i64::MAX as u64),
        peak_bytes: (id > 5).then_some(0),
        oom_killed: (id > 1).then_some(id % 2 == 0),
        is_crash: id % 3 == 0,
    };
    let runs: Vec<_> = (0..).zip(ends).map(run).collect();
    runs.iter().for_each(|run| run.put(&host.connection).unwrap());
    assert_eq!(RunRow::of_plugin(&host.connection, 7).unwrap(), runs);
    assert_eq!(RunRow::active(&host.connection).unwrap(), runs[..1]);
}
