//! What the host asks of the server, and what it runs with.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::guard::{Secret, comparable_host};
use super::judge::Thresholds;

/// What a server or a router is to do. It is checked by [`serve`](super::serve) and
/// [`router`](super::router).
///
/// By serde it is `{"enabled": true, "host": "127.0.0.1", "port": 8080, "allowed_hosts": [],
/// "token": null, "warn_cpu_percent": 50, "warn_memory_mb": 100, "max_connections": 256}`; a missing
/// key takes its default; an unknown key is an error; `"host"` also takes `"localhost"`, which is
/// 127.0.0.1. Its `Debug` does not show the token; its JSON does.
///
/// ```
/// use plugmeter::http::HttpConfig;
///
/// let config = HttpConfig::default().port(0).token("correct horse");
/// assert!(!format!("{config:?}").contains("horse"));
/// # let json = serde_json::from_str::<HttpConfig>(r#"{"port": 0, "token": "correct horse"}"#);
/// # assert_eq!(json.unwrap(), config);
/// ```
#[must_use = "a config does nothing until something is served with it"]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    enabled: bool,
    #[serde(deserialize_with = "read_host")]
    host: IpAddr,
    port: u16,
    allowed_hosts: Vec<String>,
    token: Option<String>,
    #[serde(serialize_with = "write_number")]
    warn_cpu_percent: f64,
    #[serde(serialize_with = "write_number")]
    warn_memory_mb: f64,
    max_connections: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8080,
            allowed_hosts: Vec::new(),
            token: None,
            warn_cpu_percent: 50.0,
            warn_memory_mb: 100.0,
            max_connections: 256,
        }
    }
}

impl HttpConfig {
    /// Whether to serve at all. If not, [`serve`](super::serve) binds nothing and starts no thread,
    /// and a [`router`](super::router) has no routes.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// The address to listen on. Beyond loopback, set a [`token`](Self::token).
    pub fn host(mut self, host: IpAddr) -> Self {
        self.host = host;
        self
    }

    /// The port to listen on: 8080 unless set; 0 is any free one, which [`HttpServer::local_addr`]
    /// tells.
    ///
    /// [`HttpServer::local_addr`]: super::HttpServer::local_addr
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Answers requests for this host, besides those for an address and for `localhost`: the name
    /// under which a reverse proxy or another machine asks. Without a port. A page of another site
    /// cannot have its own name pointed here, and read what is answered.
    pub fn allow_host(mut self, host: &str) -> Self {
        self.allowed_hosts.push(host.to_owned());
        self
    }

    /// Answers only who knows it (but `/health`): as `Authorization: Bearer TOKEN`, or as the
    /// password of `Basic`, whatever the user's name, which is what a browser asks for.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// A plugin above so many percent of one core is worth a warning: 50 unless set; four busy
    /// threads use 400. A number too large to be reached warns of nothing; it has to be finite.
    pub fn warn_cpu_percent(mut self, percent: f64) -> Self {
        self.warn_cpu_percent = percent;
        self
    }

    /// A plugin above so much resident memory is worth a warning, in MB of 1,048,576 bytes: 100
    /// unless set. A number too large to be reached warns of nothing; it has to be finite.
    pub fn warn_memory_mb(mut self, mb: f64) -> Self {
        self.warn_memory_mb = mb;
        self
    }

    /// Connections at the same time: 256 unless set; more are accepted and closed at once.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Checks everything, once. What comes out cannot be wrong.
    pub(super) fn plan(&self) -> Result<Plan, HttpError> {
        let wrong = |setting, reason: String| Err(HttpError::Config { setting, reason });
        let mut allowed_hosts = Vec::with_capacity(self.allowed_hosts.len());
        for host in &self.allowed_hosts {
            // As it would have to come in a request: a name that is never equal to one helps nobody.
            let has_port =
                if host.starts_with('[') { !host.ends_with(']') } else { host.contains(':') };
            match comparable_host(host).filter(|_| !has_port) {
                Some(host) => allowed_hosts.push(host),
                None => {
                    let reason = format!("{host:?} is not the name of a host, without a port");
                    return wrong("allowed_hosts", reason);
                }
            }
        }
        for (setting, value) in
            [("warn_cpu_percent", self.warn_cpu_percent), ("warn_memory_mb", self.warn_memory_mb)]
        {
            // JSON has no infinity: it would be written, and not be read again.
            if !value.is_finite() || value < 0.0 {
                return wrong(setting, format!("{value} is not a finite number from 0 on"));
            }
        }
        let Some(max_connections) = NonZeroUsize::new(self.max_connections) else {
            return wrong("max_connections", "0 connections would answer nobody".to_owned());
        };
        let token = match self.token.as_deref() {
            None => None,
            Some("") => return wrong("token", "it is empty".to_owned()),
            Some(token) if token.trim() != token || token.contains(char::is_control) => {
                // The token itself is not for a log.
                let reason = "it has space around it, or control characters: no request has that";
                return wrong("token", reason.to_owned());
            }
            Some(token) => Some(Secret::new(token)),
        };
        Ok(Plan {
            enabled: self.enabled,
            address: SocketAddr::new(self.host, self.port),
            allowed_hosts,
            token,
            thresholds: Thresholds {
                cpu_percent: self.warn_cpu_percent,
                memory_mb: self.warn_memory_mb,
            },
            max_connections,
        })
    }
}

