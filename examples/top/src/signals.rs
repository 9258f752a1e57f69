//! The signals that ask this program to end: the terminal is given back before it does.

pub(crate) use imp::Signals;

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use nix::sys::signal::{SigSet, Signal};

    /// Whether such a signal has come.
    #[derive(Clone, Debug)]
    pub(crate) struct Signals(Arc<AtomicBool>);

    impl Signals {
        /// To be called before there is another thread: signals are blocked in those that begin
        /// later, and waited for in one. (A child begins with none blocked: `std` sees to that.)
        pub(crate) fn wait_for() -> io::Result<Self> {
            let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
            ends.thread_block()?;
            let signals = Self(Arc::default());
            let told = signals.clone();
            thread::Builder::new().name("signals".to_owned()).spawn(move || {
                while ends.wait().is_err() {}
                told.0.store(true, Ordering::Relaxed);
            })?;
            Ok(signals)
        }

        pub(crate) fn has_come(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;

    /// Here a signal ends the program at once, and leaves the terminal as it is.
    #[derive(Clone, Debug)]
    pub(crate) struct Signals;

    impl Signals {
        pub(crate) fn wait_for() -> io::Result<Self> {
            Ok(Self)
        }

        pub(crate) fn has_come(&self) -> bool {
            false
        }
    }
}
