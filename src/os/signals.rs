//! The signals of the crate's threads: they are the host's.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use self::other::BlockSignals;
#[cfg(unix)]
pub(crate) use self::unix::BlockSignals;
