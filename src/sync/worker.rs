//! A thread with an owner that stops and joins it.

use std::fmt;
use std::io;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder, JoinHandle, ThreadId};

use super::fork::ForkGuard;

/// An owned thread: started with a name, asked to stop, joined once. Dropping it stops it.
///
/// Stopping from several threads, twice, or from the thread itself does not deadlock. In a forked
/// child, where the thread does not exist, nothing is locked, joined or dropped.
pub(crate) struct Worker {
    /// `None` only during the drop in a forked child.
    parts: Option<Parts>,
    id: ThreadId,
    fork_guard: ForkGuard,
}

struct Parts {
    /// Taken by the caller that joins it.
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Makes the thread's body return. May be called more than once.
    request_stop: Box<dyn Fn() + Send + Sync>,
}

impl Worker {
    /// Starts a thread that runs `body`; `request_stop` makes `body` return.
    pub(crate) fn spawn(
        name: &str,
        request_stop: impl Fn() + Send + Sync + 'static,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let thread = Builder::new().name(name.to_owned()).spawn(body)?;
        let id = thread.thread().id();
        let parts =
            Parts { thread: Mutex::new(Some(thread)), request_stop: Box::new(request_stop) };
        Ok(Self { parts: Some(parts), id, fork_guard: ForkGuard::new() })
    }

    /// Whether the calling thread is this one.
    pub(crate) fn is_current(&self) -> bool {
        self.id == thread::current().id()
    }

    /// Asks the thread to stop and waits until it has.
    ///
    /// The first caller gets the thread's result; others wait for the first and get `None`. From
    /// the thread itself this does not wait, and in a forked child it does nothing: `None`.
    pub(crate) fn stop(&self) -> Option<thread::Result<()>> {
        let parts = self.parts.as_ref().filter(|_| self.fork_guard.in_owner_process())?;
        (parts.request_stop)();
        if self.is_current() {
            return None;
        }
        // Held during the join, so that the second caller waits for the first.
        let mut thread = parts.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.take().map(JoinHandle::join)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.fork_guard.in_owner_process() {
            let _: Option<thread::Result<()>> = self.stop();
        } else {
            // The thread does not exist in this process, and the parts may use locks that it held
            // at the fork.
            mem::forget(self.parts.take());
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, OnceLock};

    use super::*;

    fn worker(body: impl FnOnce() + Send + 'static) -> Worker {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let request_stop = move || _ = sender.send(());
        let wait_and_run = move || {
            receiver.recv().unwrap();
            body();
        };
        Worker::spawn("test-worker", request_stop, wait_and_run).unwrap()
    }

    #[test]
    fn stop_returns_result_to_first_caller_only() {
        let finished = worker(|| ());
        assert!(matches!(finished.stop(), Some(Ok(()))));
        assert!(finished.stop().is_none());
        let panicked = worker(|| panic!("expected by the test"));
        assert!(matches!(panicked.stop(), Some(Err(_))));
    }

    #[test]
    fn concurrent_stops_join_once() {
        let worker = worker(|| ());
        let joins = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let joined = usize::from(worker.stop().is_some());
                    // ORDERING: Relaxed. The scope's end synchronizes.
                    joins.fetch_add(joined, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(joins.into_inner(), 1);
    }

    #[test]
    fn stop_from_own_thread_does_not_wait() {
        let cell = Arc::new(OnceLock::<Worker>::new());
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let own = Arc::clone(&cell);
        let body = move || {
            receiver.recv().unwrap();
            let worker = own.get().unwrap();
            assert!(worker.is_current());
            assert!(worker.stop().is_none());
        };
        cell.set(Worker::spawn("test-worker", || (), body).unwrap()).unwrap();
        sender.send(()).unwrap();
        assert!(matches!(cell.get().unwrap().stop(), Some(Ok(()))));
    }
}
