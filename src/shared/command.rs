//! From the host to the sampler.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender};

use super::counter::EventCounter;
use crate::model::run::{Outcome, RunId};
use crate::model::snapshot::Snapshot;
use crate::model::state::PluginState;
use crate::model::time::Now;

/// Names one registration of a plugin. Never given out twice by one collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PluginId(pub u64);

/// What the host tells the sampler. It is applied in the order in which it was said.
#[derive(Debug)]
pub(crate) enum Command {
    Change(Change),
    /// A tick at once; the snapshot is to be sent back.
    Sample(Sender<Snapshot>),
    Stop,
}

/// A change to the set of plugins, or to one of them.
#[derive(Debug)]
pub(crate) enum Change {
    Register { id: PluginId, name: Arc<str>, events: EventCounter },
    Remove(PluginId),
    Plugin(PluginId, Word),
}

/// What the host says of one plugin.
#[derive(Debug)]
pub(crate) enum Word {
    Started(Named),
    Exited(RunId, Outcome),
    Stopped,
    Crashed,
    State(PluginState),
}

/// A process, as the host names it.
#[derive(Debug)]
pub(crate) struct Named {
    pub run: RunId,
    pub pid: u32,
    pub version: Option<Arc<str>>,
    /// When the host said so: a process that began later is another one. `None` in a simulation,
    /// where no time passes between a word and its application.
    pub called: Option<Now>,
}

/// The receiving end: the sampler's, or a simulation's.
pub(crate) type Commands = Receiver<Command>;

/// The sending end, shared by the collector and all handles.
pub(crate) struct Line {
    sender: Sender<Command>,
    /// Wakes the sampler; called after every command. Deciding that it "is awake anyway" would
    /// lose a wake-up sooner or later.
    wake: Box<dyn Fn() + Send + Sync>,
    open: AtomicBool,
    /// Whether it was open once: a collector that is not enabled has nobody at the other end.
    was_open: bool,
    /// The process in which the sampler runs: in a forked child there is none.
    home: u32,
}

impl Line {
    /// A line and its receiving end; closed from the beginning if it is not `open`.
    pub(crate) fn new(wake: Box<dyn Fn() + Send + Sync>, open: bool) -> (Self, Commands) {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let home = std::process::id();
        let line = Self { sender, wake, open: AtomicBool::new(open), was_open: open, home };
        (line, receiver)
    }

    /// Whether this is the process in which the sampler was started.
    pub(crate) fn is_home(&self) -> bool {
        std::process::id() == self.home
    }

    /// Whether what is said is heard.
    pub(crate) fn is_open(&self) -> bool {
        // ORDERING: Relaxed. A word said at the moment of closing may still be sent: then it lies
        // behind Stop, and the sampler does not read it.
        self.open.load(Ordering::Relaxed) && self.is_home()
    }

    /// Whether there was somebody who hears, and is no more.
    pub(crate) fn is_lost(&self) -> bool {
        self.was_open && !self.is_open()
    }

    /// Nothing that is said from now on is sent.
    pub(crate) fn close(&self) {
        // ORDERING: Relaxed, see `is_open`.
        self.open.store(false, Ordering::Relaxed);
    }

    /// Tells the sampler; dropped where there is none any more. Never waits.
    pub(crate) fn tell(&self, command: Command) {
        if self.is_open() {
            self.send(command);
        }
    }

    /// Tells the sampler whether the line is open or not: for Stop, which is said once it is closed.
    pub(crate) fn send(&self, command: Command) {
        // An error means that the sampler is gone, and with it everybody who could be told.
        if self.sender.send(command).is_ok() {
            (self.wake)();
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("open", &self.is_open())
            .field("waiting", &self.sender.len())
            .finish()
    }
}
