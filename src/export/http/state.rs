//! The state that all handlers share.

use std::sync::Arc;

use super::access::Secret;
use super::base_path::BasePath;
use super::cache::Cache;
use super::notifications::{NotificationLog, Recorder};
use super::settings::HttpSettings;
use super::stored::WindowStore;
use crate::Reader;

#[derive(Debug)]
pub(super) struct AppState {
    pub reader: Reader,
    pub allowed_hosts: Vec<String>,
    pub token: Option<Secret>,
    pub base_path: BasePath,
    /// The prefix of links on a page whose path ends in a slash.
    pub link_base: String,
    /// Of documents of a revision.
    pub cache: Cache,
    /// Of documents that have notifications too.
    pub index_cache: Cache,
    pub notifications: Arc<NotificationLog>,
    /// For windows beyond the history in memory.
    pub store: Option<WindowStore>,
    /// Records the notifications, unless the server's own thread does. Stopped with the router.
    _recorder: Option<Recorder>,
}

impl AppState {
    pub(super) fn new(
        reader: Reader,
        settings: HttpSettings,
        notifications: Arc<NotificationLog>,
        recorder: Option<Recorder>,
    ) -> Self {
        let HttpSettings { allowed_hosts, token, base_path, store, .. } = settings;
        // Relative links work under any path that a proxy or a host's router removes.
        let link_base =
            if base_path.is_empty() { "./".to_owned() } else { format!("{base_path}/") };
        let cache = Cache::default();
        Self {
            reader,
            allowed_hosts,
            token,
            base_path,
            link_base,
            cache,
            index_cache: Cache::default(),
            notifications,
            store,
            _recorder: recorder,
        }
    }
}
