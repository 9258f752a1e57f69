//! The sampler's thread: wait, run a pass, publish, answer requests, log.

pub(crate) mod schedule;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use self::schedule::TickSchedule;
use crate::config::{ProbeKind, Settings};
use crate::engine::Engine;
use crate::engine::pass::{Environment, TickCost};
use crate::engine::process_tree::{MAX_MEMBERS, MAX_TREE_MEMBERS};
use crate::engine::restore::Restored;
use crate::os::clock;
use crate::os::machine::machine_memory;
use crate::os::{ExitWaiter, Probe, UseProbe, with_probe};
use crate::snapshot::inner::{CollectorInfo, SnapshotInner};
use crate::snapshot::notification::Notification;
use crate::snapshot::system::CollectorStatus;
use crate::sync::command::{Command, CommandReceiver, CommandSender, Wake};
use crate::sync::publish::{Publisher, Reader};
use crate::sync::subscription::Notifier;
use crate::sync::worker::Worker;
use crate::time::{MonoNanos, TimePoint};

/// Changes between ticks are published immediately, but not more often than this.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(10);

/// A running sampler.
#[derive(Debug)]
pub(crate) struct RunningSampler {
    pub sender: Arc<CommandSender>,
    pub reader: Reader,
    pub worker: Worker,
}

/// Starts the sampler's thread, which continues the restored values, if there are some. On an error
/// nothing is left running.
pub(crate) fn start(settings: &Settings, restored: Option<Restored>) -> io::Result<RunningSampler> {
    with_probe(settings.probe, StartSampler(settings.clone(), restored))?
}

/// Why process trees cannot be read.
const NO_TREES: &str = "the portable probe does not read descendants; the native one needs a /proc of \
                        its own PID namespace";

/// The sampler's start, once the probe is there.
struct StartSampler(Settings, Option<Restored>);

impl UseProbe for StartSampler {
    type Output = io::Result<RunningSampler>;

    fn run<P: Probe + ExitWaiter + Send + 'static>(self, mut probe: P, wake: Wake) -> Self::Output
    where
        P::Process: Send,
        P::Member: Send,
    {
        let Self(settings, restored) = self;
        let (sender, commands) = CommandSender::new(wake);
        let mut info = collector_info(&settings);
        if info.process_trees && probe.trees().is_none() {
            info.process_trees = false;
            log::warn!("process trees cannot be read: {NO_TREES}");
        }
        // Beside the process trees of the native probe.
        let reads_cgroups = info.process_trees && settings.probe == ProbeKind::Native;
        let sender = Arc::new(sender.reading_cgroups(reads_cgroups));
        let first = SnapshotInner::before_first_tick(info, CollectorStatus::Running);
        let (notifier, subscribers) = Notifier::new();
        let mut publisher = Publisher::new(first, subscribers);
        let reader = publisher.reader();
        let mut engine = Engine::new(info, &settings);
        if let Some(restored) = restored {
            engine.restore(restored, settings.history_duration);
            engine.publish_restored(&mut publisher);
        }
        let sampler = Sampler {
            engine,
            thread: SamplerThread {
                probe,
                commands,
                publisher,
                notifier,
                schedule: TickSchedule::new(info.started.mono, settings.poll_interval),
                published: None,
            },
            sender: Arc::clone(&sender),
        };
        let stopper = Arc::clone(&sender);
        let request_stop = move || stopper.close_and_stop();
        let worker = Worker::spawn("plugmeter", request_stop, move || sampler.run())?;
        Ok(RunningSampler { sender, reader, worker })
    }
}

/// The values that do not change while the collector lives.
pub(crate) fn collector_info(settings: &Settings) -> CollectorInfo {
    let (started, started_instant) = clock::now_with_instant();
    CollectorInfo {
        started,
        started_instant,
        poll_interval: settings.poll_interval,
        history_duration: settings.history_duration,
        process_trees: settings.process_trees,
        cpu_cores: std::thread::available_parallelism().map_or(1, usize::from),
        machine_memory: machine_memory(),
        resumed: None,
    }
}

struct Sampler<P: Probe> {
    engine: Engine<P::Process, P::Member>,
    thread: SamplerThread<P>,
    /// The sampler keeps one sender, so that no handle holds the last one: in a forked child, where
    /// handles are dropped too, dropping the last one would take the channel's lock.
    sender: Arc<CommandSender>,
}

