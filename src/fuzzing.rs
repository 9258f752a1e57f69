//! A door for `fuzz/`: what reads bytes of others and is not public. Only there in a build by
//! cargo-fuzz, which sets `cfg(fuzzing)`; no part of the public face.

use crate::os::procfs;

/// Every parser of the kernel's bytes, on the same bytes: resident pages, start time, thread group.
#[must_use]
pub fn procfs(bytes: &[u8]) -> [Option<u64>; 3] {
    [
        procfs::resident_pages(bytes),
        procfs::start_time(bytes),
        procfs::thread_group(bytes).map(u64::from),
    ]
}

/// Whether a request with this `Host` is answered where these are allowed, all of which must be as
/// the config would take them: `None` if one is not.
#[cfg(feature = "http")]
#[must_use]
pub fn host_is_allowed(host: &str, allowed: &[&str]) -> Option<bool> {
    use crate::http::guard;

    let allowed: Option<Vec<_>> = allowed.iter().map(|host| guard::comparable_host(host)).collect();
    Some(guard::host_is_allowed(host, &allowed?))
}

/// What a query says, or the sentence that says what is wrong with it.
#[cfg(feature = "http")]
#[derive(Debug)]
pub struct Parameters {
    /// Decoded.
    pub name: Result<Option<String>, String>,
    /// A revision.
    pub since: Result<Option<u64>, String>,
    /// All of the history unless asked for less.
    pub window: Result<crate::Window, String>,
    /// At most so many.
    pub points: Result<usize, String>,
}

/// All parameters of a query.
#[cfg(feature = "http")]
#[must_use]
pub fn parameters(query: &str) -> Parameters {
    use crate::http::query::{BadQuery, Query};

    fn said<T>(result: Result<T, BadQuery>) -> Result<T, String> {
        result.map_err(|bad| bad.to_string())
    }

    let query = Query::new(Some(query));
    Parameters {
        name: said(query.text("name")),
        since: said(query.since()),
        window: said(query.window()),
        points: said(query.points()),
    }
}
