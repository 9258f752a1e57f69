//! A wall clock that a test can set: by libfaketime in a process of its own. The clock of the machine
//! does not change, nor do the monotonic clocks.

use std::path::{Path, PathBuf};
use std::process;
use std::time::{Instant, SystemTime};

use crate::isolated_process::enter_isolated;
use crate::report_missing;

/// Finds libfaketime where Debian's package `faketime` and other distributions install it.
fn library() -> Option<PathBuf> {
    let mut folders = vec![PathBuf::from("/usr/lib/faketime"), "/usr/local/lib/faketime".into()];
    let lib = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    folders.extend(lib.map(|entry| entry.path().join("faketime")));
    folders.push("/usr/lib64/faketime".into());
    let libraries = folders.into_iter().map(|folder| folder.join("libfaketimeMT.so.1"));
    libraries.into_iter().find(|library| library.exists())
}

/// A file that is removed on drop.
#[derive(Debug)]
pub struct TemporaryFile(pub PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A wall clock that this process can set.
#[derive(Debug)]
pub struct Wall {
    file: PathBuf,
    set: i64,
}

impl Wall {
    const FILE: &str = "FAKETIME_TIMESTAMP_FILE";

    /// Returns the clock if the process was started with one. Otherwise runs the test in such a
    /// process.
    pub fn enter_isolated<T: Fn()>(test: T, name: &str) -> Option<Self> {
        if let Ok(file) = std::env::var(Self::FILE) {
            assert!(enter_isolated(test, &[]), "the process was started for this test");
            return Some(Self { file: file.into(), set: 0 });
        }
        let Some(library) = library() else {
            report_missing("there is no libfaketime here", name);
            return None;
        };
        let file = format!("plugmeter-clock-{name}-{}", process::id());
        let file = std::env::temp_dir().join(file);
        write(&file, 0);
        let file = TemporaryFile(file);
        let commands = [
            "env".to_owned(),
            format!("LD_PRELOAD={}", library.display()),
            format!("{}={}", Self::FILE, file.0.display()),
            // libfaketime reads its file at every call and changes the wall clock only.
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        assert!(!enter_isolated(test, &commands.each_ref().map(String::as_str)));
        None
    }

    /// How far it is from the true time, in seconds.
    pub const fn offset(&self) -> i64 {
        self.set
    }

    /// Sets the clock to `offset` seconds from the true time and asserts the change.
    pub fn set(&mut self, offset: i64) {
        let (wall, mono) = (SystemTime::now(), Instant::now());
        write(&self.file, offset);
        let expected = wall + mono.elapsed();
        let moved = match SystemTime::now().duration_since(expected) {
            Ok(ahead) => ahead.as_secs() as i64,
            Err(behind) => -(behind.duration().as_secs() as i64),
        };
        let wanted = offset - self.set;
        assert!((moved - wanted).abs() < 60, "set by {wanted} s, but moved by {moved} s");
        self.set = offset;
    }
}

/// Replaces the file atomically, so that a concurrent reader sees the old or the new content.
fn write(file: &Path, offset: i64) {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{offset:+}\n")).unwrap();
    std::fs::rename(new, file).unwrap();
}
