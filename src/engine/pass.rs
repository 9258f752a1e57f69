//! One pass of the engine: the order in which inputs are processed.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::os::Probe;
use crate::snapshot::inner::SnapshotInner;
use crate::snapshot::notification::Notification;
use crate::snapshot::system::CollectorStatus;
use crate::sync::command::{Command, SampleRequest};
use crate::time::{MonoNanos, TimePoint};

/// Room for this many notifications is kept between publications.
const KEPT_NOTIFICATIONS: usize = 8;

/// The surroundings of a pass: clock, probe, command queue, tick schedule and publication.
///
/// Implemented by the sampler's thread, by the simulation, and by tests.
pub(crate) trait Environment {
    type Probe: Probe;

    fn now(&mut self) -> TimePoint;

    fn probe(&mut self) -> &mut Self::Probe;

    /// Calls `each` with the token of each process whose exit was detected since the last call.
    fn drain_exits(&mut self, each: impl FnMut(u64));

    /// The number of queued commands.
    fn queued_commands(&self) -> usize;

    /// The next queued command. Does not wait.
    fn next_command(&mut self) -> Option<Command>;

    /// Whether a deadline has passed.
    fn is_tick_due(&self, now: MonoNanos) -> bool;

    /// A tick begins. Returns the number of deadlines missed so far.
    fn begin_tick(&mut self, now: MonoNanos) -> u64;

    /// A tick has recorded all plugins. `None` where cost is not measured.
    fn tick_cost(&mut self, began: MonoNanos) -> Option<TickCost>;

    /// Whether changes between ticks may be published: not more often than every 10 ms.
    fn may_publish(&self, now: MonoNanos) -> bool;

    /// Makes `next` visible to readers, and returns the replaced snapshot.
    fn publish(&mut self, next: Arc<SnapshotInner>, now: MonoNanos) -> Arc<SnapshotInner>;

    /// Sends notifications to all subscribers, and removes them from the list. Returns the number of
    /// those that were dropped so far.
    fn notify(&mut self, notifications: &mut Vec<Notification>) -> u64;
}

/// The cost of a tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TickCost {
    pub duration: Duration,
    /// Of the sampler's thread since its start; `None` if the operating system does not report it.
    pub cpu_time: Option<Duration>,
    pub end: MonoNanos,
}

/// The result of a pass.
#[derive(Debug)]
pub(crate) struct PassResult {
    /// `Break` after a Stop command.
    pub flow: ControlFlow<()>,
    /// Callers that wait for the snapshot of this pass's tick.
    pub requests: Vec<SampleRequest>,
}

impl<P, M> Engine<P, M> {
    /// Runs one pass: drains detected exits, applies the commands that are queued at that moment,
    /// processes the exits that were pending before, counts the crashes that are due, ticks if
    /// due or requested, and publishes if anything changed.
    ///
    /// Exits are never processed where they are detected, because the host may have sent a report
    /// about the same process before the exit was detected: that report has to be applied first.
    pub(crate) fn run_pass<E>(&mut self, env: &mut E) -> PassResult
    where
        E: Environment<Probe: Probe<Process = P, Member = M>>,
    {
        let mut requests = Vec::new();
        let mut flow = self.process_commands(env, &mut requests);
        if flow.is_continue() && self.has_pending_exits() {
            // Applying a command has detected an exit, after the look at the queue.
            flow = self.process_commands(env, &mut requests);
        }
        let now = env.now();
        self.confirm_crashes(&now, false);
        if flow.is_break() {
            // Dropping the requests ends their callers' wait.
            requests.clear();
            return PassResult { flow, requests };
        }
        let is_tick = !requests.is_empty() || env.is_tick_due(now.mono);
        if is_tick {
            self.run_tick(now, env);
            if self.has_pending_exits() || env.queued_commands() > 0 {
                // An exit that the tick's own reading has detected belongs into this snapshot, and
                // the host's earlier reports come first. Requests from here on are for the next
                // tick.
                let answered = requests.len();
                flow = self.process_commands(env, &mut requests);
                self.early_requests.extend(requests.drain(answered..));
            }
        }
        let now = env.now();
        if is_tick || (self.is_changed() && env.may_publish(now.mono)) {
            self.publish(&now, CollectorStatus::Running, env);
        }
        PassResult { flow, requests }
    }

    /// Counts all pending crashes and publishes the last snapshot.
    pub(crate) fn finish<E>(&mut self, status: CollectorStatus, env: &mut E)
    where
        E: Environment<Probe: Probe<Process = P, Member = M>>,
    {
        let now = env.now();
        self.confirm_crashes(&now, true);
        self.publish(&now, status, env);
    }

    /// Drains detected exits, applies the commands that are queued at this moment, and processes
    /// the exits that were pending before these commands.
    ///
    /// Applying a command may detect a further exit: the process may be gone when its report is
    /// applied. That exit is newer than the look at the queue, and so may be the host's report about
    /// it: it stays pending until the queue has been drained once more.
    fn process_commands<E>(
        &mut self,
        env: &mut E,
        requests: &mut Vec<SampleRequest>,
    ) -> ControlFlow<()>
    where
        E: Environment<Probe: Probe<Process = P, Member = M>>,
    {
        let mut tokens = Vec::new();
        env.drain_exits(|token| tokens.push(token));
        let now = env.now();
        for token in tokens {
            self.on_exit_notification(token, now, env.probe());
        }
        requests.append(&mut self.early_requests);
        let pending = self.pending_exits();
        for _ in 0..env.queued_commands() {
            match env.next_command() {
                Some(Command::Register { id, name, events }) => {
                    self.register(id, name, events, &now);
                }
                Some(Command::Remove(id)) => self.remove(id, now, env.probe()),
                Some(Command::Update(id, update)) => self.update(id, update, now, env.probe()),
                Some(Command::SampleNow(request)) => requests.push(request),
                Some(Command::Stop) => {
                    // No command after this one is applied, so no exit has to wait for one.
                    self.process_exits(usize::MAX, now, env.probe());
                    return ControlFlow::Break(());
                }
                None => break,
            }
        }
        self.process_exits(pending, now, env.probe());
        ControlFlow::Continue(())
    }

    fn run_tick<E>(&mut self, now: TimePoint, env: &mut E)
    where
        E: Environment<Probe: Probe<Process = P, Member = M>>,
    {
        let missed = env.begin_tick(now.mono);
        self.set_missed_ticks(missed);
        self.tick(now, env.probe());
        if let Some(cost) = env.tick_cost(now.mono) {
            self.set_tick_cost(&cost);
        }
    }

    fn publish<E: Environment>(&mut self, now: &TimePoint, status: CollectorStatus, env: &mut E) {
        let next = self.build_snapshot(now, status);
        let old = env.publish(next, now.mono);
        self.retire_snapshot(old);
        // After the publication, so that a subscriber that takes a snapshot sees the change.
        let revision = self.revision;
        let notifications = &mut self.effects.notifications;
        notifications.iter_mut().for_each(|notification| notification.revision = revision);
        self.stats.dropped_notifications = env.notify(notifications);
        // A thousand registrations at a time would otherwise occupy a megabyte from then on.
        notifications.shrink_to(KEPT_NOTIFICATIONS);
    }
}
