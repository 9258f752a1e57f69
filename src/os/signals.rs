//! The signals of the crate's threads: they are the host's.

#[cfg(any(not(unix), miri))] // Miri has no signals
mod other;
#[cfg(all(unix, not(miri)))]
mod unix;

#[cfg(any(not(unix), miri))]
pub(crate) use self::other::BlockSignals;
#[cfg(all(unix, not(miri)))]
pub(crate) use self::unix::BlockSignals;
