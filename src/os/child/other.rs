//! Platforms other than Linux: a child is not read before it is reaped.

use std::thread;
use std::time::Duration;

use super::ChildState;
use crate::sync::command::ChildReading;

/// The interval between two checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);

pub(crate) const fn read(_pid: u32) -> Option<ChildReading> {
    None
}

pub(crate) const fn check(_pid: u32) -> ChildState {
    ChildState::Unknown
}

/// Returns immediately: the caller's own wait blocks.
pub(crate) const fn wait(_pid: u32) -> Option<ChildReading> {
    None
}

/// Blocks for `timeout` or one interval, whichever is shorter.
pub(crate) fn sleep_until_exit(_pid: u32, timeout: Duration) {
    thread::sleep(timeout.min(CHECK_INTERVAL));
}
