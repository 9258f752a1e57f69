//! A registration at an event, which in a forked child is neither waited for nor removed.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use event_listener::{Event, EventListener, Listener};

use super::fork::ForkGuard;

/// A registration: notifications from its creation on are not missed.
#[derive(Debug)]
pub(super) struct Listening {
    listener: Option<EventListener>,
    fork_guard: ForkGuard,
}

impl Listening {
    pub(super) fn new(event: &Event, fork_guard: ForkGuard) -> Self {
        Self { listener: Some(event.listen()), fork_guard }
    }

    /// Blocks until the event is notified; false if the deadline has passed before.
    pub(super) fn wait(mut self, deadline: Option<Instant>) -> bool {
        let Some(listener) = self.listener.take() else { return true };
        match deadline {
            Some(deadline) => listener.wait_deadline(deadline).is_some(),
            None => {
                listener.wait();
                true
            }
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // The caller looks at the value first, which ends the wait in a forked child.
        match &mut self.listener {
            Some(listener) => Pin::new(listener).poll(context),
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if !self.fork_guard.in_owner_process() {
            // The event's lock may have been held at the fork.
            mem::forget(self.listener.take());
        }
    }
}