/// All but the token, of which it says whether there is one.
impl fmt::Debug for HttpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConfig")
            .field("enabled", &self.enabled)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("allowed_hosts", &self.allowed_hosts)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("warn_cpu_percent", &self.warn_cpu_percent)
            .field("warn_memory_mb", &self.warn_memory_mb)
            .field("max_connections", &self.max_connections)
            .finish()
    }
}

/// A config that was checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub enabled: bool,
    pub address: SocketAddr,
    /// As [`comparable_host`] makes them.
    pub allowed_hosts: Vec<String>,
    pub token: Option<Secret>,
    pub thresholds: Thresholds,
    pub max_connections: NonZeroUsize,
}

/// Why nothing is served.
///
/// ```
/// use plugmeter::http::{self, HttpConfig, HttpError};
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// let error = http::serve(collector.reader(), HttpConfig::default().token("")).unwrap_err();
/// assert!(matches!(error, HttpError::Config { setting: "token", .. }));
/// # Ok::<(), plugmeter::StartError>(())
/// ```
#[non_exhaustive]
#[derive(Debug)]
pub enum HttpError {
    /// The address cannot be listened on: mostly it is in use. No other one is tried.
    Bind {
        /// As configured.
        addr: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// A setting makes no sense.
    Config {
        /// Its name.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The server's thread could not be started.
    Thread(io::Error),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { addr, source } => write!(f, "cannot listen on {addr}: {source}"),
            Self::Config { setting, reason } => write!(f, "setting {setting}: {reason}"),
            Self::Thread(source) => write!(f, "cannot start the server's thread: {source}"),
        }
    }
}

impl Error for HttpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Bind { source, .. } | Self::Thread(source) => Some(source),
            Self::Config { .. } => None,
        }
    }
}

fn read_host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    let host = String::deserialize(deserializer)?;
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let wrong = |_| de::Error::invalid_value(de::Unexpected::Str(&host), &"an address");
    host.parse().map_err(wrong)
}

/// Whole numbers as such, so that what a person wrote comes back as they wrote it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::trivially_copy_pass_by_ref
)]
fn write_number<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let whole = *value as i64;
    if whole as f64 == *value && whole.abs() < 1 << 53 {
        serializer.serialize_i64(whole)
    } else {
        serializer.serialize_f64(*value)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[track_caller]
    fn assert_wrong(config: &HttpConfig, setting: &str, said: &str) {
        let error = config.plan().unwrap_err();
        assert!(matches!(error, HttpError::Config { setting: s, .. } if s == setting), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }

    #[test]
    fn what_makes_no_sense_is_an_error_that_names_the_setting_and_the_value() {
        let config = HttpConfig::default;
        assert_wrong(&config().token(""), "token", "empty");
        assert_wrong(&config().token("secret\n"), "token", "space around");
        assert_wrong(&config().token("sec\u{7f}ret"), "token", "control");
        assert_wrong(&config().max_connections(0), "max_connections", "0");
        for bad in [f64::NAN, -0.1, f64::NEG_INFINITY, f64::INFINITY] {
            assert_wrong(&config().warn_cpu_percent(bad), "warn_cpu_percent", &bad.to_string());
            assert_wrong(&config().warn_memory_mb(bad), "warn_memory_mb", &bad.to_string());
        }
        for bad in ["", ".", "bot.example:80", "http://bot", "a/b", "bö.example", "a b", "u@h", "*"]
        {
            assert_wrong(&config().allow_host(bad), "allowed_hosts", &format!("{bad:?}"));
        }
        for good in ["bot", "Bot.Example.", "xn--bt-fka.example", "[::1]", "under_score"] {
            assert!(config().allow_host(good).plan().is_ok(), "{good}");
        }
    }

    #[test]
    fn no_error_says_the_token() {
        let error = HttpConfig::default().token(" hunter2").plan().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn json_goes_both_ways() {
        let json = serde_json::to_string(&HttpConfig::default()).unwrap();
        assert_eq!(
            json,
            r#"{"enabled":true,"host":"127.0.0.1","port":8080,"allowed_hosts":[],"token":null,"warn_cpu_percent":50,"warn_memory_mb":100,"max_connections":256}"#
        );
        let config = HttpConfig::default()
            .enabled(false)
            .host(IpAddr::V6(Ipv6Addr::LOCALHOST))
            .port(0)
            .allow_host("bot.example")
            .token("s3cret")
            .warn_cpu_percent(12.5)
            .warn_memory_mb(0.0)
            .max_connections(3);
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<HttpConfig>(&json).unwrap(), config, "{json}");
    }

    #[test]
    fn json_takes_defaults_for_what_is_missing_and_refuses_what_it_does_not_know() {
        let read = serde_json::from_str::<HttpConfig>;
        assert_eq!(read("{}").unwrap(), HttpConfig::default());
        assert_eq!(read(r#"{"host": "LocalHost"}"#).unwrap(), HttpConfig::default());
        let every = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        assert_eq!(read(r#"{"host": "::"}"#).unwrap(), HttpConfig::default().host(every));
        for (bad, said) in [
            (r#"{"hosts": []}"#, "unknown field"),
            (r#"{"host": "example.com"}"#, "an address"),
            (r#"{"host": "[::1]"}"#, "an address"),
            (r#"{"port": 65536}"#, "u16"),
            (r#"{"port": -1}"#, "u16"),
            (r#"{"token": 5}"#, "string"),
            (r#"{"max_connections": 0.5}"#, "usize"),
        ] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains(said), "{bad}: {error}");
        }
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let config = HttpConfig::default().token("hunter2");
        let plan = config.plan().unwrap();
        assert!(!format!("{config:?} {plan:?}").contains("hunter2"));
    }
}
