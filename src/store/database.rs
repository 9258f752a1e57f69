//! Opening the file: its layout, its settings, and what happens to a damaged one.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::StoreError;
use crate::format::number::timestamp;
use crate::os::files::open_private;

/// Identifies the file as a store: "plmt".
const APPLICATION_ID: i64 = 0x706c_6d74;

/// The statements that lead from each layout to the next: the first of them creates the tables.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];

/// The layout of this version.
pub(super) const LAYOUT: u32 = MIGRATIONS.len() as u32;

/// How long a statement waits for another connection.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The size to which the write-ahead log is cut after it was copied into the file.
const LOG_BYTES: i64 = 4 << 20;

/// An opened file.
#[derive(Debug)]
pub(super) struct Opened {
    pub connection: Connection,
    /// Why the file that was there before was renamed.
    pub replaced: Option<Replaced>,
}

/// A file that could not be used, and was renamed.
#[derive(Debug)]
pub(super) struct Replaced {
    pub error: StoreError,
    pub moved_to: PathBuf,
}

/// Whether the file itself is at fault, and not the access to it.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Why a file is not usable.
#[derive(Debug)]
enum Unusable {
    Damaged(String),
    Newer(u32),
    Error(StoreError),
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) {
            Self::Damaged(error.to_string())
        } else {
            Self::Error(StoreError::database(error))
        }
    }
}

/// Opens the file for writing, or creates it. A damaged or newer one is renamed first. `is_suspect`: it is
/// checked also after a proper end.
pub(super) fn open_or_replace(
    path: &Path,
    is_suspect: bool,
    now: SystemTime,
) -> Result<Opened, StoreError> {
    let unusable = match open(path, is_suspect) {
        Ok(connection) => return Ok(Opened { connection, replaced: None }),
        Err(unusable) => unusable,
    };
    let error = match unusable {
        Unusable::Damaged(text) => StoreError::Database(text),
        Unusable::Newer(version) => StoreError::Newer { version },
        Unusable::Error(error) => return Err(error),
    };
    let moved_to = rename_aside(path, now)?;
    match open(path, false) {
        Ok(connection) => {
            let replaced = Some(Replaced { error: error.at(path), moved_to });
            Ok(Opened { connection, replaced })
        }
        Err(Unusable::Damaged(text)) => Err(StoreError::Database(text)),
        Err(Unusable::Newer(version)) => Err(StoreError::Newer { version }),
        Err(Unusable::Error(error)) => Err(error),
    }
}

fn open(path: &Path, is_suspect: bool) -> Result<Connection, Unusable> {
    // SQLite gives its other files the mode of this one.
    drop(open_private(path).map_err(|error| Unusable::Error(StoreError::Io(error)))?);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // The claims of a damaged file are not trusted.
    connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;")?;
    let pragma = |connection: &Connection, name: &str| {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))
    };
    let layout = pragma(&connection, "user_version")?;
    let is_empty = pragma(&connection, "schema_version")? == 0;
    if !is_empty && pragma(&connection, "application_id")? != APPLICATION_ID {
        let is_store =
            "SELECT count(*) FROM sqlite_master WHERE name IN ('recent', 'sample', 'minute')";
        return Err(match connection.query_row(is_store, [], |row| row.get::<_, i64>(0))? {
            3 => Unusable::Damaged("the application id is another one".to_owned()),
            _ => Unusable::Error(StoreError::Database("the file is not a store".to_owned())),
        });
    }
    let layout = u32::try_from(layout).unwrap_or(u32::MAX);
    if layout > LAYOUT {
        return Err(Unusable::Newer(layout));
    }
    if is_empty {
        // Before the first table.
        connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL;")?;
    }
    let journal: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if journal != "wal" {
        log::warn!("store: the write-ahead log is not available: journal mode {journal}");
    }
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = {LOG_BYTES};"
    ))?;
    if !is_empty && (is_suspect || !was_closed(&connection)?) {
        let sql = "PRAGMA integrity_check(1)";
        let result: String = connection.query_row(sql, [], |row| row.get(0))?;
        if result != "ok" {
            return Err(Unusable::Damaged(result));
        }
    }
    migrate(&mut connection, layout)?;
    Ok(connection)
}

/// Whether the newest session has ended properly.
fn was_closed(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT coalesce((SELECT clean FROM host ORDER BY id DESC LIMIT 1), 1)";
    connection.query_row(sql, [], |row| row.get(0))
}

/// Changes the layout step by step, each in a transaction.
fn migrate(connection: &mut Connection, layout: u32) -> rusqlite::Result<()> {
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(layout as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {};",
            step + 1
        ))?;
        transaction.commit()?;
    }
    Ok(())
}

/// Opens the file for reading alone.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, StoreError> {
    // SQLite's own error does not tell why.
    fs::metadata(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;")?;
        let id = connection.query_row("PRAGMA application_id", [], |row| row.get::<_, i64>(0))?;
        let layout = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))?;
        Ok((connection, id, layout))
    };
    let (connection, id, layout) = open().map_err(StoreError::database)?;
    let layout = u32::try_from(layout).unwrap_or(u32::MAX);
    match layout {
        _ if id != APPLICATION_ID => {
            Err(StoreError::Database("the file is not a store".to_owned()))
        }
        LAYOUT => Ok(connection),
        version if version > LAYOUT => Err(StoreError::Newer { version }),
        _ => Err(StoreError::Database(format!("layout {layout} was not migrated yet"))),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The path of the lock file.
pub(super) fn lock_path(path: &Path) -> PathBuf {
    with_suffix(path, ".lock")
}

/// Renames the file, with its write-ahead log, to a name that is not in use.
pub(super) fn rename_aside(path: &Path, now: SystemTime) -> io::Result<PathBuf> {
    let time: String = timestamp(now).chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    let free = (0..).map(|nth| match nth {
        0 => with_suffix(path, &format!(".damaged-{time}")),
        _ => with_suffix(path, &format!(".damaged-{time}-{nth}")),
    });
    let moved_to = free.into_iter().find(|name| !name.exists()).unwrap_or_default();
    for suffix in ["-wal", "-shm", ""] {
        match fs::rename(with_suffix(path, suffix), with_suffix(&moved_to, suffix)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && !suffix.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(moved_to)
}
