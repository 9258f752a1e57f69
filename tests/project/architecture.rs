//! The rules of the source tree, read from the sources: which modules a module may import, and which
//! facilities it may use.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules at the root of the crate, each with those that it may import besides itself.
/// `lib.rs` and `fuzzing.rs` may import all of them.
const MODULES: [(&str, &[&str]); 16] = [
    ("time", &[]),
    ("name", &["error"]),
    ("error", &["config", "format", "name", "snapshot", "time"]),
    ("config", &["error", "format", "name", "os", "snapshot", "time"]),
    ("format", &["history", "snapshot", "time"]),
    ("snapshot", &["error", "format", "history", "name", "time"]),
    ("history", &["error", "format", "name", "snapshot", "time"]),
    // `os` for one file only: see `sync_uses_os_to_block_signals_only`.
    ("sync", &["config", "error", "format", "history", "name", "os", "snapshot", "time"]),
    // `os` implements `Wake`, by which `sync` wakes the sampler.
    ("os", &["config", "error", "format", "history", "snapshot", "sync", "time"]),
    ("engine", &["config", "error", "format", "history", "name", "os", "snapshot", "sync", "time"]),
    (
        "sampler",
        &["config", "engine", "error", "format", "history", "os", "snapshot", "sync", "time"],
    ),
    ("findings", &["format"]),
    (
        "collector",
        &[
            "config", "engine", "error", "format", "history", "name", "os", "sampler", "snapshot",
            "sync", "time",
        ],
    ),
    (
        "testing",
        &[
            "collector",
            "config",
            "engine",
            "error",
            "findings",
            "format",
            "history",
            "name",
            "os",
            "sampler",
            "snapshot",
            "sync",
            "time",
        ],
    ),
    // Reads snapshots by public queries; `os` for clocks and files.
    ("store", &["collector", "config", "format", "os", "snapshot", "sync"]),
    // `sync` for one file only: see `exporters_and_findings_use_the_public_api`.
    ("export", &["findings", "format", "sync"]),
];

/// Modules without a thread, a clock, or anything that threads share.
const PURE: [&str; 5] = ["snapshot", "history", "engine", "findings", "format"];

/// Modules above the public API: they import its items by `crate::Name`.
const ABOVE_PUBLIC_API: [&str; 2] = ["findings", "export"];

/// Facilities that threads share.
const SHARED: [&str; 9] = [
    "ArcSwap",
    "arc_swap",
    "atomic::",
    "Atomic",
    "Mutex",
    "RwLock",
    "Condvar",
    "crossbeam_channel",
    "mpsc",
];

const CLOCKS: [&str; 4] = ["Instant::now", "SystemTime::now", "clock::now", ".elapsed()"];

/// Files and folders that are built for unit tests only.
const TEST_FILES: [&str; 4] = ["tests", "tests.rs", "fake_probe.rs", "fixtures.rs"];

/// A source file of the library: its path from `src/`, and its text without comments and tests.
struct Source {
    path: String,
    code: String,
}

impl Source {
    /// The module at the root of the crate: `engine` for `engine.rs` and for all files in `engine/`.
    fn module(&self) -> &str {
        module_of(&self.path)
    }

    /// How many `super::` lead from the file to the root of the crate.
    fn depth(&self) -> usize {
        self.path.split('/').count()
    }
}

fn module_of(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap()
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect_files(&root, &mut files);
    assert!(files.len() > 20, "the sources are in {}", root.display());
    // Files and folders of unit tests, and of their fakes, are exempt.
    let is_test = |file: &PathBuf| {
        let mut parts = file.strip_prefix(&root).unwrap().components();
        parts.any(|part| TEST_FILES.iter().any(|name| part.as_os_str() == *name))
    };
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        // Unit tests come last in a file and are exempt as well.
        let code = text.split("\nmod tests {").next().unwrap_or_default();
        let code: Vec<_> = code.lines().map(without_comment).collect();
        Source { path, code: expand_groups(code.join("\n")) }
    };
    files.into_iter().filter(|file| !is_test(file)).map(read).collect()
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// A URL in a string has two slashes as well, but no space before them.
fn without_comment(line: &str) -> &str {
    let is_comment = line.trim_start().starts_with("//");
    if is_comment { "" } else { line.split(" //").next().unwrap() }
}

/// Expands `std::{fmt, io::Read}` to `std::fmt, std::io::Read`, and `crate::{..}` in the same way, so
/// that a path is found in every notation.
fn expand_groups(mut code: String) -> String {
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
            assert_eq!(depth, 0, "unbalanced braces: {}", &code[at..]);
            paths.retain(|path| path != root); // after the last comma of several lines
            code.replace_range(at..begin, &paths.join(", "));
        }
    }
    code
}

