//! What crosses threads: commands, the publication, counters, and owned threads.

pub(crate) mod cgroup;
pub(crate) mod command;
pub(crate) mod counter;
pub(crate) mod fork;
pub(crate) mod publish;
pub(crate) mod worker;
