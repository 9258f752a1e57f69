//! The rules of the house, read off the sources: who may run the code in a folder, and what it may
//! touch.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::path::{Path, PathBuf};

/// A source file of the library: its path from `src/`, and its text without comments and tests.
struct Source {
    path: String,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 20, "the sources are where they are looked for");
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        // Unit tests come last in a file, and may do what they like.
        let code = text.split("\nmod tests {").next().unwrap_or_default();
        let code: Vec<_> = code.lines().map(without_comment).collect();
        Source { path, code: spelled_out(code.join("\n")) }
    };
    // So do files and folders of tests alone.
    let is_tests = |file: &PathBuf| {
        let mut parts = file.strip_prefix(&root).unwrap().components();
        parts.any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
    };
    files.into_iter().filter(|file| !is_tests(file)).map(read).collect()
}

/// An address in a text has two slashes too, but no blank before them.
fn without_comment(line: &str) -> &str {
    let is_comment = line.trim_start().starts_with("//");
    if is_comment { "" } else { line.split(" //").next().unwrap() }
}

/// The code with `std::{fmt, io::Read}` as `std::fmt, std::io::Read`, and so for `crate`: however a
/// path is written, it is found.
fn spelled_out(mut code: String) -> String {
    for root in ["std::", "crate::"] {
        while let Some(at) = code.find(&format!("{root}{{")) {
            let inside = at + root.len() + 1;
            let (mut depth, mut begin, mut paths) = (1, inside, Vec::new());
            for (i, byte) in code.bytes().enumerate().skip(inside) {
                depth += i32::from(byte == b'{') - i32::from(byte == b'}');
                if depth == 0 || (depth == 1 && byte == b',') {
                    paths.push(format!("{root}{}", code[begin..i].trim()));
                    begin = i + 1;
                }
                if depth == 0 {
                    break;
                }
            }
            assert_eq!(depth, 0, "a group that does not end: {}", &code[at..]);
            code.replace_range(at..begin, &paths.join(", "));
        }
    }
    code
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

/// The folder that a file belongs to: `model` for `model.rs` and all that is in `model/`.
fn room(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap()
}

#[track_caller]
fn assert_nowhere(words: &[&str], in_files: impl Fn(&str) -> bool, why: &str) {
    for source in sources().iter().filter(|source| in_files(&source.path)) {
        for word in words {
            let found = source.code.lines().position(|line| line.contains(word));
            assert!(found.is_none(), "src/{}: {word:?}: {why}", source.path);
        }
    }
}

#[test]
fn values_have_no_thread_no_clock_and_nothing_that_crosses_threads() {
    assert_nowhere(
        &[
            "std::thread",
            "Instant::now",
            "SystemTime::now",
            ".elapsed()",
            "Atomic",
            "Mutex",
            "RwLock",
            "OnceLock",
            "crossbeam",
            "mpsc",
            "std::fs",
            "log::",
        ],
        |path| room(path) == "model",
        "the model is values",
    );
}

#[test]
fn only_the_loop_the_collector_and_the_os_ask_a_clock() {
    assert_nowhere(
        &["Instant::now", "SystemTime::now", "clock::now", ".elapsed()"],
        |path| {
            // The server's limits are lengths of time; and the age of a tick is told there.
            let of_server =
                path.starts_with("export/http/server") || path == "export/http/health.rs";
            !["os", "collector"].contains(&room(path)) && path != "sampler.rs" && !of_server
        },
        "time is an argument",
    );
}

#[test]
fn what_crosses_threads_is_in_few_places() {
    let allowed =
        |path: &str| ["shared", "collector"].contains(&room(path)) || path == "sampler.rs";
    assert_nowhere(
        &["ArcSwap", "arc_swap", "atomic", "Atomic", "Mutex", "RwLock"],
        // The server has a thread of its own, which the sampler knows nothing of: it is joined in
        // one place, and what it keeps for everybody is in another.
        |path| !allowed(path) && !["export/http/server.rs", "export/http/cache.rs"].contains(&path),
        "what crosses threads is in shared/, the loop and the collector",
    );
    assert_nowhere(
        &["crossbeam_channel"],
        |path| !allowed(path),
        "what crosses threads is in shared/, the loop and the collector",
    );
    assert_nowhere(&["ArcSwap"], |path| path != "shared/publish.rs", "there is one `ArcSwap`");
}

#[test]
fn only_the_os_folder_knows_the_platform() {
    assert_nowhere(
        &["target_os", "target_family", "std::os::", "rustix", "sysinfo::"],
        |path| room(path) != "os",
        "what is platform-specific lives under os/",
    );
    // Also within `all`, `any` and `not`.
    for source in sources().iter().filter(|source| room(&source.path) != "os") {
        for line in source.code.lines().filter(|line| line.contains("cfg")) {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let platform = words.find(|word| ["unix", "windows"].contains(word));
            assert_eq!(platform, None, "src/{}: {line}", source.path);
        }
    }
}

#[test]
fn imports_point_one_way() {
    // Each room may use those after it, and itself.
    let order =
        ["lib", "fuzzing", "export", "testing", "collector", "sampler", "os", "shared", "model"];
    let beside = [("os", "shared"), ("shared", "os")];
    for source in sources() {
        let from = room(&source.path);
        let Some(at) = order.iter().position(|&name| name == from) else {
            // config and error: leaves that everybody may use.
            assert!(["config", "error"].contains(&from), "src/{} is in no room", source.path);
            continue;
        };
        for (to_at, to) in order.iter().enumerate() {
            let path = format!("crate::{to}");
            let is_end =
                |after: &str| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            let used = source.code.split(&path).skip(1).any(is_end);
            let allowed = to_at >= at && !beside.contains(&(from, to));
            assert!(!used || allowed, "src/{} uses {to}, which points the wrong way", source.path);
        }
    }
}

#[test]
fn only_what_is_built_on_the_face_imports_by_it() {
    // `crate::Snapshot` is what `lib.rs` exports, from wherever it comes: inside, a path says the room.
    let above = ["lib", "fuzzing", "export", "testing"];
    for source in sources().iter().filter(|source| !above.contains(&room(&source.path))) {
        let mut paths = source.code.split("crate::").skip(1);
        let by_face = paths.find(|path| path.starts_with(char::is_uppercase));
        let by_face = by_face.and_then(|path| path.lines().next());
        assert_eq!(by_face, None, "src/{}: a path that does not say its room", source.path);
    }
}

#[test]
fn what_is_exported_is_made_of_snapshots_alone() {
    assert_nowhere(
        &[
            "crate::collector",
            "crate::sampler",
            "crate::os",
            "crate::shared",
            "std::fs",
            "std::net",
            "std::thread",
        ],
        |path| path.starts_with("export/prometheus"),
        "an exposition is a pure function of a snapshot",
    );
}

#[test]
fn a_view_knows_readers_and_snapshots_and_nothing_of_the_collector() {
    assert_nowhere(
        &["crate::collector", "crate::sampler", "crate::os", "crate::shared", "crate::Collector"],
        |path| room(path) == "export",
        "what is exported is built on `Reader` and `Snapshot`",
    );
    assert_nowhere(
        &["tokio", "axum", "hyper"],
        |path| !path.starts_with("export/http"),
        "the core has no async runtime",
    );
}

#[test]
fn there_is_no_unsafe_code_no_prelude_and_no_glob() {
    let sources = sources();
    let lib = sources.iter().find(|source| source.path == "lib.rs").unwrap();
    assert!(lib.code.contains("#![forbid(unsafe_code)]"));
    assert_nowhere(&["::*;", "mod prelude"], |_| true, "names are imported by name");
}