/// Asserts that none of `tokens` occurs in the files that `is_checked` selects.
#[track_caller]
fn assert_absent(tokens: &[&str], is_checked: impl Fn(&str) -> bool, rule: &str) {
    for source in sources().iter().filter(|source| is_checked(&source.path)) {
        for token in tokens {
            let found = source.code.lines().find(|line| contains_token(line, token));
            assert_eq!(found, None, "src/{}: {token:?}: {rule}", source.path);
        }
    }
}

/// Whether `token` occurs in the line other than as the end of a longer name. A token may be the start
/// of a longer name: `Atomic` of `AtomicU64`.
fn contains_token(line: &str, token: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(token)
        .any(|(at, _)| !(token.starts_with(is_name) && line[..at].ends_with(is_name)))
}

/// Whether the code has the path `crate::{module}`, and not only a longer name.
fn imports(code: &str, module: &str) -> bool {
    let is_end = |after: &str| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    code.split(&format!("crate::{module}")).skip(1).any(is_end)
}

#[test]
fn pure_modules_have_no_thread_or_clock() {
    let is_pure = |path: &str| PURE.contains(&module_of(path));
    let rule = "values and state machines have no thread, no clock and no I/O";
    assert_absent(&SHARED, is_pure, rule);
    assert_absent(&CLOCKS, is_pure, rule);
    let others = ["std::thread", "std::fs", "std::net", "OnceLock", "crossbeam", "log::"];
    assert_absent(&others, is_pure, rule);
}

/// Everywhere else time is an argument.
#[test]
fn few_modules_read_the_clock() {
    let is_owner = |path: &str| {
        let has_clock = ["store.rs", "store/recorder.rs"].contains(&path);
        has_clock || ["os", "sampler", "collector", "sync"].contains(&module_of(path))
    };
    // The time limits of clients, and the age of notifications.
    let has_limits = |path: &str| {
        ["export/http/server/write_timeout.rs", "export/http/notifications.rs"].contains(&path)
    };
    let rule = "time is an argument";
    assert_absent(&CLOCKS, |path| !is_owner(path) && !has_limits(path), rule);
    let others: Vec<_> = CLOCKS.into_iter().filter(|clock| *clock != "Instant::now").collect();
    assert_absent(&others, has_limits, rule);
}

#[test]
fn few_modules_share_state_between_threads() {
    let is_owner = |path: &str| ["sync", "sampler", "collector"].contains(&module_of(path));
    // The bodies and the notifications that the router keeps for all of its clients, and what the
    // callbacks of the SDK of OpenTelemetry share. So are the file of a store, a reader's connection to
    // it, the error that a recorder shows, and the sessions whose recorders have ended.
    let is_cache = |path: &str| {
        let exporters = [
            "export/http/cache.rs",
            "export/http/notifications.rs",
            "export/opentelemetry/instruments.rs",
        ];
        let store = ["store.rs", "store/kept_feeds.rs", "store/reader.rs", "store/recorder.rs"];
        exporters.contains(&path) || store.contains(&path)
    };
    let rule =
        "threads share state in sync/, the sampler, the collector, the store and a few exporters";
    assert_absent(&SHARED, |path| !is_owner(path) && !is_cache(path), rule);
    let others: Vec<_> = SHARED.into_iter().filter(|name| *name != "Mutex").collect();
    assert_absent(&others, is_cache, rule);
    let is_publisher = |path: &str| path == "sync/publish.rs";
    assert_absent(&["ArcSwap"], |path| !is_publisher(path), "there is one `ArcSwap`");
}

#[test]
fn only_os_depends_on_the_platform() {
    let is_checked = |path: &str| module_of(path) != "os";
    let tokens =
        ["target_os", "target_family", "std::os::", "rustix", "nix::", "libc", "sysinfo::"];
    assert_absent(&tokens, is_checked, "platform-specific code is in os/");
    // Also within `all`, `any` and `not`.
    for source in sources().iter().filter(|source| is_checked(&source.path)) {
        for line in source.code.lines().filter(|line| line.contains("cfg")) {
            let mut tokens = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let platform = tokens.find(|token| ["unix", "windows"].contains(token));
            assert_eq!(platform, None, "src/{}: {line}", source.path);
        }
    }
}

#[test]
fn imports_point_one_way() {
    for source in sources() {
        let from = source.module();
        if ["lib", "fuzzing"].contains(&from) {
            continue;
        }
        let allowed = MODULES.iter().find(|(name, _)| *name == from);
        let Some((_, allowed)) = allowed else {
            panic!("src/{} belongs to none of the known modules", source.path);
        };
        for (to, _) in MODULES.iter().filter(|(to, _)| *to != from && !allowed.contains(to)) {
            let is_imported = imports(&source.code, to);
            assert!(!is_imported, "src/{} imports {to}, which {from} must not use", source.path);
        }
    }
}

