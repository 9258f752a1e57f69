//! The state that all handlers share.

use super::access::Secret;
use super::base_path::BasePath;
use super::cache::Cache;
use super::settings::HttpSettings;
use crate::Reader;
use crate::findings::Thresholds;

#[derive(Debug)]
pub(super) struct AppState {
    pub reader: Reader,
    pub thresholds: Thresholds,
    pub allowed_hosts: Vec<String>,
    pub token: Option<Secret>,
    pub base_path: BasePath,
    /// The prefix of links on a page whose path ends in a slash.
    pub link_base: String,
    pub cache: Cache,
}

impl AppState {
    pub(super) fn new(reader: Reader, settings: HttpSettings) -> Self {
        let HttpSettings { thresholds, allowed_hosts, token, base_path, .. } = settings;
        // Relative links work under any path that a proxy or a host's router removes.
        let link_base =
            if base_path.is_empty() { "./".to_owned() } else { format!("{base_path}/") };
        let cache = Cache::default();
        Self { reader, thresholds, allowed_hosts, token, base_path, link_base, cache }
    }
}