/// The environment of the engine's passes on the sampler's thread.
struct SamplerThread<P> {
    probe: P,
    commands: CommandReceiver,
    publisher: Publisher,
    notifier: Notifier,
    schedule: TickSchedule,
    /// When the last snapshot was published.
    published: Option<MonoNanos>,
}

impl<P: Probe + ExitWaiter> Sampler<P> {
    fn run(mut self) {
        // The loop itself does not panic: the calls into other code, reads and log lines, are
        // guarded. If it does after all, no caller may wait for a sampler that is gone.
        let run = catch_unwind(AssertUnwindSafe(|| while self.run_once().is_continue() {}));
        // Needed after a panic, where no Stop command has closed the queue.
        self.sender.close();
        let status = match run {
            Ok(()) => CollectorStatus::Stopped,
            Err(_) => CollectorStatus::Failed,
        };
        self.engine.finish(status, &mut self.thread);
        self.log_warnings();
        if run.is_err() {
            guarded_log(|| log::error!("the sampler has panicked: no further samples"));
        }
    }

    /// Waits until there is something to do, and does it.
    fn run_once(&mut self) -> ControlFlow<()> {
        // The deadline is checked first: a stream of commands must not delay a tick.
        let is_idle = self.thread.commands.is_empty() && !self.engine.has_work();
        let until = self.next_wakeup();
        if is_idle && until.is_none_or(|until| until > clock::mono()) {
            self.thread.probe.wait(until);
        }
        let pass = self.engine.run_pass(&mut self.thread);
        self.log_warnings();
        if !pass.requests.is_empty() {
            let reader = self.thread.publisher.reader();
            for request in pass.requests {
                request.answer(reader.snapshot());
            }
        }
        pass.flow
    }

    /// The next time at which there is something to do even if nothing arrives.
    fn next_wakeup(&self) -> Option<MonoNanos> {
        let to_publish = if self.engine.is_changed() {
            self.thread.published.and_then(|at| at.checked_add(PUBLISH_INTERVAL))
        } else {
            None
        };
        let deadline = self.thread.schedule.deadline();
        [deadline, self.engine.next_crash_due(), to_publish].into_iter().flatten().min()
    }

    fn log_warnings(&mut self) {
        for warning in self.engine.take_warnings() {
            guarded_log(|| log::warn!("plugin {:?}: {}", warning.plugin, warning.cause));
        }
        if self.engine.take_tree_limit_warning() {
            guarded_log(|| {
                log::warn!(
                    "process trees have reached the limit of {MAX_TREE_MEMBERS} descendants of a \
                     plugin or {MAX_MEMBERS} of all: memory and number of processes of a plugin with \
                     more are unknown"
                );
            });
        }
    }
}

impl<P: Probe + ExitWaiter> Environment for SamplerThread<P> {
    type Probe = P;

    fn now(&mut self) -> TimePoint {
        clock::now()
    }

    fn probe(&mut self) -> &mut P {
        &mut self.probe
    }

    fn drain_exits(&mut self, each: impl FnMut(u64)) {
        self.probe.drain_exits(each);
    }

    fn queued_commands(&self) -> usize {
        self.commands.len()
    }

    fn next_command(&mut self) -> Option<Command> {
        self.commands.try_next()
    }

    fn is_tick_due(&self, now: MonoNanos) -> bool {
        self.schedule.is_due(now)
    }

    fn begin_tick(&mut self, now: MonoNanos) -> u64 {
        self.schedule.tick(now);
        self.schedule.missed()
    }

    fn tick_cost(&mut self, began: MonoNanos) -> Option<TickCost> {
        let end = clock::mono();
        let duration = end.since(began);
        guarded_log(|| log::trace!("tick took {duration:?}"));
        Some(TickCost { duration, cpu_time: clock::thread_cpu_time(), end })
    }

    fn may_publish(&self, now: MonoNanos) -> bool {
        self.published.is_none_or(|at| now.since(at) >= PUBLISH_INTERVAL)
    }

    fn publish(&mut self, next: Arc<SnapshotInner>, now: MonoNanos) -> Arc<SnapshotInner> {
        self.published = Some(now);
        self.publisher.publish(next)
    }

    fn notify(&mut self, notifications: &mut Vec<Notification>) -> u64 {
        self.notifier.send(notifications)
    }
}

/// Calls the host's logger, and ignores its panics.
fn guarded_log(log: impl FnOnce()) {
    let _: Result<(), _> = catch_unwind(AssertUnwindSafe(log));
}
