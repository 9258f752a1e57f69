//! Access for `fuzz/` to private functions that parse untrusted bytes. Compiled only by cargo-fuzz,
//! which sets `cfg(fuzzing)`; not part of the public API.

use crate::os::procfs;

/// The fields of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
pub struct Stat {
    /// The command's name, with escaped newlines.
    pub name: Vec<u8>,
    /// The letter of the state.
    pub state: u8,
    /// The pid of the parent.
    pub parent: u32,
    /// The id of the process group; 0 for -1.
    pub group: u32,
    /// The id of the session; 0 for -1.
    pub session: u32,
    /// The sum of two numbers.
    pub cpu_ticks: u64,
    /// The sum of two numbers.
    pub children_ticks: u64,
    /// The number of threads.
    pub threads: u32,
    /// When it has started.
    pub start_ticks: u64,
}

/// What the parsers of the kernel's files find in the same bytes.
#[derive(Debug)]
pub struct Procfs {
    /// `/proc/PID/stat`.
    pub stat: Option<Stat>,
    /// The second number of `/proc/PID/statm`.
    pub resident_pages: Option<u64>,
    /// The fifth field of `/proc/loadavg`.
    pub last_pid: Option<u32>,
    /// A file of one number.
    pub number: Option<u32>,
    /// `/proc/PID/task/TID/children`.
    pub children: Vec<u32>,
    /// `Tgid` of `/proc/PID/status`.
    pub thread_group: Option<u32>,
    /// `VmHWM` of `/proc/PID/status`, in bytes.
    pub peak_resident: Option<u64>,
    /// `MemTotal` of `/proc/meminfo`, in bytes.
    pub total_memory: Option<u64>,
    /// `usage_usec` of `cpu.stat`.
    pub cgroup_cpu_micros: Option<u64>,
    /// `oom_kill` of `memory.events`.
    pub oom_kills: Option<u64>,
    /// The first two numbers of `/proc/sys/kernel/osrelease`.
    pub kernel_release: Option<(u32, u32)>,
    /// The memory cgroups of versions 1 and 2 in `/proc/PID/cgroup`.
    pub memory_cgroups: (Option<String>, Option<String>),
}

/// Runs every parser of the kernel's files on the same bytes.
#[must_use]
pub fn procfs(bytes: &[u8]) -> Procfs {
    let stat = procfs::process_stat(bytes).map(|stat| Stat {
        name: stat.name.to_vec(),
        state: stat.state,
        parent: stat.parent,
        group: stat.group,
        session: stat.session,
        cpu_ticks: stat.cpu_ticks,
        children_ticks: stat.children_ticks,
        threads: stat.threads,
        start_ticks: stat.start_ticks,
    });
    let text = String::from_utf8_lossy(bytes);
    let (v1, v2) = procfs::memory_cgroups(&text);
    Procfs {
        stat,
        resident_pages: procfs::resident_pages(bytes),
        last_pid: procfs::last_pid(bytes),
        number: procfs::number(bytes),
        children: procfs::pids(bytes).collect(),
        thread_group: procfs::thread_group(bytes),
        peak_resident: procfs::peak_resident(bytes),
        total_memory: procfs::total_memory(bytes),
        cgroup_cpu_micros: procfs::cgroup_cpu_micros(bytes),
        oom_kills: procfs::oom_kills(bytes),
        kernel_release: procfs::kernel_release(bytes),
        memory_cgroups: (v1.map(str::to_owned), v2.map(str::to_owned)),
    }
}

/// The name of a process as the list of a tree's processes has it.
#[must_use]
pub fn command_name(name: &[u8]) -> (Vec<u8>, String) {
    let name = crate::history::command_name::CommandName::new(name);
    (name.as_bytes().to_vec(), name.text().into_owned())
}

/// Decodes bytes as each kind of blob of a store.
///
/// # Panics
///
/// If a decoded blob is another one after it was encoded again.
#[cfg(feature = "store")]
pub fn blob(bytes: &[u8]) {
    crate::store::check_blob(bytes);
    // Nearly all bytes end with another CRC than theirs.
    let mut with_crc = bytes.to_vec();
    with_crc.extend(crc32fast::hash(bytes).to_le_bytes());
    crate::store::check_blob(&with_crc);
}

/// Whether a request with this `Host` is accepted if these hosts are allowed; `None` if the config
/// would reject one of them.
#[cfg(feature = "http")]
#[must_use]
pub fn host_is_allowed(host: &str, allowed: &[&str]) -> Option<bool> {
    use crate::http::access;

    let allowed: Option<Vec<_>> =
        allowed.iter().map(|host| access::comparable_host(host)).collect();
    Some(access::host_is_allowed(host, &allowed?))
}

/// The parameters of a query, each a value or the text of its error.
#[cfg(feature = "http")]
#[derive(Debug)]
pub struct Parameters {
    /// Decoded.
    pub name: Result<Option<String>, String>,
    /// A revision.
    pub since: Result<Option<u64>, String>,
    /// The whole history if it is missing.
    pub window: Result<crate::Window, String>,
    /// The maximum number of points.
    pub points: Result<usize, String>,
    /// `from` and `to`.
    pub zoom: Result<Option<[std::time::SystemTime; 2]>, String>,
}

/// Parses all parameters of a query.
#[cfg(feature = "http")]
#[must_use]
pub fn parameters(query: &str) -> Parameters {
    use crate::http::query::{Query, QueryError};

    fn as_text<T>(result: Result<T, QueryError>) -> Result<T, String> {
        result.map_err(|error| error.to_string())
    }

    let query = Query::new(Some(query));
    Parameters {
        name: as_text(query.text("name")),
        since: as_text(query.since()),
        window: as_text(query.window()),
        points: as_text(query.points()),
        zoom: as_text(query.zoom()),
    }
}
