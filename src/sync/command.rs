//! Commands from the host to the sampler.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender};

use super::cgroup::CgroupReader;
use super::counter::EventCounter;
use super::fork::ForkGuard;
use crate::history::units::CpuTime;
use crate::snapshot::Snapshot;
use crate::snapshot::limit::Limit;
use crate::snapshot::run::{ProcessExit, RunId};
use crate::snapshot::state::PluginState;
use crate::time::{MonoNanos, TimePoint};

/// Identifies one registration of a plugin. A collector never uses an id twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PluginId(pub u64);

/// A command to the sampler. Commands are applied in the order in which they were sent.
#[derive(Debug)]
pub(crate) enum Command {
    Register {
        id: PluginId,
        name: Arc<str>,
        events: EventCounter,
    },
    Remove(PluginId),
    Update(PluginId, PluginUpdate),
    /// Tick now, and send the snapshot.
    SampleNow(SampleRequest),
    Stop,
}

/// What the host reports about one plugin.
#[derive(Debug)]
pub(crate) enum PluginUpdate {
    Started(ProcessStart),
    Exited(RunId, ProcessExit),
    /// `Started` for a child that the crate waits for, with its first reading.
    ChildStarted(ProcessStart, Option<ChildReading>),
    /// The host ends the child of this run. Has no effect on a later run.
    ChildStopping(RunId),
    /// `Exited` for such a child, with its last reading, taken before it was reaped.
    ChildExited(RunId, ProcessExit, Option<ChildReading>),
    Stopped,
    Crashed,
    State(PluginState),
    /// Checked limits, in place of the current ones.
    Limits(Arc<[Limit]>),
}

/// A process, as the host reports it.
#[derive(Debug)]
pub(crate) struct ProcessStart {
    pub run: RunId,
    pub pid: u32,
    pub version: Option<Arc<str>>,
    /// When the host reported it: a process that started later is another one. `None` in a
    /// simulation, where no time passes between a report and its application.
    pub reported_at: Option<TimePoint>,
    /// The cgroup of the process and its descendants, if the host names it.
    pub cgroup: Option<Box<dyn CgroupReader>>,
}

/// The CPU time of a child, read by the host's thread. No other process can have its pid, because
/// the child was not reaped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChildReading {
    pub at: MonoNanos,
    /// Since the process started.
    pub cpu_time: CpuTime,
    /// Of the children that it has waited for; `None` if it was not read.
    pub children_cpu: Option<CpuTime>,
}

/// A caller that waits for the snapshot of the next tick.
#[derive(Debug)]
pub(crate) struct SampleRequest(Sender<Snapshot>);

/// Where the caller waits.
#[derive(Debug)]
pub(crate) struct SampleReply(Receiver<Snapshot>);

impl SampleRequest {
    pub(crate) fn new() -> (Self, SampleReply) {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        (Self(sender), SampleReply(receiver))
    }

    /// Sends the snapshot to the caller.
    pub(crate) fn answer(self, snapshot: Snapshot) {
        // Ignored: the caller may have dropped its receiver.
        let _: Result<(), _> = self.0.try_send(snapshot);
    }
}

impl SampleReply {
    /// Blocks until the request is answered; `None` if it was dropped without an answer.
    pub(crate) fn wait(self) -> Option<Snapshot> {
        self.0.recv().ok()
    }
}

/// The receiving end: the sampler's, or a simulation's.
#[derive(Debug)]
pub(crate) struct CommandReceiver(Receiver<Command>);

impl CommandReceiver {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next queued command. Does not wait.
    pub(crate) fn try_next(&self) -> Option<Command> {
        self.0.try_recv().ok()
    }
}

/// Wakes the sampler, from any thread.
pub(crate) type Wake = Box<dyn Fn() + Send + Sync>;

/// The sending end, shared by the collector and all handles.
pub(crate) struct CommandSender {
    sender: Sender<Command>,
    /// Called after every command. Skipping it where the sampler "is awake anyway" would lose a
    /// wake-up sooner or later.
    wake: Wake,
    open: AtomicBool,
    /// Whether there ever was a sampler: a collector that is not enabled has none.
    has_sampler: bool,
    /// Whether the sampler reads cgroups.
    reads_cgroups: bool,
    fork_guard: ForkGuard,
}

impl CommandSender {
    /// A queue to a sampler: both ends.
    pub(crate) fn new(wake: Wake) -> (Self, CommandReceiver) {
        Self::with(wake, true)
    }

    /// A queue without a sampler: every command is dropped.
    pub(crate) fn disabled() -> Self {
        Self::with(Box::new(|| ()), false).0
    }

    /// The queue of a sampler that reads cgroups, if `reads_cgroups`.
    pub(crate) fn reading_cgroups(self, reads_cgroups: bool) -> Self {
        Self { reads_cgroups, ..self }
    }

    fn with(wake: Wake, has_sampler: bool) -> (Self, CommandReceiver) {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let open = AtomicBool::new(has_sampler);
        let fork_guard = ForkGuard::new();
        let sender = Self { sender, wake, open, has_sampler, reads_cgroups: false, fork_guard };
        (sender, CommandReceiver(receiver))
    }

    /// Whether this is the process in which the sampler was started.
    pub(crate) fn in_owner_process(&self) -> bool {
        self.fork_guard.in_owner_process()
    }

    /// Whether commands are applied.
    pub(crate) fn is_open(&self) -> bool {
        // ORDERING: Relaxed. A command sent during the close may still be queued: then it lies
        // behind Stop, and the sampler does not read it.
        self.open.load(Ordering::Relaxed) && self.in_owner_process()
    }

    /// Whether the sampler reads cgroups.
    pub(crate) const fn reads_cgroups(&self) -> bool {
        self.reads_cgroups
    }

    /// Whether there was a sampler and it is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.has_sampler && !self.is_open()
    }

    /// From now on commands are dropped.
    pub(crate) fn close(&self) {
        // ORDERING: Relaxed, see `is_open`.
        self.open.store(false, Ordering::Relaxed);
    }

    /// Queues a command, and wakes the sampler; drops it if there is no sampler any more. Never
    /// waits.
    pub(crate) fn send(&self, command: Command) {
        if self.is_open() {
            self.enqueue(command);
        }
    }

    /// Closes the queue, with Stop as its last command. Only the first call sends it.
    pub(crate) fn close_and_stop(&self) {
        // ORDERING: Relaxed. An exchange of one location has one first caller; for the rest see
        // `is_open`.
        if self.open.swap(false, Ordering::Relaxed) {
            self.enqueue(Command::Stop);
        }
    }

    fn enqueue(&self, command: Command) {
        // An error means that the sampler is gone, and nobody reads commands.
        if self.sender.send(command).is_ok() {
            (self.wake)();
        }
    }
}

impl fmt::Debug for CommandSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandSender")
            .field("open", &self.is_open())
            .field("queued", &self.sender.len())
            .finish()
    }
}
