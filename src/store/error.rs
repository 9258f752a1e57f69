//! Errors of a store.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a [`StoreConfig`](crate::StoreConfig) is invalid.
///
/// ```
/// use plugmeter::{Store, StoreConfig, StoreConfigError, StoreError};
///
/// let error = Store::open(StoreConfig::new("")).unwrap_err();
/// assert!(matches!(error, StoreError::Config(StoreConfigError::NoPath)));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreConfigError {
    /// The path is empty.
    NoPath,
    /// A time for which values are kept is out of range.
    Retention {
        /// The key in the config.
        key: &'static str,
        /// The configured time.
        value: Duration,
        /// The shortest valid time.
        min: Duration,
        /// The longest valid time.
        max: Duration,
    },
    /// The limit of the size is too small.
    MaxBytes {
        /// The configured size.
        value: u64,
        /// The smallest valid size.
        min: u64,
    },
    /// The time between two writes is out of range.
    WriteInterval {
        /// The configured time.
        value: Duration,
        /// The shortest valid time.
        min: Duration,
        /// The longest valid time.
        max: Duration,
    },
}

impl fmt::Display for StoreConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| time.as_secs();
        match *self {
            Self::NoPath => f.write_str("the path of the store is empty"),
            Self::Retention { key, value, min, max } => {
                write!(
                    f,
                    "{key} of {value:?} is not between {}s and {}s",
                    seconds(min),
                    seconds(max)
                )
            }
            Self::MaxBytes { value, min } => write!(f, "max_bytes of {value} is less than {min}"),
            Self::WriteInterval { value, min, max } => {
                write!(f, "write interval {value:?} is not between {min:?} and {max:?}")
            }
        }
    }
}

impl Error for StoreConfigError {}

/// Why a store cannot be opened, read or written.
///
/// ```
/// use plugmeter::{Store, StoreConfig, StoreError};
///
/// # let folder = std::env::temp_dir().join(format!("plugmeter-error-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let path = folder.join("plugmeter.db");
/// let store = Store::open(StoreConfig::new(&path))?;
/// let second = Store::open(StoreConfig::new(&path)).unwrap_err();
/// assert!(matches!(second, StoreError::InUse { pid } if pid == std::process::id()));
/// # drop(store);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Debug)]
pub enum StoreError {
    /// Another host, or another [`Store`](crate::Store) of this one, has opened the file.
    InUse {
        /// Its process id; 0 if it is unknown.
        pid: u32,
    },
    /// The file was written by a newer version of this crate.
    Newer {
        /// The version of its layout.
        version: u32,
    },
    /// A value of the config is invalid.
    Config(
        /// The config's error.
        StoreConfigError,
    ),
    /// The operating system refuses an operation.
    Io(
        /// Its error, whose text names the file; the error of the system is its source.
        io::Error,
    ),
    /// The database reports an error.
    Database(
        /// The text of the error, which begins with the file.
        String,
    ),
}

impl StoreError {
    /// Not an `impl From`, because that would be part of the public API.
    pub(super) fn database(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }

    /// Names the file in the text, where the variant has one. Applied once, where an error leaves the module.
    pub(super) fn at(self, path: &Path) -> Self {
        match self {
            Self::Io(error) => Self::Io(PathError::wrap(path.to_owned(), error)),
            Self::Database(text) => Self::Database(format!("{}: {text}", path.display())),
            other @ (Self::InUse { .. } | Self::Newer { .. } | Self::Config(_)) => other,
        }
    }

    /// A copy: an [`io::Error`] cannot be cloned.
    pub(super) fn copy(&self) -> Self {
        match self {
            Self::InUse { pid } => Self::InUse { pid: *pid },
            Self::Newer { version } => Self::Newer { version: *version },
            Self::Config(error) => Self::Config(*error),
            Self::Io(error) => Self::Io(copy_io(error)),
            Self::Database(text) => Self::Database(text.clone()),
        }
    }
}

fn copy_io(error: &io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<PathError>());
    match (inner, error.raw_os_error()) {
        (Some(PathError { path, error }), _) => PathError::wrap(path.clone(), copy_io(error)),
        (None, Some(code)) => io::Error::from_raw_os_error(code),
        (None, None) => io::Error::new(error.kind(), error.to_string()),
    }
}

/// An error of the operating system with the file that it is about.
#[derive(Debug)]
struct PathError {
    path: PathBuf,
    error: io::Error,
}

impl PathError {
    fn wrap(path: PathBuf, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), Self { path, error })
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl Error for PathError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { pid: 0 } => f.write_str("the store is in use"),
            Self::InUse { pid } => write!(f, "the store is in use by process {pid}"),
            Self::Newer { version } => {
                write!(f, "the store was written by a newer version (layout {version})")
            }
            Self::Config(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the store is not accessible: {error}"),
            Self::Database(text) => write!(f, "the store's database: {text}"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            // Its text is the text of this error already.
            Self::Config(_) | Self::InUse { .. } | Self::Newer { .. } | Self::Database(_) => None,
        }
    }
}

impl From<StoreConfigError> for StoreError {
    fn from(error: StoreConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_the_file_also_in_a_copy() {
        let path = Path::new("/data/a.db");
        for error in [io::Error::from_raw_os_error(2), io::ErrorKind::NotFound.into()] {
            let text = format!("the store is not accessible: /data/a.db: {error}");
            let error = StoreError::Io(error).at(path);
            for error in [error.copy().copy(), error.copy(), error] {
                assert_eq!(error.to_string(), text);
                let StoreError::Io(error) = error else { panic!("{error}") };
                assert_eq!(error.kind(), io::ErrorKind::NotFound);
            }
        }
        let error = StoreError::Database("it is full".to_owned()).at(path);
        assert_eq!(error.copy().to_string(), "the store's database: /data/a.db: it is full");
        let error = StoreError::InUse { pid: 7 }.at(path);
        assert_eq!(error.copy().to_string(), "the store is in use by process 7");
        assert!(error.source().is_none());
    }

    #[test]
    fn source_is_the_error_of_the_system() {
        let error = StoreError::Io(io::Error::from_raw_os_error(2)).at(Path::new("/data/a.db"));
        let with_path = error.source().unwrap();
        assert!(with_path.to_string().starts_with("/data/a.db: "), "{with_path}");
        let source = with_path.source().unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.raw_os_error(), Some(2));
    }
}
