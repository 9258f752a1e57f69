//! Access for `fuzz/` to private functions that parse untrusted bytes. Compiled only by cargo-fuzz,
//! which sets `cfg(fuzzing)`; not part of the public API.

use crate::os::procfs;

/// Runs every parser of the kernel's files on the same bytes, and returns the numbers that are
/// copied from the bytes.
#[must_use]
pub fn procfs(bytes: &[u8]) -> Vec<u64> {
    let mut numbers: Vec<u64> = procfs::pids(bytes).map(u64::from).collect();
    numbers.extend(procfs::resident_pages(bytes));
    numbers.extend(procfs::cgroup_cpu_micros(bytes));
    let pids = [procfs::thread_group(bytes), procfs::last_pid(bytes), procfs::number(bytes)];
    numbers.extend(pids.into_iter().flatten().map(u64::from));
    if let Some((major, minor)) = procfs::kernel_release(bytes) {
        numbers.extend([major, minor].map(u64::from));
    }
    if let Some(stat) = procfs::process_stat(bytes) {
        numbers.extend([stat.parent, stat.threads].map(u64::from));
        numbers.push(stat.start_ticks);
        // Zero stands for -1 as well.
        numbers.extend([stat.group, stat.session].into_iter().filter(|id| *id != 0).map(u64::from));
    }
    numbers
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
