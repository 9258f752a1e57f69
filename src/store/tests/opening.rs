//! Files that are opened: which are checked, and which are replaced.

use std::fs;

use rusqlite::ErrorCode;
use rusqlite::ffi::Error as SqliteError;

use super::recording::config;
use super::*;
use crate::store::database::{LAYOUT, is_damage, rename_aside};
use crate::store::error::StoreError;

/// A store with a table whose index lacks a row, which nothing but a check finds. `is_ended`: its host has
/// ended the session properly.
fn damaged(folder: &Folder, is_ended: bool) {
    let mut host = Host::start(&folder.file(), config());
    host.sim.register("dice").unwrap();
    host.tick(|_| None);
    if is_ended {
        host.stop();
    } else {
        host.write();
        drop(host);
    }
    let connection = Connection::open(folder.file()).unwrap();
    let sql = "CREATE TABLE extra (name UNIQUE); INSERT INTO extra VALUES ('unmistakable');
        PRAGMA wal_checkpoint(TRUNCATE);";
    connection.execute_batch(sql).unwrap();
    drop(connection);
    let mut bytes = fs::read(folder.file()).unwrap();
    let at = bytes.windows(12).position(|window| window == b"unmistakable").unwrap();
    bytes[at] = b'U';
    fs::write(folder.file(), bytes).unwrap();
}

/// The check reads the whole file.
#[test]
fn file_is_checked_unless_its_session_has_ended() {
    for (is_ended, is_suspect, is_checked) in
        [(true, false, false), (true, true, true), (false, false, true), (false, true, true)]
    {
        let folder = Folder::new("checked");
        damaged(&folder, is_ended);
        let opened = open_or_replace(&folder.file(), is_suspect, SystemTime::now()).unwrap();
        let case = format!("ended: {is_ended}, suspect: {is_suspect}");
        assert_eq!(opened.replaced.is_some(), is_checked, "{case}");
    }
}

#[test]
fn store_with_another_application_id_is_damaged() {
    let folder = Folder::new("application-id");
    drop(Host::start(&folder.file(), config()));
    let connection = Connection::open(folder.file()).unwrap();
    connection.execute_batch("PRAGMA application_id = 7").unwrap();
    drop(connection);
    let opened = open_or_replace(&folder.file(), false, SystemTime::now()).unwrap();
    let error = opened.replaced.unwrap().error.to_string();
    assert!(error.ends_with("the application id is another one"), "{error}");
}

/// A file that is busy, or on a full disk, is not replaced.
#[test]
fn damage_is_an_error_of_the_file_itself() {
    let is_damage_of =
        |code: i32| is_damage(&rusqlite::Error::SqliteFailure(SqliteError::new(code), None));
    let codes = 1..=26;
    let damage: Vec<_> = codes.filter(|&code| is_damage_of(code)).collect();
    let expected = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase];
    assert_eq!(
        damage.iter().map(|&code| SqliteError::new(code).code).collect::<Vec<_>>(),
        expected
    );
    assert!(!is_damage(&rusqlite::Error::QueryReturnedNoRows));
}

/// Each has a name of its own, with the time at which it was renamed.
#[test]
fn damaged_files_are_renamed_with_their_time() {
    let folder = Folder::new("renamed");
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_987_654_321);
    for name in ["20251124T123414321Z", "20251124T123414321Z-1", "20251124T123414321Z-2"] {
        fs::write(folder.file(), name).unwrap();
        let moved_to = rename_aside(&folder.file(), now).unwrap();
        assert_eq!(moved_to, folder.0.join(format!("plugmeter.db.damaged-{name}")));
        assert_eq!(fs::read_to_string(moved_to).unwrap(), name);
        assert!(!folder.file().exists());
    }
    let error = rename_aside(&folder.file(), now).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn reader_opens_stores_of_this_layout() {
    let folder = Folder::new("layouts");
    drop(Host::start(&folder.file(), config()));
    let connection = Connection::open(folder.file()).unwrap();
    let open = |pragma: String| {
        connection.execute_batch(&format!("PRAGMA {pragma}")).unwrap();
        StoreReader::open(folder.file()).map(drop)
    };
    let layout = |version: u32| open(format!("user_version = {version}"));
    let newer = LAYOUT + 1;
    let error = layout(newer).unwrap_err();
    assert!(matches!(error, StoreError::Newer { version } if version == newer), "{error}");
    let error = layout(LAYOUT - 1).unwrap_err().to_string();
    assert!(error.ends_with("was not migrated yet"), "{error}");
    layout(LAYOUT).unwrap();
    let error = open("application_id = 7".to_owned()).unwrap_err().to_string();
    assert!(error.ends_with("the file is not a store"), "{error}");
}
