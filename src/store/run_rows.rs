//! The rows of what has happened: runs and notifications. Each has a CRC; a row whose CRC is another one is not
//! used.

use rusqlite::{Connection, Row as SqlRow, params};

use super::codec::RowCrc;
use super::tables::{if_intact, read_all, signed};
use crate::snapshot::run::RunEnd;

type Result<T> = rusqlite::Result<T>;

/// A run of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunRow {
    pub id: i64,
    pub plugin: i64,
    pub number: u64,
    pub host: i64,
    pub pid: u32,
    pub version: Option<String>,
    pub started_ms: Option<i64>,
    pub reported_ms: i64,
    pub ended_ms: Option<i64>,
    pub end: Option<RunEnd>,
    pub cpu_ns: Option<u64>,
    pub peak_bytes: Option<u64>,
    pub oom_killed: Option<bool>,
    /// Whether it has counted as a crash: that depends on the configuration, and on the host's reports.
    pub is_crash: bool,
}

fn end_of(kind: &str, code: Option<i32>) -> Option<RunEnd> {
    Some(match (kind, code) {
        ("exited", Some(code)) => RunEnd::Exited(code),
        ("signaled", Some(signal)) => RunEnd::Signaled(signal),
        ("replaced", None) => RunEnd::Replaced,
        ("stopped", None) => RunEnd::Stopped,
        ("crashed", None) => RunEnd::Crashed,
        ("unknown", None) => RunEnd::Unknown,
        ("host_gone", None) => RunEnd::HostGone,
        _ => return None,
    })
}

const fn code_of(end: RunEnd) -> Option<i32> {
    match end {
        RunEnd::Exited(code) | RunEnd::Signaled(code) => Some(code),
        RunEnd::Replaced
        | RunEnd::Stopped
        | RunEnd::Crashed
        | RunEnd::Unknown
        | RunEnd::HostGone => None,
    }
}

impl RunRow {
    fn crc(&self) -> i64 {
        let option = |value: Option<u64>| value.map(signed);
        let crc = RowCrc::default().int(self.id).int(self.plugin).int(signed(self.number));
        let crc = crc.int(self.host).int(self.pid.into()).text(self.version.as_deref());
        let crc = crc.option(self.started_ms).int(self.reported_ms).option(self.ended_ms);
        let crc = crc.text(self.end.map(RunEnd::as_str));
        let crc = crc.option(self.end.and_then(code_of).map(i64::from));
        let crc = crc.option(option(self.cpu_ns)).option(option(self.peak_bytes));
        crc.option(self.oom_killed.map(i64::from)).int(self.is_crash.into()).finish()
    }

    pub(super) fn put(&self, connection: &Connection) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO run
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
        connection.prepare_cached(sql)?.execute(params![
            self.id,
            self.plugin,
            signed(self.number),
            self.host,
            self.pid,
            self.version,
            self.started_ms,
            self.reported_ms,
            self.ended_ms,
            self.end.map(RunEnd::as_str),
            self.end.and_then(code_of),
            self.cpu_ns.map(signed),
            self.peak_bytes.map(signed),
            self.oom_killed,
            self.is_crash,
            self.crc(),
        ])?;
        Ok(())
    }

    fn read(row: &SqlRow<'_>) -> Result<Option<Self>> {
        let unsigned = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        let kind: Option<String> = row.get(9)?;
        let code: Option<i32> = row.get(10)?;
        let run = Self {
            id: row.get(0)?,
            plugin: row.get(1)?,
            number: unsigned(row.get(2)?).unwrap_or(0),
            host: row.get(3)?,
            pid: row.get(4)?,
            version: row.get(5)?,
            started_ms: row.get(6)?,
            reported_ms: row.get(7)?,
            ended_ms: row.get(8)?,
            end: kind.as_deref().and_then(|kind| end_of(kind, code)),
            cpu_ns: unsigned(row.get(11)?),
            peak_bytes: unsigned(row.get(12)?),
            oom_killed: row.get(13)?,
            is_crash: row.get(14)?,
        };
        Ok(if_intact(run, row.get(15)?, Self::crc))
    }

    /// The runs of a plugin, oldest first.
    pub(super) fn of_plugin(connection: &Connection, plugin: i64) -> Result<Vec<Self>> {
        let sql = "SELECT * FROM run WHERE plugin = ?1 ORDER BY number, id";
        read_all(connection, sql, [plugin], Self::read)
    }

    /// The runs that have not ended.
    pub(super) fn active(connection: &Connection) -> Result<Vec<Self>> {
        read_all(connection, "SELECT * FROM run WHERE ended_ms IS NULL ORDER BY id", [], Self::read)
    }
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotificationRow {
    pub at_ms: i64,
    pub plugin: String,
    pub kind: String,
    pub text: String,
    pub json: String,
}

impl NotificationRow {
    fn crc(&self) -> i64 {
        let crc = RowCrc::default().int(self.at_ms).text(Some(&self.plugin));
        crc.text(Some(&self.kind)).text(Some(&self.text)).text(Some(&self.json)).finish()
    }

    pub(super) fn insert(&self, connection: &Connection) -> Result<()> {
        let sql = "INSERT INTO notification (at_ms, plugin, kind, text, json, crc)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        connection.prepare_cached(sql)?.execute(params![
            self.at_ms,
            self.plugin,
            self.kind,
            self.text,
            self.json,
            self.crc(),
        ])?;
        Ok(())
    }

    /// Those in a range of time, oldest first.
    pub(super) fn between(connection: &Connection, from_ms: i64, to_ms: i64) -> Result<Vec<Self>> {
        let sql = "SELECT at_ms, plugin, kind, text, json, crc FROM notification
                   WHERE at_ms >= ?1 AND at_ms < ?2 ORDER BY at_ms, id";
        read_all(connection, sql, [from_ms, to_ms], |row| {
            let notification = Self {
                at_ms: row.get(0)?,
                plugin: row.get(1)?,
                kind: row.get(2)?,
                text: row.get(3)?,
                json: row.get(4)?,
            };
            Ok(if_intact(notification, row.get(5)?, Self::crc))
        })
    }
}
