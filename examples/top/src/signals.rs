//! The signals that request this program to exit: the terminal is restored before it does.

pub(crate) use imp::Signals;

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use nix::sys::signal::{SigSet, Signal};

    /// Whether such a signal has arrived.
    #[derive(Clone, Debug)]
    pub(crate) struct Signals(Arc<AtomicBool>);

    impl Signals {
        /// Blocks the signals and waits for them in a thread. Call it before any other thread
        /// starts, because later threads inherit the blocked signals. `std` unblocks them in
        /// children.
        pub(crate) fn watch() -> io::Result<Self> {
            let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
            ends.thread_block()?;
            let signals = Self(Arc::default());
            let arrived = signals.clone();
            thread::Builder::new().name("signals".to_owned()).spawn(move || {
                while ends.wait().is_err() {}
                arrived.0.store(true, Ordering::Relaxed);
            })?;
            Ok(signals)
        }

        pub(crate) fn has_arrived(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;

    /// On this platform a signal ends the program immediately, without restoring the terminal.
    #[derive(Clone, Debug)]
    pub(crate) struct Signals;

    impl Signals {
        pub(crate) fn watch() -> io::Result<Self> {
            Ok(Self)
        }

        pub(crate) fn has_arrived(&self) -> bool {
            false
        }
    }
}
