//! A second host, a newer version, a file of another program, and a store that is slower than the ticks.

use std::process::Command;

use plugmeter::{NotificationKind, StoreError, StoreReader};
use plugmeter_test_support::wait_for;
use rusqlite::Connection;

use super::*;

#[test]
fn second_host_is_refused_and_reader_is_not() {
    let folder = Folder::new("second");
    let store = Store::open(config(&folder.file())).unwrap();
    for _ in 0..2 {
        let error = Store::open(config(&folder.file())).unwrap_err();
        let StoreError::InUse { pid } = error else { panic!("{error}") };
        assert_eq!(pid, std::process::id());
    }
    assert!(StoreReader::open(folder.file()).is_ok());
    // A recorder keeps the lock, and one at a time writes.
    let collector = resume(&store);
    let recorder = store.record(collector.reader()).unwrap();
    let second = store.record(collector.reader()).unwrap_err();
    assert_eq!(second.kind(), std::io::ErrorKind::AlreadyExists);
    drop(store);
    assert!(matches!(Store::open(config(&folder.file())), Err(StoreError::InUse { .. })));
    drop(recorder);
    assert!(Store::open(config(&folder.file())).is_ok());
}

#[cfg(unix)]
#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new("private");
    let store = Store::open(config(&folder.file())).unwrap();
    let collector = resume(&store);
    let _recorder = store.record(collector.reader()).unwrap();
    collector.register("dice").unwrap();
    wait_for("a write", || store.reader().plugins().pop());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder.0).unwrap().flatten() {
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
        names.push(entry.file_name());
    }
    assert_eq!(names.len(), 4, "file, log, index of the log, lock: {names:?}");
}

/// A file that cannot be used is renamed; that is shown, and sent.
#[test]
fn unusable_file_is_renamed_and_reported() {
    let newer: fn(&Path) = |path| {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("PRAGMA user_version = 99").unwrap();
    };
    let damaged: fn(&Path) = |path| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[100..4_000].fill(0x55);
        std::fs::write(path, bytes).unwrap();
    };
    for (name, spoil) in [("newer", newer), ("damaged", damaged)] {
        let folder = Folder::new(name);
        let path = folder.file();
        drop(Store::open(config(&path)).unwrap());
        spoil(&path);
        let spoiled = std::fs::read(&path).unwrap();
        if name == "newer" {
            let error = StoreReader::open(&path).unwrap_err();
            assert!(matches!(error, StoreError::Newer { version: 99 }), "{error}");
        }
        let store = Store::open(config(&path)).unwrap();
        let collector = resume(&store);
        let subscription = collector.subscribe();
        let recorder = store.record(collector.reader()).unwrap();
        match (name, recorder.error()) {
            ("newer", Some(StoreError::Newer { version: 99 })) => {}
            ("damaged", Some(StoreError::Database(_))) => {}
            (_, other) => panic!("{name}: {other:?}"),
        }
        let notification = wait_for("a notification", || subscription.try_recv().ok());
        let NotificationKind::StoreReplaced { moved_to, reason } = &notification.kind else {
            panic!("{notification}");
        };
        assert!(moved_to.contains(".damaged-"), "{moved_to}");
        assert!(!reason.is_empty());
        assert_eq!(std::fs::read(&**moved_to).unwrap(), spoiled, "it is kept as it was");
        // The new one is recorded, with the notification.
        collector.register("dice").unwrap();
        wait_for("a write", || store.reader().plugins().pop());
        wait_for("the notification", || {
            let all = store.reader().notifications(always());
            all.into_iter().find(|stored| stored.kind == "store_replaced")
        });
        // At a write, the error is not gone: it says what happened to the old values.
        assert!(recorder.error().is_some());
    }
}

#[test]
fn file_of_another_program_is_left_alone() {
    let folder = Folder::new("other");
    let connection = Connection::open(folder.file()).unwrap();
    connection.execute_batch("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)").unwrap();
    drop(connection);
    let before = std::fs::read(folder.file()).unwrap();
    let error = Store::open(config(&folder.file())).unwrap_err();
    let text =
        format!("the store's database: {}: the file is not a store", folder.file().display());
    assert_eq!(error.to_string(), text);
    assert_eq!(std::fs::read(folder.file()).unwrap(), before);
    let error = StoreReader::open(folder.0.join("none.db")).unwrap_err();
    assert!(error.to_string().contains("none.db: "), "{error}");
    assert!(matches!(error, StoreError::Io(error) if error.kind() == std::io::ErrorKind::NotFound));
}

/// Another connection keeps the database locked for longer than a statement waits.
#[test]
fn slow_store_delays_no_tick_and_loses_nothing() {
    let folder = Folder::new("slow");
    let store = Store::open(config(&folder.file())).unwrap();
    let (collector, bare) =
        (resume(&store), resume(&Store::open(config(&folder.0.join("bare"))).unwrap()));
    let recorder = store.record(collector.reader()).unwrap();
    for collector in [&collector, &bare] {
        collector.register("dice").unwrap();
    }
    wait_for("a write", || store.reader().plugins().pop());
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = wait_for("an error", || recorder.error());
    assert!(error.to_string().contains("locked"), "{error}");
    other.execute_batch("COMMIT").unwrap();
    wait_for("writing again", || recorder.error().is_none().then_some(()));
    assert_complete(&store, &collector, "dice", 1);
    // The machine may have delayed both.
    let missed = |collector: &Collector| collector.snapshot().sampler().missed_ticks;
    let (missed, bare) = (missed(&collector), missed(&bare));
    assert!(missed <= 3 * bare + 50, "{missed} ticks missed, {bare} without a store");
}

/// The command of the README.
#[test]
fn sqlite3_reads_the_views() {
    let folder = Folder::new("sqlite3");
    let store = Store::open(config(&folder.file())).unwrap();
    let collector = resume(&store);
    let recorder = store.record(collector.reader()).unwrap();
    collector.register("dice").unwrap().events().add(3);
    collector.sample_now().unwrap();
    recorder.stop();
    let sql = "SELECT plugin, sum(events) FROM minutes GROUP BY plugin";
    match Command::new("sqlite3").arg("-readonly").arg(folder.file()).arg(sql).output() {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout), "dice|3\n"),
        Err(_) => plugmeter_test_support::report_missing("there is no sqlite3 here", "the views"),
    }
}
