-- Layout 1. Times are milliseconds since 1970 (UTC), CPU is in thousandths of a percent of one core,
-- memory in KiB, CPU time in nanoseconds, that of rollups in microseconds. `crc` is the CRC-32 of the values of
-- its row; the blobs `data` and `counters` end with one. `recent` has the samples of the hour that is not over;
-- those before `rolled_up_ms` of the newest session are in `minute` too. The id of a plugin is not used again, because
-- rollups may outlive its row.
--
-- A row of `minute` has the ten minutes from ten_minutes * 600 s, one of `hour` the hour from hour * 3600 s: rows are
-- in the order in which they are written. Their columns have a number for each minute, or that of the hour, in
-- decimal digits, two a byte and all of equal width: hex() shows them. No bytes are zeros. A count is NULL if it is
-- the number of samples, and the columns of trees are if their values are those of the processes. `details` has the times that
-- the samples cover, and the sketches for percentiles.
CREATE TABLE host (
    id INTEGER PRIMARY KEY, boot_id TEXT, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
    end_boot_ms INTEGER NOT NULL, clean INTEGER NOT NULL, poll_ms INTEGER NOT NULL,
    clock_step_ms INTEGER NOT NULL, rolled_up_ms INTEGER NOT NULL, crc INTEGER NOT NULL
);
CREATE TABLE plugin (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, first_seen_ms INTEGER NOT NULL, removed_ms INTEGER,
    events INTEGER NOT NULL, crashes INTEGER NOT NULL, restarts INTEGER NOT NULL,
    unknown_ends INTEGER NOT NULL, last_crash_ms INTEGER, cpu_ns INTEGER NOT NULL,
    tree_cpu_ns INTEGER NOT NULL, counters BLOB NOT NULL, crc INTEGER NOT NULL
);
CREATE INDEX plugin_name ON plugin (name);
CREATE TABLE event_kind (
    plugin INTEGER NOT NULL, name TEXT NOT NULL, events INTEGER NOT NULL, PRIMARY KEY (plugin, name)
) WITHOUT ROWID;
CREATE TABLE run (
    id INTEGER PRIMARY KEY, plugin INTEGER NOT NULL, number INTEGER NOT NULL, host INTEGER NOT NULL,
    pid INTEGER NOT NULL, version TEXT, started_ms INTEGER, reported_ms INTEGER NOT NULL,
    ended_ms INTEGER, end_kind TEXT, end_code INTEGER, cpu_ns INTEGER, peak_bytes INTEGER,
    oom_killed INTEGER, is_crash INTEGER NOT NULL, crc INTEGER NOT NULL
);
CREATE INDEX run_plugin ON run (plugin, number);
CREATE INDEX run_active ON run (id) WHERE ended_ms IS NULL;
CREATE TABLE notification (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, plugin TEXT NOT NULL, kind TEXT NOT NULL,
    text TEXT NOT NULL, json TEXT NOT NULL, crc INTEGER NOT NULL
);
CREATE INDEX notification_at ON notification (at_ms);
CREATE TABLE recent (
    id INTEGER PRIMARY KEY, host INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE TABLE sample (
    id INTEGER PRIMARY KEY, plugin INTEGER NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL,
    samples INTEGER NOT NULL, data BLOB NOT NULL, crc INTEGER NOT NULL
);
CREATE UNIQUE INDEX sample_plugin ON sample (plugin, from_ms);
CREATE INDEX sample_to ON sample (to_ms);
CREATE TABLE minute (
    ten_minutes INTEGER NOT NULL, plugin INTEGER NOT NULL,
    samples BLOB NOT NULL, cpu_us BLOB NOT NULL, events BLOB NOT NULL, crashes BLOB NOT NULL,
    cpu_min BLOB NOT NULL, cpu_max BLOB NOT NULL, cpu_sum BLOB NOT NULL, cpu_count BLOB,
    memory_min BLOB NOT NULL, memory_max BLOB NOT NULL, memory_sum BLOB NOT NULL, memory_count BLOB,
    tree_cpu_min BLOB, tree_cpu_max BLOB, tree_cpu_sum BLOB, tree_cpu_count BLOB,
    tree_memory_min BLOB, tree_memory_max BLOB, tree_memory_sum BLOB, tree_memory_count BLOB,
    details BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (ten_minutes, plugin)
) WITHOUT ROWID;
CREATE TABLE hour (
    hour INTEGER NOT NULL, plugin INTEGER NOT NULL,
    samples BLOB NOT NULL, cpu_us BLOB NOT NULL, events BLOB NOT NULL, crashes BLOB NOT NULL,
    cpu_min BLOB NOT NULL, cpu_max BLOB NOT NULL, cpu_sum BLOB NOT NULL, cpu_count BLOB,
    memory_min BLOB NOT NULL, memory_max BLOB NOT NULL, memory_sum BLOB NOT NULL, memory_count BLOB,
    tree_cpu_min BLOB, tree_cpu_max BLOB, tree_cpu_sum BLOB, tree_cpu_count BLOB,
    tree_memory_min BLOB, tree_memory_max BLOB, tree_memory_sum BLOB, tree_memory_count BLOB,
    details BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (hour, plugin)
) WITHOUT ROWID;

CREATE VIEW plugins AS SELECT
    name, strftime('%Y-%m-%dT%H:%M:%fZ', first_seen_ms / 1000.0, 'unixepoch') AS first_seen,
    strftime('%Y-%m-%dT%H:%M:%fZ', removed_ms / 1000.0, 'unixepoch') AS removed,
    events, crashes, restarts, unknown_ends,
    strftime('%Y-%m-%dT%H:%M:%fZ', last_crash_ms / 1000.0, 'unixepoch') AS last_crash,
    cpu_ns / 1e9 AS cpu_seconds, tree_cpu_ns / 1e9 AS tree_cpu_seconds, id AS plugin_id
FROM plugin;
CREATE VIEW event_kinds AS SELECT p.name AS plugin, k.name AS kind, k.events
FROM event_kind k JOIN plugin p ON p.id = k.plugin;
CREATE VIEW sessions AS SELECT
    id, strftime('%Y-%m-%dT%H:%M:%fZ', start_ms / 1000.0, 'unixepoch') AS started,
    strftime('%Y-%m-%dT%H:%M:%fZ', max(
        end_ms, coalesce((SELECT max(last_ms) FROM recent WHERE recent.host = host.id), end_ms)
    ) / 1000.0, 'unixepoch') AS newest_sample,
    clean, poll_ms / 1000.0 AS poll_interval, clock_step_ms / 1000.0 AS clock_step, boot_id
FROM host;
CREATE VIEW runs AS SELECT
    p.name AS plugin, r.pid, r.version,
    strftime('%Y-%m-%dT%H:%M:%fZ', r.started_ms / 1000.0, 'unixepoch') AS started,
    strftime('%Y-%m-%dT%H:%M:%fZ', r.reported_ms / 1000.0, 'unixepoch') AS reported,
    strftime('%Y-%m-%dT%H:%M:%fZ', r.ended_ms / 1000.0, 'unixepoch') AS ended,
    r.end_kind, r.end_code, r.cpu_ns / 1e9 AS cpu_seconds, r.peak_bytes / 1048576.0 AS peak_memory_mb,
    r.oom_killed, r.is_crash, r.host AS session
FROM run r JOIN plugin p ON p.id = r.plugin;
CREATE VIEW notifications AS SELECT
    strftime('%Y-%m-%dT%H:%M:%fZ', at_ms / 1000.0, 'unixepoch') AS at, plugin, kind, text, json
FROM notification;
CREATE VIEW minutes AS WITH ten(n) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)),
digits AS (SELECT
    ten_minutes, plugin, samples, cpu_us, events, crashes,
    cpu_min, cpu_max, cpu_sum, coalesce(cpu_count, samples) AS cpu_count,
    memory_min, memory_max, memory_sum, coalesce(memory_count, samples) AS memory_count,
    coalesce(tree_cpu_max, cpu_max) AS tree_cpu_max, coalesce(tree_cpu_sum, cpu_sum) AS tree_cpu_sum,
    coalesce(tree_cpu_count, cpu_count, samples) AS tree_cpu_count,
    coalesce(tree_memory_max, memory_max) AS tree_memory_max,
    coalesce(tree_memory_sum, memory_sum) AS tree_memory_sum,
    coalesce(tree_memory_count, memory_count, samples) AS tree_memory_count
FROM minute),
numbers AS (SELECT
    plugin, ten_minutes * 600 + n * 60 AS unix_time,
    CAST(hex(substr(samples, n * length(samples) / 10 + 1, length(samples) / 10)) AS INTEGER) AS samples,
    CAST(hex(substr(cpu_us, n * length(cpu_us) / 10 + 1, length(cpu_us) / 10)) AS INTEGER) AS cpu_us,
    CAST(hex(substr(events, n * length(events) / 10 + 1, length(events) / 10)) AS INTEGER) AS events,
    CAST(hex(substr(crashes, n * length(crashes) / 10 + 1, length(crashes) / 10)) AS INTEGER) AS crashes,
    CAST(hex(substr(cpu_min, n * length(cpu_min) / 10 + 1, length(cpu_min) / 10)) AS INTEGER) AS cpu_min,
    CAST(hex(substr(cpu_max, n * length(cpu_max) / 10 + 1, length(cpu_max) / 10)) AS INTEGER) AS cpu_max,
    CAST(hex(substr(cpu_sum, n * length(cpu_sum) / 10 + 1, length(cpu_sum) / 10)) AS INTEGER) AS cpu_sum,
    CAST(hex(substr(cpu_count, n * length(cpu_count) / 10 + 1, length(cpu_count) / 10)) AS INTEGER) AS cpu_count,
    CAST(hex(substr(memory_min, n * length(memory_min) / 10 + 1, length(memory_min) / 10)) AS INTEGER) AS memory_min,
    CAST(hex(substr(memory_max, n * length(memory_max) / 10 + 1, length(memory_max) / 10)) AS INTEGER) AS memory_max,
    CAST(hex(substr(memory_sum, n * length(memory_sum) / 10 + 1, length(memory_sum) / 10)) AS INTEGER) AS memory_sum,
    CAST(hex(substr(memory_count, n * length(memory_count) / 10 + 1, length(memory_count) / 10)) AS INTEGER) AS memory_count,
    CAST(hex(substr(tree_cpu_max, n * length(tree_cpu_max) / 10 + 1, length(tree_cpu_max) / 10)) AS INTEGER) AS tree_cpu_max,
    CAST(hex(substr(tree_cpu_sum, n * length(tree_cpu_sum) / 10 + 1, length(tree_cpu_sum) / 10)) AS INTEGER) AS tree_cpu_sum,
    CAST(hex(substr(tree_cpu_count, n * length(tree_cpu_count) / 10 + 1, length(tree_cpu_count) / 10)) AS INTEGER) AS tree_cpu_count,
    CAST(hex(substr(tree_memory_max, n * length(tree_memory_max) / 10 + 1, length(tree_memory_max) / 10)) AS INTEGER) AS tree_memory_max,
    CAST(hex(substr(tree_memory_sum, n * length(tree_memory_sum) / 10 + 1, length(tree_memory_sum) / 10)) AS INTEGER) AS tree_memory_sum,
    CAST(hex(substr(tree_memory_count, n * length(tree_memory_count) / 10 + 1, length(tree_memory_count) / 10)) AS INTEGER) AS tree_memory_count
FROM digits CROSS JOIN ten)
SELECT
    p.name AS plugin, strftime('%Y-%m-%dT%H:%M:%SZ', unix_time, 'unixepoch') AS at, unix_time, samples,
    iif(cpu_count > 0, cpu_min / 1e3, NULL) AS cpu_min_percent, cpu_sum / 1e3 / nullif(cpu_count, 0) AS cpu_percent,
    iif(cpu_count > 0, cpu_max / 1e3, NULL) AS cpu_max_percent,
    iif(memory_count > 0, memory_min / 1024.0, NULL) AS memory_min_mb,
    memory_sum / 1024.0 / nullif(memory_count, 0) AS memory_mb,
    iif(memory_count > 0, memory_max / 1024.0, NULL) AS memory_max_mb,
    tree_cpu_sum / 1e3 / nullif(tree_cpu_count, 0) AS tree_cpu_percent,
    iif(tree_cpu_count > 0, tree_cpu_max / 1e3, NULL) AS tree_cpu_max_percent,
    tree_memory_sum / 1024.0 / nullif(tree_memory_count, 0) AS tree_memory_mb,
    iif(tree_memory_count > 0, tree_memory_max / 1024.0, NULL) AS tree_memory_max_mb,
    cpu_us / 1e6 AS cpu_seconds, r.events, r.crashes