/// A thread inherits the signals that are blocked where it is started, so the start of owned threads
/// needs the operating system. Nothing else in `sync` does.
#[test]
fn sync_uses_os_to_block_signals_only() {
    for source in sources().iter().filter(|source| source.module() == "sync") {
        let mut paths = source.code.split("crate::os").skip(1);
        let is_owner = source.path == "sync/worker.rs";
        let other = paths.find(|path| !(is_owner && path.starts_with("::signals::BlockSignals")));
        assert!(other.is_none(), "src/{} uses os for more than blocking signals", source.path);
    }
}

/// A path through `super` to the root of the crate would escape the rules of imports.
#[test]
fn super_does_not_reach_the_root() {
    for source in sources().iter().filter(|source| source.module() != "lib") {
        let has_inline_module = source.code.lines().any(|line| {
            let line = line.trim_start().trim_start_matches("pub(super) ");
            line.starts_with("mod ") && line.ends_with('{')
        });
        let to_root = source.depth() + usize::from(has_inline_module);
        let path = "super::".repeat(to_root);
        assert!(!source.code.contains(&path), "src/{}: {path}", source.path);
    }
}

/// `crate::Snapshot` is a re-export of `lib.rs`. Below the public API a path names the module.
#[test]
fn inner_paths_name_their_module() {
    let may_name = |module| {
        ABOVE_PUBLIC_API.contains(&module) || ["lib", "fuzzing", "testing"].contains(&module)
    };
    for source in sources().iter().filter(|source| !may_name(source.module())) {
        let mut paths = source.code.split("crate::").skip(1);
        let reexport = paths.find(|path| path.starts_with(char::is_uppercase));
        let reexport = reexport.and_then(|path| path.lines().next());
        assert_eq!(reexport, None, "src/{}: the path of a re-export", source.path);
    }
}

/// Besides public items, exporters and findings use the formatting helpers, and the server its threads.
#[test]
fn exporters_and_findings_use_the_public_api() {
    let public_modules = ["findings", "http", "opentelemetry", "otlp", "prometheus"];
    let above = sources().into_iter().filter(|source| ABOVE_PUBLIC_API.contains(&source.module()));
    for source in above {
        let Source { path, code } = &source;
        for import in code.split("crate::").skip(1) {
            let import = import.lines().next().unwrap_or_default();
            let module = import.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            let is_public =
                module.starts_with(char::is_uppercase) || public_modules.contains(&module);
            let has_thread = ["export/http/server.rs", "export/http/notifications.rs"];
            let is_thread =
                has_thread.contains(&path.as_str()) && import.starts_with("sync::worker::");
            let is_allowed =
                is_public || is_thread || [source.module(), "format"].contains(&module);
            assert!(is_allowed, "src/{path}: crate::{import}");
        }
        assert!(!code.contains("crate::Collector"), "src/{path}: a collector");
    }
}

/// An exposition is a pure function of a snapshot.
#[test]
fn expositions_do_no_io() {
    let pure = ["export/catalog", "export/otlp", "export/prometheus"];
    let is_checked = |path: &str| pure.iter().any(|folder| path.starts_with(folder));
    assert_absent(&["std::fs", "std::net", "std::thread"], is_checked, "an exposition does no I/O");
}

#[test]
fn core_has_no_async_runtime() {
    // Hosts with a runtime may start children with it.
    let is_checked = |path: &str| !path.starts_with("export/http") && !path.contains("tokio");
    assert_absent(&["tokio::", "axum", "hyper"], is_checked, "the core has no async runtime");
}

/// The lint denies unsafe code, and one file is exempt from it.
#[test]
fn only_pidfd_info_has_unsafe_code() {
    const EXEMPT: &str = "os/linux/pidfd_info.rs";
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    assert!(manifest.lines().any(|line| line == "unsafe_code = \"deny\""));
    let mut files = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    collect_files(&root, &mut files);
    let mut exempt = Vec::new();
    // Also in unit tests.
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        let mut code = text.lines().map(without_comment);
        if code.any(|line| ["unsafe", "unsafe_code"].iter().any(|word| has_word(line, word))) {
            exempt.push(path);
        }
    }
    assert_eq!(exempt, [EXEMPT]);
    let source = sources().into_iter().find(|source| source.path == EXEMPT).unwrap();
    assert!(source.code.contains("#![allow(unsafe_code)]"));
    assert_eq!(source.code.matches("unsafe {").count(), 1);
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

#[test]
fn crate_has_no_prelude_or_glob() {
    assert_absent(&["::*;", "::*}", "::*,", "mod prelude"], |_| true, "names are imported by name");
}
