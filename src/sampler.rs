//! The one thread. What it does is in the roster; here is when.
//!
//! A pass: wait; learn which processes have ended; apply the commands that are queued at that
//! moment, in order; act on the ends; count the crashes that are due; tick, if due; publish, if
//! anything changed. What the host said first is applied first, because ends are only acted on when
//! the queue was drained after they were learnt of.

pub(crate) mod life;
mod pacer;
mod pool;
pub(crate) mod roster;
mod slots;
mod store;
#[cfg(test)]
mod tests;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use self::pacer::Pacer;
use self::roster::Roster;
use crate::config::Plan;
use crate::model::snapshot::{Origin, Published, Snapshot};
use crate::os::clock;
use crate::os::{Probe, Wait, Wake, WithProbe, with_probe};
use crate::shared::command::{Command, Commands, Line};
use crate::shared::publish::{Publisher, Reader};

/// Changes between ticks are published at once, but not more often than so.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(10);

/// A sampler that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub line: Arc<Line>,
    pub reader: Reader,
    pub thread: JoinHandle<()>,
}

/// Starts the thread, and with it the sampling. If it cannot be started, nothing is left.
pub(crate) fn start(plan: &Plan) -> io::Result<Running> {
    with_probe(plan.probe, Start(*plan))?
}

struct Start(Plan);

impl WithProbe for Start {
    type Output = io::Result<Running>;

    fn run<P: Probe + Wait + Send + 'static>(self, probe: P, wake: Wake) -> Self::Output
    where
        P::Process: Send,
    {
        let Self(plan) = self;
        let (line, commands) = Line::new(wake, true);
        let line = Arc::new(line);
        let origin = origin(&plan);
        let publisher = Publisher::new(Published::before_the_first_tick(origin, false));
        let reader = publisher.reader();
        let sampler = Sampler {
            roster: Roster::new(origin, plan.samples.get()),
            probe,
            commands,
            publisher,
            pacer: Pacer::new(origin.started.mono, plan.poll_interval),
            published: None,
            asked: Vec::new(),
            line: Arc::clone(&line),
        };
        let name = "plugmeter".to_owned();
        let thread = Builder::new().name(name).spawn(move || sampler.run())?;
        Ok(Running { line, reader, thread })
    }
}

/// What does not change while a collector lives.
pub(crate) fn origin(plan: &Plan) -> Origin {
    Origin {
        started: clock::now(),
        poll_interval: plan.poll_interval,
        history_duration: plan.history_duration,
    }
}

struct Sampler<P: Probe> {
    roster: Roster<P::Process>,
    probe: P,
    commands: Commands,
    publisher: Publisher,
    pacer: Pacer,
    /// The last publication.
    published: Option<Instant>,
    /// Who waits for the snapshot of the next tick.
    asked: Vec<Sender<Snapshot>>,
    /// As long as the sampler lives the channel has a sender: in a forked child, where handles are
    /// dropped too, none of them is the last, and none takes the channel's lock to say so.
    line: Arc<Line>,
}

/// Whether the sampler goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    Stop,
}

impl<P: Probe + Wait> Sampler<P> {
    fn run(mut self) {
        // The loop has no panic of its own: reads and logs, which are others' code, are guarded.
        // If there is one after all, nobody may wait for a sampler that is gone.
        let run = catch_unwind(AssertUnwindSafe(|| while self.pass() == Next::GoOn {}));
        // Also after a panic, of which nobody has said that it is the end.
        self.line.close();
        self.roster.settle(None);
        self.roster.publish(&clock::now(), true, &mut self.publisher);
        self.log();
        if run.is_err() {
            guarded_log(|| log::error!("the sampler has panicked and does not sample any more"));
        }
    }

    /// When there is something to do although nothing happens.
    fn wake_at(&self) -> Option<Instant> {
        let to_publish = if self.roster.is_changed() {
            self.published.and_then(|at| at.checked_add(PUBLISH_INTERVAL))
        } else {
            None
        };
        [self.pacer.deadline(), self.roster.next_due(), to_publish].into_iter().flatten().min()
    }

    fn pass(&mut self) -> Next {
        // The clock first: a stream of commands must not keep a tick from its time.
        let idle = self.commands.is_empty() && self.asked.is_empty() && !self.roster.has_ends();
        let until = self.wake_at();
        if idle && until.is_none_or(|until| until > Instant::now()) {
            self.probe.wait(until);
        }
        let mut next = self.hear();
        if next == Next::GoOn && self.roster.has_ends() {
            // A process that was named was found to have ended: now the host has been heard.
            next = self.hear();
        }
        self.roster.settle(Some(Instant::now()));
        if next == Next::Stop {
            // Who asks for a sample now is told by the end of the channel.
            return next;
        }
        let asked = std::mem::take(&mut self.asked);
        let ticked = !asked.is_empty() || self.pacer.is_due(Instant::now());
        let mut next = Next::GoOn;
        if ticked {
            self.tick();
        }
        if !asked.is_empty() && self.roster.has_ends() {
            // An end that this very tick found belongs into the snapshot that was asked for; but
            // what the host has said of it meanwhile is heard first.
            next = self.hear();
        }
        self.publish(ticked);
        self.log();
        let snapshot = self.publisher.reader();
        for reply in asked {
            // Who does not wait any more does not mind.
            let _: Result<(), _> = reply.try_send(snapshot.snapshot());
        }
        next
    }

    /// Learns which processes have ended, then applies what is queued at this moment, then acts on
    /// those ends.
    ///
    /// In between more may be learnt of: a process may be gone when the word comes that names it. Such
    /// an end is younger than the look at the queue, and so may be what the host has said of it
    /// before: it stays on the list until the queue was applied once more.
    fn hear(&mut self) -> Next {
        let Self { roster, probe, commands, asked, .. } = self;
        let mut ended = Vec::new();
        probe.learn_ends(|token| ended.push(token));
        let now = clock::now();
        for token in ended {
            roster.learn_end(token, now, probe);
        }
        let known = roster.listed();
        let queued = commands.len();
        for command in commands.try_iter().take(queued) {
            match command {
                Command::Change(change) => roster.apply(change, now, probe),
                Command::Sample(reply) => asked.push(reply),
                Command::Stop => {
                    // Nobody is heard any more.
                    roster.act_on_ends(usize::MAX);
                    return Next::Stop;
                }
            }
        }
        roster.act_on_ends(known);
        Next::GoOn
    }

    fn tick(&mut self) {
        let now = clock::now();
        self.pacer.tick(now.mono);
        self.roster.missed(self.pacer.missed());
        self.roster.tick(now, &mut self.probe);
        let end = Instant::now();
        let took = end.duration_since(now.mono);
        self.roster.spent(took, clock::thread_cpu_time(), end);
        guarded_log(|| log::trace!("a tick took {took:?}"));
    }

    fn publish(&mut self, ticked: bool) {
        let now = clock::now();
        let recent =
            self.published.is_some_and(|at| now.mono.duration_since(at) < PUBLISH_INTERVAL);
        if ticked || (self.roster.is_changed() && !recent) {
            self.roster.publish(&now, false, &mut self.publisher);
            self.published = Some(now.mono);
        }
    }

    fn log(&mut self) {
        for notice in self.roster.notices() {
            guarded_log(|| log::warn!("plugin {:?}: {}", notice.name, notice.problem));
        }
    }
}

/// Calls the host's logger, whose panics are its own.
fn guarded_log(log: impl FnOnce()) {
    let _: Result<(), _> = catch_unwind(AssertUnwindSafe(log));
}
