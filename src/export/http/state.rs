//! The state that all handlers share.

use super::access::Secret;
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
    pub cache: Cache,
}

impl AppState {
    pub(super) fn new(reader: Reader, settings: HttpSettings) -> Self {
        let HttpSettings { thresholds, allowed_hosts, token, .. } = settings;
        Self { reader, thresholds, allowed_hosts, token, cache: Cache::default() }
    }
}
