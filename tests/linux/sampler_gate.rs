//! Blocks the sampler, so that it processes no reports and detects no exits. Implemented as a
//! logger, which the sampler's thread calls at each tick.

use std::sync::{Condvar, Mutex, Once};
use std::thread;

use log::{Level, LevelFilter, Log, Metadata, Record};
use plugmeter::Collector;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Shut,
    /// The sampler is blocked.
    Blocked,
}

static GATE: Mutex<Gate> = Mutex::new(Gate::Open);
static MOVED: Condvar = Condvar::new();

struct GateLogger;

impl Log for GateLogger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.level() != Level::Trace {
            return;
        }
        let mut gate = GATE.lock().unwrap();
        if *gate == Gate::Shut {
            *gate = Gate::Blocked;
            MOVED.notify_all();
            drop(MOVED.wait_while(gate, |gate| *gate == Gate::Blocked).unwrap());
        }
    }

    fn flush(&self) {}
}

/// Unblocks the sampler on drop, also after a panic.
struct OpenOnDrop;

impl Drop for OpenOnDrop {
    fn drop(&mut self) {
        *GATE.lock().unwrap() = Gate::Open;
        MOVED.notify_all();
    }
}

/// Returns whether the sampler is blocked.
pub(crate) fn is_blocked() -> bool {
    *GATE.lock().unwrap() == Gate::Blocked
}

/// Runs `action` while the sampler is blocked in a tick. Installs a logger, so it needs a process
/// of its own.
pub(crate) fn while_blocked<T>(collector: &Collector, action: impl FnOnce() -> T) -> T {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        log::set_logger(&GateLogger).unwrap();
        log::set_max_level(LevelFilter::Trace);
    });
    *GATE.lock().unwrap() = Gate::Shut;
    thread::scope(|scope| {
        let _opener = OpenOnDrop;
        scope.spawn(|| collector.sample_now().unwrap());
        drop(MOVED.wait_while(GATE.lock().unwrap(), |gate| *gate == Gate::Shut).unwrap());
        action()
    })
}
