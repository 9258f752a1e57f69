//! In place of `restore`, in a build without stores.

use std::time::Duration;

use super::Engine;
use crate::sync::publish::Publisher;

/// There are no values to restore.
#[derive(Debug)]
pub(crate) enum Restored {}

impl<P, M> Engine<P, M> {
    pub(crate) const fn restore(&mut self, restored: Restored, _history_duration: Duration) {
        match restored {}
    }

    pub(crate) const fn publish_restored(&mut self, _publisher: &mut Publisher) {}
}
