//! The configuration of a server or a router.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Deserializer, Serialize, de};

use super::error::HttpError;
use super::settings::{self, HttpSettings};

/// The configuration of a server or a router. [`serve`](super::serve) and
/// [`router`](super::router) validate it.
///
/// Its JSON is `{"enabled": true, "host": "127.0.0.1", "port": 8080, "allowed_hosts": [], "token": null,
/// "max_connections": 256, "base_path": ""}`, which are the defaults. A missing key has its default; an
/// unknown key is an error. `"host"` also accepts `"localhost"`, which is 127.0.0.1. `Debug` does not show
/// the token; JSON does.
///
/// ```
/// use plugmeter::http::HttpConfig;
///
/// let config = HttpConfig::default().port(0).token("correct horse");
/// assert!(!format!("{config:?}").contains("horse"));
/// # let json = serde_json::from_str::<HttpConfig>(r#"{"port": 0, "token": "correct horse"}"#);
/// # assert_eq!(json.unwrap(), config);
/// ```
#[must_use = "a config has no effect until it is passed to `serve` or `router`"]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    enabled: bool,
    #[serde(deserialize_with = "read_host")]
    host: IpAddr,
    port: u16,
    allowed_hosts: Vec<String>,
    token: Option<String>,
    max_connections: usize,
    base_path: String,
    #[cfg(feature = "store")]
    #[serde(skip)]
    store: Option<crate::StoreReader>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8080,
            allowed_hosts: Vec::new(),
            token: None,
            max_connections: 256,
            base_path: String::new(),
            #[cfg(feature = "store")]
            store: None,
        }
    }
}

impl HttpConfig {
    /// Whether to serve: true by default. If false, [`serve`](super::serve) listens on no address and
    /// starts no thread, and a [`router`](super::router) has no routes.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// The address to listen on: 127.0.0.1 by default. For an address that other machines can reach,
    /// set a [`token`](Self::token).
    pub fn host(mut self, host: IpAddr) -> Self {
        self.host = host;
        self
    }

    /// Sets a store from which windows beyond the history in memory are read: of a day, a week and thirty
    /// days on the page of a plugin, and of any length in `/api/plugin` and in downloads. None by default.
    /// Not part of the JSON.
    ///
    /// ```
    /// use plugmeter::http::HttpConfig;
    /// use plugmeter::{Store, StoreConfig};
    ///
    /// # let folder = std::env::temp_dir().join(format!("plugmeter-config-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("plugmeter.db");
    /// let store = Store::open(StoreConfig::new(&path))?;
    /// let config = HttpConfig::default().store(store.reader());
    /// # drop(store);
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "store")]
    pub fn store(mut self, store: crate::StoreReader) -> Self {
        self.store = Some(store);
        self
    }

    /// The port to listen on: 8080 by default. With 0 the operating system chooses a free one, which
    /// [`HttpServer::local_addr`] returns.
    ///
    /// [`HttpServer::local_addr`]: super::HttpServer::local_addr
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Also accepts requests whose `Host` is this name, besides IP addresses and `localhost`: the name
    /// that a reverse proxy or another machine uses, without a port. It may be called several times.
    /// Requests for other hosts are rejected, so that no page of another site can read responses through
    /// a name that resolves to this address (DNS rebinding).
    pub fn allow_host(mut self, host: &str) -> Self {
        self.allowed_hosts.push(host.to_owned());
        self
    }

    /// Requires this token for every route except `/health`: as `Authorization: Bearer TOKEN`, or as
    /// the password of `Basic` with any user name, for which a browser prompts. It must not be empty, nor
    /// have whitespace at its ends or control characters. None by default.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// The maximum number of simultaneous connections: at least 1, and 256 by default. Further
    /// connections are accepted and closed immediately.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// The path under which all routes are served: empty by default. It is for a reverse proxy that
    /// forwards the path of a request unchanged: with `"/plugins"` the dashboard is at `/plugins/`, to
    /// which `/plugins` redirects, and the health check is at `/plugins/health`. Requests for other
    /// paths are answered with 404. A proxy that removes its prefix needs no base path, because links
    /// are relative.
    ///
    /// It must begin with a slash, and may end with one. Its segments must not be empty, `.` or `..`, and
    /// consist of the characters of a URL's path; other characters have to be percent-encoded.
    ///
    /// For a [`router`](super::router) that the host mounts under a path, requests do not have the base
    /// path, because the host's router has removed the path; there it is only the start of links.
    pub fn base_path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.base_path);
        self
    }

    /// Validates every setting.
    pub(super) fn validate(&self) -> Result<HttpSettings, HttpError> {
        Ok(HttpSettings {
            enabled: self.enabled,
            address: SocketAddr::new(self.host, self.port),
            allowed_hosts: settings::allowed_hosts(&self.allowed_hosts)?,
            max_connections: settings::max_connections(self.max_connections)?,
            base_path: settings::base_path(&self.base_path)?,
            token: settings::token(self.token.as_deref())?,
            #[cfg(feature = "store")]
            store: self.store.clone(),
            #[cfg(not(feature = "store"))]
            store: None,
        })
    }
}

/// Shows whether there is a token, but not the token.
impl fmt::Debug for HttpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConfig")
            .field("enabled", &self.enabled)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("allowed_hosts", &self.allowed_hosts)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("max_connections", &self.max_connections)
            .field("base_path", &self.base_path)
            .finish()
    }
}

fn read_host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    let host = String::deserialize(deserializer)?;
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let invalid = |_| de::Error::invalid_value(de::Unexpected::Str(&host), &"an address");
    host.parse().map_err(invalid)
}

#[cfg(test)]
mod tests;
