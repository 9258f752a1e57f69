//! The validated form of a config.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use super::access::{Secret, comparable_host};
use super::base_path::BasePath;
use super::error::HttpError;
use super::stored::WindowStore;

/// A config whose values are all valid.
#[derive(Debug)]
pub(super) struct HttpSettings {
    pub enabled: bool,
    pub address: SocketAddr,
    /// In the form of [`comparable_host`].
    pub allowed_hosts: Vec<String>,
    pub token: Option<Secret>,
    pub max_connections: NonZeroUsize,
    pub base_path: BasePath,
    /// For windows beyond the history in memory.
    pub store: Option<WindowStore>,
}

fn invalid<T>(setting: &'static str, reason: impl Into<String>) -> Result<T, HttpError> {
    Err(HttpError::Config { setting, reason: reason.into() })
}

/// The hosts in the form for comparison. A host that is never equal to one of a request is invalid.
pub(super) fn allowed_hosts(hosts: &[String]) -> Result<Vec<String>, HttpError> {
    let mut allowed = Vec::with_capacity(hosts.len());
    for host in hosts {
        let has_port =
            if host.starts_with('[') { !host.ends_with(']') } else { host.contains(':') };
        match comparable_host(host).filter(|_| !has_port) {
            Some(host) => allowed.push(host),
            None => {
                let reason = format!("{host:?} is not a host name without a port");
                return invalid("allowed_hosts", reason);
            }
        }
    }
    Ok(allowed)
}

pub(super) fn max_connections(connections: usize) -> Result<NonZeroUsize, HttpError> {
    NonZeroUsize::new(connections)
        .map_or_else(|| invalid("max_connections", "0 is less than 1"), Ok)
}

pub(super) fn base_path(path: &str) -> Result<BasePath, HttpError> {
    BasePath::parse(path).or_else(|reason| invalid("base_path", reason))
}

pub(super) fn token(token: Option<&str>) -> Result<Option<Secret>, HttpError> {
    match token {
        None => Ok(None),
        Some("") => invalid("token", "it is empty"),
        // The reason does not contain the token, because reasons are logged.
        Some(token) if token.trim() != token || token.contains(char::is_control) => invalid(
            "token",
            "it has leading or trailing whitespace, or control characters: no header can have these",
        ),
        Some(token) => Ok(Some(Secret::new(token))),
    }
}