FROM numbers r JOIN plugin p ON p.id = r.plugin WHERE samples > 0;
CREATE VIEW hours AS WITH
digits AS (SELECT
    hour, plugin, samples, cpu_us, events, crashes,
    cpu_min, cpu_max, cpu_sum, coalesce(cpu_count, samples) AS cpu_count,
    memory_min, memory_max, memory_sum, coalesce(memory_count, samples) AS memory_count,
    coalesce(tree_cpu_max, cpu_max) AS tree_cpu_max, coalesce(tree_cpu_sum, cpu_sum) AS tree_cpu_sum,
    coalesce(tree_cpu_count, cpu_count, samples) AS tree_cpu_count,
    coalesce(tree_memory_max, memory_max) AS tree_memory_max,
    coalesce(tree_memory_sum, memory_sum) AS tree_memory_sum,
    coalesce(tree_memory_count, memory_count, samples) AS tree_memory_count
FROM hour),
numbers AS (SELECT
    plugin, hour * 3600 AS unix_time,
    CAST(hex(samples) AS INTEGER) AS samples,
    CAST(hex(cpu_us) AS INTEGER) AS cpu_us,
    CAST(hex(events) AS INTEGER) AS events,
    CAST(hex(crashes) AS INTEGER) AS crashes,
    CAST(hex(cpu_min) AS INTEGER) AS cpu_min,
    CAST(hex(cpu_max) AS INTEGER) AS cpu_max,
    CAST(hex(cpu_sum) AS INTEGER) AS cpu_sum,
    CAST(hex(cpu_count) AS INTEGER) AS cpu_count,
    CAST(hex(memory_min) AS INTEGER) AS memory_min,
    CAST(hex(memory_max) AS INTEGER) AS memory_max,
    CAST(hex(memory_sum) AS INTEGER) AS memory_sum,
    CAST(hex(memory_count) AS INTEGER) AS memory_count,
    CAST(hex(tree_cpu_max) AS INTEGER) AS tree_cpu_max,
    CAST(hex(tree_cpu_sum) AS INTEGER) AS tree_cpu_sum,
    CAST(hex(tree_cpu_count) AS INTEGER) AS tree_cpu_count,
    CAST(hex(tree_memory_max) AS INTEGER) AS tree_memory_max,
    CAST(hex(tree_memory_sum) AS INTEGER) AS tree_memory_sum,
    CAST(hex(tree_memory_count) AS INTEGER) AS tree_memory_count
FROM digits)
SELECT
    p.name AS plugin, strftime('%Y-%m-%dT%H:%M:%SZ', unix_time, 'unixepoch') AS at, unix_time, samples,
    iif(cpu_count > 0, cpu_min / 1e3, NULL) AS cpu_min_percent, cpu_sum / 1e3 / nullif(cpu_count, 0) AS cpu_percent,
    iif(cpu_count > 0, cpu_max / 1e3, NULL) AS cpu_max_percent,
    iif(memory_count > 0, memory_min / 1024.0, NULL) AS memory_min_mb,
    memory_sum / 1024.0 / nullif(memory_count, 0) AS memory_mb,
    iif(memory_count > 0, memory_max / 1024.0, NULL) AS memory_max_mb,
    tree_cpu_sum / 1e3 / nullif(tree_cpu_count, 0) AS tree_cpu_percent,
    iif(tree_cpu_count > 0, tree_cpu_max / 1e3, NULL) AS tree_cpu_max_percent,
    tree_memory_sum / 1024.0 / nullif(tree_memory_count, 0) AS tree_memory_mb,
    iif(tree_memory_count > 0, tree_memory_max / 1024.0, NULL) AS tree_memory_max_mb,
    cpu_us / 1e6 AS cpu_seconds, r.events, r.crashes
FROM numbers r JOIN plugin p ON p.id = r.plugin WHERE samples > 0;
