//! A disk that is full for a while, that is read-only for a while, and a folder that is removed.

use std::fs;
use std::process::Command;

use plugmeter::{Recorder, StoreError};
use plugmeter_test_support::isolated_process::{enter_isolated, lacks_root};
use plugmeter_test_support::wait_for;

use super::*;

fn run(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(status.success(), "{command}");
}

/// A small file system of its own, in a mount namespace of its own.
struct Disk(Folder);

impl Disk {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        run(&format!("mount -t tmpfs -o size=16m none {}", folder.0.display()));
        Self(folder)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let path = self.0.0.display();
        let _ = Command::new("sh").args(["-c", &format!("umount -l {path}")]).status();
    }
}

/// Starts a host, causes the failure, waits for its error, ends it, and checks that nothing is lost.
fn fail_for_a_while(path: &Path, fail: impl FnOnce(), heal: impl FnOnce()) -> StoreError {
    let store = Store::open(config(path)).unwrap();
    let collector = resume(&store);
    let recorder: Recorder = store.record(collector.reader()).unwrap();
    let plugin = collector.register("dice").unwrap();
    wait_for("a write", || store.reader().plugins().pop());
    assert!(recorder.error().is_none());
    fail();
    let error = wait_for("an error", || {
        plugin.events().increment();
        recorder.error()
    });
    let tick = collector.snapshot().tick();
    wait_for("ticks in spite of the failure", || {
        (collector.snapshot().tick() > tick + 20).then_some(())
    });
    assert!(recorder.error().is_some());
    heal();
    wait_for("the end of the error", || recorder.error().is_none().then_some(()));
    let events = plugin.events().get();
    wait_for("a write", || {
        store.reader().plugins().pop().filter(|plugin| plugin.event_count >= events)
    });
    assert_complete(&store, &collector, "dice", 1);
    let refused = Store::open(config(path)).unwrap_err();
    assert!(matches!(refused, StoreError::InUse { pid } if pid == std::process::id()), "{refused}");
    recorder.stop();
    assert!(recorder.error().is_none());
    error
}

#[test]
fn full_disk_is_reported_and_recovers() {
    if lacks_root("a small file system") {
        return;
    }
    if !enter_isolated(full_disk_is_reported_and_recovers, &["unshare", "--mount"]) {
        return;
    }
    let disk = Disk::new("full");
    let filler = disk.0.0.join("filler");
    let fill = || {
        // To the last byte.
        let _ = Command::new("sh")
            .args(["-c", &format!("cat /dev/zero > {}", filler.display())])
            .stderr(std::process::Stdio::null())
            .status();
    };
    let error = fail_for_a_while(&disk.0.file(), fill, || fs::remove_file(&filler).unwrap());
    assert!(error.to_string().contains("full"), "{error}");
}

#[test]
fn read_only_disk_is_reported_and_recovers() {
    if lacks_root("a small file system") {
        return;
    }
    if !enter_isolated(read_only_disk_is_reported_and_recovers, &["unshare", "--mount"]) {
        return;
    }
    let disk = Disk::new("read-only");
    // A file system with open files cannot become read-only, but another one can be mounted on it.
    let path = disk.0.0.display().to_string();
    let error = fail_for_a_while(
        &disk.0.file(),
        || run(&format!("mount -t tmpfs -o ro none {path}")),
        || run(&format!("umount {path}")),
    );
    assert!(
        matches!(&error, StoreError::Io(error)
            if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem),
        "{error}"
    );
}

#[test]
fn removed_folder_is_reported_and_recovers() {
    let folder = Folder::new("removed");
    let inner = folder.0.join("inner");
    fs::create_dir(&inner).unwrap();
    let error = fail_for_a_while(
        &inner.join("plugmeter.db"),
        || fs::remove_dir_all(&inner).unwrap(),
        || fs::create_dir(&inner).unwrap(),
    );
    assert!(matches!(error, StoreError::Io(_)), "{error}");
}
