//! Waits for a future or for the request to stop, on a thread of the crate.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use event_listener::{Event, Listener};

/// A request to stop, with a thread that waits for it and for something else.
#[derive(Debug, Default)]
pub(crate) struct StopSignal {
    is_requested: AtomicBool,
    woken: Event,
}

/// Why a wait has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Woken<T> {
    /// The future is ready.
    Ready(T),
    TimedOut,
    Stopped,
}

impl StopSignal {
    /// From now on every wait ends immediately.
    pub(crate) fn request(&self) {
        // ORDERING: Release, paired with the Acquire in `is_requested`: what was written before the
        // request is visible to the thread that stops.
        self.is_requested.store(true, Ordering::Release);
        self.woken.notify(usize::MAX);
    }

    pub(crate) fn is_requested(&self) -> bool {
        // ORDERING: Acquire, see `request`.
        self.is_requested.load(Ordering::Acquire)
    }

    /// Blocks until the future is ready, the timeout has passed, or stopping is requested.
    pub(crate) fn wait<T>(
        self: &Arc<Self>,
        future: impl Future<Output = T>,
        timeout: Duration,
    ) -> Woken<T> {
        let deadline = Instant::now().checked_add(timeout);
        let waker = Waker::from(Arc::new(Waking(Arc::clone(self))));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            // Registered before the future is polled: nothing that happens after that is missed.
            let listener = self.woken.listen();
            if self.is_requested() {
                return Woken::Stopped;
            }
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return Woken::Ready(value);
            }
            let Some(deadline) = deadline else {
                listener.wait();
                continue;
            };
            if listener.wait_deadline(deadline).is_none() {
                return Woken::TimedOut;
            }
        }
    }
}

/// Wakes the thread that waits. A waker that outlives the wait has no effect on the next one but to look
/// again.
struct Waking(Arc<StopSignal>);

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.0.woken.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[test]
    fn wait_ends_with_future_timeout_or_stop() {
        let signal = Arc::new(StopSignal::default());
        let second = Duration::from_secs(1);
        assert_eq!(signal.wait(ready(7), second), Woken::Ready(7));
        assert_eq!(signal.wait(pending::<()>(), Duration::from_millis(1)), Woken::TimedOut);
        let stopper = Arc::clone(&signal);
        let thread = std::thread::spawn(move || stopper.request());
        assert_eq!(signal.wait(pending::<()>(), 100 * second), Woken::Stopped);
        thread.join().unwrap();
        assert_eq!(signal.wait(ready(7), second), Woken::Stopped);
    }
}
