//! What crosses threads: commands, the publication, notifications, counters, and owned threads.

pub(crate) mod cgroup;
pub(crate) mod command;
pub(crate) mod counter;
pub(crate) mod fork;
mod listening;
pub(crate) mod publish;
pub(crate) mod subscription;
#[cfg(feature = "store")]
pub(crate) mod wakeup;
pub(crate) mod worker;
