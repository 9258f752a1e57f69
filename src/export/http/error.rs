//! Why a server or a router cannot be made.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a server or a router could not be created.
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
    /// The server cannot listen on the address, usually because it is in use. No other address is
    /// tried.
    Bind {
        /// The configured address.
        addr: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
    /// A setting is invalid.
    Config {
        /// The name of the setting.
        setting: &'static str,
        /// Why it is invalid.
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
