-- Layout 1. Times are milliseconds since 1970 (UTC), CPU is in thousandths of a percent of one core,
-- memory in KiB, CPU time in nanoseconds. `crc` is the CRC-32 of the values of its row; the blobs `data` and
-- `counters` end with one. A minute begins at (ten_minutes * 10 + minute) * 60 s, an hour at hour * 3600 s: rows
-- of rollups are in the order in which they are written. `recent` has the samples of the hour that is not over;
-- those before `rolled_up_ms` of the newest session are in `minute` too.
CREATE TABLE host (
    id INTEGER PRIMARY KEY, boot_id TEXT, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
    end_boot_ms INTEGER NOT NULL, clean INTEGER NOT NULL, poll_ms INTEGER NOT NULL,
    clock_step_ms INTEGER NOT NULL, rolled_up_ms INTEGER NOT NULL, crc INTEGER NOT NULL
);
CREATE TABLE plugin (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, first_seen_ms INTEGER NOT NULL, removed_ms INTEGER,
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
    ten_minutes INTEGER NOT NULL, plugin INTEGER NOT NULL, minute INTEGER NOT NULL, samples INTEGER, covered_ms INTEGER, cpu_ns INTEGER,
    events INTEGER, crashes INTEGER,
    cpu_count INTEGER, cpu_min INTEGER, cpu_max INTEGER, cpu_sum INTEGER,
    memory_count INTEGER, memory_min INTEGER, memory_max INTEGER, memory_sum INTEGER,
    tree_cpu_count INTEGER, tree_cpu_min INTEGER, tree_cpu_max INTEGER, tree_cpu_sum INTEGER,
    tree_memory_count INTEGER, tree_memory_min INTEGER, tree_memory_max INTEGER, tree_memory_sum INTEGER,
    sketches BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (ten_minutes, plugin, minute)
) WITHOUT ROWID;
CREATE TABLE hour (
    hour INTEGER NOT NULL, plugin INTEGER NOT NULL, samples INTEGER, covered_ms INTEGER, cpu_ns INTEGER,
    events INTEGER, crashes INTEGER,
    cpu_count INTEGER, cpu_min INTEGER, cpu_max INTEGER, cpu_sum INTEGER,
    memory_count INTEGER, memory_min INTEGER, memory_max INTEGER, memory_sum INTEGER,
    tree_cpu_count INTEGER, tree_cpu_min INTEGER, tree_cpu_max INTEGER, tree_cpu_sum INTEGER,
    tree_memory_count INTEGER, tree_memory_min INTEGER, tree_memory_max INTEGER, tree_memory_sum INTEGER,
    sketches BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (hour, plugin)
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
CREATE VIEW minutes AS SELECT
    p.name AS plugin, strftime('%Y-%m-%dT%H:%M:%SZ', m.ten_minutes * 600 + m.minute * 60, 'unixepoch') AS at,
    m.ten_minutes * 600 + m.minute * 60 AS unix_time, m.samples,
    iif(m.cpu_count > 0, m.cpu_min / 1e3, NULL) AS cpu_min_percent, m.cpu_sum / 1e3 / nullif(m.cpu_count, 0) AS cpu_percent,
    iif(m.cpu_count > 0, m.cpu_max / 1e3, NULL) AS cpu_max_percent,
    iif(m.memory_count > 0, m.memory_min / 1024.0, NULL) AS memory_min_mb, m.memory_sum / 1024.0 / nullif(m.memory_count, 0) AS memory_mb,
    iif(m.memory_count > 0, m.memory_max / 1024.0, NULL) AS memory_max_mb,
    coalesce(m.tree_cpu_sum, m.cpu_sum) / 1e3 / nullif(coalesce(m.tree_cpu_count, m.cpu_count), 0)
        AS tree_cpu_percent,
    iif(coalesce(m.tree_cpu_count, m.cpu_count) > 0, coalesce(m.tree_cpu_max, m.cpu_max) / 1e3, NULL)
        AS tree_cpu_max_percent,
    coalesce(m.tree_memory_sum, m.memory_sum) / 1024.0
        / nullif(coalesce(m.tree_memory_count, m.memory_count), 0) AS tree_memory_mb,
    iif(coalesce(m.tree_memory_count, m.memory_count) > 0, coalesce(m.tree_memory_max, m.memory_max) / 1024.0, NULL)
        AS tree_memory_max_mb,
    m.cpu_ns / 1e9 AS cpu_seconds, m.events, m.crashes
FROM minute m JOIN plugin p ON p.id = m.plugin;
CREATE VIEW hours AS SELECT
    p.name AS plugin, strftime('%Y-%m-%dT%H:%M:%SZ', m.hour * 3600, 'unixepoch') AS at,
    m.hour * 3600 AS unix_time, m.samples,
    iif(m.cpu_count > 0, m.cpu_min / 1e3, NULL) AS cpu_min_percent, m.cpu_sum / 1e3 / nullif(m.cpu_count, 0) AS cpu_percent,
    iif(m.cpu_count > 0, m.cpu_max / 1e3, NULL) AS cpu_max_percent,
    iif(m.memory_count > 0, m.memory_min / 1024.0, NULL) AS memory_min_mb, m.memory_sum / 1024.0 / nullif(m.memory_count, 0) AS memory_mb,
    iif(m.memory_count > 0, m.memory_max / 1024.0, NULL) AS memory_max_mb,
    coalesce(m.tree_cpu_sum, m.cpu_sum) / 1e3 / nullif(coalesce(m.tree_cpu_count, m.cpu_count), 0)
        AS tree_cpu_percent,
    iif(coalesce(m.tree_cpu_count, m.cpu_count) > 0, coalesce(m.tree_cpu_max, m.cpu_max) / 1e3, NULL)
        AS tree_cpu_max_percent,
    coalesce(m.tree_memory_sum, m.memory_sum) / 1024.0
        / nullif(coalesce(m.tree_memory_count, m.memory_count), 0) AS tree_memory_mb,
    iif(coalesce(m.tree_memory_count, m.memory_count) > 0, coalesce(m.tree_memory_max, m.memory_max) / 1024.0, NULL)
        AS tree_memory_max_mb,
    m.cpu_ns / 1e9 AS cpu_seconds, m.events, m.crashes
FROM hour m JOIN plugin p ON p.id = m.plugin;
